//! What the pallet stores.

use crate::{Caps, Config};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, CloneNoBound, DebugNoBound, EqNoBound, PartialEqNoBound};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    cost, job::FinishReason, traits::Grant, views::SessionStatus, Balance, Digest, JobId, NodeId,
    SessionId, Span, SubnetId,
};
use scale_info::TypeInfo;

/// One server of a session, as it was when the session opened, and what it was promised since.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Server {
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Its price per position and block.
    pub price: Balance,
    /// Most that it can be paid.
    pub cap: Balance,
    /// Positions of the highest voucher seen.
    pub positions: u32,
}

impl Server {
    /// What `positions` come to; `None` where that is more than the cap.
    pub fn price_of(&self, positions: u32) -> Option<Balance> {
        cost(self.price, self.span.len(), positions).filter(|amount| *amount <= self.cap)
    }

    /// What the recorded positions come to. They are only recorded where that is within the cap;
    /// anything else would earn nothing.
    pub fn earned(&self) -> Balance {
        self.price_of(self.positions).unwrap_or_default()
    }
}

/// The servers of a session.
pub type Servers<T> = BoundedVec<Server, <T as Config>::MaxServers>;

/// What `settle` recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Settlement<BlockNumber> {
    /// Root over the servers' receipts.
    pub receipt_root: Digest,
    /// The block of the settlement.
    pub at: BlockNumber,
}

/// What a session is opened with.
#[derive(CloneNoBound, DebugNoBound)]
pub struct Opening<T: Config> {
    /// The subnet that is to serve it.
    pub subnet: SubnetId,
    /// The sr25519 key that will sign its vouchers.
    pub session_key: [u8; 32],
    /// Its servers, stand-bys included, each with the most that it can be paid.
    pub caps: Caps<T>,
    /// Blocks for which it is open.
    pub duration: BlockNumberFor<T>,
    /// Commitment to the client's sampling nonce.
    pub seed_commitment: Digest,
    /// Who brought the consumer.
    pub integrator: Option<T::AccountId>,
}

/// Who pays for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funding {
    /// The consumer.
    Own,
    /// The consumer's quota.
    Quota,
}

/// A session.
#[derive(
    CloneNoBound, DebugNoBound, PartialEqNoBound, EqNoBound, Encode, Decode, MaxEncodedLen, TypeInfo,
)]
#[scale_info(skip_type_params(T))]
#[codec(mel_bound())]
pub struct Session<T: Config> {
    /// The subnet that serves it.
    pub subnet: SubnetId,
    /// Who asks, and pays unless its quota does.
    pub consumer: T::AccountId,
    /// What of the consumer's quota pays, if that does.
    pub grant: Option<Grant<T::AccountId>>,
    /// The sr25519 key that signs its vouchers.
    pub session_key: [u8; 32],
    /// Commitment to the client's sampling nonce.
    pub seed_commitment: Digest,
    /// Who brought the consumer.
    pub integrator: Option<T::AccountId>,
    /// Most positions of a sequence of the subnet's model.
    pub context_length: u32,
    /// The block in which it was opened.
    pub opened_at: BlockNumberFor<T>,
    /// The first block in which it can't be settled any more.
    pub expires_at: BlockNumberFor<T>,
    /// What the consumer settled, if it did.
    pub settlement: Option<Settlement<BlockNumberFor<T>>>,
    /// The first block in which no voucher is taken any more.
    pub closes_at: BlockNumberFor<T>,
    /// Has it been paid out?
    pub closed: bool,
    /// Did none of its servers forfeit what it earned? What an audit found out is known once it is paid
    /// out.
    pub is_sound: bool,
    /// The block under which the deadline queue has it.
    pub due: BlockNumberFor<T>,
    /// What is still on hold for it. Zero once closed, unless the consumer's account couldn't take
    /// the refund.
    pub held: Balance,
    /// The job that it answered.
    pub job: Option<JobId>,
    /// Its servers, stand-bys included.
    pub servers: Servers<T>,
}

impl<T: Config> Session<T> {
    /// The state in block `now`.
    pub fn status(&self, now: BlockNumberFor<T>) -> SessionStatus {
        if self.closed {
            SessionStatus::Closed
        } else if self.settlement.is_some() || now >= self.expires_at {
            SessionStatus::Settling
        } else {
            SessionStatus::Open
        }
    }

    /// Whose funds are on hold.
    pub fn payer(&self) -> &T::AccountId {
        match &self.grant {
            Some(grant) => &grant.payer,
            None => &self.consumer,
        }
    }

    /// The sum of the caps: what was put on hold when the session opened.
    pub fn deposit(&self) -> Balance {
        self.servers
            .iter()
            .fold(0, |sum: Balance, server| sum.saturating_add(server.cap))
    }
}

/// An answer and what vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Attested<BlockNumber> {
    /// How the answer ended.
    pub finish: FinishReason,
    /// The settled session that computed it.
    pub session: SessionId,
    /// The receipt root which that session's settlement recorded.
    pub receipt_root: Digest,
    /// The first block in which the fee can be paid.
    pub pays_at: BlockNumber,
}

/// Where a job's fee is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub enum Fee {
    /// On hold.
    #[codec(index = 0)]
    Held,
    /// With the server's owner.
    #[codec(index = 1)]
    Paid,
    /// Back with the requester.
    #[codec(index = 2)]
    Refunded,
}

/// A one-shot job. Its prompt and answer are stored beside it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Job<AccountId, BlockNumber> {
    /// The subnet asked.
    pub subnet: SubnetId,
    /// Who asked.
    pub requester: AccountId,
    /// The server that must answer.
    pub node: NodeId,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// What the answer pays.
    pub fee: Balance,
    /// What is still on hold for it. Zero once paid or refunded, unless the requester's account
    /// couldn't take the refund.
    pub held: Balance,
    /// Where the fee is.
    pub state: Fee,
    /// The answer's attestation, once there is one.
    pub result: Option<Attested<BlockNumber>>,
    /// Sessions with a lower id were opened before the job.
    pub first_session: SessionId,
    /// The last block in which the answer is taken.
    pub deadline: BlockNumber,
    /// The block under which the deadline queue has it.
    pub due: BlockNumber,
}

/// An entry of the deadline queue.
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
pub enum Due {
    /// Something is to be done about a session.
    #[codec(index = 0)]
    Session(SessionId),
    /// Something is to be done about a job.
    #[codec(index = 1)]
    Job(JobId),
}
