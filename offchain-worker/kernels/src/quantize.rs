//! Activations as 16-bit integers, each of two signed bytes, for products with quantised weights.

#[cfg(target_arch = "x86_64")]
use crate::Isa;
use crate::{Kernels, ShapeError};

/// Columns that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Rows that lie interleaved, block by block: as many as one pass over the weights serves.
pub(crate) const STRIP: usize = 8;

/// A block whose greatest size is below this, 2⁻¹⁰⁰, counts as zeros: no reciprocal overflows, and no
/// scale is subnormal.
pub(crate) const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// What a block's greatest number becomes, in size: so the high byte of none is above 127.
const GREATEST: f32 = 127.0 * 256.0;

/// Adding this to a number below 2²² in size leaves its nearest integer in the low bits of the sum,
/// ties to even.
const TO_INTEGER: f32 = 12_582_912.0;

/// The integers of a block: 256 times the high bytes, plus the low ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Planes {
    pub high: [i8; BLOCK],
    pub low: [i8; BLOCK],
}

impl Planes {
    /// The integers, at most 127 · 256 in size.
    #[inline(always)]
    pub fn integers(&self) -> [i32; BLOCK] {
        std::array::from_fn(|i| 256 * i32::from(self.high[i]) + i32::from(self.low[i]))
    }
}

/// Rows of activations as 16-bit integers, with a scale for every 32 of them. Memory is kept from one
/// use to the next.
#[derive(Clone, Debug, Default)]
pub struct QuantizedRows {
    rows: usize,
    columns: usize,
    /// By strip of [`STRIP`] rows (the last has what is left), then block, then row.
    values: Vec<Planes>,
    /// In the same order.
    scales: Vec<BlockScale>,
}

/// What belongs to the 32 integers of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct BlockScale {
    /// What one step is worth.
    pub step: f32,
    /// `step` times the sum of the integers.
    pub scaled_sum: f32,
    /// The sum of the integers.
    pub sum: i32,
    /// The sum of the first 16 of them.
    pub first_sum: i32,
}

impl QuantizedRows {
    /// No rows, and no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values in row `row` as products see them: integer times step, rounded.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = f32> + '_ {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        (0..self.columns / BLOCK).flat_map(move |block| {
            let (values, scale) = self.block(row, block);
            let values = values.integers().into_iter();
            values.map(move |q| q as f32 * scale.step)
        })
    }

    /// Block `block` of row `row`.
    pub(crate) fn block(&self, row: usize, block: usize) -> (&Planes, &BlockScale) {
        let at = place(self.rows, self.columns / BLOCK, row, block);
        (&self.values[at], &self.scales[at])
    }

    /// Where all blocks start, for SIMD code: [`place`] tells where each of them lies.
    pub(crate) fn raw(&self) -> (*const Planes, *const BlockScale) {
        (self.values.as_ptr(), self.scales.as_ptr())
    }
}

/// Where block `block` of row `row` lies.
#[inline(always)]
fn place(rows: usize, blocks: usize, row: usize, block: usize) -> usize {
    let first = row / STRIP * STRIP;
    let width = STRIP.min(rows - first);
    first * blocks + block * width + (row - first)
}

impl Kernels {
    /// Quantises `x`, `[rows, columns]`, row by row; what `out` held before is gone.
    ///
    /// # Errors
    /// [`ShapeError`] if `columns` is no multiple of 32, or `x` isn't whole rows.
    pub fn quantize(
        &self,
        x: &[f32],
        columns: usize,
        out: &mut QuantizedRows,
    ) -> Result<(), ShapeError> {
        if !columns.is_multiple_of(BLOCK) {
            return Err(ShapeError::Columns(columns));
        }
        let rows = x.len().checked_div(columns).unwrap_or(0);
        if rows * columns != x.len() {
            return Err(ShapeError::Input {
                expected: rows * columns,
                found: x.len(),
            });
        }
        (out.rows, out.columns) = (rows, columns);
        out.values.resize(x.len() / BLOCK, Planes::default());
        out.scales.resize(x.len() / BLOCK, BlockScale::default());
        match self.isa() {
            // SAFETY: `Kernels` are made only for an instruction set that this machine has.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { quantize_avx512(x, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => unsafe { quantize_avx2(x, out) },
            _ => quantize_rows(x, out),
        }
        Ok(())
    }
}

/// The same code, compiled to other instructions: every operation in it is a single one of
/// IEEE 754 or on integers, and compilers keep to what is written.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn quantize_avx512(x: &[f32], out: &mut QuantizedRows) {
    quantize_rows(x, out);
}

/// As [`quantize_avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn quantize_avx2(x: &[f32], out: &mut QuantizedRows) {
    quantize_rows(x, out);
}

#[inline(always)]
fn quantize_rows(x: &[f32], out: &mut QuantizedRows) {
    let blocks = out.columns / BLOCK;
    let mut rest = x.as_chunks().0;
    for row in 0..out.rows {
        let (of_row, after) = rest.split_at(blocks);
        rest = after;
        // As `place` has it: a strip's rows lie between a row's blocks.
        let width = STRIP.min(out.rows - row / STRIP * STRIP);
        let first = place(out.rows, blocks, row, 0);
        let values = out.values[first..].iter_mut().step_by(width);
        let scales = out.scales[first..].iter_mut().step_by(width);
        for ((block, values), scale) in of_row.iter().zip(values).zip(scales) {
            *scale = quantize_block(block, values);
        }
    }
}

/// The specification of one block.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], out: &mut Planes) -> BlockScale {
    // Sizes compare as their bits do; an infinity is above all numbers, and a NaN above that.
    let sizes = x.iter().map(|x| x.to_bits() & 0x7fff_ffff);
    let greatest = f32::from_bits(sizes.fold(0, u32::max));
    if !(LEAST..=f32::MAX).contains(&greatest) {
        *out = Planes::default();
        let step = if greatest < LEAST { 0.0 } else { f32::NAN };
        return BlockScale {
            step,
            scaled_sum: step,
            sum: 0,
            first_sum: 0,
        };
    }
    let factor = GREATEST / greatest;
    // At most 127 · 256 and a little: the nearest integer is 127 · 256 at most.
    let mut integers = [0; BLOCK];
    for (q, x) in integers.iter_mut().zip(x) {
        *q = (x * factor + TO_INTEGER).to_bits() as i32 - TO_INTEGER.to_bits() as i32;
    }
    for (i, q) in integers.iter().enumerate() {
        // The low byte, from −128 to 127, and what is left, a multiple of 256.
        out.low[i] = *q as i8;
        out.high[i] = ((q + 128) >> 8) as i8;
    }
    let (first_sum, rest): (i32, i32) = (integers[..16].iter().sum(), integers[16..].iter().sum());
    let sum = first_sum + rest;
    let step = greatest / GREATEST;
    BlockScale {
        step,
        scaled_sum: step * sum as f32,
        sum,
        first_sum,
    }
}

#[cfg(test)]
mod tests;
