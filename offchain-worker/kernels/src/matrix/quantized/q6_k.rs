//! Q6_K: a unit is eight blocks, one block of 256 as it is stored. d (16 f16) and 32 unused bytes, scales s of
//! the sixteen halves of blocks (16 bytes each), then for each block its nibbles and two lines of bit
//! pairs: byte `b` of line `l` has, from its low bits on, the upper bits of byte `b` of operands 4·l
//! to 4·l + 3.
#![allow(unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use super::{dots, f16_at, nibbles, Blocks, Simd, OPERANDS};
use crate::quantize::{BlockScale, Planes, BLOCK};

pub(crate) struct Q6K;

const SCALES: usize = 64;
const VALUES: usize = SCALES + 16 * 16;
/// Bytes of 32 columns: nibbles, bit pairs.
const BYTES: usize = nibbles::BYTES + 128;

/// A row's values, less 32, and the scales of the first and the last sixteen.
fn get(unit: &[u8], index: usize, row: usize) -> ([i32; BLOCK], [i32; 2]) {
    let block = &unit[VALUES + index * BYTES..];
    let low = nibbles::get(block, row);
    let values = std::array::from_fn(|column| {
        let operand = column / 4;
        let pairs = block[nibbles::BYTES + operand / 4 * 64 + row * 4 + column % 4];
        let upper = pairs >> (operand % 4 * 2) & 3;
        i32::from(low[column] | upper << 4) - 32
    });
    let scale = |half: usize| i32::from(unit[SCALES + (index * 2 + half) * 16 + row] as i8);
    (values, [scale(0), scale(1)])
}

impl Blocks for Q6K {
    const SPAN: usize = 8;
    const UNIT: usize = VALUES + 8 * BYTES;
    const STORED_COLUMNS: usize = 256;
    const STORED_BYTES: usize = 210;

    fn pack(stored: &[u8], _: usize, row: usize, unit: &mut [u8]) {
        unit[row * 2..][..2].copy_from_slice(&stored[208..210]);
        for half in 0..16 {
            unit[SCALES + half * 16 + row] = stored[192 + half];
        }
        // Each 128 values have 64 bytes of low nibbles and 32 of bit pairs; 32 values take one nibble
        // of the former and one pair of the latter.
        for index in 0..8 {
            let (part, quarter) = (index / 4, index % 4);
            let low = |j: usize| stored[part * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
            let upper = |j: usize| stored[128 + part * 32 + j] >> (quarter * 2) & 3;
            let block = &mut unit[VALUES + index * BYTES..][..BYTES];
            let paired: [u8; 16] = std::array::from_fn(|j| low(j) | low(j + 16) << 4);
            nibbles::put(&paired, row, block);
            for column in 0..BLOCK {
                let operand = column / 4;
                let at = nibbles::BYTES + operand / 4 * 64 + row * 4 + column % 4;
                block[at] |= upper(column) << (operand % 4 * 2);
            }
        }
    }

    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]) {
        let d = f16_at(unit, row);
        let (values, scales) = get(unit, index, row);
        for (column, (out, q)) in out.iter_mut().zip(values).enumerate() {
            *out = (d * scales[column / 16] as f32) * q as f32;
        }
    }

    fn add(
        unit: &[u8],
        index: usize,
        row: usize,
        x: &[i32; BLOCK],
        scale: &BlockScale,
        to: f32,
    ) -> f32 {
        let (values, scales) = get(unit, index, row);
        // 32 · 16 · 127 · 256 at most, which f32 has room for; not so the products with scales.
        let dot = |half: Range<usize>| -> f32 {
            let products = values[half.clone()].iter().zip(&x[half]);
            products.map(|(q, x)| q * x).sum::<i32>() as f32
        };
        let scaled = dot(0..16) * scales[0] as f32;
        let dot = dot(16..32).mul_add(scales[1] as f32, scaled);
        dot.mul_add(f16_at(unit, row) * scale.step, to)
    }

    /// d, scales of the first and of the last sixteen.
    type Scales<S: Simd> = [S::F; 3];

    #[inline(always)]
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> [S::F; 3] {
        let scales = unit.add(SCALES + index * 32 + row);
        [
            S::f16s(unit.add(row * 2)),
            S::i8s(scales),
            S::i8s(scales.add(16)),
        ]
    }

    #[inline(always)]
    unsafe fn operand<S: Simd>(unit: *const u8, index: usize, row: usize, o: usize) -> S::B {
        let block = unit.add(VALUES + index * BYTES);
        let low = nibbles::operand::<S>(block, row, o);
        let pairs = S::bytes(block.add(nibbles::BYTES + o / 4 * 64 + row * 4));
        match o % 4 {
            0 => S::six_bits::<0>(low, pairs),
            1 => S::six_bits::<1>(low, pairs),
            2 => S::six_bits::<2>(low, pairs),
            _ => S::six_bits::<3>(low, pairs),
        }
    }

    #[inline(always)]
    unsafe fn add_rows<S: Simd, const T: usize>(
        operand: impl Fn(usize) -> S::B,
        of_rows: &[S::F; 3],
        x: *const Planes,
        scales: *const BlockScale,
        to: &mut [S::F; T],
    ) {
        let [d, first_scale, last_scale] = *of_rows;
        let start = |t| S::int(-32 * (*scales.add(t)).first_sum);
        let first = dots::<S, Self, 0, 4, T>(&operand, x, start);
        let start = |t| S::int(-32 * ((*scales.add(t)).sum - (*scales.add(t)).first_sum));
        let last = dots::<S, Self, 4, OPERANDS, T>(&operand, x, start);
        for (t, to) in to.iter_mut().enumerate() {
            let scaled = S::mul(S::to_f32(first[t]), first_scale);
            let dot = S::fma(S::to_f32(last[t]), last_scale, scaled);
            let step = S::splat((*scales.add(t)).step);
            *to = S::fma(dot, S::mul(d, step), *to);
        }
    }
}
