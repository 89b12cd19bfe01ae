//! Products of f32, f16 and bf16 weights with f32 activations.
//!
//! Sixteen rows lie interleaved, column by column. The narrow types are widened on the way, which is exact.
#![allow(unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use super::pack::PackedMatrix;
use super::product::Output;
use super::simd::{for_each_isa, Simd};
use super::GROUP;

/// How far ahead of its use a line of weights is asked for, in bytes.
const AHEAD: usize = 1024;

/// A type of weights.
pub(crate) trait Dense {
    /// Bytes of a weight.
    const BYTES: usize;

    /// The weight in [`Dense::BYTES`] bytes.
    fn get(bytes: &[u8]) -> f32;

    /// The weights of a register's rows.
    ///
    /// # Safety
    /// As [`Simd`] says.
    unsafe fn load<S: Simd>(from: *const u8) -> S::F;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(crate) struct Bf16;

impl Dense for F32 {
    const BYTES: usize = 4;

    fn get(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        S::f32s(from)
    }
}

impl Dense for F16 {
    const BYTES: usize = 2;

    fn get(bytes: &[u8]) -> f32 {
        half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        S::f16s(from)
    }
}

impl Dense for Bf16 {
    const BYTES: usize = 2;

    fn get(bytes: &[u8]) -> f32 {
        half::bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F {
        S::bf16s(from)
    }
}

/// The weight in column `column` of row `row` of a group.
pub(super) fn weight<D: Dense>(group: &[u8], column: usize, row: usize) -> f32 {
    D::get(&group[(column * GROUP + row) * D::BYTES..][..D::BYTES])
}

/// A product to compute.
pub(crate) struct Job<'a> {
    /// Of the type that the job is run with.
    pub weights: &'a PackedMatrix,
    /// `[tokens, columns]`.
    pub x: &'a [f32],
    /// As many tokens, and as many rows as `weights`.
    pub out: &'a Output<'a>,
}

for_each_isa! {
    /// Computes the rows of `groups`.
    ///
    /// # Safety
    /// The machine has `isa`; the job's parts fit together as said there; no one else uses these rows
    /// of the output meanwhile.
    pub(crate) unsafe fn multiply<D: Dense>(job: &Job<'_>, groups: Range<usize>)
        = multiply_simd or multiply_portable
}

/// The specification.
///
/// # Safety
/// As [`multiply`].
unsafe fn multiply_portable<D: Dense>(job: &Job<'_>, groups: Range<usize>) {
    for group in groups {
        let weights = job.weights.group(group);
        for (token, x) in job.tokens().enumerate() {
            let mut sums = [0f32; GROUP];
            for (column, x) in x.iter().enumerate() {
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = weight::<D>(weights, column, row).mul_add(*x, *sum);
                }
            }
            job.out.put(token, group, &sums);
        }
    }
}

/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn multiply_simd<S: Simd, D: Dense>(job: &Job<'_>, groups: Range<usize>) {
    let tokens = job.x.len() / job.weights.columns();
    let mut group = groups.start;
    while group < groups.end {
        let left = groups.end - group;
        group += match S::LANES {
            // Registers of accumulators: groups × registers in a group × tokens.
            16 if left >= 3 => job.rows::<S, D, 3, 8, 4>(group, tokens),
            16 => job.rows::<S, D, 1, 8, 4>(group, tokens),
            8 if tokens < 4 && left >= 2 => job.rows::<S, D, 4, 2, 1>(group, tokens),
            8 => job.rows::<S, D, 2, 6, 4>(group, tokens),
            _ => job.rows::<S, D, 4, 6, 4>(group, tokens),
        };
    }
}

impl Job<'_> {
    fn tokens(&self) -> impl Iterator<Item = &[f32]> {
        self.x.chunks_exact(self.weights.columns())
    }

    /// Multiplies all tokens with the rows of `R` registers, from a group on; gives the number of groups
    /// back. Takes `MANY` tokens at once while there are as many, then `SOME`, then one.
    ///
    /// # Safety
    /// As [`multiply`]; `R` registers are whole groups.
    #[inline(always)]
    unsafe fn rows<S: Simd, D: Dense, const R: usize, const MANY: usize, const SOME: usize>(
        &self,
        group: usize,
        tokens: usize,
    ) -> usize {
        let mut token = 0;
        while token < tokens {
            let left = tokens - token;
            token += if left >= MANY {
                self.tile::<S, D, R, MANY>(group, token)
            } else if left >= SOME {
                self.tile::<S, D, R, SOME>(group, token)
            } else {
                self.tile::<S, D, R, 1>(group, token)
            };
        }
        R * S::LANES / GROUP
    }

    /// # Safety
    /// As [`Job::rows`]; there are `T` tokens from `token` on.
    #[inline(always)]
    unsafe fn tile<S: Simd, D: Dense, const R: usize, const T: usize>(
        &self,
        group: usize,
        token: usize,
    ) -> usize {
        let columns = self.weights.columns();
        let weights: [*const u8; R] = std::array::from_fn(|r| {
            let row = r * S::LANES;
            let group = self.weights.group(group + row / GROUP);
            group.as_ptr().wrapping_add(row % GROUP * D::BYTES)
        });
        let x: [*const f32; T] =
            std::array::from_fn(|t| self.x.as_ptr().wrapping_add((token + t) * columns));
        let mut sums = [[S::splat(0.0); R]; T];
        for column in 0..columns {
            let at = column * GROUP * D::BYTES;
            let of_rows: [S::F; R] = std::array::from_fn(|r| {
                if r * S::LANES % GROUP == 0 {
                    S::prefetch(weights[r].wrapping_add(at + AHEAD));
                }
                D::load::<S>(weights[r].add(at))
            });
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = S::splat(*x.add(column));
                for (sum, weight) in sums.iter_mut().zip(of_rows) {
                    *sum = S::fma(weight, x, *sum);
                }
            }
        }
        for (t, sums) in sums.into_iter().enumerate() {
            for first in (0..R).step_by(GROUP / S::LANES) {
                let mut of_group = [0.0; GROUP];
                for r in 0..GROUP / S::LANES {
                    S::store(sums[first + r], of_group.as_mut_ptr().add(r * S::LANES));
                }
                self.out
                    .put(token + t, group + first * S::LANES / GROUP, &of_group);
            }
        }
        T
    }
}
