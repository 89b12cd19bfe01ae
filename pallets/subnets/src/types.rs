//! What the pallet stores, and the pure functions on it.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::ConstU32;
use quipu_primitives::{
    manifest::MAX_BLOCKS, traits::Seat, Balance, BoundedBytes, Digest, Span, SubnetId, Terms,
};
use scale_info::TypeInfo;
use sp_runtime::BoundedVec;

pub use quipu_primitives::views::SubnetStatus as Status;

/// A libp2p peer id: the bytes of its multihash.
pub type PeerId = BoundedBytes<64>;

/// Why a node lost its seat.
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
pub enum LeaveReason {
    /// Its hotkey or coldkey asked for it.
    #[codec(index = 0)]
    Asked,
    /// Its self-bond fell below what the subnet asks for.
    #[codec(index = 1)]
    BondTooSmall,
}

/// A subnet, but for its manifest. The manifest never changes, so what is read often is repeated
/// here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Subnet<AccountId> {
    /// Who registered it.
    pub creator: AccountId,
    /// What is held on the creator's account for it.
    pub deposit: Balance,
    /// Where it stands.
    pub status: Status,
    /// Number of blocks of its model.
    pub blocks: u16,
    /// Longest sequence of its model.
    pub context_length: u32,
    /// What it asks of its servers.
    pub terms: Terms,
    /// Digest of its manifest.
    pub manifest_digest: Digest,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Node<AccountId> {
    /// The subnet it belongs to.
    pub subnet: SubnetId,
    /// Owns it and its bond.
    pub coldkey: AccountId,
    /// Signs its work.
    pub hotkey: AccountId,
    /// Where the swarm finds it.
    pub peer_id: PeerId,
    /// What is held on the coldkey for it.
    pub deposit: Balance,
    /// What it serves, `None` without a seat.
    pub seat: Option<Seat>,
}

/// For each block of a model, the number of seats that serve it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Coverage(BoundedVec<u16, ConstU32<MAX_BLOCKS>>);

impl Coverage {
    /// Coverage of a model of `blocks` blocks (at most `MAX_BLOCKS`) that nobody serves.
    pub fn bare(blocks: u16) -> Self {
        let blocks = u32::from(blocks).min(MAX_BLOCKS);
        Coverage(BoundedVec::truncate_from((0..blocks).map(|_| 0).collect()))
    }

    /// A seat on `span` was taken.
    pub fn add(&mut self, span: Span) {
        self.change(span, u16::saturating_add);
    }

    /// A seat on `span` was given up.
    pub fn remove(&mut self, span: Span) {
        self.change(span, u16::saturating_sub);
    }

    /// Is every block served?
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(|seats| *seats > 0)
    }

    /// The counts in the order of the blocks.
    pub fn counts(&self) -> &[u16] {
        &self.0
    }

    fn change(&mut self, span: Span, by: fn(u16, u16) -> u16) {
        let (start, end) = (usize::from(span.start), usize::from(span.end));
        for seats in self.0.get_mut(start..end).into_iter().flatten() {
            *seats = by(*seats, 1);
        }
    }
}

/// Can these bytes be a libp2p peer id? Either the identity multihash of a small public key
/// (`0x00`, length of 1 to 42, key) or a SHA2-256 multihash (`0x12 0x20`, 32 bytes).
pub fn is_peer_id(bytes: &[u8]) -> bool {
    match bytes {
        [0x00, length @ 1..=42, key @ ..] => key.len() == usize::from(*length),
        [0x12, 0x20, digest @ ..] => digest.len() == 32,
        _ => false,
    }
}

/// What the pallet's benchmarks need from the rest of the runtime.
#[cfg(feature = "runtime-benchmarks")]
pub trait BenchmarkHelper<AccountId> {
    /// Gives the node of this coldkey a self-bond of at least `amount`.
    fn bond(node: quipu_primitives::NodeId, coldkey: &AccountId, amount: Balance);
}
