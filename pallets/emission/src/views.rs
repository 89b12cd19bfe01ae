//! What clients ask for.

use crate::pallet::*;
use frame_support::traits::fungible::Inspect;
use quipu_primitives::{
    economy::{Bucket, BurnSource, StakeIncome, SupplyInfo},
    traits::StakeRewards,
    NodeId,
};
use sp_runtime::{helpers_128bit::multiply_by_rational_with_rounding, Rounding};

impl<T: Config> Pallet<T> {
    /// The supply, and where it comes from.
    pub fn supply() -> SupplyInfo<T::AccountId> {
        let now = Self::now();
        let period = Self::period();
        let buckets = Bucket::ALL.into_iter().map(|bucket| {
            let account = Self::account(bucket);
            let balance = T::Currency::total_balance(&account);
            (bucket, account, balance)
        });
        let burned = BurnSource::ALL.into_iter();
        SupplyInfo {
            total: T::Currency::total_issuance(),
            genesis: GenesisSupply::<T>::get(),
            issued: Issued::<T>::get(),
            burned: burned
                .map(|source| (source, Burned::<T>::get(source)))
                .collect(),
            today: period.day_of(now),
            period_total: period.total,
            period_left: period.total.saturating_sub(period.emitted(now)),
            buckets: buckets.collect(),
        }
    }

    /// What a node earns by its stake.
    pub fn stake_income(node: NodeId) -> StakeIncome {
        let capital = Capitals::<T>::get();
        let stake = Stakes::<T>::get(node).map_or(0, |stake| stake.counts());
        let today = Self::capital_of(Self::period().day_of(Self::now()));
        let per_day =
            multiply_by_rational_with_rounding(today, stake, capital.stake, Rounding::Down);
        StakeIncome {
            stake,
            total_stake: capital.stake,
            earned: Self::earned(node),
            per_day: per_day.unwrap_or(0),
        }
    }
}
