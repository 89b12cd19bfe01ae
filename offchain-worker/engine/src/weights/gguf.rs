//! GGUF: one file with metadata, a list of tensors, and their data.
//!
//! Versions 2 and 3, little-endian. Scalars and strings of the metadata are kept; arrays (the
//! vocabulary) stay in the file until they are asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::dtype::Format;
use super::file::DataFile;
use super::names;
use super::source::{RowOrder, StoredTensor, TensorInfo, TensorSource, MAX_RANK};
use super::WeightsError;

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// Limits on what a header may announce. Each is far above what published files have.
const MAX_ENTRIES: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 20;
const MAX_STRING: u64 = 1 << 24;

/// Type numbers of metadata values.
pub(crate) mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// A metadata value. Integers of all widths are one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MetadataValue {
    Unsigned(u64),
    Signed(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    /// Elements of this kind, still in the file.
    Array {
        kind: u32,
        count: u64,
        bytes: Range<u64>,
    },
}

impl MetadataValue {
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// For error messages: short, whatever the value.
    pub fn describe(&self) -> String {
        match self {
            Self::String(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            Self::Array { count, .. } => format!("an array of {count}"),
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::F32(number) => number.to_string(),
            Self::F64(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
        }
    }
}

/// One entry of the metadata, and where its value's bytes are.
#[derive(Clone, Debug)]
struct Entry {
    value: MetadataValue,
    kind: u32,
    bytes: Range<u64>,
}

/// The metadata of a file.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    file: Arc<DataFile>,
    entries: BTreeMap<String, Entry>,
}

impl Metadata {
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The strings of an array; `None` if there is no array of strings under this key.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, WeightsError> {
        let Some(MetadataValue::Array {
            kind: kind::STRING,
            count,
            bytes,
        }) = self.get(key)
        else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.file, bytes.start);
        let mut strings = Vec::new();
        for _ in 0..*count {
            strings.push(cursor.string(key)?);
        }
        Ok(Some(strings))
    }

    /// The integers of an array; `None` if there is no array of integers under this key.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, WeightsError> {
        let Some(MetadataValue::Array { kind, count, bytes }) = self.get(key) else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.file, bytes.start);
        let mut integers = Vec::new();
        for _ in 0..*count {
            match cursor.value(*kind, key)? {
                MetadataValue::Signed(number) => integers.push(number),
                MetadataValue::Unsigned(number) => {
                    integers.push(i64::try_from(number).unwrap_or(i64::MAX));
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(integers))
    }

    /// The f32 numbers of an array; `None` if there is no array of them under this key.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, WeightsError> {
        let Some(MetadataValue::Array {
            kind: kind::F32,
            count,
            bytes,
        }) = self.get(key)
        else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.file, bytes.start);
        let mut numbers = Vec::new();
        for _ in 0..*count {
            numbers.push(f32::from_le_bytes(cursor.bytes(key)?));
        }
        Ok(Some(numbers))
    }

    /// Key, type number and stored bytes of each entry whose key starts with `prefix`, by key.
    pub fn raw<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = Result<(&'a str, u32, Vec<u8>), WeightsError>> + 'a {
        self.entries
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| {
                let len = entry.bytes.end - entry.bytes.start;
                let bytes = self.file.read_vec(entry.bytes.start, len, key)?;
                Ok((key.as_str(), entry.kind, bytes))
            })
    }
}

/// Reads forward through a file, a window at a time.
struct Cursor<'a> {
    file: &'a DataFile,
    /// Position in the file of the next byte.
    position: u64,
    window: Vec<u8>,
    window_start: u64,
}

const WINDOW: u64 = 1 << 16;

impl<'a> Cursor<'a> {
    fn new(file: &'a DataFile, position: u64) -> Self {
        Self {
            file,
            position,
            window: Vec::new(),
            window_start: position,
        }
    }

    /// Are there `len` more bytes?
    fn ensure(&self, len: u64, what: &str) -> Result<u64, WeightsError> {
        let end = self.position.saturating_add(len);
        if end > self.file.len() {
            return Err(self.file.truncated(what, end));
        }
        Ok(end)
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], WeightsError> {
        let end = self.ensure(N as u64, what)?;
        if end > self.window_start + self.window.len() as u64 {
            let len = WINDOW.min(self.file.len() - self.position);
            self.window = self.file.read_vec(self.position, len, what)?;
            self.window_start = self.position;
        }
        let at = (self.position - self.window_start) as usize;
        let mut out = [0; N];
        out.copy_from_slice(&self.window[at..at + N]);
        self.position = end;
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32, WeightsError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, WeightsError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    fn skip(&mut self, len: u64, what: &str) -> Result<(), WeightsError> {
        self.position = self.ensure(len, what)?;
        if self.position > self.window_start + self.window.len() as u64 {
            self.window.clear();
            self.window_start = self.position;
        }
        Ok(())
    }

    fn string(&mut self, what: &str) -> Result<String, WeightsError> {
        let len = self.u64(what)?;
        self.ensure(len, what)?;
        if len > MAX_STRING {
            return Err(self
                .file
                .corrupt(format!("{what} holds a string of {len} bytes")));
        }
        let bytes = if self.position + len <= self.window_start + self.window.len() as u64 {
            let at = (self.position - self.window_start) as usize;
            self.window[at..at + len as usize].to_vec()
        } else {
            self.file.read_vec(self.position, len, what)?
        };
        self.skip(len, what)?;
        String::from_utf8(bytes).map_err(|_| self.file.corrupt(format!("{what} is not UTF-8")))
    }

    fn value(&mut self, value_kind: u32, what: &str) -> Result<MetadataValue, WeightsError> {
        use MetadataValue::{Bool, Signed, String, Unsigned, F32, F64};
        Ok(match value_kind {
            kind::U8 => Unsigned(u8::from_le_bytes(self.bytes(what)?).into()),
            kind::I8 => Signed(i8::from_le_bytes(self.bytes(what)?).into()),
            kind::U16 => Unsigned(u16::from_le_bytes(self.bytes(what)?).into()),
            kind::I16 => Signed(i16::from_le_bytes(self.bytes(what)?).into()),
            kind::U32 => Unsigned(self.u32(what)?.into()),
            kind::I32 => Signed(i32::from_le_bytes(self.bytes(what)?).into()),
            kind::U64 => Unsigned(self.u64(what)?),
            kind::I64 => Signed(i64::from_le_bytes(self.bytes(what)?)),
            kind::F32 => F32(f32::from_le_bytes(self.bytes(what)?)),
            kind::F64 => F64(f64::from_le_bytes(self.bytes(what)?)),
            kind::BOOL => Bool(self.bytes::<1>(what)? != [0]),
            kind::STRING => String(self.string(what)?),
            kind::ARRAY => self.array(what)?,
            other => return Err(self.file.corrupt(format!("{what} has type {other}"))),
        })
    }

    /// Steps over an array and notes where its elements are.
    fn array(&mut self, what: &str) -> Result<MetadataValue, WeightsError> {
        let element = self.u32(what)?;
        let count = self.u64(what)?;
        let width = match element {
            kind::U8 | kind::I8 | kind::BOOL => 1,
            kind::U16 | kind::I16 => 2,
            kind::U32 | kind::I32 | kind::F32 => 4,
            kind::U64 | kind::I64 | kind::F64 => 8,
            kind::STRING => 8,
            _ => {
                return Err(self
                    .file
                    .corrupt(format!("{what} is an array of type {element}")))
            }
        };
        // Every element takes at least `width` bytes, so this bounds the count by the file.
        let least = count.saturating_mul(width);
        self.ensure(least, what)?;
        let start = self.position;
        if element == kind::STRING {
            for _ in 0..count {
                let len = self.u64(what)?;
                self.skip(len, what)?;
            }
        } else {
            self.skip(least, what)?;
        }
        Ok(MetadataValue::Array {
            kind: element,
            count,
            bytes: start..self.position,
        })
    }
}

/// An opened GGUF file.
#[derive(Debug)]
pub(crate) struct Gguf {
    file: Arc<DataFile>,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Reads the header. Every tensor is known to lie within the file afterwards.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = Arc::new(DataFile::open(path)?);
        let mut cursor = Cursor::new(&file, 0);
        if cursor.bytes::<4>("the magic")? != *MAGIC {
            return Err(file.corrupt("it doesn't start with GGUF"));
        }
        let version = cursor.u32("the version")?;
        if version != 2 && version != 3 {
            return Err(
                file.unsupported(format!("GGUF version {version}; versions 2 and 3 can be"))
            );
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        let entry_count = cursor.u64("the number of metadata entries")?;
        if tensor_count > MAX_TENSORS || entry_count > MAX_ENTRIES {
            let what = format!("it announces {tensor_count} tensors and {entry_count} entries");
            return Err(file.corrupt(what));
        }
        let metadata = read_metadata(&mut cursor, &file, entry_count)?;
        let raw = read_tensor_list(&mut cursor, &file, tensor_count)?;
        let data_start = aligned(&file, &metadata, cursor.position)?;
        let tensors = place(&file, &metadata, raw, data_start)?;
        Ok(Self {
            file,
            metadata,
            tensors,
        })
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl TensorSource for Gguf {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn tensor(&self, name: &str) -> Result<StoredTensor, WeightsError> {
        let info = self
            .tensors
            .get(name)
            .ok_or_else(|| WeightsError::MissingTensor(name.to_owned()))?;
        Ok(StoredTensor {
            name: name.to_owned(),
            file: Arc::clone(&self.file),
            info: info.clone(),
        })
    }
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    file: &Arc<DataFile>,
    count: u64,
) -> Result<Metadata, WeightsError> {
    let mut entries = BTreeMap::new();
    for number in 0..count {
        let key = cursor.string(&format!("the key of metadata entry {number}"))?;
        let value_kind = cursor.u32(&key)?;
        let start = cursor.position;
        let value = cursor.value(value_kind, &key)?;
        let entry = Entry {
            value,
            kind: value_kind,
            bytes: start..cursor.position,
        };
        if entries.insert(key.clone(), entry).is_some() {
            return Err(file.corrupt(format!("the metadata key {key} stands twice")));
        }
    }
    Ok(Metadata {
        file: Arc::clone(file),
        entries,
    })
}

/// Name, shape (outermost first), type number, and offset relative to the data section.
type RawTensor = (String, Vec<u64>, u32, u64);

fn read_tensor_list(
    cursor: &mut Cursor<'_>,
    file: &DataFile,
    count: u64,
) -> Result<Vec<RawTensor>, WeightsError> {
    let mut tensors = Vec::new();
    for number in 0..count {
        let name = cursor.string(&format!("the name of tensor {number}"))?;
        let rank = cursor.u32(&name)?;
        if rank == 0 || rank as usize > MAX_RANK {
            return Err(file.corrupt(format!("{name} has {rank} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(cursor.u64(&name)?);
        }
        // GGUF has the innermost dimension first.
        shape.reverse();
        let format = cursor.u32(&name)?;
        let offset = cursor.u64(&name)?;
        tensors.push((name, shape, format, offset));
    }
    Ok(tensors)
}

fn alignment(file: &DataFile, metadata: &Metadata) -> Result<u64, WeightsError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(value) => value
            .as_u64()
            .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
            .ok_or_else(|| file.corrupt(format!("alignment {}", value.describe()))),
    }
}

fn aligned(file: &DataFile, metadata: &Metadata, position: u64) -> Result<u64, WeightsError> {
    let alignment = alignment(file, metadata)?;
    position
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| file.truncated("the header", u64::MAX))
}

/// Gives every tensor its canonical name and place, and checks that the place is in the file.
fn place(
    file: &DataFile,
    metadata: &Metadata,
    raw: Vec<RawTensor>,
    data_start: u64,
) -> Result<BTreeMap<String, TensorInfo>, WeightsError> {
    let alignment = alignment(file, metadata)?;
    // llama.cpp's converter interleaves q and k for the architecture it calls "llama" only.
    let interleaved = metadata
        .get("general.architecture")
        .and_then(MetadataValue::as_str)
        == Some("llama");
    let heads = |name: &str| {
        let count = metadata.get(name).and_then(MetadataValue::as_u64)?;
        usize::try_from(count).ok()
    };
    let query_heads = heads("llama.attention.head_count").unwrap_or(0);
    let kv_heads = heads("llama.attention.head_count_kv").unwrap_or(query_heads);

    let mut tensors = BTreeMap::new();
    for (gguf_name, shape, number, relative) in raw {
        let values = shape
            .iter()
            .try_fold(1u64, |product, size| product.checked_mul(*size))
            .ok_or_else(|| file.corrupt(format!("the size of {gguf_name} overflows")))?;
        let format = Format::from_gguf(number);
        let columns = shape.last().copied().unwrap_or(1);
        let len = match format {
            None => 0,
            Some(format) => format
                .bytes_of(columns)
                .and(format.bytes_of(values))
                .ok_or_else(|| file.corrupt(format!("{gguf_name} has no whole blocks")))?,
        };
        let offset = data_start.saturating_add(relative);
        let end = offset.saturating_add(len);
        if relative % alignment != 0 {
            return Err(file.corrupt(format!("{gguf_name} is not aligned")));
        }
        if end > file.len() {
            return Err(file.truncated(&gguf_name, end));
        }
        let order = if interleaved && gguf_name.ends_with(".attn_q.weight") {
            RowOrder::Pairs { heads: query_heads }
        } else if interleaved && gguf_name.ends_with(".attn_k.weight") {
            RowOrder::Pairs { heads: kv_heads }
        } else {
            RowOrder::Halves
        };
        let tag = 0x80 | u8::try_from(number).unwrap_or(0x7f);
        let info = TensorInfo {
            shape,
            format,
            tag,
            order,
            offset,
            len,
        };
        let name = names::from_gguf(&gguf_name);
        if tensors.insert(name, info).is_some() {
            return Err(file.corrupt(format!("the tensor {gguf_name} stands twice")));
        }
    }
    Ok(tensors)
}
