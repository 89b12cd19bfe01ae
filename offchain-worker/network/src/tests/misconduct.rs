//! Peers that break the protocol, and what becomes of them.

use super::*;
use crate::{FrameRate, Offence};
use futures::{future::join_all, AsyncWriteExt};
use quipu_protocol::{
    frame::PREFIX,
    limits::{MAX_HEADER, MAX_PAYLOAD, MAX_STREAMS_PER_PEER},
    Frame, FrameError, RefusalCode, Response,
};
use quipu_worker_core::ports::{PeerError, ServeStream};
use tokio_util::compat::FuturesAsyncReadCompatExt;

fn prefix(header: usize, payload: usize) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&(header as u32).to_le_bytes());
    prefix[4..].copy_from_slice(&(payload as u32).to_le_bytes());
    prefix
}

fn bytes(frame: &Frame) -> Vec<u8> {
    [
        &frame.prefix()[..],
        frame.header.as_ref(),
        frame.payload.as_ref(),
    ]
    .concat()
}

/// What the server answered, and that it closed the stream after it.
async fn last_words(stream: Stream) -> Response {
    let mut reader = crate::framing::FrameReader::new(stream.compat());
    let (response, _) = reader.read().await.unwrap().into_response().unwrap();
    assert_eq!(reader.read().await, Err(PeerError::Closed));
    response
}

/// A client sends `bytes`. The server sees `expected`, says so, closes the stream, and remembers.
async fn is_refused(bytes: &[u8], expected: FrameError) {
    let mut pair = Pair::start().await;
    let (mut stream, mut serving) = pair.open_bare().await;
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(
        serving.recv().await,
        Err(PeerError::Protocol(expected.clone()))
    );
    assert_eq!(serving.recv().await, Err(PeerError::Closed));
    assert!(serving
        .send(Response::VoucherAccepted { positions: 0 }, None)
        .await
        .is_err());
    let Response::Refused(refusal) = last_words(stream).await else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Unexpected);
    assert_eq!(refusal.message, expected.to_string());
    assert!(pair.score() > 49.0);
    assert_eq!(pair.server.metrics.frames_refused("malformed").get(), 1);
}

#[tokio::test]
async fn an_oversized_header_is_refused() {
    within(is_refused(
        &prefix(MAX_HEADER + 1, 0),
        FrameError::Header(MAX_HEADER + 1),
    ))
    .await;
}

#[tokio::test]
async fn an_oversized_payload_is_refused() {
    let long = u32::MAX as usize;
    within(is_refused(&prefix(1, long), FrameError::Payload(long))).await;
    within(is_refused(
        &prefix(1, MAX_PAYLOAD + 1),
        FrameError::Payload(MAX_PAYLOAD + 1),
    ))
    .await;
}

#[tokio::test]
async fn an_empty_header_is_refused() {
    within(is_refused(&prefix(0, 0), FrameError::Header(0))).await;
}

#[tokio::test]
async fn a_malformed_header_is_refused() {
    let frame = Frame {
        header: vec![0xff; 40].into(),
        payload: Default::default(),
    };
    within(is_refused(&bytes(&frame), FrameError::Malformed)).await;
}

#[tokio::test]
async fn an_unsolicited_payload_is_refused() {
    let frame = Frame::new(&Request::Finish { positions: 0 }, vec![0; 100].into());
    within(is_refused(&bytes(&frame), FrameError::Unsolicited(100))).await;
}

#[tokio::test]
async fn a_payload_of_another_length_is_refused() {
    let (request, activations) = step(0);
    let short = activations.unwrap().bytes.slice(..12);
    let frame = Frame::new(&request, short);
    let error = quipu_protocol::ActivationsError::Length {
        expected: 16,
        got: 12,
    };
    within(is_refused(&bytes(&frame), FrameError::Mismatch(error))).await;
}

#[tokio::test]
async fn a_client_that_goes_within_a_frame_ends_its_stream() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, mut serving) = pair.open_bare().await;
        stream.write_all(&prefix(100, 100)).await.unwrap();
        stream.write_all(&[0; 150]).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
        assert!(matches!(
            serving.recv().await,
            Err(PeerError::Unreachable(_))
        ));
        assert_eq!(serving.recv().await, Err(PeerError::Closed));
        assert_eq!(pair.score(), 0.0);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_within_a_frame_ends_the_stream() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, serving) = pair.open().await;
        let (request, activations) = step(0);
        stream.send(request, activations).await.unwrap();
        let (reader, writer) = serving.split();
        writer.write_bare(&prefix(100, 100)).await;
        drop((reader, writer));
        assert!(matches!(
            stream.receive().await,
            Err(PeerError::Unreachable(_))
        ));
        assert_eq!(stream.receive().await, Err(PeerError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_remembered() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, serving) = pair.open().await;
        let (request, activations) = step(0);
        stream.send(request, activations).await.unwrap();
        let (_reader, writer) = serving.split();
        writer.write_bare(&prefix(1, u32::MAX as usize)).await;
        let expected = FrameError::Payload(u32::MAX as usize);
        assert_eq!(stream.receive().await, Err(PeerError::Protocol(expected)));
        assert_eq!(stream.receive().await, Err(PeerError::Closed));
        assert!(pair.client.network.score(&pair.place.id) > 49.0);
    })
    .await;
}

#[tokio::test]
async fn one_peer_gets_only_so_many_streams() {
    within(async {
        let mut pair = Pair::start().await;
        let mut open = Vec::new();
        for _ in 0..MAX_STREAMS_PER_PEER {
            open.push(pair.open_bare().await);
        }
        let further = pair.client.open_bare(&pair.place).await;
        let Response::Refused(refusal) = last_words(further).await else {
            panic!("no refusal")
        };
        assert_eq!(refusal.code, RefusalCode::Busy);
        assert_eq!(pair.server.metrics.streams_refused("too_many").get(), 1);
        assert!(pair.score() > 0.0);

        // Another peer is not touched by it, and one that ends makes room for one more.
        let other = Peer::client().await;
        let _stream = other.open_bare(&pair.place).await;
        pair.server.streams.next().await.unwrap();
        drop(open.pop());
        pair.open_bare().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_takes_no_streams_refuses_them_as_busy() {
    within(async {
        let server = Peer::server().await;
        let place = server.place().await;
        let clients = join_all((0..9).map(|_| Peer::client())).await;
        let mut open = Vec::new();
        for client in clients.iter().take(8) {
            for _ in 0..MAX_STREAMS_PER_PEER {
                open.push(client.open_bare(&place).await);
            }
        }
        let further = clients[8].open_bare(&place).await;
        let Response::Refused(refusal) = last_words(further).await else {
            panic!("no refusal")
        };
        assert_eq!(refusal.code, RefusalCode::Busy);
        assert_eq!(server.metrics.streams_refused("busy").get(), 1);
        assert_eq!(
            server.network.score(&clients[8].network.local_peer_id()),
            0.0
        );
    })
    .await;
}

#[tokio::test]
async fn a_flood_is_shed_and_ends_in_a_ban() {
    within(async {
        let mut pair = Pair::with(|server, _| {
            server.frame_rate = FrameRate {
                per_second: 1,
                burst: 5,
            };
        })
        .await;
        let peer = pair.client.network.local_peer_id();
        let frame = bytes(&Frame::new(
            &Request::Finish { positions: 0 },
            Default::default(),
        ));

        let (mut stream, mut serving) = pair.open_bare().await;
        stream.write_all(&frame.repeat(6)).await.unwrap();
        stream.flush().await.unwrap();
        for _ in 0..5 {
            assert_eq!(
                serving.recv().await,
                Ok((Request::Finish { positions: 0 }, None))
            );
        }
        assert_eq!(serving.recv().await, Err(PeerError::Closed));
        let Response::Refused(refusal) = last_words(stream).await else {
            panic!("no refusal")
        };
        assert_eq!(refusal.code, RefusalCode::Busy);
        assert_eq!(pair.server.metrics.frames_refused("flood").get(), 1);

        while !pair.server.network.is_banned(&peer) {
            let (mut stream, mut serving) = pair.open_bare().await;
            let _ = stream.write_all(&frame.repeat(6)).await;
            let _ = stream.flush().await;
            while serving.recv().await.is_ok() {}
        }
        assert_eq!(pair.server.metrics.bans.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_banned_peer_is_cut_off_and_comes_back_when_its_ban_ends() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, mut serving) = pair.open().await;
        let Pair {
            mut server,
            client,
            place: Place { id, addresses },
        } = pair;
        let peer = client.network.local_peer_id();
        server
            .network
            .ban(peer, Duration::from_millis(300))
            .await
            .unwrap();
        assert!(server.network.is_banned(&peer));
        assert!(serving.recv().await.is_err());
        assert!(stream.receive().await.is_err());

        // Refused while the ban lasts, and not one attempt longer.
        let mut stream = loop {
            match client.network.open_stream(id, addresses.clone()).await {
                Ok(mut stream) => {
                    let (request, activations) = step(0);
                    if stream.send(request, activations).await.is_ok()
                        && !server.network.is_banned(&peer)
                    {
                        break stream;
                    }
                }
                Err(error) => assert!(matches!(error, PeerError::Unreachable(_)), "{error:?}"),
            }
        };
        let mut serving = server.streams.next().await.unwrap();
        serving.recv().await.unwrap();
        let refused = quipu_protocol::Refusal::new(RefusalCode::Draining, "");
        serving
            .send(Response::Refused(refused), None)
            .await
            .unwrap();
        assert!(matches!(
            stream.receive().await,
            Ok((Response::Refused(_), None))
        ));
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_for_a_peer_hears_that_we_cut_it_off() {
    within(async {
        let mut pair = Pair::start().await;
        let (mut stream, mut serving) = pair.open().await;
        let peer = pair.client.network.local_peer_id();
        let ban = pair.server.network.ban(peer, Duration::from_secs(60));
        let (request, response, banned) = tokio::join!(serving.recv(), stream.receive(), ban);
        banned.unwrap();
        assert!(request.is_err());
        assert!(response.is_err());
    })
    .await;
}

#[tokio::test]
async fn we_do_not_dial_whom_we_banned() {
    within(async {
        let pair = Pair::start().await;
        let (client, Place { id, addresses }) = (pair.client, pair.place);
        client.network.report(&id, Offence::Malformed);
        client.network.report(&id, Offence::Malformed);
        assert!(client.network.is_banned(&id));
        let Err(PeerError::Unreachable(why)) = client.network.dial(id, addresses).await else {
            panic!("it was dialled")
        };
        assert!(why.contains("block list"), "{why}");
    })
    .await;
}
