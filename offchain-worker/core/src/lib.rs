#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used)]

pub mod error;
pub mod keys;
pub mod placement;
pub mod ports;
pub mod serve;

pub use error::{Classified, Fault};
pub use keys::{verify, Signer};
