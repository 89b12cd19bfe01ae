//! A server that takes its bond out: what it loses at once, what it still gets, and when it may go.

use crate::{consumer, long_sessions, OURS, WINDOW};
use quipu_pallet_inference::{self as inference, Error, Event};
use quipu_pallet_staking as staking;
use quipu_pallet_subnets::{self as subnets, LeaveReason};
use quipu_primitives::traits::{Bonds, Roster};
use quipu_runtime::{clock::Schedule, genesis, Runtime, Staking, Subnets, System, QPU};
use quipu_stories::{actors::*, event, story_at, Key};

/// Blocks that an amount takes to unbond here.
const UNBONDING: u32 = 150;

#[test]
fn too_small_a_bond_costs_the_seat_but_not_what_is_owed_and_nothing_remains_of_who_left() {
    let clock = |schedule: &mut Schedule| {
        long_sessions(schedule);
        schedule.job_blocks = 5;
        schedule.record_blocks = 5;
    };
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let creator = Key::new("Creator");
        let before = chain.footprint(&OURS);
        let owners = ["Creator", "Server1", "Server2", "Server3"].map(Key::new);
        let references = |chain: &mut quipu_stories::Chain| {
            owners.clone().map(|key| {
                let account = chain.read(|| System::account(key.account()));
                (account.consumers, account.providers, account.data.reserved)
            })
        };
        let referred = references(chain);
        let (subnet, servers) = chain.active_subnet();
        let [_, second, _] = &servers;
        let whole = Staking::minimum_self_bond();
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 50, 300);

        // One unit too much: the seat is gone, and the subnet with it.
        let events = chain.send(&second.cold, unbond(second.node, QPU));
        let reason = event!(events, Subnets(subnets::Event::NodeLeft { reason, .. }) => *reason);
        assert_eq!(reason, LeaveReason::BondTooSmall);
        event!(events, Subnets(subnets::Event::SubnetDeactivated { .. }) => ());
        assert!(!chain.read(|| Subnets::is_active(subnet)));
        let error = Error::<Runtime>::SubnetNotActive;
        let caps: Vec<_> = servers.iter().map(|server| (server.node, QPU)).collect();
        let call = open_session(subnet, &session_key(), &caps, 5);
        chain.refused(&consumer(), call, error);
        let error = Error::<Runtime>::SubnetNotActive;
        chain.refused(&consumer(), request(subnet, "Why?", QPU), error);

        // It can't sit down again before it bonds again, which it does not want.
        let span = quipu_primitives::Span { start: 10, end: 20 };
        let error = subnets::Error::<Runtime>::BondTooSmall;
        chain.refused(&second.hot, join(second.node, span), error);
        chain.send(&second.cold, unbond(second.node, whole - QPU));
        let released = chain.number() + UNBONDING;
        let error = subnets::Error::<Runtime>::NodeBonded;
        chain.refused(&second.cold, remove_node(second.node), error);
        let error = staking::Error::<Runtime>::NothingDue;
        chain.refused(&second.cold, withdraw(second.node), error);

        // The bond is out, but the open session may still want something of the node.
        chain.run_to(released - 1);
        let free = |chain: &mut quipu_stories::Chain| {
            chain.read(|| System::account(second.cold.account()).data.free)
        };
        let (had, paid) = (free(chain), chain.fees_of(&second.cold));
        chain.send(&second.cold, withdraw(second.node));
        let fee = chain.fees_of(&second.cold) - paid;
        let earned = chain.income_of(&second.cold);
        assert_eq!(
            free(chain),
            had + whole + earned - fee,
            "all of it came back"
        );
        let error = subnets::Error::<Runtime>::NodeHasObligations;
        chain.refused(&second.cold, remove_node(second.node), error);

        // It is paid like the others, without bond and seat.
        let positions: Vec<_> = servers.iter().map(|server| (server.node, 50)).collect();
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&consumer(), call);
        let error = subnets::Error::<Runtime>::NodeHasObligations;
        chain.refused(&second.cold, remove_node(second.node), error);
        let events = chain.run_to(chain.number() + WINDOW - 1);
        event!(events, Inference(Event::SessionClosed { .. }) => ());
        chain.assert_moved(&[
            (&consumer(), -3 * gain(50)),
            (&servers[0].cold, gain(50)),
            (&servers[1].cold, gain(50)),
            (&servers[2].cold, gain(50)),
        ]);

        // All go home.
        chain.send(&second.cold, remove_node(second.node));
        let error = staking::Error::<Runtime>::NoSuchNode;
        chain.refused(&second.cold, bond(second.node, whole), error);
        for server in [&servers[0], &servers[2]] {
            let leave = subnets::Call::leave { node: server.node };
            chain.send(&server.hot, leave);
            chain.send(&server.cold, unbond(server.node, whole));
        }
        let error = subnets::Error::<Runtime>::SubnetHasNodes;
        chain.refused(&creator, subnets::Call::dissolve_subnet { subnet }, error);
        chain.run_to(chain.number() + UNBONDING);
        for server in [&servers[0], &servers[2]] {
            chain.send(&server.cold, withdraw(server.node));
            chain.send(&server.cold, remove_node(server.node));
        }
        chain.send(&creator, subnets::Call::dissolve_subnet { subnet });

        let left = chain.footprint(&OURS).changes_since(&before);
        let left: Vec<_> = left.iter().map(String::as_str).collect();
        let counters = [
            "Audits.Seeds",
            "Inference.Cursor",
            "Inference.NextSession",
            "Staking.CurrentEra",
            "Staking.PlannedEra",
            "Subnets.CounterForSubnets",
            "Subnets.NextNodeId",
            "Subnets.NextSubnetId",
        ];
        assert_eq!(left, counters);
        assert_eq!(
            references(chain),
            referred,
            "nothing refers to their accounts"
        );
    });
}

#[test]
fn whoever_changes_their_mind_sits_again() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, ..] = &servers;
        let whole = Staking::minimum_self_bond();
        chain.mark();
        chain.send(&first.cold, unbond(first.node, whole / 2));
        assert!(!chain.read(|| Subnets::is_active(subnet)));
        let rebond = |amount| staking::Call::rebond {
            node: first.node,
            amount,
        };
        let error = staking::Error::<Runtime>::NotEnoughUnbonding;
        chain.refused(&first.cold, rebond(whole), error);
        chain.send(&first.cold, rebond(whole / 2));
        assert!(
            !chain.read(|| Subnets::is_active(subnet)),
            "seats are asked for"
        );
        let span = quipu_primitives::Span { start: 0, end: 10 };
        chain.send(&first.hot, join(first.node, span));
        assert!(chain.read(|| Subnets::is_active(subnet)));

        // A subnet may ask for more than the chain does.
        let mut manifest = model(1);
        manifest.terms.min_self_bond = whole + QPU;
        let manifest = Box::new(manifest);
        let creator = Key::new("Creator");
        chain.send(&creator, subnets::Call::register_subnet { manifest });
        let server = chain.register_server(subnet + 1, "Server4");
        let span = quipu_primitives::Span { start: 0, end: 1 };
        let error = subnets::Error::<Runtime>::BondTooSmall;
        chain.refused(&server.hot, join(server.node, span), error);
        chain.send(&server.cold, bond(server.node, QPU));
        chain.send(&server.hot, join(server.node, span));
        assert!(chain.read(|| Subnets::is_active(subnet + 1)));
        let call = inference::Call::request {
            subnet: subnet + 1,
            prompt: Default::default(),
            max_tokens: 1,
            fee: QPU,
        };
        chain.refused(&consumer(), call, Error::<Runtime>::EmptyPrompt);
    });
}
