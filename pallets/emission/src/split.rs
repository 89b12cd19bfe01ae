//! How an emission is shared out among the buckets: pure.

use quipu_primitives::{economy::Bucket, Balance};
use sp_runtime::Perbill;

/// The shares of the buckets. Protection has what the others leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// For inference.
    pub compute: Perbill,
    /// For stake.
    pub capital: Perbill,
    /// For builders.
    pub builders: Perbill,
    /// For the community.
    pub community: Perbill,
}

/// What each bucket gets of `amount`, rounded down, the rest to protection. They add up to it exactly:
/// where the shares come to more than there is, the later ones are cut.
pub fn split(amount: Balance, shares: &Shares) -> [(Bucket, Balance); 5] {
    let mut left = amount;
    let mut take = |share: Perbill| {
        let part = share.mul_floor(amount).min(left);
        left = left.saturating_sub(part);
        part
    };
    let compute = take(shares.compute);
    let capital = take(shares.capital);
    let builders = take(shares.builders);
    let community = take(shares.community);
    [
        (Bucket::Compute, compute),
        (Bucket::Capital, capital),
        (Bucket::Builders, builders),
        (Bucket::Community, community),
        (Bucket::Protection, left),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(compute: u32, capital: u32, builders: u32, community: u32) -> Shares {
        Shares {
            compute: Perbill::from_percent(compute),
            capital: Perbill::from_percent(capital),
            builders: Perbill::from_percent(builders),
            community: Perbill::from_percent(community),
        }
    }

    fn amounts(amount: Balance, shares: Shares) -> [Balance; 5] {
        split(amount, &shares).map(|(_, part)| part)
    }

    #[test]
    fn each_gets_its_share_and_protection_the_rest() {
        assert_eq!(
            amounts(1_000, shares(24, 24, 24, 24)),
            [240, 240, 240, 240, 40]
        );
        assert_eq!(amounts(9, shares(24, 24, 24, 24)), [2, 2, 2, 2, 1]);
        assert_eq!(amounts(0, shares(24, 24, 24, 24)), [0; 5]);
        assert_eq!(amounts(100, shares(0, 0, 0, 0)), [0, 0, 0, 0, 100]);
        // Shares that come to more than everything.
        assert_eq!(amounts(100, shares(50, 40, 30, 20)), [50, 40, 10, 0, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made(amount: Balance, parts: [u32; 4]) {
            let [compute, capital, builders, community] =
                parts.map(|part| Perbill::from_parts(part % 1_000_000_001));
            let shares = Shares { compute, capital, builders, community };
            let sum: Option<Balance> = split(amount, &shares)
                .into_iter()
                .try_fold(0, |sum: Balance, (_, part)| sum.checked_add(part));
            prop_assert_eq!(sum, Some(amount));
        }
    }
}
