//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls and of the pieces of the work in blocks, each at its worst case.
pub trait WeightInfo {
    /// Something is issued into every bucket, and a period ends.
    fn emit() -> Weight;
    /// What is left of a period is spread anew.
    fn reschedule() -> Weight;
    /// A bucket pays an account that didn't exist.
    fn spend() -> Weight;
    /// A look at who rests.
    fn look() -> Weight;
    /// A stake that earns again.
    fn wake() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn emit() -> Weight {
        STEP
    }
    fn reschedule() -> Weight {
        STEP
    }
    fn spend() -> Weight {
        STEP
    }
    fn look() -> Weight {
        STEP
    }
    fn wake() -> Weight {
        STEP
    }
}
