//! The only writer of the ledgers and the pools, and of the holds and the pot behind them.

use crate::{
    liens::Liens, pool::spread, Config, Error, Event, HoldReason, Ledger, Ledgers, Pallet, PoolOf,
    Pools, TotalBonded, TotalDelegated,
};
use alloc::vec::Vec;
use core::marker::PhantomData;
use frame_support::{
    ensure,
    traits::{
        fungible::{Balanced, BalancedHold, Credit, Inspect, Mutate, MutateHold},
        tokens::{Fortitude, Precision, Preservation, Restriction},
        Get, Imbalance,
    },
};
use quipu_primitives::{
    traits::{Nodes, OnBondChange, StakeRewards},
    Balance, NodeId,
};
use sp_runtime::{
    traits::{AccountIdConversion, Zero},
    ArithmeticError, DispatchError, DispatchResult, TokenError,
};

/// What was taken of what is at stake.
pub(crate) type Taken<T> = Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;

/// All that is at stake for a node.
pub(crate) struct Stake<T: Config> {
    /// Its owner's.
    pub ledger: Ledger<T>,
    /// Others'.
    pub pool: PoolOf<T>,
}

impl<T: Config> Stake<T> {
    pub fn of(node: NodeId) -> Self {
        Self {
            ledger: Ledgers::<T>::get(node).unwrap_or_default(),
            pool: Pools::<T>::get(node).unwrap_or_default(),
        }
    }

    /// All that can be slashed at the node itself.
    pub fn total(&self) -> Balance {
        self.ledger.total().saturating_add(self.pool.total())
    }

    /// Both totals, of the owner and of the others.
    fn totals(&self) -> (Balance, Balance) {
        (self.ledger.total(), self.pool.total())
    }

    /// The self-bond, and what others have at stake beside it.
    fn at_stake(&self) -> (Balance, Balance) {
        (self.ledger.own, self.pool.backing())
    }
}

/// Owner of `Ledgers`, `Pools`, their sums, the holds for [`HoldReason::Bond`] and the pot: each of its
/// functions leaves them in agreement, and tells `OnBondChange` of a self-bond that changed and
/// `Rewards` of a stake that did.
pub(crate) struct Book<T>(PhantomData<T>);

impl<T: Config> Book<T> {
    /// Holds more of `coldkey` for the node's self-bond, and gives the self-bond.
    pub fn bond(
        node: NodeId,
        coldkey: &T::AccountId,
        amount: Balance,
    ) -> Result<Balance, DispatchError> {
        Self::change(node, |stake| {
            stake.ledger.bond(amount)?;
            T::Currency::hold(&HoldReason::Bond.into(), coldkey, amount)?;
            Ok(stake.ledger.own)
        })
    }

    /// Releases what is due to `coldkey`, and gives how much that was.
    pub fn withdraw(node: NodeId, coldkey: &T::AccountId) -> Result<Balance, DispatchError> {
        let now = frame_system::Pallet::<T>::block_number();
        Self::change(node, |stake| {
            let due = stake.ledger.withdraw(now);
            if due.is_zero() {
                return Err(Error::<T>::NothingDue.into());
            }
            ensure!(
                stake.ledger.total() >= Liens::<T>::lapse_on_bond(node),
                Error::<T>::StillLiable
            );
            T::Currency::release(&HoldReason::Bond.into(), coldkey, due, Precision::Exact)
        })
    }

    /// Takes up to `amount` of what the node has at stake: of its owner's part, of the others' and of
    /// what moved away and still answers for it, in proportion, the owner's first.
    pub fn slash(node: NodeId, amount: Balance) -> Result<Taken<T>, DispatchError> {
        // A node that is gone has nothing at stake.
        let Some(keys) = T::Nodes::keys(node) else {
            return Ok(Taken::<T>::zero());
        };
        let departures = Liens::<T>::departures(node);
        let mut left: Vec<Balance> = departures.iter().map(|(_, value)| *value).collect();
        let mut taken = Self::change(node, |stake| {
            let before = stake.totals();
            let total = left
                .iter()
                .fold(stake.total(), |sum, value| sum.saturating_add(*value));
            let pool = [
                &mut stake.pool.active.amount,
                &mut stake.pool.leaving.amount,
            ];
            let parts = stake.ledger.parts().chain(pool).chain(left.iter_mut());
            spread(parts, total, amount);
            stake.ledger.drop_empty();
            Liens::<T>::cut_bond(node, before.0, stake.ledger.total());
            let own =
                Self::take_held(&keys.coldkey, before.0.saturating_sub(stake.ledger.total()))?;
            let others = Self::take_of_pot(before.1.saturating_sub(stake.pool.total()))?;
            Ok(own.merge(others))
        })?;
        for ((departure, value), left) in departures.into_iter().zip(left) {
            let cut = value.saturating_sub(left);
            if !cut.is_zero() {
                taken = taken.merge(Liens::<T>::take(node, departure, cut)?);
            }
        }
        Ok(taken)
    }

    /// Moves the hold for all that is in the node's ledger to another account, which must exist.
    pub fn move_hold(
        node: NodeId,
        from: &T::AccountId,
        to: &T::AccountId,
    ) -> Result<Balance, DispatchError> {
        let total = Ledgers::<T>::get(node).map_or(0, |ledger| ledger.total());
        if total.is_zero() {
            return Ok(0);
        }
        T::Currency::transfer_on_hold(
            &HoldReason::Bond.into(),
            from,
            to,
            total,
            Precision::Exact,
            Restriction::OnHold,
            Fortitude::Polite,
        )
    }

    /// Takes of what is held of `coldkey`.
    pub fn take_held(coldkey: &T::AccountId, amount: Balance) -> Result<Taken<T>, DispatchError> {
        let (taken, missing) = T::Currency::slash(&HoldReason::Bond.into(), coldkey, amount);
        ensure!(missing.is_zero(), TokenError::FundsUnavailable);
        Ok(taken)
    }

    /// Takes out of the pot what was taken out of a pool.
    pub fn take_of_pot(amount: Balance) -> Result<Taken<T>, DispatchError> {
        if amount.is_zero() {
            return Ok(Taken::<T>::zero());
        }
        T::Currency::withdraw(
            &Pallet::<T>::pot(),
            amount,
            Precision::Exact,
            Preservation::Preserve,
            Fortitude::Force,
        )
    }

    /// Puts into the pot what is added to a pool.
    pub fn pay_in(from: &T::AccountId, amount: Balance) -> DispatchResult {
        let there_is =
            T::Currency::reducible_balance(from, Preservation::Preserve, Fortitude::Polite);
        ensure!(amount <= there_is, TokenError::FundsUnavailable);
        let pot = Pallet::<T>::pot();
        T::Currency::transfer(from, &pot, amount, Preservation::Preserve).map(|_| ())
    }

    /// Pays what was taken out of a pool, and gives how much was paid. What is too little for an account
    /// that doesn't exist goes to the node's owner.
    pub fn pay_out(
        pool: &mut PoolOf<T>,
        to: &T::AccountId,
        amount: Balance,
    ) -> Result<Balance, DispatchError> {
        let too_little = amount < T::Currency::minimum_balance();
        if too_little && T::Currency::total_balance(to).is_zero() {
            pool.owner_rewards = pool.owner_rewards.saturating_add(amount);
            return Ok(0);
        }
        if amount.is_zero() {
            return Ok(0);
        }
        let pot = Pallet::<T>::pot();
        T::Currency::transfer(&pot, to, amount, Preservation::Preserve)
    }

    /// Changes what is at stake for a node without moving money in or out of it, or together with
    /// that. What the node earned until then is shared out first.
    pub fn change<R>(
        node: NodeId,
        change: impl FnOnce(&mut Stake<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        let mut stake = Stake::<T>::of(node);
        let (own, backing) = stake.at_stake();
        let reward = T::Rewards::collect(node, &Pallet::<T>::pot());
        if !reward.is_zero() {
            let to_delegators = stake.pool.share_out(reward, own);
            Pallet::<T>::deposit_event(Event::RewardShared {
                node,
                to_owner: reward.saturating_sub(to_delegators),
                to_delegators,
            });
        }
        let result = change(&mut stake)?;
        stake.pool.tidy();
        let (own_after, backing_after) = stake.at_stake();
        TotalBonded::<T>::try_mutate(|total| replace(total, own, own_after))?;
        TotalDelegated::<T>::try_mutate(|total| replace(total, backing, backing_after))?;
        Self::write(node, &stake);
        if own_after != own {
            let self_bond = Pallet::<T>::what_counts(node, &stake.ledger);
            T::OnBondChange::bond_changed(node, self_bond);
        }
        if (own_after, backing_after) != (own, backing) {
            T::Rewards::stake_changed(node, Pallet::<T>::what_earns(node, &stake));
        }
        Ok(result)
    }

    /// Changes of a ledger what is no money.
    pub fn mark<R>(
        node: NodeId,
        change: impl FnOnce(&mut Ledger<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        Ledgers::<T>::try_mutate_exists(node, |slot| {
            let ledger = slot.as_mut().ok_or(Error::<T>::NotBonded)?;
            change(ledger)
        })
    }

    /// What is empty is not stored. Where nothing is at stake and nothing is owed, the terms of the
    /// pool are gone too.
    fn write(node: NodeId, stake: &Stake<T>) {
        match stake.ledger.is_empty() {
            true => Ledgers::<T>::remove(node),
            false => Ledgers::<T>::insert(node, &stake.ledger),
        }
        let pool = &stake.pool;
        let is_gone = pool.is_empty() && stake.ledger.is_empty();
        match is_gone || *pool == PoolOf::<T>::default() {
            true => Pools::<T>::remove(node),
            false => Pools::<T>::insert(node, pool),
        }
    }
}

/// Puts `after` into a sum in the place of `before`.
fn replace(sum: &mut Balance, before: Balance, after: Balance) -> Result<(), ArithmeticError> {
    let rest = sum.checked_sub(before).ok_or(ArithmeticError::Underflow)?;
    *sum = rest.checked_add(after).ok_or(ArithmeticError::Overflow)?;
    Ok(())
}

impl<T: Config> Pallet<T> {
    /// The account in which all delegated money lies, and the rewards that nobody claimed yet.
    pub fn pot() -> T::AccountId {
        T::PotId::get().into_account_truncating()
    }

    /// Mints what keeps the pot in existence.
    pub(crate) fn endow_pot() -> DispatchResult {
        let pot = Self::pot();
        let missing = T::Currency::minimum_balance().saturating_sub(T::Currency::balance(&pot));
        match missing.is_zero() {
            true => Ok(()),
            false => T::Currency::mint_into(&pot, missing).map(|_| ()),
        }
    }
}
