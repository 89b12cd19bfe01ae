//! The pallet's story, call by call.

mod walk;

use crate::{mock::*, pallet::*};
use frame_support::{
    assert_noop, assert_ok,
    traits::fungible::{Inspect, Mutate},
};
use quipu_primitives::{
    traits::{Grant, Quotas},
    Balance,
};
use sp_runtime::{DispatchError, Perbill, TokenError};

fn origin(who: u8) -> RuntimeOrigin {
    RuntimeOrigin::signed(acc(who))
}

fn left(who: u8) -> Balance {
    Access::quota_info(&acc(who)).left
}

#[test]
fn what_is_locked_entitles_from_the_next_day_on() {
    test(|| {
        let locked = 200_000;
        assert_ok!(Access::lock(origin(1), locked));
        System::assert_last_event(
            Event::Locked {
                holder: acc(1),
                amount: locked,
                locked,
            }
            .into(),
        );
        assert_eq!(left(1), 0);
        run_to(DAY);
        System::assert_last_event(
            Event::DayStarted {
                day: 1,
                budget: 1_000,
                supply: 1_000_000,
            }
            .into(),
        );
        let info = Access::quota_info(&acc(1));
        assert_eq!((info.locked, info.counts), (locked, locked));
        // A fifth of what exists: a fifth of one per cent of the payer's funds.
        assert_eq!((info.budget, info.quota, info.left), (1_000, 200, 200));
        assert_eq!(left(2), 0);
    });
}

#[test]
fn what_is_locked_cannot_be_sent_and_is_unlocked_at_once() {
    test(|| {
        assert_ok!(Access::lock(origin(1), ENDOWMENT));
        assert_noop!(
            Balances::transfer_allow_death(origin(1), acc(2), 1),
            TokenError::Frozen
        );
        assert_ok!(Access::unlock(origin(1), ENDOWMENT - MIN_LOCK));
        assert_ok!(Balances::transfer_allow_death(origin(1), acc(2), 1_000));
        assert_ok!(Access::unlock(origin(1), MIN_LOCK));
        assert!(!Locks::<Test>::contains_key(acc(1)));
        assert_eq!(Access::frozen(&acc(1)), 0);
    });
}

#[test]
fn a_quota_is_used_up_and_comes_back_the_next_day() {
    test(|| {
        assert_ok!(Access::lock(origin(1), 200_000));
        run_to(DAY);
        let grant = Access::take(&acc(1), 150);
        assert_eq!(
            grant,
            Ok(Grant {
                payer: acc(9),
                day: 1
            })
        );
        System::assert_last_event(
            Event::QuotaTaken {
                holder: acc(1),
                amount: 150,
                left: 50,
            }
            .into(),
        );
        assert_noop!(Access::take(&acc(1), 51), Error::<Test>::QuotaExceeded);
        assert_ok!(Access::take(&acc(1), 50));
        assert_noop!(Access::take(&acc(1), 1), Error::<Test>::QuotaExceeded);
        Access::give_back(&acc(1), 1, 120);
        assert_eq!(left(1), 120);
        run_to(2 * DAY);
        assert_eq!(left(1), 200);
        // What comes back of yesterday's is of no use.
        assert_ok!(Access::take(&acc(1), 200));
        Access::give_back(&acc(1), 1, 80);
        assert_eq!(left(1), 0);
    });
}

#[test]
fn a_balance_serves_one_account_a_day() {
    test(|| {
        assert_ok!(Access::lock(origin(1), ENDOWMENT));
        run_to(DAY);
        assert_ok!(Access::take(&acc(1), 300));
        assert_ok!(Access::unlock(origin(1), ENDOWMENT));
        assert_ok!(Balances::transfer_allow_death(origin(1), acc(2), ENDOWMENT));
        assert_ok!(Access::lock(origin(2), 2 * ENDOWMENT));
        assert_noop!(Access::take(&acc(2), 1), Error::<Test>::QuotaExceeded);
        // Nor does locking the same again bring anything on this day.
        assert_ok!(Access::unlock(origin(2), 2 * ENDOWMENT));
        assert_ok!(Access::lock(origin(2), 2 * ENDOWMENT));
        assert_eq!(left(2), 0);
        run_to(2 * DAY);
        assert_eq!(left(2), 600);
    });
}

#[test]
fn who_unlocks_after_use_has_nothing_left_and_no_more() {
    test(|| {
        assert_ok!(Access::lock(origin(1), 200_000));
        run_to(DAY);
        assert_ok!(Access::take(&acc(1), 180));
        assert_ok!(Access::unlock(origin(1), 150_000));
        assert_eq!(left(1), 0);
        assert_noop!(Access::take(&acc(1), 1), Error::<Test>::QuotaExceeded);
        Access::give_back(&acc(1), 1, 160);
        // A quota of 50, of which 20 are used.
        assert_eq!(left(1), 30);
        // What is given back to who has nothing locked is of no use.
        assert_ok!(Access::unlock(origin(1), 50_000));
        Access::give_back(&acc(1), 1, 20);
        assert!(!Locks::<Test>::contains_key(acc(1)));
    });
}

#[test]
fn no_more_counts_than_there_is() {
    test(|| {
        assert_ok!(Access::lock(origin(1), 200_000));
        run_to(DAY);
        // Such as by a slash, which freezes do not stop.
        Balances::set_balance(&acc(1), 50_000);
        assert_eq!(left(1), 50);
        assert_noop!(Access::take(&acc(1), 51), Error::<Test>::QuotaExceeded);
    });
}

#[test]
fn the_budget_follows_the_payers_funds_and_never_runs_dry() {
    test(|| {
        assert_ok!(Access::lock(origin(1), 200_000));
        Balances::set_balance(&acc(9), 50_000);
        run_to(DAY);
        assert_eq!(Today::<Test>::get().budget, 500);
        DailyShare::set(Perbill::from_percent(100));
        run_to(2 * DAY);
        assert_eq!(Today::<Test>::get().budget, 50_000);
        Payer::set(acc(77));
        run_to(3 * DAY);
        assert_eq!(Today::<Test>::get().budget, 0);
        assert_noop!(Access::take(&acc(1), 1), Error::<Test>::QuotaExceeded);
        Payer::set(acc(9));
        DailyShare::set(Perbill::from_percent(1));
        run_to(4 * DAY);
    });
}

#[test]
fn a_server_may_ask_no_more_than_the_highest_price() {
    test(|| {
        assert_eq!(Access::highest_price(1_000_000), 7);
        assert_eq!(Access::highest_price(3_540_000), 24);
        assert_eq!(Access::highest_price(0), 0);
        HighestUnitPrice::set(Balance::MAX);
        assert_eq!(Access::highest_price(u64::MAX), Balance::MAX);
        HighestUnitPrice::set(7);
    });
}

#[test]
fn bad_input_changes_nothing() {
    test(|| {
        assert_noop!(Access::lock(origin(1), 0), Error::<Test>::ZeroAmount);
        assert_noop!(Access::unlock(origin(1), 0), Error::<Test>::ZeroAmount);
        assert_noop!(
            Access::lock(origin(1), MIN_LOCK - 1),
            Error::<Test>::BelowMinLock
        );
        assert_noop!(
            Access::lock(origin(1), ENDOWMENT + 1),
            Error::<Test>::NotEnough
        );
        assert_noop!(
            Access::lock(origin(1), Balance::MAX),
            Error::<Test>::NotEnough
        );
        assert_noop!(Access::lock(origin(50), MIN_LOCK), Error::<Test>::NotEnough);
        assert_noop!(Access::unlock(origin(1), 1), Error::<Test>::NotEnoughLocked);
        assert_noop!(
            Access::lock(RuntimeOrigin::root(), 500),
            DispatchError::BadOrigin
        );
        assert_noop!(
            Access::unlock(RuntimeOrigin::none(), 500),
            DispatchError::BadOrigin
        );
        assert_ok!(Access::lock(origin(1), 500));
        assert_noop!(
            Access::lock(origin(1), Balance::MAX),
            Error::<Test>::NotEnough
        );
        assert_noop!(
            Access::unlock(origin(1), 501),
            Error::<Test>::NotEnoughLocked
        );
        assert_noop!(Access::unlock(origin(1), 401), Error::<Test>::BelowMinLock);
        assert_noop!(Access::take(&acc(2), 0), Error::<Test>::QuotaExceeded);
        assert_eq!(Balances::total_balance(&acc(1)), ENDOWMENT);
    });
}
