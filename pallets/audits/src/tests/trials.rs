//! What follows where an auditor does not let a server pass.

use super::*;

fn computation(reporter: Option<AccountId>) -> Charging {
    let price = u128::from(POSITIONS) * PRICE;
    let session = SESSION;
    (
        SAM,
        Cause::Computation { session },
        price,
        reporter,
        Some(CARL),
    )
}

fn withheld(reporter: Option<AccountId>) -> Charging {
    let price = u128::from(POSITIONS) * PRICE;
    let session = SESSION;
    (
        SAM,
        Cause::Withheld { session },
        price,
        reporter,
        Some(CARL),
    )
}

fn false_verdict(auditor: NodeId, victim: AccountId) -> Charging {
    let cause = Cause::FalseVerdict {
        session: SESSION,
        server: SAM,
    };
    (auditor, cause, STAKED, None, Some(victim))
}

#[test]
fn a_cheat_is_convicted_and_an_honest_server_of_the_same_session_is_paid() {
    new_test_ext().execute_with(|| {
        drawn();
        say(of(SUE), &[Verdict::Pass]);
        let auditor = accused(of(SAM), Verdict::Fail);
        let committee = members(of(SAM));
        assert_eq!(committee.len(), 7);
        assert!(!committee.contains(&auditor));
        assert!(!Audits::may_pay_out(SESSION));
        say(
            of(SAM),
            &verdicts(&[(2, Verdict::Pass), (5, Verdict::Fail)]),
        );
        assert_eq!(outcome(of(SAM)), Some(Outcome::Convicted));
        assert_eq!(charges(), [computation(Some(cold(auditor)))]);
        run_to(draws_at());
        assert!(Audits::may_pay_out(SESSION));
        assert_eq!(Audits::take_forfeits(SESSION), [SAM]);
        assert!(Audits::take_forfeits(SESSION).is_empty());
    });
}

#[test]
fn who_said_what_turned_out_to_be_so_is_thanked() {
    const FULL: u128 = POSITIONS as u128 * PRICE;
    // The outcome of a trial, and which of its members agree with it.
    let trials = [
        (verdicts(&[(5, Verdict::Fail), (2, Verdict::Pass)]), 0..5),
        (verdicts(&[(2, Verdict::Fail), (5, Verdict::Pass)]), 2..7),
        (
            verdicts(&[(1, Verdict::Pass), (6, Verdict::Withheld)]),
            1..7,
        ),
    ];
    for (said, right) in trials {
        new_test_ext().execute_with(|| {
            drawn();
            accused(of(SAM), Verdict::Fail);
            let mut agreed = members(of(SAM))[right].to_vec();
            say(of(SAM), &said);
            agreed.sort_unstable();
            assert_eq!(thanked(FULL), agreed);
        });
    }
    // Where the server is silent nobody was needed but the accuser, who is paid by the slash.
    new_test_ext().execute_with(|| {
        drawn();
        say(of(SAM), &[Verdict::Withheld]);
        run(ANSWER);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Withheld));
        assert!(thanked(FULL).is_empty());
    });
    // Nor is anybody thanked whose work came to nothing.
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Fail);
        say(
            of(SAM),
            &verdicts(&[(4, Verdict::Fail), (3, Verdict::Pass)]),
        );
        assert_eq!(audit(of(SAM)).round, Round::Tribunal);
        assert!(thanked(FULL).is_empty());
    });
}

#[test]
fn everybody_who_let_honest_work_pass_is_thanked() {
    new_test_ext().execute_with(|| {
        SecondRate::set(Perbill::one());
        drawn();
        let first = members(of(SAM))[0];
        say(of(SAM), &[Verdict::Pass]);
        assert!(Done::get().is_none(), "not before it is over");
        run_to(draws_at());
        let second = members(of(SAM))[0];
        say(of(SAM), &[Verdict::Pass]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Passed));
        let mut both = vec![first, second];
        both.sort_unstable();
        assert_eq!(thanked(POSITIONS as u128 * PRICE), both);
    });
}

#[test]
fn a_lying_auditor_loses_what_it_staked() {
    new_test_ext().execute_with(|| {
        drawn();
        let auditor = accused(of(SAM), Verdict::Fail);
        say(
            of(SAM),
            &verdicts(&[(5, Verdict::Pass), (2, Verdict::Fail)]),
        );
        assert_eq!(outcome(of(SAM)), Some(Outcome::Acquitted));
        assert_eq!(charges(), [false_verdict(auditor, cold(SAM))]);
        assert!(Audits::take_forfeits(SESSION).is_empty());
    });
}

#[test]
fn who_let_a_cheat_pass_is_charged_when_another_finds_it() {
    new_test_ext().execute_with(|| {
        SecondRate::set(Perbill::one());
        drawn();
        let lazy = members(of(SAM))[0];
        say(of(SAM), &[Verdict::Pass]);
        run_to(draws_at());
        let auditor = accused(of(SAM), Verdict::Fail);
        assert!(!members(of(SAM)).contains(&lazy));
        say(of(SAM), &[Verdict::Fail; 7]);
        let expected = [computation(Some(cold(auditor))), false_verdict(lazy, CARL)];
        assert_eq!(charges(), expected);
    });
}

#[test]
fn who_let_other_work_pass_is_not_to_blame() {
    new_test_ext().execute_with(|| {
        SecondRate::set(Perbill::one());
        drawn();
        say(of(SAM), &[Verdict::Pass]);
        run_to(draws_at());
        // The server stands by other work than it showed the first auditor.
        let auditor = members(of(SAM))[0];
        say(of(SAM), &[Verdict::Fail]);
        assert_ok!(answer(of(SAM), SAM, [77; 32]));
        run_to(draws_at());
        let other = Finding {
            head: [77; 32],
            ..finding(of(SAM), Verdict::Fail)
        };
        let committee = members(of(SAM));
        for member in &committee {
            assert_ok!(commit(of(SAM), *member, other));
        }
        for member in &committee {
            assert_ok!(reveal(of(SAM), *member, other));
        }
        assert_eq!(outcome(of(SAM)), Some(Outcome::Convicted));
        assert_eq!(charges(), [computation(Some(cold(auditor)))]);
    });
}

#[test]
fn an_accused_server_that_says_nothing_withholds_its_data() {
    for verdict in [Verdict::Fail, Verdict::Withheld] {
        new_test_ext().execute_with(|| {
            drawn();
            let auditor = members(of(SAM))[0];
            say(of(SAM), &[verdict]);
            run(ANSWER - 1);
            assert_eq!(outcome(of(SAM)), None);
            run(1);
            assert_eq!(outcome(of(SAM)), Some(Outcome::Withheld));
            assert_eq!(charges(), [withheld(Some(cold(auditor)))]);
            assert_eq!(Audits::take_forfeits(SESSION), [SAM]);
        });
    }
}

#[test]
fn data_that_nobody_gets_is_withheld_and_data_that_comes_late_costs_nobody() {
    new_test_ext().execute_with(|| {
        drawn();
        let auditor = accused(of(SAM), Verdict::Withheld);
        say(
            of(SAM),
            &verdicts(&[(5, Verdict::Withheld), (2, Verdict::Pass)]),
        );
        assert_eq!(outcome(of(SAM)), Some(Outcome::Withheld));
        assert_eq!(charges(), [withheld(Some(cold(auditor)))]);
    });
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Withheld);
        say(of(SAM), &[Verdict::Pass; 7]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Acquitted));
        assert!(charges().is_empty());
    });
}

#[test]
fn who_can_not_tell_accuses_nobody_and_a_trial_looks() {
    new_test_ext().execute_with(|| {
        drawn();
        say(of(SAM), &[Verdict::Inconclusive]);
        // The server need not even answer.
        run(ANSWER);
        assert_eq!(audit(of(SAM)).round, Round::Committee);
        run_to(draws_at());
        say(of(SAM), &[Verdict::Pass; 7]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Acquitted));
        assert!(charges().is_empty());
    });
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Inconclusive);
        say(of(SAM), &[Verdict::Fail; 7]);
        // Nobody reported it.
        assert_eq!(charges(), [computation(None)]);
    });
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Inconclusive);
        say(of(SAM), &[Verdict::Inconclusive; 7]);
        run_to(draws_at());
        say(of(SAM), &[Verdict::Inconclusive; 15]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Unresolved));
        assert!(charges().is_empty());
    });
}

#[test]
fn where_too_few_of_seven_agree_fifteen_decide() {
    for (fail, decided) in [
        (11, Outcome::Convicted),
        (10, Outcome::Unresolved),
        (4, Outcome::Acquitted),
    ] {
        new_test_ext().execute_with(|| {
            drawn();
            let auditor = accused(of(SAM), Verdict::Fail);
            say(
                of(SAM),
                &verdicts(&[(4, Verdict::Fail), (3, Verdict::Pass)]),
            );
            assert_eq!(outcome(of(SAM)), None);
            assert_eq!(audit(of(SAM)).round, Round::Tribunal);
            run_to(draws_at());
            assert_eq!(members(of(SAM)).len(), 15);
            say(
                of(SAM),
                &verdicts(&[(fail, Verdict::Fail), (15 - fail, Verdict::Pass)]),
            );
            assert_eq!(outcome(of(SAM)), Some(decided));
            let expected = match decided {
                Outcome::Convicted => vec![computation(Some(cold(auditor)))],
                Outcome::Acquitted => vec![false_verdict(auditor, cold(SAM))],
                _ => vec![],
            };
            assert_eq!(charges(), expected);
        });
    }
}

#[test]
fn members_who_do_not_come_are_missed_and_those_who_come_decide() {
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Fail);
        let committee = members(of(SAM));
        let fail = finding(of(SAM), Verdict::Fail);
        // One does not commit, one does not reveal.
        for member in &committee[1..] {
            assert_ok!(commit(of(SAM), *member, fail));
        }
        assert_noop!(reveal(of(SAM), committee[2], fail), E::NotRevealing);
        run(COMMIT);
        System::reset_events();
        for member in &committee[2..] {
            assert_ok!(reveal(of(SAM), *member, fail));
        }
        assert_eq!(outcome(of(SAM)), None);
        run(REVEAL);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Convicted));
        let subject = of(SAM);
        let node = committee[1];
        assert!(events().contains(&Event::DutyMissed { subject, node }));
        let node = committee[0];
        assert!(
            !events().contains(&Event::DutyMissed { subject, node }),
            "twice"
        );
    });
}

#[test]
fn a_trial_that_can_not_be_staffed_ends_without_harm() {
    // Four who may judge are too few for a committee, seven too few for a tribunal.
    for (judges, round) in [(4, Round::Committee), (7, Round::Tribunal)] {
        new_test_ext().execute_with(|| {
            drawn();
            let auditor = members(of(SAM))[0];
            say(of(SAM), &[Verdict::Fail]);
            assert_ok!(answer(of(SAM), SAM, head(SAM)));
            let rest = OTHERS.filter(|other| *other != auditor).skip(judges);
            // Sue's auditor has to stay.
            rest.for_each(|other| node(other, 0));
            run_to(draws_at());
            if round == Round::Tribunal {
                say(
                    of(SAM),
                    &verdicts(&[(4, Verdict::Fail), (3, Verdict::Pass)]),
                );
                run_to(draws_at());
            }
            assert_eq!(outcome(of(SAM)), Some(Outcome::Unresolved));
            let subject = of(SAM);
            assert!(events().contains(&Event::PanelMissing { subject, round }));
            assert!(charges().is_empty());
        });
    }
}
