//! Reads, and what holds the connection.

use crate::{
    error::{chain_error, read},
    events,
    runtime::api,
    submit::{self, Nonces},
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use quipu_primitives::{
    audit::Subject,
    views::{AuditInfo, JobInfo, NodeInfo, Quote, QuoteError, SessionInfo, SubnetInfo},
    AccountBytes, Balance, Digest, JobId, NodeId, SessionId, SubnetId,
};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, ChainEvent, Included},
    Signer,
};
use std::{sync::Arc, time::Duration};
use subxt::{
    backend::{legacy::LegacyRpcMethods, rpc::RpcClient},
    ext::subxt_rpcs::client::reconnecting_rpc_client::{ExponentialBackoff, RpcClient as Socket},
    utils::{AccountId32, H256},
    OnlineClient, PolkadotConfig,
};
use tracing::{info, warn};

/// How patient [`connect`] is.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    /// How long it tries before it gives up.
    pub patience: Duration,
    /// First pause between two tries; doubles up to ten seconds.
    pub first_pause: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            patience: Duration::from_secs(120),
            first_pause: Duration::from_millis(250),
        }
    }
}

/// The chain behind one JSON-RPC endpoint. Cheap to clone.
#[derive(Clone)]
pub struct SubxtChain {
    pub(crate) client: OnlineClient<PolkadotConfig>,
    pub(crate) rpc: LegacyRpcMethods<PolkadotConfig>,
    nonces: Arc<Nonces>,
    _updater: Arc<Updater>,
}

/// Follows runtime upgrades for as long as the adapter lives.
struct Updater(tokio::task::JoinHandle<()>);

impl Drop for Updater {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for SubxtChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubxtChain")
            .field("genesis", &self.genesis())
            .finish_non_exhaustive()
    }
}

/// Connects to a node's JSON-RPC endpoint (`ws://` or `wss://`). Waits for an endpoint that is
/// down, and says so. Cancel-safe.
///
/// Errors: `Unreachable` once the patience is over or for an address that is none; `Incompatible`
/// when the chain's runtime lacks what workers need.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<SubxtChain, ChainError> {
    let started = tokio::time::Instant::now();
    let mut pause = options.first_pause;
    loop {
        match try_connect(url).await {
            Ok(chain) => return Ok(chain),
            Err(error @ ChainError::Unreachable(_))
                if started.elapsed() + pause < options.patience =>
            {
                warn!(%url, %error, "waiting for the chain's endpoint");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            Err(ChainError::Unreachable(error)) => {
                return Err(ChainError::Unreachable(format!(
                    "{url}: {error}. Is a quipu-node running there, with its RPC port open?"
                )))
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_connect(url: &str) -> Result<SubxtChain, ChainError> {
    let unreachable = |error: &dyn std::fmt::Display| ChainError::Unreachable(error.to_string());
    let socket = Socket::builder()
        .retry_policy(ExponentialBackoff::from_millis(100).max_delay(Duration::from_secs(5)))
        .build(url);
    // The socket itself retries without end; the first connection must not.
    let socket = tokio::time::timeout(Duration::from_secs(5), socket)
        .await
        .map_err(|_| unreachable(&"no answer"))?
        .map_err(|error| unreachable(&error))?;
    let rpc = RpcClient::new(socket);
    let client = OnlineClient::<PolkadotConfig>::from_rpc_client(rpc.clone())
        .await
        .map_err(chain_error)?;
    check_compatible(&client).await?;
    let updater = client.updater();
    let updater = tokio::spawn(async move {
        if let Err(error) = updater.perform_runtime_updates().await {
            warn!(%error, "runtime upgrades are no longer followed");
        }
    });
    info!(%url, genesis = ?client.genesis_hash(), "connected to the chain");
    Ok(SubxtChain {
        client,
        rpc: LegacyRpcMethods::new(rpc),
        nonces: Arc::default(),
        _updater: Arc::new(Updater(updater)),
    })
}

/// Does the runtime have what this program was built for?
async fn check_compatible(client: &OnlineClient<PolkadotConfig>) -> Result<(), ChainError> {
    let at = client
        .runtime_api()
        .at_latest()
        .await
        .map_err(chain_error)?;
    let apis = api::apis();
    let checks = [
        at.validate(&apis.subnets_api().subnet(0)),
        at.validate(&apis.subnets_api().roster(0)),
        at.validate(&apis.inference_api().session(0)),
        at.validate(&apis.inference_api().job(0)),
        at.validate(&apis.audits_api().audit(0, 0)),
        at.validate(&apis.audits_api().audits_of(0)),
    ];
    for check in checks {
        check.map_err(|error| {
            ChainError::Incompatible(format!(
                "{error} (runtime version {})",
                client.runtime_version().spec_version
            ))
        })?;
    }
    Ok(())
}

/// An account as subxt names it.
pub(crate) fn account(bytes: AccountBytes) -> AccountId32 {
    AccountId32(bytes)
}

pub(crate) fn subnet_info(subnet: SubnetInfo<AccountId32>) -> SubnetInfo<AccountBytes> {
    SubnetInfo {
        id: subnet.id,
        creator: subnet.creator.0,
        status: subnet.status,
        deposit: subnet.deposit,
        manifest: subnet.manifest,
        coverage: subnet.coverage,
    }
}

pub(crate) fn node_info(node: NodeInfo<AccountId32>) -> NodeInfo<AccountBytes> {
    NodeInfo {
        id: node.id,
        subnet: node.subnet,
        coldkey: node.coldkey.0,
        hotkey: node.hotkey.0,
        peer_id: node.peer_id,
        self_bond: node.self_bond,
        pending_slash: node.pending_slash,
        seat: node.seat,
    }
}

fn audit_info(audit: AuditInfo<AccountId32>) -> AuditInfo<AccountBytes> {
    AuditInfo {
        subject: audit.subject,
        subnet: audit.subnet,
        victim: audit.victim.0,
        price: audit.price,
        round: audit.round,
        stage: audit.stage,
        members: audit.members,
        accusation: audit.accusation,
        head: audit.head,
    }
}

impl SubxtChain {
    /// Runs a runtime API at the latest finalised block.
    async fn finalized_api<P: subxt::runtime_api::Payload + Clone>(
        &self,
        payload: P,
    ) -> Result<P::ReturnType, ChainError> {
        read(|| self.finalized_api_once(payload.clone())).await
    }

    async fn finalized_api_once<P: subxt::runtime_api::Payload>(
        &self,
        payload: P,
    ) -> Result<P::ReturnType, ChainError> {
        let at = self
            .client
            .runtime_api()
            .at_latest()
            .await
            .map_err(chain_error)?;
        at.call(payload).await.map_err(chain_error)
    }

    /// Hash of the best block.
    pub(crate) async fn best(&self) -> Result<H256, ChainError> {
        let hash = self.rpc.chain_get_block_hash(None).await;
        hash.map_err(|error| chain_error(error.into()))?
            .ok_or_else(|| ChainError::Decode("the node has no best block".into()))
    }

    /// Runs a runtime API at the best block.
    async fn best_api<P: subxt::runtime_api::Payload + Clone>(
        &self,
        payload: P,
    ) -> Result<P::ReturnType, ChainError> {
        read(|| self.best_api_once(payload.clone())).await
    }

    async fn best_api_once<P: subxt::runtime_api::Payload>(
        &self,
        payload: P,
    ) -> Result<P::ReturnType, ChainError> {
        let best = self.best().await?;
        self.client
            .runtime_api()
            .at(best)
            .call(payload)
            .await
            .map_err(chain_error)
    }
}

#[async_trait]
impl Chain for SubxtChain {
    fn genesis(&self) -> Digest {
        self.client.genesis_hash().0
    }

    async fn subnet(&self, id: SubnetId) -> Result<Option<SubnetInfo<AccountBytes>>, ChainError> {
        let subnet = self
            .finalized_api(api::apis().subnets_api().subnet(id))
            .await?;
        Ok(subnet.map(|subnet| subnet_info(subnet.0)))
    }

    async fn roster(&self, id: SubnetId) -> Result<Vec<NodeInfo<AccountBytes>>, ChainError> {
        let roster = self
            .finalized_api(api::apis().subnets_api().roster(id))
            .await?;
        Ok(roster.into_iter().map(|node| node_info(node.0)).collect())
    }

    async fn node_of_hotkey(
        &self,
        hotkey: AccountBytes,
    ) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        let payload = api::apis().subnets_api().node_of_hotkey(account(hotkey));
        let node = self.finalized_api(payload).await?;
        Ok(node.map(|node| node_info(node.0)))
    }

    async fn session(
        &self,
        id: SessionId,
    ) -> Result<Option<SessionInfo<AccountBytes>>, ChainError> {
        let session = self
            .best_api(api::apis().inference_api().session(id))
            .await?;
        Ok(session.map(|session| session.0).map(|session| SessionInfo {
            id: session.id,
            subnet: session.subnet,
            consumer: session.consumer.0,
            session_key: session.session_key,
            seed_commitment: session.seed_commitment,
            integrator: session.integrator.map(|account| account.0),
            opened_at: session.opened_at,
            deposit: session.deposit,
            status: session.status,
            deadline: session.deadline,
            receipt_root: session.receipt_root,
            settled_at: session.settled_at,
            servers: session.servers,
            job: session.job,
        }))
    }

    async fn job(&self, id: JobId) -> Result<Option<JobInfo<AccountBytes>>, ChainError> {
        let job = self.best_api(api::apis().inference_api().job(id)).await?;
        Ok(job.map(|job| job.0).map(|job| JobInfo {
            id: job.id,
            subnet: job.subnet,
            requester: job.requester.0,
            node: job.node,
            prompt: job.prompt,
            max_tokens: job.max_tokens,
            fee: job.fee,
            deadline: job.deadline,
            status: job.status,
        }))
    }

    async fn open_jobs(&self, node: NodeId) -> Result<Vec<JobId>, ChainError> {
        read(|| self.waiting_jobs(node)).await
    }

    async fn hotkeys_of(&self, node: NodeId) -> Result<Vec<AccountBytes>, ChainError> {
        let now = read(|| self.node(node)).await?.map(|info| info.hotkey);
        let address = api::storage().subnets().former_hotkeys(node);
        let former = read(|| async {
            let storage = self.client.storage().at_latest().await;
            let storage = storage.map_err(chain_error)?;
            storage.fetch(&address).await.map_err(chain_error)
        });
        let former = former.await?.map_or(Vec::new(), |former| former.0);
        let former = former.into_iter().map(|(key, _)| key.0);
        Ok(now.into_iter().chain(former).collect())
    }

    async fn audit(&self, subject: Subject) -> Result<Option<AuditInfo<AccountBytes>>, ChainError> {
        let Subject { session, node } = subject;
        let audit = self
            .best_api(api::apis().audits_api().audit(session, node))
            .await?;
        Ok(audit.map(|audit| audit_info(audit.0)))
    }

    async fn audits_of(&self, node: NodeId) -> Result<Vec<AuditInfo<AccountBytes>>, ChainError> {
        let audits = self
            .best_api(api::apis().audits_api().audits_of(node))
            .await?;
        Ok(audits
            .into_iter()
            .map(|audit| audit_info(audit.0))
            .collect())
    }

    async fn quote(
        &self,
        subnet: SubnetId,
        positions: u32,
    ) -> Result<Result<Quote, QuoteError>, ChainError> {
        let payload = api::apis().inference_api().quote(subnet, positions);
        let quote = self.finalized_api(payload).await?;
        Ok(quote.map(|quote| quote.0).map_err(|error| error.0))
    }

    async fn free_balance(&self, who: AccountBytes) -> Result<Balance, ChainError> {
        let address = api::storage().system().account(account(who));
        let entry = read(|| async {
            let storage = self.client.storage().at(self.best().await?);
            storage.fetch(&address).await.map_err(chain_error)
        });
        Ok(entry.await?.map_or(0, |entry| entry.data.free))
    }

    async fn finalized(&self) -> Result<u32, ChainError> {
        let block = read(|| async { self.client.blocks().at_latest().await.map_err(chain_error) });
        Ok(block.await?.number())
    }

    async fn events(&self) -> Result<BoxStream<'static, ChainEvent>, ChainError> {
        let from = self.finalized().await?;
        Ok(events::finalized(self.clone(), from))
    }

    async fn submit(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        let turn = self.nonces.turn(signer.public()).await;
        submit::submit(self, signer, call, turn).await
    }

    async fn submit_final(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        let turn = self.nonces.turn(signer.public()).await;
        submit::submit_final(self, signer, call, turn).await
    }
}
