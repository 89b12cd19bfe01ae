//! Benchmarks of every call, and of the work in blocks.

use crate::pallet::*;
use frame_benchmarking::v2::*;
use frame_support::traits::{fungible::Mutate, Get, OnInitialize};
use frame_system::{Pallet as System, RawOrigin};
use quipu_primitives::Balance;

fn holder<T: Config>() -> (T::AccountId, Balance)
where
    T::Currency: Mutate<T::AccountId, Balance = Balance>,
{
    let who: T::AccountId = account("holder", 0, 0);
    let amount = T::MinLock::get().max(1_000_000_000_000).saturating_mul(10);
    T::Currency::set_balance(&who, amount.saturating_mul(2));
    (who, amount)
}

#[benchmarks(where T::Currency: Mutate<T::AccountId, Balance = Balance>)]
mod benches {
    use super::*;

    #[benchmark]
    fn begin_day() {
        let day = T::DayBlocks::get();
        System::<T>::set_block_number(day);
        #[block]
        {
            Pallet::<T>::on_initialize(day);
        }
        assert_eq!(Today::<T>::get().number, 1);
    }

    #[benchmark]
    fn lock() {
        let (who, amount) = holder::<T>();
        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), amount);
        assert_eq!(Pallet::<T>::frozen(&who), amount);
    }

    #[benchmark]
    fn unlock() -> Result<(), BenchmarkError> {
        let (who, amount) = holder::<T>();
        Pallet::<T>::lock(RawOrigin::Signed(who.clone()).into(), amount)?;
        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), amount);
        assert_eq!(Pallet::<T>::frozen(&who), 0);
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
