//! Standing by one's work: a server that an auditor did not let pass must say in time which work is to be
//! judged, or is taken to withhold it.
//!
//! What is asked is read from the chain's state with each block, and what is answered is in the journal.
//! Nothing is remembered, so that nothing is lost by a crash, and nothing is answered twice but where
//! the chain itself forgot the answer.

use crate::{serve::Server, telemetry::Metrics};
use quipu_primitives::{
    audit::{Stage, Subject},
    views::AuditInfo,
    AccountBytes,
};
use quipu_worker_core::{
    ports::{Call, ChainError, SharedChain},
    Signer,
};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Answers those who accuse this server.
pub struct Defence {
    /// The chain.
    pub chain: SharedChain,
    /// The hotkey.
    pub signer: Arc<dyn Signer>,
    /// Knows what was signed.
    pub server: Arc<Server>,
    /// Number of the last block.
    pub block: watch::Receiver<u32>,
    /// Counts what is answered.
    pub metrics: Metrics,
}

impl Defence {
    /// Answers until `stop`. A submission under way is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.block.mark_unchanged();
            if let Err(error) = self.look(&stop).await {
                warn!(%error, "audits can't be looked at; trying again with the next block");
            }
            tokio::select! {
                _ = stop.cancelled() => return,
                changed = self.block.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn look(&self, stop: &CancellationToken) -> Result<(), ChainError> {
        let node = self.server.me().node;
        let audits = self.chain.audits_of(node).await?;
        let is_asked = |audit: &AuditInfo<AccountBytes>| {
            audit.subject.node == node && matches!(audit.stage, Stage::Answering { .. })
        };
        for audit in audits.iter().filter(|audit| is_asked(audit)) {
            if stop.is_cancelled() {
                break;
            }
            self.answer(audit).await?;
        }
        Ok(())
    }

    async fn answer(&self, audit: &AuditInfo<AccountBytes>) -> Result<(), ChainError> {
        let subject @ Subject { session, .. } = audit.subject;
        let Some(record) = self.chain.session(session).await? else {
            return Ok(());
        };
        let signed = self.server.signed(session, record.session_key).await;
        let signed = signed.unwrap_or_else(|error| {
            error!(session, %error, "the journal of an audited session can't be read");
            Vec::new()
        });
        // Who only answered a job with the session stands by what it settled it with.
        let served = signed.last().map(|last| last.receipt.digest());
        let Some(head) = served.or(record.job.and(record.receipt_root)) else {
            error!(session, "nothing is known of the work that is audited");
            return Ok(());
        };
        let call = Call::AnswerAudit { subject, head };
        match self.chain.submit(&*self.signer, call).await {
            Ok(included) => {
                let accuser = audit.accusation.map(|accusation| accusation.node);
                info!(
                    session,
                    ?accuser,
                    block = included.number,
                    "an auditor did not let our work pass; we stand by it"
                );
                self.metrics.answered.inc();
                Ok(())
            }
            // Too late, or answered in a block that our node did not have: the next look tells.
            Err(ChainError::Dispatch { error, .. }) => {
                warn!(session, %error, "the answer was not taken");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
