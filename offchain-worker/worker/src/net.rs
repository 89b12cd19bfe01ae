//! The network behind core's ports.

use crate::chain_sync::Roster;
use async_trait::async_trait;
use quipu_network::{
    limits::STREAM_IDLE, ClientStream, FrameRate, IncomingStreams, KeyDirectory, NetworkError,
    NetworkHandle,
};
use quipu_primitives::{AccountBytes, Digest, NodeId, SubnetId};
use quipu_protocol::{
    limits::{STEP_TIMEOUT, STREAM_BUFFER},
    Activations, Announcement, Request, Response, SignedAnnouncement,
};
use quipu_worker_core::ports::{Announcer, Incoming, PeerError, Peers, ServeStream, ServerStream};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

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

/// Streams to ourselves that may wait to be served; whoever opens further ones waits.
const OWN_QUEUE: usize = 4;

/// The swarm with this server in it: the servers that answer a job may include ourselves, whom the
/// network can't dial. Streams to ourselves have the frames and limits of all others.
pub fn with_ourselves(
    network: NetworkHandle,
    incoming: IncomingStreams,
) -> (PeersAndOurselves, AllStreams) {
    let (sender, own) = mpsc::channel(OWN_QUEUE);
    let peers = PeersAndOurselves {
        network,
        own: sender,
    };
    let network = NetworkStreams(incoming);
    (peers, AllStreams { network, own })
}

/// The peers of the swarm, ourselves among them.
pub struct PeersAndOurselves {
    network: NetworkHandle,
    own: mpsc::Sender<quipu_network::ServerStream>,
}

#[async_trait]
impl Peers for PeersAndOurselves {
    fn local(&self) -> Vec<u8> {
        self.network.local()
    }

    async fn open(
        &self,
        peer: &[u8],
        addresses: &[String],
    ) -> Result<Box<dyn ServeStream>, PeerError> {
        if peer != self.local() {
            return self.network.open(peer, addresses).await;
        }
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        let rate = FrameRate::default();
        let far = quipu_network::ServerStream::over(peer.to_vec(), far, STREAM_IDLE, rate);
        let ended = |_| PeerError::Unreachable("this server takes no more streams".into());
        self.own.send(far).await.map_err(ended)?;
        Ok(Box::new(ClientStream::over(near, STEP_TIMEOUT)))
    }

    async fn announcements(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<Announcement> {
        self.network.announcements(genesis, subnet, nodes).await
    }

    fn round_trip(&self, peer: &[u8]) -> Option<Duration> {
        match peer == self.local() {
            true => Some(Duration::ZERO),
            false => self.network.round_trip(peer),
        }
    }
}

/// Streams from the network and from ourselves; none once the network is gone.
pub struct AllStreams {
    network: NetworkStreams,
    own: mpsc::Receiver<quipu_network::ServerStream>,
}

#[async_trait]
impl Incoming for AllStreams {
    async fn next(&mut self) -> Option<Box<dyn ServerStream>> {
        tokio::select! {
            stream = self.network.next() => stream,
            Some(stream) = self.own.recv() => Some(Box::new(Stream(stream))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_network::{Keypair, Network, NetworkConfig, NetworkMetrics, NoKeys, Role};
    use quipu_protocol::{Refusal, RefusalCode};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_server_reaches_itself() {
        let mut config = NetworkConfig::new(Keypair::generate_ed25519(), Role::Server, [7; 32]);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let metrics = NetworkMetrics::default();
        let (network, streams) = Network::spawn(config, Arc::new(NoKeys), metrics)
            .await
            .unwrap();
        let (peers, mut streams) = with_ourselves(network.clone(), streams);
        let me = peers.local();
        // The network alone does not, which is why there is another way.
        assert!(network.open(&me, &[]).await.is_err());

        let mut near = peers.open(&me, &[]).await.unwrap();
        let mut far = streams.next().await.unwrap();
        assert_eq!(far.peer(), me);
        near.send(Request::Finish { positions: 0 }, None)
            .await
            .unwrap();
        let (request, _) = far.receive().await.unwrap();
        assert_eq!(request, Request::Finish { positions: 0 });
        let refusal = Response::Refused(Refusal::new(RefusalCode::Unexpected, "no session"));
        far.send(refusal.clone(), None).await.unwrap();
        assert_eq!(near.receive().await.unwrap().0, refusal);
        assert_eq!(peers.round_trip(&me), Some(Duration::ZERO));

        // It ends with the network.
        network.shutdown().await;
        assert!(streams.next().await.is_none());
        drop(streams);
        assert!(peers.open(&me, &[]).await.is_err());
    }
}
