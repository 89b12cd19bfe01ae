//! Who has what at stake: the only writer of `Stakes`, of the sum of them, and of who rests.

use crate::{pallet::*, WeightInfo};
use frame_support::{
    traits::{fungible::Inspect, Get},
    weights::{Weight, WeightMeter},
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    agenda::Agenda,
    economy::Bucket,
    traits::{AuditDuties, StakeRewards},
    Balance, NodeId,
};
use sp_runtime::traits::Saturating;

/// When whose stake earns again.
type Rests<T> = Agenda<BlockNumberFor<T>, NodeId, Resting<T>, RestingCursor<T>>;

impl<T: Config> Pallet<T> {
    /// Changes a stake of which everything is settled, and the sum with it.
    fn change<R>(node: NodeId, change: impl FnOnce(&mut StakeOf<T>) -> R) -> R {
        let mut capital = Capitals::<T>::get();
        let mut stake = Stakes::<T>::get(node).unwrap_or_default();
        stake.settle(capital.per_unit);
        let before = stake.counts();
        let result = change(&mut stake);
        if stake.counts() != before {
            capital.stake = capital
                .stake
                .saturating_sub(before)
                .saturating_add(stake.counts());
            Capitals::<T>::put(capital);
        }
        match stake.is_empty() {
            true => Stakes::<T>::remove(node),
            false => Stakes::<T>::insert(node, stake),
        }
        result
    }

    /// Lets those earn again who rested long enough, within `limit`, and says what weight that took.
    pub(crate) fn work_off_rests(now: BlockNumberFor<T>, limit: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(limit);
        Rests::<T>::work_off(
            now,
            &mut meter,
            T::WeightInfo::look(),
            |_| T::WeightInfo::wake(),
            |_, node| {
                Self::change(node, |stake| stake.resting = None);
                Self::deposit_event(Event::StakeEarnsAgain { node });
            },
        );
        meter.consumed()
    }
}

impl<T: Config> StakeRewards<T::AccountId> for Pallet<T> {
    fn stake_changed(node: NodeId, amount: Balance) {
        Self::change(node, |stake| stake.stake = amount);
    }

    fn earned(node: NodeId) -> Balance {
        Stakes::<T>::get(node).map_or(0, |stake| stake.earned_by(Capitals::<T>::get().per_unit))
    }

    fn collect(node: NodeId, to: &T::AccountId) -> Balance {
        let amount = Self::earned(node);
        if amount == 0 || Self::pay(Bucket::Capital, to, amount).is_err() {
            return 0;
        }
        Self::change(node, |stake| stake.earned = 0);
        Capitals::<T>::mutate(|capital| capital.owed = capital.owed.saturating_sub(amount));
        let to = to.clone();
        Self::deposit_event(Event::Collected { node, to, amount });
        amount
    }
}

impl<T: Config> AuditDuties<T::AccountId> for Pallet<T> {
    /// What it earned until now stays its own. Who has nothing at stake has nothing to lose.
    fn duty_missed(node: NodeId) {
        if Stakes::<T>::get(node).is_none_or(|stake| stake.stake == 0) {
            return;
        }
        let until = Self::now().saturating_add(T::RestAfterMissedDuty::get());
        let before = Self::change(node, |stake| stake.resting.replace(until));
        if let Some(before) = before {
            Rests::<T>::remove(before, node);
        }
        Rests::<T>::insert(until, node);
        Self::deposit_event(Event::StakeRests { node, until });
    }

    /// Paid out of protection, as far as that goes: no more than a share of what is in it at a time.
    fn duty_done(node: NodeId, owner: &T::AccountId, price: Balance) {
        let most = T::Currency::balance(&Self::account(Bucket::Protection));
        let amount = T::AuditPay::get()
            .mul_floor(price)
            .min(T::AuditPayAtMost::get().mul_floor(most));
        if amount == 0 || Self::pay(Bucket::Protection, owner, amount).is_err() {
            return;
        }
        let to = owner.clone();
        Self::deposit_event(Event::AuditorPaid { node, to, amount });
    }
}
