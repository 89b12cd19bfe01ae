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
    let parts = part::<T>() * Balance::from(T::MaxUnbondingChunks::get() + 5);
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

/// What a benchmark delegates in one part.
fn least<T: Config>() -> Balance {
    T::MinDelegation::get().max(T::Currency::minimum_balance())
}

/// A node with what a seat needs, that earned something, and its owner.
fn owned<T: Config>() -> (T::AccountId, NodeId) {
    let owner = rich::<T>();
    let node = T::BenchmarkHelper::server(&owner);
    let chunks = Balance::from(T::MaxUnbondingChunks::get());
    let rest = T::MinSelfBond::get().max(part::<T>());
    let least = T::Currency::minimum_balance();
    T::Currency::mint_into(&owner, part::<T>() * chunks + rest + 10 * least).unwrap();
    queue::<T>(&owner, node, 0, rest);
    T::BenchmarkHelper::seat(node);
    T::BenchmarkHelper::earn(node);
    (owner, node)
}

/// A second node of the owner with a bond.
fn second<T: Config>(owner: &T::AccountId) -> NodeId {
    let node = T::BenchmarkHelper::root_node(owner);
    let bond = part::<T>() * 2;
    T::Currency::mint_into(owner, bond + 10 * T::Currency::minimum_balance()).unwrap();
    StakingPallet::<T>::do_bond(owner.clone(), node, bond).unwrap();
    node
}

/// An account that has some parts at stake for a node.
fn backer<T: Config>(node: NodeId, index: u32, parts: u32) -> T::AccountId {
    let who: T::AccountId = account("backer", index, 0);
    let amount = least::<T>() * Balance::from(parts);
    T::Currency::mint_into(&who, amount + 10 * least::<T>()).unwrap();
    StakingPallet::<T>::do_delegate(who.clone(), node, amount).unwrap();
    who
}

/// As many delegations as may move from one node to another.
fn departures<T: Config>(from: NodeId, to: NodeId) {
    for index in 0..T::MaxMoves::get() {
        let who = backer::<T>(from, 100 + index, 1);
        StakingPallet::<T>::do_move_delegation(who, from, to, least::<T>()).unwrap();
    }
}

/// The most liens but for `free` on a delegation, or on a ledger, all of them over.
fn liens<T: Config>(to: NodeId, delegator: Option<T::AccountId>, free: u32) -> LiensOf<T> {
    let mut liens = LiensOf::<T>::default();
    for index in 0..T::MaxMoves::get() - free {
        let from = 1_000_000 + index;
        let delegator = delegator.clone();
        let mut departed = Departures::<T>::default();
        departed.list.try_push(Departure { to, delegator }).unwrap();
        Departed::<T>::insert(from, departed);
        let until = System::<T>::block_number();
        let lien = Lien {
            from,
            amount: 1,
            until,
        };
        liens.try_push(lien).unwrap();
    }
    liens
}

/// Puts the most liens on a delegation.
fn burden<T: Config>(node: NodeId, who: &T::AccountId) {
    let liens = liens::<T>(node, Some(who.clone()), 0);
    Delegations::<T>::mutate(node, who, |delegation| {
        delegation.as_mut().unwrap().liens = liens;
    });
}

/// Asks back one part in each of so many blocks, and waits for one more.
fn leave<T: Config>(node: NodeId, who: &T::AccountId, chunks: u32) {
    for _ in 0..chunks {
        StakingPallet::<T>::do_undelegate(who.clone(), node, least::<T>()).unwrap();
        wait::<T>(One::one());
    }
}

/// Gives a node's owner and a delegator something to claim.
fn earned<T: Config>(node: NodeId, who: &T::AccountId) {
    let reward = T::Currency::minimum_balance() * 10;
    T::Currency::mint_into(&StakingPallet::<T>::pot(), 2 * reward).unwrap();
    Pools::<T>::mutate(node, |pool| {
        let pool = pool.as_mut().unwrap();
        pool.owed += reward;
        pool.owner_rewards += reward;
    });
    Delegations::<T>::mutate(node, who, |delegation| {
        delegation.as_mut().unwrap().unclaimed += reward;
    });
}

fn wait<T: Config>(blocks: frame_system::pallet_prelude::BlockNumberFor<T>) {
    let now = System::<T>::block_number();
    System::<T>::set_block_number(now.saturating_add(blocks));
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
        T::BenchmarkHelper::earn(node);
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
        T::BenchmarkHelper::earn(node);
        BondLiens::<T>::insert(node, liens::<T>(node, None, 0));
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
        let other = T::BenchmarkHelper::server(&caller);
        StakingPallet::<T>::do_bond(caller.clone(), other, part::<T>())?;
        departures::<T>(node, other);
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

    #[benchmark]
    fn delegate() -> Result<(), BenchmarkError> {
        let (_, node) = owned::<T>();
        let first = backer::<T>(node, 1, 1);
        T::BenchmarkHelper::earn(node);
        let caller: T::AccountId = account("caller", 0, 0);
        T::Currency::mint_into(&caller, 20 * least::<T>())?;

        #[extrinsic_call]
        _(RawOrigin::Signed(caller.clone()), node, least::<T>());

        assert!(Delegations::<T>::contains_key(node, caller));
        assert!(Delegations::<T>::contains_key(node, first));
        Ok(())
    }

    #[benchmark]
    fn undelegate() -> Result<(), BenchmarkError> {
        let (_, node) = owned::<T>();
        let chunks = T::MaxUnbondingChunks::get();
        let who = backer::<T>(node, 1, chunks + 1);
        leave::<T>(node, &who, chunks - 1);
        burden::<T>(node, &who);
        wait::<T>(One::one());
        T::BenchmarkHelper::earn(node);

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), node, least::<T>());

        let delegation = Delegations::<T>::get(node, who).unwrap();
        assert_eq!(delegation.chunks.len() as u32, chunks);
        assert!(delegation.liens.is_empty());
        Ok(())
    }

    #[benchmark]
    fn withdraw_delegation() -> Result<(), BenchmarkError> {
        let (_, node) = owned::<T>();
        let chunks = T::MaxUnbondingChunks::get();
        let who = backer::<T>(node, 1, chunks);
        T::BenchmarkHelper::earn(node);
        leave::<T>(node, &who, chunks);
        wait::<T>(T::UnbondingPeriod::get());
        let anyone: T::AccountId = account("anyone", 0, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(anyone), node, who.clone());

        assert!(!Delegations::<T>::contains_key(node, who));
        Ok(())
    }

    #[benchmark]
    fn set_commission() -> Result<(), BenchmarkError> {
        let (owner, node) = owned::<T>();
        backer::<T>(node, 1, 1);
        T::BenchmarkHelper::earn(node);
        let commission = T::MaxCommissionRaise::get().min(T::MaxCommission::get());

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), node, commission);

        assert_eq!(Pools::<T>::get(node).unwrap().commission, commission);
        Ok(())
    }

    #[benchmark]
    fn claim() -> Result<(), BenchmarkError> {
        let (_, node) = owned::<T>();
        let chunks = T::MaxUnbondingChunks::get();
        let who = backer::<T>(node, 1, chunks + 1);
        leave::<T>(node, &who, chunks);
        earned::<T>(node, &who);
        T::BenchmarkHelper::earn(node);

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), node);

        let left = Delegations::<T>::get(node, who).unwrap().unclaimed;
        assert_eq!(left, 0);
        Ok(())
    }

    #[benchmark]
    fn claim_own() -> Result<(), BenchmarkError> {
        let (owner, node) = owned::<T>();
        let who = backer::<T>(node, 1, 1);
        earned::<T>(node, &who);
        T::BenchmarkHelper::earn(node);

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), node);

        assert_eq!(Pools::<T>::get(node).unwrap().owner_rewards, 0);
        Ok(())
    }

    #[benchmark]
    fn release_delegator() -> Result<(), BenchmarkError> {
        let (_, node) = owned::<T>();
        let chunks = T::MaxUnbondingChunks::get();
        let who = backer::<T>(node, 1, chunks + 1);
        earned::<T>(node, &who);
        leave::<T>(node, &who, chunks);
        burden::<T>(node, &who);
        drop(StakingPallet::<T>::slash(node, Balance::MAX)?);
        let anyone: T::AccountId = account("anyone", 0, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(anyone), node, who.clone());

        assert!(!Delegations::<T>::contains_key(node, who));
        Ok(())
    }

    /// To a node that earned something too.
    #[benchmark]
    fn move_delegation() -> Result<(), BenchmarkError> {
        let (owner, from) = owned::<T>();
        let to = second::<T>(&owner);
        departures::<T>(from, to);
        let who = backer::<T>(from, 1, 2);
        let there = backer::<T>(to, 1, 1);
        burden::<T>(to, &there);
        burden::<T>(from, &who);
        wait::<T>(T::UnbondingPeriod::get());
        T::BenchmarkHelper::earn(from);
        T::BenchmarkHelper::earn(to);

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), from, to, least::<T>());

        assert_eq!(Delegations::<T>::get(to, who).unwrap().liens.len(), 1);
        assert_eq!(Departed::<T>::get(from).list.len(), 1);
        Ok(())
    }

    #[benchmark]
    fn move_bond() -> Result<(), BenchmarkError> {
        let (owner, from) = owned::<T>();
        let to = second::<T>(&owner);
        departures::<T>(from, to);
        BondLiens::<T>::insert(to, liens::<T>(to, None, 0));
        wait::<T>(T::UnbondingPeriod::get());
        T::BenchmarkHelper::earn(from);
        T::BenchmarkHelper::earn(to);
        let all = Ledgers::<T>::get(from).unwrap().own;

        #[extrinsic_call]
        _(RawOrigin::Signed(owner), from, to, all);

        assert_eq!(BondLiens::<T>::get(to).len(), 1);
        assert_eq!(Departed::<T>::get(from).list.len(), 1);
        Ok(())
    }

    #[benchmark]
    fn clear_moves() -> Result<(), BenchmarkError> {
        let (owner, from) = owned::<T>();
        let to = second::<T>(&owner);
        departures::<T>(from, to);
        wait::<T>(T::UnbondingPeriod::get());
        let anyone: T::AccountId = account("anyone", 0, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(anyone), from);

        assert!(!Departed::<T>::contains_key(from));
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
