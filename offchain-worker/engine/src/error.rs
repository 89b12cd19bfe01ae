//! Errors of computing, as opposed to those of reading weights.

use std::ops::Range;

use thiserror::Error;

use crate::weights::WeightsError;

/// Why a computation was refused or failed. A cache that was passed in is as it was before.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The span is empty or reaches beyond the model.
    #[error(
        "blocks {}..{} can't be loaded: the model has blocks 0..{model_blocks}",
        blocks.start,
        blocks.end
    )]
    BadSpan {
        /// The blocks asked for.
        blocks: Range<usize>,
        /// How many the model has.
        model_blocks: usize,
    },
    /// Hidden states of another size than `tokens × width`.
    #[error("hidden states of {tokens} tokens must be {expected} numbers, not {found}")]
    WrongSize {
        /// Tokens that were announced.
        tokens: usize,
        /// Numbers that so many tokens have in this model.
        expected: usize,
        /// Numbers that were given.
        found: usize,
    },
    /// No tokens at all.
    #[error("there must be at least one token")]
    NoTokens,
    /// A hidden state is infinite or not a number.
    #[error("the hidden state of token {token} is not finite")]
    NotFinite {
        /// Index of the token within the input.
        token: usize,
    },
    /// What came out is infinite or not a number: the input was far from anything the model gives,
    /// or the weights are.
    #[error("the result of token {token} is not finite")]
    Diverged {
        /// Index of the token within the input.
        token: usize,
    },
    /// The positions don't follow on those in the cache.
    #[error(
        "position {position} doesn't follow on the {cached} cached tokens; truncate the cache or \
         replay what is missing"
    )]
    PositionGap {
        /// Position of the first token given.
        position: usize,
        /// Tokens in the cache.
        cached: usize,
    },
    /// More positions than the model has.
    #[error("{end} tokens are beyond the model's context of {context}")]
    ContextExceeded {
        /// Tokens that there would be.
        end: usize,
        /// Most positions of the model.
        context: usize,
    },
    /// More positions than the cache was made for.
    #[error("{end} tokens don't fit a cache made for {capacity}")]
    CacheFull {
        /// Tokens that there would be.
        end: usize,
        /// Most positions of the cache.
        capacity: usize,
    },
    /// The span's memory for caches is promised to others.
    #[error("a cache of {wanted} pages doesn't fit the {free} that are free in this span")]
    CacheMemory {
        /// Pages that the cache would need.
        wanted: usize,
        /// Pages that are not promised.
        free: usize,
    },
    /// The cache was made for another span.
    #[error("the cache was made for another span than blocks {}..{}", blocks.start, blocks.end)]
    ForeignCache {
        /// Blocks of the span.
        blocks: Range<usize>,
    },
    /// A token outside the vocabulary.
    #[error("there is no token {id}: the vocabulary has {vocab_size}")]
    UnknownToken {
        /// The token.
        id: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// The instruction set that was asked for is not there.
    #[error(transparent)]
    Isa(#[from] quipu_kernels::IsaError),
    /// Weights could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The backend failed to give a result back.
    #[error("the tensor backend failed: {0}")]
    Backend(String),
}

impl EngineError {
    /// Is the call to blame, so that it fails on every machine with these weights? Otherwise it is
    /// this machine or its files.
    pub fn is_callers_fault(&self) -> bool {
        !matches!(
            self,
            Self::CacheMemory { .. } | Self::Isa(_) | Self::Weights(_) | Self::Backend(_)
        )
    }
}
