// Measured 2026-11-20 on Intel(R) Xeon(R) Processor, 2 cores;
// rustc 1.96.0, commit aacb63c.
// Again: scripts/weights --steps 50 --repeat 20
// Since then, by hand until that is run: a read of `Slashing::Standings` for each bond that is looked at, and in
// `on_offence` the case that is opened; a pool beside each ledger, what a node earned until its stake changes, and the
// stake that moved, with 16 moves of each node. Not measured yet: `delegate` and all that follows it are guesses, made
// of the measured weights of what is alike.

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
		Weight::from_parts(220_000_000, 5000)
			.saturating_add(T::DbWeight::get().reads(12_u64))
			.saturating_add(T::DbWeight::get().writes(9_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::CoverageOf` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn unbond() -> Weight {
		// Fastest run: 48_120_000 picoseconds.
		Weight::from_parts(340_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(29_u64))
			.saturating_add(T::DbWeight::get().writes(28_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:0)
	fn rebond() -> Weight {
		// Fastest run: 30_297_000 picoseconds.
		Weight::from_parts(160_000_000, 5000)
			.saturating_add(T::DbWeight::get().reads(11_u64))
			.saturating_add(T::DbWeight::get().writes(8_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Staking::Ledgers` (r:1 w:1)
	/// Storage: `Staking::TotalBonded` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	fn withdraw() -> Weight {
		// Fastest run: 66_063_000 picoseconds.
		Weight::from_parts(350_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(28_u64))
			.saturating_add(T::DbWeight::get().writes(26_u64))
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
		Weight::from_parts(600_000_000, 60000)
			.saturating_add(T::DbWeight::get().reads(49_u64))
			.saturating_add(T::DbWeight::get().writes(31_u64))
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
		Weight::from_parts(2_900_000_000, 80000)
			.saturating_add(T::DbWeight::get().reads(1129_u64))
			.saturating_add(T::DbWeight::get().writes(107_u64))
	}
	fn delegate() -> Weight {
		Weight::from_parts(200_000_000, 6000)
			.saturating_add(T::DbWeight::get().reads(12_u64))
			.saturating_add(T::DbWeight::get().writes(10_u64))
	}
	fn undelegate() -> Weight {
		Weight::from_parts(330_000_000, 22000)
			.saturating_add(T::DbWeight::get().reads(26_u64))
			.saturating_add(T::DbWeight::get().writes(25_u64))
	}
	fn withdraw_delegation() -> Weight {
		Weight::from_parts(350_000_000, 22000)
			.saturating_add(T::DbWeight::get().reads(28_u64))
			.saturating_add(T::DbWeight::get().writes(27_u64))
	}
	fn set_commission() -> Weight {
		Weight::from_parts(150_000_000, 5000)
			.saturating_add(T::DbWeight::get().reads(11_u64))
			.saturating_add(T::DbWeight::get().writes(9_u64))
	}
	fn claim() -> Weight {
		Weight::from_parts(220_000_000, 7000)
			.saturating_add(T::DbWeight::get().reads(12_u64))
			.saturating_add(T::DbWeight::get().writes(10_u64))
	}
	fn claim_own() -> Weight {
		Weight::from_parts(200_000_000, 6000)
			.saturating_add(T::DbWeight::get().reads(12_u64))
			.saturating_add(T::DbWeight::get().writes(9_u64))
	}
	fn release_delegator() -> Weight {
		Weight::from_parts(380_000_000, 22000)
			.saturating_add(T::DbWeight::get().reads(28_u64))
			.saturating_add(T::DbWeight::get().writes(27_u64))
	}
	fn move_delegation() -> Weight {
		Weight::from_parts(900_000_000, 90000)
			.saturating_add(T::DbWeight::get().reads(66_u64))
			.saturating_add(T::DbWeight::get().writes(62_u64))
	}
	fn move_bond() -> Weight {
		Weight::from_parts(900_000_000, 90000)
			.saturating_add(T::DbWeight::get().reads(66_u64))
			.saturating_add(T::DbWeight::get().writes(60_u64))
	}
	fn clear_moves() -> Weight {
		Weight::from_parts(250_000_000, 40000)
			.saturating_add(T::DbWeight::get().reads(18_u64))
			.saturating_add(T::DbWeight::get().writes(17_u64))
	}
}
