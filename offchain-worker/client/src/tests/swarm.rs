//! Servers in memory: the real state machine of a server behind channels, with faults.

use super::{
    chain::{FakeChain, GENESIS},
    toy::{Numerics, ToyCache, CONTEXT, HIDDEN},
};
use async_trait::async_trait;
use parking_lot::Mutex;
use quipu_primitives::{AccountBytes, DType, Digest, NodeId, Receipt, SessionId, Span, SubnetId};
use quipu_protocol::{
    Activations, Announcement, Refusal, RefusalCode, Request, Response, ServerState,
};
use quipu_worker_core::{
    keys::EphemeralKey,
    ports::{Chain, PeerError, Peers, ServeStream},
    serve::{check, Effect, Identity, Neighbours, Now, Record, Serving},
    Signer,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// What a server does wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Dies when a step reaches this position: before it computes it, and for good.
    Die(u32),
    /// Dies after it answered the step that reaches this position.
    DieAfter(u32),
    /// Breaks the stream once, before the step that reaches this position is computed.
    Break(u32),
    /// Breaks the stream once, when it is computed but not answered.
    BreakApplied(u32),
    /// Answers that step but breaks the stream before its receipts.
    BreakBeforeReceipts(u32),
    /// Restarts at this position: the cache is gone, the journal is kept.
    Restart(u32),
    /// Restarts at this position and remembers nothing.
    Amnesia(u32),
    /// From this position on it hands out another output than it signs.
    LieOutput(u32),
    /// From this position on it signs another output than it hands out.
    LieReceipt(u32),
    /// Signs receipts with another key.
    ForgeKey,
    /// From this position on it computes something else, and signs that.
    Miscompute(u32),
    /// Gives a number that is not finite at this position.
    NotFinite(u32),
    /// Refuses every session as busy.
    Busy,
    /// Knows nothing of a session the first so many times.
    Late(u32),
    /// Never answers the step that reaches this position.
    Hang(u32),
}

struct Inner {
    alive: bool,
    fault: Option<Fault>,
    sessions: BTreeMap<SessionId, Serving>,
    journals: BTreeMap<SessionId, Vec<Record>>,
    caches: BTreeMap<SessionId, ToyCache>,
}

/// One server.
pub struct ToyServer {
    me: Arc<Identity>,
    forger: EphemeralKey,
    numerics: Numerics,
    chain: Arc<FakeChain>,
    inner: Mutex<Inner>,
    pub opened: Mutex<u32>,
}

/// What ends a stream.
enum End {
    Closed,
    Hung,
}

type Replies = VecDeque<(Response, Option<Activations>)>;

impl ToyServer {
    pub fn new(
        chain: Arc<FakeChain>,
        node: NodeId,
        span: Span,
        profile: Digest,
        numerics: Numerics,
        fault: Option<Fault>,
    ) -> Self {
        let weights_root = chain.0.lock().subnet.manifest.weights_root;
        let me = Identity {
            genesis: GENESIS,
            subnet: super::chain::SUBNET,
            node,
            span,
            peer: peer(node),
            weights_root,
            profile,
            exact: numerics == Numerics::Exact,
            dtype: DType::F32,
            hidden: HIDDEN,
            context: CONTEXT,
            signer: Arc::new(hotkey(node)),
        };
        let inner = Inner {
            alive: true,
            fault,
            sessions: BTreeMap::new(),
            journals: BTreeMap::new(),
            caches: BTreeMap::new(),
        };
        ToyServer {
            me: Arc::new(me),
            forger: EphemeralKey::from_seed(&[99; 32]),
            numerics,
            chain,
            inner: Mutex::new(inner),
            opened: Mutex::new(0),
        }
    }

    fn now(&self) -> Now {
        Now {
            time: Duration::ZERO,
            block: self.chain.0.lock().block,
        }
    }

    async fn on_open(&self, request: Request, client: &[u8]) -> Result<Replies, Refusal> {
        let Request::Open(open) = request else {
            return Err(Refusal::new(RefusalCode::Unexpected, "open first"));
        };
        *self.opened.lock() += 1;
        let info = self.chain.session(open.session).await.unwrap();
        let mut inner = self.inner.lock();
        match &mut inner.fault {
            Some(Fault::Busy) => return Err(Refusal::new(RefusalCode::Busy, "full")),
            Some(Fault::Late(times)) if *times > 0 => {
                *times -= 1;
                return Err(Refusal::new(RefusalCode::Session, "no such session"));
            }
            _ => {}
        }
        let terms = check(&open, info.as_ref(), &self.me, client, self.now())?;
        let info = info.unwrap();
        let Inner {
            sessions,
            caches,
            journals,
            ..
        } = &mut *inner;
        let serving = sessions.entry(open.session).or_insert_with(|| {
            let roster = self.chain.0.lock().roster.clone();
            let neighbours = Neighbours::of(&info, &roster, self.me.span);
            let journal = journals.get(&open.session).cloned().unwrap_or_default();
            Serving::restore(self.me.clone(), &terms, neighbours, journal)
        });
        let mut replies = Replies::new();
        for effect in serving.on_open(&terms) {
            match effect {
                Effect::Release => {
                    caches.remove(&open.session);
                }
                Effect::Reserve { .. } => {
                    caches.insert(open.session, ToyCache::new(self.me.span, self.numerics));
                    for effect in serving.on_reserved(Ok(())) {
                        if let Effect::Reply(response, payload) = effect {
                            replies.push_back((response, payload));
                        }
                    }
                }
                Effect::Reply(response, payload) => replies.push_back((response, payload)),
                _ => {}
            }
        }
        Ok(replies)
    }

    /// Carries one request out. `Ok` are the answers.
    fn on_request(
        &self,
        id: SessionId,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(Replies, bool), End> {
        let mut inner = self.inner.lock();
        if !inner.alive {
            return Err(End::Closed);
        }
        let end = match &request {
            Request::Step(step) => Some(step.position + step.activations.tokens),
            _ => None,
        };
        let reaches = |at: u32| end.is_some_and(|end| end > at);
        match inner.fault {
            Some(Fault::Die(at)) if reaches(at) => {
                inner.alive = false;
                return Err(End::Closed);
            }
            Some(Fault::Break(at)) if reaches(at) => {
                inner.fault = None;
                return Err(End::Closed);
            }
            Some(Fault::Restart(at) | Fault::Amnesia(at)) if reaches(at) => {
                if matches!(inner.fault, Some(Fault::Amnesia(_))) {
                    inner.journals.clear();
                }
                inner.fault = None;
                inner.sessions.clear();
                inner.caches.clear();
                return Err(End::Closed);
            }
            Some(Fault::Hang(at)) if reaches(at) => return Err(End::Hung),
            _ => {}
        }
        let fault = inner.fault;
        let Inner {
            sessions,
            caches,
            journals,
            ..
        } = &mut *inner;
        let serving = sessions.get_mut(&id).unwrap();
        let mut effects: VecDeque<Effect> = serving.on_request(request, payload, self.now()).into();
        let mut replies = Replies::new();
        let mut close = false;
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Truncate { positions } => caches.get_mut(&id).unwrap().truncate(positions),
                Effect::Compute { position, input } => {
                    let cache = caches.get_mut(&id).unwrap();
                    assert_eq!(cache.len(), position, "appended out of order");
                    let step = (self.me.node, position);
                    self.chain.0.lock().computed.push(step);
                    let mut output = cache.forward(&input);
                    if let Some(Fault::Miscompute(at)) = fault {
                        if reaches(at) {
                            output = alter(&output, 0.25);
                        }
                    }
                    effects.extend(serving.on_computed(Ok(output)));
                }
                // These servers do not reach each other.
                Effect::Reach(_) => {}
                Effect::HandOn { push, .. } => {
                    let (session, position) = (push.session, push.position);
                    replies.push_back((Response::NotHandedOn { session, position }, None));
                }
                // Nobody audits them.
                Effect::Store(_) => {}
                Effect::Keep(record) => journals.entry(id).or_default().push(record),
                Effect::Reply(response, payload) => replies.push_back((response, payload)),
                Effect::Release => {
                    caches.remove(&id);
                }
                Effect::Close => close = true,
                Effect::Reserve { .. } => unreachable!(),
            }
        }
        match inner.fault {
            Some(Fault::BreakApplied(at)) if reaches(at) => {
                inner.fault = None;
                return Err(End::Closed);
            }
            Some(Fault::BreakBeforeReceipts(at)) if reaches(at) && replies.len() > 1 => {
                inner.fault = None;
                let output =
                    |(response, _): &(Response, _)| matches!(response, Response::Output(_));
                replies.truncate(replies.iter().position(output).map_or(0, |at| at + 1));
                close = true;
            }
            Some(Fault::DieAfter(at)) if reaches(at) => {
                inner.alive = false;
                close = true;
            }
            _ => {}
        }
        let fault = inner.fault;
        for (response, payload) in &mut replies {
            self.tamper(fault, response, payload, &reaches);
        }
        Ok((replies, close))
    }

    /// What is signed of a receipt.
    fn payload(&self, receipt: &Receipt) -> Digest {
        let session_key = self.chain.0.lock().sessions[&receipt.session].session_key;
        receipt.payload(&GENESIS, &session_key)
    }

    fn tamper(
        &self,
        fault: Option<Fault>,
        response: &mut Response,
        payload: &mut Option<Activations>,
        reaches: &dyn Fn(u32) -> bool,
    ) {
        match (fault, response, payload) {
            (Some(Fault::LieOutput(at)), _, Some(output)) if reaches(at) => {
                *output = alter(output, 0.25);
            }
            (Some(Fault::NotFinite(at)), _, Some(output)) if reaches(at) => {
                *output = alter(output, f32::INFINITY);
            }
            (Some(Fault::LieReceipt(at)), Response::Receipt(signed), _)
                if signed.receipt.end > at =>
            {
                signed.receipt.output = [66; 32];
                signed.signature = self.me.signer.sign(&self.payload(&signed.receipt));
            }
            (Some(Fault::ForgeKey), Response::Receipt(signed), _) => {
                signed.signature = self.forger.sign(&self.payload(&signed.receipt));
            }
            _ => {}
        }
    }

    async fn serve(
        self: Arc<Self>,
        client: Vec<u8>,
        mut requests: mpsc::Receiver<(Request, Option<Activations>)>,
        responses: mpsc::Sender<(Response, Option<Activations>)>,
    ) {
        let Some((request, _)) = requests.recv().await else {
            return;
        };
        let id = match &request {
            Request::Open(open) => open.session,
            _ => 0,
        };
        let opened = match self.on_open(request, &client).await {
            Ok(replies) => replies,
            Err(refusal) => {
                let _ = responses.send((Response::Refused(refusal), None)).await;
                return;
            }
        };
        for reply in opened {
            let _ = responses.send(reply).await;
        }
        while let Some((request, payload)) = requests.recv().await {
            let (replies, close) = match self.on_request(id, request, payload) {
                Ok(answer) => answer,
                Err(End::Closed) => return,
                Err(End::Hung) => return std::future::pending().await,
            };
            for reply in replies {
                if responses.send(reply).await.is_err() {
                    return;
                }
            }
            if close {
                return;
            }
        }
    }
}

/// Rows with every number changed.
fn alter(output: &Activations, by: f32) -> Activations {
    let rows: Vec<f32> = output
        .to_f32()
        .unwrap()
        .iter()
        .map(|value| value + by)
        .collect();
    Activations::from_f32(&rows, HIDDEN).unwrap()
}

pub fn peer(node: NodeId) -> Vec<u8> {
    format!("peer-{node}").into_bytes()
}

pub fn hotkey(node: NodeId) -> EphemeralKey {
    EphemeralKey::from_seed(&[node as u8; 32])
}

/// All servers.
#[derive(Default)]
pub struct ToySwarm {
    pub servers: BTreeMap<NodeId, Arc<ToyServer>>,
    /// Nodes that announce nothing.
    pub silent: BTreeSet<NodeId>,
    /// Nodes that say they are leaving.
    pub draining: BTreeSet<NodeId>,
}

struct Stream {
    requests: mpsc::Sender<(Request, Option<Activations>)>,
    responses: mpsc::Receiver<(Response, Option<Activations>)>,
}

#[async_trait]
impl ServeStream for Stream {
    async fn send(
        &mut self,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        self.requests
            .send((request, payload))
            .await
            .map_err(|_| PeerError::Closed)
    }

    async fn receive(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        self.responses.recv().await.ok_or(PeerError::Closed)
    }
}

#[async_trait]
impl Peers for ToySwarm {
    fn local(&self) -> Vec<u8> {
        b"client".to_vec()
    }

    async fn open(&self, to: &[u8], _: &[String]) -> Result<Box<dyn ServeStream>, PeerError> {
        let server = self.servers.values().find(|server| server.me.peer == to);
        let server = server.filter(|server| server.inner.lock().alive).cloned();
        let server = server.ok_or_else(|| PeerError::Unreachable("connection refused".into()))?;
        // Bounded as a real stream is, so that a client which only sends would block.
        let (requests, theirs) = mpsc::channel(32);
        let (answers, responses) = mpsc::channel(32);
        tokio::spawn(server.serve(b"client".to_vec(), theirs, answers));
        Ok(Box::new(Stream {
            requests,
            responses,
        }))
    }

    async fn announcements(
        &self,
        _: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<Announcement> {
        let announce = |(node, _): &(NodeId, AccountBytes)| {
            let server = self.servers.get(node)?;
            (!self.silent.contains(node)).then(|| Announcement {
                subnet,
                node: *node,
                span: server.me.span,
                state: match self.draining.contains(node) {
                    true => ServerState::Draining,
                    false => ServerState::Online,
                },
                decode_micros: *node,
                prefill_rate: 1,
                free_positions: CONTEXT,
                addresses: Vec::new(),
                made_at: 0,
            })
        };
        nodes.iter().filter_map(announce).collect()
    }

    fn round_trip(&self, _: &[u8]) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}
