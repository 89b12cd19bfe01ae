//! The specification: arrays and scalar operations.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{Lanes, LANES, TO_INTEGER};

/// Sixteen f32 in plain Rust. `f32::mul_add` rounds once, in hardware or in software.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|l| operation(self.0[l], other.0[l])))
    }
}

impl Lanes for Portable {
    const PAGES: usize = 1;
    const LINES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(std::array::from_fn(|l| *from.add(l)))
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        Self(std::array::from_fn(|l| {
            if l < count {
                *from.add(l)
            } else {
                0.0
            }
        }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        self.store_part(to, LANES);
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        for (l, value) in self.0.iter().enumerate().take(count) {
            *to.add(l) = *value;
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|l| {
            self.0[l].mul_add(factor.0[l], term.0[l])
        }))
    }

    #[inline(always)]
    unsafe fn fnma(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|l| {
            (-self.0[l]).mul_add(factor.0[l], term.0[l])
        }))
    }

    #[inline(always)]
    unsafe fn greater(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn less(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn first(self, count: usize, other: Self) -> Self {
        Self(std::array::from_fn(|l| {
            if l < count {
                self.0[l]
            } else {
                other.0[l]
            }
        }))
    }

    #[inline(always)]
    unsafe fn scale(self, shifted: Self) -> Self {
        self.zip(shifted, |value, shifted| {
            let n = shifted.to_bits().wrapping_sub(TO_INTEGER.to_bits()) as i32;
            // Two powers of two, each a normal number: the first product is exact, the second
            // rounds. Of a NaN n is anything, and the product is NaN again.
            let half = n >> 1;
            let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
            value * power(half) * power(n.wrapping_sub(half))
        })
    }
}
