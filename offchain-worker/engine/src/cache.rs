//! Keys and values of the tokens that a sequence has passed through a span.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::Tensor;

use crate::config::ModelConfig;

/// Positions that a block's first buffer has room for; each later one has twice the last.
const FIRST_ALLOCATION: usize = 128;

/// The cache of one sequence in one span. Make it with [`crate::Span::new_cache`].
///
/// Buffers grow by doubling up to the capacity, so a short sequence never pays for a long context,
/// and adding a token writes that token only.
#[derive(Debug)]
pub struct KvCache<B: Backend> {
    blocks: Range<usize>,
    parts: Vec<BlockCache<B>>,
    len: usize,
    capacity: usize,
    bytes_per_token: usize,
}

impl<B: Backend> KvCache<B> {
    pub(crate) fn new(
        config: &ModelConfig,
        blocks: Range<usize>,
        capacity: usize,
        device: &B::Device,
    ) -> Self {
        let capacity = capacity.min(config.context_length);
        let part = || BlockCache::new(config.kv_heads, config.head_dim, capacity, device);
        Self {
            parts: blocks.clone().map(|_| part()).collect(),
            bytes_per_token: blocks.len() * config.kv_bytes_per_token_and_block(),
            blocks,
            len: 0,
            capacity,
        }
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

    /// Bytes that a token takes: two f32 vectors of `kv_heads × head_dim` in every block.
    pub fn bytes_per_token(&self) -> usize {
        self.bytes_per_token
    }

    /// Bytes that are allocated now.
    pub fn allocated_bytes(&self) -> usize {
        let tokens = self.parts.first().map_or(0, |part| part.allocated);
        tokens * self.bytes_per_token
    }

    /// Forgets all tokens from position `len` on; does nothing if there are none. The sequence can
    /// then go on differently from there.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The cache of the `index`-th block of the span.
    pub(crate) fn part(&mut self, index: usize) -> &mut BlockCache<B> {
        &mut self.parts[index]
    }

    /// Counts the tokens in that a forward pass has written.
    pub(crate) fn commit(&mut self, len: usize) {
        self.len = len;
    }
}

/// Keys and values of one block.
#[derive(Debug)]
pub(crate) struct BlockCache<B: Backend> {
    /// `[kv_heads, allocated, head_dim]` each.
    keys: Tensor<B, 3>,
    values: Tensor<B, 3>,
    allocated: usize,
    capacity: usize,
}

impl<B: Backend> BlockCache<B> {
    fn new(kv_heads: usize, head_dim: usize, capacity: usize, device: &B::Device) -> Self {
        let allocated = capacity.clamp(1, FIRST_ALLOCATION);
        let zeros = || Tensor::zeros([kv_heads, allocated, head_dim], device);
        Self {
            keys: zeros(),
            values: zeros(),
            allocated,
            capacity,
        }
    }

    /// Writes keys and values, `[kv_heads, tokens, head_dim]` each, at `position`, and gives back
    /// all up to their end, `[kv_heads, position + tokens, head_dim]`. What stood at or behind
    /// `position` is overwritten. The caller has checked that the end is within the capacity.
    pub fn append(
        &mut self,
        position: usize,
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [heads, tokens, width] = keys.dims();
        let end = position + tokens;
        if end > self.allocated {
            let doubled = (2 * self.allocated).max(end).min(self.capacity);
            grow(&mut self.keys, position, doubled);
            grow(&mut self.values, position, doubled);
            self.allocated = doubled;
        }
        let place = [0..heads, position..end, 0..width];
        // Views of earlier steps are gone by now, so this writes in place.
        self.keys
            .inplace(|buffer| buffer.slice_assign(place.clone(), keys));
        self.values
            .inplace(|buffer| buffer.slice_assign(place, values));
        (
            self.keys.clone().narrow(1, 0, end),
            self.values.clone().narrow(1, 0, end),
        )
    }
}

/// Replaces a buffer by one with room for `allocated` positions and the first `kept` of the old.
fn grow<B: Backend>(buffer: &mut Tensor<B, 3>, kept: usize, allocated: usize) {
    buffer.inplace(|old| {
        let [heads, _, width] = old.dims();
        let new = Tensor::zeros([heads, allocated, width], &old.device());
        if kept == 0 {
            return new;
        }
        new.slice_assign([0..heads, 0..kept, 0..width], old.narrow(1, 0, kept))
    });
}
