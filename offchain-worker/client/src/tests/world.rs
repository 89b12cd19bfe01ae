//! A chain, servers and a client, put together.

use super::{
    chain::{profile, FakeChain, SUBNET},
    swarm::{hotkey, peer, Fault, ToyServer, ToySwarm},
    toy::{Numerics, ToyEnds},
};
use crate::{
    ends::{Ends, Prompt},
    error::ClientError,
    generate::{Client, Event, Generation, Request},
    options::{ClientOptions, SamplingOptions},
};
use quipu_primitives::{
    views::{NodeInfo, SeatInfo},
    Balance, Kernel, NodeId, Span,
};
use quipu_worker_core::{keys::EphemeralKey, Signer};
use std::{sync::Arc, time::Duration};

/// Positions of a step of a prompt.
pub const STEP: u32 = 32;
pub const PRICE: Balance = 10;
pub const FUNDS: Balance = 1_000_000;

/// What is to be built. Nodes are numbered from 1 on in the order in which they are added; the
/// router prefers lower numbers.
pub struct WorldBuilder {
    kernel: Kernel,
    servers: Vec<(Span, Numerics, Option<Fault>)>,
    pub ends: ToyEnds,
    pub options: ClientOptions,
    pub funds: Balance,
}

/// What was built.
pub struct World {
    pub chain: Arc<FakeChain>,
    pub swarm: Arc<ToySwarm>,
    pub client: Client,
    pub funds: Balance,
}

pub fn consumer() -> EphemeralKey {
    EphemeralKey::from_seed(&[200; 32])
}

pub fn span(start: u16, end: u16) -> Span {
    Span { start, end }
}

/// Spans of two blocks.
pub const THIRDS: [Span; 3] = [
    Span { start: 0, end: 2 },
    Span { start: 2, end: 4 },
    Span { start: 4, end: 6 },
];

impl WorldBuilder {
    /// Exact servers.
    pub fn exact() -> Self {
        Self::new(Kernel::ReproducibleV1)
    }

    pub fn new(kernel: Kernel) -> Self {
        let options = ClientOptions {
            route_patience: Duration::ZERO,
            session_patience: Duration::from_secs(2),
            open_timeout: Duration::from_secs(2),
            step_timeout: Duration::from_secs(5),
            route_seed: Some(1),
            // Faults strike at exact positions: what is guessed would meet them early.
            draft: 0,
            ..Default::default()
        };
        WorldBuilder {
            kernel,
            servers: Vec::new(),
            ends: ToyEnds::default(),
            options,
            funds: FUNDS,
        }
    }

    pub fn server(self, span: Span, fault: Option<Fault>) -> Self {
        let numerics = match self.kernel {
            Kernel::ReproducibleV1 => Numerics::Exact,
            _ => Numerics::Tolerant { machine: 1 },
        };
        self.server_with(span, numerics, fault)
    }

    pub fn server_with(mut self, span: Span, numerics: Numerics, fault: Option<Fault>) -> Self {
        self.servers.push((span, numerics, fault));
        self
    }

    /// Servers 1, 2, 3 in thirds, and 4, 5, 6 the same again; `fault` at the one of 1 to 3 that
    /// holds the `at`-th third.
    pub fn doubled(mut self, at: usize, fault: Fault) -> Self {
        for (place, third) in THIRDS.iter().enumerate() {
            self = self.server(*third, (place == at).then_some(fault));
        }
        THIRDS
            .iter()
            .fold(self, |builder, third| builder.server(*third, None))
    }

    pub fn build(self) -> World {
        let chain = Arc::new(FakeChain::new(self.kernel));
        let profile = profile(self.kernel).digest();
        let mut swarm = ToySwarm::default();
        for (node, (span, numerics, fault)) in (1..).zip(self.servers) {
            let server = ToyServer::new(chain.clone(), node, span, profile, numerics, fault);
            swarm.servers.insert(node, Arc::new(server));
            chain.0.lock().roster.push(NodeInfo {
                id: node,
                subnet: SUBNET,
                coldkey: [node as u8; 32],
                hotkey: hotkey(node).public(),
                peer_id: peer(node).try_into().unwrap(),
                self_bond: 0,
                pending_slash: 0,
                seat: Some(SeatInfo {
                    span,
                    price: PRICE,
                    profile,
                }),
            });
        }
        chain.0.lock().free.insert(consumer().public(), self.funds);
        let swarm = Arc::new(swarm);
        let ends: Arc<dyn Ends> = Arc::new(self.ends);
        let signer = Arc::new(consumer());
        let client = Client::new(chain.clone(), swarm.clone(), ends, signer, self.options);
        World {
            chain,
            swarm,
            client,
            funds: self.funds,
        }
    }
}

/// `length` tokens that depend on `seed`.
pub fn prompt(seed: u32, length: u32) -> Vec<u32> {
    (0..length)
        .map(|i| (i * 31 + seed * 17 + i * i * seed) % super::toy::VOCAB)
        .collect()
}

pub fn sampling(max_tokens: u32) -> SamplingOptions {
    SamplingOptions {
        max_tokens,
        ..Default::default()
    }
}

impl World {
    pub async fn generate(&self, prompt: &[u32], tokens: u32) -> Result<Generation, ClientError> {
        let prompt = Prompt::Tokens(prompt.to_vec());
        self.ask(Request::new(SUBNET, prompt, sampling(tokens)))
            .await
    }

    /// Generates, and checks that events and result tell the same, and what holds of every
    /// session, however it went.
    pub async fn ask(&self, request: Request) -> Result<Generation, ClientError> {
        let (mut text, mut tokens) = (String::new(), Vec::new());
        let result = self
            .client
            .generate(request, |event| match event {
                Event::Token { id, text: piece } => {
                    tokens.push(id);
                    text.push_str(piece);
                }
                Event::Withdrawn { .. } => {
                    tokens.clear();
                    text.clear();
                }
                _ => {}
            })
            .await;
        if let Ok(generation) = &result {
            assert_eq!((&generation.text, &generation.tokens), (&text, &tokens));
        }
        self.check_money();
        result
    }

    /// No server gets more than its cap or than it served, the deposit is shared out exactly, and
    /// what the client says was paid is what the chain says.
    pub fn check_money(&self) {
        let state = self.chain.0.lock();
        for session in state.sessions.values() {
            let mut earned = 0;
            for server in &session.servers {
                assert!(server.earned <= server.cap, "{server:?}");
                let blocks = Balance::from(server.span.len());
                assert_eq!(
                    server.earned,
                    server.price * blocks * Balance::from(server.positions)
                );
                earned += server.earned;
            }
            assert!(earned <= session.deposit);
        }
        let spent: Balance = state
            .sessions
            .values()
            .map(|session| match session.receipt_root {
                Some(_) => session.servers.iter().map(|server| server.earned).sum(),
                None => session.deposit,
            })
            .sum();
        assert_eq!(state.free[&consumer().public()] + spent, self.funds);
    }

    /// Positions that each node of the only session was paid for.
    pub fn paid(&self) -> Vec<(NodeId, u32)> {
        let session = self.chain.only_session();
        let served = session.servers.iter().filter(|server| server.positions > 0);
        let mut paid: Vec<(NodeId, u32)> = served
            .map(|server| (server.node, server.positions))
            .collect();
        paid.sort();
        paid
    }
}
