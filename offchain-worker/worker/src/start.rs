//! From a valid configuration to a running worker.

use crate::{
    audit::{ModelReplayer, Replayer},
    chain_sync::ChainSync,
    compute::{measure, ExactCompute, Rates, SpanCompute},
    config::{Blocks, Command, ValidConfig},
    daemon::{self, random_pause, Balancing, Ended, Parts, Stop, SESSION_PATIENCE},
    error::WorkerError,
    model::{self, ModelMismatch},
    net::{with_ourselves, NetworkAnnouncer, RosterKeys},
    preflight::{check_peer, find_place, memory_of, Place},
    redeem::Book,
    runner::SwarmRunner,
    telemetry::{self, Metrics},
};
use prometheus_client::registry::Registry;
use quipu_chain::{connect, ConnectOptions};
use quipu_engine::{backend::FlexDevice, CpuSpan, Model};
use quipu_network::{
    bootstrap_peer, load_or_create_key, system_clock, Multiaddr, Network, NetworkConfig,
    NetworkHandle, NetworkMetrics, PeerId, Role,
};
use quipu_primitives::{Kernel, Span};
use quipu_protocol::limits::DRAIN;
use quipu_worker_core::{
    ports::{Compute, SharedChain},
    serve::Identity,
    Signer,
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::info;

/// Longest wait before a server chooses its blocks by itself.
const JOIN_JITTER: Duration = Duration::from_secs(10);

/// Between two tries to reach a bootstrap peer.
const BOOTSTRAP_RETRY: Duration = Duration::from_secs(30);

/// Does what the command line asks for.
pub async fn execute(command: Command, stop: Stop) -> Result<(), WorkerError> {
    match command {
        Command::Serve(args) => serve(args.with_file()?.validate()?, stop).await,
        Command::Digest(args) => {
            let printed = blocking("the model can't be read", move || {
                let model = Model::open(&args.model).map_err(ModelMismatch::from)?;
                Ok(model::digests(&model)?)
            });
            println!("{:#}", printed.await?);
            Ok(())
        }
        Command::Id(args) => {
            let key = load_or_create_key(&crate::config::peer_key(&args.base_path))?;
            let peer = key.public().to_peer_id();
            let bytes = format!("0x{}", hex::encode(peer.to_bytes()));
            println!(
                "{:#}",
                json!({ "peer_id": peer.to_string(), "multihash": bytes })
            );
            Ok(())
        }
    }
}

/// Runs on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other)
        .map_err(WorkerError::io(what))?
}

/// Serves until it is stopped; on other blocks when they need it more.
pub async fn serve(config: ValidConfig, stop: Stop) -> Result<(), WorkerError> {
    let mut blocks = config.blocks;
    loop {
        let (parts, network) = tokio::select! {
            // Nothing was begun that would have to be ended.
            _ = stop.gently.cancelled() => return Ok(()),
            _ = stop.now.cancelled() => return Ok(()),
            prepared = prepare(&config, blocks) => prepared?,
        };
        let ended = daemon::run(parts, stop.clone()).await;
        network.shutdown().await;
        match ended? {
            Ended::Stopped => return Ok(()),
            Ended::Move(span) => blocks = Blocks::Span(span),
        }
    }
}

/// Everything up to the seat: model, chain, node, weights, network. `blocks` are those of the
/// configuration, or those that were chosen since.
async fn prepare(
    config: &ValidConfig,
    blocks: Blocks,
) -> Result<(Parts, NetworkHandle), WorkerError> {
    // What is wrong here is wrong at once, not after waiting for a chain.
    let key = load_or_create_key(&config.peer_key())?;
    let peer: PeerId = key.public().to_peer_id();
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
    let chain: SharedChain = Arc::new(chain);
    let signer: Arc<dyn Signer> = Arc::new(config.hotkey.clone());
    let hotkey = signer.public();
    if let Blocks::Fit { .. } = blocks {
        // Servers that start together must not all see the same gap.
        let wait = JOIN_JITTER.mul_f64(rand::random());
        info!(?wait, "waiting before choosing blocks");
        tokio::time::sleep(wait).await;
    }
    let place = find_place(
        &*chain,
        hotkey,
        config.subnet,
        blocks,
        config.kv_positions,
        config.device,
        model.clone(),
    )
    .await?;
    check_peer(&place.node, &peer, &config.peer_key())?;
    let Place {
        node,
        subnet,
        span,
        profile,
    } = place;

    let (threads, positions) = (config.threads, config.kv_positions);
    let (compute, rates) = {
        let model = model.clone();
        blocking("the span can't be loaded", move || {
            load(&model, profile.kernel, span, threads, positions)
        })
        .await?
    };
    let book = Arc::<Book>::default();
    let sync = ChainSync::start(chain.clone(), config.subnet, node.id, book.clone()).await?;

    let mut network = NetworkConfig::new(key, Role::Server, chain.genesis());
    network.listen = config.listen.clone();
    network.external = config.external.clone();
    network.bootstrap = config.bootstrap.clone();
    let keys = Arc::new(RosterKeys {
        subnet: config.subnet,
        roster: sync.1.roster.clone(),
    });
    let (network, streams) = Network::spawn(network, keys, network_metrics).await?;
    for address in network.listen_addresses().await? {
        info!(address = %format!("{address}/p2p/{peer}"), "listening");
    }
    // A server that nobody can be reached from serves all the same: others may come to it.
    let ourselves = |address: &Multiaddr| bootstrap_peer(address).is_ok_and(|named| named == peer);
    let bootstrap = config.bootstrap.iter().filter(|it| !ourselves(it));
    for address in bootstrap.cloned() {
        let network = network.clone();
        tokio::spawn(async move { network.keep_reaching(address, BOOTSTRAP_RETRY).await });
    }
    // Whoever was told its blocks stays on them.
    let balancing = match config.blocks {
        Blocks::Span(_) => None,
        Blocks::Fit { memory } => Some(Balancing {
            blocks: subnet.manifest.config.blocks,
            most: memory_of(&model, profile.kernel, memory, positions)?.blocks(),
            pause: random_pause(config.look_every),
        }),
    };
    let (swarm, streams) = with_ourselves(network.clone(), streams);
    let auditor: Arc<dyn Replayer> = Arc::new(ModelReplayer::new(model.clone(), threads));
    let runner = SwarmRunner::new(model, chain.clone(), Arc::new(swarm), signer.clone());
    let (started, genesis) = (Instant::now(), chain.genesis());
    let parts = Parts {
        sync,
        book,
        me: Identity {
            genesis,
            subnet: config.subnet,
            node: node.id,
            span,
            peer: peer.to_bytes(),
            weights_root: subnet.manifest.weights_root,
            profile: profile.digest(),
            exact: profile.kernel.is_exact(),
            dtype: profile.activations,
            hidden: compute.hidden_size(),
            context: compute.context_length(),
            signer,
        },
        chain,
        peers: Arc::new(network.clone()),
        price: config.price,
        compute,
        rates,
        announcer: Arc::new(NetworkAnnouncer(network.clone())),
        incoming: Box::new(streams),
        journals: config.journals(&genesis),
        auditor: Some((auditor, config.findings(&genesis))),
        evidence: (config.evidence(&genesis), config.audit_space),
        jobs: Some((Arc::new(runner), config.jobs(&genesis))),
        clock: Arc::new(move || started.elapsed()),
        unix_clock: system_clock(),
        session_patience: SESSION_PATIENCE,
        drain: DRAIN,
        leave_on_exit: config.leave_on_exit,
        metrics,
        balancing,
        endpoint,
    };
    Ok((parts, network))
}

/// Loads the blocks and measures them. Blocks.
fn load(
    model: &Model,
    kernel: Kernel,
    span: Span,
    threads: usize,
    positions: u32,
) -> Result<(Box<dyn Compute>, Rates), WorkerError> {
    let started = Instant::now();
    let work = || {
        let (mut compute, bytes) = load_blocks(model, kernel, span, threads, positions)?;
        let took = started.elapsed();
        let rates = measure(compute.as_mut())?;
        info!(
            %span, ?kernel, threads, bytes, ?took, decode = ?rates.decode, prefill = rates.prefill,
            "blocks loaded"
        );
        Ok((compute, rates))
    };
    #[cfg(feature = "cuda")]
    if kernel == Kernel::Cuda {
        return on_device(work);
    }
    work()
}

/// Loads blocks with a cache for so many positions, and says how many bytes their weights take. Blocks.
pub(crate) fn load_blocks(
    model: &Model,
    kernel: Kernel,
    span: Span,
    threads: usize,
    positions: u32,
) -> Result<(Box<dyn Compute>, usize), WorkerError> {
    let range = usize::from(span.start)..usize::from(span.end);
    match kernel {
        Kernel::ReproducibleV1 => {
            let compute = ExactCompute::load(model, range, threads, positions)?;
            let bytes = compute.weight_bytes();
            Ok((Box::new(compute), bytes))
        }
        Kernel::FlexF32 => {
            let loaded = CpuSpan::load(model, range, &FlexDevice)?;
            let bytes = loaded.weight_bytes();
            Ok((Box::new(SpanCompute::new(loaded, positions)), bytes))
        }
        #[cfg(feature = "cuda")]
        Kernel::Cuda => {
            let device = quipu_engine::backend::CudaDevice::default();
            let loaded = quipu_engine::CudaSpan::load(model, range, &device)?;
            let bytes = loaded.weight_bytes();
            Ok((Box::new(SpanCompute::new(loaded, positions)), bytes))
        }
        #[cfg(not(feature = "cuda"))]
        Kernel::Cuda => Err(crate::config::ConfigError::NoCuda.into()),
    }
}

/// Runs what uses a device for the first time. Burn can't be asked whether there is one: it panics
/// where driver, device or libraries are missing, some of it only when a kernel is compiled.
#[cfg_attr(not(feature = "cuda"), cfg(test))]
fn on_device<T>(work: impl FnOnce() -> Result<T, WorkerError>) -> Result<T, WorkerError> {
    // What was half made is dropped with the panic, and nobody looks at it again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(WorkerError::NoDevice(
            said.unwrap_or("the reason stands above").to_owned(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_no_panic() {
        assert_eq!(on_device(|| Ok(3)).unwrap(), 3);
        let error = on_device::<()>(|| panic!("libcuda.so: {}", "not found")).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("libcuda.so: not found") && told.contains("--device cpu"),
            "{told}"
        );
        let error = on_device::<()>(|| std::panic::panic_any(7)).unwrap_err();
        assert!(error.to_string().contains("stands above"), "{error}");
        assert_eq!(
            quipu_worker_core::Classified::fault(&error),
            quipu_worker_core::Fault::Environment
        );
    }
}
