//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls, each at its worst case.
pub trait WeightInfo {
    /// A manifest of `b` blocks.
    fn register_subnet(b: u32) -> Weight;
    /// A subnet of the most blocks.
    fn dissolve_subnet() -> Weight;
    /// A subnet of the most blocks.
    fn pause_subnet() -> Weight;
    /// A subnet of the most blocks.
    fn resume_subnet() -> Weight;
    /// The last place of a subnet.
    fn register_node() -> Weight;
    /// From a subnet without a free place.
    fn remove_node() -> Weight;
    /// A seat on every block of the largest model, with the last of the most profiles.
    fn join() -> Weight;
    /// A node with a seat.
    fn update_price() -> Weight;
    /// A seat on every block of the largest model.
    fn leave() -> Weight;
    /// Any node.
    fn set_hotkey() -> Weight;
    /// A bonded root node.
    fn set_coldkey() -> Weight;
    /// Any node.
    fn set_peer_id() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn register_subnet(b: u32) -> Weight {
        STEP.saturating_mul(u64::from(b).saturating_add(1))
    }
    fn dissolve_subnet() -> Weight {
        STEP
    }
    fn pause_subnet() -> Weight {
        STEP
    }
    fn resume_subnet() -> Weight {
        STEP
    }
    fn register_node() -> Weight {
        STEP
    }
    fn remove_node() -> Weight {
        STEP
    }
    fn join() -> Weight {
        STEP
    }
    fn update_price() -> Weight {
        STEP
    }
    fn leave() -> Weight {
        STEP
    }
    fn set_hotkey() -> Weight {
        STEP
    }
    fn set_coldkey() -> Weight {
        STEP
    }
    fn set_peer_id() -> Weight {
        STEP
    }
}
