//! One look at what a node did in a session: the blocks that it served, and the answer to a job that it gave.

use super::{fetch, inspect, Case, Duty, Ended, FetchError, Question, Reason, Shape, Shown, Wrong};
use quipu_attest::check::Service;
use quipu_primitives::{
    audit::{Finding, Subject, Verdict},
    receipt::{receipt_root, ReceiptHead},
    views::{NodeInfo, SessionInfo, SessionServer},
    AccountBytes, Digest, Manifest, NodeId,
};
use quipu_protocol::{limits::STEP_TIMEOUT, Fetch, VERSION};
use quipu_worker_core::ports::ChainError;

/// What kept us from looking.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Who is audited shows nothing.
    #[error(transparent)]
    Fetch(FetchError),
    /// Another, without whose work the answer can't be judged, shows nothing.
    #[error("node {0}, who served the answer that is audited: {1}")]
    Other(NodeId, FetchError),
    #[error("{0} is not on record any more")]
    Gone(&'static str),
}

impl LookError {
    /// What is to be said if it stays so.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            LookError::Fetch(_) => Verdict::Withheld,
            LookError::Chain(_) | LookError::Gone(_) | LookError::Other(..) => {
                Verdict::Inconclusive
            }
        }
    }
}

/// What the chain knows of a session.
struct Record<'a> {
    duty: &'a Duty,
    subject: Subject,
    session: SessionInfo<AccountBytes>,
    manifest: Manifest,
    roster: Vec<NodeInfo<AccountBytes>>,
}

/// Looks, and says what is found and why.
pub(super) async fn look(duty: &Duty, subject: Subject) -> Result<(Finding, Reason), LookError> {
    let session = duty.chain.session(subject.session).await?;
    let session = session.ok_or(LookError::Gone("the session"))?;
    let subnet = duty.chain.subnet(session.subnet).await?;
    let roster = duty.chain.roster(session.subnet).await?;
    let record = Record {
        duty,
        subject,
        manifest: subnet.ok_or(LookError::Gone("the subnet"))?.manifest,
        session,
        roster,
    };
    let question = record.question().await?;
    let served = match record.server(subject.node) {
        None => None,
        Some(server) => {
            let shown = record.shown(server.node).await.map_err(LookError::Fetch)?;
            let case = record.case(server, &shown).await?;
            let kept = question.as_ref().map(|_| shown.clone());
            let (finding, reason) = duty.examiner.examine(case, shown).await;
            match kept {
                Some(kept) if finding.verdict == Verdict::Pass => Some((finding, kept)),
                _ => return Ok((finding, reason)),
            }
        }
    };
    match question {
        Some(question) => record.look_at_answer(question, served).await,
        None => Err(LookError::Gone("what the node did")),
    }
}

impl Record<'_> {
    /// What the node answered, if it did.
    async fn question(&self) -> Result<Option<Question>, LookError> {
        let Some(id) = self.session.job else {
            return Ok(None);
        };
        let job = self.duty.chain.job(id).await?;
        let job = job.ok_or(LookError::Gone("the job"))?;
        match job.node == self.subject.node {
            true => Ok(Question::of(&job)),
            false => Ok(None),
        }
    }

    fn worked(&self) -> impl Iterator<Item = &SessionServer> {
        let servers = self.session.servers.iter();
        servers.filter(|server| server.positions > 0)
    }

    /// The seat that a node worked on in the session.
    fn server(&self, node: NodeId) -> Option<&SessionServer> {
        self.worked().find(|server| server.node == node)
    }

    /// Fetches what a server signed.
    async fn shown(&self, node: NodeId) -> Result<Shown, FetchError> {
        let gone = FetchError::Wrong("nothing: its node is not in the subnet any more");
        let mut nodes = self.roster.iter();
        let info = nodes.find(|info| info.id == node).ok_or(gone)?;
        let profiles = self.manifest.profiles.iter();
        let shape = Shape {
            dtypes: profiles.map(|profile| profile.activations).collect(),
            hidden: self.manifest.config.hidden_size,
            context: self.manifest.config.context_length,
        };
        let duty = self.duty;
        let known = [(node, info.hotkey)];
        let genesis = duty.chain.genesis();
        let announced = duty
            .peers
            .announcements(genesis, self.session.subnet, &known);
        let addresses = announced.await.into_iter().next();
        let addresses = addresses.map_or(Vec::new(), |announcement| announcement.addresses);
        let what = Fetch {
            version: VERSION,
            session: self.subject.session,
            node,
            audited: self.subject.node,
        };
        let peer = &info.peer_id;
        fetch(&*duty.peers, peer, &addresses, what, &shape, STEP_TIMEOUT).await
    }

    /// What a server's work should have been.
    async fn case(&self, server: &SessionServer, shown: &Shown) -> Result<Case, LookError> {
        // Which of the subnet's profiles the server's seat had; one that is none of them is no promise.
        let named = shown.receipts.first().map(|signed| signed.receipt.profile);
        let mut profiles = self.manifest.profiles.iter();
        let profile = profiles
            .find(|profile| Some(profile.digest()) == named)
            .or(self.manifest.profiles.first())
            .cloned()
            .ok_or(LookError::Gone("the profile"))?;
        Ok(Case {
            genesis: self.duty.chain.genesis(),
            service: Service {
                session: self.session.id,
                node: server.node,
                span: server.span,
                weights_root: self.manifest.weights_root,
                profile: profile.digest(),
            },
            session_key: self.session.session_key,
            hotkeys: self.duty.chain.hotkeys_of(server.node).await?,
            paid: server.positions,
            profile,
            hidden: self.manifest.config.hidden_size,
        })
    }

    /// `served` is what was found of the blocks that the node served itself, and what it showed for it. Who only
    /// answered stands by what it settled the session with.
    async fn look_at_answer(
        &self,
        question: Question,
        served: Option<(Finding, Shown)>,
    ) -> Result<(Finding, Reason), LookError> {
        let root = self.session.receipt_root.unwrap_or_default();
        let (served, mut own) = served.unzip();
        let head = served.map_or(root, |served| served.head);
        let found = |verdict, reason| {
            let finding = Finding {
                verdict,
                head,
                projection: Digest::default(),
            };
            Ok((finding, reason))
        };
        let unclear = |reason| found(Verdict::Inconclusive, reason);
        let (mut heads, mut input, mut output) = (Vec::new(), None, None);
        let most = self.worked().map(|server| server.positions).max();
        let blocks = self.manifest.config.blocks;
        let is_at = |is_there: fn(&SessionServer, u16) -> bool| {
            let mut whole = self
                .worked()
                .filter(|server| Some(server.positions) == most);
            whole.any(|server| is_there(server, blocks))
        };
        let begins = is_at(|server, _| server.span.start == 0);
        if !begins || !is_at(|server, blocks| server.span.end == blocks) {
            return found(Verdict::Fail, Wrong::Unserved.into());
        }
        for server in self.worked() {
            let node = server.node;
            let known = own.take_if(|_| node == self.subject.node);
            let shown = match known {
                Some(shown) => Ok(shown),
                None => self.shown(node).await,
            };
            let shown = shown.map_err(|error| LookError::Other(node, error))?;
            let case = self.case(server, &shown).await?;
            let Ok(head) = inspect(&case, &shown) else {
                return unclear(Reason::Others(node));
            };
            let positions = shown.receipts.last().map_or(0, |last| last.receipt.end);
            heads.push(ReceiptHead {
                node,
                span: server.span,
                positions,
                head,
            });
            if Some(server.positions) == most {
                if server.span.end == blocks {
                    output = output.or(case.rows(shown.output));
                }
                if server.span.start == 0 {
                    input = input.or(case.rows(shown.input));
                }
            }
        }
        // Who answered settled with these receipts, or what is shown is not what it saw.
        if receipt_root(self.session.id, &heads) != root {
            return unclear(Reason::Unsettled);
        }
        let (Some(input), Some(output)) = (input, output) else {
            return unclear(Reason::Unsettled);
        };
        let ended = Ended {
            subject: self.subject,
            input,
            output,
        };
        let examined = self.duty.examiner.examine_answer(question, ended).await;
        let (verdict, projection, reason) = examined;
        let finding = Finding {
            verdict,
            head,
            projection,
        };
        Ok((finding, reason))
    }
}
