//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use frame_support::weights::Weight;

/// Weights of the calls and of the pieces of the work in blocks, each at its worst case.
pub trait WeightInfo {
    /// The last of a tribunal to commit.
    fn commit() -> Weight;
    /// The last of a tribunal to reveal: the server is convicted, and those who let it pass are charged.
    fn reveal() -> Weight;
    /// The server names its work.
    fn answer() -> Weight;
    /// The rate is changed.
    fn set_rate() -> Weight;
    /// An epoch begins.
    fn new_epoch() -> Weight;
    /// A look at the queues of a block in which nothing else is to be done.
    fn idle() -> Weight;
    /// All of `servers` servers of a session are drawn, and an auditor of each out of `nodes` nodes.
    fn draw_session(servers: u32, nodes: u32) -> Weight;
    /// A tribunal is drawn out of `nodes` nodes.
    fn draw_panel(nodes: u32) -> Weight;
    /// A tribunal's time is over, or an accused server's, and charges follow.
    fn time_out() -> Weight;
}

/// A round number for each step, as tests can count with.
const STEP: Weight = Weight::from_parts(1_000_000, 1_000);

impl WeightInfo for () {
    fn commit() -> Weight {
        STEP
    }
    fn reveal() -> Weight {
        STEP
    }
    fn answer() -> Weight {
        STEP
    }
    fn set_rate() -> Weight {
        STEP
    }
    fn new_epoch() -> Weight {
        STEP
    }
    fn idle() -> Weight {
        STEP
    }
    fn draw_session(_: u32, _: u32) -> Weight {
        STEP
    }
    fn draw_panel(_: u32) -> Weight {
        STEP
    }
    fn time_out() -> Weight {
        STEP
    }
}
