//! What is issued and burned, and for what.

use crate::money::Balance;
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

macro_rules! code {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $index:literal,)* }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode,
            DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
        )]
        pub enum $name {
            $($(#[$doc])* #[codec(index = $index)] $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: [$name; [$($index),*].len()] = [$($name::$variant),*];
        }
    };
}

code! {
    /// What emission is for. Each bucket is an account.
    pub enum Bucket {
        /// Inference for those who hold QPU.
        Compute = 0,
        /// Who has QPU at stake, as a node's owner or by delegation.
        Capital = 1,
        /// Who builds what the network needs.
        Builders = 2,
        /// Integrators, informants, and those who give preferences.
        Community = 3,
        /// What keeps the network safe.
        Protection = 4,
    }
}

code! {
    /// Why QPU was burned.
    pub enum BurnSource {
        /// Fees of transactions.
        Fee = 0,
        /// What was left on accounts that ceased to exist.
        Dust = 1,
        /// Slashes, without what reporters and victims got.
        Slash = 2,
    }
}

/// The supply of QPU, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SupplyInfo<AccountId> {
    /// What exists: `genesis` and `issued` without all that was burned.
    pub total: Balance,
    /// What the chain started with.
    pub genesis: Balance,
    /// What was emitted since.
    pub issued: Balance,
    /// What was burned, as far as a reason is known; the rest was burned by its owners.
    pub burned: Vec<(BurnSource, Balance)>,
    /// What this day emits, all buckets together.
    pub today: Balance,
    /// What this period emits from its first to its last day.
    pub period_total: Balance,
    /// What of that is still to come.
    pub period_left: Balance,
    /// The buckets, the accounts that they are, and what is in them.
    pub buckets: Vec<(Bucket, AccountId, Balance)>,
}

/// What a node earns by its stake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct StakeIncome {
    /// What counts of its stake.
    pub stake: Balance,
    /// What counts of everybody's.
    pub total_stake: Balance,
    /// What it earned and nobody collected yet.
    pub earned: Balance,
    /// What a day like this one brings it, while stakes stay as they are.
    pub per_day: Balance,
}

/// What a holder of QPU may use without paying for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct QuotaInfo {
    /// What it has locked.
    pub locked: Balance,
    /// What of that counts today: what was locked before.
    pub counts: Balance,
    /// Which day it is.
    pub day: u32,
    /// What all holders together may use today.
    pub budget: Balance,
    /// What this one may use today.
    pub quota: Balance,
    /// What is left of that.
    pub left: Balance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_complete_and_in_order() {
        for (index, bucket) in Bucket::ALL.into_iter().enumerate() {
            assert_eq!(bucket.encode(), [index as u8]);
        }
        for (index, source) in BurnSource::ALL.into_iter().enumerate() {
            assert_eq!(source.encode(), [index as u8]);
        }
        assert_eq!(Bucket::ALL.len(), 5);
        assert_eq!(BurnSource::ALL.len(), 3);
    }
}
