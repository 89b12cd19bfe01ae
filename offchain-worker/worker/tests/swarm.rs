//! The client against real workers: the engine's blocks, the worker's sessions and journals, the
//! network's framing and limits, all in one process, on a tiny model with random weights.

use async_trait::async_trait;
use futures::StreamExt;
use quipu_attest::check::Service;
use quipu_client::{
    generate::Finish, Client, ClientError, ClientOptions, Ends, EngineEnds, Event, Generation,
    Prompt, Request, SamplingOptions,
};
use quipu_engine::{
    backend::FlexDevice,
    exact::{ExactOptions, ExactSpan},
    CpuEnds, HiddenStates, Sampling,
};
use quipu_primitives::{
    audit::{Finding, Subject, Verdict},
    job::FinishReason,
    views::JobInfo,
    AccountBytes, Balance, DType, NodeId, NumericProfile, SessionId, Span, SubnetId,
};
use quipu_protocol::{Activations, Fetch, SignedAnnouncement, VERSION};
use quipu_testkit::{
    chain::GENESIS,
    swarm::{Faults, MemorySwarm},
    tiny::exact_profile,
    FakeChain, TinyFiles,
};
use quipu_worker::{
    audit::{self, Case, Duty, FetchError, Findings, ModelExaminer, Reason, Shape},
    chain_sync::ChainSync,
    compute::{measure, ExactCompute},
    daemon::{run, Parts, Stop},
    net::NetworkStreams,
    redeem::Book,
    telemetry::Metrics,
};
use quipu_worker_core::{
    keys::EphemeralKey,
    ports::{Announcer, Call, Chain, JobAnswer, JobRunner, PeerError, SharedChain},
    serve::Identity,
    Signer,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SUBNET: SubnetId = 1;
const PRICE: Balance = 3;
const PROMPT: &str =
    "In the Andes a quipu was a ledger of knotted strings, and the keepers of the \
                      quipus knew by heart what each of the knots had to tell about the herds.";
const TOKENS: u32 = 24;

fn key(seed: u8) -> EphemeralKey {
    EphemeralKey::from_seed(&[seed; 32])
}

fn consumer() -> EphemeralKey {
    key(200)
}

fn peer(node: NodeId) -> Vec<u8> {
    vec![0, 1, node as u8]
}

/// A subnet of four workers: 1 and 3 hold the first half of the model, 2 and 4 the second.
struct World {
    chain: Arc<FakeChain>,
    files: TinyFiles,
    swarm: MemorySwarm,
    profile: NumericProfile,
    /// Computes with other weights than it says.
    cheat: Option<NodeId>,
    stops: Vec<Stop>,
    _folders: Vec<TempDir>,
}

const HALVES: [Span; 2] = [Span { start: 0, end: 2 }, Span { start: 2, end: 4 }];

struct Announces {
    swarm: MemorySwarm,
    published: watch::Sender<u32>,
}

#[async_trait]
impl Announcer for Announces {
    fn local(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn addresses(&self) -> Result<Vec<String>, PeerError> {
        Ok(vec!["/ip4/127.0.0.1/tcp/1".into()])
    }

    async fn announce(&self, record: SignedAnnouncement) -> Result<usize, PeerError> {
        self.swarm.publish(&GENESIS, &record);
        if record.announcement.state == quipu_protocol::ServerState::Online {
            self.published.send_modify(|count| *count += 1);
        }
        Ok(1)
    }
}

impl World {
    async fn new() -> Self {
        Self::sending(DType::F32).await
    }

    /// One whose activations are sent as this type.
    async fn sending(dtype: DType) -> Self {
        Self::made(dtype, None).await
    }

    async fn made(dtype: DType, cheat: Option<NodeId>) -> Self {
        let (chain, files, swarm) = (FakeChain::new(), TinyFiles::new(7), MemorySwarm::default());
        let mut manifest = files.manifest();
        let profile = NumericProfile {
            activations: dtype,
            ..exact_profile()
        };
        manifest.profiles = vec![profile.clone()].try_into().unwrap();
        let register = Call::RegisterSubnet(Box::new(manifest));
        chain.apply(key(1).public(), register).unwrap();
        chain.fund(consumer().public(), 10_000_000);
        let mut world = World {
            chain,
            files,
            swarm,
            profile,
            cheat,
            stops: Vec::new(),
            _folders: Vec::new(),
        };
        for node in 1..=4 {
            world.serve(node, HALVES[(node as usize - 1) % 2]).await;
        }
        world
    }

    async fn serve(&mut self, node: NodeId, span: Span) {
        let (coldkey, hotkey) = (key(100 + node as u8), key(150 + node as u8));
        let account = coldkey.public();
        self.chain.fund(account, 5_000);
        let register = Call::RegisterNode {
            subnet: SUBNET,
            hotkey: hotkey.public(),
            peer_id: peer(node),
        };
        self.chain.apply(account, register).unwrap();
        self.chain
            .apply(
                account,
                Call::Bond {
                    node,
                    amount: 5_000,
                },
            )
            .unwrap();
        let model = match self.cheat == Some(node) {
            true => TinyFiles::new(8).open(),
            false => self.files.open(),
        };
        let range = usize::from(span.start)..usize::from(span.end);
        let mut compute = ExactCompute::load(&model, range, 1, 1024).unwrap();
        let rates = measure(&mut compute).unwrap();
        let chain: SharedChain = self.chain.clone();
        let (book, stop, folder) = (
            Arc::<Book>::default(),
            Stop::default(),
            TempDir::new().unwrap(),
        );
        let (published, mut online) = watch::channel(0);
        let started = Instant::now();
        let manifest = self.files.manifest();
        let parts = Parts {
            sync: ChainSync::start(chain.clone(), SUBNET, node, book.clone())
                .await
                .unwrap(),
            chain,
            peers: Arc::new(self.swarm.client(&peer(node))),
            book,
            me: Identity {
                genesis: GENESIS,
                subnet: SUBNET,
                node,
                span,
                peer: peer(node),
                weights_root: manifest.weights_root,
                profile: self.profile.digest(),
                exact: self.profile.kernel.is_exact(),
                dtype: self.profile.activations,
                hidden: manifest.config.hidden_size,
                context: manifest.config.context_length,
                signer: Arc::new(hotkey),
            },
            price: PRICE,
            compute: Box::new(compute),
            rates,
            announcer: Arc::new(Announces {
                swarm: self.swarm.clone(),
                published,
            }),
            incoming: Box::new(NetworkStreams(self.swarm.server(&peer(node)))),
            journals: folder.path().join("sessions"),
            auditor: Some((
                Arc::new(ModelExaminer::new(
                    Arc::new(self.files.open()),
                    manifest.clone(),
                    2,
                )),
                folder.path().join("findings"),
            )),
            evidence: (folder.path().join("evidence"), 1 << 30),
            jobs: None,
            clock: Arc::new(move || started.elapsed()),
            unix_clock: quipu_network::system_clock(),
            session_patience: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            leave_on_exit: false,
            metrics: Metrics::default(),
            balancing: None,
            endpoint: None,
        };
        tokio::spawn(run(parts, stop.clone()));
        tokio::time::timeout(Duration::from_secs(20), online.wait_for(|count| *count > 0))
            .await
            .expect("the worker comes online")
            .unwrap();
        // The router prefers what is near: the primaries are known.
        let millis = if node <= 2 { 1 } else { 20 };
        self.swarm
            .set_round_trip(&peer(node), Duration::from_millis(millis));
        self.stops.push(stop);
        self._folders.push(folder);
    }

    /// What this auditor finds of a server's work in a session, asking this server.
    async fn audit(
        &self,
        auditor: NodeId,
        session: SessionId,
        audited: NodeId,
    ) -> Result<(Finding, Reason), FetchError> {
        let config = self.files.manifest().config;
        let shape = Shape {
            dtypes: vec![self.profile.activations],
            hidden: config.hidden_size,
            context: config.context_length,
        };
        let fetch = Fetch {
            version: VERSION,
            session,
            node: audited,
            audited,
        };
        let peers = self.swarm.client(&peer(auditor));
        let patience = Duration::from_secs(10);
        let whom = peer(audited);
        let shown = audit::fetch(&peers, &whom, &[], fetch, &shape, patience).await?;

        let record = self.chain.session(session).await.unwrap().unwrap();
        let mut servers = record.servers.iter();
        let server = servers.find(|server| server.node == audited).unwrap();
        let case = Case {
            genesis: GENESIS,
            service: Service {
                session,
                node: audited,
                span: server.span,
                weights_root: self.files.manifest().weights_root,
                profile: self.profile.digest(),
            },
            session_key: record.session_key,
            hotkeys: vec![key(150 + audited as u8).public()],
            paid: server.positions,
            profile: self.profile.clone(),
            hidden: shape.hidden,
        };
        let range = usize::from(server.span.start)..usize::from(server.span.end);
        // A machine with other threads.
        let mut blocks = ExactCompute::load(&self.files.open(), range, 2, 1024).unwrap();
        let replay = |rows: &[u8]| audit::replay(&mut blocks, rows, case.dtype());
        Ok(audit::examine(&case, &shown, replay))
    }

    fn client(&self) -> Client {
        self.client_that_drafts(0)
    }

    /// Guesses at most so many tokens ahead.
    fn client_that_drafts(&self, draft: u32) -> Client {
        self.client_of(consumer(), draft)
    }

    /// One who pays with this key.
    fn client_of(&self, signer: EphemeralKey, draft: u32) -> Client {
        let ends: Arc<dyn Ends> = Arc::new(EngineEnds::load(&self.files.open()).unwrap());
        let options = ClientOptions {
            open_timeout: Duration::from_secs(5),
            step_timeout: Duration::from_secs(10),
            ban: Duration::from_secs(60),
            draft,
            ..Default::default()
        };
        let peers = Arc::new(self.swarm.client(b"client"));
        Client::new(self.chain.clone(), peers, ends, Arc::new(signer), options)
    }

    async fn ask(&self, sampling: SamplingOptions) -> Result<Generation, ClientError> {
        let request = Request::new(SUBNET, Prompt::Text(PROMPT.into()), sampling);
        self.client().generate(request, |_| {}).await
    }

    /// A long answer, which in a model of random weights comes to repeat itself.
    async fn ramble(&self, draft: u32, sampling: SamplingOptions) -> Generation {
        let sampling = SamplingOptions {
            max_tokens: 90,
            ..sampling
        };
        let request = Request::new(SUBNET, Prompt::Text(PROMPT.into()), sampling);
        let client = self.client_that_drafts(draft);
        client.generate(request, |_| {}).await.unwrap()
    }

    /// The same answer without any swarm.
    fn alone(&self) -> Vec<u32> {
        let end = self.files.manifest().config.blocks;
        self.cut_at(&[Span { start: 0, end }])
    }

    /// The same answer through these spans, each of which hands on what the profile sends.
    fn cut_at(&self, spans: &[Span]) -> Vec<u32> {
        let model = self.files.open();
        let tokenizer = model.tokenizer().unwrap();
        let ends = CpuEnds::load(&model, &FlexDevice).unwrap();
        let load = |blocks: &Span| {
            let blocks = blocks.start.into()..blocks.end.into();
            let span = ExactSpan::load(&model, blocks, ExactOptions::default()).unwrap();
            let cache = span.new_cache(256).unwrap();
            (span, cache)
        };
        let mut spans: Vec<_> = spans.iter().map(load).collect();
        let (width, dtype) = (model.config().hidden_size as u32, self.profile.activations);
        let sent = |hidden: HiddenStates| {
            let rows = Activations::rounded(&hidden.data, width, dtype).unwrap();
            let data = rows.to_f32().unwrap();
            HiddenStates { data, ..hidden }
        };
        let prompt = tokenizer
            .encode_chat(&[quipu_client::Message::user(PROMPT)])
            .unwrap();
        let (mut input, mut position, mut answer) = (prompt, 0, Vec::new());
        while answer.len() < TOKENS as usize {
            let mut hidden = sent(ends.embed(&input).unwrap());
            for (span, cache) in &mut spans {
                hidden = sent(span.forward(cache, hidden, position).unwrap());
            }
            position += input.len();
            let token = Sampling::greedy()
                .sample(&ends.logits(&hidden).unwrap(), position as u64)
                .unwrap();
            answer.push(token);
            if tokenizer.is_end(token) {
                break;
            }
            input = vec![token];
        }
        answer
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for stop in &self.stops {
            stop.now.cancel();
        }
    }
}

fn greedy() -> SamplingOptions {
    SamplingOptions {
        max_tokens: TOKENS,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_through_workers_is_that_of_the_whole_model() {
    let world = World::new().await;
    let before = world.chain.balance(consumer().public());
    let generation = world.ask(greedy()).await.unwrap();
    assert_eq!(generation.tokens, world.alone());
    assert!(
        generation.prompt_tokens.len() > 96,
        "the prompt goes in several steps"
    );
    assert!(matches!(generation.finish, Finish::Length | Finish::Stop));
    let session = world
        .chain
        .session(generation.session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.receipt_root, Some(generation.receipt_root));
    let positions = (generation.prompt_tokens.len() + generation.tokens.len() - 1) as u32;
    let paid: Vec<(NodeId, u32)> = generation
        .paid
        .iter()
        .map(|paid| (paid.node, paid.positions))
        .collect();
    assert_eq!(paid, [(1, positions), (2, positions)]);
    // The window closes; the consumer gets back what was not earned.
    world.chain.advance(20);
    let earned = 2 * PRICE * 2 * Balance::from(positions);
    assert_eq!(world.chain.balance(consumer().public()), before - earned);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_whenever_the_answer_stays_the_same() {
    let sampled = SamplingOptions {
        temperature: 0.8,
        seed: Some(5),
        ..greedy()
    };
    for options in [greedy(), sampled] {
        let undisturbed = World::new().await.ask(options).await.unwrap();
        for victim in [1, 2] {
            for requests in [0, 1, 2, 6, 15, 24] {
                let world = World::new().await;
                let faults = Faults {
                    requests_left: Some(requests),
                    stays_down: true,
                    ..Default::default()
                };
                world.swarm.set_faults(&peer(victim), faults);
                let generation = world.ask(options).await.unwrap();
                let case = format!("node {victim} dies after {requests} requests");
                assert_eq!(generation.tokens, undisturbed.tokens, "{case}");
                assert_eq!(generation.text, undisturbed.text, "{case}");
                let failovers = &generation.failovers;
                assert_eq!(failovers.len(), 1, "{case}: {failovers:?}");
                assert_eq!(generation.failovers[0].replaced_by, [victim + 2], "{case}");
                assert!(generation.abandoned.is_empty(), "{case}");
                let positions =
                    (generation.prompt_tokens.len() + generation.tokens.len() - 1) as u32;
                for paid in &generation.paid {
                    let whole = paid.node != victim;
                    assert_eq!(paid.positions == positions, whole, "{case}: {paid:?}");
                    assert!(paid.positions <= positions);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_are_resumed_without_a_trace() {
    let undisturbed = World::new().await.ask(greedy()).await.unwrap();
    for victim in [1, 2] {
        for (requests, responses) in [(Some(3), None), (Some(12), None), (None, Some(9))] {
            let world = World::new().await;
            let faults = Faults {
                requests_left: requests,
                responses_left: responses,
                ..Default::default()
            };
            world.swarm.set_faults(&peer(victim), faults);
            let generation = world.ask(greedy()).await.unwrap();
            assert_eq!(generation.tokens, undisturbed.tokens);
            assert!(
                generation.failovers.is_empty(),
                "{:?}",
                generation.failovers
            );
            assert_eq!(generation.paid, undisturbed.paid);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_half_of_a_conversation_with_a_dead_swarm_is_told() {
    let world = World::new().await;
    for node in [1, 3] {
        let faults = Faults {
            requests_left: Some(8),
            stays_down: true,
            ..Default::default()
        };
        world.swarm.set_faults(&peer(node), faults);
    }
    let mut tokens = Vec::new();
    let request = Request::new(SUBNET, Prompt::Text(PROMPT.into()), greedy());
    let error = world
        .client()
        .generate(request, |event| {
            if let Event::Token { id, .. } = event {
                tokens.push(id);
            }
        })
        .await
        .unwrap_err();
    let ClientError::Interrupted { partial, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(partial.tokens, tokens);
    assert!(partial.settlement.is_some());
    let session = world.chain.session(partial.session).await.unwrap().unwrap();
    assert_eq!(session.receipt_root, Some(partial.receipt_root));
}

/// Nearly greedy, so that guesses are right now and then.
fn sampled() -> SamplingOptions {
    SamplingOptions {
        temperature: 0.05,
        seed: Some(9),
        ..greedy()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ahead_gives_the_same_answer_receipts_and_bill() {
    for options in [greedy(), sampled()] {
        let (plain, drafting) = (World::new().await, World::new().await);
        let one = plain.ramble(0, options).await;
        let other = drafting.ramble(16, options).await;
        assert_eq!((&other.tokens, &other.text), (&one.tokens, &one.text));
        assert_eq!(other.paid, one.paid);
        assert_eq!(other.receipt_root, one.receipt_root);
        assert_eq!(one.drafted.drafted, 0);
        let drafted = other.drafted;
        assert!(drafted.accepted > 0, "{drafted:?}");
        assert!(other.failovers.is_empty(), "{:?}", other.failovers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_survive_broken_streams_and_dead_servers() {
    let plain = World::new().await.ramble(0, greedy()).await;
    for victim in [1, 2] {
        for (requests, responses) in [(Some(9), None), (Some(17), None), (None, Some(12))] {
            for stays_down in [false, true] {
                let world = World::new().await;
                let faults = Faults {
                    requests_left: requests,
                    responses_left: responses,
                    stays_down,
                    ..Default::default()
                };
                world.swarm.set_faults(&peer(victim), faults);
                let drafting = world.ramble(16, greedy()).await;
                let case = format!("node {victim}: {requests:?}, {responses:?}, {stays_down}");
                assert_eq!(drafting.tokens, plain.tokens, "{case}");
                assert_eq!(drafting.text, plain.text, "{case}");
                assert!(drafting.drafted.accepted > 0, "{case}");
                assert_eq!(drafting.failovers.len(), usize::from(stays_down), "{case}");
                if !stays_down {
                    assert_eq!(drafting.paid, plain.paid, "{case}");
                    assert_eq!(drafting.receipt_root, plain.receipt_root, "{case}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_bits_on_the_wire_give_what_the_same_cut_gives_alone() {
    for dtype in [DType::F16, DType::Bf16] {
        let world = World::sending(dtype).await;
        let plain = world.ask(greedy()).await.unwrap();
        assert_eq!(plain.tokens, world.cut_at(&HALVES), "{dtype:?}");
        // Bytes are halved, and nothing of what an exact profile promises is lost.
        let long = world.ramble(0, sampled()).await;
        let drafting = World::sending(dtype).await.ramble(16, sampled()).await;
        assert_eq!(drafting.tokens, long.tokens, "{dtype:?}");
        assert_eq!(drafting.paid, long.paid, "{dtype:?}");
        let faults = Faults {
            requests_left: Some(12),
            stays_down: true,
            ..Default::default()
        };
        world.swarm.set_faults(&peer(2), faults);
        let disturbed = world.ramble(16, sampled()).await;
        assert_eq!(disturbed.failovers.len(), 1, "{dtype:?}");
        assert_eq!(disturbed.tokens, long.tokens, "{dtype:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_finds_who_computes_with_other_weights_and_nobody_else() {
    for (dtype, cheat) in [
        (DType::F32, None),
        (DType::Bf16, None),
        (DType::F32, Some(1)),
        (DType::F16, Some(2)),
    ] {
        let world = World::made(dtype, cheat).await;
        // Guesses, so that rows are kept of what counts alone.
        let generation = world.ramble(16, greedy()).await;
        let session = generation.session;
        for (audited, auditor) in [(1, 3), (2, 4)] {
            let subject = Subject {
                session,
                node: audited,
            };
            world.chain.draw(subject, &[auditor], 50);
            let (finding, reason) = world.audit(auditor, session, audited).await.unwrap();
            let expected = match cheat == Some(audited) {
                true => Verdict::Fail,
                false => Verdict::Pass,
            };
            let case = format!("{cheat:?} cheats in {dtype:?}, {audited} is audited: {reason}");
            assert_eq!(finding.verdict, expected, "{case}");
            // Nobody else may look.
            let stranger = 7 - auditor;
            let refused = world.audit(stranger, session, audited).await;
            assert!(
                matches!(refused, Err(FetchError::Refused(_))),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_changed_since_or_lost_are_withheld() {
    let world = World::new().await;
    let session = world.ask(greedy()).await.unwrap().session;
    let subject = Subject { session, node: 1 };
    world.chain.draw(subject, &[3], 50);
    let (finding, _) = world.audit(3, session, 1).await.unwrap();
    assert_eq!(finding.verdict, Verdict::Pass);
    let folder = world._folders[0].path().join("evidence");
    let folder = folder.join(session.to_string());
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap();
    let path = file.unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (finding, reason) = world.audit(3, session, 1).await.unwrap();
    assert_eq!(finding.verdict, Verdict::Withheld, "{reason}");
    std::fs::write(&path, &bytes[..last]).unwrap();
    let lost = world.audit(3, session, 1).await;
    assert!(matches!(lost, Err(FetchError::Refused(_))), "{lost:?}");
}

/// What the only member of a panel has revealed.
fn revealed(world: &World, subject: Subject) -> Option<Finding> {
    world.chain.audit_record(subject)?.members[0].finding
}

/// Lets blocks pass until this is so.
async fn passes(world: &World, is_so: impl Fn() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        let mut events = world.chain.events().await.unwrap();
        while !is_so() {
            world.chain.advance(1);
            // A block is looked at, and what follows from it takes its time.
            let pause = tokio::time::timeout(Duration::from_millis(50), async {
                while events.next().await.is_some() {}
            });
            let _ = pause.await;
        }
    });
    patience.await.expect("it does not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_drawn_looks_commits_and_reveals() {
    let world = World::made(DType::F32, Some(2)).await;
    let session = world.ask(greedy()).await.unwrap().session;
    let of = |node| Subject { session, node };
    world.chain.draw(of(1), &[4], 1_000);
    world.chain.draw(of(2), &[3], 1_000);
    passes(&world, || {
        revealed(&world, of(1)).is_some() && revealed(&world, of(2)).is_some()
    })
    .await;
    assert_eq!(revealed(&world, of(1)).unwrap().verdict, Verdict::Pass);
    assert_eq!(revealed(&world, of(2)).unwrap().verdict, Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_nothing_withholds_its_work() {
    let world = World::new().await;
    let session = world.ask(greedy()).await.unwrap().session;
    let subject = Subject { session, node: 1 };
    let faults = Faults {
        refuse_open: true,
        ..Default::default()
    };
    world.swarm.set_faults(&peer(1), faults);
    world.chain.draw(subject, &[4], 40);
    passes(&world, || revealed(&world, subject).is_some()).await;
    let finding = revealed(&world, subject).unwrap();
    assert_eq!(finding.verdict, Verdict::Withheld);
    // There was time for more than one try.
    let begun = world.chain.audit_record(subject).unwrap();
    assert!(begun.members[0].commitment.is_some());
}

/// Node 1, which serves the first half itself, answers a job; nobody is wrong but in what these do to the job
/// before it is answered, and to the answer before it is handed in. Node 4 looks.
async fn answered(
    asked: impl Fn(&mut JobInfo<AccountBytes>),
    handed_in: impl Fn(&mut JobAnswer),
) -> Verdict {
    let world = World::new().await;
    let account = key(151).public();
    world.chain.fund(account, 1_000_000);
    let request = Call::RequestJob {
        subnet: SUBNET,
        prompt: PROMPT.into(),
        max_tokens: 12,
        fee: 100,
    };
    world.chain.apply(consumer().public(), request).unwrap();
    let job = world.chain.open_jobs(1).await.unwrap()[0];
    let mut info = world.chain.job(job).await.unwrap().unwrap();
    assert_eq!(info.node, 1);
    asked(&mut info);
    let client = world.client_of(key(151), 8);
    let mut answer = client.run(&info).await.unwrap();
    handed_in(&mut answer);
    let session = answer.session;
    let result = Call::SubmitResult {
        job,
        answer: answer.answer,
        finish: answer.finish,
        session,
        receipt_root: answer.receipt_root,
    };
    world.chain.apply(account, result).unwrap();
    let subject = Subject { session, node: 1 };
    world.chain.draw(subject, &[4], 1_000);
    passes(&world, || revealed(&world, subject).is_some()).await;
    let finding = revealed(&world, subject).unwrap();
    // It stands by its own blocks, which are right in all of this.
    assert_ne!(finding.head, [0; 32]);
    finding.verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_job_passes_if_it_is_what_the_model_says() {
    assert_eq!(answered(|_| {}, |_| {}).await, Verdict::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_another_prompt_or_less_or_something_else_fails() {
    let other = |job: &mut JobInfo<AccountBytes>| {
        job.prompt = b"What did the keepers know?".to_vec().try_into().unwrap();
    };
    assert_eq!(answered(other, |_| {}).await, Verdict::Fail);
    let less = |job: &mut JobInfo<AccountBytes>| job.max_tokens = 5;
    assert_eq!(answered(less, |_| {}).await, Verdict::Fail);
    let old = |answer: &mut JobAnswer| answer.answer = b"42".to_vec();
    assert_eq!(answered(|_| {}, old).await, Verdict::Fail);
    let reason = |answer: &mut JobAnswer| {
        answer.finish = match answer.finish {
            FinishReason::Stop => FinishReason::Length,
            FinishReason::Length => FinishReason::Stop,
        };
    };
    assert_eq!(answered(|_| {}, reason).await, Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_that_was_killed_reveals_what_it_committed_to() {
    let world = World::new().await;
    let session = world.ask(greedy()).await.unwrap().session;
    // A node of its own, without a seat: nobody but this test does its duty.
    let (coldkey, hotkey) = (key(99), key(98));
    world.chain.fund(coldkey.public(), 5_000);
    let register = Call::RegisterNode {
        subnet: SUBNET,
        hotkey: hotkey.public(),
        peer_id: peer(5),
    };
    world.chain.apply(coldkey.public(), register).unwrap();
    let folder = TempDir::new().unwrap();
    let (_ticks, block) = watch::channel(0);
    let duty = || Duty {
        chain: world.chain.clone(),
        peers: Arc::new(world.swarm.client(&peer(5))),
        signer: Arc::new(key(98)),
        node: 5,
        subnet: SUBNET,
        examiner: Arc::new(ModelExaminer::new(
            Arc::new(world.files.open()),
            world.files.manifest(),
            1,
        )),
        findings: Findings::open(folder.path()).unwrap(),
        block: block.clone(),
        metrics: Metrics::default(),
    };
    let subject = Subject { session, node: 1 };
    world.chain.draw(subject, &[5], 1_000);
    // Without a further block it does not get beyond its commitment.
    let stop = CancellationToken::new();
    let first = tokio::spawn(duty().run(stop.clone()));
    let committed = || {
        let audit = world.chain.audit_record(subject).unwrap();
        audit.members[0].commitment.is_some()
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !committed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("it commits");
    stop.cancel();
    first.await.unwrap();
    assert_eq!(revealed(&world, subject), None);

    let stop = CancellationToken::new();
    let second = tokio::spawn(duty().run(stop.clone()));
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while revealed(&world, subject).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("it reveals");
    let finding = revealed(&world, subject).unwrap();
    assert_eq!(finding.verdict, Verdict::Pass);
    stop.cancel();
    second.await.unwrap();
}
