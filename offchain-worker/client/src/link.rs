//! One server of the chain: its stream, what went over it, its receipts and its pay.

mod steps;

pub(crate) use steps::Taken;

use crate::{
    error::ServerError,
    payment::Ledger,
    receipts::{ReceiptError, Signatory, Verified},
};
use bytes::Bytes;
use parking_lot::Mutex;
use quipu_attest::{Boundary, Range};
use quipu_primitives::{
    session::open_payload, AccountBytes, Balance, DType, Digest, NodeId, Span, RECEIPT_POSITIONS,
};
use quipu_protocol::{
    activations::width, limits::MAX_STEP_TOKENS, Activations, ActivationsError, Open, Refusal,
    RefusalCode, Request, Response, SignedReceipt, Step, Successor, VERSION,
};
use quipu_worker_core::ports::{PeerError, ServeStream, SharedPeers};
use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::time::{sleep, timeout, Instant};
use tracing::debug;

/// How often a broken stream to one server is opened again.
const RESUMES: u32 = 3;
/// A server of the session, with all that is needed to reach and check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub node: NodeId,
    pub hotkey: AccountBytes,
    pub peer: Vec<u8>,
    pub addresses: Vec<String>,
    pub span: Span,
    pub price: Balance,
    pub round_trip: Duration,
    pub decode: Duration,
    pub free_positions: u32,
}

/// How the rows of a replay are cut into steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut<'a> {
    /// As they once were, to get the same bits again.
    Steps(&'a [u32]),
    /// As large as the server takes them.
    Free,
}

/// What is to be led through a server that takes the place of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay<'a> {
    /// `[positions, hidden]`, from the first position on.
    pub rows: &'a [u8],
    pub cut: Cut<'a>,
    /// So many rows at the end are drafted: they go in one step with the one before them.
    pub drafted: u32,
    /// All receipts of the predecessor.
    pub upstream: &'a [SignedReceipt],
    /// What is known of the output, from its first row on: it must come again.
    pub known: &'a [u8],
    /// By how much it may differ.
    pub tolerance: f64,
}

/// What all servers of a session share.
pub(crate) struct Context {
    pub genesis: Digest,
    pub session: u64,
    pub weights_root: Digest,
    pub profile: Digest,
    /// Does the profile promise the same bits?
    pub exact: bool,
    pub hidden: u32,
    /// Type of the activations: the profile's.
    pub dtype: DType,
    pub max_positions: u32,
    pub open_timeout: Duration,
    pub session_patience: Duration,
    pub step_timeout: Duration,
    pub ledger: Arc<Mutex<Ledger>>,
    pub peers: SharedPeers,
}

/// A step whose output is awaited.
struct InFlight {
    step: Step,
    bytes: Bytes,
    way: Way,
    /// Was the server before to hand it on, so that the server may have it twice?
    offered: bool,
}

/// How a step gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The server before hands it on.
    HandedOn,
    /// It does not get there yet.
    Missing,
    /// It was sent from here.
    Sent,
}

/// An open stream to a server in one epoch.
pub(crate) struct Link {
    pub server: Server,
    context: Arc<Context>,
    stream: Box<dyn ServeStream>,
    /// Outputs of steps that the server before handed on and has not told us of yet.
    kept: VecDeque<(Response, Option<Activations>)>,
    epoch: u32,
    credit: u32,
    next_step: u32,
    /// Positions sent, drafted ones with them.
    sent: u32,
    /// Rows of the drafted positions that the server holds, as they went in and came out. Neither side
    /// commits to them before it is known that they count.
    held: (Vec<u8>, Vec<u8>),
    inflight: VecDeque<InFlight>,
    input: Boundary,
    output: Boundary,
    /// Complete ranges whose receipts are due.
    due: VecDeque<(Range, Range)>,
    early: VecDeque<SignedReceipt>,
    verified: Verified,
    /// Positions for which it has its predecessor's receipts.
    upstreamed: u32,
    /// Positions of the last voucher that it took.
    accepted: u32,
    resumes: u32,
    /// Steps that may be answered twice, since they were sent from here and may have been handed on.
    repeats: u32,
    /// Who gets its outputs besides us.
    successor: Option<Successor>,
    /// Whose outputs it takes as steps.
    taken_from: Option<NodeId>,
    /// Outputs from this position on are handed on.
    handed_on_from: u32,
    /// First positions of those that did not get to the successor.
    lost: BTreeSet<u32>,
    /// When something last came, or was asked for while nothing else was.
    quiet_since: Instant,
}

/// What a server said to an `Open`.
struct Opened {
    position: u32,
    drafted: u32,
    credit: u32,
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, PeerError>>,
) -> Result<T, PeerError> {
    timeout(limit, what)
        .await
        .unwrap_or(Err(PeerError::Timeout(limit)))
}

/// Opens a stream and the session on it. A server may not know yet of a session that was opened a
/// moment ago: it is asked again for a while.
async fn open(
    context: &Context,
    server: &Server,
    epoch: u32,
    receipts: u32,
) -> Result<(Box<dyn ServeStream>, Opened), ServerError> {
    let signature = {
        let local = context.peers.local();
        let Context {
            genesis, session, ..
        } = context;
        let payload = open_payload(genesis, *session, server.node, &local, &server.peer);
        context.ledger.lock().sign(&payload)
    };
    let request = Request::Open(Open {
        version: VERSION,
        session: context.session,
        node: server.node,
        epoch,
        dtype: context.dtype,
        max_positions: context.max_positions,
        receipts,
        signature,
    });
    let give_up = Instant::now() + context.session_patience;
    let mut pause = Duration::from_millis(100);
    loop {
        let limit = context.open_timeout;
        let mut stream = within(limit, context.peers.open(&server.peer, &server.addresses)).await?;
        within(limit, stream.send(request.clone(), None)).await?;
        match within(limit, stream.receive()).await?.0 {
            Response::Opened {
                position,
                drafted,
                credit,
                ..
            } => {
                let opened = Opened {
                    position,
                    drafted,
                    credit,
                };
                return Ok((stream, opened));
            }
            Response::Refused(Refusal {
                code: RefusalCode::Session,
                ..
            }) if Instant::now() + pause < give_up => {
                debug!(
                    node = server.node,
                    "the server does not know the session yet"
                );
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            Response::Refused(refusal) => return Err(refusal.into()),
            other => return Err(ServerError::Unexpected(name(&other))),
        }
    }
}

fn name(response: &Response) -> &'static str {
    match response {
        Response::Opened { .. } => "an `Opened`",
        Response::Output(_) => "an output",
        Response::Receipt(_) => "a receipt",
        Response::VoucherAccepted { .. } => "a voucher's acceptance",
        Response::Finished { .. } => "a `Finished`",
        Response::Refused(_) => "a refusal",
        Response::NotHandedOn { .. } => "word of an output that was not handed on",
        Response::Rows { .. } | Response::Fetched { .. } => "what auditors ask for",
    }
}

impl Link {
    /// Opens a stream to a server that starts the sequence anew in `epoch`. `before` are the
    /// receipts of an earlier epoch at the same server: it does not sign those ranges again. Not
    /// cancel-safe: the server may keep a cache until its lease ends.
    pub async fn open(
        context: Arc<Context>,
        server: Server,
        epoch: u32,
        before: Option<Verified>,
    ) -> Result<Self, ServerError> {
        let receipts = before.as_ref().map_or(0, Verified::positions);
        let (stream, opened) = open(&context, &server, epoch, receipts).await?;
        if opened.position != 0 || opened.drafted != 0 {
            return Err(ServerError::Unexpected("positions of another epoch"));
        }
        let boundary = |at| {
            Boundary::new(context.session, at, context.hidden, context.dtype)
                .map_err(|_| ServerError::Output(ActivationsError::Type(context.dtype)))
        };
        let signatory = Signatory {
            genesis: context.genesis,
            session: context.session,
            session_key: context.ledger.lock().session_key(),
            node: server.node,
            hotkey: server.hotkey,
            span: server.span,
            weights_root: context.weights_root,
            profile: context.profile,
        };
        let mut link = Link {
            input: boundary(server.span.start)?,
            output: boundary(server.span.end)?,
            server,
            context,
            stream,
            kept: VecDeque::new(),
            epoch,
            credit: opened.credit,
            next_step: 0,
            sent: 0,
            held: Default::default(),
            inflight: VecDeque::new(),
            due: VecDeque::new(),
            early: VecDeque::new(),
            verified: before.unwrap_or_else(|| Verified::new(signatory)),
            upstreamed: 0,
            accepted: 0,
            resumes: 0,
            repeats: 0,
            successor: None,
            taken_from: None,
            handed_on_from: 0,
            lost: BTreeSet::new(),
            quiet_since: Instant::now(),
        };
        link.repeat_voucher().await?;
        Ok(link)
    }

    /// Receipts so far, all verified.
    pub fn receipts(&self) -> &[SignedReceipt] {
        self.verified.receipts()
    }

    /// Gives the verified receipts back, for another epoch at the same server.
    pub fn into_verified(self) -> Verified {
        self.verified
    }

    /// Positions of the sequence that its credit allows.
    pub fn allowed(&self) -> u32 {
        let vouchered = self.context.ledger.lock().vouchered(self.server.node);
        vouchered.saturating_add(self.credit)
    }

    /// Positions that it may be given now.
    pub fn room(&self) -> u32 {
        self.allowed().saturating_sub(self.sent)
    }

    /// Only the first `positions` of the sequence count: of the drafted ones that the server holds,
    /// those up to there. It hears of it with what comes next.
    pub fn keep(&mut self, positions: u32) {
        let counted = positions.saturating_sub(self.input.position()) as usize * self.row();
        let (given, gave) = &mut self.held;
        given.truncate(counted);
        gave.truncate(counted);
        self.sent = self.input.position() + (given.len() / self.row().max(1)) as u32;
    }

    /// Positions that went to it, drafted ones with them.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Leads rows through the server, with nobody before or behind it, and gives the rows that come out.
    /// Returns when every output has come and every receipt that is due was verified.
    ///
    /// A broken stream is opened again at the same server where that loses nothing. After an error
    /// the link can't be used any more. Not cancel-safe.
    pub async fn replay(&mut self, mut task: Replay<'_>) -> Result<Vec<u8>, ServerError> {
        let mut outputs = Vec::with_capacity(task.rows.len());
        loop {
            match self.drive(&mut task, &mut outputs).await {
                Ok(()) => return Ok(outputs),
                Err(error) if error.is_connection() => self.resume(error, task.upstream).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn drive(
        &mut self,
        task: &mut Replay<'_>,
        outputs: &mut Vec<u8>,
    ) -> Result<(), ServerError> {
        loop {
            while let Some(tokens) = self.next_step(task) {
                // The server compares the receipts with what comes in. A break here must not cost
                // the rows.
                self.forward(task.upstream, self.sent + tokens).await?;
                let (now, rest) = task.rows.split_at(tokens as usize * self.row());
                task.rows = rest;
                let drafted = match rest.is_empty() {
                    true => task.drafted,
                    false => 0,
                };
                if let Cut::Steps(steps) = &mut task.cut {
                    *steps = steps.get(1..).unwrap_or(&[]);
                }
                self.give(tokens, drafted, Bytes::copy_from_slice(now), false)
                    .await?;
            }
            if self.inflight.is_empty() {
                if task.rows.is_empty() && self.due.is_empty() {
                    return self.forward(task.upstream, self.sent).await;
                }
                if self.due.is_empty() {
                    return Err(ServerError::Credit(self.room()));
                }
            }
            self.bring().await?;
            let (response, payload) = within(self.limit(), self.hear()).await?;
            let known = task.known.get(outputs.len()..).unwrap_or(&[]);
            if let Taken::Rows(rows) = self.take(response, payload, known, task.tolerance)? {
                outputs.extend_from_slice(&rows);
            }
            self.pay().await?;
        }
    }

    /// Positions of the next step, if it may go out now.
    fn next_step(&self, task: &Replay<'_>) -> Option<u32> {
        let left = (task.rows.len() / self.row()) as u32;
        let tokens = match task.cut {
            Cut::Steps(steps) => steps.first().copied().filter(|step| *step <= left)?,
            Cut::Free => {
                let last = match task.drafted {
                    0 => 0,
                    drafted => drafted + 1,
                };
                // What is drafted goes whole; all before it in steps of its own.
                let free = match left.saturating_sub(last) {
                    0 => left,
                    free => free,
                };
                // No crumbs while there is something to wait for.
                let least = if self.inflight.is_empty() {
                    1
                } else {
                    RECEIPT_POSITIONS
                };
                let least = if free == last { free } else { least.min(free) };
                let most = free.min(self.room()).min(MAX_STEP_TOKENS);
                (most >= least).then_some(most)?
            }
        };
        (self.fits(tokens) && tokens > 0 && tokens <= self.room()).then_some(tokens)
    }

    fn row(&self) -> usize {
        self.context.hidden as usize * width(self.context.dtype).unwrap_or(0)
    }

    /// Who it is to the server before it.
    pub fn as_successor(&self) -> Successor {
        Successor {
            node: self.server.node,
            epoch: self.epoch,
        }
    }

    /// Asks the server to hand its outputs on to `successor` as well.
    pub async fn hand_on(&mut self, successor: Option<Successor>) -> Result<(), ServerError> {
        if self.successor == successor {
            return Ok(());
        }
        self.successor = successor;
        self.handed_on_from = self.sent;
        self.lost.clear();
        self.send(Request::HandOn(successor), None).await
    }

    /// Tells the server to take the outputs of `node` as steps.
    pub async fn take_from(&mut self, node: Option<NodeId>) -> Result<(), ServerError> {
        if self.taken_from == node {
            return Ok(());
        }
        self.taken_from = node;
        self.send(Request::TakeFrom(node), None).await
    }

    /// Does it hand its outputs on to `to`, and does that take them?
    pub fn feeds(&self, to: &Link) -> bool {
        self.successor == Some(to.as_successor()) && to.taken_from == Some(self.server.node)
    }

    /// Does it hand the output that begins at this position on to `to`, as far as is known?
    pub fn hands_on(&self, to: &Link, position: u32) -> bool {
        self.feeds(to) && position >= self.handed_on_from && !self.lost.contains(&position)
    }

    /// How many outputs did not get to the successor.
    pub fn not_handed_on(&self) -> usize {
        self.lost.len()
    }

    /// The output that begins at this position did not get to the successor.
    pub fn went_missing(&mut self, position: u32) {
        self.lost.insert(position);
    }

    /// Hands on those of the predecessor's receipts that are for positions before `end`.
    pub async fn forward(
        &mut self,
        upstream: &[SignedReceipt],
        end: u32,
    ) -> Result<(), ServerError> {
        let known = upstream.partition_point(|signed| signed.receipt.start < self.upstreamed);
        for signed in upstream.iter().skip(known) {
            let due = signed.receipt.start == self.upstreamed && signed.receipt.end <= end;
            if due {
                self.send(Request::Upstream(signed.clone()), None).await?;
                self.upstreamed = signed.receipt.end;
            }
        }
        Ok(())
    }

    /// Pays for what was verified.
    pub async fn pay(&mut self) -> Result<(), ServerError> {
        let signed = self.context.ledger.lock().pay(self.server.node);
        match signed {
            Some((voucher, signature)) => {
                self.send(Request::Voucher { voucher, signature }, None)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Sends the last voucher again: a server that starts anew may have lost it.
    async fn repeat_voucher(&mut self) -> Result<(), ServerError> {
        let last = self.context.ledger.lock().last(self.server.node);
        match last {
            Some((voucher, signature)) => {
                self.send(Request::Voucher { voucher, signature }, None)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Opens the broken stream again in the same epoch, if the server still holds what it held and has done
    /// no more than the first of the steps that are open: that one it answers again, the others come.
    pub async fn resume(
        &mut self,
        cause: ServerError,
        upstream: &[SignedReceipt],
    ) -> Result<(), ServerError> {
        if self.resumes >= RESUMES {
            return Err(cause);
        }
        self.resumes += 1;
        debug!(node = self.server.node, %cause, "the stream broke; opening it again");
        let receipts = self.verified.positions();
        let opened = open(&self.context, &self.server, self.epoch, receipts).await;
        let Ok((stream, opened)) = opened else {
            return Err(cause);
        };
        let next = self.inflight.front().map(|inflight| inflight.step);
        let begins = next.map_or(self.sent, |step| step.position);
        let held_until = opened.position.saturating_add(opened.drafted);
        let is_next = opened.position <= begins && begins <= held_until;
        let is_done = next.is_some_and(|step| {
            let end = step.position.saturating_add(step.activations.tokens);
            (held_until, opened.drafted) == (end, step.drafted)
        });
        if !is_next && !is_done {
            return Err(ServerError::Forgot {
                position: opened.position,
            });
        }
        self.stream = stream;
        self.kept.clear();
        self.early.clear();
        // What was on its way when the stream broke may be lost: a server takes it twice.
        self.upstreamed = 0;
        self.repeat_voucher().await?;
        // A server that restarted with nothing to lose does not know its neighbours any more.
        if let Some(successor) = self.successor {
            self.send(Request::HandOn(Some(successor)), None).await?;
        }
        // They admit the step.
        self.forward(upstream, self.sent).await?;
        // What was handed on before the break, to it or by it, nobody tells us any more.
        self.handed_on_from = self.sent;
        self.quiet_since = Instant::now();
        for inflight in &mut self.inflight {
            inflight.way = Way::Missing;
        }
        self.bring().await?;
        // Nothing is to overtake the steps that it may have lost the answers to.
        if let Some(node) = self.taken_from {
            self.send(Request::TakeFrom(Some(node)), None).await?;
        }
        Ok(())
    }

    /// Ends the sequence: takes the receipt for what the last one left out and the head, pays, and
    /// waits until the server has the last voucher. What was verified before an error is in the
    /// ledger all the same. Not cancel-safe.
    pub async fn finish(&mut self, upstream: &[SignedReceipt]) -> Result<(), ServerError> {
        if self.sent == 0 {
            return Ok(());
        }
        loop {
            match self.try_finish(upstream).await {
                Err(error) if error.is_connection() => self.resume(error, upstream).await?,
                finished => return finished,
            }
        }
    }

    /// May be repeated after the stream broke: a server says again what it said at the end.
    async fn try_finish(&mut self, upstream: &[SignedReceipt]) -> Result<(), ServerError> {
        // Where the answer broke off, steps may be under way: they are computed and paid.
        self.is_missing(None);
        while !self.inflight.is_empty() {
            self.bring().await?;
            let (response, payload) = within(self.limit(), self.hear()).await?;
            self.take(response, payload, &[], 0.0)?;
        }
        self.forward(upstream, self.sent).await?;
        let (given, gave) = std::mem::take(&mut self.held);
        let mut ranges = self.commit(&given, &gave)?;
        ranges.extend(self.input.cut().zip(self.output.cut()));
        let signed = self.verified.positions();
        ranges.retain(|(given, _)| given.start >= signed);
        self.due.extend(ranges);
        let positions = self.sent;
        self.send(Request::Finish { positions }, None).await?;
        let finished = loop {
            let received = within(self.context.step_timeout, self.stream.receive()).await?;
            match received.0 {
                Response::NotHandedOn { .. } => {}
                other if self.is_repeat(&other) => self.repeats -= 1,
                Response::Receipt(signed) => self.take_receipt(signed)?,
                Response::VoucherAccepted { positions } => {
                    self.accepted = self.accepted.max(positions);
                }
                Response::Finished { head } => break head,
                Response::Refused(refusal) => return Err(refusal.into()),
                other => return Err(ServerError::Unexpected(name(&other))),
            }
            self.match_receipts()?;
        };
        if !self.due.is_empty() || self.verified.head() != Some(finished) {
            return Err(ReceiptError::Head.into());
        }
        self.pay().await?;
        let last = self.context.ledger.lock().vouchered(self.server.node);
        while self.accepted < last {
            match within(self.context.open_timeout, self.stream.receive())
                .await?
                .0
            {
                Response::NotHandedOn { .. } => {}
                other if self.is_repeat(&other) => self.repeats -= 1,
                Response::VoucherAccepted { positions } => {
                    self.accepted = self.accepted.max(positions);
                }
                Response::Refused(refusal) => return Err(refusal.into()),
                other => return Err(ServerError::Unexpected(name(&other))),
            }
        }
        Ok(())
    }
}
