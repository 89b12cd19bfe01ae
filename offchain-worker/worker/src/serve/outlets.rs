//! Outputs on their way to the next server of a chain.
//!
//! One task and one stream for each successor, whatever the number of sessions: a pair of servers
//! may have many in common, and streams between two peers are few. The queue of a task is bounded;
//! what does not fit, or does not arrive, is reported back to the session, whose client then brings
//! it itself. So a slow or dead successor costs one session's time, never the server's memory.

use quipu_primitives::{Digest, SessionId, SubnetId};
use quipu_protocol::{
    limits::{LEASE, MAX_SESSIONS, OPEN_TIMEOUT, STEP_TIMEOUT},
    Activations, Push, Request, Response,
};
use quipu_worker_core::{
    ports::{PeerError, ServeStream, SharedPeers},
    serve::Neighbour,
};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;

/// Outputs that wait for one successor: a few for each session.
const QUEUE: usize = 4 * MAX_SESSIONS;

/// Positions at which a session's outputs were not handed on. Bounded: a session that does not
/// listen loses only its own news.
pub(super) type Failures = mpsc::Sender<u32>;

/// The failures of one session that wait for its stream.
pub(super) const FAILURES: usize = 8;

struct Outgoing {
    push: Push,
    output: Activations,
    failures: Failures,
}

/// The ways to the successors.
pub(super) struct Outlets {
    peers: SharedPeers,
    genesis: Digest,
    subnet: SubnetId,
    open: Mutex<HashMap<Vec<u8>, mpsc::Sender<Outgoing>>>,
}

impl Outlets {
    pub(super) fn new(peers: SharedPeers, genesis: Digest, subnet: SubnetId) -> Self {
        Outlets {
            peers,
            genesis,
            subnet,
            open: Mutex::default(),
        }
    }

    /// Opens the way to a successor, unless it is open.
    pub(super) fn reach(&self, to: &Neighbour) {
        self.queue(to);
    }

    /// Sends an output on its way. If it does not get there, `failures` hears of it, sooner or
    /// later.
    pub(super) fn hand_on(
        &self,
        to: &Neighbour,
        push: Push,
        output: Activations,
        failures: Failures,
    ) {
        let outgoing = Outgoing {
            push,
            output,
            failures,
        };
        if let Err(error) = self.queue(to).try_send(outgoing) {
            debug!(node = to.node, "the way to the successor is jammed");
            report(&error.into_inner());
        }
    }

    fn queue(&self, to: &Neighbour) -> mpsc::Sender<Outgoing> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, queue| !queue.is_closed());
        let start = || {
            let (queue, outgoing) = mpsc::channel(QUEUE);
            let way = Way {
                peers: self.peers.clone(),
                genesis: self.genesis,
                subnet: self.subnet,
                to: to.clone(),
                sent: HashMap::new(),
            };
            tokio::spawn(way.run(outgoing));
            queue
        };
        open.entry(to.peer.clone()).or_insert_with(start).clone()
    }
}

fn report(outgoing: &Outgoing) {
    // Who is full or gone hears nothing: its client's patience ends it.
    let _ = outgoing.failures.try_send(outgoing.push.position);
}

/// The way to one successor.
struct Way {
    peers: SharedPeers,
    genesis: Digest,
    subnet: SubnetId,
    to: Neighbour,
    /// The last output of each session that went out, should the stream break under it.
    sent: HashMap<SessionId, (u32, Failures)>,
}

impl Way {
    /// Ends when nothing went out for as long as a cache lives, or with the server.
    async fn run(mut self, mut outgoing: mpsc::Receiver<Outgoing>) {
        let mut stream = match within(OPEN_TIMEOUT, self.open()).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                debug!(node = self.to.node, %error, "the successor can't be reached yet");
                None
            }
        };
        loop {
            let heard = async {
                match stream.as_mut() {
                    Some(stream) => stream.receive().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = timeout(LEASE, outgoing.recv()) => match next {
                    Ok(Some(next)) => self.send(&mut stream, next).await,
                    Ok(None) | Err(_) => return,
                },
                heard = heard => match heard {
                    Ok((Response::NotHandedOn { session, position }, None)) => {
                        if let Some((_, failures)) = self.sent.get(&session) {
                            let _ = failures.try_send(position);
                        }
                    }
                    Ok(other) => {
                        debug!(node = self.to.node, ?other, "the successor takes no pushes");
                        self.broke(&mut stream);
                    }
                    Err(error) => {
                        debug!(node = self.to.node, %error, "the way to the successor broke");
                        self.broke(&mut stream);
                    }
                },
            }
        }
    }

    async fn open(&self) -> Result<Box<dyn ServeStream>, PeerError> {
        let Neighbour {
            node, hotkey, peer, ..
        } = &self.to;
        // Where it listens is what it signed, not what a client says.
        let known = [(*node, *hotkey)];
        let announced = self.peers.announcements(self.genesis, self.subnet, &known);
        let addresses = announced.await.into_iter().next();
        let addresses = addresses.map_or(Vec::new(), |announcement| announcement.addresses);
        self.peers.open(peer, &addresses).await
    }

    async fn send(&mut self, stream: &mut Option<Box<dyn ServeStream>>, outgoing: Outgoing) {
        if stream.is_none() {
            *stream = within(OPEN_TIMEOUT, self.open()).await.ok();
        }
        let Some(open) = stream.as_mut() else {
            return report(&outgoing);
        };
        let Outgoing {
            push,
            output,
            failures,
        } = outgoing;
        if self.sent.len() >= 2 * MAX_SESSIONS {
            self.sent.retain(|_, (_, failures)| !failures.is_closed());
        }
        self.sent.insert(push.session, (push.position, failures));
        let sent = open.send(Request::Push(push), Some(output));
        if let Err(error) = within(STEP_TIMEOUT, sent).await {
            debug!(node = self.to.node, %error, "the way to the successor broke");
            self.broke(stream);
        }
    }

    /// What went out last may be lost.
    fn broke(&mut self, stream: &mut Option<Box<dyn ServeStream>>) {
        *stream = None;
        for (_, (position, failures)) in self.sent.drain() {
            let _ = failures.try_send(position);
        }
    }
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, PeerError>>,
) -> Result<T, PeerError> {
    timeout(limit, what)
        .await
        .unwrap_or(Err(PeerError::Timeout(limit)))
}
