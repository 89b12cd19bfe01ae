//! Products of quantised weights with quantised activations.
//!
//! Sixteen rows lie interleaved. For each block of 32 columns there are eight operands: four columns
//! of sixteen rows, which is what one instruction multiplies with four activations. Operand `o` has columns
//! 4·o to 4·o + 3.
#![allow(unsafe_op_in_unsafe_fn)]

mod nibbles;
mod q4_0;
mod q4_1;
mod q4_k;
mod q6_k;
mod q8_0;

use std::ops::Range;

pub(crate) use q4_0::Q4_0;
pub(crate) use q4_1::Q4_1;
pub(crate) use q4_k::Q4K;
pub(crate) use q6_k::Q6K;
pub(crate) use q8_0::Q8_0;

use super::pack::PackedMatrix;
use super::product::Output;
use super::simd::{for_each_isa, Simd};
use super::GROUP;
use crate::quantize::{BlockScale, QuantizedRows, BLOCK, STRIP};

/// Operands of a block.
const OPERANDS: usize = 8;

/// How far ahead of its use a line of weights is asked for, in bytes.
const AHEAD: usize = 4096;

/// A quantised format: how its units lie, what they mean, and how SIMD code takes them.
///
/// A unit holds [`Blocks::SPAN`] consecutive blocks of 32 columns, for sixteen rows.
pub(crate) trait Blocks {
    /// Blocks of 32 columns in a unit.
    const SPAN: usize;
    /// Bytes of a unit: whole cache lines.
    const UNIT: usize;
    /// Columns in a block as it is stored.
    const STORED_COLUMNS: usize;
    /// Bytes of a block as it is stored.
    const STORED_BYTES: usize;

    /// Puts the `index`th stored block of a unit in its place, for row `row` of the group.
    fn pack(stored: &[u8], index: usize, row: usize, unit: &mut [u8]);

    /// The weights of row `row` in the `index`th 32 columns of a unit.
    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]);

    /// The specification: `to` plus the product of the `index`th 32 columns of a unit, in row
    /// `row`, with as many activations.
    fn add(unit: &[u8], index: usize, row: usize, x: &[i8; 32], scale: &BlockScale, to: f32)
        -> f32;

    /// Scales of rows, as SIMD code holds them.
    type Scales<S: Simd>;

    /// The scales of the `index`th 32 columns of the unit at `unit`, for rows `row` and on.
    ///
    /// # Safety
    /// As [`Simd`] says; `unit` is a whole unit, and there are such rows and columns.
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> Self::Scales<S>;

    /// As [`Blocks::scales`], the operands.
    ///
    /// # Safety
    /// As [`Blocks::scales`].
    unsafe fn operands<S: Simd>(unit: *const u8, index: usize, row: usize) -> [S::B; OPERANDS];

    /// As [`Blocks::add`], for a register's worth of rows.
    ///
    /// # Safety
    /// As [`Simd`] says; `x` has 32 bytes.
    unsafe fn add_rows<S: Simd>(
        operands: &[S::B; OPERANDS],
        scales: &Self::Scales<S>,
        x: *const i8,
        scale: &BlockScale,
        to: S::F,
    ) -> S::F;
}

/// A product to compute.
pub(crate) struct Job<'a> {
    /// Of the format that the job is run with.
    pub weights: &'a PackedMatrix,
    /// As many columns as `weights`.
    pub x: &'a QuantizedRows,
    /// As many tokens as `x` has rows, and as many rows as `weights`.
    pub out: &'a Output<'a>,
}

for_each_isa! {
    /// Computes the rows of `groups`.
    ///
    /// # Safety
    /// The machine has `isa`; the job's parts fit together as said there; no one else uses these rows
    /// of the output meanwhile.
    pub(crate) unsafe fn multiply<B: Blocks>(job: &Job<'_>, groups: Range<usize>)
        = multiply_simd or multiply_portable
}

/// # Safety
/// As [`multiply`].
unsafe fn multiply_portable<B: Blocks>(job: &Job<'_>, groups: Range<usize>) {
    let blocks = job.weights.columns() / BLOCK;
    for group in groups {
        let units = job.weights.group(group);
        for token in 0..job.x.rows() {
            let mut sums = [0.0; GROUP];
            for (row, sum) in sums.iter_mut().enumerate() {
                for block in 0..blocks {
                    let unit = &units[block / B::SPAN * B::UNIT..][..B::UNIT];
                    let (x, scale) = job.x.block(token, block);
                    *sum = B::add(unit, block % B::SPAN, row, x, scale, *sum);
                }
            }
            job.out.put(token, group, &sums);
        }
    }
}

/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn multiply_simd<S: Simd, B: Blocks>(job: &Job<'_>, groups: Range<usize>) {
    let tokens = job.x.rows();
    for group in groups {
        let mut token = 0;
        while token < tokens {
            let strip = token / STRIP * STRIP;
            let width = STRIP.min(tokens - strip);
            let tile = Tile {
                strip,
                width,
                token,
            };
            token += match strip + width - token {
                8.. if S::TOKENS == 8 => tile.multiply::<S, B, 8>(job, group),
                4.. => tile.multiply::<S, B, 4>(job, group),
                2.. => tile.multiply::<S, B, 2>(job, group),
                _ => tile.multiply::<S, B, 1>(job, group),
            };
        }
    }
}

/// Tokens that are multiplied with a group of rows at once.
struct Tile {
    /// First row of the activations' strip.
    strip: usize,
    /// Rows in it.
    width: usize,
    /// The first token, in the strip.
    token: usize,
}

impl Tile {
    /// Multiplies `T` tokens; gives their number back.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn multiply<S: Simd, B: Blocks, const T: usize>(
        &self,
        job: &Job<'_>,
        group: usize,
    ) -> usize {
        let mut sums = [[0.0; GROUP]; T];
        for row in (0..GROUP).step_by(S::LANES) {
            let sums_of_rows = self.sums::<S, B, T>(job, group, row);
            for (sums, sum) in sums.iter_mut().zip(sums_of_rows) {
                S::store(sum, sums.as_mut_ptr().add(row));
            }
        }
        for (t, sums) in sums.iter().enumerate() {
            job.out.put(self.token + t, group, sums);
        }
        T
    }

    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn sums<S: Simd, B: Blocks, const T: usize>(
        &self,
        job: &Job<'_>,
        group: usize,
        row: usize,
    ) -> [S::F; T] {
        let blocks = job.weights.columns() / BLOCK;
        let (values, scales) = job.x.raw();
        let first = self.strip * blocks + (self.token - self.strip);
        let (mut values, mut scales) = (values.add(first), scales.add(first));
        let mut unit = job.weights.group(group).as_ptr();
        let mut sums = [S::splat(0.0); T];
        let mut left = blocks;
        while left > 0 {
            if row == 0 {
                for line in (0..B::UNIT).step_by(64) {
                    S::prefetch(unit.wrapping_add(AHEAD + line));
                }
            }
            for index in 0..B::SPAN.min(left) {
                let operands = B::operands::<S>(unit, index, row);
                let of_rows = B::scales::<S>(unit, index, row);
                for (t, sum) in sums.iter_mut().enumerate() {
                    let x = values.add(t).cast();
                    *sum = B::add_rows::<S>(&operands, &of_rows, x, &*scales.add(t), *sum);
                }
                values = values.wrapping_add(self.width);
                scales = scales.wrapping_add(self.width);
            }
            unit = unit.wrapping_add(B::UNIT);
            left -= B::SPAN.min(left);
        }
        sums
    }
}

/// The eight products of a block with nibbles for operands.
///
/// # Safety
/// As [`Simd`] says; `x` has 32 bytes.
#[inline(always)]
unsafe fn dot<S: Simd>(start: S::I, operands: &[S::B; OPERANDS], x: *const i8) -> S::I {
    // Two sums, so that a product need not wait for the one before.
    let (mut even, mut odd) = (start, S::int(0));
    for o in 0..OPERANDS / 2 {
        even = S::dot(even, operands[o], x.add(4 * o));
        odd = S::dot(odd, operands[o + 4], x.add(4 * (o + 4)));
    }
    S::add_int(even, odd)
}

/// Reads the f16 at index `at` of `bytes`.
fn f16_at(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f32()
}
