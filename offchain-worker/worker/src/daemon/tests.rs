//! Stories of whole workers: real engine, real computing threads, real framing over pipes; a chain
//! in memory, and a clock that goes when it is told to.

mod audits;
mod bad_input;
mod balance;
mod client;
mod ending;
mod money;
pub(crate) mod rig;
mod scene;
mod seat;
mod sessions;
mod swarm;
