//! The deadline queue: what is to be done in which block, worked off in `on_idle`.
//!
//! Every entry is queued for a later block than the one in which it is written. One that is heavier than
//! what a block has left waits, and so do those behind it; whoever is paid by them can have them done by
//! a call meanwhile.

use crate::{pallet::*, Due, Fee, Pallet, WeightInfo};
use frame_support::weights::{Weight, WeightMeter};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::agenda::Agenda;

/// The only code that writes `Deadlines` and `Cursor`.
pub(super) type Queue<T> = Agenda<BlockNumberFor<T>, Due, Deadlines<T>, Cursor<T>>;

/// Moves `item` from the block `due` to the block `to`, and says so in `due`.
pub(crate) fn postpone<T: Config>(due: &mut BlockNumberFor<T>, to: BlockNumberFor<T>, item: Due) {
    Queue::<T>::remove(*due, item);
    Queue::<T>::insert(to, item);
    *due = to;
}

impl<T: Config> Pallet<T> {
    /// Does what is due by block `now`, within `limit`, and says what weight that took.
    pub(crate) fn work_off_deadlines(now: BlockNumberFor<T>, limit: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(limit);
        Queue::<T>::work_off(
            now,
            &mut meter,
            T::WeightInfo::idle(),
            Self::weight_of,
            |_, item| match item {
                Due::Session(session) => Self::work_off_session(session, now),
                Due::Job(job) => Self::work_off_job(job, now),
            },
        );
        meter.consumed()
    }

    /// The most that working off an entry takes.
    fn weight_of(item: Due) -> Weight {
        match item {
            Due::Session(session) => match Sessions::<T>::get(session) {
                Some(session) if session.closed && session.held == 0 => {
                    T::WeightInfo::drop_session()
                }
                Some(session) => T::WeightInfo::finalize(session.servers.len() as u32),
                None => Weight::zero(),
            },
            Due::Job(job) => match Jobs::<T>::get(job) {
                Some(job) if job.state != Fee::Held && job.held == 0 => T::WeightInfo::drop_job(),
                Some(job) if job.result.is_none() => T::WeightInfo::refund_job(),
                Some(_) => T::WeightInfo::pay_job(),
                None => Weight::zero(),
            },
        }
    }
}
