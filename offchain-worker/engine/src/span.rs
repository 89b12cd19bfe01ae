//! Consecutive blocks of a model: what one server holds.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::backend::Backend;

use crate::attention::{causal_mask, Step};
use crate::block::Block;
use crate::cache::KvCache;
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::hidden::{self, HiddenStates};
use crate::rope::Rope;
use crate::weights::model::Model;

/// Tokens that pass through a span at a time. Longer inputs are cut into pieces of this size, which
/// bounds the scores of attention to `heads × 128 × positions` numbers. The pieces are counted from
/// the start of the input, so that every span of a chain cuts the same input alike.
const PIECE: usize = 128;

/// Loaded consecutive blocks on a device.
///
/// Computing is synchronous and takes `&self`: share a span between threads, with a cache for each
/// sequence.
#[derive(Debug)]
pub struct Span<B: Backend> {
    config: ModelConfig,
    blocks: Range<usize>,
    layers: Vec<Block<B>>,
    rope: Rope,
    device: B::Device,
}

/// A span on the CPU.
pub type CpuSpan = Span<Flex>;

/// A span on a CUDA device.
#[cfg(feature = "cuda")]
pub type CudaSpan = Span<burn::backend::Cuda>;

impl<B: Backend> Span<B> {
    /// Reads the tensors of `blocks` from `model` and puts them on `device`, as f32.
    pub fn load(
        model: &Model,
        blocks: Range<usize>,
        device: &B::Device,
    ) -> Result<Self, EngineError> {
        let config = model.config();
        if blocks.is_empty() || blocks.end > config.blocks {
            return Err(EngineError::BadSpan {
                blocks,
                model_blocks: config.blocks,
            });
        }
        let layers = blocks
            .clone()
            .map(|block| Block::load(model, block, device))
            .collect::<Result<_, _>>()?;
        let rope = Rope::new(config);
        Ok(Self {
            config: config.clone(),
            blocks,
            layers,
            rope,
            device: device.clone(),
        })
    }

    /// The blocks it holds.
    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// Shape of the model that the blocks belong to.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of the loaded weights.
    pub fn weight_bytes(&self) -> usize {
        self.layers.len() * self.config.block_parameters() * size_of::<f32>()
    }

    /// An empty cache for one sequence of at most `capacity_tokens` tokens, or of the model's
    /// context if that is less.
    pub fn new_cache(&self, capacity_tokens: usize) -> KvCache<B> {
        KvCache::new(
            &self.config,
            self.blocks.clone(),
            capacity_tokens,
            &self.device,
        )
    }

    /// Passes tokens through the blocks: `[tokens, hidden]` to the same shape. `position` is that
    /// of the first token and must be the length of the cache, to which the tokens are added. To go
    /// back, truncate the cache first. After an error the cache holds what it held before.
    pub fn forward(
        &self,
        cache: &mut KvCache<B>,
        hidden: HiddenStates,
        position: usize,
    ) -> Result<HiddenStates, EngineError> {
        let width = self.config.hidden_size;
        hidden.validate(width)?;
        if cache.blocks() != self.blocks {
            return Err(EngineError::ForeignCache {
                blocks: self.blocks(),
            });
        }
        if position != cache.len() {
            return Err(EngineError::PositionGap {
                position,
                cached: cache.len(),
            });
        }
        let end = position.saturating_add(hidden.tokens);
        if end > self.config.context_length {
            return Err(EngineError::ContextExceeded {
                end,
                context: self.config.context_length,
            });
        }
        if end > cache.capacity() {
            return Err(EngineError::CacheFull {
                end,
                capacity: cache.capacity(),
            });
        }

        let tokens = hidden.tokens;
        if tokens <= PIECE {
            let data = self.piece(cache, hidden.data, position)?;
            cache.commit(end);
            return Ok(HiddenStates { data, tokens });
        }
        let mut data = Vec::with_capacity(hidden.data.len());
        let mut at = position;
        for rows in hidden.data.chunks(PIECE * width) {
            data.extend(self.piece(cache, rows.to_vec(), at)?);
            at += rows.len() / width;
        }
        // Until here the cache counts none of the tokens: an error above leaves it as it was.
        cache.commit(end);
        Ok(HiddenStates { data, tokens })
    }

    /// Passes at most [`PIECE`] tokens through all blocks.
    fn piece(
        &self,
        cache: &mut KvCache<B>,
        rows: Vec<f32>,
        position: usize,
    ) -> Result<Vec<f32>, EngineError> {
        let tokens = rows.len() / self.config.hidden_size;
        let step = Step {
            position,
            rotation: self.rope.rotation(position, tokens, &self.device),
            mask: causal_mask(position, tokens, &self.device),
        };
        let mut hidden = hidden::to_tensor(rows, self.config.hidden_size, &self.device);
        for (index, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden, &step, cache.part(index));
        }
        hidden::to_finite_vec(hidden)
    }
}

#[cfg(test)]
mod tests;
