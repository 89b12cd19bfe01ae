//! What all sessions of this server share.

use super::{outlets::Outlets, registry::Registry, show::MAX_AUDITORS, EvidenceStore, Journals};
use crate::{compute::ComputeHandle, redeem::Book, telemetry::Metrics};
use quipu_primitives::{
    views::{NodeInfo, SessionInfo},
    AccountBytes, SessionId,
};
use quipu_protocol::{
    limits::{LEASE, MAX_SESSIONS},
    Open, Refusal, RefusalCode,
};
use quipu_worker_core::{
    ports::{ChainError, SharedChain, SharedPeers},
    serve::{check, Identity, Leases, Neighbours, Now, Record, ValidOpen},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{watch, Semaphore};

/// Monotonic time since any fixed moment. Injected, so that tests say how fast it goes.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How often the chain is asked again for a session that it does not know yet.
const SESSION_POLL: Duration = Duration::from_millis(250);

/// What a server is made of.
pub struct ServerParts {
    /// Who it is.
    pub me: Arc<Identity>,
    /// Where sessions are looked up.
    pub chain: SharedChain,
    /// How other servers are reached.
    pub peers: SharedPeers,
    /// The span.
    pub compute: ComputeHandle,
    /// What must survive a crash.
    pub journals: Journals,
    /// What audits may ask for.
    pub evidence: EvidenceStore,
    /// Where vouchers go.
    pub book: Arc<Book>,
    /// The nodes of the subnet.
    pub roster: watch::Receiver<Arc<Vec<NodeInfo<AccountBytes>>>>,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// The time.
    pub clock: Clock,
    /// How long to wait for a session that the chain does not know yet.
    pub session_patience: Duration,
    /// What operators see.
    pub metrics: Metrics,
}

/// The server.
pub struct Server {
    pub(super) parts: ServerParts,
    pub(super) registry: Registry,
    pub(super) outlets: Outlets,
    leases: Mutex<Leases>,
    /// Permits to wait for a session that the chain does not know.
    waiting: Semaphore,
    /// Permits to look at what was signed.
    pub(super) showing: Semaphore,
    /// Positions that are free, for whoever announces them.
    free: watch::Sender<u32>,
    /// Sessions with a cache, for whoever waits until there are none.
    running: watch::Sender<usize>,
}

impl Server {
    /// A server without sessions. Vouchers of sessions that were served before the last stop go to
    /// the book. Blocks on the disk.
    pub fn new(parts: ServerParts) -> io::Result<Arc<Self>> {
        let journaled = parts.journals.sessions()?;
        for session in &journaled {
            let (_, records) = parts.journals.load(*session)?;
            for record in records {
                match record {
                    Record::Voucher { voucher, signature } => parts.book.note(voucher, signature),
                    Record::Opened { deadline, .. } => parts.book.opened(*session, deadline),
                    _ => {}
                }
            }
            parts.book.touch(*session);
        }
        // Of sessions without a journal nothing was signed.
        for session in parts.evidence.sessions() {
            if journaled.binary_search(&session).is_err() {
                parts.evidence.remove(session)?;
            }
        }
        let total = parts.compute.positions();
        parts.metrics.free_positions.set(i64::from(total));
        let ServerParts { me, peers, .. } = &parts;
        Ok(Arc::new(Server {
            outlets: Outlets::new(peers.clone(), me.genesis, me.subnet),
            registry: Registry::new(journaled),
            waiting: Semaphore::new(MAX_SESSIONS),
            showing: Semaphore::new(MAX_AUDITORS),
            leases: Mutex::new(Leases::new(total, MAX_SESSIONS, LEASE)),
            free: watch::channel(total).0,
            running: watch::channel(0).0,
            parts,
        }))
    }

    /// Who it is.
    pub fn me(&self) -> &Identity {
        &self.parts.me
    }

    /// What the clocks show.
    pub(super) fn now(&self) -> Now {
        Now {
            time: (self.parts.clock)(),
            block: *self.parts.block.borrow(),
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the leases, and tells those who watch them.
    pub(super) fn with_leases<T>(&self, change: impl FnOnce(&mut Leases) -> T) -> T {
        let mut leases = self.leases();
        let result = change(&mut leases);
        let (free, running) = (leases.free(), leases.sessions());
        drop(leases);
        self.parts.metrics.free_positions.set(i64::from(free));
        self.parts.metrics.sessions.set(running as i64);
        self.free
            .send_if_modified(|known| std::mem::replace(known, free) != free);
        self.running
            .send_if_modified(|known| std::mem::replace(known, running) != running);
        result
    }

    /// Positions that can be reserved, as they change.
    pub fn free_positions(&self) -> watch::Receiver<u32> {
        self.free.subscribe()
    }

    /// Takes no new sequences from now on.
    pub fn drain(&self) {
        self.with_leases(Leases::drain);
    }

    /// Waits until no session holds a cache. Cancel-safe.
    pub async fn idle(&self) {
        let mut running = self.running.subscribe();
        // The sender lives in `self`.
        let _ = running.wait_for(|sessions| *sessions == 0).await;
    }

    /// Checks an `Open` from `client` (multihash bytes of its proven peer id).
    pub(super) async fn check(&self, open: &Open, client: &[u8]) -> Result<ValidOpen, Refusal> {
        // Everything that does not need the chain first.
        match check(open, None, self.me(), client, self.now()) {
            Err(refusal) if refusal.code != RefusalCode::Session => return Err(refusal),
            _ => {}
        }
        let session = self.find(open.session).await?;
        check(open, session.as_ref(), self.me(), client, self.now())
    }

    /// The chain's record of a session. It may have been opened in a block that our node has not
    /// seen yet: then it is waited for, unless too many wait already.
    async fn find(&self, id: SessionId) -> Result<Option<SessionInfo<AccountBytes>>, Refusal> {
        let permit = self.waiting.try_acquire();
        let patience = permit
            .as_ref()
            .map_or(Duration::ZERO, |_| self.parts.session_patience);
        let give_up = tokio::time::Instant::now() + patience;
        let mut block = self.parts.block.clone();
        loop {
            let found = self.parts.chain.session(id).await;
            let error = match found {
                Ok(Some(session)) => return Ok(Some(session)),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            let wait = tokio::time::timeout(SESSION_POLL, block.changed());
            match tokio::time::timeout_at(give_up, wait).await {
                Ok(Ok(Ok(()))) | Ok(Err(_)) => {}
                // Nobody counts blocks any more: the server shuts down.
                Ok(Ok(Err(_))) | Err(_) => {
                    return error.map_or(Ok(None), |error| Err(no_chain(error)))
                }
            }
        }
    }

    /// The servers of a session that hand on to us, and those that we may hand on to.
    pub(super) async fn neighbours(&self, id: SessionId) -> Result<Neighbours, Refusal> {
        let span = self.me().span;
        let Some(session) = self.find(id).await? else {
            return Ok(Neighbours::default());
        };
        let roster = self.parts.roster.borrow().clone();
        let known = Neighbours::of(&session, &roster, span);
        if known.len() == Neighbours::expected(&session, span) {
            return Ok(known);
        }
        let roster = self.parts.chain.roster(self.me().subnet).await;
        Ok(Neighbours::of(&session, &roster.map_err(no_chain)?, span))
    }
}

pub(super) fn no_chain(error: ChainError) -> Refusal {
    tracing::warn!(%error, "a session can't be looked up");
    let message = "this server can't reach the chain now; try another";
    Refusal::new(RefusalCode::Internal, message)
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.me())
    }
}
