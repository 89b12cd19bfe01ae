//! What can go wrong, whose fault it is, and what to do.

use crate::{ends::EndsError, generate::Generation, receipts::ReceiptError, routing::NoRoute};
use quipu_primitives::{
    views::{SubnetInfo, SubnetStatus},
    Balance, InQpu, NodeId, SessionId, Span, SubnetId,
};
use quipu_protocol::{ActivationsError, Refusal, RefusalCode};
use quipu_worker_core::{
    ports::{ChainError, PeerError},
    Classified, Fault,
};

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The chain did not take part. Nothing was opened, unless the message says so.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The local part of the model failed.
    #[error(transparent)]
    Ends(#[from] EndsError),
    /// The options can't be used.
    #[error("{0}")]
    Options(String),
    /// No such subnet.
    #[error("there is no subnet {0}; `quipu subnet list` shows those there are")]
    NoSubnet(SubnetId),
    /// The subnet takes no sessions.
    #[error("subnet {subnet} takes no sessions now: {why}")]
    Inactive {
        /// The subnet.
        subnet: SubnetId,
        /// Why, and what to do.
        why: Inactive,
    },
    /// The local model is another one than the subnet serves.
    #[error(
        "the local model is not the one of subnet {subnet}: {what} differs; give the subnet's \
             weights with --model"
    )]
    WrongModel {
        /// The subnet.
        subnet: SubnetId,
        /// What differs.
        what: &'static str,
    },
    /// The prompt gave no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Prompt and answer do not fit the context.
    #[error(
        "the prompt has {prompt} tokens and the answer up to {max_tokens}, but the model's \
             context holds {context}; shorten the prompt or ask for fewer tokens"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: u32,
        /// Most tokens of the answer.
        max_tokens: u32,
        /// What the model holds.
        context: u32,
    },
    /// No complete chain of servers.
    #[error("subnet {subnet} has no complete chain of servers now: {reason}; try again later")]
    NoRoute {
        /// The subnet.
        subnet: SubnetId,
        /// What is missing.
        reason: NoRoute,
    },
    /// The account can't pay the deposit.
    #[error(
        "the deposit is {} and the account has {} free; ask for fewer tokens or stand-bys, or \
             fund the account", InQpu(*.needed), InQpu(*.free)
    )]
    Funds {
        /// Sum of the caps.
        needed: Balance,
        /// Free balance.
        free: Balance,
    },
    /// Servers changed spans or prices while the session was opened.
    #[error("servers of subnet {0} changed while the session was opened; try again")]
    RosterChanged(SubnetId),
    /// The block that opened the session was replaced, and its id is another session's now. Ours
    /// may be open under an id that we do not know; nothing is paid from it.
    #[error(
        "the block that opened session {0} was replaced, and the id is another session's now; try \
             again: the deposit comes back when what was opened expires"
    )]
    Replaced(SessionId),
    /// The caps can't be written.
    #[error("what the servers ask is beyond any deposit; choose a cheaper route")]
    PriceOverflow,
    /// The answer broke off. What was served is settled; `partial` holds it.
    #[error("the answer broke off after {} tokens: {reason}; what was served is paid, ask again \
             for the rest", .partial.tokens.len())]
    Interrupted {
        /// Why.
        reason: Broken,
        /// What there is of the answer.
        partial: Box<Generation>,
    },
    /// The answer is complete, but its session could not be settled. Servers hold their vouchers.
    #[error(
        "the answer is complete, but session {session} is not settled: {source}; settle it \
             again before it expires"
    )]
    Unsettled {
        /// The session.
        session: SessionId,
        /// Why.
        source: ChainError,
        /// The answer.
        generation: Box<Generation>,
    },
    /// This client holds nothing of that session.
    #[error("session {0} is not one that this client left open")]
    UnknownSession(SessionId),
}

/// Why a subnet takes no sessions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inactive {
    /// Its creator closed it.
    #[error(
        "its creator paused it; wait until they resume it (`quipu subnet show` tells), or choose \
             another of `quipu subnet list`"
    )]
    Paused,
    /// Nobody has a seat for these blocks.
    #[error(
        "nobody serves {}; try again later, or serve them with `quipu-worker serve`",
        blocks(.0)
    )]
    Uncovered(Vec<Span>),
}

fn blocks(spans: &[Span]) -> String {
    let each: Vec<String> = spans.iter().map(Span::to_string).collect();
    format!("blocks {}", each.join(", "))
}

impl Inactive {
    /// Why a subnet takes no sessions; `None` for one that does.
    pub fn of<AccountId>(subnet: &SubnetInfo<AccountId>) -> Option<Self> {
        match subnet.status {
            SubnetStatus::Active => None,
            SubnetStatus::Paused => Some(Inactive::Paused),
            SubnetStatus::Uncovered => {
                let mut bare: Vec<Span> = Vec::new();
                for (block, _) in (0..)
                    .zip(&subnet.coverage)
                    .filter(|(_, seats)| **seats == 0)
                {
                    match bare.last_mut().filter(|span| span.end == block) {
                        Some(span) => span.end = block + 1,
                        None => bare.push(Span {
                            start: block,
                            end: block + 1,
                        }),
                    }
                }
                Some(Inactive::Uncovered(bare))
            }
        }
    }
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// No server of the session can go on.
    #[error("no server of the session is left for blocks {span}: {}", list(.failures))]
    NoServerLeft {
        /// The blocks.
        span: Span,
        /// What each server that was tried did.
        failures: Vec<(NodeId, ServerError)>,
    },
    /// A server failed, and its replacement gives something else than it handed on without a
    /// receipt.
    #[error("what node {node} gave from position {position} on is not what others compute")]
    Unreliable {
        /// The server that failed.
        node: NodeId,
        /// Its blocks.
        span: Span,
        /// From where on.
        position: u32,
    },
    /// The local part of the model failed.
    #[error(transparent)]
    Ends(#[from] EndsError),
}

impl Broken {
    /// Could the same request end well in another session? It could where nobody may go on in this
    /// one with other bits than those that were handed on.
    pub fn may_restart(&self) -> bool {
        match self {
            Broken::Unreliable { .. } => true,
            Broken::NoServerLeft { failures, .. } => failures
                .iter()
                .any(|(_, error)| matches!(error, ServerError::Differs { exact: false, .. })),
            Broken::Ends(_) => false,
        }
    }
}

fn list(failures: &[(NodeId, ServerError)]) -> String {
    let each: Vec<String> = failures
        .iter()
        .map(|(node, error)| format!("node {node}: {error}"))
        .collect();
    each.join("; ")
}

/// What a server did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The stream failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It refused.
    #[error("it refused: {0}")]
    Refused(#[from] Refusal),
    /// It signed something that is not so.
    #[error("its receipt is wrong: {0}")]
    Receipt(#[from] ReceiptError),
    /// Its output can't be used.
    #[error("its output can't be used: {0}")]
    Output(#[from] ActivationsError),
    /// Its output has another shape or position than the step.
    #[error("its output is not the answer to the step")]
    OtherStep,
    /// It said something that was not due.
    #[error("it sent {0}, which was not due")]
    Unexpected(&'static str),
    /// Its replay gave something else than what is known.
    #[error("its replay differs from position {position} on{}", if *.exact { "" } else {
        ", as may be between unlike machines"
    })]
    Differs {
        /// First position that differs.
        position: u32,
        /// Does its profile promise the same bits?
        exact: bool,
    },
    /// It lost the sequence.
    #[error("it lost the sequence: it holds {position} positions")]
    Forgot {
        /// What it holds.
        position: u32,
    },
    /// It says that its predecessor handed on something else than that told us: one of them lies,
    /// and nobody can say which.
    #[error("what node {from} handed on to it is not what that sent us: {cause}")]
    HandedOn {
        /// The server before it.
        from: NodeId,
        /// What shows it.
        cause: String,
    },
    /// It grants too little credit for a step.
    #[error("it grants credit for {0} positions, too little for a step")]
    Credit(u32),
}

impl ServerError {
    /// Could another stream to the same server help?
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            ServerError::Peer(PeerError::Unreachable(_) | PeerError::Closed)
        )
    }

    /// Did it lie, so that it must never be used again?
    pub fn is_dishonest(&self) -> bool {
        matches!(
            self,
            ServerError::Receipt(_)
                | ServerError::Output(_)
                | ServerError::OtherStep
                | ServerError::Differs { exact: true, .. }
        )
    }
}

impl Classified for ServerError {
    fn is_fatal(&self) -> bool {
        true
    }

    fn fault(&self) -> Fault {
        match self {
            ServerError::Peer(error) => error.fault(),
            ServerError::Refused(refusal) => match refusal.code {
                RefusalCode::Version | RefusalCode::Signature | RefusalCode::Context => Fault::Ours,
                _ => Fault::Peer,
            },
            ServerError::Differs { exact: false, .. } => Fault::Environment,
            _ => Fault::Peer,
        }
    }
}

impl Classified for ClientError {
    fn is_fatal(&self) -> bool {
        match self {
            ClientError::Chain(error) => error.is_fatal(),
            ClientError::Ends(_) => true,
            _ => false,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            ClientError::Chain(error) => error.fault(),
            ClientError::Ends(error) => error.fault(),
            ClientError::Options(_)
            | ClientError::NoSubnet(_)
            | ClientError::WrongModel { .. }
            | ClientError::EmptyPrompt
            | ClientError::TooLong { .. }
            | ClientError::Funds { .. }
            | ClientError::PriceOverflow
            | ClientError::UnknownSession(_) => Fault::Caller,
            ClientError::Inactive { .. }
            | ClientError::NoRoute { .. }
            | ClientError::RosterChanged(_)
            | ClientError::Replaced(_) => Fault::Environment,
            ClientError::Interrupted { reason, .. } => match reason {
                Broken::NoServerLeft { .. } | Broken::Unreliable { .. } => Fault::Peer,
                Broken::Ends(error) => error.fault(),
            },
            ClientError::Unsettled { source, .. } => source.fault(),
        }
    }
}
