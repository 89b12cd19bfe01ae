//! What clients read from the chain in one call: the answers of the runtime APIs.

use crate::{
    audit::{Accusation, Member, Round, Stage, Subject},
    ids::{JobId, NodeId, SessionId, SubnetId},
    job::FinishReason,
    manifest::{BoundedBytes, Manifest},
    money::Balance,
    span::Span,
    Digest,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Where a subnet stands. Only an active one takes sessions and jobs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum SubnetStatus {
    /// Some block is served by no seat.
    #[codec(index = 0)]
    Uncovered,
    /// Every block is served by a seat: sessions and jobs are taken.
    #[codec(index = 1)]
    Active,
    /// Closed for new sessions and jobs by its creator, whatever is covered. Seats may still come
    /// and go.
    #[codec(index = 2)]
    Paused,
}

impl SubnetStatus {
    /// Does it take sessions and jobs?
    pub fn is_active(self) -> bool {
        self == SubnetStatus::Active
    }
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetInfo<AccountId> {
    /// Its id.
    pub id: SubnetId,
    /// Who registered it.
    pub creator: AccountId,
    /// Does it take sessions, and if not, why?
    pub status: SubnetStatus,
    /// The creator's deposit.
    pub deposit: Balance,
    /// The model.
    pub manifest: Manifest,
    /// For each block, how many seats serve it.
    pub coverage: Vec<u16>,
}

/// A node of a subnet, with its seat when it has one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct NodeInfo<AccountId> {
    /// Its id.
    pub id: NodeId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Owns the stake.
    pub coldkey: AccountId,
    /// Signs work.
    pub hotkey: AccountId,
    /// libp2p peer id, the bytes of its multihash.
    pub peer_id: BoundedBytes<64>,
    /// What counts of what the owner has bonded.
    pub self_bond: Balance,
    /// What cases against the node that are not decided yet will take; it doesn't count.
    pub pending_slash: Balance,
    /// What it serves, `None` without a seat.
    pub seat: Option<SeatInfo>,
}

/// What a node serves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SeatInfo {
    /// Its blocks.
    pub span: Span,
    /// What it asks per position and block.
    pub price: Balance,
    /// Digest of its numeric profile, one of the manifest's.
    pub profile: Digest,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SessionStatus {
    /// Positions may be served.
    #[codec(index = 0)]
    Open,
    /// Settled or expired; higher vouchers are still taken until the window closes.
    #[codec(index = 1)]
    Settling,
    /// Paid out.
    #[codec(index = 2)]
    Closed,
}

/// One server of a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SessionServer {
    /// The server.
    pub node: NodeId,
    /// Its blocks when the session opened.
    pub span: Span,
    /// Its price per position and block when the session opened.
    pub price: Balance,
    /// Most that it can be paid.
    pub cap: Balance,
    /// Positions of the highest voucher that the chain has seen.
    pub positions: u32,
    /// What those positions come to.
    pub earned: Balance,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SessionInfo<AccountId> {
    /// Its id.
    pub id: SessionId,
    /// The subnet that serves it.
    pub subnet: SubnetId,
    /// Who pays.
    pub consumer: AccountId,
    /// The sr25519 key that signs its vouchers.
    pub session_key: [u8; 32],
    /// Commitment to the client's sampling nonce.
    pub seed_commitment: Digest,
    /// Who brought the consumer.
    pub integrator: Option<AccountId>,
    /// The block in which it was opened.
    pub opened_at: u32,
    /// What was put on hold for it: the sum of the caps.
    pub deposit: Balance,
    /// Its state.
    pub status: SessionStatus,
    /// The block at which it expires; when it is settling, at which its window closes; when it is
    /// closed, at which its record is dropped.
    pub deadline: u32,
    /// What the settlement recorded.
    pub receipt_root: Option<Digest>,
    /// The block of the settlement.
    pub settled_at: Option<u32>,
    /// Its servers, stand-bys included.
    pub servers: Vec<SessionServer>,
    /// The job that it was for, once that is answered.
    pub job: Option<JobId>,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum JobStatus {
    /// Waits for the assigned server until the deadline.
    #[codec(index = 0)]
    Assigned,
    /// Answered.
    #[codec(index = 1)]
    Done {
        /// The answer, UTF-8.
        answer: BoundedBytes<16_384>,
        /// How the answer ended.
        finish: FinishReason,
        /// The session that the answering server ran for it.
        session: SessionId,
        /// What that session's settlement recorded.
        receipt_root: Digest,
        /// Has the fee been paid? It waits on hold for a window after the answer.
        paid: bool,
    },
    /// Nobody answered in time: the fee went back.
    #[codec(index = 2)]
    Refunded,
}

/// A one-shot job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct JobInfo<AccountId> {
    /// Its id.
    pub id: JobId,
    /// The subnet asked.
    pub subnet: SubnetId,
    /// Who asked.
    pub requester: AccountId,
    /// The server that must answer.
    pub node: NodeId,
    /// The prompt, UTF-8.
    pub prompt: BoundedBytes<4096>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// What the answer pays.
    pub fee: Balance,
    /// The block after which the fee goes back.
    pub deadline: u32,
    /// Its state.
    pub status: JobStatus,
}

/// The cheapest chain of servers for a number of positions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Quote {
    /// What the positions cost over the whole chain of servers.
    pub total: Balance,
    /// The servers in order of their blocks, each with its part of the total.
    pub route: Vec<(NodeId, Balance)>,
}

/// Why there is no quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum QuoteError {
    /// No such subnet, or it is not active.
    #[codec(index = 0)]
    SubnetNotActive,
    /// More positions than the model's context holds.
    #[codec(index = 1)]
    ContextExceeded,
    /// No chain of seats covers every block end to end.
    #[codec(index = 2)]
    NoRoute,
    /// The price overflows.
    #[codec(index = 3)]
    Overflow,
}

/// An audit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AuditInfo<AccountId> {
    /// The server and session that are audited.
    pub subject: Subject,
    /// The subnet that served the session.
    pub subnet: SubnetId,
    /// Who is cheated if the work is wrong.
    pub victim: AccountId,
    /// What it is paid with.
    pub price: Balance,
    /// Who looks.
    pub round: Round,
    /// Where it stands.
    pub stage: Stage<u32>,
    /// Who is drawn to look in this round.
    pub members: Vec<Member>,
    /// Who did not let the server pass.
    pub accusation: Option<Accusation>,
    /// The digest of the last receipt of the work that is judged.
    pub head: Option<Digest>,
}

/// What others than its owner have at stake for a node, and on which terms.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct PoolInfo {
    /// The node.
    pub node: NodeId,
    /// What is delegated and not asked back.
    pub amount: Balance,
    /// The shares of that.
    pub shares: u128,
    /// What was asked back and waits for its release.
    pub leaving: Balance,
    /// How many delegations there are.
    pub delegators: u32,
    /// The share of the delegators' rewards that the owner keeps, in parts of 10⁹.
    pub commission_parts: u32,
    /// The block from which on all is paid out of a pool that is closed.
    pub closed_until: Option<u32>,
    /// What delegators may claim together.
    pub rewards: Balance,
    /// What the owner may claim.
    pub owner_rewards: Balance,
}

/// What somebody has at stake for another's node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DelegationInfo {
    /// The node.
    pub node: NodeId,
    /// What is delegated and not asked back.
    pub amount: Balance,
    /// The shares of the node's pool for that.
    pub shares: u128,
    /// What of the amount moved here from other nodes and still answers for them.
    pub liable: Balance,
    /// What may be claimed.
    pub rewards: Balance,
    /// What was asked back, in the order of release.
    pub chunks: Vec<DelegationChunk>,
}

/// Part of a delegation that was asked back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DelegationChunk {
    /// How much.
    pub amount: Balance,
    /// The block from which on it can be paid out.
    pub release_at: u32,
}
