//! How far honest servers are apart, which cheats are caught, and what looking costs. `scripts/calibrate` and
//! `scripts/verification` run it.

mod calibrate;
mod cheats;
mod publish;
mod times;

use anyhow::{bail, Result};
use clap::{Args, Parser, Subcommand};
use quipu_cheats::trial::{Trial, BATCH};
use quipu_engine::Model;
use quipu_tests::localnet::model_folder;
use serde_json::{json, Value};
use std::{
    path::PathBuf,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Mutex,
    },
};

#[derive(Debug, Parser)]
#[command(name = "quipu-figures")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures how far honest servers are from their replays, and writes limits that follow from it.
    Calibrate {
        #[command(flatten)]
        common: Common,
        /// Where to write them: offchain-worker/attest/src/calibration.json.
        #[arg(long)]
        out: PathBuf,
    },
    /// Tries all cheats, and the baseline on the same; measures what looking costs.
    Cheats {
        #[command(flatten)]
        common: Common,
        /// Sessions for the baseline, which takes a whole decode for each cheat.
        #[arg(long, default_value_t = 200)]
        baseline: usize,
        /// Where to write the figures: docs/verification.json.
        #[arg(long)]
        out: PathBuf,
        /// A text with the lines `<!-- figures -->` and `<!-- end -->`, between which they are put as tables.
        #[arg(long)]
        publish: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Args)]
struct Common {
    /// Sessions, each with a prompt of its own: at most 768 to calibrate with, 3072 to try on.
    #[arg(long, default_value_t = 400)]
    sessions: usize,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Sessions that are tried at the same time, each on one thread.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Folder or GGUF file of the model; by default that of `scripts/setup`.
    #[arg(long)]
    model: Option<PathBuf>,
}

impl Common {
    fn trial(&self) -> Result<Trial> {
        let path = match &self.model {
            Some(path) => path.clone(),
            None => model_folder()?,
        };
        Trial::new(Model::open(&path)?)
    }

    /// With what something was measured.
    fn made_with(&self, what: &str) -> String {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mut lines = cpu
            .lines()
            .filter_map(|line| line.strip_prefix("model name"));
        let cpu = lines
            .next()
            .unwrap_or(": unknown CPU")
            .trim_start_matches(['\t', ' ', ':']);
        format!(
            "quipu-figures {what} --sessions {} --tokens {}, SmolLM2-135M-Instruct Q4_1, {cpu}",
            self.sessions, self.tokens
        )
    }

    /// Does `work` to each batch of the prompts, on several threads, and says how far it is. It gets the number of
    /// the first of them. Results are in no order.
    fn each<T: Send>(
        &self,
        prompts: Vec<String>,
        work: impl Fn(&[String], u64) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<T>> {
        let parts: Vec<&[String]> = prompts.chunks(BATCH).collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let run = || -> Result<()> {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(index) else {
                        return Ok(());
                    };
                    let results = work(part, (index * BATCH) as u64)?;
                    if let Ok(mut done) = done.lock() {
                        done.push(results);
                        eprint!("\r{} of {}", done.len(), parts.len());
                    }
                }
            };
            let threads: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(_) => bail!("a thread panicked"),
                })
        })?;
        eprintln!();
        let done = done.into_inner().unwrap_or_default();
        Ok(done.into_iter().flatten().collect())
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Calibrate { common, out } => {
            let calibration = calibrate::run(&common)?;
            let text = serde_json::to_string_pretty(&calibration)?;
            std::fs::write(out, text + "\n")?;
        }
        Command::Cheats {
            common,
            baseline,
            out,
            publish,
        } => {
            let trial = common.trial()?;
            let figures: Value = json!({
                "made_with": common.made_with("cheats"),
                "model": "SmolLM2-135M-Instruct, Q4_1; the middle of three servers cheats",
                "evidence": "CPU only",
                "honest": cheats::honest(&common, &trial)?,
                "cheats": cheats::cheats(&common, &trial)?,
                "answers": cheats::answers(&common, &trial)?,
                "rastic": cheats::baseline(&common, &trial, baseline)?,
                "times": times::run(&trial)?,
                "bytes": times::bytes()?,
            });
            std::fs::write(&out, serde_json::to_string_pretty(&figures)? + "\n")?;
            if let Some(text) = publish {
                publish::into(&text, &figures)?;
            }
        }
    }
    Ok(())
}
