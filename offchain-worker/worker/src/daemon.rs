//! A worker at work: everything that runs between taking the seat and giving it back.

use crate::{
    announce::{Announcing, UnixClock},
    chain_sync::{ChainSync, ChainView},
    compute::{ComputeHandle, Rates},
    error::WorkerError,
    jobs::{JobFolder, Jobs},
    preflight::take_seat,
    redeem::{Book, Redeemer},
    serve::{accept, Clock, Journals, Server, ServerParts},
    telemetry::{self, Health, Metrics},
};
use prometheus_client::registry::Registry;
use quipu_primitives::{Balance, JobId};
use quipu_protocol::{limits::LEASE, ServerState};
use quipu_worker_core::{
    ports::{Announcer, Call, Compute, Incoming, SharedChain, SharedJobRunner},
    serve::Identity,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long a server waits for a session that its chain does not know yet. Less than
/// [`quipu_protocol::limits::OPEN_TIMEOUT`], so that the client hears of it.
pub const SESSION_PATIENCE: Duration = Duration::from_secs(8);

/// What a worker is made of. The real parts come from [`crate::start`], tests bring others.
pub struct Parts {
    /// The chain.
    pub chain: SharedChain,
    /// Follows it; with what it knows already, and the jobs that it will find.
    pub sync: (ChainSync, ChainView, mpsc::Receiver<JobId>),
    /// The vouchers, shared with `sync`.
    pub book: Arc<Book>,
    /// Who the worker is.
    pub me: Identity,
    /// Asked per position and block.
    pub price: Balance,
    /// The loaded span.
    pub compute: Box<dyn Compute>,
    /// How fast it is.
    pub rates: Rates,
    /// How it is found.
    pub announcer: Arc<dyn Announcer>,
    /// Who comes.
    pub incoming: Box<dyn Incoming>,
    /// Folder of the journals.
    pub journals: PathBuf,
    /// What runs jobs, and the folder of those under way. Without it jobs are left to others.
    pub jobs: Option<(SharedJobRunner, PathBuf)>,
    /// Monotonic time.
    pub clock: Clock,
    /// Unix time.
    pub unix_clock: UnixClock,
    /// How long to wait for a session that the chain does not know yet.
    pub session_patience: Duration,
    /// How long to wait for running sessions at the end.
    pub drain: Duration,
    /// Give the seat back at the end.
    pub leave_on_exit: bool,
    /// What operators see, and where.
    pub metrics: Metrics,
    /// Where metrics and health are served.
    pub endpoint: Option<(TcpListener, Registry)>,
}

/// How a worker is stopped.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take nothing new, finish what runs, then stop.
    pub gently: CancellationToken,
    /// Stop now.
    pub now: CancellationToken,
}

/// Serves until it is stopped, or until something fails that it can't do without.
pub async fn run(parts: Parts, stop: Stop) -> Result<(), WorkerError> {
    let Parts {
        chain,
        sync: (sync, view, job_queue),
        book,
        me,
        metrics,
        ..
    } = parts;
    let me = Arc::new(me);
    let (compute, thread) = ComputeHandle::spawn(parts.compute)
        .map_err(WorkerError::io("the computing thread can't be started"))?;
    let journals = Journals::open(&parts.journals).map_err(WorkerError::io(format!(
        "the journals in {} can't be used",
        parts.journals.display()
    )))?;
    let server_parts = ServerParts {
        me: me.clone(),
        chain: chain.clone(),
        compute: compute.clone(),
        journals,
        book: book.clone(),
        roster: view.roster.clone(),
        block: view.block.clone(),
        clock: parts.clock,
        session_patience: parts.session_patience,
        metrics: metrics.clone(),
    };
    let server = tokio::task::spawn_blocking(move || Server::new(server_parts))
        .await
        .map_err(std::io::Error::other)
        .and_then(|server| server)
        .map_err(WorkerError::io("the journals can't be read"))?;

    let (state, state_view) = watch::channel(ServerState::Joining);
    let quit = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if let Some((listener, registry)) = parts.endpoint {
        let health = Health {
            subnet: me.subnet,
            node: me.node,
            span: me.span,
            state: state_view.clone(),
            block: view.block.clone(),
        };
        let quit = quit.clone();
        tasks.spawn(async move {
            let served = telemetry::serve(listener, Arc::new(registry), health, quit).await;
            if let Err(error) = served {
                warn!(%error, "metrics are not served any more");
            }
        });
    }
    let announcing = Announcing {
        announcer: parts.announcer,
        server: server.clone(),
        rates: parts.rates,
        state: state_view,
        clock: parts.unix_clock,
        metrics: metrics.clone(),
    };
    tasks.spawn(announcing.run(quit.clone()));
    tasks.spawn(sync.run(quit.clone()));
    tasks.spawn(count_blocks(
        view.block.clone(),
        metrics.clone(),
        quit.clone(),
    ));
    tasks.spawn(reap(server.clone(), quit.clone()));
    let redeemer = Redeemer {
        chain: chain.clone(),
        signer: me.signer.clone(),
        book,
        server: server.clone(),
        block: view.block.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(redeemer.run(quit.clone()));

    let (profile, span) = (me.profile, me.span);
    let seated = take_seat(&*chain, &*me.signer, span, parts.price, profile).await;
    let result = match seated {
        Err(error) => Err(error),
        Ok(()) => {
            if let Some((runner, folder)) = parts.jobs {
                let folder = JobFolder::open(&folder)
                    .map_err(WorkerError::io("the folder of the jobs can't be used"))?;
                let jobs = Jobs {
                    chain: chain.clone(),
                    runner,
                    signer: me.signer.clone(),
                    queue: job_queue,
                    folder,
                    block: view.block.clone(),
                    metrics,
                };
                tasks.spawn(jobs.run(quit.clone()));
            }
            state.send_replace(ServerState::Online);
            info!(node = me.node, %span, "serving");
            let serving = tokio::spawn(accept(server.clone(), parts.incoming, quit.clone()));
            let ended = wait(&server, &state, &compute, serving, &stop, parts.drain).await;
            if parts.leave_on_exit {
                leave(&chain, &me).await;
            }
            ended
        }
    };
    quit.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a task of the worker panicked");
        }
    }
    drop((server, compute));
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if let Err(error) = joined {
        error!(%error, "the computing thread can't be waited for");
    }
    result
}

/// Waits for the end, and drains if it comes gently.
async fn wait(
    server: &Arc<Server>,
    state: &watch::Sender<ServerState>,
    compute: &ComputeHandle,
    mut serving: tokio::task::JoinHandle<()>,
    stop: &Stop,
    drain: Duration,
) -> Result<(), WorkerError> {
    tokio::select! {
        _ = stop.now.cancelled() => return Ok(()),
        _ = stop.gently.cancelled() => {}
        _ = compute.gone() => return Err(WorkerError::ComputeEnded),
        _ = &mut serving => return Err(WorkerError::NetworkEnded),
    }
    server.drain();
    state.send_replace(ServerState::Draining);
    info!("leaving: waiting for the sessions that run");
    tokio::select! {
        _ = stop.now.cancelled() => warn!("told to stop at once"),
        _ = server.idle() => info!("no session runs any more"),
        _ = tokio::time::sleep(drain) => warn!(?drain, "some sessions still run; leaving anyway"),
        _ = compute.gone() => return Err(WorkerError::ComputeEnded),
    }
    Ok(())
}

/// Gives the seat back. A worker that can't leaves anyway.
async fn leave(chain: &SharedChain, me: &Identity) {
    match chain
        .submit(&*me.signer, Call::Leave { node: me.node })
        .await
    {
        Ok(included) => info!(block = included.number, "seat given back"),
        Err(error) => warn!(%error, "the seat can't be given back"),
    }
}

async fn count_blocks(mut block: watch::Receiver<u32>, metrics: Metrics, quit: CancellationToken) {
    loop {
        metrics.block.set(i64::from(*block.borrow_and_update()));
        tokio::select! {
            _ = quit.cancelled() => return,
            changed = block.changed() => if changed.is_err() { return },
        }
    }
}

/// Frees caches that nobody uses.
async fn reap(server: Arc<Server>, quit: CancellationToken) {
    let mut interval = tokio::time::interval(LEASE / 8);
    loop {
        tokio::select! {
            _ = quit.cancelled() => return,
            _ = interval.tick() => server.reap().await,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
