//! Steps on their way through one server: what is given to it, and what it says.

use super::{within, InFlight, Link, Way};
use crate::{error::ServerError, history::first_difference};
use bytes::Bytes;
use quipu_attest::Range;
use quipu_protocol::{
    limits::{PIPELINE_BYTES, PIPELINE_STEPS},
    Activations, ActivationsError, ActivationsHeader, Request, Response, SignedReceipt, Step,
};
use quipu_worker_core::ports::PeerError;
use std::time::Duration;
use tokio::time::Instant;

/// Receipts that may come before the outputs that they are for, and outputs before those of the server
/// that handed them on.
const MAX_EARLY: usize = 64;
/// Complete ranges for which a step that continues a sequence does not wait: a server writes to its
/// disk before it signs, and the next step need not stand still for that. More than the servers'
/// [`UPSTREAM_SLACK`](quipu_protocol::limits::UPSTREAM_SLACK) would make them refuse.
const RECEIPT_LAG: usize = 1;
/// How long a server is given to answer a step that the one before it hands on, until it is sent
/// again from here: what was handed on may be lost. Early is harmless, it costs bandwidth.
const HANDED_ON_PATIENCE: Duration = Duration::from_secs(2);

/// What followed from a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing that others need to know.
    Nothing,
    /// These rows came out.
    Rows(Bytes),
    /// The output that begins at this position did not get to the successor.
    NotHandedOn(u32),
}

/// May so many bytes of a step go out when others, of so many, were not answered yet?
fn may_go(waiting: usize, bytes: usize) -> bool {
    waiting == 0 || waiting + bytes <= PIPELINE_BYTES
}

impl Link {
    /// Would a step of so many positions fit beside those whose outputs are awaited?
    pub fn fits(&self, tokens: u32) -> bool {
        self.inflight.len() < PIPELINE_STEPS
            && may_go(
                self.inflight.iter().map(|step| step.bytes.len()).sum(),
                tokens as usize * self.row(),
            )
    }

    /// Gives the server the step that comes next. Where the server before hands it on it is not sent, but
    /// its output is awaited.
    pub async fn give(
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
        if self.inflight.is_empty() {
            self.quiet_since = Instant::now();
        }
        // In flight before it is sent: should the stream break, it is repeated.
        let way = match handed_on {
            true => Way::HandedOn,
            false => Way::Missing,
        };
        self.inflight.push_back(InFlight {
            step,
            bytes,
            way,
            offered: handed_on,
        });
        self.bring().await
    }

    /// Sends the steps in flight that the server has from nobody, as far as it can take them: they come in
    /// their order, those that are handed on as well.
    pub async fn bring(&mut self) -> Result<(), ServerError> {
        let mut before = 0;
        for at in 0..self.inflight.len() {
            let InFlight {
                step,
                bytes,
                way,
                offered,
            } = &mut self.inflight[at];
            match way {
                Way::Sent => before += bytes.len(),
                Way::Missing if may_go(before, bytes.len()) => {
                    before += bytes.len();
                    *way = Way::Sent;
                    // The server before, even one that failed since, may have handed it on all the same.
                    if *offered || self.taken_from.is_some() {
                        self.repeats += 1;
                    }
                    self.quiet_since = Instant::now();
                    let (step, header) = (*step, step.activations);
                    let bytes = bytes.clone();
                    let payload = Activations { header, bytes };
                    self.send(Request::Step(step), Some(payload)).await?;
                }
                Way::Missing | Way::HandedOn => break,
            }
        }
        Ok(())
    }

    /// The server has got from nobody else the step that begins at this position, or any without one.
    pub fn is_missing(&mut self, position: Option<u32>) {
        for inflight in &mut self.inflight {
            let is_meant = position.is_none_or(|position| inflight.step.position == position);
            if is_meant && inflight.way == Way::HandedOn {
                inflight.way = Way::Missing;
            }
        }
    }

    /// Is a step in flight that the server before hands on?
    pub fn is_handed_to(&self) -> bool {
        let mut ways = self.inflight.iter().map(|inflight| inflight.way);
        ways.any(|way| way == Way::HandedOn)
    }

    /// Is nothing awaited, but for a receipt that may lag?
    pub fn is_idle(&self) -> bool {
        self.inflight.is_empty() && self.due.len() <= RECEIPT_LAG
    }

    /// Is there anything that it still has to say?
    pub fn owes(&self) -> bool {
        !self.inflight.is_empty() || !self.due.is_empty()
    }

    /// May what has just come out be led on from here, with so many positions that are not drafted? One
    /// that is handed on is out of our hands. A long step waits for the receipts: they show a lie before
    /// it is built upon.
    pub fn vouches_for(&self, sure: u32) -> bool {
        self.due.len() <= if sure > 1 { 0 } else { RECEIPT_LAG }
    }

    /// From now on it is waited for.
    pub fn wait(&mut self) {
        self.quiet_since = Instant::now();
    }

    /// How long it may be quiet while something is awaited: receipts are on their way with the output,
    /// or do not come at all.
    pub(super) fn limit(&self) -> Duration {
        match self.inflight.is_empty() {
            true => self.context.open_timeout,
            false => self.context.step_timeout,
        }
    }

    /// Since when it has said nothing while something was awaited.
    pub fn quiet_since(&self) -> Instant {
        self.quiet_since
    }

    /// When it has been quiet for too long, and for how long then.
    pub fn deadline(&self) -> (Instant, Duration) {
        (self.quiet_since + self.limit(), self.limit())
    }

    /// When the step that is answered next seems to be lost, if the server before hands it on, and its
    /// position.
    pub fn patience(&self) -> Option<(Instant, u32)> {
        let next = self.inflight.front()?;
        let is_handed_on = next.way == Way::HandedOn;
        is_handed_on.then_some((self.quiet_since + HANDED_ON_PATIENCE, next.step.position))
    }

    /// What the server says next. Cancel-safe.
    pub async fn hear(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        match self.kept.pop_front() {
            Some(response) if !self.inflight.is_empty() => Ok(response),
            Some(response) => {
                self.kept.push_front(response);
                self.stream.receive().await
            }
            None => self.stream.receive().await,
        }
    }

    /// Takes a response. What comes out must be like `known`, as far as that goes, within the tolerance.
    pub fn take(
        &mut self,
        response: Response,
        payload: Option<Activations>,
        known: &[u8],
        tolerance: f64,
    ) -> Result<Taken, ServerError> {
        self.quiet_since = Instant::now();
        let mut taken = Taken::Nothing;
        match response {
            Response::NotHandedOn { position, .. } => taken = Taken::NotHandedOn(position),
            Response::Output(step) => {
                if let Some(rows) = self.take_output(step, payload, known, tolerance)? {
                    taken = Taken::Rows(rows);
                }
            }
            Response::Receipt(signed) => self.take_receipt(signed)?,
            Response::VoucherAccepted { positions } => {
                self.accepted = self.accepted.max(positions);
            }
            Response::Refused(_) if self.is_repeat(&response) => self.repeats -= 1,
            Response::Refused(refusal) => return Err(refusal.into()),
            other => return Err(ServerError::Unexpected(super::name(&other))),
        }
        self.match_receipts()?;
        Ok(taken)
    }

    /// Is it the answer to a step that the server had twice? What was handed on may overtake what
    /// was sent from here: then that is a repetition, or comes too late.
    pub(super) fn is_repeat(&self, response: &Response) -> bool {
        let may_be = match response {
            Response::Output(_) => true,
            Response::Refused(refusal) => refusal.code == quipu_protocol::RefusalCode::Position,
            _ => false,
        };
        may_be && self.repeats > 0
    }

    fn take_output(
        &mut self,
        step: Step,
        payload: Option<Activations>,
        known: &[u8],
        tolerance: f64,
    ) -> Result<Option<Bytes>, ServerError> {
        let next = self.inflight.front().map(|inflight| inflight.step.step);
        if step.step < next.unwrap_or(self.next_step) && self.repeats > 0 {
            self.repeats -= 1;
            return Ok(None);
        }
        if next.is_none() && self.taken_from.is_some() && self.kept.len() < MAX_EARLY {
            // What was handed on to it came sooner than the word of that.
            self.kept.push_back((Response::Output(step), payload));
            return Ok(None);
        }
        let given = self
            .inflight
            .pop_front()
            .ok_or(ServerError::Unexpected("an output"))?;
        let payload = payload.ok_or(ServerError::OtherStep)?;
        if step != given.step {
            return Err(ServerError::OtherStep);
        }
        // What is not finite must not reach the next server, who would get the blame.
        payload.to_f32()?;
        let dtype = self.context.dtype;
        if let Some(row) = first_difference(known, &payload.bytes, self.row(), dtype, tolerance) {
            let position = step.position + row;
            let exact = self.context.exact;
            return Err(ServerError::Differs { position, exact });
        }
        let sure = (step.activations.tokens.saturating_sub(step.drafted)) as usize * self.row();
        let (given, given_drafts) = given.bytes.split_at(sure.min(given.bytes.len()));
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
        Ok(Some(payload.bytes))
    }

    /// Commits to what went in and came out, and gives the ranges that are now complete.
    pub(super) fn commit(
        &mut self,
        given: &[u8],
        gave: &[u8],
    ) -> Result<Vec<(Range, Range)>, ServerError> {
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
    pub(super) fn take_receipt(&mut self, signed: SignedReceipt) -> Result<(), ServerError> {
        if self.early.contains(&signed) || self.verified.has(&signed.receipt) {
            return Ok(());
        }
        if self.early.len() >= MAX_EARLY {
            return Err(ServerError::Unexpected("a receipt"));
        }
        self.early.push_back(signed);
        Ok(())
    }

    pub(super) fn match_receipts(&mut self) -> Result<(), ServerError> {
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

    pub(super) async fn send(
        &mut self,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(), ServerError> {
        let limit = self.context.step_timeout;
        Ok(within(limit, self.stream.send(request, payload)).await?)
    }
}
