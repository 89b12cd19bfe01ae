//! What `scripts/bench` measures and no other program shows: several sessions at once, through three
//! local workers or in one process. One run is one sample; the last line of standard output is a JSON
//! object with every figure.

mod process;
mod swarm;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use quipu_tests::localnet::model_folder;
use serde_json::Value;
use std::{path::PathBuf, process::ExitCode};

/// Measures several sessions at once.
#[derive(Debug, Parser)]
#[command(name = "quipu-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Through three local workers, which lie on a local chain; sessions are opened, paid and settled.
    Swarm(swarm::Options),
    /// In one process, on the reproducible kernels: one batch of a token of each session a step.
    Process(Workload),
}

/// What is computed.
#[derive(Clone, Debug, Args)]
struct Workload {
    /// Numbers of sessions, each measured in turn.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    sessions: Vec<usize>,
    /// What every session asks.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "Write a long story about a dragon."
    )]
    prompt: String,
    /// Tokens of each answer.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    max_tokens: u32,
    /// Threads that compute: of the process, or of each worker.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// A folder of a Llama-family model in Hugging Face's layout, or a GGUF file; by default the
    /// model that scripts/setup fetched.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
}

impl Workload {
    fn model(&self) -> Result<PathBuf> {
        self.model.clone().map_or_else(model_folder, Ok)
    }
}

async fn run(command: Command) -> Result<Value> {
    match command {
        Command::Swarm(options) => swarm::run(options).await,
        Command::Process(workload) => {
            let measured = tokio::task::spawn_blocking(move || process::run(&workload));
            measured.await.context("the measuring thread failed")?
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result = tokio::select! {
        result = run(command) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; every process was ended")),
    };
    match result {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
