//! What holds at all times; the README says it in words.

use crate::{
    Config, CurrentEra, CurrentValidators, Ledgers, Pallet, PlannedEra, PlannedValidators,
    TotalBonded,
};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::ensure;
use quipu_primitives::{traits::Nodes, Balance, NodeId};
use sp_runtime::{traits::Zero, TryRuntimeError};

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::ledgers_are_sound()?;
        Self::holds_are_the_ledgers()?;
        Self::eras_follow_each_other()
    }

    fn ledgers_are_sound() -> Result<(), TryRuntimeError> {
        let mut bonded: Balance = 0;
        for ledger in Ledgers::<T>::iter_values() {
            ensure!(!ledger.is_empty(), "empty ledger");
            ensure!(
                ledger.unbonding.iter().all(|chunk| !chunk.amount.is_zero()),
                "empty chunk"
            );
            ensure!(
                ledger
                    .unbonding
                    .is_sorted_by(|a, b| a.release_at < b.release_at),
                "chunks out of order"
            );
            bonded = bonded.checked_add(ledger.own).ok_or("bonds overflow")?;
        }
        ensure!(bonded == TotalBonded::<T>::get(), "TotalBonded is off");
        Ok(())
    }

    fn holds_are_the_ledgers() -> Result<(), TryRuntimeError> {
        let mut sums = BTreeMap::<T::AccountId, Balance>::new();
        for (node, ledger) in Ledgers::<T>::iter() {
            let keys = T::Nodes::keys(node).ok_or("ledger of no node")?;
            let sum = sums.entry(keys.coldkey).or_default();
            *sum = sum.checked_add(ledger.total()).ok_or("ledgers overflow")?;
        }
        for account in frame_system::Account::<T>::iter_keys() {
            let sum = sums.remove(&account).unwrap_or_default();
            ensure!(Self::held(&account) == sum, "hold of a bond is off");
        }
        ensure!(sums.is_empty(), "ledger of a missing account");
        Ok(())
    }

    fn eras_follow_each_other() -> Result<(), TryRuntimeError> {
        for validators in [CurrentValidators::<T>::get(), PlannedValidators::<T>::get()] {
            let distinct: BTreeSet<NodeId> = validators.iter().copied().collect();
            ensure!(distinct.len() == validators.len(), "validator twice");
        }
        let (Some(current), Some(planned)) = (CurrentEra::<T>::get(), PlannedEra::<T>::get())
        else {
            ensure!(
                CurrentEra::<T>::get().is_none(),
                "era that was never planned"
            );
            return Ok(());
        };
        ensure!(
            current == planned
                || (current.index < planned.index && current.first_session < planned.first_session),
            "eras out of order"
        );
        Ok(())
    }
}
