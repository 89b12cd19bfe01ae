//! From a subnet's roster to an open session.

use crate::{
    chain_of_servers::candidate,
    error::ClientError,
    generate::Client,
    link::Server,
    payment::{Account, Ledger},
    routing::{self, Candidate, NoRoute, Plan, Wish, UNKNOWN_ROUND_TRIP},
    sampling::Nonce,
};
use futures::future::join_all;
use parking_lot::Mutex;
use quipu_primitives::{
    cost,
    views::{NodeInfo, SessionInfo, SubnetInfo},
    AccountBytes, Balance, NodeId, NumericProfile, SubnetId,
};
use quipu_protocol::{Announcement, ServerState};
use quipu_worker_core::{
    keys::EphemeralKey,
    ports::{Call, ChainError, ChainEvent},
    Signer,
};
use rand::{rngs::StdRng, RngCore};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout, Instant};
use tracing::{debug, warn};

/// Servers whose round trip is measured before a route is chosen.
const MAX_PROBES: usize = 32;
/// How long a server may take to be reached by a probe.
const PROBE: Duration = Duration::from_secs(3);
/// Between two looks for a route.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A route and the servers it is made of.
pub(crate) struct Route {
    pub profile: NumericProfile,
    /// Primaries and stand-bys, and nobody else.
    pub servers: Vec<Server>,
    /// Indices of the primaries, in order of their blocks.
    pub primaries: Vec<usize>,
}

/// A session on chain.
pub(crate) struct OpenSession {
    pub ledger: Arc<Mutex<Ledger>>,
    pub route: Route,
}

impl Client {
    /// Looks for a route until there is one or patience ends.
    pub(crate) async fn find_route(
        &self,
        subnet: &SubnetInfo<AccountBytes>,
        wish: &Wish,
        rng: &mut StdRng,
    ) -> Result<Route, ClientError> {
        let give_up = Instant::now() + self.options.route_patience;
        loop {
            let roster = self.chain.roster(subnet.id).await?;
            let servers = self.usable_servers(subnet.id, &roster).await;
            let reason = match self.best_route(subnet, &roster, servers, wish, rng) {
                Ok(route) => return Ok(route),
                Err(reason) => reason,
            };
            if Instant::now() + LOOK_AGAIN > give_up {
                return Err(ClientError::NoRoute {
                    subnet: subnet.id,
                    reason,
                });
            }
            debug!(%reason, "no route yet");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The cheapest route within one profile: stand-bys must give the same bits, and the
    /// activations have one type.
    fn best_route(
        &self,
        subnet: &SubnetInfo<AccountBytes>,
        roster: &[NodeInfo<AccountBytes>],
        servers: Vec<Server>,
        wish: &Wish,
        rng: &mut StdRng,
    ) -> Result<Route, NoRoute> {
        let manifest = &subnet.manifest;
        let blocks = manifest.config.blocks;
        let mut best: Option<(u64, Route)> = None;
        let mut reason = NoRoute {
            usable: 0,
            reached: 0,
            blocks,
        };
        for profile in &manifest.profiles {
            let digest = profile.digest();
            if self.options.profile.is_some_and(|wanted| wanted != digest) {
                continue;
            }
            let seated_with = |node: NodeId| {
                let seat = roster.iter().find(|info| info.id == node)?.seat.as_ref()?;
                (seat.profile == digest).then_some(())
            };
            let servers: Vec<&Server> = servers
                .iter()
                .filter(|server| seated_with(server.node).is_some())
                .collect();
            let candidates: Vec<Candidate> =
                servers.iter().map(|server| candidate(server)).collect();
            let (standbys, most) = (self.options.standbys, self.options.max_servers);
            match routing::plan(blocks, &candidates, wish, standbys, most, rng) {
                Ok((total, plan)) if best.as_ref().is_none_or(|(least, _)| total < *least) => {
                    best = Some((total, Route::new(profile.clone(), &servers, plan)));
                }
                Ok(_) => {}
                Err(none) if none.reached >= reason.reached => reason = none,
                Err(_) => {}
            }
        }
        best.map(|(_, route)| route).ok_or(reason)
    }

    /// Seated servers that say they are online and can be reached.
    async fn usable_servers(
        &self,
        subnet: SubnetId,
        roster: &[NodeInfo<AccountBytes>],
    ) -> Vec<Server> {
        let now = Instant::now();
        let allowed = |node| self.bans.lock().allows(node, now);
        let seated: Vec<(NodeId, AccountBytes)> = roster
            .iter()
            .filter(|node| node.seat.is_some() && allowed(node.id))
            .map(|node| (node.id, node.hotkey))
            .collect();
        let genesis = self.chain.genesis();
        let announced = self.peers.announcements(genesis, subnet, &seated).await;
        let mut servers: Vec<Server> = announced
            .into_iter()
            .filter_map(|said| server(roster, said))
            .collect();
        self.measure(&mut servers).await;
        servers.retain(|server| self.bans.lock().allows(server.node, Instant::now()));
        servers
    }

    /// Sets the round trips. Servers that were never reached are dialled now; one that can't be is
    /// banned, so that no session is opened for it.
    async fn measure(&self, servers: &mut [Server]) {
        let limit = PROBE.min(self.options.open_timeout);
        let unknown: Vec<&Server> = servers
            .iter()
            .filter(|server| self.peers.round_trip(&server.peer).is_none())
            .take(MAX_PROBES)
            .collect();
        let probes = unknown.into_iter().map(|server| async move {
            let opened = timeout(limit, self.peers.open(&server.peer, &server.addresses)).await;
            (server.node, matches!(opened, Ok(Ok(_))))
        });
        for (node, reached) in join_all(probes).await {
            if !reached {
                warn!(node, "an announced server can't be reached");
                self.bans.lock().failed(node, Instant::now());
            }
        }
        for server in servers {
            let measured = self.peers.round_trip(&server.peer);
            server.round_trip = measured.unwrap_or(UNKNOWN_ROUND_TRIP);
        }
    }

    /// Opens a session for a route on chain.
    pub(crate) async fn open_session(
        &self,
        subnet: SubnetId,
        mut route: Route,
        positions: u32,
        nonce: &Nonce,
    ) -> Result<OpenSession, ClientError> {
        let caps = route.caps(positions)?;
        let needed = caps
            .iter()
            .try_fold(0, |sum: Balance, (_, cap)| sum.checked_add(*cap));
        let needed = needed.ok_or(ClientError::PriceOverflow)?;
        let free = self.chain.free_balance(self.signer.public()).await?;
        if free < needed {
            return Err(ClientError::Funds { needed, free });
        }
        let mut secret = [0; 32];
        rand::rngs::OsRng.fill_bytes(&mut secret);
        let key = || EphemeralKey::from_seed(&secret);
        let call = Call::OpenSession {
            subnet,
            session_key: key().public(),
            caps,
            duration: self.options.duration,
            seed_commitment: nonce.commitment(),
            integrator: self.options.integrator,
        };
        let included = self.chain.submit(self.signer.as_ref(), call).await?;
        let id = included.events.iter().find_map(|event| match event {
            ChainEvent::SessionOpened {
                session,
                subnet: of,
            } if *of == subnet => Some(*session),
            _ => None,
        });
        let id = id.ok_or_else(|| {
            ChainError::Decode("the block of the session has no `SessionOpened`".into())
        })?;
        // From here on the session can be settled, whatever happens.
        let genesis = self.chain.genesis();
        let empty = Ledger::new(genesis, id, key(), BTreeMap::new());
        let ledger = Arc::new(Mutex::new(empty));
        self.open.lock().entry(id).or_insert_with(|| ledger.clone());
        let info = self.await_session(id).await?;
        if (info.consumer, info.session_key) != (self.signer.public(), key().public()) {
            let mut open = self.open.lock();
            if open.get(&id).is_some_and(|held| Arc::ptr_eq(held, &ledger)) {
                open.remove(&id);
            }
            return Err(ClientError::Replaced(id));
        }
        // It is ours, whoever was told the same id by a block that was replaced.
        self.open.lock().insert(id, ledger.clone());
        let accounts = info
            .servers
            .iter()
            .map(|server| {
                (
                    server.node,
                    Account::new(server.span, server.price, server.cap),
                )
            })
            .collect();
        *ledger.lock() = Ledger::new(genesis, id, key(), accounts);
        if !route.adopt(&info) {
            self.settle(&ledger).await?;
            return Err(ClientError::RosterChanged(subnet));
        }
        Ok(OpenSession { ledger, route })
    }

    /// The record of a session that was opened a moment ago.
    async fn await_session(&self, id: u64) -> Result<SessionInfo<AccountBytes>, ClientError> {
        let give_up = Instant::now() + self.options.session_patience;
        loop {
            if let Some(info) = self.chain.session(id).await? {
                return Ok(info);
            }
            if Instant::now() > give_up {
                let lost = format!("session {id} was opened, but is not on chain");
                return Err(ChainError::Decode(lost).into());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A seated node that says it is online, with the very span of its seat.
fn server(roster: &[NodeInfo<AccountBytes>], said: Announcement) -> Option<Server> {
    let node = roster.iter().find(|node| node.id == said.node)?;
    let seat = node.seat.as_ref()?;
    if said.state != ServerState::Online || said.span != seat.span {
        return None;
    }
    Some(Server {
        node: node.id,
        hotkey: node.hotkey,
        peer: node.peer_id.to_vec(),
        addresses: said.addresses,
        span: seat.span,
        price: seat.price,
        round_trip: UNKNOWN_ROUND_TRIP,
        decode: Duration::from_micros(said.decode_micros.into()),
        free_positions: said.free_positions,
    })
}

impl Route {
    fn new(profile: NumericProfile, servers: &[&Server], plan: Plan) -> Self {
        let named = plan.primaries.iter().chain(&plan.standbys);
        Route {
            profile,
            servers: named.map(|&index| servers[index].clone()).collect(),
            primaries: (0..plan.primaries.len()).collect(),
        }
    }

    /// What each server can be paid at most.
    fn caps(&self, positions: u32) -> Result<Vec<(NodeId, Balance)>, ClientError> {
        let cap = |server: &Server| {
            let cap = cost(server.price, server.span.len(), positions);
            Some((server.node, cap?))
        };
        self.servers
            .iter()
            .map(cap)
            .collect::<Option<_>>()
            .ok_or(ClientError::PriceOverflow)
    }

    /// Takes prices over as the chain fixed them. False if a server is missing, has another span,
    /// or asks more than the caps were made for.
    fn adopt(&mut self, info: &SessionInfo<AccountBytes>) -> bool {
        self.servers.iter_mut().all(|server| {
            let fixed = info.servers.iter().find(|fixed| fixed.node == server.node);
            let fits = |fixed: &&quipu_primitives::views::SessionServer| {
                fixed.span == server.span && fixed.price <= server.price
            };
            match fixed.filter(fits) {
                Some(fixed) => {
                    server.price = fixed.price;
                    true
                }
                None => false,
            }
        })
    }
}
