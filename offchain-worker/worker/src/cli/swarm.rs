//! A client of the swarm, made from the command line.

use super::{args::AskArgs, context::Context, error::CliError};
use quipu_client::{Client, Ends, EngineEnds};
use quipu_engine::Model;
use quipu_network::{Keypair, Network, NetworkConfig, NetworkMetrics, NoKeys, Role};
use std::sync::Arc;

/// Loads the ends of the model, joins the swarm under a fresh identity, and puts a client together.
pub async fn client(args: &AskArgs, context: &Context) -> Result<Client, CliError> {
    let signer = context.signer()?;
    let path = args.model.clone();
    let genesis = context.chain.genesis();
    let mut config = NetworkConfig::new(Keypair::generate_ed25519(), Role::Client, genesis);
    config.bootstrap = args.bootstrap.clone();
    let (network, _) = Network::spawn(config, Arc::new(NoKeys), NetworkMetrics::default()).await?;
    let load = tokio::task::spawn_blocking(move || -> Result<_, CliError> {
        Ok(EngineEnds::load(&Model::open(&path)?)?)
    });
    let join = network.join(&args.bootstrap);
    let ((), ends) = tokio::try_join!(async { join.await.map_err(CliError::Unreached) }, async {
        load.await.map_err(|error| {
            let source = std::io::Error::other(error);
            CliError::Io {
                what: "the model can't be loaded",
                source,
            }
        })?
    })?;
    let ends: Arc<dyn Ends> = Arc::new(ends);
    Ok(Client::new(
        context.chain.clone(),
        Arc::new(network),
        ends,
        signer,
        args.options(),
    ))
}
