//! Puts a node together: database, pool, network, BABE, GRANDPA and the RPC server.

use crate::{genesis::Genesis, rpc};
use futures::FutureExt;
use quipu_runtime::{apis::RuntimeApi, opaque::Block, BlockNumber};
use sc_client_api::{Backend, BlockBackend};
use sc_consensus_babe::{BabeBlockImport, BabeLink, BabeWorkerHandle, SlotProportion};
use sc_consensus_grandpa::{GrandpaBlockImport, LinkHalf, SharedVoterState};
use sc_executor::{HeapAllocStrategy, WasmExecutor, DEFAULT_HEAP_ALLOC_STRATEGY};
use sc_network::NetworkBackend;
use sc_service::{error::Error as ServiceError, Configuration, TaskManager, WarpSyncConfig};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_babe::{inherents::InherentDataProvider as SlotInherent, SlotDuration};
use sp_inherents::CreateInherentDataProviders;
use sp_runtime::traits::Block as BlockT;
use sp_timestamp::InherentDataProvider as TimeInherent;
use std::{path::Path, sync::Arc, time::Duration};

/// What the runtime may call of the node.
#[cfg(not(feature = "runtime-benchmarks"))]
pub type HostFunctions = sp_io::SubstrateHostFunctions;
/// What the runtime may call of the node.
#[cfg(feature = "runtime-benchmarks")]
pub type HostFunctions = (
    sp_io::SubstrateHostFunctions,
    frame_benchmarking::benchmarking::HostFunctions,
);

/// The client: blocks, states and the runtime.
pub type FullClient = sc_service::TFullClient<Block, RuntimeApi, WasmExecutor<HostFunctions>>;
/// Where the client keeps them.
pub type FullBackend = sc_service::TFullBackend<Block>;
/// Which chain is the best.
pub type FullSelectChain = sc_consensus::LongestChain<FullBackend, Block>;
/// The transaction pool.
pub type FullPool = sc_transaction_pool::TransactionPoolHandle<Block, FullClient>;

type Finality = GrandpaBlockImport<FullBackend, Block, FullClient, FullSelectChain>;
type InherentProviders = Arc<
    dyn CreateInherentDataProviders<
        Block,
        (),
        InherentDataProviders = (SlotInherent, TimeInherent),
    >,
>;
type Import = BabeBlockImport<Block, FullClient, Finality, InherentProviders, FullSelectChain>;

/// GRANDPA makes a justification of every so many blocks at least.
const JUSTIFICATION_PERIOD: u32 = 512;
/// How long GRANDPA takes a message to need through the network.
const GOSSIP_DURATION: Duration = Duration::from_millis(333);
/// Part of a slot in which a block is put together; the rest is for its way to the others.
const PROPOSAL_SHARE: f32 = 0.5;

/// What [`new_partial`] leaves to [`new_full`].
pub struct Consensus {
    block_import: Import,
    babe_link: BabeLink<Block>,
    babe_worker: BabeWorkerHandle<Block>,
    grandpa_link: LinkHalf<Block, FullClient, FullSelectChain>,
    inherents: InherentProviders,
    telemetry: Option<Telemetry>,
}

/// The parts of a node that also the subcommands on its database need.
pub type Partial = sc_service::PartialComponents<
    FullClient,
    FullBackend,
    FullSelectChain,
    sc_consensus::DefaultImportQueue<Block>,
    FullPool,
    Consensus,
>;

/// What runs the runtime. Machine code that it compiled is kept in the folder `cache`, by default
/// one in the node's base path: compiling takes seconds, reading it a fraction of one.
fn executor(
    config: &Configuration,
    cache: Option<&Path>,
) -> Result<WasmExecutor<HostFunctions>, ServiceError> {
    let settings = &config.executor;
    let heap = match settings.default_heap_pages {
        None => DEFAULT_HEAP_ALLOC_STRATEGY,
        Some(pages) => HeapAllocStrategy::Static {
            extra_pages: u32::try_from(pages)
                .map_err(|_| ServiceError::Other(format!("{pages} heap pages are too many")))?,
        },
    };
    let cache = match cache {
        Some(folder) => std::path::absolute(folder)?,
        None => std::path::absolute(config.base_path.path())?.join("wasm-cache"),
    };
    Ok(WasmExecutor::builder()
        .with_execution_method(settings.wasm_method)
        .with_onchain_heap_alloc_strategy(heap)
        .with_offchain_heap_alloc_strategy(heap)
        .with_max_runtime_instances(settings.max_runtime_instances)
        .with_runtime_cache_size(settings.runtime_cache_size)
        .with_cache_path(cache)
        .build())
}

/// Opens the database and sets up the import of blocks. `wasm_cache` is where compiled runtimes are
/// kept, by default in the node's base path.
pub fn new_partial(
    config: &Configuration,
    wasm_cache: Option<&Path>,
) -> Result<Partial, ServiceError> {
    let telemetry = config
        .telemetry_endpoints
        .clone()
        .filter(|endpoints| !endpoints.is_empty())
        .map(|endpoints| -> Result<_, sc_telemetry::Error> {
            let worker = TelemetryWorker::new(16)?;
            let telemetry = worker.handle().new_telemetry(endpoints);
            Ok((worker, telemetry))
        })
        .transpose()?;
    let executor = executor(config, wasm_cache)?;
    let mut database = config.db_config();
    // Blocks that finality proofs begin from stay when old blocks are pruned.
    database
        .pruning_filters
        .push(Arc::new(sc_consensus_grandpa::GrandpaPruningFilter));
    let backend = sc_service::new_db_backend(database)?;
    let genesis = Genesis {
        spec: &*config.chain_spec,
        with_state: !config.no_genesis(),
        backend: backend.clone(),
        executor: executor.clone(),
    };
    let (client, backend, keystore_container, task_manager) =
        sc_service::new_full_parts_with_genesis_builder::<Block, RuntimeApi, _, _>(
            config,
            telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
            executor,
            backend,
            genesis,
            false,
        )?;
    let client = Arc::new(client);
    let telemetry = telemetry.map(|(worker, telemetry)| {
        task_manager
            .spawn_handle()
            .spawn("telemetry", None, worker.run());
        telemetry
    });
    let telemetry_handle = telemetry.as_ref().map(|telemetry| telemetry.handle());

    let select_chain = sc_consensus::LongestChain::new(backend.clone());
    let transaction_pool = Arc::from(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            config.role.is_authority().into(),
        )
        .with_options(config.transaction_pool.clone())
        .with_prometheus(config.prometheus_registry())
        .build(),
    );

    let (finality, grandpa_link) = sc_consensus_grandpa::block_import(
        client.clone(),
        JUSTIFICATION_PERIOD,
        &client,
        select_chain.clone(),
        telemetry_handle.clone(),
    )?;
    let babe_config = sc_consensus_babe::configuration(&*client)?;
    let slot_duration = babe_config.slot_duration();
    let inherents = inherent_providers(slot_duration);
    let (block_import, babe_link) = sc_consensus_babe::block_import(
        babe_config,
        finality.clone(),
        client.clone(),
        inherents.clone(),
        select_chain.clone(),
        OffchainTransactionPoolFactory::new(transaction_pool.clone()),
    )?;
    let (import_queue, babe_worker) =
        sc_consensus_babe::import_queue(sc_consensus_babe::ImportQueueParams {
            link: babe_link.clone(),
            block_import: block_import.clone(),
            justification_import: Some(Box::new(finality)),
            client: client.clone(),
            slot_duration,
            spawner: &task_manager.spawn_essential_handle(),
            registry: config.prometheus_registry(),
            telemetry: telemetry_handle,
        })?;

    Ok(sc_service::PartialComponents {
        client,
        backend,
        task_manager,
        import_queue,
        keystore_container,
        select_chain,
        transaction_pool,
        other: Consensus {
            block_import,
            babe_link,
            babe_worker,
            grandpa_link,
            inherents,
            telemetry,
        },
    })
}

/// Time and slot of a block that is authored or checked now.
fn inherent_providers(slot_duration: SlotDuration) -> InherentProviders {
    Arc::new(move |_parent, ()| async move {
        let time = TimeInherent::from_system_time();
        let slot = SlotInherent::from_timestamp_and_slot_duration(*time, slot_duration);
        Ok((slot, time))
    })
}

/// Takes back what consensus recorded of the last `blocks` blocks.
pub fn revert(
    client: Arc<FullClient>,
    backend: Arc<FullBackend>,
    blocks: BlockNumber,
) -> sc_cli::Result<()> {
    sc_consensus_babe::revert(client.clone(), backend, blocks)?;
    sc_consensus_grandpa::revert(client, blocks)?;
    Ok(())
}

/// Starts a node over the network backend `N`. For `wasm_cache` see [`new_partial`].
pub fn new_full<N: NetworkBackend<Block, <Block as BlockT>::Hash>>(
    config: Configuration,
    wasm_cache: Option<&Path>,
) -> Result<TaskManager, ServiceError> {
    let sc_service::PartialComponents {
        client,
        backend,
        mut task_manager,
        import_queue,
        keystore_container,
        select_chain,
        transaction_pool,
        other: mut consensus,
    } = new_partial(&config, wasm_cache)?;

    // The network.
    let registry = config.prometheus_registry().cloned();
    let metrics = N::register_notification_metrics(registry.as_ref());
    let mut net_config = sc_network::config::FullNetworkConfiguration::<_, _, N>::new(
        &config.network,
        registry.clone(),
    );
    let genesis = client
        .block_hash(0)?
        .ok_or_else(|| ServiceError::Other("the database has no genesis block".into()))?;
    let grandpa_protocol =
        sc_consensus_grandpa::protocol_standard_name(&genesis, &config.chain_spec);
    let (grandpa_peers, grandpa_notifications) =
        sc_consensus_grandpa::grandpa_peers_set_config::<_, N>(
            grandpa_protocol.clone(),
            metrics.clone(),
            net_config.peer_store_handle(),
        );
    net_config.add_notification_protocol(grandpa_peers);
    let warp_sync = Arc::new(sc_consensus_grandpa::warp_proof::NetworkProvider::new(
        backend.clone(),
        consensus.grandpa_link.shared_authority_set().clone(),
        Vec::default(),
    ));
    let (network, system_rpc_tx, tx_handler_controller, sync_service, _bitswap) =
        sc_service::build_network(sc_service::BuildNetworkParams {
            config: &config,
            net_config,
            client: client.clone(),
            transaction_pool: transaction_pool.clone(),
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue,
            block_announce_validator_builder: None,
            warp_sync_config: Some(WarpSyncConfig::WithProvider(warp_sync)),
            block_relay: None,
            metrics,
            gap_sync_body_policy: None,
        })?;

    if config.offchain_worker.enabled {
        let workers = sc_offchain::OffchainWorkers::new(sc_offchain::OffchainWorkerOptions {
            runtime_api_provider: client.clone(),
            keystore: Some(keystore_container.keystore()),
            offchain_db: backend.offchain_storage(),
            transaction_pool: Some(OffchainTransactionPoolFactory::new(
                transaction_pool.clone(),
            )),
            network_provider: Arc::new(network.clone()),
            is_validator: config.role.is_authority(),
            // The runtime makes no requests.
            enable_http_requests: false,
            custom_extensions: |_| vec![],
        })?;
        task_manager.spawn_handle().spawn(
            "offchain-workers-runner",
            "offchain-worker",
            workers
                .run(client.clone(), task_manager.spawn_handle())
                .boxed(),
        );
    }

    // The RPC server.
    let voter_state = SharedVoterState::empty();
    let rpc_builder = {
        let authority_set = consensus.grandpa_link.shared_authority_set().clone();
        let deps = rpc::Deps {
            client: client.clone(),
            pool: transaction_pool.clone(),
            select_chain: select_chain.clone(),
            chain_spec: config.chain_spec.cloned_box(),
            keystore: keystore_container.keystore(),
            babe: consensus.babe_worker.clone(),
            voter_state: voter_state.clone(),
            justifications: consensus.grandpa_link.justification_stream(),
            finality: sc_consensus_grandpa::FinalityProofProvider::new_for_service(
                backend.clone(),
                Some(authority_set.clone()),
            ),
            authority_set,
        };
        Box::new(move |executor| rpc::module(&deps, executor).map_err(ServiceError::Application))
    };
    let role = config.role;
    let force_authoring = config.force_authoring;
    let grandpa_enabled = !config.disable_grandpa;
    let name = config.network.node_name.clone();
    let _rpc_handlers = sc_service::spawn_tasks(sc_service::SpawnTasksParams {
        config,
        client: client.clone(),
        backend,
        task_manager: &mut task_manager,
        keystore: keystore_container.keystore(),
        transaction_pool: transaction_pool.clone(),
        rpc_builder,
        network: network.clone(),
        system_rpc_tx,
        tx_handler_controller,
        sync_service: sync_service.clone(),
        telemetry: consensus.telemetry.as_mut(),
        tracing_execute_block: None,
    })?;

    let Consensus {
        block_import,
        babe_link,
        grandpa_link,
        inherents,
        telemetry,
        ..
    } = consensus;
    let telemetry_handle = telemetry.as_ref().map(|telemetry| telemetry.handle());

    if role.is_authority() {
        let proposer = sc_basic_authorship::ProposerFactory::new(
            task_manager.spawn_handle(),
            client.clone(),
            transaction_pool.clone(),
            registry.as_ref(),
            telemetry_handle.clone(),
        );
        let babe = sc_consensus_babe::start_babe(sc_consensus_babe::BabeParams {
            keystore: keystore_container.keystore(),
            client: client.clone(),
            select_chain,
            env: proposer,
            block_import,
            sync_oracle: sync_service.clone(),
            justification_sync_link: sync_service.clone(),
            create_inherent_data_providers: inherents,
            force_authoring,
            backoff_authoring_blocks: Some(
                sc_consensus_slots::BackoffAuthoringOnFinalizedHeadLagging::default(),
            ),
            babe_link,
            block_proposal_slot_portion: SlotProportion::new(PROPOSAL_SHARE),
            max_block_proposal_slot_portion: None,
            telemetry: telemetry_handle.clone(),
        })?;
        task_manager.spawn_essential_handle().spawn_blocking(
            "babe-proposer",
            Some("block-authoring"),
            babe,
        );
    }

    if grandpa_enabled {
        let grandpa =
            sc_consensus_grandpa::run_grandpa_voter(sc_consensus_grandpa::GrandpaParams {
                config: sc_consensus_grandpa::Config {
                    gossip_duration: GOSSIP_DURATION,
                    justification_generation_period: JUSTIFICATION_PERIOD,
                    observer_enabled: false,
                    local_role: role,
                    name: Some(name),
                    // Only an authority votes.
                    keystore: role.is_authority().then(|| keystore_container.keystore()),
                    telemetry: telemetry_handle.clone(),
                    protocol_name: grandpa_protocol,
                },
                link: grandpa_link,
                network,
                sync: sync_service,
                notification_service: grandpa_notifications,
                voting_rule: sc_consensus_grandpa::VotingRulesBuilder::default().build(),
                prometheus_registry: registry,
                shared_voter_state: voter_state,
                telemetry: telemetry_handle,
                offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(transaction_pool),
            })?;
        task_manager
            .spawn_essential_handle()
            .spawn_blocking("grandpa-voter", None, grandpa);
    }

    Ok(task_manager)
}
