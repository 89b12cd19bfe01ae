//! The base: blocks, accounts, batching, delegated and shared control of accounts.

use crate::{
    AccountId, Balance, Balances, Block, Hash, Nonce, OriginCaller, PalletInfo, Runtime,
    RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, RuntimeOrigin, RuntimeTask,
    System, EXISTENTIAL_DEPOSIT, QPU, VERSION,
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{
    derive_impl,
    dispatch::DispatchClass,
    parameter_types,
    traits::{ConstU32, InstanceFilter, VariantCountOf},
    weights::{
        constants::{ParityDbWeight, WEIGHT_REF_TIME_PER_SECOND},
        Weight,
    },
};
use frame_system::limits::{BlockLength, BlockWeights};
use quipu_pallet_emission::burn::{self, Burn};
use scale_info::TypeInfo;
use sp_runtime::{traits::BlakeTwo256, Perbill};
use sp_version::RuntimeVersion;

/// Share of a block for ordinary extrinsics; the rest is kept for operational ones.
const NORMAL_SHARE: Perbill = Perbill::from_percent(75);
/// Seconds of computation in one block.
const BLOCK_SECONDS: u64 = 2;
/// Bytes of extrinsics in one block.
const BLOCK_BYTES: u32 = 5 * 1024 * 1024;

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    pub const BlockHashCount: u32 = 4096;
    pub const SS58Prefix: u16 = 42;
    /// Computation of a block. Bounded by reference time alone: a chain of its own needs no
    /// bound on the size of storage proofs.
    pub RuntimeBlockWeights: BlockWeights = BlockWeights::with_sensible_defaults(
        Weight::from_parts(BLOCK_SECONDS.saturating_mul(WEIGHT_REF_TIME_PER_SECOND), u64::MAX),
        NORMAL_SHARE,
    );
    pub RuntimeBlockLength: BlockLength = BlockLength::builder()
        .max_length(BLOCK_BYTES)
        .modify_max_length_for_class(DispatchClass::Normal, |length| {
            *length = NORMAL_SHARE.mul_floor(BLOCK_BYTES);
        })
        .build();
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type AccountId = AccountId;
    type Nonce = Nonce;
    type Hash = Hash;
    type BlockHashCount = BlockHashCount;
    type BlockWeights = RuntimeBlockWeights;
    type BlockLength = RuntimeBlockLength;
    type DbWeight = ParityDbWeight;
    type Version = Version;
    type AccountData = pallet_balances::AccountData<Balance>;
    type SystemWeightInfo = frame_system::weights::SubstrateWeight<Runtime>;
    type ExtensionsWeightInfo = frame_system::SubstrateExtensionsWeight<Runtime>;
    type SS58Prefix = SS58Prefix;
    type MaxConsumers = ConstU32<64>;
}

impl crate::clock::Config for Runtime {}

impl pallet_balances::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeHoldReason = RuntimeHoldReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type Balance = Balance;
    type DustRemoval = Burn<Runtime, burn::Dust>;
    type ExistentialDeposit = ExistentialDeposit;
    type AccountStore = System;
    type ReserveIdentifier = [u8; 8];
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type DoneSlashHandler = ();
    type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
}

impl pallet_utility::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PalletsOrigin = OriginCaller;
    type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

/// What keeping `items` entries of `bytes` bytes together in the state costs as a deposit.
const fn deposit(items: u128, bytes: u128) -> Balance {
    items
        .saturating_mul(QPU / 100)
        .saturating_add(bytes.saturating_mul(QPU / 10_000))
}

parameter_types! {
    pub const ExistentialDeposit: Balance = EXISTENTIAL_DEPOSIT;
    // One map entry: a 32 byte account, a balance and a call hash.
    pub const MultisigDepositBase: Balance = deposit(1, 88);
    pub const MultisigDepositFactor: Balance = deposit(0, 32);
    pub const ProxyDepositBase: Balance = deposit(1, 8);
    // An account, a kind and a delay.
    pub const ProxyDepositFactor: Balance = deposit(0, 37);
    pub const AnnouncementDepositBase: Balance = deposit(1, 8);
    pub const AnnouncementDepositFactor: Balance = deposit(0, 66);
}

impl pallet_multisig::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type DepositBase = MultisigDepositBase;
    type DepositFactor = MultisigDepositFactor;
    type MaxSignatories = ConstU32<100>;
    type WeightInfo = pallet_multisig::weights::SubstrateWeight<Runtime>;
    type BlockNumberProvider = System;
}

/// What an account may let another do in its name.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum ProxyKind {
    /// Everything.
    #[default]
    #[codec(index = 0)]
    Any,
    /// What moves none of the account's funds to another. What it does with the funds of others, as
    /// their proxy or together in a multisig, is for them to allow.
    #[codec(index = 1)]
    NonTransfer,
    /// Bonds, and the keys of validators.
    #[codec(index = 2)]
    Staking,
    /// Subnets, nodes and their seats.
    #[codec(index = 3)]
    Subnets,
    /// Sessions and jobs of inference, and what is locked for a quota: pays from the account, but to servers
    /// alone.
    #[codec(index = 4)]
    Inference,
}

/// Does the call give a node, and its bond with it, to another account?
fn hands_over(call: &RuntimeCall) -> bool {
    matches!(
        call,
        RuntimeCall::Subnets(quipu_pallet_subnets::Call::set_coldkey { .. })
    )
}

impl InstanceFilter<RuntimeCall> for ProxyKind {
    fn filter(&self, call: &RuntimeCall) -> bool {
        match self {
            Self::Any => true,
            Self::NonTransfer => {
                matches!(
                    call,
                    RuntimeCall::System(..)
                        | RuntimeCall::Subnets(..)
                        | RuntimeCall::Staking(..)
                        | RuntimeCall::Session(..)
                        | RuntimeCall::Slashing(..)
                        | RuntimeCall::Audits(..)
                        | RuntimeCall::Access(..)
                        | RuntimeCall::Utility(..)
                        | RuntimeCall::Multisig(..)
                        | RuntimeCall::Proxy(..)
                ) && !hands_over(call)
            }
            Self::Staking => matches!(
                call,
                RuntimeCall::Staking(..) | RuntimeCall::Session(..) | RuntimeCall::Utility(..)
            ),
            Self::Subnets => {
                matches!(call, RuntimeCall::Subnets(..) | RuntimeCall::Utility(..))
                    && !hands_over(call)
            }
            Self::Inference => {
                matches!(
                    call,
                    RuntimeCall::Inference(..) | RuntimeCall::Access(..) | RuntimeCall::Utility(..)
                )
            }
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        match (self, other) {
            (one, other) if one == other => true,
            (Self::Any, _) => true,
            (Self::NonTransfer, Self::Staking | Self::Subnets) => true,
            _ => false,
        }
    }
}

impl pallet_proxy::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type ProxyType = ProxyKind;
    type ProxyDepositBase = ProxyDepositBase;
    type ProxyDepositFactor = ProxyDepositFactor;
    type MaxProxies = ConstU32<32>;
    type WeightInfo = pallet_proxy::weights::SubstrateWeight<Runtime>;
    type MaxPending = ConstU32<32>;
    type CallHasher = BlakeTwo256;
    type AnnouncementDepositBase = AnnouncementDepositBase;
    type AnnouncementDepositFactor = AnnouncementDepositFactor;
    type BlockNumberProvider = System;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}
