//! A worker that serves blocks.

use super::{blocking, ground::Ground, load::load};
use crate::{
    audit::ModelExaminer,
    chain_sync::ChainSync,
    config::{Blocks, ValidConfig},
    daemon::{self, random_pause, Balancing, Ended, Parts, Stop, SESSION_PATIENCE},
    error::WorkerError,
    net::{with_ourselves, NetworkAnnouncer},
    preflight::{check_peer, find_place, memory_of, Place},
    redeem::Book,
    runner::SwarmRunner,
};
use quipu_network::{system_clock, NetworkHandle, Role};
use quipu_protocol::limits::DRAIN;
use quipu_worker_core::serve::Identity;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::info;

/// Longest wait before a server chooses its blocks by itself.
const JOIN_JITTER: Duration = Duration::from_secs(10);

/// Serves until it is stopped; on other blocks when they need it more.
pub async fn serve(config: ValidConfig, stop: Stop) -> Result<(), WorkerError> {
    serve_with(config, stop, |_, parts| Ok(parts)).await
}

/// As [`serve`], with parts put in place of its own: for whoever builds another worker on this one.
pub async fn serve_with(
    config: ValidConfig,
    stop: Stop,
    replace: impl Fn(&ValidConfig, Parts) -> Result<Parts, WorkerError>,
) -> Result<(), WorkerError> {
    let mut blocks = config.blocks;
    loop {
        let (parts, network) = tokio::select! {
            // Nothing was begun that would have to be ended.
            _ = stop.gently.cancelled() => return Ok(()),
            _ = stop.now.cancelled() => return Ok(()),
            prepared = prepare(&config, blocks) => prepared?,
        };
        let ended = daemon::run(replace(&config, parts)?, stop.clone()).await;
        network.shutdown().await;
        match ended? {
            Ended::Stopped => return Ok(()),
            Ended::Move(span) => blocks = Blocks::Span(span),
        }
    }
}

/// Everything up to the seat: model, chain, node, weights, network. `blocks` are those of the
/// configuration, or those that were chosen since.
async fn prepare(
    config: &ValidConfig,
    blocks: Blocks,
) -> Result<(Parts, NetworkHandle), WorkerError> {
    let ground = Ground::prepare(&config.node).await?;
    let (model, chain, signer) = (&ground.model, &ground.chain, &ground.signer);
    if let Blocks::Fit { .. } = blocks {
        // Servers that start together must not all see the same gap.
        let wait = JOIN_JITTER.mul_f64(rand::random());
        info!(?wait, "waiting before choosing blocks");
        tokio::time::sleep(wait).await;
    }
    let place = find_place(
        &**chain,
        signer.public(),
        config.node.subnet,
        blocks,
        config.kv_positions,
        config.device,
        model.clone(),
    )
    .await?;
    check_peer(&place.node, &ground.peer, &config.node.peer_key())?;
    let Place {
        node,
        subnet,
        span,
        profile,
    } = place;

    let (threads, positions) = (config.node.threads, config.kv_positions);
    let (compute, rates) = {
        let model = model.clone();
        blocking("the span can't be loaded", move || {
            load(&model, profile.kernel, span, threads, positions)
        })
        .await?
    };
    let book = Arc::<Book>::default();
    let sync = ChainSync::start(chain.clone(), config.node.subnet, node.id, book.clone()).await?;

    let roster = sync.1.roster.clone();
    let join = ground.join(&config.node, Role::Server, roster, |network| {
        network.listen = config.listen.clone();
        network.external = config.external.clone();
    });
    let (network, streams) = join.await?;
    for address in network.listen_addresses().await? {
        info!(address = %format!("{address}/p2p/{}", ground.peer), "listening");
    }
    // Whoever was told its blocks stays on them.
    let balancing = match config.blocks {
        Blocks::Span(_) => None,
        Blocks::Fit { memory } => Some(Balancing {
            blocks: subnet.manifest.config.blocks,
            most: memory_of(model, profile.kernel, memory, positions)?.blocks(),
            pause: random_pause(config.look_every),
        }),
    };
    let (swarm, streams) = with_ourselves(network.clone(), streams);
    let weights_root = subnet.manifest.weights_root;
    let examiner = ModelExaminer::new(model.clone(), subnet.manifest, threads);
    let runner = SwarmRunner::new(
        model.clone(),
        chain.clone(),
        Arc::new(swarm),
        signer.clone(),
    );
    let (started, genesis) = (Instant::now(), chain.genesis());
    let parts = Parts {
        sync,
        book,
        me: Identity {
            genesis,
            subnet: config.node.subnet,
            node: node.id,
            span,
            peer: ground.peer.to_bytes(),
            weights_root,
            profile: profile.digest(),
            exact: profile.kernel.is_exact(),
            dtype: profile.activations,
            hidden: compute.hidden_size(),
            context: compute.context_length(),
            signer: ground.signer,
        },
        chain: ground.chain,
        peers: Arc::new(network.clone()),
        price: config.price,
        compute,
        rates,
        announcer: Arc::new(NetworkAnnouncer(network.clone())),
        incoming: Box::new(streams),
        journals: config.node.journals(&genesis),
        auditor: Some((Arc::new(examiner), config.node.findings(&genesis))),
        evidence: (config.node.evidence(&genesis), config.audit_space),
        jobs: Some((Arc::new(runner), config.node.jobs(&genesis))),
        clock: Arc::new(move || started.elapsed()),
        unix_clock: system_clock(),
        session_patience: SESSION_PATIENCE,
        drain: DRAIN,
        leave_on_exit: config.leave_on_exit,
        metrics: ground.metrics,
        balancing,
        endpoint: ground.endpoint,
    };
    Ok((parts, network))
}
