//! Joining through peers that are not there.

use super::*;
use crate::{bootstrap_peer, NetworkError};

/// Before a peer is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// An address where nobody listens: port 1 is reserved, and no test may bind it.
fn nowhere() -> Multiaddr {
    let peer = Keypair::generate_ed25519().public().to_peer_id();
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    address.with_p2p(peer).unwrap()
}

#[tokio::test]
async fn an_address_without_its_peer_is_refused() {
    let bare: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let error = bootstrap_peer(&bare).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("/ip4/127.0.0.1/tcp/1 must end with /p2p/"),
        "{told}"
    );
    let client = Peer::client().await;
    let error = within(client.network.reach(&bare)).await.unwrap_err();
    assert_eq!(error.reason, told);
}

#[tokio::test]
async fn every_peer_that_can_not_be_reached_is_named_with_the_reason() {
    let (server, client) = (Peer::server().await, Peer::client().await);
    let other = Keypair::generate_ed25519().public().to_peer_id();
    let taken = server.addresses().await[0].clone().with_p2p(other).unwrap();
    let dead = nowhere();
    let error = within(client.network.join(&[dead.clone(), taken.clone()])).await;
    let mut told = error.unwrap_err();
    told.sort_by_key(|unreached| unreached.address != dead);
    assert_eq!([&told[0].address, &told[1].address], [&dead, &taken]);
    assert!(
        told[0].reason.starts_with("Connection refused"),
        "{}",
        told[0]
    );
    assert!(
        told[1].reason.contains("another peer answers"),
        "{}",
        told[1]
    );
    assert!(client.network.connected_peers().is_empty());
}

#[tokio::test]
async fn one_that_answers_is_enough() {
    let (server, client) = (Peer::server().await, Peer::client().await);
    let known = [nowhere(), server.bootstrap().await];
    within(client.network.join(&known)).await.unwrap();
    assert_eq!(
        client.network.connected_peers(),
        [server.network.local_peer_id()]
    );
    within(client.network.join(&[])).await.unwrap();
}

/// A client that tries to reach a peer, which comes only then. `None` if somebody took the peer's
/// port meanwhile.
async fn come_later() -> Option<(Peer, Peer)> {
    let keypair = Keypair::generate_ed25519();
    let early = NetworkConfig {
        keypair: keypair.clone(),
        ..config(Role::Server)
    };
    let server = Peer::start(early).await;
    let address = server.bootstrap().await;
    let listen = server.addresses().await;
    within(server.network.shutdown()).await;

    let client = Peer::client().await;
    within(client.network.reach(&address)).await.unwrap_err();
    let reaching = {
        let network = client.network.clone();
        tokio::spawn(async move { network.keep_reaching(address, PAUSE).await })
    };
    let late = NetworkConfig {
        keypair,
        listen,
        ..config(Role::Server)
    };
    let metrics = NetworkMetrics::default();
    let started = Network::spawn(late, Arc::new(Roster), metrics.clone()).await;
    let (network, streams) = match started {
        Ok(started) => started,
        Err(NetworkError::Listen { .. }) => {
            within(client.network.shutdown()).await;
            within(reaching).await.unwrap();
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    within(reaching).await.unwrap();
    let server = Peer {
        network,
        streams,
        metrics,
    };
    Some((server, client))
}

#[tokio::test]
async fn a_peer_that_comes_later_is_reached_then() {
    let mut arranged = None;
    for _ in 0..10 {
        arranged = come_later().await;
        if arranged.is_some() {
            break;
        }
    }
    let (server, client) = arranged.expect("a port that nobody takes");
    assert_eq!(
        client.network.connected_peers(),
        [server.network.local_peer_id()]
    );

    // It ends with the network.
    let waiting = {
        let network = client.network.clone();
        tokio::spawn(async move { network.keep_reaching(nowhere(), PAUSE).await })
    };
    within(client.network.shutdown()).await;
    within(waiting).await.unwrap();
}
