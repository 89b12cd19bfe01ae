//! Weights of `quipu_pallet_staking`.
//!
//! ESTIMATES, not measured: to be replaced by scripts/weights, which runs the pallet's benchmarks on
//! the real runtime. Each is set on the safe side of comparable calls of FRAME pallets.

#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(unused_parens)]
#![allow(unused_imports)]
#![allow(missing_docs)]
#![allow(dead_code)]

use frame_support::{traits::Get, weights::{Weight, constants::RocksDbWeight}};
use core::marker::PhantomData;

/// Weight functions needed for `quipu_pallet_staking`.
pub trait WeightInfo {
	fn bond() -> Weight;
	fn unbond() -> Weight;
	fn rebond() -> Weight;
	fn withdraw() -> Weight;
	fn validate() -> Weight;
	fn chill() -> Weight;
	fn on_offence() -> Weight;
}

/// Weights for `quipu_pallet_staking` using the Substrate node and recommended hardware.
pub struct SubstrateWeight<T>(PhantomData<T>);
impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn bond() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(6_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn unbond() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn rebond() -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	fn withdraw() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	fn validate() -> Weight {
		Weight::from_parts(60_000_000, 8000)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	fn chill() -> Weight {
		Weight::from_parts(60_000_000, 8000)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Staking::OffenceFractions (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::EarlyElection (r:0 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Session::Validators (r:1 w:0)`
	/// Storage: `Session::DisabledValidators (r:1 w:1)`
	fn on_offence() -> Weight {
		Weight::from_parts(500_000_000, 40000)
			.saturating_add(T::DbWeight::get().reads(12_u64))
			.saturating_add(T::DbWeight::get().writes(11_u64))
	}
}

// For backwards compatibility and tests.
impl WeightInfo for () {
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn bond() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(6_u64))
			.saturating_add(RocksDbWeight::get().writes(5_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn unbond() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(5_u64))
			.saturating_add(RocksDbWeight::get().writes(5_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn rebond() -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(4_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	fn withdraw() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(4_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	fn validate() -> Weight {
		Weight::from_parts(60_000_000, 8000)
			.saturating_add(RocksDbWeight::get().reads(2_u64))
			.saturating_add(RocksDbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	fn chill() -> Weight {
		Weight::from_parts(60_000_000, 8000)
			.saturating_add(RocksDbWeight::get().reads(2_u64))
			.saturating_add(RocksDbWeight::get().writes(1_u64))
	}
	/// Storage: `Staking::OffenceFractions (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:1)`
	/// Storage: `Staking::EarlyElection (r:0 w:1)`
	/// Storage: `Staking::TotalBonded (r:1 w:1)`
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Session::Validators (r:1 w:0)`
	/// Storage: `Session::DisabledValidators (r:1 w:1)`
	fn on_offence() -> Weight {
		Weight::from_parts(500_000_000, 40000)
			.saturating_add(RocksDbWeight::get().reads(12_u64))
			.saturating_add(RocksDbWeight::get().writes(11_u64))
	}
}
