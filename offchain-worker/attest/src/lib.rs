#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used)]

pub mod check;
pub mod commit;

pub use commit::{Boundary, CommitError, Range};
