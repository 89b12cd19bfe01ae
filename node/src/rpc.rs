//! The JSON-RPC methods beside those that every Substrate node has.

use jsonrpsee::RpcModule;
use quipu_runtime::{opaque::Block, AccountId, BlockNumber, Hash, Nonce};
use sc_consensus_babe::BabeWorkerHandle;
use sc_consensus_grandpa::{
    FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState,
};
use sc_rpc::SubscriptionTaskExecutor;
use sp_keystore::KeystorePtr;
use std::sync::Arc;

use crate::service::{FullBackend, FullClient, FullPool, FullSelectChain};

/// What the methods need. Shared by every connection.
pub struct Deps {
    /// The client.
    pub client: Arc<FullClient>,
    /// The transaction pool.
    pub pool: Arc<FullPool>,
    /// Which chain is the best.
    pub select_chain: FullSelectChain,
    /// The chain specification, for `sync_state_genSyncSpec`.
    pub chain_spec: Box<dyn sc_chain_spec::ChainSpec>,
    /// The keys of this node.
    pub keystore: KeystorePtr,
    /// Asks BABE's worker.
    pub babe: BabeWorkerHandle<Block>,
    /// GRANDPA's rounds.
    pub voter_state: SharedVoterState,
    /// GRANDPA's authorities.
    pub authority_set: SharedAuthoritySet<Hash, BlockNumber>,
    /// New justifications.
    pub justifications: GrandpaJustificationStream<Block>,
    /// Proves finality of old blocks.
    pub finality: Arc<FinalityProofProvider<FullBackend, Block>>,
}

/// The methods: `account_nextIndex`, `payment_*`, `babe_*`, `grandpa_*` and `sync_state_*`.
pub fn module(
    deps: &Deps,
    executor: SubscriptionTaskExecutor,
) -> Result<RpcModule<()>, Box<dyn std::error::Error + Send + Sync>> {
    use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
    use sc_consensus_babe_rpc::{Babe, BabeApiServer};
    use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
    use sc_sync_state_rpc::{SyncState, SyncStateApiServer};
    use substrate_frame_rpc_system::{System, SystemApiServer};

    let mut module = RpcModule::new(());
    let system = System::new(deps.client.clone(), deps.pool.clone());
    module.merge(SystemApiServer::<Hash, AccountId, Nonce>::into_rpc(system))?;
    module.merge(TransactionPayment::new(deps.client.clone()).into_rpc())?;
    let babe = Babe::new(
        deps.client.clone(),
        deps.babe.clone(),
        deps.keystore.clone(),
        deps.select_chain.clone(),
    );
    module.merge(babe.into_rpc())?;
    let grandpa = Grandpa::new(
        executor,
        deps.authority_set.clone(),
        deps.voter_state.clone(),
        deps.justifications.clone(),
        deps.finality.clone(),
    );
    module.merge(grandpa.into_rpc())?;
    let sync_state = SyncState::new(
        deps.chain_spec.cloned_box(),
        deps.client.clone(),
        deps.authority_set.clone(),
        deps.babe.clone(),
    )?;
    module.merge(sync_state.into_rpc())?;
    Ok(module)
}
