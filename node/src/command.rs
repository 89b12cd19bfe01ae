//! Runs what the command line asks for.

use crate::{
    chain_spec,
    cli::{Cli, Subcommand},
    service,
};
use quipu_runtime::opaque::Block;
use sc_cli::SubstrateCli;
use sc_network::config::NetworkBackendType;
use sc_service::PartialComponents;
use sp_runtime::traits::Block as BlockT;

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "Quipu Node".into()
    }

    fn impl_version() -> String {
        env!("SUBSTRATE_CLI_IMPL_VERSION").into()
    }

    fn description() -> String {
        env!("CARGO_PKG_DESCRIPTION").into()
    }

    fn author() -> String {
        "The Quipu authors".into()
    }

    fn support_url() -> String {
        "see the README".into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
        chain_spec::load(id).map(|spec| Box::new(spec) as Box<_>)
    }
}

/// Parses the command line and does what it says; returns when that is done.
pub fn run() -> sc_cli::Result<()> {
    let cli = Cli::from_args();
    let Some(subcommand) = &cli.subcommand else {
        return run_node(&cli);
    };
    let wasm_cache = cli.wasm_cache.as_deref();
    match subcommand {
        Subcommand::Key(cmd) => cmd.run(&cli),
        Subcommand::BuildSpec(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run(config.chain_spec, config.network))
        }
        Subcommand::ExportChainSpec(cmd) => cmd.run(cli.load_spec(&cmd.chain)?),
        Subcommand::CheckBlock(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|config| {
                let PartialComponents {
                    client,
                    task_manager,
                    import_queue,
                    ..
                } = service::new_partial(&config, wasm_cache)?;
                Ok((cmd.run(client, import_queue), task_manager))
            })
        }
        Subcommand::ExportBlocks(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|config| {
                let PartialComponents {
                    client,
                    task_manager,
                    ..
                } = service::new_partial(&config, wasm_cache)?;
                Ok((cmd.run(client, config.database), task_manager))
            })
        }
        Subcommand::ImportBlocks(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|config| {
                let PartialComponents {
                    client,
                    task_manager,
                    import_queue,
                    ..
                } = service::new_partial(&config, wasm_cache)?;
                Ok((cmd.run(client, import_queue), task_manager))
            })
        }
        Subcommand::ExportState(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|config| {
                let PartialComponents {
                    client,
                    task_manager,
                    ..
                } = service::new_partial(&config, wasm_cache)?;
                Ok((cmd.run(client, config.chain_spec), task_manager))
            })
        }
        Subcommand::PurgeChain(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run(config.database))
        }
        Subcommand::Revert(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.async_run(|config| {
                let PartialComponents {
                    client,
                    task_manager,
                    backend,
                    ..
                } = service::new_partial(&config, wasm_cache)?;
                Ok((
                    cmd.run(client, backend, Some(Box::new(service::revert))),
                    task_manager,
                ))
            })
        }
        Subcommand::ChainInfo(cmd) => {
            let runner = cli.create_runner(cmd)?;
            runner.sync_run(|config| cmd.run::<Block>(&config))
        }
    }
}

fn run_node(cli: &Cli) -> sc_cli::Result<()> {
    let runner = cli.create_runner(&cli.run)?;
    let wasm_cache = cli.wasm_cache.as_deref();
    runner.run_node_until_exit(|config| async move {
        match config.network.network_backend {
            NetworkBackendType::Libp2p => service::new_full::<
                sc_network::NetworkWorker<Block, <Block as BlockT>::Hash>,
            >(config, wasm_cache),
            NetworkBackendType::Litep2p => {
                service::new_full::<sc_network::Litep2pNetworkBackend>(config, wasm_cache)
            }
        }
        .map_err(sc_cli::Error::Service)
    })
}
