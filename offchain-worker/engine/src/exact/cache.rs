//! Keys and values of sequences, in pages that sequences take from a common store.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quipu_kernels::{AttentionShape, KvPage, PAGE_POSITIONS};

use crate::error::EngineError;

/// The store of a span: at most `most` pages, each for [`PAGE_POSITIONS`] positions of one sequence in
/// all blocks of the span.
///
/// A cache promises room for its whole capacity, so pages are counted when a cache is made. They are
/// allocated when they are needed, and are used again for other sequences afterwards.
#[derive(Debug)]
pub(super) struct PageStore {
    shape: AttentionShape,
    blocks: usize,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    promised: usize,
    allocated: usize,
    free: Vec<KvPage>,
}

impl PageStore {
    pub fn new(shape: AttentionShape, blocks: usize, most: usize) -> Self {
        let state = State {
            promised: 0,
            allocated: 0,
            free: Vec::new(),
        };
        Self {
            shape,
            blocks,
            most,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pages that are not promised to any cache.
    pub fn free_pages(&self) -> usize {
        self.most - self.state().promised
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> usize {
        self.shape.page_bytes(self.blocks)
    }

    /// Bytes that are allocated now, in use or not.
    pub fn allocated_bytes(&self) -> usize {
        self.state().allocated * self.page_bytes()
    }

    fn promise(&self, wanted: usize) -> Result<(), EngineError> {
        let mut state = self.state();
        let free = self.most - state.promised;
        if wanted > free {
            return Err(EngineError::CacheMemory { wanted, free });
        }
        state.promised += wanted;
        Ok(())
    }

    /// A page that was promised. What it holds is left from another sequence.
    fn take(&self) -> KvPage {
        {
            let mut state = self.state();
            if let Some(page) = state.free.pop() {
                return page;
            }
            state.allocated += 1;
        }
        KvPage::new(self.shape, self.blocks)
    }

    fn give_back(&self, pages: impl Iterator<Item = KvPage>, promised: usize) {
        let mut state = self.state();
        state.free.extend(pages);
        state.promised -= promised;
    }
}

/// The cache of one sequence in one [`ExactSpan`](super::ExactSpan). Make it with
/// [`ExactSpan::new_cache`](super::ExactSpan::new_cache).
///
/// It grows page by page up to its capacity; nothing is ever copied. Its pages go back to the span
/// when it is dropped or truncated.
#[derive(Debug)]
pub struct ExactCache {
    store: Arc<PageStore>,
    blocks: Range<usize>,
    pages: Vec<KvPage>,
    len: usize,
    capacity: usize,
}

impl ExactCache {
    pub(super) fn new(
        store: &Arc<PageStore>,
        blocks: Range<usize>,
        capacity: usize,
    ) -> Result<Self, EngineError> {
        store.promise(capacity.div_ceil(PAGE_POSITIONS))?;
        Ok(Self {
            store: store.clone(),
            blocks,
            pages: Vec::with_capacity(capacity.div_ceil(PAGE_POSITIONS)),
            len: 0,
            capacity,
        })
    }

    /// Tokens in the cache: the position that comes next.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there no token in it?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most tokens it will hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Blocks whose keys and values it holds.
    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// Bytes that it holds now.
    pub fn allocated_bytes(&self) -> usize {
        self.pages.len() * self.store.page_bytes()
    }

    /// Forgets all tokens from position `len` on; does nothing if there are none. The sequence can
    /// then go on differently from there.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.give_back_from(self.len.div_ceil(PAGE_POSITIONS));
    }

    /// Was it made by the span that owns `store`?
    pub(super) fn is_of(&self, store: &Arc<PageStore>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// Takes the pages for positions up to `end`, which is within the capacity.
    pub(super) fn make_room(&mut self, end: usize) {
        while self.pages.len() * PAGE_POSITIONS < end {
            self.pages.push(self.store.take());
        }
    }

    pub(super) fn pages(&self) -> &[KvPage] {
        &self.pages
    }

    /// Writes key and value of `position` in the `block`-th block of the span. There is room for it.
    pub(super) fn write(&mut self, block: usize, position: usize, key: &[f32], value: &[f32]) {
        let page = &mut self.pages[position / PAGE_POSITIONS];
        page.write(block, position % PAGE_POSITIONS, key, value);
    }

    /// Counts the tokens in that a forward pass has written.
    pub(super) fn commit(&mut self, len: usize) {
        self.len = len;
    }

    /// Drops what a failed pass has written.
    pub(super) fn roll_back(&mut self) {
        self.give_back_from(self.len.div_ceil(PAGE_POSITIONS));
    }

    fn give_back_from(&mut self, page: usize) {
        if page < self.pages.len() {
            self.store.give_back(self.pages.drain(page..), 0);
        }
    }
}

impl Drop for ExactCache {
    fn drop(&mut self) {
        let promised = self.capacity.div_ceil(PAGE_POSITIONS);
        self.store.give_back(self.pages.drain(..), promised);
    }
}
