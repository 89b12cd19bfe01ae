//! A subnet of two servers around a tiny model.

use super::client::TestClient;
use crate::{
    announce::UnixClock,
    chain_sync::ChainSync,
    compute::{measure, Rates, SpanCompute},
    daemon::{run, Balancing, Ended, Parts, Stop},
    error::WorkerError,
    net::NetworkStreams,
    redeem::Book,
    telemetry::Metrics,
};
use async_trait::async_trait;
use futures::StreamExt;
use quipu_engine::{backend::FlexDevice, CpuSpan, HiddenStates};
use quipu_network::{FrameRate, IncomingStreams, Keypair, ServerStream};
use quipu_primitives::{
    Balance, Digest, Manifest, NodeId, SessionId, SignatureBytes, Span, SubnetId, Voucher,
};
use quipu_protocol::{Activations, ServerState, SignedAnnouncement};
use quipu_testkit::{
    chain::GENESIS, swarm::MemorySwarm, tiny::flex_profile, FakeChain, ManualClock, TinyFiles,
};
use quipu_worker_core::{
    keys::EphemeralKey,
    ports::{
        Announcer, Call, Chain, ChainEvent, Included, PeerError, SharedJobRunner, SharedPeers,
    },
    serve::Identity,
    Signer,
};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub const SUBNET: SubnetId = 1;
pub const PRICE: Balance = 3;
pub const CAP: Balance = 10_000;
pub const HIDDEN: u32 = 32;
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn key(seed: u8) -> EphemeralKey {
    EphemeralKey::from_seed(&[seed; 32])
}

/// Keys of the people and servers of the tests.
pub const CREATOR: u8 = 1;
pub const CONSUMER: u8 = 2;
pub const SESSION_KEY: u8 = 3;

/// A server's node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub id: NodeId,
    pub span: Span,
    pub hotkey: u8,
    pub coldkey: u8,
}

pub const FRONT: Span = Span { start: 0, end: 2 };
pub const BACK: Span = Span { start: 2, end: 4 };

pub const FIRST: Node = Node {
    id: 1,
    span: FRONT,
    hotkey: 11,
    coldkey: 21,
};
pub const SECOND: Node = Node {
    id: 2,
    span: BACK,
    hotkey: 12,
    coldkey: 22,
};
/// Stands by for the first.
pub const THIRD: Node = Node {
    id: 3,
    span: FRONT,
    hotkey: 13,
    coldkey: 23,
};
/// Stands by for the second.
pub const FOURTH: Node = Node {
    id: 4,
    span: BACK,
    hotkey: 14,
    coldkey: 24,
};

impl Node {
    pub fn keypair(&self) -> Keypair {
        Keypair::ed25519_from_bytes([self.id as u8; 32]).unwrap()
    }

    pub fn peer(&self) -> Vec<u8> {
        self.keypair().public().to_peer_id().to_bytes()
    }
}

/// Awaits something that must happen.
pub async fn soon<T>(what: impl std::future::Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not happen in time")
}

/// Awaits what no event tells of, such as a file that goes.
pub async fn eventually(is_so: impl Fn() -> bool) {
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    soon(async {
        while !is_so() {
            beat.tick().await;
        }
    })
    .await;
}

/// The chain, the model, and what was registered.
pub struct Subnet {
    pub chain: Arc<FakeChain>,
    pub files: TinyFiles,
    pub manifest: Manifest,
}

impl Subnet {
    /// A subnet with four nodes, bonded but not seated.
    pub fn new() -> Self {
        let (chain, files) = (FakeChain::new(), TinyFiles::new(7));
        let manifest = files.manifest();
        let call = |who: u8, call| chain.apply(key(who).public(), call).unwrap();
        call(CREATOR, Call::RegisterSubnet(Box::new(manifest.clone())));
        chain.fund(key(CONSUMER).public(), 1_000_000);
        for node in [FIRST, SECOND, THIRD, FOURTH] {
            chain.fund(key(node.coldkey).public(), 5_000);
            let hotkey = key(node.hotkey).public();
            let register = Call::RegisterNode {
                subnet: SUBNET,
                hotkey,
                peer_id: node.peer(),
            };
            call(node.coldkey, register);
            call(
                node.coldkey,
                Call::Bond {
                    node: node.id,
                    amount: 5_000,
                },
            );
        }
        Subnet {
            chain,
            files,
            manifest,
        }
    }

    /// Takes the seat of a node whose worker the test does not need.
    pub fn seat(&self, node: Node) {
        let join = Call::Join {
            node: node.id,
            span: node.span,
            price: PRICE,
            profile: flex_profile().digest(),
        };
        self.chain.apply(key(node.hotkey).public(), join).unwrap();
    }

    pub fn apply(&self, who: u8, call: Call) -> Included {
        self.chain.apply(key(who).public(), call).unwrap()
    }

    /// Is every block served?
    pub async fn is_active(&self) -> bool {
        let subnet = self.chain.subnet(SUBNET).await.unwrap();
        subnet.unwrap().status.is_active()
    }

    /// The consumer opens a session with both servers.
    pub fn open_session(&self, duration: u32) -> SessionId {
        self.open_session_with(&[FIRST, SECOND], duration, SESSION_KEY)
    }

    /// With these servers, and with another session key.
    pub fn open_session_with(&self, servers: &[Node], duration: u32, session_key: u8) -> SessionId {
        let opened = self.apply(
            CONSUMER,
            Call::OpenSession {
                subnet: SUBNET,
                session_key: key(session_key).public(),
                caps: servers.iter().map(|node| (node.id, CAP)).collect(),
                duration,
                seed_commitment: [0; 32],
                integrator: None,
            },
        );
        match opened.events[..] {
            [ChainEvent::SessionOpened { session, .. }] => session,
            ref other => panic!("{other:?}"),
        }
    }

    pub fn voucher(
        &self,
        session: SessionId,
        node: Node,
        positions: u32,
    ) -> (Voucher, SignatureBytes) {
        let voucher = Voucher {
            session,
            node: node.id,
            positions,
        };
        let payload = quipu_primitives::voucher_payload(&GENESIS, &voucher);
        (voucher, key(SESSION_KEY).sign(&payload))
    }

    pub fn settle(&self, session: SessionId, list: &[(Node, u32)], receipt_root: Digest) {
        let vouchers = list
            .iter()
            .map(|(node, positions)| self.voucher(session, *node, *positions));
        let vouchers = vouchers.collect();
        self.apply(
            CONSUMER,
            Call::Settle {
                session,
                vouchers,
                receipt_root,
            },
        );
    }

    /// The redemptions that reached the chain.
    pub fn redeemed(&self) -> Vec<(NodeId, u32)> {
        let calls = self.chain.calls();
        let redeemed = calls.iter().filter_map(|(_, call)| match call {
            Call::Redeem { voucher, .. } => Some((voucher.node, voucher.positions)),
            _ => None,
        });
        redeemed.collect()
    }

    /// Waits until the chain is as it should be, looking at every new block.
    pub async fn until(&self, is_so: impl Fn(&FakeChain) -> bool) {
        let mut events = self.chain.events().await.unwrap();
        soon(async {
            while !is_so(&self.chain) {
                events.next().await;
            }
        })
        .await;
    }

    /// What the whole model makes of these rows, in one go.
    pub fn reference(&self, span: Span, input: &Activations) -> Vec<f32> {
        let range = usize::from(span.start)..usize::from(span.end);
        let span = CpuSpan::load(&self.files.open(), range, &FlexDevice).unwrap();
        let mut cache = span.new_cache(256);
        let hidden = HiddenStates {
            data: input.to_f32().unwrap(),
            tokens: input.header.tokens as usize,
        };
        span.forward(&mut cache, hidden, 0).unwrap().data
    }
}

/// Rows of positions `start..end` as the embedding might give them.
pub fn rows(start: u32, end: u32) -> Activations {
    let values: Vec<f32> = (start * HIDDEN..end * HIDDEN)
        .map(|i| ((i.wrapping_mul(7919) % 41) as f32 - 20.0) / 20.0)
        .collect();
    Activations::from_f32(&values, HIDDEN).unwrap()
}

/// Keeps what is announced.
pub struct Announced(
    watch::Sender<Vec<SignedAnnouncement>>,
    Option<Box<dyn Announcer>>,
);

#[async_trait]
impl Announcer for Announced {
    fn local(&self) -> Vec<u8> {
        Vec::new()
    }
    async fn addresses(&self) -> Result<Vec<String>, PeerError> {
        match &self.1 {
            Some(announcer) => announcer.addresses().await,
            None => Ok(vec!["/ip4/127.0.0.1/tcp/1".into()]),
        }
    }
    async fn announce(&self, record: SignedAnnouncement) -> Result<usize, PeerError> {
        let reached = match &self.1 {
            Some(announcer) => announcer.announce(record.clone()).await?,
            None => 1,
        };
        self.0.send_modify(|records| records.push(record));
        Ok(reached)
    }
}

/// How a worker is set up, where it matters to a test.
pub struct Setup {
    pub positions: u32,
    pub price: Balance,
    pub leave_on_exit: bool,
    pub drain: Duration,
    pub session_patience: Duration,
    pub audit_space: u64,
    pub jobs: Option<SharedJobRunner>,
    pub unix_clock: UnixClock,
    /// Whom it reaches. By default nobody is there: what is handed on comes back to the client.
    pub peers: Option<SharedPeers>,
    /// Lets it take other blocks.
    pub balancing: Option<Balancing>,
    /// Announced in place of what was measured, so that routes do not depend on the machine.
    pub rates: Option<Rates>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            positions: 512,
            price: PRICE,
            leave_on_exit: false,
            drain: PATIENCE,
            session_patience: Duration::from_millis(1),
            audit_space: 1 << 30,
            jobs: None,
            unix_clock: Arc::new(|| 1_000),
            peers: None,
            balancing: None,
            rates: None,
        }
    }
}

/// A running worker.
pub struct Worker {
    pub node: Node,
    pub stop: Stop,
    pub clock: ManualClock,
    pub announced: watch::Receiver<Vec<SignedAnnouncement>>,
    pub base: TempDir,
    pub metrics: Metrics,
    task: JoinHandle<Result<Ended, WorkerError>>,
    streams: Option<mpsc::Sender<ServerStream>>,
}

impl Worker {
    /// Starts a worker and waits until it is online.
    pub async fn start(subnet: &Subnet, node: Node) -> Self {
        Self::start_with(subnet, node, Setup::default()).await
    }

    pub async fn start_with(subnet: &Subnet, node: Node, setup: Setup) -> Self {
        Self::restart_with(subnet, node, setup, TempDir::new().unwrap()).await
    }

    /// Starts a worker again in its folder, and waits until it is online.
    pub async fn restart(subnet: &Subnet, node: Node, base: TempDir) -> Self {
        Self::restart_with(subnet, node, Setup::default(), base).await
    }

    pub async fn restart_with(subnet: &Subnet, node: Node, setup: Setup, base: TempDir) -> Self {
        let mut worker = Self::launch(subnet, node, setup, base).await;
        worker.until_state(ServerState::Online).await;
        worker
    }

    /// Starts a worker in a folder that may have been another's.
    pub async fn launch(subnet: &Subnet, node: Node, setup: Setup, base: TempDir) -> Self {
        let (streams, incoming) = IncomingStreams::channel(8);
        let mut worker = Self::launch_in(subnet, node, setup, base, incoming, None).await;
        worker.streams = Some(streams);
        worker
    }

    /// Starts a worker that is reached through `incoming`, and tells `announcer` as well of itself.
    pub async fn launch_in(
        subnet: &Subnet,
        node: Node,
        setup: Setup,
        base: TempDir,
        incoming: IncomingStreams,
        announcer: Option<Box<dyn Announcer>>,
    ) -> Self {
        let range = usize::from(node.span.start)..usize::from(node.span.end);
        let span = CpuSpan::load(&subnet.files.open(), range, &FlexDevice).unwrap();
        let mut compute = SpanCompute::new(span, setup.positions);
        let rates = measure(&mut compute).unwrap();
        assert!(rates.prefill > 0 && rates.decode > Duration::ZERO);
        let (sender, announced) = watch::channel(Vec::new());
        let (clock, stop) = (ManualClock::new(), Stop::default());
        let (book, metrics) = (Arc::<Book>::default(), Metrics::default());
        let chain: Arc<dyn Chain> = subnet.chain.clone();
        let sync = ChainSync::start(chain.clone(), SUBNET, node.id, book.clone())
            .await
            .unwrap();
        let parts = Parts {
            chain,
            peers: setup
                .peers
                .unwrap_or_else(|| Arc::new(MemorySwarm::default().client(&node.peer()))),
            sync,
            book,
            me: Identity {
                genesis: GENESIS,
                subnet: SUBNET,
                node: node.id,
                span: node.span,
                peer: node.peer(),
                weights_root: subnet.manifest.weights_root,
                profile: flex_profile().digest(),
                exact: false,
                dtype: flex_profile().activations,
                hidden: HIDDEN,
                context: subnet.manifest.config.context_length,
                signer: Arc::new(key(node.hotkey)),
            },
            price: setup.price,
            compute: Box::new(compute),
            rates: setup.rates.unwrap_or(rates),
            announcer: Arc::new(Announced(sender, announcer)),
            incoming: Box::new(NetworkStreams(incoming)),
            journals: base.path().join("sessions"),
            auditor: None,
            evidence: (base.path().join("evidence"), setup.audit_space),
            jobs: setup.jobs.map(|runner| (runner, base.path().join("jobs"))),
            clock: clock.reader(),
            unix_clock: setup.unix_clock,
            session_patience: setup.session_patience,
            drain: setup.drain,
            leave_on_exit: setup.leave_on_exit,
            metrics: metrics.clone(),
            balancing: setup.balancing,
            endpoint: None,
        };
        let task = tokio::spawn(run(parts, stop.clone()));
        Worker {
            node,
            stop,
            clock,
            announced,
            base,
            metrics,
            task,
            streams: None,
        }
    }

    pub async fn until_state(&mut self, state: ServerState) {
        let last = |records: &Vec<SignedAnnouncement>| {
            records
                .last()
                .is_some_and(|record| record.announcement.state == state)
        };
        soon(self.announced.wait_for(last)).await.unwrap();
    }

    /// A new stream to this worker, with no Open sent yet.
    pub async fn connect(&self, session: SessionId) -> TestClient {
        self.connect_as(b"client", session).await
    }

    /// As [`Worker::connect`], from another peer.
    pub async fn connect_as(&self, peer: &[u8], session: SessionId) -> TestClient {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let stream = ServerStream::over(peer.to_vec(), theirs, PATIENCE, FrameRate::default());
        let streams = self.streams.as_ref().expect("it is reached otherwise");
        streams
            .send(stream)
            .await
            .unwrap_or_else(|_| panic!("the worker has ended"));
        TestClient::over(ours, self.node, session)
    }

    /// A stream on which the session was opened in this epoch.
    pub async fn open(&self, session: SessionId, epoch: u32) -> (TestClient, u32) {
        let mut client = self.connect(session).await;
        let position = client.open(epoch, 200).await;
        (client, position)
    }

    /// A stream of a session with another session key.
    pub async fn open_with(&self, session: SessionId, session_key: u8) -> (TestClient, u32) {
        let mut client = self.connect(session).await;
        client.session_key = session_key;
        let position = client.open(0, 200).await;
        (client, position)
    }

    /// Stops as a killed process would, as far as others can see, and gives its folder.
    pub async fn kill(self) -> TempDir {
        self.stop.now.cancel();
        soon(self.task).await.unwrap().unwrap();
        self.base
    }

    /// Waits for the end.
    pub async fn ended(self) -> Result<Ended, WorkerError> {
        soon(self.task).await.unwrap()
    }

    pub fn journals(&self) -> Vec<String> {
        files(&self.base.path().join("sessions"))
    }
}

pub fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
