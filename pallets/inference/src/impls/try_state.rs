//! The properties that hold after every block, checked over the whole state.

use crate::{pallet::*, Due, Fee, HoldReason, Pallet};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{ensure, traits::fungible::hold::Inspect as _};
use quipu_primitives::{Balance, NodeId};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every property that the crate's documentation names.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut held = BTreeMap::new();
        let mut duties = BTreeMap::new();
        let mut entries = 0u32;
        Self::try_sessions(&mut held, &mut duties, &mut entries)?;
        Self::try_jobs(&mut held, &mut duties, &mut entries)?;

        for ((reason, account), amount) in held {
            let reason = if reason == 0 {
                HoldReason::Session
            } else {
                HoldReason::Job
            };
            let on_hold = T::Currency::balance_on_hold(&reason.into(), &account);
            ensure!(
                on_hold == amount,
                "what is on hold is not what the records say"
            );
        }
        let stored: BTreeMap<NodeId, u32> = Duties::<T>::iter().collect();
        ensure!(stored == duties, "the nodes' duties are miscounted");

        let cursor = Cursor::<T>::get();
        let mut queued = 0u32;
        for (at, _, ()) in Deadlines::<T>::iter() {
            queued = queued.saturating_add(1);
            ensure!(
                cursor.is_some_and(|cursor| cursor <= at),
                "an entry stands behind the cursor"
            );
        }
        ensure!(
            queued == entries,
            "the queue holds entries that nothing waits for"
        );
        Ok(())
    }

    fn try_sessions(
        held: &mut BTreeMap<(u8, T::AccountId), Balance>,
        duties: &mut BTreeMap<NodeId, u32>,
        entries: &mut u32,
    ) -> Result<(), TryRuntimeError> {
        let mut open = BTreeMap::new();
        for (id, session) in Sessions::<T>::iter() {
            *entries = entries.saturating_add(1);
            ensure!(
                id < NextSession::<T>::get(),
                "a session has an id not given out yet"
            );
            let queued = Deadlines::<T>::contains_key(session.due, Due::Session(id));
            ensure!(queued, "a session is not in the queue");
            ensure!(
                session.opened_at < session.expires_at,
                "a session was never open"
            );
            if let Some(settlement) = session.settlement {
                ensure!(
                    settlement.at < session.expires_at,
                    "a session was settled too late"
                );
                ensure!(settlement.at < session.closes_at, "a session had no window");
            } else {
                ensure!(
                    session.expires_at < session.closes_at,
                    "a session had no window"
                );
            }

            let mut nodes = BTreeSet::new();
            let mut earned: Balance = 0;
            let mut caps: Balance = 0;
            for server in &session.servers {
                ensure!(nodes.insert(server.node), "a session names a server twice");
                ensure!(
                    server.positions <= session.context_length,
                    "positions lie beyond the context"
                );
                let price = server.price_of(server.positions);
                earned = earned
                    .checked_add(price.ok_or("a server earned more than its cap")?)
                    .ok_or("the earnings overflow")?;
                caps = caps.checked_add(server.cap).ok_or("the caps overflow")?;
                if !session.closed {
                    let count: &mut u32 = duties.entry(server.node).or_default();
                    *count = count.saturating_add(1);
                }
            }
            ensure!(earned <= caps, "a session earned more than its deposit");
            if session.closed {
                ensure!(
                    session.held <= caps,
                    "a closed session holds more than its deposit"
                );
            } else {
                ensure!(
                    session.held == caps,
                    "a session's deposit is not the sum of its caps"
                );
                let count: &mut u32 = open.entry(session.consumer.clone()).or_default();
                *count = count.saturating_add(1);
            }
            let payer = session.payer().clone();
            let sum = held.entry((0, payer)).or_default();
            *sum = sum
                .checked_add(session.held)
                .ok_or("the deposits overflow")?;
        }
        let stored: BTreeMap<T::AccountId, u32> = OpenSessions::<T>::iter().collect();
        ensure!(
            stored == open,
            "the consumers' open sessions are miscounted"
        );
        Ok(())
    }

    fn try_jobs(
        held: &mut BTreeMap<(u8, T::AccountId), Balance>,
        duties: &mut BTreeMap<NodeId, u32>,
        entries: &mut u32,
    ) -> Result<(), TryRuntimeError> {
        let mut sessions = BTreeSet::new();
        let mut answers = 0usize;
        let mut jobs = 0usize;
        for (id, job) in Jobs::<T>::iter() {
            *entries = entries.saturating_add(1);
            jobs = jobs.saturating_add(1);
            ensure!(
                id < NextJob::<T>::get(),
                "a job has an id not given out yet"
            );
            let queued = Deadlines::<T>::contains_key(job.due, Due::Job(id));
            ensure!(queued, "a job is not in the queue");
            ensure!(Prompts::<T>::contains_key(id), "a job has no prompt");
            ensure!(
                Answers::<T>::contains_key(id) == job.result.is_some(),
                "an answer and its attestation don't go together"
            );
            match job.state {
                Fee::Held => {
                    ensure!(job.held == job.fee, "a job's fee is not on hold");
                    let count: &mut u32 = duties.entry(job.node).or_default();
                    *count = count.saturating_add(1);
                }
                Fee::Paid => {
                    ensure!(job.result.is_some(), "a job was paid without an answer");
                    ensure!(job.held == 0, "a paid job holds funds");
                }
                Fee::Refunded => {
                    ensure!(
                        job.held == 0 || job.held == job.fee,
                        "a refund was made in part"
                    );
                }
            }
            if let Some(result) = job.result {
                answers = answers.saturating_add(1);
                ensure!(
                    sessions.insert(result.session),
                    "a session answered two jobs"
                );
                ensure!(
                    result.session >= job.first_session,
                    "a session is older than its job"
                );
                if let Some(session) = Sessions::<T>::get(result.session) {
                    ensure!(session.job == Some(id), "a session does not know its job");
                    let root = session.settlement.map(|settlement| settlement.receipt_root);
                    ensure!(
                        root == Some(result.receipt_root),
                        "an attestation has no settlement"
                    );
                }
            }
            let sum = held.entry((1, job.requester)).or_default();
            *sum = sum.checked_add(job.held).ok_or("the fees overflow")?;
        }
        ensure!(
            Prompts::<T>::iter_keys().count() == jobs,
            "a prompt outlived its job"
        );
        ensure!(
            Answers::<T>::iter_keys().count() == answers,
            "an answer outlived its job"
        );
        Ok(())
    }
}
