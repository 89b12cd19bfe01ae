//! One-shot jobs: request, answer, payment, refund.

use super::deadlines::{postpone, Queue};
use crate::{pallet::*, Attested, Due, Error, Event, Fee, HoldReason, Job, Pallet};
use codec::Encode;
use frame_support::{
    ensure,
    traits::{Get, Randomness},
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    hash::hash_of,
    job::{FinishReason, MAX_ANSWER, MAX_PROMPT},
    traits::{Nodes, PayoutGate, Roster, Seat},
    Balance, BoundedBytes, Digest, JobId, NodeId, SessionId, SubnetId,
};
use sp_runtime::{
    traits::{One, Saturating},
    DispatchError, DispatchResult,
};

/// What is known of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Its session was not paid out: it may still be audited.
    Unknown,
    /// Nobody found anything wrong.
    Sound,
    /// Who computed it, or who gave it, was convicted.
    Wrong,
}

impl<T: Config> Pallet<T> {
    /// Stores a job and says how many seats were looked at.
    pub(crate) fn do_request(
        requester: T::AccountId,
        subnet: SubnetId,
        prompt: BoundedBytes<MAX_PROMPT>,
        max_tokens: u32,
        fee: Balance,
    ) -> Result<u32, DispatchError> {
        ensure!(!prompt.is_empty(), Error::<T>::EmptyPrompt);
        ensure!(core::str::from_utf8(&prompt).is_ok(), Error::<T>::NotUtf8);
        ensure!(max_tokens > 0, Error::<T>::NoTokens);
        ensure!(
            max_tokens <= T::MaxJobTokens::get(),
            Error::<T>::TooManyTokens
        );
        ensure!(fee >= T::MinJobFee::get(), Error::<T>::FeeTooLow);
        ensure!(T::Roster::is_active(subnet), Error::<T>::SubnetNotActive);
        let context_length =
            T::Roster::context_length(subnet).ok_or(Error::<T>::SubnetNotActive)?;
        ensure!(max_tokens <= context_length, Error::<T>::TooManyTokens);

        let job = NextJob::<T>::get();
        NextJob::<T>::put(job.checked_add(1).ok_or(Error::<T>::IdsExhausted)?);
        let seats = T::Roster::seats(subnet);
        let looked_at = seats.len() as u32;
        let node = Self::draw(job, seats).ok_or(Error::<T>::NoServer)?;
        Self::hold(HoldReason::Job, &requester, fee)?;
        Self::add_duty(node);

        let deadline = Self::later::<T::JobTimeout>(Self::now());
        let due = deadline.saturating_add(One::one());
        Queue::<T>::insert(due, Due::Job(job));
        Prompts::<T>::insert(job, prompt);
        Jobs::<T>::insert(
            job,
            Job {
                subnet,
                requester: requester.clone(),
                node,
                max_tokens,
                fee,
                held: fee,
                state: Fee::Held,
                result: None,
                first_session: NextSession::<T>::get(),
                deadline,
                due,
            },
        );
        Self::deposit_event(Event::JobRequested {
            job,
            subnet,
            node,
            requester,
            max_tokens,
            fee,
            deadline,
        });
        Ok(looked_at)
    }

    /// One of the seats, each as likely as any other.
    fn draw(job: JobId, mut seats: alloc::vec::Vec<Seat>) -> Option<NodeId> {
        seats.sort_by_key(|seat| seat.node);
        let (seed, _) = T::Randomness::random(&(b"quipu/job", job).encode());
        let draw = hash_of(b"quipu/job/1", &(seed, job));
        // 128 bits against at most 2^32 seats: the remainder's bias can't be seen.
        let number = u128::from_le_bytes(*draw.first_chunk()?);
        let index = number.checked_rem(seats.len() as u128)?;
        seats
            .get(usize::try_from(index).ok()?)
            .map(|seat| seat.node)
    }

    pub(crate) fn do_submit_result(
        hotkey: T::AccountId,
        id: JobId,
        answer: BoundedBytes<MAX_ANSWER>,
        finish: FinishReason,
        session: SessionId,
        receipt_root: Digest,
    ) -> DispatchResult {
        let now = Self::now();
        let mut job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let assigned = T::Nodes::by_hotkey(&hotkey) == Some(job.node);
        ensure!(assigned, Error::<T>::NotAssignedServer);
        ensure!(job.result.is_none(), Error::<T>::JobAlreadyDone);
        let in_time = job.state == Fee::Held && now <= job.deadline;
        ensure!(in_time, Error::<T>::JobExpired);
        ensure!(core::str::from_utf8(&answer).is_ok(), Error::<T>::NotUtf8);
        Self::claim_session(id, &job, session, receipt_root)?;

        let pays_at = Self::later::<T::SettlementWindow>(now);
        job.result = Some(Attested {
            finish,
            session,
            receipt_root,
            pays_at,
        });
        postpone::<T>(&mut job.due, pays_at, Due::Job(id));
        let node = job.node;
        Jobs::<T>::insert(id, job);
        Answers::<T>::insert(id, answer);
        Self::deposit_event(Event::JobDone {
            job: id,
            node,
            session,
            receipt_root,
            finish,
            pays_at,
        });
        Ok(())
    }

    /// Checks that a session vouches for the job's answer, and binds it to the job.
    fn claim_session(
        id: JobId,
        job: &JobOf<T>,
        session_id: SessionId,
        receipt_root: Digest,
    ) -> DispatchResult {
        let mut session = Sessions::<T>::get(session_id).ok_or(Error::<T>::UnknownSession)?;
        ensure!(
            session.subnet == job.subnet,
            Error::<T>::SessionOfOtherSubnet
        );
        let keys = T::Nodes::keys(job.node).ok_or(Error::<T>::NotAssignedServer)?;
        let own = session.consumer == keys.hotkey || session.consumer == keys.coldkey;
        ensure!(own, Error::<T>::SessionOfOtherConsumer);
        ensure!(
            session_id >= job.first_session,
            Error::<T>::SessionOlderThanJob
        );
        ensure!(session.job.is_none(), Error::<T>::SessionAlreadyUsed);
        // Nobody may wait with an answer until it is known that nobody looks at it.
        let is_queued = session.due == session.closes_at;
        ensure!(
            is_queued || T::PayoutGate::is_undecided(session_id),
            Error::<T>::AnsweredTooLate
        );
        let settlement = session.settlement.ok_or(Error::<T>::SessionNotSettled)?;
        ensure!(
            settlement.receipt_root == receipt_root,
            Error::<T>::ReceiptRootMismatch
        );
        session.job = Some(id);
        Sessions::<T>::insert(session_id, session);
        Ok(())
    }

    pub(crate) fn do_pay_job(id: JobId) -> DispatchResult {
        let now = Self::now();
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        ensure!(job.state == Fee::Held, Error::<T>::JobClosed);
        let result = job.result.ok_or(Error::<T>::JobUnanswered)?;
        ensure!(now >= result.pays_at, Error::<T>::JobNotDue);
        ensure!(
            Self::answer_of(result.session) != Answer::Unknown,
            Error::<T>::PayoutWithheld
        );
        Self::close_job(id, job, now);
        Ok(())
    }

    pub(crate) fn do_refund_job(id: JobId) -> DispatchResult {
        let now = Self::now();
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        ensure!(job.state == Fee::Held, Error::<T>::JobClosed);
        ensure!(job.result.is_none(), Error::<T>::JobAlreadyDone);
        ensure!(now > job.deadline, Error::<T>::JobNotDue);
        Self::close_job(id, job, now);
        Ok(())
    }

    /// What the session that computed an answer says of it.
    fn answer_of(session: SessionId) -> Answer {
        match Sessions::<T>::get(session) {
            Some(session) if !session.closed => Answer::Unknown,
            Some(session) if !session.is_sound => Answer::Wrong,
            // One that is no longer on record was paid out long ago.
            _ => Answer::Sound,
        }
    }

    /// Pays for the answer, or gives the fee back where there is none, it is wrong, or the server can't
    /// be paid; keeps the record for a while. The caller has checked that it is time.
    fn close_job(id: JobId, mut job: JobOf<T>, now: BlockNumberFor<T>) {
        Self::end_duty(job.node);
        let (item, node, amount) = (Due::Job(id), job.node, job.held);
        let until = Self::later::<T::RecordRetention>(now);
        let payment = match job.result {
            Some(result) if Self::answer_of(result.session) == Answer::Sound => {
                Self::pay_held(HoldReason::Job, &job.requester, node, amount).ok()
            }
            _ => None,
        };
        match payment {
            Some(to) => {
                job.state = Fee::Paid;
                job.held = 0;
                Self::deposit_event(Event::JobPaid {
                    job: id,
                    node,
                    to,
                    amount,
                });
            }
            None => {
                job.state = Fee::Refunded;
                let requester = job.requester.clone();
                match Self::release_held(HoldReason::Job, &requester, amount) {
                    Ok(()) => {
                        job.held = 0;
                        Self::deposit_event(Event::JobRefunded {
                            job: id,
                            requester,
                            amount,
                        });
                    }
                    Err(_) => {
                        let to = requester;
                        Self::deposit_event(Event::RefundPostponed {
                            item,
                            to,
                            amount,
                            until,
                        });
                    }
                }
            }
        }
        postpone::<T>(&mut job.due, until, item);
        Jobs::<T>::insert(id, job);
    }

    /// What the queue does with a job that is due.
    pub(crate) fn work_off_job(id: JobId, now: BlockNumberFor<T>) {
        let Some(mut job) = Jobs::<T>::get(id) else {
            return;
        };
        let item = Due::Job(id);
        if job.state == Fee::Held {
            let known = job
                .result
                .is_none_or(|result| Self::answer_of(result.session) != Answer::Unknown);
            if known {
                return Self::close_job(id, job, now);
            }
            // Right after the queue comes to its session again.
            let session = job
                .result
                .and_then(|result| Sessions::<T>::get(result.session));
            let next = now.saturating_add(One::one());
            let until = session.map_or(next, |session| session.due.max(next));
            postpone::<T>(&mut job.due, until, item);
            Jobs::<T>::insert(id, job);
            return Self::deposit_event(Event::PayoutPostponed { item, until });
        }
        let (to, amount) = (job.requester.clone(), job.held);
        if amount > 0 {
            if Self::release_held(HoldReason::Job, &to, amount).is_err() {
                let until = Self::later::<T::RecordRetention>(now);
                postpone::<T>(&mut job.due, until, item);
                Jobs::<T>::insert(id, job);
                return Self::deposit_event(Event::RefundPostponed {
                    item,
                    to,
                    amount,
                    until,
                });
            }
            Self::deposit_event(Event::LateRefund { item, to, amount });
        }
        Queue::<T>::remove(job.due, item);
        Jobs::<T>::remove(id);
        Prompts::<T>::remove(id);
        Answers::<T>::remove(id);
    }
}
