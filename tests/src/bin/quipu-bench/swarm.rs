//! Sessions through three local workers.

use super::Workload;
use anyhow::{ensure, Context, Result};
use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use parking_lot::{Condvar, Mutex};
use quipu_chain::Keypair;
use quipu_client::{
    Client, ClientOptions, EngineEnds, Event, Generation, Prompt, Request, SamplingOptions,
};
use quipu_engine::{exact::PAGE_POSITIONS, Model};
use quipu_network::{Network, NetworkConfig, NetworkMetrics, NoKeys, Role};
use quipu_primitives::{views::SessionStatus, Kernel};
use quipu_tests::{
    demo::closing_block,
    localnet::{Localnet, Programs},
};
use quipu_worker_core::ports::Chain;
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// What the network is and what goes through it.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    workload: Workload,
    /// Asked once by one session, for the time until its first token.
    #[arg(long, value_name = "TEXT")]
    long_prompt: Option<String>,
    /// What the workers compute with.
    #[arg(long, value_enum, default_value_t = KernelName::ReproducibleV1)]
    kernel: KernelName,
    /// Positions that each worker's cache holds, over all sessions.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    kv_positions: u32,
    /// Most tokens that the client guesses ahead.
    #[arg(long, value_name = "N", default_value_t = 0)]
    draft: u32,
}

/// A family of kernels, as people write it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KernelName {
    FlexF32,
    ReproducibleV1,
}

impl From<KernelName> for Kernel {
    fn from(name: KernelName) -> Self {
        match name {
            KernelName::FlexF32 => Kernel::FlexF32,
            KernelName::ReproducibleV1 => Kernel::ReproducibleV1,
        }
    }
}

/// Starts a chain and three workers, and measures every number of sessions.
pub async fn run(options: Options) -> Result<Value> {
    let started = Instant::now();
    let workload = options.workload.clone();
    ensure!(!workload.sessions.contains(&0), "no sessions");
    let path = workload.model()?;
    let folder = tempfile::tempdir()?;
    let mut programs = Programs::find()?;
    programs.worker = with_options(&programs.worker, folder.path(), &options)?;
    let mut net = Localnet::start(programs, folder.path(), 1).await?;
    let model = Arc::new(Model::open(&path)?);
    let subnet = net
        .register_model_with(&path, options.kernel.into())
        .await?;
    let blocks = model.config().blocks;
    let spans: Vec<(usize, usize)> = (0..3)
        .map(|part| (blocks * part / 3, blocks * (part + 1) / 3))
        .collect();
    let names: Vec<String> = spans.iter().map(|(a, b)| format!("{a}:{b}")).collect();
    net.serve(subnet, &path, &names).await?;
    let client = Arc::new(connect(&net, model.clone(), options.draft).await?);
    let ask = |prompt: &str, most, gate: &Arc<Gate>| {
        ask(
            client.clone(),
            subnet,
            prompt.to_owned(),
            most,
            gate.clone(),
        )
    };

    // The first request finds the way and brings pages in.
    let first = ask(&workload.prompt, 2, &Gate::of(1)).await?;
    let start_to_first_token = first.tokens[0] - started;
    let mut long = Value::Null;
    if let Some(prompt) = &options.long_prompt {
        let answer = ask(prompt, 2, &Gate::of(1)).await?;
        long = json!({
            "prompt_tokens": answer.generation.prompt_tokens.len(),
            "first_token_seconds": answer.first_token().as_secs_f64(),
        });
    }
    let mut figures = Vec::new();
    let mut events = net.chain.events().await?;
    for sessions in &workload.sessions {
        let gate = Gate::of(*sessions);
        let asked = (0..*sessions).map(|_| ask(&workload.prompt, workload.max_tokens, &gate));
        let answers = try_join_all(asked).await?;
        figures.push(figures_of(&answers)?);
        // The next ones begin when nothing is left to do for these.
        for answer in &answers {
            let closed = net.chain.session(answer.generation.session).await?;
            let is_over = closed.is_none_or(|s| s.status == SessionStatus::Closed);
            if !is_over {
                closing_block(&mut events, answer.generation.session).await?;
            }
        }
    }
    let mut workers = Vec::new();
    for (worker, (first, end)) in net.workers.iter().zip(spans) {
        let id = worker.process.id().context("a worker ended")?;
        workers.push(memory(id, &model, first..end, &options)?);
    }
    Ok(json!({
        "sessions": figures,
        "long": long,
        "start_to_first_token_seconds": start_to_first_token.as_secs_f64(),
        "workers": workers,
    }))
}

/// A script that starts the worker with what this run asks for.
fn with_options(worker: &Path, folder: &Path, options: &Options) -> Result<PathBuf> {
    let script = folder.join("worker.sh");
    let worker = worker.display().to_string().replace('\'', r"'\''");
    let (threads, positions) = (options.workload.threads, options.kv_positions);
    fs::write(
        &script,
        format!(
            "#!/bin/sh\nRAYON_NUM_THREADS={threads} exec '{worker}' \"$@\" \
             --threads {threads} --kv-positions {positions}\n"
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// A client of `//Consumer` that guesses at most `draft` tokens ahead.
async fn connect(net: &Localnet, model: Arc<Model>, draft: u32) -> Result<Client> {
    let chain = Arc::new(net.chain.clone());
    let key = quipu_network::Keypair::generate_ed25519();
    let mut config = NetworkConfig::new(key, Role::Client, chain.genesis());
    for worker in &net.workers {
        config.bootstrap.push(worker.address.parse()?);
    }
    let (network, _incoming) =
        Network::spawn(config, Arc::new(NoKeys), NetworkMetrics::default()).await?;
    let ends = tokio::task::spawn_blocking(move || EngineEnds::load(&model)).await??;
    let options = ClientOptions {
        draft,
        ..ClientOptions::default()
    };
    let signer = Arc::new(Keypair::from_uri("//Consumer")?);
    let (network, ends) = (Arc::new(network), Arc::new(ends));
    Ok(Client::new(chain, network, ends, signer, options))
}

/// Where sessions that are open wait for those that are not yet: they may be opened in different blocks.
struct Gate {
    missing: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    fn of(sessions: usize) -> Arc<Self> {
        Arc::new(Gate {
            missing: Mutex::new(sessions),
            opened: Condvar::new(),
        })
    }

    /// One more is there; waits for the others. Blocks.
    fn arrive(&self) {
        let mut missing = self.missing.lock();
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.opened.notify_all();
        }
        self.opened.wait_while(&mut missing, |missing| *missing > 0);
    }

    /// Nobody waits any more: one will not come.
    fn give_up(&self) {
        *self.missing.lock() = 0;
        self.opened.notify_all();
    }
}

/// An answer, and when each of its tokens came.
struct Answer {
    generation: Generation,
    /// When the prompt was let through the gate.
    begun: Instant,
    tokens: Vec<Instant>,
}

impl Answer {
    fn first_token(&self) -> Duration {
        let first = self.tokens.first().unwrap_or(&self.begun);
        first.saturating_duration_since(self.begun)
    }
}

async fn ask(
    client: Arc<Client>,
    subnet: u32,
    prompt: String,
    most: u32,
    gate: Arc<Gate>,
) -> Result<Answer> {
    let sampling = SamplingOptions {
        max_tokens: most,
        seed: Some(0),
        ..SamplingOptions::default()
    };
    let request = Request::new(subnet, Prompt::Text(prompt), sampling);
    let asked = tokio::spawn(async move {
        let mut begun = Instant::now();
        let mut tokens = Vec::new();
        let sink = |event: Event<'_>| match event {
            Event::Opened { .. } => {
                tokio::task::block_in_place(|| gate.arrive());
                begun = Instant::now();
            }
            Event::Token { .. } => tokens.push(Instant::now()),
            _ => {}
        };
        let generation = client
            .generate(request, sink)
            .await
            .inspect_err(|_| gate.give_up())?;
        ensure!(
            generation.failovers.is_empty() && generation.abandoned.is_empty(),
            "a worker failed"
        );
        Ok(Answer {
            generation,
            begun,
            tokens,
        })
    });
    asked.await.context("the session's task failed")?
}

/// Tokens per second while all sessions were decoding, and what each of them saw.
fn figures_of(answers: &[Answer]) -> Result<Value> {
    let ends = |pick: fn(&[Instant]) -> Option<&Instant>| {
        answers.iter().map(move |answer| pick(&answer.tokens))
    };
    let no_token = "a session without a token";
    let from = ends(|t| t.first()).max().flatten().context(no_token)?;
    let until = ends(|t| t.last()).min().flatten().context(no_token)?;
    let window = until.saturating_duration_since(*from).as_secs_f64();
    let within = |at: &&Instant| *at > from && *at <= until;
    let tokens: usize = answers
        .iter()
        .map(|answer| answer.tokens.iter().filter(within).count())
        .sum();
    let mut first: Vec<f64> = answers
        .iter()
        .map(|answer| answer.first_token().as_secs_f64())
        .collect();
    first.sort_by(f64::total_cmp);
    let rates: Vec<f64> = answers
        .iter()
        .map(|answer| answer.generation.timing.decode_rate)
        .collect();
    let texts = &answers[0].generation.tokens;
    ensure!(
        window > 0.0,
        "the sessions did not run at the same time: answers of more tokens are needed"
    );
    Ok(json!({
        "sessions": answers.len(),
        "tokens_per_second": tokens as f64 / window,
        "together_seconds": window,
        "session_tokens_per_second": rates,
        "first_token_seconds": first,
        "drafted": answers.iter().map(|a| a.generation.drafted.drafted).sum::<u32>(),
        "accepted": answers.iter().map(|a| a.generation.drafted.accepted).sum::<u32>(),
        "same_tokens": answers.iter().all(|a| a.generation.tokens == *texts),
        "token_ids": texts,
    }))
}

/// Resident bytes of a worker beside what it has to hold.
fn memory(
    id: u32,
    model: &Model,
    blocks: std::ops::Range<usize>,
    options: &Options,
) -> Result<Value> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let fields: BTreeMap<&str, &str> = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let bytes = |name: &str| -> Result<u64> {
        let value = fields.get(name).with_context(|| format!("no {name}"))?;
        Ok(1024 * value.trim().trim_end_matches(" kB").parse::<u64>()?)
    };
    let config = model.config();
    let weights: u64 = match options.kernel {
        KernelName::FlexF32 => 4 * (config.block_parameters() * blocks.len()) as u64,
        KernelName::ReproducibleV1 => blocks
            .clone()
            .map(|block| model.stored_block_bytes(block))
            .sum::<Result<u64, _>>()?,
    };
    let positions = (options.kv_positions as usize).next_multiple_of(PAGE_POSITIONS);
    let cache = (config.kv_bytes_per_token_and_block() * blocks.len() * positions) as u64;
    Ok(json!({
        "blocks": format!("{}:{}", blocks.start, blocks.end),
        "rss_bytes": bytes("VmRSS")?,
        "peak_rss_bytes": bytes("VmHWM")?,
        "weights_bytes": weights,
        "configured_cache_bytes": cache,
    }))
}
