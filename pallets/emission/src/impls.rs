//! Emission, period after period, and what is paid out of the buckets.

use crate::{
    curve::{self, Period, Shape},
    pallet::*,
    split::split,
};
use frame_support::{
    ensure,
    storage::with_storage_layer,
    traits::{
        fungible::{Inspect, Mutate},
        tokens::Preservation,
        Get,
    },
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{economy::Bucket, Balance};
use sp_runtime::{
    traits::{AccountIdConversion, Saturating, Zero},
    DispatchError, DispatchResult,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }

    /// The account of a bucket.
    pub fn account(bucket: Bucket) -> T::AccountId {
        T::PotId::get().into_sub_account_truncating(bucket)
    }

    /// All that was burned since the chain began, whoever burned it.
    pub fn burned() -> Balance {
        GenesisSupply::<T>::get()
            .saturating_add(Issued::<T>::get())
            .saturating_sub(T::Currency::total_issuance())
    }

    /// The period that a chain begins with.
    pub(crate) fn first_period() -> PeriodOf<T> {
        Period {
            starts_at: Zero::zero(),
            day: T::DayBlocks::get(),
            days: T::Days::get(),
            total: T::Cap::get(),
            shape: Shape::Falling {
                first_day: T::FirstDay::get(),
            },
            issued_before: 0,
        }
    }

    pub(crate) fn period() -> PeriodOf<T> {
        CurrentPeriod::<T>::get().unwrap_or_else(Self::first_period)
    }

    /// Begins the schedule.
    pub(crate) fn begin() {
        GenesisSupply::<T>::put(T::Currency::total_issuance());
        NextEmission::<T>::put(T::EmissionInterval::get());
        Self::start(Self::first_period());
    }

    fn start(period: PeriodOf<T>) {
        Self::deposit_event(Event::PeriodStarted {
            starts_at: period.starts_at,
            days: period.days,
            total: period.total,
            shape: period.shape,
        });
        CurrentPeriod::<T>::put(period);
    }

    /// Issues what is due by block `now`, and begins the next period where one is over.
    pub(crate) fn emit(now: BlockNumberFor<T>) {
        let period = Self::period();
        let issued = Issued::<T>::get();
        let due = period
            .issued_before
            .saturating_add(period.emitted(now))
            .saturating_sub(issued);
        if !due.is_zero() {
            // All of it or nothing.
            match with_storage_layer(|| Self::issue(due)) {
                Ok(()) => Issued::<T>::put(issued.saturating_add(due)),
                Err(_) => Self::deposit_event(Event::EmissionPostponed { amount: due }),
            }
        }
        if now >= period.ends_at() {
            Self::start(Self::next_period(&period));
        }
        NextEmission::<T>::put(now.saturating_add(T::EmissionInterval::get()));
    }

    fn issue(amount: Balance) -> DispatchResult {
        let parts = split(amount, &T::Shares::get());
        for (bucket, part) in parts.into_iter().filter(|(_, part)| !part.is_zero()) {
            T::Currency::mint_into(&Self::account(bucket), part)?;
            if bucket == Bucket::Capital {
                Capitals::<T>::mutate(|capital| capital.share_out(part));
            }
        }
        let [(_, compute), (_, capital), (_, builders), (_, community), (_, protection)] = parts;
        Self::deposit_event(Event::Emitted {
            compute,
            capital,
            builders,
            community,
            protection,
        });
        Ok(())
    }

    /// What stake has of an emission.
    pub(crate) fn capital_of(amount: Balance) -> Balance {
        let parts = split(amount, &T::Shares::get());
        let capital = parts
            .into_iter()
            .find(|(bucket, _)| *bucket == Bucket::Capital);
        capital.map_or(0, |(_, part)| part)
    }

    /// The period after this one, which emits part of what was burned in it.
    fn next_period(period: &PeriodOf<T>) -> PeriodOf<T> {
        let burned = Self::burned();
        let in_period = burned.saturating_sub(BurnedBefore::<T>::get());
        BurnedBefore::<T>::put(burned);
        Period {
            starts_at: period.ends_at(),
            day: T::DayBlocks::get(),
            days: T::Days::get(),
            total: curve::tail(
                in_period,
                T::TailOfBurned::get(),
                T::Currency::total_issuance(),
                T::TailOfSupply::get(),
            ),
            shape: Shape::Even,
            // What could not be issued yet still is.
            issued_before: period.issued_before.saturating_add(period.total),
        }
    }

    pub(crate) fn do_reschedule(first_day: Balance, days: u32) -> DispatchResult {
        let now = Self::now();
        let period = Self::period();
        let emitted = period.emitted(now);
        let rest = Period {
            starts_at: now,
            day: T::DayBlocks::get(),
            days,
            total: period.total.saturating_sub(emitted),
            shape: Shape::Falling { first_day },
            issued_before: period.issued_before.saturating_add(emitted),
        };
        ensure!(rest.is_sound(), Error::<T>::BadSchedule);
        Self::start(rest);
        Ok(())
    }

    pub(crate) fn do_spend(bucket: Bucket, to: T::AccountId, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        let spendable = matches!(
            bucket,
            Bucket::Builders | Bucket::Community | Bucket::Protection
        );
        ensure!(spendable, Error::<T>::NotSpendable);
        Self::pay(bucket, &to, amount).map_err(|error| match error {
            DispatchError::Token(sp_runtime::TokenError::FundsUnavailable)
            | DispatchError::Token(sp_runtime::TokenError::NotExpendable)
            | DispatchError::Arithmetic(sp_runtime::ArithmeticError::Underflow) => {
                Error::<T>::NotEnough.into()
            }
            other => other,
        })?;
        Self::deposit_event(Event::Spent { bucket, to, amount });
        Ok(())
    }

    /// Pays out of a bucket, which stays in existence.
    pub(crate) fn pay(bucket: Bucket, to: &T::AccountId, amount: Balance) -> DispatchResult {
        let from = Self::account(bucket);
        T::Currency::transfer(&from, to, amount, Preservation::Preserve).map(|_| ())
    }
}
