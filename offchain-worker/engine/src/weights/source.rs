//! A tensor in a file, whatever the file's kind.

use std::ops::Range;
use std::sync::Arc;

use blake2::Digest as _;

use super::dtype::Format;
use super::file::DataFile;
use super::WeightsError;
use crate::digest::Hasher;

/// Bytes read from a file at a time while a tensor is turned into f32 or hashed.
const CHUNK_BYTES: usize = 1 << 20;

/// In which order a matrix has its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// As the computation wants them: the halves of each head's rotary pairs one after the other.
    Halves,
    /// As llama.cpp stores q and k of the Llama family: the two of each rotary pair side by side.
    Pairs {
        /// Heads that the rows make up.
        heads: usize,
    },
}

/// Where a tensor is and what it looks like.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo {
    /// Shape, outermost dimension first. At most [`MAX_RANK`] dimensions.
    pub shape: Vec<u64>,
    /// `None` for a format that the engine doesn't read.
    pub format: Option<Format>,
    /// The format as digests and error messages know it: safetensors' F32, F16 and BF16 are 0 to
    /// 2, and a GGUF type has its number with the top bit set, because row orders differ.
    pub tag: u8,
    pub order: RowOrder,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Bytes in the file. Checked to lie within it.
    pub len: u64,
}

/// Most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 4;

/// Finds tensors by their canonical names.
pub(crate) trait TensorSource: Send + Sync {
    /// Canonical names of all tensors, in ascending order.
    fn names(&self) -> Vec<&str>;

    /// The tensor with this name.
    fn tensor(&self, name: &str) -> Result<StoredTensor, WeightsError>;
}

/// A tensor in a file.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    pub name: String,
    pub file: Arc<DataFile>,
    pub info: TensorInfo,
}

impl StoredTensor {
    /// Is the shape what the configuration calls for?
    pub fn expect_shape(self, shape: &[usize]) -> Result<Self, WeightsError> {
        let expected: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
        if self.info.shape == expected {
            Ok(self)
        } else {
            Err(WeightsError::WrongShape {
                name: self.name,
                expected,
                found: self.info.shape,
            })
        }
    }

    /// The storage format; an error where the engine doesn't read it.
    pub fn format(&self) -> Result<Format, WeightsError> {
        self.info.format.ok_or_else(|| {
            let what = format!("the storage type {:#04x} of {}", self.info.tag, self.name);
            self.file.unsupported(what)
        })
    }

    /// Values of the innermost dimension.
    fn columns(&self) -> usize {
        self.info.shape.last().copied().unwrap_or(1) as usize
    }

    /// Rows `rows` as stored, as f32. A row is all values of the innermost dimension.
    pub fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, WeightsError> {
        let format = self.format()?;
        let columns = self.columns();
        let beyond = || {
            self.file
                .truncated(format!("row {} of {}", rows.end, self.name), u64::MAX)
        };
        let row_bytes = format
            .bytes_of(columns as u64)
            .ok_or_else(|| self.uneven())?;
        let end = (rows.end as u64)
            .checked_mul(row_bytes)
            .ok_or_else(beyond)?;
        if end > self.info.len || rows.start > rows.end {
            return Err(beyond());
        }
        let mut values = vec![0.0; rows.len() * columns];
        if values.is_empty() {
            return Ok(values);
        }
        // At most the tensor's length, which is checked against the file's; a usize holds it.
        let rows_at_a_time = (CHUNK_BYTES / row_bytes as usize).max(1);
        let mut buffer = vec![0; rows_at_a_time.min(rows.len()) * row_bytes as usize];
        let mut offset = self.info.offset + rows.start as u64 * row_bytes;
        for chunk in values.chunks_mut(rows_at_a_time * columns) {
            let bytes = &mut buffer[..chunk.len() / columns * row_bytes as usize];
            self.file.read(offset, bytes)?;
            offset += bytes.len() as u64;
            format.dequantize(bytes, chunk);
        }
        Ok(values)
    }

    /// The whole tensor as f32, row-major, rows in the order of the computation.
    pub fn load(&self) -> Result<Vec<f32>, WeightsError> {
        let columns = self.columns();
        let values: u64 = self.info.shape.iter().product();
        let stored = self.rows(0..(values as usize).checked_div(columns).unwrap_or(0))?;
        match self.info.order {
            RowOrder::Halves => Ok(stored),
            RowOrder::Pairs { heads } => {
                pairs_to_halves(&stored, heads, columns).ok_or_else(|| {
                    self.file
                        .corrupt(format!("{} has no whole heads", self.name))
                })
            }
        }
    }

    /// The whole tensor as stored, row-major, rows in the order of the computation.
    pub fn load_stored(&self) -> Result<(Format, Vec<u8>), WeightsError> {
        let format = self.format()?;
        let row_bytes = format
            .bytes_of(self.columns() as u64)
            .ok_or_else(|| self.uneven())?;
        let stored = self
            .file
            .read_vec(self.info.offset, self.info.len, &self.name)?;
        let ordered = match self.info.order {
            RowOrder::Halves => stored,
            RowOrder::Pairs { heads } => pairs_to_halves(&stored, heads, row_bytes as usize)
                .ok_or_else(|| {
                    self.file
                        .corrupt(format!("{} has no whole heads", self.name))
                })?,
        };
        Ok((format, ordered))
    }

    fn uneven(&self) -> WeightsError {
        self.file
            .corrupt(format!("rows of {} don't fill whole blocks", self.name))
    }

    /// Feeds name, format, shape and stored bytes to a hash; see the crate's documentation.
    pub fn hash_into(&self, hasher: &mut Hasher) -> Result<(), WeightsError> {
        self.format()?;
        let name = self.name.as_bytes();
        // Names are built from the configuration, far below 64 KiB; ranks are at most MAX_RANK.
        hasher.update((name.len() as u16).to_le_bytes());
        hasher.update(name);
        hasher.update([self.info.tag, self.info.shape.len() as u8]);
        for size in &self.info.shape {
            hasher.update(size.to_le_bytes());
        }
        let mut buffer = vec![0; CHUNK_BYTES.min(self.info.len as usize)];
        let (mut offset, end) = (self.info.offset, self.info.offset + self.info.len);
        while offset < end {
            let take = buffer.len().min((end - offset) as usize);
            self.file.read(offset, &mut buffer[..take])?;
            hasher.update(&buffer[..take]);
            offset += take as u64;
        }
        Ok(())
    }
}

/// Undoes llama.cpp's interleaving of rotary pairs: row `2i + j` of a head goes to `j·d/2 + i`.
/// `None` if the rows don't make up `heads` heads of an even width.
pub(crate) fn pairs_to_halves<T: Copy + Default>(
    rows: &[T],
    heads: usize,
    columns: usize,
) -> Option<Vec<T>> {
    let count = rows.len().checked_div(columns)?;
    let head_rows = count.checked_div(heads)?;
    if head_rows * heads * columns != rows.len() || head_rows % 2 != 0 {
        return None;
    }
    let mut out = vec![T::default(); rows.len()];
    for (r, row) in rows.chunks_exact(columns).enumerate() {
        let (head, within) = (r / head_rows, r % head_rows);
        let to = head * head_rows + within % 2 * (head_rows / 2) + within / 2;
        out[to * columns..][..columns].copy_from_slice(row);
    }
    Some(out)
}
