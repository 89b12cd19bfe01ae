//! The swarm: transports and behaviours.

use crate::{
    config::{NetworkConfig, Role},
    discreet::Discreet,
    error::NetworkError,
    limits::{
        CONNECT_TIMEOUT, IDLE_CONNECTION, MAX_PENDING_CONNECTIONS, MAX_RECORDS, OUTGOING_RESERVE,
        PING_EVERY, PING_TIMEOUT, QUERY_TIMEOUT, REFRESH,
    },
    serve,
};
use libp2p::{
    allow_block_list::{self, BlockedPeers},
    connection_limits::{self, ConnectionLimits},
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OrTransport},
        upgrade::Version,
    },
    dns::{self, ResolverConfig, ResolverOpts},
    identify,
    identity::Keypair,
    kad::{self, store::MemoryStore, store::MemoryStoreConfig, StoreInserts},
    noise, ping, quic,
    swarm::{self, NetworkBehaviour},
    tcp, yamux, PeerId, StreamProtocol, Swarm, Transport,
};
use quipu_protocol::{
    limits::{ANNOUNCEMENT_TTL, MAX_ANNOUNCEMENT, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER},
    IDENTIFY_PROTOCOL, KAD_PROTOCOL,
};

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that what is not allowed reaches no other behaviour.
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) identify: Discreet,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) serve: serve::Behaviour,
}

type Base = OrTransport<Boxed<(PeerId, StreamMuxerBox)>, Boxed<(PeerId, StreamMuxerBox)>>;

/// TCP with Noise and Yamux, and QUIC. Nagle's algorithm is off at both ends: a step is one small
/// write that must not wait for the next.
fn base(keypair: &Keypair) -> Result<Base, NetworkError> {
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetworkError::Transport(format!("Noise: {error}")))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(CONNECT_TIMEOUT)
        .boxed();
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = CONNECT_TIMEOUT;
    let quic = quic::tokio::Transport::new(config)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    Ok(OrTransport::new(tcp, quic))
}

fn transport(keypair: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetworkError> {
    let dns = match dns::tokio::Transport::system(base(keypair)?) {
        Ok(dns) => dns,
        Err(error) => {
            tracing::warn!(%error, "no resolver is configured: names in addresses can't be used");
            let (none, options) = (ResolverConfig::new(), ResolverOpts::default());
            dns::tokio::Transport::custom(base(keypair)?, none, options)
        }
    };
    Ok(dns.map(|output, _| output.into_inner()).boxed())
}

fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_incoming(Some(MAX_CONNECTIONS - OUTGOING_RESERVE))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(MAX_PENDING_CONNECTIONS))
}

fn kademlia(local: PeerId, role: Role) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStoreConfig {
        max_records: MAX_RECORDS,
        // The store refuses what is as long as its limit.
        max_value_bytes: MAX_ANNOUNCEMENT + 1,
        max_providers_per_key: 1,
        max_provided_keys: 0,
    };
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_record_ttl(Some(ANNOUNCEMENT_TTL))
        .set_record_filtering(StoreInserts::FilterBoth)
        // Servers publish anew each minute, which is all the replication that records need.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_periodic_bootstrap_interval(Some(REFRESH));
    let store = MemoryStore::with_config(local, store);
    let mut kad = kad::Behaviour::with_config(local, store, config);
    kad.set_mode(Some(match role {
        Role::Client => kad::Mode::Client,
        Role::Server => kad::Mode::Server,
    }));
    kad
}

/// The swarm of a configuration. It listens nowhere yet.
pub(crate) fn build(config: &NetworkConfig) -> Result<Swarm<Behaviour>, NetworkError> {
    let local = config.keypair.public().to_peer_id();
    let agent = concat!("quipu/", env!("CARGO_PKG_VERSION"));
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.into(), config.keypair.public())
        .with_agent_version(agent.into())
        .with_push_listen_addr_updates(true);
    let ping = ping::Config::new()
        .with_interval(PING_EVERY)
        .with_timeout(PING_TIMEOUT);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits()),
        blocked: allow_block_list::Behaviour::default(),
        identify: Discreet::new(identify, &config.external),
        ping: ping::Behaviour::new(ping),
        kad: kademlia(local, config.role),
        serve: serve::Behaviour::new(config.role == Role::Server),
    };
    let swarm = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_CONNECTION);
    Ok(Swarm::new(
        transport(&config.keypair)?,
        behaviour,
        local,
        swarm,
    ))
}
