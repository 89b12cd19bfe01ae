//! What a server signs about its work.
//!
//! A server cuts the positions of a session into ranges of [`RECEIPT_POSITIONS`] and signs, for
//! each, what came in and what went out, chained to the receipt before. The last range of a
//! session may be shorter.

use crate::{
    hash::{hash_of, merkle_root, Digest},
    ids::{NodeId, SessionId},
    span::Span,
    AccountBytes, SignatureBytes,
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

    /// The bytes that the hotkey signs (sr25519, context `substrate`). Numbers of sessions are given
    /// out anew where a block is replaced by another: the session's key tells the session from others
    /// that had its number for a while, so that a server which served one of them has not lied.
    pub fn payload(&self, genesis: &Digest, session_key: &AccountBytes) -> Digest {
        let content = (genesis, session_key, self.digest());
        hash_of(b"quipu/receipt-signature/2", &content)
    }

    /// Can't both be true? Of a server's receipts of one session no two cover the same position:
    /// whoever signed both lied to somebody.
    pub fn contradicts(&self, other: &Receipt) -> bool {
        let same_server = (self.session, self.node) == (other.session, other.node);
        let overlap = self.start.max(other.start) < self.end.min(other.end);
        same_server && overlap && self != other
    }
}

/// A receipt with the hotkey's signature over [`Receipt::payload`].
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// sr25519, context `substrate`.
    pub signature: SignatureBytes,
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

    fn receipt(start: u32, end: u32) -> Receipt {
        Receipt {
            session: 1,
            node: 2,
            span: Span { start: 0, end: 10 },
            weights_root: [3; 32],
            profile: [4; 32],
            start,
            end,
            input: [5; 32],
            output: [6; 32],
            previous: [7; 32],
        }
    }

    #[test]
    fn receipts_that_share_a_position_contradict_each_other_unless_they_are_one() {
        let first = receipt(0, 32);
        assert!(!first.contradicts(&first.clone()), "one receipt");
        assert!(!first.contradicts(&receipt(32, 64)), "the next");
        assert!(!receipt(32, 64).contradicts(&first));
        assert!(first.contradicts(&receipt(0, 31)), "cut short");
        assert!(receipt(31, 40).contradicts(&first), "one position");
        // Without positions, nothing is said about any.
        assert!(!receipt(5, 5).contradicts(&first));
        assert!(!receipt(9, 3).contradicts(&first));

        // Whatever else is said of the same positions.
        let others: [fn(&mut Receipt); 6] = [
            |it| it.span.end = 9,
            |it| it.weights_root[0] ^= 1,
            |it| it.profile[0] ^= 1,
            |it| it.input[0] ^= 1,
            |it| it.output[0] ^= 1,
            |it| it.previous[0] ^= 1,
        ];
        for change in others {
            let mut other = first.clone();
            change(&mut other);
            assert!(first.contradicts(&other) && other.contradicts(&first));
        }
        // Other sessions and servers have nothing to do with it.
        let elsewhere: [fn(&mut Receipt); 2] = [|it| it.session = 9, |it| it.node = 9];
        for change in elsewhere {
            let mut other = first.clone();
            other.output = [0; 32];
            change(&mut other);
            assert!(!first.contradicts(&other));
        }
    }

    #[test]
    fn what_is_signed_binds_chain_session_and_content() {
        let payload = receipt(0, 32).payload(&[1; 32], &[2; 32]);
        assert_ne!(payload, receipt(0, 32).payload(&[9; 32], &[2; 32]));
        assert_ne!(payload, receipt(0, 32).payload(&[1; 32], &[9; 32]));
        assert_ne!(payload, receipt(0, 31).payload(&[1; 32], &[2; 32]));
    }

    #[test]
    fn the_root_does_not_depend_on_the_order_of_arrival() {
        let root = receipt_root(7, &[head(1), head(2), head(3)]);
        assert_eq!(root, receipt_root(7, &[head(3), head(1), head(2)]));
        assert_ne!(root, receipt_root(8, &[head(1), head(2), head(3)]));
        assert_ne!(root, receipt_root(7, &[head(1), head(2)]));
    }
}
