//! Transaction fees.

use crate::{Balance, Balances, Runtime, RuntimeEvent};
use frame_support::{
    parameter_types,
    traits::ConstU8,
    weights::{ConstantMultiplier, IdentityFee},
};
use pallet_transaction_payment::{FungibleAdapter, Multiplier, TargetedFeeAdjustment};
use quipu_pallet_emission::burn::{self, Burn};
use sp_runtime::{
    traits::{Bounded, One},
    FixedPointNumber, Perquintill,
};

/// A picosecond of weight costs one of the smallest unit: a full block of 2 s costs 2 QPU.
pub type WeightToFee = IdentityFee<Balance>;
/// A byte of an extrinsic costs 10⁶ of the smallest unit: a MiB costs about one QPU.
pub type LengthToFee = ConstantMultiplier<Balance, TransactionByteFee>;

parameter_types! {
    pub const TransactionByteFee: Balance = 1_000_000;
    /// Fees rise while blocks are fuller than this share of what ordinary extrinsics may use.
    pub const TargetFullness: Perquintill = Perquintill::from_percent(25);
    /// How fast fees follow: a day of full blocks (14,400) more than doubles them.
    pub Adjustment: Multiplier = Multiplier::saturating_from_rational(75, 1_000_000);
    pub MinimumMultiplier: Multiplier = Multiplier::one();
    pub MaximumMultiplier: Multiplier = Bounded::max_value();
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    // Nobody takes the fee.
    type OnChargeTransaction = FungibleAdapter<Balances, Burn<Runtime, burn::Fee>>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightToFee = WeightToFee;
    type LengthToFee = LengthToFee;
    type FeeMultiplierUpdate = TargetedFeeAdjustment<
        Self,
        TargetFullness,
        Adjustment,
        MinimumMultiplier,
        MaximumMultiplier,
    >;
    type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
}
