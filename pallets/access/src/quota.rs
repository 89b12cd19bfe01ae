//! How much who may use: pure.

use codec::{Decode, Encode, MaxEncodedLen};
use quipu_primitives::Balance;
use scale_info::TypeInfo;
use sp_runtime::{helpers_128bit::multiply_by_rational_with_rounding, Rounding};

/// A day's number: days since the chain began.
pub type DayNumber = u32;

/// What a day's quotas rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Day {
    /// Which day it is.
    pub number: DayNumber,
    /// What all holders together may use.
    pub budget: Balance,
    /// What existed when it began.
    pub supply: Balance,
}

impl Day {
    /// What `locked` entitles to: its share of all that exists, in the budget, rounded down.
    pub fn quota_of(&self, locked: Balance) -> Balance {
        multiply_by_rational_with_rounding(self.budget, locked, self.supply, Rounding::Down)
            .unwrap_or(0)
            .min(self.budget)
    }
}

/// What a holder locked, and how much of its quota it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Lock {
    /// Locked before day `since`.
    pub older: Balance,
    /// Locked on day `since`, and of no use on that day: what was used by one account can't be used by
    /// another on the same day.
    pub fresh: Balance,
    /// The last day on which something was locked.
    pub since: DayNumber,
    /// The day on which something was last used.
    pub used_on: DayNumber,
    /// What was used on that day.
    pub used: Balance,
}

impl Lock {
    /// All that is locked.
    pub fn total(&self) -> Balance {
        self.older.saturating_add(self.fresh)
    }

    /// What counts on a day.
    pub fn counts_on(&self, day: DayNumber) -> Balance {
        match day > self.since {
            true => self.total(),
            false => self.older,
        }
    }

    /// What was used on a day.
    pub fn used_on(&self, day: DayNumber) -> Balance {
        match day == self.used_on {
            true => self.used,
            false => 0,
        }
    }

    /// Locks more, to count from the next day on. `None` where that is too much.
    pub fn add(&mut self, amount: Balance, day: DayNumber) -> Option<()> {
        self.total().checked_add(amount)?;
        if day > self.since {
            self.older = self.total();
            self.fresh = 0;
            self.since = day;
        }
        self.fresh = self.fresh.saturating_add(amount);
        Some(())
    }

    /// Unlocks some, of what is of no use yet first. `None` where there is less.
    pub fn remove(&mut self, amount: Balance) -> Option<()> {
        self.total().checked_sub(amount)?;
        let of_fresh = self.fresh.min(amount);
        self.fresh = self.fresh.saturating_sub(of_fresh);
        self.older = self.older.saturating_sub(amount.saturating_sub(of_fresh));
        Some(())
    }

    /// Uses some of the quota of this day.
    pub fn take(&mut self, amount: Balance, day: DayNumber) {
        self.used = self.used_on(day).saturating_add(amount);
        self.used_on = day;
    }

    /// Gives back what was taken on `taken_on` and not needed. After that day it is of no use.
    pub fn give_back(&mut self, amount: Balance, taken_on: DayNumber) {
        if taken_on == self.used_on {
            self.used = self.used.saturating_sub(amount);
        }
    }
}

/// How many units of inference a day's budget buys, at a price for each thousand of them, in the money of
/// which one QPU is worth `per_qpu`. For the vectors of the design, and for people: the chain counts money.
pub fn units(budget: Balance, per_qpu: Balance, thousand_for: Balance) -> Option<Balance> {
    let money = budget.checked_mul(per_qpu)?;
    multiply_by_rational_with_rounding(money, 1_000, thousand_for, Rounding::Down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_primitives::money::QPU;
    use sp_runtime::Perbill;

    #[test]
    fn the_access_rate_is_the_one_that_is_written_down() {
        // After 91 days: supply 1,300,289.47, in the pot 24 % of it.
        let supply = 1_300_289_470_000_000_000;
        let pot = Perbill::from_percent(24) * supply;
        let budget = Perbill::from_percent(1) * pot;
        assert_eq!(budget / (QPU / 100), 312_069);
        // 3,120.69 QPU at 50, and 0.0025 for a thousand units.
        let bought = units(3_120_690_000_000_000, 50, 2_500_000_000).unwrap();
        assert_eq!(bought, 62_413_800_000);
        assert_eq!(bought * 100 / 1_300_289, 4_799_994);
    }

    #[test]
    fn a_quota_is_the_share_of_what_exists() {
        let day = Day {
            number: 3,
            budget: 1_000,
            supply: 10_000,
        };
        assert_eq!(day.quota_of(0), 0);
        assert_eq!(day.quota_of(9), 0);
        assert_eq!(day.quota_of(10), 1);
        assert_eq!(day.quota_of(2_500), 250);
        assert_eq!(day.quota_of(10_000), 1_000);
        // More than there was when the day began.
        assert_eq!(day.quota_of(Balance::MAX), 1_000);
        assert_eq!(Day::default().quota_of(1), 0);
    }

    #[test]
    fn what_is_locked_counts_from_the_next_day_on() {
        let mut lock = Lock::default();
        lock.add(100, 5).unwrap();
        assert_eq!((lock.counts_on(5), lock.counts_on(6)), (0, 100));
        lock.add(30, 5).unwrap();
        lock.add(7, 6).unwrap();
        assert_eq!((lock.counts_on(6), lock.counts_on(7)), (130, 137));
        // What is of no use yet goes first.
        lock.remove(10).unwrap();
        assert_eq!((lock.counts_on(6), lock.counts_on(7)), (127, 127));
        assert_eq!(lock.remove(128), None);
        assert_eq!(lock.add(Balance::MAX, 6), None);
        assert_eq!(lock.total(), 127);
    }

    #[test]
    fn what_is_used_is_used_for_a_day() {
        let mut lock = Lock {
            older: 100,
            ..Default::default()
        };
        lock.take(30, 5);
        lock.take(5, 5);
        assert_eq!((lock.used_on(5), lock.used_on(6)), (35, 0));
        lock.give_back(10, 5);
        assert_eq!(lock.used_on(5), 25);
        // What comes back after its day is of no use.
        lock.take(1, 6);
        lock.give_back(20, 5);
        assert_eq!(lock.used_on(6), 1);
    }

    proptest! {
        #[test]
        fn all_quotas_together_are_no_more_than_the_budget(
            budget: Balance,
            locked in prop::collection::vec(0..=Balance::MAX / 16, 0..10),
        ) {
            let supply = locked.iter().sum::<Balance>().max(1);
            let day = Day { number: 0, budget, supply };
            let sum = locked
                .iter()
                .try_fold(0, |sum: Balance, one| sum.checked_add(day.quota_of(*one)));
            prop_assert!(sum.is_some_and(|sum| sum <= budget));
        }

        #[test]
        fn no_balance_serves_two_accounts_on_one_day(
            amount in 1..=1_000u128,
            days in prop::collection::vec(0..3u32, 1..12),
        ) {
            // One balance goes from account to account, each of which locks it, uses it, unlocks it.
            let mut used = std::collections::BTreeMap::<u32, Balance>::new();
            let mut day = 1;
            for wait in days {
                let mut lock = Lock::default();
                lock.add(amount, day).unwrap();
                day += wait;
                *used.entry(day).or_default() += lock.counts_on(day);
                lock.remove(amount).unwrap();
            }
            prop_assert!(used.values().all(|sum| *sum <= amount));
        }
    }
}
