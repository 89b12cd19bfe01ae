//! One server of the chain: its stream, what went over it, its receipts and its pay.

use crate::{
    error::ServerError,
    history::first_difference,
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
    activations::width, limits::MAX_STEP_TOKENS, Activations, ActivationsError, ActivationsHeader,
    Open, Refusal, RefusalCode, Request, Response, SignedReceipt, Step, Successor, VERSION,
};
use quipu_worker_core::ports::{PeerError, ServeStream, SharedPeers};
use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout, Instant};
use tracing::debug;

/// Most bytes of steps whose outputs are awaited, unless a single step has more. Both ends can
/// always buffer that much, so that neither waits for the other to read.
const PIPELINE_BYTES: usize = 64 * 1024;
/// Most steps whose outputs are awaited.
const PIPELINE_STEPS: usize = 32;
/// How often a broken stream to one server is opened again.
const RESUMES: u32 = 3;
/// Receipts that may come before the outputs that they are for.
const MAX_EARLY: usize = 64;
/// Complete ranges for which a run that continues a sequence does not wait: a server writes to its
/// disk before it signs, and the next step need not stand still for that. More than the servers'
/// [`UPSTREAM_SLACK`](quipu_protocol::limits::UPSTREAM_SLACK) would make them refuse.
const RECEIPT_LAG: usize = 1;
/// How long a server is given to answer a step that the one before it hands on, until it is sent
/// again from here: what was handed on may be lost. Early is harmless, it costs bandwidth.
const HANDED_ON_PATIENCE: Duration = Duration::from_secs(2);

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

/// How the rows of a run are cut into steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut<'a> {
    /// As they once were, to get the same bits again.
    Steps(&'a [u32]),
    /// As large as the server takes them.
    Free,
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// `[positions, hidden]`, continuing what was run before.
    pub rows: &'a [u8],
    pub cut: Cut<'a>,
    /// So many rows at the end are drafted: they go in one step with the one before them.
    pub drafted: u32,
    /// All receipts of the predecessor.
    pub upstream: &'a [SignedReceipt],
    /// What is known of the output, from its first row on: a replay must give it again.
    pub known: &'a [u8],
    /// By how much it may differ.
    pub tolerance: f64,
    /// Must every receipt that is due have come when the run ends? Else the last may come later.
    pub complete: bool,
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

#[derive(Clone)]
struct InFlight {
    step: Step,
    bytes: Bytes,
    /// Did it go out? Else the server before hands it on.
    sent: bool,
}

/// An open stream to a server in one epoch.
pub(crate) struct Link {
    pub server: Server,
    context: Arc<Context>,
    stream: Box<dyn ServeStream>,
    /// Responses that came while another server's were awaited.
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
    /// Last output that did not get to the successor, by its first position, and how many did not.
    not_handed_on: (Option<u32>, u32),
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
            not_handed_on: (None, 0),
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

    /// Positions that the credit allows now.
    pub fn room(&self) -> u32 {
        let vouchered = self.context.ledger.lock().vouchered(self.server.node);
        vouchered
            .saturating_add(self.credit)
            .saturating_sub(self.sent)
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

    /// Runs rows through the server, and gives the rows that come out. Returns when every output
    /// has come and, but for a few that may lag, every receipt that is due was verified.
    ///
    /// Where `before` hands the rows on to this server, they are not sent again, unless that one
    /// says that they did not arrive.
    ///
    /// A broken stream is opened again at the same server where that loses nothing. After an error
    /// the link can't be used any more. Not cancel-safe.
    pub async fn run(
        &mut self,
        task: Task<'_>,
        mut before: Option<&mut Link>,
    ) -> Result<Vec<u8>, ServerError> {
        let mut work = Work {
            task,
            outputs: Vec::with_capacity(task.rows.len()),
        };
        loop {
            match self.drive(&mut work, before.as_deref_mut()).await {
                Ok(()) => return Ok(work.outputs),
                Err(error) if error.is_connection() => {
                    self.resume(error, work.task.upstream).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn drive(
        &mut self,
        work: &mut Work<'_>,
        mut before: Option<&mut Link>,
    ) -> Result<(), ServerError> {
        loop {
            while let Some(tokens) = self.next_step(&work.task) {
                let handed_on = before.is_some();
                // The server compares the receipts with what comes in. A break here must not cost
                // the rows, nor hide that the server may have been given them already.
                if !handed_on {
                    self.forward(work.task.upstream, self.sent + tokens).await?;
                }
                let (now, rest) = work.task.rows.split_at(tokens as usize * self.row());
                work.task.rows = rest;
                let drafted = match rest.is_empty() {
                    true => work.task.drafted,
                    false => 0,
                };
                if let Cut::Steps(steps) = &mut work.task.cut {
                    *steps = steps.get(1..).unwrap_or(&[]);
                }
                self.send_step(tokens, drafted, Bytes::copy_from_slice(now), handed_on)
                    .await?;
                if handed_on {
                    self.forward(work.task.upstream, self.sent).await?;
                }
            }
            if self.inflight.is_empty() {
                let lag = if work.task.complete { 0 } else { RECEIPT_LAG };
                if work.task.rows.is_empty() && self.due.len() <= lag {
                    return self.forward(work.task.upstream, self.sent).await;
                }
                if self.due.is_empty() {
                    return Err(ServerError::Credit(self.room()));
                }
            }
            self.advance(work, before.as_deref_mut()).await?;
            self.pay().await?;
        }
    }

    /// Positions of the next step, if it may go out now.
    fn next_step(&self, task: &Task<'_>) -> Option<u32> {
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
        let waiting: usize = self
            .inflight
            .iter()
            .map(|inflight| inflight.bytes.len())
            .sum();
        let fits = waiting == 0
            || self.inflight.len() < PIPELINE_STEPS
                && waiting + tokens as usize * self.row() <= PIPELINE_BYTES;
        (fits && tokens > 0 && tokens <= self.room()).then_some(tokens)
    }

    fn row(&self) -> usize {
        self.context.hidden as usize * width(self.context.dtype).unwrap_or(0)
    }

    async fn send_step(
        &mut self,
        tokens: u32,
        drafted: u32,
        bytes: Bytes,
        handed_on: bool,
    ) -> Result<(), ServerError> {
        let header = ActivationsHeader {
            dtype: self.context.dtype,
            tokens,
            hidden: self.context.hidden,
        };
        let step = Step {
            step: self.next_step,
            position: self.sent,
            drafted,
            activations: header,
        };
        self.next_step += 1;
        self.sent += tokens;
        // In flight before it is sent: should the stream break, it is repeated.
        self.inflight.push_back(InFlight {
            step,
            bytes,
            sent: false,
        });
        match handed_on {
            true => Ok(()),
            false => self.bring(step.position).await,
        }
    }

    /// Sends a step that is in flight and was not sent from here.
    async fn bring(&mut self, position: u32) -> Result<(), ServerError> {
        let missing = self
            .inflight
            .iter_mut()
            .find(|inflight| inflight.step.position == position && !inflight.sent);
        let Some(InFlight { step, bytes, sent }) = missing else {
            return Ok(());
        };
        *sent = true;
        if self.taken_from.is_some() {
            // The server before, even one that failed since, may have handed it on all the same.
            self.repeats += 1;
        }
        let (step, payload) = (
            *step,
            Activations {
                header: step.activations,
                bytes: bytes.clone(),
            },
        );
        self.send(Request::Step(step), Some(payload)).await
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
        self.not_handed_on = (None, 0);
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

    /// How many outputs did not get to the successor.
    pub fn not_handed_on(&self) -> u32 {
        self.not_handed_on.1
    }

    /// What the server says next. Cancel-safe.
    async fn receive(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        match self.kept.pop_front() {
            Some(response) => Ok(response),
            None => self.stream.receive().await,
        }
    }

    /// The first position of a step that was to be handed on and was not answered yet.
    fn awaited(&self) -> Option<u32> {
        let waiting = self.inflight.iter().find(|inflight| !inflight.sent);
        waiting.map(|inflight| inflight.step.position)
    }

    /// What the server says next, or `None` if the step that `before` was to hand on to it from
    /// `position` on seems to be lost. What else `before` says is kept for later. Cancel-safe.
    async fn receive_beside(
        &mut self,
        before: &mut Link,
        position: u32,
    ) -> Result<Option<(Response, Option<Activations>)>, PeerError> {
        let patience = sleep(HANDED_ON_PATIENCE);
        tokio::pin!(patience);
        loop {
            if before.not_handed_on.0 == Some(position) {
                return Ok(None);
            }
            tokio::select! {
                response = self.receive() => return response.map(Some),
                () = &mut patience => {
                    before.went_missing(position);
                    return Ok(None);
                }
                heard = before.stream.receive(), if before.kept.len() < MAX_EARLY => match heard {
                    Ok((Response::NotHandedOn { position, .. }, _)) => before.went_missing(position),
                    Ok(other) => before.kept.push_back(other),
                    // Told again when its own next response is awaited.
                    Err(_) => return Ok(None),
                },
            }
        }
    }

    /// Is it the answer to a step that the server had twice? What was handed on may overtake what
    /// was sent from here: then that is a repetition, or comes too late.
    fn is_repeat(&self, response: &Response) -> bool {
        let may_be = match response {
            Response::Output(_) => true,
            Response::Refused(refusal) => refusal.code == RefusalCode::Position,
            _ => false,
        };
        may_be && self.repeats > 0
    }

    fn went_missing(&mut self, position: u32) {
        self.not_handed_on = (Some(position), self.not_handed_on.1 + 1);
    }

    async fn send(
        &mut self,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(), ServerError> {
        let limit = self.context.step_timeout;
        Ok(within(limit, self.stream.send(request, payload)).await?)
    }

    /// Hands on those of the predecessor's receipts that are for positions before `end`.
    async fn forward(&mut self, upstream: &[SignedReceipt], end: u32) -> Result<(), ServerError> {
        for signed in upstream {
            let due = signed.receipt.start == self.upstreamed && signed.receipt.end <= end;
            if due {
                self.send(Request::Upstream(signed.clone()), None).await?;
                self.upstreamed = signed.receipt.end;
            }
        }
        Ok(())
    }

    /// Takes one response.
    async fn advance(
        &mut self,
        work: &mut Work<'_>,
        before: Option<&mut Link>,
    ) -> Result<(), ServerError> {
        // Receipts are on their way with the output, or do not come at all.
        let limit = match self.inflight.is_empty() {
            true => self.context.open_timeout,
            false => self.context.step_timeout,
        };
        let (response, payload) = match (before, self.awaited()) {
            (Some(before), Some(position)) => {
                match within(limit, self.receive_beside(before, position)).await? {
                    Some(received) => received,
                    None => return self.bring(position).await,
                }
            }
            _ => within(limit, self.receive()).await?,
        };
        match response {
            Response::NotHandedOn { position, .. } => self.went_missing(position),
            Response::Output(step) => self.take_output(step, payload, work)?,
            Response::Receipt(signed) => self.take_receipt(signed)?,
            Response::VoucherAccepted { positions } => {
                self.accepted = self.accepted.max(positions);
            }
            Response::Refused(_) if self.is_repeat(&response) => self.repeats -= 1,
            Response::Refused(refusal) => return Err(refusal.into()),
            other => return Err(ServerError::Unexpected(name(&other))),
        }
        self.match_receipts()
    }

    fn take_output(
        &mut self,
        step: Step,
        payload: Option<Activations>,
        work: &mut Work<'_>,
    ) -> Result<(), ServerError> {
        let answered = self
            .inflight
            .front()
            .map_or(self.next_step, |one| one.step.step);
        if step.step < answered && self.repeats > 0 {
            self.repeats -= 1;
            return Ok(());
        }
        let sent = self
            .inflight
            .pop_front()
            .ok_or(ServerError::Unexpected("an output"))?;
        let payload = payload.ok_or(ServerError::OtherStep)?;
        if step != sent.step {
            return Err(ServerError::OtherStep);
        }
        // What is not finite must not reach the next server, who would get the blame.
        payload.to_f32()?;
        let done = work.outputs.len();
        let known = work.task.known.get(done..).unwrap_or(&[]);
        let differs = first_difference(
            known,
            &payload.bytes,
            self.row(),
            self.context.dtype,
            work.task.tolerance,
        );
        if let Some(row) = differs {
            let position = step.position + row;
            return Err(ServerError::Differs {
                position,
                exact: self.context.exact,
            });
        }
        let sure = (step.activations.tokens.saturating_sub(step.drafted)) as usize * self.row();
        let (given, given_drafts) = sent.bytes.split_at(sure.min(sent.bytes.len()));
        let (gave, gave_drafts) = payload.bytes.split_at(sure.min(payload.bytes.len()));
        let held = (given_drafts.to_vec(), gave_drafts.to_vec());
        let (counted_in, counted_out) = std::mem::replace(&mut self.held, held);
        let mut ranges = self.commit(&counted_in, &counted_out)?;
        ranges.extend(self.commit(given, gave)?);
        // What an earlier epoch signed is not signed again.
        let signed = self.verified.positions();
        self.due.extend(
            ranges
                .into_iter()
                .filter(|(given, _)| given.start >= signed),
        );
        work.outputs.extend_from_slice(&payload.bytes);
        Ok(())
    }

    /// Commits to what went in and came out, and gives the ranges that are now complete.
    fn commit(&mut self, given: &[u8], gave: &[u8]) -> Result<Vec<(Range, Range)>, ServerError> {
        let length = |error| match error {
            quipu_attest::CommitError::Rows { row, got } => {
                ActivationsError::Length { expected: row, got }
            }
            quipu_attest::CommitError::Type(dtype) => ActivationsError::Type(dtype),
        };
        let given = self.input.push(given).map_err(length)?;
        let gave = self.output.push(gave).map_err(length)?;
        Ok(given.into_iter().zip(gave).collect())
    }

    /// After a break the same receipt may come twice: with the step that is repeated, and because
    /// it was missing when the stream opened.
    fn take_receipt(&mut self, signed: SignedReceipt) -> Result<(), ServerError> {
        if self.early.contains(&signed) || self.verified.has(&signed.receipt) {
            return Ok(());
        }
        if self.early.len() >= MAX_EARLY {
            return Err(ServerError::Unexpected("a receipt"));
        }
        self.early.push_back(signed);
        Ok(())
    }

    fn match_receipts(&mut self) -> Result<(), ServerError> {
        while let (Some((given, gave)), Some(signed)) = (self.due.front(), self.early.front()) {
            self.verified.take(given, gave, signed.clone())?;
            self.due.pop_front();
            self.early.pop_front();
        }
        if let Some(head) = self.verified.head() {
            self.context.ledger.lock().verified(head);
        }
        Ok(())
    }

    /// Pays for what was verified.
    async fn pay(&mut self) -> Result<(), ServerError> {
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

    /// Opens the broken stream again in the same epoch, if the server still holds what it held and
    /// no more than one step is open: that one is repeated. It is done with there, or can be.
    async fn resume(
        &mut self,
        cause: ServerError,
        upstream: &[SignedReceipt],
    ) -> Result<(), ServerError> {
        if self.resumes >= RESUMES || self.inflight.len() > 1 {
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
        let is_done =
            next.is_some_and(|step| (held_until, opened.drafted) == (self.sent, step.drafted));
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
        if let Some(node) = self.taken_from {
            self.send(Request::TakeFrom(Some(node)), None).await?;
        }
        if let Some(successor) = self.successor {
            self.send(Request::HandOn(Some(successor)), None).await?;
        }
        // They admit the step.
        self.forward(upstream, self.sent).await?;
        if let Some(inflight) = self.inflight.front_mut() {
            inflight.sent = false;
            let position = inflight.step.position;
            // Whether it was handed on before the break, nobody tells us any more.
            self.not_handed_on.0 = Some(position);
            self.bring(position).await?;
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
            let received = within(self.context.step_timeout, self.receive()).await?;
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
            match within(self.context.open_timeout, self.receive()).await?.0 {
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

/// What is still to be run, and what came out.
struct Work<'a> {
    task: Task<'a>,
    outputs: Vec<u8>,
}
