//! `config.json` of the Hugging Face layout.

use serde::Deserialize;
use serde_json::Value;

use super::{Architecture, ConfigError, ModelConfig, RopeScaling};

/// The fields that matter. Everything else in the file is ignored.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architectures: Vec<String>,
    model_type: Option<String>,
    num_hidden_layers: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    tie_word_embeddings: Option<bool>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    quantization_config: Option<Value>,
}

/// `rope_scaling`, and its successor `rope_parameters`, which holds `rope_theta` too.
#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
}

impl RawRope {
    fn scaling(&self) -> Result<Option<RopeScaling>, ConfigError> {
        let need = |name: &str| ConfigError::Missing(format!("rope_scaling.{name}"));
        match self
            .rope_type
            .as_deref()
            .or(self.old_type.as_deref())
            .unwrap_or("default")
        {
            "default" => Ok(None),
            "llama3" => Ok(Some(RopeScaling {
                factor: self.factor.ok_or_else(|| need("factor"))?,
                low_freq_factor: self
                    .low_freq_factor
                    .ok_or_else(|| need("low_freq_factor"))?,
                high_freq_factor: self
                    .high_freq_factor
                    .ok_or_else(|| need("high_freq_factor"))?,
                original_context: self
                    .original_max_position_embeddings
                    .ok_or_else(|| need("original_max_position_embeddings"))?,
            })),
            other => Err(ConfigError::Unsupported(format!(
                "rope scaling of type `{other}`"
            ))),
        }
    }
}

/// The configuration that `json` holds.
pub(crate) fn parse(json: &[u8]) -> Result<ModelConfig, ConfigError> {
    let raw: Raw = serde_json::from_slice(json)
        .map_err(|error| ConfigError::bad("config.json", format!("read: {error}")))?;
    let name = raw
        .architectures
        .first()
        .or(raw.model_type.as_ref())
        .ok_or_else(|| ConfigError::Missing("architectures".into()))?;
    let architecture = match name.as_str() {
        "LlamaForCausalLM" | "llama" => Architecture::Llama,
        "Qwen2ForCausalLM" | "qwen2" => Architecture::Qwen2,
        other => return Err(ConfigError::Unsupported(format!("architecture `{other}`"))),
    };
    let unsupported = [
        (
            raw.attention_bias && architecture == Architecture::Llama,
            "biases in attention",
        ),
        (raw.mlp_bias, "biases in the feed-forward layer"),
        (raw.use_sliding_window, "sliding-window attention"),
        (
            raw.quantization_config
                .is_some_and(|value| !value.is_null()),
            "quantised safetensors",
        ),
        (
            raw.hidden_act.is_some_and(|name| name != "silu"),
            "an activation other than silu",
        ),
    ];
    if let Some((_, what)) = unsupported.into_iter().find(|(present, _)| *present) {
        return Err(ConfigError::Unsupported(what.into()));
    }

    let need =
        |name: &str, value: Option<usize>| value.ok_or_else(|| ConfigError::Missing(name.into()));
    let hidden_size = need("hidden_size", raw.hidden_size)?;
    let heads = need("num_attention_heads", raw.num_attention_heads)?;
    let head_dim = match raw.head_dim {
        Some(width) => width,
        None if heads != 0 && hidden_size % heads == 0 => hidden_size / heads,
        None => return Err(ConfigError::bad("num_attention_heads", heads)),
    };
    let rope = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref());
    let config = ModelConfig {
        architecture,
        blocks: need("num_hidden_layers", raw.num_hidden_layers)?,
        hidden_size,
        intermediate_size: need("intermediate_size", raw.intermediate_size)?,
        heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(heads),
        head_dim,
        vocab_size: need("vocab_size", raw.vocab_size)?,
        context_length: need("max_position_embeddings", raw.max_position_embeddings)?,
        tied_embeddings: raw.tie_word_embeddings.unwrap_or(false),
        rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
        rope_theta: raw
            .rope_theta
            .or(rope.and_then(|rope| rope.rope_theta))
            .unwrap_or(10_000.0),
        rope_scaling: rope.map(RawRope::scaling).transpose()?.flatten(),
    };
    config.validate()?;
    Ok(config)
}
