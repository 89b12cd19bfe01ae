//! What holds at all times; the README says it in words.

use crate::{
    pallet::*,
    types::{Audit, Draw},
};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{ensure, traits::Get};
use quipu_primitives::{
    audit::{Place, Stage, Subject},
    traits::{Nodes, Services},
    NodeId, SessionId,
};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut holds = BTreeMap::<SessionId, u32>::new();
        let mut bound = BTreeSet::<(NodeId, Subject)>::new();
        let (mut waiting, mut timed): (usize, usize) = (0, 0);
        for (session, node, audit) in Audits::<T>::iter() {
            let subject = Subject { session, node };
            Self::try_audit(subject, &audit)?;
            match audit.stage {
                Stage::Waiting { .. } => waiting = waiting.saturating_add(1),
                _ => timed = timed.saturating_add(1),
            }
            if audit.stage.is_closed() {
                continue;
            }
            let count = holds.entry(session).or_default();
            *count = count.saturating_add(1);
            bound.extend(audit.bound(subject).map(|node| (node, subject)));
            ensure!(
                T::Services::served(session).is_some(),
                "an audit outlived its session"
            );
        }
        for (epoch, draw, ()) in Draws::<T>::iter() {
            ensure!(
                DrawCursor::<T>::get().is_some_and(|cursor| cursor <= epoch),
                "a draw stands behind the cursor"
            );
            if let Draw::Session(session) = draw {
                waiting = waiting.saturating_add(1);
                let count = holds.entry(session).or_default();
                *count = count.saturating_add(1);
            }
        }
        ensure!(
            Draws::<T>::iter().count() == waiting,
            "a draw is queued that nothing waits for"
        );
        let mut queued: usize = 0;
        for (at, _, ()) in Deadlines::<T>::iter() {
            queued = queued.saturating_add(1);
            ensure!(
                DeadlineCursor::<T>::get().is_some_and(|cursor| cursor <= at),
                "a deadline stands behind the cursor"
            );
        }
        ensure!(
            queued == timed,
            "a deadline is queued that nothing waits for"
        );
        ensure!(
            Holds::<T>::iter().collect::<BTreeMap<_, _>>() == holds,
            "sessions are held for other reasons than there are"
        );
        let stored: BTreeSet<_> = Bound::<T>::iter()
            .map(|(node, subject, ())| (node, subject))
            .collect();
        ensure!(
            stored == bound,
            "nodes are bound by other audits than there are"
        );
        ensure!(
            bound
                .iter()
                .all(|(node, _)| T::Nodes::keys(*node).is_some()),
            "a node that is bound by an audit is gone"
        );
        let seeds = Seeds::<T>::get();
        let ordered = seeds.windows(2).all(|pair| match pair {
            [(one, _), (next, _)] => one < next,
            _ => false,
        });
        ensure!(ordered, "seeds are out of order");
        Ok(())
    }

    fn try_audit(
        subject: Subject,
        audit: &Audit<T::AccountId, frame_system::pallet_prelude::BlockNumberFor<T>>,
    ) -> Result<(), TryRuntimeError> {
        let round = audit.round;
        let queued = match audit.stage.place() {
            Place::Draw(since) => Draws::<T>::contains_key(since, Draw::Panel(subject)),
            Place::Block(at) => Deadlines::<T>::contains_key(at, subject),
        };
        ensure!(queued, "nothing is to become of an audit");
        let members = audit.members.len() as u32;
        match audit.stage {
            Stage::Waiting { .. } | Stage::Answering { .. } => {
                ensure!(members == 0, "a panel is there too early, or too long");
            }
            Stage::Committing { .. } | Stage::Revealing { .. } => {
                ensure!(members >= round.quorum(), "a panel can't agree");
                ensure!(members <= round.size(), "a panel is too large");
            }
            Stage::Closed { .. } => {}
        }
        let mut seen = BTreeSet::from([subject.node]);
        for member in &audit.members {
            ensure!(seen.insert(member.node), "somebody sits twice");
            ensure!(
                member.commitment.is_some() || member.finding.is_none(),
                "something was revealed that nobody committed to"
            );
            let revealing = !matches!(audit.stage, Stage::Committing { .. });
            ensure!(
                revealing || member.finding.is_none(),
                "something was revealed while others commit"
            );
        }
        ensure!(
            audit.attempts < T::MaxAttempts::get() || audit.stage.is_closed(),
            "panels are drawn for ever"
        );
        let is_trial = round.is_trial();
        ensure!(
            !is_trial || (audit.accusation.is_some() && audit.head.is_some()),
            "a trial is about nothing"
        );
        Ok(())
    }
}
