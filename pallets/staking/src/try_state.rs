//! What holds at all times; the README says it in words.

use crate::{
    delegation::total_of, pool::Shares, BondLiens, Config, CurrentEra, CurrentValidators,
    Delegations, Departed, Departure, Ledgers, LiensOf, Pallet, PlannedEra, PlannedValidators,
    Pools, TotalBonded, TotalDelegated,
};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{ensure, traits::fungible::Inspect};
use quipu_primitives::{
    traits::{Nodes, PendingSlashes},
    Balance, NodeId,
};
use sp_runtime::{traits::Zero, TryRuntimeError};

/// What the delegations of a node come to.
#[derive(Default)]
struct Sums {
    delegators: u32,
    active: Shares,
    leaving: Shares,
    claims: Balance,
}

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::ledgers_are_sound()?;
        Self::holds_are_the_ledgers()?;
        Self::pools_are_their_delegations()?;
        Self::the_pot_covers_the_pools()?;
        Self::departures_have_liens()?;
        Self::liens_have_departures()?;
        Self::eras_follow_each_other()
    }

    fn ledgers_are_sound() -> Result<(), TryRuntimeError> {
        let mut bonded: Balance = 0;
        for ledger in Ledgers::<T>::iter_values() {
            ensure!(!ledger.is_empty(), "empty ledger");
            ensure!(
                ledger.unbonding.iter().all(|chunk| !chunk.amount.is_zero()),
                "empty chunk"
            );
            ensure!(
                ledger
                    .unbonding
                    .is_sorted_by(|a, b| a.release_at < b.release_at),
                "chunks out of order"
            );
            bonded = bonded.checked_add(ledger.own).ok_or("bonds overflow")?;
        }
        ensure!(bonded == TotalBonded::<T>::get(), "TotalBonded is off");
        Ok(())
    }

    fn holds_are_the_ledgers() -> Result<(), TryRuntimeError> {
        let mut sums = BTreeMap::<T::AccountId, Balance>::new();
        for (node, ledger) in Ledgers::<T>::iter() {
            let keys = T::Nodes::keys(node).ok_or("ledger of no node")?;
            let sum = sums.entry(keys.coldkey).or_default();
            *sum = sum.checked_add(ledger.total()).ok_or("ledgers overflow")?;
        }
        for account in frame_system::Account::<T>::iter_keys() {
            let sum = sums.remove(&account).unwrap_or_default();
            ensure!(Self::held(&account) == sum, "hold of a bond is off");
        }
        ensure!(sums.is_empty(), "ledger of a missing account");
        Ok(())
    }

    fn pools_are_their_delegations() -> Result<(), TryRuntimeError> {
        let mut sums = BTreeMap::<NodeId, Sums>::new();
        for (node, _, delegation) in Delegations::<T>::iter() {
            let pool = Pools::<T>::get(node).ok_or("delegation without a pool")?;
            ensure!(!delegation.is_empty(), "empty delegation");
            ensure!(
                delegation.chunks.iter().all(|chunk| chunk.shares > 0),
                "empty chunk of a delegation"
            );
            ensure!(
                delegation
                    .chunks
                    .is_sorted_by(|a, b| a.release_at < b.release_at),
                "chunks of a delegation out of order"
            );
            ensure!(
                delegation.since <= pool.reward_per_share,
                "delegation ahead of its pool"
            );
            let earned = pool.earned(delegation.shares, delegation.since);
            let claims = delegation.unclaimed.checked_add(earned);
            let sum = sums.entry(node).or_default();
            sum.delegators = sum.delegators.saturating_add(1);
            sum.active = sum.active.saturating_add(delegation.shares);
            sum.leaving = sum.leaving.saturating_add(delegation.leaving());
            sum.claims = sum.claims.saturating_add(claims.ok_or("claims overflow")?);
        }
        let mut delegated: Balance = 0;
        for (node, pool) in Pools::<T>::iter() {
            ensure!(T::Nodes::keys(node).is_some(), "pool of no node");
            ensure!(
                !pool.is_empty() || Ledgers::<T>::contains_key(node),
                "pool of which nothing is left"
            );
            let sum = sums.remove(&node).unwrap_or_default();
            ensure!(pool.delegators == sum.delegators, "delegations are off");
            ensure!(pool.active.shares == sum.active, "shares are off");
            ensure!(pool.leaving.shares == sum.leaving, "leaving shares are off");
            ensure!(pool.owed >= sum.claims, "more is claimed than there is");
            for part in [pool.active, pool.leaving] {
                ensure!(
                    part.shares > 0 || part.amount.is_zero(),
                    "money of nobody in a pool"
                );
            }
            ensure!(
                pool.closed_at.is_none() || pool.active.shares > 0,
                "a pool is closed for nobody"
            );
            delegated = delegated
                .checked_add(pool.backing())
                .ok_or("delegations overflow")?;
        }
        ensure!(sums.is_empty(), "delegations of a missing pool");
        ensure!(
            delegated == TotalDelegated::<T>::get(),
            "TotalDelegated is off"
        );
        Ok(())
    }

    /// Anybody may send something to the pot, so it may hold more.
    fn the_pot_covers_the_pools() -> Result<(), TryRuntimeError> {
        ensure!(
            T::Currency::balance(&Self::pot()) >= Self::due_in_pot(),
            "the pot does not cover the pools"
        );
        Ok(())
    }

    /// What must lie in the pot.
    pub(crate) fn due_in_pot() -> Balance {
        Pools::<T>::iter_values().fold(T::Currency::minimum_balance(), |sum, pool| {
            sum.saturating_add(pool.in_pot())
        })
    }

    fn departures_have_liens() -> Result<(), TryRuntimeError> {
        for (node, departed) in Departed::<T>::iter() {
            ensure!(T::Nodes::keys(node).is_some(), "departures from no node");
            ensure!(!departed.list.is_empty(), "no departure at all");
            ensure!(
                departed.charged != T::Slasher::pending(node).is_zero(),
                "a charge was not heard of"
            );
            for (index, departure) in departed.list.iter().enumerate() {
                let later = departed.list.iter().skip(index.saturating_add(1));
                ensure!(
                    later.clone().all(|other| other != departure),
                    "departed twice"
                );
                let to = departure.to;
                let liens = match &departure.delegator {
                    None => BondLiens::<T>::get(to),
                    Some(delegator) => {
                        Delegations::<T>::get(to, delegator)
                            .ok_or("departed to nowhere")?
                            .liens
                    }
                };
                ensure!(
                    liens.iter().any(|lien| lien.from == node),
                    "departure without a lien"
                );
            }
        }
        Ok(())
    }

    fn liens_have_departures() -> Result<(), TryRuntimeError> {
        for (to, liens) in BondLiens::<T>::iter() {
            let total = Ledgers::<T>::get(to).map_or(0, |ledger| ledger.total());
            ensure!(!liens.is_empty(), "no lien at all");
            Self::are_sound(&liens, total, to, None)?;
        }
        for (to, delegator, delegation) in Delegations::<T>::iter() {
            Self::are_sound(&delegation.liens, delegation.shares, to, Some(delegator))?;
        }
        Ok(())
    }

    /// Are these liens on something of that size, and known where they come from?
    fn are_sound(
        liens: &LiensOf<T>,
        on: u128,
        to: NodeId,
        delegator: Option<T::AccountId>,
    ) -> Result<(), TryRuntimeError> {
        ensure!(total_of::<T>(liens) <= on, "more liens than stake");
        let departure = Departure { to, delegator };
        let sources: BTreeSet<NodeId> = liens.iter().map(|lien| lien.from).collect();
        ensure!(sources.len() == liens.len(), "two liens for one node");
        for lien in liens {
            ensure!(lien.amount > 0, "empty lien");
            ensure!(lien.from != to, "lien for the node itself");
            ensure!(
                Departed::<T>::get(lien.from).list.contains(&departure),
                "lien without a departure"
            );
        }
        Ok(())
    }

    fn eras_follow_each_other() -> Result<(), TryRuntimeError> {
        for validators in [CurrentValidators::<T>::get(), PlannedValidators::<T>::get()] {
            let distinct: BTreeSet<NodeId> = validators.iter().copied().collect();
            ensure!(distinct.len() == validators.len(), "validator twice");
        }
        let (Some(current), Some(planned)) = (CurrentEra::<T>::get(), PlannedEra::<T>::get())
        else {
            ensure!(
                CurrentEra::<T>::get().is_none(),
                "era that was never planned"
            );
            return Ok(());
        };
        ensure!(
            current == planned
                || (current.index < planned.index && current.first_session < planned.first_session),
            "eras out of order"
        );
        Ok(())
    }
}
