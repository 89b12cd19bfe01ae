//! Quipu's own pallets, and how they know each other.

use super::consensus::MAX_VALIDATORS;
use crate::{
    clock, weights, Access, AccountId, Audits, Balance, Balances, Emission, Inference, Runtime,
    RuntimeHoldReason, Session, Slashing, Staking, Subnets, QPU,
};
use frame_support::{
    parameter_types,
    traits::{ConstU32, Get},
    PalletId,
};
use frame_system::EnsureRoot;
use quipu_pallet_emission::burn::{self, Burn};
use quipu_primitives::{traits::Obligations, NodeId};
use sp_runtime::Perbill;

/// Most nodes of a subnet, and so most seats.
const MAX_NODES: u32 = 256;
/// Most servers of a session, stand-bys included.
const MAX_SERVERS: u32 = 64;

parameter_types! {
    pub const RegistrationDeposit: Balance = 1_000 * QPU;
    pub const NodeDeposit: Balance = 10 * QPU;

    pub const DelegationPot: PalletId = PalletId(*b"qp/stake");
    pub const MinDelegation: Balance = QPU;
    pub const MaxCommission: Perbill = Perbill::from_percent(50);
    pub const MaxCommissionRaise: Perbill = Perbill::from_percent(5);

    pub const MinBond: Balance = QPU;
    pub const MinSelfBond: Balance = 10_000 * QPU;
    pub const MinValidatorBond: Balance = 10_000 * QPU;
    /// Whoever equivocates loses all that is at stake, however few others did it.
    pub const MinOffenceFraction: Perbill = Perbill::one();

    pub const MinJobFee: Balance = QPU / 100;

    /// A computation that an audit found wrong costs 300 prices of the work, and 1 % of the bond at
    /// least.
    pub const MinComputation: Perbill = Perbill::from_percent(1);
    pub const Withheld: Perbill = Perbill::from_percent(2);
    /// 40 % of a slash are for who proved the offence, 20 % for who was cheated, the rest is burned.
    pub const ReporterShare: Perbill = Perbill::from_percent(40);
    pub const VictimShare: Perbill = Perbill::from_percent(20);

    /// One server's work in fifty is audited, and one pass in ten looked at again.
    pub const AuditRate: Perbill = Perbill::from_percent(2);
    pub const SecondRate: Perbill = Perbill::from_percent(10);
    /// What a verdict costs that a trial finds to be wrong: 5 % of the least bond.
    pub const AccusationBond: Balance = 500 * QPU;
}

/// A node stays while it owes something as a validator, as a server or as an auditor, or is charged with
/// something.
pub struct NodeObligations;

impl Obligations for NodeObligations {
    fn has_obligations(node: NodeId) -> bool {
        Staking::has_obligations(node)
            || Inference::has_obligations(node)
            || Slashing::has_obligations(node)
            || Audits::has_obligations(node)
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
    type MaxFormerHotkeys = ConstU32<16>;
    type HotkeyRetention = clock::UnbondingBlocks<Runtime>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}

impl quipu_pallet_staking::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_staking::WeightInfo<Runtime>;
    type Currency = Balances;
    type Nodes = Subnets;
    type OnBondChange = Subnets;
    type Slasher = Slashing;
    type Sessions = Session;
    type Rewards = Emission;
    type PotId = DelegationPot;
    type MinDelegation = MinDelegation;
    type MaxCommission = MaxCommission;
    type MaxCommissionRaise = MaxCommissionRaise;
    type CommissionPeriod = clock::CommissionBlocks<Runtime>;
    type MaxMoves = ConstU32<16>;
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

impl quipu_pallet_slashing::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_slashing::WeightInfo<Runtime>;
    type Currency = Balances;
    type OnBurn = Burn<Runtime, burn::Slash>;
    type Bonds = Staking;
    type Nodes = Subnets;
    type Services = Inference;
    type CancelOrigin = EnsureRoot<AccountId>;
    type SlashDefer = clock::SlashDefer<Runtime>;
    // What was bonded when a session was opened is there for as long.
    type EvidenceWindow = clock::UnbondingBlocks<Runtime>;
    type CaseRetention = clock::UnbondingBlocks<Runtime>;
    type PriceMultiple = ConstU32<300>;
    type MinComputation = MinComputation;
    type Withheld = Withheld;
    type ReporterShare = ReporterShare;
    type VictimShare = VictimShare;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}

/// The epoch that is running.
pub struct CurrentEpoch;

impl Get<u64> for CurrentEpoch {
    fn get() -> u64 {
        pallet_babe::EpochIndex::<Runtime>::get()
    }
}

impl quipu_pallet_audits::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_audits::WeightInfo<Runtime>;
    type Nodes = Subnets;
    type Bonds = Staking;
    type Services = Inference;
    type Slasher = Slashing;
    type Duties = Emission;
    type Epoch = CurrentEpoch;
    // What the next epoch's authors are drawn with: made in the epoch that just ended.
    type Randomness = pallet_babe::RandomnessFromOneEpochAgo<Runtime>;
    type ManageOrigin = EnsureRoot<AccountId>;
    type DefaultRate = AuditRate;
    type SecondRate = SecondRate;
    type CommitWindow = clock::AuditBlocks<Runtime>;
    type RevealWindow = clock::RevealBlocks<Runtime>;
    type AnswerWindow = clock::AnswerBlocks<Runtime>;
    type RecordRetention = clock::RecordBlocks<Runtime>;
    type AccusationBond = AccusationBond;
    type MaxAttempts = ConstU32<3>;
    type MaxServers = ConstU32<MAX_SERVERS>;
    type MaxNodes = ConstU32<MAX_NODES>;
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
    type Quotas = Access;
    type PayoutGate = Audits;
    type MaxSessionDuration = clock::InferenceBlocks<Runtime>;
    type SettlementWindow = clock::SettlementBlocks<Runtime>;
    type RecordRetention = clock::RecordBlocks<Runtime>;
    type JobTimeout = clock::JobBlocks<Runtime>;
    type MaxServers = ConstU32<MAX_SERVERS>;
    type MaxOpenSessions = ConstU32<64>;
    type MaxSeats = ConstU32<MAX_NODES>;
    type MinJobFee = MinJobFee;
    type MaxJobTokens = ConstU32<4_096>;
    type WeightInfo = weights::quipu_pallet_inference::WeightInfo<Runtime>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarks::Setup;
}
