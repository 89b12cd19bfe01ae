//! What slow links cost: three local workers behind emulated links, plain decoding and guessing
//! ahead, against the bound that latency sets; and how long an answer stands still when a server goes.

use anyhow::{ensure, Result};
use clap::Parser;
use quipu_chain::Keypair;
use quipu_client::{
    Client, ClientOptions, EngineEnds, Event, Generation, Prompt, Request, SamplingOptions,
};
use quipu_engine::Model;
use quipu_network::{Network, NetworkConfig, NetworkMetrics, NoKeys, Role};
use quipu_primitives::money::QPU;
use quipu_tests::{
    links::Link,
    localnet::{model_folder, Localnet, Programs},
};
use quipu_worker_core::{
    ports::{Call, Chain},
    Signer,
};
use serde_json::{json, Value};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

/// A text that answers itself in parts.
const REPEATING: &str = "Repeat these lines word for word: The keeper of the quipu ties one knot for \
each llama, two knots for each alpaca, and three knots for each sack of maize. The keeper of the quipu \
unties one knot for each llama that is sold, two knots for each alpaca that is sold, and three knots \
for each sack of maize that is eaten.";

/// Owners of servers to whom the genesis gives money.
const ENDOWED: usize = 6;

/// Measures decoding and fail-over over emulated links.
#[derive(Debug, Parser)]
#[command(name = "quipu-bench-links")]
struct Options {
    /// Milliseconds from one end of a link to the other, each measured in turn.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [0, 10, 50, 100])]
    delays: Vec<u64>,
    /// Rate of a link in each direction, in megabits a second; 0 for as fast as it goes.
    #[arg(long, value_name = "MBIT", default_value_t = 100)]
    rate: u64,
    /// What is asked; may be given more than once. By default a story, and lines to be repeated.
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// Tokens of each answer.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..))]
    max_tokens: u32,
    /// Most tokens that the client guesses ahead, where it does.
    #[arg(long, value_name = "N", default_value_t = ClientOptions::default().draft)]
    draft: u32,
    /// How often each answer is asked for; the middle of the rates counts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Leaves the fail-over out, and the stand-bys that it takes.
    #[arg(long)]
    without_failover: bool,
    /// Prints one JSON object as the last line of standard output, and no table.
    #[arg(long)]
    json: bool,
    /// A folder of a Llama-family model in Hugging Face's layout, or a GGUF file; by default the
    /// model that scripts/setup fetched.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
}

/// The network and what belongs to every client of it.
struct Bench {
    net: Localnet,
    subnet: u32,
    model: Arc<Model>,
    ends: Arc<EngineEnds>,
    spans: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = tokio::select! {
        result = run(&options) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; every process was ended")),
    };
    match result {
        Ok(figures) if options.json => println!("{figures}"),
        Ok(figures) => table(&figures),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn run(options: &Options) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let path = options.model.clone().map_or_else(model_folder, Ok)?;
    let mut net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let model = Arc::new(Model::open(&path)?);
    let subnet = net.register_model(&path).await?;
    let blocks = model.config().blocks;
    let cut = |part: usize| blocks * part / 3;
    let mut spans: Vec<String> = (0..3)
        .map(|part| format!("{}:{}", cut(part), cut(part + 1)))
        .collect();
    // Who dies stays dead: each fail-over takes another stand-by of the middle.
    if !options.without_failover {
        let standbys = std::iter::repeat_n(spans[1].clone(), options.delays.len());
        spans.extend(standbys.collect::<Vec<_>>());
    }
    for _ in &spans {
        net.links.push(Link::open()?);
    }
    endow(&net, spans.len()).await?;
    net.serve(subnet, &path, &spans).await?;
    let of_ends = model.clone();
    let ends = tokio::task::spawn_blocking(move || EngineEnds::load(&of_ends)).await??;
    let bench = Bench {
        net,
        subnet,
        model,
        ends: Arc::new(ends),
        spans,
    };
    let prompts = match options.prompts.as_slice() {
        [] => vec![
            "Write a long story about a dragon.".to_owned(),
            REPEATING.to_owned(),
        ],
        given => given.to_vec(),
    };
    let mut links = Vec::new();
    for delay in &options.delays {
        links.push(bench.measure(options, &prompts, *delay).await?);
    }
    Ok(json!({
        "workers": 3,
        "rate_mbit": options.rate,
        "max_tokens": options.max_tokens,
        "draft": options.draft,
        "rounds": options.rounds,
        "links": links,
    }))
}

impl Bench {
    fn set(&self, delay: Duration, rate: u64) {
        for link in &self.net.links {
            link.set(delay, rate * 1_000_000);
        }
    }

    /// Everything at one delay.
    async fn measure(&self, options: &Options, prompts: &[String], millis: u64) -> Result<Value> {
        let delay = Duration::from_millis(millis);
        let bound = self.bound(delay, options.rate);
        let client = |draft| async move {
            // Connections come about on links without delay, whoever dials whom.
            self.set(Duration::ZERO, 0);
            let client = self.client(draft).await?;
            self.ask(&client, "Hello", 2, |_| {}).await?;
            self.set(delay, options.rate);
            anyhow::Ok(client)
        };
        let (plain, guessing) = (client(0).await?, client(options.draft).await?);
        let mut asked = Vec::new();
        for prompt in prompts {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for _ in 0..options.rounds {
                one.push(self.ask(&plain, prompt, options.max_tokens, |_| {}).await?);
                other.push(
                    self.ask(&guessing, prompt, options.max_tokens, |_| {})
                        .await?,
                );
            }
            let tokens = &one[0].tokens;
            let same = one.iter().chain(&other).all(|each| each.tokens == *tokens);
            ensure!(same, "the same question had different answers");
            for answer in one.iter().chain(&other) {
                ensure!(answer.failovers.is_empty(), "a worker failed");
            }
            let fastest = one.iter().map(|a| a.timing.decode_rate).fold(0.0, f64::max);
            ensure!(
                bound.is_none_or(|bound| fastest <= bound * 1.02),
                "{fastest:.2} steps a second are more than links of {millis} ms allow: a link \
                 was not used"
            );
            asked.push(json!({
                "prompt": prompt,
                "prompt_tokens": one[0].prompt_tokens.len(),
                "tokens": tokens.len(),
                "plain": figures(&one, bound),
                "drafting": figures(&other, bound),
                "same_tokens": same,
            }));
        }
        let failover = match options.without_failover {
            true => Value::Null,
            false => {
                self.fail_over(&plain, &prompts[0], options.max_tokens)
                    .await?
            }
        };
        Ok(json!({
            "delay_ms": millis,
            "bound_steps_per_second": bound,
            "prompts": asked,
            "failover": failover,
        }))
    }

    /// Steps a second that links allow to whoever computes in no time: four of them for a token, from
    /// the client through three workers and back.
    fn bound(&self, delay: Duration, rate: u64) -> Option<f64> {
        let bits = self.model.config().hidden_size as f64 * 32.0;
        let occupied = match rate {
            0 => 0.0,
            rate => bits / (rate as f64 * 1e6),
        };
        let links = 4.0 * (delay.as_secs_f64() + occupied);
        (!delay.is_zero()).then(|| 1.0 / links)
    }

    /// Kills the worker that holds the middle in the middle of an answer.
    async fn fail_over(&self, client: &Client, prompt: &str, most: u32) -> Result<Value> {
        let whole = self.ask(client, prompt, most, |_| {}).await?;
        let (mut tokens, mut victim) = (0, None);
        let answer = self
            .ask(client, prompt, most, |event| match event {
                Event::Opened { route, .. } => victim = route.get(1).map(|(node, _)| *node),
                Event::Token { .. } => {
                    tokens += 1;
                    if tokens == most / 2 {
                        let mut workers = self.net.workers.iter();
                        let process = workers.find(|one| Some(one.node) == victim);
                        kill(process.and_then(|one| one.process.id()));
                    }
                }
                _ => {}
            })
            .await?;
        ensure!(
            answer.tokens == whole.tokens,
            "the fail-over shows in the answer"
        );
        let [failover] = &answer.failovers[..] else {
            anyhow::bail!("{} fail-overs where one was due", answer.failovers.len())
        };
        Ok(json!({
            "stall_seconds": failover.stall.as_secs_f64(),
            "position": failover.position,
            "failed": failover.failed,
            "replaced_by": failover.replaced_by,
        }))
    }

    /// A client of `//Consumer` that guesses at most `draft` tokens ahead.
    async fn client(&self, draft: u32) -> Result<Client> {
        let chain = Arc::new(self.net.chain.clone());
        let key = quipu_network::Keypair::generate_ed25519();
        let mut config = NetworkConfig::new(key, Role::Client, chain.genesis());
        for worker in &self.net.workers {
            config.bootstrap.push(worker.address.parse()?);
        }
        let (network, _incoming) =
            Network::spawn(config, Arc::new(NoKeys), NetworkMetrics::default()).await?;
        let options = ClientOptions {
            draft,
            ..ClientOptions::default()
        };
        let signer = Arc::new(Keypair::from_uri("//Consumer")?);
        let (network, ends) = (Arc::new(network), self.ends.clone());
        Ok(Client::new(chain, network, ends, signer, options))
    }

    async fn ask(
        &self,
        client: &Client,
        prompt: &str,
        max_tokens: u32,
        sink: impl FnMut(Event<'_>) + Send,
    ) -> Result<Generation> {
        let sampling = SamplingOptions {
            max_tokens,
            seed: Some(0),
            ..SamplingOptions::default()
        };
        let request = Request::new(self.subnet, Prompt::Text(prompt.into()), sampling);
        let generation = client.generate(request, sink).await?;
        let served = generation.paid.iter().map(|paid| paid.span.to_string());
        for span in served {
            ensure!(
                self.spans.contains(&span),
                "blocks {span} of another worker"
            );
        }
        ensure!(
            generation.abandoned.is_empty(),
            "a worker gave something else"
        );
        Ok(generation)
    }
}

/// Ends a process as a crash would, before this returns. Whether it did shows in the answer.
fn kill(process: Option<u32>) {
    if let Some(id) = process {
        let id = id.to_string();
        let _ = std::process::Command::new("kill")
            .args(["-KILL", &id])
            .status();
    }
}

/// The answer with the middle of the rates.
fn figures(answers: &[Generation], bound: Option<f64>) -> Value {
    let mut rates: Vec<f64> = answers.iter().map(|one| one.timing.decode_rate).collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    let drafted = answers[0].drafted;
    json!({
        "tokens_per_second": rate,
        "samples": rates,
        "of_bound": bound.map(|bound| rate / bound),
        "first_token_seconds": answers[0].timing.first_token.as_secs_f64(),
        "rounds_with_drafts": drafted.rounds,
        "drafted": drafted.drafted,
        "accepted": drafted.accepted,
    })
}

/// Gives those of `servers` owners something to bond whom the genesis gives nothing.
async fn endow(net: &Localnet, servers: usize) -> Result<()> {
    let rich = Keypair::from_uri("//Consumer")?;
    let mut last = None;
    for server in ENDOWED + 1..=servers {
        let to = Keypair::from_uri(&format!("//Server{server}"))?.public();
        let amount = 20_000 * QPU;
        let call = Call::Transfer { to, amount };
        last = Some(net.chain.submit(&rich, call).await?.number);
    }
    match last {
        Some(number) => net.finalized(number).await,
        None => Ok(()),
    }
}

/// The figures for people.
fn table(figures: &Value) {
    println!(
        "| delay ms | bound | prompt | plain | of bound | drafting | of bound | right | stall s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let number = |value: &Value, digits: usize| match value.as_f64() {
        Some(number) => format!("{number:.digits$}"),
        None => "–".into(),
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for link in list(&figures["links"]) {
        for (place, asked) in list(&link["prompts"]).into_iter().enumerate() {
            let (plain, drafting) = (&asked["plain"], &asked["drafting"]);
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} of {} | {} |",
                link["delay_ms"],
                number(&link["bound_steps_per_second"], 2),
                place + 1,
                number(&plain["tokens_per_second"], 2),
                number(&plain["of_bound"], 2),
                number(&drafting["tokens_per_second"], 2),
                number(&drafting["of_bound"], 2),
                drafting["accepted"],
                drafting["drafted"],
                number(&link["failover"]["stall_seconds"], 2),
            );
        }
    }
}
