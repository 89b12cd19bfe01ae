//! The task that owns the swarm.

use crate::{
    behaviour::{Behaviour, BehaviourEvent},
    command::Command,
    config::Role,
    dials::Dials,
    framing::{response_frame, FrameWriter},
    limits::{HOUSEKEEPING, PING_FAILURES, REFUSE_TIMEOUT, WIND_DOWN},
    peers::{Offence, Unwelcome},
    queries::Queries,
    records::{Clock, KeyDirectory},
    serve::{Accepted, Wire},
    server::ServerStream,
    warden::Warden,
};
use futures::StreamExt;
use libp2p::{
    core::transport::ListenerId,
    identify,
    multiaddr::Protocol,
    ping,
    swarm::{ConnectionId, SwarmEvent},
    Multiaddr, PeerId, Stream, Swarm,
};
use quipu_primitives::Digest;
use quipu_protocol::{limits::MAX_ADDRESSES, Refusal, RefusalCode, Response, KAD_PROTOCOL};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch, Semaphore},
    time::{interval, sleep_until, timeout, MissedTickBehavior},
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// Where we listen, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listening {
    pub(crate) addresses: Vec<Multiaddr>,
    /// Listeners that have no address yet.
    pub(crate) pending: HashSet<ListenerId>,
}

/// What is known of an open connection.
pub(crate) struct Connection {
    /// Both ends are on this machine.
    is_local: bool,
    failed_pings: u32,
}

/// The swarm with all that is known of it.
pub(crate) struct Driver {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) incoming: mpsc::Sender<ServerStream>,
    pub(crate) listening: watch::Sender<Listening>,
    pub(crate) warden: Arc<Warden>,
    pub(crate) keys: Arc<dyn KeyDirectory>,
    pub(crate) clock: Clock,
    pub(crate) genesis: Digest,
    pub(crate) role: Role,
    pub(crate) stream_idle: Duration,
    pub(crate) queries: Queries,
    pub(crate) dials: Dials,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    pub(crate) refusals: Arc<Semaphore>,
}

impl Driver {
    /// Runs until it is told to shut down, or the last handle is dropped.
    pub(crate) async fn run(mut self) {
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reply = loop {
            let release = self.warden.book.next_release();
            let released = async {
                match release {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => break Some(reply),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                () = released => self.release(),
                _ = housekeeping.tick() => self.tidy(),
            }
        };
        self.wind_down().await;
        // Everything closes before the answer is given, the listening sockets too.
        drop(self);
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }

    async fn wind_down(&mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let close = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(WIND_DOWN, close).await.is_err() {
            tracing::debug!("connections were cut: they did not close in time");
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect {
                peer,
                addresses,
                reply,
            } => self.connect(peer, addresses, reply),
            Command::OpenStream { peer, reply } => {
                self.swarm.behaviour_mut().serve.open(peer, reply);
            }
            Command::AddAddress { peer, address } => {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
            Command::Publish { record, reply } => self.publish(record, reply),
            Command::Find { key, found } => self.find(key, found),
            Command::Locate { peer, reply } => self.locate(peer, reply),
            Command::Disconnect { peer } => self.exclude(peer),
            // Handled where the loop ends.
            Command::Shutdown { reply } => drop(reply),
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                let is_local = is_loopback(endpoint.get_remote_address());
                self.connections.insert(
                    connection_id,
                    Connection {
                        is_local,
                        failed_pings: 0,
                    },
                );
                let now = Instant::now();
                self.warden
                    .book
                    .connections(&peer_id, num_established.get(), now);
                self.warden.metrics.connections.inc();
                if self.warden.book.is_banned(&peer_id, now) {
                    self.exclude(peer_id);
                }
                self.dialled(&peer_id);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.connections.remove(&connection_id);
                self.warden
                    .book
                    .connections(&peer_id, num_established, Instant::now());
                self.warden.metrics.connections.dec();
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                tracing::debug!(peer = ?peer_id, %error, "dial failed");
                self.warden.metrics.dial_failures.inc();
                if let Some(peer) = peer_id {
                    self.dial_failed(peer, connection_id, &error);
                }
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                tracing::info!(%address, "listening");
                self.listening.send_modify(|listening| {
                    listening.pending.remove(&listener_id);
                    listening.addresses.push(address);
                });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.send_modify(|listening| {
                    listening.addresses.retain(|known| *known != address);
                });
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                tracing::warn!(?addresses, ?reason, "a listener closed");
                self.listening.send_modify(|listening| {
                    listening.pending.remove(&listener_id);
                    listening
                        .addresses
                        .retain(|known| !addresses.contains(known));
                });
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener failed to accept");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "an incoming connection failed");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Serve(Accepted { peer, wire }) => self.accept(peer, wire),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            }) => self.identified(connection_id, peer_id, info),
            BehaviourEvent::Ping(event) => self.pinged(event),
            _ => {}
        }
    }

    /// A peer said where it listens. Servers of the DHT are remembered there, others are not.
    fn identified(&mut self, connection: ConnectionId, peer: PeerId, info: identify::Info) {
        if !info
            .protocols
            .iter()
            .any(|protocol| protocol.as_ref() == KAD_PROTOCOL)
        {
            return;
        }
        let is_local = self
            .connections
            .get(&connection)
            .is_some_and(|known| known.is_local);
        for address in info.listen_addrs.into_iter().take(MAX_ADDRESSES) {
            // Its loopback is not ours, unless it runs on this machine.
            if is_local || !is_loopback(&address) {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
        }
    }

    fn pinged(&mut self, event: ping::Event) {
        let Some(connection) = self.connections.get_mut(&event.connection) else {
            return;
        };
        match event.result {
            Ok(sample) => {
                connection.failed_pings = 0;
                self.warden
                    .book
                    .measured(&event.peer, sample, Instant::now());
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                connection.failed_pings += 1;
                tracing::debug!(peer = %event.peer, %error, "ping failed");
                if connection.failed_pings >= PING_FAILURES {
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    /// Hands a stream to the server, or says why not.
    fn accept(&mut self, peer: PeerId, Wire { stream, cut }: Wire) {
        let metrics = &self.warden.metrics;
        let slot = match self.warden.admit(peer, cut) {
            Ok(slot) => slot,
            Err(Unwelcome::Banned) => {
                metrics.streams_refused("banned").inc();
                return;
            }
            Err(Unwelcome::TooMany) => {
                metrics.streams_refused("too_many").inc();
                self.warden.offend(&peer, Offence::Streams);
                return self.refuse(stream, "you have as many streams open as one peer may");
            }
        };
        match self.incoming.try_reserve() {
            Ok(place) => place.send(ServerStream::new(
                peer.to_bytes(),
                stream.compat(),
                slot,
                self.stream_idle,
            )),
            Err(_) => {
                metrics.streams_refused("busy").inc();
                drop(slot);
                self.refuse(stream, "the server takes no further streams now");
            }
        }
    }

    /// Writes a refusal beside the loop, if not too many are being written.
    fn refuse(&self, stream: Stream, why: &str) {
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else {
            return;
        };
        let refusal = Response::Refused(Refusal::new(RefusalCode::Busy, why));
        tokio::spawn(async move {
            let Ok(frame) = response_frame(&refusal, None) else {
                return;
            };
            let mut writer = FrameWriter::new(stream.compat());
            let write = async {
                writer.write(&frame).await?;
                writer.close().await
            };
            let _ = timeout(REFUSE_TIMEOUT, write).await;
            drop(permit);
        });
    }

    /// Closes all connections to a peer, and lets it not come back before its ban ends.
    fn exclude(&mut self, peer: PeerId) {
        let behaviour = self.swarm.behaviour_mut();
        behaviour.blocked.block_peer(peer);
        behaviour.kad.remove_peer(&peer);
    }

    /// Lets those back whose ban has ended.
    fn release(&mut self) {
        for peer in self.warden.book.released(Instant::now()) {
            tracing::debug!(%peer, "no longer banned");
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
    }

    fn tidy(&mut self) {
        let now = Instant::now();
        for peer in self.warden.book.tidy(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.swarm
            .behaviour_mut()
            .kad
            .store_mut()
            .retain(|_, record| !record.is_expired(now));
    }
}

pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}
