//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls and of the pieces of the work in `on_idle`, each at its worst case.
pub trait WeightInfo {
    /// Two signatures, and a seat that is lost.
    fn report_equivocation() -> Weight;
    /// One of several pending cases.
    fn cancel() -> Weight;
    /// A bond with the most chunks; reporter and victim are paid.
    fn apply() -> Weight;
    /// A look at the cursors of a block in which nothing else is to be done.
    fn idle() -> Weight;
    /// A look at a case.
    fn look() -> Weight;
    /// A case that was kept long enough.
    fn forget() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn report_equivocation() -> Weight {
        STEP
    }
    fn cancel() -> Weight {
        STEP
    }
    fn apply() -> Weight {
        STEP
    }
    fn idle() -> Weight {
        STEP
    }
    fn look() -> Weight {
        STEP
    }
    fn forget() -> Weight {
        STEP
    }
}
