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

use std::mem::MaybeUninit;
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
use crate::quantize::{BlockScale, Planes, QuantizedRows, BLOCK, STRIP};

/// Operands of a block.
const OPERANDS: usize = 8;

/// How far ahead of its use a line of weights is asked for, in bytes.
const AHEAD: usize = 4096;

/// A quantised format: how its units lie, what they mean, and how SIMD code takes them.
///
/// A unit holds [`Blocks::SPAN`] consecutive blocks of 32 columns, for sixteen rows.
pub(crate) trait Blocks: Sized {
    /// Blocks of 32 columns in a unit.
    const SPAN: usize;
    /// Bytes of a unit: whole cache lines.
    const UNIT: usize;
    /// Columns in a block as it is stored.
    const STORED_COLUMNS: usize;
    /// Bytes of a block as it is stored.
    const STORED_BYTES: usize;
    /// Are operands bytes of any value, to which 128 was added?
    const SIGNED: bool = false;

    /// Puts the `index`th stored block of a unit in its place, for row `row` of the group.
    fn pack(stored: &[u8], index: usize, row: usize, unit: &mut [u8]);

    /// The weights of row `row` in the `index`th 32 columns of a unit.
    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]);

    /// The specification: `to` plus the product of the `index`th 32 columns of a unit, in row
    /// `row`, with as many activations.
    fn add(
        unit: &[u8],
        index: usize,
        row: usize,
        x: &[i32; BLOCK],
        scale: &BlockScale,
        to: f32,
    ) -> f32;

    /// Scales of rows, as SIMD code holds them.
    type Scales<S: Simd>: Copy;

    /// The scales of the `index`th 32 columns of the unit at `unit`, for rows `row` and on.
    ///
    /// # Safety
    /// As [`Simd`] says; `unit` is a whole unit, and there are such rows and columns.
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> Self::Scales<S>;

    /// As [`Blocks::scales`], operand `o`.
    ///
    /// # Safety
    /// As [`Blocks::scales`].
    unsafe fn operand<S: Simd>(unit: *const u8, index: usize, row: usize, o: usize) -> S::B;

    /// As [`Blocks::add`], for a register's worth of rows and `T` tokens. `operand` gives operands.
    ///
    /// # Safety
    /// As [`Simd`] says; `x` and `scales` have `T` tokens.
    unsafe fn add_rows<S: Simd, const T: usize>(
        operand: impl Fn(usize) -> S::B,
        of_rows: &Self::Scales<S>,
        x: *const Planes,
        scales: *const BlockScale,
        to: &mut [S::F; T],
    );
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
                    *sum = B::add(unit, block % B::SPAN, row, &x.integers(), scale, *sum);
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
    let blocks = job.weights.columns() / BLOCK;
    let mut unpacked = Unpacked::<S, B>::new();
    for group in groups {
        // Unpacked once for all tokens, where they are many.
        let from = match tokens >= MANY && blocks <= UNPACKED {
            true => Some(unpacked.fill(job.weights.group(group), blocks)),
            false => None,
        };
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
                8.. if S::TOKENS >= 8 => tile.multiply::<S, B, 8>(job, group, from),
                4.. => tile.multiply::<S, B, 4>(job, group, from),
                2.. => tile.multiply::<S, B, 2>(job, group, from),
                _ => tile.multiply::<S, B, 1>(job, group, from),
            };
        }
    }
}

/// Tokens from which on it pays to unpack weights ahead.
const MANY: usize = 3 * STRIP;

/// Most blocks of a row that are unpacked ahead: what a second-level cache has room for beside all else.
const UNPACKED: usize = 128;

/// Most registers for a group of rows.
const REGISTERS: usize = 4;

/// A group's weights as [`Blocks::add_rows`] takes them.
struct Unpacked<S: Simd, B: Blocks> {
    /// By block, operand and row: four bytes.
    operands: [MaybeUninit<[u8; OPERANDS * GROUP * 4]>; UNPACKED],
    /// By block and register.
    scales: [[MaybeUninit<B::Scales<S>>; REGISTERS]; UNPACKED],
}

impl<S: Simd, B: Blocks> Unpacked<S, B> {
    /// Room for a group; nothing is written.
    #[inline(always)]
    fn new() -> Self {
        Self {
            operands: [const { MaybeUninit::uninit() }; UNPACKED],
            scales: [const { [const { MaybeUninit::uninit() }; REGISTERS] }; UNPACKED],
        }
    }

    /// Unpacks the first `blocks` blocks of a group.
    ///
    /// # Safety
    /// As [`Simd`] says; the group has as many, and [`UNPACKED`] is no less.
    #[inline(always)]
    unsafe fn fill(&mut self, units: &[u8], blocks: usize) -> &Self {
        let of_blocks = self.operands.iter_mut().zip(&mut self.scales);
        for (block, (operands, scales)) in of_blocks.take(blocks).enumerate() {
            let unit = units.as_ptr().add(block / B::SPAN * B::UNIT);
            for line in (0..B::UNIT / B::SPAN).step_by(64) {
                S::prefetch(
                    unit.wrapping_add(AHEAD + line + block % B::SPAN * (B::UNIT / B::SPAN)),
                );
            }
            let operands = operands.as_mut_ptr().cast::<u8>();
            for (register, row) in (0..GROUP).step_by(S::LANES).enumerate() {
                for o in 0..OPERANDS {
                    let operand = B::operand::<S>(unit, block % B::SPAN, row, o);
                    let to = operands.add(o * GROUP * 4 + row * 4);
                    to.cast::<S::B>().write_unaligned(operand);
                }
                scales[register].write(B::scales::<S>(unit, block % B::SPAN, row));
            }
        }
        self
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
        from: Option<&Unpacked<S, B>>,
    ) -> usize {
        let mut sums = [[0.0; GROUP]; T];
        for row in (0..GROUP).step_by(S::LANES) {
            let sums_of_rows = match from {
                Some(unpacked) => self.sums_of_unpacked::<S, B, T>(job, unpacked, row),
                None => self.sums::<S, B, T>(job, group, row),
            };
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
                let operand = |o| B::operand::<S>(unit, index, row, o);
                let of_rows = B::scales::<S>(unit, index, row);
                B::add_rows::<S, T>(operand, &of_rows, values, scales, &mut sums);
                values = values.wrapping_add(self.width);
                scales = scales.wrapping_add(self.width);
            }
            unit = unit.wrapping_add(B::UNIT);
            left -= B::SPAN.min(left);
        }
        sums
    }

    /// # Safety
    /// As [`multiply`]; the group is unpacked, up to the row's end.
    #[inline(always)]
    unsafe fn sums_of_unpacked<S: Simd, B: Blocks, const T: usize>(
        &self,
        job: &Job<'_>,
        unpacked: &Unpacked<S, B>,
        row: usize,
    ) -> [S::F; T] {
        let blocks = job.weights.columns() / BLOCK;
        let (values, scales) = job.x.raw();
        let first = self.strip * blocks + (self.token - self.strip);
        let (mut values, mut scales) = (values.add(first), scales.add(first));
        let mut sums = [S::splat(0.0); T];
        for block in 0..blocks {
            let operands = unpacked.operands[block].as_ptr().cast::<u8>();
            let operand = |o: usize| S::bytes(operands.add(o * GROUP * 4 + row * 4));
            let of_rows = unpacked.scales[block][row / S::LANES].assume_init_ref();
            B::add_rows::<S, T>(operand, of_rows, values, scales, &mut sums);
            values = values.wrapping_add(self.width);
            scales = scales.wrapping_add(self.width);
        }
        sums
    }
}

/// The products of `T` tokens' blocks with the operands from `FROM` to before `TO`, summed from `start` on.
///
/// Sums of high and of low bytes are 255 · 128 · 32 at most in size, 256 times the former plus the
/// latter 2²⁹.
///
/// # Safety
/// As [`Blocks::add_rows`].
#[inline(always)]
unsafe fn dots<S: Simd, B: Blocks, const FROM: usize, const TO: usize, const T: usize>(
    operand: &impl Fn(usize) -> S::B,
    x: *const Planes,
    start: impl Fn(usize) -> S::I,
) -> [S::I; T] {
    // For few tokens twice as many sums, so that there are enough that don't wait for each other.
    let few = T < 4;
    let mut high = [[S::int(0); T]; 2];
    let mut low = [std::array::from_fn(start), [S::int(0); T]];
    // Not a loop, so that an operand is unpacked where it is used, and none has to wait in memory.
    // Two that share bytes follow each other.
    macro_rules! add_each {
        ($($o:literal)*) => {$(
            if (FROM..TO).contains(&$o) {
                let x = x.cast::<i8>().add(4 * $o);
                let sums = usize::from(few && $o >= 4);
                add_operand::<S, B, T>(operand($o), x, &mut high[sums], &mut low[sums]);
            }
        )*};
    }
    add_each!(0 4 1 5 2 6 3 7);
    std::array::from_fn(|t| {
        let high = S::add_int(high[0][t], high[1][t]);
        let low = S::add_int(low[0][t], low[1][t]);
        S::add_int(S::times_256(high), low)
    })
}

/// Adds the products of one operand, with four columns of high bytes at `x`, and of low ones where
/// those lie; the other tokens' follow.
///
/// # Safety
/// As [`Blocks::add_rows`].
#[inline(always)]
unsafe fn add_operand<S: Simd, B: Blocks, const T: usize>(
    operand: S::B,
    x: *const i8,
    high: &mut [S::I; T],
    low: &mut [S::I; T],
) {
    // Tokens side by side, so that a product need not wait for the one before.
    for t in 0..T {
        let x = x.add(t * size_of::<Planes>());
        let dot = |to, x| match B::SIGNED {
            true => S::dot_signed(to, operand, x),
            false => S::dot(to, operand, x),
        };
        high[t] = dot(high[t], x);
        low[t] = dot(low[t], x.add(BLOCK));
    }
}

/// Reads the f16 at index `at` of `bytes`.
fn f16_at(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f32()
}
