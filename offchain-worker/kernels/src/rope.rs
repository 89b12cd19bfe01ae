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
    for head in heads.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for (((low, high), cos), sin) in low
            .chunks_mut(LANES)
            .zip(high.chunks_mut(LANES))
            .zip(cos.chunks(LANES))
            .zip(sin.chunks(LANES))
        {
            let count = low.len();
            let cos = L::load_part(cos.as_ptr(), count);
            let sin = L::load_part(sin.as_ptr(), count);
            let a = L::load_part(low.as_ptr(), count);
            let b = L::load_part(high.as_ptr(), count);
            let mut turned_a = a.fma(cos, zero.sub(b.mul(sin)));
            let mut turned_b = b.fma(cos, a.mul(sin));
            if scale != 1.0 {
                turned_a = turned_a.mul(factor);
                turned_b = turned_b.mul(factor);
            }
            turned_a.store_part(low.as_mut_ptr(), count);
            turned_b.store_part(high.as_mut_ptr(), count);
        }
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
