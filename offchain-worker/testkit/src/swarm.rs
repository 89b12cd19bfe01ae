//! The swarm in memory: the streams of `quipu-network` over pipes instead of sockets, with faults
//! that a test switches on and off.
//!
//! Both ends run the code that they run over sockets: the same framing, limits, timeouts and rates.
//! Between them lies a link that understands frames, and counts, delays, spoils or drops them.

use async_trait::async_trait;
use quipu_network::{
    check_record,
    framing::{FrameReader, FrameWriter},
    limits::{INBOUND_QUEUE, STREAM_IDLE},
    system_clock, ClientStream, Clock, FrameRate, IncomingStreams, ServerStream,
};
use quipu_primitives::{AccountBytes, Digest, NodeId, SubnetId};
use quipu_protocol::{
    limits::{STEP_TIMEOUT, STREAM_BUFFER},
    Announcement, Frame, SignedAnnouncement,
};
use quipu_worker_core::ports::{PeerError, Peers, ServeStream};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{duplex, split, AsyncRead, AsyncWrite, DuplexStream},
    sync::{mpsc, watch},
    time::sleep,
};

/// What goes wrong on the links of one server. Takes effect with the next frame or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// New streams are not opened.
    pub refuse_open: bool,
    /// So many requests still reach the server; with the next one its links are cut.
    pub requests_left: Option<u32>,
    /// So many responses still reach the client; with the next one the server's links are cut:
    /// the server did the work, and nobody hears of it.
    pub responses_left: Option<u32>,
    /// The server is gone once its links were cut: [`Faults::refuse_open`] sets in.
    pub stays_down: bool,
    /// The next request comes with a header that is no message.
    pub spoil_request: bool,
    /// The next response comes with a header that is no message.
    pub spoil_response: bool,
    /// The next response stops in the middle, and the server's links are cut.
    pub tear_response: bool,
    /// Responses are swallowed: the server seems to hang.
    pub swallow_responses: bool,
    /// How long each frame is under way, in each direction.
    pub delay: Duration,
}

/// A server's side of the swarm.
struct Server {
    streams: mpsc::Sender<ServerStream>,
    faults: Faults,
    round_trip: Option<Duration>,
    /// Changes when all links are cut.
    cuts: watch::Sender<u64>,
}

/// Limits of the streams. The default are those of the network.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// How long a client waits for an answer.
    pub step_timeout: Duration,
    /// How long a client may be silent.
    pub idle: Duration,
    /// How fast a client may send frames.
    pub rate: FrameRate,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            step_timeout: STEP_TIMEOUT,
            idle: STREAM_IDLE,
            rate: FrameRate::default(),
        }
    }
}

#[derive(Default)]
struct State {
    servers: HashMap<Vec<u8>, Server>,
    records: HashMap<Digest, Vec<u8>>,
}

/// Servers and clients in one process. Clones are the same swarm.
#[derive(Clone)]
pub struct MemorySwarm {
    state: Arc<Mutex<State>>,
    limits: StreamLimits,
    clock: Clock,
}

impl Default for MemorySwarm {
    fn default() -> Self {
        Self::new(StreamLimits::default(), system_clock())
    }
}

impl MemorySwarm {
    /// An empty swarm. `clock` gives unix seconds: by it announcements are current or stale.
    pub fn new(limits: StreamLimits, clock: Clock) -> Self {
        MemorySwarm {
            state: Arc::default(),
            limits,
            clock,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server with this peer id comes up, or comes back: without faults, and with all links of
    /// the former one cut.
    pub fn server(&self, peer: &[u8]) -> IncomingStreams {
        let (streams, incoming) = IncomingStreams::channel(INBOUND_QUEUE);
        let server = Server {
            streams,
            faults: Faults::default(),
            round_trip: None,
            cuts: watch::Sender::new(0),
        };
        self.state().servers.insert(peer.to_vec(), server);
        incoming
    }

    /// A peer that opens streams to the servers.
    pub fn client(&self, peer: &[u8]) -> MemoryPeers {
        MemoryPeers {
            local: peer.to_vec(),
            swarm: self.clone(),
        }
    }

    /// The server goes away: its links are cut, and [`IncomingStreams`] ends.
    pub fn stop(&self, server: &[u8]) {
        self.state().servers.remove(server);
    }

    /// Cuts all links of a server. It stays up.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn cut(&self, server: &[u8]) {
        self.with(server, |server| server.cut());
    }

    /// From now on this goes wrong with a server.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn set_faults(&self, server: &[u8], faults: Faults) {
        self.with(server, |server| server.faults = faults);
    }

    /// What goes wrong with a server: counters show what is left of them.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn faults(&self, server: &[u8]) -> Faults {
        self.with(server, |server| server.faults.clone())
    }

    /// What clients measure to a server.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn set_round_trip(&self, server: &[u8], round_trip: Duration) {
        self.with(server, |server| server.round_trip = Some(round_trip));
    }

    fn with<T>(&self, server: &[u8], f: impl FnOnce(&mut Server) -> T) -> T {
        f(self
            .state()
            .servers
            .get_mut(server)
            .expect("no such server in this test"))
    }

    /// Stores an announcement for all to find. As in the real swarm, whoever finds it checks it.
    pub fn publish(&self, genesis: &Digest, signed: &SignedAnnouncement) {
        let said = &signed.announcement;
        let key = Announcement::key(genesis, said.subnet, said.node);
        self.state().records.insert(key, signed.to_bytes());
    }

    /// What is to become of a frame of a server's link.
    fn fate(&self, server: &[u8], direction: Direction) -> Fate {
        let mut state = self.state();
        let Some(server) = state.servers.get_mut(server) else {
            return Fate::Cut;
        };
        let faults = &mut server.faults;
        let (left, spoil) = match direction {
            Direction::Request => (&mut faults.requests_left, &mut faults.spoil_request),
            Direction::Response => (&mut faults.responses_left, &mut faults.spoil_response),
        };
        let is_response = direction == Direction::Response;
        if *left == Some(0) {
            *left = None;
            server.cut();
            return Fate::Cut;
        }
        if let Some(left) = left {
            *left -= 1;
        }
        if std::mem::take(spoil) {
            return Fate::Spoil;
        }
        if is_response && std::mem::take(&mut faults.tear_response) {
            return Fate::Tear;
        }
        if is_response && faults.swallow_responses {
            return Fate::Swallow;
        }
        Fate::Pass(faults.delay)
    }
}

impl Server {
    fn cut(&mut self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        if self.faults.stays_down {
            self.faults.refuse_open = true;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

enum Fate {
    Pass(Duration),
    Swallow,
    Spoil,
    Tear,
    Cut,
}

/// One link: carries frames between two pipes until one end closes, or it is cut.
struct Link {
    swarm: MemorySwarm,
    server: Vec<u8>,
}

impl Link {
    async fn run(self, client: DuplexStream, server: DuplexStream, mut cuts: watch::Receiver<u64>) {
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        tokio::select! {
            () = self.carry(Direction::Request, from_client, to_server) => {}
            () = self.carry(Direction::Response, from_server, to_client) => {}
            // An error means that the server was stopped or replaced.
            _ = cuts.changed() => {}
        }
    }

    async fn carry(
        &self,
        direction: Direction,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
    ) {
        let mut reader = FrameReader::new(from);
        let mut writer = FrameWriter::new(to);
        while let Ok(frame) = reader.read().await {
            let carried = match self.swarm.fate(&self.server, direction) {
                Fate::Cut => return,
                Fate::Swallow => continue,
                Fate::Spoil => writer.write(&spoilt(frame)).await,
                Fate::Tear => {
                    let _ = writer.write_part(&frame).await;
                    self.swarm.cut(&self.server);
                    return;
                }
                Fate::Pass(delay) => {
                    if !delay.is_zero() {
                        sleep(delay).await;
                    }
                    writer.write(&frame).await
                }
            };
            if carried.is_err() {
                return;
            }
        }
    }
}

/// The frame with a header that no version of the protocol has.
fn spoilt(frame: Frame) -> Frame {
    let mut header = frame.header.to_vec();
    header[0] = 0xff;
    Frame {
        header: header.into(),
        ..frame
    }
}

/// A client of a [`MemorySwarm`].
#[derive(Clone)]
pub struct MemoryPeers {
    local: Vec<u8>,
    swarm: MemorySwarm,
}

#[async_trait]
impl Peers for MemoryPeers {
    fn local(&self) -> Vec<u8> {
        self.local.clone()
    }

    async fn open(
        &self,
        peer: &[u8],
        _addresses: &[String],
    ) -> Result<Box<dyn ServeStream>, PeerError> {
        let unreachable = |why: &str| PeerError::Unreachable(why.into());
        let (streams, cuts) = {
            let state = self.swarm.state();
            let server = state
                .servers
                .get(peer)
                .ok_or(unreachable("it is not there"))?;
            if server.faults.refuse_open {
                return Err(unreachable("it refuses streams"));
            }
            (server.streams.clone(), server.cuts.subscribe())
        };
        let (client_end, client_link) = duplex(STREAM_BUFFER);
        let (server_end, server_link) = duplex(STREAM_BUFFER);
        let StreamLimits {
            step_timeout,
            idle,
            rate,
        } = self.swarm.limits;
        let stream = ServerStream::over(self.local.clone(), server_end, idle, rate);
        streams
            .try_send(stream)
            .map_err(|_| unreachable("it takes no streams"))?;
        let link = Link {
            swarm: self.swarm.clone(),
            server: peer.to_vec(),
        };
        tokio::spawn(link.run(client_link, server_link, cuts));
        Ok(Box::new(ClientStream::over(client_end, step_timeout)))
    }

    async fn announcements(
        &self,
        genesis: Digest,
        subnet: SubnetId,
        nodes: &[(NodeId, AccountBytes)],
    ) -> Vec<Announcement> {
        let now = (self.swarm.clock)();
        let state = self.swarm.state();
        let mut found = Vec::new();
        for (node, hotkey) in nodes {
            let key = Announcement::key(&genesis, subnet, *node);
            let Some(value) = state.records.get(&key) else {
                continue;
            };
            let keys = |_, _| Some(*hotkey);
            if let Ok(signed) = check_record(&key, value, &genesis, now, &keys) {
                found.push(signed.announcement);
            }
        }
        found
    }

    fn round_trip(&self, peer: &[u8]) -> Option<Duration> {
        self.swarm.state().servers.get(peer)?.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_primitives::Span;
    use quipu_protocol::{
        Activations, FrameError, RefusalCode, Request, Response, ServerState, Step,
    };
    use quipu_worker_core::{keys::EphemeralKey, Signer};

    const SERVER: &[u8] = b"server";

    /// Answers each step with its own activations until the client closes the stream.
    fn serve(swarm: &MemorySwarm) {
        let mut incoming = swarm.server(SERVER);
        tokio::spawn(async move {
            while let Some(mut stream) = incoming.next().await {
                tokio::spawn(async move {
                    while let Ok((Request::Step(step), activations)) = stream.recv().await {
                        let _ = stream.send(Response::Output(step), activations).await;
                    }
                });
            }
        });
    }

    async fn connected() -> (MemorySwarm, Box<dyn ServeStream>) {
        let swarm = MemorySwarm::default();
        serve(&swarm);
        let stream = open(&swarm).await.unwrap();
        (swarm, stream)
    }

    async fn open(swarm: &MemorySwarm) -> Result<Box<dyn ServeStream>, PeerError> {
        swarm.client(b"client").open(SERVER, &[]).await
    }

    async fn exchange(stream: &mut dyn ServeStream) -> Result<(), PeerError> {
        let activations = Activations::from_f32(&[1.0, 2.0], 2).unwrap();
        let step = Step {
            step: 0,
            position: 0,
            drafted: 0,
            activations: activations.header,
        };
        stream
            .send(Request::Step(step), Some(activations.clone()))
            .await?;
        match stream.receive().await? {
            (Response::Output(_), Some(output)) if output == activations => Ok(()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn without_faults_all_goes_well() {
        let (swarm, mut stream) = connected().await;
        for _ in 0..10 {
            exchange(stream.as_mut()).await.unwrap();
        }
        let client = swarm.client(b"client");
        assert_eq!(client.local(), b"client");
        assert_eq!(client.round_trip(SERVER), None);
        swarm.set_round_trip(SERVER, Duration::from_millis(5));
        assert_eq!(client.round_trip(SERVER), Some(Duration::from_millis(5)));
    }

    #[tokio::test]
    async fn a_server_dies_after_so_many_responses() {
        let (swarm, mut stream) = connected().await;
        let faults = Faults {
            responses_left: Some(3),
            stays_down: true,
            ..Faults::default()
        };
        swarm.set_faults(SERVER, faults);
        for _ in 0..3 {
            exchange(stream.as_mut()).await.unwrap();
        }
        assert_eq!(exchange(stream.as_mut()).await, Err(PeerError::Closed));
        assert!(open(&swarm).await.is_err());
        serve(&swarm);
        exchange(open(&swarm).await.unwrap().as_mut())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_request_that_does_not_arrive_ends_the_stream_and_the_server_stays() {
        let (swarm, mut stream) = connected().await;
        swarm.set_faults(
            SERVER,
            Faults {
                requests_left: Some(1),
                ..Faults::default()
            },
        );
        exchange(stream.as_mut()).await.unwrap();
        assert!(exchange(stream.as_mut()).await.is_err());
        exchange(open(&swarm).await.unwrap().as_mut())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn spoilt_frames_break_the_protocol() {
        let (swarm, mut stream) = connected().await;
        swarm.set_faults(
            SERVER,
            Faults {
                spoil_response: true,
                ..Faults::default()
            },
        );
        let malformed = PeerError::Protocol(FrameError::Malformed);
        assert_eq!(exchange(stream.as_mut()).await, Err(malformed));

        let mut stream = open(&swarm).await.unwrap();
        swarm.set_faults(
            SERVER,
            Faults {
                spoil_request: true,
                ..Faults::default()
            },
        );
        stream
            .send(Request::Finish { positions: 0 }, None)
            .await
            .unwrap();
        let (refused, _) = stream.receive().await.unwrap();
        assert!(
            matches!(&refused, Response::Refused(refusal) if refusal.code == RefusalCode::Unexpected)
        );
        assert_eq!(stream.receive().await, Err(PeerError::Closed));
    }

    #[tokio::test]
    async fn a_torn_response_is_no_end_of_stream() {
        let (swarm, mut stream) = connected().await;
        swarm.set_faults(
            SERVER,
            Faults {
                tear_response: true,
                ..Faults::default()
            },
        );
        let error = exchange(stream.as_mut()).await.unwrap_err();
        assert!(matches!(error, PeerError::Unreachable(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_runs_into_the_timeout() {
        let step_timeout = Duration::from_millis(50);
        let limits = StreamLimits {
            step_timeout,
            ..StreamLimits::default()
        };
        let swarm = MemorySwarm::new(limits, system_clock());
        serve(&swarm);
        let mut stream = open(&swarm).await.unwrap();
        swarm.set_faults(
            SERVER,
            Faults {
                swallow_responses: true,
                ..Faults::default()
            },
        );
        assert_eq!(
            exchange(stream.as_mut()).await,
            Err(PeerError::Timeout(step_timeout))
        );
    }

    #[tokio::test]
    async fn a_delay_delays() {
        let (swarm, mut stream) = connected().await;
        let delay = Duration::from_millis(20);
        swarm.set_faults(
            SERVER,
            Faults {
                delay,
                ..Faults::default()
            },
        );
        let start = std::time::Instant::now();
        exchange(stream.as_mut()).await.unwrap();
        assert!(start.elapsed() >= 2 * delay);
    }

    #[tokio::test]
    async fn stopped_and_cut_servers_end_their_streams() {
        let (swarm, mut stream) = connected().await;
        exchange(stream.as_mut()).await.unwrap();
        swarm.cut(SERVER);
        assert!(stream.receive().await.is_err());
        let mut stream = open(&swarm).await.unwrap();
        exchange(stream.as_mut()).await.unwrap();
        swarm.stop(SERVER);
        assert!(stream.receive().await.is_err());
        assert!(open(&swarm).await.is_err());
    }

    #[tokio::test]
    async fn announcements_are_checked_by_whoever_finds_them() {
        let (genesis, now) = ([1; 32], 1_000);
        let swarm = MemorySwarm::new(StreamLimits::default(), Arc::new(move || now));
        let key = EphemeralKey::from_seed(&[1; 32]);
        let announcement = |node, made_at| Announcement {
            subnet: 1,
            node,
            span: Span { start: 0, end: 2 },
            state: ServerState::Online,
            decode_micros: 1,
            prefill_rate: 1,
            free_positions: 1,
            addresses: Vec::new(),
            made_at,
        };
        let sign = |announcement: Announcement| {
            let signature = key.sign(&announcement.payload(&genesis));
            SignedAnnouncement {
                announcement,
                signature,
            }
        };
        let mut forged = sign(announcement(2, now));
        forged.announcement.free_positions = 9;
        swarm.publish(&genesis, &sign(announcement(1, now)));
        swarm.publish(&genesis, &forged);
        swarm.publish(&genesis, &sign(announcement(3, 10)));
        let nodes: Vec<_> = (1..5).map(|node| (node, key.public())).collect();
        let found = swarm
            .client(b"client")
            .announcements(genesis, 1, &nodes)
            .await;
        assert_eq!(found, [announcement(1, now)]);
    }
}
