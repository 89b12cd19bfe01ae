//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls, of an offence, and of a change of eras, each at its worst case.
pub trait WeightInfo {
    /// A node with a seat, and the most chunks in its ledger; it earned something.
    fn bond() -> Weight;
    /// The last chunk that has room; the seat is lost, and the most liens are over.
    fn unbond() -> Weight;
    /// All of the most chunks.
    fn rebond() -> Weight;
    /// All of the most chunks.
    fn withdraw() -> Weight;
    /// A ledger of the most chunks.
    fn validate() -> Weight;
    /// A ledger of the most chunks.
    fn chill() -> Weight;
    /// One offender: the last of the most validators, with the most chunks and the most moves.
    fn on_offence() -> Weight;
    /// The election among the most root nodes, and the start of the era.
    fn new_era() -> Weight;
    /// A pool whose node earned something; the first delegation of the account.
    fn delegate() -> Weight;
    /// The last chunk that has room, and the most liens, all of them over.
    fn undelegate() -> Weight;
    /// All of the most chunks, and with them the rewards.
    fn withdraw_delegation() -> Weight;
    /// A node that earned something.
    fn set_commission() -> Weight;
    /// A delegation with the most chunks.
    fn claim() -> Weight;
    /// A ledger of the most chunks.
    fn claim_own() -> Weight;
    /// Worthless shares with the most liens, and the most chunks.
    fn release_delegator() -> Weight;
    /// A node from which the most moves are over, and the most liens at the other.
    fn move_delegation() -> Weight;
    /// A node from which the most moves are over, and the most liens at the other.
    fn move_bond() -> Weight;
    /// The most moves.
    fn clear_moves() -> Weight;
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
    fn delegate() -> Weight {
        STEP
    }
    fn undelegate() -> Weight {
        STEP
    }
    fn withdraw_delegation() -> Weight {
        STEP
    }
    fn set_commission() -> Weight {
        STEP
    }
    fn claim() -> Weight {
        STEP
    }
    fn claim_own() -> Weight {
        STEP
    }
    fn release_delegator() -> Weight {
        STEP
    }
    fn move_delegation() -> Weight {
        STEP
    }
    fn move_bond() -> Weight {
        STEP
    }
    fn clear_moves() -> Weight {
        STEP
    }
}
