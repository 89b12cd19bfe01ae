//! What a node stands on, whatever it does: its model, the chain, its keys, its way into the swarm.

use super::blocking;
use crate::{
    chain_sync::Roster,
    config::NodeConfig,
    error::WorkerError,
    model::ModelMismatch,
    net::RosterKeys,
    telemetry::{self, Metrics},
};
use prometheus_client::registry::Registry;
use quipu_chain::{connect, ConnectOptions};
use quipu_engine::Model;
use quipu_network::{
    bootstrap_peer, load_or_create_key, IncomingStreams, Keypair, Multiaddr, Network,
    NetworkConfig, NetworkHandle, NetworkMetrics, PeerId, Role,
};
use quipu_worker_core::{ports::SharedChain, Signer};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};
use tracing::info;

/// Between two tries to reach a bootstrap peer.
const BOOTSTRAP_RETRY: Duration = Duration::from_secs(30);

/// What a node stands on. Nothing of it is compared with the chain.
pub(super) struct Ground {
    pub(super) key: Keypair,
    pub(super) peer: PeerId,
    pub(super) model: Arc<Model>,
    pub(super) chain: SharedChain,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) metrics: Metrics,
    network_metrics: NetworkMetrics,
    /// Where metrics and health are served, with what is served there.
    pub(super) endpoint: Option<(TcpListener, Registry)>,
}

impl Ground {
    /// Opens the model, binds the endpoint, and connects to the chain.
    pub(super) async fn prepare(config: &NodeConfig) -> Result<Self, WorkerError> {
        // What is wrong here is wrong at once, not after waiting for a chain.
        let key = load_or_create_key(&config.peer_key())?;
        let path = config.model.clone();
        let model = blocking("the model can't be opened", move || {
            Ok(Arc::new(Model::open(&path).map_err(ModelMismatch::from)?))
        })
        .await?;
        let mut registry = Registry::with_prefix("quipu_worker");
        let metrics = Metrics::register(&mut registry);
        let network_metrics = NetworkMetrics::register(&mut registry);
        let endpoint = match config.metrics {
            None => None,
            Some(address) => {
                let what = format!("metrics can't be served at {address}; is the port taken?");
                let listener = telemetry::bind(address)
                    .await
                    .map_err(WorkerError::io(what))?;
                if let Ok(address) = listener.local_addr() {
                    info!(%address, "metrics are served");
                }
                Some((listener, registry))
            }
        };
        let chain = connect(&config.chain, ConnectOptions::default()).await?;
        Ok(Ground {
            peer: key.public().to_peer_id(),
            key,
            model,
            chain: Arc::new(chain),
            signer: Arc::new(config.hotkey.clone()),
            metrics,
            network_metrics,
            endpoint,
        })
    }

    /// Joins the swarm in a role; `shape` says what else is special about it.
    pub(super) async fn join(
        &self,
        config: &NodeConfig,
        role: Role,
        roster: watch::Receiver<Roster>,
        shape: impl FnOnce(&mut NetworkConfig),
    ) -> Result<(NetworkHandle, IncomingStreams), WorkerError> {
        let mut network = NetworkConfig::new(self.key.clone(), role, self.chain.genesis());
        network.bootstrap = config.bootstrap.clone();
        shape(&mut network);
        let keys = Arc::new(RosterKeys {
            subnet: config.subnet,
            roster,
        });
        let (network, streams) =
            Network::spawn(network, keys, self.network_metrics.clone()).await?;
        // Who reaches nobody goes on all the same: others may come to it.
        let ourselves =
            |address: &Multiaddr| bootstrap_peer(address).is_ok_and(|named| named == self.peer);
        let bootstrap = config.bootstrap.iter().filter(|it| !ourselves(it));
        for address in bootstrap.cloned() {
            let network = network.clone();
            tokio::spawn(async move { network.keep_reaching(address, BOOTSTRAP_RETRY).await });
        }
        Ok((network, streams))
    }
}
