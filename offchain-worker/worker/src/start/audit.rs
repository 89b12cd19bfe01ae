//! A worker that does its node's duty as an auditor and serves nothing.

use super::ground::Ground;
use crate::{
    audit::{Duty, Examiner, Findings, ModelExaminer},
    chain_sync::{ChainSync, ChainView},
    config::NodeConfig,
    daemon::Stop,
    error::WorkerError,
    preflight::{check_model, check_peer, find_node},
    redeem::Book,
    telemetry::{self, Health},
};
use quipu_network::Role;
use quipu_primitives::{
    views::{NodeInfo, SubnetInfo},
    AccountBytes, Span,
};
use quipu_protocol::ServerState;
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Looks at others' work until it is stopped, or until its node is gone.
pub async fn audit(config: NodeConfig, stop: Stop) -> Result<(), WorkerError> {
    audit_with(config, stop, |examiner| examiner).await
}

/// As [`audit`], with something else that judges: for whoever builds another auditor on this one.
pub async fn audit_with(
    config: NodeConfig,
    stop: Stop,
    replace: impl FnOnce(Arc<dyn Examiner>) -> Arc<dyn Examiner>,
) -> Result<(), WorkerError> {
    let (ground, subnet, node) = tokio::select! {
        // Nothing was begun that would have to be ended.
        _ = stop.gently.cancelled() => return Ok(()),
        _ = stop.now.cancelled() => return Ok(()),
        found = find(&config) => found?,
    };
    let (chain, signer) = (&ground.chain, &ground.signer);
    let book = Arc::<Book>::default();
    // Nobody gives jobs to a node without a seat.
    let (sync, view, _) = ChainSync::start(chain.clone(), config.subnet, node.id, book).await?;
    let roster = view.roster.clone();
    let (network, _streams) = ground.join(&config, Role::Client, roster, |_| {}).await?;
    let folder = config.findings(&chain.genesis());
    let findings = Findings::open(&folder).map_err(WorkerError::io(
        "the folder of what audits find can't be used",
    ))?;
    let examiner = ModelExaminer::new(ground.model.clone(), subnet.manifest, config.threads);
    let duty = Duty {
        chain: chain.clone(),
        peers: Arc::new(network.clone()),
        signer: signer.clone(),
        node: node.id,
        subnet: config.subnet,
        examiner: replace(Arc::new(examiner)),
        findings,
        block: view.block.clone(),
        metrics: ground.metrics,
    };
    let quit = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(sync.run(quit.clone()));
    tasks.spawn(duty.run(quit.clone()));
    if let Some(endpoint) = ground.endpoint {
        let health = Health {
            subnet: config.subnet,
            node: node.id,
            span: None,
            state: watch::channel(ServerState::Online).1,
            block: view.block.clone(),
        };
        tasks.spawn(telemetry::attend(endpoint, health, quit.clone()));
    }
    info!(node = node.id, "auditing");
    let ended = tokio::select! {
        _ = stop.gently.cancelled() => Ok(()),
        _ = stop.now.cancelled() => Ok(()),
        error = replaced(view, &node) => Err(error),
    };
    quit.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a task of the auditor panicked");
        }
    }
    network.shutdown().await;
    ended
}

/// The node, once it is sure that it is ours and that the model is the subnet's.
async fn find(
    config: &NodeConfig,
) -> Result<(Ground, SubnetInfo<AccountBytes>, NodeInfo<AccountBytes>), WorkerError> {
    let ground = Ground::prepare(config).await?;
    let hotkey = ground.signer.public();
    let (subnet, node) = find_node(&*ground.chain, hotkey, config.subnet).await?;
    check_peer(&node, &ground.peer, &config.peer_key())?;
    // What is looked at is any of the blocks.
    let end = subnet.manifest.config.blocks;
    check_model(&ground.model, &subnet.manifest, Span { start: 0, end }).await?;
    Ok((ground, subnet, node))
}

/// Waits until the node is not ours any more.
async fn replaced(mut view: ChainView, own: &NodeInfo<AccountBytes>) -> WorkerError {
    let is_ours = |other: &NodeInfo<AccountBytes>| {
        other.id == own.id && other.hotkey == own.hotkey && other.peer_id == own.peer_id
    };
    let gone = view
        .roster
        .wait_for(|roster| !roster.iter().any(is_ours))
        .await;
    if gone.is_err() {
        // Nobody follows the chain any more: the worker ends.
        std::future::pending::<()>().await;
    }
    WorkerError::Removed(quipu_chain::show_account(&own.hotkey))
}
