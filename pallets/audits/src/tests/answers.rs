//! Sue runs Carl's session for a job of Rita's: whoever answers is audited as whoever serves.

use super::*;
use quipu_primitives::Balance;

/// Who asked.
const RITA: AccountId = 7;
const FEE: Balance = 900;
/// Answers, and serves nothing.
const ABE: NodeId = 60;

fn answered_by(node: NodeId) {
    super::node(node, 10 * MIN_BOND);
    AnswerOf::insert(SESSION, (node, RITA, FEE));
}

#[test]
fn who_answered_is_audited_though_it_served_nothing() {
    new_test_ext().execute_with(|| {
        answered_by(ABE);
        drawn();
        let of_abe = audit(of(ABE));
        assert_eq!((of_abe.price, of_abe.victim), (FEE, RITA));
        assert_eq!(audit(of(SAM)).victim, CARL);
        assert!(Audits::has_obligations(ABE));

        accused(of(ABE), Verdict::Fail);
        say(
            of(ABE),
            &verdicts(&[(5, Verdict::Fail), (2, Verdict::Pass)]),
        );
        assert_eq!(outcome(of(ABE)), Some(Outcome::Convicted));
        let cause = Cause::Computation { session: SESSION };
        let charged = charges();
        let charge = charged.iter().find(|charge| charge.0 == ABE).unwrap();
        assert_eq!((charge.1, charge.2, charge.4), (cause, FEE, Some(RITA)));
        assert_eq!(Audits::take_forfeits(SESSION), [ABE]);
    });
}

#[test]
fn who_served_its_own_answer_is_audited_once_for_both() {
    new_test_ext().execute_with(|| {
        answered_by(SUE);
        Audits::ended(SESSION);
        run_to(draws_at());
        let of_sue = audit(of(SUE));
        assert_eq!(of_sue.price, Balance::from(POSITIONS) * PRICE + FEE);
        assert_eq!(of_sue.victim, RITA);
        assert_eq!(crate::Audits::<Test>::iter().count(), 2);
    });
}

#[test]
fn neither_who_answered_nor_who_asked_judges() {
    new_test_ext().execute_with(|| {
        answered_by(ABE);
        // Of all others only those of Abe's and Rita's owners are left, and one.
        for other in OTHERS {
            let owner = match other % 2 {
                0 => cold(ABE),
                _ => RITA,
            };
            NodeOf::insert(other, (owner, hot(other), 10 * MIN_BOND));
        }
        node(70, 10 * MIN_BOND);
        drawn();
        for subject in [of(ABE), of(SAM), of(SUE)] {
            assert_eq!(members(subject), [70]);
        }
    });
}

#[test]
fn an_answer_out_of_thin_air_is_looked_at_too() {
    new_test_ext().execute_with(|| {
        SessionOf::insert(SESSION, (CARL, vec![(SAM, 0)]));
        Audits::ended(SESSION);
        assert!(Audits::may_pay_out(SESSION), "nothing was done");
        answered_by(ABE);
        Audits::ended(SESSION);
        assert!(!Audits::may_pay_out(SESSION));
        run_to(draws_at());
        assert_eq!(audit(of(ABE)).round, Round::First);
    });
}

#[test]
fn a_session_is_undecided_until_it_is_drawn_or_for_ever_where_nothing_is_audited() {
    new_test_ext().execute_with(|| {
        assert!(!Audits::is_undecided(SESSION), "nobody knows of it");
        Audits::ended(SESSION);
        assert!(Audits::is_undecided(SESSION));
        run_to(draws_at() - 1);
        assert!(Audits::is_undecided(SESSION));
        run(1);
        assert!(!Audits::is_undecided(SESSION));
        assert_ok!(Audits::set_rate(RuntimeOrigin::root(), Perbill::zero()));
        assert!(Audits::is_undecided(SESSION));
    });
}
