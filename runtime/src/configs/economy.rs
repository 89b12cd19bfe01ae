//! What the economy rests on: emission, and the numbers that whoever manages the chain may change without an
//! upgrade.

use crate::{clock, weights, AccountId, Balance, Balances, Emission, Runtime, RuntimeEvent, QPU};
use frame_support::{
    dynamic_params::{dynamic_pallet_params, dynamic_params},
    parameter_types,
    traits::{AsEnsureOriginWithArg, ConstU32, Get},
    PalletId,
};
use frame_system::EnsureRoot;
use quipu_pallet_emission::Shares;
use quipu_primitives::economy::Bucket;
use sp_runtime::Perbill;

/// The numbers that can be changed by `parameters.set_parameter`, by their pallets. An index is never used
/// again.
#[dynamic_params(RuntimeParameters, pallet_parameters::Parameters::<Runtime>)]
pub mod dynamic_params {
    use super::*;

    /// The shares of the buckets in what is emitted; protection has the rest.
    #[dynamic_pallet_params]
    #[codec(index = 0)]
    pub mod emission {
        /// For inference.
        #[codec(index = 0)]
        pub static Compute: Perbill = Perbill::from_percent(24);
        /// For stake.
        #[codec(index = 1)]
        pub static Capital: Perbill = Perbill::from_percent(24);
        /// For builders.
        #[codec(index = 2)]
        pub static Builders: Perbill = Perbill::from_percent(24);
        /// For the community.
        #[codec(index = 3)]
        pub static Community: Perbill = Perbill::from_percent(24);
        /// The share of what was burned in a period that the next one emits.
        #[codec(index = 4)]
        pub static TailOfBurned: Perbill = Perbill::from_percent(50);
        /// The share of all that exists that a period after the first emits at most.
        #[codec(index = 5)]
        pub static TailOfSupply: Perbill = Perbill::from_percent(16);
        /// What an auditor is paid whose finding turned out to be so, of the price of what it looked at.
        #[codec(index = 6)]
        pub static AuditPay: Perbill = Perbill::from_percent(80);
        /// The share of what protection has that one auditor is paid at most.
        #[codec(index = 7)]
        pub static AuditPayAtMost: Perbill = Perbill::from_parts(1_000_000);
    }

    /// What holders may use without paying for it.
    #[dynamic_pallet_params]
    #[codec(index = 1)]
    pub mod access {
        /// The share of what the compute bucket has that may be used in a day.
        #[codec(index = 0)]
        pub static DailyShare: Perbill = Perbill::from_percent(1);
        /// What a position through a million parameters may cost at most.
        #[codec(index = 1)]
        pub static HighestUnitPrice: Balance = QPU / 1_000;
    }
}

#[cfg(feature = "runtime-benchmarks")]
impl Default for RuntimeParameters {
    fn default() -> Self {
        RuntimeParameters::Access(dynamic_params::access::Parameters::HighestUnitPrice(
            dynamic_params::access::HighestUnitPrice,
            Some(QPU),
        ))
    }
}

impl pallet_parameters::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeParameters = RuntimeParameters;
    type AdminOrigin = AsEnsureOriginWithArg<EnsureRoot<AccountId>>;
    type WeightInfo = ();
}

parameter_types! {
    pub const MinLock: Balance = QPU;
    pub const EmissionPot: PalletId = PalletId(*b"qp/emiss");
    /// All that the first period emits.
    pub const Cap: Balance = 42_000_000 * QPU;
    /// What the first day emits.
    pub const FirstDay: Balance = 14_400 * QPU;
}

/// The shares of the buckets, as they are set.
pub struct BucketShares;

impl Get<Shares> for BucketShares {
    fn get() -> Shares {
        use dynamic_params::emission::{Builders, Capital, Community, Compute};
        Shares {
            compute: Compute::get(),
            capital: Capital::get(),
            builders: Builders::get(),
            community: Community::get(),
        }
    }
}

impl quipu_pallet_emission::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_emission::WeightInfo<Runtime>;
    type Currency = Balances;
    type PotId = EmissionPot;
    type ManageOrigin = EnsureRoot<AccountId>;
    type Cap = Cap;
    type FirstDay = FirstDay;
    type Days = ConstU32<5_833>;
    type DayBlocks = clock::DayBlocks<Runtime>;
    type EmissionInterval = clock::EmissionBlocks<Runtime>;
    type Shares = BucketShares;
    type TailOfBurned = dynamic_params::emission::TailOfBurned;
    type TailOfSupply = dynamic_params::emission::TailOfSupply;
    type AuditPay = dynamic_params::emission::AuditPay;
    type AuditPayAtMost = dynamic_params::emission::AuditPayAtMost;
    type RestAfterMissedDuty = clock::RestBlocks<Runtime>;
}

/// The account of the compute bucket.
pub struct ComputeBucket;

impl Get<AccountId> for ComputeBucket {
    fn get() -> AccountId {
        Emission::account(Bucket::Compute)
    }
}

impl quipu_pallet_access::Config for Runtime {
    type WeightInfo = weights::quipu_pallet_access::WeightInfo<Runtime>;
    type Currency = Balances;
    type Payer = ComputeBucket;
    type DailyShare = dynamic_params::access::DailyShare;
    type HighestUnitPrice = dynamic_params::access::HighestUnitPrice;
    type DayBlocks = clock::DayBlocks<Runtime>;
    type MinLock = MinLock;
}
