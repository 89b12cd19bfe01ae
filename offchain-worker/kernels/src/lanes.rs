//! Sixteen f32 in a row, as each instruction set has them.
//!
//! Kernels that aren't matrix products are written once, over [`Lanes`], and compiled once for each
//! instruction set. Every method is one IEEE 754 operation on each lane, rounded to nearest, ties to
//! even; so a kernel gives the same bits whichever implementation it runs on, and [`Portable`] is
//! what they all must agree with. The one thing left open is which NaN a NaN is.
//!
//! Bodies of generic kernels consist of lane operations, all of which are safe for the one reason that
//! the function's caller vouches for: the instruction set is there. So these modules do without
//! an `unsafe` block around every operation.
#![allow(unsafe_op_in_unsafe_fn)]

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Number of lanes.
pub(crate) const LANES: usize = 16;

/// Adding this to a number below 2²² in size leaves its nearest integer in the low bits of the sum.
pub(crate) const TO_INTEGER: f32 = 12_582_912.0;

/// Sixteen f32.
///
/// # Safety
///
/// All methods may be called only on a CPU that has the implementation's instruction set, and
/// perform only within a function that is compiled for it. Pointers need no alignment, and must be
/// valid for as many numbers as the method says.
pub(crate) trait Lanes: Copy {
    /// Pages of keys that are multiplied side by side: as many as registers allow.
    const PAGES: usize;
    /// Lines of values, of [`LANES`] numbers each, that are summed side by side.
    const LINES: usize;

    /// Has the cache line at `from` fetched, which need not be valid memory. Computes nothing.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}
    /// The same number in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen numbers from `from` on.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` ≤ 16 numbers from `from` on, and zeros.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;
    /// Writes sixteen numbers to `to`.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count` ≤ 16 numbers to `to`.
    unsafe fn store_part(self, to: *mut f32, count: usize);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self − other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self × other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self ÷ other`.
    unsafe fn div(self, other: Self) -> Self;
    /// `self × factor + term`, rounded once.
    unsafe fn fma(self, factor: Self, term: Self) -> Self;
    /// `term − self × factor`, rounded once.
    unsafe fn fnma(self, factor: Self, term: Self) -> Self;
    /// `self` where it is greater than `other`, else `other`.
    unsafe fn greater(self, other: Self) -> Self;
    /// `self` where it is less than `other`, else `other`.
    unsafe fn less(self, other: Self) -> Self;
    /// `self` in the first `count` lanes, `other` in the rest.
    unsafe fn first(self, count: usize, other: Self) -> Self;
    /// `self × 2ⁿ`, rounded once, for `self` between ½ and 2, and the integer n between −150 and 128
    /// that `shifted`, n + [`TO_INTEGER`], holds.
    unsafe fn scale(self, shifted: Self) -> Self;
}

/// The lanes as an array.
#[inline(always)]
pub(crate) unsafe fn to_array<L: Lanes>(lanes: L) -> [f32; LANES] {
    let mut array = [0.0; LANES];
    lanes.store(array.as_mut_ptr());
    array
}

/// Sum of all lanes by the one tree that all kernels use: lane l takes lane l + 8, then l + 4, then
/// l + 2, then l + 1.
#[inline(always)]
pub(crate) unsafe fn sum<L: Lanes>(lanes: L) -> f32 {
    let mut array = to_array(lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            array[l] += array[l + half];
        }
        half /= 2;
    }
    array[0]
}

/// Greatest of all lanes, by the same tree.
#[inline(always)]
pub(crate) unsafe fn greatest<L: Lanes>(lanes: L) -> f32 {
    let mut array = to_array(lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            if array[l + half] > array[l] {
                array[l] = array[l + half];
            }
        }
        half /= 2;
    }
    array[0]
}

/// Compiles a kernel for each instruction set, and makes a function that picks the one asked for.
///
/// `fn name(arguments) = generic;` gives `fn name(kernels: &Kernels, arguments)`, which runs
/// `generic::<L>(arguments)`. `name` is safe, so the generic function may ask nothing of its caller but
/// the instruction set: it checks the lengths of its slices itself.
macro_rules! for_each_isa {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident $(<$type:ident: $bound:path>)?
            ($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $generic:ident;
    )*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name $(<$type: $bound>)? (
            kernels: &$crate::Kernels, $($argument: $kind),*
        ) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512 $(<$type: $bound>)? ($($argument: $kind),*) $(-> $result)? {
                $generic::<$crate::lanes::Avx512 $(, $type)?>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2 $(<$type: $bound>)? ($($argument: $kind),*) $(-> $result)? {
                $generic::<$crate::lanes::Avx2 $(, $type)?>($($argument),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon $(<$type: $bound>)? ($($argument: $kind),*) $(-> $result)? {
                $generic::<$crate::lanes::Neon $(, $type)?>($($argument),*)
            }
            use $crate::Isa;
            // SAFETY: `Kernels` are made only for an instruction set that this machine has.
            unsafe {
                match kernels.isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512 $(::<$type>)? ($($argument),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 | Isa::AvxVnni => avx2 $(::<$type>)? ($($argument),*),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon | Isa::NeonDot => neon $(::<$type>)? ($($argument),*),
                    _ => $generic::<$crate::lanes::Portable $(, $type)?>($($argument),*),
                }
            }
        }
    )*};
}
pub(crate) use for_each_isa;

#[cfg(test)]
mod tests;
