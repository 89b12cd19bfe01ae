//! What holds at all times; the README says it in words.

use crate::pallet::*;
use frame_support::{ensure, traits::Get};
use quipu_primitives::Balance;
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let today = Today::<T>::get();
        let mut quotas: Balance = 0;
        for (holder, lock) in Locks::<T>::iter() {
            let locked = lock.total();
            ensure!(locked > 0, "an empty lock is stored");
            ensure!(locked >= T::MinLock::get(), "less than the least is locked");
            ensure!(
                Self::frozen(&holder) == locked,
                "what is frozen is not what is locked"
            );
            ensure!(
                lock.since <= today.number && lock.used_on <= today.number,
                "a lock is of a day to come"
            );
            quotas = quotas
                .checked_add(Self::quota_info(&holder).quota)
                .ok_or("quotas overflow")?;
        }
        ensure!(
            quotas <= today.budget || today.supply == 0,
            "quotas exceed the budget"
        );
        Ok(())
    }
}
