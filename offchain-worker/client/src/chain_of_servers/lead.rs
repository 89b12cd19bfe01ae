//! Steps on their way through the chain.
//!
//! All servers are listened to at once. What comes out of one is given to the next as soon as that may
//! have it, so that the steps of a prompt follow on each other: while one server computes a step, the
//! server before it computes the one behind. The history says how far each step has come; what a server
//! was given is a prefix of what crossed the boundary in front of it.

use super::ChainOfServers;
use crate::{
    error::{Broken, ServerError},
    link::{Link, Taken},
};
use bytes::Bytes;
use futures::{future::select_all, FutureExt};
use quipu_protocol::{Activations, Response};
use quipu_worker_core::ports::PeerError;
use std::time::Duration;
use tokio::time::{timeout_at, Instant};
use tracing::debug;

/// Positions of a step of a prompt: few, so that every server soon has something to do, and enough that
/// products with weights are hardly cheaper with more.
const PROMPT_STEP: u32 = 32;

/// A server of the chain failed.
struct Failed {
    at: usize,
    error: ServerError,
}

/// What was heard.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each response and taken apart at once"
)]
enum Heard {
    Said(Response, Option<Activations>),
    /// The stream failed, or nothing came for too long.
    Failed(PeerError),
    /// The step that begins at this position was handed on to the server, and seems to be lost.
    Lost(u32),
}

impl ChainOfServers {
    /// Leads one step, with so many drafted positions at its end, through all blocks, and gives the
    /// rows that come out. Not cancel-safe.
    pub async fn step(&mut self, input: &Activations, drafted: u32) -> Result<Activations, Broken> {
        self.drafted = drafted;
        self.lead(input, input.header.tokens).await?;
        let rows = self.history.last_step(self.blocks);
        Ok(self.history.activations(rows))
    }

    /// Leads a part of a prompt through all blocks, in steps that follow on each other, and gives the row
    /// that comes out for its last position. Not cancel-safe.
    pub async fn prompt(&mut self, input: &Activations) -> Result<Activations, Broken> {
        self.drafted = 0;
        self.lead(input, PROMPT_STEP).await?;
        let rows = self.history.last_step(self.blocks);
        let last = rows.len().saturating_sub(self.history.row_bytes());
        Ok(self.history.activations(rows.get(last..).unwrap_or(&[])))
    }

    /// Leads rows through all blocks, in steps of at most so many.
    async fn lead(&mut self, input: &Activations, most: u32) -> Result<(), Broken> {
        let used = self.history.positions();
        let mut rest = input.clone();
        self.wait();
        loop {
            let Failed { at, error } = match self.turn(&mut rest, most).await {
                Ok(true) => return Ok(()),
                Ok(false) => continue,
                Err(failed) => failed,
            };
            let since = self.hops[at].link.as_ref().map(Link::quiet_since);
            let Err(error) = self.resume(at, error).await else {
                continue;
            };
            let error = self.blame(at, error);
            self.forget_unseen(at, used);
            self.recover(at, error, since.unwrap_or_else(Instant::now))
                .await?;
            self.join().await;
            self.wait();
        }
    }

    /// Every server has its whole time from now on.
    fn wait(&mut self) {
        self.links_mut().for_each(Link::wait);
    }

    /// Gives every server what it may have, and takes one response. True once all of the input has come
    /// out at the end.
    async fn turn(&mut self, rest: &mut Activations, most: u32) -> Result<bool, Failed> {
        if self.hops.iter().any(super::Hop::is_cut_off) {
            self.join().await;
        }
        self.begin(rest, most)?;
        for at in 0..self.hops.len() {
            let given = self.give(at).await;
            given.map_err(|error| Failed { at, error })?;
        }
        let is_led = rest.header.tokens == 0 && self.has_crossed();
        if is_led && self.is_idle() {
            return Ok(true);
        }
        let (at, heard) = self.hear(!is_led).await;
        self.take(at, heard)
            .map_err(|error| Failed { at, error })
            .map(|()| false)
    }

    /// Is nothing awaited of any server, but for receipts that may lag?
    fn is_idle(&self) -> bool {
        self.links().all(Link::is_idle)
    }

    /// Have all steps come out at the end?
    fn has_crossed(&self) -> bool {
        self.history.crossed(self.blocks) == self.history.positions()
    }

    /// Lets further steps enter the chain, as far as every server's credit allows them: one that is
    /// handed on is not asked for first.
    fn begin(&mut self, rest: &mut Activations, most: u32) -> Result<(), Failed> {
        while rest.header.tokens > 0 {
            let left = rest.header.tokens;
            let mut tokens = left.min(most);
            let room = self.room();
            if tokens > room {
                if !self.has_crossed() || self.links().any(Link::owes) {
                    break;
                }
                if room == 0 {
                    let at = self.hops.iter().position(|hop| {
                        let link = hop.link.as_ref();
                        link.is_some_and(|link| link.allowed() <= self.history.positions())
                    });
                    let (at, error) = (at.unwrap_or(0), ServerError::Credit(0));
                    return Err(Failed { at, error });
                }
                tokens = room;
            }
            let (Some(now), Some(later)) = (rest.rows(0, tokens), rest.rows(tokens, left)) else {
                break;
            };
            self.history.begin(&now);
            *rest = later;
        }
        Ok(())
    }

    /// Gives a server the steps that have come to it, the receipts for them, and its pay.
    async fn give(&mut self, at: usize) -> Result<(), ServerError> {
        let (before, behind) = self.hops.split_at_mut(at);
        let Some(hop) = behind.first_mut() else {
            return Ok(());
        };
        let (boundary, Some(link)) = (hop.span.start, &mut hop.link) else {
            return Err(ServerError::Forgot { position: 0 });
        };
        let before = before.last_mut().and_then(|hop| hop.link.as_mut());
        let upstream = self.history.receipts(boundary);
        while let Some(tokens) = self.history.step_at(link.sent()) {
            let position = link.sent();
            let Some(rows) = self.history.rows_of(boundary, position, tokens) else {
                break;
            };
            let is_last = position + tokens == self.history.positions();
            let drafted = if is_last { self.drafted } else { 0 };
            let handed_on = before
                .as_ref()
                .is_some_and(|before| before.hands_on(link, position));
            if !handed_on {
                let sure = tokens.saturating_sub(drafted);
                let is_vouched_for = before
                    .as_ref()
                    .is_none_or(|before| before.vouches_for(sure));
                if !is_vouched_for || !link.fits(tokens) {
                    break;
                }
                if tokens > link.room() {
                    if link.owes() {
                        break;
                    }
                    return Err(ServerError::Credit(link.room()));
                }
                // The server compares the receipts with what comes in. A break here must not cost
                // the rows, nor hide that the server may have been given them already.
                link.forward(upstream, position + tokens).await?;
            }
            link.give(tokens, drafted, Bytes::copy_from_slice(rows), handed_on)
                .await?;
        }
        link.bring().await?;
        link.forward(upstream, link.sent()).await?;
        link.pay().await
    }

    /// Waits until a server says something, or has been quiet for too long. `more` tells whether steps are
    /// on their way: then each receipt may be what they wait for. Cancel-safe.
    async fn hear(&mut self, more: bool) -> (usize, Heard) {
        let count = self.hops.len();
        let hands_on: Vec<bool> = (1..=count)
            .map(|next| {
                let link = self.hops.get(next).and_then(|hop| hop.link.as_ref());
                link.is_some_and(Link::is_handed_to)
            })
            .collect();
        let mut first = (
            Instant::now() + NEVER,
            0,
            Heard::Failed(PeerError::Timeout(NEVER)),
        );
        let mut heard = Vec::with_capacity(count);
        for (at, hop) in self.hops.iter_mut().enumerate() {
            let Some(link) = &mut hop.link else { continue };
            let is_waited_for = !link.is_idle() || more && link.owes();
            if !is_waited_for && !hands_on[at] {
                continue;
            }
            let (deadline, limit) = link.deadline();
            if is_waited_for && deadline < first.0 {
                first = (deadline, at, Heard::Failed(PeerError::Timeout(limit)));
            }
            if let Some((deadline, position)) = link.patience().filter(|one| one.0 < first.0) {
                first = (deadline, at, Heard::Lost(position));
            }
            heard.push(Box::pin(async move { (at, link.hear().await) }));
        }
        let (deadline, at, late) = first;
        if heard.is_empty() {
            return (at, late);
        }
        match timeout_at(deadline, select_all(heard)).await {
            Ok(((at, Ok((response, payload))), ..)) => (at, Heard::Said(response, payload)),
            Ok(((at, Err(error)), ..)) => (at, Heard::Failed(error)),
            Err(_) => (at, late),
        }
    }

    fn take(&mut self, at: usize, heard: Heard) -> Result<(), ServerError> {
        let Some(hop) = self.hops.get_mut(at) else {
            return Ok(());
        };
        let (end, Some(link)) = (hop.span.end, &mut hop.link) else {
            return Ok(());
        };
        match heard {
            Heard::Failed(error) => return Err(error.into()),
            Heard::Lost(position) => {
                link.is_missing(Some(position));
                let before = at.checked_sub(1).and_then(|at| self.hops[at].link.as_mut());
                if let Some(before) = before {
                    debug!(
                        node = before.server.node,
                        position, "what it handed on seems lost"
                    );
                    before.went_missing(position);
                }
            }
            Heard::Said(response, payload) => {
                match link.take(response, payload, &[], 0.0)? {
                    Taken::Nothing => {}
                    Taken::Rows(rows) => self.history.append(end, &rows),
                    Taken::NotHandedOn(position) => {
                        link.went_missing(position);
                        let next = self.hops.get_mut(at + 1).and_then(|hop| hop.link.as_mut());
                        if let Some(next) = next {
                            next.is_missing(Some(position));
                        }
                    }
                }
                self.absorb(at);
            }
        }
        Ok(())
    }

    /// Opens a stream that broke again, where that loses nothing. Else gives the error back.
    async fn resume(&mut self, at: usize, error: ServerError) -> Result<(), ServerError> {
        if !error.is_connection() {
            return Err(error);
        }
        // What came before the break is not lost, though it was noticed while something was sent.
        while let Some((response, payload)) = self.heard_already(at) {
            self.take(at, Heard::Said(response, payload))?;
        }
        let hop = &mut self.hops[at];
        match &mut hop.link {
            Some(link) => {
                link.resume(error, self.history.receipts(hop.span.start))
                    .await
            }
            None => Err(error),
        }
    }

    fn heard_already(&mut self, at: usize) -> Option<(Response, Option<Activations>)> {
        let link = self.hops.get_mut(at)?.link.as_mut()?;
        link.hear().now_or_never()?.ok()
    }

    /// What a server that failed gave, and nobody was given: its replacement need not give it again. Of
    /// what came out at the end, the first `used` positions are in the answer.
    fn forget_unseen(&mut self, at: usize, used: u32) {
        let end = self.hops[at].span.end;
        let next = self.hops.get(at + 1).and_then(|hop| hop.link.as_ref());
        self.history
            .forget_unseen(end, next.map_or(used, Link::sent));
    }
}

/// Longer than any limit of a link.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
