//! What the calls do, and what happens in blocks.

use crate::{
    book::{Book, Deadlines, DrawQueue},
    draw,
    pallet::*,
    types::{Audit, Draw, Epoch},
    WeightInfo,
};
use alloc::vec::Vec;
use frame_support::{
    ensure,
    traits::{Get, Randomness},
    weights::{Weight, WeightMeter},
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    audit::{Accusation, Finding, Member, Outcome, Round, Stage, Subject},
    traits::{
        genesis, AuditDuties, Bonds, Nodes, Obligations, PayoutGate, Served, ServedSession,
        Services,
    },
    Balance, Digest, NodeId, SessionId,
};

/// What one node did in a session.
struct Work<AccountId> {
    node: NodeId,
    /// What it is paid for it.
    price: Balance,
    /// Who is cheated if it is wrong.
    victim: AccountId,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }

    /// The member of the panel that this hotkey signs for.
    fn member<'a>(
        audit: &'a mut AuditOf<T>,
        hotkey: &T::AccountId,
    ) -> Result<&'a mut Member, Error<T>> {
        let node = T::Nodes::by_hotkey(hotkey).ok_or(Error::<T>::NotOnThePanel)?;
        let mut members = audit.members.iter_mut();
        members
            .find(|member| member.node == node)
            .ok_or(Error::<T>::NotOnThePanel)
    }

    pub(crate) fn do_commit(
        hotkey: &T::AccountId,
        subject: Subject,
        commitment: Digest,
    ) -> Result<(), Error<T>> {
        let mut audit = Book::<T>::get(subject)?;
        let stage = audit.stage;
        let member = Self::member(&mut audit, hotkey)?;
        ensure!(
            matches!(stage, Stage::Committing { until } if Self::now() < until),
            Error::<T>::NotCommitting
        );
        ensure!(member.commitment.is_none(), Error::<T>::AlreadyCommitted);
        member.commitment = Some(commitment);
        let node = member.node;
        Self::deposit_event(Event::Committed { subject, node });
        if audit
            .members
            .iter()
            .all(|member| member.commitment.is_some())
        {
            Self::begin_reveal(subject, &mut audit);
        }
        Book::<T>::put(subject, audit);
        Ok(())
    }

    pub(crate) fn do_reveal(
        hotkey: &T::AccountId,
        subject: Subject,
        finding: Finding,
        salt: [u8; 32],
    ) -> Result<(), Error<T>> {
        let mut audit = Book::<T>::get(subject)?;
        let (stage, is_trial) = (audit.stage, audit.round.is_trial());
        let member = Self::member(&mut audit, hotkey)?;
        let node = member.node;
        ensure!(
            matches!(stage, Stage::Revealing { until } if Self::now() < until),
            Error::<T>::NotRevealing
        );
        let commitment = member.commitment.ok_or(Error::<T>::NotCommitted)?;
        ensure!(member.finding.is_none(), Error::<T>::AlreadyRevealed);
        ensure!(
            commitment == finding.commitment(&genesis::<T>(), subject, node, &salt),
            Error::<T>::CommitmentMismatch
        );
        if finding.verdict.accuses() && !is_trial {
            let bonded = T::Bonds::self_bond(node);
            ensure!(bonded >= T::AccusationBond::get(), Error::<T>::BondTooSmall);
        }
        member.finding = Some(finding);
        Self::deposit_event(Event::Revealed {
            subject,
            node,
            finding,
        });
        let mut committed = audit
            .members
            .iter()
            .filter(|member| member.commitment.is_some());
        if committed.all(|member| member.finding.is_some()) {
            Self::conclude(subject, &mut audit);
        }
        Book::<T>::put(subject, audit);
        Ok(())
    }

    pub(crate) fn do_answer(
        hotkey: &T::AccountId,
        subject: Subject,
        head: Digest,
    ) -> Result<(), Error<T>> {
        let mut audit = Book::<T>::get(subject)?;
        ensure!(
            T::Nodes::by_hotkey(hotkey) == Some(subject.node),
            Error::<T>::NotTheServer
        );
        ensure!(
            matches!(audit.stage, Stage::Answering { until } if Self::now() < until),
            Error::<T>::NotAnswering
        );
        audit.head = Some(head);
        Self::deposit_event(Event::Answered { subject, head });
        Self::wait_for(Round::Committee, &mut audit);
        Book::<T>::put(subject, audit);
        Ok(())
    }

    /// Keeps the seed of an epoch that just began.
    pub(crate) fn note_epoch() {
        let epoch = T::Epoch::get();
        let mut seeds = Seeds::<T>::get();
        if seeds.last().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        let (hash, _) = T::Randomness::random(b"quipu/audits");
        let seed = Digest::try_from(hash.as_ref()).unwrap_or_default();
        if seeds.is_full() {
            seeds.remove(0);
        }
        if seeds.try_push((epoch, seed)).is_ok() {
            Seeds::<T>::put(seeds);
        }
    }

    /// What is drawn with of what waits since `since`; `None` if it is too early.
    fn seed_for(since: Epoch) -> Option<Digest> {
        let ready = since.saturating_add(DRAW_DELAY);
        let seeds = Seeds::<T>::get();
        let mut known = seeds.iter().filter(|(epoch, _)| *epoch >= ready);
        known.next().map(|(_, seed)| *seed)
    }

    /// Does what is due by block `now`, within `limit`, and says what weight that took.
    pub(crate) fn work_off(now: BlockNumberFor<T>, limit: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(limit);
        let look = T::WeightInfo::idle();
        let (servers, nodes) = (T::MaxServers::get(), T::MaxNodes::get());
        Deadlines::<T>::work_off(
            now,
            &mut meter,
            look,
            |_| T::WeightInfo::time_out(),
            |_, subject| Self::time_out(now, subject),
        );
        if let Some(ready) = T::Epoch::get().checked_sub(DRAW_DELAY) {
            DrawQueue::<T>::work_off(
                ready,
                &mut meter,
                look,
                |draw| match draw {
                    Draw::Session(_) => T::WeightInfo::draw_session(servers, nodes),
                    Draw::Panel(_) => T::WeightInfo::draw_panel(nodes),
                },
                |since, draw| match draw {
                    Draw::Session(session) => Self::draw_session(since, session),
                    Draw::Panel(subject) => Self::draw_next(since, subject),
                },
            );
        }
        meter.consumed()
    }

    /// Draws which of a session's servers are audited, and by whom.
    pub(crate) fn draw_session(since: Epoch, session: SessionId) {
        let servers = match (Self::seed_for(since), T::Services::served(session)) {
            (Some(seed), Some(served)) => Self::draw_works(&seed, since, session, &served),
            _ => Vec::new(),
        };
        Book::<T>::drawn(session);
        Self::deposit_event(Event::SessionDrawn { session, servers });
    }

    /// What there is to audit in a session: each server's work, and what whoever answered a job with it gave
    /// for an answer.
    fn works(served: &ServedSession<T::AccountId>) -> Vec<Work<T::AccountId>> {
        let worked = served.servers.iter().filter(|one| one.positions > 0);
        let work = |server: &Served| Work {
            node: server.node,
            price: server.earned,
            victim: served.consumer.clone(),
        };
        let mut works: Vec<_> = worked.map(work).collect();
        if let Some(answered) = &served.answered {
            // Who served its own answer is audited for both at once.
            let own = works.iter().position(|work| work.node == answered.node);
            let served = own.map_or(0, |own| works.swap_remove(own).price);
            works.push(Work {
                node: answered.node,
                price: served.saturating_add(answered.fee),
                victim: answered.requester.clone(),
            });
        }
        works
    }

    /// Begins the audits of those works that are drawn and can be audited, and says whose they are.
    fn draw_works(
        seed: &Digest,
        since: Epoch,
        session: SessionId,
        served: &ServedSession<T::AccountId>,
    ) -> Vec<NodeId> {
        let rate = Rate::<T>::get();
        let of = |node: NodeId| Subject { session, node };
        let mut drawn = Self::works(served);
        drawn.retain(|work| draw::is_audited(seed, of(work.node), rate));
        // Of most sessions nobody is: the nodes of the subnet are not read for them.
        if drawn.is_empty() {
            return Vec::new();
        }
        let candidates = Self::candidates(served, core::iter::empty());
        let begin = |work: &Work<T::AccountId>| {
            let subject = of(work.node);
            let mut audit = Audit {
                subnet: served.subnet,
                victim: work.victim.clone(),
                price: work.price,
                round: Round::First,
                stage: Stage::Waiting { since },
                attempts: 0,
                members: Default::default(),
                passes: Default::default(),
                accusation: None,
                head: None,
            };
            let begun = Self::draw_panel(seed, subject, &mut audit, candidates.clone());
            if begun {
                Book::<T>::open(subject, audit);
            }
            begun
        };
        drawn.retain(begin);
        drawn.into_iter().map(|work| work.node).collect()
    }

    /// Draws the panel that an audit waits for.
    pub(crate) fn draw_next(since: Epoch, subject: Subject) {
        let Ok(mut audit) = Book::<T>::get(subject) else {
            return;
        };
        let served = T::Services::served(subject.session);
        match (Self::seed_for(since), served) {
            (Some(seed), Some(served)) => Self::next_round(&seed, subject, &mut audit, &served),
            // Without the session nobody is known to be a party to it.
            _ => Self::give_up(subject, &mut audit),
        }
        Book::<T>::put(subject, audit);
    }

    fn next_round(
        seed: &Digest,
        subject: Subject,
        audit: &mut AuditOf<T>,
        served: &ServedSession<T::AccountId>,
    ) {
        let is_first_try = audit.round == Round::Second && audit.attempts == 0;
        let rate = T::SecondRate::get();
        if is_first_try && !draw::is_checked_again(seed, subject, rate) {
            return Self::give_up(subject, audit);
        }
        let passed = audit.passes.iter().map(|pass| pass.node);
        let accuser = audit.accusation.iter().map(|accusation| accusation.node);
        let candidates = Self::candidates(served, passed.chain(accuser));
        if !Self::draw_panel(seed, subject, audit, candidates) {
            Self::give_up(subject, audit);
        }
    }

    /// The time of an audit's stage is over.
    pub(crate) fn time_out(now: BlockNumberFor<T>, subject: Subject) {
        let Some(mut audit) = Audits::<T>::get(subject.session, subject.node) else {
            return;
        };
        match audit.stage {
            Stage::Waiting { .. } => return,
            Stage::Committing { .. } => {
                let committed = |member: &Member| member.commitment.is_some();
                Self::note_missed(subject, &audit, committed);
                match audit.members.iter().any(committed) {
                    true => Self::begin_reveal(subject, &mut audit),
                    false => Self::conclude(subject, &mut audit),
                }
            }
            Stage::Revealing { .. } => {
                // Who did not commit was noted then.
                Self::note_missed(subject, &audit, |member| {
                    member.commitment.is_none() || member.finding.is_some()
                });
                Self::conclude(subject, &mut audit);
            }
            Stage::Answering { .. } => Self::unanswered(subject, &mut audit),
            Stage::Closed { kept_until, .. } => {
                if kept_until <= now {
                    Book::<T>::forget(subject);
                }
                return;
            }
        }
        Book::<T>::put(subject, audit);
    }

    fn note_missed(subject: Subject, audit: &AuditOf<T>, did: impl Fn(&Member) -> bool) {
        for member in audit.members.iter().filter(|member| !did(member)) {
            let node = member.node;
            Self::deposit_event(Event::DutyMissed { subject, node });
            T::Duties::duty_missed(node);
        }
    }

    /// The server did not answer in time.
    fn unanswered(subject: Subject, audit: &mut AuditOf<T>) {
        let accuses = |accusation: Accusation| accusation.verdict.accuses();
        match audit.accusation.is_some_and(accuses) {
            true => Self::close(subject, audit, Outcome::Withheld),
            // Who can't tell has proved nothing: the trial looks for itself.
            false => Self::wait_for(Round::Committee, audit),
        }
    }
}

impl<T: Config> PayoutGate for Pallet<T> {
    fn ended(session: SessionId) {
        // Where nothing is audited, nothing waits.
        if Rate::<T>::get().is_zero() || Holds::<T>::contains_key(session) {
            return;
        }
        let is_work = |served: ServedSession<T::AccountId>| !Self::works(&served).is_empty();
        if T::Services::served(session).is_some_and(is_work) {
            Book::<T>::await_draw(session, T::Epoch::get());
        }
    }

    fn may_pay_out(session: SessionId) -> bool {
        !Holds::<T>::contains_key(session)
    }

    fn take_forfeits(session: SessionId) -> Vec<NodeId> {
        Forfeits::<T>::drain_prefix(session)
            .map(|(node, ())| node)
            .collect()
    }

    fn is_undecided(session: SessionId) -> bool {
        let now = T::Epoch::get();
        let mut epochs = now.saturating_sub(DRAW_DELAY)..=now;
        let awaits = |since| Draws::<T>::contains_key(since, Draw::Session(session));
        Rate::<T>::get().is_zero() || epochs.any(awaits)
    }
}

impl<T: Config> Obligations for Pallet<T> {
    fn has_obligations(node: NodeId) -> bool {
        Bound::<T>::iter_key_prefix(node).next().is_some()
    }
}
