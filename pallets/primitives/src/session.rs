//! What a consumer signs to pay.

use crate::{
    hash::{hash_of, Digest},
    ids::{NodeId, SessionId},
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// A consumer's promise to one server of a session: it has served `positions` positions since the
/// session began. Vouchers are cumulative: only the highest counts, and no position is paid twice.
///
/// The chain knows the node's price and span as they were when the session opened, so that the
/// amount follows: price × blocks × positions.
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
pub struct Voucher {
    /// The session that pays.
    pub session: SessionId,
    /// The server that is paid.
    pub node: NodeId,
    /// Positions served, from the first of the session on.
    pub positions: u32,
}

/// The bytes that the session key signs (sr25519, context `substrate`). The genesis hash keeps a
/// voucher from being used on another chain.
pub fn voucher_payload(genesis: &Digest, voucher: &Voucher) -> Digest {
    hash_of(b"quipu/voucher/1", &(genesis, voucher))
}

/// The bytes that the session key signs to open a stream at a server: nobody else can spend the
/// session's cache there. `client` and `server` are the peer ids of both ends.
pub fn open_payload(
    genesis: &Digest,
    session: SessionId,
    node: NodeId,
    client: &[u8],
    server: &[u8],
) -> Digest {
    hash_of(b"quipu/open/1", &(genesis, session, node, client, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_bind_every_field() {
        let voucher = Voucher {
            session: 1,
            node: 2,
            positions: 3,
        };
        let payload = voucher_payload(&[0; 32], &voucher);
        assert_ne!(payload, voucher_payload(&[1; 32], &voucher));
        for other in [
            Voucher {
                session: 9,
                ..voucher
            },
            Voucher { node: 9, ..voucher },
            Voucher {
                positions: 9,
                ..voucher
            },
        ] {
            assert_ne!(payload, voucher_payload(&[0; 32], &other));
        }
    }
}
