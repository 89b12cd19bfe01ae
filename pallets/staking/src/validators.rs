//! Who validates: the election before each era, and what `pallet-session` asks.

use crate::{
    Config, CurrentEra, CurrentValidators, EarlyElection, Era, Event, Ledgers, OffenceFractions,
    Pallet, PlannedEra, PlannedValidators, Pools, Sessions,
};
use alloc::vec::Vec;
use core::{cmp::Reverse, marker::PhantomData};
use frame_support::traits::Get;
use quipu_primitives::{node_of_account, traits::Nodes, Balance, NodeId, ROOT_SUBNET};
use sp_runtime::{traits::Convert, BoundedVec};
use sp_staking::SessionIndex;

/// Owner of `CurrentEra`, `PlannedEra`, their validators, and `EarlyElection`.
pub(crate) struct Rotation<T>(PhantomData<T>);

impl<T: Config> Rotation<T> {
    /// Plans a session: elects validators where an era starts with it. `None` keeps those there
    /// are.
    pub fn plan(session: SessionIndex) -> Option<Vec<T::AccountId>> {
        let last = PlannedEra::<T>::get();
        let over = last.is_none_or(|era| {
            session >= era.first_session.saturating_add(T::SessionsPerEra::get())
        });
        let early = EarlyElection::<T>::take();
        if !over && !early {
            return None;
        }
        let index = last.map_or(0, |era| era.index.saturating_add(1));
        PlannedEra::<T>::put(Era {
            index,
            first_session: session,
        });
        let elected = Self::elect();
        if elected.is_empty() {
            return None;
        }
        let ids = elected
            .iter()
            .map(|node| Pallet::<T>::validator_id(*node))
            .collect();
        PlannedValidators::<T>::put(elected);
        Some(ids)
    }

    /// A session starts, and with it the era that was planned for it.
    pub fn start(session: SessionIndex) {
        let Some(era) = PlannedEra::<T>::get() else {
            return;
        };
        if session < era.first_session || CurrentEra::<T>::get() == Some(era) {
            return;
        }
        let validators = PlannedValidators::<T>::get();
        CurrentEra::<T>::put(era);
        CurrentValidators::<T>::put(&validators);
        Pallet::<T>::deposit_event(Event::EraStarted {
            era: era.index,
            session,
            validators: validators.into_inner(),
        });
    }

    /// Of the root nodes that stand for election, those with most at stake, their owners' and others'
    /// together; of equal ones those with the lower id.
    fn elect() -> BoundedVec<NodeId, T::MaxValidators> {
        let mut candidates: Vec<(Reverse<Balance>, NodeId)> = T::Nodes::of_subnet(ROOT_SUBNET)
            .into_iter()
            .filter_map(|node| {
                let ledger = Ledgers::<T>::get(node)?;
                let bond = Pallet::<T>::what_counts(node, &ledger);
                let stands = !ledger.chilled
                    && bond >= T::MinValidatorBond::get()
                    && T::Sessions::has_keys(&Pallet::<T>::validator_id(node));
                let backing = Pools::<T>::get(node).map_or(0, |pool| pool.backing());
                stands.then_some((Reverse(bond.saturating_add(backing)), node))
            })
            .collect();
        candidates.sort_unstable();
        BoundedVec::truncate_from(candidates.into_iter().map(|(_, node)| node).collect())
    }
}

impl<T: Config> Pallet<T> {
    /// Forgets what can no longer be reported when this session starts.
    fn prune(session: SessionIndex) {
        let Some(first_kept) = session.checked_sub(T::OffenceWindow::get()) else {
            return;
        };
        T::Sessions::prune_up_to(first_kept);
        if let Some(last_gone) = first_kept.checked_sub(1) {
            // Only validators of that session can have offended in it.
            let _ = OffenceFractions::<T>::clear_prefix(last_gone, T::MaxValidators::get(), None);
        }
    }
}

impl<T: Config> pallet_session::SessionManager<T::AccountId> for Pallet<T> {
    fn new_session(session: SessionIndex) -> Option<Vec<T::AccountId>> {
        Rotation::<T>::plan(session)
    }

    /// Sessions 0 and 1 have one set.
    fn new_session_genesis(session: SessionIndex) -> Option<Vec<T::AccountId>> {
        match session {
            0 => Rotation::<T>::plan(0),
            _ => None,
        }
    }

    fn start_session(session: SessionIndex) {
        Rotation::<T>::start(session);
        Self::prune(session);
    }

    fn end_session(_: SessionIndex) {}
}

/// A validator is fully identified by its id, which names the node for all time. (A snapshot of its
/// bond would add nothing: an offence costs a share of what is at stake when it is proven, and
/// bonds stay slashable for as long as offences can be reported.)
impl<T: Config> pallet_session::historical::SessionManager<T::AccountId, ()> for Pallet<T> {
    fn new_session(session: SessionIndex) -> Option<Vec<(T::AccountId, ())>> {
        identified(<Self as pallet_session::SessionManager<_>>::new_session(
            session,
        ))
    }

    fn new_session_genesis(session: SessionIndex) -> Option<Vec<(T::AccountId, ())>> {
        identified(<Self as pallet_session::SessionManager<_>>::new_session_genesis(session))
    }

    fn start_session(session: SessionIndex) {
        <Self as pallet_session::SessionManager<_>>::start_session(session)
    }

    fn end_session(session: SessionIndex) {
        <Self as pallet_session::SessionManager<_>>::end_session(session)
    }
}

fn identified<Id>(validators: Option<Vec<Id>>) -> Option<Vec<(Id, ())>> {
    Some(validators?.into_iter().map(|id| (id, ())).collect())
}

/// `ValidatorIdOf` of `pallet-session`: from the coldkey of a root node to the node's account.
pub struct ValidatorIdOf<T>(PhantomData<T>);

impl<T: Config> Convert<T::AccountId, Option<T::AccountId>> for ValidatorIdOf<T> {
    fn convert(coldkey: T::AccountId) -> Option<T::AccountId> {
        T::Nodes::root_node_of(&coldkey).map(Pallet::<T>::validator_id)
    }
}

/// `FullIdentificationOf` of `pallet_session::historical`.
pub struct IdentificationOf<T>(PhantomData<T>);

impl<T: Config> Convert<T::AccountId, Option<()>> for IdentificationOf<T> {
    fn convert(validator: T::AccountId) -> Option<()> {
        node_of_account(&validator.into()).map(|_| ())
    }
}
