//! Shape of a model: what `config.json` and GGUF metadata say, in one type.

use thiserror::Error;

pub use quipu_primitives::Architecture;
use quipu_primitives::{ModelConfig as ManifestConfig, RopeScaling as ManifestRope};

pub(crate) mod gguf;
pub(crate) mod hf;

/// Largest width of a layer, rows of an embedding and positions that a configuration may name.
/// They bound every allocation that follows from a configuration.
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCAB: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 24;
const MAX_BLOCKS: usize = 256;

/// Llama 3's frequency-dependent scaling of rotary embeddings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeScaling {
    /// By how much low frequencies are divided.
    pub factor: f64,
    /// Wavelengths beyond `original_context / low_freq_factor` are divided in full.
    pub low_freq_factor: f64,
    /// Wavelengths below `original_context / high_freq_factor` are left alone.
    pub high_freq_factor: f64,
    /// Positions the model was first trained for.
    pub original_context: usize,
}

/// Shape of a transformer of the Llama family.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Family; decides whether q, k and v have biases.
    pub architecture: Architecture,
    /// Number of transformer blocks.
    pub blocks: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Most positions of a sequence.
    pub context_length: usize,
    /// Is the LM head the embedding?
    pub tied_embeddings: bool,
    /// Added to the mean square under the root of an RMS norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Llama 3's scaling, where the model has it.
    pub rope_scaling: Option<RopeScaling>,
}

/// Why a configuration can't be used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ConfigError {
    /// A field that every model has is absent.
    #[error("the configuration lacks `{0}`")]
    Missing(String),
    /// A field has another type than it should, or a value that no model can have.
    #[error("the configuration's `{field}` can't be {value}")]
    BadValue {
        /// Name of the field, as its file spells it.
        field: String,
        /// What stands there.
        value: String,
    },
    /// The model needs something that the engine doesn't compute.
    #[error("the engine can't run this model: {0}; it runs the Llama and Qwen2 families")]
    Unsupported(String),
    /// A number can't be written in the fixed-point units of an on-chain manifest.
    #[error("`{0}` can't be written in a manifest without changing it")]
    NotRepresentable(&'static str),
}

impl ConfigError {
    pub(crate) fn bad(field: impl Into<String>, value: impl ToString) -> Self {
        Self::BadValue {
            field: field.into(),
            value: value.to_string(),
        }
    }
}

impl ModelConfig {
    /// Can a model have this shape? Everything else in this crate relies on it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("blocks", self.blocks, MAX_BLOCKS),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("heads", self.heads, usize::from(u16::MAX)),
            ("kv_heads", self.kv_heads, usize::from(u16::MAX)),
            ("head_dim", self.head_dim, usize::from(u16::MAX)),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("context_length", self.context_length, MAX_CONTEXT),
        ];
        for (field, value, most) in sizes {
            if value == 0 || value > most {
                return Err(ConfigError::bad(field, value));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::bad("kv_heads", self.kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) || self.heads * self.head_dim > MAX_WIDTH {
            return Err(ConfigError::bad("head_dim", self.head_dim));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.rms_norm_eps) || self.rms_norm_eps > 1.0 {
            return Err(ConfigError::bad("rms_norm_eps", self.rms_norm_eps));
        }
        if !positive(self.rope_theta) {
            return Err(ConfigError::bad("rope_theta", self.rope_theta));
        }
        if let Some(scaling) = &self.rope_scaling {
            let usable = positive(scaling.factor)
                && positive(scaling.low_freq_factor)
                && scaling.high_freq_factor.is_finite()
                && scaling.high_freq_factor > scaling.low_freq_factor
                && scaling.original_context > 0;
            if !usable {
                return Err(ConfigError::bad("rope_scaling", format!("{scaling:?}")));
            }
        }
        Ok(())
    }

    /// Do q, k and v have biases?
    pub fn qkv_bias(&self) -> bool {
        self.architecture == Architecture::Qwen2
    }

    /// Columns of q: `heads × head_dim`.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Columns of k, and of v: `kv_heads × head_dim`.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Parameters of one block.
    pub fn block_parameters(&self) -> usize {
        let attention = 2 * self.hidden_size * (self.query_width() + self.kv_width());
        let feed_forward = 3 * self.hidden_size * self.intermediate_size;
        let biases = if self.qkv_bias() {
            self.query_width() + 2 * self.kv_width()
        } else {
            0
        };
        attention + feed_forward + biases + 2 * self.hidden_size
    }

    /// Bytes that one cached position takes in one block (keys and values, f32).
    pub fn kv_bytes_per_token_and_block(&self) -> usize {
        2 * self.kv_width() * size_of::<f32>()
    }
}

/// `value × unit` as an integer, if dividing again gives the same f32.
fn fixed(name: &'static str, value: f64, unit: f64) -> Result<u64, ConfigError> {
    let scaled = (value * unit).round();
    let fits = scaled >= 1.0 && scaled <= (1u64 << 53) as f64;
    if !fits || (scaled / unit) as f32 != value as f32 {
        return Err(ConfigError::NotRepresentable(name));
    }
    Ok(scaled as u64)
}

fn narrow<T: TryFrom<usize>>(name: &'static str, value: usize) -> Result<T, ConfigError> {
    T::try_from(value).map_err(|_| ConfigError::NotRepresentable(name))
}

impl TryFrom<&ModelConfig> for ManifestConfig {
    type Error = ConfigError;

    fn try_from(config: &ModelConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let milli = |name, value| fixed(name, value, 1e3);
        let narrow_milli = |name, value| {
            let wide = milli(name, value)?;
            u32::try_from(wide).map_err(|_| ConfigError::NotRepresentable(name))
        };
        let rope_scaling = match &config.rope_scaling {
            None => None,
            Some(scaling) => Some(ManifestRope {
                factor_milli: narrow_milli("factor", scaling.factor)?,
                low_freq_factor_milli: narrow_milli("low_freq_factor", scaling.low_freq_factor)?,
                high_freq_factor_milli: narrow_milli("high_freq_factor", scaling.high_freq_factor)?,
                original_context: narrow("original_context", scaling.original_context)?,
            }),
        };
        Ok(ManifestConfig {
            architecture: config.architecture,
            blocks: narrow("blocks", config.blocks)?,
            hidden_size: narrow("hidden_size", config.hidden_size)?,
            intermediate_size: narrow("intermediate_size", config.intermediate_size)?,
            heads: narrow("heads", config.heads)?,
            kv_heads: narrow("kv_heads", config.kv_heads)?,
            head_dim: narrow("head_dim", config.head_dim)?,
            vocab_size: narrow("vocab_size", config.vocab_size)?,
            context_length: narrow("context_length", config.context_length)?,
            tied_embeddings: config.tied_embeddings,
            rms_norm_eps_pico: fixed("rms_norm_eps", config.rms_norm_eps, 1e12)?,
            rope_theta_milli: milli("rope_theta", config.rope_theta)?,
            rope_scaling,
        })
    }
}

impl TryFrom<&ManifestConfig> for ModelConfig {
    type Error = ConfigError;

    fn try_from(manifest: &ManifestConfig) -> Result<Self, ConfigError> {
        let milli = |value: u32| f64::from(value) / 1e3;
        let config = ModelConfig {
            architecture: manifest.architecture,
            blocks: manifest.blocks.into(),
            hidden_size: manifest.hidden_size as usize,
            intermediate_size: manifest.intermediate_size as usize,
            heads: manifest.heads.into(),
            kv_heads: manifest.kv_heads.into(),
            head_dim: manifest.head_dim.into(),
            vocab_size: manifest.vocab_size as usize,
            context_length: manifest.context_length as usize,
            tied_embeddings: manifest.tied_embeddings,
            rms_norm_eps: manifest.rms_norm_eps_pico as f64 / 1e12,
            rope_theta: manifest.rope_theta_milli as f64 / 1e3,
            rope_scaling: manifest.rope_scaling.as_ref().map(|scaling| RopeScaling {
                factor: milli(scaling.factor_milli),
                low_freq_factor: milli(scaling.low_freq_factor_milli),
                high_freq_factor: milli(scaling.high_freq_factor_milli),
                original_context: scaling.original_context as usize,
            }),
        };
        config.validate()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
