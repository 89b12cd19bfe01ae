//! Weights of `quipu_pallet_staking`. PROVISIONAL: reads, writes and proof sizes were counted in this
//! runtime's wasm; times were set by hand, above what a short run on a busy machine showed.
//! `new_era` was not run yet.
//! To be replaced by `scripts/weights`.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_staking`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_staking::WeightInfo for WeightInfo<T> {
	fn bond() -> Weight {
		Weight::from_parts(200_000_000, 1679)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	fn unbond() -> Weight {
		Weight::from_parts(200_000_000, 2029)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	fn rebond() -> Weight {
		Weight::from_parts(150_000_000, 1533)
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	fn withdraw() -> Weight {
		Weight::from_parts(200_000_000, 1477)
			.saturating_add(T::DbWeight::get().reads(4_u64))
			.saturating_add(T::DbWeight::get().writes(3_u64))
	}
	fn validate() -> Weight {
		Weight::from_parts(60_000_000, 1252)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	fn chill() -> Weight {
		Weight::from_parts(60_000_000, 1252)
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	fn on_offence() -> Weight {
		Weight::from_parts(500_000_000, 4676)
			.saturating_add(T::DbWeight::get().reads(7_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	fn new_era() -> Weight {
		Weight::from_parts(20_000_000_000, 20000)
			.saturating_add(T::DbWeight::get().reads(1000_u64))
			.saturating_add(T::DbWeight::get().writes(200_u64))
	}
}
