//! What stake earns: a running sum of what one unit of stake earned, from which each node's part follows.
//! Pure; nothing is done for each node when something is shared out.

use codec::{Decode, Encode, MaxEncodedLen};
use quipu_primitives::Balance;
use scale_info::TypeInfo;
use sp_runtime::{helpers_128bit::multiply_by_rational_with_rounding, Rounding};

/// Fraction bits of [`Capital::per_unit`] in decimal: it counts 10⁻¹⁸ of the smallest unit of QPU.
pub const SCALE: u128 = 1_000_000_000_000_000_000;

/// All stake, and what it earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Capital {
    /// What counts of everybody's stake.
    pub stake: Balance,
    /// What one unit of stake earned since the chain began, times [`SCALE`].
    pub per_unit: u128,
    /// What was shared out and not collected, at least the sum of what all nodes earned.
    pub owed: Balance,
    /// What waits to be shared out: what came while nobody had anything at stake, and what is too little
    /// to be divided.
    pub waiting: Balance,
}

impl Capital {
    /// Shares `amount` out, and what waits: to each unit of stake the same, rounded down.
    pub fn share_out(&mut self, amount: Balance) {
        self.waiting = self.waiting.saturating_add(amount);
        let rise = scaled(self.waiting, SCALE, self.stake, Rounding::Down);
        let Some((rise, per_unit)) = rise.and_then(|rise| {
            // A sum that is full takes no more; what is not shared out waits.
            Some((rise, self.per_unit.checked_add(rise)?))
        }) else {
            return;
        };
        // No more than what waits, since the rise was rounded down.
        let shared = scaled(rise, self.stake, SCALE, Rounding::Up).unwrap_or(0);
        self.per_unit = per_unit;
        self.waiting = self.waiting.saturating_sub(shared);
        self.owed = self.owed.saturating_add(shared);
    }
}

/// What a node has at stake, and what it earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Stake<BlockNumber> {
    /// What it has.
    pub stake: Balance,
    /// The block from which on its stake may earn again, where it earns nothing.
    pub resting: Option<BlockNumber>,
    /// [`Capital::per_unit`] when `earned` was brought up to date.
    pub since: u128,
    /// What it earned until then.
    pub earned: Balance,
}

impl<BlockNumber> Stake<BlockNumber> {
    /// What counts of its stake.
    pub fn counts(&self) -> Balance {
        match self.resting {
            Some(_) => 0,
            None => self.stake,
        }
    }

    /// What it earned until `per_unit`, rounded down.
    pub fn earned_by(&self, per_unit: u128) -> Balance {
        let rise = per_unit.saturating_sub(self.since);
        let more = scaled(rise, self.counts(), SCALE, Rounding::Down).unwrap_or(0);
        self.earned.saturating_add(more)
    }

    /// Brings `earned` up to date.
    pub fn settle(&mut self, per_unit: u128) {
        self.earned = self.earned_by(per_unit);
        self.since = per_unit;
    }

    /// Is there nothing to remember?
    pub fn is_empty(&self) -> bool {
        self.stake == 0 && self.earned == 0 && self.resting.is_none()
    }
}

/// `a` × `b` / `c`; `None` where that is no number or too large.
fn scaled(a: u128, b: u128, c: u128, rounding: Rounding) -> Option<u128> {
    multiply_by_rational_with_rounding(a, b, c, rounding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_primitives::money::QPU;

    fn stake(stake: Balance) -> Stake<u64> {
        Stake {
            stake,
            ..Default::default()
        }
    }

    #[test]
    fn each_unit_earns_the_same() {
        let mut capital = Capital {
            stake: 40_000 * QPU,
            ..Default::default()
        };
        let (mut sam, mut sue) = (stake(30_000 * QPU), stake(10_000 * QPU));
        capital.share_out(100 * QPU);
        assert_eq!(sam.earned_by(capital.per_unit), 75 * QPU);
        assert_eq!(sue.earned_by(capital.per_unit), 25 * QPU);
        assert_eq!((capital.owed, capital.waiting), (100 * QPU, 0));
        // Sue doubles her stake: what was before stays as it was.
        sue.settle(capital.per_unit);
        sue.stake += 10_000 * QPU;
        capital.stake += 10_000 * QPU;
        capital.share_out(100 * QPU);
        sam.settle(capital.per_unit);
        assert_eq!(sam.earned, 135 * QPU);
        assert_eq!(sue.earned_by(capital.per_unit), 65 * QPU);
    }

    #[test]
    fn what_nobody_can_have_waits() {
        let mut capital = Capital::default();
        capital.share_out(70);
        assert_eq!(
            capital,
            Capital {
                waiting: 70,
                ..Default::default()
            }
        );
        capital.stake = 7;
        capital.share_out(0);
        assert_eq!((capital.owed, capital.waiting), (70, 0));
        assert_eq!(stake(7).earned_by(capital.per_unit), 70);
        // Less than can be divided.
        capital.stake = Balance::MAX;
        capital.share_out(1);
        assert_eq!((capital.owed, capital.waiting), (70, 1));
    }

    #[test]
    fn who_rests_earns_nothing() {
        let mut capital = Capital {
            stake: 10,
            ..Default::default()
        };
        let mut node = Stake {
            resting: Some(5),
            ..stake(10)
        };
        capital.share_out(1_000);
        node.settle(capital.per_unit);
        assert_eq!(node.earned, 0);
        node.resting = None;
        capital.share_out(1_000);
        assert_eq!(node.earned_by(capital.per_unit), 1_000);
    }

    #[test]
    fn a_full_sum_loses_nothing() {
        let mut capital = Capital {
            stake: 1,
            per_unit: u128::MAX - 1,
            ..Default::default()
        };
        capital.share_out(5);
        assert_eq!(
            (capital.per_unit, capital.owed, capital.waiting),
            (u128::MAX - 1, 0, 5)
        );
        // Nor one that would not fit into the product.
        let mut capital = Capital {
            stake: 1,
            ..Default::default()
        };
        capital.share_out(Balance::MAX);
        assert_eq!((capital.per_unit, capital.waiting), (0, Balance::MAX));
    }

    proptest! {
        #[test]
        fn nobody_earns_what_is_not_there(
            stakes in prop::collection::vec(0..=1_000_000 * QPU, 1..8),
            amounts in prop::collection::vec(0..=100_000 * QPU, 0..12),
        ) {
            let mut capital = Capital { stake: stakes.iter().sum(), ..Default::default() };
            for amount in &amounts {
                capital.share_out(*amount);
            }
            let earned: Balance = stakes
                .iter()
                .map(|amount| stake(*amount).earned_by(capital.per_unit))
                .sum();
            prop_assert!(earned <= capital.owed);
            prop_assert_eq!(capital.owed + capital.waiting, amounts.iter().sum::<Balance>());
            if capital.stake > 0 {
                // Each time less than a unit for each node, and for each 10¹⁸ units of stake.
                let lost = stakes.len() as u128 + 1 + amounts.len() as u128 * (1 + capital.stake / SCALE);
                prop_assert!(capital.owed - earned <= lost);
            }
        }
    }
}
