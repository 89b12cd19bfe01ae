//! Servers whose work is looked at, those who look, and what it costs whom.

use crate::{consumer, OURS};
use quipu_pallet_audits as audits;
use quipu_pallet_inference as inference;
use quipu_pallet_slashing as slashing;
use quipu_pallet_subnets as subnets;
use quipu_primitives::{
    audit::{Finding, Outcome, Round, Stage, Subject, Verdict},
    traits::{Bonds, Cause, Slashable},
    views::JobStatus,
    Digest, SessionId,
};
use quipu_runtime::{
    clock::Schedule, genesis, Audits, Inference, Runtime, RuntimeEvent, Staking, QPU,
};
use quipu_stories::{actors::*, audited_story, event, story_at, Chain, Key, Server};

/// Short epochs and records, and bonds that wait for several eras.
fn clock(schedule: &mut Schedule) {
    schedule.epoch_slots = 40;
    schedule.sessions_per_era = 1;
    schedule.unbonding_blocks = 400;
    schedule.record_blocks = 80;
}

const POSITIONS: u32 = 64;
/// What a false verdict costs.
const STAKED: u128 = 500 * QPU;

/// A served subnet, and others who can audit it.
struct World {
    subnet: u32,
    servers: [Server; 3],
    auditors: Vec<Server>,
}

fn world(chain: &mut Chain, auditors: usize) -> World {
    let (subnet, servers) = chain.active_subnet();
    let auditors = chain.auditors(subnet, auditors);
    World {
        subnet,
        servers,
        auditors,
    }
}

/// Authors blocks until one has an event like this. That may take a while where a pass is looked at again
/// and nobody comes.
fn until<R>(chain: &mut Chain, pick: impl Fn(&RuntimeEvent) -> Option<R>) -> R {
    for _ in 0..1_500 {
        chain.block(vec![]);
        if let Some(found) = chain.events().iter().find_map(&pick) {
            return found;
        }
    }
    panic!("it does not happen");
}

/// The consumer's session is served, settled and drawn: every server's work is audited.
fn drawn(chain: &mut Chain, world: &World) -> SessionId {
    let session = chain.open(&consumer(), world.subnet, &world.servers, POSITIONS, 300);
    let positions: Vec<_> = world
        .servers
        .iter()
        .map(|server| (server.node, POSITIONS))
        .collect();
    let call = settle(chain, session, &session_key(), &positions, [7; 32]);
    chain.send(&consumer(), call);
    wait_for_draw(chain, session);
    session
}

fn wait_for_draw(chain: &mut Chain, session: SessionId) {
    until(chain, |event| match event {
        RuntimeEvent::Audits(audits::Event::SessionDrawn { session: id, .. }) => {
            (*id == session).then_some(())
        }
        _ => None,
    });
}

/// The head of a server's receipts.
fn head(subject: Subject) -> Digest {
    [subject.node as u8; 32]
}

/// The panel that is drawn, of the auditors there are.
fn panel<'a>(chain: &mut Chain, world: &'a World, subject: Subject) -> Vec<&'a Server> {
    let info = chain.read(|| Audits::audit_info(subject)).expect("is kept");
    assert!(matches!(info.stage, Stage::Committing { .. }), "{info:?}");
    let find = |node| {
        let mut auditors = world.auditors.iter();
        auditors.find(|auditor| auditor.node == node)
    };
    let members = info.members.iter();
    members
        .map(|member| find(member.node).expect("parties don't look at their own work"))
        .collect()
}

/// The panel says this.
fn say(chain: &mut Chain, world: &World, subject: Subject, verdicts: &[Verdict]) {
    let members = panel(chain, world, subject);
    assert_eq!(members.len(), verdicts.len());
    let finding = |verdict| Finding {
        verdict,
        head: head(subject),
        projection: [3; 32],
    };
    for (member, verdict) in members.iter().zip(verdicts) {
        let call = commit(chain, subject, member, &finding(*verdict));
        chain.send(&member.hot, call);
    }
    for (member, verdict) in members.iter().zip(verdicts) {
        chain.send(&member.hot, reveal(subject, member, finding(*verdict)));
    }
    for member in members {
        assert_eq!(chain.fees_of(&member.hot), 0, "doing one's duty is free");
    }
}

/// The auditor says this, the server stands by its work, and the committee is drawn.
fn accused<'a>(
    chain: &mut Chain,
    world: &'a World,
    subject: Subject,
    server: &Server,
    verdict: Verdict,
) -> &'a Server {
    let auditor = panel(chain, world, subject)[0];
    say(chain, world, subject, &[verdict]);
    chain.send(&server.hot, answer(subject, head(subject)));
    until(chain, |event| match event {
        RuntimeEvent::Audits(audits::Event::PanelDrawn { subject: of, .. }) => {
            (*of == subject).then_some(())
        }
        _ => None,
    });
    auditor
}

fn outcome(chain: &mut Chain, subject: Subject) -> Option<Outcome> {
    match chain.read(|| Audits::audit_info(subject))?.stage {
        Stage::Closed { outcome, .. } => Some(outcome),
        _ => None,
    }
}

fn applied(event: &RuntimeEvent) -> Option<(u32, u128)> {
    match event {
        RuntimeEvent::Slashing(slashing::Event::CaseApplied { node, taken, .. }) => {
            Some((*node, *taken))
        }
        _ => None,
    }
}

fn paid_out(event: &RuntimeEvent) -> Option<(u128, u128)> {
    match event {
        RuntimeEvent::Inference(inference::Event::SessionClosed { paid, refunded, .. }) => {
            Some((*paid, *refunded))
        }
        _ => None,
    }
}

fn small(amount: u128) -> i128 {
    i128::try_from(amount).expect("is small")
}

#[test]
fn a_cheat_is_caught_convicted_and_slashed_and_who_is_honest_is_paid() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        let world = world(chain, 9);
        let [cheat, honest, third_server] = &world.servers;
        chain.mark();
        let session = drawn(chain, &world);
        let of = |server: &Server| Subject {
            session,
            node: server.node,
        };
        // Nothing is paid while anybody looks.
        let error = inference::Error::<Runtime>::PayoutWithheld;
        chain.refused(&honest.cold, finalize(session), error);
        for server in [honest, third_server] {
            say(chain, &world, of(server), &[Verdict::Pass]);
        }
        let auditor = accused(chain, &world, of(cheat), cheat, Verdict::Fail);
        let error = subnets::Error::<Runtime>::NodeBonded;
        chain.refused(&auditor.cold, remove_node(auditor.node), error);
        assert!(!panel(chain, &world, of(cheat))
            .iter()
            .any(|member| member.node == auditor.node));

        // Five of seven found the same.
        let mut verdicts = [Verdict::Fail; 7];
        verdicts[2] = Verdict::Pass;
        verdicts[5] = Verdict::Inconclusive;
        say(chain, &world, of(cheat), &verdicts);
        assert_eq!(outcome(chain, of(cheat)), Some(Outcome::Convicted));

        let (paid, refunded) = until(chain, paid_out);
        assert_eq!((paid, refunded), (2 * third(POSITIONS), third(POSITIONS)));
        for server in [honest, third_server] {
            assert_eq!(outcome(chain, of(server)), Some(Outcome::Passed));
        }
        let (node, taken) = until(chain, applied);
        assert_eq!(node, cheat.node);
        // Three hundred prices of its work, which is more than 1 % of its bond.
        assert_eq!(taken, 300 * third(POSITIONS));
        assert!(taken > Staking::minimum_self_bond() / 100);
        let left = Staking::minimum_self_bond() - taken;
        assert_eq!(chain.read(|| Staking::slashable(cheat.node)), left);
        chain.assert_moved(&[
            (&cheat.cold, -small(taken)),
            (&honest.cold, gain(POSITIONS)),
            (&third_server.cold, gain(POSITIONS)),
            (&consumer(), small(taken / 5) - 2 * gain(POSITIONS)),
            (&auditor.cold, small(taken * 2 / 5)),
        ]);
    });
}

#[test]
fn a_lying_auditor_loses_what_it_stakes_and_the_server_has_its_pay() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        let world = world(chain, 9);
        let [accused_server, honest, third_server] = &world.servers;
        chain.mark();
        let session = drawn(chain, &world);
        let of = |server: &Server| Subject {
            session,
            node: server.node,
        };
        for server in [honest, third_server] {
            say(chain, &world, of(server), &[Verdict::Pass]);
        }
        let subject = of(accused_server);
        let liar = accused(chain, &world, subject, accused_server, Verdict::Fail);
        say(chain, &world, subject, &[Verdict::Pass; 7]);
        assert_eq!(outcome(chain, subject), Some(Outcome::Acquitted));
        let cause = Cause::FalseVerdict {
            session,
            server: accused_server.node,
        };
        let charged = |node| slashing::CaseByCause::<Runtime>::contains_key(node, cause);
        assert!(chain.read(|| charged(liar.node)));
        let (paid, _) = until(chain, paid_out);
        assert_eq!(paid, 3 * third(POSITIONS));
        assert_eq!(until(chain, applied), (liar.node, STAKED));
        chain.assert_moved(&[
            (&liar.cold, -small(STAKED)),
            (&accused_server.cold, gain(POSITIONS) + small(STAKED / 5)),
            (&honest.cold, gain(POSITIONS)),
            (&third_server.cold, gain(POSITIONS)),
            (&consumer(), -3 * gain(POSITIONS)),
        ]);
    });
}

#[test]
fn who_does_not_answer_an_accusation_withheld_its_data_and_its_job_is_not_paid() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        let world = world(chain, 3);
        // A job this time: its requester must not pay for an answer that nobody can check.
        const FEE: u128 = 3 * QPU;
        let call = request(world.subnet, "Why?", FEE);
        let events = chain.send(&Key::new("Eve"), call);
        let (job, node) = event!(
            events,
            Inference(inference::Event::JobRequested { job, node, .. }) => (*job, *node)
        );
        let mut servers = world.servers.iter();
        let drawn_server = servers.find(|server| server.node == node).expect("serves");
        let session = chain.open(&drawn_server.cold, world.subnet, &world.servers, 20, 60);
        let positions: Vec<_> = world.servers.iter().map(|one| (one.node, 20)).collect();
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&drawn_server.cold, call);
        let result = submit_result(job, "Scattering.", session, [7; 32]);
        chain.send(&drawn_server.hot, result);
        wait_for_draw(chain, session);

        let of = |server: &Server| Subject {
            session,
            node: server.node,
        };
        let [silent, rest @ ..] = &world.servers;
        for server in rest {
            say(chain, &world, of(server), &[Verdict::Pass]);
        }
        say(chain, &world, of(silent), &[Verdict::Withheld]);
        let (node, taken) = until(chain, applied);
        assert_eq!(
            (node, taken),
            (silent.node, Staking::minimum_self_bond() / 50)
        );
        // The others' audits take longer than the slash.
        let refunded = until(chain, |event| match event {
            RuntimeEvent::Inference(inference::Event::JobRefunded { amount, .. }) => Some(*amount),
            _ => None,
        });
        assert_eq!(refunded, FEE);
        assert_eq!(outcome(chain, of(silent)), Some(Outcome::Withheld));
        let info = chain.read(|| Inference::job_info(job)).expect("is kept");
        assert!(matches!(info.status, JobStatus::Done { paid: false, .. }));
    });
}

#[test]
fn a_wrong_answer_costs_who_gave_it_and_whoever_served_it_is_paid() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        const FEE: u128 = 3 * QPU;
        let (world, eve) = (world(chain, 9), Key::new("Eve"));
        chain.mark();
        let events = chain.send(&eve, request(world.subnet, "Why?", FEE));
        let (job, node) = event!(
            events,
            Inference(inference::Event::JobRequested { job, node, .. }) => (*job, *node)
        );
        let mut servers = world.servers.iter();
        let cheat = servers.find(|server| server.node == node).expect("serves");
        let session = chain.open(&cheat.cold, world.subnet, &world.servers, POSITIONS, 60);
        let positions: Vec<_> = world
            .servers
            .iter()
            .map(|one| (one.node, POSITIONS))
            .collect();
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&cheat.cold, call);
        let info = chain.read(|| Inference::session_info(session));
        assert_eq!(info.expect("is kept").job, None);
        let result = submit_result(job, "Because.", session, [7; 32]);
        chain.send(&cheat.hot, result);
        let info = chain.read(|| Inference::session_info(session));
        assert_eq!(info.expect("is kept").job, Some(job));
        wait_for_draw(chain, session);

        let of = |server: &Server| Subject {
            session,
            node: server.node,
        };
        let honest: Vec<_> = world
            .servers
            .iter()
            .filter(|server| server.node != cheat.node)
            .collect();
        for server in &honest {
            say(chain, &world, of(server), &[Verdict::Pass]);
        }
        let auditor = accused(chain, &world, of(cheat), cheat, Verdict::Fail);
        say(chain, &world, of(cheat), &[Verdict::Fail; 7]);
        assert_eq!(outcome(chain, of(cheat)), Some(Outcome::Convicted));
        let (paid, refunded) = until(chain, paid_out);
        assert_eq!((paid, refunded), (2 * third(POSITIONS), third(POSITIONS)));
        let (node, taken) = until(chain, applied);
        assert_eq!(node, cheat.node);
        // What it was to get for its blocks and for the answer.
        assert_eq!(taken, 300 * (third(POSITIONS) + FEE));
        chain.assert_moved(&[
            (&eve, small(taken / 5)),
            (&cheat.cold, -small(taken) - 2 * gain(POSITIONS)),
            (&honest[0].cold, gain(POSITIONS)),
            (&honest[1].cold, gain(POSITIONS)),
            (&auditor.cold, small(taken * 2 / 5)),
        ]);
    });
}

#[test]
fn who_does_not_look_holds_a_session_up_for_a_while_and_in_the_end_nothing_is_left_of_it() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        let world = world(chain, 2);
        let before = chain.footprint(&OURS);
        let session = drawn(chain, &world);
        // Three times somebody is drawn for each server; nobody comes.
        let (paid, _) = until(chain, paid_out);
        assert_eq!(paid, 3 * third(POSITIONS));
        for server in &world.servers {
            let subject = Subject {
                session,
                node: server.node,
            };
            assert_eq!(outcome(chain, subject), Some(Outcome::Unresolved));
        }
        chain.run_to(chain.number() + 120);
        let left = chain.footprint(&OURS).changes_since(&before);
        let left: Vec<_> = left.iter().map(String::as_str).collect();
        let counters = [
            "Audits.DeadlineCursor",
            "Audits.DrawCursor",
            "Audits.Seeds",
            "Inference.Cursor",
            "Inference.NextSession",
            "Staking.CurrentEra",
            "Staking.PlannedEra",
        ];
        assert_eq!(left, counters);
    });
}

#[test]
fn a_swarm_in_which_everybody_is_a_party_is_paid_when_its_draw_has_come() {
    audited_story(genesis::LOCAL_FAST, clock, |chain| {
        let world = world(chain, 0);
        let session = drawn(chain, &world);
        let events = chain.events();
        let missing = events.iter().filter(|event| {
            matches!(
                event,
                RuntimeEvent::Audits(audits::Event::PanelMissing {
                    round: Round::First,
                    ..
                })
            )
        });
        assert_eq!(missing.count(), 3);
        // In which of the two blocks it is paid out depends on whose turn on_idle is.
        let mut paid = events.iter().find_map(paid_out);
        if paid.is_none() {
            chain.block(vec![]);
            paid = chain.events().iter().find_map(paid_out);
        }
        if paid.is_none() {
            chain.send(&Key::new("Eve"), finalize(session));
            paid = chain.events().iter().find_map(paid_out);
        }
        assert_eq!(paid, Some((3 * third(POSITIONS), 0)));
    });
}

#[test]
fn governance_says_how_much_is_audited() {
    story_at(genesis::LOCAL_FAST, clock, |chain| {
        let rate = sp_runtime::Perbill::from_percent(2);
        let call = audits::Call::<Runtime>::set_rate { rate };
        let error = sp_runtime::DispatchError::BadOrigin;
        chain.refused(&Key::new("Eve"), call.clone(), error);
        let sudo = pallet_sudo::Call::sudo {
            call: Box::new(call.into()),
        };
        chain.send(&Key::new("Alice"), sudo);
        assert_eq!(chain.read(audits::Rate::<Runtime>::get), rate);
        // The chain's own default is that of the design.
        let default = <Runtime as audits::Config>::DefaultRate::get();
        assert_eq!(default, rate);
    });
}
