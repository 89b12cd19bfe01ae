//! What clients ask for. Rewards count as shared out, collected or not.

use crate::{book::Stake, Config, Delegations, Ledgers, Pallet, PoolOf, Pools};
use frame_support::traits::Get;
use quipu_primitives::{
    traits::StakeRewards,
    views::{DelegationChunk, DelegationInfo, PoolInfo},
    Balance, NodeId,
};
use sp_runtime::traits::{Saturating, UniqueSaturatedInto};

impl<T: Config> Pallet<T> {
    /// What others have at stake for a node; `None` where neither they nor the owner have anything.
    pub fn pool_of(node: NodeId) -> Option<PoolInfo> {
        if !Ledgers::<T>::contains_key(node) && !Pools::<T>::contains_key(node) {
            return None;
        }
        let pool = Self::settled_pool(node);
        let closed_until = pool
            .closed_at
            .map(|at| block(at.saturating_add(T::UnbondingPeriod::get())));
        Some(PoolInfo {
            node,
            amount: pool.active.amount,
            shares: pool.active.shares,
            leaving: pool.leaving.amount,
            delegators: pool.delegators,
            commission_parts: pool.commission.deconstruct(),
            closed_until,
            rewards: pool.owed,
            owner_rewards: pool.owner_rewards,
        })
    }

    /// What an account has at stake for a node.
    pub fn delegation_of(node: NodeId, delegator: &T::AccountId) -> Option<DelegationInfo> {
        let mut delegation = Delegations::<T>::get(node, delegator)?;
        let pool = Self::settled_pool(node);
        delegation.settle(&pool);
        let chunks = delegation.chunks.iter().map(|chunk| DelegationChunk {
            amount: pool.leaving.value(chunk.shares),
            release_at: block(chunk.release_at),
        });
        Some(DelegationInfo {
            node,
            amount: pool.active.value(delegation.shares),
            shares: delegation.shares,
            liable: pool.active.value(delegation.liable()),
            rewards: delegation.unclaimed,
            chunks: chunks.collect(),
        })
    }

    /// What a node's owner may claim.
    pub fn rewards_of(node: NodeId) -> Balance {
        Self::settled_pool(node).owner_rewards
    }

    /// The pool as it is once what the node earned is shared out.
    fn settled_pool(node: NodeId) -> PoolOf<T> {
        let mut stake = Stake::<T>::of(node);
        let own = stake.ledger.own;
        stake.pool.share_out(T::Rewards::earned(node), own);
        stake.pool
    }
}

fn block<BlockNumber: UniqueSaturatedInto<u32>>(number: BlockNumber) -> u32 {
    number.unique_saturated_into()
}
