//! What the caller hears: while an answer is made, and once it is there.

use crate::{chain_of_servers::FailOver, draft::Drafted, error::Broken, payment::Paid};
use quipu_primitives::{Digest, NodeId, SessionId, Span};
use std::time::Duration;

/// What happens while an answer is made.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The session is open, and the servers are connected.
    Opened {
        /// The session.
        session: SessionId,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// The servers in order of their blocks.
        route: &'a [(NodeId, Span)],
    },
    /// A token was chosen.
    Token {
        /// Its id.
        id: u32,
        /// The text that it completes; often empty, and always for a token that ends the answer.
        text: &'a str,
    },
    /// A server failed and others took its place.
    FailedOver(&'a FailOver),
    /// A server turned out to be unreliable after tokens had been chosen by what it gave. Every
    /// token so far is withdrawn; the answer begins anew in another session, with the same choice
    /// of tokens.
    Withdrawn {
        /// The session that was given up, and settled.
        session: SessionId,
        /// Why.
        reason: &'a Broken,
    },
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// `max_tokens` was reached.
    Length,
    /// The request was cancelled.
    Cancelled,
    /// It broke off; see [`ClientError::Interrupted`].
    Interrupted,
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// From the call to the open session: chain and connections.
    pub open: Duration,
    /// From the open session to the first token.
    pub first_token: Duration,
    /// From the first token to the last.
    pub decode: Duration,
    /// From the last token to the settlement's block.
    pub settle: Duration,
    /// Tokens after the first per second; 0 for fewer than two tokens.
    pub decode_rate: f64,
}

/// Where a session was settled: in a block of the best chain as it was seen then, which another one
/// may replace before it is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Number of the block.
    pub block: u32,
    /// Hash of the block; `None` where only the session's record told.
    pub hash: Option<Digest>,
}

/// An answer, and what became of its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The answer.
    pub text: String,
    /// Its tokens, with the one that ended it.
    pub tokens: Vec<u32>,
    /// The prompt's tokens.
    pub prompt_tokens: Vec<u32>,
    /// The session.
    pub session: SessionId,
    /// Root over the servers' receipts.
    pub receipt_root: Digest,
    /// Where it was settled; `None` if that failed.
    pub settlement: Option<Settlement>,
    /// What each server is paid.
    pub paid: Vec<Paid>,
    /// Why it ended.
    pub finish: Finish,
    /// How long it took.
    pub timing: Timing,
    /// How many tokens were guessed ahead, and how many of them were right.
    pub drafted: Drafted,
    /// Servers that failed on the way.
    pub failovers: Vec<FailOver>,
    /// Sessions that were given up before this one; see [`Event::Withdrawn`].
    pub abandoned: Vec<Abandoned>,
}

/// A session that was given up, and settled with what was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The session.
    pub session: SessionId,
    /// Where it was settled; `None` if that failed.
    pub settlement: Option<Settlement>,
    /// What each server is paid.
    pub paid: Vec<Paid>,
    /// Why it was given up.
    pub reason: String,
}
