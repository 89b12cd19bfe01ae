//! The network behind core's ports.

use crate::chain_sync::Roster;
use async_trait::async_trait;
use quipu_network::{IncomingStreams, KeyDirectory, NetworkError, NetworkHandle};
use quipu_primitives::{AccountBytes, NodeId, SubnetId};
use quipu_protocol::{Activations, Request, Response, SignedAnnouncement};
use quipu_worker_core::ports::{Announcer, Incoming, PeerError, ServerStream};
use tokio::sync::watch;

/// Streams from the network.
pub struct NetworkStreams(pub IncomingStreams);

struct Stream(quipu_network::ServerStream);

#[async_trait]
impl Incoming for NetworkStreams {
    async fn next(&mut self) -> Option<Box<dyn ServerStream>> {
        let stream = self.0.next().await?;
        Some(Box::new(Stream(stream)))
    }
}

#[async_trait]
impl ServerStream for Stream {
    fn peer(&self) -> &[u8] {
        self.0.peer()
    }

    async fn receive(&mut self) -> Result<(Request, Option<Activations>), PeerError> {
        self.0.recv().await
    }

    async fn send(
        &mut self,
        response: Response,
        payload: Option<Activations>,
    ) -> Result<(), PeerError> {
        self.0.send(response, payload).await
    }

    async fn close(&mut self) {
        if let Err(error) = self.0.close().await {
            tracing::debug!(%error, "the stream was not closed in order");
        }
    }
}

/// Announces in the network's DHT.
pub struct NetworkAnnouncer(pub NetworkHandle);

fn down(error: NetworkError) -> PeerError {
    PeerError::Unreachable(error.to_string())
}

#[async_trait]
impl Announcer for NetworkAnnouncer {
    fn local(&self) -> Vec<u8> {
        self.0.local_peer_id().to_bytes()
    }

    async fn addresses(&self) -> Result<Vec<String>, PeerError> {
        self.0.announced_addresses().await.map_err(down)
    }

    async fn announce(&self, record: SignedAnnouncement) -> Result<usize, PeerError> {
        self.0.publish(&record).await.map_err(down)
    }
}

/// The hotkeys of one subnet's nodes, as the roster has them.
pub struct RosterKeys {
    /// The subnet.
    pub subnet: SubnetId,
    /// Its nodes.
    pub roster: watch::Receiver<Roster>,
}

impl KeyDirectory for RosterKeys {
    fn hotkey(&self, subnet: SubnetId, node: NodeId) -> Option<AccountBytes> {
        if subnet != self.subnet {
            return None;
        }
        let roster = self.roster.borrow();
        roster
            .iter()
            .find(|info| info.id == node)
            .map(|info| info.hotkey)
    }
}
