//! What every command works with.

use super::{error::CliError, print::Printer};
use async_trait::async_trait;
use quipu_chain::{ConnectOptions, SubxtChain};
use quipu_primitives::{
    views::{NodeInfo, SubnetInfo},
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
