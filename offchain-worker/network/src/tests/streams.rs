//! Streams between peers that behave, and what happens when the network does not.

use super::*;
use futures::future::join_all;
use quipu_protocol::Response;
use quipu_worker_core::ports::{PeerError, Peers, ServeStream};

/// Answers each step with its own activations until the client closes the stream.
async fn echo(mut streams: IncomingStreams) {
    while let Some(stream) = streams.next().await {
        tokio::spawn(async move {
            let (mut reader, writer) = stream.split();
            while let Ok((Request::Step(step), activations)) = reader.recv().await {
                writer
                    .send(Response::Output(step), activations)
                    .await
                    .unwrap();
            }
        });
    }
}

async fn exchange(stream: &mut dyn ServeStream, number: u32) {
    let (request, activations) = step(number);
    stream
        .send(request.clone(), activations.clone())
        .await
        .unwrap();
    let (response, output) = stream.receive().await.unwrap();
    let Request::Step(step) = request else {
        unreachable!()
    };
    assert_eq!((response, output), (Response::Output(step), activations));
}

async fn exchange_over(listen: &str) {
    let Pair {
        server,
        client,
        place,
    } = Pair::with(|server, _| server.listen = vec![listen.parse().unwrap()]).await;
    let addresses: Vec<_> = place.addresses.iter().map(Multiaddr::to_string).collect();
    let id = server.network.local();
    tokio::spawn(echo(server.streams));
    let mut stream = client.network.open(&id, &addresses).await.unwrap();
    for number in 0..20 {
        exchange(stream.as_mut(), number).await;
    }
    assert_eq!(
        client.network.connected_peers(),
        [server.network.local_peer_id()]
    );
    assert!(client.metrics.bytes_out.get() > 0);
    assert_eq!(
        client.metrics.bytes_out.get(),
        server.metrics.bytes_in.get()
    );
    // The answers are as long as the questions.
    assert_eq!(
        client.metrics.bytes_in.get(),
        client.metrics.bytes_out.get()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_exchange_steps_over_tcp() {
    within(exchange_over("/ip4/127.0.0.1/tcp/0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_exchange_steps_over_quic() {
    within(exchange_over("/ip4/127.0.0.1/udp/0/quic-v1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_carry_large_payloads_at_once() {
    within(async {
        let mut pair = Pair::start().await;
        let values: Vec<f32> = (0..1_000_000).map(|value| value as f32).collect();
        let big = Activations::from_f32(&values, 1000).unwrap();
        let step = Step {
            step: 0,
            position: 0,
            drafted: 0,
            activations: big.header,
        };
        let (mut stream, serving) = pair.open().await;
        let (sent, received) = (big.clone(), big.clone());
        let client = async {
            for _ in 0..4 {
                stream
                    .send(Request::Step(step), Some(sent.clone()))
                    .await
                    .unwrap();
            }
            for _ in 0..4 {
                let (_, output) = stream.receive().await.unwrap();
                assert_eq!(output.as_ref(), Some(&sent));
            }
        };
        let server = async {
            let (mut reader, writer) = serving.split();
            let write = async {
                for _ in 0..4 {
                    writer
                        .send(Response::Output(step), Some(received.clone()))
                        .await
                        .unwrap();
                }
            };
            let read = async {
                for _ in 0..4 {
                    assert_eq!(reader.recv().await.unwrap().1.as_ref(), Some(&received));
                }
            };
            tokio::join!(write, read);
        };
        tokio::join!(client, server);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_opened_at_the_same_moment_all_arrive() {
    within(async {
        let server = Peer::server().await;
        let place = &server.place().await;
        tokio::spawn(echo(server.streams));
        let clients = join_all((0..4).map(|_| Peer::client())).await;
        let opened = clients.iter().flat_map(|client| {
            (0..8).map(move |number| async move {
                let mut stream = client.open(place).await;
                exchange(&mut stream, number).await;
                stream
            })
        });
        assert_eq!(join_all(opened).await.len(), 32);
    })
    .await;
}

#[tokio::test]
async fn a_dial_that_meets_another_peer_fails() {
    within(async {
        let pair = Pair::start().await;
        let (client, place) = (pair.client, pair.place);
        let expected = Keypair::generate_ed25519().public().to_peer_id();
        let opened = client.network.open_stream(expected, place.addresses);
        let error = opened.await.err().unwrap();
        let PeerError::Unreachable(why) = error else {
            panic!("{error:?}")
        };
        assert!(why.contains(&place.id.to_string()), "{why}");
        assert_eq!(client.network.connected_peers(), []);
        assert!(client.metrics.dial_failures.get() > 0);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_address_beside_the_right_one_does_no_harm() {
    within(async {
        let (pair, other) = (Pair::start().await, Peer::server().await);
        let (client, Place { id, addresses }) = (pair.client, pair.place);
        let wrong = other.addresses().await;
        tokio::spawn(echo(pair.server.streams));
        // The DHT still knows the address that the server had before, where now another one is.
        client
            .network
            .add_address(id, wrong[0].clone())
            .await
            .unwrap();
        let addresses = [wrong, addresses].concat();
        let mut stream = client.open(&Place { id, addresses }).await;
        exchange(&mut stream, 0).await;
    })
    .await;
}

#[tokio::test]
async fn nonsense_instead_of_a_peer_or_its_address_is_refused() {
    within(async {
        let client = Peer::client().await;
        let unreachable =
            |error: Option<PeerError>| matches!(error, Some(PeerError::Unreachable(_)));
        assert!(unreachable(client.network.open(b"nobody", &[]).await.err()));
        let nobody = Keypair::generate_ed25519().public().to_peer_id().to_bytes();
        assert!(unreachable(
            client
                .network
                .open(&nobody, &["http://nowhere".into()])
                .await
                .err()
        ));
        assert!(unreachable(client.network.open(&nobody, &[]).await.err()));
        let own = client.network.local();
        assert!(unreachable(client.network.open(&own, &[]).await.err()));
    })
    .await;
}

#[tokio::test]
async fn a_client_serves_nobody() {
    within(async {
        let mut listening = config(Role::Client);
        listening.listen = vec![tcp()];
        let listening = Peer::start(listening).await;
        let client = Peer::client().await;
        let Place { id, addresses } = listening.place().await;
        let opened = client.network.open_stream(id, addresses).await;
        let Err(PeerError::Unreachable(why)) = opened else {
            panic!("it was opened")
        };
        assert!(why.contains("serves nobody"), "{why}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    within(async {
        let patience = Duration::from_millis(100);
        let mut pair = Pair::with(|_, client| client.step_timeout = patience).await;
        let (mut stream, mut kept) = pair.open().await;
        let (request, activations) = step(0);
        stream.send(request, activations).await.unwrap();
        kept.recv().await.unwrap();
        let timed_out = PeerError::Timeout(patience);
        assert_eq!(stream.receive().await, Err(timed_out));
        assert_eq!(stream.receive().await, Err(PeerError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_falls_silent_is_given_up() {
    within(async {
        let patience = Duration::from_millis(100);
        let mut pair = Pair::with(|server, _| server.stream_idle = patience).await;
        let (_stream, mut kept) = pair.open().await;
        let timed_out = PeerError::Timeout(patience);
        assert_eq!(kept.recv().await, Err(timed_out));
        assert_eq!(kept.recv().await, Err(PeerError::Closed));
    })
    .await;
}

#[tokio::test]
async fn last_words_arrive_before_the_end_of_the_stream() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, mut kept) = pair.open().await;
        let (request, activations) = step(0);
        stream.send(request, activations).await.unwrap();
        let (Request::Step(step), output) = kept.recv().await.unwrap() else {
            unreachable!()
        };
        kept.send(Response::Output(step), output).await.unwrap();
        kept.close().await.unwrap();
        drop(kept);
        assert!(matches!(
            stream.receive().await,
            Ok((Response::Output(_), Some(_)))
        ));
        assert_eq!(stream.receive().await, Err(PeerError::Closed));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_went_away_and_came_back_is_found_again() {
    within(async {
        let mut second = config(Role::Server);
        let first = second.clone();
        let Pair {
            server,
            client,
            place,
        } = Pair::with(|server, _| *server = first).await;
        second.listen = place.addresses.clone();
        tokio::spawn(echo(server.streams));
        let mut stream = client.open(&place).await;
        exchange(&mut stream, 0).await;

        server.network.shutdown().await;
        assert!(stream.receive().await.is_err());
        let reopened = client
            .network
            .open_stream(place.id, place.addresses.clone());
        assert!(reopened.await.is_err());

        let server = Peer::start(second).await;
        tokio::spawn(echo(server.streams));
        let mut stream = client.open(&place).await;
        exchange(&mut stream, 1).await;
    })
    .await;
}

#[tokio::test]
async fn round_trips_are_measured() {
    within(async {
        let pair = Pair::start().await;
        let (client, Place { id, addresses }) = (pair.client, pair.place);
        assert_eq!(client.network.round_trip_to(&id), None);
        client.network.dial(id, addresses).await.unwrap();
        // The first ping goes out as soon as the peers are connected.
        while client.network.round_trip(&id.to_bytes()).is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_network_that_is_down_says_so() {
    within(async {
        let mut server = Peer::server().await;
        server.network.shutdown().await;
        assert!(server.streams.next().await.is_none());
        let signed = sign(announcement(1), &hotkey(1));
        assert!(matches!(
            server.network.publish(&signed).await,
            Err(crate::NetworkError::Down)
        ));
        let nobody = Keypair::generate_ed25519().public().to_peer_id();
        assert!(server
            .network
            .open_stream(nobody, Vec::new())
            .await
            .is_err());
        server.network.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn the_network_ends_with_its_last_handle() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, mut serving) = pair.open().await;
        drop(pair.server.network);
        assert!(pair.server.streams.next().await.is_none());
        assert!(serving.recv().await.is_err());
        assert!(stream.receive().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn wrong_configurations_are_named() {
    within(async {
        let server = Peer::server().await;
        let mut taken = config(Role::Server);
        taken.listen = server.addresses().await;
        let metrics = NetworkMetrics::default;
        let started = Network::spawn(taken, Arc::new(Roster), metrics()).await;
        assert!(matches!(started, Err(crate::NetworkError::Listen { .. })));

        let mut anonymous = config(Role::Client);
        anonymous.bootstrap = server.addresses().await;
        let started = Network::spawn(anonymous, Arc::new(Roster), metrics()).await;
        assert!(matches!(started, Err(crate::NetworkError::Bootstrap(_))));
    })
    .await;
}

/// Prints how long a decode step of a hidden size of 576 takes there and back, without any work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it with --ignored --nocapture"]
async fn how_long_a_step_is_under_way() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let pair = Pair::with(|server, _| {
            server.listen = vec![listen.parse().unwrap()];
            server.frame_rate = crate::FrameRate {
                per_second: u32::MAX,
                burst: u32::MAX,
            };
        })
        .await;
        tokio::spawn(echo(pair.server.streams));
        let mut stream = pair.client.open(&pair.place).await;
        for tokens in [1, 512] {
            let values = vec![1.0; tokens * 576];
            let activations = Activations::from_f32(&values, 576).unwrap();
            let step = Step {
                step: 0,
                position: 0,
                drafted: 0,
                activations: activations.header,
            };
            let mut times = Vec::new();
            for _ in 0..500 {
                let start = std::time::Instant::now();
                stream
                    .send(Request::Step(step), Some(activations.clone()))
                    .await
                    .unwrap();
                stream.receive().await.unwrap();
                times.push(start.elapsed());
            }
            times.sort();
            println!(
                "{listen}: {tokens} tokens, median {:?}, p99 {:?}",
                times[250], times[495]
            );
        }
    }
}
