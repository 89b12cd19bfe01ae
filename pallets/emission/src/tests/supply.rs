//! Schedule, buckets, burning, the tail, and what is spent.

use super::*;
use frame_support::traits::{fungible::Inspect, OnUnbalanced};

fn supply() -> Balance {
    <Balances as Inspect<_>>::total_issuance()
}

const GENESIS: Balance = 3 * ENDOWMENT;

#[test]
fn emission_follows_the_height_of_the_chain() {
    test(|| {
        run_to(INTERVAL - 1);
        assert_eq!(Issued::<Test>::get(), 0);
        run_to(INTERVAL);
        // A quarter of the first day.
        assert_eq!(Issued::<Test>::get(), FIRST_DAY / 4);
        run_to(DAY + INTERVAL);
        assert_eq!(Issued::<Test>::get(), FIRST_DAY + 17_000 / 4);
        assert_eq!(supply(), GENESIS + Issued::<Test>::get());
        run_to(PERIOD);
        assert_eq!(Issued::<Test>::get(), CAP);
        // Nothing was burned, so nothing comes after.
        run_to(PERIOD + 3 * DAY);
        assert_eq!(Issued::<Test>::get(), CAP);
    });
}

#[test]
fn each_emission_is_split_among_the_buckets() {
    test(|| {
        run_to(DAY);
        let [compute, capital, builders, community, protection] = Bucket::ALL.map(has);
        // Four times a quarter, each rounded down to the expense of all but protection.
        assert_eq!([compute, capital, builders, community], [4_560; 4]);
        assert_eq!(protection, FIRST_DAY - 4 * 4_560);
        System::assert_last_event(
            Event::Emitted {
                compute: 1_140,
                capital: 1_140,
                builders: 1_140,
                community: 1_140,
                protection: 190,
            }
            .into(),
        );
    });
}

#[test]
fn shares_that_change_hold_from_the_next_emission_on() {
    test(|| {
        run_to(DAY);
        BucketShares::set(shares(100, 0, 0, 0));
        run_to(2 * DAY);
        assert_eq!(has(Bucket::Compute), 4_560 + 17_000);
        assert_eq!(has(Bucket::Builders), 4_560);
    });
}

#[test]
fn an_upgrade_that_changes_the_constants_does_not_change_the_period_that_runs() {
    test(|| {
        run_to(3 * DAY + 7);
        Total::set(10 * CAP);
        FirstEmits::set(1);
        PeriodDays::set(4);
        BlocksOfDay::set(7);
        run_to(PERIOD);
        assert_eq!(Issued::<Test>::get(), CAP);
        // The next one has the days of the new runtime.
        let period = CurrentPeriod::<Test>::get().expect("one runs");
        assert_eq!((period.starts_at, period.day, period.days), (PERIOD, 7, 4));
        Total::set(CAP);
    });
}

#[test]
fn what_is_left_is_spread_anew_and_ends_at_the_same_cap() {
    test(|| {
        run_to(3 * DAY + 7);
        let left = CAP - Emission::supply().period_total + Emission::supply().period_left;
        for (first_day, days) in [
            (left / 5 - 1, 5),
            (left, 1),
            (2 * left / 5 + 1, 5),
            (0, 5),
            (Balance::MAX, 5),
            (1, 0),
            (1, u32::MAX),
        ] {
            let call = Emission::reschedule(root(), first_day, days);
            assert_noop!(call, Error::<Test>::BadSchedule);
        }
        let first_day = left.div_ceil(5) + 100;
        assert_noop!(
            Emission::reschedule(origin(1), first_day, 5),
            DispatchError::BadOrigin
        );
        let before = Issued::<Test>::get();
        assert_ok!(Emission::reschedule(root(), first_day, 5));
        // Nothing comes at once that was not due before.
        assert_eq!(Issued::<Test>::get(), before);
        let start = System::block_number();
        run_to(start + 5 * DAY + INTERVAL);
        assert_eq!(Issued::<Test>::get(), CAP);
    });
}

#[test]
fn a_tail_emits_part_of_what_was_burned() {
    test(|| {
        run_to(DAY);
        burn::<crate::burn::Slash>(30_000);
        // Burned by its owner, for no reason that we know.
        assert_ok!(Balances::burn(origin(2), 10_001, false));
        run_to(PERIOD);
        assert_eq!(Emission::burned(), 40_001);
        let period = CurrentPeriod::<Test>::get().expect("one runs");
        assert_eq!((period.total, period.shape), (20_000, Shape::Even));
        assert_eq!(period.starts_at, PERIOD);
        run_to(PERIOD + DAY);
        assert_eq!(Issued::<Test>::get(), CAP + 2_000);
        burn::<crate::burn::Slash>(600);
        run_to(2 * PERIOD);
        assert_eq!(Issued::<Test>::get(), CAP + 20_000);
        // Only what was burned since the last period began.
        assert_eq!(CurrentPeriod::<Test>::get().expect("one runs").total, 300);
        run_to(3 * PERIOD);
        assert_eq!(Issued::<Test>::get(), CAP + 20_300);
        assert_eq!(CurrentPeriod::<Test>::get().expect("one runs").total, 0);
    });
}

#[test]
fn a_tail_is_no_more_than_a_share_of_what_exists() {
    test(|| {
        for who in [1, 2, 3] {
            assert_ok!(Balances::burn(origin(who), ENDOWMENT - ED, false));
        }
        run_to(PERIOD);
        // 16 % of what was emitted and of three existential deposits.
        assert_eq!(
            CurrentPeriod::<Test>::get().expect("one runs").total,
            16_004
        );
    });
}

#[test]
fn what_was_burned_is_counted_by_its_reason() {
    test(|| {
        burn::<crate::burn::Fee>(100);
        burn::<crate::burn::Fee>(20);
        burn::<crate::burn::Slash>(3);
        // An account that ceases to exist leaves dust.
        let rest = Balances::free_balance(acc(3)) - (ED - 1);
        assert_ok!(Balances::transfer_allow_death(origin(3), alice(), rest));
        let burned = Emission::supply().burned;
        let of = |source| {
            burned
                .iter()
                .find(|(other, _)| *other == source)
                .expect("all")
                .1
        };
        assert_eq!(of(BurnSource::Fee), 120);
        assert_eq!(of(BurnSource::Slash), 3);
        assert_eq!(of(BurnSource::Dust), ED - 1);
        assert_eq!(
            burned.iter().map(|(_, sum)| sum).sum::<Balance>(),
            Emission::burned()
        );
    });
}

#[test]
fn nothing_burned_is_nothing_counted() {
    test(|| {
        crate::burn::Burn::<Test, crate::burn::Fee>::on_unbalanced(CreditOf::<Test>::default());
        assert!(!Burned::<Test>::contains_key(BurnSource::Fee));
    });
}

#[test]
fn too_little_for_an_account_waits_for_the_next_emission() {
    test(|| {
        // Of the first emission, protection would get less than an account needs.
        Total::set(1_000);
        FirstEmits::set(190);
        Emission::begin();
        Total::set(CAP);
        run_to(INTERVAL);
        assert_eq!(Issued::<Test>::get(), 0);
        System::assert_has_event(Event::EmissionPostponed { amount: 47 }.into());
        run_to(PERIOD);
        assert_eq!(Issued::<Test>::get(), 1_000);
    });
}

#[test]
fn builders_community_and_protection_are_spent_by_who_may() {
    test(|| {
        run_to(DAY);
        let spend = |bucket, amount| Emission::spend(root(), bucket, acc(9), amount);
        let builders = has(Bucket::Builders);
        assert_noop!(
            Emission::spend(origin(1), Bucket::Builders, acc(9), 100),
            DispatchError::BadOrigin
        );
        assert_noop!(spend(Bucket::Builders, 0), Error::<Test>::ZeroAmount);
        assert_noop!(spend(Bucket::Compute, 100), Error::<Test>::NotSpendable);
        assert_noop!(spend(Bucket::Capital, 100), Error::<Test>::NotSpendable);
        assert_noop!(
            spend(Bucket::Builders, builders + 1),
            Error::<Test>::NotEnough
        );
        assert_noop!(
            spend(Bucket::Builders, builders - ED + 1),
            Error::<Test>::NotEnough
        );
        assert_noop!(
            spend(Bucket::Builders, Balance::MAX),
            Error::<Test>::NotEnough
        );
        assert_noop!(
            spend(Bucket::Builders, ED - 1),
            sp_runtime::TokenError::BelowMinimum
        );
        assert_ok!(spend(Bucket::Builders, 100));
        System::assert_last_event(
            Event::Spent {
                bucket: Bucket::Builders,
                to: acc(9),
                amount: 100,
            }
            .into(),
        );
        assert_ok!(spend(Bucket::Community, 50));
        assert_ok!(spend(Bucket::Protection, 25));
        assert_eq!(Balances::free_balance(acc(9)), 175);
        assert_eq!(has(Bucket::Builders), builders - 100);
    });
}

#[test]
fn what_clients_see_adds_up() {
    test(|| {
        run_to(DAY + INTERVAL);
        burn::<crate::burn::Fee>(1_234);
        let info = Emission::supply();
        assert_eq!(info.total, supply());
        assert_eq!(info.genesis, GENESIS);
        assert_eq!(info.issued, FIRST_DAY + 17_000 / 4);
        assert_eq!(info.total, info.genesis + info.issued - 1_234);
        assert_eq!(info.today, 17_000);
        assert_eq!(info.period_total, CAP);
        assert_eq!(info.period_left, CAP - info.issued);
        let buckets = info
            .buckets
            .iter()
            .map(|(_, _, balance)| balance)
            .sum::<Balance>();
        assert_eq!(buckets, info.issued);
    });
}
