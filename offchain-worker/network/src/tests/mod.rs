//! Networks on 127.0.0.1, one test for each way in which they can fail.

mod bootstrap;
mod dht;
mod misconduct;
mod streams;

use crate::{
    records::Clock, ClientStream, IncomingStreams, KeyDirectory, Network, NetworkConfig,
    NetworkHandle, NetworkMetrics, Role, ServerStream,
};
use libp2p::{identity::Keypair, Multiaddr, PeerId, Stream};
use quipu_primitives::{AccountBytes, Digest, NodeId, Span, SubnetId};
use quipu_protocol::{Activations, Announcement, Request, ServerState, SignedAnnouncement, Step};
use quipu_worker_core::{keys::EphemeralKey, Signer};
use std::{future::Future, sync::Arc, time::Duration};

pub(crate) const GENESIS: Digest = [9; 32];
pub(crate) const NOW: u64 = 1_000_000;

pub(crate) fn hotkey(node: NodeId) -> EphemeralKey {
    EphemeralKey::from_seed(&[node as u8; 32])
}

pub(crate) fn announcement(node: NodeId) -> Announcement {
    Announcement {
        subnet: 1,
        node,
        span: Span { start: 0, end: 10 },
        state: ServerState::Online,
        decode_micros: 5_000,
        prefill_rate: 400,
        free_positions: 4_096,
        addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
        made_at: NOW,
    }
}

pub(crate) fn sign(announcement: Announcement, key: &EphemeralKey) -> SignedAnnouncement {
    let signature = key.sign(&announcement.payload(&GENESIS));
    SignedAnnouncement {
        announcement,
        signature,
    }
}

/// The chain of these tests: nodes 1 to 9 of subnet 1.
struct Roster;

impl KeyDirectory for Roster {
    fn hotkey(&self, subnet: SubnetId, node: NodeId) -> Option<AccountBytes> {
        (subnet == 1 && (1..10).contains(&node)).then(|| hotkey(node).public())
    }
}

fn fixed_clock() -> Clock {
    Arc::new(|| NOW)
}

fn config(role: Role) -> NetworkConfig {
    let mut config = NetworkConfig::new(Keypair::generate_ed25519(), role, GENESIS);
    config.clock = fixed_clock();
    if role == Role::Server {
        config.listen = vec![tcp()];
    }
    config
}

fn tcp() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A running network with what the tests look at.
struct Peer {
    network: NetworkHandle,
    streams: IncomingStreams,
    metrics: NetworkMetrics,
}

impl Peer {
    async fn start(config: NetworkConfig) -> Peer {
        let metrics = NetworkMetrics::default();
        let (network, streams) = Network::spawn(config, Arc::new(Roster), metrics.clone())
            .await
            .unwrap();
        Peer {
            network,
            streams,
            metrics,
        }
    }

    async fn server() -> Peer {
        Peer::start(config(Role::Server)).await
    }

    async fn client() -> Peer {
        Peer::start(config(Role::Client)).await
    }

    async fn addresses(&self) -> Vec<Multiaddr> {
        self.network.listen_addresses().await.unwrap()
    }

    /// Where others reach it.
    async fn place(&self) -> Place {
        Place {
            id: self.network.local_peer_id(),
            addresses: self.addresses().await,
        }
    }

    /// A stream to the server there.
    async fn open(&self, Place { id, addresses }: &Place) -> ClientStream {
        let opened = self.network.open_stream(*id, addresses.clone());
        opened.await.unwrap()
    }

    /// A stream to the server there, without framing.
    async fn open_bare(&self, Place { id, addresses }: &Place) -> Stream {
        let opened = self.network.open_raw(*id, addresses.clone());
        opened.await.unwrap().stream
    }

    /// The address that others use to join through this peer.
    async fn bootstrap(&self) -> Multiaddr {
        self.addresses().await[0]
            .clone()
            .with_p2p(self.network.local_peer_id())
            .unwrap()
    }
}

/// A peer's id and addresses.
struct Place {
    id: PeerId,
    addresses: Vec<Multiaddr>,
}

/// A server, and a client that is told where it is.
struct Pair {
    server: Peer,
    client: Peer,
    place: Place,
}

impl Pair {
    async fn start() -> Pair {
        Pair::with(|_, _| {}).await
    }

    /// Two peers after `change` of the server's and the client's configuration.
    async fn with(change: impl FnOnce(&mut NetworkConfig, &mut NetworkConfig)) -> Pair {
        let (mut server, mut client) = (config(Role::Server), config(Role::Client));
        change(&mut server, &mut client);
        let (server, client) = (Peer::start(server).await, Peer::start(client).await);
        let place = server.place().await;
        Pair {
            server,
            client,
            place,
        }
    }

    /// A new stream of the client, and the server's end of it.
    async fn open(&mut self) -> (ClientStream, ServerStream) {
        let stream = self.client.open(&self.place).await;
        (stream, self.server.streams.next().await.unwrap())
    }

    /// The same with a client's end that sends any bytes.
    async fn open_bare(&mut self) -> (Stream, ServerStream) {
        let stream = self.client.open_bare(&self.place).await;
        (stream, self.server.streams.next().await.unwrap())
    }

    /// What the server holds against the client.
    fn score(&self) -> f64 {
        let client = self.client.network.local_peer_id();
        self.server.network.score(&client)
    }
}

fn step(number: u32) -> (Request, Option<Activations>) {
    let activations = Activations::from_f32(&[number as f32, 2.0, 3.0, 4.0], 2).unwrap();
    let step = Step {
        step: number,
        position: number,
        drafted: 0,
        activations: activations.header,
    };
    (Request::Step(step), Some(activations))
}

/// Fails the test instead of hanging it.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("the test hangs")
}
