//! RMS norm.
//!
//! ```text
//! s_l = fma(x_i, x_i, s_l) for i = l, l + 16, l + 32, …, from 0 on, for each lane l
//! s   = the tree over the 16 lanes
//! c   = 1 ÷ √(s ÷ width + ε)
//! y_i = (x_i × c) × weight_i
//! ```
#![allow(unsafe_op_in_unsafe_fn)]

use crate::lanes::{sum, Lanes, LANES};

#[inline(always)]
unsafe fn norm<L: Lanes>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), weight.len(), "as many weights as values");
    assert_eq!(x.len(), out.len(), "as many results as values");
    let (x, weight, end) = (x.as_ptr(), weight.as_ptr(), out.len());
    let out = out.as_mut_ptr();
    let mut squares = L::splat(0.0);
    let mut at = 0;
    while at < end {
        // Lanes beyond the end add the square of zero, which changes no sum of squares.
        let x = L::load_part(x.add(at), (end - at).min(LANES));
        squares = x.fma(x, squares);
        at += LANES;
    }
    let factor = L::splat(1.0 / (sum(squares) / end as f32 + epsilon).sqrt());
    let mut at = 0;
    while at < end {
        let count = (end - at).min(LANES);
        let x = L::load_part(x.add(at), count);
        let weight = L::load_part(weight.add(at), count);
        x.mul(factor).mul(weight).store_part(out.add(at), count);
        at += LANES;
    }
}

crate::lanes::for_each_isa! {
    /// RMS norm of one row: `x / √(mean(x²) + ε) × weight`.
    ///
    /// # Panics
    ///
    /// If the three differ in length.
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = norm;
}

#[cfg(test)]
mod tests;
