#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

mod attention;
mod block;
pub mod cache;
pub mod config;
pub mod digest;
pub mod ends;
pub mod error;
pub mod exact;
pub mod hidden;
mod linear;
pub mod manifest;
mod norm;
mod rope;
pub mod sampling;
pub mod span;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokenizer;
pub mod weights;

pub use cache::KvCache;
pub use config::{Architecture, ConfigError, ModelConfig, RopeScaling};
pub use digest::EndsDigests;
pub use ends::{CpuEnds, Ends};
pub use error::EngineError;
pub use exact::{ExactCache, ExactEnds, ExactOptions, ExactSpan};
pub use hidden::HiddenStates;
pub use manifest::ManifestError;
pub use sampling::{Sampling, SamplingError};
#[cfg(feature = "cuda")]
pub use span::CudaSpan;
pub use span::{CpuSpan, Span};
pub use tokenizer::chat::{ChatMessage, Role};
pub use tokenizer::detokenize::Detokenizer;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use weights::model::Model;
pub use weights::WeightsError;

/// The backends and their devices, so that users of this crate need no edge to Burn.
pub mod backend {
    pub use burn::backend::flex::FlexDevice;
    pub use burn::backend::Flex;
    #[cfg(feature = "cuda")]
    pub use burn::backend::{cuda::CudaDevice, Cuda};
    pub use burn::tensor::backend::Backend;
}
