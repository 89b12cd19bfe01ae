//! Q4_0: a unit is two blocks. Scales of the first, of the second (16 f16 each), nibbles of the first, of
//! the second.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{dots, f16_at, nibbles, Blocks, Simd, OPERANDS};
use crate::quantize::{BlockScale, Planes, BLOCK};

pub(crate) struct Q4_0;

const VALUES: usize = 64;

impl Blocks for Q4_0 {
    const SPAN: usize = 2;
    const UNIT: usize = VALUES + 2 * nibbles::BYTES;
    const STORED_COLUMNS: usize = 32;
    const STORED_BYTES: usize = 18;

    fn pack(stored: &[u8], index: usize, row: usize, unit: &mut [u8]) {
        unit[index * 32 + row * 2..][..2].copy_from_slice(&stored[..2]);
        let block = &mut unit[VALUES + index * nibbles::BYTES..];
        nibbles::put(&stored[2..18], row, block);
    }

    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]) {
        let d = f16_at(unit, index * 16 + row);
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        for (out, n) in out.iter_mut().zip(nibbles) {
            *out = d * (f32::from(n) - 8.0);
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
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        let products = nibbles.iter().zip(x);
        let dot: i32 = products.map(|(n, x)| (i32::from(*n) - 8) * x).sum();
        (dot as f32).mul_add(d * scale.step, to)
    }

    type Scales<S: Simd> = S::F;

    #[inline(always)]
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> S::F {
        S::f16s(unit.add(index * 32 + row * 2))
    }

    #[inline(always)]
    unsafe fn operand<S: Simd>(unit: *const u8, index: usize, row: usize, o: usize) -> S::B {
        nibbles::operand::<S>(unit.add(VALUES + index * nibbles::BYTES), row, o)
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
        let start = |t| S::int(-8 * (*scales.add(t)).sum);
        let dots = dots::<S, Self, 0, OPERANDS, T>(&operand, x, start);
        for (t, to) in to.iter_mut().enumerate() {
            let step = S::splat((*scales.add(t)).step);
            *to = S::fma(S::to_f32(dots[t]), S::mul(d, step), *to);
        }
    }
}
