//! What a subnet serves: the model's shape, the digests of its weights, and how it is computed.
//!
//! No floats enter the runtime: constants of the architecture are integers in a named unit.

use crate::{
    hash::{hash_of, merkle_root, Digest},
    money::Balance,
};
use alloc::vec::Vec;
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::fmt;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Most blocks a model may have.
pub const MAX_BLOCKS: u32 = 256;
/// Most numeric profiles a subnet may accept.
pub const MAX_PROFILES: u32 = 8;

/// Bytes of at most `N`.
pub type BoundedBytes<const N: u32> = BoundedVec<u8, ConstU32<N>>;

macro_rules! wire {
    ($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, DecodeWithMemTracking,
            MaxEncodedLen, TypeInfo, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($body)* }
    };
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen,
            TypeInfo, Serialize, Deserialize,
        )]
        pub struct $name { $($body)* }
    };
}

wire! {
    /// The family of the architecture, as Hugging Face names it.
    pub enum Architecture {
        /// `LlamaForCausalLM`: Llama 2 and 3, SmolLM2, TinyLlama.
        #[codec(index = 0)]
        Llama,
        /// `Qwen2ForCausalLM`: as Llama, with biases on q, k and v.
        #[codec(index = 1)]
        Qwen2,
    }
}

wire! {
    /// Storage or compute type of numbers.
    pub enum DType {
        /// IEEE single precision.
        #[codec(index = 0)]
        F32,
        /// IEEE half precision.
        #[codec(index = 1)]
        F16,
        /// Brain float.
        #[codec(index = 2)]
        Bf16,
        /// GGUF's 8-bit blocks of 32.
        #[codec(index = 3)]
        Q8_0,
        /// GGUF's 4-bit blocks of 32, scale only.
        #[codec(index = 4)]
        Q4_0,
        /// GGUF's 4-bit blocks of 32, scale and minimum.
        #[codec(index = 5)]
        Q4_1,
        /// A file that mixes several types, such as GGUF's K-quants.
        #[codec(index = 6)]
        Mixed,
    }
}

wire! {
    /// The family of kernels that computes a span. Two servers of one family and the same other
    /// fields of the profile are comparable.
    pub enum Kernel {
        /// Burn's flex backend on a CPU, in f32: comparable within a tolerance.
        #[codec(index = 0)]
        FlexF32,
        /// The reproducible CPU kernels, version 1: comparable bit by bit.
        #[codec(index = 1)]
        ReproducibleV1,
        /// Burn's CUDA backend: comparable within a tolerance.
        #[codec(index = 2)]
        Cuda,
    }
}

impl Kernel {
    /// Do two honest servers of this family give the same bits?
    pub fn is_exact(&self) -> bool {
        matches!(self, Kernel::ReproducibleV1)
    }
}

wire! {
    /// How a server computes: part of every receipt that it signs.
    pub struct NumericProfile {
        /// Type in which the weights are stored.
        pub weights: DType,
        /// Type of the activations that cross a span boundary.
        pub activations: DType,
        /// Type of the cached keys and values.
        pub kv: DType,
        /// Family of kernels.
        pub kernel: Kernel,
    }
}

wire! {
    /// Llama 3's frequency-dependent scaling of rotary embeddings.
    pub struct RopeScaling {
        /// `factor`, in thousandths.
        pub factor_milli: u32,
        /// `low_freq_factor`, in thousandths.
        pub low_freq_factor_milli: u32,
        /// `high_freq_factor`, in thousandths.
        pub high_freq_factor_milli: u32,
        /// `original_max_position_embeddings`.
        pub original_context: u32,
    }
}

wire! {
    /// Shape of the transformer, as in Hugging Face's `config.json`.
    pub struct ModelConfig {
        /// Family.
        pub architecture: Architecture,
        /// Number of transformer blocks.
        pub blocks: u16,
        /// Width of the residual stream.
        pub hidden_size: u32,
        /// Width of the feed-forward layer.
        pub intermediate_size: u32,
        /// Query heads.
        pub heads: u16,
        /// Key and value heads; divides `heads`.
        pub kv_heads: u16,
        /// Width of a head.
        pub head_dim: u16,
        /// Rows of the embedding.
        pub vocab_size: u32,
        /// Most positions of a sequence.
        pub context_length: u32,
        /// Is the LM head the embedding?
        pub tied_embeddings: bool,
        /// `rms_norm_eps` in units of 10^-12.
        pub rms_norm_eps_pico: u64,
        /// `rope_theta` in thousandths.
        pub rope_theta_milli: u64,
        /// Llama 3's scaling, where the model has it.
        pub rope_scaling: Option<RopeScaling>,
    }
}

wire! {
    /// What a subnet's creator asks of its servers.
    pub struct Terms {
        /// Self-bond a server needs, where it is more than the chain's minimum.
        pub min_self_bond: Balance,
        /// Most nodes on the roster; at most the chain's limit.
        pub max_nodes: u32,
    }
}

wire! {
    /// A model as its creator registers it. [`Manifest::validate`] says whether it can be served.
    pub struct Manifest {
        /// Name for people, UTF-8.
        pub name: BoundedBytes<64>,
        /// Shape of the model.
        pub config: ModelConfig,
        /// Digest of each block's tensors, as stored.
        pub block_digests: BoundedVec<Digest, ConstU32<MAX_BLOCKS>>,
        /// Digest of the token embedding.
        pub embedding_digest: Digest,
        /// Digest of the final norm and the LM head.
        pub head_digest: Digest,
        /// Must equal [`Manifest::computed_weights_root`].
        pub weights_root: Digest,
        /// Digest of the tokenizer.
        pub tokenizer_digest: Digest,
        /// Profiles that count as an honest answer; at least one.
        pub profiles: BoundedVec<NumericProfile, ConstU32<MAX_PROFILES>>,
        /// SPDX expression of the weights' licence.
        pub license: BoundedBytes<64>,
        /// Where the weights are to be had.
        pub uri: BoundedBytes<256>,
        /// What the creator asks of servers.
        pub terms: Terms,
    }
}

/// Why a manifest can't be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// A size is zero where it can't be.
    ZeroSize,
    /// `heads` is not a multiple of `kv_heads`.
    HeadsNotGrouped,
    /// `head_dim` is odd, so rotary embeddings can't pair its entries.
    OddHeadDim,
    /// More blocks than [`MAX_BLOCKS`].
    TooManyBlocks,
    /// A size lies beyond what any server could hold.
    SizeOutOfRange,
    /// Not one digest per block.
    DigestCount,
    /// `weights_root` is not the root of the digests.
    WeightsRoot,
    /// No numeric profile.
    NoProfile,
    /// A numeric profile stands twice.
    DuplicateProfile,
    /// The name is empty or not UTF-8.
    BadName,
    /// Rotary embedding constants can't be used.
    BadRope,
    /// The terms allow no node.
    NoNodes,
}

impl ManifestError {
    /// What is wrong, and what to do.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ZeroSize => "a size of the model is zero",
            Self::HeadsNotGrouped => "the number of heads is not a multiple of the kv heads",
            Self::OddHeadDim => "the head dimension is odd; rotary embeddings need pairs",
            Self::TooManyBlocks => "the model has more than 256 blocks",
            Self::SizeOutOfRange => "a size of the model is beyond what can be served",
            Self::DigestCount => "there must be one digest for each block",
            Self::WeightsRoot => "the weights root is not the root of the given digests",
            Self::NoProfile => "at least one numeric profile is needed",
            Self::DuplicateProfile => "a numeric profile stands twice",
            Self::BadName => "the name must be 1 to 64 bytes of UTF-8",
            Self::BadRope => "the rotary embedding's constants can't be used",
            Self::NoNodes => "the terms must allow at least one node",
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ModelConfig {
    /// Parameters of a block: of its projections and of its feed-forward layer, which is gated. What norms
    /// and biases add is too little to be paid for.
    pub fn block_parameters(&self) -> u64 {
        let (hidden, head) = (u64::from(self.hidden_size), u64::from(self.head_dim));
        let queries = head.saturating_mul(self.heads.into());
        let keys = head.saturating_mul(self.kv_heads.into());
        // Queries and output, keys and values; gate, up and down.
        let attention = queries.saturating_add(keys).saturating_mul(2);
        let feed_forward = u64::from(self.intermediate_size).saturating_mul(3);
        hidden.saturating_mul(attention.saturating_add(feed_forward))
    }

    /// Can a model have this shape?
    pub fn validate(&self) -> Result<(), ManifestError> {
        let sizes = [
            self.hidden_size,
            self.intermediate_size,
            self.vocab_size,
            self.context_length,
            u32::from(self.blocks),
            u32::from(self.heads),
            u32::from(self.kv_heads),
            u32::from(self.head_dim),
        ];
        if sizes.contains(&0) || self.rms_norm_eps_pico == 0 {
            return Err(ManifestError::ZeroSize);
        }
        if u32::from(self.blocks) > MAX_BLOCKS {
            return Err(ManifestError::TooManyBlocks);
        }
        // 2^20 is several times the widest open model.
        if sizes[..2].iter().any(|size| *size > 1 << 20)
            || self.vocab_size > 1 << 24
            || self.context_length > 1 << 24
        {
            return Err(ManifestError::SizeOutOfRange);
        }
        if self.heads.checked_rem(self.kv_heads) != Some(0) {
            return Err(ManifestError::HeadsNotGrouped);
        }
        if self.head_dim.checked_rem(2) != Some(0) {
            return Err(ManifestError::OddHeadDim);
        }
        let bad_scaling = |scaling: &RopeScaling| {
            scaling.factor_milli == 0
                || scaling.original_context == 0
                || scaling.low_freq_factor_milli == 0
                || scaling.high_freq_factor_milli <= scaling.low_freq_factor_milli
        };
        if self.rope_theta_milli == 0 || self.rope_scaling.as_ref().is_some_and(bad_scaling) {
            return Err(ManifestError::BadRope);
        }
        Ok(())
    }
}

impl Manifest {
    /// Merkle root over the embedding, every block in order, and the head.
    pub fn computed_weights_root(&self) -> Digest {
        let mut leaves: Vec<Digest> = Vec::new();
        leaves.push(self.embedding_digest);
        leaves.extend(self.block_digests.iter().copied());
        leaves.push(self.head_digest);
        merkle_root(&leaves)
    }

    /// Can this manifest be served? The chain refuses it otherwise.
    pub fn validate(&self) -> Result<(), ManifestError> {
        self.config.validate()?;
        if self.name.is_empty() || core::str::from_utf8(&self.name).is_err() {
            return Err(ManifestError::BadName);
        }
        if self.block_digests.len() != usize::from(self.config.blocks) {
            return Err(ManifestError::DigestCount);
        }
        if self.weights_root != self.computed_weights_root() {
            return Err(ManifestError::WeightsRoot);
        }
        if self.profiles.is_empty() {
            return Err(ManifestError::NoProfile);
        }
        let mut rest = self.profiles.as_slice();
        while let Some((first, others)) = rest.split_first() {
            if others.contains(first) {
                return Err(ManifestError::DuplicateProfile);
            }
            rest = others;
        }
        if self.terms.max_nodes == 0 {
            return Err(ManifestError::NoNodes);
        }
        Ok(())
    }

    /// Digest of the whole manifest.
    pub fn digest(&self) -> Digest {
        hash_of(b"quipu/manifest", self)
    }
}

impl NumericProfile {
    /// Digest of the profile, as it enters receipts.
    pub fn digest(&self) -> Digest {
        hash_of(b"quipu/profile", self)
    }
}

#[cfg(test)]
mod tests;
