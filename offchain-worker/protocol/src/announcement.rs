//! What a server tells the swarm about itself: the value of its Kademlia record.
//!
//! The chain's roster already says which node serves which blocks at which price. The record adds
//! what changes by the minute. Its key is the node, so that two servers of the same block never
//! overwrite each other, and a client reads just the records of the nodes on the roster.

use crate::limits::{ANNOUNCEMENT_TTL, MAX_ADDRESSES, MAX_ANNOUNCEMENT};
use codec::{DecodeAll, Encode};
use quipu_primitives::{hash::hash_of, Digest, NodeId, SignatureBytes, Span, SubnetId};

/// Is the server ready?
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub enum ServerState {
    /// Loads its blocks.
    #[codec(index = 0)]
    Joining,
    /// Serves.
    #[codec(index = 1)]
    Online,
    /// Ends what it began, and takes nothing new.
    #[codec(index = 2)]
    Draining,
}

/// A server's state.
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub struct Announcement {
    /// The subnet.
    pub subnet: SubnetId,
    /// The server.
    pub node: NodeId,
    /// The blocks it holds now.
    pub span: Span,
    /// Is it ready?
    pub state: ServerState,
    /// Measured: milliseconds for one position through its span (decode), in thousandths.
    pub decode_micros: u32,
    /// Measured: positions per second of a long prompt through its span.
    pub prefill_rate: u32,
    /// Positions that its cache can still take.
    pub free_positions: u32,
    /// Multiaddresses, textual.
    pub addresses: Vec<String>,
    /// Unix time in seconds at which it was made.
    pub made_at: u64,
}

/// An announcement with the hotkey's signature over [`Announcement::payload`].
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub struct SignedAnnouncement {
    /// What is signed.
    pub announcement: Announcement,
    /// sr25519, context `substrate`.
    pub signature: SignatureBytes,
}

/// Why a record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// Longer than [`MAX_ANNOUNCEMENT`].
    #[error("a record of {0} bytes; at most {MAX_ANNOUNCEMENT} are taken")]
    TooLong(usize),
    /// No announcement of this version.
    #[error("the record is no announcement of this version")]
    Malformed,
    /// Lies under another node's key.
    #[error("the record of node {0} lies under another key")]
    WrongKey(NodeId),
    /// Too old, or from the future.
    #[error("the record is not current")]
    Stale,
}

impl Announcement {
    /// The bytes that the hotkey signs.
    pub fn payload(&self, genesis: &Digest) -> Digest {
        hash_of(b"quipu/announcement/1", &(genesis, self))
    }

    /// Key of a node's record.
    pub fn key(genesis: &Digest, subnet: SubnetId, node: NodeId) -> Digest {
        hash_of(b"quipu/announcement-key/1", &(genesis, subnet, node))
    }
}

impl SignedAnnouncement {
    /// Reads a record found under `key`. The caller checks the signature against the hotkey that
    /// the chain names for the node.
    pub fn read(
        bytes: &[u8],
        key: &Digest,
        genesis: &Digest,
        now: u64,
    ) -> Result<Self, AnnouncementError> {
        if bytes.len() > MAX_ANNOUNCEMENT {
            return Err(AnnouncementError::TooLong(bytes.len()));
        }
        let signed = SignedAnnouncement::decode_all(&mut &*bytes)
            .map_err(|_| AnnouncementError::Malformed)?;
        let said = &signed.announcement;
        if Announcement::key(genesis, said.subnet, said.node) != *key {
            return Err(AnnouncementError::WrongKey(said.node));
        }
        if said.made_at.abs_diff(now) > ANNOUNCEMENT_TTL.as_secs() {
            return Err(AnnouncementError::Stale);
        }
        if said.addresses.len() > MAX_ADDRESSES {
            return Err(AnnouncementError::Malformed);
        }
        Ok(signed)
    }

    /// The record's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(node: NodeId) -> SignedAnnouncement {
        SignedAnnouncement {
            announcement: Announcement {
                subnet: 1,
                node,
                span: Span { start: 0, end: 10 },
                state: ServerState::Online,
                decode_micros: 5000,
                prefill_rate: 400,
                free_positions: 4096,
                addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
                made_at: 1_000,
            },
            signature: [0; 64],
        }
    }

    #[test]
    fn records_are_read_under_their_own_key_while_they_are_current() {
        let genesis = [9; 32];
        let key = Announcement::key(&genesis, 1, 7);
        let bytes = signed(7).to_bytes();
        let read = |bytes: &[u8], key, now| SignedAnnouncement::read(bytes, key, &genesis, now);
        assert_eq!(read(&bytes, &key, 1_060), Ok(signed(7)));
        assert_eq!(read(&bytes, &key, 1_121), Err(AnnouncementError::Stale));
        assert_eq!(read(&bytes, &key, 879), Err(AnnouncementError::Stale));
        let other = Announcement::key(&genesis, 1, 8);
        assert_eq!(
            read(&bytes, &other, 1_000),
            Err(AnnouncementError::WrongKey(7))
        );
        assert_eq!(
            read(&bytes[1..], &key, 1_000),
            Err(AnnouncementError::Malformed)
        );
        let long = vec![0; MAX_ANNOUNCEMENT + 1];
        assert_eq!(
            read(&long, &key, 1_000),
            Err(AnnouncementError::TooLong(MAX_ANNOUNCEMENT + 1))
        );
        let mut many = signed(7);
        many.announcement.addresses = vec!["/ip4/127.0.0.1/tcp/1".into(); MAX_ADDRESSES + 1];
        assert_eq!(
            read(&many.to_bytes(), &key, 1_000),
            Err(AnnouncementError::Malformed)
        );
    }
}
