#![doc = include_str!("../README.md")]

mod measure;
mod plan;
mod runtime;
mod weights;

use anyhow::{ensure, Context};
use clap::Parser;
use measure::Effort;
use plan::{select, Selection};
use runtime::Runtime;
use std::{fs, path::PathBuf, time::Duration};

/// Measures the weights of a runtime that was built with `runtime-benchmarks`.
#[derive(Debug, Parser)]
#[command(name = "quipu-bencher")]
struct Cli {
    /// The wasm of the runtime.
    #[arg(long, value_name = "FILE")]
    runtime: PathBuf,
    /// The pallets to run, by the names of their crates; `*` for all.
    #[arg(long, value_delimiter = ',', default_value = "*")]
    pallet: Vec<String>,
    /// The benchmarks to run; `*` for all.
    #[arg(long, value_delimiter = ',', default_value = "*")]
    extrinsic: Vec<String>,
    /// How many values of each component to measure, at least 2.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..))]
    steps: u32,
    /// How often to measure each of them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Measure everything again until each benchmark took so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    min_duration: u64,
    /// The genesis to start from.
    #[arg(long, value_name = "PRESET", default_value = "development")]
    genesis_builder_preset: String,
    /// Name the benchmarks instead of running them.
    #[arg(long)]
    list: bool,
    /// Where to write the weights, a file for each pallet; without it they are only printed.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Lines that the files start with.
    #[arg(long, value_name = "FILE")]
    header: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let code = fs::read(&cli.runtime).with_context(|| format!("reading {:?}", cli.runtime))?;
    let header = match &cli.header {
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?,
        None => String::new(),
    };
    let runtime = Runtime::new(code, &cli.genesis_builder_preset)?;
    let (lists, items) = runtime.benchmarks()?;
    let selection = Selection {
        pallets: &cli.pallet,
        benchmarks: &cli.extrinsic,
    };
    let benchmarks = select(&lists, &selection)?;
    if cli.list {
        for benchmark in &benchmarks {
            println!("{}, {}", benchmark.pallet, benchmark.name);
        }
        return Ok(());
    }

    let effort = Effort {
        steps: cli.steps,
        repeat: cli.repeat,
        least: Duration::from_secs(cli.min_duration),
    };
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    for benchmark in benchmarks {
        let name = format!("{}::{}", benchmark.pallet, benchmark.name);
        let weight = measure::run(&runtime, &benchmark, &effort)
            .and_then(|samples| weights::Weight::of(benchmark, &samples, &items));
        match weight {
            Ok(weight) => {
                println!("{name}: {}", weight.summary());
                measured.push(weight);
            }
            Err(error) => {
                eprintln!("{name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    if let Some(folder) = &cli.output {
        for path in weights::write(folder, &header, &effort, &measured)? {
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}
