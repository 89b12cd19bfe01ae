//! Starts a network.

use crate::{
    behaviour,
    bootstrap::bootstrap_peer,
    config::NetworkConfig,
    dials::Dials,
    driver::{Driver, Listening},
    error::NetworkError,
    handle::{Inner, NetworkHandle},
    limits::{COMMAND_QUEUE, INBOUND_QUEUE, REFUSALS},
    metrics::NetworkMetrics,
    queries::Queries,
    records::KeyDirectory,
    server::IncomingStreams,
    warden::Warden,
};
use libp2p::{multiaddr::Protocol, Multiaddr};
use std::{
    collections::HashMap,
    net::{IpAddr, TcpListener},
    sync::Arc,
};
use tokio::sync::{mpsc, watch, Semaphore};

/// The network of one peer.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Starts the task that owns the swarm. Must be called within a tokio runtime. Bind errors come
    /// back from here; where port 0 was asked for, [`NetworkHandle::listen_addresses`] says what it
    /// became. `keys` is asked for each record that a peer wants stored.
    ///
    /// Cancel-safe: it does not wait for anything.
    pub async fn spawn(
        config: NetworkConfig,
        keys: Arc<dyn KeyDirectory>,
        metrics: NetworkMetrics,
    ) -> Result<(NetworkHandle, IncomingStreams), NetworkError> {
        let mut swarm = behaviour::build(&config)?;
        for address in &config.bootstrap {
            let peer = bootstrap_peer(address)?;
            swarm
                .behaviour_mut()
                .kad
                .add_address(&peer, address.clone());
        }
        let mut listening = Listening::default();
        for address in &config.listen {
            check_free(address)?;
            let id = swarm
                .listen_on(address.clone())
                .map_err(|error| NetworkError::Listen {
                    address: address.clone(),
                    reason: error.to_string(),
                })?;
            listening.pending.insert(id);
        }
        for address in &config.external {
            swarm.add_external_address(address.clone());
        }
        if !config.bootstrap.is_empty() && swarm.behaviour_mut().kad.bootstrap().is_err() {
            tracing::warn!("no bootstrap peer can be used: only we ourselves are named");
        }

        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let (incoming, streams) = IncomingStreams::channel(INBOUND_QUEUE);
        let (listening_sender, listening) = watch::channel(listening);
        let warden = Warden::new(config.frame_rate, metrics, Some(commands.downgrade()));
        let local = *swarm.local_peer_id();
        let driver = Driver {
            swarm,
            commands: command_queue,
            incoming,
            listening: listening_sender,
            warden: warden.clone(),
            keys,
            clock: config.clock.clone(),
            genesis: config.genesis,
            role: config.role,
            stream_idle: config.stream_idle,
            queries: Queries::default(),
            dials: Dials::default(),
            connections: HashMap::new(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        };
        tokio::spawn(driver.run());
        let handle = NetworkHandle::new(Inner {
            local,
            external: config.external,
            genesis: config.genesis,
            open_timeout: config.open_timeout,
            step_timeout: config.step_timeout,
            clock: config.clock,
            commands,
            listening,
            warden,
            queries: Inner::permits(),
        });
        Ok((handle, streams))
    }
}

/// Is nobody listening at a TCP address? The transport shares its ports, so that it would bind one
/// that another process listens on, and the two would take each other's connections.
fn check_free(address: &Multiaddr) -> Result<(), NetworkError> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    let Some(Protocol::Tcp(port)) = parts.next() else {
        return Ok(());
    };
    match TcpListener::bind((ip, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(NetworkError::Listen {
            address: address.clone(),
            reason: error.to_string(),
        }),
    }
}
