//! What a case costs and who gets it: pure functions.

use quipu_primitives::{traits::Cause, Balance};
use sp_runtime::{PerThing, Perbill, Rounding, Saturating};

/// What offences cost, as the runtime decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// What a wrong computation costs, in prices of the work.
    pub price_multiple: u32,
    /// The share of the bond that it costs at least.
    pub min_computation: Perbill,
    /// The share of the bond that withheld data costs the first time.
    pub withheld: Perbill,
}

/// What a node has to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Everything that can be slashed.
    pub total: Balance,
    /// What pending cases take of it.
    pub pending: Balance,
    /// How often it withheld data before.
    pub withheld: u32,
}

impl Stake {
    /// What no case takes yet.
    fn rest(&self) -> Balance {
        self.total.saturating_sub(self.pending)
    }
}

/// What the cause costs a node with this stake. `price` is that of the work in question, or what was
/// staked on a verdict.
pub fn amount(tariff: &Tariff, cause: &Cause, price: Balance, stake: &Stake) -> Balance {
    let amount = match cause {
        Cause::Consensus { from, to, .. } => share_of_rest(*from, *to).mul_ceil(stake.rest()),
        Cause::Equivocation { .. } => stake.total,
        Cause::Computation { .. } => price
            .saturating_mul(tariff.price_multiple.into())
            .max(tariff.min_computation.mul_ceil(stake.total)),
        Cause::Withheld { .. } => {
            let factor = 1u32.checked_shl(stake.withheld).unwrap_or(u32::MAX);
            let parts = tariff.withheld.deconstruct().saturating_mul(factor);
            Perbill::from_parts(parts).mul_ceil(stake.total)
        }
        Cause::FalseVerdict { .. } => price,
    };
    amount.min(stake.rest())
}

/// The share of what is left after `from` was taken that makes `to` of the whole, rounded up. Zero
/// where nothing is missing.
pub fn share_of_rest(from: Perbill, to: Perbill) -> Perbill {
    let missing = to.saturating_sub(from);
    let rest = Perbill::one().saturating_sub(from);
    if missing.is_zero() {
        return Perbill::zero();
    }
    Perbill::from_rational_with_rounding(missing.deconstruct(), rest.deconstruct(), Rounding::Up)
        .unwrap_or(Perbill::one())
}

/// What the reporter and the victim get of what was taken, each rounded down; the rest is burned.
pub fn split(taken: Balance, reporter: Perbill, victim: Perbill) -> (Balance, Balance) {
    (reporter.mul_floor(taken), victim.mul_floor(taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARIFF: Tariff = Tariff {
        price_multiple: 300,
        min_computation: Perbill::from_percent(1),
        withheld: Perbill::from_percent(2),
    };

    fn stake(total: Balance, pending: Balance, withheld: u32) -> Stake {
        Stake {
            total,
            pending,
            withheld,
        }
    }

    #[test]
    fn the_share_of_the_rest_makes_up_the_whole() {
        let percent = Perbill::from_percent;
        assert_eq!(share_of_rest(percent(0), percent(30)), percent(30));
        assert_eq!(share_of_rest(percent(50), percent(75)), percent(50));
        assert_eq!(share_of_rest(percent(20), percent(100)), percent(100));
        assert_eq!(share_of_rest(percent(50), percent(50)), percent(0));
        assert_eq!(share_of_rest(percent(50), percent(40)), percent(0));
        assert_eq!(share_of_rest(percent(100), percent(100)), percent(0));
        // A third of what is left of two thirds, rounded up.
        let third = Perbill::from_rational(1u32, 3);
        assert!(share_of_rest(third, third + third) >= percent(50));
    }

    #[test]
    fn offences_of_consensus_cost_their_share_together() {
        let of = |from, to, stake| {
            let cause = Cause::Consensus {
                session: 1,
                from: Perbill::from_percent(from),
                to: Perbill::from_percent(to),
            };
            amount(&TARIFF, &cause, 0, &stake)
        };
        assert_eq!(of(0, 10, stake(4_000, 0, 0)), 400);
        // What the first takes still waits, or was taken.
        assert_eq!(of(10, 20, stake(4_000, 400, 0)), 401);
        assert_eq!(of(10, 20, stake(3_600, 0, 0)), 401);
        // Rounded against the offender, and never more than there is.
        assert_eq!(of(0, 1, stake(4_001, 0, 0)), 41);
        assert_eq!(of(0, 100, stake(4_001, 0, 0)), 4_001);
        assert_eq!(of(0, 100, stake(4_001, 4_000, 0)), 1);
        assert_eq!(of(0, 100, stake(0, 0, 0)), 0);
    }

    #[test]
    fn two_receipts_cost_all_that_is_left() {
        let cause = Cause::Equivocation { session: 1 };
        assert_eq!(amount(&TARIFF, &cause, 7, &stake(4_000, 0, 3)), 4_000);
        assert_eq!(amount(&TARIFF, &cause, 7, &stake(4_000, 1_000, 3)), 3_000);
        assert_eq!(amount(&TARIFF, &cause, 7, &stake(4_000, 4_000, 3)), 0);
    }

    #[test]
    fn a_wrong_computation_costs_many_prices_and_some_of_the_bond() {
        let cause = Cause::Computation { session: 1 };
        let of = |price, stake| amount(&TARIFF, &cause, price, &stake);
        assert_eq!(of(2, stake(10_000, 0, 0)), 600);
        assert_eq!(of(0, stake(10_001, 0, 0)), 101);
        assert_eq!(of(100, stake(10_000, 0, 0)), 10_000);
        assert_eq!(of(2, stake(10_000, 9_500, 0)), 500);
        assert_eq!(of(Balance::MAX, stake(10_000, 0, 0)), 10_000);
    }

    #[test]
    fn withheld_data_costs_twice_as_much_each_time() {
        let cause = Cause::Withheld { session: 1 };
        let of = |withheld| amount(&TARIFF, &cause, 9, &stake(10_000, 0, withheld));
        let amounts = [0, 1, 2, 3, 4, 5, 6, 31, 32, u32::MAX].map(of);
        let all = 10_000;
        assert_eq!(
            amounts,
            [200, 400, 800, 1_600, 3_200, 6_400, all, all, all, all]
        );
    }

    #[test]
    fn a_false_verdict_costs_what_was_staked_on_it() {
        let cause = Cause::FalseVerdict {
            session: 1,
            server: 2,
        };
        assert_eq!(amount(&TARIFF, &cause, 700, &stake(10_000, 0, 3)), 700);
        assert_eq!(amount(&TARIFF, &cause, 700, &stake(10_000, 9_500, 0)), 500);
        assert_eq!(amount(&TARIFF, &cause, 0, &stake(10_000, 0, 0)), 0);
    }

    #[test]
    fn the_proceeds_are_split_and_what_is_left_is_burned() {
        let percent = Perbill::from_percent;
        assert_eq!(split(10_000, percent(40), percent(20)), (4_000, 2_000));
        assert_eq!(split(4, percent(40), percent(20)), (1, 0));
        assert_eq!(split(0, percent(40), percent(20)), (0, 0));
        let (reporter, victim) = split(Balance::MAX, percent(50), percent(50));
        assert!(reporter.checked_add(victim).is_some());
    }

    proptest! {
        #[test]
        fn nothing_costs_more_than_is_left(
            price in any::<Balance>(),
            total in any::<Balance>(),
            pending in any::<Balance>(),
            withheld in any::<u32>(),
            from in 0..=1_000_000_000u32,
            to in 0..=1_000_000_000u32,
        ) {
            let stake = stake(total, pending, withheld);
            let consensus = Cause::Consensus {
                session: 0,
                from: Perbill::from_parts(from),
                to: Perbill::from_parts(to),
            };
            for cause in [
                consensus,
                Cause::Equivocation { session: 0 },
                Cause::Computation { session: 0 },
                Cause::Withheld { session: 0 },
                Cause::FalseVerdict { session: 0, server: 0 },
            ] {
                let amount = amount(&TARIFF, &cause, price, &stake);
                prop_assert!(amount <= total.saturating_sub(pending));
            }
        }
    }
}
