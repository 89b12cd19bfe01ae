// Not measured yet: guesses, made of the measured weights of what is alike in the other pallets.
// Again: scripts/weights quipu_pallet_slashing

//! Weights of `quipu_pallet_slashing`, guessed until `scripts/weights` measures them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_slashing`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_slashing::WeightInfo for WeightInfo<T> {
    fn report_equivocation() -> Weight {
        Weight::from_parts(400_000_000, 10_000)
            .saturating_add(T::DbWeight::get().reads(12_u64))
            .saturating_add(T::DbWeight::get().writes(8_u64))
    }
    fn cancel() -> Weight {
        Weight::from_parts(80_000_000, 5_000)
            .saturating_add(T::DbWeight::get().reads(6_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }
    fn apply() -> Weight {
        Weight::from_parts(300_000_000, 10_000)
            .saturating_add(T::DbWeight::get().reads(12_u64))
            .saturating_add(T::DbWeight::get().writes(9_u64))
    }
    fn idle() -> Weight {
        Weight::from_parts(10_000_000, 100)
            .saturating_add(T::DbWeight::get().reads(3_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }
    fn look() -> Weight {
        Weight::from_parts(10_000_000, 300).saturating_add(T::DbWeight::get().reads(1_u64))
    }
    fn forget() -> Weight {
        Weight::from_parts(30_000_000, 500)
            .saturating_add(T::DbWeight::get().reads(1_u64))
            .saturating_add(T::DbWeight::get().writes(3_u64))
    }
}
