//! A runtime of this pallet and balances. Bonds are a plain map that tests set.

use crate as pallet_subnets;
use crate::{Config, PeerId};
use frame_support::{
    derive_impl, parameter_types, storage_alias,
    traits::{ConstU128, ConstU32, ConstU64},
    Twox64Concat,
};
use quipu_primitives::{
    traits::{Bonds, Obligations, OnBondChange, OnColdkeySwap},
    Architecture, Balance, DType, Kernel, Manifest, ModelConfig, NodeId, NumericProfile, Terms,
};
use sp_runtime::{BuildStorage, DispatchError, DispatchResult};

type Block = frame_system::mocking::MockBlock<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Subnets: pallet_subnets,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<ED>;
    type AccountStore = System;
}

pub const ED: Balance = 10;
pub const REGISTRATION: Balance = 1_000;
pub const NODE: Balance = 100;
pub const MIN_BOND: Balance = 500;
pub const MAX_NODES: u32 = 8;
pub const MAX_FORMER: u32 = 3;
pub const RETENTION: u64 = 20;
pub const RICH: Balance = 1_000_000;

pub const CAROL: u64 = 1;
pub const SAM: u64 = 2;
pub const SUE: u64 = 3;
/// Has no money.
pub const PAUL: u64 = 99;

parameter_types! {
    /// The price moves in the tests.
    pub static RegistrationDeposit: Balance = REGISTRATION;
    /// Nodes that something still needs.
    pub static Needed: Vec<NodeId> = Vec::new();
    /// Nodes whose owner must not change.
    pub static Pinned: Vec<NodeId> = Vec::new();
}

#[storage_alias]
type BondOf = StorageMap<TestBonds, Twox64Concat, NodeId, Balance>;

pub struct TestBonds;
impl Bonds for TestBonds {
    fn self_bond(node: NodeId) -> Balance {
        BondOf::get(node).unwrap_or_default()
    }
    fn pending_slash(_: NodeId) -> Balance {
        0
    }
    fn minimum_self_bond() -> Balance {
        MIN_BOND
    }
    fn is_free(node: NodeId) -> bool {
        !BondOf::contains_key(node)
    }
    fn unbond_all(node: NodeId) {
        BondOf::remove(node);
    }
}
impl OnColdkeySwap<u64> for TestBonds {
    fn coldkey_swapped(node: NodeId, _: &u64, _: &u64) -> DispatchResult {
        match Pinned::get().contains(&node) {
            true => Err(DispatchError::Other("pinned")),
            false => Ok(()),
        }
    }
}
impl Obligations for TestBonds {
    fn has_obligations(node: NodeId) -> bool {
        Needed::get().contains(&node)
    }
}

/// Sets a bond as the staking pallet would, and tells.
pub fn set_bond(node: NodeId, amount: Balance) {
    match amount {
        0 => BondOf::remove(node),
        _ => BondOf::insert(node, amount),
    }
    Subnets::bond_changed(node, amount);
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::BenchmarkHelper<u64> for TestBonds {
    fn bond(node: NodeId, _: &u64, amount: Balance) {
        set_bond(node, amount);
    }
}

impl Config for Test {
    type WeightInfo = ();
    type Currency = Balances;
    type Bonds = TestBonds;
    type OnColdkeySwap = TestBonds;
    type Obligations = TestBonds;
    type RegistrationDeposit = RegistrationDeposit;
    type NodeDeposit = ConstU128<NODE>;
    type MaxSubnets = ConstU32<3>;
    type MaxNodesPerSubnet = ConstU32<MAX_NODES>;
    type MaxFormerHotkeys = ConstU32<MAX_FORMER>;
    type HotkeyRetention = ConstU64<RETENTION>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = TestBonds;
}

/// A manifest of four blocks and two profiles that passes.
pub fn manifest() -> Manifest {
    let profile = |kernel| NumericProfile {
        weights: DType::F32,
        activations: DType::F32,
        kv: DType::F32,
        kernel,
    };
    let mut manifest = Manifest {
        name: b"tiny".to_vec().try_into().unwrap(),
        config: ModelConfig {
            architecture: Architecture::Llama,
            blocks: 4,
            hidden_size: 16,
            intermediate_size: 32,
            heads: 4,
            kv_heads: 2,
            head_dim: 4,
            vocab_size: 64,
            context_length: 128,
            tied_embeddings: true,
            rms_norm_eps_pico: 10_000_000,
            rope_theta_milli: 10_000_000,
            rope_scaling: None,
        },
        block_digests: vec![[1; 32], [2; 32], [3; 32], [4; 32]].try_into().unwrap(),
        embedding_digest: [5; 32],
        head_digest: [6; 32],
        weights_root: [0; 32],
        tokenizer_digest: [7; 32],
        profiles: vec![profile(Kernel::FlexF32), profile(Kernel::ReproducibleV1)]
            .try_into()
            .unwrap(),
        license: b"Apache-2.0".to_vec().try_into().unwrap(),
        uri: b"hf://tiny".to_vec().try_into().unwrap(),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: 4,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest
}

/// A peer id made of `seed`.
pub fn peer(seed: u64) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend(sp_io::hashing::blake2_256(&seed.to_le_bytes()));
    bytes.try_into().unwrap()
}

/// Three accounts with money, no node.
pub fn new_test_ext() -> sp_io::TestExternalities {
    ext_with_roots(vec![])
}

/// As [`new_test_ext`], with root nodes at genesis.
pub fn ext_with_roots(root_nodes: Vec<(u64, u64, PeerId)>) -> sp_io::TestExternalities {
    RegistrationDeposit::set(REGISTRATION);
    Needed::set(vec![]);
    Pinned::set(vec![]);
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: vec![(CAROL, RICH), (SAM, RICH), (SUE, RICH)],
            ..Default::default()
        },
        subnets: crate::GenesisConfig { root_nodes },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    let mut ext = sp_io::TestExternalities::new(storage);
    ext.execute_with(|| System::set_block_number(1));
    ext
}
