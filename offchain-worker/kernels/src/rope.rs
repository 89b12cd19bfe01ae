//! Rotary position embeddings, applied: entry i of a head is paired with entry i + d/2.
//!
//! ```text
//! low_i  = fma(low_i,  cos_i, 0 − high_i × sin_i)
//! high_i = fma(high_i, cos_i, low_i × sin_i)          with low_i as it was
//! ```
//!
//! Then both are multiplied by `scale`, unless that is 1. (Queries are scaled here, once, instead of
//! every score.)
#![allow(unsafe_op_in_unsafe_fn)]

use crate::lanes::{Lanes, LANES};

#[inline(always)]
unsafe fn rotate_heads<L: Lanes>(heads: &mut [f32], cos: &[f32], sin: &[f32], scale: f32) {
    let half = cos.len();
    assert_eq!(half, sin.len(), "as many cosines as sines");
    assert!(half > 0, "heads have a width");
    assert!(
        heads.len().is_multiple_of(2 * half),
        "whole heads of twice as many numbers as there are cosines"
    );
    let zero = L::splat(0.0);
    let factor = L::splat(scale);
    let (cos, sin, end) = (cos.as_ptr(), sin.as_ptr(), heads.len());
    let heads = heads.as_mut_ptr();
    let mut head = 0;
    while head < end {
        let (low, high) = (heads.add(head), heads.add(head + half));
        let mut at = 0;
        while at < half {
            let count = (half - at).min(LANES);
            let cos = L::load_part(cos.add(at), count);
            let sin = L::load_part(sin.add(at), count);
            let a = L::load_part(low.add(at), count);
            let b = L::load_part(high.add(at), count);
            let mut turned_a = a.fma(cos, zero.sub(b.mul(sin)));
            let mut turned_b = b.fma(cos, a.mul(sin));
            if scale != 1.0 {
                turned_a = turned_a.mul(factor);
                turned_b = turned_b.mul(factor);
            }
            turned_a.store_part(low.add(at), count);
            turned_b.store_part(high.add(at), count);
            at += LANES;
        }
        head += 2 * half;
    }
}

crate::lanes::for_each_isa! {
    /// Rotates the heads of one token, `[heads, d]`, by the cosines and sines of its position,
    /// `[d/2]` each, and multiplies them by `scale`.
    ///
    /// # Panics
    ///
    /// If `cos` and `sin` differ in length or are empty, or the heads aren't whole.
    pub fn rotate(heads: &mut [f32], cos: &[f32], sin: &[f32], scale: f32) = rotate_heads;
}

#[cfg(test)]
mod tests;
