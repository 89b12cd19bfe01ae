//! Benchmarks of the calls and of an offence, each at its worst case.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]

use super::*;
use crate::Pallet as StakingPallet;
use alloc::vec;
use frame_benchmarking::v2::*;
use frame_support::traits::{
    fungible::{Inspect, Mutate},
    Get,
};
use frame_system::{Pallet as System, RawOrigin};
use quipu_primitives::{
    traits::{Bonds, Slashable},
    Balance, NodeId,
};
use sp_runtime::{
    traits::{One, Saturating},
    Perbill,
};
use sp_staking::offence::{OffenceDetails, OnOffenceHandler};

/// What each chunk of a full queue holds.
fn part<T: Config>() -> Balance {
    T::MinBond::get().max(1)
}

/// An account with money for the largest bond that a benchmark takes.
fn rich<T: Config>() -> T::AccountId {
    let caller: T::AccountId = whitelisted_caller();
    let parts = part::<T>() * Balance::from(T::MaxUnbondingChunks::get() + 4);
    let bond = T::MinSelfBond::get().max(T::MinValidatorBond::get());
    T::Currency::mint_into(
        &caller,
        2 * (parts + bond) + 10 * T::Currency::minimum_balance(),
    )
    .unwrap();
    caller
}

/// Fills the queue of a node but for `free` places, and bonds `rest` beside it.
fn queue<T: Config>(caller: &T::AccountId, node: NodeId, free: u32, rest: Balance) {
    let chunks = T::MaxUnbondingChunks::get() - free;
    let total = part::<T>() * Balance::from(chunks) + rest;
    StakingPallet::<T>::do_bond(caller.clone(), node, total).unwrap();
    for _ in 0..chunks {
        let now = System::<T>::block_number();
        System::<T>::set_block_number(now.saturating_add(One::one()));
        StakingPallet::<T>::do_unbond(caller.clone(), node, part::<T>()).unwrap();
    }
    let now = System::<T>::block_number();
    System::<T>::set_block_number(now.saturating_add(One::one()));
}

#[benchmarks]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn bond() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::server(&caller);
        queue::<T>(&caller, node, 0, T::MinSelfBond::get());
        T::BenchmarkHelper::seat(node);
        let before = StakingPallet::<T>::self_bond(node);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), node, part::<T>());

        assert_eq!(StakingPallet::<T>::self_bond(node), before + part::<T>());
        Ok(())
    }

    /// The last place of the queue, and the seat is lost.
    #[benchmark]
    fn unbond() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::server(&caller);
        queue::<T>(&caller, node, 1, T::MinSelfBond::get());
        T::BenchmarkHelper::seat(node);
        let all = StakingPallet::<T>::self_bond(node);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), node, all);

        assert_eq!(StakingPallet::<T>::self_bond(node), 0);
        Ok(())
    }

    /// The whole queue.
    #[benchmark]
    fn rebond() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::server(&caller);
        queue::<T>(&caller, node, 0, T::MinSelfBond::get());
        T::BenchmarkHelper::seat(node);
        let waiting = Ledgers::<T>::get(node).unwrap().waiting();

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), node, waiting);

        assert!(Ledgers::<T>::get(node).unwrap().unbonding.is_empty());
        Ok(())
    }

    /// The whole queue, for somebody else.
    #[benchmark]
    fn withdraw() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::server(&caller);
        queue::<T>(&caller, node, 0, 0);
        let now = System::<T>::block_number();
        System::<T>::set_block_number(now.saturating_add(T::UnbondingPeriod::get()));
        let anyone: T::AccountId = account("anyone", 0, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(anyone), node);

        assert!(!Ledgers::<T>::contains_key(node));
        Ok(())
    }

    #[benchmark]
    fn validate() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::root_node(&caller);
        queue::<T>(&caller, node, 0, part::<T>());
        StakingPallet::<T>::do_chill(caller.clone(), node)?;

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), node);

        assert!(!Ledgers::<T>::get(node).unwrap().chilled);
        Ok(())
    }

    #[benchmark]
    fn chill() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::root_node(&caller);
        queue::<T>(&caller, node, 0, part::<T>());

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), node);

        assert!(Ledgers::<T>::get(node).unwrap().chilled);
        Ok(())
    }

    /// One offender with a full queue.
    #[benchmark]
    fn on_offence() -> Result<(), BenchmarkError> {
        let caller = rich::<T>();
        let node = T::BenchmarkHelper::root_node(&caller);
        queue::<T>(
            &caller,
            node,
            0,
            T::MinValidatorBond::get().max(part::<T>()),
        );
        let offender = (StakingPallet::<T>::validator_id(node), ());
        let details = OffenceDetails {
            offender,
            reporters: vec![caller],
        };
        let before = StakingPallet::<T>::slashable(node);

        #[block]
        {
            StakingPallet::<T>::on_offence(&[details], &[Perbill::from_percent(50)], 0);
        }

        assert!(OffenceFractions::<T>::contains_key(0, node));
        assert!(StakingPallet::<T>::slashable(node) <= before);
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
