//! NEON, and NEON with the byte products of `dotprod`.
#![allow(unsafe_op_in_unsafe_fn)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::Simd;

/// Four rows in a register.
pub(crate) struct Neon;

/// As [`Neon`], with products of bytes in one instruction.
pub(crate) struct NeonDot;

/// What both do alike.
macro_rules! four_rows {
    () => {
        const LANES: usize = 4;
        const TOKENS: usize = 8;
        type F = float32x4_t;
        type I = int32x4_t;
        type B = uint8x16_t;

        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> uint8x16_t {
            vld1q_u8(from)
        }
        #[inline(always)]
        unsafe fn low(bytes: uint8x16_t) -> uint8x16_t {
            vandq_u8(bytes, vdupq_n_u8(15))
        }
        #[inline(always)]
        unsafe fn high(bytes: uint8x16_t) -> uint8x16_t {
            vshrq_n_u8::<4>(bytes)
        }
        #[inline(always)]
        unsafe fn six_bits<const INDEX: i32>(low: uint8x16_t, pairs: uint8x16_t) -> uint8x16_t {
            let shifted = match INDEX {
                0 => vshlq_n_u8::<4>(pairs),
                1 => vshlq_n_u8::<2>(pairs),
                2 => pairs,
                _ => vshrq_n_u8::<2>(pairs),
            };
            vorrq_u8(low, vandq_u8(shifted, vdupq_n_u8(0x30)))
        }
        #[inline(always)]
        unsafe fn int(value: i32) -> int32x4_t {
            vdupq_n_s32(value)
        }
        #[inline(always)]
        unsafe fn dot(to: int32x4_t, bytes: uint8x16_t, x: *const i8) -> int32x4_t {
            Self::signed(to, vreinterpretq_s8_u8(bytes), four(x))
        }
        #[inline(always)]
        unsafe fn signed_start(_: i32) -> int32x4_t {
            Self::int(0)
        }
        #[inline(always)]
        unsafe fn dot_signed(to: int32x4_t, bytes: uint8x16_t, x: *const i8) -> int32x4_t {
            let weights = veorq_u8(bytes, vdupq_n_u8(0x80));
            Self::signed(to, vreinterpretq_s8_u8(weights), four(x))
        }
        #[inline(always)]
        unsafe fn times_256(value: int32x4_t) -> int32x4_t {
            vshlq_n_s32::<8>(value)
        }
        #[inline(always)]
        unsafe fn add_int(a: int32x4_t, b: int32x4_t) -> int32x4_t {
            vaddq_s32(a, b)
        }
        #[inline(always)]
        unsafe fn to_f32(value: int32x4_t) -> float32x4_t {
            vcvtq_f32_s32(value)
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            vdupq_n_f32(value)
        }
        #[inline(always)]
        unsafe fn f32s(from: *const u8) -> float32x4_t {
            vreinterpretq_f32_u8(vld1q_u8(from))
        }
        #[inline(always)]
        unsafe fn f16s(from: *const u8) -> float32x4_t {
            let halves = vld1_u8(from);
            let wide: float32x4_t;
            // The intrinsic asks for a feature beyond plain NEON, the instruction does not.
            // SAFETY: it reads and writes nothing but these two registers.
            unsafe {
                asm!(
                    "fcvtl {wide:v}.4s, {halves:v}.4h",
                    wide = lateout(vreg) wide,
                    halves = in(vreg) halves,
                    options(pure, nomem, nostack, preserves_flags),
                )
            };
            wide
        }
        #[inline(always)]
        unsafe fn bf16s(from: *const u8) -> float32x4_t {
            let halves = vreinterpret_u16_u8(vld1_u8(from));
            vreinterpretq_f32_u32(vshll_n_u16::<16>(halves))
        }
        #[inline(always)]
        unsafe fn i8s(from: *const u8) -> float32x4_t {
            let four = vreinterpret_s8_u32(vdup_n_u32(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))))
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vmulq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            vfmaq_f32(c, a, b)
        }
        #[inline(always)]
        unsafe fn fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            vfmsq_f32(c, a, b)
        }
        #[inline(always)]
        unsafe fn store(value: float32x4_t, to: *mut f32) {
            vst1q_f32(to, value)
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const u8) {
            // SAFETY: a hint; no address makes it fail.
            unsafe {
                asm!(
                    "prfm pldl1keep, [{at}]",
                    at = in(reg) at,
                    options(nostack, preserves_flags, readonly),
                )
            }
        }
    };
}

/// Four signed bytes, in all rows.
#[inline(always)]
unsafe fn four(x: *const i8) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(x.cast::<i32>().read_unaligned()))
}

impl Neon {
    /// A product of two bytes is 128 · 128 at most, and fits 16 bits; a sum of two may not.
    #[inline(always)]
    unsafe fn signed(to: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
        let first = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
        let second = vmull_high_s8(weights, x);
        vaddq_s32(to, vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second)))
    }
}

impl Simd for Neon {
    four_rows!();
}

impl NeonDot {
    #[inline(always)]
    unsafe fn signed(to: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
        let mut sum = to;
        // SAFETY: it reads and writes nothing but these registers, and the caller vouches
        // for `dotprod`.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum,
                weights = in(vreg) weights,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags),
            )
        };
        sum
    }
}

impl Simd for NeonDot {
    four_rows!();
}
