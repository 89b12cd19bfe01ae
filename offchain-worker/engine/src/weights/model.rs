//! An opened model: configuration, tensors, tokenizer.

use std::fmt;
use std::path::{Path, PathBuf};

use blake2::digest::Digest as _;
use quipu_primitives::DType;

use super::file::DataFile;
use super::gguf::Gguf;
use super::names;
use super::safetensors::{Shards, INDEX, SINGLE};
use super::source::{StoredTensor, TensorSource};
use super::WeightsError;
use crate::config::{self, ConfigError, ModelConfig};
use crate::digest::{self, EndsDigests, Hasher};
use crate::tokenizer::{self, Tokenizer, TokenizerError};

/// Largest JSON file of a model folder that is read: tokenizers have tens of MiB.
const MAX_JSON: u64 = 256 << 20;

/// An opened weights artefact: a GGUF file, or a folder in the Hugging Face layout. Opening reads
/// headers only; tensors are read when a [`crate::Span`] or [`crate::Ends`] loads them.
pub struct Model {
    path: PathBuf,
    folder: PathBuf,
    config: ModelConfig,
    kind: Kind,
}

enum Kind {
    Gguf(Box<Gguf>),
    SafeTensors(Shards),
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("path", &self.path)
            .field("config", &self.config)
            .finish()
    }
}

impl Model {
    /// Opens `path`: a GGUF file; a folder with `config.json` and `model.safetensors` or
    /// `model.safetensors.index.json`; or a folder with a single GGUF file.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let failed = |source| WeightsError::Io {
            path: path.to_owned(),
            source,
        };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return Self::open_gguf(path);
        }
        if path.join("config.json").is_file() {
            return Self::open_folder(path);
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "gguf")
            {
                files.push(file);
            }
        }
        match files.as_slice() {
            [file] => Self::open_gguf(file),
            _ => Err(WeightsError::NotAModel {
                path: path.to_owned(),
            }),
        }
    }

    fn open_gguf(path: &Path) -> Result<Self, WeightsError> {
        let gguf = Gguf::open(path)?;
        let shape_of = |name| gguf.tensor(name).ok().map(|tensor| tensor.info.shape);
        let divisors = match gguf.tensor(names::ROPE_DIVISORS) {
            Ok(tensor) => Some(tensor.load()?),
            Err(_) => None,
        };
        let facts = config::gguf::TensorFacts {
            embedding_rows: shape_of(names::EMBEDDING).map(|shape| shape[0] as usize),
            has_head: shape_of(names::HEAD).is_some(),
            rope_divisors: divisors,
        };
        let config = config::gguf::parse(gguf.metadata(), facts)?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let model = Self {
            path: path.to_owned(),
            folder,
            config,
            kind: Kind::Gguf(Box::new(gguf)),
        };
        model.refuse_unknown_tensors()?;
        Ok(model)
    }

    fn open_folder(path: &Path) -> Result<Self, WeightsError> {
        let json = read_json(&path.join("config.json"))?;
        let mut config = config::hf::parse(&json)?;
        let shards = if path.join(INDEX).is_file() {
            Shards::indexed(&path.join(INDEX))?
        } else if path.join(SINGLE).is_file() {
            Shards::single(path.join(SINGLE))?
        } else {
            return Err(WeightsError::NotAModel {
                path: path.to_owned(),
            });
        };
        // Checkpoints that tie the head often leave the flag out, and leave the tensor out too.
        if !shards.names().contains(&names::HEAD) {
            config.tied_embeddings = true;
        }
        let (path, folder) = (path.to_owned(), path.to_owned());
        let model = Self {
            path,
            folder,
            config,
            kind: Kind::SafeTensors(shards),
        };
        model.refuse_unknown_tensors()?;
        Ok(model)
    }

    /// A tensor in a block that the engine doesn't know would change the answers.
    fn refuse_unknown_tensors(&self) -> Result<(), WeightsError> {
        let mut known: Vec<String> = Vec::new();
        for block in 0..self.config.blocks {
            known.extend(
                names::block_tensors(&self.config, block)
                    .into_iter()
                    .map(|(n, _)| n),
            );
        }
        known.sort();
        let is_known = |name: &str| {
            known
                .binary_search_by(|known| known.as_str().cmp(name))
                .is_ok()
        };
        let names = self.source().names();
        match names
            .into_iter()
            .find(|name| names::computes(name) && !is_known(name))
        {
            None => Ok(()),
            Some(name) => Err(ConfigError::Unsupported(format!("the tensor {name}")).into()),
        }
    }

    /// The path it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes that the tensors of `block` take in the file.
    pub fn stored_block_bytes(&self, block: usize) -> Result<u64, WeightsError> {
        let mut bytes = 0;
        for (name, shape) in self.block_tensors(block)? {
            bytes += self.tensor(&name, &shape)?.info.len;
        }
        Ok(bytes)
    }

    /// Type in which the matrices of the blocks are stored: `Mixed` where they differ, and where
    /// manifests have no name for it. Norms and biases don't count: quantised files leave them in
    /// f32. Reads headers only.
    pub fn weights_type(&self) -> Result<DType, WeightsError> {
        let mut found = None;
        for block in 0..self.config.blocks {
            for (name, shape) in self.block_tensors(block)? {
                if shape.len() < 2 {
                    continue;
                }
                let this = self.tensor(&name, &shape)?.format()?.in_manifests();
                if *found.get_or_insert(this) != this {
                    return Ok(DType::Mixed);
                }
            }
        }
        Ok(found.unwrap_or(DType::Mixed))
    }

    /// Digest of a block's tensors as stored; the crate's documentation says over what. Reads the
    /// whole block.
    pub fn block_digest(&self, block: usize) -> Result<[u8; 32], WeightsError> {
        digest::of_tensors(self.source(), self.block_tensors(block)?)
    }

    /// Digests of the embedding, and of the final norm with the head.
    pub fn ends_digests(&self) -> Result<EndsDigests, WeightsError> {
        let embedding = || (names::EMBEDDING.to_owned(), self.embedding_shape());
        let head = if self.config.tied_embeddings {
            embedding()
        } else {
            (names::HEAD.to_owned(), self.embedding_shape())
        };
        let norm = (names::FINAL_NORM.to_owned(), vec![self.config.hidden_size]);
        Ok(EndsDigests {
            embedding: digest::of_tensors(self.source(), vec![embedding()])?,
            head: digest::of_tensors(self.source(), vec![head, norm])?,
        })
    }

    /// The tokenizer: from `tokenizer.json` beside the weights if it is there, otherwise from the
    /// vocabulary within the GGUF file.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        if let Some(json) = self.tokenizer_json()? {
            return tokenizer::hf::load(&self.folder, &json);
        }
        match &self.kind {
            Kind::Gguf(gguf) => tokenizer::gguf::load(gguf.metadata()),
            Kind::SafeTensors(_) => Err(TokenizerError::Missing(self.folder.clone())),
        }
    }

    /// Digest of what [`Self::tokenizer`] is made of: the bytes of `tokenizer.json`, or the
    /// `tokenizer.*` entries of the GGUF metadata.
    pub fn tokenizer_digest(&self) -> Result<[u8; 32], TokenizerError> {
        let mut hasher = Hasher::new();
        if let Some(json) = self.tokenizer_json()? {
            hasher.update(b"quipu/tokenizer.json");
            hasher.update(&json);
            return Ok(hasher.finalize().into());
        }
        let Kind::Gguf(gguf) = &self.kind else {
            return Err(TokenizerError::Missing(self.folder.clone()));
        };
        hasher.update(b"quipu/tokenizer.gguf");
        for entry in gguf.metadata().raw("tokenizer.") {
            let (key, kind, bytes) = entry?;
            hasher.update((key.len() as u64).to_le_bytes());
            hasher.update(key);
            hasher.update(kind.to_le_bytes());
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hasher.finalize().into())
    }

    fn tokenizer_json(&self) -> Result<Option<Vec<u8>>, WeightsError> {
        let path = self.folder.join("tokenizer.json");
        path.is_file().then(|| read_json(&path)).transpose()
    }

    fn source(&self) -> &dyn TensorSource {
        match &self.kind {
            Kind::Gguf(gguf) => gguf.as_ref(),
            Kind::SafeTensors(shards) => shards,
        }
    }

    fn embedding_shape(&self) -> Vec<usize> {
        vec![self.config.vocab_size, self.config.hidden_size]
    }

    fn block_tensors(&self, block: usize) -> Result<Vec<(String, Vec<usize>)>, WeightsError> {
        let blocks = self.config.blocks;
        if block >= blocks {
            return Err(WeightsError::NoSuchBlock { block, blocks });
        }
        Ok(names::block_tensors(&self.config, block))
    }

    /// A tensor by its canonical name, in the shape that the configuration calls for.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<StoredTensor, WeightsError> {
        self.source().tensor(name)?.expect_shape(shape)
    }

    /// The token embedding, `[vocab, hidden]`.
    pub(crate) fn embedding(&self) -> Result<StoredTensor, WeightsError> {
        self.tensor(names::EMBEDDING, &self.embedding_shape())
    }

    /// The LM head, `[vocab, hidden]`; the embedding where the two are tied.
    pub(crate) fn head(&self) -> Result<StoredTensor, WeightsError> {
        if self.config.tied_embeddings {
            self.embedding()
        } else {
            self.tensor(names::HEAD, &self.embedding_shape())
        }
    }
}

/// A whole JSON file, of a bounded size.
pub(crate) fn read_json(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let file = DataFile::open(path)?;
    if file.len() > MAX_JSON {
        return Err(file.corrupt(format!("{} bytes of JSON", file.len())));
    }
    file.read_vec(0, file.len(), "the file")
}

#[cfg(test)]
mod tests;
