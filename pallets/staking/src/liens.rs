//! Stake that moved from one node to another and still answers for what the first one did.

use crate::{
    backers::Backers,
    book::{Book, Taken},
    delegation::{add_lien, total_of, LienOf, LiensOf},
    pool::scaled,
    BondLiens, Config, Delegation, Delegations, Departed, Departure, Departures, Error, Lien,
    Pallet, Pools,
};
use alloc::vec::Vec;
use core::marker::PhantomData;
use quipu_primitives::{traits::Nodes, Balance, NodeId};
use sp_runtime::{traits::Zero, DispatchError, DispatchResult, Rounding};

/// A place that stake of this runtime's accounts moved to.
type DepartureOf<T> = Departure<<T as frame_system::Config>::AccountId>;

/// Owner of `Departed`, `BondLiens` and the liens of delegations: whatever departed from a node has a
/// lien where it is, and the other way round. A lien that is over is free once somebody looks, unless
/// the node is charged with something that it was there for.
pub(crate) struct Liens<T>(PhantomData<T>);

impl<T: Config> Liens<T> {
    /// What departed from the node and answers for it, and what that is worth.
    pub fn departures(node: NodeId) -> Vec<(DepartureOf<T>, Balance)> {
        let departed = Departed::<T>::get(node);
        let charged = departed.charged;
        let valued = departed.list.into_iter().filter_map(|departure| {
            let lien = Self::lien(node, &departure)?;
            Self::holds(charged, &lien).then(|| {
                let value = Self::value(&departure, &lien);
                (departure, value)
            })
        });
        valued.collect()
    }

    /// The sum of that.
    pub fn liable(node: NodeId) -> Balance {
        Self::departures(node)
            .into_iter()
            .fold(0, |sum, (_, value)| sum.saturating_add(value))
    }

    /// Takes exactly `amount`, no more than it is worth, of something that departed from `node`.
    pub fn take(
        node: NodeId,
        departure: DepartureOf<T>,
        amount: Balance,
    ) -> Result<Taken<T>, DispatchError> {
        let to = departure.to;
        let taken = match &departure.delegator {
            None => Self::take_of_bond(node, to, amount),
            Some(delegator) => Self::take_of_delegation(node, to, delegator, amount),
        }?;
        Pallet::<T>::deposit_event(crate::Event::DepartedSlashed {
            from: node,
            to,
            delegator: departure.delegator,
            amount,
        });
        Ok(taken)
    }

    fn take_of_bond(from: NodeId, to: NodeId, amount: Balance) -> Result<Taken<T>, DispatchError> {
        let keys = T::Nodes::keys(to).ok_or(Error::<T>::NoSuchNode)?;
        Book::<T>::change(to, |stake| {
            stake.ledger.take_last(amount);
            let mut liens = BondLiens::<T>::get(to);
            reduce::<T>(&mut liens, from, amount);
            if find(&liens, from).is_none() {
                Self::forget(from, to, None);
            }
            Self::put_bond(to, &liens);
            Book::<T>::take_held(&keys.coldkey, amount)
        })
    }

    fn take_of_delegation(
        from: NodeId,
        to: NodeId,
        delegator: &T::AccountId,
        amount: Balance,
    ) -> Result<Taken<T>, DispatchError> {
        Backers::<T>::change(to, delegator, |stake, delegation| {
            let lien = find(&delegation.liens, from);
            let shares = lien.map_or(0, |lien| lien.amount);
            let cost = stake.pool.active.cut(amount, shares);
            delegation.shares = delegation.shares.saturating_sub(cost);
            reduce::<T>(&mut delegation.liens, from, cost);
            if find(&delegation.liens, from).is_none() {
                Self::forget(from, to, Some(delegator));
            }
            Book::<T>::take_of_pot(amount)
        })
    }

    /// Part of a delegation moved here.
    pub fn add_to_delegation(
        to: NodeId,
        delegator: &T::AccountId,
        delegation: &mut Delegation<T>,
        from: NodeId,
        shares: u128,
    ) -> DispatchResult {
        add_lien::<T>(&mut delegation.liens, Self::new_lien(from, shares))?;
        Self::depart(from, to, Some(delegator.clone()))
    }

    /// Part of a bond moved here.
    pub fn add_to_bond(to: NodeId, from: NodeId, amount: Balance) -> DispatchResult {
        BondLiens::<T>::try_mutate(to, |liens| {
            add_lien::<T>(liens, Self::new_lien(from, amount))
        })?;
        Self::depart(from, to, None)
    }

    fn new_lien(from: NodeId, amount: u128) -> LienOf<T> {
        Lien {
            from,
            amount,
            until: Pallet::<T>::release_at(),
        }
    }

    fn depart(from: NodeId, to: NodeId, delegator: Option<T::AccountId>) -> DispatchResult {
        let departure = Departure { to, delegator };
        Departed::<T>::try_mutate(from, |departed| {
            if !departed.list.contains(&departure) {
                let added = departed.list.try_push(departure);
                added.map_err(|_| Error::<T>::TooManyMoves)?;
            }
            Ok(())
        })
    }

    /// What answers for other nodes on an owner's ledger, once what is over is free.
    pub fn lapse_on_bond(node: NodeId) -> Balance {
        let mut liens = BondLiens::<T>::get(node);
        let over = Self::over(&liens);
        for from in over {
            liens.retain(|lien| lien.from != from);
            Self::forget(from, node, None);
        }
        Self::put_bond(node, &liens);
        total_of::<T>(&liens)
    }

    /// Frees what is over of what answers for other nodes on a delegation.
    pub fn lapse_on_delegation(
        node: NodeId,
        delegator: &T::AccountId,
        delegation: &mut Delegation<T>,
    ) {
        for from in Self::over(&delegation.liens) {
            delegation.liens.retain(|lien| lien.from != from);
            Self::forget(from, node, Some(delegator));
        }
    }

    /// A delegation is worth nothing, and neither is what answers for other nodes on it.
    pub fn drop_on_delegation(
        node: NodeId,
        delegator: &T::AccountId,
        delegation: &mut Delegation<T>,
    ) {
        for lien in core::mem::take(&mut delegation.liens) {
            Self::forget(lien.from, node, Some(delegator));
        }
    }

    /// An owner's ledger was slashed for the node's own deeds: what answers for others on it is less by
    /// the same share, rounded down.
    pub fn cut_bond(node: NodeId, before: Balance, after: Balance) {
        let mut liens = BondLiens::<T>::get(node);
        if liens.is_empty() || before == after {
            return;
        }
        for lien in liens.iter_mut() {
            lien.amount = scaled(lien.amount, after, before, Rounding::Down).unwrap_or(0);
        }
        Self::forget_empty(node, &mut liens);
        Self::put_bond(node, &liens);
    }

    /// Frees all that departed from a node and is over, and gives how much of it that was.
    pub fn lapse(node: NodeId) -> u32 {
        let departed = Departed::<T>::get(node);
        let mut freed: u32 = 0;
        for departure in departed.list {
            let lien = Self::lien(node, &departure);
            if lien.is_some_and(|lien| Self::holds(departed.charged, &lien)) {
                continue;
            }
            let to = departure.to;
            match &departure.delegator {
                None => {
                    let mut liens = BondLiens::<T>::get(to);
                    liens.retain(|lien| lien.from != node);
                    Self::put_bond(to, &liens);
                }
                Some(delegator) => Delegations::<T>::mutate_exists(to, delegator, |slot| {
                    if let Some(delegation) = slot {
                        delegation.liens.retain(|lien| lien.from != node);
                    }
                }),
            }
            Self::forget(node, to, departure.delegator.as_ref());
            freed = freed.saturating_add(1);
        }
        freed
    }

    /// The node is charged with something, or is no more. What is free by then stays so.
    pub fn set_charged(node: NodeId, charged: bool) {
        let departed = Departed::<T>::get(node);
        if departed.list.is_empty() || departed.charged == charged {
            return;
        }
        if charged {
            Self::lapse(node);
        }
        Departed::<T>::mutate_exists(node, |slot| {
            if let Some(departed) = slot {
                departed.charged = charged;
            }
        });
    }

    /// Does it still answer for its node?
    fn holds(charged: bool, lien: &LienOf<T>) -> bool {
        charged || lien.until > Pallet::<T>::now()
    }

    /// The nodes for which nothing of this answers any more.
    fn over(liens: &LiensOf<T>) -> Vec<NodeId> {
        liens
            .iter()
            .filter(|lien| !Self::holds(Departed::<T>::get(lien.from).charged, lien))
            .map(|lien| lien.from)
            .collect()
    }

    fn lien(from: NodeId, departure: &DepartureOf<T>) -> Option<LienOf<T>> {
        let to = departure.to;
        match &departure.delegator {
            None => find(&BondLiens::<T>::get(to), from),
            Some(delegator) => find(&Delegations::<T>::get(to, delegator)?.liens, from),
        }
    }

    fn value(departure: &DepartureOf<T>, lien: &LienOf<T>) -> Balance {
        match departure.delegator {
            None => lien.amount,
            Some(_) => {
                Pools::<T>::get(departure.to).map_or(0, |pool| pool.active.value(lien.amount))
            }
        }
    }

    /// Strikes a place from where stake of `from` went.
    fn forget(from: NodeId, to: NodeId, delegator: Option<&T::AccountId>) {
        Departed::<T>::mutate_exists(from, |slot| {
            let mut departed: Departures<T> = slot.take().unwrap_or_default();
            departed
                .list
                .retain(|other| other.to != to || other.delegator.as_ref() != delegator);
            *slot = (!departed.list.is_empty()).then_some(departed);
        });
    }

    fn forget_empty(node: NodeId, liens: &mut LiensOf<T>) {
        for lien in liens.iter().filter(|lien| lien.amount.is_zero()) {
            Self::forget(lien.from, node, None);
        }
        liens.retain(|lien| !lien.amount.is_zero());
    }

    fn put_bond(node: NodeId, liens: &LiensOf<T>) {
        match liens.is_empty() {
            true => BondLiens::<T>::remove(node),
            false => BondLiens::<T>::insert(node, liens),
        }
    }
}

fn find<BlockNumber: Copy>(liens: &[Lien<BlockNumber>], from: NodeId) -> Option<Lien<BlockNumber>> {
    liens.iter().find(|lien| lien.from == from).copied()
}

/// Less answers for a node; none where that is all.
fn reduce<T: Config>(liens: &mut LiensOf<T>, from: NodeId, amount: u128) {
    for lien in liens.iter_mut().filter(|lien| lien.from == from) {
        lien.amount = lien.amount.saturating_sub(amount);
    }
    liens.retain(|lien| !lien.amount.is_zero());
}
