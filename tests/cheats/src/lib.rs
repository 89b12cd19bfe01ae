#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod altered;
pub mod answers;
pub mod auditors;
pub mod cheat;
pub mod interval;
pub mod prompts;
pub mod trial;
pub mod weights;
pub mod withheld;

pub use cheat::{Blocks, Cheat};
