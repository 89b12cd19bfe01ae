//! Weights in memory: as they are stored, in another order.

use super::buffer::Buffer;
use super::dense::{self, Bf16, Dense, F16, F32};
use super::format::Format;
use super::quantized::{Blocks, Q4K, Q4_0, Q4_1, Q6K, Q8_0};
use super::GROUP;
use crate::quantize::BLOCK;

/// A matrix of weights, a row per output, in the order in which products read it: rows in groups
/// of sixteen, interleaved. Quantised weights stay quantised, and take the memory that they take in a file
/// (up to padding to whole groups of rows and whole units of columns; a sixteenth more for Q6_K's
/// and Q4_K's unpacked scales).
pub struct PackedMatrix {
    format: Format,
    rows: usize,
    columns: usize,
    /// Bytes of sixteen rows.
    group_bytes: usize,
    data: Buffer,
}

/// Bytes that aren't the matrix they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// Rows of this format can't have that length; nor can rows of any be empty.
    #[error("{columns} columns are not whole blocks of {format:?}")]
    Columns {
        /// The format.
        format: Format,
        /// The columns asked for.
        columns: usize,
    },
    /// The matrix takes another number of bytes.
    #[error("a {rows} × {columns} matrix of {format:?} is not {found} bytes")]
    Length {
        /// The format.
        format: Format,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// The bytes given.
        found: usize,
    },
    /// There is no such row.
    #[error("no row {row} in a matrix of {rows}")]
    Row {
        /// The row asked for.
        row: usize,
        /// The rows there are.
        rows: usize,
    },
    /// A row has another length.
    #[error("a row has {columns} columns, not {found}")]
    RowLength {
        /// Columns of the matrix.
        columns: usize,
        /// Length given.
        found: usize,
    },
}

/// Calls `$function` for the type that stands for a quantised `$format`, else `$dense` for one of the
/// others.
macro_rules! by_format {
    ($format:expr, $quantized:ident, $dense:ident ($($argument:expr),* $(,)?)) => {
        match $format {
            Format::F32 => $dense::<F32>($($argument),*),
            Format::F16 => $dense::<F16>($($argument),*),
            Format::Bf16 => $dense::<Bf16>($($argument),*),
            Format::Q4_0 => $quantized::<Q4_0>($($argument),*),
            Format::Q4_1 => $quantized::<Q4_1>($($argument),*),
            Format::Q8_0 => $quantized::<Q8_0>($($argument),*),
            Format::Q4K => $quantized::<Q4K>($($argument),*),
            Format::Q6K => $quantized::<Q6K>($($argument),*),
        }
    };
}
pub(super) use by_format;

impl PackedMatrix {
    /// Packs `stored`, `[rows, columns]` as model files have it: rows one after the other, each
    /// consisting of whole blocks of `format`.
    ///
    /// # Errors
    /// [`MatrixError::Columns`] and [`MatrixError::Length`] if that isn't what `stored` is. No content of
    /// `stored` is an error.
    pub fn pack(
        format: Format,
        rows: usize,
        columns: usize,
        stored: &[u8],
    ) -> Result<Self, MatrixError> {
        if columns == 0 || !columns.is_multiple_of(format.block_values()) {
            return Err(MatrixError::Columns { format, columns });
        }
        let row_bytes = columns / format.block_values() * format.block_bytes();
        if row_bytes.checked_mul(rows) != Some(stored.len()) {
            return Err(MatrixError::Length {
                format,
                rows,
                columns,
                found: stored.len(),
            });
        }
        // No overflow: a group takes less than thrice the bytes that its rows take in `stored`, and the
        // last group sixteen times that.
        let group_bytes = by_format!(format, quantized_bytes, dense_bytes(columns));
        let mut data = Buffer::zeroed(rows.div_ceil(GROUP) * group_bytes);
        for (row, stored) in stored.chunks_exact(row_bytes).enumerate() {
            let group = &mut data[row / GROUP * group_bytes..][..group_bytes];
            by_format!(
                format,
                pack_quantized,
                pack_dense(stored, row % GROUP, group)
            );
        }
        Ok(Self {
            format,
            rows,
            columns,
            group_bytes,
            data,
        })
    }

    /// How the numbers are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number of rows: outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Writes the weights of row `row` to `out`: exactly the numbers that the format's definition
    /// gives, each product and each sum rounded by itself.
    ///
    /// # Errors
    /// [`MatrixError::Row`], [`MatrixError::RowLength`].
    pub fn row(&self, row: usize, out: &mut [f32]) -> Result<(), MatrixError> {
        if row >= self.rows {
            let rows = self.rows;
            return Err(MatrixError::Row { row, rows });
        }
        if out.len() != self.columns {
            return Err(MatrixError::RowLength {
                columns: self.columns,
                found: out.len(),
            });
        }
        let group = self.group(row / GROUP);
        by_format!(
            self.format,
            unpack_quantized,
            unpack_dense(group, row % GROUP, out)
        );
        Ok(())
    }

    /// Groups of sixteen rows, the last one padded.
    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// The weights of a group.
    #[inline(always)]
    pub(super) fn group(&self, group: usize) -> &[u8] {
        &self.data[group * self.group_bytes..][..self.group_bytes]
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("PackedMatrix");
        debug.field("format", &self.format);
        debug
            .field("rows", &self.rows)
            .field("columns", &self.columns);
        debug.finish_non_exhaustive()
    }
}

fn quantized_bytes<B: Blocks>(columns: usize) -> usize {
    (columns / BLOCK).div_ceil(B::SPAN) * B::UNIT
}

fn dense_bytes<D: Dense>(columns: usize) -> usize {
    (columns * GROUP * D::BYTES).next_multiple_of(64)
}

fn pack_quantized<B: Blocks>(stored: &[u8], row: usize, group: &mut [u8]) {
    let in_unit = B::SPAN * BLOCK / B::STORED_COLUMNS;
    let units = group.chunks_exact_mut(B::UNIT);
    for (unit, blocks) in units.zip(stored.chunks(B::STORED_BYTES * in_unit)) {
        for (index, block) in blocks.chunks_exact(B::STORED_BYTES).enumerate() {
            B::pack(block, index, row, unit);
        }
    }
}

fn unpack_quantized<B: Blocks>(group: &[u8], row: usize, out: &mut [f32]) {
    for (block, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let unit = &group[block / B::SPAN * B::UNIT..][..B::UNIT];
        B::unpack(unit, block % B::SPAN, row, out);
    }
}

fn pack_dense<D: Dense>(stored: &[u8], row: usize, group: &mut [u8]) {
    for (column, value) in stored.chunks_exact(D::BYTES).enumerate() {
        group[(column * GROUP + row) * D::BYTES..][..D::BYTES].copy_from_slice(value);
    }
}

fn unpack_dense<D: Dense>(group: &[u8], row: usize, out: &mut [f32]) {
    for (column, out) in out.iter_mut().enumerate() {
        *out = dense::weight::<D>(group, column, row);
    }
}
