//! Reads that people's tools need beyond what workers and clients do, and accounts as people write
//! them.

use crate::{
    adapter::{node_info, subnet_info, SubxtChain},
    error::chain_error,
    runtime::api,
};
use quipu_primitives::{
    views::{NodeInfo, SubnetInfo},
    AccountBytes, Balance, NodeId, SubnetId,
};
use quipu_worker_core::ports::ChainError;
use subxt::utils::AccountId32;

/// An account in SS58, with Substrate's generic prefix.
pub fn show_account(account: &AccountBytes) -> String {
    AccountId32(*account).to_string()
}

/// An account that is written in SS58, of whatever network. `None` if it is not.
pub fn parse_account(text: &str) -> Option<AccountBytes> {
    text.parse::<AccountId32>().ok().map(|account| account.0)
}

impl SubxtChain {
    /// Up to `limit` (at most 100) subnets with ids of at least `from`, in order, as of the latest
    /// finalised block.
    pub async fn subnets(
        &self,
        from: SubnetId,
        limit: u32,
    ) -> Result<Vec<SubnetInfo<AccountBytes>>, ChainError> {
        let at = self
            .client
            .runtime_api()
            .at_latest()
            .await
            .map_err(chain_error)?;
        let payload = api::apis().subnets_api().subnets(from, limit);
        let subnets = at.call(payload).await.map_err(chain_error)?;
        Ok(subnets
            .into_iter()
            .map(|subnet| subnet_info(subnet.0))
            .collect())
    }

    /// A node by its id, as of the latest finalised block.
    pub async fn node(&self, id: NodeId) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        let at = self
            .client
            .runtime_api()
            .at_latest()
            .await
            .map_err(chain_error)?;
        let node = at
            .call(api::apis().subnets_api().node(id))
            .await
            .map_err(chain_error)?;
        Ok(node.map(|node| node_info(node.0)))
    }

    /// The deposit that registering a subnet takes now.
    pub async fn registration_deposit(&self) -> Result<Balance, ChainError> {
        let at = self
            .client
            .runtime_api()
            .at_latest()
            .await
            .map_err(chain_error)?;
        let payload = api::apis().subnets_api().registration_deposit();
        at.call(payload).await.map_err(chain_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_go_both_ways() {
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        let account = parse_account(alice).unwrap();
        assert_eq!(show_account(&account), alice);
        for wrong in [
            "",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
            "//Alice",
            "0x00",
        ] {
            assert_eq!(parse_account(wrong), None, "{wrong}");
        }
    }
}
