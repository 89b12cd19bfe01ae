//! Reads that people's tools need beyond what workers and clients do, and accounts as people write
//! them.

use crate::{
    adapter::{account, node_info, subnet_info, SubxtChain},
    error::chain_error,
    runtime::api,
};
use quipu_primitives::{
    economy::{QuotaInfo, StakeIncome, SupplyInfo},
    views::{DelegationInfo, NodeInfo, PoolInfo, SubnetInfo},
    AccountBytes, Balance, NodeId, SubnetId,
};
use quipu_worker_core::ports::ChainError;
use subxt::{runtime_api::Payload, utils::AccountId32};

/// An account in SS58, with Substrate's generic prefix.
pub fn show_account(account: &AccountBytes) -> String {
    AccountId32(*account).to_string()
}

/// An account that is written in SS58, of whatever network. `None` if it is not.
pub fn parse_account(text: &str) -> Option<AccountBytes> {
    text.parse::<AccountId32>().ok().map(|account| account.0)
}

impl SubxtChain {
    /// What a runtime API says, as of the latest finalised block.
    async fn ask<P: Payload>(&self, payload: P) -> Result<P::ReturnType, ChainError> {
        let api = self.client.runtime_api();
        let at = api.at_latest().await.map_err(chain_error)?;
        at.call(payload).await.map_err(chain_error)
    }

    /// Up to `limit` (at most 100) subnets with ids of at least `from`, in order.
    pub async fn subnets(
        &self,
        from: SubnetId,
        limit: u32,
    ) -> Result<Vec<SubnetInfo<AccountBytes>>, ChainError> {
        let subnets = self
            .ask(api::apis().subnets_api().subnets(from, limit))
            .await?;
        Ok(subnets
            .into_iter()
            .map(|subnet| subnet_info(subnet.0))
            .collect())
    }

    /// A node by its id.
    pub async fn node(&self, id: NodeId) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        let node = self.ask(api::apis().subnets_api().node(id)).await?;
        Ok(node.map(|node| node_info(node.0)))
    }

    /// The deposit that registering a subnet takes now.
    pub async fn registration_deposit(&self) -> Result<Balance, ChainError> {
        self.ask(api::apis().subnets_api().registration_deposit())
            .await
    }

    /// The supply of QPU, and where it comes from.
    pub async fn supply(&self) -> Result<SupplyInfo<AccountBytes>, ChainError> {
        let supply = self.ask(api::apis().economy_api().supply()).await?.0;
        Ok(SupplyInfo {
            total: supply.total,
            genesis: supply.genesis,
            issued: supply.issued,
            burned: supply.burned,
            today: supply.today,
            period_total: supply.period_total,
            period_left: supply.period_left,
            buckets: supply
                .buckets
                .into_iter()
                .map(|(bucket, account, balance)| (bucket, account.0, balance))
                .collect(),
        })
    }

    /// What a node earns by its stake.
    pub async fn stake_income(&self, node: NodeId) -> Result<StakeIncome, ChainError> {
        let income = self
            .ask(api::apis().economy_api().stake_income(node))
            .await?;
        Ok(income.0)
    }

    /// What others than its owner have at stake for a node; `None` where nobody ever had.
    pub async fn pool(&self, node: NodeId) -> Result<Option<PoolInfo>, ChainError> {
        let pool = self.ask(api::apis().economy_api().pool(node)).await?;
        Ok(pool.map(|pool| pool.0))
    }

    /// What somebody has at stake for another's node.
    pub async fn delegation(
        &self,
        node: NodeId,
        delegator: AccountBytes,
    ) -> Result<Option<DelegationInfo>, ChainError> {
        let payload = api::apis()
            .economy_api()
            .delegation(node, account(delegator));
        Ok(self.ask(payload).await?.map(|delegation| delegation.0))
    }

    /// What a holder may use today without paying for it.
    pub async fn quota(&self, holder: AccountBytes) -> Result<QuotaInfo, ChainError> {
        let quota = api::apis().economy_api().quota(account(holder));
        Ok(self.ask(quota).await?.0)
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
