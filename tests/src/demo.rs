//! The demo: ask, stream, settle, and check what the chain recorded.
//!
//! Verified for each prompt, all read back from the chain after the session was paid out:
//!
//! - the session is closed, and its receipt root is the one the client computed over receipts that
//!   it checked against the bytes it saw;
//! - every server's owner got exactly what its positions come to, and nobody else gained anything;
//! - the consumer paid exactly that and the fees of its extrinsics;
//! - the sum of all changes is the change of the total issuance: what was emitted, and the fees that were
//!   burned.

use crate::localnet::{model_folder, Localnet, Programs};
use anyhow::{bail, ensure, Context, Result};
use clap::Parser;
use futures::StreamExt;
use quipu_chain::{show_account, Keypair, Ledger, SubxtChain};
use quipu_client::{
    Client, ClientOptions, EngineEnds, Event, Generation, Prompt, Request, SamplingOptions,
};
use quipu_engine::Model;
use quipu_network::{Network, NetworkConfig, NetworkMetrics, NoKeys, Role};
use quipu_primitives::{
    views::{SessionInfo, SessionStatus},
    AccountBytes, Balance, Digest, InQpu,
};
use quipu_worker_core::{
    ports::{Chain, ChainEvent},
    Signer,
};
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// How the demo is run.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "scripts/demo",
    about = "A local Quipu network answers a prompt"
)]
pub struct Options {
    /// What to ask; may be given more than once.
    #[arg(long = "prompt", value_name = "TEXT")]
    pub prompts: Vec<String>,
    /// Most tokens of each answer.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_tokens: u32,
    /// 0 takes the likeliest token; higher spreads the choice.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f32,
    /// Makes the answer reproducible.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Prints one JSON object as the last line of standard output; what people read goes to
    /// standard error.
    #[arg(long)]
    pub json: bool,
    /// Validators to run: 1 or 3.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub validators: u8,
    /// The JSON-RPC endpoint of a network that runs already, started from one of the presets (such
    /// as `ws://127.0.0.1:9944`): a subnet is registered there, and no validator is started or
    /// ended. While the demo runs, nobody else may use the network, or the balances don't add up.
    #[arg(long, value_name = "URL", conflicts_with = "validators")]
    pub chain: Option<String>,
    /// A folder of a Llama-family model in Hugging Face's layout, or a GGUF file; by default the
    /// model that scripts/setup fetched.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Keeps data and logs here instead of in a folder that is removed.
    #[arg(long, value_name = "PATH")]
    pub folder: Option<PathBuf>,
}

/// What people read: standard output, or standard error where a program reads the output.
struct Screen {
    error: bool,
    started: Instant,
}

impl Screen {
    fn write(&self, text: &str) {
        let result = if self.error {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        // A reader that went away is no reason to leave the network half way.
        let _ = result;
    }

    fn step(&self, text: &str) {
        self.write(&format!(
            "[{:6.1} s] {text}\n",
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }
}

/// A change of a balance, with its sign.
fn signed(before: Balance, after: Balance) -> String {
    if after >= before {
        format!("+{}", InQpu(after - before))
    } else {
        format!("-{}", InQpu(before - after))
    }
}

/// One answered prompt with what the chain recorded of it.
struct Answered {
    prompt: String,
    generation: Generation,
    session: SessionInfo<AccountBytes>,
    /// Hash of the final block in which it was settled.
    settlement_hash: Digest,
    closed_at: u32,
    before: Ledger,
    after: Ledger,
    /// Fees by payer.
    fees: BTreeMap<AccountBytes, Balance>,
}

/// Runs the demo.
pub async fn run(options: Options) -> Result<()> {
    let screen = Screen {
        error: options.json,
        started: Instant::now(),
    };
    let prompts = match options.prompts.as_slice() {
        [] => vec!["What is the capital of France?".to_owned()],
        given => given.to_vec(),
    };
    let model_path = match &options.model {
        Some(path) => path.clone(),
        None => model_folder()?,
    };
    let programs = Programs::find()?;
    let temporary = tempfile::tempdir()?;
    let folder = match &options.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.clone()
        }
        None => temporary.path().to_owned(),
    };
    let mut net = match &options.chain {
        Some(url) => {
            screen.step(&format!("joining the network at {url}"));
            Localnet::join(programs, &folder, url).await?
        }
        None => {
            screen.step(&format!("starting {} validators", options.validators));
            Localnet::start(programs, &folder, options.validators.into()).await?
        }
    };
    screen.step("the chain is up; registering the model (its digests are computed from the file)");
    let subnet = net.register_model(&model_path).await?;
    let blocks = net
        .chain
        .subnet(subnet)
        .await?
        .context("the chain has no subnet that it just registered")?
        .manifest
        .config
        .blocks;
    screen.step(&format!(
        "subnet {subnet} is registered; starting three workers"
    ));
    net.serve(subnet, &model_path, &thirds(blocks)).await?;
    for worker in &net.workers {
        screen.step(&format!(
            "node {} ({}) serves blocks {}",
            worker.node, worker.coldkey, worker.blocks
        ));
    }
    let consumer = Consumer::connect(&net, &model_path).await?;
    let mut answered = Vec::new();
    for prompt in prompts {
        answered.push(
            consumer
                .ask(&net, subnet, prompt, &options, &screen)
                .await?,
        );
    }
    let names = names(subnet);
    for answer in &answered {
        show(answer, &names, &screen);
    }
    screen.step("everything was verified against the chain");
    if options.json {
        let prompts: Vec<Value> = answered
            .iter()
            .map(|answer| report(answer, &names))
            .collect();
        println!(
            "{}",
            json!({ "verified": true, "subnet": subnet, "prompts": prompts })
        );
    }
    Ok(())
}

/// Three spans of nearly the same length that cover `blocks` blocks.
fn thirds(blocks: u16) -> Vec<String> {
    let cut = |part: u32| u32::from(blocks) * part / 3;
    (0..3)
        .map(|part| format!("{}:{}", cut(part), cut(part + 1)))
        .collect()
}

/// Names of the accounts that the demo knows, the hotkeys of a subnet among them.
fn names(subnet: u32) -> BTreeMap<AccountBytes, String> {
    let mut uris: Vec<String> = ["Alice", "Bob", "Charlie", "Creator", "Consumer"]
        .map(|n| format!("//{n}"))
        .to_vec();
    for server in 1..=6 {
        uris.push(format!("//Server{server}"));
        uris.push(format!("//Server{server}//hot//{subnet}"));
    }
    uris.into_iter()
        .filter_map(|uri| {
            let key = Keypair::from_uri(&uri).ok()?;
            Some((key.public(), uri.trim_start_matches('/').replace("//", "/")))
        })
        .collect()
}

/// A consumer with its peer in the swarm.
pub struct Consumer {
    client: Client,
    account: AccountBytes,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// The development account `//Consumer`, joined to the network's swarm.
    pub async fn connect(net: &Localnet, model: &std::path::Path) -> Result<Self> {
        Self::connect_with(net, model, ClientOptions::default()).await
    }

    /// As [`Consumer::connect`], with other options than the usual ones.
    pub async fn connect_with(
        net: &Localnet,
        model: &std::path::Path,
        options: ClientOptions,
    ) -> Result<Self> {
        let chain = Arc::new(net.chain.clone());
        let key = quipu_network::Keypair::generate_ed25519();
        let mut config = NetworkConfig::new(key, Role::Client, chain.genesis());
        for worker in &net.workers {
            config.bootstrap.push(worker.address.parse()?);
        }
        let (network, _incoming) =
            Network::spawn(config, Arc::new(NoKeys), NetworkMetrics::default()).await?;
        let model = Model::open(model)?;
        let ends = tokio::task::spawn_blocking(move || EngineEnds::load(&model)).await??;
        let signer = Keypair::from_uri("//Consumer")?;
        let account = signer.public();
        let client = Client::new(
            chain,
            Arc::new(network),
            Arc::new(ends),
            Arc::new(signer),
            options,
        );
        Ok(Consumer { client, account })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks, streams the answer to the screen, waits until the session is paid out, and verifies.
    async fn ask(
        &self,
        net: &Localnet,
        subnet: u32,
        prompt: String,
        options: &Options,
        screen: &Screen,
    ) -> Result<Answered> {
        screen.step(&format!("asking: {prompt}"));
        let mut events = net.chain.events().await?;
        let before = net.chain.ledger_at(net.chain.finalized().await?).await?;
        let sampling = SamplingOptions {
            max_tokens: options.max_tokens,
            temperature: options.temperature,
            seed: Some(options.seed),
            ..SamplingOptions::default()
        };
        let request = Request::new(subnet, Prompt::Text(prompt.clone()), sampling);
        let mut first = true;
        let generation = self
            .client
            .generate(request, |event| match event {
                Event::Opened {
                    session,
                    prompt_tokens,
                    ..
                } => {
                    screen.step(&format!(
                        "session {session} is open: {prompt_tokens} tokens"
                    ));
                    screen.write("\n    ");
                }
                Event::Token { text, .. } => {
                    if std::mem::take(&mut first) {
                        let now = screen.started.elapsed().as_secs_f64();
                        screen.write(&format!("(first token at {now:.1} s) "));
                    }
                    screen.write(text);
                }
                Event::FailedOver(fail_over) => {
                    screen.write(&format!("\n[{fail_over:?}]\n"));
                }
                Event::Withdrawn { session, reason } => {
                    screen.write(&format!(
                        "\n[session {session} is given up: {reason}]\n    "
                    ));
                }
            })
            .await?;
        screen.line("\n");
        screen.step(&format!(
            "{} tokens, {:.1} per second; settled; waiting for the payout",
            generation.tokens.len(),
            generation.timing.decode_rate
        ));
        let closed_at = closing_block(&mut events, generation.session).await?;
        let after = net.chain.ledger_at(closed_at).await?;
        let session = net
            .chain
            .session(generation.session)
            .await?
            .context("the session's record is gone")?;
        // Not what the client saw when it settled: another block may have replaced that one since.
        let settled_at = session.settled_at.context("paid out, but not settled")?;
        let settlement_hash = net.chain.block_hash(settled_at).await?.0;
        let mut fees: BTreeMap<AccountBytes, Balance> = BTreeMap::new();
        for paid in net.chain.fees_between(before.block + 1, closed_at).await? {
            *fees.entry(paid.who).or_default() += paid.fee;
        }
        let answered = Answered {
            prompt,
            generation,
            session,
            settlement_hash,
            closed_at,
            before,
            after,
            fees,
        };
        verify(&answered, self.account, &owners(&net.chain, subnet).await?)?;
        Ok(answered)
    }
}

/// The finalised block in which the session was paid out.
pub async fn closing_block(
    events: &mut futures::stream::BoxStream<'static, ChainEvent>,
    wanted: u64,
) -> Result<u32> {
    let mut closed = false;
    let search = async {
        while let Some(event) = events.next().await {
            match event {
                ChainEvent::SessionClosed { session, .. } if session == wanted => closed = true,
                ChainEvent::Finalized { number, .. } if closed => return Ok(number),
                _ => {}
            }
        }
        bail!("the chain's events ended")
    };
    tokio::time::timeout(Duration::from_secs(180), search)
        .await
        .context("the session was not paid out within three minutes")?
}

/// The owner of each node of a subnet.
async fn owners(chain: &SubxtChain, subnet: u32) -> Result<BTreeMap<u32, AccountBytes>> {
    Ok(chain
        .roster(subnet)
        .await?
        .into_iter()
        .map(|node| (node.id, node.coldkey))
        .collect())
}

/// Holds what the answer says against what the chain recorded.
fn verify(
    answered: &Answered,
    consumer: AccountBytes,
    owners: &BTreeMap<u32, AccountBytes>,
) -> Result<()> {
    let Answered {
        generation,
        session,
        before,
        after,
        fees,
        ..
    } = answered;
    ensure!(
        session.status == SessionStatus::Closed,
        "the session is not closed"
    );
    ensure!(
        session.receipt_root == Some(generation.receipt_root),
        "the chain recorded another receipt root"
    );
    ensure!(session.consumer == consumer, "somebody else's session");
    let positions = generation.prompt_tokens.len() + generation.tokens.len() - 1;
    let mut due: BTreeMap<AccountBytes, Balance> = BTreeMap::new();
    let mut paid: Balance = 0;
    for server in session.servers.iter().filter(|server| server.positions > 0) {
        ensure!(
            server.positions as usize <= positions,
            "node {} is paid for {} of {positions} positions",
            server.node,
            server.positions
        );
        let cost = quipu_primitives::cost(server.price, server.span.len(), server.positions)
            .context("a price overflows")?;
        ensure!(
            server.earned == cost,
            "node {} earned another amount",
            server.node
        );
        ensure!(
            server.earned <= server.cap,
            "node {} earned more than its cap",
            server.node
        );
        let owner = owners
            .get(&server.node)
            .context("a node without an owner was paid")?;
        *due.entry(*owner).or_default() += server.earned;
        paid += server.earned;
    }
    ensure!(paid > 0, "nobody was paid");
    ensure!(paid <= session.deposit, "more than the deposit was paid");
    let none = 0;
    let accounts = before.balances.keys().chain(after.balances.keys());
    for who in accounts.filter(|who| !after.buckets.contains(*who)) {
        let old = *before.balances.get(who).unwrap_or(&none);
        let new = *after.balances.get(who).unwrap_or(&none);
        let spent = fees.get(who).unwrap_or(&none) + if *who == consumer { paid } else { 0 };
        let earned = *due.get(who).unwrap_or(&none);
        ensure!(
            old + earned == new + spent,
            "account {} went from {old} to {new} where {earned} came in and {spent} went out",
            show_account(who)
        );
    }
    let burned: Balance = fees.values().sum();
    let emitted = after.issued - before.issued;
    ensure!(
        before.total_issuance + emitted == after.total_issuance + burned,
        "the total issuance changed by something else than emission and the burned fees"
    );
    Ok(())
}

/// What people see of an answer.
fn show(answered: &Answered, names: &BTreeMap<AccountBytes, String>, screen: &Screen) {
    let Answered {
        generation,
        session,
        closed_at,
        before,
        after,
        fees,
        ..
    } = answered;
    screen.line("");
    screen.line(&format!("on chain, session {}:", session.id));
    screen.line(&format!(
        "  receipt root   0x{}",
        hex::encode(generation.receipt_root)
    ));
    screen.line(&format!(
        "  settled        block {}",
        session.settled_at.unwrap_or_default()
    ));
    screen.line(&format!("  paid out       block {closed_at}"));
    for server in session.servers.iter().filter(|server| server.positions > 0) {
        screen.line(&format!(
            "  node {:<3} blocks {:<6} {:>5} positions  {}",
            server.node,
            server.span.to_string(),
            server.positions,
            InQpu(server.earned)
        ));
    }
    screen.line("  balances:");
    for (who, new) in &after.balances {
        let old = before.balances.get(who).copied().unwrap_or_default();
        if old != *new && !after.buckets.contains(who) {
            let name = names.get(who).cloned().unwrap_or_else(|| show_account(who));
            let fee = fees
                .get(who)
                .map_or(String::new(), |fee| format!(" (fees {})", InQpu(*fee)));
            screen.line(&format!("    {name:<12} {}{fee}", signed(old, *new)));
        }
    }
}

/// What programs read of an answer.
fn report(answered: &Answered, names: &BTreeMap<AccountBytes, String>) -> Value {
    let Answered {
        prompt,
        generation,
        session,
        closed_at,
        before,
        after,
        fees,
        settlement_hash,
    } = answered;
    let balances: Vec<Value> = after
        .balances
        .iter()
        .map(|(who, new)| {
            let old = before.balances.get(who).copied().unwrap_or_default();
            let minus = if *new < old { "-" } else { "" };
            json!({
                "account": show_account(who),
                "name": names.get(who),
                "before": old.to_string(),
                "after": new.to_string(),
                "change": format!("{minus}{}", new.abs_diff(old)),
                "fees": fees.get(who).copied().unwrap_or_default().to_string(),
            })
        })
        .collect();
    let servers: Vec<Value> = session
        .servers
        .iter()
        .map(|server| {
            json!({
                "node": server.node,
                "span": server.span.to_string(),
                "price": server.price.to_string(),
                "cap": server.cap.to_string(),
                "positions": server.positions,
                "earned": server.earned.to_string(),
            })
        })
        .collect();
    json!({
        "prompt": prompt,
        "text": generation.text,
        "token_ids": generation.tokens,
        "prompt_token_ids": generation.prompt_tokens,
        "session": session.id,
        "receipt_root": format!("0x{}", hex::encode(generation.receipt_root)),
        "settlement_block": session.settled_at,
        "settlement_hash": format!("0x{}", hex::encode(settlement_hash)),
        "payout_block": closed_at,
        "deposit": session.deposit.to_string(),
        "servers": servers,
        "balances": balances,
        "first_token_seconds": generation.timing.first_token.as_secs_f64(),
        "tokens_per_second": generation.timing.decode_rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign() {
        let qpu = quipu_primitives::money::QPU;
        assert_eq!(signed(qpu, 0), "-1 QPU");
        assert_eq!(signed(0, qpu / 2), "+0.5 QPU");
        assert_eq!(signed(qpu, qpu), "+0 QPU");
    }

    #[test]
    fn thirds_cover_every_block_once() {
        assert_eq!(thirds(30), ["0:10", "10:20", "20:30"]);
        assert_eq!(thirds(32), ["0:10", "10:21", "21:32"]);
    }
}
