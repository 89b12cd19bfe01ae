#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod behaviour;
mod bootstrap;
mod client;
mod command;
mod config;
mod dials;
mod discreet;
mod driver;
mod error;
pub mod framing;
mod handle;
mod keyfile;
pub mod limits;
mod metrics;
mod network;
mod peers;
mod queries;
mod records;
mod serve;
mod server;
#[cfg(test)]
mod tests;
mod warden;

pub use bootstrap::{bootstrap_peer, Unreached};
pub use client::ClientStream;
pub use config::{NetworkConfig, Role};
pub use error::NetworkError;
pub use handle::{peer_id_from_bytes, NetworkHandle};
pub use keyfile::{load_or_create_key, KeyFileError};
pub use libp2p::{identity::Keypair, multiaddr::Error as MultiaddrError, Multiaddr, PeerId};
pub use metrics::{registered, NetworkMetrics};
pub use network::Network;
pub use peers::{FrameRate, Offence};
pub use records::{check_record, system_clock, Clock, KeyDirectory, NoKeys, RecordError};
pub use server::{IncomingStreams, ServerReader, ServerStream, ServerWriter};
