//! Benchmarks of every call, and of each piece of the work in blocks.

use crate::pallet::*;
use frame_benchmarking::v2::*;
use frame_support::{
    traits::{EnsureOrigin, Get, OnIdle, OnInitialize},
    weights::Weight,
};
use frame_system::Pallet as System;
use quipu_primitives::{
    economy::Bucket,
    traits::{AuditDuties, StakeRewards},
    Balance, NodeId,
};
use sp_runtime::traits::Saturating;

const NODE: NodeId = 1;
const STAKE: Balance = 1_000_000_000_000_000_000;

/// Goes on to where a whole day was emitted.
fn emit_a_day<T: Config>() {
    let day = Pallet::<T>::period()
        .starts_at
        .saturating_add(T::DayBlocks::get());
    System::<T>::set_block_number(day);
    NextEmission::<T>::kill();
    Pallet::<T>::on_initialize(day);
    assert!(Issued::<T>::get() > 0);
}

#[benchmarks]
mod benches {
    use super::*;

    #[benchmark]
    fn emit() {
        Pallet::<T>::stake_changed(NODE, STAKE);
        emit_a_day::<T>();
        let end = Pallet::<T>::period().ends_at();
        System::<T>::set_block_number(end);
        #[block]
        {
            Pallet::<T>::on_initialize(end);
        }
        assert_eq!(Pallet::<T>::period().starts_at, end);
    }

    #[benchmark]
    fn reschedule() -> Result<(), BenchmarkError> {
        let origin =
            T::ManageOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;
        emit_a_day::<T>();
        let period = Pallet::<T>::period();
        let left = period
            .total
            .saturating_sub(period.emitted(System::<T>::block_number()));
        let days = 1_000u32;
        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, left.div_ceil(days.into()), days);
        assert_eq!(Pallet::<T>::period().days, days);
        Ok(())
    }

    #[benchmark]
    fn spend() -> Result<(), BenchmarkError> {
        let origin =
            T::ManageOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;
        emit_a_day::<T>();
        let to: T::AccountId = account("builder", 0, 0);
        let amount = STAKE / 1_000_000;
        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, Bucket::Builders, to, amount);
        Ok(())
    }

    #[benchmark]
    fn look() {
        // A cursor, and nobody under it.
        RestingCursor::<T>::put(System::<T>::block_number());
        let now = System::<T>::block_number();
        #[block]
        {
            Pallet::<T>::on_idle(now, Weight::MAX);
        }
    }

    #[benchmark]
    fn wake() {
        Pallet::<T>::stake_changed(NODE, STAKE);
        Pallet::<T>::duty_missed(NODE);
        let until = System::<T>::block_number().saturating_add(T::RestAfterMissedDuty::get());
        RestingCursor::<T>::put(until);
        System::<T>::set_block_number(until);
        #[block]
        {
            Pallet::<T>::on_idle(until, Weight::MAX);
        }
        assert_eq!(Resting::<T>::iter().count(), 0);
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
