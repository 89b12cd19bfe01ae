//! The state machine of one session at one server.

use super::{
    commit::{Evidence, Prepared, Signed},
    drafts::{joined, parts, Drafts},
    upstream::Wrong,
    Commitments, Identity, Neighbour, Neighbours, Now, Payment, Record, Upstream, ValidOpen,
};
use crate::ports::ComputeError;
use bytes::Bytes;
use quipu_primitives::{
    hash::hash_of, AccountBytes, Digest, SessionId, SignatureBytes, Voucher, RECEIPT_POSITIONS,
};
use quipu_protocol::{
    limits::{CREDIT_POSITIONS, LEASE, MAX_REPLAYS, MAX_STEP_TOKENS},
    Activations, Push, Refusal, RefusalCode, Request, Response, SignedReceipt, Step, Successor,
};
use std::sync::Arc;

/// What the machine asks its surroundings to do. Carried out in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Free the cache of this session.
    Release,
    /// Reserve a cache for this session and report to [`Serving::on_reserved`]. Comes last.
    Reserve {
        /// Positions it must hold.
        positions: u32,
    },
    /// Cut this session's cache back to its first positions: those behind were drafted, and do not
    /// count.
    Truncate {
        /// How many are left.
        positions: u32,
    },
    /// Run this through the span and report to [`Serving::on_computed`]. Comes last.
    Compute {
        /// First position.
        position: u32,
        /// `[tokens, hidden]`.
        input: Activations,
    },
    /// Outputs will be handed on to this server: see to it that it can be reached.
    Reach(Neighbour),
    /// Hand this output on. Where it does not get there, the client is told
    /// [`Response::NotHandedOn`].
    HandOn {
        /// The successor.
        to: Neighbour,
        /// What to send.
        push: Push,
        /// Its payload.
        output: Activations,
    },
    /// Keep these rows for whoever audits the session. They are on disk before the receipt for them, which
    /// comes behind, goes out.
    Store(Evidence),
    /// Write this to the session's journal.
    Keep(Record),
    /// Send this.
    Reply(Response, Option<Activations>),
    /// Close the stream once everything is sent.
    Close,
}

type Replies = Vec<(Response, Option<Activations>)>;

/// The last step that was answered, to answer it again.
#[derive(Clone, Debug)]
struct Answered {
    step: Step,
    input: Digest,
    replies: Replies,
}

/// A step that is being computed.
#[derive(Clone, Debug)]
struct Pending {
    step: Step,
    input: Digest,
    prepared: Prepared,
    /// What came out for the drafted positions before it, which count now.
    counted: Bytes,
    /// What goes in for its own drafted positions.
    drafted: Bytes,
}

/// One session at this server, from its first `Open` until the chain closed it. Outlives streams
/// and caches. The caller sees to it that at most one request is under way at a time.
#[derive(Clone, Debug)]
pub struct Serving {
    me: Arc<Identity>,
    session: SessionId,
    deadline: u32,
    epoch: u32,
    reserved: Option<u32>,
    /// Positions to reserve, and those for which the client holds our receipts.
    asked: Option<(u32, u32)>,
    payment: Payment,
    commitments: Commitments,
    drafts: Drafts,
    upstream: Upstream,
    answered: Option<Answered>,
    pending: Option<Pending>,
    served: u32,
    finished: Option<Replies>,
    neighbours: Neighbours,
    /// Whose pushes are taken as steps on this stream.
    pusher: Option<Neighbour>,
    /// Who gets the outputs of this epoch besides the client.
    successor: Option<Successor>,
    /// To be kept with the first `Open`.
    opened: Option<Record>,
    /// How often the sequence was begun anew.
    replays: u32,
}

impl Serving {
    /// A session that is opened here for the first time.
    pub fn new(me: Arc<Identity>, terms: &ValidOpen, neighbours: Neighbours) -> Self {
        Self::restore(me, terms, neighbours, Vec::new())
    }

    /// A session of which a journal was left: what was signed and promised before still holds.
    pub fn restore(
        me: Arc<Identity>,
        terms: &ValidOpen,
        neighbours: Neighbours,
        journal: Vec<Record>,
    ) -> Self {
        let mut payment = Payment::new(terms);
        let (mut signed, mut verified) = (Vec::new(), Vec::new());
        let mut opened = Some(Record::Opened {
            session_key: terms.session_key,
            deadline: terms.deadline,
        });
        for record in journal {
            match record {
                // One that is not valid any more, because another key opened the session, say, is
                // worth nothing here.
                Record::Voucher { voucher, signature } => {
                    let _ = payment.take(voucher, signature, &me);
                }
                Record::Receipt(receipt) => signed.push(receipt),
                Record::Upstream(receipt) => verified.push(receipt.receipt.start),
                Record::Conflict(_) => {}
                Record::Opened { .. } => opened = None,
            }
        }
        let commitments = Commitments::new(&me, terms.session, terms.session_key, signed);
        let before = neighbours.before.clone();
        let mut serving = Serving {
            session: terms.session,
            deadline: terms.deadline,
            epoch: terms.epoch,
            reserved: None,
            asked: None,
            payment,
            upstream: Upstream::new(terms.session, terms.session_key, before, verified),
            answered: None,
            pending: None,
            served: commitments.signed_end(),
            finished: None,
            neighbours,
            pusher: None,
            successor: None,
            opened,
            commitments,
            drafts: Drafts::default(),
            replays: 0,
            me,
        };
        if serving.commitments.is_cut() {
            serving.end(Vec::new());
        }
        serving
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The key that signs its vouchers: another session of this number, on a fork of the chain, has
    /// another.
    pub fn session_key(&self) -> &AccountBytes {
        self.commitments.session_key()
    }

    /// Positions in the cache that count.
    pub fn position(&self) -> u32 {
        self.commitments.position()
    }

    /// Drafted positions in the cache, behind those that count.
    pub fn drafted(&self) -> u32 {
        self.drafts.held()
    }

    /// Highest number of positions that were ever answered: what the client should have paid.
    pub fn served(&self) -> u32 {
        self.served
    }

    /// The highest voucher.
    pub fn best_voucher(&self) -> Option<&(Voucher, SignatureBytes)> {
        self.payment.best()
    }

    #[cfg(test)]
    pub(crate) fn commitments_for_tests(&self) -> &Commitments {
        &self.commitments
    }

    /// Does it hold a cache?
    pub fn has_cache(&self) -> bool {
        self.reserved.is_some()
    }

    /// Did the client finish it?
    pub fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// A stream of this session was opened. The caller has closed the one before.
    pub fn on_open(&mut self, terms: &ValidOpen) -> Vec<Effect> {
        if terms.epoch < self.epoch {
            let message = format!("the session is in epoch {}", self.epoch);
            return self.refuse(RefusalCode::Epoch, message);
        }
        if self.finished.is_some() {
            if terms.epoch > self.epoch {
                let message = "the session was finished here; open another";
                return self.refuse(RefusalCode::Session, message);
            }
            let position = self.commitments.signed_end();
            return self.opened(position, terms.receipts);
        }
        let same_epoch = terms.epoch == self.epoch;
        if !same_epoch && self.commitments.position() > 0 {
            if self.replays >= MAX_REPLAYS {
                let message = format!(
                    "the sequence was begun anew {MAX_REPLAYS} times here; go on at another server"
                );
                return self.refuse(RefusalCode::Epoch, message);
            }
            self.replays += 1;
        }
        let mut effects: Vec<Effect> = self.opened.take().map(Effect::Keep).into_iter().collect();
        // A step that was never reported: nobody knows what the cache holds.
        if !same_epoch || self.pending.is_some() {
            if self.reserved.is_some() {
                effects.push(Effect::Release);
            }
            self.forget(same_epoch);
            self.epoch = terms.epoch;
        }
        // What is pushed before the client has said again what it lacks could overtake that: the answer
        // to a step that the stream before lost would never be given.
        self.pusher = None;
        if !same_epoch {
            self.successor = None;
        }
        match self.reserved {
            Some(reserved) if terms.positions > reserved => {
                let message =
                    format!("{reserved} positions are reserved; begin a higher epoch to have more");
                return self.refuse(RefusalCode::Context, message);
            }
            Some(_) => effects.extend(self.opened(self.commitments.position(), terms.receipts)),
            None => {
                self.asked = Some((terms.positions, terms.receipts));
                effects.push(Effect::Reserve {
                    positions: terms.positions,
                });
            }
        }
        effects
    }

    /// The cache that [`Effect::Reserve`] asked for is there, or why it isn't.
    pub fn on_reserved(&mut self, result: Result<(), Refusal>) -> Vec<Effect> {
        match (result, self.asked.take()) {
            (Ok(()), Some((positions, receipts))) => {
                self.reserved = Some(positions);
                self.opened(self.commitments.position(), receipts)
            }
            (Ok(()), None) => Vec::new(),
            (Err(refusal), _) => refused(refusal),
        }
    }

    /// The cache is gone: its lease ended, or it was dropped.
    pub fn evict(&mut self) {
        self.forget(true);
    }

    fn forget(&mut self, same_epoch: bool) {
        self.commitments.restart(&self.me, same_epoch);
        self.drafts.forget();
        self.reserved = None;
        self.answered = None;
        self.pending = None;
    }

    /// A request other than the stream's first.
    pub fn on_request(
        &mut self,
        request: Request,
        payload: Option<Activations>,
        now: Now,
    ) -> Vec<Effect> {
        if self.pending.is_some() {
            return self.refuse(RefusalCode::Unexpected, "a step is being computed");
        }
        match (request, payload) {
            (Request::Step(step), Some(input)) => match self.step(step, input, now) {
                Ok(effects) | Err(effects) => effects,
            },
            (Request::Upstream(receipt), None) => self.upstream(receipt),
            (Request::Voucher { voucher, signature }, None) => self.voucher(voucher, signature),
            (Request::Finish { positions }, None) => self.finish(positions),
            (Request::HandOn(successor), None) => self.hand_on(successor),
            (Request::TakeFrom(node), None) => {
                let before = &self.neighbours.before;
                self.pusher = before.iter().find(|one| Some(one.node) == node).cloned();
                Vec::new()
            }
            (Request::Open(_), _) => self.refuse(RefusalCode::Unexpected, "the stream is open"),
            (Request::Fetch(_), _) => self.refuse(
                RefusalCode::Unexpected,
                "auditors ask on a stream of their own",
            ),
            (Request::Push(_), _) => self.refuse(
                RefusalCode::Unexpected,
                "servers push on a stream of their own",
            ),
            _ => self.refuse(
                RefusalCode::Unexpected,
                "a payload where none belongs, or none",
            ),
        }
    }

    /// Activations that a server whose proven peer id is `from` pushed. `None` if they are not
    /// what comes next, or not from whom the client named: then nothing changed.
    pub fn on_push(
        &mut self,
        from: &[u8],
        push: Push,
        input: Activations,
        now: Now,
    ) -> Option<Vec<Effect>> {
        let tokens = input.header.tokens;
        let counted = self.counted(push.position);
        let is_drafted_well = counted.is_some_and(|counted| {
            let drafts = &self.drafts;
            let admitted = drafts.admit(&self.me, push.position, tokens, push.drafted, counted);
            admitted.is_ok()
        });
        let is_due = self.pusher.as_ref().is_some_and(|one| one.peer == from)
            && (push.session, push.epoch) == (self.session, self.epoch)
            && is_drafted_well
            && self.pending.is_none()
            && self.finished.is_none()
            && input.header == push.activations
            && input.header.dtype == self.me.dtype
            && self.fits(&input);
        // What is refused is refused to the client, who would blame this server for what another one
        // pushed. A voucher or a receipt that would admit it may be on its way from the client:
        // behind it the client's own step comes in order.
        let end = push.position.saturating_add(tokens);
        let is_admitted = self.reserved.is_some_and(|reserved| end <= reserved)
            && end <= self.payment.limit(&self.me)
            && self
                .upstream
                .admits(&self.me, self.commitments.signed().len())
                .is_ok();
        if !is_due || !is_admitted {
            return None;
        }
        let last = self.answered.as_ref();
        let step = Step {
            step: last.map_or(0, |last| last.step.step.saturating_add(1)),
            position: push.position,
            drafted: push.drafted,
            activations: push.activations,
        };
        Some(match self.step(step, input, now) {
            Ok(effects) | Err(effects) => effects,
        })
    }

    /// How many drafted positions count if the sequence goes on at `position`; `None` if it can't.
    fn counted(&self, position: u32) -> Option<u32> {
        self.drafts.counted(self.commitments.position(), position)
    }

    /// Is it of a shape that a step may have here?
    fn fits(&self, input: &Activations) -> bool {
        input.header.hidden == self.me.hidden
            && (1..=MAX_STEP_TOKENS).contains(&input.header.tokens)
    }

    fn hand_on(&mut self, successor: Option<Successor>) -> Vec<Effect> {
        self.successor = successor;
        self.behind()
            .cloned()
            .map(Effect::Reach)
            .into_iter()
            .collect()
    }

    /// The successor, if it is a server of the session that continues where we end.
    fn behind(&self) -> Option<&Neighbour> {
        let node = self.successor?.node;
        self.neighbours.behind.iter().find(|one| one.node == node)
    }

    /// Hands an output on, if the client asked for it. Comes before the reply to the client: the
    /// successor is what the answer waits for.
    fn handed_on(&self, step: Step, output: &Activations) -> Option<Effect> {
        let Successor { epoch, .. } = self.successor?;
        let (session, position) = (self.session, step.position);
        Some(match self.behind() {
            Some(to) => Effect::HandOn {
                to: to.clone(),
                push: Push {
                    session,
                    epoch,
                    position,
                    drafted: step.drafted,
                    activations: output.header,
                },
                output: output.clone(),
            },
            None => Effect::Reply(Response::NotHandedOn { session, position }, None),
        })
    }

    /// Ok and Err are both answers; Err leaves early.
    fn step(
        &mut self,
        step: Step,
        input: Activations,
        now: Now,
    ) -> Result<Vec<Effect>, Vec<Effect>> {
        if now.block >= self.deadline {
            return Err(self.refuse(RefusalCode::Session, "the session expired; open another"));
        }
        if self.finished.is_some() {
            return Err(self.refuse(RefusalCode::Position, "the session was finished here"));
        }
        if input.header != step.activations {
            return Err(self.refuse(RefusalCode::Activations, "payload and header differ"));
        }
        if input.header.dtype != self.me.dtype {
            let message = format!("this server takes activations as {:?}", self.me.dtype);
            return Err(self.refuse(RefusalCode::DType, message));
        }
        if !self.fits(&input) {
            let message = format!(
                "a step has 1 to {MAX_STEP_TOKENS} rows of {} numbers, not {} of {}",
                self.me.hidden, input.header.tokens, input.header.hidden
            );
            return Err(self.refuse(RefusalCode::Activations, message));
        }
        let digest = hash_of(b"quipu/step-input/1", input.bytes.as_ref());
        if let Some(last) = &self.answered {
            if last.step == step && last.input == digest {
                return Err(replies(&last.replies));
            }
            if step.step <= last.step.step {
                let message = format!("step {} was answered already", last.step.step);
                return Err(self.refuse(RefusalCode::Position, message));
            }
        }
        let Some(reserved) = self.reserved else {
            let mut effects = self.refuse(
                RefusalCode::Position,
                "the cache was not used for too long and is gone; open the stream again",
            );
            effects.push(Effect::Close);
            return Err(effects);
        };
        let position = step.position;
        let counted = self
            .counted(position)
            .ok_or_else(|| self.not_next(position))?;
        let tokens = input.header.tokens;
        self.drafts
            .admit(&self.me, position, tokens, step.drafted, counted)
            .map_err(refused)?;
        let end = position.saturating_add(tokens);
        if end > reserved {
            let message = format!("{end} positions; {reserved} are reserved");
            return Err(self.refuse(RefusalCode::Context, message));
        }
        let limit = self.payment.limit(&self.me);
        if end > limit {
            let message = format!(
                "positions up to {limit} are served: {} are paid, the cap pays {}; send a voucher",
                self.payment.paid(),
                self.payment.affordable(&self.me)
            );
            return Err(self.refuse(RefusalCode::Unpaid, message));
        }
        self.upstream
            .admits(&self.me, self.commitments.signed().len())
            .map_err(refused)?;
        let (counted_in, counted_out) = self.drafts.rows(counted);
        let own = parts(&input, step.drafted);
        let prepared = self
            .commitments
            .prepare(joined(&counted_in, &own.sure), self.me.row())
            .map_err(|error| self.refuse(RefusalCode::Position, error.to_string()))?;
        self.upstream.expect(&prepared.ranges).map_err(conflict)?;
        let cut = (counted < self.drafts.held()).then_some(Effect::Truncate {
            positions: position,
        });
        self.drafts.cut(counted);
        self.pending = Some(Pending {
            step,
            input: digest,
            prepared,
            counted: counted_out,
            drafted: own.drafted,
        });
        let compute = Effect::Compute { position, input };
        Ok(cut.into_iter().chain([compute]).collect())
    }

    fn not_next(&self, position: u32) -> Vec<Effect> {
        let next = self.commitments.position();
        let message = match self.drafts.held() {
            0 => format!("position {next} comes next, not {position}"),
            held => format!(
                "a position from {next} to {}, with {held} drafted ones, comes next, not {position}",
                next.saturating_add(held)
            ),
        };
        self.refuse(RefusalCode::Position, message)
    }

    /// The result of [`Effect::Compute`].
    pub fn on_computed(&mut self, result: Result<Activations, ComputeError>) -> Vec<Effect> {
        let Some(pending) = self.pending.take() else {
            return Vec::new();
        };
        let output = match result {
            Ok(output) if output.header == pending.step.activations => output,
            Ok(_) => {
                self.forget(true);
                let effects = self.refuse(RefusalCode::Internal, "the span gave another shape");
                return [vec![Effect::Release], effects].concat();
            }
            Err(ComputeError::Input(message)) => {
                return self.refuse(RefusalCode::Activations, message)
            }
            Err(ComputeError::Unknown) => {
                self.forget(true);
                let message = "the cache was dropped; open the stream again";
                return self.refuse(RefusalCode::Internal, message);
            }
            Err(error) => return self.refuse(RefusalCode::Internal, error.to_string()),
        };
        let own = parts(&output, pending.step.drafted);
        let rows = joined(&pending.counted, &own.sure);
        let completed = self.commitments.complete(&self.me, pending.prepared, &rows);
        let signed = match completed {
            Ok(signed) => signed,
            Err(error) => {
                self.forget(true);
                let effects = self.refuse(RefusalCode::Internal, error.to_string());
                return [vec![Effect::Release], effects].concat();
            }
        };
        self.drafts
            .replace(pending.step.drafted, pending.drafted, own.drafted);
        self.served = self.served.max(self.commitments.position());
        let handed_on = self.handed_on(pending.step, &output);
        let mut answer = vec![(Response::Output(pending.step), Some(output))];
        let mut effects: Vec<Effect> = handed_on.into_iter().chain(replies(&answer)).collect();
        effects.extend(self.receipts(signed, &mut answer));
        let Pending { step, input, .. } = pending;
        self.answered = Some(Answered {
            step,
            input,
            replies: answer,
        });
        effects
    }

    /// Keeps and sends receipts, and keeps the predecessors' receipts that they match.
    fn receipts(&mut self, signed: Vec<Signed>, answer: &mut Replies) -> Vec<Effect> {
        let (signed, evidence): (Vec<_>, Vec<_>) = signed.into_iter().unzip();
        let mut effects: Vec<Effect> = evidence.into_iter().map(Effect::Store).collect();
        let upstream = self
            .upstream
            .completed(&signed)
            .into_iter()
            .map(Effect::Keep);
        effects.extend(upstream);
        // All are kept before the first is sent: one write to the disk for a long prompt.
        effects.extend(
            signed
                .iter()
                .cloned()
                .map(|one| Effect::Keep(Record::Receipt(one))),
        );
        for receipt in signed {
            effects.push(Effect::Reply(Response::Receipt(receipt.clone()), None));
            answer.push((Response::Receipt(receipt), None));
        }
        effects
    }

    fn upstream(&mut self, receipt: SignedReceipt) -> Vec<Effect> {
        if self.me.span.start == 0 {
            let message = "this server holds the first block: nobody stands before it";
            return self.refuse(RefusalCode::Upstream, message);
        }
        match self
            .upstream
            .take(&self.me, receipt.clone(), self.commitments.signed())
        {
            Ok(true) => vec![Effect::Keep(Record::Upstream(receipt))],
            Ok(false) => Vec::new(),
            Err(wrong) => conflict(wrong),
        }
    }

    fn voucher(&mut self, voucher: Voucher, signature: SignatureBytes) -> Vec<Effect> {
        let accepted = Response::VoucherAccepted {
            positions: voucher.positions,
        };
        match self.payment.take(voucher, signature, &self.me) {
            Ok(true) => vec![
                Effect::Keep(Record::Voucher { voucher, signature }),
                Effect::Reply(accepted, None),
            ],
            Ok(false) => vec![Effect::Reply(accepted, None)],
            Err(refusal) => refused(refusal),
        }
    }

    fn finish(&mut self, positions: u32) -> Vec<Effect> {
        if let Some(answer) = &self.finished {
            return replies(answer);
        }
        let end = self.commitments.end();
        // Drafted ones in the middle of a replay are not behind the last that counts.
        let held = match self.commitments.position() == end {
            true => self.drafts.held(),
            false => 0,
        };
        let counted = positions
            .checked_sub(end)
            .filter(|counted| *counted <= held);
        let Some(counted) = counted else {
            let message = format!(
                "the sequence has {end} positions and {held} drafted ones, not {positions}"
            );
            return self.refuse(RefusalCode::Position, message);
        };
        let mut signed = match self.count(counted) {
            Ok(signed) => signed,
            Err(refusal) => return refusal,
        };
        signed.extend(self.commitments.finish(&self.me));
        let mut effects = self.end(signed);
        if self.reserved.is_some() {
            effects.push(Effect::Release);
        }
        self.forget(false);
        effects
    }

    /// Lets the first `counted` drafted positions count, and signs the ranges that they complete.
    fn count(&mut self, counted: u32) -> Result<Vec<Signed>, Vec<Effect>> {
        if counted == 0 {
            return Ok(Vec::new());
        }
        let refuse = |serving: &Self, error: &dyn std::fmt::Display| {
            serving.refuse(RefusalCode::Position, error.to_string())
        };
        let (input, output) = self.drafts.rows(counted);
        let prepared = self
            .commitments
            .prepare(input, self.me.row())
            .map_err(|error| refuse(self, &error))?;
        self.upstream.expect(&prepared.ranges).map_err(conflict)?;
        let signed = self.commitments.complete(&self.me, prepared, &output);
        let signed = signed.map_err(|error| refuse(self, &error))?;
        self.served = self.served.max(self.commitments.position());
        Ok(signed)
    }

    /// Sets the last answer of the session, and gives it. `signed` is what was signed last.
    fn end(&mut self, signed: Vec<Signed>) -> Vec<Effect> {
        let mut answer = Vec::new();
        let mut effects = self.receipts(signed, &mut answer);
        if answer.is_empty() && self.commitments.is_cut() {
            let cut = self.commitments.signed().last().cloned();
            answer.extend(cut.map(|receipt| (Response::Receipt(receipt), None)));
        }
        let finished = Response::Finished {
            head: self.commitments.head(&self.me),
        };
        answer.push((finished.clone(), None));
        effects.push(Effect::Reply(finished, None));
        self.finished = Some(answer);
        effects
    }

    /// The stream is open. Receipts that the client lacks come again: it may have been cut off
    /// before they arrived, and they are not signed twice.
    fn opened(&self, position: u32, receipts: u32) -> Vec<Effect> {
        let opened = Response::Opened {
            position,
            drafted: self.drafts.held(),
            credit: CREDIT_POSITIONS,
            lease_millis: LEASE.as_millis() as u32,
        };
        let missing = self
            .commitments
            .signed()
            .iter()
            .filter(|signed| signed.receipt.end > receipts)
            .map(|signed| Effect::Reply(Response::Receipt(signed.clone()), None));
        std::iter::once(Effect::Reply(opened, None))
            .chain(missing)
            .collect()
    }

    fn refuse(&self, code: RefusalCode, message: impl Into<String>) -> Vec<Effect> {
        refused(Refusal::new(code, message))
    }
}

/// A refusal as effects: a fatal one closes the stream.
fn refused(refusal: Refusal) -> Vec<Effect> {
    let close = refusal.code.is_fatal().then_some(Effect::Close);
    let mut effects = vec![Effect::Reply(Response::Refused(refusal), None)];
    effects.extend(close);
    effects
}

fn conflict(wrong: Wrong) -> Vec<Effect> {
    let evidence = wrong
        .evidence
        .map(|receipt| Effect::Keep(Record::Conflict(*receipt)));
    evidence.into_iter().chain(refused(wrong.refusal)).collect()
}

fn replies(answer: &Replies) -> Vec<Effect> {
    answer
        .iter()
        .map(|(response, payload)| Effect::Reply(response.clone(), payload.clone()))
        .collect()
}

// A range must fit the credit, or no server would ever be paid for one.
const _: () = assert!(CREDIT_POSITIONS >= RECEIPT_POSITIONS);
