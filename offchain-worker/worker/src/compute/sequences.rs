//! The sequences of a span, and the room that they have together.

use quipu_worker_core::ports::{CacheId, ComputeError};
use std::collections::HashMap;

/// A sequence's cache, and the positions that were asked for it: it may hold a few more.
struct Held<C> {
    cache: C,
    reserved: u32,
}

/// Caches `C` of sequences that together never reserve more than `total` positions.
pub(super) struct Sequences<C> {
    held: HashMap<CacheId, Held<C>>,
    /// Longest sequence.
    context: u32,
    total: u32,
}

impl<C> Sequences<C> {
    pub(super) fn new(context: u32, total: u32) -> Self {
        Sequences {
            held: HashMap::new(),
            context,
            total,
        }
    }

    /// Positions that can still be reserved.
    pub(super) fn free(&self) -> u32 {
        let reserved: u32 = self.held.values().map(|held| held.reserved).sum();
        self.total.saturating_sub(reserved)
    }

    /// Reserves room for a sequence, in the place of one that has its id, with the cache that
    /// `make` gives for so many positions.
    pub(super) fn open(
        &mut self,
        id: CacheId,
        positions: u32,
        make: impl FnOnce(usize) -> Result<C, ComputeError>,
    ) -> Result<(), ComputeError> {
        self.close(id);
        let (asked, limit, free) = (positions, self.context, self.free());
        if asked > limit {
            let position = asked;
            return Err(ComputeError::Context { position, limit });
        }
        if asked > free {
            return Err(ComputeError::Full { asked, free });
        }
        let held = Held {
            cache: make(asked as usize)?,
            reserved: asked,
        };
        self.held.insert(id, held);
        Ok(())
    }

    /// The cache of a sequence.
    pub(super) fn get(&mut self, id: CacheId) -> Option<&mut C> {
        self.held.get_mut(&id).map(|held| &mut held.cache)
    }

    /// All caches.
    pub(super) fn iter(&mut self) -> impl Iterator<Item = (CacheId, &mut C)> {
        self.held
            .iter_mut()
            .map(|(id, held)| (*id, &mut held.cache))
    }

    pub(super) fn close(&mut self, id: CacheId) {
        self.held.remove(&id);
    }
}
