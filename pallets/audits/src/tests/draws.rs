//! Who is audited, by whom, and when it is paid.

use super::*;

#[test]
fn a_session_waits_for_randomness_that_nobody_knew_when_it_ended() {
    new_test_ext().execute_with(|| {
        // The last block of an epoch: the next epoch's randomness is all but known.
        run_to(2 * EPOCH - 1);
        Audits::ended(SESSION);
        assert!(!Audits::may_pay_out(SESSION));
        run_to(3 * EPOCH - 1);
        assert!(crate::Audits::<Test>::iter().next().is_none());
        System::reset_events();
        run_to(3 * EPOCH);
        // Stan stood by and did nothing.
        let servers = vec![SAM, SUE];
        let session = SESSION;
        let drawn = Event::<Test>::SessionDrawn { session, servers };
        assert!(events().contains(&drawn));
        for server in [SAM, SUE] {
            let [auditor] = members(of(server))[..] else {
                panic!("one auditor");
            };
            assert!(OTHERS.contains(&auditor), "{auditor} is a party");
        }
        assert!(!Audits::may_pay_out(SESSION));
    });
}

#[test]
fn anybody_can_repeat_a_draw() {
    new_test_ext().execute_with(|| {
        Audits::ended(SESSION);
        run_to(draws_at());
        let all = events();
        let drawn = all.iter().find_map(|event| match event {
            Event::PanelDrawn {
                subject,
                members,
                seed,
                ..
            } if *subject == of(SAM) => Some((members.clone(), *seed)),
            _ => None,
        });
        let (members, seed) = drawn.unwrap();
        assert!(Seeds::<Test>::get().contains(&(2, seed)));
        assert!(crate::draw::is_audited(&seed, of(SAM), Perbill::one()));
        let pool = OTHERS.map(|node| (node, 10 * MIN_BOND)).collect();
        let again = crate::draw::panel(&seed, of(SAM), Round::First, 0, pool);
        assert_eq!(members, again);
    });
}

#[test]
fn what_is_not_drawn_is_paid_then() {
    new_test_ext().execute_with(|| {
        Audits::ended(SESSION);
        Audits::ended(SESSION);
        assert_eq!(Holds::<Test>::get(SESSION), 1);
        // What is drawn is drawn at the rate of that moment.
        assert_ok!(Audits::set_rate(RuntimeOrigin::root(), Perbill::zero()));
        run_to(draws_at());
        assert!(Audits::may_pay_out(SESSION));
        assert!(crate::Audits::<Test>::iter().next().is_none());
        assert!(Audits::take_forfeits(SESSION).is_empty());
        assert_eq!(Draws::<Test>::iter().count(), 0);
    });
}

#[test]
fn where_nothing_is_audited_nothing_waits() {
    new_test_ext().execute_with(|| {
        assert_ok!(Audits::set_rate(RuntimeOrigin::root(), Perbill::zero()));
        Audits::ended(SESSION);
        assert!(Audits::may_pay_out(SESSION));
        assert_eq!(Draws::<Test>::iter().count(), 0);
    });
}

#[test]
fn sessions_without_work_and_unknown_ones_wait_for_nothing() {
    new_test_ext().execute_with(|| {
        SessionOf::insert(6, (CARL, vec![(SAM, 0)]));
        for session in [6, 404] {
            Audits::ended(session);
            assert!(Audits::may_pay_out(session));
        }
        // A session that is gone when its draw comes holds nothing up.
        Audits::ended(SESSION);
        SessionOf::remove(SESSION);
        run_to(draws_at());
        assert!(Audits::may_pay_out(SESSION));
    });
}

#[test]
fn a_pass_ends_the_audit_once_it_is_clear_that_nobody_looks_again() {
    new_test_ext().execute_with(|| {
        drawn();
        for server in [SAM, SUE] {
            say(of(server), &[Verdict::Pass]);
            assert_eq!(outcome(of(server)), None);
        }
        run_to(draws_at() - 1);
        assert!(!Audits::may_pay_out(SESSION));
        run(1);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Passed));
        assert_eq!(outcome(of(SUE)), Some(Outcome::Passed));
        assert!(Audits::may_pay_out(SESSION));
        assert!(Audits::take_forfeits(SESSION).is_empty());
        assert!(charges().is_empty());
        // The record goes in the end, and with it all there was.
        run(RETENTION);
        assert!(crate::Audits::<Test>::iter().next().is_none());
        assert_eq!(Deadlines::<Test>::iter().count(), 0);
    });
}

#[test]
fn now_and_then_another_one_looks_again() {
    new_test_ext().execute_with(|| {
        SecondRate::set(Perbill::one());
        drawn();
        let first = members(of(SAM))[0];
        say(of(SAM), &[Verdict::Pass]);
        run_to(draws_at());
        assert_eq!(audit(of(SAM)).round, Round::Second);
        let second = members(of(SAM))[0];
        assert_ne!(first, second);
        say(of(SAM), &[Verdict::Pass]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Passed));
    });
}

#[test]
fn who_owns_a_party_does_not_look() {
    new_test_ext().execute_with(|| {
        // All but one of those who have nothing to do with it have: they are Sam's, Carl's, or Carl
        // signs for them.
        let [honest, rest @ ..] = &OTHERS.collect::<Vec<_>>()[..] else {
            panic!("others");
        };
        for (index, node) in rest.iter().enumerate() {
            let (coldkey, hotkey) = match index % 3 {
                0 => (cold(SAM), hot(*node)),
                1 => (CARL, hot(*node)),
                _ => (cold(*node), CARL),
            };
            NodeOf::insert(node, (coldkey, hotkey, 10 * MIN_BOND));
        }
        drawn();
        assert_eq!(members(of(SAM)), [*honest]);
        assert_eq!(members(of(SUE)), [*honest]);
    });
}

#[test]
fn who_stood_by_and_did_nothing_may_look_and_who_worked_may_not() {
    new_test_ext().execute_with(|| {
        OTHERS.for_each(NodeOf::remove);
        node(STAN, 10 * MIN_BOND);
        drawn();
        assert_eq!(members(of(SAM)), [STAN]);
        assert_eq!(members(of(SUE)), [STAN]);
    });
    new_test_ext().execute_with(|| {
        OTHERS.for_each(NodeOf::remove);
        node(STAN, 10 * MIN_BOND);
        let servers = vec![(SAM, POSITIONS), (SUE, POSITIONS), (STAN, 1)];
        SessionOf::insert(SESSION, (CARL, servers));
        Audits::ended(SESSION);
        run_to(draws_at());
        assert!(crate::Audits::<Test>::iter().next().is_none());
    });
}

#[test]
fn who_has_too_little_bonded_does_not_look() {
    new_test_ext().execute_with(|| {
        for other in OTHERS {
            let bond = if other == 33 { MIN_BOND } else { MIN_BOND - 1 };
            node(other, bond);
        }
        drawn();
        assert_eq!(members(of(SAM)), [33]);
    });
}

#[test]
fn without_anybody_to_look_the_session_is_paid() {
    new_test_ext().execute_with(|| {
        OTHERS.for_each(NodeOf::remove);
        Audits::ended(SESSION);
        run_to(draws_at());
        assert!(crate::Audits::<Test>::iter().next().is_none());
        assert!(Audits::may_pay_out(SESSION));
        let missing = |server| Event::<Test>::PanelMissing {
            subject: of(server),
            round: Round::First,
        };
        assert!(events().contains(&missing(SAM)) && events().contains(&missing(SUE)));
    });
}

#[test]
fn who_does_not_look_is_named_and_another_is_drawn() {
    new_test_ext().execute_with(|| {
        drawn();
        let mut drawn = Vec::new();
        for attempt in 0..ATTEMPTS {
            let auditor = members(of(SAM))[0];
            drawn.push(auditor);
            if attempt == 1 {
                // This one commits, and then says nothing.
                assert_ok!(commit(of(SAM), auditor, finding(of(SAM), Verdict::Pass)));
                run(REVEAL);
            } else {
                run(COMMIT);
            }
            let missed = Event::<Test>::DutyMissed {
                subject: of(SAM),
                node: auditor,
            };
            assert_eq!(events().iter().filter(|event| **event == missed).count(), 1);
            System::reset_events();
            if attempt + 1 < ATTEMPTS {
                assert_eq!(audit(of(SAM)).attempts, attempt + 1);
                run_to(draws_at());
            }
        }
        assert_eq!(outcome(of(SAM)), Some(Outcome::Unresolved));
        assert!(charges().is_empty());
        let missed = Missed::get().expect("some did nothing");
        assert!(drawn.iter().all(|node| missed.contains(node)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]), "{drawn:?}");
    });
}

#[test]
fn a_second_look_that_nobody_takes_changes_nothing() {
    new_test_ext().execute_with(|| {
        SecondRate::set(Perbill::one());
        drawn();
        say(of(SAM), &[Verdict::Pass]);
        for _ in 0..ATTEMPTS {
            run_to(draws_at());
            assert_eq!(audit(of(SAM)).round, Round::Second);
            run(COMMIT);
        }
        assert_eq!(outcome(of(SAM)), Some(Outcome::Passed));
    });
}

#[test]
fn nodes_stay_while_an_audit_needs_them() {
    new_test_ext().execute_with(|| {
        drawn();
        let auditor = members(of(SAM))[0];
        assert!(Audits::has_obligations(SAM) && Audits::has_obligations(auditor));
        assert!(!Audits::has_obligations(STAN));
        let listed = Audits::audits_of(SAM);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].subject, of(SAM));
        say(of(SAM), &[Verdict::Pass]);
        run_to(draws_at());
        assert_eq!(outcome(of(SAM)), Some(Outcome::Passed));
        assert!(!Audits::has_obligations(SAM));
        assert!(Audits::audits_of(SAM).is_empty());
        assert!(Audits::audit_info(of(SAM)).is_some());
    });
}

#[test]
fn a_chain_that_stood_still_draws_with_the_first_randomness_that_would_have_done() {
    new_test_ext().execute_with(|| {
        Audits::ended(SESSION);
        let now = 7 * EPOCH + 3;
        // No block of the epochs between.
        System::set_block_number(now - 1);
        run_to(now);
        let seed = Seeds::<Test>::get().last().copied().unwrap();
        assert_eq!(seed.0, 7);
        assert!(matches!(
            audit(of(SAM)).stage,
            Stage::Committing { until } if until == now + COMMIT
        ));
    });
}

#[test]
fn without_weight_nothing_is_drawn_and_nothing_is_lost() {
    use frame_support::{traits::OnIdle, weights::Weight};
    new_test_ext().execute_with(|| {
        Audits::ended(SESSION);
        let at = draws_at();
        run_to(at - 1);
        System::set_block_number(at);
        Audits::note_epoch();
        for steps in 0..3 {
            let limit = Weight::from_parts(steps * 1_000_000, u64::MAX);
            let used = Audits::on_idle(at, limit);
            assert!(used.all_lte(limit));
            Audits::do_try_state().unwrap();
            assert!(crate::Audits::<Test>::iter().next().is_none());
        }
        Audits::on_idle(at, Weight::MAX);
        assert_eq!(members(of(SAM)).len(), 1);
    });
}
