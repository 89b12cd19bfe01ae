//! From a valid configuration to a running worker.

mod audit;
mod ground;
mod load;
mod serve;

pub use audit::{audit, audit_with};
pub use load::load_blocks;
pub use serve::{serve, serve_with};

use crate::{
    config::Command,
    daemon::Stop,
    error::WorkerError,
    model::{self, ModelMismatch},
};
use quipu_engine::Model;
use quipu_network::load_or_create_key;
use serde_json::json;

/// Does what the command line asks for.
pub async fn execute(command: Command, stop: Stop) -> Result<(), WorkerError> {
    match command {
        Command::Serve(args) => serve(args.with_file()?.validate()?, stop).await,
        Command::Audit(args) => audit(args.validate()?, stop).await,
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
