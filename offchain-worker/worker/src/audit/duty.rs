//! The duty of a node that the chain has drawn: to look at another server's work, commit to what it finds, and
//! reveal it.
//!
//! What is to be done is read from the chain's state with each block, and what was found lies on disk before it
//! is committed to: a restarted worker goes on where it was, and never commits to two findings about one thing.
//! One subject is looked at at a time; others wait, and their windows are long.

use super::{compare, fetch, inspect, Case, FetchError, Findings, Reason, Shape};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use quipu_attest::check::Service;
use quipu_primitives::{
    audit::{Finding, Stage, Subject, Verdict},
    views::AuditInfo,
    AccountBytes, Digest, NodeId, NumericProfile, Span, SubnetId,
};
use quipu_protocol::{limits::STEP_TIMEOUT, Fetch, VERSION};
use quipu_worker_core::{
    ports::{Call, ChainError, ComputeError, SharedChain, SharedPeers},
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

/// Runs rows through blocks of the subnet's model.
#[async_trait]
pub trait Replayer: Send + Sync {
    /// Runs rows of the positions from 0 on, in the type of the profile's activations, through these blocks on
    /// the profile's kernels, and gives what comes out.
    async fn replay(
        &self,
        profile: NumericProfile,
        span: Span,
        rows: Vec<u8>,
    ) -> Result<Vec<u8>, ComputeError>;
}

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
    /// Runs the model.
    pub replayer: Arc<dyn Replayer>,
    /// What was found.
    pub findings: Findings,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// Counts what is found.
    pub metrics: Metrics,
}

/// What kept us from looking.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} is not on record any more")]
    Gone(&'static str),
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

    /// Looks at a server's work until something is known of it, or until there is only time left to say that
    /// it shows nothing.
    async fn look(&self, audit: AuditInfo<AccountBytes>, until: u32) -> Finding {
        let subject = audit.subject;
        let started = *self.block.borrow();
        let give_up = until.saturating_sub(until.saturating_sub(started) / RESERVE);
        loop {
            match self.try_look(subject).await {
                Ok((finding, reason)) if finding.verdict != Verdict::Withheld => {
                    info!(?subject, verdict = ?finding.verdict, %reason, "looked at a server's work");
                    return finding;
                }
                Ok((_, reason)) => warn!(?subject, %reason, "the server does not show its work"),
                Err(error) => warn!(?subject, %error, "the server's work can't be looked at"),
            }
            if *self.block.borrow() >= give_up {
                info!(?subject, "the server did not show its work in time");
                return Finding {
                    verdict: Verdict::Withheld,
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

    async fn try_look(&self, subject: Subject) -> Result<(Finding, Reason), LookError> {
        let Subject { session, node } = subject;
        let record = self.chain.session(session).await?;
        let record = record.ok_or(LookError::Gone("the session"))?;
        let mut servers = record.servers.iter();
        let server = servers
            .find(|server| server.node == node)
            .ok_or(LookError::Gone("the server"))?;
        let subnet = self.chain.subnet(record.subnet).await?;
        let manifest = subnet.ok_or(LookError::Gone("the subnet"))?.manifest;
        let roster = self.chain.roster(record.subnet).await?;
        let info = roster
            .iter()
            .find(|info| info.id == node)
            .ok_or(LookError::Gone("the server"))?;

        let shape = Shape {
            dtypes: manifest
                .profiles
                .iter()
                .map(|profile| profile.activations)
                .collect(),
            hidden: manifest.config.hidden_size,
            context: manifest.config.context_length,
        };
        let known = [(node, info.hotkey)];
        let genesis = self.chain.genesis();
        let announced = self.peers.announcements(genesis, record.subnet, &known);
        let addresses = announced.await.into_iter().next();
        let addresses = addresses.map_or(Vec::new(), |announcement| announcement.addresses);
        let what = Fetch {
            version: VERSION,
            session,
            node,
            audited: node,
        };
        let peer = &info.peer_id;
        let shown = fetch(&*self.peers, peer, &addresses, what, &shape, STEP_TIMEOUT).await?;

        // Which of the subnet's profiles the server's seat had; one that is none of them is no promise.
        let named = shown.receipts.first().map(|signed| signed.receipt.profile);
        let mut profiles = manifest.profiles.iter();
        let profile = profiles
            .find(|profile| Some(profile.digest()) == named)
            .or(manifest.profiles.first())
            .cloned()
            .ok_or(LookError::Gone("the profile"))?;
        let case = Case {
            genesis,
            service: Service {
                session,
                node,
                span: server.span,
                weights_root: manifest.weights_root,
                profile: profile.digest(),
            },
            session_key: record.session_key,
            hotkeys: self.chain.hotkeys_of(node).await?,
            paid: server.positions,
            dtype: profile.activations,
            hidden: manifest.config.hidden_size,
            exact: profile.kernel.is_exact(),
        };
        let head = match inspect(&case, &shown) {
            Ok(head) => head,
            Err(found) => return Ok(found),
        };
        let rows = shown.input.clone();
        let replayed = self.replayer.replay(profile, server.span, rows).await;
        Ok(compare(&case, &shown, head, replayed))
    }
}

impl std::fmt::Debug for Duty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Duty(node {} of subnet {})", self.node, self.subnet)
    }
}
