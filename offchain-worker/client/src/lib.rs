#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod chain_of_servers;
pub mod draft;
pub mod ends;
pub mod error;
pub mod failover;
pub mod generate;
pub mod history;
pub mod jobs;
mod link;
pub mod options;
pub mod payment;
pub mod receipts;
pub mod report;
pub mod routing;
pub mod sampling;
mod session;

#[cfg(test)]
mod tests;

pub use chain_of_servers::FailOver;
pub use draft::{Drafted, Drafter, PromptLookUp};
pub use ends::{Ends, EndsError, EngineEnds, Message, Prompt, Role};
pub use error::{ClientError, Inactive, ServerError};
pub use generate::{Client, Request};
pub use options::{ClientOptions, SamplingOptions};
pub use report::{Abandoned, Event, Finish, Generation, Settlement, Timing};
