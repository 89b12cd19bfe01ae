//! AVX2, AVX2 with VNNI, and AVX-512 with VNNI.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::Simd;

/// Sixteen rows in a register.
pub(crate) struct Avx512;

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TOKENS: usize = 8;
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn low(bytes: __m512i) -> __m512i {
        _mm512_and_si512(bytes, _mm512_set1_epi8(15))
    }
    #[inline(always)]
    unsafe fn high(bytes: __m512i) -> __m512i {
        Self::low(_mm512_srli_epi16::<4>(bytes))
    }
    #[inline(always)]
    unsafe fn six_bits<const INDEX: i32>(low: __m512i, pairs: __m512i) -> __m512i {
        let shifted = match INDEX {
            0 => _mm512_slli_epi16::<4>(pairs),
            1 => _mm512_slli_epi16::<2>(pairs),
            2 => pairs,
            _ => _mm512_srli_epi16::<2>(pairs),
        };
        // a | (b & c)
        _mm512_ternarylogic_epi32::<0xf8>(low, shifted, _mm512_set1_epi8(0x30))
    }

    #[inline(always)]
    unsafe fn int(value: i32) -> __m512i {
        _mm512_set1_epi32(value)
    }
    #[inline(always)]
    unsafe fn dot(to: __m512i, bytes: __m512i, x: *const i8) -> __m512i {
        _mm512_dpbusd_epi32(
            to,
            bytes,
            _mm512_set1_epi32(x.cast::<i32>().read_unaligned()),
        )
    }
    #[inline(always)]
    unsafe fn signed_start(sum: i32) -> __m512i {
        Self::int(-128 * sum)
    }
    #[inline(always)]
    unsafe fn dot_signed(to: __m512i, bytes: __m512i, x: *const i8) -> __m512i {
        Self::dot(to, bytes, x)
    }
    #[inline(always)]
    unsafe fn times_256(value: __m512i) -> __m512i {
        _mm512_slli_epi32::<8>(value)
    }
    #[inline(always)]
    unsafe fn add_int(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }
    #[inline(always)]
    unsafe fn to_f32(value: __m512i) -> __m512 {
        _mm512_cvtepi32_ps(value)
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn f32s(from: *const u8) -> __m512 {
        _mm512_loadu_ps(from.cast())
    }
    #[inline(always)]
    unsafe fn f16s(from: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    }
    #[inline(always)]
    unsafe fn bf16s(from: *const u8) -> __m512 {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
    }
    #[inline(always)]
    unsafe fn i8s(from: *const u8) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())))
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn store(value: __m512, to: *mut f32) {
        _mm512_storeu_ps(to, value)
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast())
    }
}

/// Eight rows in a register.
pub(crate) struct Avx2;

/// As [`Avx2`], with products of bytes in one instruction.
pub(crate) struct AvxVnni;

/// What both do alike.
macro_rules! eight_rows {
    () => {
        const LANES: usize = 8;
        const TOKENS: usize = 4;
        type F = __m256;
        type I = __m256i;
        type B = __m256i;

        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> __m256i {
            _mm256_loadu_si256(from.cast())
        }
        #[inline(always)]
        unsafe fn low(bytes: __m256i) -> __m256i {
            _mm256_and_si256(bytes, _mm256_set1_epi8(15))
        }
        #[inline(always)]
        unsafe fn high(bytes: __m256i) -> __m256i {
            Self::low(_mm256_srli_epi16::<4>(bytes))
        }
        #[inline(always)]
        unsafe fn six_bits<const INDEX: i32>(low: __m256i, pairs: __m256i) -> __m256i {
            let shifted = match INDEX {
                0 => _mm256_slli_epi16::<4>(pairs),
                1 => _mm256_slli_epi16::<2>(pairs),
                2 => pairs,
                _ => _mm256_srli_epi16::<2>(pairs),
            };
            _mm256_or_si256(low, _mm256_and_si256(shifted, _mm256_set1_epi8(0x30)))
        }
        #[inline(always)]
        unsafe fn int(value: i32) -> __m256i {
            _mm256_set1_epi32(value)
        }
        #[inline(always)]
        unsafe fn times_256(value: __m256i) -> __m256i {
            _mm256_slli_epi32::<8>(value)
        }
        #[inline(always)]
        unsafe fn add_int(a: __m256i, b: __m256i) -> __m256i {
            _mm256_add_epi32(a, b)
        }
        #[inline(always)]
        unsafe fn to_f32(value: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(value)
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            _mm256_set1_ps(value)
        }
        #[inline(always)]
        unsafe fn f32s(from: *const u8) -> __m256 {
            _mm256_loadu_ps(from.cast())
        }
        #[inline(always)]
        unsafe fn f16s(from: *const u8) -> __m256 {
            _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
        }
        #[inline(always)]
        unsafe fn bf16s(from: *const u8) -> __m256 {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
        #[inline(always)]
        unsafe fn i8s(from: *const u8) -> __m256 {
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())))
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fnmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn store(value: __m256, to: *mut f32) {
            _mm256_storeu_ps(to, value)
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const u8) {
            _mm_prefetch::<_MM_HINT_T0>(at.cast())
        }
    };
}

/// Four signed bytes, in all rows.
#[inline(always)]
unsafe fn four(x: *const i8) -> __m256i {
    _mm256_set1_epi32(x.cast::<i32>().read_unaligned())
}

/// Adds the four products of each row, given as two sums of two.
#[inline(always)]
unsafe fn add_pairs(to: __m256i, pairs: __m256i) -> __m256i {
    _mm256_add_epi32(to, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

impl Simd for Avx2 {
    eight_rows!();

    /// A sum of two products is 2 · 63 · 128 at most in size and doesn't saturate.
    #[inline(always)]
    unsafe fn dot(to: __m256i, bytes: __m256i, x: *const i8) -> __m256i {
        add_pairs(to, _mm256_maddubs_epi16(bytes, four(x)))
    }
    #[inline(always)]
    unsafe fn signed_start(_: i32) -> __m256i {
        Self::int(0)
    }
    /// By 16-bit integers: sums of two products of bytes, 2 · 128 · 128 at most, may not fit them. Even
    /// bytes are widened by shifts to the left and back, odd ones by one to the right.
    #[inline(always)]
    unsafe fn dot_signed(to: __m256i, bytes: __m256i, x: *const i8) -> __m256i {
        let weights = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
        let x = four(x);
        let even = |bytes| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
        let odd = |bytes| _mm256_srai_epi16::<8>(bytes);
        let products = _mm256_add_epi32(
            _mm256_madd_epi16(even(weights), even(x)),
            _mm256_madd_epi16(odd(weights), odd(x)),
        );
        _mm256_add_epi32(to, products)
    }
}

impl Simd for AvxVnni {
    eight_rows!();

    #[inline(always)]
    unsafe fn dot(to: __m256i, bytes: __m256i, x: *const i8) -> __m256i {
        _mm256_dpbusd_avx_epi32(to, bytes, four(x))
    }
    #[inline(always)]
    unsafe fn signed_start(sum: i32) -> __m256i {
        Self::int(-128 * sum)
    }
    #[inline(always)]
    unsafe fn dot_signed(to: __m256i, bytes: __m256i, x: *const i8) -> __m256i {
        Self::dot(to, bytes, x)
    }
}
