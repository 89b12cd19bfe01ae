//! Answers jobs with the client library. The model's ends are loaded with the first job: most
//! workers never need them.

use async_trait::async_trait;
use quipu_client::{Client, ClientOptions, EngineEnds};
use quipu_engine::Model;
use quipu_primitives::{views::JobInfo, AccountBytes};
use quipu_worker_core::{
    ports::{JobAnswer, JobError, JobRunner, SharedChain, SharedPeers},
    Signer,
};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Runs jobs in the name of a hotkey, which pays for their sessions.
pub struct SwarmRunner {
    model: Arc<Model>,
    chain: SharedChain,
    peers: SharedPeers,
    signer: Arc<dyn Signer>,
    client: OnceCell<Client>,
}

impl SwarmRunner {
    /// A runner that has loaded nothing yet.
    pub fn new(
        model: Arc<Model>,
        chain: SharedChain,
        peers: SharedPeers,
        signer: Arc<dyn Signer>,
    ) -> Self {
        SwarmRunner {
            model,
            chain,
            peers,
            signer,
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&Client, JobError> {
        self.client
            .get_or_try_init(|| async {
                let model = self.model.clone();
                let loaded = tokio::task::spawn_blocking(move || EngineEnds::load(&model)).await;
                let ends = loaded
                    .map_err(|error| JobError::Swarm(error.to_string()))?
                    .map_err(|error| JobError::Swarm(error.to_string()))?;
                Ok(Client::new(
                    self.chain.clone(),
                    self.peers.clone(),
                    Arc::new(ends),
                    self.signer.clone(),
                    ClientOptions::default(),
                ))
            })
            .await
    }
}

#[async_trait]
impl JobRunner for SwarmRunner {
    async fn run(&self, job: &JobInfo<AccountBytes>) -> Result<JobAnswer, JobError> {
        self.client().await?.run(job).await
    }
}
