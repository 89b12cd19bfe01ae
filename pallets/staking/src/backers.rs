//! The only writer of the delegations.

use crate::{
    book::{Book, Stake},
    Config, Delegation, Delegations, Error, Event, Pallet, PoolOf,
};
use core::marker::PhantomData;
use frame_support::ensure;
use quipu_primitives::{Balance, NodeId};
use sp_runtime::{traits::Zero, DispatchError};

/// Owner of `Delegations`: keeps them and the pools in agreement.
pub(crate) struct Backers<T>(PhantomData<T>);

impl<T: Config> Backers<T> {
    /// Changes a delegation that exists, and what is at stake for its node.
    pub fn change<R>(
        node: NodeId,
        who: &T::AccountId,
        change: impl FnOnce(&mut Stake<T>, &mut Delegation<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        ensure!(
            Delegations::<T>::contains_key(node, who),
            Error::<T>::NotDelegated
        );
        Self::change_or_begin(node, who, change)
    }

    /// Changes a delegation, or begins one.
    pub fn change_or_begin<R>(
        node: NodeId,
        who: &T::AccountId,
        change: impl FnOnce(&mut Stake<T>, &mut Delegation<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        Book::<T>::change(node, |stake| {
            let found = Delegations::<T>::get(node, who);
            let existed = u32::from(found.is_some());
            let mut delegation = found.unwrap_or_default();
            delegation.settle(&stake.pool);
            let result = change(stake, &mut delegation)?;
            let exists = u32::from(!delegation.is_empty());
            stake.pool.delegators = stake
                .pool
                .delegators
                .saturating_sub(existed)
                .saturating_add(exists);
            match delegation.is_empty() {
                true => Delegations::<T>::remove(node, who),
                false => Delegations::<T>::insert(node, who, delegation),
            }
            Ok(result)
        })
    }

    /// Pays out what a delegation earned, and gives how much that was.
    pub fn pay_rewards(
        node: NodeId,
        who: &T::AccountId,
        pool: &mut PoolOf<T>,
        delegation: &mut Delegation<T>,
    ) -> Result<Balance, DispatchError> {
        let amount = core::mem::take(&mut delegation.unclaimed);
        pool.owed = pool.owed.saturating_sub(amount);
        let paid = Book::<T>::pay_out(pool, who, amount)?;
        if !paid.is_zero() {
            Pallet::<T>::deposit_event(Event::RewardClaimed {
                node,
                delegator: who.clone(),
                amount: paid,
            });
        }
        Ok(paid)
    }
}
