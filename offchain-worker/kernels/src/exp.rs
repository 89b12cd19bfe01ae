//! The exponential function.
//!
//! ```text
//! x ← −104 where −104 > x;  x ← 89 where 89 < x
//! t = fma(x, log₂e, 12582912);  n = t − 12582912          n is the integer nearest to x·log₂e
//! r = x − n·LN2_HIGH, then r = r − n·LN2_LOW, each a fused multiply-subtract
//! p = fma(…fma(fma(C₄, r, C₃), r, C₂)…, r, C₀);  p = fma(p, r, 1);  p = fma(p, r, 1)
//! eˣ = p × 2ⁿ, rounded once
//! ```
//!
//! The result is within 1 unit in the last place of eˣ; e⁰ and e⁻⁰ are 1; up to −104 it is 0,
//! from 88.7229 on infinite, and of a NaN a NaN. Small results are subnormal, not flushed.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::lanes::{Lanes, LANES, TO_INTEGER};

/// Below this e^x rounds to 0.
const LOWEST: f32 = -104.0;
/// From here on e^x rounds to infinity.
const HIGHEST: f32 = 89.0;
const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
const LN2_HIGH: f32 = f32::from_bits(0x3f31_7218);
const LN2_LOW: f32 = f32::from_bits(0xb102_e308);
/// Of the polynomial of degree 4 that is nearest to (eʳ − 1 − r)/r², weighted by r²/eʳ, for |r| up to
/// half of ln 2. It is off by 3.7e-9 of eʳ at most.
const COEFFICIENTS: [f32; 5] = [
    f32::from_bits(0x3eff_fffe),
    f32::from_bits(0x3e2a_aa49),
    f32::from_bits(0x3d2a_ac79),
    f32::from_bits(0x3c09_1d10),
    f32::from_bits(0x3ab5_11e8),
];

/// eˣ in every lane.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    let x = L::splat(LOWEST).greater(x);
    let x = L::splat(HIGHEST).less(x);
    let shift = L::splat(TO_INTEGER);
    let t = x.fma(L::splat(LOG2_E), shift);
    let n = t.sub(shift);
    let r = n.fnma(L::splat(LN2_HIGH), x);
    let r = n.fnma(L::splat(LN2_LOW), r);
    let one = L::splat(1.0);
    let p = L::splat(COEFFICIENTS[4]);
    let p = p.fma(r, L::splat(COEFFICIENTS[3]));
    let p = p.fma(r, L::splat(COEFFICIENTS[2]));
    let p = p.fma(r, L::splat(COEFFICIENTS[1]));
    let p = p.fma(r, L::splat(COEFFICIENTS[0]));
    let p = p.fma(r, one);
    let p = p.fma(r, one);
    p.scale(t)
}

#[inline(always)]
unsafe fn exp_all<L: Lanes>(values: &mut [f32]) {
    let (start, end) = (values.as_mut_ptr(), values.len());
    let mut at = 0;
    while at < end {
        let count = (end - at).min(LANES);
        let x = L::load_part(start.add(at), count);
        exp(x).store_part(start.add(at), count);
        at += LANES;
    }
}

crate::lanes::for_each_isa! {
    /// eˣ of every number, in place.
    pub fn exp_in_place(values: &mut [f32]) = exp_all;
}

#[cfg(test)]
mod tests;
