//! Benchmarks of the calls and of an offence, each at its worst case.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic
)]

use super::*;
use crate::Pallet as StakingPallet;
use alloc::{vec, vec::Vec};
use frame_benchmarking::v2::*;
use frame_support::traits::{
    fungible::{Inspect, Mutate},
    Get,
};
use frame_system::{Pallet as System, RawOrigin};
use pallet_session::SessionManager;
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

    /// One offender with a full queue, the last of as many validators as there can be.
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
        let last = StakingPallet::<T>::validator_id(node);
        let mut validators: Vec<T::AccountId> = (1..T::MaxValidators::get())
            .map(|index| account("validator", index, 0))
            .collect();
        validators.push(last.clone());
        T::BenchmarkHelper::run_session_of(validators);
        let offender = (last, ());
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

    /// An election among as many root nodes as there can be, each of which stands, and the start of
    /// the era; of the session that falls out of the window every validator had offended.
    #[benchmark]
    fn new_era() -> Result<(), BenchmarkError> {
        let room = T::BenchmarkHelper::room_for_root_nodes();
        for index in 0..room {
            let coldkey: T::AccountId = account("validator", index, 0);
            let stake = T::MinValidatorBond::get().max(part::<T>()) + Balance::from(index);
            let least = T::Currency::minimum_balance();
            T::Currency::mint_into(&coldkey, stake + 10 * least)?;
            let node = T::BenchmarkHelper::root_node(&coldkey);
            StakingPallet::<T>::do_bond(coldkey, node, stake)?;
            T::BenchmarkHelper::set_keys(node);
        }
        let gone = T::SessionsPerEra::get();
        for node in 0..T::MaxValidators::get() {
            OffenceFractions::<T>::insert(gone, node, Perbill::one());
        }
        let session = gone + T::OffenceWindow::get() + 1;
        PlannedEra::<T>::put(Era {
            index: 0,
            first_session: 0,
        });

        #[block]
        {
            <StakingPallet<T> as SessionManager<T::AccountId>>::new_session(session);
            <StakingPallet<T> as SessionManager<T::AccountId>>::start_session(session);
        }

        let elected = CurrentValidators::<T>::get().len() as u32;
        assert_eq!(elected, T::MaxValidators::get().min(room));
        assert!(OffenceFractions::<T>::iter_prefix(gone).next().is_none());
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
