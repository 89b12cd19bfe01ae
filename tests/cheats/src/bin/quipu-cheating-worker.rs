//! `quipu-worker` with a cheat in it. For tests of the swarm: it is no part of what is shipped.

use anyhow::{bail, Result};
use clap::Parser;
use quipu_cheats::{
    answers::{Misanswer, Misanswering},
    auditors::{Accuser, RubberStamp},
    withheld::Withholding,
    Blocks, Cheat,
};
use quipu_engine::Model;
use quipu_worker::{
    audit::Examiner,
    config::{Cli, Command, ValidConfig},
    daemon::{Parts, Stop},
    start::{audit_with, serve_with},
    telemetry::start_log,
    WorkerError,
};
use std::{str::FromStr, sync::Arc};

/// Works for Quipu's swarm, and cheats.
#[derive(Debug, Parser)]
#[command(name = "quipu-cheating-worker")]
struct Args {
    /// What is done wrong: pass-through, skip-layer, other-model, int8, int4, some-positions, noise:AMOUNT
    /// or withhold by who serves; altered-prompt, truncated or old-answer by who answers a job; accuser or rubber-stamp by who audits, with or without serving.
    #[arg(long)]
    cheat: Wrong,
    #[command(flatten)]
    worker: Cli,
}

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Rows(Cheat),
    Withhold,
    Answer(Misanswer),
    Accuse,
    LetPass,
}

impl FromStr for Wrong {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "withhold" => Ok(Wrong::Withhold),
            "altered-prompt" => Ok(Wrong::Answer(Misanswer::AlteredPrompt)),
            "truncated" => Ok(Wrong::Answer(Misanswer::Truncated)),
            "old-answer" => Ok(Wrong::Answer(Misanswer::OldAnswer)),
            "accuser" => Ok(Wrong::Accuse),
            "rubber-stamp" => Ok(Wrong::LetPass),
            rows => rows.parse().map(Wrong::Rows),
        }
    }
}

impl Wrong {
    fn examiner(self) -> Option<Arc<dyn Examiner>> {
        match self {
            Wrong::Accuse => Some(Arc::new(Accuser)),
            Wrong::LetPass => Some(Arc::new(RubberStamp)),
            Wrong::Rows(_) | Wrong::Withhold | Wrong::Answer(_) => None,
        }
    }

    fn replace(self, config: &ValidConfig, mut parts: Parts) -> Result<Parts> {
        match self {
            Wrong::Rows(cheat) => {
                let model = Model::open(&config.node.model)?;
                let kernel = match parts.me.exact {
                    true => quipu_primitives::Kernel::ReproducibleV1,
                    false => quipu_primitives::Kernel::FlexF32,
                };
                let blocks = Blocks {
                    model: &model,
                    kernel,
                    span: parts.me.span,
                    threads: config.node.threads,
                    positions: config.kv_positions,
                };
                parts.compute = cheat.load(&blocks)?;
            }
            Wrong::Withhold => parts.incoming = Box::new(Withholding(parts.incoming)),
            Wrong::Answer(how) => {
                if let Some((runner, _)) = &mut parts.jobs {
                    let inner = runner.clone();
                    *runner = Arc::new(Misanswering { inner, how });
                }
            }
            Wrong::Accuse | Wrong::LetPass => {
                if let (Some((own, _)), Some(other)) = (&mut parts.auditor, self.examiner()) {
                    *own = other;
                }
            }
        }
        Ok(parts)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    start_log(args.worker.log);
    let (wrong, stop) = (args.cheat, Stop::default());
    match args.worker.command {
        Command::Serve(args) => {
            let replace = |config: &ValidConfig, parts| {
                let replaced = wrong.replace(config, parts);
                replaced.map_err(|error| {
                    WorkerError::io("the cheat can't be loaded")(std::io::Error::other(error))
                })
            };
            Ok(serve_with(args.with_file()?.validate()?, stop, replace).await?)
        }
        Command::Audit(args) => {
            let replace = |own| wrong.examiner().unwrap_or(own);
            Ok(audit_with(args.validate()?, stop, replace).await?)
        }
        _ => bail!("there is nothing to cheat with in that"),
    }
}
