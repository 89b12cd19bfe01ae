//! One-shot jobs.

use super::{dispatch, Outcome, State, JOB_TIMEOUT, RECORD_RETENTION, SETTLEMENT_WINDOW};
use quipu_primitives::{
    job::FinishReason,
    views::{JobInfo, JobStatus},
    AccountBytes, Balance, Digest, JobId, NodeId, SessionId, SubnetId,
};
use quipu_worker_core::ports::ChainEvent;

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) info: JobInfo<AccountBytes>,
    first_session: SessionId,
    pays_at: Option<u32>,
    ended_at: Option<u32>,
}

impl State {
    /// The job goes to the seated node with the lowest id: tests want to know which.
    pub(super) fn request_job(
        &mut self,
        requester: AccountBytes,
        subnet: SubnetId,
        prompt: Vec<u8>,
        max_tokens: u32,
        fee: Balance,
    ) -> Outcome {
        if prompt.is_empty() {
            return dispatch("Inference", "EmptyPrompt");
        }
        if std::str::from_utf8(&prompt).is_err() {
            return dispatch("Inference", "NotUtf8");
        }
        if !self.is_active(subnet) {
            return dispatch("Inference", "SubnetNotActive");
        }
        let seated = self.roster(subnet).find(|node| node.seat.is_some());
        let Some(node) = seated.map(|node| node.id) else {
            return dispatch("Inference", "NoServer");
        };
        let Ok(prompt) = prompt.try_into() else {
            return dispatch("Inference", "PromptTooLong");
        };
        self.take(requester, fee)?;
        self.next_job += 1;
        let id = self.next_job;
        let job = Job {
            info: JobInfo {
                id,
                subnet,
                requester,
                node,
                prompt,
                max_tokens,
                fee,
                deadline: self.block + JOB_TIMEOUT,
                status: JobStatus::Assigned,
            },
            first_session: self.next_session + 1,
            pays_at: None,
            ended_at: None,
        };
        self.jobs.insert(id, job);
        Ok(vec![ChainEvent::JobRequested {
            job: id,
            subnet,
            node,
        }])
    }

    pub(super) fn submit_result(
        &mut self,
        who: AccountBytes,
        id: JobId,
        answer: Vec<u8>,
        finish: FinishReason,
        (session_id, receipt_root): (SessionId, Digest),
    ) -> Outcome {
        let now = self.block;
        let Some(job) = self.jobs.get_mut(&id) else {
            return dispatch("Inference", "UnknownJob");
        };
        let Some(node) = self.nodes.get(&job.info.node) else {
            return dispatch("Inference", "NotAssignedServer");
        };
        if node.hotkey != who {
            return dispatch("Inference", "NotAssignedServer");
        }
        if !matches!(job.info.status, JobStatus::Assigned) {
            return dispatch("Inference", "JobAlreadyDone");
        }
        if now > job.info.deadline {
            return dispatch("Inference", "JobExpired");
        }
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return dispatch("Inference", "UnknownSession");
        };
        if session.info.subnet != job.info.subnet {
            return dispatch("Inference", "SessionOfOtherSubnet");
        }
        if ![node.hotkey, node.coldkey].contains(&session.info.consumer) {
            return dispatch("Inference", "SessionOfOtherConsumer");
        }
        if session_id < job.first_session {
            return dispatch("Inference", "SessionOlderThanJob");
        }
        if session.info.job.is_some() {
            return dispatch("Inference", "SessionAlreadyUsed");
        }
        match session.info.receipt_root {
            None => return dispatch("Inference", "SessionNotSettled"),
            Some(root) if root != receipt_root => {
                return dispatch("Inference", "ReceiptRootMismatch")
            }
            Some(_) => {}
        }
        let Ok(answer) = answer.try_into() else {
            return dispatch("Inference", "AnswerTooLong");
        };
        session.info.job = Some(id);
        job.info.status = JobStatus::Done {
            answer,
            finish,
            session: session_id,
            receipt_root,
            paid: false,
        };
        job.pays_at = Some(now + SETTLEMENT_WINDOW);
        Ok(vec![ChainEvent::JobDone { job: id }])
    }

    /// The jobs that wait for a node, in order.
    pub(super) fn open_jobs(&self, node: NodeId) -> Vec<JobId> {
        let waits = |job: &Job| {
            job.info.node == node
                && matches!(job.info.status, JobStatus::Assigned)
                && self.block <= job.info.deadline
        };
        let jobs = self.jobs.iter().filter(|(_, job)| waits(job));
        jobs.map(|(id, _)| *id).collect()
    }

    pub(super) fn refund_job(&mut self, id: JobId) -> Outcome {
        match self.jobs.get(&id) {
            None => dispatch("Inference", "UnknownJob"),
            Some(job) if !matches!(job.info.status, JobStatus::Assigned) => {
                dispatch("Inference", "JobClosed")
            }
            Some(job) if self.block <= job.info.deadline => dispatch("Inference", "JobNotDue"),
            Some(_) => Ok(self.end_job(id)),
        }
    }

    fn end_job(&mut self, id: JobId) -> Vec<ChainEvent> {
        let now = self.block;
        let Some(job) = self.jobs.get_mut(&id) else {
            return Vec::new();
        };
        job.ended_at = Some(now);
        let (fee, requester) = (job.info.fee, job.info.requester);
        if let JobStatus::Done { paid, .. } = &mut job.info.status {
            *paid = true;
            let owner = self.nodes.get(&job.info.node).map(|node| node.coldkey);
            self.give(owner.unwrap_or(requester), fee);
            return Vec::new();
        }
        job.info.status = JobStatus::Refunded;
        self.give(requester, fee);
        vec![ChainEvent::JobRefunded { job: id }]
    }

    /// Refunds what nobody answered, pays what was, and drops old records.
    pub(super) fn work_off_jobs(&mut self) -> Vec<ChainEvent> {
        let now = self.block;
        let is_due = |job: &Job| match (job.ended_at, job.pays_at) {
            (Some(_), _) => false,
            (None, Some(at)) => now >= at,
            (None, None) => now > job.info.deadline,
        };
        let due: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| is_due(job))
            .map(|(id, _)| *id)
            .collect();
        let events = due.into_iter().flat_map(|id| self.end_job(id)).collect();
        self.jobs
            .retain(|_, job| job.ended_at.is_none_or(|at| now < at + RECORD_RETENTION));
        events
    }
}
