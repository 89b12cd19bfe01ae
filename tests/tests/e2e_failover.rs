//! Fail-over with real processes and the real model: whoever dies, and whenever, the answer is the
//! same and nobody is paid twice.

use anyhow::{ensure, Context, Result};
use futures::future::try_join_all;
use quipu_client::{ClientOptions, Event, Generation, Prompt, Request, SamplingOptions};
use quipu_primitives::{cost, views::SessionStatus, Kernel};
use quipu_tests::{
    demo::{closing_block, Consumer},
    localnet::{model_folder, Localnet, Programs, Server},
};
use quipu_worker_core::ports::Chain;
use std::{collections::BTreeSet, path::Path};

const SPANS: [&str; 3] = ["0:10", "10:20", "20:30"];

/// What is asked, always the same: sampled, so that any difference in the numbers would show.
fn request(subnet: u32) -> Request {
    let sampling = SamplingOptions {
        max_tokens: 24,
        temperature: 0.7,
        seed: Some(7),
        ..SamplingOptions::default()
    };
    Request::new(
        subnet,
        Prompt::Text("Tell me about knotted strings.".into()),
        sampling,
    )
}

/// Kills a process as a crash would, before this returns.
fn kill(id: u32) {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "worker {id} can't be killed"
    );
}

/// Asks, and kills the worker that serves `span` of this session once `k` tokens were chosen.
async fn ask(
    net: &Localnet,
    consumer: &Consumer,
    subnet: u32,
    victim: Option<(&str, usize)>,
) -> Result<(Generation, Option<u32>)> {
    let processes: Vec<(u32, Option<u32>)> = net
        .workers
        .iter()
        .map(|worker| (worker.node, worker.process.id()))
        .collect();
    let mut events = net.chain.events().await?;
    let (mut tokens, mut target, mut killed) = (0, None, None);
    let generation = consumer
        .client()
        .generate(request(subnet), |event| match event {
            Event::Opened { route, .. } => {
                target = victim.and_then(|(span, _)| {
                    let place = route.iter().find(|(_, served)| served.to_string() == span);
                    place.map(|(node, _)| *node)
                });
            }
            Event::Token { .. } => {
                tokens += 1;
                if victim.is_some_and(|(_, k)| k == tokens) {
                    let node = target.expect("the route has the span");
                    let process = processes.iter().find(|(id, _)| *id == node);
                    kill(process.and_then(|(_, id)| *id).expect("the worker runs"));
                    killed = Some(node);
                }
            }
            _ => {}
        })
        .await?;
    closing_block(&mut events, generation.session).await?;
    Ok((generation, killed))
}

/// Nobody is paid twice for a position, and all positions are paid on every block.
async fn check_payment(net: &Localnet, generation: &Generation) -> Result<()> {
    let session = net
        .chain
        .session(generation.session)
        .await?
        .context("no record")?;
    ensure!(
        session.status == SessionStatus::Closed,
        "the session is not closed"
    );
    ensure!(
        session.receipt_root == Some(generation.receipt_root),
        "another receipt root"
    );
    let positions = (generation.prompt_tokens.len() + generation.tokens.len() - 1) as u32;
    for server in &session.servers {
        ensure!(
            server.positions <= positions,
            "node {} is paid twice",
            server.node
        );
        let due = cost(server.price, server.span.len(), server.positions);
        ensure!(
            Some(server.earned) == due,
            "node {} earned another amount",
            server.node
        );
        ensure!(
            server.earned <= server.cap,
            "node {} earned more than its cap",
            server.node
        );
    }
    let earned: u128 = session.servers.iter().map(|server| server.earned).sum();
    ensure!(earned <= session.deposit, "more than the deposit was paid");
    for start in [0u16, 10, 20] {
        let most = session
            .servers
            .iter()
            .filter(|s| s.span.start == start)
            .map(|s| s.positions);
        ensure!(
            most.max() == Some(positions),
            "span {start} is not paid to the last position"
        );
    }
    Ok(())
}

/// Asks again, and kills the server of `span` at the `k`-th token: the answer is the same.
async fn disturb(
    net: &Localnet,
    consumer: &Consumer,
    subnet: u32,
    undisturbed: &Generation,
    (span, k): (&str, usize),
) -> Result<u32> {
    let (disturbed, killed) = ask(net, consumer, subnet, Some((span, k))).await?;
    let killed = killed.context("nobody was killed")?;
    assert_eq!(
        disturbed.tokens, undisturbed.tokens,
        "span {span} killed at token {k}"
    );
    assert_eq!(disturbed.text, undisturbed.text);
    assert!(
        disturbed
            .failovers
            .iter()
            .any(|report| report.failed == killed),
        "the death of node {killed} went unnoticed: {:?}",
        disturbed.failovers
    );
    check_payment(net, &disturbed).await?;
    Ok(killed)
}

/// An answer to which nothing happens.
async fn undisturbed(net: &Localnet, consumer: &Consumer, subnet: u32) -> Result<Generation> {
    let (generation, _) = ask(net, consumer, subnet, None).await?;
    check_payment(net, &generation).await?;
    assert!(generation.failovers.is_empty());
    assert_eq!(
        generation.tokens.len(),
        24,
        "the answer is long enough to be disturbed"
    );
    Ok(generation)
}

/// A subnet whose profile promises no bits, with a second server for the middle span. Its servers
/// belong to the same accounts as the first ones of the network.
async fn inexact(net: &mut Localnet, model: &Path) -> Result<u32> {
    let subnet = net.register_model_with(model, Kernel::FlexF32).await?;
    let spans = [SPANS[0], SPANS[1], SPANS[2], SPANS[1]];
    let servers: Vec<Server> = (0..spans.len())
        .map(|index| Server::new(&net.folder, subnet, index))
        .collect::<Result<_>>()?;
    let register = servers
        .iter()
        .map(|server| net.register_server(subnet, server));
    let nodes = try_join_all(register).await?;
    for ((server, node), span) in servers.into_iter().zip(nodes).zip(spans) {
        net.start_worker(subnet, model, server, node, span).await?;
    }
    net.all_serve(subnet).await?;
    Ok(subnet)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_any_server_at_any_token_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let exact = net.register_model(&model).await?;
    let spans = [SPANS[0], SPANS[1], SPANS[2], SPANS[0], SPANS[2]].map(str::to_owned);
    net.serve(exact, &model, &spans).await?;
    let inexact = inexact(&mut net, &model).await?;
    // Each token takes a step of its own, so that the one after a kill meets the dead server.
    let options = ClientOptions {
        draft: 0,
        ..ClientOptions::default()
    };
    let consumer = Consumer::connect_with(&net, &model, options).await?;

    // First, middle and last span; early, in the middle, and behind a receipt's boundary.
    let undisturbed_exact = undisturbed(&net, &consumer, exact).await?;
    let mut dead = BTreeSet::new();
    for victim in [("0:10", 1), ("20:30", 20)] {
        let killed = disturb(&net, &consumer, exact, &undisturbed_exact, victim).await?;
        assert!(dead.insert(killed), "a dead server was chosen");
    }
    let undisturbed_inexact = undisturbed(&net, &consumer, inexact).await?;
    let victim = ("10:20", 9);
    disturb(&net, &consumer, inexact, &undisturbed_inexact, victim).await?;
    Ok(())
}
