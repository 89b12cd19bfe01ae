//! The only writer of the ledgers and of the holds behind them.

use crate::{Config, Error, HoldReason, Ledger, Ledgers, Pallet, TotalBonded};
use core::marker::PhantomData;
use frame_support::{
    ensure,
    traits::{
        fungible::{BalancedHold, Credit, MutateHold},
        tokens::{Fortitude, Precision, Restriction},
        Imbalance,
    },
};
use quipu_primitives::{
    traits::{Nodes, OnBondChange},
    Balance, NodeId,
};
use sp_runtime::{traits::Zero, ArithmeticError, DispatchError, DispatchResult, TokenError};

/// What was taken of a bond.
pub(crate) type Taken<T> = Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;

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

    /// Takes up to `amount` of what the node has at stake.
    pub fn slash(node: NodeId, amount: Balance) -> Result<Taken<T>, DispatchError> {
        // A node that is gone has no ledger.
        let Some(keys) = T::Nodes::keys(node) else {
            return Ok(Taken::<T>::zero());
        };
        Self::change(node, |ledger| {
            let amount = ledger.slash(amount);
            let (taken, missing) =
                T::Currency::slash(&HoldReason::Bond.into(), &keys.coldkey, amount);
            ensure!(missing.is_zero(), TokenError::FundsUnavailable);
            Ok(taken)
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
            T::OnBondChange::bond_changed(node, Pallet::<T>::what_counts(node, &ledger));
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
