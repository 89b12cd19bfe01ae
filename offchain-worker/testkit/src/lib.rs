//! What tests of the off-chain workers share: a chain in memory, a swarm in memory, tiny
//! models, a clock that goes when it is told to.
//!
//! For tests only: it panics where a test is set up wrongly.

pub mod chain;
pub mod clock;
pub mod swarm;
pub mod tiny;

pub use chain::FakeChain;
pub use clock::ManualClock;
pub use swarm::{Faults, MemoryPeers, MemorySwarm};
pub use tiny::TinyFiles;
