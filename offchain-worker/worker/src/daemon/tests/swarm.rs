//! Whole workers and the real client: over sockets, and over a swarm in memory whose links break.

use super::rig::*;
use crate::{
    compute::Rates,
    net::{NetworkAnnouncer, RosterKeys},
};
use async_trait::async_trait;
use quipu_client::{ends::Prompt, generate::Request, SamplingOptions};
use quipu_client::{Client, ClientOptions, Ends, EngineEnds, Generation};
use quipu_engine::{backend::FlexDevice, CpuSpan, HiddenStates};
use quipu_network::{
    system_clock, Multiaddr, Network, NetworkConfig, NetworkHandle, NetworkMetrics, NoKeys, Role,
};
use quipu_primitives::views::SessionStatus;
use quipu_protocol::{ServerState, SignedAnnouncement};
use quipu_testkit::{chain::GENESIS, Faults, MemorySwarm};
use quipu_worker_core::{
    ports::{Announcer, Chain, PeerError, SharedPeers},
    Signer,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

const PROMPT: [u32; 20] = [
    72, 101, 108, 108, 111, 44, 32, 113, 117, 105, 112, 117, 33, 32, 79, 110, 101, 32, 116, 119,
];
const TOKENS: u32 = 40;

/// What the whole model answers, one token at a time.
fn greedy(subnet: &Subnet, ends: &EngineEnds) -> Vec<u32> {
    let span = CpuSpan::load(&subnet.files.open(), 0..4, &FlexDevice).unwrap();
    let mut cache = span.new_cache(256);
    let (mut tokens, mut next) = (Vec::new(), PROMPT.to_vec());
    while tokens.len() < TOKENS as usize {
        let (data, position) = (ends.embed(&next).unwrap(), cache.len());
        let hidden = HiddenStates {
            data,
            tokens: next.len(),
        };
        let output = span.forward(&mut cache, hidden, position).unwrap();
        let logits = ends.logits(output.row(next.len() - 1).unwrap()).unwrap();
        let best = logits
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap()
            .0 as u32;
        tokens.push(best);
        if ends.is_end(best) {
            break;
        }
        next = vec![best];
    }
    tokens
}

async fn generate(subnet: &Subnet, peers: SharedPeers) -> Generation {
    let ends = EngineEnds::load(&subnet.files.open()).unwrap();
    let expected = greedy(subnet, &ends);
    let client = Client::new(
        subnet.chain.clone(),
        peers,
        Arc::new(ends),
        Arc::new(key(CONSUMER)),
        ClientOptions {
            route_seed: Some(1),
            ..ClientOptions::default()
        },
    );
    let sampling = SamplingOptions {
        max_tokens: TOKENS,
        ..SamplingOptions::default()
    };
    let request = Request::new(SUBNET, Prompt::Tokens(PROMPT.to_vec()), sampling);
    let generation = soon(client.generate(request, |_| {})).await.unwrap();
    assert_eq!(generation.tokens, expected);
    let session = subnet
        .chain
        .session(generation.session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.status, SessionStatus::Settling);
    assert_eq!(session.receipt_root, Some(generation.receipt_root));
    generation
}

pub fn setup() -> Setup {
    let rates = Rates {
        decode: Duration::from_millis(1),
        prefill: 1_000,
    };
    Setup {
        session_patience: PATIENCE,
        unix_clock: system_clock(),
        rates: Some(rates),
        ..Setup::default()
    }
}

/// A worker on a socket of its own.
async fn on_sockets(
    subnet: &Subnet,
    node: Node,
    bootstrap: Vec<Multiaddr>,
) -> (Worker, NetworkHandle) {
    let mut config = NetworkConfig::new(node.keypair(), Role::Server, GENESIS);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.bootstrap = bootstrap;
    let roster = Arc::new(subnet.chain.roster(SUBNET).await.unwrap());
    let keys = RosterKeys {
        subnet: SUBNET,
        roster: watch::channel(roster).1,
    };
    let (network, incoming) = Network::spawn(config, Arc::new(keys), NetworkMetrics::default())
        .await
        .unwrap();
    let base = tempfile::tempdir().unwrap();
    let announcer = Box::new(NetworkAnnouncer(network.clone()));
    let worker = Worker::launch_in(subnet, node, setup(), base, incoming, Some(announcer)).await;
    (worker, network)
}

#[tokio::test]
async fn a_client_is_answered_and_settles_over_sockets() {
    let subnet = Subnet::new();
    let (mut first, network) = on_sockets(&subnet, FIRST, Vec::new()).await;
    let address = network.listen_addresses().await.unwrap().remove(0);
    let address: Multiaddr = format!("{address}/p2p/{}", network.local_peer_id())
        .parse()
        .unwrap();
    let (mut second, _) = on_sockets(&subnet, SECOND, vec![address.clone()]).await;
    first.until_state(ServerState::Online).await;
    second.until_state(ServerState::Online).await;

    let own = quipu_network::Keypair::generate_ed25519();
    let mut config = NetworkConfig::new(own, Role::Client, GENESIS);
    config.bootstrap = vec![address];
    let (network, _) = Network::spawn(config, Arc::new(NoKeys), NetworkMetrics::default())
        .await
        .unwrap();
    let generation = generate(&subnet, Arc::new(network)).await;
    assert!(generation.failovers.is_empty());
    let positions = PROMPT.len() as u32 + generation.tokens.len() as u32 - 1;
    assert_eq!(
        generation.paid.iter().map(|paid| paid.positions).max(),
        Some(positions)
    );
    first.kill().await;
    second.kill().await;
}

/// Announces in the swarm in memory.
struct InMemory(MemorySwarm);

#[async_trait]
impl Announcer for InMemory {
    fn local(&self) -> Vec<u8> {
        Vec::new()
    }
    async fn addresses(&self) -> Result<Vec<String>, PeerError> {
        Ok(Vec::new())
    }
    async fn announce(&self, record: SignedAnnouncement) -> Result<usize, PeerError> {
        self.0.publish(&GENESIS, &record);
        Ok(1)
    }
}

async fn in_memory(subnet: &Subnet, node: Node, swarm: &MemorySwarm) -> Worker {
    in_memory_with(subnet, node, swarm, setup()).await
}

/// A worker that is found and reached in the swarm in memory.
pub async fn in_memory_with(
    subnet: &Subnet,
    node: Node,
    swarm: &MemorySwarm,
    setup: Setup,
) -> Worker {
    let incoming = swarm.server(&node.peer());
    let base = tempfile::tempdir().unwrap();
    let announcer = Box::new(InMemory(swarm.clone()));
    let mut worker = Worker::launch_in(subnet, node, setup, base, incoming, Some(announcer)).await;
    worker.until_state(ServerState::Online).await;
    worker
}

/// Every span twice; then the links of one server break after so many responses, once or for good.
async fn disturbed(server: Node, responses: u32, stays_down: bool) -> (Subnet, Generation) {
    let (subnet, swarm) = (Subnet::new(), MemorySwarm::default());
    let mut workers = Vec::new();
    for node in [FIRST, SECOND, THIRD, FOURTH] {
        workers.push(in_memory(&subnet, node, &swarm).await);
    }
    let faults = Faults {
        responses_left: Some(responses),
        stays_down,
        ..Faults::default()
    };
    swarm.set_faults(&server.peer(), faults);
    let generation = generate(&subnet, Arc::new(swarm.client(b"client"))).await;
    for worker in workers {
        worker.kill().await;
    }
    (subnet, generation)
}

#[tokio::test]
async fn a_server_that_dies_at_any_token_does_not_change_the_answer() {
    for responses in [1, 4, 17, 36] {
        let mut deaths = 0;
        for server in [FIRST, SECOND, THIRD, FOURTH] {
            let (subnet, generation) = disturbed(server, responses, true).await;
            // The route is the same in every run: two of the four are only asked to stand by.
            let died = generation
                .failovers
                .iter()
                .any(|one| one.failed == server.id);
            let count = generation.failovers.len();
            assert_eq!(count, usize::from(died), "{:?}", generation.failovers);
            deaths += count;
            // What is on chain is what the client says that it paid.
            let session = subnet
                .chain
                .session(generation.session)
                .await
                .unwrap()
                .unwrap();
            for paid in &generation.paid {
                let server = session
                    .servers
                    .iter()
                    .find(|one| one.node == paid.node)
                    .unwrap();
                assert_eq!(server.positions, paid.positions);
                assert!(paid.positions < 256);
            }
            subnet
                .chain
                .advance(quipu_testkit::chain::SETTLEMENT_WINDOW);
            for node in [FIRST, SECOND, THIRD, FOURTH] {
                let paid = generation.paid.iter().find(|paid| paid.node == node.id);
                let earned = paid.map_or(0, |paid| PRICE * 2 * u128::from(paid.positions));
                assert_eq!(subnet.chain.balance(key(node.coldkey).public()), earned);
            }
        }
        assert_eq!(deaths, 2, "one on each of the route's spans");
    }
}

#[tokio::test]
async fn a_link_that_breaks_once_is_mended_or_gone_around() {
    for responses in [2, 5, 30] {
        for server in [FIRST, SECOND] {
            disturbed(server, responses, false).await;
        }
    }
}
