//! The main job, end to end: brings up a local network of three validators, registers the model,
//! starts three workers that each hold a third of it, asks it, and shows what the chain recorded.
//!
//! Exit status 0 only if everything was verified: see [`quipu_tests::demo`].

use clap::Parser;
use quipu_tests::demo::{self, Options};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = tokio::select! {
        result = demo::run(options) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; every process was ended")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes, without a backtrace: the logs hold more.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
