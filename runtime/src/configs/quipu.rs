//! Quipu's own pallets, and how they know each other.

use super::consensus::MAX_VALIDATORS;
use crate::{
    clock, weights, Balance, Balances, Inference, Runtime, RuntimeHoldReason, Session, Staking,
    Subnets, QPU,
};
use frame_support::{parameter_types, traits::ConstU32};
use quipu_primitives::{traits::Obligations, NodeId};
use sp_runtime::Perbill;

/// Most nodes of a subnet, and so most seats.
const MAX_NODES: u32 = 256;

parameter_types! {
    pub const RegistrationDeposit: Balance = 1_000 * QPU;
    pub const NodeDeposit: Balance = 10 * QPU;

    pub const MinBond: Balance = QPU;
    pub const MinSelfBond: Balance = 10_000 * QPU;
    pub const MinValidatorBond: Balance = 10_000 * QPU;
    /// Whoever equivocates loses all that is at stake, however few others did it.
    pub const MinOffenceFraction: Perbill = Perbill::one();

    pub const MinJobFee: Balance = QPU / 100;
}

/// A node stays while it owes something as a validator or as a server.
pub struct NodeObligations;

impl Obligations for NodeObligations {
    fn has_obligations(node: NodeId) -> bool {
        Staking::has_obligations(node) || Inference::has_obligations(node)
    }
}

impl quipu_pallet_subnets::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_subnets::WeightInfo<Runtime>;
    type Currency = Balances;
    type Bonds = Staking;
    type OnColdkeySwap = Staking;
    type Obligations = NodeObligations;
    type RegistrationDeposit = RegistrationDeposit;
    type NodeDeposit = NodeDeposit;
    type MaxSubnets = ConstU32<64>;
    type MaxNodesPerSubnet = ConstU32<MAX_NODES>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}

impl quipu_pallet_staking::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_staking::WeightInfo<Runtime>;
    type Currency = Balances;
    type Nodes = Subnets;
    type OnBondChange = Subnets;
    type OnOffence = quipu_pallet_staking::SlashAtOnce<Runtime>;
    type Sessions = Session;
    type UnbondingPeriod = clock::UnbondingBlocks<Runtime>;
    type MaxUnbondingChunks = ConstU32<32>;
    type MinBond = MinBond;
    type MinSelfBond = MinSelfBond;
    type MinValidatorBond = MinValidatorBond;
    type MaxValidators = ConstU32<MAX_VALIDATORS>;
    type SessionsPerEra = clock::SessionsPerEra<Runtime>;
    type OffenceWindow = clock::OffenceSessions<Runtime>;
    type MinOffenceFraction = MinOffenceFraction;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}

impl quipu_pallet_inference::Config for Runtime {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Nodes = Subnets;
    type Roster = Subnets;
    // Fixed for an epoch, and not by those who ask: the draw differs by what it is asked for.
    type Randomness = pallet_babe::RandomnessFromOneEpochAgo<Runtime>;
    type PayoutGate = ();
    type MaxSessionDuration = clock::InferenceBlocks<Runtime>;
    type SettlementWindow = clock::SettlementBlocks<Runtime>;
    type RecordRetention = clock::RecordBlocks<Runtime>;
    type JobTimeout = clock::JobBlocks<Runtime>;
    type MaxServers = ConstU32<64>;
    type MaxOpenSessions = ConstU32<64>;
    type MaxSeats = ConstU32<MAX_NODES>;
    type MinJobFee = MinJobFee;
    type MaxJobTokens = ConstU32<4_096>;
    type WeightInfo = weights::quipu_pallet_inference::WeightInfo<Runtime>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}
