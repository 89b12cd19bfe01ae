//! The one hash of Quipu's own commitments: BLAKE2b with 256 bits of output.
//!
//! Every hash that Quipu signs or stores starts with a domain, so that bytes meant for one purpose
//! can never be taken for another.

use alloc::vec::Vec;
use codec::Encode;

/// 32 bytes of BLAKE2b-256.
pub type Digest = [u8; 32];

/// `H(len(domain) ‖ domain ‖ SCALE(value))`.
pub fn hash_of<T: Encode + ?Sized>(domain: &[u8], value: &T) -> Digest {
    let mut bytes = domain.to_vec().encode();
    value.encode_to(&mut bytes);
    sp_crypto_hashing::blake2_256(&bytes)
}

/// Root of a binary Merkle tree over `leaves` in their order, as used for weights and receipts.
///
/// A node is `H("quipu/merkle" ‖ left ‖ right)`; a level of odd length carries its last element up
/// unchanged; the root binds the number of leaves, so that no two lists share one:
/// `H("quipu/merkle-root" ‖ count as u32 ‖ top)`. The empty list has a top of zeros.
pub fn merkle_root(leaves: &[Digest]) -> Digest {
    let mut level: Vec<Digest> = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash_of(b"quipu/merkle", &(left, right)),
                rest => rest.first().copied().unwrap_or_default(),
            })
            .collect();
    }
    let top = level.first().copied().unwrap_or_default();
    hash_of(b"quipu/merkle-root", &(leaves.len() as u32, top))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_separate() {
        assert_ne!(hash_of(b"a", &1u8), hash_of(b"b", &1u8));
        // A domain's last byte can't pass for the value's first.
        assert_ne!(hash_of(b"ab", &b'c'), hash_of(b"a", &(b'b', b'c')));
    }

    #[test]
    fn roots_bind_order_and_length() {
        let leaves: Vec<Digest> = (0u8..5).map(|i| [i; 32]).collect();
        let root = merkle_root(&leaves);
        let mut swapped = leaves.clone();
        swapped.swap(0, 4);
        assert_ne!(root, merkle_root(&swapped));
        assert_ne!(root, merkle_root(&leaves[..4]));
        assert_ne!(merkle_root(&[]), merkle_root(&[[0; 32]]));
        // The last, odd leaf is carried up, not doubled.
        let mut doubled = leaves.clone();
        doubled.push(leaves[4]);
        assert_ne!(root, merkle_root(&doubled));
    }
}
