//! A worker at work: everything that runs between taking the seat and giving it back.

mod balance;
mod seat;

pub use balance::{random_pause, Balancing, Pause};

use crate::{
    announce::{Announcing, UnixClock},
    audit::{Duty, Examiner, Findings},
    chain_sync::{ChainSync, ChainView},
    compute::{ComputeHandle, Rates},
    defence::Defence,
    error::WorkerError,
    jobs::{JobFolder, Jobs},
    preflight::take_seat,
    redeem::{Book, Redeemer},
    serve::{accept, Clock, EvidenceStore, Journals, Server, ServerParts},
    telemetry::{self, Health, Metrics},
};
use balance::Lookout;
use prometheus_client::registry::Registry;
use quipu_primitives::{Balance, JobId, Span};
use quipu_protocol::{limits::LEASE, ServerState};
use quipu_worker_core::{
    placement::Resolve,
    ports::{Announcer, Call, Compute, Incoming, SharedChain, SharedJobRunner, SharedPeers},
    serve::Identity,
};
use seat::SeatWatch;
use std::{future::Future, path::PathBuf, pin::pin, sync::Arc, time::Duration};
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
    /// How it reaches other servers, and finds what they announce.
    pub peers: SharedPeers,
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
    /// What looks at others' work, if anything does, and the folder of what it finds.
    pub auditor: Option<(Arc<dyn Examiner>, PathBuf)>,
    /// Folder of what audits may ask for, and how many bytes of that there may be.
    pub evidence: (PathBuf, u64),
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
    /// How it finds blocks that need it more. Without it, it stays on those that it has.
    pub balancing: Option<Balancing>,
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

/// How a worker ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It gave its seat back, and ended what ran, to serve these blocks instead: start it again.
    Move(Span),
}

/// Serves until it is stopped, until other blocks need it more, or until something fails that it
/// can't do without.
pub async fn run(parts: Parts, stop: Stop) -> Result<Ended, WorkerError> {
    let Parts {
        chain,
        sync: (sync, view, job_queue),
        book,
        me,
        metrics,
        peers,
        ..
    } = parts;
    let me = Arc::new(me);
    let (compute, thread) = ComputeHandle::spawn(parts.compute)
        .map_err(WorkerError::io("the computing thread can't be started"))?;
    let journals = Journals::open(&parts.journals).map_err(WorkerError::io(format!(
        "the journals in {} can't be used",
        parts.journals.display()
    )))?;
    let (folder, limit) = &parts.evidence;
    let evidence =
        EvidenceStore::open(folder, *limit, me.row()).map_err(WorkerError::io(format!(
            "what is kept for audits in {} can't be used",
            folder.display()
        )))?;
    let server_parts = ServerParts {
        me: me.clone(),
        chain: chain.clone(),
        peers: peers.clone(),
        compute: compute.clone(),
        journals,
        evidence,
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
    if let Some(endpoint) = parts.endpoint {
        let health = Health {
            subnet: me.subnet,
            node: me.node,
            span: Some(me.span),
            state: state_view.clone(),
            block: view.block.clone(),
        };
        tasks.spawn(telemetry::attend(endpoint, health, quit.clone()));
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
    let defence = Defence {
        chain: chain.clone(),
        signer: me.signer.clone(),
        server: server.clone(),
        block: view.block.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(defence.run(quit.clone()));
    if let Some((examiner, folder)) = parts.auditor {
        let findings = Findings::open(&folder).map_err(WorkerError::io(
            "the folder of what audits find can't be used",
        ))?;
        let duty = Duty {
            chain: chain.clone(),
            peers: peers.clone(),
            signer: me.signer.clone(),
            node: me.node,
            subnet: me.subnet,
            examiner,
            findings,
            block: view.block.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(duty.run(quit.clone()));
    }

    let (profile, span) = (me.profile, me.span);
    let seated = take_seat(&*chain, &*me.signer, span, parts.price, profile).await;
    let result = match seated {
        Err(error) => Err(error),
        Ok(since) => {
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
            let serving = tokio::spawn(accept(server.clone(), parts.incoming, quit.clone()));
            let watch = SeatWatch {
                chain: chain.clone(),
                me: me.clone(),
                price: parts.price,
                view: view.clone(),
                since,
                state: state.clone(),
            };
            let lookout = parts.balancing.map(|balancing| Lookout {
                balancing,
                peers,
                me: me.clone(),
                rates: parts.rates,
                view: view.clone(),
                resolve: Resolve::default(),
            });
            let mut attended = Attended {
                chain: &chain,
                me: &me,
                view: &view,
                server: &server,
                state: &state,
                compute: &compute,
                stop: &stop,
                drain: parts.drain,
                has_seat: true,
            };
            let ended = attended.wait(serving, watch.lost(), lookout).await;
            if parts.leave_on_exit && attended.has_seat {
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

/// What decides how long a worker serves.
struct Attended<'a> {
    chain: &'a SharedChain,
    me: &'a Identity,
    view: &'a ChainView,
    server: &'a Arc<Server>,
    state: &'a watch::Sender<ServerState>,
    compute: &'a ComputeHandle,
    stop: &'a Stop,
    drain: Duration,
    /// Is there a seat to give back?
    has_seat: bool,
}

impl Attended<'_> {
    /// Waits for the end, and drains unless it comes at once. `lost` ends when the seat is lost.
    async fn wait(
        &mut self,
        mut serving: tokio::task::JoinHandle<()>,
        lost: impl Future<Output = WorkerError>,
        mut lookout: Option<Lookout>,
    ) -> Result<Ended, WorkerError> {
        let mut lost = pin!(lost);
        loop {
            let wanted = async {
                match &mut lookout {
                    Some(lookout) => lookout.wanted().await,
                    None => std::future::pending().await,
                }
            };
            let to = tokio::select! {
                _ = self.stop.now.cancelled() => return Ok(Ended::Stopped),
                _ = self.stop.gently.cancelled() => {
                    self.begin_drain();
                    self.drained().await?;
                    return Ok(Ended::Stopped);
                }
                _ = self.compute.gone() => return Err(WorkerError::ComputeEnded),
                _ = &mut serving => return Err(WorkerError::NetworkEnded),
                error = &mut lost => {
                    error!(%error, "the worker can't go on");
                    self.has_seat = false;
                    self.begin_drain();
                    self.drained().await?;
                    return Err(error);
                }
                to = wanted => to,
            };
            // From now on the chain names us in no new session, and gives us no new job.
            let Some(left) = leave(self.chain, self.me).await else {
                continue;
            };
            self.has_seat = false;
            info!(from = %self.me.span, %to, "moving to other blocks");
            self.begin_drain();
            return self.move_out(&mut serving, lookout, left, to).await;
        }
    }

    fn begin_drain(&self) {
        self.server.drain();
        self.state.send_replace(ServerState::Draining);
        info!("leaving: waiting for the sessions that run");
    }

    /// Waits until no session runs, for as long as a worker may that was told to stop.
    async fn drained(&self) -> Result<(), WorkerError> {
        let drain = self.drain;
        tokio::select! {
            _ = self.stop.now.cancelled() => warn!("told to stop at once"),
            _ = self.server.idle() => info!("no session runs any more"),
            _ = tokio::time::sleep(drain) => warn!(?drain, "some sessions still run; leaving anyway"),
            _ = self.compute.gone() => return Err(WorkerError::ComputeEnded),
        }
        Ok(())
    }

    /// Waits for every session, however long it takes, and for the block `left` in which the seat
    /// was given back. Then looks anew where to go: others may have moved meanwhile.
    async fn move_out(
        &self,
        serving: &mut tokio::task::JoinHandle<()>,
        lookout: Option<Lookout>,
        left: u32,
        to: Span,
    ) -> Result<Ended, WorkerError> {
        let mut block = self.view.block.clone();
        let over = async {
            self.server.idle().await;
            // It fails only once nobody follows the chain any more: then the worker ends.
            let _ = block.wait_for(|block| *block >= left).await;
        };
        tokio::select! {
            _ = self.stop.now.cancelled() => return Ok(Ended::Stopped),
            _ = self.stop.gently.cancelled() => {
                self.drained().await?;
                return Ok(Ended::Stopped);
            }
            _ = self.compute.gone() => return Err(WorkerError::ComputeEnded),
            _ = serving => return Err(WorkerError::NetworkEnded),
            () = over => {}
        }
        let roster = self.view.roster.borrow().clone();
        let found = match &lookout {
            Some(lookout) => lookout.place(&roster).await,
            None => None,
        };
        Ok(Ended::Move(found.unwrap_or(to)))
    }
}

/// Gives the seat back, and says in which block. A worker that can't leaves anyway.
async fn leave(chain: &SharedChain, me: &Identity) -> Option<u32> {
    match chain
        .submit(&*me.signer, Call::Leave { node: me.node })
        .await
    {
        Ok(included) => {
            info!(block = included.number, "seat given back");
            Some(included.number)
        }
        Err(error) => {
            warn!(%error, "the seat can't be given back");
            None
        }
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
