//! Q8_0: a unit is two blocks. Scales of the first, of the second (16 f16 each), operands of the first, of
//! the second: 64 bytes each, four for each row, 128 added to each.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{dots, f16_at, Blocks, Simd, OPERANDS};
use crate::quantize::{BlockScale, Planes, BLOCK};

pub(crate) struct Q8_0;

const VALUES: usize = 64;
/// Bytes of 32 columns.
const BYTES: usize = 512;

/// Where column `column` lies.
fn place(index: usize, column: usize, row: usize) -> usize {
    VALUES + index * BYTES + column / 4 * 64 + row * 4 + column % 4
}

/// A row's bytes.
fn get(unit: &[u8], index: usize, row: usize) -> [i8; BLOCK] {
    std::array::from_fn(|column| (unit[place(index, column, row)] ^ 0x80) as i8)
}

impl Blocks for Q8_0 {
    const SPAN: usize = 2;
    const UNIT: usize = VALUES + 2 * BYTES;
    const STORED_COLUMNS: usize = 32;
    const STORED_BYTES: usize = 34;
    const SIGNED: bool = true;

    fn pack(stored: &[u8], index: usize, row: usize, unit: &mut [u8]) {
        unit[index * 32 + row * 2..][..2].copy_from_slice(&stored[..2]);
        for (column, q) in stored[2..34].iter().enumerate() {
            unit[place(index, column, row)] = q ^ 0x80;
        }
    }

    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]) {
        let d = f16_at(unit, index * 16 + row);
        for (out, q) in out.iter_mut().zip(get(unit, index, row)) {
            *out = d * f32::from(q);
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
        let d = f16_at(unit, index * 16 + row);
        let weights = get(unit, index, row);
        let products = weights.iter().zip(x);
        let dot: i32 = products.map(|(q, x)| i32::from(*q) * x).sum();
        (dot as f32).mul_add(d * scale.step, to)
    }

    type Scales<S: Simd> = S::F;

    #[inline(always)]
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> S::F {
        S::f16s(unit.add(index * 32 + row * 2))
    }

    #[inline(always)]
    unsafe fn operand<S: Simd>(unit: *const u8, index: usize, row: usize, o: usize) -> S::B {
        S::bytes(unit.add(VALUES + index * BYTES + o * 64 + row * 4))
    }

    #[inline(always)]
    unsafe fn add_rows<S: Simd, const T: usize>(
        operand: impl Fn(usize) -> S::B,
        of_rows: &S::F,
        x: *const Planes,
        scales: *const BlockScale,
        to: &mut [S::F; T],
    ) {
        let d = *of_rows;
        let start = |t| S::signed_start((*scales.add(t)).sum);
        let dots = dots::<S, Self, 0, OPERANDS, T>(&operand, x, start);
        for (t, to) in to.iter_mut().enumerate() {
            let step = S::splat((*scales.add(t)).step);
            *to = S::fma(S::to_f32(dots[t]), S::mul(d, step), *to);
        }
    }
}
