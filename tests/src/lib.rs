//! What the end-to-end tests and the demo share: a local network of real processes.
//!
//! - [`process`]: a child process whose log can be awaited, and that ends with its owner;
//! - [`cli`]: the command line `quipu`, run as its users do;
//! - [`localnet`]: validators, a registered model and its workers;
//! - [`links`]: proxies that make the links between processes slow, or cut them;
//! - [`demo`]: the main job on top of it, verified against the chain.
#![deny(clippy::unwrap_used)]

pub mod cli;
pub mod demo;
pub mod links;
pub mod localnet;
pub mod process;
