//! Q4_K: a unit is eight blocks, one block of 256 as it is stored. d and e (16 f16 each), scales s of the
//! eight, minima m of the eight (16 bytes each), nibbles of the eight.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{dots, f16_at, nibbles, Blocks, Simd, OPERANDS};
use crate::quantize::{BlockScale, Planes, BLOCK};

pub(crate) struct Q4K;

const E: usize = 32;
const SCALES: usize = 64;
const MINIMA: usize = SCALES + 8 * 16;
const VALUES: usize = MINIMA + 8 * 16;

/// The 6-bit scale and minimum of sub-block `i` of 8, packed into 12 bytes.
fn scale_and_minimum(packed: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        (
            (packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4),
            (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4),
        )
    }
}

/// d·s and e·m: products of 11 bits by 6, which f32 has room for.
fn scale_and_minimum_at(unit: &[u8], index: usize, row: usize) -> (f32, f32) {
    let s = f32::from(unit[SCALES + index * 16 + row]);
    let m = f32::from(unit[MINIMA + index * 16 + row]);
    (f16_at(unit, row) * s, f16_at(&unit[E..], row) * m)
}

impl Blocks for Q4K {
    const SPAN: usize = 8;
    const UNIT: usize = VALUES + 8 * nibbles::BYTES;
    const STORED_COLUMNS: usize = 256;
    const STORED_BYTES: usize = 144;

    fn pack(stored: &[u8], _: usize, row: usize, unit: &mut [u8]) {
        unit[row * 2..][..2].copy_from_slice(&stored[..2]);
        unit[E + row * 2..][..2].copy_from_slice(&stored[2..4]);
        for sub in 0..8 {
            let (s, m) = scale_and_minimum(&stored[4..16], sub);
            unit[SCALES + sub * 16 + row] = s;
            unit[MINIMA + sub * 16 + row] = m;
            // Two sub-blocks share 32 bytes, low nibbles first.
            let shared = &stored[16 + sub / 2 * 32..][..32];
            let nibble = |column: usize| (shared[column] >> (sub % 2 * 4)) & 15;
            let paired: [u8; 16] = std::array::from_fn(|j| nibble(j) | nibble(j + 16) << 4);
            let block = &mut unit[VALUES + sub * nibbles::BYTES..];
            nibbles::put(&paired, row, block);
        }
    }

    fn unpack(unit: &[u8], index: usize, row: usize, out: &mut [f32; BLOCK]) {
        let (s, m) = scale_and_minimum_at(unit, index, row);
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        for (out, n) in out.iter_mut().zip(nibbles) {
            *out = s * f32::from(n) - m;
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
        let (s, m) = scale_and_minimum_at(unit, index, row);
        let nibbles = nibbles::get(&unit[VALUES + index * nibbles::BYTES..], row);
        let products = nibbles.iter().zip(x);
        let dot: i32 = products.map(|(n, x)| i32::from(*n) * x).sum();
        let scaled = (dot as f32).mul_add(s * scale.step, to);
        (-m).mul_add(scale.scaled_sum, scaled)
    }

    /// Scales, minima.
    type Scales<S: Simd> = (S::F, S::F);

    #[inline(always)]
    unsafe fn scales<S: Simd>(unit: *const u8, index: usize, row: usize) -> (S::F, S::F) {
        let (d, e) = (unit.add(row * 2), unit.add(E + row * 2));
        let s = S::i8s(unit.add(SCALES + index * 16 + row));
        let m = S::i8s(unit.add(MINIMA + index * 16 + row));
        (S::mul(S::f16s(d), s), S::mul(S::f16s(e), m))
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
        let (s, m) = *of_rows;
        let dots = dots::<S, Self, 0, OPERANDS, T>(&operand, x, |_| S::int(0));
        for (t, to) in to.iter_mut().enumerate() {
            let scale = &*scales.add(t);
            let scaled = S::fma(S::to_f32(dots[t]), S::mul(s, S::splat(scale.step)), *to);
            *to = S::fnma(m, S::splat(scale.scaled_sum), scaled);
        }
    }
}
