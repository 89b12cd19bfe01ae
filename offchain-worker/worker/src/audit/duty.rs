//! The duty of a node that the chain has drawn: to look at what another did, commit to what it finds, and reveal
//! it.
//!
//! What is to be done is read from the chain's state with each block, and what was found lies on disk before it
//! is committed to: a restarted worker goes on where it was, and never commits to two findings about one thing.
//! One subject is looked at at a time; others wait, and their windows are long.

use super::{look::look, Examiner, Findings};
use crate::telemetry::Metrics;
use quipu_primitives::{
    audit::{Finding, Stage, Subject, Verdict},
    views::AuditInfo,
    AccountBytes, Digest, NodeId, SubnetId,
};
use quipu_worker_core::{
    ports::{Call, ChainError, SharedChain, SharedPeers},
    Signer,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Pause before a server that shows nothing is asked again.
const RETRY: Duration = Duration::from_secs(5);
/// What was found of an audit that the chain does not list any more is kept for as long: it may go back to one
/// that does.
const FORGET: Duration = Duration::from_secs(3_600);
/// Of the blocks that an auditor has, this part is kept for the commitment: a server that shows nothing is
/// not asked any longer.
const RESERVE: u32 = 4;

/// A node's duty to look at others' work.
#[derive(Clone)]
pub struct Duty {
    /// The chain.
    pub chain: SharedChain,
    /// How servers are reached.
    pub peers: SharedPeers,
    /// The hotkey.
    pub signer: Arc<dyn Signer>,
    /// Our node.
    pub node: NodeId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Judges what is shown.
    pub examiner: Arc<dyn Examiner>,
    /// What was found.
    pub findings: Findings,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// Counts what is found.
    pub metrics: Metrics,
}

type Looking = (Subject, JoinHandle<Finding>);

impl Duty {
    /// Does what the chain asks for until `stop`. A submission under way is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looking: Option<Looking> = None;
        loop {
            self.block.mark_unchanged();
            if let Err(error) = self.attend(&mut looking, &stop).await {
                warn!(%error, "audits can't be attended to; trying again with the next block");
            }
            let found = async {
                match &mut looking {
                    Some((subject, task)) => (*subject, task.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = stop.cancelled() => break,
                changed = self.block.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                (subject, found) = found => {
                    looking = None;
                    match found {
                        Ok(finding) => self.keep(subject, finding).await,
                        Err(error) => error!(%error, "looking at a server's work failed"),
                    }
                }
            }
        }
        if let Some((_, task)) = looking {
            task.abort();
        }
    }

    async fn keep(&self, subject: Subject, finding: Finding) {
        let findings = self.findings.clone();
        let salt = rand::random();
        let kept = tokio::task::spawn_blocking(move || findings.keep(subject, finding, salt)).await;
        if let Err(error) = kept.map_err(std::io::Error::other).and_then(|kept| kept) {
            error!(?subject, %error, "what was found can't be kept; it will be looked for again");
        }
    }

    /// Looks at what the chain asks of us, and does it.
    async fn attend(
        &self,
        looking: &mut Option<Looking>,
        stop: &CancellationToken,
    ) -> Result<(), ChainError> {
        let audits = self.chain.audits_of(self.node).await?;
        let subjects: Vec<Subject> = audits.iter().map(|audit| audit.subject).collect();
        if let Err(error) = self.findings.keep_only(&subjects, FORGET) {
            warn!(%error, "what was found of audits that are over can't be removed");
        }
        for audit in audits {
            if stop.is_cancelled() {
                break;
            }
            let mut members = audit.members.iter();
            let Some(own) = members.find(|member| member.node == self.node) else {
                continue;
            };
            let subject = audit.subject;
            let known = self.findings.read(subject).unwrap_or_else(|error| {
                warn!(?subject, %error, "what was found can't be read");
                None
            });
            match (audit.stage, known) {
                (Stage::Committing { .. }, Some((finding, salt))) if own.commitment.is_none() => {
                    let genesis = self.chain.genesis();
                    let commitment = finding.commitment(&genesis, subject, self.node, &salt);
                    let call = Call::CommitFinding {
                        subject,
                        commitment,
                    };
                    self.submit(subject, call).await?;
                }
                (Stage::Committing { until }, None)
                    if own.commitment.is_none() && looking.is_none() =>
                {
                    let (duty, audit) = (self.clone(), audit.clone());
                    let task = tokio::spawn(async move { duty.look(audit, until).await });
                    *looking = Some((subject, task));
                }
                (Stage::Revealing { .. }, Some((finding, salt)))
                    if own.commitment.is_some() && own.finding.is_none() =>
                {
                    let call = Call::RevealFinding {
                        subject,
                        finding,
                        salt,
                    };
                    self.submit(subject, call).await?;
                    self.metrics.audits.inc();
                }
                (Stage::Revealing { .. }, None) if own.commitment.is_some() => {
                    warn!(
                        ?subject,
                        "what we committed to is lost: it can't be revealed"
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn submit(&self, subject: Subject, call: Call) -> Result<(), ChainError> {
        match self.chain.submit(&*self.signer, call).await {
            Ok(_) => Ok(()),
            // Too late, or done in a block that our node did not have: the next look tells.
            Err(ChainError::Dispatch { error, .. }) => {
                warn!(?subject, %error, "what was found was not taken");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at what a node did until something is known of it, or until there is only time left to say that
    /// it shows nothing, or that others don't.
    async fn look(&self, audit: AuditInfo<AccountBytes>, until: u32) -> Finding {
        let subject = audit.subject;
        let started = *self.block.borrow();
        let give_up = until.saturating_sub(until.saturating_sub(started) / RESERVE);
        loop {
            let verdict = match look(self, subject).await {
                Ok((finding, reason)) if finding.verdict != Verdict::Withheld => {
                    info!(?subject, verdict = ?finding.verdict, %reason, "looked at what a node did");
                    return finding;
                }
                Ok((_, reason)) => {
                    warn!(?subject, %reason, "the server does not show its work");
                    Verdict::Withheld
                }
                Err(error) => {
                    warn!(?subject, %error, "what a node did can't be looked at");
                    error.verdict()
                }
            };
            if *self.block.borrow() >= give_up {
                info!(?subject, ?verdict, "nothing was to be seen in time");
                return Finding {
                    verdict,
                    head: Digest::default(),
                    projection: Digest::default(),
                };
            }
            let mut block = self.block.clone();
            block.mark_unchanged();
            // Whichever comes first; who counts blocks may be gone.
            let _ = tokio::time::timeout(RETRY, block.changed()).await;
        }
    }
}

impl std::fmt::Debug for Duty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Duty(node {} of subnet {})", self.node, self.subnet)
    }
}
