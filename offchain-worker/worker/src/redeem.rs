//! Turning vouchers into money: the server's own redemption when the client did not settle, or
//! settled with less than it promised.
//!
//! The book holds the best voucher of each session. The redeemer looks at the chain's record of a
//! session whenever that may have changed, and acts on what it finds there: nothing is remembered
//! of what was sent, so nothing is sent twice, not even after a crash.

use crate::{serve::Server, telemetry::Metrics};
use quipu_primitives::{views::SessionStatus, voucher_payload, SessionId, SignatureBytes, Voucher};
use quipu_worker_core::{
    ports::{Call, ChainError, SharedChain},
    verify, Signer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{watch, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The vouchers, and which sessions want looking at. Bounded by the journals.
#[derive(Debug, Default)]
pub struct Book {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    vouchers: BTreeMap<SessionId, (Voucher, SignatureBytes)>,
    /// Block at which the session expires, once known.
    deadlines: BTreeMap<SessionId, u32>,
    /// To be looked at now.
    dirty: BTreeSet<SessionId>,
    /// To be looked at in the next block.
    later: BTreeSet<SessionId>,
}

impl Book {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a voucher. Lower ones than what is known change nothing.
    pub fn note(&self, voucher: Voucher, signature: SignatureBytes) {
        let mut inner = self.inner();
        let known = inner.vouchers.get(&voucher.session);
        if known.is_none_or(|(known, _)| known.positions < voucher.positions) {
            let is_new = known.is_none();
            inner.vouchers.insert(voucher.session, (voucher, signature));
            if is_new {
                // Its deadline has to be known.
                inner.dirty.insert(voucher.session);
                self.wake.notify_one();
            }
        }
    }

    /// Forgets the voucher of a session, which may get another.
    pub fn discard(&self, session: SessionId) {
        self.inner().vouchers.remove(&session);
    }

    /// The session expires at this block.
    pub fn opened(&self, session: SessionId, deadline: u32) {
        self.inner().deadlines.insert(session, deadline);
    }

    fn deadline(&self, session: SessionId) -> Option<u32> {
        self.inner().deadlines.get(&session).copied()
    }

    /// The chain's record of the session may have changed.
    pub fn touch(&self, session: SessionId) {
        self.inner().dirty.insert(session);
        self.wake.notify_one();
    }

    /// The best voucher of a session.
    pub fn best(&self, session: SessionId) -> Option<(Voucher, SignatureBytes)> {
        self.inner().vouchers.get(&session).copied()
    }

    /// A new block: what expires by it, and what was put off, is due.
    fn tick(&self, block: u32) {
        let mut inner = self.inner();
        let expired = inner
            .deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= block);
        let expired: Vec<SessionId> = expired.map(|(session, _)| *session).collect();
        for session in expired {
            inner.deadlines.remove(&session);
            inner.dirty.insert(session);
        }
        let mut later = std::mem::take(&mut inner.later);
        inner.dirty.append(&mut later);
    }

    fn next(&self) -> Option<SessionId> {
        self.inner().dirty.pop_first()
    }

    fn settle_what(&self, session: SessionId, look: Look) {
        let mut inner = self.inner();
        match look {
            Look::Until(deadline) => {
                inner.deadlines.insert(session, deadline);
            }
            Look::Again => {
                inner.later.insert(session);
            }
            Look::OnEvent => {}
            Look::Never => {
                inner.vouchers.remove(&session);
                inner.deadlines.remove(&session);
                inner.later.remove(&session);
            }
        }
    }
}

/// When to look at a session again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At this block.
    Until(u32),
    /// In the next block.
    Again,
    /// When something happens to it.
    OnEvent,
    /// It is over.
    Never,
}

/// Redeems vouchers.
pub struct Redeemer {
    /// The chain.
    pub chain: SharedChain,
    /// Pays the fees: the hotkey.
    pub signer: Arc<dyn Signer>,
    /// The vouchers.
    pub book: Arc<Book>,
    /// Forgets sessions that are over.
    pub server: Arc<Server>,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// Counts what is redeemed.
    pub metrics: Metrics,
}

impl Redeemer {
    /// Redeems until `stop`. A submission under way is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            while let Some(session) = self.book.next() {
                if stop.is_cancelled() {
                    return;
                }
                let look = self.consider(session).await.unwrap_or_else(|error| {
                    warn!(session, %error, "the session can't be looked at; trying again");
                    Look::Again
                });
                self.book.settle_what(session, look);
                if look == Look::Never {
                    self.server.forget(session).await;
                }
            }
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = self.book.wake.notified() => {}
                changed = self.block.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let block = *self.block.borrow_and_update();
            self.book.tick(block);
        }
    }

    /// Looks at a session, redeems what there is to redeem, and says when to look again.
    async fn consider(&self, session: SessionId) -> Result<Look, ChainError> {
        let Some(info) = self.chain.session(session).await? else {
            // A node that is still syncing knows nothing of the session either.
            let block = *self.block.borrow();
            return Ok(match self.book.deadline(session) {
                Some(deadline) if block < deadline => Look::Until(deadline),
                _ => Look::Never,
            });
        };
        let node = self.server.me().node;
        let recorded = info
            .servers
            .iter()
            .find(|server| server.node == node)
            .map(|server| server.positions);
        let Some((voucher, signature)) = self.book.best(session) else {
            return Ok(match info.status {
                SessionStatus::Closed => Look::Never,
                _ => Look::OnEvent,
            });
        };
        let payload = voucher_payload(&self.server.me().genesis, &voucher);
        if !verify(&info.session_key, &payload, &signature) {
            warn!(
                session,
                "the voucher is of another chain's session of this number"
            );
            self.book.discard(session);
            return Ok(Look::OnEvent);
        }
        let missing = recorded.is_some_and(|positions| positions < voucher.positions);
        match info.status {
            SessionStatus::Open => Ok(Look::Until(info.deadline)),
            SessionStatus::Settling if missing => self.redeem(voucher, signature).await,
            SessionStatus::Settling => Ok(Look::OnEvent),
            SessionStatus::Closed => {
                if missing {
                    warn!(
                        session,
                        promised = voucher.positions,
                        ?recorded,
                        "closed unredeemed"
                    );
                    self.metrics.unredeemed.inc();
                }
                Ok(Look::Never)
            }
        }
    }

    async fn redeem(
        &self,
        voucher: Voucher,
        signature: SignatureBytes,
    ) -> Result<Look, ChainError> {
        let session = voucher.session;
        match self
            .chain
            .submit(&*self.signer, Call::Redeem { voucher, signature })
            .await
        {
            Ok(included) => {
                info!(
                    session,
                    voucher.positions,
                    block = included.number,
                    "redeemed"
                );
                self.metrics.redeemed.inc();
                Ok(Look::OnEvent)
            }
            // Sending it again would cost another fee, and change nothing.
            Err(ChainError::Dispatch { error, .. }) => {
                warn!(session, %error, "the voucher was not taken");
                Ok(Look::OnEvent)
            }
            Err(error) => Err(error),
        }
    }
}
