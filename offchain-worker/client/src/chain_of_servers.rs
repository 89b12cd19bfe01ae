//! The servers of a session as one: activations in, activations out, whoever fails on the way.

mod lead;

use crate::{
    error::{Broken, ServerError},
    failover::Bans,
    history::{first_difference, History},
    link::{Context, Cut, Link, Replay, Server},
    receipts::{ReceiptError, Verified},
    routing::{self, Candidate, Detour, Wish},
};
use parking_lot::Mutex;
use quipu_primitives::{DType, NodeId, Span};
use quipu_protocol::{
    limits::{DRAFT_ALLOWANCE, MAX_DRAFTED},
    RefusalCode,
};
use rand::rngs::StdRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Outputs that did not get to the next server, after which they all go by way of the client.
const MAX_NOT_HANDED_ON: usize = 3;
/// Failures after which a server is not tried again in the session.
const MAX_STRIKES: u32 = 3;

/// A server failed, and others took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailOver {
    /// The server that failed.
    pub failed: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Positions that had entered the chain.
    pub position: u32,
    /// Who goes on.
    pub replaced_by: Vec<NodeId>,
    /// What the server did.
    pub cause: String,
    /// How long the answer stood still.
    pub stall: Duration,
}

/// Why a replacement did not come about.
enum Setback {
    /// This server failed; others may do.
    Server(NodeId, ServerError),
    /// What the failed server handed on without a receipt is not what its replacement gives, from
    /// this position on.
    Unreliable(u32),
}

struct Hop {
    node: NodeId,
    span: Span,
    link: Option<Link>,
}

impl Hop {
    /// Do its outputs not get to the next server?
    fn is_cut_off(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| link.not_handed_on() >= MAX_NOT_HANDED_ON)
    }
}

/// An unbroken run of servers over all blocks, and those that can step in.
pub(crate) struct ChainOfServers {
    context: Arc<Context>,
    blocks: u16,
    servers: Vec<Server>,
    hops: Vec<Hop>,
    history: History,
    /// Drafted positions at the end of the last step.
    drafted: u32,
    /// Drafted positions that did not count: no server saw more of them.
    lost: u32,
    wish: Wish,
    bans: Arc<Mutex<Bans>>,
    strikes: BTreeMap<NodeId, u32>,
    excluded: BTreeSet<NodeId>,
    past: BTreeMap<NodeId, Verified>,
    epoch: u32,
    failures: Vec<(NodeId, ServerError)>,
    failovers: Vec<FailOver>,
    /// By how much honest replays may differ.
    tolerance: f64,
    /// May servers hand their outputs on to each other?
    push: bool,
    /// Boundaries at which that went wrong: there every output goes by way of the client.
    relayed: BTreeSet<u16>,
    rng: StdRng,
}

/// What a chain is made of.
pub(crate) struct Parts {
    pub context: Arc<Context>,
    pub blocks: u16,
    /// All servers of the session.
    pub servers: Vec<Server>,
    /// Indices of those to begin with, in order of their blocks.
    pub primaries: Vec<usize>,
    pub wish: Wish,
    pub bans: Arc<Mutex<Bans>>,
    pub tolerance: f64,
    pub push: bool,
    pub rng: StdRng,
}

impl ChainOfServers {
    /// Opens streams to the primaries; stand-bys take the place of those that fail. Not
    /// cancel-safe.
    pub async fn connect(parts: Parts) -> Result<Self, Broken> {
        let started = Instant::now();
        let Parts {
            context,
            blocks,
            servers,
            primaries,
            wish,
            bans,
            tolerance,
            push,
            rng,
        } = parts;
        let opening = primaries
            .iter()
            .map(|&primary| Link::open(context.clone(), servers[primary].clone(), 0, None));
        let opened = futures::future::join_all(opening).await;
        let mut chain = ChainOfServers {
            hops: Vec::new(),
            history: History::new(context.hidden, context.dtype),
            drafted: 0,
            lost: 0,
            context,
            blocks,
            servers,
            wish,
            bans,
            strikes: BTreeMap::new(),
            excluded: BTreeSet::new(),
            past: BTreeMap::new(),
            epoch: 0,
            failures: Vec::new(),
            failovers: Vec::new(),
            tolerance,
            push,
            relayed: BTreeSet::new(),
            rng,
        };
        let mut broken = Vec::new();
        for (&primary, link) in primaries.iter().zip(opened) {
            let Server { node, span, .. } = chain.servers[primary];
            let link = link.map_err(|error| broken.push((span, error))).ok();
            chain.hops.push(Hop { node, span, link });
        }
        for (span, error) in broken {
            // A detour around one may have replaced another.
            let missing = |hop: &Hop| hop.span == span && hop.link.is_none();
            let at = chain.hops.iter().position(missing);
            if let Some(at) = at {
                chain.recover(at, error, started).await?;
            }
        }
        chain.join().await;
        Ok(chain)
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.hops.iter().flat_map(|hop| &hop.link)
    }

    fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.hops.iter_mut().flat_map(|hop| &mut hop.link)
    }

    /// Positions beyond those that entered the chain which every server's credit allows.
    fn room(&self) -> u32 {
        let positions = self.history.positions();
        let room = self
            .links()
            .map(|link| link.allowed().saturating_sub(positions));
        room.min().unwrap_or(0)
    }

    /// Type of the activations.
    pub fn dtype(&self) -> DType {
        self.context.dtype
    }

    /// How many drafted positions every server takes behind one that is sure.
    pub fn room_for_drafts(&self) -> u32 {
        if !self.context.exact {
            return 0;
        }
        let position = self.history.positions();
        let reserved = self.context.max_positions.saturating_sub(position);
        let unpaid = DRAFT_ALLOWANCE
            .saturating_add(position)
            .saturating_sub(self.lost);
        let beside = self.room().min(reserved).saturating_sub(1);
        MAX_DRAFTED.min(beside).min(unpaid)
    }

    /// So many of the positions that the last step drafted count; those behind them are forgotten
    /// here, and at the servers with what comes next. Said once after each step that drafts.
    pub fn keep(&mut self, drafted: u32) {
        let surplus = self.drafted.saturating_sub(drafted);
        self.drafted = 0;
        self.lost = self.lost.saturating_add(surplus);
        let positions = self.history.positions().saturating_sub(surplus);
        self.history.keep(positions);
        for link in self.links_mut() {
            link.keep(positions);
        }
    }

    /// Lets every server hand on to the next one, where that is wanted and not done yet. A server
    /// that can't be told fails at its next step.
    async fn join(&mut self) {
        for at in 1..self.hops.len() {
            let (before, behind) = self.hops.split_at_mut(at);
            let (Some(before), Some(behind)) = (before.last_mut(), behind.first_mut()) else {
                continue;
            };
            let (Some(from), Some(to)) = (&mut before.link, &mut behind.link) else {
                continue;
            };
            if from.not_handed_on() >= MAX_NOT_HANDED_ON {
                self.relayed.insert(before.span.end);
            }
            let push = self.push && !self.relayed.contains(&before.span.end);
            if !push {
                to.is_missing(None);
            }
            let told = async {
                to.take_from(push.then_some(before.node)).await?;
                from.hand_on(push.then(|| to.as_successor())).await
            };
            if let Err(error) = told.await {
                debug!(from = before.node, to = behind.node, %error, "they can't be joined");
            }
        }
    }

    /// What a server did wrong, when its input came from the server before it: what that one told
    /// us may be something else than what it handed on, and nobody can say which of the two lies.
    fn blame(&mut self, at: usize, error: ServerError) -> ServerError {
        let Some((before, behind)) = self.hops.split_at_checked(at) else {
            return error;
        };
        let (Some(before), Some(hop)) = (before.last(), behind.first()) else {
            return error;
        };
        let joined = match (&before.link, &hop.link) {
            (Some(from), Some(to)) => from.feeds(to),
            _ => false,
        };
        let about_input = match &error {
            ServerError::Receipt(error) => *error == ReceiptError::Input,
            ServerError::Refused(refusal) => matches!(
                refusal.code,
                RefusalCode::Upstream | RefusalCode::Activations
            ),
            // It answered something else than we would have sent.
            ServerError::OtherStep => true,
            _ => false,
        };
        if !joined || !about_input {
            return error;
        }
        self.relayed.insert(hop.span.start);
        ServerError::HandedOn {
            from: before.node,
            cause: error.to_string(),
        }
    }

    fn absorb(&mut self, at: usize) {
        if let Some(Hop {
            span,
            link: Some(link),
            ..
        }) = self.hops.get(at)
        {
            self.history.absorb(span.end, link.receipts());
        }
    }

    /// Puts others in the place of a server that failed and replays to them what it was given. The
    /// answer has stood still since `started`.
    async fn recover(
        &mut self,
        at: usize,
        error: ServerError,
        started: Instant,
    ) -> Result<(), Broken> {
        let Hop { node, span, .. } = self.hops[at];
        warn!(node, %span, %error, "a server failed; failing over");
        // A server that lost them with its cache counts them as lost.
        self.lost = self.lost.saturating_add(self.drafted);
        let cause = error.to_string();
        if let Some(link) = self.hops[at].link.take() {
            self.history.absorb(span.end, link.receipts());
            self.past.insert(node, link.into_verified());
        }
        self.strike(node, error);
        loop {
            let usable = self.usable(at);
            let candidates: Vec<Candidate> = usable.iter().map(candidate).collect();
            let spans: Vec<Span> = self.hops.iter().map(|hop| hop.span).collect();
            let Some(detour) = routing::detour(&spans, at, &candidates, &self.wish, &mut self.rng)
            else {
                let failures = std::mem::take(&mut self.failures);
                return Err(Broken::NoServerLeft { span, failures });
            };
            let servers = detour.hops.iter().map(|&hop| usable[hop].clone()).collect();
            match self.replace(&detour, servers).await {
                Ok(()) => {
                    let replaced_by: Vec<NodeId> =
                        detour.hops.iter().map(|&hop| usable[hop].node).collect();
                    let (position, stall) = (self.history.positions(), started.elapsed());
                    info!(failed = node, ?replaced_by, position, ?stall, "failed over");
                    let failed = node;
                    self.failovers.push(FailOver {
                        failed,
                        span,
                        position,
                        replaced_by,
                        cause,
                        stall,
                    });
                    return Ok(());
                }
                Err(Setback::Server(node, error)) => self.strike(node, error),
                Err(Setback::Unreliable(position)) => {
                    return Err(Broken::Unreliable {
                        node,
                        span,
                        position,
                    });
                }
            }
        }
    }

    /// Servers of the session that can be used in the place of the one at `at`.
    fn usable(&self, at: usize) -> Vec<Server> {
        let now = Instant::now();
        // Other cuts round at other places where activations have less than 32 bits: what comes out
        // is not what was handed on.
        let only = match self.context.dtype {
            DType::F32 => None,
            _ => self.hops.get(at).map(|hop| hop.span),
        };
        let bans = self.bans.lock();
        let forgot = |node| {
            matches!(self.failures.last(), Some((last, error))
            if *last == node && lost_sequence(error))
        };
        self.servers
            .iter()
            .filter(|server| !self.excluded.contains(&server.node))
            .filter(|server| only.is_none_or(|span| server.span == span))
            .filter(|server| bans.allows(server.node, now) || forgot(server.node))
            .filter(|server| {
                let others = self
                    .hops
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| *place != at);
                others
                    .map(|(_, hop)| hop.node)
                    .all(|node| node != server.node)
            })
            .cloned()
            .collect()
    }

    /// A server failed: it is left alone for a while, or for good.
    fn strike(&mut self, node: NodeId, error: ServerError) {
        let now = Instant::now();
        let strikes = self.strikes.entry(node).or_default();
        *strikes += 1;
        let unlike = matches!(error, ServerError::Differs { exact: false, .. });
        if error.is_dishonest() || unlike || *strikes >= MAX_STRIKES {
            self.excluded.insert(node);
        }
        if error.is_dishonest() {
            self.bans.lock().lied(node, now);
        } else if !unlike && !lost_sequence(&error) {
            self.bans.lock().failed(node, now);
        }
        self.failures.push((node, error));
    }

    /// Opens `servers`, leads everything through them that went into the region they replace, and
    /// puts them there. On an error nothing is replaced.
    async fn replace(&mut self, detour: &Detour, servers: Vec<Server>) -> Result<(), Setback> {
        let (first, last) = (*detour.region.start(), *detour.region.end());
        let (from, to) = (self.hops[first].span.start, self.hops[last].span.end);
        let mut hops: Vec<Hop> = Vec::new();
        let mut outputs: Vec<Vec<u8>> = Vec::new();
        let count = servers.len();
        for (index, server) in servers.into_iter().enumerate() {
            let Server { node, span, .. } = server;
            let rows = outputs
                .last()
                .map_or(self.history.rows(from), Vec::as_slice);
            let upstream = match hops.last().and_then(|hop: &Hop| hop.link.as_ref()) {
                Some(link) => link.receipts(),
                None => self.history.receipts(from),
            };
            let is_last = index + 1 == count;
            // The step under way may not have come as far as here.
            let is_under_way = self.history.crossed(from) == self.history.positions();
            let replay = Replay {
                rows,
                cut: match self.context.exact {
                    true => Cut::Free,
                    false => Cut::Steps(self.history.steps()),
                },
                drafted: if is_under_way { self.drafted } else { 0 },
                upstream,
                known: if is_last {
                    self.history.vouched_rows(to)
                } else {
                    &[]
                },
                tolerance: self.tolerance,
            };
            self.epoch += 1;
            let past = self.past.get(&node).cloned();
            let result = match Link::open(self.context.clone(), server, self.epoch, past).await {
                Ok(mut link) => {
                    let result = link.replay(replay).await;
                    hops.push(Hop {
                        node,
                        span,
                        link: Some(link),
                    });
                    result
                }
                Err(error) => Err(error),
            };
            let result = result.and_then(|rows| match is_last {
                true => self.compare(to, &rows).map(|same| (rows, same)),
                false => Ok((rows, Ok(()))),
            });
            match result {
                Ok((rows, Ok(()))) => outputs.push(rows),
                Ok((_, Err(position))) => {
                    self.keep_receipts(hops);
                    return Err(Setback::Unreliable(position));
                }
                Err(error) => {
                    self.keep_receipts(hops);
                    return Err(Setback::Server(node, error));
                }
            }
        }
        let replaced: Vec<Hop> = self.hops.splice(first..=last, []).collect();
        self.keep_receipts(replaced);
        self.history.forget_between(from, to);
        for (hop, mut rows) in hops.iter().zip(outputs) {
            let known = self.history.rows(hop.span.end).len();
            self.history
                .append(hop.span.end, &rows.split_off(known.min(rows.len())));
            if let Some(link) = &hop.link {
                self.history.absorb(hop.span.end, link.receipts());
            }
        }
        self.hops.splice(first..first, hops);
        // What those before did not hand on themselves is brought from here.
        let behind = self.hops.iter_mut().find(|hop| hop.span.start == to);
        if let Some(link) = behind.and_then(|hop| hop.link.as_mut()) {
            link.is_missing(None);
        }
        Ok(())
    }

    /// Compares what a replay gave at boundary `to` with what was handed on since the last receipt:
    /// no signature vouches for that. The outer error means that the replacement can't go on, the
    /// inner one that what was handed on can't be relied on, from the position it names.
    fn compare(&self, to: u16, rows: &[u8]) -> Result<Result<(), u32>, ServerError> {
        let row = self.history.row_bytes();
        let vouched = self.history.vouched_rows(to).len();
        let known = self.history.rows(to).get(vouched..).unwrap_or(&[]);
        let rows = rows.get(vouched..).unwrap_or(&[]);
        let position = |at: u32| (vouched / row.max(1)) as u32 + at;
        if let Some(at) = first_difference(known, rows, row, self.context.dtype, self.tolerance) {
            return Ok(Err(position(at)));
        }
        // Behind the last block nobody but the client has seen the outputs; elsewhere the next
        // server will commit to the range, and it must be what the replacement signs.
        match first_difference(known, rows, row, self.context.dtype, 0.0) {
            Some(at) if to < self.blocks => Err(ServerError::Differs {
                position: position(at),
                exact: false,
            }),
            _ => Ok(Ok(())),
        }
    }

    fn keep_receipts(&mut self, hops: Vec<Hop>) {
        let links = hops
            .into_iter()
            .filter_map(|hop| Some((hop.node, hop.link?)));
        self.past
            .extend(links.map(|(node, link)| (node, link.into_verified())));
    }

    /// Ends the sequence at every server and pays it. A server that fails now keeps what was
    /// verified before. Not cancel-safe.
    pub async fn finish(&mut self) {
        // What was drafted last and not asked for again.
        self.keep(0);
        for at in 0..self.hops.len() {
            let Hop {
                node,
                span,
                link: Some(link),
            } = &mut self.hops[at]
            else {
                continue;
            };
            let node = *node;
            let result = link.finish(self.history.receipts(span.start)).await;
            self.absorb(at);
            match result {
                Ok(()) => self.bans.lock().served(node),
                Err(error) => {
                    warn!(node, %error, "a server failed at the end; it is paid what was verified");
                    self.strike(node, error);
                }
            }
        }
    }

    /// The fail-overs so far.
    pub fn failovers(&self) -> &[FailOver] {
        &self.failovers
    }
}

/// Does the server live, but hold the sequence no more?
fn lost_sequence(error: &ServerError) -> bool {
    match error {
        ServerError::Forgot { .. } => true,
        ServerError::Refused(refusal) => refusal.code == RefusalCode::Position,
        _ => false,
    }
}

pub(crate) fn candidate(server: &Server) -> Candidate {
    Candidate {
        node: server.node,
        span: server.span,
        price: server.price,
        round_trip: server.round_trip,
        decode: server.decode,
        free_positions: server.free_positions,
    }
}
