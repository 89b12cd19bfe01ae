//! RMS norm, and the addition on the residual path.
//!
//! ```text
//! s_l = fma(x_i, x_i, s_l) for i = l, l + 16, l + 32, …, from 0 on, for each lane l
//! s   = the tree over the 16 lanes
//! c   = 1 ÷ √(s ÷ width + ε)
//! y_i = (x_i × c) × weight_i
//! ```
#![allow(unsafe_op_in_unsafe_fn)]

use crate::lanes::{sum, Lanes, LANES};

/// `out = x × c × weight`, with c from the sums of squares in each lane.
#[inline(always)]
unsafe fn scale<L: Lanes>(x: &[f32], squares: L, weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), weight.len(), "as many weights as values");
    assert_eq!(x.len(), out.len(), "as many results as values");
    let factor = L::splat(1.0 / (sum(squares) / x.len() as f32 + epsilon).sqrt());
    for ((x, weight), out) in x
        .chunks(LANES)
        .zip(weight.chunks(LANES))
        .zip(out.chunks_mut(LANES))
    {
        let count = out.len();
        let x = L::load_part(x.as_ptr(), count);
        let weight = L::load_part(weight.as_ptr(), count);
        x.mul(factor)
            .mul(weight)
            .store_part(out.as_mut_ptr(), count);
    }
}

#[inline(always)]
unsafe fn norm<L: Lanes>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut squares = L::splat(0.0);
    for x in x.chunks(LANES) {
        // Lanes beyond the end add the square of zero, which changes no sum of squares.
        let x = L::load_part(x.as_ptr(), x.len());
        squares = x.fma(x, squares);
    }
    scale(x, squares, weight, epsilon, out);
}

#[inline(always)]
unsafe fn add_norm<L: Lanes>(
    x: &mut [f32],
    delta: &[f32],
    weight: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    assert_eq!(x.len(), delta.len(), "as much to add as there are values");
    let mut squares = L::splat(0.0);
    for (x, delta) in x.chunks_mut(LANES).zip(delta.chunks(LANES)) {
        let count = x.len();
        let sum = L::load_part(x.as_ptr(), count).add(L::load_part(delta.as_ptr(), count));
        sum.store_part(x.as_mut_ptr(), count);
        squares = sum.fma(sum, squares);
    }
    scale(x, squares, weight, epsilon, out);
}

#[inline(always)]
unsafe fn add<L: Lanes>(x: &mut [f32], delta: &[f32]) {
    assert_eq!(x.len(), delta.len(), "as much to add as there are values");
    for (x, delta) in x.chunks_mut(LANES).zip(delta.chunks(LANES)) {
        let count = x.len();
        L::load_part(x.as_ptr(), count)
            .add(L::load_part(delta.as_ptr(), count))
            .store_part(x.as_mut_ptr(), count);
    }
}

crate::lanes::for_each_isa! {
    /// RMS norm of one row: `x / √(mean(x²) + ε) × weight`.
    ///
    /// # Panics
    ///
    /// If the three differ in length.
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = norm;

    /// Adds `delta` to `x`, and gives the RMS norm of the sum: the bits of [`add_assign`] and
    /// [`rms_norm`] one after the other.
    ///
    /// # Panics
    ///
    /// If the four differ in length.
    pub fn add_rms_norm(
        x: &mut [f32],
        delta: &[f32],
        weight: &[f32],
        epsilon: f32,
        out: &mut [f32],
    ) = add_norm;

    /// Adds `delta` to `x`, number by number.
    ///
    /// # Panics
    ///
    /// If the two differ in length.
    pub fn add_assign(x: &mut [f32], delta: &[f32]) = add;
}

#[cfg(test)]
mod tests;
