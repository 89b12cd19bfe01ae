//! What delegators do, and what they and owners earn, once the origin of the call is known.

use crate::{
    backers::Backers,
    book::{Book, Stake},
    liens::Liens,
    pool::ShareError,
    Config, Delegation, Error, Event, Ledgers, Pallet,
};
use frame_support::{ensure, traits::Get};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    traits::{Nodes, PendingSlashes},
    Balance, NodeId,
};
use sp_runtime::{
    traits::{Saturating, Zero},
    DispatchError, DispatchResult, Perbill,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_delegate(
        delegator: T::AccountId,
        node: NodeId,
        amount: Balance,
    ) -> DispatchResult {
        let least = T::MinDelegation::get();
        ensure!(amount >= least, Error::<T>::BelowMinDelegation);
        let shares = Backers::<T>::change_or_begin(node, &delegator, |stake, delegation| {
            Self::ensure_open(node, stake)?;
            Book::<T>::pay_in(&delegator, amount)?;
            let shares = stake.pool.take_in::<T>(amount)?;
            delegation.shares = delegation.shares.saturating_add(shares);
            Ok(shares)
        })?;
        Self::deposit_event(Event::Delegated {
            node,
            delegator,
            amount,
            shares,
        });
        Ok(())
    }

    pub(crate) fn do_undelegate(
        delegator: T::AccountId,
        node: NodeId,
        amount: Balance,
    ) -> DispatchResult {
        let (amount, release_at) = Backers::<T>::change(node, &delegator, |stake, delegation| {
            ensure!(stake.pool.closed_at.is_none(), Error::<T>::PoolClosed);
            Liens::<T>::lapse_on_delegation(node, &delegator, delegation);
            let amount = delegation.part_with(&mut stake.pool.active, amount)?;
            let shares = stake.pool.leaving.deposit(amount);
            let release_at = Self::release_at();
            delegation.wait(shares.map_err(Error::<T>::from)?, release_at)?;
            Ok((amount, release_at))
        })?;
        Self::deposit_event(Event::Undelegated {
            node,
            delegator,
            amount,
            release_at,
        });
        Ok(())
    }

    pub(crate) fn do_withdraw_delegation(node: NodeId, delegator: T::AccountId) -> DispatchResult {
        Self::ensure_not_charged(node)?;
        let now = Self::now();
        let amount = Backers::<T>::change(node, &delegator, |stake, delegation| {
            let due = delegation.withdraw(now);
            let mut amount = stake.pool.leaving.withdraw(due);
            let mut shares = due;
            let closed = stake.pool.closed_at;
            if closed.is_some_and(|at| now >= at.saturating_add(T::UnbondingPeriod::get())) {
                Liens::<T>::lapse_on_delegation(node, &delegator, delegation);
                let free = delegation.shares.saturating_sub(delegation.liable());
                delegation.shares = delegation.shares.saturating_sub(free);
                amount = amount.saturating_add(stake.pool.active.withdraw(free));
                shares = shares.saturating_add(free);
            }
            ensure!(!shares.is_zero(), Error::<T>::NothingDue);
            let paid = Book::<T>::pay_out(&mut stake.pool, &delegator, amount)?;
            if delegation.is_over() {
                Backers::<T>::pay_rewards(node, &delegator, &mut stake.pool, delegation)?;
            }
            Ok(paid)
        })?;
        Self::deposit_event(Event::DelegationWithdrawn {
            node,
            delegator,
            amount,
        });
        Ok(())
    }

    pub(crate) fn do_release_delegator(node: NodeId, delegator: T::AccountId) -> DispatchResult {
        Self::ensure_not_charged(node)?;
        let (asked_back, worthless) =
            Backers::<T>::change(node, &delegator, |stake, delegation| {
                let worthless = Self::clear_worthless(node, &delegator, stake, delegation);
                let released = Self::may_be_released(stake, delegation);
                let asked_back = match released {
                    true => Self::release(node, &delegator, stake, delegation)?,
                    false => 0,
                };
                let over = delegation.is_over();
                let done = over || worthless || released;
                ensure!(done, Error::<T>::NothingToRelease);
                if over {
                    Backers::<T>::pay_rewards(node, &delegator, &mut stake.pool, delegation)?;
                }
                Ok((asked_back, worthless))
            })?;
        Self::deposit_event(Event::DelegatorReleased {
            node,
            delegator,
            amount: asked_back,
            worthless,
        });
        Ok(())
    }

    /// Is there something to ask back of a delegator of a node without a self-bond?
    fn may_be_released(stake: &Stake<T>, delegation: &Delegation<T>) -> bool {
        stake.ledger.own.is_zero() && stake.pool.closed_at.is_none() && !delegation.shares.is_zero()
    }

    /// Asks all of a delegation back.
    fn release(
        node: NodeId,
        delegator: &T::AccountId,
        stake: &mut Stake<T>,
        delegation: &mut Delegation<T>,
    ) -> Result<Balance, DispatchError> {
        Liens::<T>::lapse_on_delegation(node, delegator, delegation);
        ensure!(delegation.liens.is_empty(), Error::<T>::StillLiable);
        let shares = core::mem::take(&mut delegation.shares);
        let amount = stake.pool.active.withdraw(shares);
        match stake.pool.leaving.deposit(amount) {
            // It belongs to all who leave.
            Err(ShareError::TooSmall) => {
                let leaving = &mut stake.pool.leaving;
                leaving.amount = leaving.amount.saturating_add(amount);
            }
            shares => {
                let shares = shares.map_err(Error::<T>::from)?;
                delegation.wait(shares, Self::release_at())?;
            }
        }
        Ok(amount)
    }

    /// Strikes shares of parts of which nothing is left, and says whether there were any.
    fn clear_worthless(
        node: NodeId,
        delegator: &T::AccountId,
        stake: &mut Stake<T>,
        delegation: &mut Delegation<T>,
    ) -> bool {
        let mut cleared = false;
        if stake.pool.active.is_wiped() && !delegation.shares.is_zero() {
            Liens::<T>::drop_on_delegation(node, delegator, delegation);
            stake.pool.active.withdraw(delegation.shares);
            delegation.shares = 0;
            cleared = true;
        }
        if stake.pool.leaving.is_wiped() && !delegation.chunks.is_empty() {
            stake.pool.leaving.withdraw(delegation.leaving());
            delegation.chunks = Default::default();
            cleared = true;
        }
        cleared
    }

    pub(crate) fn do_claim(delegator: T::AccountId, node: NodeId) -> DispatchResult {
        Self::ensure_not_charged(node)?;
        Backers::<T>::change(node, &delegator, |stake, delegation| {
            let earned = delegation.unclaimed;
            ensure!(!earned.is_zero(), Error::<T>::NothingToClaim);
            Backers::<T>::pay_rewards(node, &delegator, &mut stake.pool, delegation)?;
            Ok(())
        })
    }

    pub(crate) fn do_claim_own(who: T::AccountId, node: NodeId) -> DispatchResult {
        Self::ensure_owner(&who, node)?;
        Self::ensure_not_charged(node)?;
        let amount = Book::<T>::change(node, |stake| {
            let amount = core::mem::take(&mut stake.pool.owner_rewards);
            let paid = Book::<T>::pay_out(&mut stake.pool, &who, amount)?;
            ensure!(!paid.is_zero(), Error::<T>::NothingToClaim);
            Ok(paid)
        })?;
        Self::deposit_event(Event::OwnRewardClaimed {
            node,
            coldkey: who,
            amount,
        });
        Ok(())
    }

    pub(crate) fn do_set_commission(
        who: T::AccountId,
        node: NodeId,
        commission: Perbill,
    ) -> DispatchResult {
        Self::ensure_owner(&who, node)?;
        ensure!(Ledgers::<T>::contains_key(node), Error::<T>::NotBonded);
        let most = T::MaxCommission::get();
        ensure!(commission <= most, Error::<T>::CommissionTooHigh);
        Book::<T>::change(node, |stake| {
            let pool = &mut stake.pool;
            ensure!(commission != pool.commission, Error::<T>::SameCommission);
            if commission > pool.commission {
                let now = Self::now();
                let raise = commission.saturating_sub(pool.commission);
                let step = T::MaxCommissionRaise::get();
                ensure!(raise <= step, Error::<T>::RaiseTooLarge);
                let period = T::CommissionPeriod::get();
                ensure!(
                    pool.raised_at
                        .is_none_or(|at| now >= at.saturating_add(period)),
                    Error::<T>::RaiseTooSoon
                );
                pool.raised_at = Some(now);
            }
            pool.commission = commission;
            Ok(())
        })?;
        Self::deposit_event(Event::CommissionSet { node, commission });
        Ok(())
    }

    /// Others may have something at stake only beside an owner who has. Nobody buys into a loss.
    pub(crate) fn ensure_open(node: NodeId, stake: &Stake<T>) -> DispatchResult {
        ensure!(T::Nodes::keys(node).is_some(), Error::<T>::NoSuchNode);
        ensure!(!stake.ledger.own.is_zero(), Error::<T>::NotBonded);
        ensure!(stake.pool.closed_at.is_none(), Error::<T>::PoolClosed);
        Self::ensure_not_charged(node)
    }

    pub(crate) fn ensure_not_charged(node: NodeId) -> DispatchResult {
        let pending = T::Slasher::pending(node);
        ensure!(pending.is_zero(), Error::<T>::SlashPending);
        Ok(())
    }

    /// The block from which on can be paid out what is asked back in this one.
    pub(crate) fn release_at() -> BlockNumberFor<T> {
        Self::now().saturating_add(T::UnbondingPeriod::get())
    }

    pub(crate) fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }
}
