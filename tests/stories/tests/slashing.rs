//! A server that signs two receipts where one can be true, and what it costs whom.

use crate::consumer;
use quipu_pallet_slashing as slashing;
use quipu_pallet_staking as staking;
use quipu_pallet_subnets::{self as subnets, LeaveReason};
use quipu_primitives::{
    traits::{Bonds, PendingSlashes, Roster, Slashable},
    SessionId, Span,
};
use quipu_runtime::{clock::Schedule, genesis, Runtime, RuntimeCall, Slashing, Staking, Subnets};
use quipu_stories::{actors::*, event, story_at, Chain, Key, Server};

/// Short eras, and bonds that wait for several of them.
fn clock(schedule: &mut Schedule) {
    schedule.epoch_slots = 40;
    schedule.sessions_per_era = 1;
    schedule.unbonding_blocks = 200;
}

/// Who finds out.
fn rita() -> Key {
    Key::new("Ferdie")
}

/// What the server signed for the first of its positions: one receipt for the consumer, another for
/// the next server.
fn two_receipts(chain: &Chain, session: SessionId, server: &Server) -> RuntimeCall {
    let signs = |output| (&server.hot, receipt(session, server.node, 0, 32, output));
    report_equivocation(chain, signs(1), signs(2))
}

/// Opens a case by these receipts. Gives its number, and the block from which on it is applied.
fn charge(chain: &mut Chain, session: SessionId, server: &Server) -> (u64, u32) {
    let report = two_receipts(chain, session, server);
    let events = chain.send(&rita(), report);
    event!(
        events,
        Slashing(slashing::Event::CaseOpened { case, applies_at, .. }) => (*case, *applies_at)
    )
}

fn sudo(call: slashing::Call<Runtime>) -> RuntimeCall {
    pallet_sudo::Call::sudo {
        call: Box::new(call.into()),
    }
    .into()
}

fn set_hotkey(server: &Server, to: &Key) -> subnets::Call<Runtime> {
    subnets::Call::set_hotkey {
        node: server.node,
        hotkey: to.account(),
    }
}

#[test]
fn two_receipts_cost_a_server_its_bond_and_whoever_is_honest_nothing() {
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [culprit, ..] = &servers;
        let whole = Staking::minimum_self_bond();
        // Part of its bond waits for its release: it does not escape.
        chain.send(&culprit.cold, bond(culprit.node, whole));
        chain.send(&culprit.cold, unbond(culprit.node, whole));
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 64, 300);

        let report = two_receipts(chain, session, culprit);
        let events = chain.send(&rita(), report);
        assert_eq!(chain.fees_of(&rita()), 0, "telling the truth is free");
        let (case, amount, applies_at) = event!(
            events,
            Slashing(slashing::Event::CaseOpened { case, amount, applies_at, .. }) =>
                (*case, *amount, *applies_at)
        );
        assert_eq!(amount, 2 * whole);
        assert_eq!(applies_at, chain.number() + chain.schedule().era_blocks());

        // Its seat is gone at once, and does not come back; nothing of the bond comes out.
        let reason = event!(events, Subnets(subnets::Event::NodeLeft { reason, .. }) => *reason);
        assert_eq!(reason, LeaveReason::BondTooSmall);
        assert!(!chain.read(|| Subnets::is_active(subnet)));
        let span = Span { start: 0, end: 10 };
        let error = subnets::Error::<Runtime>::BondTooSmall;
        chain.refused(&culprit.hot, join(culprit.node, span), error);
        let error = staking::Error::<Runtime>::SlashPending;
        chain.refused(&culprit.cold, withdraw(culprit.node), error);

        // The same again, by whomever and with other words, is the same offence.
        let error = slashing::Error::<Runtime>::AlreadyCharged;
        let report = two_receipts(chain, session, culprit);
        chain.refused(&consumer(), report, error);
        let error = slashing::Error::<Runtime>::NotDue;
        chain.refused(&rita(), slashing::Call::apply { case }, error);

        // What was served is paid like before: that is for the audits to hold back.
        let positions: Vec<_> = servers.iter().map(|server| (server.node, 64)).collect();
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&consumer(), call);

        let events = chain.run_to(applies_at + 1);
        let (taken, to_reporter, to_victim, burned) = event!(
            events,
            Slashing(slashing::Event::CaseApplied { taken, to_reporter, to_victim, burned, .. }) =>
                (*taken, *to_reporter, *to_victim, *burned)
        );
        assert_eq!(taken, 2 * whole);
        assert_eq!(to_reporter, taken * 2 / 5);
        assert_eq!(to_victim, taken / 5);
        assert_eq!(burned, taken * 2 / 5);
        assert_eq!(chain.read(|| Staking::slashable(culprit.node)), 0);
        let small = |amount| i128::try_from(amount).expect("is small");
        chain.assert_moved(&[
            (&culprit.cold, gain(64) - small(taken)),
            (&servers[1].cold, gain(64)),
            (&servers[2].cold, gain(64)),
            (&consumer(), small(to_victim) - 3 * gain(64)),
            (&rita(), small(to_reporter)),
        ]);

        // It may begin anew, with a new bond that the old offence can't touch.
        chain.send(&culprit.cold, bond(culprit.node, whole));
        chain.send(&culprit.hot, join(culprit.node, span));
        assert!(chain.read(|| Subnets::is_active(subnet)));
        let error = slashing::Error::<Runtime>::AlreadyCharged;
        let report = two_receipts(chain, session, culprit);
        chain.refused(&rita(), report, error);
        chain.run_to(chain.number() + 200);
        let error = slashing::Error::<Runtime>::EvidenceTooOld;
        let report = two_receipts(chain, session, culprit);
        chain.refused(&rita(), report, error);
        assert_eq!(chain.read(|| Staking::self_bond(culprit.node)), whole);
    });
}

#[test]
fn governance_may_stop_a_slash_until_it_is_applied() {
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [accused, ..] = &servers;
        let session = chain.open(&consumer(), subnet, &servers, 64, 300);
        chain.mark();
        let (case, applies_at) = charge(chain, session, accused);
        let cancel = || slashing::Call::<Runtime>::cancel { case };
        let error = sp_runtime::DispatchError::BadOrigin;
        chain.refused(&accused.cold, cancel(), error);
        let events = chain.send(&Key::new("Alice"), sudo(cancel()));
        event!(events, Slashing(slashing::Event::CaseCanceled { .. }) => ());
        assert_eq!(chain.read(|| Slashing::pending(accused.node)), 0);

        // Its bond counts again: it sits down again, when it wants to.
        assert!(!chain.read(|| Subnets::is_active(subnet)));
        let span = Span { start: 0, end: 10 };
        chain.send(&accused.hot, join(accused.node, span));
        assert!(chain.read(|| Subnets::is_active(subnet)));
        chain.run_to(applies_at + 1);
        chain.assert_moved(&[]);
        let error = slashing::Error::<Runtime>::NotPending;
        chain.refused(&rita(), slashing::Call::apply { case }, error);
    });
}

#[test]
fn a_new_key_or_owner_does_not_help() {
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [culprit, ..] = &servers;
        let session = chain.open(&consumer(), subnet, &servers, 64, 300);
        let fresh = Key::new("Server1//hotkey2");
        chain.send(&culprit.cold, set_hotkey(culprit, &fresh));
        let later = chain.open(&consumer(), subnet, &servers, 64, 300);

        // Who has the old key can't sign anything against the node that came later.
        let says = |session, output| receipt(session, culprit.node, 0, 32, output);
        let report = report_equivocation(
            chain,
            (&culprit.hot, says(later, 1)),
            (&fresh, says(later, 2)),
        );
        let error = slashing::Error::<Runtime>::NotItsHotkey;
        chain.refused(&rita(), report, error);

        // One receipt by the old key, one by the new: both are the node's.
        let report = report_equivocation(
            chain,
            (&culprit.hot, says(session, 1)),
            (&fresh, says(session, 2)),
        );
        chain.mark();
        let events = chain.send(&rita(), report);
        let (amount, applies_at) = event!(
            events,
            Slashing(slashing::Event::CaseOpened { amount, applies_at, .. }) =>
                (*amount, *applies_at)
        );
        assert_eq!(amount, Staking::minimum_self_bond());

        // Whoever buys the node buys the case with it.
        let buyer = Key::new("Eve");
        let sale = subnets::Call::set_coldkey {
            node: culprit.node,
            coldkey: buyer.account(),
        };
        chain.send(&culprit.cold, sale);
        chain.run_to(applies_at + 1);
        let small = |amount| i128::try_from(amount).expect("is small");
        let (lost, deposit) = (small(amount), small(node_deposit()));
        chain.assert_moved(&[
            (&culprit.cold, -lost - deposit),
            (&buyer, deposit),
            (&consumer(), lost / 5),
            (&rita(), lost * 2 / 5),
        ]);
    });
}

#[test]
fn a_node_stays_until_its_case_is_decided() {
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [culprit, ..] = &servers;
        let session = chain.open(&consumer(), subnet, &servers, 64, 5);
        let (_, applies_at) = charge(chain, session, culprit);
        let error = subnets::Error::<Runtime>::NodeBonded;
        chain.refused(&culprit.cold, remove_node(culprit.node), error);
        chain.run_to(applies_at + 1);
        // All of the bond is gone; what it earned before is still the owner's.
        let error = subnets::Error::<Runtime>::NodeBonded;
        chain.refused(&culprit.cold, remove_node(culprit.node), error);
        let node = culprit.node;
        chain.send(&culprit.cold, staking::Call::claim_own { node });
        assert!(chain.read(|| Staking::is_free(culprit.node)));
        chain.send(&culprit.cold, remove_node(culprit.node));
    });
}
