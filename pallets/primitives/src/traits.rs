//! How pallets know each other. No pallet depends on another's crate: the runtime's configs join
//! them through these traits.

use crate::{
    ids::{NodeId, SessionId, SubnetId},
    money::Balance,
    span::Span,
    Digest,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::{DispatchError, DispatchResult, Perbill};

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
}

/// The bonds. Owned by `staking`.
pub trait Bonds {
    /// What the node's owner has bonded and not yet asked back.
    fn self_bond(node: NodeId) -> Balance;
    /// Self-bond without which no node may hold a seat.
    fn minimum_self_bond() -> Balance;
    /// Is nothing of the node left in the ledger, not even a chunk that waits for release? Only
    /// then may the node be removed.
    fn is_free(node: NodeId) -> bool;
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

/// Says when what a session earned may leave its escrow. Whoever audits sessions implements it.
pub trait PayoutGate {
    /// May the session, whose settlement window has closed, be paid out now? Asked again later
    /// after a no.
    fn may_pay_out(session: SessionId) -> bool;
}

impl PayoutGate for () {
    fn may_pay_out(_: SessionId) -> bool {
        true
    }
}

/// What a node did wrong, as consensus proved it.
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
pub struct Offence {
    /// The offender.
    pub node: NodeId,
    /// The share of its bond that the offence costs.
    pub fraction: Perbill,
    /// The session (of `pallet-session`) in which it happened.
    pub session: u32,
}

/// Where proven offences go. Slashing lives behind this trait.
pub trait OnOffence {
    /// An offence was proven.
    fn offence(offence: Offence);
}

impl OnOffence for () {
    fn offence(_: Offence) {}
}

/// The bonds as the slasher sees them. Implemented by `staking`.
pub trait Slashable {
    /// Burns up to `amount` of the node's bond, bonded and unbonding alike, and says how much it
    /// was.
    fn slash(node: NodeId, amount: Balance) -> Result<Balance, DispatchError>;
    /// Everything that can be slashed: the bond and what waits for release.
    fn slashable(node: NodeId) -> Balance;
}
