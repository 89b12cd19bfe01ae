#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used)]

mod adapter;
mod error;
mod events;
mod jobs;
mod keypair;
mod ledger;
mod people;
mod runtime;
mod submit;

pub use adapter::{connect, ConnectOptions, SubxtChain};
pub use keypair::{Keypair, KeypairError};
pub use ledger::{FeePaid, Ledger};
pub use people::{parse_account, show_account};
