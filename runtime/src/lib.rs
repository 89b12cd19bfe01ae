//! The runtime of the Quipu chain.
//!
//! This crate only composes: which pallets there are and in what order ([`runtime`]), how they
//! are configured and joined (`configs`), what is offered to nodes and clients (`apis`), and what
//! chains start with ([`genesis`]). The one pallet that lives here is [`clock`], which fixes the
//! durations at genesis so that one wasm serves slow and fast chains.

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "256"]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

extern crate alloc;

pub mod apis;
#[cfg(feature = "runtime-benchmarks")]
#[allow(clippy::expect_used)] // A benchmark that can't be set up must stop.
mod benchmarks;
pub mod clock;
pub mod configs;
pub mod genesis;
pub mod weights;

#[cfg(test)]
mod tests;

use alloc::{borrow::Cow, vec::Vec};
use sp_runtime::{
    generic, impl_opaque_keys,
    traits::{BlakeTwo256, IdentifyAccount, Verify},
    MultiAddress, MultiSignature,
};
use sp_version::RuntimeVersion;

pub use pallet_balances::Call as BalancesCall;
pub use pallet_timestamp::Call as TimestampCall;
pub use quipu_primitives::money::{Balance, QPU};

/// A signature of an account.
pub type Signature = MultiSignature;
/// An account.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// How extrinsics name accounts.
pub type Address = MultiAddress<AccountId, ()>;
/// Height of a block.
pub type BlockNumber = u32;
/// Number of extrinsics that an account has signed.
pub type Nonce = u32;
/// Hash of a block or of anything else.
pub type Hash = sp_core::H256;
/// Header of a block.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// Block with its extrinsics decoded.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;

/// What each signed extrinsic carries beside its call.
pub type TxExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckMortality<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
    frame_system::WeightReclaim<Runtime>,
);

/// An extrinsic as it is sent.
pub type UncheckedExtrinsic =
    generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What the signer of an extrinsic signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// Executes blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

/// Block types for code that must decode blocks of any version of this runtime.
pub mod opaque {
    use super::{generic, BlakeTwo256, BlockNumber};
    pub use sp_runtime::OpaqueExtrinsic as UncheckedExtrinsic;

    /// Header of a block.
    pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
    /// Block with its extrinsics as bytes.
    pub type Block = generic::Block<Header, UncheckedExtrinsic>;
    /// Id of a block.
    pub type BlockId = generic::BlockId<Block>;
}

impl_opaque_keys! {
    /// The keys that a validator signs consensus messages with.
    pub struct SessionKeys {
        /// Finality.
        pub grandpa: Grandpa,
        /// Block production.
        pub babe: Babe,
    }
}

/// The version of this runtime.
#[sp_version::runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("quipu"),
    impl_name: Cow::Borrowed("quipu"),
    authoring_version: 1,
    spec_version: 1,
    impl_version: 1,
    apis: apis::RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// Least balance of an account that exists: 0.001 QPU.
pub const EXISTENTIAL_DEPOSIT: Balance = QPU / 1_000;

/// How BABE draws authors: one slot in four has a primary author, the others fall to secondary
/// ones, so that no slot stays empty while validators are up.
pub const BABE_GENESIS_EPOCH_CONFIG: sp_consensus_babe::BabeEpochConfiguration =
    sp_consensus_babe::BabeEpochConfiguration {
        c: (1, 4),
        allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
    };

/// The pallets. Genesis, inherents and hooks run in the order of the indices, therefore:
/// `Clock` comes before all that asks for a duration; money before whoever holds some at genesis;
/// the owner of the validator set before `Session`, which asks it for the first set.
#[frame_support::runtime]
pub mod runtime {
    /// The runtime.
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Clock = crate::clock;
    #[runtime::pallet_index(2)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(3)]
    pub type Babe = pallet_babe;
    #[runtime::pallet_index(4)]
    pub type Authorship = pallet_authorship;
    #[runtime::pallet_index(5)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(6)]
    pub type TransactionPayment = pallet_transaction_payment;

    #[runtime::pallet_index(20)]
    pub type Subnets = quipu_pallet_subnets;
    #[runtime::pallet_index(21)]
    pub type Staking = quipu_pallet_staking;
    #[runtime::pallet_index(22)]
    pub type Inference = quipu_pallet_inference;

    #[runtime::pallet_index(23)]
    pub type Session = pallet_session;
    #[runtime::pallet_index(24)]
    pub type Historical = pallet_session::historical;
    #[runtime::pallet_index(25)]
    pub type Offences = pallet_offences;
    #[runtime::pallet_index(26)]
    pub type Grandpa = pallet_grandpa;
    #[runtime::pallet_index(27)]
    pub type Slashing = quipu_pallet_slashing;
    // After `Session`, which begins the epoch whose randomness it keeps.
    #[runtime::pallet_index(28)]
    pub type Audits = quipu_pallet_audits;

    // Behind everything that mints or bonds at genesis: it notes what there is.
    #[runtime::pallet_index(29)]
    pub type Emission = quipu_pallet_emission;
    #[runtime::pallet_index(30)]
    pub type Access = quipu_pallet_access;
    #[runtime::pallet_index(31)]
    pub type Parameters = pallet_parameters;

    #[runtime::pallet_index(40)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(41)]
    pub type Proxy = pallet_proxy;
    #[runtime::pallet_index(42)]
    pub type Multisig = pallet_multisig;

    #[runtime::pallet_index(255)]
    pub type Sudo = pallet_sudo;
}
