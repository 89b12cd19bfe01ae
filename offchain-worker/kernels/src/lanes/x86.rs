//! AVX2 with FMA: two registers of eight; AVX-512: one of sixteen.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::{Lanes, LANES, TO_INTEGER};

/// Sixteen f32 in two registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// The numbers 0 to 15, to compare a count with.
static INDICES: [i32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Avx2 {
    /// All bits set in the first `count` lanes.
    #[inline(always)]
    unsafe fn mask(count: usize) -> (__m256i, __m256i) {
        let count = _mm256_set1_epi32(count as i32);
        let low = _mm256_loadu_si256(INDICES.as_ptr().cast());
        let high = _mm256_loadu_si256(INDICES.as_ptr().add(8).cast());
        (
            _mm256_cmpgt_epi32(count, low),
            _mm256_cmpgt_epi32(count, high),
        )
    }
}

/// Multiplies by 2ⁿ in two steps, as the specification does.
#[inline(always)]
unsafe fn scale_256(value: __m256, shifted: __m256) -> __m256 {
    let n = _mm256_sub_epi32(
        _mm256_castps_si256(shifted),
        _mm256_set1_epi32(TO_INTEGER.to_bits() as i32),
    );
    let half = _mm256_srai_epi32::<1>(n);
    let rest = _mm256_sub_epi32(n, half);
    _mm256_mul_ps(_mm256_mul_ps(value, power_256(half)), power_256(rest))
}

/// 2ⁿ for n between −126 and 127.
#[inline(always)]
unsafe fn power_256(n: __m256i) -> __m256 {
    let biased = _mm256_add_epi32(n, _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

impl Lanes for Avx2 {
    const PAGES: usize = 1;
    const LINES: usize = 1;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm256_set1_ps(value), _mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)))
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let (low, high) = Self::mask(count);
        Self(
            _mm256_maskload_ps(from, low),
            _mm256_maskload_ps(from.wrapping_add(8), high),
        )
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm256_storeu_ps(to, self.0);
        _mm256_storeu_ps(to.add(8), self.1);
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let (low, high) = Self::mask(count);
        _mm256_maskstore_ps(to, low, self.0);
        _mm256_maskstore_ps(to.wrapping_add(8), high, self.1);
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(
            _mm256_add_ps(self.0, other.0),
            _mm256_add_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(
            _mm256_sub_ps(self.0, other.0),
            _mm256_sub_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(
            _mm256_mul_ps(self.0, other.0),
            _mm256_mul_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(
            _mm256_div_ps(self.0, other.0),
            _mm256_div_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        Self(
            _mm256_fmadd_ps(self.0, factor.0, term.0),
            _mm256_fmadd_ps(self.1, factor.1, term.1),
        )
    }

    #[inline(always)]
    unsafe fn fnma(self, factor: Self, term: Self) -> Self {
        Self(
            _mm256_fnmadd_ps(self.0, factor.0, term.0),
            _mm256_fnmadd_ps(self.1, factor.1, term.1),
        )
    }

    // The instructions give the second operand where the comparison fails, as the trait says.
    #[inline(always)]
    unsafe fn greater(self, other: Self) -> Self {
        Self(
            _mm256_max_ps(self.0, other.0),
            _mm256_max_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn less(self, other: Self) -> Self {
        Self(
            _mm256_min_ps(self.0, other.0),
            _mm256_min_ps(self.1, other.1),
        )
    }

    #[inline(always)]
    unsafe fn first(self, count: usize, other: Self) -> Self {
        let (low, high) = Self::mask(count);
        Self(
            _mm256_blendv_ps(other.0, self.0, _mm256_castsi256_ps(low)),
            _mm256_blendv_ps(other.1, self.1, _mm256_castsi256_ps(high)),
        )
    }

    #[inline(always)]
    unsafe fn scale(self, shifted: Self) -> Self {
        Self(scale_256(self.0, shifted.0), scale_256(self.1, shifted.1))
    }
}

/// Sixteen f32 in one register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

/// The first `count` ≤ 16 lanes.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

impl Lanes for Avx512 {
    const PAGES: usize = 4;
    const LINES: usize = 4;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        Self(_mm512_maskz_loadu_ps(first_lanes(count), from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm512_storeu_ps(to, self.0);
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        _mm512_mask_storeu_ps(to, first_lanes(count), self.0);
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm512_div_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, factor.0, term.0))
    }

    #[inline(always)]
    unsafe fn fnma(self, factor: Self, term: Self) -> Self {
        Self(_mm512_fnmadd_ps(self.0, factor.0, term.0))
    }

    #[inline(always)]
    unsafe fn greater(self, other: Self) -> Self {
        Self(_mm512_max_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn less(self, other: Self) -> Self {
        Self(_mm512_min_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn first(self, count: usize, other: Self) -> Self {
        Self(_mm512_mask_blend_ps(first_lanes(count), other.0, self.0))
    }

    #[inline(always)]
    unsafe fn scale(self, shifted: Self) -> Self {
        // One instruction that rounds once; the specification's first product is exact, so it
        // rounds once too.
        let n = _mm512_sub_ps(shifted.0, _mm512_set1_ps(TO_INTEGER));
        Self(_mm512_scalef_ps(self.0, n))
    }
}
