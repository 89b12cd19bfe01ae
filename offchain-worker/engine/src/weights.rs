//! Weight files: where a tensor is, what shape and format it has, and how its rows become f32.
//!
//! A file is never trusted: every length and offset is checked against the size of the file before
//! anything is allocated, and a bad file gives a [`WeightsError`], never a panic. Bytes are read at
//! positions, when they are asked for, so that opening a model is cheap and a server reads the
//! tensors of its span only.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;

pub(crate) mod dtype;
pub(crate) mod file;
pub(crate) mod gguf;
pub mod model;
pub(crate) mod names;
pub(crate) mod safetensors;
pub(crate) mod source;

/// Why a weights artefact can't be used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The operating system could not open or read a file.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is neither a GGUF file nor a folder in the Hugging Face layout.
    #[error(
        "{} is no model: give a .gguf file, or a folder with config.json and safetensors",
        path.display()
    )]
    NotAModel {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file ends before what it announces.
    #[error("{} is truncated: {what} ends at byte {end} of {len}; fetch it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What reaches beyond the end.
        what: String,
        /// Where that would end.
        end: u64,
        /// Size of the file.
        len: u64,
    },
    /// The file's structure is broken.
    #[error("{} is corrupt: {what}; fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A sound file that uses something the engine doesn't read.
    #[error("{} can't be read by this engine: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it uses.
        what: String,
    },
    /// The shape of the model can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor that the configuration calls for is absent.
    #[error("the model lacks the tensor {0}")]
    MissingTensor(String),
    /// A tensor has another shape than the configuration calls for.
    #[error("the tensor {name} has shape {found:?}; the configuration calls for {expected:?}")]
    WrongShape {
        /// Canonical name of the tensor.
        name: String,
        /// Shape by the configuration, outermost dimension first.
        expected: Vec<u64>,
        /// Shape in the file.
        found: Vec<u64>,
    },
    /// A block that the model doesn't have.
    #[error("there is no block {block}: the model has blocks 0 to {}", blocks.saturating_sub(1))]
    NoSuchBlock {
        /// The block asked for.
        block: usize,
        /// How many the model has.
        blocks: usize,
    },
}

impl WeightsError {
    /// Is the artefact itself broken, so that fetching it again may help? The other errors are a
    /// wrong path, an unsupported model, or the machine's.
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. }
                | Self::Corrupt { .. }
                | Self::MissingTensor(_)
                | Self::WrongShape { .. }
        )
    }
}
