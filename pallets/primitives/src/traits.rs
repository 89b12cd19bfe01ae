//! How pallets know each other. No pallet depends on another's crate: the runtime's configs join
//! them through these traits.

use crate::{
    ids::{NodeId, SessionId, SubnetId},
    money::Balance,
    span::Span,
    AccountBytes, Digest,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::{traits::Zero, DispatchError, DispatchResult, Perbill};

/// The hash of the first block, by which whatever is signed for this chain names it.
pub fn genesis<T: frame_system::Config>() -> Digest {
    let first = frame_system::pallet_prelude::BlockNumberFor::<T>::zero();
    let hash = frame_system::Pallet::<T>::block_hash(first);
    Digest::try_from(hash.as_ref()).unwrap_or_default()
}

/// Who owns a node and who signs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKeys<AccountId> {
    /// The subnet the node belongs to.
    pub subnet: SubnetId,
    /// Owns the stake.
    pub coldkey: AccountId,
    /// Signs work.
    pub hotkey: AccountId,
}

/// A server's place on its subnet's roster: what it serves and at what price.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Seat {
    /// The server.
    pub node: NodeId,
    /// The blocks it serves.
    pub span: Span,
    /// What it asks per position and block.
    pub price: Balance,
    /// Digest of the numeric profile it computes with.
    pub profile: Digest,
}

/// The nodes and their keys. Owned by `subnets`.
pub trait Nodes<AccountId> {
    /// The keys of a node, `None` once it is removed.
    fn keys(node: NodeId) -> Option<NodeKeys<AccountId>>;
    /// The node that this hotkey signs for.
    fn by_hotkey(hotkey: &AccountId) -> Option<NodeId>;
    /// The nodes of a subnet; bounded by the subnet's `max_nodes`.
    fn of_subnet(subnet: SubnetId) -> Vec<NodeId>;
    /// A node of the root subnet owned by this coldkey. A coldkey owns at most one of them.
    fn root_node_of(coldkey: &AccountId) -> Option<NodeId>;
}

/// Which keys vouch for what a node signed. Owned by `subnets`.
pub trait Signers<AccountId, BlockNumber> {
    /// Does this key sign for the node, or did it at some time after block `since`?
    fn has_signed_for(node: NodeId, key: &AccountId, since: BlockNumber) -> bool;
}

/// Who serves what. Owned by `subnets`.
pub trait Roster {
    /// Is the subnet open for sessions and jobs?
    fn is_active(subnet: SubnetId) -> bool;
    /// The subnet of a node with a seat, and the seat.
    fn seat(node: NodeId) -> Option<(SubnetId, Seat)>;
    /// Every seat of a subnet; bounded by the subnet's `max_nodes`.
    fn seats(subnet: SubnetId) -> Vec<Seat>;
    /// Number of blocks of the subnet's model.
    fn blocks(subnet: SubnetId) -> Option<u16>;
    /// Longest sequence of the subnet's model.
    fn context_length(subnet: SubnetId) -> Option<u32>;
    /// Parameters of one block of the subnet's model.
    fn block_parameters(subnet: SubnetId) -> Option<u64>;
}

/// The bonds. Owned by `staking`.
pub trait Bonds {
    /// What the node's owner has bonded and not yet asked back, without what pending slashes may
    /// take of it.
    fn self_bond(node: NodeId) -> Balance;
    /// What pending slashes will take of all that is at stake for the node.
    fn pending_slash(node: NodeId) -> Balance;
    /// Self-bond without which no node may hold a seat.
    fn minimum_self_bond() -> Balance;
    /// Is nothing of the node left in the ledger, not even a chunk that waits for release, nor
    /// anybody's delegation? Only then may the node be removed.
    fn is_free(node: NodeId) -> bool;
    /// The node's subnet is dissolved: all that is still bonded for it is asked back, the owner's
    /// and what others delegated, and waits for its release as if they had asked. Bounded.
    fn unbond_all(node: NodeId);
}

/// Told when a bond changed, by its owner or by a slash. Implemented by `subnets`, which takes the
/// seat of a node whose bond is too small.
pub trait OnBondChange {
    /// The node's self-bond is now `self_bond`.
    fn bond_changed(node: NodeId, self_bond: Balance);
}

/// Told when a node's owner changes. Implemented by `staking`, which moves the bond along.
pub trait OnColdkeySwap<AccountId> {
    /// Moves what `old` holds for the node to `new`. An error refuses the swap.
    fn coldkey_swapped(node: NodeId, old: &AccountId, new: &AccountId) -> DispatchResult;
}

/// What nodes earn by what they have at stake. Owned by `emission`.
pub trait StakeRewards<AccountId> {
    /// So much counts from now on of what is at stake for the node. What it earned until now stays
    /// its own.
    fn stake_changed(node: NodeId, stake: Balance);
    /// What the node earned and nobody collected yet.
    fn earned(node: NodeId) -> Balance;
    /// Pays all of that to the account, and says how much it was. Nothing where there is nothing,
    /// or where the account can't take it.
    fn collect(node: NodeId, to: &AccountId) -> Balance;
}

impl<AccountId> StakeRewards<AccountId> for () {
    fn stake_changed(_: NodeId, _: Balance) {}
    fn earned(_: NodeId) -> Balance {
        0
    }
    fn collect(_: NodeId, _: &AccountId) -> Balance {
        0
    }
}

/// Told what auditors did. Owned by `emission`.
pub trait AuditDuties<AccountId> {
    /// The node was drawn and did not say what it found.
    fn duty_missed(node: NodeId);
    /// The node looked at work of this price, and what it said turned out to be so.
    fn duty_done(node: NodeId, owner: &AccountId, price: Balance);
}

/// What was taken of a holder's quota.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Grant<AccountId> {
    /// Whose funds pay.
    pub payer: AccountId,
    /// The day whose quota it was.
    pub day: u32,
}

/// Inference that holders of QPU need not pay for. Owned by `access`.
pub trait Quotas<AccountId> {
    /// Takes so much of what the holder may use today. The caller puts it on hold on the payer's account.
    fn take(holder: &AccountId, amount: Balance) -> Result<Grant<AccountId>, DispatchError>;
    /// So much of what was taken on that day was not needed.
    fn give_back(holder: &AccountId, day: u32, amount: Balance);
    /// The most that a server may ask for a position and a block of so many parameters to be paid like
    /// that.
    fn highest_price(block_parameters: u64) -> Balance;
}

/// Who still needs a node, so that it can't be removed under its feet.
pub trait Obligations {
    /// Does the node still owe or expect something, such as an open session?
    fn has_obligations(node: NodeId) -> bool;
}

impl Obligations for () {
    fn has_obligations(_: NodeId) -> bool {
        false
    }
}

impl<A: Obligations, B: Obligations> Obligations for (A, B) {
    fn has_obligations(node: NodeId) -> bool {
        A::has_obligations(node) || B::has_obligations(node)
    }
}

/// Says when what a session earned may leave its escrow, and who forfeits it. Whoever audits sessions
/// implements it.
pub trait PayoutGate {
    /// The session takes no voucher any more. Told before it is first asked about, and at least once.
    fn ended(session: SessionId);
    /// May the session be paid out now? Asked again later after a no.
    fn may_pay_out(session: SessionId) -> bool;
    /// The session is paid out now and not asked about again: these get nothing of it, servers or whoever
    /// answered a job with it.
    fn take_forfeits(session: SessionId) -> Vec<NodeId>;
    /// Would what somebody does in the session's name now still be looked at, if anything is?
    fn is_undecided(session: SessionId) -> bool;
}

impl PayoutGate for () {
    fn ended(_: SessionId) {}
    fn may_pay_out(_: SessionId) -> bool {
        true
    }
    fn take_forfeits(_: SessionId) -> Vec<NodeId> {
        Vec::new()
    }
    fn is_undecided(_: SessionId) -> bool {
        true
    }
}

/// What a node is punished for. A node is charged with each only once, however often it is reported.
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
pub enum Cause {
    /// It broke the rules of consensus in a session of `pallet-session`.
    #[codec(index = 0)]
    Consensus {
        /// That session.
        session: u32,
        /// The share of its bond that its offences of that session were known to cost before.
        from: Perbill,
        /// The share that they cost together with this one; more than `from`.
        to: Perbill,
    },
    /// It signed two receipts that can't both be true, in a session of inference.
    #[codec(index = 1)]
    Equivocation {
        /// That session.
        session: SessionId,
    },
    /// It was convicted of a wrong computation.
    #[codec(index = 2)]
    Computation {
        /// The session for which it computed.
        session: SessionId,
    },
    /// It did not hand over the data that an audit drew.
    #[codec(index = 3)]
    Withheld {
        /// The session that was audited.
        session: SessionId,
    },
    /// It said of another's work what a trial found to be wrong.
    #[codec(index = 4)]
    FalseVerdict {
        /// The session that was audited.
        session: SessionId,
        /// The server whose work it was.
        server: NodeId,
    },
}

/// What a node is charged with, and who is paid when it is punished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge<AccountId> {
    /// The offender.
    pub node: NodeId,
    /// What it did.
    pub cause: Cause,
    /// What was asked for the work in question, or staked on a verdict; zero where nothing was.
    pub price: Balance,
    /// Who proved it.
    pub reporter: Option<AccountId>,
    /// Whom it cheated.
    pub victim: Option<AccountId>,
}

/// The one place that slashes. Owned by `slashing`.
pub trait Slasher<AccountId> {
    /// Takes up a case against the node, and says how much of its bond that will cost. The caller
    /// has the proof.
    fn charge(charge: Charge<AccountId>) -> Result<Balance, DispatchError>;
}

/// What hangs over nodes. Owned by `slashing`.
pub trait PendingSlashes {
    /// What cases that are not decided yet will take of the node's bond.
    fn pending(node: NodeId) -> Balance;
}

impl PendingSlashes for () {
    fn pending(_: NodeId) -> Balance {
        0
    }
}

/// The bonds as the slasher sees them. Owned by `staking`.
pub trait Slashable {
    /// What was taken of a bond, until it is given away or burned by dropping it.
    type Proceeds;

    /// Takes up to `amount` of the node's bond, bonded and unbonding alike.
    fn slash(node: NodeId, amount: Balance) -> Result<Self::Proceeds, DispatchError>;
    /// Everything that can be slashed: the bond and what waits for release.
    fn slashable(node: NodeId) -> Balance;
    /// [`PendingSlashes::pending`] has another answer for this node than before.
    fn pending_changed(node: NodeId);
}

/// What a server agreed to in a session, as its judge needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service<AccountId, BlockNumber> {
    /// Who pays for it.
    pub consumer: AccountId,
    /// The block in which the session was opened.
    pub opened_at: BlockNumber,
    /// The key that signs its vouchers, which receipts are bound to.
    pub session_key: AccountBytes,
}

/// What one server did in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The server.
    pub node: NodeId,
    /// Positions that it is paid for.
    pub positions: u32,
    /// What it asks for them.
    pub earned: Balance,
}

/// Who answered a job with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<AccountId> {
    /// Who answered.
    pub node: NodeId,
    /// Who asked.
    pub requester: AccountId,
    /// What the answer is paid with.
    pub fee: Balance,
}

/// A session as whoever audits it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedSession<AccountId> {
    /// The subnet that served it.
    pub subnet: SubnetId,
    /// Who pays for it.
    pub consumer: AccountId,
    /// Its servers, stand-bys included.
    pub servers: Vec<Served>,
    /// The job that it was for, once that is answered.
    pub answered: Option<Answered<AccountId>>,
}

/// The sessions of inference. Owned by `inference`.
pub trait Services<AccountId, BlockNumber> {
    /// What the node agreed to in this session; `None` if it is not one of the session's servers, or
    /// the session is no longer on record.
    fn service(session: SessionId, node: NodeId) -> Option<Service<AccountId, BlockNumber>>;
    /// Who served the session; `None` if it is no longer on record.
    fn served(session: SessionId) -> Option<ServedSession<AccountId>>;
}
