#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod announce;
pub mod audit;
pub mod chain_sync;
pub mod cli;
pub mod compute;
pub mod config;
pub mod daemon;
pub mod defence;
mod disk;
pub mod error;
pub mod jobs;
pub mod model;
pub mod net;
pub mod preflight;
pub mod redeem;
pub mod runner;
pub mod serve;
pub mod start;
pub mod telemetry;

pub use error::WorkerError;
