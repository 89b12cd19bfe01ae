//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls, of an offence, and of a change of eras, each at its worst case.
pub trait WeightInfo {
    /// A node with a seat, and the most chunks in its ledger.
    fn bond() -> Weight;
    /// The last chunk that has room; the seat is lost.
    fn unbond() -> Weight;
    /// All of the most chunks.
    fn rebond() -> Weight;
    /// All of the most chunks.
    fn withdraw() -> Weight;
    /// A ledger of the most chunks.
    fn validate() -> Weight;
    /// A ledger of the most chunks.
    fn chill() -> Weight;
    /// One offender: the last of the most validators, with the most chunks.
    fn on_offence() -> Weight;
    /// The election among the most root nodes, and the start of the era.
    fn new_era() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn bond() -> Weight {
        STEP
    }
    fn unbond() -> Weight {
        STEP
    }
    fn rebond() -> Weight {
        STEP
    }
    fn withdraw() -> Weight {
        STEP
    }
    fn validate() -> Weight {
        STEP
    }
    fn chill() -> Weight {
        STEP
    }
    fn on_offence() -> Weight {
        STEP
    }
    fn new_era() -> Weight {
        STEP
    }
}
