//! What money did between two blocks: for programs that show or verify it, such as the demo.

use crate::{
    adapter::SubxtChain,
    error::{chain_error, read},
    runtime::api,
};
use quipu_primitives::{AccountBytes, Balance};
use quipu_worker_core::ports::ChainError;
use std::collections::{BTreeMap, BTreeSet};

/// Every account's balance at one block, held amounts included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The block.
    pub block: u32,
    /// Free and reserved balance of each account.
    pub balances: BTreeMap<AccountBytes, Balance>,
    /// Sum of all, as the chain itself accounts for it.
    pub total_issuance: Balance,
    /// What was emitted until then.
    pub issued: Balance,
    /// The accounts that emission fills, whatever happens.
    pub buckets: BTreeSet<AccountBytes>,
}

/// What an account paid for its extrinsics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePaid {
    /// The block of the extrinsic.
    pub block: u32,
    /// Who paid.
    pub who: AccountBytes,
    /// How much, tip included.
    pub fee: Balance,
}

impl SubxtChain {
    /// The balances after `block`. The node must still have the block's state: one that does not
    /// keep an archive forgets it after a few hundred blocks. Waits out a broken connection, and a
    /// block that the node does not have yet, for up to a minute. Cancel-safe.
    pub async fn ledger_at(&self, block: u32) -> Result<Ledger, ChainError> {
        read(|| self.ledger_at_once(block)).await
    }

    async fn ledger_at_once(&self, block: u32) -> Result<Ledger, ChainError> {
        let hash = self.block_hash(block).await?;
        let storage = self.client.storage().at(hash);
        let mut entries = storage
            .iter(api::storage().system().account_iter())
            .await
            .map_err(chain_error)?;
        let mut balances = BTreeMap::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(chain_error)?;
            let who = entry.key_bytes.last_chunk::<32>();
            let who = who.ok_or_else(|| ChainError::Decode("an account's key is short".into()))?;
            let data = entry.value.data;
            balances.insert(*who, data.free.saturating_add(data.reserved));
        }
        let total_issuance = storage
            .fetch_or_default(&api::storage().balances().total_issuance())
            .await
            .map_err(chain_error)?;
        let api = self.client.runtime_api().at(hash);
        let supply = api
            .call(api::apis().economy_api().supply())
            .await
            .map_err(chain_error)?
            .0;
        Ok(Ledger {
            block,
            balances,
            total_issuance,
            issued: supply.issued,
            buckets: supply.buckets.iter().map(|bucket| bucket.1 .0).collect(),
        })
    }

    /// The fees that were paid in the blocks `from..=to`. Waits as [`Self::ledger_at`] does, for
    /// each block. Cancel-safe.
    pub async fn fees_between(&self, from: u32, to: u32) -> Result<Vec<FeePaid>, ChainError> {
        let mut fees = Vec::new();
        for block in from..=to {
            fees.extend(read(|| self.fees_in_once(block)).await?);
        }
        Ok(fees)
    }

    async fn fees_in_once(&self, block: u32) -> Result<Vec<FeePaid>, ChainError> {
        let hash = self.block_hash(block).await?;
        let events = self.client.events().at(hash).await.map_err(chain_error)?;
        events
            .find::<api::transaction_payment::events::TransactionFeePaid>()
            .map(|paid| {
                let paid = paid.map_err(chain_error)?;
                Ok(FeePaid {
                    block,
                    who: paid.who.0,
                    fee: paid.actual_fee,
                })
            })
            .collect()
    }
}
