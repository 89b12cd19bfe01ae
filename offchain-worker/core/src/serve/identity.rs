//! Who the server is, and who stands before it.

use crate::keys::Signer;
use quipu_primitives::{
    views::{NodeInfo, SessionInfo},
    AccountBytes, Digest, NodeId, Span, SubnetId,
};
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
    /// Width of the residual stream.
    pub hidden: u32,
    /// Longest sequence.
    pub context: u32,
    /// Its hotkey.
    pub signer: Arc<dyn Signer>,
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

/// A server of the session whose span ends where ours begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its node.
    pub node: NodeId,
    /// The key that signs its receipts.
    pub hotkey: AccountBytes,
    /// Its blocks.
    pub span: Span,
}

impl Predecessor {
    /// The servers of `session` whose spans end at block `start`, stand-bys included. Servers that
    /// have left the roster are left out: nobody can check their signature any more.
    pub fn of(
        session: &SessionInfo<AccountBytes>,
        roster: &[NodeInfo<AccountBytes>],
        start: u16,
    ) -> Vec<Self> {
        let hotkey = |node| {
            roster
                .iter()
                .find(|info| info.id == node)
                .map(|info| info.hotkey)
        };
        session
            .servers
            .iter()
            .filter(|server| server.span.end == start)
            .filter_map(|server| {
                let hotkey = hotkey(server.node)?;
                Some(Predecessor {
                    node: server.node,
                    hotkey,
                    span: server.span,
                })
            })
            .collect()
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
