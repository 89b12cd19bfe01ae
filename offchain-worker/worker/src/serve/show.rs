//! Showing what was signed, and the rows behind it, to those who are drawn to look at it.
//!
//! Rows tell what the prompt was: whoever the chain did not draw sees nothing. What is shown is for the
//! auditor to check; here it is read as it was kept.

use super::{server::no_chain, Server};
use quipu_primitives::{audit::Subject, AccountBytes, NodeId, Span};
use quipu_protocol::{Fetch, Refusal, RefusalCode, SignedReceipt, VERSION};
use quipu_worker_core::serve::Evidence;

/// Auditors that are served at once; further ones are refused as busy.
pub(super) const MAX_AUDITORS: usize = 4;

/// What may be shown.
pub(super) struct Shown {
    /// The key of the session.
    session_key: AccountBytes,
    /// What was signed in it.
    pub(super) receipts: Vec<SignedReceipt>,
}

impl Server {
    /// What this peer (multihash bytes of its proven id) may see.
    pub(super) async fn to_show(&self, fetch: &Fetch, peer: &[u8]) -> Result<Shown, Refusal> {
        let me = self.me();
        if fetch.version != VERSION {
            let message = format!("this server speaks version {VERSION}");
            return Err(Refusal::new(RefusalCode::Version, message));
        }
        if fetch.node != me.node {
            let message = format!("this is node {}", me.node);
            return Err(Refusal::new(RefusalCode::WrongNode, message));
        }
        let not_yours = |message: &str| Refusal::new(RefusalCode::Audit, message);
        let chain = &self.parts.chain;
        let session = chain.session(fetch.session).await.map_err(no_chain)?;
        let session = session
            .ok_or_else(|| Refusal::new(RefusalCode::Session, "the chain knows no such session"))?;
        let span_of = |node: NodeId| -> Option<Span> {
            let mut servers = session.servers.iter();
            servers
                .find(|server| server.node == node)
                .map(|server| server.span)
        };
        let near = match (span_of(fetch.node), span_of(fetch.audited)) {
            (Some(own), Some(audited)) => {
                let touch = own.end == audited.start || audited.end == own.start;
                touch || fetch.node == fetch.audited
            }
            _ => false,
        };
        // An answer is judged by all that was done for it.
        let answers = match session.job {
            Some(job) => {
                let job = chain.job(job).await.map_err(no_chain)?;
                job.is_some_and(|job| job.node == fetch.audited)
            }
            None => false,
        };
        if !near && !answers {
            let message = "this server is no neighbour of the one that is audited";
            return Err(not_yours(message));
        }

        let subject = Subject {
            session: fetch.session,
            node: fetch.audited,
        };
        let audit = chain.audit(subject).await.map_err(no_chain)?;
        let drawn: Vec<NodeId> = match &audit {
            Some(audit) if !audit.stage.is_closed() => {
                audit.members.iter().map(|member| member.node).collect()
            }
            _ => Vec::new(),
        };
        if drawn.is_empty() {
            return Err(not_yours("nobody is drawn to look at this work now"));
        }
        let roster = chain.roster(me.subnet).await.map_err(no_chain)?;
        let is_drawn = roster
            .iter()
            .any(|node| drawn.contains(&node.id) && node.peer_id.as_slice() == peer);
        if !is_drawn {
            return Err(not_yours("your peer id is that of no node that is drawn"));
        }

        let session_key = session.session_key;
        let receipts = self.signed(fetch.session, session_key).await;
        let receipts = receipts.map_err(|error| {
            tracing::error!(session = fetch.session, %error, "the journal can't be read");
            Refusal::new(RefusalCode::Internal, "the server's disk failed")
        })?;
        Ok(Shown {
            session_key,
            receipts,
        })
    }

    /// The rows that a receipt commits to.
    pub(super) async fn rows_of(
        &self,
        shown: &Shown,
        signed: &SignedReceipt,
    ) -> Result<Evidence, Refusal> {
        let (evidence, key) = (self.parts.evidence.clone(), shown.session_key);
        let session = signed.receipt.session;
        let range = (signed.receipt.start, signed.receipt.end);
        let read = tokio::task::spawn_blocking(move || evidence.read(session, &key, range));
        let read = read.await.map_err(std::io::Error::other);
        match read.and_then(|read| read) {
            Ok(Some(evidence)) => Ok(evidence),
            Ok(None) => {
                tracing::error!(session, ?range, "rows that were signed are gone");
                let message = "the rows are gone";
                Err(Refusal::new(RefusalCode::Internal, message))
            }
            Err(error) => {
                tracing::error!(session, %error, "rows that were signed can't be read");
                let message = "the server's disk failed";
                Err(Refusal::new(RefusalCode::Internal, message))
            }
        }
    }
}
