//! The only writer of the cases and of the indices over them.

use crate::{
    pallet::*,
    types::{CaseId, State},
};
use core::marker::PhantomData;
use frame_support::ensure;
use quipu_primitives::traits::{Cause, Slashable};
use sp_runtime::DispatchError;

/// Owner of all that this pallet stores but the cursors: each of its functions leaves it in
/// agreement, and tells the bonds of what hangs over a node.
pub(crate) struct Docket<T>(PhantomData<T>);

impl<T: Config> Docket<T> {
    /// Takes up a pending case.
    pub fn open(case: CaseOf<T>) -> Result<CaseId, DispatchError> {
        let (node, cause) = (case.node, case.cause);
        ensure!(
            !CaseByCause::<T>::contains_key(node, cause),
            Error::<T>::AlreadyCharged
        );
        let id = NextCase::<T>::get();
        NextCase::<T>::put(id.checked_add(1).ok_or(Error::<T>::IdsExhausted)?);
        CaseByCause::<T>::insert(node, cause, id);
        Standings::<T>::mutate(node, |standing| {
            standing.pending = standing.pending.saturating_add(1);
            standing.amount = standing.amount.saturating_add(case.amount);
            if matches!(cause, Cause::Withheld { .. }) {
                standing.withheld = standing.withheld.saturating_add(1);
            }
        });
        Cases::<T>::insert(id, case);
        T::Bonds::pending_changed(node);
        Ok(id)
    }

    /// A pending case.
    pub fn pending(id: CaseId) -> Result<CaseOf<T>, Error<T>> {
        let case = Cases::<T>::get(id).ok_or(Error::<T>::NoSuchCase)?;
        ensure!(case.state == State::Pending, Error::<T>::NotPending);
        Ok(case)
    }

    /// The pending case hangs over its node no more.
    pub fn lift(case: &CaseOf<T>) {
        Self::change_standing(case, |standing| {
            standing.pending = standing.pending.saturating_sub(1);
            standing.amount = standing.amount.saturating_sub(case.amount);
        });
    }

    /// Records how a case that was lifted ended.
    pub fn decide(id: CaseId, mut case: CaseOf<T>, state: State) {
        if state == State::Canceled {
            Self::drop_withheld(&case);
        }
        let node = case.node;
        case.state = state;
        Cases::<T>::insert(id, case);
        T::Bonds::pending_changed(node);
    }

    /// Strikes a decided case off the record.
    pub fn forget(id: CaseId, case: &CaseOf<T>) {
        if case.state != State::Canceled {
            Self::drop_withheld(case);
        }
        CaseByCause::<T>::remove(case.node, case.cause);
        Cases::<T>::remove(id);
    }

    fn drop_withheld(case: &CaseOf<T>) {
        if matches!(case.cause, Cause::Withheld { .. }) {
            Self::change_standing(case, |standing| {
                standing.withheld = standing.withheld.saturating_sub(1);
            });
        }
    }

    fn change_standing(case: &CaseOf<T>, change: impl FnOnce(&mut crate::Standing)) {
        Standings::<T>::mutate_exists(case.node, |slot| {
            let mut standing = slot.unwrap_or_default();
            change(&mut standing);
            *slot = (standing != Default::default()).then_some(standing);
        });
    }
}
