//! The only writer of the audits and of the indices over them.

use crate::{
    pallet::*,
    types::{Draw, Epoch},
};
use core::marker::PhantomData;
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    agenda::Agenda,
    audit::{Place, Subject},
    NodeId, SessionId,
};

/// What waits for randomness, by the epoch in which the wait began.
pub(crate) type DrawQueue<T> = Agenda<Epoch, Draw, Draws<T>, DrawCursor<T>>;
/// What is to be done in which block.
pub(crate) type Deadlines<T> =
    Agenda<BlockNumberFor<T>, Subject, crate::pallet::Deadlines<T>, DeadlineCursor<T>>;

/// Owner of all that this pallet stores but the seeds, the rate and what is forfeited: each of its functions
/// leaves it in agreement.
pub(crate) struct Book<T>(PhantomData<T>);

impl<T: Config> Book<T> {
    /// An audit begins.
    pub fn open(subject: Subject, audit: AuditOf<T>) {
        Self::enter(subject, &audit);
        Audits::<T>::insert(subject.session, subject.node, audit);
    }

    /// An audit that is not over.
    pub fn get(subject: Subject) -> Result<AuditOf<T>, Error<T>> {
        Audits::<T>::get(subject.session, subject.node)
            .filter(|audit| !audit.stage.is_closed())
            .ok_or(Error::<T>::NoSuchAudit)
    }

    /// The audit is now as `audit` says.
    pub fn put(subject: Subject, audit: AuditOf<T>) {
        if let Some(before) = Audits::<T>::get(subject.session, subject.node) {
            Self::leave(subject, &before);
        }
        Self::open(subject, audit);
    }

    /// Strikes an audit off the record.
    pub fn forget(subject: Subject) {
        if let Some(audit) = Audits::<T>::take(subject.session, subject.node) {
            Self::leave(subject, &audit);
        }
    }

    /// It is to be drawn which of the session's servers are audited.
    pub fn await_draw(session: SessionId, epoch: Epoch) {
        Self::hold(session);
        DrawQueue::<T>::insert(epoch, Draw::Session(session));
    }

    /// Was drawn: the queue drops the entry.
    pub fn drawn(session: SessionId) {
        Self::release(session);
    }

    fn enter(subject: Subject, audit: &AuditOf<T>) {
        match audit.stage.place() {
            Place::Draw(since) => DrawQueue::<T>::insert(since, Draw::Panel(subject)),
            Place::Block(at) => Deadlines::<T>::insert(at, subject),
        }
        if !audit.stage.is_closed() {
            Self::hold(subject.session);
        }
        let bind = |node: NodeId| Bound::<T>::insert(node, subject, ());
        audit.bound(subject).for_each(bind);
    }

    fn leave(subject: Subject, audit: &AuditOf<T>) {
        match audit.stage.place() {
            Place::Draw(since) => DrawQueue::<T>::remove(since, Draw::Panel(subject)),
            Place::Block(at) => Deadlines::<T>::remove(at, subject),
        }
        if !audit.stage.is_closed() {
            Self::release(subject.session);
        }
        let free = |node: NodeId| Bound::<T>::remove(node, subject);
        audit.bound(subject).for_each(free);
    }

    fn hold(session: SessionId) {
        Holds::<T>::mutate(session, |count| *count = count.saturating_add(1));
    }

    fn release(session: SessionId) {
        Holds::<T>::mutate_exists(session, |count| {
            *count = count
                .and_then(|count| count.checked_sub(1))
                .filter(|count| *count > 0);
        });
    }
}
