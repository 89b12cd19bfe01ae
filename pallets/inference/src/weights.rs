//! Weights of `quipu_pallet_inference`.
//!
//! Conservative estimates by hand, to be replaced by `scripts/weights`, which runs this crate's
//! benchmarks against the real runtime and writes this file anew in the same form.

#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(unused_parens)]
#![allow(unused_imports)]
#![allow(missing_docs)]

use frame_support::{traits::Get, weights::{constants::RocksDbWeight, Weight}};
use core::marker::PhantomData;

/// Weight functions needed for `quipu_pallet_inference`.
pub trait WeightInfo {
	fn open_session(s: u32, ) -> Weight;
	fn settle(v: u32, ) -> Weight;
	fn redeem() -> Weight;
	fn finalize(s: u32, ) -> Weight;
	fn request(p: u32, n: u32, ) -> Weight;
	fn submit_result(a: u32, ) -> Weight;
	fn pay_job() -> Weight;
	fn refund_job() -> Weight;
	fn idle() -> Weight;
	fn drop_session() -> Weight;
	fn drop_job() -> Weight;
}

/// Weights for `quipu_pallet_inference`.
pub struct SubstrateWeight<T>(PhantomData<T>);
impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// The range of component `s` is `[1, 32]`.
	fn open_session(s: u32, ) -> Weight {
		Weight::from_parts(90_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(12_000_000, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(9))
			.saturating_add(T::DbWeight::get().reads((3_u64).saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(7))
			.saturating_add(T::DbWeight::get().writes((1_u64).saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 6_000).saturating_mul(s.into()))
	}
	/// The range of component `v` is `[0, 32]`.
	fn settle(v: u32, ) -> Weight {
		Weight::from_parts(50_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(Weight::from_parts(80_000_000, 0).saturating_mul(v.into()))
			.saturating_add(T::DbWeight::get().reads(4))
			.saturating_add(T::DbWeight::get().writes(4))
	}
	fn redeem() -> Weight {
		Weight::from_parts(120_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(T::DbWeight::get().reads(2))
			.saturating_add(T::DbWeight::get().writes(1))
	}
	/// The range of component `s` is `[1, 32]`.
	fn finalize(s: u32, ) -> Weight {
		Weight::from_parts(100_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(90_000_000, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(7))
			.saturating_add(T::DbWeight::get().reads((4_u64).saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(7))
			.saturating_add(T::DbWeight::get().writes((2_u64).saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 8_000).saturating_mul(s.into()))
	}
	/// The range of component `p` is `[1, 4096]`.
	/// The range of component `n` is `[1, 1024]`.
	fn request(p: u32, n: u32, ) -> Weight {
		Weight::from_parts(120_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(3_000, 0).saturating_mul(p.into()))
			.saturating_add(Weight::from_parts(4_000_000, 0).saturating_mul(n.into()))
			.saturating_add(T::DbWeight::get().reads(10))
			.saturating_add(T::DbWeight::get().reads((2_u64).saturating_mul(n.into())))
			.saturating_add(T::DbWeight::get().writes(8))
			.saturating_add(Weight::from_parts(0, 3_000).saturating_mul(n.into()))
	}
	/// The range of component `a` is `[0, 16384]`.
	fn submit_result(a: u32, ) -> Weight {
		Weight::from_parts(90_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(3_000, 0).saturating_mul(a.into()))
			.saturating_add(T::DbWeight::get().reads(6))
			.saturating_add(T::DbWeight::get().writes(6))
	}
	fn pay_job() -> Weight {
		Weight::from_parts(180_000_000, 0)
			.saturating_add(Weight::from_parts(0, 16_000))
			.saturating_add(T::DbWeight::get().reads(9))
			.saturating_add(T::DbWeight::get().writes(7))
	}
	fn refund_job() -> Weight {
		Weight::from_parts(140_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(T::DbWeight::get().reads(6))
			.saturating_add(T::DbWeight::get().writes(6))
	}
	fn idle() -> Weight {
		Weight::from_parts(12_000_000, 0)
			.saturating_add(Weight::from_parts(0, 3_000))
			.saturating_add(T::DbWeight::get().reads(2))
			.saturating_add(T::DbWeight::get().writes(1))
	}
	fn drop_session() -> Weight {
		Weight::from_parts(40_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(T::DbWeight::get().reads(2))
			.saturating_add(T::DbWeight::get().writes(2))
	}
	fn drop_job() -> Weight {
		Weight::from_parts(60_000_000, 0)
			.saturating_add(Weight::from_parts(0, 26_000))
			.saturating_add(T::DbWeight::get().reads(4))
			.saturating_add(T::DbWeight::get().writes(4))
	}
}

// For backwards compatibility and tests.
impl WeightInfo for () {
	/// The range of component `s` is `[1, 32]`.
	fn open_session(s: u32, ) -> Weight {
		Weight::from_parts(90_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(12_000_000, 0).saturating_mul(s.into()))
			.saturating_add(RocksDbWeight::get().reads(9))
			.saturating_add(RocksDbWeight::get().reads((3_u64).saturating_mul(s.into())))
			.saturating_add(RocksDbWeight::get().writes(7))
			.saturating_add(RocksDbWeight::get().writes((1_u64).saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 6_000).saturating_mul(s.into()))
	}
	/// The range of component `v` is `[0, 32]`.
	fn settle(v: u32, ) -> Weight {
		Weight::from_parts(50_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(Weight::from_parts(80_000_000, 0).saturating_mul(v.into()))
			.saturating_add(RocksDbWeight::get().reads(4))
			.saturating_add(RocksDbWeight::get().writes(4))
	}
	fn redeem() -> Weight {
		Weight::from_parts(120_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(RocksDbWeight::get().reads(2))
			.saturating_add(RocksDbWeight::get().writes(1))
	}
	/// The range of component `s` is `[1, 32]`.
	fn finalize(s: u32, ) -> Weight {
		Weight::from_parts(100_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(90_000_000, 0).saturating_mul(s.into()))
			.saturating_add(RocksDbWeight::get().reads(7))
			.saturating_add(RocksDbWeight::get().reads((4_u64).saturating_mul(s.into())))
			.saturating_add(RocksDbWeight::get().writes(7))
			.saturating_add(RocksDbWeight::get().writes((2_u64).saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 8_000).saturating_mul(s.into()))
	}
	/// The range of component `p` is `[1, 4096]`.
	/// The range of component `n` is `[1, 1024]`.
	fn request(p: u32, n: u32, ) -> Weight {
		Weight::from_parts(120_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(3_000, 0).saturating_mul(p.into()))
			.saturating_add(Weight::from_parts(4_000_000, 0).saturating_mul(n.into()))
			.saturating_add(RocksDbWeight::get().reads(10))
			.saturating_add(RocksDbWeight::get().reads((2_u64).saturating_mul(n.into())))
			.saturating_add(RocksDbWeight::get().writes(8))
			.saturating_add(Weight::from_parts(0, 3_000).saturating_mul(n.into()))
	}
	/// The range of component `a` is `[0, 16384]`.
	fn submit_result(a: u32, ) -> Weight {
		Weight::from_parts(90_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(Weight::from_parts(3_000, 0).saturating_mul(a.into()))
			.saturating_add(RocksDbWeight::get().reads(6))
			.saturating_add(RocksDbWeight::get().writes(6))
	}
	fn pay_job() -> Weight {
		Weight::from_parts(180_000_000, 0)
			.saturating_add(Weight::from_parts(0, 16_000))
			.saturating_add(RocksDbWeight::get().reads(9))
			.saturating_add(RocksDbWeight::get().writes(7))
	}
	fn refund_job() -> Weight {
		Weight::from_parts(140_000_000, 0)
			.saturating_add(Weight::from_parts(0, 12_000))
			.saturating_add(RocksDbWeight::get().reads(6))
			.saturating_add(RocksDbWeight::get().writes(6))
	}
	fn idle() -> Weight {
		Weight::from_parts(12_000_000, 0)
			.saturating_add(Weight::from_parts(0, 3_000))
			.saturating_add(RocksDbWeight::get().reads(2))
			.saturating_add(RocksDbWeight::get().writes(1))
	}
	fn drop_session() -> Weight {
		Weight::from_parts(40_000_000, 0)
			.saturating_add(Weight::from_parts(0, 8_000))
			.saturating_add(RocksDbWeight::get().reads(2))
			.saturating_add(RocksDbWeight::get().writes(2))
	}
	fn drop_job() -> Weight {
		Weight::from_parts(60_000_000, 0)
			.saturating_add(Weight::from_parts(0, 26_000))
			.saturating_add(RocksDbWeight::get().reads(4))
			.saturating_add(RocksDbWeight::get().writes(4))
	}
}
