//! Safetensors: one file, or several that an index joins.
//!
//! A shard is opened when a tensor of it is first asked for, so that a server may hold the shards
//! of its span only.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use safetensors::tensor::Metadata;
use safetensors::Dtype;
use serde::Deserialize;

use super::dtype::Format;
use super::file::DataFile;
use super::source::{RowOrder, StoredTensor, TensorInfo, TensorSource, MAX_RANK};
use super::WeightsError;

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Largest header; those of the largest published models are a few hundred KiB.
const MAX_HEADER: u64 = 32 << 20;
const MAX_INDEX: u64 = 32 << 20;

/// One opened file.
#[derive(Debug)]
struct Shard {
    file: Arc<DataFile>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Shard {
    fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = Arc::new(DataFile::open(path)?);
        let prefix = file.read_vec(0, 8, "the header's length")?;
        // Eight bytes were asked for and read.
        let header_len = prefix
            .iter()
            .rev()
            .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        if header_len > MAX_HEADER {
            return Err(file.corrupt(format!("a header of {header_len} bytes")));
        }
        let header = file.read_vec(8, header_len, "the header")?;
        // Checks that the tensors' ranges join without gaps and fit their shapes.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| file.corrupt(format!("the header: {error}")))?;
        let data_start = 8 + header_len;
        let end = data_start.saturating_add(metadata.data_len() as u64);
        if end > file.len() {
            return Err(file.truncated("the last tensor", end));
        }
        if end < file.len() {
            return Err(file.corrupt("bytes behind the last tensor"));
        }
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            if info.shape.len() > MAX_RANK {
                let rank = info.shape.len();
                return Err(file.corrupt(format!("{name} has {rank} dimensions")));
            }
            let (format, tag) = match info.dtype {
                Dtype::F32 => (Some(Format::F32), 0),
                Dtype::F16 => (Some(Format::F16), 1),
                Dtype::BF16 => (Some(Format::Bf16), 2),
                _ => (None, 0x7f),
            };
            // The metadata was checked: start ≤ end ≤ the length checked above.
            let (start, stop) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let stored = TensorInfo {
                shape: info.shape.iter().map(|size| *size as u64).collect(),
                format,
                tag,
                order: RowOrder::Halves,
                offset: data_start + start,
                len: stop - start,
            };
            tensors.insert(name, stored);
        }
        Ok(Self { file, tensors })
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

/// Files, and which tensor is in which.
#[derive(Debug)]
pub(crate) struct Shards {
    files: Vec<(PathBuf, OnceLock<Shard>)>,
    tensors: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// One file; it is opened at once.
    pub fn single(path: PathBuf) -> Result<Self, WeightsError> {
        let shard = Shard::open(&path)?;
        let tensors = shard.tensors.keys().map(|name| (name.clone(), 0)).collect();
        Ok(Self {
            files: vec![(path, OnceLock::from(shard))],
            tensors,
        })
    }

    /// The files that an index names; none is opened yet.
    pub fn indexed(path: &Path) -> Result<Self, WeightsError> {
        let file = DataFile::open(path)?;
        if file.len() > MAX_INDEX {
            return Err(file.corrupt(format!("an index of {} bytes", file.len())));
        }
        let json = file.read_vec(0, file.len(), "the index")?;
        let index: Index = serde_json::from_slice(&json)
            .map_err(|error| file.corrupt(format!("the index: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut numbers = BTreeMap::new();
        let mut files = Vec::new();
        let mut tensors = BTreeMap::new();
        for (tensor, name) in index.weight_map {
            let number = match numbers.get(&name) {
                Some(number) => *number,
                None => {
                    if !is_plain_name(&name) {
                        return Err(file.corrupt(format!("the index names the file {name:?}")));
                    }
                    files.push((folder.join(&name), OnceLock::new()));
                    numbers.insert(name, files.len() - 1);
                    files.len() - 1
                }
            };
            tensors.insert(tensor, number);
        }
        Ok(Self { files, tensors })
    }
}

impl TensorSource for Shards {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn tensor(&self, name: &str) -> Result<StoredTensor, WeightsError> {
        let number = self
            .tensors
            .get(name)
            .ok_or_else(|| WeightsError::MissingTensor(name.to_owned()))?;
        let (path, shard) = &self.files[*number];
        match shard.get() {
            Some(shard) => shard.tensor(name),
            // Two threads may both open it; the first one's is kept.
            None => {
                let opened = Shard::open(path)?;
                shard.get_or_init(|| opened).tensor(name)
            }
        }
    }
}

/// A name within the folder itself: an index must not reach elsewhere.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none()
}
