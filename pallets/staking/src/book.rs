//! The only writer of the ledgers and of the holds behind them.

use crate::{Config, Error, HoldReason, Ledger, Ledgers, TotalBonded};
use core::marker::PhantomData;
use frame_support::traits::{
    fungible::MutateHold,
    tokens::{Fortitude, Precision, Restriction},
};
use quipu_primitives::{
    traits::{Nodes, OnBondChange},
    Balance, NodeId,
};
use sp_runtime::{traits::Zero, ArithmeticError, DispatchError, DispatchResult};

/// Owner of `Ledgers`, `TotalBonded` and the holds for [`HoldReason::Bond`]: each of its functions
/// leaves them in agreement, and tells `OnBondChange` of a self-bond that changed.
pub(crate) struct Book<T>(PhantomData<T>);

impl<T: Config> Book<T> {
    /// Holds more of `coldkey` for the node's self-bond, and gives the self-bond.
    pub fn bond(
        node: NodeId,
        coldkey: &T::AccountId,
        amount: Balance,
    ) -> Result<Balance, DispatchError> {
        Self::change(node, |ledger| {
            ledger.bond(amount)?;
            T::Currency::hold(&HoldReason::Bond.into(), coldkey, amount)?;
            Ok(ledger.own)
        })
    }

    /// Releases what is due to `coldkey`, and gives how much that was.
    pub fn withdraw(node: NodeId, coldkey: &T::AccountId) -> Result<Balance, DispatchError> {
        let now = frame_system::Pallet::<T>::block_number();
        Self::change(node, |ledger| {
            let due = ledger.withdraw(now);
            if due.is_zero() {
                return Err(Error::<T>::NothingDue.into());
            }
            T::Currency::release(&HoldReason::Bond.into(), coldkey, due, Precision::Exact)
        })
    }

    /// Burns up to `amount` of what the node has at stake, and gives how much that was.
    pub fn slash(node: NodeId, amount: Balance) -> Result<Balance, DispatchError> {
        // A node that is gone has no ledger.
        let Some(keys) = T::Nodes::keys(node) else {
            return Ok(0);
        };
        Self::change(node, |ledger| {
            let taken = ledger.slash(amount);
            if taken.is_zero() {
                return Ok(0);
            }
            T::Currency::burn_held(
                &HoldReason::Bond.into(),
                &keys.coldkey,
                taken,
                Precision::Exact,
                Fortitude::Force,
            )
        })
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

    /// Changes what a ledger says without moving money in or out of it, or, in the functions above,
    /// together with the hold.
    pub fn change<R>(
        node: NodeId,
        change: impl FnOnce(&mut Ledger<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        let mut ledger = Ledgers::<T>::get(node).unwrap_or_default();
        let before = ledger.own;
        let result = change(&mut ledger)?;
        Self::write(node, before, &ledger)?;
        if ledger.own != before {
            T::OnBondChange::bond_changed(node, ledger.own);
        }
        Ok(result)
    }

    fn write(node: NodeId, before: Balance, ledger: &Ledger<T>) -> DispatchResult {
        TotalBonded::<T>::try_mutate(|total| {
            let rest = total
                .checked_sub(before)
                .ok_or(ArithmeticError::Underflow)?;
            *total = rest
                .checked_add(ledger.own)
                .ok_or(ArithmeticError::Overflow)?;
            Ok::<_, ArithmeticError>(())
        })?;
        match ledger.is_empty() {
            true => Ledgers::<T>::remove(node),
            false => Ledgers::<T>::insert(node, ledger),
        }
        Ok(())
    }
}
