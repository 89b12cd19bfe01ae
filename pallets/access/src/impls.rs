//! Days, locks, and what is taken of a quota.

use crate::{
    pallet::*,
    quota::{Day, DayNumber, Lock},
};
use frame_support::{
    ensure,
    traits::{
        fungible::{Inspect, InspectFreeze, MutateFreeze},
        Get,
    },
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    economy::QuotaInfo,
    traits::{Grant, Quotas},
    Balance,
};
use sp_runtime::{
    helpers_128bit::multiply_by_rational_with_rounding,
    traits::{CheckedDiv, One, Saturating, UniqueSaturatedInto, Zero},
    DispatchError, DispatchResult, Rounding,
};

/// Parameters of a unit of inference.
pub const UNIT_PARAMETERS: u64 = 1_000_000;

impl<T: Config> Pallet<T> {
    /// Fixes what this day's quotas rest on.
    pub(crate) fn begin_day(now: BlockNumberFor<T>) {
        let blocks = T::DayBlocks::get();
        let number = now.checked_div(&blocks).unwrap_or_default();
        let next = number.saturating_add(One::one()).saturating_mul(blocks);
        let day = Day {
            number: number.unique_saturated_into(),
            budget: T::DailyShare::get().mul_floor(T::Currency::balance(&T::Payer::get())),
            supply: T::Currency::total_issuance(),
        };
        Today::<T>::put(day);
        NextDay::<T>::put(next);
        Self::deposit_event(Event::DayStarted {
            day: day.number,
            budget: day.budget,
            supply: day.supply,
        });
    }

    pub(crate) fn do_lock(holder: T::AccountId, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        let mut lock = Locks::<T>::get(&holder).unwrap_or_default();
        lock.add(amount, Today::<T>::get().number)
            .ok_or(Error::<T>::NotEnough)?;
        let locked = lock.total();
        ensure!(
            locked <= T::Currency::total_balance(&holder),
            Error::<T>::NotEnough
        );
        Self::write(&holder, lock)?;
        Self::deposit_event(Event::Locked {
            holder,
            amount,
            locked,
        });
        Ok(())
    }

    pub(crate) fn do_unlock(holder: T::AccountId, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        let mut lock = Locks::<T>::get(&holder).unwrap_or_default();
        lock.remove(amount).ok_or(Error::<T>::NotEnoughLocked)?;
        let locked = lock.total();
        Self::write(&holder, lock)?;
        Self::deposit_event(Event::Unlocked {
            holder,
            amount,
            locked,
        });
        Ok(())
    }

    /// The only writer of `Locks` and of the freezes. Who has nothing locked has no quota, so that it need
    /// not be known what it used.
    fn write(holder: &T::AccountId, lock: Lock) -> DispatchResult {
        let locked = lock.total();
        ensure!(
            locked.is_zero() || locked >= T::MinLock::get(),
            Error::<T>::BelowMinLock
        );
        let reason = FreezeReason::Access.into();
        match locked.is_zero() {
            true => {
                T::Currency::thaw(&reason, holder)?;
                Locks::<T>::remove(holder);
            }
            false => {
                T::Currency::set_freeze(&reason, holder, locked)?;
                Locks::<T>::insert(holder, lock);
            }
        }
        Ok(())
    }

    /// What this day's quota of a holder is, and what is left of it. Of a balance that was slashed below
    /// what is locked no more counts than there is.
    fn quota(holder: &T::AccountId, lock: &Lock, day: &Day) -> (Balance, Balance) {
        let counts = lock
            .counts_on(day.number)
            .min(T::Currency::total_balance(holder));
        let quota = day.quota_of(counts);
        (quota, quota.saturating_sub(lock.used_on(day.number)))
    }

    /// What a holder may use.
    pub fn quota_info(holder: &T::AccountId) -> QuotaInfo {
        let day = Today::<T>::get();
        let lock = Locks::<T>::get(holder).unwrap_or_default();
        let (quota, left) = Self::quota(holder, &lock, &day);
        QuotaInfo {
            locked: lock.total(),
            counts: lock.counts_on(day.number),
            day: day.number,
            budget: day.budget,
            quota,
            left,
        }
    }

    /// What is frozen on an account for its quota.
    pub fn frozen(holder: &T::AccountId) -> Balance {
        T::Currency::balance_frozen(&FreezeReason::Access.into(), holder)
    }
}

impl<T: Config> Quotas<T::AccountId> for Pallet<T> {
    fn take(holder: &T::AccountId, amount: Balance) -> Result<Grant<T::AccountId>, DispatchError> {
        let day = Today::<T>::get();
        let mut lock = Locks::<T>::get(holder).ok_or(Error::<T>::QuotaExceeded)?;
        let (_, left) = Self::quota(holder, &lock, &day);
        ensure!(amount <= left, Error::<T>::QuotaExceeded);
        lock.take(amount, day.number);
        Locks::<T>::insert(holder, lock);
        Self::deposit_event(Event::QuotaTaken {
            holder: holder.clone(),
            amount,
            left: left.saturating_sub(amount),
        });
        Ok(Grant {
            payer: T::Payer::get(),
            day: day.number,
        })
    }

    fn give_back(holder: &T::AccountId, day: DayNumber, amount: Balance) {
        if amount.is_zero() {
            return;
        }
        Locks::<T>::mutate_extant(holder, |lock| lock.give_back(amount, day));
        let holder = holder.clone();
        Self::deposit_event(Event::QuotaGivenBack {
            holder,
            day,
            amount,
        });
    }

    fn highest_price(block_parameters: u64) -> Balance {
        multiply_by_rational_with_rounding(
            T::HighestUnitPrice::get(),
            block_parameters.into(),
            UNIT_PARAMETERS.into(),
            Rounding::Down,
        )
        .unwrap_or(Balance::MAX)
    }
}
