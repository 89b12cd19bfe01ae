//! Lanes that own a row each: what matrix products need of an instruction set.
//!
//! Kernels are written once, over [`Simd`], and compiled once for each instruction set. An
//! operation on f32 is one IEEE 754 operation on each lane, rounded to nearest, ties to even; one on
//! integers is exact. So kernels give the same bits whichever implementation they run on.
//!
//! Bodies of generic kernels consist of lane operations, all of which are safe for the one reason that
//! the function's caller vouches for: the instruction set is there. So these modules do without
//! an `unsafe` block around every operation.
#![allow(unsafe_op_in_unsafe_fn)]

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Neon, NeonDot};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, AvxVnni};

/// A register's worth of rows.
///
/// # Safety
///
/// All functions may be called only on a CPU that has the implementation's instruction set, and
/// perform only within a function that is compiled for it. Pointers need no alignment, and must be
/// valid for as much as the function says.
pub(crate) trait Simd {
    /// Rows in a register; divides 16.
    const LANES: usize;
    /// Tokens that a quantised product takes at once, as registers allow: divides
    /// [`STRIP`](crate::quantize::STRIP), and is at least 4.
    const TOKENS: usize;

    /// An f32 for each row.
    type F: Copy;
    /// An i32 for each row.
    type I: Copy;
    /// Four bytes for each row.
    type B: Copy;

    /// Four bytes for each row, from `from` on.
    unsafe fn bytes(from: *const u8) -> Self::B;
    /// The low nibble of each byte.
    unsafe fn low(bytes: Self::B) -> Self::B;
    /// The high nibble of each byte.
    unsafe fn high(bytes: Self::B) -> Self::B;
    /// Bits 2·`INDEX` and 2·`INDEX` + 1 of each byte of `pairs`, put before the nibbles in `low`.
    unsafe fn six_bits<const INDEX: i32>(low: Self::B, pairs: Self::B) -> Self::B;

    /// The same integer in all rows.
    unsafe fn int(value: i32) -> Self::I;
    /// `to` plus, in each row, the products of its four bytes, 63 at most, with the four signed
    /// bytes at `x`.
    unsafe fn dot(to: Self::I, bytes: Self::B, x: *const i8) -> Self::I;
    /// Where [`Simd::dot_signed`] starts from, for activations that sum to `sum`.
    unsafe fn signed_start(sum: i32) -> Self::I;
    /// As [`Simd::dot`], for any bytes, from each of which 128 is taken.
    unsafe fn dot_signed(to: Self::I, bytes: Self::B, x: *const i8) -> Self::I;
    /// 256 times the number in each row.
    unsafe fn times_256(value: Self::I) -> Self::I;
    /// The sum in each row.
    unsafe fn add_int(a: Self::I, b: Self::I) -> Self::I;
    /// The integers as f32, rounded.
    unsafe fn to_f32(value: Self::I) -> Self::F;

    /// The same number in all rows.
    unsafe fn splat(value: f32) -> Self::F;
    /// An f32 for each row, from `from` on.
    unsafe fn f32s(from: *const u8) -> Self::F;
    /// An f16 for each row, from `from` on.
    unsafe fn f16s(from: *const u8) -> Self::F;
    /// A bf16 for each row, from `from` on.
    unsafe fn bf16s(from: *const u8) -> Self::F;
    /// A signed byte for each row, from `from` on.
    unsafe fn i8s(from: *const u8) -> Self::F;
    /// `a × b`.
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a × b + c`, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c − a × b`, rounded once.
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Writes the rows from `to` on.
    unsafe fn store(value: Self::F, to: *mut f32);

    /// Asks for the cache line at `at`, which need not be valid.
    unsafe fn prefetch(at: *const u8);
}

/// Makes a function that runs `generic` compiled for the instruction set that its first argument names.
///
/// `fn name<parameters>(arguments) = generic` gives an `unsafe fn name(isa, arguments)` that calls
/// `generic::<S, parameters>(arguments)`, and `portable(arguments)` where nothing fits.
macro_rules! for_each_isa {
    (
        $(#[$meta:meta])*
        $visibility:vis unsafe fn $name:ident <$($type:ident: $bound:path),*>
            ($($argument:ident: $kind:ty),* $(,)?) = $generic:ident or $portable:ident
    ) => {
        $(#[$meta])*
        $visibility unsafe fn $name<$($type: $bound),*>(isa: $crate::Isa, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
            unsafe fn avx512<$($type: $bound),*>($($argument: $kind),*) {
                $generic::<$crate::matrix::simd::Avx512, $($type),*>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
            unsafe fn avxvnni<$($type: $bound),*>($($argument: $kind),*) {
                $generic::<$crate::matrix::simd::AvxVnni, $($type),*>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2<$($type: $bound),*>($($argument: $kind),*) {
                $generic::<$crate::matrix::simd::Avx2, $($type),*>($($argument),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon<$($type: $bound),*>($($argument: $kind),*) {
                $generic::<$crate::matrix::simd::Neon, $($type),*>($($argument),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            unsafe fn neon_dot<$($type: $bound),*>($($argument: $kind),*) {
                $generic::<$crate::matrix::simd::NeonDot, $($type),*>($($argument),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 => avx512::<$($type),*>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::AvxVnni => avxvnni::<$($type),*>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => avx2::<$($type),*>($($argument),*),
                #[cfg(target_arch = "aarch64")]
                $crate::Isa::Neon => neon::<$($type),*>($($argument),*),
                #[cfg(target_arch = "aarch64")]
                $crate::Isa::NeonDot => neon_dot::<$($type),*>($($argument),*),
                _ => $portable::<$($type),*>($($argument),*),
            }
        }
    };
}
pub(crate) use for_each_isa;
