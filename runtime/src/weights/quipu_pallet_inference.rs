//! Weights of `quipu_pallet_inference`. PROVISIONAL: reads, writes and proof sizes were counted in this
//! runtime's wasm; times were set by hand, above what a short run on a busy machine showed.
//! To be replaced by `scripts/weights`.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_inference`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_inference::WeightInfo for WeightInfo<T> {
	/// The range of component `s` is `[1, 64]`.
	fn open_session(s: u32, ) -> Weight {
		// More for each server than was seen: whoever opens sessions pays for a third of what it takes
		// to pay one out, so that the queue can always catch up.
		Weight::from_parts(150_000_000, 700)
			.saturating_add(Weight::from_parts(40_000_000, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().reads(2_u64.saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(6_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64.saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 202).saturating_mul(s.into()))
	}
	/// The range of component `v` is `[0, 64]`.
	fn settle(v: u32, ) -> Weight {
		Weight::from_parts(120_000_000, 3200)
			.saturating_add(Weight::from_parts(150_000_000, 0).saturating_mul(v.into()))
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(4_u64))
	}
	fn redeem() -> Weight {
		Weight::from_parts(160_000_000, 3210)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// The range of component `s` is `[1, 64]`.
	fn finalize(s: u32, ) -> Weight {
		Weight::from_parts(120_000_000, 861)
			.saturating_add(Weight::from_parts(200_000_000, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().reads(3_u64.saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(5_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64.saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 351).saturating_mul(s.into()))
	}
	/// The range of component `p` is `[1, 4096]`.
	/// The range of component `n` is `[1, 256]`.
	fn request(p: u32, n: u32, ) -> Weight {
		Weight::from_parts(150_000_000, 732)
			.saturating_add(Weight::from_parts(10_000, 0).saturating_mul(p.into()))
			.saturating_add(Weight::from_parts(8_000_000, 0).saturating_mul(n.into()))
			.saturating_add(T::DbWeight::get().reads(9_u64))
			.saturating_add(T::DbWeight::get().reads(1_u64.saturating_mul(n.into())))
			.saturating_add(T::DbWeight::get().writes(7_u64))
			.saturating_add(Weight::from_parts(0, 203).saturating_mul(n.into()))
	}
	/// The range of component `a` is `[0, 16384]`.
	fn submit_result(a: u32, ) -> Weight {
		Weight::from_parts(130_000_000, 5125)
			.saturating_add(Weight::from_parts(10_000, 0).saturating_mul(a.into()))
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	fn pay_job() -> Weight {
		Weight::from_parts(200_000_000, 3294)
			.saturating_add(T::DbWeight::get().reads(7_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	fn refund_job() -> Weight {
		Weight::from_parts(150_000_000, 1331)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	fn idle() -> Weight {
		Weight::from_parts(12_000_000, 32)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	fn drop_session() -> Weight {
		Weight::from_parts(40_000_000, 3159)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	fn drop_job() -> Weight {
		Weight::from_parts(60_000_000, 468)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(4_u64))
	}
}
