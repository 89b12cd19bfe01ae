//! What every command works with.

use super::{error::CliError, print::Printer};
use async_trait::async_trait;
use quipu_chain::{ConnectOptions, SubxtChain};
use quipu_primitives::{
    economy::{QuotaInfo, StakeIncome, SupplyInfo},
    views::{DelegationInfo, NodeInfo, PoolInfo, SubnetInfo},
    AccountBytes, Balance, NodeId, SubnetId,
};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, Included},
    Signer,
};
use std::{sync::Arc, time::Duration};

/// How long a person waits for an endpoint that is down.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a person waits for a block to become final without a word.
const PATIENCE_FOR_FINALITY: Duration = Duration::from_secs(60);

/// The chain, with the reads that only people need.
#[async_trait]
pub trait People: Chain {
    /// Every subnet in order.
    async fn all_subnets(&self) -> Result<Vec<SubnetInfo<AccountBytes>>, ChainError>;
    /// A node by its id.
    async fn node_by_id(&self, id: NodeId) -> Result<Option<NodeInfo<AccountBytes>>, ChainError>;
    /// The deposit that registering a subnet takes now.
    async fn deposit(&self) -> Result<Balance, ChainError>;
    /// The supply of QPU, and where it comes from.
    async fn supply(&self) -> Result<SupplyInfo<AccountBytes>, ChainError>;
    /// What a node earns by its stake.
    async fn stake_income(&self, node: NodeId) -> Result<StakeIncome, ChainError>;
    /// What others than its owner have at stake for a node.
    async fn pool(&self, node: NodeId) -> Result<Option<PoolInfo>, ChainError>;
    /// What somebody has at stake for another's node.
    async fn delegation(
        &self,
        node: NodeId,
        delegator: AccountBytes,
    ) -> Result<Option<DelegationInfo>, ChainError>;
    /// What a holder may use today without paying for it.
    async fn quota(&self, holder: AccountBytes) -> Result<QuotaInfo, ChainError>;
}

#[async_trait]
impl People for SubxtChain {
    async fn all_subnets(&self) -> Result<Vec<SubnetInfo<AccountBytes>>, ChainError> {
        const PAGE: u32 = 100;
        let mut all = Vec::new();
        let mut from: SubnetId = 0;
        loop {
            let page = self.subnets(from, PAGE).await?;
            let Some(last) = page.last().map(|subnet| subnet.id) else {
                return Ok(all);
            };
            let complete = (page.len() as u32) < PAGE;
            all.extend(page);
            match last.checked_add(1).filter(|_| !complete) {
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }

    async fn node_by_id(&self, id: NodeId) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        self.node(id).await
    }

    async fn deposit(&self) -> Result<Balance, ChainError> {
        self.registration_deposit().await
    }

    async fn supply(&self) -> Result<SupplyInfo<AccountBytes>, ChainError> {
        SubxtChain::supply(self).await
    }

    async fn stake_income(&self, node: NodeId) -> Result<StakeIncome, ChainError> {
        SubxtChain::stake_income(self, node).await
    }

    async fn pool(&self, node: NodeId) -> Result<Option<PoolInfo>, ChainError> {
        SubxtChain::pool(self, node).await
    }

    async fn delegation(
        &self,
        node: NodeId,
        delegator: AccountBytes,
    ) -> Result<Option<DelegationInfo>, ChainError> {
        SubxtChain::delegation(self, node, delegator).await
    }

    async fn quota(&self, holder: AccountBytes) -> Result<QuotaInfo, ChainError> {
        SubxtChain::quota(self, holder).await
    }
}

/// Connects as patiently as a person is.
pub async fn connect(url: &str) -> Result<SubxtChain, CliError> {
    let options = ConnectOptions {
        patience: PATIENCE,
        ..Default::default()
    };
    Ok(quipu_chain::connect(url, options).await?)
}

/// What every command works with.
#[derive(Clone)]
pub struct Context {
    /// The chain.
    pub chain: Arc<dyn People>,
    /// The key, if one was given.
    pub signer: Option<Arc<dyn Signer>>,
}

impl Context {
    /// The key.
    pub fn signer(&self) -> Result<Arc<dyn Signer>, CliError> {
        self.signer.clone().ok_or(CliError::NoKey)
    }

    /// Signs and submits a call with the key, and waits until its block is final: what it did is
    /// there for the next command, which reads final blocks only.
    pub async fn submit(&self, call: Call, printer: &mut Printer) -> Result<Included, CliError> {
        let signer = self.signer()?;
        let mut submission = self.chain.submit_final(signer.as_ref(), call);
        if let Ok(result) = tokio::time::timeout(PATIENCE_FOR_FINALITY, &mut submission).await {
            return Ok(result?);
        }
        printer.aside(&format!(
            "not final after {} s; still waiting (it may take effect also after Ctrl-C)\n",
            PATIENCE_FOR_FINALITY.as_secs()
        ));
        Ok(submission.await?)
    }
}
