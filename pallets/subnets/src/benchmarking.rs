//! Benchmarks of the calls, each at its worst case, and functions by which the benchmarks of
//! other pallets set a roster up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic
)]

use super::*;
use crate::Pallet as SubnetsPallet;
use alloc::{boxed::Box, vec::Vec};
use frame_benchmarking::v2::*;
use frame_support::traits::{
    fungible::{Inspect, Mutate},
    Get,
};
use frame_system::RawOrigin;
use quipu_primitives::{
    manifest::{MAX_BLOCKS, MAX_PROFILES},
    traits::Bonds,
    Architecture, DType, Digest, Kernel, Manifest, ModelConfig, NodeId, NumericProfile, Span,
    SubnetId, Terms, ROOT_SUBNET,
};

/// A manifest of `blocks` blocks with everything else at its largest.
pub fn manifest(blocks: u16) -> Manifest {
    let dtypes = [DType::F32, DType::F16, DType::Bf16, DType::Q8_0];
    let profiles: Vec<_> = (0..MAX_PROFILES as usize)
        .map(|index| NumericProfile {
            weights: dtypes[index % 4],
            activations: dtypes[index / 4],
            kv: DType::F32,
            kernel: Kernel::FlexF32,
        })
        .collect();
    let mut manifest = Manifest {
        name: [b'n'; 64].to_vec().try_into().unwrap(),
        config: ModelConfig {
            architecture: Architecture::Llama,
            blocks,
            hidden_size: 64,
            intermediate_size: 128,
            heads: 8,
            kv_heads: 4,
            head_dim: 8,
            vocab_size: 1024,
            context_length: 4096,
            tied_embeddings: true,
            rms_norm_eps_pico: 10_000_000,
            rope_theta_milli: 10_000_000,
            rope_scaling: None,
        },
        block_digests: (0..blocks)
            .map(|block| [block as u8; 32])
            .collect::<Vec<Digest>>()
            .try_into()
            .unwrap(),
        embedding_digest: [1; 32],
        head_digest: [2; 32],
        weights_root: [0; 32],
        tokenizer_digest: [3; 32],
        profiles: profiles.try_into().unwrap(),
        license: [b'l'; 64].to_vec().try_into().unwrap(),
        uri: [b'u'; 256].to_vec().try_into().unwrap(),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: u32::MAX,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest
}

/// Registers a subnet of `blocks` blocks, funding its creator.
pub fn new_subnet<T: Config>(creator: &T::AccountId, blocks: u16) -> SubnetId {
    fund::<T>(creator);
    let id = NextSubnetId::<T>::get();
    SubnetsPallet::<T>::do_register_subnet(creator.clone(), manifest(blocks)).unwrap();
    id
}

/// Registers a node, funding its coldkey.
pub fn new_node<T: Config>(subnet: SubnetId, coldkey: &T::AccountId) -> NodeId {
    fund::<T>(coldkey);
    let id = NextNodeId::<T>::get();
    SubnetsPallet::<T>::do_register_node(coldkey.clone(), subnet, hotkey::<T>(id), peer_id(id))
        .unwrap();
    id
}

/// Gives a node that is bonded a seat on every block of its model.
pub fn new_seat<T: Config>(node: NodeId) {
    let record = Nodes::<T>::get(node).unwrap();
    let blocks = Subnets::<T>::get(record.subnet).unwrap().blocks;
    let profile = Manifests::<T>::get(record.subnet).unwrap().profiles[0].digest();
    let span = Span {
        start: 0,
        end: blocks,
    };
    SubnetsPallet::<T>::do_join(record.coldkey, node, span, 1, profile).unwrap();
}

fn fund<T: Config>(account: &T::AccountId) {
    let deposits = T::RegistrationDeposit::get() + T::NodeDeposit::get();
    T::Currency::mint_into(account, deposits + T::Currency::minimum_balance() * 10).unwrap();
}

fn hotkey<T: Config>(node: NodeId) -> T::AccountId {
    account("hotkey", node, 0)
}

fn peer_id(node: NodeId) -> PeerId {
    let mut bytes = [0u8; 34];
    bytes[..2].copy_from_slice(&[0x12, 0x20]);
    bytes[2..6].copy_from_slice(&node.to_le_bytes());
    bytes.to_vec().try_into().unwrap()
}

/// A subnet of the most blocks, and in it a bonded node of the caller.
fn bonded_node<T: Config>() -> (T::AccountId, SubnetId, NodeId) {
    let caller: T::AccountId = whitelisted_caller();
    let subnet = new_subnet::<T>(&account("creator", 0, 0), MAX_BLOCKS as u16);
    let node = new_node::<T>(subnet, &caller);
    T::BenchmarkHelper::bond(node, &caller, T::Bonds::minimum_self_bond());
    (caller, subnet, node)
}

/// Fills a subnet but for `free` places.
fn crowd<T: Config>(subnet: SubnetId, free: u32) {
    let members = Members::<T>::decode_len(subnet).unwrap_or_default() as u32;
    for index in members..T::MaxNodesPerSubnet::get() - free {
        new_node::<T>(subnet, &account("coldkey", index, subnet));
    }
}

#[benchmarks]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn register_subnet(b: Linear<1, 256>) -> Result<(), BenchmarkError> {
        let caller: T::AccountId = whitelisted_caller();
        fund::<T>(&caller);
        let id = NextSubnetId::<T>::get();
        let manifest = manifest(b as u16);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), Box::new(manifest));

        assert!(Subnets::<T>::contains_key(id));
        Ok(())
    }

    #[benchmark]
    fn dissolve_subnet() -> Result<(), BenchmarkError> {
        let caller: T::AccountId = whitelisted_caller();
        let id = new_subnet::<T>(&caller, MAX_BLOCKS as u16);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id);

        assert!(!Subnets::<T>::contains_key(id));
        Ok(())
    }

    #[benchmark]
    fn pause_subnet() -> Result<(), BenchmarkError> {
        let caller: T::AccountId = whitelisted_caller();
        let id = new_subnet::<T>(&caller, MAX_BLOCKS as u16);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id);

        assert_eq!(Subnets::<T>::get(id).unwrap().status, Status::Paused);
        Ok(())
    }

    #[benchmark]
    fn resume_subnet() -> Result<(), BenchmarkError> {
        let (_, id, node) = bonded_node::<T>();
        new_seat::<T>(node);
        let creator = Subnets::<T>::get(id).unwrap().creator;
        SubnetsPallet::<T>::do_pause_subnet(creator.clone(), id)?;

        #[extrinsic_call]
        _(RawOrigin::Signed(creator), id);

        assert_eq!(Subnets::<T>::get(id).unwrap().status, Status::Active);
        Ok(())
    }

    #[benchmark]
    fn register_node() -> Result<(), BenchmarkError> {
        crowd::<T>(ROOT_SUBNET, 1);
        let caller: T::AccountId = whitelisted_caller();
        fund::<T>(&caller);
        let id = NextNodeId::<T>::get();

        #[extrinsic_call]
        _(
            RawOrigin::Signed(caller),
            ROOT_SUBNET,
            hotkey::<T>(id),
            peer_id(id),
        );

        assert!(Nodes::<T>::contains_key(id));
        Ok(())
    }

    #[benchmark]
    fn remove_node() -> Result<(), BenchmarkError> {
        let caller: T::AccountId = whitelisted_caller();
        let id = new_node::<T>(ROOT_SUBNET, &caller);
        crowd::<T>(ROOT_SUBNET, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id);

        assert!(!Nodes::<T>::contains_key(id));
        Ok(())
    }

    #[benchmark]
    fn join() -> Result<(), BenchmarkError> {
        let (caller, subnet, id) = bonded_node::<T>();
        let span = Span {
            start: 0,
            end: MAX_BLOCKS as u16,
        };
        // The last profile: each one before it is hashed and compared.
        let profile = Manifests::<T>::get(subnet)
            .unwrap()
            .profiles
            .last()
            .unwrap()
            .digest();

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id, span, 1, profile);

        assert_eq!(Subnets::<T>::get(subnet).unwrap().status, Status::Active);
        Ok(())
    }

    #[benchmark]
    fn update_price() -> Result<(), BenchmarkError> {
        let (caller, _, id) = bonded_node::<T>();
        new_seat::<T>(id);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id, 7);

        assert_eq!(Nodes::<T>::get(id).unwrap().seat.unwrap().price, 7);
        Ok(())
    }

    #[benchmark]
    fn leave() -> Result<(), BenchmarkError> {
        let (caller, subnet, id) = bonded_node::<T>();
        new_seat::<T>(id);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id);

        assert_eq!(Subnets::<T>::get(subnet).unwrap().status, Status::Uncovered);
        Ok(())
    }

    #[benchmark]
    fn set_hotkey() -> Result<(), BenchmarkError> {
        let (caller, _, id) = bonded_node::<T>();
        // All but one of the keys that can be remembered.
        for index in 1..T::MaxFormerHotkeys::get() {
            SubnetsPallet::<T>::do_set_hotkey(caller.clone(), id, account("former", index, 0))?;
        }
        let new: T::AccountId = account("new hotkey", 0, 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id, new.clone());

        assert_eq!(NodeOfHotkey::<T>::get(new), Some(id));
        Ok(())
    }

    #[benchmark]
    fn set_coldkey() -> Result<(), BenchmarkError> {
        let caller: T::AccountId = whitelisted_caller();
        let id = new_node::<T>(ROOT_SUBNET, &caller);
        T::BenchmarkHelper::bond(id, &caller, T::Bonds::minimum_self_bond());
        let new: T::AccountId = account("new coldkey", 0, 0);
        fund::<T>(&new);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id, new.clone());

        assert_eq!(RootNodeOf::<T>::get(new), Some(id));
        Ok(())
    }

    #[benchmark]
    fn set_peer_id() -> Result<(), BenchmarkError> {
        let (caller, _, id) = bonded_node::<T>();
        let new = peer_id(NodeId::MAX);

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), id, new.clone());

        assert_eq!(NodeOfPeer::<T>::get(new), Some(id));
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
