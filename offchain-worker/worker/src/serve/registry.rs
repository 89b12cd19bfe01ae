//! Which sessions this process knows, and which stream speaks for each.

use super::{Journal, Journals, Server, MAX_JOURNALS};
use quipu_primitives::{AccountBytes, SessionId};
use quipu_protocol::{Activations, Push, Refusal, RefusalCode, SignedReceipt};
use quipu_worker_core::serve::{Record, Serving, ValidOpen};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pushes that wait for a session: a client has few steps under way.
const INBOX: usize = 8;

/// A session's machine with its journal.
pub(super) struct Live {
    pub(super) serving: Serving,
    /// `None` after a write failed: then the machine knows more than the disk, and is dropped.
    pub(super) journal: Option<Journal>,
}

/// A session. Its lock is held for a request at a time.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) live: tokio::sync::Mutex<Option<Live>>,
    speaker: Mutex<Speaker>,
}

/// The stream that speaks for a session.
#[derive(Default)]
struct Speaker {
    /// Ends it.
    end: CancellationToken,
    /// Where it takes pushes from, once there was a stream.
    inbox: Option<mpsc::Sender<Pushed>>,
}

/// What another server pushed for a session.
pub(super) struct Pushed {
    /// Multihash bytes of its proven peer id.
    pub(super) from: Vec<u8>,
    pub(super) push: Push,
    pub(super) input: Activations,
    /// Hears of it if it is not taken.
    pub(super) refused: mpsc::Sender<(SessionId, u32)>,
}

impl Pushed {
    /// Tells the one who pushed that its client must bring this. Where too much of that waits, the
    /// client finds out by itself.
    pub(super) fn refuse(self) {
        let news = (self.push.session, self.push.position);
        let _ = self.refused.try_send(news);
    }
}

/// The sessions. Each has a journal, so that their number is bounded by that of the journals.
pub(super) struct Registry(Mutex<Sessions>);

struct Sessions {
    slots: HashMap<SessionId, Arc<Slot>>,
    /// Sessions with a journal, in this process or left by one before.
    journaled: HashSet<SessionId>,
}

impl Registry {
    pub(super) fn new(journaled: impl IntoIterator<Item = SessionId>) -> Self {
        Registry(Mutex::new(Sessions {
            slots: HashMap::new(),
            journaled: journaled.into_iter().collect(),
        }))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's slot, which is made if there is room.
    fn slot(&self, session: SessionId) -> Result<Arc<Slot>, Refusal> {
        let mut sessions = self.sessions();
        let is_new = !sessions.journaled.contains(&session);
        if is_new && sessions.journaled.len() >= MAX_JOURNALS {
            let message = "too many sessions wait for their settlement here; try another server";
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        sessions.journaled.insert(session);
        Ok(sessions.slots.entry(session).or_default().clone())
    }

    fn get(&self, session: SessionId) -> Option<Arc<Slot>> {
        self.sessions().slots.get(&session).cloned()
    }

    fn remove(&self, session: SessionId) -> Option<Arc<Slot>> {
        let mut sessions = self.sessions();
        sessions.journaled.remove(&session);
        sessions.slots.remove(&session)
    }
}

impl Slot {
    fn speaker(&self) -> MutexGuard<'_, Speaker> {
        self.speaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a new stream the one that speaks for the session, and ends the one before. Gives what
    /// ends the new one, and its inbox.
    pub(super) fn take_over(&self) -> (CancellationToken, mpsc::Receiver<Pushed>) {
        let end = CancellationToken::new();
        let (inbox, pushed) = mpsc::channel(INBOX);
        let new = Speaker {
            end: end.clone(),
            inbox: Some(inbox),
        };
        std::mem::replace(&mut *self.speaker(), new).end.cancel();
        (end, pushed)
    }

    fn close_stream(&self) {
        self.speaker().end.cancel();
    }

    /// Puts what was pushed into the inbox. Gives it back if there is no stream, or no room.
    fn deliver(&self, pushed: Pushed) -> Result<(), Pushed> {
        match &self.speaker().inbox {
            Some(inbox) => inbox.try_send(pushed).map_err(|error| error.into_inner()),
            None => Err(pushed),
        }
    }
}

/// The session's journal. One of another session that had this number, on a fork of the chain that did
/// not last, is put aside: should that fork win after all, what was signed in it still holds.
fn load(journals: &Journals, terms: &ValidOpen) -> std::io::Result<(Journal, Vec<Record>)> {
    let (session, own_key) = (terms.session, &terms.session_key);
    let (journal, records) = journals.load(session)?;
    match records.first() {
        Some(Record::Opened { session_key, .. }) if session_key != own_key => {
            tracing::warn!(
                session,
                "the journal is of another session of this number; it is put aside"
            );
            journals.put_aside(session, session_key)?;
            journals.take_out(session, own_key)?;
            journals.load(session)
        }
        None if journals.take_out(session, own_key)? => journals.load(session),
        _ => Ok((journal, records)),
    }
}

impl Server {
    /// The session's slot with its machine in it, from its journal where this process does not have
    /// it yet.
    pub(super) async fn slot(self: &Arc<Self>, terms: &ValidOpen) -> Result<Arc<Slot>, Refusal> {
        let slot = self.registry.slot(terms.session)?;
        let mut live = slot.live.lock().await;
        let is_other = |live: &Live| *live.serving.session_key() != terms.session_key;
        if live.as_ref().is_some_and(is_other) {
            slot.close_stream();
            *live = None;
            self.release(terms.session).await;
        }
        if live.is_none() {
            self.parts
                .evidence
                .admit(terms.session, terms.positions)
                .map_err(|full| {
                    let message = format!("no room for what audits ask for: {full}; try another");
                    Refusal::new(RefusalCode::Busy, message)
                })?;
            let neighbours = self.neighbours(terms.session).await?;
            let (journals, own, session) =
                (self.parts.journals.clone(), terms.clone(), terms.session);
            let loaded = tokio::task::spawn_blocking(move || load(&journals, &own)).await;
            let loaded = loaded
                .map_err(std::io::Error::other)
                .and_then(|loaded| loaded);
            let (journal, records) = loaded.map_err(|error| {
                tracing::error!(session, %error, "the journal can't be opened");
                Refusal::new(
                    RefusalCode::Internal,
                    "the server's disk failed; try another",
                )
            })?;
            // The journal alone counts.
            self.parts.book.discard(session);
            for record in &records {
                if let Record::Voucher { voucher, signature } = record {
                    self.parts.book.note(*voucher, *signature);
                }
            }
            let serving = Serving::restore(self.parts.me.clone(), terms, neighbours, records);
            *live = Some(Live {
                serving,
                journal: Some(journal),
            });
        }
        drop(live);
        Ok(slot)
    }

    /// The receipts that were signed in the session with this key, in order.
    pub async fn signed(
        &self,
        session: SessionId,
        session_key: AccountBytes,
    ) -> std::io::Result<Vec<SignedReceipt>> {
        let journals = self.parts.journals.clone();
        let read = tokio::task::spawn_blocking(move || journals.read(session));
        let records = read.await.map_err(std::io::Error::other)??;
        let is_ours = matches!(
            records.first(),
            Some(Record::Opened { session_key: key, .. }) if *key == session_key
        );
        let receipts = records.into_iter().filter_map(|record| match record {
            Record::Receipt(signed) if is_ours => Some(signed),
            _ => None,
        });
        Ok(receipts.collect())
    }

    /// Hands what was pushed to the stream that speaks for its session.
    pub(super) fn deliver(&self, pushed: Pushed) {
        let refused = match self.registry.get(pushed.push.session) {
            Some(slot) => slot.deliver(pushed).err(),
            None => Some(pushed),
        };
        if let Some(pushed) = refused {
            pushed.refuse();
        }
    }

    /// Forgets the caches whose leases ended, and closes their streams.
    pub async fn reap(&self) {
        let now = self.now();
        for session in self.with_leases(|leases| leases.expired(now.time)) {
            let Some(slot) = self.registry.get(session) else {
                self.release(session).await;
                continue;
            };
            // A step is under way: the session is used.
            let Ok(mut live) = slot.live.try_lock() else {
                self.with_leases(|leases| leases.renew(session, now.time));
                continue;
            };
            tracing::debug!(session, "the cache was not used for too long");
            if let Some(live) = live.as_mut() {
                live.serving.evict();
            }
            slot.close_stream();
            self.release(session).await;
            self.parts.metrics.evicted.inc();
        }
    }

    /// Gives a session's cache back.
    pub(super) async fn release(&self, session: SessionId) {
        self.parts.compute.close(session).await;
        self.with_leases(|leases| leases.release(session));
    }

    /// The chain closed the session: nothing of it is needed any more.
    pub async fn forget(&self, session: SessionId) {
        if let Some(slot) = self.registry.remove(session) {
            slot.close_stream();
            *slot.live.lock().await = None;
            self.release(session).await;
        }
        let (journals, evidence) = (self.parts.journals.clone(), self.parts.evidence.clone());
        // Without its journal, what is left of a session is removed at the next start.
        let removed = tokio::task::spawn_blocking(move || {
            journals.remove(session)?;
            evidence.remove(session)
        });
        let removed = removed.await;
        if let Err(error) = removed
            .map_err(std::io::Error::other)
            .and_then(|removed| removed)
        {
            tracing::warn!(session, %error, "what was kept of the session can't be removed");
        }
    }
}
