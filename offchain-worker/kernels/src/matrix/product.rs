//! Products, from the caller's side: shapes are checked, then rows are dealt to threads.

use std::marker::PhantomData;
use std::ops::Range;

use super::dense::{self, Bf16, Dense, F16, F32};
use super::format::Format;
use super::pack::{by_format, PackedMatrix};
use super::quantized::{self, Blocks, Q4K, Q4_0, Q4_1, Q6K, Q8_0};
use super::GROUP;
use crate::quantize::QuantizedRows;
use crate::{Isa, Kernels};

/// Products of fewer weights times tokens than this stay on the calling thread: waking others, or
/// only telling them, takes longer.
const WORTH_SHARING: usize = 200_000;

/// Parts for each thread: some are slower than others.
const PARTS_PER_THREAD: usize = 4;

/// Rows of activations.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// `[tokens, columns]`, for F32, F16 and Bf16.
    F32(&'a [f32]),
    /// For all other formats.
    Quantized(&'a QuantizedRows),
}

impl<'a> From<&'a [f32]> for Operand<'a> {
    fn from(rows: &'a [f32]) -> Self {
        Self::F32(rows)
    }
}

impl<'a> From<&'a QuantizedRows> for Operand<'a> {
    fn from(rows: &'a QuantizedRows) -> Self {
        Self::Quantized(rows)
    }
}

/// What becomes of a product p. In all cases a NaN has the bits of [`f32::NAN`] afterwards.
#[derive(Clone, Copy, Debug, Default)]
pub enum Finish<'a> {
    /// out = p
    #[default]
    Store,
    /// out = out + p
    Add,
    /// out = p + bias, with a bias for each row of the matrix.
    Bias(&'a [f32]),
}

/// Operands that don't fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Activations are quantised in blocks of 32.
    #[error("{0} columns are not whole blocks of 32")]
    Columns(usize),
    /// The format is multiplied with the other kind of activations.
    #[error("{0:?} weights take the other kind of activations")]
    Kind(Format),
    /// Activations have another length.
    #[error("activations: {expected} numbers expected, {found} given")]
    Input {
        /// The length that would fit.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// The output has another length.
    #[error("output: {expected} numbers expected, {found} given")]
    Output {
        /// The length that would fit.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// There isn't one bias for each row.
    #[error("bias: {expected} numbers expected, {found} given")]
    Bias {
        /// The length that would fit.
        expected: usize,
        /// The length found.
        found: usize,
    },
}

/// Where results go: threads write different rows of the same slice.
pub(crate) struct Output<'a> {
    start: *mut f32,
    tokens: usize,
    rows: usize,
    finish: Finish<'a>,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]`, which may go to another thread; and of shared ones, `put`
// asks its callers to keep to different rows.
unsafe impl Sync for Output<'_> {}

impl Output<'_> {
    /// Finishes and writes the products of token `token` and the rows of group `group`, less
    /// those that only pad it.
    ///
    /// # Safety
    /// No one else uses these rows of the output meanwhile.
    #[inline(always)]
    pub unsafe fn put(&self, token: usize, group: usize, sums: &[f32; GROUP]) {
        let first = group * GROUP;
        assert!(token < self.tokens && first < self.rows);
        let count = GROUP.min(self.rows - first);
        // SAFETY: the slice has `tokens` times `rows` numbers; these are of an existing token and
        // of existing rows, which are the caller's.
        let out = unsafe {
            std::slice::from_raw_parts_mut(self.start.add(token * self.rows + first), count)
        };
        match self.finish {
            Finish::Store => finish(out, sums, |_, sum, _| sum, &[0.0; GROUP]),
            Finish::Add => finish(out, sums, |old, sum, _| old + sum, &[0.0; GROUP]),
            Finish::Bias(bias) => finish(out, sums, |_, sum, bias| sum + bias, &bias[first..]),
        }
    }
}

#[inline(always)]
fn finish(
    out: &mut [f32],
    sums: &[f32; GROUP],
    value: impl Fn(f32, f32, f32) -> f32,
    bias: &[f32],
) {
    let one_nan = |value: f32| if value.is_nan() { f32::NAN } else { value };
    // The same twice, so that whole groups, nearly all of them, are done in one go.
    if let (Some(all), Some(bias)) = (out.as_mut_array(), bias.first_chunk::<GROUP>()) {
        let old: [f32; GROUP] = *all;
        *all = std::array::from_fn(|i| one_nan(value(old[i], sums[i], bias[i])));
        return;
    }
    for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
        *out = one_nan(value(*out, *sum, *bias));
    }
}

impl Kernels {
    /// `out = x · wᵀ`: `x` is `[tokens, columns]`, `out` is `[tokens, rows]`, row-major.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes don't fit; `out` is as it was then.
    pub fn matmul<'x>(
        &self,
        w: &PackedMatrix,
        x: impl Into<Operand<'x>>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.matmul_with(w, x, Finish::Store, out)
    }

    /// As [`Kernels::matmul`], with a say in what becomes of the product.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes don't fit; `out` is as it was then.
    pub fn matmul_with<'x>(
        &self,
        w: &PackedMatrix,
        x: impl Into<Operand<'x>>,
        finish: Finish<'_>,
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let x = x.into();
        let tokens = match x {
            Operand::F32(x) => x.len() / w.columns(),
            Operand::Quantized(x) => x.rows(),
        };
        let threads = self.pool().threads();
        let parts = match threads {
            1 => 1,
            _ if w.rows() * w.columns() * tokens < WORTH_SHARING => 1,
            _ => threads * PARTS_PER_THREAD,
        };
        self.matmul_in_parts(w, x, finish, out, parts)
    }

    /// As [`Kernels::matmul_with`], in this many parts if there are as many groups of rows.
    pub(super) fn matmul_in_parts(
        &self,
        w: &PackedMatrix,
        x: Operand<'_>,
        finish: Finish<'_>,
        out: &mut [f32],
        parts: usize,
    ) -> Result<(), ShapeError> {
        let tokens = tokens(w, x, out.len())?;
        if let Finish::Bias(bias) = finish {
            check(bias.len(), w.rows(), |expected, found| ShapeError::Bias {
                expected,
                found,
            })?;
        }
        let out = Output {
            start: out.as_mut_ptr(),
            tokens,
            rows: w.rows(),
            finish,
            slice: PhantomData,
        };
        let isa = self.isa();
        // SAFETY: `Kernels` are made only for an instruction set that this machine has; the shapes
        // have been checked; each call is given groups of its own.
        let part = |groups: Range<usize>| unsafe {
            by_format!(
                w.format(),
                multiply_quantized,
                multiply_dense(isa, w, x, &out, groups)
            );
        };
        let groups = w.groups();
        let parts = parts.clamp(1, groups.max(1));
        let start = |part| groups * part / parts;
        self.pool()
            .run(parts, |index| part(start(index)..start(index + 1)));
        Ok(())
    }
}

/// The number of tokens, if everything fits.
fn tokens(w: &PackedMatrix, x: Operand<'_>, out: usize) -> Result<usize, ShapeError> {
    let input = |expected, found| ShapeError::Input { expected, found };
    let columns = w.columns();
    let tokens = match x {
        Operand::F32(x) if !w.format().is_quantized() => {
            let tokens = x.len() / columns;
            check(x.len(), tokens * columns, input)?;
            tokens
        }
        Operand::Quantized(x) if w.format().is_quantized() => {
            check(x.columns(), columns, input)?;
            x.rows()
        }
        _ => return Err(ShapeError::Kind(w.format())),
    };
    check(out, tokens * w.rows(), |expected, found| {
        ShapeError::Output { expected, found }
    })?;
    Ok(tokens)
}

fn check(
    found: usize,
    expected: usize,
    error: impl Fn(usize, usize) -> ShapeError,
) -> Result<(), ShapeError> {
    match found == expected {
        true => Ok(()),
        false => Err(error(expected, found)),
    }
}

/// # Safety
/// As [`quantized::multiply`].
unsafe fn multiply_quantized<B: Blocks>(
    isa: Isa,
    weights: &PackedMatrix,
    x: Operand<'_>,
    out: &Output<'_>,
    groups: Range<usize>,
) {
    if let Operand::Quantized(x) = x {
        let job = quantized::Job { weights, x, out };
        // SAFETY: the caller's promise.
        unsafe { quantized::multiply::<B>(isa, &job, groups) }
    }
}

/// # Safety
/// As [`dense::multiply`].
unsafe fn multiply_dense<D: Dense>(
    isa: Isa,
    weights: &PackedMatrix,
    x: Operand<'_>,
    out: &Output<'_>,
    groups: Range<usize>,
) {
    if let Operand::F32(x) = x {
        let job = dense::Job { weights, x, out };
        // SAFETY: the caller's promise.
        unsafe { dense::multiply::<D>(isa, &job, groups) }
    }
}
