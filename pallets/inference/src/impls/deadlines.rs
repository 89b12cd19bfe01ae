//! The deadline queue: what is to be done in which block, worked off in `on_idle`.
//!
//! Entries of one block are done in the order of their hashed keys. A block without enough weight
//! leaves the rest to the next: the cursor stays on the earliest block that may still hold
//! entries. Every entry is queued for a later block than the one in which it is written, so that
//! none can appear behind the cursor; [`Queue::insert`] keeps this even where one did.
//!
//! An entry heavier than what a block has left waits, and so do those behind it; whoever is paid
//! by them can have them done by a call meanwhile.

use crate::{pallet::*, Due, Fee, Pallet, WeightInfo};
use core::marker::PhantomData;
use frame_support::weights::{Weight, WeightMeter};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::{One, Saturating};

/// The only code that writes `Deadlines` and `Cursor`.
pub(super) struct Queue<T>(PhantomData<T>);

impl<T: Config> Queue<T> {
    /// Queues `item` for block `at`.
    pub(super) fn insert(at: BlockNumberFor<T>, item: Due) {
        Deadlines::<T>::insert(at, item, ());
        if Cursor::<T>::get().is_none_or(|cursor| at < cursor) {
            Cursor::<T>::put(at);
        }
    }

    /// Takes `item` out of block `at`.
    pub(super) fn remove(at: BlockNumberFor<T>, item: Due) {
        Deadlines::<T>::remove(at, item);
    }

    /// Moves `item` from the block `due` to the block `to`, and says so in `due`.
    pub(super) fn postpone(due: &mut BlockNumberFor<T>, to: BlockNumberFor<T>, item: Due) {
        Self::remove(*due, item);
        Self::insert(to, item);
        *due = to;
    }
}

impl<T: Config> Pallet<T> {
    /// Does what is due by block `now`, within `limit`, and says what weight that took.
    pub(crate) fn work_off_deadlines(now: BlockNumberFor<T>, limit: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(limit);
        // Each look at the queue costs `idle`, which includes reading and writing the cursor.
        let look = T::WeightInfo::idle();
        if meter.try_consume(look).is_err() {
            return meter.consumed();
        }
        let Some(start) = Cursor::<T>::get() else {
            return meter.consumed();
        };
        let mut cursor = start;
        'blocks: while cursor <= now {
            // Only the entry just yielded is removed while iterating, and none is added under this
            // block, so that the iteration stays sound. Starting over for each entry instead would
            // step over all removed before it.
            let mut items = Deadlines::<T>::iter_key_prefix(cursor);
            loop {
                if meter.try_consume(look).is_err() {
                    break 'blocks;
                }
                let Some(item) = items.next() else { break };
                if meter.try_consume(Self::weight_of(item)).is_err() {
                    break 'blocks;
                }
                match item {
                    Due::Session(session) => Self::work_off_session(session, now),
                    Due::Job(job) => Self::work_off_job(job, now),
                }
                // Already gone where the record was as it should be.
                Queue::<T>::remove(cursor, item);
            }
            cursor = cursor.saturating_add(One::one());
        }
        if cursor != start {
            Cursor::<T>::put(cursor);
        }
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
