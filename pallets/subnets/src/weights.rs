//! Weights of `quipu_pallet_subnets`.
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

/// Weight functions needed for `quipu_pallet_subnets`.
pub trait WeightInfo {
	fn register_subnet(b: u32) -> Weight;
	fn dissolve_subnet() -> Weight;
	fn pause_subnet() -> Weight;
	fn resume_subnet() -> Weight;
	fn register_node() -> Weight;
	fn remove_node() -> Weight;
	fn join() -> Weight;
	fn update_price() -> Weight;
	fn leave() -> Weight;
	fn set_hotkey() -> Weight;
	fn set_coldkey() -> Weight;
	fn set_peer_id() -> Weight;
}

/// Weights for `quipu_pallet_subnets` using the Substrate node and recommended hardware.
pub struct SubstrateWeight<T>(PhantomData<T>);
impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// Storage: `Subnets::CounterForSubnets (r:1 w:1)`
	/// Storage: `Subnets::NextSubnetId (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:0 w:1)`
	/// Storage: `Subnets::Manifests (r:0 w:1)`
	/// The range of component `b` is `[1, 256]`.
	fn register_subnet(b: u32) -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(Weight::from_parts(1_000_000, 0).saturating_mul(b.into()))
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::Members (r:1 w:0)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::CounterForSubnets (r:1 w:1)`
	/// Storage: `Subnets::Manifests (r:0 w:1)`
	/// Storage: `Subnets::CoverageOf (r:0 w:1)`
	fn dissolve_subnet() -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn pause_subnet() -> Weight {
		Weight::from_parts(50_000_000, 4000)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:0)`
	fn resume_subnet() -> Weight {
		Weight::from_parts(60_000_000, 5000)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:0)`
	/// Storage: `Subnets::Members (r:1 w:1)`
	/// Storage: `Subnets::NextNodeId (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:1 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:1 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Nodes (r:0 w:1)`
	fn register_node() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(8_u64))
			.saturating_add(T::DbWeight::get().writes(8_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Obligations (r:3 w:0)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Members (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:0 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:0 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:0 w:1)`
	fn remove_node() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(9_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::Manifests (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	fn join() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	fn update_price() -> Weight {
		Weight::from_parts(50_000_000, 4000)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn leave() -> Weight {
		Weight::from_parts(100_000_000, 8000)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:1 w:2)`
	fn set_hotkey() -> Weight {
		Weight::from_parts(80_000_000, 8000)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:1 w:2)`
	/// Storage: `System::Account (r:2 w:2)`
	/// Storage: `Balances::Holds (r:2 w:2)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Session::NextKeys (r:1 w:0)`
	fn set_coldkey() -> Weight {
		Weight::from_parts(350_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(8_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:1 w:2)`
	fn set_peer_id() -> Weight {
		Weight::from_parts(80_000_000, 8000)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
}

// For backwards compatibility and tests.
impl WeightInfo for () {
	/// Storage: `Subnets::CounterForSubnets (r:1 w:1)`
	/// Storage: `Subnets::NextSubnetId (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:0 w:1)`
	/// Storage: `Subnets::Manifests (r:0 w:1)`
	/// The range of component `b` is `[1, 256]`.
	fn register_subnet(b: u32) -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(Weight::from_parts(1_000_000, 0).saturating_mul(b.into()))
			.saturating_add(RocksDbWeight::get().reads(5_u64))
			.saturating_add(RocksDbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::Members (r:1 w:0)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::CounterForSubnets (r:1 w:1)`
	/// Storage: `Subnets::Manifests (r:0 w:1)`
	/// Storage: `Subnets::CoverageOf (r:0 w:1)`
	fn dissolve_subnet() -> Weight {
		Weight::from_parts(150_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(5_u64))
			.saturating_add(RocksDbWeight::get().writes(6_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn pause_subnet() -> Weight {
		Weight::from_parts(50_000_000, 4000)
			.saturating_add(RocksDbWeight::get().reads(2_u64))
			.saturating_add(RocksDbWeight::get().writes(2_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:0)`
	fn resume_subnet() -> Weight {
		Weight::from_parts(60_000_000, 5000)
			.saturating_add(RocksDbWeight::get().reads(3_u64))
			.saturating_add(RocksDbWeight::get().writes(2_u64))
	}
	/// Storage: `Subnets::Subnets (r:1 w:0)`
	/// Storage: `Subnets::Members (r:1 w:1)`
	/// Storage: `Subnets::NextNodeId (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:1 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:1 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:1 w:1)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Nodes (r:0 w:1)`
	fn register_node() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(8_u64))
			.saturating_add(RocksDbWeight::get().writes(8_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Obligations (r:3 w:0)`
	/// Storage: `System::Account (r:1 w:1)`
	/// Storage: `Balances::Holds (r:1 w:1)`
	/// Storage: `Subnets::Members (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:0 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:0 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:0 w:1)`
	fn remove_node() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(9_u64))
			.saturating_add(RocksDbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	/// Storage: `Subnets::Manifests (r:1 w:0)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	fn join() -> Weight {
		Weight::from_parts(200_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(5_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	fn update_price() -> Weight {
		Weight::from_parts(50_000_000, 4000)
			.saturating_add(RocksDbWeight::get().reads(1_u64))
			.saturating_add(RocksDbWeight::get().writes(1_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::CoverageOf (r:1 w:1)`
	/// Storage: `Subnets::Subnets (r:1 w:1)`
	fn leave() -> Weight {
		Weight::from_parts(100_000_000, 8000)
			.saturating_add(RocksDbWeight::get().reads(3_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::NodeOfHotkey (r:1 w:2)`
	fn set_hotkey() -> Weight {
		Weight::from_parts(80_000_000, 8000)
			.saturating_add(RocksDbWeight::get().reads(2_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::RootNodeOf (r:1 w:2)`
	/// Storage: `System::Account (r:2 w:2)`
	/// Storage: `Balances::Holds (r:2 w:2)`
	/// Storage: `Staking::Ledgers (r:1 w:0)`
	/// Storage: `Session::NextKeys (r:1 w:0)`
	fn set_coldkey() -> Weight {
		Weight::from_parts(350_000_000, 20000)
			.saturating_add(RocksDbWeight::get().reads(8_u64))
			.saturating_add(RocksDbWeight::get().writes(7_u64))
	}
	/// Storage: `Subnets::Nodes (r:1 w:1)`
	/// Storage: `Subnets::NodeOfPeer (r:1 w:2)`
	fn set_peer_id() -> Weight {
		Weight::from_parts(80_000_000, 8000)
			.saturating_add(RocksDbWeight::get().reads(2_u64))
			.saturating_add(RocksDbWeight::get().writes(3_u64))
	}
}
