//! Attention of queries over a paged cache.
//!
//! A query at position p looks at positions 0 to p. For each head, with the query rotated and scaled:
//!
//! ```text
//! s_t = fma(q_i, k_ti, s_t) for i = 0, 1, …, d − 1, from 0 on
//! m   = the greatest s_t
//! e_t = exp(s_t − m)
//! w_l = w_l + e_t for t = l, l + 16, l + 32, … ≤ p, from 0 on, for each lane l
//! c   = 1 ÷ (the tree over the 16 lanes of w)
//! o_i = fma(e_t, v_ti, o_i) for t = 0, 1, …, p, from 0 on
//! result_i = o_i × c
//! ```
//!
//! Nothing else enters: which queries are computed together, on how many threads, and how the cache
//! came to be filled change no bit.
//!
//! A page holds the keys and values of 16 consecutive positions. In a page keys are transposed: a
//! register of 16 lanes holds one entry of the key of 16 positions. So a lane is a position, and a
//! sum over the width of a head stays within its lane. Values lie as they come. The query heads that
//! share a key-value head, and some consecutive positions of a prefill, are computed together, so
//! that a page is read once for all of them.
#![allow(unsafe_op_in_unsafe_fn)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::exp::exp;
use crate::lanes::{greatest, sum, Lanes, LANES};
use crate::Kernels;

/// Positions of a page.
pub const PAGE_POSITIONS: usize = LANES;

/// Queries, at most, that one task computes together: rows of consecutive positions times the
/// heads of a group.
const TILE_QUERIES: usize = 24;

/// Queries that share the registers of one loop.
const QUERIES: usize = 4;

/// Heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl AttentionShape {
    /// Query heads that share a key-value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Lines that a position's values take.
    fn value_lines(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Lines of one key-value head in a page: keys, then values.
    fn head_lines(&self) -> usize {
        self.head_dim + PAGE_POSITIONS * self.value_lines()
    }

    /// Lines of one block in a page.
    fn block_lines(&self) -> usize {
        self.kv_heads * self.head_lines()
    }

    /// Bytes of a page for `blocks` blocks.
    pub fn page_bytes(&self, blocks: usize) -> usize {
        blocks * self.block_lines() * size_of::<Line>()
    }
}

/// Sixteen numbers on a cache line of their own.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Keys and values of [`PAGE_POSITIONS`] consecutive positions in consecutive blocks.
pub struct KvPage {
    shape: AttentionShape,
    lines: Box<[Line]>,
}

impl std::fmt::Debug for KvPage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("KvPage");
        debug.field("bytes", &size_of_val(&*self.lines)).finish()
    }
}

impl KvPage {
    /// A page of zeros.
    pub fn new(shape: AttentionShape, blocks: usize) -> Self {
        let lines = vec![Line([0.0; LANES]); blocks * shape.block_lines()];
        Self {
            shape,
            lines: lines.into_boxed_slice(),
        }
    }

    /// Writes the key and the value, `[kv_heads, head_dim]` each, of the `slot`-th position of the
    /// page in the `block`-th of its blocks.
    ///
    /// # Panics
    ///
    /// If the page has no such block or position, or a length is another.
    pub fn write(&mut self, block: usize, slot: usize, key: &[f32], value: &[f32]) {
        let shape = self.shape;
        let width = shape.head_dim;
        assert!(slot < PAGE_POSITIONS, "a position of the page");
        assert_eq!(key.len(), shape.kv_heads * width, "a key for each head");
        assert_eq!(value.len(), shape.kv_heads * width, "a value for each head");
        let lines = &mut self.lines[block * shape.block_lines()..][..shape.block_lines()];
        let heads = lines.chunks_exact_mut(shape.head_lines());
        let pairs = key.chunks_exact(width).zip(value.chunks_exact(width));
        for (lines, (key, value)) in heads.zip(pairs) {
            let (keys, values) = lines.split_at_mut(width);
            for (line, entry) in keys.iter_mut().zip(key) {
                line.0[slot] = *entry;
            }
            let values = &mut values[slot * shape.value_lines()..];
            for (line, entries) in values.iter_mut().zip(value.chunks(LANES)) {
                line.0[..entries.len()].copy_from_slice(entries);
            }
        }
    }
}

/// Which rows of a batch attend to which cache: made once, and used for every block.
#[derive(Debug, Default)]
pub struct AttentionPlan {
    tiles: Vec<Tile>,
    rows: usize,
}

/// Rows of consecutive positions of one sequence.
#[derive(Clone, Copy, Debug)]
struct Tile {
    sequence: usize,
    row: usize,
    rows: usize,
    position: usize,
}

impl AttentionPlan {
    /// A plan of no rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all rows, and keeps its memory.
    pub fn clear(&mut self) {
        self.tiles.clear();
        self.rows = 0;
    }

    /// Adds `rows` rows: consecutive positions, from `position` on, of the sequence that the caller
    /// calls `sequence`. They follow on the rows added before.
    pub fn push(&mut self, shape: &AttentionShape, sequence: usize, position: usize, rows: usize) {
        let most = (TILE_QUERIES / shape.group()).max(1);
        for start in (0..rows).step_by(most) {
            self.tiles.push(Tile {
                sequence,
                row: self.rows + start,
                rows: most.min(rows - start),
                position: position + start,
            });
        }
        self.rows += rows;
    }

    /// Rows added.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Memory for scores, kept from one call to the next: a slot for each thread.
#[derive(Debug)]
pub struct AttentionScratch {
    slots: Vec<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    scores: Vec<Line>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Slot");
        debug.field("lines", &self.scores.len()).finish()
    }
}

impl AttentionScratch {
    /// Scratch for the threads of `kernels`.
    pub fn new(kernels: &Kernels) -> Self {
        let slots = (0..kernels.pool().threads()).map(|_| Mutex::default());
        Self {
            slots: slots.collect(),
        }
    }

    /// Bytes that are allocated now.
    pub fn bytes(&self) -> usize {
        let lines = |slot: &Mutex<Slot>| {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            slot.scores.capacity()
        };
        self.slots.iter().map(lines).sum::<usize>() * size_of::<Line>()
    }
}

/// Where the tiles of one call write: each to rows and columns of its own.
struct Output(*mut f32);
// SAFETY: tasks write to ranges that don't overlap; see `attend`.
unsafe impl Sync for Output {}

impl Output {
    /// The number at `at`.
    ///
    /// # Safety
    ///
    /// `at` is within the output.
    unsafe fn at(&self, at: usize) -> *mut f32 {
        self.0.add(at)
    }
}

/// Attention of all rows of `plan` in the `block`-th block of their pages.
///
/// `queries` and `out` are `[rows, heads, head_dim]`, with `stride` ≥ `heads × head_dim` numbers from
/// a row of `queries` to the next; `out` has no gaps. Queries are rotated and scaled. `pages` gives
/// a sequence's pages, in order and with all positions up to the last row's written.
///
/// # Panics
///
/// If a length doesn't fit the plan and the shape, or a sequence has fewer pages than it needs.
#[allow(clippy::too_many_arguments)]
pub fn attend<'p>(
    kernels: &Kernels,
    shape: &AttentionShape,
    plan: &AttentionPlan,
    block: usize,
    pages: impl Fn(usize) -> &'p [KvPage] + Sync,
    queries: &[f32],
    stride: usize,
    scratch: &AttentionScratch,
    out: &mut [f32],
) {
    let width = shape.heads * shape.head_dim;
    assert!(stride >= width, "rows don't overlap");
    assert!(
        plan.rows == 0 || queries.len() >= (plan.rows - 1) * stride + width,
        "a query for every row and head"
    );
    assert_eq!(
        out.len(),
        plan.rows * width,
        "a result for every row and head"
    );
    let tasks = plan.tiles.len() * shape.kv_heads;
    let next = AtomicUsize::new(0);
    let out = Output(out.as_mut_ptr());
    let workers = scratch.slots.len().min(tasks);
    kernels.pool().run(workers, |worker| {
        let slot = &scratch.slots[worker];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                break;
            }
            // The tiles of a prefill grow towards its end: the longest come first.
            let tile = plan.tiles[plan.tiles.len() - 1 - task / shape.kv_heads];
            let kv_head = task % shape.kv_heads;
            let column = kv_head * shape.group() * shape.head_dim;
            let span = shape.group() * shape.head_dim;
            let from = tile.row * stride + column;
            let to = tile.row * width + column;
            let queries = &queries[from..][..(tile.rows - 1) * stride + span];
            // SAFETY: the tile's rows are within the plan's, which `out` has room for; no other
            // task has the same rows and the same heads.
            let out = unsafe { out.at(to) };
            let results = Results {
                first: out,
                stride: width,
            };
            let place = Place {
                offset: block * shape.block_lines() + kv_head * shape.head_lines(),
                position: tile.position,
                rows: tile.rows,
            };
            tile_of(
                kernels,
                shape,
                pages(tile.sequence),
                place,
                queries,
                stride,
                &mut slot.scores,
                results,
            );
        }
    });
}

/// Where the results of a tile's first row go, and how far it is to the next row.
#[derive(Clone, Copy)]
struct Results {
    first: *mut f32,
    stride: usize,
}

/// A tile's place in the cache: the first line of its block and head in every page, and the
/// position of its first row.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    position: usize,
    rows: usize,
}

crate::lanes::for_each_isa! {
    /// Of `Results`, the caller vouches that there is room for the tile's rows and heads.
    fn tile_of(
        shape: &AttentionShape,
        pages: &[KvPage],
        place: Place,
        queries: &[f32],
        stride: usize,
        scores: &mut Vec<Line>,
        results: Results,
    ) = attend_tile;
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn attend_tile<L: Lanes>(
    shape: &AttentionShape,
    pages: &[KvPage],
    place: Place,
    queries: &[f32],
    stride: usize,
    scores: &mut Vec<Line>,
    results: Results,
) {
    let group = shape.group();
    let end = place.position + place.rows;
    let pages = &pages[..end.div_ceil(PAGE_POSITIONS)];
    for page in pages {
        assert_eq!(page.shape, *shape, "pages of this shape");
        assert!(
            place.offset + shape.head_lines() <= page.lines.len(),
            "pages with this block"
        );
    }
    let count = place.rows * group;
    if scores.len() < count * pages.len() {
        // Grows by doubling, so that a growing sequence allocates now and then only.
        let lines = (count * pages.len()).max(2 * scores.len());
        scores.resize(lines, Line([0.0; LANES]));
    }
    let scores: *mut f32 = scores.as_mut_ptr().cast();
    let row_of_scores = pages.len() * LANES;

    // Scores, with a few pages held against all queries in turn.
    let mut first = 0;
    while first < pages.len() {
        let side_by_side = if pages.len() - first >= L::PAGES {
            L::PAGES
        } else {
            1
        };
        let mut query = 0;
        while query < count {
            let together = (count - query).min(QUERIES);
            let job = Scores {
                pages,
                first,
                offset: place.offset,
                head_dim: shape.head_dim,
                fetch: query == 0,
                scores: scores.add(query * row_of_scores + first * LANES),
                row_of_scores,
            };
            let mut from = [queries.as_ptr(); QUERIES];
            for (i, from) in from.iter_mut().enumerate().take(together) {
                let (row, head) = ((query + i) / group, (query + i) % group);
                *from = queries[row * stride + head * shape.head_dim..][..shape.head_dim].as_ptr();
            }
            if side_by_side > 1 {
                match together {
                    1 => job.compute::<L, 1, 4>(&from),
                    2 => job.compute::<L, 2, 4>(&from),
                    3 => job.compute::<L, 3, 4>(&from),
                    _ => job.compute::<L, 4, 4>(&from),
                }
            } else {
                match together {
                    1 => job.compute::<L, 1, 1>(&from),
                    2 => job.compute::<L, 2, 1>(&from),
                    3 => job.compute::<L, 3, 1>(&from),
                    _ => job.compute::<L, 4, 1>(&from),
                }
            }
            query += together;
        }
        first += side_by_side;
    }

    let mut query = 0;
    while query < count {
        let together = (count - query).min(QUERIES);
        let mut job = Values {
            pages,
            offset: place.offset + shape.head_dim,
            lines: shape.value_lines(),
            head_dim: shape.head_dim,
            weights: scores.add(query * row_of_scores),
            row_of_weights: row_of_scores,
            ends: [0; QUERIES],
            factors: [0.0; QUERIES],
            out: [results.first; QUERIES],
        };
        for i in 0..together {
            let (row, head) = ((query + i) / group, (query + i) % group);
            job.ends[i] = place.position + row + 1;
            let weights = scores.add((query + i) * row_of_scores);
            job.factors[i] = 1.0 / softmax::<L>(weights, job.ends[i]);
            job.out[i] = results
                .first
                .add(row * results.stride + head * shape.head_dim);
        }
        match together {
            1 => job.all_lines::<L, 1>(),
            2 => job.all_lines::<L, 2>(),
            3 => job.all_lines::<L, 3>(),
            _ => job.all_lines::<L, 4>(),
        }
        query += together;
    }
}

/// Products of a few queries with the keys of a few pages.
struct Scores<'a> {
    pages: &'a [KvPage],
    /// The first page.
    first: usize,
    /// First line of the keys in a page.
    offset: usize,
    head_dim: usize,
    /// Is memory to be fetched ahead of its use: the values of these pages, and the keys of the
    /// pages that come next?
    fetch: bool,
    /// Of the first query, at the first page.
    scores: *mut f32,
    row_of_scores: usize,
}

impl Scores<'_> {
    /// The keys of a page; its values follow.
    #[inline(always)]
    fn keys(&self, page: usize) -> *const f32 {
        self.pages[page].lines[self.offset..].as_ptr().cast()
    }

    /// `Q` queries by `P` pages.
    // Indices that the compiler unrolls, over arrays that it keeps in registers.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    unsafe fn compute<L: Lanes, const Q: usize, const P: usize>(
        &self,
        queries: &[*const f32; QUERIES],
    ) {
        let mut keys = [std::ptr::null::<f32>(); P];
        let mut next = keys;
        for p in 0..P {
            keys[p] = self.keys(self.first + p);
            next[p] = self.keys((self.first + P + p).min(self.pages.len() - 1));
        }
        let mut sums = [[L::splat(0.0); P]; Q];
        for i in 0..self.head_dim {
            let mut key = [L::splat(0.0); P];
            for p in 0..P {
                key[p] = L::load(keys[p].add(i * LANES));
                if self.fetch {
                    L::prefetch(next[p].wrapping_add(i * LANES));
                    L::prefetch(keys[p].wrapping_add((self.head_dim + i) * LANES));
                }
            }
            for q in 0..Q {
                let query = L::splat(*queries[q].add(i));
                for p in 0..P {
                    sums[q][p] = query.fma(key[p], sums[q][p]);
                }
            }
        }
        for (q, sums) in sums.iter().enumerate() {
            for (p, sum) in sums.iter().enumerate() {
                sum.store(self.scores.add(q * self.row_of_scores + p * LANES));
            }
        }
    }
}

/// Replaces `count` scores by exp(score − greatest), and gives their sum. The last line is filled
/// up with zeros.
#[inline(always)]
unsafe fn softmax<L: Lanes>(scores: *mut f32, count: usize) -> f32 {
    let (lines, rest) = (count / LANES, count % LANES);
    let lowest = L::splat(f32::NEG_INFINITY);
    let mut most = lowest;
    for line in 0..lines {
        most = L::load(scores.add(line * LANES)).greater(most);
    }
    if rest > 0 {
        let last = L::load(scores.add(lines * LANES)).first(rest, lowest);
        most = last.greater(most);
    }
    let most = L::splat(greatest(most));
    let mut total = L::splat(0.0);
    for line in 0..lines {
        let at = scores.add(line * LANES);
        let weight = exp(L::load(at).sub(most));
        weight.store(at);
        total = total.add(weight);
    }
    if rest > 0 {
        let at = scores.add(lines * LANES);
        let weight = exp(L::load(at).sub(most)).first(rest, L::splat(0.0));
        weight.store(at);
        total = total.add(weight);
    }
    sum(total)
}

/// Weighted sums of values for a few queries.
struct Values<'a> {
    pages: &'a [KvPage],
    /// First line of the values in a page.
    offset: usize,
    /// Lines of a position.
    lines: usize,
    head_dim: usize,
    /// Of the first query.
    weights: *const f32,
    row_of_weights: usize,
    /// Positions that each query looks at.
    ends: [usize; QUERIES],
    /// By which each query's sums are multiplied.
    factors: [f32; QUERIES],
    out: [*mut f32; QUERIES],
}

impl Values<'_> {
    /// All lines of `Q` queries.
    #[inline(always)]
    unsafe fn all_lines<L: Lanes, const Q: usize>(&self) {
        let mut line = 0;
        while line < self.lines {
            if L::LINES > 1 && self.lines - line >= 4 {
                self.compute::<L, Q, 4>(line);
                line += 4;
            } else {
                self.compute::<L, Q, 1>(line);
                line += 1;
            }
        }
    }

    /// `Q` queries, `N` lines from `line` on.
    // Indices that the compiler unrolls, over arrays that it keeps in registers.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    unsafe fn compute<L: Lanes, const Q: usize, const N: usize>(&self, line: usize) {
        let mut sums = [[L::splat(0.0); N]; Q];
        // All queries go together as far as all of them look; positions beyond a query's end are
        // none of its sum's, not even with a weight of zero.
        let mut shared = self.ends[0];
        for end in &self.ends[..Q] {
            shared = shared.min(*end);
        }
        for (number, page) in self.pages.iter().enumerate() {
            let start = number * PAGE_POSITIONS;
            if start >= shared {
                break;
            }
            let values: *const f32 = page.lines[self.offset + line..].as_ptr().cast();
            let weights = self.weights.add(start);
            for slot in 0..(shared - start).min(PAGE_POSITIONS) {
                let at = values.add(slot * self.lines * LANES);
                let mut value = [L::splat(0.0); N];
                for n in 0..N {
                    value[n] = L::load(at.add(n * LANES));
                }
                for q in 0..Q {
                    let weight = L::splat(*weights.add(q * self.row_of_weights + slot));
                    for n in 0..N {
                        sums[q][n] = weight.fma(value[n], sums[q][n]);
                    }
                }
            }
        }
        for q in 0..Q {
            for position in shared..self.ends[q] {
                let page = &self.pages[position / PAGE_POSITIONS];
                let slot = position % PAGE_POSITIONS;
                let values = &page.lines[self.offset + line + slot * self.lines..][..N];
                let weight = L::splat(*self.weights.add(q * self.row_of_weights + position));
                for n in 0..N {
                    sums[q][n] = weight.fma(L::load(values[n].0.as_ptr()), sums[q][n]);
                }
            }
        }
        for q in 0..Q {
            let factor = L::splat(self.factors[q]);
            for n in 0..N {
                let at = (line + n) * LANES;
                let count = (self.head_dim - at).min(LANES);
                sums[q][n]
                    .mul(factor)
                    .store_part(self.out[q].add(at), count);
            }
        }
    }
}

#[cfg(test)]
mod tests;
