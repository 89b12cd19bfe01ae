// Not measured yet: guesses, made of the measured weights of what is alike in the other pallets.
// Again: scripts/weights quipu_pallet_access

//! Weights of `quipu_pallet_access`, guessed until `scripts/weights` measures them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_access`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_access::WeightInfo for WeightInfo<T> {
    fn begin_day() -> Weight {
        Weight::from_parts(30_000_000, 4_000)
            .saturating_add(T::DbWeight::get().reads(4_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }
    fn lock() -> Weight {
        Weight::from_parts(70_000_000, 5_000)
            .saturating_add(T::DbWeight::get().reads(4_u64))
            .saturating_add(T::DbWeight::get().writes(3_u64))
    }
    fn unlock() -> Weight {
        Weight::from_parts(70_000_000, 5_000)
            .saturating_add(T::DbWeight::get().reads(4_u64))
            .saturating_add(T::DbWeight::get().writes(3_u64))
    }
}
