//! What can go wrong with the network itself. What goes wrong with one peer is a
//! [`PeerError`](quipu_worker_core::ports::PeerError).

use libp2p::Multiaddr;
use quipu_worker_core::{Classified, Fault};

/// Why the network does not start, or can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The transports can't be set up.
    #[error("the transports can't be set up: {0}")]
    Transport(String),
    /// An address can't be listened on.
    #[error("can't listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        reason: String,
    },
    /// A bootstrap address does not say whom to expect there.
    #[error("the bootstrap address {0} must end with /p2p/ and a peer id")]
    Bootstrap(Multiaddr),
    /// The announcement is longer than any peer takes.
    #[error("an announcement of {0} bytes; at most {max} are taken",
        max = quipu_protocol::limits::MAX_ANNOUNCEMENT)]
    Announcement(usize),
    /// The announcement can't be kept.
    #[error("our announcement can't be stored: {0}")]
    Store(String),
    /// The network has shut down.
    #[error("the network has shut down")]
    Down,
}

impl Classified for NetworkError {
    fn is_fatal(&self) -> bool {
        !matches!(self, NetworkError::Announcement(_) | NetworkError::Store(_))
    }

    fn fault(&self) -> Fault {
        match self {
            NetworkError::Transport(_) | NetworkError::Listen { .. } => Fault::Environment,
            NetworkError::Bootstrap(_) => Fault::Caller,
            NetworkError::Announcement(_) | NetworkError::Store(_) | NetworkError::Down => {
                Fault::Ours
            }
        }
    }
}
