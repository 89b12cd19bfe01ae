//! The gate of a feed-forward layer: `gate / (1 + e^−gate) × up`, one operation after the other.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::exp::exp;
use crate::lanes::{Lanes, LANES};

#[inline(always)]
unsafe fn silu_times<L: Lanes>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert_eq!(gate.len(), up.len(), "as many gates as values");
    assert_eq!(gate.len(), out.len(), "as many results as values");
    let (one, zero) = (L::splat(1.0), L::splat(0.0));
    let (gate, up, end) = (gate.as_ptr(), up.as_ptr(), out.len());
    let out = out.as_mut_ptr();
    let mut at = 0;
    while at < end {
        let count = (end - at).min(LANES);
        let x = L::load_part(gate.add(at), count);
        let silu = x.div(one.add(exp(zero.sub(x))));
        let up = L::load_part(up.add(at), count);
        silu.mul(up).store_part(out.add(at), count);
        at += LANES;
    }
}

crate::lanes::for_each_isa! {
    /// `out = silu(gate) × up`. In detail: e = exp(0 − gate), `(gate ÷ (1 + e)) × up`.
    ///
    /// # Panics
    ///
    /// If the three differ in length.
    pub fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) = silu_times;
}

#[cfg(test)]
mod tests;
