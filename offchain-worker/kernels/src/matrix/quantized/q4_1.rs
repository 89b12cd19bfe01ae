//! Q4_1: a unit is two blocks. Scales of the first, of the second (16 f16 each), minima likewise, nibbles
//! of the first, of the second.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{dots, f16_at, nibbles, Blocks, Simd, OPERANDS};
use crate::quantize::{BlockScale, Planes, BLOCK};

pub(crate) struct Q4_1;

const MINIMA: usize = 64;
const VALUES: usize = 128;

impl Blocks for Q4_1 {
    const SPAN: usize = 2;
    const UNIT: usize = VALUES + 2 * nibbles::BYTES;
    const STORED_COLUMNS: usize = 32;
    const STORED_BYTES: usize = 20;

    fn pack(stored: &[u8], index: usize, row: usize, unit: &mut [u8]) {
        unit[index * 32 + row * 2..][..2].copy_from_slice(&stored[..2]);
        unit[MINIMA + index * 32 + row * 2..][..2].copy_from_slice(&stored[2..4]);
        let block = &mut unit[VALUES + index * nibbles::BYTES..];
        nibbles::put(&stored[4..20], row, block);
    }

    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]) {
        let d = f16_at(unit, index * 16 + row);
        let m = f16_at(&unit[MINIMA..], index * 16 + row);
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        for (out, n) in out.iter_mut().zip(nibbles) {
            *out = d * f32::from(n) + m;
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
        let m = f16_at(&unit[MINIMA..], index * 16 + row);
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        let products = nibbles.iter().zip(x);
        let dot: i32 = products.map(|(n, x)| i32::from(*n) * x).sum();
        let scaled = (dot as f32).mul_add(d * scale.step, to);
        m.mul_add(scale.scaled_sum, scaled)
    }

    /// Scales, minima.
    type Scales<S: Simd> = (S::F, S::F);

    #[inline(always)]
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> (S::F, S::F) {
        let at = unit.add(index * 32 + row * 2);
        (S::f16s(at), S::f16s(at.add(MINIMA)))
    }

    #[inline(always)]
    unsafe fn operand<S: Simd>(unit: *const u8, index: usize, row: usize, o: usize) -> S::B {
        nibbles::operand::<S>(unit.add(VALUES + index * nibbles::BYTES), row, o)
    }

    #[inline(always)]
    unsafe fn add_rows<S: Simd, const T: usize>(
        operand: impl Fn(usize) -> S::B,
        of_rows: &(S::F, S::F),
        x: *const Planes,
        scales: *const BlockScale,
        to: &mut [S::F; T],
    ) {
        let (d, m) = *of_rows;
        let dots = dots::<S, Self, 0, OPERANDS, T>(&operand, x, |_| S::int(0));
        for (t, to) in to.iter_mut().enumerate() {
            let scale = &*scales.add(t);
            let scaled = S::fma(S::to_f32(dots[t]), S::mul(d, S::splat(scale.step)), *to);
            *to = S::fma(m, S::splat(scale.scaled_sum), scaled);
        }
    }
}
