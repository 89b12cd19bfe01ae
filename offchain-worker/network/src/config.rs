//! How a network is set up.

use crate::{
    limits::STREAM_IDLE,
    peers::FrameRate,
    records::{system_clock, Clock},
};
use libp2p::{identity::Keypair, Multiaddr};
use quipu_primitives::Digest;
use quipu_protocol::limits::{OPEN_TIMEOUT, STEP_TIMEOUT};
use std::time::Duration;

/// What a peer does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks: stores no records, answers no queries, accepts no streams.
    Client,
    /// Answers.
    Server,
}

/// Everything a network needs to know at its start.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Who this peer is. Must be an ed25519 key: the chain knows these.
    pub keypair: Keypair,
    /// What it does for others.
    pub role: Role,
    /// Genesis of the chain whose announcements are kept.
    pub genesis: Digest,
    /// Where to listen. Port 0 is any free port. Clients need not listen.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others reach this peer, where these are not those it listens on. Nobody is
    /// told of the latter then.
    pub external: Vec<Multiaddr>,
    /// Peers through which to join the DHT; each ends with `/p2p/` and the peer's id.
    pub bootstrap: Vec<Multiaddr>,
    /// How long opening a stream may take, search and dial included.
    pub open_timeout: Duration,
    /// How long a server may take to answer.
    pub step_timeout: Duration,
    /// How long a client's stream may be silent.
    pub stream_idle: Duration,
    /// How fast a peer may send frames.
    pub frame_rate: FrameRate,
    /// What time it is.
    pub clock: Clock,
}

impl NetworkConfig {
    /// A peer that listens nowhere and knows nobody, with the limits of the protocol.
    pub fn new(keypair: Keypair, role: Role, genesis: Digest) -> Self {
        NetworkConfig {
            keypair,
            role,
            genesis,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            open_timeout: OPEN_TIMEOUT,
            step_timeout: STEP_TIMEOUT,
            stream_idle: STREAM_IDLE,
            frame_rate: FrameRate::default(),
            clock: system_clock(),
        }
    }
}
