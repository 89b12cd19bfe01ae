//! What handles and streams ask of the network's task.

use crate::serve::{OpenError, Wire};
use libp2p::{kad, Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

/// One thing to do. Where the one who asked is gone, the answer is dropped.
#[derive(Debug)]
pub(crate) enum Command {
    /// Be connected to a peer. The error says why not, in words.
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Open a serving stream to a connected peer.
    OpenStream {
        peer: PeerId,
        reply: oneshot::Sender<Result<Wire, OpenError>>,
    },
    /// Remember where a peer is.
    AddAddress { peer: PeerId, address: Multiaddr },
    /// Store a record here and at the closest peers. The answer is how many of them took it.
    /// The error says why it can't be stored here.
    Publish {
        record: kad::Record,
        reply: oneshot::Sender<Result<usize, String>>,
    },
    /// Look for the values of a record, until the receiver is dropped.
    Find {
        key: kad::RecordKey,
        found: mpsc::Sender<Vec<u8>>,
    },
    /// Look for the addresses of a peer.
    Locate {
        peer: PeerId,
        reply: oneshot::Sender<Vec<Multiaddr>>,
    },
    /// Close all connections to a peer that the book says is banned, and let it not come back.
    Disconnect { peer: PeerId },
    /// Close everything, then answer.
    Shutdown { reply: oneshot::Sender<()> },
}
