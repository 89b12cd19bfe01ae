//! Announcements in the DHT: found, or dropped.

use super::*;
use libp2p::kad;
use quipu_worker_core::ports::{Peers, ServeStream};

/// A bootstrap server with a server and a client that know it alone.
async fn swarm() -> (Peer, Peer, Peer) {
    let bootstrap = Peer::server().await;
    let pair = pair_through(&bootstrap).await;
    (bootstrap, pair.server, pair.client)
}

/// A server and a client that join through `bootstrap`.
async fn pair_through(bootstrap: &Peer) -> Pair {
    let known = vec![bootstrap.bootstrap().await];
    Pair::with(|server, client| {
        server.bootstrap = known.clone();
        client.bootstrap = known;
    })
    .await
}

fn roster(nodes: &[NodeId]) -> Vec<(NodeId, AccountBytes)> {
    nodes
        .iter()
        .map(|node| (*node, hotkey(*node).public()))
        .collect()
}

#[tokio::test]
async fn announcements_are_found_through_a_third_peer() {
    within(async {
        let (bootstrap, server, client) = swarm().await;
        for node in [1, 2, 3] {
            let signed = sign(announcement(node), &hotkey(node));
            assert!(server.network.publish(&signed).await.unwrap() >= 1);
        }
        assert_eq!(bootstrap.metrics.records_stored.get(), 3);
        let found = client
            .network
            .announcements(GENESIS, 1, &roster(&[1, 2, 3, 4]))
            .await;
        assert_eq!(found, [1, 2, 3].map(announcement));
        let chain = client
            .network
            .announcements([0; 32], 1, &roster(&[1]))
            .await;
        assert_eq!(chain, [], "another chain's announcements are others");
    })
    .await;
}

#[tokio::test]
async fn who_is_reached_elsewhere_does_not_say_where_it_listens() {
    within(async {
        let bootstrap = Peer::server().await;
        let known = vec![bootstrap.bootstrap().await];
        let pair = Pair::with(|server, client| {
            // Nobody listens there.
            server.external = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
            server.bootstrap = known.clone();
            client.bootstrap = known;
        })
        .await;
        let (server, client) = (pair.server, pair.client);
        let announced = server.network.announced_addresses().await.unwrap();
        assert_eq!(announced, ["/ip4/127.0.0.1/tcp/1"]);
        let signed = sign(announcement(1), &hotkey(1));
        assert!(server.network.publish(&signed).await.unwrap() >= 1);
        // The bootstrap peer knows it and tells the client; its address leads nowhere.
        let id = server.network.local_peer_id();
        assert!(client.network.open_stream(id, Vec::new()).await.is_err());
        let direct = server.addresses().await;
        assert!(client.network.open_stream(id, direct).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_server_is_found_by_its_id_alone() {
    within(async {
        let (_bootstrap, mut server, client) = swarm().await;
        let id = server.network.local_peer_id();
        // Publishing makes the server known to the bootstrap peer, if it was not already.
        server
            .network
            .publish(&sign(announcement(1), &hotkey(1)))
            .await
            .unwrap();
        let open = async {
            loop {
                if let Ok(stream) = client.network.open_stream(id, Vec::new()).await {
                    break stream;
                }
            }
        };
        let (mut stream, serving) = tokio::join!(open, server.streams.next());
        let (request, activations) = step(0);
        stream
            .send(request.clone(), activations.clone())
            .await
            .unwrap();
        assert_eq!(serving.unwrap().recv().await, Ok((request, activations)));
    })
    .await;
}

/// Publishes what `spoil` made of a good record, and gives the reason for which it was dropped.
async fn is_dropped(reason: &'static str, record: kad::Record, offends: bool) {
    let (bootstrap, server, client) = swarm().await;
    assert_eq!(server.network.publish_bare(record).await, 1);
    assert_eq!(bootstrap.metrics.records_dropped(reason).get(), 1);
    assert_eq!(bootstrap.metrics.records_stored.get(), 0);
    assert_eq!(
        client
            .network
            .announcements(GENESIS, 1, &roster(&[1, 2]))
            .await,
        []
    );
    let score = bootstrap.network.score(&server.network.local_peer_id());
    assert_eq!(score > 0.0, offends, "{score}");
}

fn record(key: &[u8], value: Vec<u8>) -> kad::Record {
    kad::Record::new(key.to_vec(), value)
}

#[tokio::test]
async fn a_record_under_another_key_is_dropped() {
    let signed = sign(announcement(1), &hotkey(1));
    let key = Announcement::key(&GENESIS, 1, 2);
    within(is_dropped(
        "wrong_key",
        record(&key, signed.to_bytes()),
        true,
    ))
    .await;
}

#[tokio::test]
async fn a_record_under_no_nodes_key_is_dropped() {
    let signed = sign(announcement(1), &hotkey(1));
    within(is_dropped(
        "key",
        record(b"anything", signed.to_bytes()),
        true,
    ))
    .await;
}

#[tokio::test]
async fn a_record_of_an_unknown_node_is_dropped() {
    let signed = sign(announcement(77), &hotkey(77));
    let key = Announcement::key(&GENESIS, 1, 77);
    within(is_dropped(
        "unknown_node",
        record(&key, signed.to_bytes()),
        false,
    ))
    .await;
}

#[tokio::test]
async fn a_record_that_another_key_signed_is_dropped() {
    let signed = sign(announcement(1), &hotkey(2));
    let key = Announcement::key(&GENESIS, 1, 1);
    within(is_dropped(
        "signature",
        record(&key, signed.to_bytes()),
        true,
    ))
    .await;
}

#[tokio::test]
async fn a_stale_record_is_dropped() {
    let mut old = announcement(1);
    old.made_at = NOW - 1_000;
    let key = Announcement::key(&GENESIS, 1, 1);
    within(is_dropped(
        "stale",
        record(&key, sign(old, &hotkey(1)).to_bytes()),
        false,
    ))
    .await;
}

#[tokio::test]
async fn a_record_that_is_no_announcement_is_dropped() {
    let key = Announcement::key(&GENESIS, 1, 1);
    within(is_dropped(
        "malformed",
        record(&key, b"hello".to_vec()),
        true,
    ))
    .await;
}

#[tokio::test]
async fn an_older_announcement_does_not_replace_a_newer_one() {
    within(async {
        let (bootstrap, server, client) = swarm().await;
        let newer = announcement(1);
        let mut older = announcement(1);
        older.made_at = NOW - 10;
        server
            .network
            .publish(&sign(newer.clone(), &hotkey(1)))
            .await
            .unwrap();
        let replays = pair_through(&bootstrap).await.server;
        replays
            .network
            .publish(&sign(older, &hotkey(1)))
            .await
            .unwrap();
        assert!(bootstrap.metrics.records_dropped("older").get() >= 1);
        let found = client
            .network
            .announcements(GENESIS, 1, &roster(&[1]))
            .await;
        assert_eq!(found, [newer]);
    })
    .await;
}

#[tokio::test]
async fn a_newer_announcement_replaces_an_older_one() {
    within(async {
        let (_bootstrap, server, client) = swarm().await;
        let mut newer = announcement(1);
        newer.made_at = NOW + 10;
        server
            .network
            .publish(&sign(announcement(1), &hotkey(1)))
            .await
            .unwrap();
        server
            .network
            .publish(&sign(newer.clone(), &hotkey(1)))
            .await
            .unwrap();
        let found = client
            .network
            .announcements(GENESIS, 1, &roster(&[1]))
            .await;
        assert_eq!(found, [newer]);
    })
    .await;
}

#[tokio::test]
async fn publishing_alone_reaches_nobody_and_is_no_error() {
    within(async {
        let server = Peer::server().await;
        let signed = sign(announcement(1), &hotkey(1));
        assert_eq!(server.network.publish(&signed).await.unwrap(), 0);
        let found = server
            .network
            .announcements(GENESIS, 1, &roster(&[1]))
            .await;
        assert_eq!(found, [announcement(1)]);
    })
    .await;
}
