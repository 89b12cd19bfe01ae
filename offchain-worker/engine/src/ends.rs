//! What a client keeps: the token embedding, the final norm and the LM head.

use burn::backend::Flex;
use burn::tensor::backend::Backend;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::hidden::{self, HiddenStates};
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::weights::model::Model;
use crate::weights::names;
use crate::weights::source::StoredTensor;

/// Both ends of a model. The head is loaded; rows of the embedding are read when they are needed.
#[derive(Debug)]
pub struct Ends<B: Backend> {
    config: ModelConfig,
    embedding: StoredTensor,
    norm: RmsNorm<B>,
    head: Linear<B>,
    device: B::Device,
}

/// The ends on the CPU.
pub type CpuEnds = Ends<Flex>;

impl<B: Backend> Ends<B> {
    /// Reads final norm and head from `model`, as f32.
    pub fn load(model: &Model, device: &B::Device) -> Result<Self, EngineError> {
        Ok(Self {
            config: model.config().clone(),
            embedding: model.embedding()?,
            norm: RmsNorm::load(model, names::FINAL_NORM, device)?,
            head: Linear::load(&model.head()?, device)?,
            device: device.clone(),
        })
    }

    /// The embeddings of `tokens`: what goes into block 0.
    pub fn embed(&self, tokens: &[u32]) -> Result<HiddenStates, EngineError> {
        embed(&self.config, &self.embedding, tokens)
    }

    /// The logits of the token after the last row: `vocab_size` numbers.
    pub fn logits(&self, hidden: &HiddenStates) -> Result<Vec<f32>, EngineError> {
        let width = self.config.hidden_size;
        hidden.validate(width)?;
        let last = hidden.data[hidden.data.len() - width..].to_vec();
        self.head_of(last)
    }

    /// The logits after every row: `tokens × vocab_size` numbers. For checking a whole answer.
    pub fn all_logits(&self, hidden: &HiddenStates) -> Result<Vec<f32>, EngineError> {
        hidden.validate(self.config.hidden_size)?;
        self.head_of(hidden.data.clone())
    }

    fn head_of(&self, rows: Vec<f32>) -> Result<Vec<f32>, EngineError> {
        let rows = hidden::to_tensor(rows, self.config.hidden_size, &self.device);
        hidden::to_finite_vec(self.head.forward(self.norm.forward(rows)))
    }
}

/// The rows of `embedding` for `tokens`.
pub(crate) fn embed(
    config: &ModelConfig,
    embedding: &StoredTensor,
    tokens: &[u32],
) -> Result<HiddenStates, EngineError> {
    if tokens.is_empty() {
        return Err(EngineError::NoTokens);
    }
    let vocab_size = config.vocab_size;
    if let Some(id) = tokens.iter().find(|id| **id as usize >= vocab_size) {
        return Err(EngineError::UnknownToken {
            id: *id,
            vocab_size,
        });
    }
    let mut data = Vec::with_capacity(tokens.len() * config.hidden_size);
    for id in tokens {
        let row = *id as usize;
        data.extend(embedding.rows(row..row + 1)?);
    }
    Ok(HiddenStates {
        data,
        tokens: tokens.len(),
    })
}
