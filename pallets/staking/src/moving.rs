//! Stake that moves from one node to another at once, and stays liable for the first one.

use crate::{backers::Backers, book::Book, liens::Liens, Config, Error, Event, Pallet};
use frame_support::{ensure, traits::Get};
use quipu_primitives::{Balance, NodeId};
use sp_runtime::{traits::Zero, DispatchResult};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_move_delegation(
        delegator: T::AccountId,
        from: NodeId,
        to: NodeId,
        amount: Balance,
    ) -> DispatchResult {
        Self::ensure_may_depart(from, to)?;
        let amount = Backers::<T>::change(from, &delegator, |stake, delegation| {
            Liens::<T>::lapse_on_delegation(from, &delegator, delegation);
            let amount = delegation.part_with(&mut stake.pool.active, amount)?;
            if delegation.is_over() {
                Backers::<T>::pay_rewards(from, &delegator, &mut stake.pool, delegation)?;
            }
            Ok(amount)
        })?;
        let least = T::MinDelegation::get();
        ensure!(amount >= least, Error::<T>::BelowMinDelegation);
        let shares = Backers::<T>::change_or_begin(to, &delegator, |stake, delegation| {
            Self::ensure_open(to, stake)?;
            let shares = stake.pool.take_in::<T>(amount)?;
            delegation.shares = delegation.shares.saturating_add(shares);
            Liens::<T>::lapse_on_delegation(to, &delegator, delegation);
            Liens::<T>::add_to_delegation(to, &delegator, delegation, from, shares)?;
            Ok(shares)
        })?;
        Self::deposit_event(Event::DelegationMoved {
            from,
            to,
            delegator,
            amount,
            shares,
        });
        Ok(())
    }

    pub(crate) fn do_move_bond(
        who: T::AccountId,
        from: NodeId,
        to: NodeId,
        amount: Balance,
    ) -> DispatchResult {
        Self::ensure_owner(&who, from)?;
        Self::ensure_owner(&who, to)?;
        Self::ensure_may_depart(from, to)?;
        Book::<T>::change(from, |stake| {
            stake.ledger.lower(amount)?;
            Self::ensure_free_of_liens(from, stake.ledger.own)
        })?;
        let self_bond = Book::<T>::change(to, |stake| {
            stake.ledger.bond(amount)?;
            Ok(stake.ledger.own)
        })?;
        Liens::<T>::lapse_on_bond(to);
        Liens::<T>::add_to_bond(to, from, amount)?;
        Self::deposit_event(Event::BondMovedToNode {
            from,
            to,
            amount,
            self_bond,
        });
        Ok(())
    }

    /// Nothing departs from a node that is charged with something.
    fn ensure_may_depart(from: NodeId, to: NodeId) -> DispatchResult {
        ensure!(from != to, Error::<T>::SameNode);
        Self::ensure_not_charged(from)?;
        Liens::<T>::lapse(from);
        Ok(())
    }

    /// Is so much of a ledger enough for what answers for other nodes on it?
    pub(crate) fn ensure_free_of_liens(node: NodeId, left: Balance) -> DispatchResult {
        let liable = Liens::<T>::lapse_on_bond(node);
        ensure!(liable.is_zero() || left >= liable, Error::<T>::StillLiable);
        Ok(())
    }

    pub(crate) fn do_clear_moves(node: NodeId) -> DispatchResult {
        let cleared = Liens::<T>::lapse(node);
        ensure!(!cleared.is_zero(), Error::<T>::NothingToClear);
        Self::deposit_event(Event::MovesCleared { node, cleared });
        Ok(())
    }
}
