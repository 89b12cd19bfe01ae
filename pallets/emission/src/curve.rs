//! How much is emitted by when: pure, exact in integers.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use quipu_primitives::Balance;
use scale_info::TypeInfo;
use sp_runtime::{
    helpers_128bit::multiply_by_rational_with_rounding,
    traits::{AtLeast32BitUnsigned, UniqueSaturatedInto, Zero},
    Perbill, Rounding,
};

/// Most days of a period: products of two numbers of days stay far within 128 bits.
pub const MAX_DAYS: u32 = 1_000_000;

/// How a period's total is spread over its days.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Shape {
    /// Each day emits as much less than the day before as makes the total in the end.
    #[codec(index = 0)]
    Falling {
        /// What the first day emits.
        first_day: Balance,
    },
    /// Each day emits the same.
    #[codec(index = 1)]
    Even,
}

/// What is emitted over a number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Period<BlockNumber> {
    /// The block at which its first day begins.
    pub starts_at: BlockNumber,
    /// Blocks of a day.
    pub day: BlockNumber,
    /// Its days.
    pub days: u32,
    /// What it emits in all.
    pub total: Balance,
    /// How that is spread.
    pub shape: Shape,
    /// What was emitted before it began.
    pub issued_before: Balance,
}

impl<BlockNumber: AtLeast32BitUnsigned + Copy> Period<BlockNumber> {
    /// Can it be followed: no day emits less than nothing, and all of them together the total?
    ///
    /// With `A` for the first day, `N` days and a total of `T`, day `n` emits `A − n × 2(AN − T) / N(N − 1)`.
    /// That falls if `AN ≥ T`, and the last day's is not negative if `AN ≤ 2T`.
    pub fn is_sound(&self) -> bool {
        if self.day.is_zero() || self.days == 0 || self.days > MAX_DAYS {
            return false;
        }
        match self.shape {
            Shape::Even => true,
            Shape::Falling { first_day } => {
                let (Some(all), Some(twice)) = (
                    first_day.checked_mul(self.days.into()),
                    self.total.checked_mul(2),
                ) else {
                    return false;
                };
                self.days > 1 && (self.total..=twice).contains(&all)
            }
        }
    }

    /// What its first `days` days emit.
    pub fn after_days(&self, days: u32) -> Balance {
        if days >= self.days {
            return self.total;
        }
        let (some, all) = (Balance::from(days), Balance::from(self.days));
        match self.shape {
            Shape::Even => part(self.total, some, all, Rounding::Down),
            Shape::Falling { first_day } => {
                let pairs = |n: Balance| n.saturating_mul(n.saturating_sub(1));
                let too_much = first_day.saturating_mul(all).saturating_sub(self.total);
                first_day
                    .saturating_mul(some)
                    .saturating_sub(part(too_much, pairs(some), pairs(all), Rounding::Up))
                    .min(self.total)
            }
        }
    }

    /// What it emitted by block `now`. A day's emission comes evenly over its blocks, rounded down.
    pub fn emitted(&self, now: BlockNumber) -> Balance {
        let (days, blocks) = self.time(now);
        let before = self.after_days(days);
        let day = self
            .after_days(days.saturating_add(1))
            .saturating_sub(before);
        before.saturating_add(part(day, blocks, blocks_of(self.day), Rounding::Down))
    }

    /// What the day of block `now` emits.
    pub fn day_of(&self, now: BlockNumber) -> Balance {
        let (days, _) = self.time(now);
        self.after_days(days.saturating_add(1))
            .saturating_sub(self.after_days(days))
    }

    /// The first block after its last day.
    pub fn ends_at(&self) -> BlockNumber {
        let days = self.day.saturating_mul(self.days.into());
        self.starts_at.saturating_add(days)
    }

    /// Whole days since it began, and blocks of the day that runs.
    fn time(&self, now: BlockNumber) -> (u32, Balance) {
        let elapsed = now.saturating_sub(self.starts_at);
        let whole = elapsed.checked_div(&self.day).unwrap_or_else(Zero::zero);
        let blocks = elapsed.saturating_sub(whole.saturating_mul(self.day));
        (whole.unique_saturated_into(), blocks_of(blocks))
    }
}

fn blocks_of<BlockNumber: UniqueSaturatedInto<u128>>(blocks: BlockNumber) -> Balance {
    blocks.unique_saturated_into()
}

/// `amount` × `some` / `all`; zero of nothing.
fn part(amount: Balance, some: Balance, all: Balance, rounding: Rounding) -> Balance {
    multiply_by_rational_with_rounding(amount, some, all, rounding).unwrap_or(0)
}

/// What the period after one emits in which `burned` was burned: so large a share of it, but no more than
/// `most` of all that exists, `supply`. Rounded down.
pub fn tail(burned: Balance, of_burned: Perbill, supply: Balance, most: Perbill) -> Balance {
    of_burned.mul_floor(burned).min(most.mul_floor(supply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_primitives::money::QPU;

    const DAY: u32 = 14_400;
    const CAP: Balance = 42_000_000 * QPU;

    fn schedule() -> Period<u32> {
        Period {
            starts_at: 0,
            day: DAY,
            days: 5_833,
            total: CAP,
            shape: Shape::Falling {
                first_day: 14_400 * QPU,
            },
            issued_before: 0,
        }
    }

    /// In hundredths of a QPU, rounded to the nearest.
    fn cents(amount: Balance) -> Balance {
        (amount + QPU / 200) / (QPU / 100)
    }

    #[test]
    fn the_schedule_is_the_one_that_is_written_down() {
        let schedule = schedule();
        assert!(schedule.is_sound());
        assert_eq!(cents(schedule.after_days(90)), 128_611_168);
        assert_eq!(cents(schedule.after_days(91)), 130_028_947);
        // Compute's 24 %.
        assert_eq!(
            cents(Perbill::from_percent(24) * schedule.after_days(91)),
            31_206_947
        );
        // Each day emits 2.468994701 less than the day before.
        let day = |n| schedule.after_days(n + 1) - schedule.after_days(n);
        assert_eq!(day(0), 14_400 * QPU);
        for n in [0, 1, 90, 3_000, 5_831] {
            assert_eq!((day(n) - day(n + 1) + 500) / 1_000, 2_468_994_701);
        }
        assert!(day(5_832) > 0);
    }

    #[test]
    fn it_ends_exactly_at_the_cap() {
        let schedule = schedule();
        assert_eq!(schedule.ends_at(), 5_833 * DAY);
        assert!(schedule.emitted(schedule.ends_at() - 1) < CAP);
        assert_eq!(schedule.emitted(schedule.ends_at()), CAP);
        assert_eq!(schedule.emitted(u32::MAX), CAP);
        let sum: Balance = (0..5_833).map(|day| schedule.day_of(day * DAY)).sum();
        assert_eq!(sum, CAP);
        assert_eq!(schedule.day_of(schedule.ends_at()), 0);
    }

    #[test]
    fn a_day_comes_evenly_over_its_blocks() {
        let schedule = schedule();
        assert_eq!(schedule.emitted(0), 0);
        assert_eq!(schedule.emitted(1), QPU);
        assert_eq!(schedule.emitted(DAY / 2), 7_200 * QPU);
        assert_eq!(schedule.emitted(DAY), schedule.after_days(1));
        let second = schedule.after_days(2) - schedule.after_days(1);
        assert_eq!(
            schedule.emitted(DAY + DAY / 2),
            schedule.after_days(1) + second / 2
        );
    }

    #[test]
    fn the_tail_is_the_one_that_is_written_down() {
        let half = Perbill::from_percent(50);
        let most = Perbill::from_percent(16);
        let burned = CAP / 4;
        let total = tail(burned, half, CAP - burned, most);
        assert_eq!(total, 5_040_000 * QPU);
        let period = Period {
            total,
            shape: Shape::Even,
            ..schedule()
        };
        assert!(period.is_sound());
        assert_eq!(cents(period.after_days(1)), 86_405);
        assert_eq!(period.after_days(5_833), total);
        // Where little was burned, half of that.
        assert_eq!(tail(1_000 * QPU, half, CAP, most), 500 * QPU);
        assert_eq!(tail(0, half, CAP, most), 0);
        assert_eq!(tail(Balance::MAX, half, 0, most), 0);
    }

    #[test]
    fn what_cannot_be_followed_is_not_sound() {
        let falling = |first_day, days, total| {
            let shape = Shape::Falling { first_day };
            Period {
                days,
                total,
                shape,
                ..schedule()
            }
            .is_sound()
        };
        assert!(falling(10, 10, 100));
        assert!(falling(20, 10, 100));
        assert!(!falling(21, 10, 100));
        assert!(!falling(9, 10, 100));
        assert!(!falling(100, 1, 100));
        assert!(!falling(Balance::MAX, 2, Balance::MAX));
        assert!(!falling(Balance::MAX / 2, 2, Balance::MAX - 1));
        assert!(!Period {
            days: 0,
            ..schedule()
        }
        .is_sound());
        assert!(!Period {
            days: MAX_DAYS + 1,
            shape: Shape::Even,
            ..schedule()
        }
        .is_sound());
        assert!(!Period {
            day: 0,
            shape: Shape::Even,
            ..schedule()
        }
        .is_sound());
    }

    proptest! {
        #[test]
        fn whatever_is_sound_only_rises_and_ends_at_its_total(
            days in 1..=MAX_DAYS,
            total in 0..=Balance::MAX / 2,
            tilt in 0..=1_000u32,
            even in any::<bool>(),
            day in 1..100_000u32,
            starts_at in 0..1_000u32,
            at in prop::collection::vec(0..=u32::MAX, 2..20),
        ) {
            // Between the least and the most first day that there can be.
            let least = total.div_ceil(days.into());
            let most = total.saturating_mul(2) / Balance::from(days);
            let first_day = least + most.saturating_sub(least) / 1_000 * Balance::from(tilt);
            let shape = if even { Shape::Even } else { Shape::Falling { first_day } };
            let period = Period { starts_at, day, days, total, shape, issued_before: 0 };
            prop_assume!(period.is_sound());
            let mut at = at;
            at.sort_unstable();
            let mut last = 0;
            for block in at {
                let emitted = period.emitted(block);
                prop_assert!(emitted >= last && emitted <= total);
                last = emitted;
            }
            prop_assert_eq!(period.emitted(starts_at), 0);
            prop_assert_eq!(period.after_days(days), total);
        }
    }
}
