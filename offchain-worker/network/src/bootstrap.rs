//! The peers through which one joins the swarm.

use crate::{error::NetworkError, handle::NetworkHandle};
use futures::{stream::FuturesUnordered, StreamExt};
use libp2p::{multiaddr::Protocol, Multiaddr, PeerId};
use quipu_worker_core::ports::PeerError;
use std::time::Duration;

/// A bootstrap peer that can't be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct Unreached {
    /// Where it was looked for.
    pub address: Multiaddr,
    /// Why it was not found there, in words.
    pub reason: String,
}

/// The peer that a bootstrap address names with its last part.
pub fn bootstrap_peer(address: &Multiaddr) -> Result<PeerId, NetworkError> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(peer),
        _ => Err(NetworkError::Bootstrap(address.clone())),
    }
}

impl NetworkHandle {
    /// Connects to a bootstrap peer. Cancel-safe: a dial that began goes on.
    pub async fn reach(&self, address: &Multiaddr) -> Result<(), Unreached> {
        let dialled = match bootstrap_peer(address) {
            Ok(peer) => self.dial(peer, vec![address.clone()]).await,
            Err(error) => {
                let (address, reason) = (address.clone(), error.to_string());
                return Err(Unreached { address, reason });
            }
        };
        dialled.map_err(|error| {
            let reason = match error {
                PeerError::Unreachable(reason) => reason,
                other => other.to_string(),
            };
            // Mostly it is the only one that was tried.
            let own = format!("{address}: ");
            Unreached {
                address: address.clone(),
                reason: reason.strip_prefix(&own).unwrap_or(&reason).to_owned(),
            }
        })
    }

    /// Connects to all of these peers, and is back with the first that answers; those of the others
    /// that don't are told in the log. If none does, says why of each. Cancel-safe: what began goes
    /// on.
    pub async fn join(&self, bootstrap: &[Multiaddr]) -> Result<(), Vec<Unreached>> {
        let mut dials: FuturesUnordered<_> = bootstrap
            .iter()
            .map(|address| {
                let (network, address) = (self.clone(), address.clone());
                async move { network.reach(&address).await }
            })
            .collect();
        let mut failed = Vec::new();
        while let Some(dialled) = dials.next().await {
            let Err(unreached) = dialled else {
                failed.iter().for_each(warn);
                tokio::spawn(async move {
                    while let Some(dialled) = dials.next().await {
                        dialled.as_ref().err().into_iter().for_each(warn);
                    }
                });
                return Ok(());
            };
            failed.push(unreached);
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(failed),
        }
    }

    /// Connects to a bootstrap peer, however long that takes: says so once if it can't be reached,
    /// and tries again after `pause` each time. Ends when it is reached, or with the network.
    /// Cancel-safe.
    pub async fn keep_reaching(&self, address: Multiaddr, pause: Duration) {
        let mut told = false;
        while let Err(unreached) = self.reach(&address).await {
            if self.is_down() {
                return;
            }
            if !std::mem::replace(&mut told, true) {
                warn(&unreached);
            }
            tokio::time::sleep(pause).await;
        }
        if told {
            tracing::info!(%address, "the bootstrap peer is reached now");
        }
    }
}

fn warn(Unreached { address, reason }: &Unreached) {
    tracing::warn!(%address, reason, "a bootstrap peer can't be reached");
}
