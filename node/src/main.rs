#![doc = include_str!("../README.md")]
// The error types are those of the SDK, and errors here end the process.
#![allow(clippy::result_large_err)]

mod chain_spec;
mod cli;
mod command;
mod genesis;
mod rpc;
mod service;

fn main() -> sc_cli::Result<()> {
    command::run()
}
