//! Embedding, final norm and LM head on the reproducible kernels.

use std::sync::{Arc, Mutex, PoisonError};

use quipu_kernels::{rms_norm, Kernels, QuantizedRows};

use super::linear::Linear;
use super::ExactOptions;
use crate::config::ModelConfig;
use crate::ends;
use crate::error::EngineError;
use crate::hidden::HiddenStates;
use crate::weights::model::Model;
use crate::weights::names;
use crate::weights::source::StoredTensor;

/// Both ends of a model; the head is as it is stored, and computes the same bits on every machine.
/// Rows of the embedding are read when they are needed.
#[derive(Debug)]
pub struct ExactEnds {
    config: ModelConfig,
    embedding: StoredTensor,
    norm: Vec<f32>,
    head: Linear,
    kernels: Arc<Kernels>,
    /// Memory that no call uses now: normed rows, and the same quantised.
    spare: Mutex<Vec<(Vec<f32>, QuantizedRows)>>,
}

impl ExactEnds {
    /// Reads final norm and head from `model`.
    pub fn load(model: &Model, options: ExactOptions) -> Result<Self, EngineError> {
        let kernels = Kernels::new(options.isa, options.threads)?;
        Self::load_on(model, Arc::new(kernels))
    }

    /// As [`Self::load`], on kernels that others share.
    pub fn load_on(model: &Model, kernels: Arc<Kernels>) -> Result<Self, EngineError> {
        let config = model.config();
        Ok(Self {
            config: config.clone(),
            embedding: model.embedding()?,
            norm: model
                .tensor(names::FINAL_NORM, &[config.hidden_size])?
                .load()?,
            head: Linear::single(model.head()?, config.hidden_size)?,
            kernels,
            spare: Mutex::default(),
        })
    }

    /// Bytes of the loaded weights.
    pub fn weight_bytes(&self) -> usize {
        self.head.bytes() + self.norm.len() * size_of::<f32>()
    }

    /// The embeddings of `tokens`: what goes into block 0. The bits of
    /// [`Ends::embed`](crate::Ends::embed).
    pub fn embed(&self, tokens: &[u32]) -> Result<HiddenStates, EngineError> {
        ends::embed(&self.config, &self.embedding, tokens)
    }

    /// The logits of the token after the last row: `vocab_size` numbers.
    pub fn logits(&self, hidden: &HiddenStates) -> Result<Vec<f32>, EngineError> {
        let width = self.config.hidden_size;
        hidden.validate(width)?;
        let mut logits = vec![0.0; self.config.vocab_size];
        self.logits_into(&hidden.data[hidden.data.len() - width..], &mut logits)?;
        Ok(logits)
    }

    /// The logits after every row: `tokens × vocab_size` numbers. For checking a whole answer.
    pub fn all_logits(&self, hidden: &HiddenStates) -> Result<Vec<f32>, EngineError> {
        hidden.validate(self.config.hidden_size)?;
        let mut logits = vec![0.0; hidden.tokens * self.config.vocab_size];
        self.logits_into(&hidden.data, &mut logits)?;
        Ok(logits)
    }

    /// The logits after each of `rows`, `[tokens, hidden]`, into `out`, `[tokens, vocab_size]`. Rows may
    /// be of different sequences; each gets the bits that it would get alone. Allocates nothing
    /// after the first call of a size.
    pub fn logits_into(&self, rows: &[f32], out: &mut [f32]) -> Result<(), EngineError> {
        let (width, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let tokens = rows.len().div_ceil(width);
        for (found, expected) in [(rows.len(), tokens * width), (out.len(), tokens * vocab)] {
            if found != expected {
                return Err(EngineError::WrongSize {
                    tokens,
                    expected,
                    found,
                });
            }
        }
        if let Some(at) = rows.iter().position(|x| !x.is_finite()) {
            return Err(EngineError::NotFinite { token: at / width });
        }
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = spare().pop();
        let (mut normed, mut quantized) = taken.unwrap_or_default();
        normed.resize(rows.len(), 0.0);
        let kernels = &*self.kernels;
        let epsilon = self.config.rms_norm_eps as f32;
        kernels.for_each_row([(&mut normed[..], width)], |row, [normed]| {
            let row = &rows[row * width..][..width];
            rms_norm(kernels, row, &self.norm, epsilon, normed);
        });
        let computed = self.head.forward(kernels, &normed, &mut quantized, out);
        spare().push((normed, quantized));
        computed.map_err(|error| EngineError::Backend(error.to_string()))?;
        match out.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(EngineError::Diverged { token: at / vocab }),
            None => Ok(()),
        }
    }
}
