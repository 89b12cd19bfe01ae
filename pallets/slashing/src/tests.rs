//! Stories of offenders, and of those who prove it.

mod evidence;
mod walk;

use crate::{mock::*, pallet::*, penalty, types::*};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::{DispatchResultWithPostInfo, Pays},
    traits::OnIdle,
    weights::Weight,
};
use quipu_primitives::{
    traits::{Cause, Charge, Obligations, PendingSlashes, Slashable, Slasher},
    Balance, NodeId, SessionId,
};
use sp_runtime::{traits::Dispatchable, AccountId32, DispatchError, DispatchResult, Perbill};

fn run(origin: RuntimeOrigin, call: Call<Test>) -> DispatchResultWithPostInfo {
    let sent = RuntimeCall::Slashing(call).dispatch(origin);
    Slashing::do_try_state().unwrap();
    sent
}

fn report(who: AccountId32, evidence: Equivocation<AccountId32>) -> DispatchResultWithPostInfo {
    let evidence = Box::new(evidence);
    run(
        RuntimeOrigin::signed(who),
        Call::report_equivocation { evidence },
    )
}

fn plain(sent: DispatchResultWithPostInfo) -> DispatchResult {
    sent.map(|_| ()).map_err(|error| error.error)
}

fn cancel(case: CaseId) -> DispatchResult {
    plain(run(RuntimeOrigin::root(), Call::cancel { case }))
}

fn apply(case: CaseId) -> DispatchResult {
    plain(run(RuntimeOrigin::signed(paul()), Call::apply { case }))
}

/// A charge that nobody proved and that cheated nobody.
fn charged(node: NodeId, cause: Cause) -> Charge<AccountId32> {
    Charge {
        node,
        cause,
        price: 0,
        reporter: None,
        victim: None,
    }
}

fn charge(node: NodeId, cause: Cause) -> Result<Balance, DispatchError> {
    let charge = charged(node, cause);
    let done = frame_support::storage::with_storage_layer(|| Slashing::charge(charge));
    Slashing::do_try_state().unwrap();
    done
}

fn consensus(session: u32, from: u32, to: u32) -> Cause {
    Cause::Consensus {
        session,
        from: Perbill::from_percent(from),
        to: Perbill::from_percent(to),
    }
}

fn withheld(session: SessionId) -> Cause {
    Cause::Withheld { session }
}

fn last_event() -> Event<Test> {
    System::read_events_for_pallet().pop().unwrap()
}

fn state(case: CaseId) -> Option<State> {
    Cases::<Test>::get(case).map(|case| case.state)
}

#[test]
fn a_case_waits_and_then_takes_and_shares_out_what_it_costs() {
    new_test_ext().execute_with(|| {
        let issuance = Balances::total_issuance();
        let reported = report(rita(), evidence()).unwrap();
        assert_eq!(reported.pays_fee, Pays::No, "telling the truth is free");
        let cause = Cause::Equivocation { session: SESSION };
        let opened = Event::CaseOpened {
            case: 0,
            node: SAM,
            cause,
            amount: STAKE,
            applies_at: 1 + DEFER,
        };
        assert_eq!(last_event(), opened);
        assert_eq!(Slashing::pending(SAM), STAKE);
        assert!(Slashing::has_obligations(SAM));
        assert!(!Slashing::has_obligations(SUE));
        assert_eq!(Told::get(), [SAM], "the bonds hear of it");

        // What is bonded meanwhile is safe.
        bond(SAM, 500);
        run_to(DEFER);
        assert_noop!(apply(0), Error::<Test>::NotDue);
        assert_eq!(state(0), Some(State::Pending));
        run_to(1 + DEFER);
        assert_eq!(state(0), Some(State::Applied { taken: STAKE }));
        let applied = Event::CaseApplied {
            case: 0,
            node: SAM,
            taken: 10_000,
            to_reporter: 4_000,
            to_victim: 2_000,
            burned: 4_000,
        };
        assert_eq!(last_event(), applied);
        assert_eq!(Book::slashable(SAM), 500);
        assert_eq!(Balances::free_balance(rita()), RICH + 4_000);
        assert_eq!(Balances::free_balance(carl()), RICH + 2_000);
        assert_eq!(Balances::total_issuance(), issuance + 500 - 4_000);
        assert_eq!(Slashing::pending(SAM), 0);
        assert!(!Slashing::has_obligations(SAM));
        assert_eq!(Standings::<Test>::iter().count(), 0);
        assert_noop!(apply(0), Error::<Test>::NotPending);
        assert_noop!(cancel(0), Error::<Test>::NotPending);
    });
}

#[test]
fn a_case_may_be_canceled_until_it_is_applied() {
    new_test_ext().execute_with(|| {
        assert_ok!(report(rita(), evidence()));
        let signed = RuntimeOrigin::signed(rita());
        assert_noop!(
            plain(run(signed, Call::cancel { case: 0 })),
            DispatchError::BadOrigin
        );
        assert_noop!(cancel(1), Error::<Test>::NoSuchCase);
        run_to(DEFER);
        assert_ok!(cancel(0));
        let canceled = Event::CaseCanceled { case: 0, node: SAM };
        assert_eq!(last_event(), canceled);
        assert_eq!(Told::get(), [SAM, SAM]);
        assert_eq!(Slashing::pending(SAM), 0);
        run_to(2 * DEFER);
        assert_eq!(Book::slashable(SAM), STAKE);
        assert_noop!(cancel(0), Error::<Test>::NotPending);
        assert_noop!(apply(0), Error::<Test>::NotPending);
        // The same evidence does not open it again.
        assert_noop!(
            plain(report(rita(), evidence())),
            Error::<Test>::AlreadyCharged
        );
    });
}

#[test]
fn anybody_has_applied_what_is_due_when_blocks_are_full() {
    new_test_ext().execute_with(|| {
        assert_ok!(report(rita(), evidence()));
        assert_ok!(charge(SUE, withheld(1)));
        System::set_block_number(1 + DEFER);
        assert_noop!(
            plain(run(RuntimeOrigin::none(), Call::apply { case: 1 })),
            DispatchError::BadOrigin
        );
        assert_ok!(apply(1));
        assert_eq!(state(1), Some(State::Applied { taken: 200 }));
        assert_eq!(state(0), Some(State::Pending));
        run_to(2 + DEFER);
        assert_eq!(state(0), Some(State::Applied { taken: STAKE }));
        assert_eq!(FirstPending::<Test>::get(), 2);
    });
}

#[test]
fn what_one_case_takes_is_not_there_for_the_next() {
    new_test_ext().execute_with(|| {
        assert_eq!(charge(SAM, consensus(1, 0, 50)), Ok(5_000));
        assert_eq!(charge(SAM, withheld(1)), Ok(200));
        // To 75 % of the whole: half of what no case takes yet.
        assert_eq!(charge(SAM, consensus(1, 50, 75)), Ok(2_400));
        assert_eq!(
            charge(SAM, Cause::Equivocation { session: 1 }),
            Ok(STAKE - 7_600)
        );
        assert_eq!(Slashing::pending(SAM), STAKE);
        // Nothing is left, but the charge is on record: it can't be brought again.
        assert_eq!(charge(SAM, Cause::Equivocation { session: 2 }), Ok(0));
        assert_ok!(cancel(0));
        assert_eq!(Slashing::pending(SAM), STAKE - 5_000);
        run_to(1 + DEFER);
        assert_eq!(Book::slashable(SAM), 5_000);
        assert_noop!(
            charge(SAM, Cause::Equivocation { session: 2 }),
            Error::<Test>::AlreadyCharged
        );
    });
}

#[test]
fn a_wrong_computation_costs_by_its_price() {
    new_test_ext().execute_with(|| {
        let cause = Cause::Computation { session: SESSION };
        let charge = |price| {
            let victim = Some(carl());
            frame_support::storage::with_storage_layer(|| {
                Slashing::charge(Charge {
                    price,
                    victim,
                    ..charged(SAM, cause)
                })
            })
        };
        assert_eq!(charge(5), Ok(1_500));
        assert_eq!(charge(5), Err(Error::<Test>::AlreadyCharged.into()));
        run_to(1 + DEFER);
        assert_eq!(Balances::free_balance(carl()), RICH + 300);
        assert_eq!(Book::slashable(SAM), STAKE - 1_500);
    });
}

#[test]
fn who_withholds_data_again_pays_double_until_that_is_forgotten() {
    new_test_ext().execute_with(|| {
        assert_eq!(charge(SAM, withheld(1)), Ok(200));
        assert_eq!(charge(SAM, withheld(2)), Ok(400));
        // What was canceled doesn't count.
        assert_ok!(cancel(1));
        assert_eq!(charge(SAM, withheld(3)), Ok(400));
        run_to(1 + DEFER);
        assert_eq!(Book::slashable(SAM), 9_400);
        assert_eq!(charge(SAM, withheld(4)), Ok(752));
        run_to(RETENTION);
        assert_eq!(Cases::<Test>::iter().count(), 4);
        run_to(1 + RETENTION);
        assert_eq!(Cases::<Test>::iter().count(), 1);
        run_to(1 + DEFER + RETENTION);
        assert_eq!(Cases::<Test>::iter().count(), 0);
        assert_eq!(CaseByCause::<Test>::iter().count(), 0);
        assert_eq!(Standings::<Test>::iter().count(), 0);
        assert_eq!(charge(SAM, withheld(5)), Ok(173), "2 % of 8,648");
    });
}

#[test]
fn whose_share_cannot_be_paid_has_it_burned() {
    new_test_ext().execute_with(|| {
        // Nobody to pay.
        assert_eq!(charge(SUE, withheld(1)), Ok(200));
        // Less than an account needs to exist, for somebody without an account.
        let cause = Cause::Consensus {
            session: 1,
            from: Perbill::zero(),
            to: Perbill::from_parts(2_200_000),
        };
        let small = Charge {
            reporter: Some(paul()),
            victim: Some(carl()),
            ..charged(SAM, cause)
        };
        assert_eq!(Slashing::charge(small), Ok(22));
        let issuance = Balances::total_issuance();
        run_to(1 + DEFER);
        assert_eq!(Balances::total_issuance(), issuance - 200 - 22 + 4);
        assert_eq!(Balances::free_balance(paul()), 0);
        assert_eq!(Balances::free_balance(carl()), RICH + 4);
        let applied = Event::CaseApplied {
            case: 1,
            node: SAM,
            taken: 22,
            to_reporter: 0,
            to_victim: 4,
            burned: 18,
        };
        assert_eq!(last_event(), applied);
    });
}

#[test]
fn a_charge_against_nobody_is_refused() {
    new_test_ext().execute_with(|| {
        assert_noop!(charge(77, withheld(1)), Error::<Test>::NoSuchNode);
        NextCase::<Test>::put(CaseId::MAX);
        FirstPending::<Test>::put(CaseId::MAX);
        FirstKept::<Test>::put(CaseId::MAX);
        assert_noop!(charge(SAM, withheld(1)), Error::<Test>::IdsExhausted);
    });
}

#[test]
fn a_block_does_what_it_has_weight_for_and_leaves_the_rest() {
    new_test_ext().execute_with(|| {
        for session in 0..6 {
            assert_ok!(charge(SAM, consensus(session, 0, 10)));
        }
        assert_ok!(cancel(1));
        let step = Weight::from_parts(1_000_000, 1_000);
        let idle = |steps: u64| Slashing::on_idle(System::block_number(), step * steps);
        let pending = || {
            let states = Cases::<Test>::iter_values();
            states.filter(|case| case.state == State::Pending).count()
        };
        assert_eq!(idle(0), Weight::zero());
        assert_eq!(idle(9), step * 2, "one look: nothing is due");
        System::set_block_number(1 + DEFER);
        // A look and an application; a look at what is canceled; a look alone is not enough.
        assert_eq!(idle(5), step * 5);
        assert_eq!((pending(), FirstPending::<Test>::get()), (4, 2));
        assert_eq!(idle(5), step * 5);
        assert_eq!((pending(), FirstPending::<Test>::get()), (2, 4));
        Slashing::do_try_state().unwrap();
        run_to(2 + DEFER);
        assert_eq!((pending(), FirstPending::<Test>::get()), (0, 6));

        // Forgetting goes on in the same way.
        System::set_block_number(1 + RETENTION);
        assert_eq!(idle(4), step * 4);
        assert_eq!(FirstKept::<Test>::get(), 1);
        Slashing::do_try_state().unwrap();
        run_to(2 + RETENTION);
        assert_eq!(FirstKept::<Test>::get(), 6);
        assert_eq!(Cases::<Test>::iter().count(), 0);
    });
}

#[test]
fn what_a_slash_is_told_to_cost_is_what_the_maths_say() {
    new_test_ext().execute_with(|| {
        let stake = penalty::Stake {
            total: STAKE,
            pending: 0,
            withheld: 0,
        };
        let tariff = penalty::Tariff {
            price_multiple: 300,
            min_computation: MinComputation::get(),
            withheld: Withheld::get(),
        };
        let cause = consensus(3, 0, 33);
        assert_eq!(
            charge(SAM, cause),
            Ok(penalty::amount(&tariff, &cause, 0, &stake))
        );
    });
}
