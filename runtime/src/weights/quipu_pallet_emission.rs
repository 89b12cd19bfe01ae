// Not measured yet: guesses, made of the measured weights of what is alike in the other pallets.
// Again: scripts/weights quipu_pallet_emission

//! Weights of `quipu_pallet_emission`, guessed until `scripts/weights` measures them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_emission`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_emission::WeightInfo for WeightInfo<T> {
    fn emit() -> Weight {
        Weight::from_parts(250_000_000, 20_000)
            .saturating_add(T::DbWeight::get().reads(15_u64))
            .saturating_add(T::DbWeight::get().writes(10_u64))
    }
    fn reschedule() -> Weight {
        Weight::from_parts(30_000_000, 2_000)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(1_u64))
    }
    fn spend() -> Weight {
        Weight::from_parts(80_000_000, 7_000)
            .saturating_add(T::DbWeight::get().reads(3_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }
    fn look() -> Weight {
        Weight::from_parts(10_000_000, 3_000)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(1_u64))
    }
    fn wake() -> Weight {
        Weight::from_parts(50_000_000, 4_000)
            .saturating_add(T::DbWeight::get().reads(3_u64))
            .saturating_add(T::DbWeight::get().writes(3_u64))
    }
}
