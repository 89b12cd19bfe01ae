//! One-shot jobs: when the chain assigns one to this node, it is answered as a client of the swarm.
//!
//! A job under way leaves a file, so that a restarted worker takes it up again. The session that
//! was open when the worker crashed expires, and its deposit comes back. Once there is an answer,
//! it lies in that file before it is submitted: it was paid for, and is not computed again.

use crate::{disk::write_whole, telemetry::Metrics};
use codec::{DecodeAll, Encode};
use quipu_primitives::{
    job::FinishReason,
    views::{JobInfo, JobStatus},
    AccountBytes, Digest, JobId, SessionId,
};
use quipu_worker_core::{
    ports::{Call, ChainError, JobAnswer, JobError, SharedChain, SharedJobRunner},
    Classified, Signer,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause between two attempts at a job.
const RETRY: Duration = Duration::from_secs(5);

/// A [`JobAnswer`] as it lies on disk, in SCALE.
type Kept = (Vec<u8>, FinishReason, SessionId, Digest);

/// The jobs under way, as files: empty until there is an answer. Calls block.
#[derive(Clone, Debug)]
pub struct JobFolder(PathBuf);

impl JobFolder {
    /// The folder, which is made if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(JobFolder(folder.into()))
    }

    /// The jobs that were under way.
    pub fn list(&self) -> io::Result<Vec<JobId>> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            jobs.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<JobId>().ok()),
            );
        }
        jobs.sort_unstable();
        Ok(jobs)
    }

    fn file(&self, job: JobId) -> PathBuf {
        self.0.join(job.to_string())
    }

    /// The job is under way. An answer that is there already stays.
    fn begin(&self, job: JobId) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        options.open(self.file(job)).map(|_| ())
    }

    /// The answer that was computed, if any.
    fn answer(&self, job: JobId) -> Option<JobAnswer> {
        let bytes = fs::read(self.file(job)).ok()?;
        if bytes.is_empty() {
            return None;
        }
        let Ok((answer, finish, session, receipt_root)) = Kept::decode_all(&mut bytes.as_slice())
        else {
            warn!(
                job,
                "the answer on disk can't be read; it is computed again"
            );
            return None;
        };
        Some(JobAnswer {
            answer,
            finish,
            session,
            receipt_root,
        })
    }

    /// Keeps an answer: after a crash it is there as a whole, or not at all.
    fn keep(&self, job: JobId, answer: JobAnswer) -> io::Result<()> {
        let kept: Kept = (
            answer.answer,
            answer.finish,
            answer.session,
            answer.receipt_root,
        );
        write_whole(&self.0, &self.file(job), &kept.encode())
    }

    fn end(&self, job: JobId) {
        if let Err(error) = fs::remove_file(self.file(job)) {
            warn!(job, %error, "the job's file can't be removed");
        }
    }
}

/// What became of an answer.
enum HandedIn {
    /// It is on chain.
    Taken,
    /// The job waits for none any more.
    Over,
    /// It will never be taken. The pallet's error.
    Refused(String),
}

/// What an error of `submit_result` says of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The job waits for no answer of ours any more, for good.
    Over,
    /// The chain does not know the session's settlement: it was in a block that others replaced,
    /// and comes again; or its record was dropped.
    Unsettled,
    /// This answer will never be taken.
    Unusable,
}

fn verdict(error: &str) -> Verdict {
    match error {
        "JobAlreadyDone" | "JobExpired" | "JobClosed" | "UnknownJob" | "NotAssignedServer" => {
            Verdict::Over
        }
        "SessionNotSettled" | "UnknownSession" => Verdict::Unsettled,
        _ => Verdict::Unusable,
    }
}

/// Answers jobs, one at a time.
pub struct Jobs {
    /// The chain.
    pub chain: SharedChain,
    /// Runs them.
    pub runner: SharedJobRunner,
    /// The hotkey: submits the answers.
    pub signer: Arc<dyn Signer>,
    /// The jobs that are assigned.
    pub queue: mpsc::Receiver<JobId>,
    /// The jobs under way.
    pub folder: JobFolder,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// Counts answers.
    pub metrics: Metrics,
}

impl Jobs {
    /// Answers jobs until `stop`; first those that a crash interrupted. A job under way at `stop`
    /// is left to the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let old = self.folder.list().unwrap_or_else(|error| {
            warn!(%error, "the jobs under way can't be listed");
            Vec::new()
        });
        for job in old {
            tokio::select! {
                _ = stop.cancelled() => return,
                () = self.work_off(job) => {}
            }
        }
        loop {
            let job = tokio::select! {
                _ = stop.cancelled() => return,
                job = self.queue.recv() => job,
            };
            let Some(job) = job else { return };
            tokio::select! {
                _ = stop.cancelled() => return,
                () = self.work_off(job) => {}
            }
        }
    }

    /// Tries until the job is answered, hopeless or too late.
    async fn work_off(&self, job: JobId) {
        if let Err(error) = self.folder.begin(job) {
            warn!(job, %error, "the job won't survive a crash");
        }
        loop {
            match self.attempt(job).await {
                Ok(true) => {
                    self.metrics.jobs.inc();
                    break;
                }
                Ok(false) => break,
                Err(JobError::Prompt(reason)) => {
                    warn!(job, reason, "the job can't be answered");
                    break;
                }
                Err(JobError::Chain(error)) if error.is_fatal() => {
                    // Its file stays: a worker that fits the chain may still answer.
                    warn!(job, %error, "the job is given up");
                    return;
                }
                Err(error) => {
                    warn!(job, %error, "the job failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.folder.end(job);
    }

    /// True if our answer is on chain now, false if there is nothing left to do.
    async fn attempt(&self, id: JobId) -> Result<bool, JobError> {
        let Some(job) = self.open_job(id).await? else {
            return Ok(false);
        };
        if let Some(answer) = self.folder.answer(id) {
            match self.hand_in(id, &answer, true).await? {
                HandedIn::Taken => return Ok(true),
                HandedIn::Over => return Ok(false),
                HandedIn::Refused(error) => {
                    warn!(job = id, error, "the answer on disk is of no use any more");
                }
            }
        }
        info!(job = id, "answering");
        let answer = self.runner.run(&job).await?;
        self.keep(id, answer.clone()).await;
        match self.hand_in(id, &answer, false).await? {
            HandedIn::Taken => Ok(true),
            HandedIn::Over => Ok(false),
            HandedIn::Refused(error) => {
                warn!(job = id, error, "the answer was not taken");
                Ok(false)
            }
        }
    }

    /// Keeps an answer on disk. One that can't be kept is submitted all the same.
    async fn keep(&self, job: JobId, answer: JobAnswer) {
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || folder.keep(job, answer)).await;
        if let Err(error) = kept.map_err(io::Error::other).and_then(|kept| kept) {
            warn!(job, %error, "the answer won't survive a crash");
        }
    }

    /// Submits an answer until the chain has decided. `is_kept`: it was computed before the last
    /// start or failure, so that its session may be gone for good.
    async fn hand_in(
        &self,
        id: JobId,
        answer: &JobAnswer,
        is_kept: bool,
    ) -> Result<HandedIn, JobError> {
        let call = Call::SubmitResult {
            job: id,
            answer: answer.answer.clone(),
            finish: answer.finish,
            session: answer.session,
            receipt_root: answer.receipt_root,
        };
        let mut block = self.block.clone();
        loop {
            block.mark_unchanged();
            match self.chain.submit(&*self.signer, call.clone()).await {
                Ok(included) => {
                    info!(job = id, block = included.number, "answered");
                    return Ok(HandedIn::Taken);
                }
                Err(ChainError::Dispatch { error, .. }) => match verdict(&error) {
                    Verdict::Over => {
                        info!(job = id, error, "nothing is left to answer");
                        return self.decided(id, answer).await;
                    }
                    Verdict::Unsettled if !is_kept || error == "SessionNotSettled" => {
                        info!(job = id, error, "the session's settlement is waited for");
                    }
                    Verdict::Unsettled | Verdict::Unusable => return Ok(HandedIn::Refused(error)),
                },
                Err(error) if error.is_fatal() => return Err(error.into()),
                Err(error) => warn!(job = id, %error, "the answer is not in; trying again"),
            }
            // The answer is there: it would be a waste to compute it again.
            tokio::select! {
                _ = tokio::time::sleep(RETRY) => {}
                Ok(()) = block.changed() => {}
            }
            if self.open_job(id).await.is_ok_and(|job| job.is_none()) {
                return self.decided(id, answer).await;
            }
        }
    }

    /// The job waits for no answer any more: is it ours that it got?
    async fn decided(&self, id: JobId, answer: &JobAnswer) -> Result<HandedIn, JobError> {
        let job = self.chain.job(id).await?;
        Ok(match job.map(|job| job.status) {
            Some(JobStatus::Done { session, .. }) if session == answer.session => HandedIn::Taken,
            _ => HandedIn::Over,
        })
    }

    /// The job, if it still waits for an answer.
    async fn open_job(&self, id: JobId) -> Result<Option<JobInfo<AccountBytes>>, ChainError> {
        let block = *self.block.borrow();
        let job = self.chain.job(id).await?;
        Ok(job.filter(|job| matches!(job.status, JobStatus::Assigned) && block <= job.deadline))
    }
}

#[cfg(test)]
mod tests;
