//! NEON: four registers of four.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::aarch64::*;

use super::{Lanes, LANES, TO_INTEGER};

/// Sixteen f32 in four registers.
#[derive(Clone, Copy)]
pub(crate) struct Neon([float32x4_t; 4]);

impl Neon {
    #[inline(always)]
    unsafe fn from_array(array: [f32; LANES]) -> Self {
        Self::load(array.as_ptr())
    }

    #[inline(always)]
    unsafe fn into_array(self) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        self.store(array.as_mut_ptr());
        array
    }
}

/// The same instruction on all four registers.
macro_rules! each {
    ($instruction:ident($($operand:expr),*)) => {
        Neon([
            $instruction($($operand.0[0]),*),
            $instruction($($operand.0[1]),*),
            $instruction($($operand.0[2]),*),
            $instruction($($operand.0[3]),*),
        ])
    };
}

#[inline(always)]
unsafe fn greater(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // Not vmaxq, which differs where a zero or a NaN meets another number.
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

#[inline(always)]
unsafe fn less(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), a, b)
}

#[inline(always)]
unsafe fn scale(value: float32x4_t, shifted: float32x4_t) -> float32x4_t {
    let n = vsubq_s32(
        vreinterpretq_s32_f32(shifted),
        vdupq_n_s32(TO_INTEGER.to_bits() as i32),
    );
    let half = vshrq_n_s32::<1>(n);
    let rest = vsubq_s32(n, half);
    let bias = vdupq_n_s32(127);
    let low = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(half, bias)));
    let high = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(rest, bias)));
    vmulq_f32(vmulq_f32(value, low), high)
}

impl Lanes for Neon {
    const PAGES: usize = 1;
    const LINES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([vdupq_n_f32(value); 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self([
            vld1q_f32(from),
            vld1q_f32(from.add(4)),
            vld1q_f32(from.add(8)),
            vld1q_f32(from.add(12)),
        ])
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut array = [0.0; LANES];
        std::ptr::copy_nonoverlapping(from, array.as_mut_ptr(), count.min(LANES));
        Self::from_array(array)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        vst1q_f32(to, self.0[0]);
        vst1q_f32(to.add(4), self.0[1]);
        vst1q_f32(to.add(8), self.0[2]);
        vst1q_f32(to.add(12), self.0[3]);
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let array = self.into_array();
        std::ptr::copy_nonoverlapping(array.as_ptr(), to, count.min(LANES));
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        each!(vaddq_f32(self, other))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        each!(vsubq_f32(self, other))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        each!(vmulq_f32(self, other))
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        each!(vdivq_f32(self, other))
    }

    // The instructions take the term first.
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        each!(vfmaq_f32(term, self, factor))
    }

    #[inline(always)]
    unsafe fn fnma(self, factor: Self, term: Self) -> Self {
        each!(vfmsq_f32(term, self, factor))
    }

    #[inline(always)]
    unsafe fn greater(self, other: Self) -> Self {
        each!(greater(self, other))
    }

    #[inline(always)]
    unsafe fn less(self, other: Self) -> Self {
        each!(less(self, other))
    }

    #[inline(always)]
    unsafe fn first(self, count: usize, other: Self) -> Self {
        let (own, others) = (self.into_array(), other.into_array());
        Self::from_array(std::array::from_fn(|l| {
            if l < count {
                own[l]
            } else {
                others[l]
            }
        }))
    }

    #[inline(always)]
    unsafe fn scale(self, shifted: Self) -> Self {
        each!(scale(self, shifted))
    }
}
