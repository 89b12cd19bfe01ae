//! What is to be done when: a queue that is worked off as far as a block's weight goes.
//!
//! Entries of one time are done in the order of their hashed keys. Where there is not enough weight the
//! rest is left to later: the cursor stays on the earliest time that may still hold entries. An entry
//! heavier than what is left waits, and so do those behind it.
//!
//! Bounded by what is in it: whoever queues sees to it that each thing it stores has at most one entry.

use codec::FullCodec;
use core::marker::PhantomData;
use frame_support::{
    storage::{IterableStorageDoubleMap, StorageValue},
    weights::{Weight, WeightMeter},
};
use sp_runtime::traits::{One, Saturating};

/// The only writer of `Entries`, a double map from a time and an item to nothing, and of `Cursor`. No
/// entry stands under an earlier time than the cursor's; nothing was ever queued while that is missing.
pub struct Agenda<When, Item, Entries, Cursor>(PhantomData<(When, Item, Entries, Cursor)>);

impl<When, Item, Entries, Cursor> Agenda<When, Item, Entries, Cursor>
where
    When: FullCodec + Copy + Ord + One + Saturating,
    Item: FullCodec + Copy,
    Entries: IterableStorageDoubleMap<When, Item, ()>,
    Cursor: StorageValue<When, Query = Option<When>>,
{
    /// Queues `item` for `at`.
    pub fn insert(at: When, item: Item) {
        Entries::insert(at, item, ());
        if Cursor::get().is_none_or(|cursor| at < cursor) {
            Cursor::put(at);
        }
    }

    /// Takes `item` out of `at`.
    pub fn remove(at: When, item: Item) {
        Entries::remove(at, item);
    }

    /// Does what is due by `now`. Each look at the queue costs `look`, which includes reading and writing
    /// the cursor, and each item what `weight_of` says.
    ///
    /// `act` is told under which time the entry stood, and may queue for later than `now`. The entry itself
    /// is removed afterwards.
    pub fn work_off(
        now: When,
        meter: &mut WeightMeter,
        look: Weight,
        weight_of: impl Fn(Item) -> Weight,
        act: impl Fn(When, Item),
    ) {
        if meter.try_consume(look).is_err() {
            return;
        }
        let Some(start) = Cursor::get() else { return };
        let mut cursor = start;
        'times: while cursor <= now {
            // Only the entry just yielded is removed while iterating, and none is added under this
            // time, so that the iteration stays sound. Starting over for each entry instead would
            // step over all removed before it.
            let mut items = Entries::iter_key_prefix(cursor);
            loop {
                if meter.try_consume(look).is_err() {
                    break 'times;
                }
                let Some(item) = items.next() else { break };
                if meter.try_consume(weight_of(item)).is_err() {
                    break 'times;
                }
                act(cursor, item);
                // Already gone where the record was as it should be.
                Self::remove(cursor, item);
            }
            cursor = cursor.saturating_add(One::one());
        }
        if cursor != start {
            Cursor::put(cursor);
        }
    }
}
