// Measured 2026-11-20 on Intel(R) Xeon(R) Processor, 2 cores;
// rustc 1.96.0, commit aacb63c.
// Again: scripts/weights --steps 50 --repeat 20
// Since then, by hand until that is run: `Subnets::FormerHotkeys`, and a read of `Slashing::Standings` for each bond
// that is looked at.

//! Weights of `quipu_pallet_subnets`, measured on this runtime's wasm. Generated: do not edit.
//!
//! Values of each component: 50; runs at each: 20 or more.
//! Proof sizes are those recorded; the chain does not bound them.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_subnets`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_subnets::WeightInfo for WeightInfo<T> {
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Subnets::CounterForSubnets` (r:1 w:1)
	/// Storage: `Subnets::CoverageOf` (r:0 w:1)
	/// Storage: `Subnets::Manifests` (r:0 w:1)
	/// Storage: `Subnets::NextSubnetId` (r:1 w:1)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	/// The range of component `b` is `[1, 256]`.
	fn register_subnet(b: u32, ) -> Weight {
		// Fastest run: 76_119_000 picoseconds.
		Weight::from_parts(89_231_806, 212)
			// Standard error: 993
			.saturating_add(Weight::from_parts(1_333_466, 0).saturating_mul(b.into()))
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Subnets::CounterForSubnets` (r:1 w:1)
	/// Storage: `Subnets::CoverageOf` (r:0 w:1)
	/// Storage: `Subnets::Manifests` (r:0 w:1)
	/// Storage: `Subnets::Members` (r:1 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn dissolve_subnet() -> Weight {
		// Fastest run: 60_342_000 picoseconds.
		Weight::from_parts(71_149_000, 474)
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn pause_subnet() -> Weight {
		// Fastest run: 13_805_000 picoseconds.
		Weight::from_parts(17_285_000, 378)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::CoverageOf` (r:1 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn resume_subnet() -> Weight {
		// Fastest run: 18_132_000 picoseconds.
		Weight::from_parts(22_029_000, 894)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Subnets::Members` (r:1 w:1)
	/// Storage: `Subnets::NextNodeId` (r:1 w:1)
	/// Storage: `Subnets::NodeOfHotkey` (r:1 w:1)
	/// Storage: `Subnets::NodeOfPeer` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:0 w:1)
	/// Storage: `Subnets::RootNodeOf` (r:1 w:1)
	fn register_node() -> Weight {
		// Fastest run: 119_805_000 picoseconds.
		Weight::from_parts(136_603_000, 4842)
			.saturating_add(T::DbWeight::get().reads(6_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Duties` (r:1 w:0)
	/// Storage: `Session::NextKeys` (r:1 w:0)
	/// Storage: `Staking::CurrentValidators` (r:1 w:0)
	/// Storage: `Staking::Ledgers` (r:1 w:0)
	/// Storage: `Staking::PlannedValidators` (r:1 w:0)
	/// Storage: `Subnets::Members` (r:1 w:1)
	/// Storage: `Subnets::NodeOfHotkey` (r:0 w:1)
	/// Storage: `Subnets::NodeOfPeer` (r:0 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::RootNodeOf` (r:0 w:1)
	fn remove_node() -> Weight {
		// Fastest run: 117_143_000 picoseconds.
		Weight::from_parts(136_398_000, 3723)
			.saturating_add(T::DbWeight::get().reads(9_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Staking::Ledgers` (r:1 w:0)
	/// Storage: `Subnets::CoverageOf` (r:1 w:1)
	/// Storage: `Subnets::Manifests` (r:1 w:0)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn join() -> Weight {
		// Fastest run: 52_308_000 picoseconds.
		Weight::from_parts(62_958_000, 10194)
			.saturating_add(T::DbWeight::get().reads(6_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	fn update_price() -> Weight {
		// Fastest run: 14_246_000 picoseconds.
		Weight::from_parts(17_790_000, 448)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::CoverageOf` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::Subnets` (r:1 w:1)
	fn leave() -> Weight {
		// Fastest run: 29_440_000 picoseconds.
		Weight::from_parts(36_320_000, 1110)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::NodeOfHotkey` (r:1 w:2)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	fn set_hotkey() -> Weight {
		// Fastest run: 21_666_000 picoseconds.
		Weight::from_parts(31_800_000, 484)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(4_u64))
	}
	/// Storage: `Balances::Holds` (r:2 w:2)
	/// Storage: `Session::NextKeys` (r:1 w:0)
	/// Storage: `Staking::Ledgers` (r:1 w:0)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	/// Storage: `Subnets::RootNodeOf` (r:1 w:2)
	/// Storage: `System::Account` (r:1 w:1)
	fn set_coldkey() -> Weight {
		// Fastest run: 129_818_000 picoseconds.
		Weight::from_parts(156_044_000, 1117)
			.saturating_add(T::DbWeight::get().reads(7_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	/// Storage: `Subnets::NodeOfPeer` (r:1 w:2)
	/// Storage: `Subnets::Nodes` (r:1 w:1)
	fn set_peer_id() -> Weight {
		// Fastest run: 22_369_000 picoseconds.
		Weight::from_parts(27_874_000, 493)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
}
