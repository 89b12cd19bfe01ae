//! The main job, end to end: brings up a local network of three validators, registers the model,
//! starts three workers that each hold a third of it, asks it, and shows what the chain recorded.
//!
//! Exit status 0 only if everything was verified: see [`quipu_tests::demo`].

use anyhow::Result;
use clap::Parser;
use quipu_tests::demo::{self, Options};

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    tokio::select! {
        result = demo::run(options) => result,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; every process was ended"),
    }
}
