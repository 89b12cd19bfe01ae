//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls and of the work in blocks, each at its worst case.
pub trait WeightInfo {
    /// A day begins.
    fn begin_day() -> Weight;
    /// A first lock.
    fn lock() -> Weight;
    /// All is unlocked.
    fn unlock() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn begin_day() -> Weight {
        STEP
    }
    fn lock() -> Weight {
        STEP
    }
    fn unlock() -> Weight {
        STEP
    }
}
