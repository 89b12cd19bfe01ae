//! Who the server is, and who stands before it.

use crate::keys::Signer;
use quipu_primitives::{
    views::{NodeInfo, SessionInfo},
    AccountBytes, DType, Digest, NodeId, Span, SubnetId,
};
use quipu_protocol::activations::width;
use std::{fmt, sync::Arc, time::Duration};

/// What a server is in all its sessions. Fixed while it runs.
#[derive(Clone)]
pub struct Identity {
    /// Hash of the chain's genesis block.
    pub genesis: Digest,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its node.
    pub node: NodeId,
    /// The blocks it holds.
    pub span: Span,
    /// Multihash bytes of its peer id.
    pub peer: Vec<u8>,
    /// Root of the weights it computes with.
    pub weights_root: Digest,
    /// Digest of its numeric profile.
    pub profile: Digest,
    /// Does the profile give the same bits however positions are cut into steps? Then drafted ones
    /// are taken.
    pub exact: bool,
    /// Type of the activations that go in and out: the profile's. Nobody can open a stream to a
    /// server whose type is none that is sent.
    pub dtype: DType,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Longest sequence.
    pub context: u32,
    /// Its hotkey.
    pub signer: Arc<dyn Signer>,
}

impl Identity {
    /// The type of the activations, among those that are sent.
    pub fn wire(&self) -> DType {
        match self.dtype {
            sent @ (DType::F16 | DType::Bf16) => sent,
            _ => DType::F32,
        }
    }

    /// Bytes of a row of activations.
    pub fn row(&self) -> usize {
        self.hidden as usize * width(self.wire()).unwrap_or(0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Identity(node {} of subnet {}, blocks {})",
            self.node, self.subnet, self.span
        )
    }
}

/// A server of the session whose span ends where ours begins, or begins where ours ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its node.
    pub node: NodeId,
    /// The key that signs its receipts.
    pub hotkey: AccountBytes,
    /// Multihash bytes of its peer id.
    pub peer: Vec<u8>,
    /// Its blocks.
    pub span: Span,
}

/// The neighbours on both sides, stand-bys included. Servers that have left the roster are left
/// out: nobody can check their signature any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// They hand on to us.
    pub before: Vec<Neighbour>,
    /// We hand on to them.
    pub behind: Vec<Neighbour>,
}

impl Neighbours {
    /// Those of the server that holds the blocks `span` in `session`.
    pub fn of(
        session: &SessionInfo<AccountBytes>,
        roster: &[NodeInfo<AccountBytes>],
        span: Span,
    ) -> Self {
        let those = |is_one: &dyn Fn(Span) -> bool| {
            session
                .servers
                .iter()
                .filter(|server| is_one(server.span))
                .filter_map(|server| {
                    let info = roster.iter().find(|info| info.id == server.node)?;
                    Some(Neighbour {
                        node: server.node,
                        hotkey: info.hotkey,
                        peer: info.peer_id.to_vec(),
                        span: server.span,
                    })
                })
                .collect()
        };
        Neighbours {
            before: those(&|other| other.end == span.start),
            behind: those(&|other| other.start == span.end),
        }
    }

    /// How many of the session's servers are neighbours of `span`, on the roster or not.
    pub fn expected(session: &SessionInfo<AccountBytes>, span: Span) -> usize {
        let touches = |other: Span| other.end == span.start || other.start == span.end;
        session
            .servers
            .iter()
            .filter(|server| touches(server.span))
            .count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.before.len() + self.behind.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The time, as the caller's clocks show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since any fixed moment.
    pub time: Duration,
    /// Number of the latest block known.
    pub block: u32,
}
