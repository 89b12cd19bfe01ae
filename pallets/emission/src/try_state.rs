//! What holds at all times; the README says it in words.

use crate::pallet::*;
use alloc::collections::BTreeMap;
use frame_support::{
    ensure,
    traits::{fungible::Inspect, Get},
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    economy::{Bucket, BurnSource},
    Balance, NodeId,
};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::check_supply()?;
        Self::check_stakes()
    }

    fn check_supply() -> Result<(), TryRuntimeError> {
        let period = CurrentPeriod::<T>::get().ok_or("no period runs")?;
        ensure!(period.is_sound(), "the period can't be followed");
        let issued = Issued::<T>::get();
        ensure!(
            issued
                <= period
                    .issued_before
                    .saturating_add(period.emitted(Self::now())),
            "more was issued than is due"
        );
        let there_was = GenesisSupply::<T>::get()
            .checked_add(issued)
            .ok_or("the supply overflows")?;
        let burned = there_was
            .checked_sub(T::Currency::total_issuance())
            .ok_or("more exists than was ever issued")?;
        let counted = BurnSource::ALL
            .into_iter()
            .try_fold(0, |sum: Balance, source| {
                sum.checked_add(Burned::<T>::get(source))
            })
            .ok_or("what was burned overflows")?;
        ensure!(counted <= burned, "more was counted as burned than is gone");
        ensure!(
            issued <= T::Cap::get().saturating_add(burned),
            "more was issued than the cap and what was burned"
        );
        Ok(())
    }

    fn check_stakes() -> Result<(), TryRuntimeError> {
        let capital = Capitals::<T>::get();
        let mut resting = BTreeMap::<NodeId, BlockNumberFor<T>>::new();
        let (mut stake, mut earned): (Balance, Balance) = (0, 0);
        for (node, own) in Stakes::<T>::iter() {
            ensure!(!own.is_empty(), "an empty stake is stored");
            ensure!(
                own.since <= capital.per_unit,
                "a stake is ahead of all others"
            );
            stake = stake.checked_add(own.counts()).ok_or("stakes overflow")?;
            earned = earned
                .checked_add(own.earned_by(capital.per_unit))
                .ok_or("earnings overflow")?;
            if let Some(until) = own.resting {
                resting.insert(node, until);
            }
        }
        ensure!(stake == capital.stake, "the sum of the stakes is another");
        ensure!(earned <= capital.owed, "more was earned than is owed");
        let has = T::Currency::total_balance(&Self::account(Bucket::Capital));
        let needs = capital.owed.saturating_add(capital.waiting);
        ensure!(has >= needs, "more is owed than there is");
        let queued = Resting::<T>::iter_keys().map(|(until, node)| (node, until));
        ensure!(
            Resting::<T>::iter_keys().count() == resting.len()
                && queued.collect::<BTreeMap<_, _>>() == resting,
            "who rests is not who is queued"
        );
        if let Some(first) = resting.values().min() {
            ensure!(
                RestingCursor::<T>::get().is_some_and(|cursor| cursor <= *first),
                "who rests is behind the cursor"
            );
        }
        Ok(())
    }
}
