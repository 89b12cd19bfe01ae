//! What the calls of owners do once their origin is known, and the traits by which other pallets see
//! what is at stake.

use crate::{
    book::{Book, Stake, Taken},
    liens::Liens,
    Config, CurrentValidators, Departed, Error, Event, HoldReason, Ledger, Ledgers, Pallet,
    PlannedValidators, Pools, Sessions,
};
use frame_support::{
    defensive, ensure,
    storage::with_storage_layer,
    traits::{fungible::InspectHold, Get, Imbalance},
};
use quipu_primitives::{
    node_account,
    traits::{
        Bonds, Nodes, Obligations, OnBondChange, OnColdkeySwap, PendingSlashes, Slashable,
        StakeRewards,
    },
    Balance, NodeId, ROOT_SUBNET,
};
use sp_runtime::{traits::Zero, DispatchError, DispatchResult};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_bond(who: T::AccountId, node: NodeId, amount: Balance) -> DispatchResult {
        Self::ensure_owner(&who, node)?;
        let self_bond = Book::<T>::bond(node, &who, amount)?;
        Self::deposit_event(Event::Bonded {
            node,
            amount,
            self_bond,
        });
        Ok(())
    }

    pub(crate) fn do_unbond(who: T::AccountId, node: NodeId, amount: Balance) -> DispatchResult {
        Self::ensure_owner(&who, node)?;
        let release_at = Self::release_at();
        let self_bond = Book::<T>::change(node, |stake| {
            stake.ledger.unbond(amount, release_at)?;
            Self::ensure_free_of_liens(node, stake.ledger.own)?;
            Ok(stake.ledger.own)
        })?;
        Self::deposit_event(Event::Unbonded {
            node,
            amount,
            self_bond,
            release_at,
        });
        Ok(())
    }

    pub(crate) fn do_rebond(who: T::AccountId, node: NodeId, amount: Balance) -> DispatchResult {
        Self::ensure_owner(&who, node)?;
        let self_bond = Book::<T>::change(node, |stake| {
            stake.ledger.rebond(amount)?;
            Ok(stake.ledger.own)
        })?;
        Self::deposit_event(Event::Rebonded {
            node,
            amount,
            self_bond,
        });
        Ok(())
    }

    pub(crate) fn do_withdraw(node: NodeId) -> DispatchResult {
        let coldkey = Self::owner(node)?;
        Self::ensure_not_charged(node)?;
        let amount = Book::<T>::withdraw(node, &coldkey)?;
        Self::deposit_event(Event::Withdrawn {
            node,
            coldkey: coldkey.clone(),
            amount,
        });
        // With the last of a bond goes what it earned, so that the node can be removed. Where the account can't
        // take it, it stays to be claimed.
        if !Ledgers::<T>::contains_key(node) && !Self::rewards_of(node).is_zero() {
            let _ = with_storage_layer(|| Self::do_claim_own(coldkey, node));
        }
        Ok(())
    }

    pub(crate) fn do_validate(who: T::AccountId, node: NodeId) -> DispatchResult {
        Self::set_chilled(&who, node, false, Error::<T>::NotChilled)?;
        Self::deposit_event(Event::Unchilled { node });
        Ok(())
    }

    pub(crate) fn do_chill(who: T::AccountId, node: NodeId) -> DispatchResult {
        Self::set_chilled(&who, node, true, Error::<T>::AlreadyChilled)?;
        Self::deposit_event(Event::Chilled { node });
        Ok(())
    }

    fn set_chilled(
        who: &T::AccountId,
        node: NodeId,
        chilled: bool,
        already: Error<T>,
    ) -> DispatchResult {
        Self::ensure_owner(who, node)?;
        let keys = T::Nodes::keys(node).ok_or(Error::<T>::NoSuchNode)?;
        ensure!(keys.subnet == ROOT_SUBNET, Error::<T>::NotRootNode);
        Book::<T>::mark(node, |ledger| {
            ensure!(ledger.chilled != chilled, already);
            ledger.chilled = chilled;
            Ok(())
        })
    }

    fn owner(node: NodeId) -> Result<T::AccountId, Error<T>> {
        T::Nodes::keys(node)
            .map(|keys| keys.coldkey)
            .ok_or(Error::<T>::NoSuchNode)
    }

    pub(crate) fn ensure_owner(who: &T::AccountId, node: NodeId) -> DispatchResult {
        ensure!(Self::owner(node)? == *who, Error::<T>::NotOwner);
        Ok(())
    }

    /// What is on hold on an account as the bonds of its nodes.
    pub fn held(account: &T::AccountId) -> Balance {
        T::Currency::balance_on_hold(&HoldReason::Bond.into(), account)
    }

    /// What counts of a self-bond: pending slashes may take all that they cost from it.
    pub(crate) fn what_counts(node: NodeId, ledger: &Ledger<T>) -> Balance {
        ledger.own.saturating_sub(T::Slasher::pending(node))
    }

    /// What earns, of all that is at stake for a node: nothing where what counts of the self-bond is too
    /// little for a seat.
    pub(crate) fn what_earns(node: NodeId, stake: &Stake<T>) -> Balance {
        let own = Self::what_counts(node, &stake.ledger);
        match own < T::MinSelfBond::get() {
            true => 0,
            false => own.saturating_add(stake.pool.backing()),
        }
    }

    /// The account that stands for a node in the sessions.
    pub fn validator_id(node: NodeId) -> T::AccountId {
        node_account(node).into()
    }
}

impl<T: Config> Bonds for Pallet<T> {
    fn self_bond(node: NodeId) -> Balance {
        Ledgers::<T>::get(node).map_or(0, |ledger| Self::what_counts(node, &ledger))
    }

    fn pending_slash(node: NodeId) -> Balance {
        T::Slasher::pending(node)
    }

    fn minimum_self_bond() -> Balance {
        T::MinSelfBond::get()
    }

    fn is_free(node: NodeId) -> bool {
        !Ledgers::<T>::contains_key(node)
            && !Pools::<T>::contains_key(node)
            && !Departed::<T>::contains_key(node)
    }

    fn unbond_all(node: NodeId) {
        let now = Self::now();
        let release_at = Self::release_at();
        let asked_back = with_storage_layer(|| {
            Book::<T>::change(node, |stake| {
                let own = stake.ledger.unbond_all(release_at);
                let pool = &mut stake.pool;
                if pool.closed_at.is_some() || pool.active.shares.is_zero() {
                    return Ok((own, None));
                }
                pool.closed_at = Some(now);
                Ok((own, Some(pool.active.amount)))
            })
        });
        let Ok((own, others)) = asked_back else {
            defensive!("what is at stake for a node could not be asked back");
            return;
        };
        if !own.is_zero() {
            Self::deposit_event(Event::Unbonded {
                node,
                amount: own,
                self_bond: 0,
                release_at,
            });
        }
        if let Some(amount) = others {
            Self::deposit_event(Event::PoolClosed {
                node,
                amount,
                release_at,
            });
        }
    }
}

impl<T: Config> Slashable for Pallet<T> {
    type Proceeds = Taken<T>;

    fn slash(node: NodeId, amount: Balance) -> Result<Taken<T>, DispatchError> {
        let taken = with_storage_layer(|| Book::<T>::slash(node, amount))?;
        let amount = taken.peek();
        if !amount.is_zero() {
            Self::deposit_event(Event::Slashed { node, amount });
        }
        Ok(taken)
    }

    fn slashable(node: NodeId) -> Balance {
        Stake::<T>::of(node)
            .total()
            .saturating_add(Liens::<T>::liable(node))
    }

    fn pending_changed(node: NodeId) {
        let charged = !T::Slasher::pending(node).is_zero();
        Liens::<T>::set_charged(node, charged);
        T::Rewards::stake_changed(node, Self::what_earns(node, &Stake::of(node)));
        T::OnBondChange::bond_changed(node, Self::self_bond(node));
    }
}

impl<T: Config> OnColdkeySwap<T::AccountId> for Pallet<T> {
    /// Refused while session keys are set: their deposit and the reference that they hold on the old
    /// account belong to `pallet-session` and can't be moved. The owner purges them first.
    fn coldkey_swapped(node: NodeId, old: &T::AccountId, new: &T::AccountId) -> DispatchResult {
        ensure!(
            !T::Sessions::has_keys(&Self::validator_id(node)),
            Error::<T>::SessionKeysSet
        );
        let amount = Book::<T>::move_hold(node, old, new)?;
        if !amount.is_zero() {
            let (from, to) = (old.clone(), new.clone());
            Self::deposit_event(Event::BondMoved {
                node,
                from,
                to,
                amount,
            });
        }
        Ok(())
    }
}

impl<T: Config> Obligations for Pallet<T> {
    /// A node is needed while it validates, and while it has session keys, which only its owner can
    /// remove.
    fn has_obligations(node: NodeId) -> bool {
        T::Sessions::has_keys(&Self::validator_id(node))
            || CurrentValidators::<T>::get().contains(&node)
            || PlannedValidators::<T>::get().contains(&node)
    }
}
