//! The messages of a serving stream.

use crate::activations::ActivationsHeader;
use codec::{Decode, Encode};
use quipu_primitives::{
    receipt::{Direction, ReceiptHead},
    DType, NodeId, SessionId, SignatureBytes, SignedReceipt, Voucher,
};
use std::fmt;

/// Begins or resumes a session at a server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// [`crate::VERSION`].
    pub version: u16,
    /// The session on chain.
    pub session: SessionId,
    /// The server that is meant.
    pub node: NodeId,
    /// Counts the attempts of the client: rises when it starts the sequence anew. A server forgets
    /// what it held of a lower epoch and refuses one that comes late.
    pub epoch: u32,
    /// Type of the activations.
    pub dtype: DType,
    /// Positions the client means to use: what the server reserves in its cache.
    pub max_positions: u32,
    /// Positions for which the client holds this server's receipts, in this or an earlier epoch.
    /// Those that were signed beyond come again after [`Response::Opened`].
    pub receipts: u32,
    /// The session key's signature over [`quipu_primitives::session::open_payload`].
    pub signature: SignatureBytes,
}

/// Activations of consecutive positions to be run through the server's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Step {
    /// Counts the steps of an epoch, from 0 on.
    pub step: u32,
    /// First position of the payload.
    pub position: u32,
    /// How many positions at the end of the payload are drafted: the next step, or `Finish`, says by
    /// its position how many of them count. Less than there are positions, at most
    /// [`crate::limits::MAX_DRAFTED`], and 0 unless the numeric profile is exact.
    pub drafted: u32,
    /// Shape of the payload.
    pub activations: ActivationsHeader,
}

/// The server behind this one in a client's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Successor {
    /// Its node. It must be a server of the session whose span begins where this one's ends.
    pub node: NodeId,
    /// The epoch in which the client opened it.
    pub epoch: u32,
}

/// Activations that a server hands on to its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Push {
    /// The session.
    pub session: SessionId,
    /// The client's epoch at the successor.
    pub epoch: u32,
    /// First position of the payload.
    pub position: u32,
    /// As in [`Step::drafted`].
    pub drafted: u32,
    /// Shape of the payload.
    pub activations: ActivationsHeader,
}

/// Asks for what a server signed in a session, and for the rows behind it. From those who are drawn to look
/// at a server's work, told by their peer ids; to that server, or to one whose blocks begin or end where
/// that one's end or begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fetch {
    /// [`crate::VERSION`].
    pub version: u16,
    /// The session.
    pub session: SessionId,
    /// The server that is meant.
    pub node: NodeId,
    /// The server whose work is audited.
    pub audited: NodeId,
}

/// What a client says; `Push` alone is said by a server, `Fetch` by an auditor. `Step` and `Push` carry a
/// payload; the others must not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// First on every stream.
    #[codec(index = 0)]
    Open(Open),
    /// Work.
    #[codec(index = 1)]
    Step(Step),
    /// The receipt of the server before this one, for what it handed on.
    #[codec(index = 2)]
    Upstream(SignedReceipt),
    /// Payment, cumulative.
    #[codec(index = 3)]
    Voucher {
        /// What is signed.
        voucher: Voucher,
        /// The session key's signature over [`quipu_primitives::voucher_payload`].
        signature: SignatureBytes,
    },
    /// The sequence is complete: the server signs what its last receipt left out, and frees its
    /// cache.
    #[codec(index = 4)]
    Finish {
        /// Positions of the sequence: of those that were drafted last, so many count.
        positions: u32,
    },
    /// Hand every further output on to this server as well, or no more to any. Has no answer.
    #[codec(index = 5)]
    HandOn(Option<Successor>),
    /// Take pushes of this node, a predecessor, as steps; or no more of any. Has no answer. Holds for
    /// the stream: on a new one the client says it again, after the steps whose answers the one before
    /// may have lost.
    #[codec(index = 6)]
    TakeFrom(Option<NodeId>),
    /// Activations from the predecessor, on a stream that it opened for this alone. The output goes
    /// to the client.
    #[codec(index = 7)]
    Push(Push),
    /// First and last on its stream. The answer is, for each of the server's receipts in order, that
    /// receipt, the rows that went in and the rows that came out; then `Fetched`.
    #[codec(index = 8)]
    Fetch(Fetch),
}

/// What a server answers. `Output` and `Rows` carry a payload; the others must not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(clippy::large_enum_variant)] // a receipt is rare and short-lived: a box would not pay
pub enum Response {
    /// The stream is open.
    #[codec(index = 0)]
    Opened {
        /// Positions that the server holds of this session and epoch: where the next step begins.
        position: u32,
        /// Drafted positions that it holds beyond: the next step may begin behind any of them.
        drafted: u32,
        /// Positions it serves beyond the last voucher.
        credit: u32,
        /// How long it keeps an unused cache, in milliseconds.
        lease_millis: u32,
    },
    /// The result of a step.
    #[codec(index = 1)]
    Output(Step),
    /// A range is complete.
    #[codec(index = 2)]
    Receipt(SignedReceipt),
    /// A voucher was taken.
    #[codec(index = 3)]
    VoucherAccepted {
        /// Its positions.
        positions: u32,
    },
    /// The session is finished at this server. Its last receipt, if any was left, came before.
    #[codec(index = 4)]
    Finished {
        /// What enters the session's receipt root.
        head: ReceiptHead,
    },
    /// The request was not carried out, and nothing changed.
    #[codec(index = 5)]
    Refused(Refusal),
    /// The activations from this position on did not get to the successor: the client brings them
    /// itself. Goes from the successor to the server that pushed, and from that to the client.
    #[codec(index = 6)]
    NotHandedOn {
        /// The session.
        session: SessionId,
        /// First position.
        position: u32,
    },
    /// The rows that the receipt before commits to.
    #[codec(index = 7)]
    Rows {
        /// At which end of the server's blocks.
        direction: Direction,
        /// Shape of the payload.
        activations: ActivationsHeader,
    },
    /// That was all of what was fetched.
    #[codec(index = 8)]
    Fetched {
        /// Positions that the receipts cover.
        positions: u32,
    },
}

/// Why a server did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RefusalCode {
    /// Another version of the protocol.
    #[codec(index = 0)]
    Version,
    /// The chain knows no such open session with this server, or it expired.
    #[codec(index = 1)]
    Session,
    /// The signature does not fit the session key.
    #[codec(index = 2)]
    Signature,
    /// This is another node.
    #[codec(index = 3)]
    WrongNode,
    /// A type of activations that the server does not take.
    #[codec(index = 4)]
    DType,
    /// No room for the sequence now; try another server.
    #[codec(index = 5)]
    Busy,
    /// The server is leaving; try another.
    #[codec(index = 6)]
    Draining,
    /// Positions beyond the model's context, or beyond what was reserved.
    #[codec(index = 7)]
    Context,
    /// A step that does not continue the sequence.
    #[codec(index = 8)]
    Position,
    /// An epoch that was left behind.
    #[codec(index = 9)]
    Epoch,
    /// Shape or numbers that the model can't take.
    #[codec(index = 10)]
    Activations,
    /// Unpaid positions reached the credit: send a voucher.
    #[codec(index = 11)]
    Unpaid,
    /// The voucher is for another session or server, lower than before, or above its cap.
    #[codec(index = 12)]
    Voucher,
    /// The predecessor's receipt is missing, not signed by it, or does not match what came in.
    #[codec(index = 13)]
    Upstream,
    /// A message that was not due, or a payload where none belongs.
    #[codec(index = 14)]
    Unexpected,
    /// The server failed; nothing was appended.
    #[codec(index = 15)]
    Internal,
    /// Drafted positions where none may be, or more than may be.
    #[codec(index = 16)]
    Drafted,
    /// The peer is not drawn to look at this work, or the server has nothing to do with it.
    #[codec(index = 17)]
    Audit,
}

/// A typed refusal with words for people.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refusal {
    /// What machines read.
    pub code: RefusalCode,
    /// What people read; at most 512 bytes are kept.
    pub message: String,
}

impl RefusalCode {
    /// Does the server close the stream after it?
    pub fn is_fatal(self) -> bool {
        use RefusalCode::*;
        !matches!(self, Unpaid | Voucher | Upstream | Position | Drafted)
    }

    /// May the client turn to another server with the same sequence?
    pub fn is_servers_fault(self) -> bool {
        use RefusalCode::*;
        matches!(self, Busy | Draining | Internal | WrongNode)
    }
}

impl Refusal {
    /// A refusal whose message is cut to what fits a frame.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        let mut end = message.len().min(512);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        Refusal { code, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Request {
    /// Shape of the payload that must come with this request.
    pub fn payload(&self) -> Option<ActivationsHeader> {
        match self {
            Request::Step(step) => Some(step.activations),
            Request::Push(push) => Some(push.activations),
            _ => None,
        }
    }
}

impl Response {
    /// Shape of the payload that must come with this response.
    pub fn payload(&self) -> Option<ActivationsHeader> {
        match self {
            Response::Output(step) => Some(step.activations),
            Response::Rows { activations, .. } => Some(*activations),
            _ => None,
        }
    }
}
