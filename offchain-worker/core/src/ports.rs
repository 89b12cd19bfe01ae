//! The world as a worker or client needs it. Each trait has one real implementation in its own
//! crate, and one in `quipu-testkit`.

use crate::{error::Classified, error::Fault, keys::Signer};
use async_trait::async_trait;
use futures::stream::BoxStream;
use quipu_primitives::{
    audit::{Finding, Subject},
    job::FinishReason,
    views::{AuditInfo, JobInfo, NodeInfo, Quote, QuoteError, SessionInfo, SubnetInfo},
    AccountBytes, Balance, Digest, JobId, Manifest, NodeId, SessionId, SignatureBytes, Span,
    SubnetId, Voucher,
};
use quipu_protocol::{Activations, FrameError, Request, Response};
use std::sync::Arc;
use std::time::Duration;

// --- the chain ---------------------------------------------------------------------------------

/// What can be submitted. One variant for each extrinsic that workers and clients use.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `subnets.register_subnet`, by the creator.
    RegisterSubnet(Box<Manifest>),
    /// `subnets.register_node`, by the coldkey.
    RegisterNode {
        /// Subnet to register in.
        subnet: SubnetId,
        /// Key that signs its work.
        hotkey: AccountBytes,
        /// Multihash bytes of its libp2p peer id.
        peer_id: Vec<u8>,
    },
    /// `subnets.join`, by the hotkey or coldkey.
    Join {
        /// The node.
        node: NodeId,
        /// Blocks it will serve.
        span: Span,
        /// Price per position and block.
        price: Balance,
        /// Digest of one of the manifest's profiles.
        profile: Digest,
    },
    /// `subnets.update_price`, by the hotkey or coldkey of a node with a seat.
    UpdatePrice {
        /// The node.
        node: NodeId,
        /// Price per position and block from now on. Sessions that are open keep theirs.
        price: Balance,
    },
    /// `subnets.leave`, by the hotkey or coldkey.
    Leave {
        /// The node.
        node: NodeId,
    },
    /// `subnets.remove_node`, by the coldkey.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// `staking.bond`, by the coldkey.
    Bond {
        /// The node.
        node: NodeId,
        /// How much more.
        amount: Balance,
    },
    /// `staking.unbond`, by the coldkey.
    Unbond {
        /// The node.
        node: NodeId,
        /// How much less.
        amount: Balance,
    },
    /// `staking.withdraw`, by anyone.
    Withdraw {
        /// The node.
        node: NodeId,
    },
    /// `inference.open_session`, by the consumer.
    OpenSession {
        /// Subnet that serves.
        subnet: SubnetId,
        /// sr25519 key that signs vouchers.
        session_key: AccountBytes,
        /// Most that each server may earn, stand-bys included.
        caps: Vec<(NodeId, Balance)>,
        /// Blocks until it expires.
        duration: u32,
        /// Commitment to the client's sampling nonce.
        seed_commitment: Digest,
        /// Who brought the consumer.
        integrator: Option<AccountBytes>,
    },
    /// `inference.settle`, by the consumer.
    Settle {
        /// The session.
        session: SessionId,
        /// The last voucher of each server that served.
        vouchers: Vec<(Voucher, SignatureBytes)>,
        /// [`quipu_primitives::receipt::receipt_root`] over the servers' heads.
        receipt_root: Digest,
    },
    /// `inference.redeem`, by anyone.
    Redeem {
        /// A voucher higher than what the chain knows.
        voucher: Voucher,
        /// The session key's signature.
        signature: SignatureBytes,
    },
    /// `inference.finalize`, by anyone.
    Finalize {
        /// The session.
        session: SessionId,
    },
    /// `inference.request`, by a dApp.
    RequestJob {
        /// Subnet asked.
        subnet: SubnetId,
        /// UTF-8.
        prompt: Vec<u8>,
        /// Most tokens of the answer.
        max_tokens: u32,
        /// What the answer pays.
        fee: Balance,
    },
    /// `inference.submit_result`, by the assigned server's hotkey.
    SubmitResult {
        /// The job.
        job: JobId,
        /// UTF-8.
        answer: Vec<u8>,
        /// How it ended.
        finish: FinishReason,
        /// The session the server ran for it.
        session: SessionId,
        /// That session's receipt root.
        receipt_root: Digest,
    },
    /// `inference.refund_job`, by anyone after the deadline.
    RefundJob {
        /// The job.
        job: JobId,
    },
    /// `audits.commit`, by the hotkey of a node that is drawn to look.
    CommitFinding {
        /// The server and session that are audited.
        subject: Subject,
        /// [`Finding::commitment`].
        commitment: Digest,
    },
    /// `audits.reveal`, by the same.
    RevealFinding {
        /// The server and session that are audited.
        subject: Subject,
        /// What was found.
        finding: Finding,
        /// What the commitment was made with.
        salt: [u8; 32],
    },
    /// `audits.answer`, by the hotkey of a server that an auditor did not let pass.
    AnswerAudit {
        /// The server and session that are audited.
        subject: Subject,
        /// [`Receipt::digest`](quipu_primitives::Receipt::digest) of the server's last receipt.
        head: Digest,
    },
    /// `balances.transfer_keep_alive`.
    Transfer {
        /// Receiver.
        to: AccountBytes,
        /// How much.
        amount: Balance,
    },
    /// What people do with their QPU besides.
    Economy(EconomyCall),
}

/// What people do with their QPU, and no worker or client does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EconomyCall {
    /// `staking.delegate`, by the delegator.
    Delegate {
        /// The node that is backed.
        node: NodeId,
        /// How much more.
        amount: Balance,
    },
    /// `staking.undelegate`, by the delegator.
    Undelegate {
        /// The node.
        node: NodeId,
        /// How much less.
        amount: Balance,
    },
    /// `staking.withdraw_delegation`, by anyone.
    WithdrawDelegation {
        /// The node.
        node: NodeId,
        /// Who is paid.
        delegator: AccountBytes,
    },
    /// `staking.claim`, by the delegator.
    Claim {
        /// The node.
        node: NodeId,
    },
    /// `staking.claim_own`, by the coldkey.
    ClaimOwn {
        /// The node.
        node: NodeId,
    },
    /// `staking.set_commission`, by the coldkey.
    SetCommission {
        /// The node.
        node: NodeId,
        /// What the owner keeps of its delegators' rewards, in parts of 10⁹.
        parts: u32,
    },
    /// `staking.move_delegation`, by the delegator.
    MoveDelegation {
        /// Where it is.
        from: NodeId,
        /// Where it goes.
        to: NodeId,
        /// How much of it.
        amount: Balance,
    },
    /// `staking.move_bond`, by the coldkey of both nodes.
    MoveBond {
        /// Where it is.
        from: NodeId,
        /// Where it goes.
        to: NodeId,
        /// How much of it.
        amount: Balance,
    },
    /// `access.lock`, by the holder.
    LockQuota {
        /// How much more.
        amount: Balance,
    },
    /// `access.unlock`, by the holder.
    UnlockQuota {
        /// How much less.
        amount: Balance,
    },
}

/// Something that happened on chain, in a finalised block or in the block of an extrinsic.
#[derive(Clone, Debug, PartialEq)]
pub enum ChainEvent {
    /// A new finalised block. Sent once for each, after the block's other events.
    Finalized {
        /// Its number.
        number: u32,
        /// Its hash.
        hash: Digest,
    },
    /// `subnets.SubnetRegistered`.
    SubnetRegistered {
        /// Id it was given.
        subnet: SubnetId,
    },
    /// `subnets.NodeRegistered`.
    NodeRegistered {
        /// Id it was given.
        node: NodeId,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// The roster of a subnet changed: a seat was taken or left, or a node was removed.
    RosterChanged {
        /// The subnet.
        subnet: SubnetId,
    },
    /// A node has another price, hotkey, coldkey or peer id.
    NodeChanged {
        /// The node.
        node: NodeId,
    },
    /// `inference.SessionOpened`.
    SessionOpened {
        /// Id it was given.
        session: SessionId,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// The session was settled, or expired.
    SessionSettling {
        /// The session.
        session: SessionId,
    },
    /// `inference.ServerPaid`.
    ServerPaid {
        /// The session.
        session: SessionId,
        /// The server.
        node: NodeId,
        /// What reached its owner.
        amount: Balance,
    },
    /// `inference.SessionClosed`.
    SessionClosed {
        /// The session.
        session: SessionId,
        /// What all servers got.
        paid: Balance,
        /// What the consumer got back.
        refunded: Balance,
    },
    /// `inference.JobRequested`.
    JobRequested {
        /// The job.
        job: JobId,
        /// Its subnet.
        subnet: SubnetId,
        /// The server that must answer.
        node: NodeId,
    },
    /// `inference.JobDone`.
    JobDone {
        /// The job.
        job: JobId,
    },
    /// `inference.JobRefunded`.
    JobRefunded {
        /// The job.
        job: JobId,
    },
}

/// Where an extrinsic went in.
#[derive(Clone, Debug, PartialEq)]
pub struct Included {
    /// Number of the block.
    pub number: u32,
    /// Hash of the block.
    pub hash: Digest,
    /// What it caused, as far as workers and clients know the events.
    pub events: Vec<ChainEvent>,
}

/// What can go wrong with the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The endpoint can't be reached, or the connection broke. Nothing is known of what was
    /// under way; the adapter reconnects by itself.
    #[error("the chain's endpoint can't be reached: {0}")]
    Unreachable(String),
    /// The chain speaks another runtime than this program was built for.
    #[error("the chain's runtime does not fit this program: {0}")]
    Incompatible(String),
    /// The extrinsic was refused before it reached a block: no funds for its fee, wrong nonce, …
    #[error("the chain refused the extrinsic: {0}")]
    Refused(String),
    /// The extrinsic was included and failed.
    #[error("{pallet}.{error}: {docs}")]
    Dispatch {
        /// Pallet whose error it is.
        pallet: String,
        /// Name of the error.
        error: String,
        /// What its documentation says.
        docs: String,
    },
    /// What the chain answered can't be decoded.
    #[error("the chain's answer can't be decoded: {0}")]
    Decode(String),
}

impl Classified for ChainError {
    fn is_fatal(&self) -> bool {
        matches!(self, ChainError::Incompatible(_) | ChainError::Decode(_))
    }

    fn fault(&self) -> Fault {
        match self {
            ChainError::Unreachable(_) => Fault::Environment,
            ChainError::Incompatible(_) | ChainError::Decode(_) => Fault::Ours,
            ChainError::Refused(_) | ChainError::Dispatch { .. } => Fault::Caller,
        }
    }
}

/// Most jobs that [`Chain::open_jobs`] looks at, whoever must answer them.
pub const MAX_JOBS_READ: u64 = 4096;

/// The chain. Reads are of the latest finalised block unless said otherwise.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Hash of the genesis block.
    fn genesis(&self) -> Digest;
    /// A subnet.
    async fn subnet(&self, id: SubnetId) -> Result<Option<SubnetInfo<AccountBytes>>, ChainError>;
    /// Every node of a subnet, seated or not.
    async fn roster(&self, id: SubnetId) -> Result<Vec<NodeInfo<AccountBytes>>, ChainError>;
    /// The node that a hotkey signs for.
    async fn node_of_hotkey(
        &self,
        hotkey: AccountBytes,
    ) -> Result<Option<NodeInfo<AccountBytes>>, ChainError>;
    /// A session, as of the best block: a server must know a session that was opened a moment ago.
    async fn session(&self, id: SessionId)
        -> Result<Option<SessionInfo<AccountBytes>>, ChainError>;
    /// A job, as of the best block.
    async fn job(&self, id: JobId) -> Result<Option<JobInfo<AccountBytes>>, ChainError>;
    /// The jobs that wait for this node's answer, oldest first. Bounded: of a chain with more jobs
    /// than [`MAX_JOBS_READ`] within one job's deadline, only the latest so many are looked at.
    async fn open_jobs(&self, node: NodeId) -> Result<Vec<JobId>, ChainError>;
    /// Keys that sign for a node, or did within the time in which it answers for that.
    async fn hotkeys_of(&self, node: NodeId) -> Result<Vec<AccountBytes>, ChainError>;
    /// The audit of a server's work in a session, as of the best block; closed ones for as long as their
    /// record is kept.
    async fn audit(&self, subject: Subject) -> Result<Option<AuditInfo<AccountBytes>>, ChainError>;
    /// The open audits that a node is part of, as the server or as an auditor, as of the best block.
    async fn audits_of(&self, node: NodeId) -> Result<Vec<AuditInfo<AccountBytes>>, ChainError>;
    /// What positions cost now.
    async fn quote(
        &self,
        subnet: SubnetId,
        positions: u32,
    ) -> Result<Result<Quote, QuoteError>, ChainError>;
    /// Free balance of an account, as of the best block.
    async fn free_balance(&self, account: AccountBytes) -> Result<Balance, ChainError>;
    /// Number of the latest finalised block.
    async fn finalized(&self) -> Result<u32, ChainError>;
    /// Events of finalised blocks from now on, in order, none left out and none twice, across
    /// reconnections. Ends only when the adapter is dropped.
    async fn events(&self) -> Result<BoxStream<'static, ChainEvent>, ChainError>;
    /// Signs and submits a call and waits until its block is in the best chain. Sends it at most
    /// once: after a broken connection it looks for the extrinsic by its nonce before it sends
    /// again. Not cancel-safe: a dropped future may still land.
    async fn submit(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError>;
    /// As [`Chain::submit`], but waits until the block is final, and tells of that one. What a call
    /// caused in a block that another one replaced may differ: ids are given out anew, for one.
    async fn submit_final(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError>;
}

// --- compute -----------------------------------------------------------------------------------

/// Names a sequence in a server's cache.
pub type CacheId = u64;

/// Why a span did not compute. The cache is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// The cache has no room for so many positions now.
    #[error("no room for {asked} positions; {free} are free")]
    Full {
        /// Asked for.
        asked: u32,
        /// What is free.
        free: u32,
    },
    /// No such sequence: its lease ended.
    #[error("the sequence is not in the cache")]
    Unknown,
    /// The step does not continue the sequence.
    #[error("the step begins at position {got} where {expected} comes next")]
    Position {
        /// Where the sequence ends.
        expected: u32,
        /// Where the step begins.
        got: u32,
    },
    /// Beyond what was reserved, or the model's context.
    #[error("position {position} lies beyond the {limit} that are possible")]
    Context {
        /// Last position of the step.
        position: u32,
        /// The limit.
        limit: u32,
    },
    /// Shape or numbers do not fit the model.
    #[error("the activations do not fit the model: {0}")]
    Input(String),
    /// The backend failed.
    #[error("the computation failed: {0}")]
    Backend(String),
}

/// A loaded span. Owned by one thread; calls block.
pub trait Compute: Send {
    /// Its blocks.
    fn span(&self) -> Span;
    /// Width of the residual stream.
    fn hidden_size(&self) -> u32;
    /// Longest sequence.
    fn context_length(&self) -> u32;
    /// Positions that can still be reserved.
    fn free_positions(&self) -> u32;
    /// Reserves room for a sequence of at most `positions`.
    fn open(&mut self, id: CacheId, positions: u32) -> Result<(), ComputeError>;
    /// Runs `[tokens, hidden]` activations that begin at `position` through the span, appending to
    /// the sequence's cache. Gives the same shape.
    fn forward(
        &mut self,
        id: CacheId,
        position: u32,
        input: &Activations,
    ) -> Result<Activations, ComputeError>;
    /// Frees a sequence. Unknown ones are ignored.
    fn close(&mut self, id: CacheId);
    /// What runs several sequences at once, if that gives the same bits.
    fn batching(&mut self) -> Option<&mut dyn Batching> {
        None
    }
}

/// A span that gives every row the same bits, whatever it is computed together with and however a
/// step is cut: steps may be put together and cut at will.
pub trait Batching: Compute {
    /// As [`Compute::forward`] for each of the steps, whose sequences must differ; the results in
    /// their order.
    fn forward_many(&mut self, steps: &[BatchStep]) -> Vec<Result<Activations, ComputeError>>;
    /// Cuts a sequence back to its first `positions`. Unknown ones are ignored.
    fn truncate(&mut self, id: CacheId, positions: u32);
}

/// One sequence's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStep {
    /// The sequence.
    pub id: CacheId,
    /// Position of the first row.
    pub position: u32,
    /// `[tokens, hidden]`.
    pub input: Activations,
}

// --- peers -------------------------------------------------------------------------------------

/// What can go wrong between peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection, or it broke.
    #[error("the peer can't be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What came is no frame of this protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] FrameError),
    /// The peer closed the stream.
    #[error("the peer closed the stream")]
    Closed,
}

impl Classified for PeerError {
    fn is_fatal(&self) -> bool {
        true
    }

    fn fault(&self) -> Fault {
        match self {
            PeerError::Unreachable(_) => Fault::Environment,
            _ => Fault::Peer,
        }
    }
}

/// One client stream to a server. Dropping it closes it.
#[async_trait]
pub trait ServeStream: Send {
    /// Sends a request, with the activations where it has some. Not cancel-safe.
    async fn send(
        &mut self,
        request: Request,
        payload: Option<Activations>,
    ) -> Result<(), PeerError>;
    /// Waits for the next response. Cancel-safe.
    async fn receive(&mut self) -> Result<(Response, Option<Activations>), PeerError>;
}

/// How a client reaches servers.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Our own peer id: multihash bytes.
    fn local(&self) -> Vec<u8>;
    /// Opens a stream of the serving protocol to a peer (multihash bytes of its id), dialling it
    /// at `addresses` or where the DHT says. The peer proved its id.
    async fn open(
        &self,
        peer: &[u8],
        addresses: &[String],
    ) -> Result<Box<dyn ServeStream>, PeerError>;
    /// The current announcements of these nodes; those that can't be found are left out. The
    /// signature of each was checked against the hotkey given.
    async fn announcements(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<quipu_protocol::Announcement>;
    /// Moving average of the round trip to a peer, once one was measured.
    fn round_trip(&self, peer: &[u8]) -> Option<Duration>;
}

/// The server's end of a client's stream. Dropping it closes it.
#[async_trait]
pub trait ServerStream: Send {
    /// Multihash bytes of the client's peer id, which it proved.
    fn peer(&self) -> &[u8];
    /// Waits for the next request. [`PeerError::Closed`] when the client is done. Cancel-safe.
    async fn receive(&mut self) -> Result<(Request, Option<Activations>), PeerError>;
    /// Sends a response, with the activations where it has some. Not cancel-safe.
    async fn send(
        &mut self,
        response: Response,
        payload: Option<Activations>,
    ) -> Result<(), PeerError>;
    /// Says that nothing more comes. Called after the last response, so that it arrives even if
    /// the stream is dropped at once.
    async fn close(&mut self) {}
}

/// The streams that clients open at a server.
#[async_trait]
pub trait Incoming: Send {
    /// Waits for the next stream; `None` once the swarm is gone. Cancel-safe.
    async fn next(&mut self) -> Option<Box<dyn ServerStream>>;
}

/// How a server makes itself found.
#[async_trait]
pub trait Announcer: Send + Sync {
    /// Our own peer id: multihash bytes.
    fn local(&self) -> Vec<u8>;
    /// Multiaddresses at which others reach us, textual; at most
    /// [`quipu_protocol::limits::MAX_ADDRESSES`].
    /// Waits until the listeners are up.
    async fn addresses(&self) -> Result<Vec<String>, PeerError>;
    /// Publishes a record under its node's key, and says how many other peers took it: with 0
    /// nobody can find it yet. Idempotent.
    async fn announce(
        &self,
        record: quipu_protocol::SignedAnnouncement,
    ) -> Result<usize, PeerError>;
}

// --- jobs --------------------------------------------------------------------------------------

/// The answer to a one-shot job, as it is submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAnswer {
    /// UTF-8, at most [`quipu_primitives::job::MAX_ANSWER`] bytes.
    pub answer: Vec<u8>,
    /// How it ended.
    pub finish: FinishReason,
    /// The session that was run for it.
    pub session: SessionId,
    /// That session's receipt root.
    pub receipt_root: Digest,
}

/// Why a job was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The prompt can't be answered by this model: it is no text, or too long.
    #[error("the job's prompt can't be answered: {0}")]
    Prompt(String),
    /// The swarm gave no answer now. Try again before the deadline.
    #[error("the swarm gave no answer: {0}")]
    Swarm(String),
    /// The chain did not take part.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Runs a job as a client of the swarm: opens a session in the worker's own name, generates, and
/// settles it.
#[async_trait]
pub trait JobRunner: Send + Sync {
    /// Answers a job. Not cancel-safe: the session stays open until it expires.
    async fn run(&self, job: &JobInfo<AccountBytes>) -> Result<JobAnswer, JobError>;
}

/// Shared handle of the chain.
pub type SharedChain = Arc<dyn Chain>;
/// Shared handle of what runs jobs.
pub type SharedJobRunner = Arc<dyn JobRunner>;
/// Shared handle of the peers.
pub type SharedPeers = Arc<dyn Peers>;
