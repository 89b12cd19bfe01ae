//! Fail-over with real processes and the real model: whoever dies, and whenever, the answer is the
//! same and nobody is paid twice.

use anyhow::{ensure, Context, Result};
use quipu_client::{Event, Generation, Prompt, Request, SamplingOptions};
use quipu_primitives::{cost, views::SessionStatus};
use quipu_tests::{
    demo::{closing_block, Consumer},
    localnet::{model_folder, Localnet, Programs},
};
use quipu_worker_core::ports::Chain;
use std::collections::BTreeSet;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_any_server_at_any_token_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = model_folder()?;
    let mut net = Localnet::start(Programs::find()?, folder.path(), 1).await?;
    let subnet = net.register_model(&model).await?;
    let twice: Vec<String> = SPANS
        .iter()
        .chain(&SPANS)
        .map(|span| (*span).to_owned())
        .collect();
    net.serve(subnet, &model, &twice).await?;
    let consumer = Consumer::connect(&net, &model).await?;

    let (undisturbed, _) = ask(&net, &consumer, subnet, None).await?;
    check_payment(&net, &undisturbed).await?;
    assert!(undisturbed.failovers.is_empty());
    assert_eq!(
        undisturbed.tokens.len(),
        24,
        "the answer is long enough to be disturbed"
    );

    // First, middle and last span; early, in the middle, and behind a receipt's boundary.
    let mut dead = BTreeSet::new();
    for (span, k) in [("10:20", 1), ("0:10", 9), ("20:30", 20)] {
        let (disturbed, killed) = ask(&net, &consumer, subnet, Some((span, k))).await?;
        let killed = killed.context("nobody was killed")?;
        assert!(dead.insert(killed), "a dead server was chosen");
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
        check_payment(&net, &disturbed).await?;
    }
    Ok(())
}
