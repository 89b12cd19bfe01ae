// Measured 2026-11-20 on Intel(R) Xeon(R) Processor, 2 cores;
// rustc 1.96.0, commit aacb63c.
// Again: scripts/weights --steps 50 --repeat 20
// Since then, by hand until that is run: a read of `Slashing::Standings` for each bond that is looked at, and in
// `on_offence` the case that is opened.

//! Weights of `quipu_pallet_staking`, measured on this runtime's wasm. Generated: do not edit.
//!
//! Values of each component: 50; runs at each: 20 or more.
//! Proof sizes are those recorded; the chain does not bound them.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_staking`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_staking::WeightInfo for WeightInfo<T> {
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:0)
	fn bond() -> Weight {
		// Fastest run: 78_258_000 picoseconds.
		Weight::from_parts(94_656_000, 1679)
			.saturating_add(T::DbWeight::get().reads(6_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::CoverageOf` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn unbond() -> Weight {
		// Fastest run: 48_120_000 picoseconds.
		Weight::from_parts(59_354_000, 2029)
			.saturating_add(T::DbWeight::get().reads(6_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:0)
	fn rebond() -> Weight {
		// Fastest run: 30_297_000 picoseconds.
		Weight::from_parts(36_501_000, 1533)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	fn withdraw() -> Weight {
		// Fastest run: 66_063_000 picoseconds.
		Weight::from_parts(77_859_000, 1477)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	fn validate() -> Weight {
		// Fastest run: 26_478_000 picoseconds.
		Weight::from_parts(32_607_000, 1252)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	fn chill() -> Weight {
		// Fastest run: 26_673_000 picoseconds.
		Weight::from_parts(32_177_000, 1252)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Session::DisabledValidators` (r:1 w:1)
	/// Storage: `Session::Validators` (r:1 w:0)
	/// Storage: `Staking::EarlyElection` (r:0 w:1)
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::OffenceFractions` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	fn on_offence() -> Weight {
		// Fastest run: 85_398_000 picoseconds.
		Weight::from_parts(164_991_000, 4676)
			.saturating_add(T::DbWeight::get().reads(11_u64))
			.saturating_add(T::DbWeight::get().writes(10_u64))
	}
	/// Storage: `Historical::HistoricalSessions` (r:0 w:2)
	/// Storage: `Historical::StoredRange` (r:1 w:1)
	/// Storage: `Session::NextKeys` (r:256 w:0)
	/// Storage: `Staking::CurrentEra` (r:1 w:1)
	/// Storage: `Staking::CurrentValidators` (r:0 w:1)
	/// Storage: `Staking::EarlyElection` (r:1 w:0)
	/// Storage: `Staking::Ledgers` (r:256 w:0)
	/// Storage: `Staking::OffenceFractions` (r:100 w:100)
	/// Storage: `Staking::PlannedEra` (r:1 w:1)
	/// Storage: `Staking::PlannedValidators` (r:0 w:1)
	/// Storage: `Subnets::Members` (r:1 w:0)
	fn new_era() -> Weight {
		// Fastest run: 1_627_544_000 picoseconds.
		Weight::from_parts(2_469_710_000, 32197)
			.saturating_add(T::DbWeight::get().reads(873_u64))
			.saturating_add(T::DbWeight::get().writes(107_u64))
	}
}
