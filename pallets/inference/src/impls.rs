//! What the calls do, by what they are about.

mod deadlines;
mod jobs;
mod sessions;
#[cfg(any(test, feature = "try-runtime"))]
mod try_state;
mod views;

#[cfg(feature = "runtime-benchmarks")]
pub(crate) use deadlines::postpone;

use crate::{Config, Duties, HoldReason, Jobs, Pallet, Sessions};
use frame_support::{
    storage::with_storage_layer,
    traits::{
        fungible::hold::Mutate as _,
        tokens::{Fortitude, Precision, Restriction},
        Get,
    },
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    traits::{Answered, Nodes, Obligations, Served, ServedSession, Service, Services},
    Balance, NodeId, SessionId,
};
use sp_runtime::{
    traits::{One, Saturating},
    DispatchError, DispatchResult,
};

impl<T: Config> Pallet<T> {
    fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }

    /// The block `blocks` after `now`, at any rate a later one.
    fn later<Blocks: Get<BlockNumberFor<T>>>(now: BlockNumberFor<T>) -> BlockNumberFor<T> {
        now.saturating_add(Blocks::get().max(One::one()))
    }

    /// Puts `amount` of the free balance of `from` on hold.
    fn hold(reason: HoldReason, from: &T::AccountId, amount: Balance) -> DispatchResult {
        if amount == 0 {
            return Ok(());
        }
        T::Currency::hold(&reason.into(), from, amount)
    }

    /// Pays `amount` of what `from` has on hold to the owner of `node`, and says who that is. On
    /// an error nothing has changed.
    fn pay_held(
        reason: HoldReason,
        from: &T::AccountId,
        node: NodeId,
        amount: Balance,
    ) -> Result<T::AccountId, DispatchError> {
        let owner = T::Nodes::keys(node)
            .ok_or(DispatchError::CannotLookup)?
            .coldkey;
        if amount == 0 {
            return Ok(owner);
        }
        with_storage_layer(|| {
            // Forced: a freeze of the payer does not stop what the payer owes.
            T::Currency::transfer_on_hold(
                &reason.into(),
                from,
                &owner,
                amount,
                Precision::Exact,
                Restriction::Free,
                Fortitude::Force,
            )
        })?;
        Ok(owner)
    }

    /// Gives `amount` of what `to` has on hold back to its free balance. On an error nothing has
    /// changed.
    fn release_held(reason: HoldReason, to: &T::AccountId, amount: Balance) -> DispatchResult {
        if amount == 0 {
            return Ok(());
        }
        with_storage_layer(|| {
            T::Currency::release(&reason.into(), to, amount, Precision::Exact)?;
            Ok(())
        })
    }

    fn add_duty(node: NodeId) {
        Duties::<T>::mutate(node, |count| *count = count.saturating_add(1));
    }

    fn end_duty(node: NodeId) {
        Duties::<T>::mutate_exists(node, |count| {
            *count = count
                .and_then(|count| count.checked_sub(1))
                .filter(|count| *count > 0);
        });
    }
}

impl<T: Config> Obligations for Pallet<T> {
    fn has_obligations(node: NodeId) -> bool {
        Duties::<T>::contains_key(node)
    }
}

impl<T: Config> Services<T::AccountId, BlockNumberFor<T>> for Pallet<T> {
    fn service(
        session: SessionId,
        node: NodeId,
    ) -> Option<Service<T::AccountId, BlockNumberFor<T>>> {
        let session = Sessions::<T>::get(session)?;
        let serves = session.servers.iter().any(|server| server.node == node);
        serves.then_some(Service {
            consumer: session.consumer,
            opened_at: session.opened_at,
            session_key: session.session_key,
        })
    }

    fn served(session: SessionId) -> Option<ServedSession<T::AccountId>> {
        let session = Sessions::<T>::get(session)?;
        let served = |server: &crate::Server| Served {
            node: server.node,
            positions: server.positions,
            earned: server.earned(),
        };
        let job = session.job.and_then(Jobs::<T>::get);
        Some(ServedSession {
            subnet: session.subnet,
            consumer: session.consumer,
            servers: session.servers.iter().map(served).collect(),
            answered: job.map(|job| Answered {
                node: job.node,
                requester: job.requester,
                fee: job.held,
            }),
        })
    }
}
