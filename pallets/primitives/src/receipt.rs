//! What a server signs about its work.
//!
//! A server cuts the positions of a session into ranges of [`RECEIPT_POSITIONS`] and signs, for
//! each, what came in and what went out, chained to the receipt before. The last range of a
//! session may be shorter.

use crate::{
    hash::{hash_of, merkle_root, Digest},
    ids::{NodeId, SessionId},
    span::Span,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Positions that one receipt covers, unless the session ends before.
pub const RECEIPT_POSITIONS: u32 = 32;

/// Commitment to the exact activations of a range of positions at a span's boundary.
pub type Leaf = Digest;

/// Which end of the span a leaf commits to.
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
pub enum Direction {
    /// What the span was given.
    #[codec(index = 0)]
    In,
    /// What it gave.
    #[codec(index = 1)]
    Out,
}

/// A server's statement about a range of positions.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Receipt {
    /// The session.
    pub session: SessionId,
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Root of the weights it computed with.
    pub weights_root: Digest,
    /// Digest of its numeric profile.
    pub profile: Digest,
    /// First position.
    pub start: u32,
    /// One past the last position.
    pub end: u32,
    /// Commitment to what came in.
    pub input: Leaf,
    /// Commitment to what went out.
    pub output: Leaf,
    /// [`Receipt::digest`] of this server's receipt before, zeros for its first.
    pub previous: Digest,
}

impl Receipt {
    /// Digest of the receipt: the head of the server's chain after it.
    pub fn digest(&self) -> Digest {
        hash_of(b"quipu/receipt/1", self)
    }

    /// The bytes that the hotkey signs (sr25519, context `substrate`).
    pub fn payload(&self, genesis: &Digest) -> Digest {
        hash_of(b"quipu/receipt-signature/1", &(genesis, self.digest()))
    }
}

/// One server's part of a session's receipt root.
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
pub struct ReceiptHead {
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Positions that its receipts cover.
    pub positions: u32,
    /// [`Receipt::digest`] of its last receipt.
    pub head: Digest,
}

/// The root that a session's settlement records: over the heads in ascending order of the node.
pub fn receipt_root(session: SessionId, heads: &[ReceiptHead]) -> Digest {
    let mut sorted: Vec<&ReceiptHead> = heads.iter().collect();
    sorted.sort_by_key(|head| head.node);
    let leaves: Vec<Digest> = sorted
        .iter()
        .map(|head| hash_of(b"quipu/receipt-head/1", &(session, head)))
        .collect();
    merkle_root(&leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(node: NodeId) -> ReceiptHead {
        ReceiptHead {
            node,
            span: Span { start: 0, end: 10 },
            positions: 40,
            head: [1; 32],
        }
    }

    #[test]
    fn the_root_does_not_depend_on_the_order_of_arrival() {
        let root = receipt_root(7, &[head(1), head(2), head(3)]);
        assert_eq!(root, receipt_root(7, &[head(3), head(1), head(2)]));
        assert_ne!(root, receipt_root(8, &[head(1), head(2), head(3)]));
        assert_ne!(root, receipt_root(7, &[head(1), head(2)]));
    }
}
