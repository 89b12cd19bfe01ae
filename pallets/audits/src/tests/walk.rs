//! Whatever anybody does, in whatever order: each audit goes forward, ends, and leaves nothing behind.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    /// The session ends.
    End(u64),
    /// This member of the panel commits to this, or tries to.
    Commit(Subject, u8, u8),
    /// This one reveals it, or tries to.
    Reveal(Subject, u8, u8),
    /// The server answers, perhaps with other work.
    Answer(Subject, bool),
    /// All that is due on the panel is done at once: everybody says this.
    Agree(Subject, u8),
    Blocks(u64),
    Rate(u8),
    Again(bool),
}

fn verdict(number: u8) -> Verdict {
    match number % 4 {
        0 => Verdict::Pass,
        1 => Verdict::Fail,
        2 => Verdict::Inconclusive,
        _ => Verdict::Withheld,
    }
}

fn subjects() -> impl Strategy<Value = Subject> {
    let node = prop_oneof![Just(SAM), Just(SUE), Just(STAN)];
    (0..6u64, node).prop_map(|(session, node)| Subject { session, node })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..6u64).prop_map(Step::End),
        3 => (subjects(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Step::Commit(a, b, c)),
        3 => (subjects(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Step::Reveal(a, b, c)),
        2 => (subjects(), any::<bool>()).prop_map(|(a, b)| Step::Answer(a, b)),
        5 => (subjects(), any::<u8>()).prop_map(|(a, b)| Step::Agree(a, b)),
        5 => (1..2 * EPOCH).prop_map(Step::Blocks),
        1 => (0..=100u8).prop_map(Step::Rate),
        1 => any::<bool>().prop_map(Step::Again),
    ]
}

/// The member at this place of the panel, going round.
fn member(subject: Subject, place: u8) -> Option<NodeId> {
    let audit = crate::Audits::<Test>::get(subject.session, subject.node)?;
    let members = audit.members;
    let place = usize::from(place) % members.len().max(1);
    members.get(place).map(|member| member.node)
}

fn take(step: &Step) {
    match step {
        Step::End(session) => Audits::ended(*session),
        Step::Commit(subject, place, said) => {
            if let Some(member) = member(*subject, *place) {
                let _ = commit(*subject, member, finding(*subject, verdict(*said)));
            }
        }
        Step::Reveal(subject, place, said) => {
            if let Some(member) = member(*subject, *place) {
                let _ = reveal(*subject, member, finding(*subject, verdict(*said)));
            }
        }
        Step::Answer(subject, same) => {
            let head = if *same { head(subject.node) } else { [77; 32] };
            let _ = answer(*subject, subject.node, head);
        }
        Step::Agree(subject, said) => {
            let found = finding(*subject, verdict(*said));
            for step in [commit, reveal] {
                for place in 0..15 {
                    if let Some(member) = member(*subject, place) {
                        let _ = step(*subject, member, found);
                    }
                }
            }
        }
        Step::Blocks(blocks) => run(*blocks),
        Step::Rate(percent) => {
            let rate = Perbill::from_percent(u32::from(*percent));
            assert_ok!(Audits::set_rate(RuntimeOrigin::root(), rate));
        }
        Step::Again(again) => SecondRate::set(Perbill::from_percent(if *again { 50 } else { 0 })),
    }
    Audits::do_try_state().unwrap();
}

/// How far an audit is: this only ever grows.
fn progress(audit: &Audit<AccountId, u64>) -> (bool, Round, u8, u32, u8) {
    let asked = audit.accusation.is_some();
    let stage = match audit.stage {
        Stage::Waiting { .. } => 0,
        Stage::Committing { .. } => 1,
        Stage::Revealing { .. } => 2,
        Stage::Answering { .. } => 3,
        Stage::Closed { .. } => 4,
    };
    let closed = audit.stage.is_closed();
    (closed, audit.round, u8::from(asked), audit.attempts, stage)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn audits_go_forward_and_end(walk in prop::collection::vec(steps(), 1..120)) {
        new_test_ext().execute_with(|| {
            for session in 0..6 {
                let servers = vec![(SAM, POSITIONS), (SUE, POSITIONS), (STAN, session as u32)];
                SessionOf::insert(session, (CARL, servers));
            }
            let mut ended = std::collections::BTreeSet::new();
            let mut before = BTreeMap::new();
            for step in &walk {
                // A session ends once.
                if let Step::End(session) = step {
                    if !ended.insert(*session) {
                        continue;
                    }
                }
                take(step);
                for (session, node, audit) in crate::Audits::<Test>::iter() {
                    let now = progress(&audit);
                    let then = before.insert((session, node), now);
                    prop_assert!(then.is_none_or(|then| then <= now), "{then:?} to {now:?}");
                }
                // Nobody is charged twice with the same (the world would have refused), and nobody
                // who is convicted keeps what it earned.
                for (node, cause, ..) in charges() {
                    let (Cause::Computation { session } | Cause::Withheld { session }) = cause else {
                        continue;
                    };
                    prop_assert!(Forfeits::<Test>::contains_key(session, node));
                }
            }
            // Left alone, all of it comes to an end.
            run(40 * EPOCH + RETENTION);
            prop_assert_eq!(crate::Audits::<Test>::iter().count(), 0);
            prop_assert_eq!(Draws::<Test>::iter().count(), 0);
            prop_assert_eq!(Deadlines::<Test>::iter().count(), 0);
            prop_assert_eq!(Bound::<Test>::iter().count(), 0);
            for session in ended {
                prop_assert!(Audits::may_pay_out(session));
                Audits::take_forfeits(session);
            }
            prop_assert_eq!(Forfeits::<Test>::iter().count(), 0);
            Ok(())
        })?;
    }
}
