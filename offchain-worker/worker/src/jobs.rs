//! One-shot jobs: when the chain assigns one to this node, it is answered as a client of the swarm.
//!
//! A job under way leaves a file, so that a restarted worker takes it up again. The session that
//! was open when the worker crashed expires, and its deposit comes back.

use crate::telemetry::Metrics;
use quipu_primitives::{
    views::{JobInfo, JobStatus},
    AccountBytes, JobId,
};
use quipu_worker_core::{
    ports::{Call, ChainError, JobError, SharedChain, SharedJobRunner},
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

/// The jobs under way, as files. Calls block, but touch only names.
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

    fn begin(&self, job: JobId) -> io::Result<()> {
        fs::File::create(self.0.join(job.to_string())).map(|_| ())
    }

    fn end(&self, job: JobId) {
        if let Err(error) = fs::remove_file(self.0.join(job.to_string())) {
            warn!(job, %error, "the job's file can't be removed");
        }
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
                    warn!(job, %error, "the job is given up");
                    break;
                }
                Err(error) => {
                    warn!(job, %error, "the job failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.folder.end(job);
    }

    /// True if the answer is on chain now, false if there is nothing left to do.
    async fn attempt(&self, id: JobId) -> Result<bool, JobError> {
        let Some(job) = self.open_job(id).await? else {
            return Ok(false);
        };
        info!(job = id, "answering");
        let answer = self.runner.run(&job).await?;
        let call = Call::SubmitResult {
            job: id,
            answer: answer.answer,
            finish: answer.finish,
            session: answer.session,
            receipt_root: answer.receipt_root,
        };
        loop {
            match self.chain.submit(&*self.signer, call.clone()).await {
                Ok(included) => {
                    info!(job = id, block = included.number, "answered");
                    return Ok(true);
                }
                // The answer is there: it would be a waste to compute it again.
                Err(ChainError::Unreachable(error)) => {
                    warn!(
                        job = id,
                        error, "the answer can't be submitted; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    // It may have been answered, or its deadline passed, meanwhile.
                    warn!(job = id, %error, "the answer was not taken");
                    return Ok(false);
                }
            }
            if self.open_job(id).await.is_ok_and(|job| job.is_none()) {
                return Ok(false);
            }
        }
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
