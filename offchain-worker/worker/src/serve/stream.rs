//! One stream: its first request opens a session, the others are handed to that session's machine.
//! A stream that begins with a push is another server's, and carries pushes for any session; one that begins with
//! a fetch is an auditor's.

use super::{
    outlets::FAILURES,
    registry::{Live, Pushed, Slot},
    Server,
};
use quipu_primitives::receipt::Direction;
use quipu_protocol::{
    limits::{MAX_SESSIONS, OPEN_TIMEOUT},
    Activations, ActivationsHeader, Fetch, Open, Push, Refusal, RefusalCode, Request, Response,
};
use quipu_worker_core::{
    ports::{Incoming, PeerError, ServerStream},
    serve::{Effect, Evidence, Now, Record, Serving, ValidOpen},
};
use std::{collections::VecDeque, mem::take, sync::Arc, time::Instant};
use tokio::{
    sync::{mpsc, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Streams that are served at once. More than sessions, since a stream that just broke still
/// counts; further ones are refused as busy.
const MAX_STREAMS: usize = 4 * MAX_SESSIONS;

/// Serves every stream that comes in, each in its own task, until `stop` or until the swarm is
/// gone. Then waits for the requests under way.
pub async fn accept(server: Arc<Server>, mut incoming: Box<dyn Incoming>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_STREAMS));
    let mut streams = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stop.cancelled() => break,
            Some(_) = streams.join_next(), if !streams.is_empty() => continue,
            stream = incoming.next() => stream,
        };
        let Some(stream) = stream else { break };
        let (server, stop) = (server.clone(), stop.clone());
        let permit = permits.clone().try_acquire_owned();
        streams.spawn(async move {
            let mut conversation = Conversation::new(server, stream);
            match permit {
                Ok(_permit) => conversation.run(stop).await,
                Err(_) => {
                    let refusal = Refusal::new(RefusalCode::Busy, "too many streams");
                    conversation.refuse(refusal).await;
                }
            }
        });
    }
    while streams.join_next().await.is_some() {}
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    Close,
}

struct Conversation {
    server: Arc<Server>,
    stream: Box<dyn ServerStream>,
    /// Where outputs that were not handed on are reported.
    failures: (mpsc::Sender<u32>, mpsc::Receiver<u32>),
}

impl Conversation {
    fn new(server: Arc<Server>, stream: Box<dyn ServerStream>) -> Self {
        Conversation {
            server,
            stream,
            failures: mpsc::channel(FAILURES),
        }
    }

    async fn run(&mut self, stop: CancellationToken) {
        let first = tokio::select! {
            _ = stop.cancelled() => return,
            first = timeout(OPEN_TIMEOUT, self.stream.receive()) => first,
        };
        let open = match first {
            Ok(Ok((Request::Open(open), None))) => open,
            Ok(Ok((Request::Fetch(fetch), None))) => return self.show(stop, fetch).await,
            Ok(Ok((Request::Push(push), Some(input)))) => {
                return self.relay(stop, push, input).await;
            }
            Ok(Ok(_)) => {
                let message = "a stream begins with an Open, a Push or a Fetch";
                return self
                    .refuse(Refusal::new(RefusalCode::Unexpected, message))
                    .await;
            }
            // The peer went away, or the network told it what it did wrong.
            Ok(Err(_)) | Err(_) => return,
        };
        let client = self.stream.peer().to_vec();
        let (terms, slot) = match self.server.admit(&open, &client).await {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let (ended, mut inbox) = slot.take_over();
        let mut flow = {
            let mut live = slot.live.lock().await;
            match live.as_mut().map(|live| live.serving.on_open(&terms)) {
                Some(effects) => self.carry_out(&mut live, effects).await,
                None => Flow::Close,
            }
        };
        while flow == Flow::Continue {
            flow = tokio::select! {
                // What the client says comes first: its vouchers and receipts admit what is pushed.
                biased;
                _ = stop.cancelled() => Flow::Close,
                _ = ended.cancelled() => Flow::Close,
                request = self.stream.receive() => self.answer(&slot, &ended, request).await,
                Some(pushed) = inbox.recv() => self.take_push(&slot, &ended, pushed).await,
                Some(position) = self.failures.1.recv() => {
                    let session = terms.session;
                    let told = Response::NotHandedOn { session, position };
                    match self.stream.send(told, None).await {
                        Ok(()) => Flow::Continue,
                        Err(_) => Flow::Close,
                    }
                }
            };
        }
        self.stream.close().await;
        // What is needed of a finished session is in its journal.
        let mut live = slot.live.lock().await;
        if live.as_ref().is_some_and(|live| live.serving.is_finished()) {
            *live = None;
            self.server.finished(terms.session).await;
        }
    }

    /// Takes what another server pushes, until it stops.
    async fn relay(&mut self, stop: CancellationToken, first: Push, input: Activations) {
        let from = self.stream.peer().to_vec();
        let (refused, mut refusals) = mpsc::channel(MAX_SESSIONS);
        let mut next = Some((first, input));
        loop {
            if let Some((push, input)) = next.take() {
                self.server.deliver(Pushed {
                    from: from.clone(),
                    push,
                    input,
                    refused: refused.clone(),
                });
            }
            tokio::select! {
                _ = stop.cancelled() => return,
                request = self.stream.receive() => match request {
                    Ok((Request::Push(push), Some(input))) => next = Some((push, input)),
                    Ok(_) => {
                        let message = "a stream that begins with a push carries nothing else";
                        let refusal = Refusal::new(RefusalCode::Unexpected, message);
                        return self.refuse(refusal).await;
                    }
                    Err(error) => return debug!(%error, "another server's stream ended"),
                },
                Some((session, position)) = refusals.recv() => {
                    let told = Response::NotHandedOn { session, position };
                    if self.stream.send(told, None).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Shows an auditor what was signed, and the rows behind it.
    async fn show(&mut self, stop: CancellationToken, fetch: Fetch) {
        let server = self.server.clone();
        let Ok(_permit) = server.showing.try_acquire() else {
            let refusal = Refusal::new(RefusalCode::Busy, "too many auditors look at once");
            return self.refuse(refusal).await;
        };
        let auditor = self.stream.peer().to_vec();
        let shown = match server.to_show(&fetch, &auditor).await {
            Ok(shown) => shown,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let mut positions = 0;
        for signed in &shown.receipts {
            if stop.is_cancelled() {
                return;
            }
            let evidence = match server.rows_of(&shown, signed).await {
                Ok(evidence) => evidence,
                Err(refusal) => return self.refuse(refusal).await,
            };
            let activations = ActivationsHeader {
                dtype: server.me().wire(),
                tokens: evidence.end - evidence.start,
                hidden: server.me().hidden,
            };
            let rows = |direction, bytes| {
                let header = activations;
                let response = Response::Rows {
                    direction,
                    activations,
                };
                (response, Some(Activations { header, bytes }))
            };
            for (response, payload) in [
                (Response::Receipt(signed.clone()), None),
                rows(Direction::In, evidence.input),
                rows(Direction::Out, evidence.output),
            ] {
                if self.stream.send(response, payload).await.is_err() {
                    return;
                }
            }
            positions = signed.receipt.end;
        }
        debug!(session = fetch.session, positions, "shown to an auditor");
        if self
            .stream
            .send(Response::Fetched { positions }, None)
            .await
            .is_ok()
        {
            self.stream.close().await;
        }
    }

    async fn refuse(&mut self, refusal: Refusal) {
        debug!(%refusal, "stream refused");
        self.server.parts.metrics.refused(refusal.code).inc();
        if self
            .stream
            .send(Response::Refused(refusal), None)
            .await
            .is_ok()
        {
            self.stream.close().await;
        }
    }

    /// Answers a request, whether or not the client is still there: what it began is finished, and
    /// the next stream finds it so.
    async fn answer(
        &mut self,
        slot: &Slot,
        ended: &CancellationToken,
        request: Result<(Request, Option<Activations>), PeerError>,
    ) -> Flow {
        let (request, payload) = match request {
            Ok(request) => request,
            Err(error) => {
                debug!(%error, "stream ended");
                return Flow::Close;
            }
        };
        self.with_session(slot, ended, |serving, now| {
            serving.on_request(request, payload, now)
        })
        .await
    }

    /// Runs what was pushed as a step; what is not due is left to the client.
    async fn take_push(&mut self, slot: &Slot, ended: &CancellationToken, pushed: Pushed) -> Flow {
        self.with_session(slot, ended, |serving, now| {
            let Pushed {
                from, push, input, ..
            } = &pushed;
            match serving.on_push(from, *push, input.clone(), now) {
                Some(effects) => effects,
                None => {
                    pushed.refuse();
                    Vec::new()
                }
            }
        })
        .await
    }

    /// Lets the session's machine do something, and carries out what it asks for.
    async fn with_session(
        &mut self,
        slot: &Slot,
        ended: &CancellationToken,
        act: impl FnOnce(&mut Serving, Now) -> Vec<Effect>,
    ) -> Flow {
        let mut live = slot.live.lock().await;
        // Another stream may have taken over while this one waited.
        if ended.is_cancelled() {
            return Flow::Close;
        }
        let Some(session) = live.as_mut() else {
            return Flow::Close;
        };
        let now = self.server.now();
        let id = session.serving.session();
        self.server.with_leases(|leases| leases.renew(id, now.time));
        let effects = act(&mut session.serving, now);
        self.carry_out(&mut live, effects).await
    }

    /// Carries effects out in their order, and those that follow from them.
    async fn carry_out(&mut self, slot: &mut Option<Live>, effects: Vec<Effect>) -> Flow {
        let mut flow = Flow::Continue;
        let mut queue: VecDeque<Effect> = effects.into();
        let (mut rows, mut records) = (Vec::<Evidence>::new(), Vec::<Record>::new());
        while let Some(effect) = queue.pop_front() {
            let Some(live) = slot.as_mut() else {
                return Flow::Close;
            };
            let session = live.serving.session();
            match effect {
                Effect::Release => self.server.release(session).await,
                Effect::Reserve { positions } => {
                    let reserved = self.server.reserve(session, positions).await;
                    queue.extend(live.serving.on_reserved(reserved));
                }
                Effect::Truncate { positions } => {
                    self.server.parts.compute.truncate(session, positions).await;
                }
                Effect::Compute { position, input } => {
                    let (started, tokens) = (Instant::now(), input.header.tokens);
                    let result = self
                        .server
                        .parts
                        .compute
                        .forward(session, position, input)
                        .await;
                    self.server
                        .parts
                        .metrics
                        .computed(tokens, started.elapsed());
                    queue.extend(live.serving.on_computed(result));
                }
                Effect::Reach(to) => self.server.outlets.reach(&to),
                Effect::HandOn { to, push, output } => {
                    let failures = self.failures.0.clone();
                    self.server.outlets.hand_on(&to, push, output, failures);
                }
                Effect::Store(evidence) => rows.push(evidence),
                Effect::Keep(record) => records.push(record),
                Effect::Reply(response, payload) => {
                    // Rows come with the receipts for them, which are urgent.
                    let is_urgent = records.iter().any(Record::is_urgent);
                    if is_urgent
                        && !self
                            .server
                            .keep(live, take(&mut rows), take(&mut records))
                            .await
                    {
                        *slot = None;
                        self.server.release(session).await;
                        let message = "the server's disk failed; try another";
                        let refusal = Refusal::new(RefusalCode::Internal, message);
                        self.refuse(refusal).await;
                        return Flow::Close;
                    }
                    if let Response::Refused(refusal) = &response {
                        debug!(session, %refusal, "refused");
                        self.server.parts.metrics.refused(refusal.code).inc();
                    }
                    if flow == Flow::Continue && self.stream.send(response, payload).await.is_err()
                    {
                        flow = Flow::Close;
                    }
                }
                Effect::Close => flow = Flow::Close,
            }
        }
        if let Some(live) = slot.as_mut() {
            // What is left is about others: a server can live without it.
            self.server.keep(live, rows, records).await;
        }
        flow
    }
}

impl Server {
    /// The terms of an `Open`, and the session's slot.
    async fn admit(
        self: &Arc<Self>,
        open: &Open,
        client: &[u8],
    ) -> Result<(ValidOpen, Arc<Slot>), Refusal> {
        let terms = self.check(open, client).await?;
        let slot = self.slot(&terms).await?;
        Ok((terms, slot))
    }

    /// Reserves a cache.
    async fn reserve(&self, session: u64, positions: u32) -> Result<(), Refusal> {
        self.reap().await;
        let now = self.now();
        self.with_leases(|leases| leases.admit(session, positions, now.time))?;
        if let Err(error) = self.parts.compute.open(session, positions).await {
            self.with_leases(|leases| leases.release(session));
            tracing::error!(session, %error, "no cache, though the leases allowed it");
            return Err(Refusal::new(RefusalCode::Busy, error.to_string()));
        }
        Ok(())
    }

    /// No more rows of the session will come.
    async fn finished(&self, session: u64) {
        let evidence = self.parts.evidence.clone();
        let done = tokio::task::spawn_blocking(move || evidence.finished(session)).await;
        if let Err(error) = done.map_err(std::io::Error::other).and_then(|done| done) {
            tracing::warn!(session, %error, "what is kept for audits can't be measured");
        }
    }

    /// Writes rows for audits, then records to the journal, among them the receipts for the rows, and vouchers
    /// into the book. False if the disk failed.
    async fn keep(&self, live: &mut Live, rows: Vec<Evidence>, records: Vec<Record>) -> bool {
        if records.is_empty() {
            return true;
        }
        let Some(mut journal) = live.journal.take() else {
            return false;
        };
        let evidence = self.parts.evidence.clone();
        let (session, key) = (live.serving.session(), *live.serving.session_key());
        let written = tokio::task::spawn_blocking(move || {
            // A receipt is signed once and for all: the rows behind it are there before it is.
            let stored = evidence.append(session, &key, &rows);
            let result = stored.and_then(|()| journal.append(&records));
            (journal, records, result)
        });
        let (journal, records, result) = match written.await {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(%error, "the journal can't be written");
                return false;
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "the journal can't be written; is the disk full?");
            return false;
        }
        live.journal = Some(journal);
        for record in records {
            match record {
                Record::Voucher { voucher, signature } => {
                    self.parts.book.note(voucher, signature);
                    self.parts.metrics.vouchers.inc();
                }
                Record::Receipt(_) => {
                    self.parts.metrics.receipts.inc();
                }
                Record::Upstream(_) | Record::Opened { .. } => {}
                Record::Conflict(receipt) => {
                    let (session, node) = (receipt.receipt.session, receipt.receipt.node);
                    tracing::warn!(
                        session,
                        node,
                        "a receipt contradicts what came in; it is kept"
                    );
                    self.parts.metrics.conflicts.inc();
                }
            }
        }
        true
    }
}
