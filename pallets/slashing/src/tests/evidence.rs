//! What proves an equivocation, and what doesn't.

use super::*;
use quipu_primitives::Receipt;
use sp_core::Pair;

type Change = Box<dyn Fn(&mut Equivocation<AccountId32>)>;
type Case = (&'static str, Change, Error<Test>);

/// Changes the second receipt, and has Sam sign it again.
fn second(change: impl Fn(&mut Receipt) + 'static) -> Change {
    Box::new(move |evidence| {
        let mut receipt = evidence.second.receipt.clone();
        change(&mut receipt);
        evidence.second = signed("Sam", receipt);
    })
}

#[test]
fn what_proves_nothing_is_refused_by_name_and_costs_nobody_anything() {
    new_test_ext().execute_with(|| {
        let cases: Vec<Case> = vec![
            (
                "one receipt twice",
                Box::new(|it| it.second = it.first.clone()),
                Error::NoContradiction,
            ),
            (
                "one receipt with two signatures",
                second(|it| it.output = [7; 32]),
                Error::NoContradiction,
            ),
            (
                "the next receipt",
                second(|it| (it.start, it.end) = (32, 64)),
                Error::NoContradiction,
            ),
            (
                "no positions",
                second(|it| (it.start, it.end) = (5, 5)),
                Error::NoContradiction,
            ),
            (
                "of another session",
                second(|it| it.session = 6),
                Error::NoContradiction,
            ),
            (
                "of another node",
                second(|it| it.node = SUE),
                Error::NoContradiction,
            ),
            (
                "a session that never was",
                Box::new(|it| {
                    for signed_receipt in [&mut it.first, &mut it.second] {
                        let mut receipt = signed_receipt.receipt.clone();
                        receipt.session = 6;
                        *signed_receipt = signed("Sam", receipt);
                    }
                }),
                Error::NoSuchService,
            ),
            (
                "signed by another node",
                Box::new(|it| {
                    it.second_key = hotkey("Sue");
                    it.second = signed("Sue", it.second.receipt.clone());
                }),
                Error::NotItsHotkey,
            ),
            (
                "signed in another's name",
                Box::new(|it| it.second = signed("Sue", it.second.receipt.clone())),
                Error::BadSecondSignature,
            ),
            (
                "a signature of something else",
                Box::new(|it| it.first.signature[0] ^= 1),
                Error::BadFirstSignature,
            ),
            (
                "signed for another chain",
                Box::new(|it| {
                    let payload = it.first.receipt.payload(&[9; 32], &SESSION_KEY);
                    it.first.signature = key("Sam").sign(&payload).0;
                }),
                Error::BadFirstSignature,
            ),
            (
                "signed for a session that had its number on a fork",
                Box::new(|it| {
                    let genesis = System::block_hash(0).0;
                    let payload = it.second.receipt.payload(&genesis, &[9; 32]);
                    it.second.signature = key("Sam").sign(&payload).0;
                }),
                Error::BadSecondSignature,
            ),
        ];
        for (what, change, error) in cases {
            let mut evidence = evidence();
            change(&mut evidence);
            let refused = plain(report(rita(), evidence));
            assert_eq!(refused, Err(error.into()), "{what}");
        }
        assert_noop!(
            plain(run(
                RuntimeOrigin::none(),
                Call::report_equivocation {
                    evidence: Box::new(evidence())
                }
            )),
            DispatchError::BadOrigin
        );
        assert_eq!(Cases::<Test>::iter().count(), 0);
        assert!(Told::get().is_empty());
        assert_ok!(report(rita(), evidence()));
    });
}

#[test]
fn a_range_cut_short_contradicts_the_whole() {
    new_test_ext().execute_with(|| {
        let mut evidence = evidence();
        evidence.second = signed("Sam", receipt(31, 40, 7));
        assert_ok!(report(rita(), evidence));
        assert_eq!(Slashing::pending(SAM), STAKE);
    });
}

#[test]
fn one_session_costs_a_bond_once_and_old_evidence_nothing() {
    new_test_ext().execute_with(|| {
        assert_ok!(report(rita(), evidence()));
        // Other evidence of the same session is no other offence.
        let mut more = evidence();
        more.second = signed("Sam", receipt(0, 32, 9));
        assert_noop!(plain(report(carl(), more)), Error::<Test>::AlreadyCharged);
        run_to(1 + DEFER);
        bond(SAM, STAKE);
        assert_noop!(
            plain(report(carl(), evidence())),
            Error::<Test>::AlreadyCharged
        );
        run_to(1 + WINDOW);
        assert_noop!(
            plain(report(carl(), evidence())),
            Error::<Test>::AlreadyCharged
        );
        // By the time that the case is forgotten, the evidence is too old.
        run_to(2 + RETENTION);
        assert_eq!(Cases::<Test>::iter().count(), 0);
        assert_noop!(
            plain(report(carl(), evidence())),
            Error::<Test>::EvidenceTooOld
        );
        assert_eq!(Book::slashable(SAM), STAKE);
    });
}

#[test]
fn evidence_is_good_to_the_last_block_of_the_window() {
    new_test_ext().execute_with(|| {
        run_to(1 + WINDOW);
        assert_ok!(report(rita(), evidence()));
    });
    new_test_ext().execute_with(|| {
        run_to(2 + WINDOW);
        assert_noop!(
            plain(report(rita(), evidence())),
            Error::<Test>::EvidenceTooOld
        );
    });
}

#[test]
fn a_change_of_keys_hides_nothing() {
    new_test_ext().execute_with(|| {
        // The old key signed one, the new one the other.
        KeysOf::insert(SAM, vec![(hotkey("Sam"), 3), (hotkey("Sam2"), u64::MAX)]);
        let mut evidence = evidence();
        evidence.second_key = hotkey("Sam2");
        evidence.second = signed("Sam2", receipt(0, 32, 8));
        run_to(5);
        // What the old key signs of sessions opened since proves nothing.
        SessionOf::insert(SESSION, (carl(), 4));
        assert_noop!(
            plain(report(rita(), evidence.clone())),
            Error::<Test>::NotItsHotkey
        );
        SessionOf::insert(SESSION, (carl(), 3));
        assert_ok!(report(rita(), evidence));
    });
}

#[test]
fn who_has_nothing_left_is_charged_for_a_fee() {
    new_test_ext().execute_with(|| {
        assert_ok!(charge(SAM, consensus(1, 0, 100)));
        let reported = report(rita(), evidence()).unwrap();
        assert_eq!(reported.pays_fee, Pays::Yes);
        assert_eq!(Slashing::pending(SAM), STAKE);
        run_to(1 + DEFER);
        assert_eq!(state(1), Some(State::Applied { taken: 0 }));
        bond(SAM, STAKE);
        assert_noop!(
            plain(report(rita(), evidence())),
            Error::<Test>::AlreadyCharged
        );
    });
}
