#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used)]

pub mod calibration;
pub mod check;
pub mod commit;
pub mod tolerance;

pub use commit::{Boundary, CommitError, Range};
