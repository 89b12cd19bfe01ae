//! The same configuration out of a GGUF file's metadata.

use super::{Architecture, ConfigError, ModelConfig, RopeScaling};
use crate::rope;
use crate::weights::gguf::{Metadata, MetadataValue};

/// Scalings of published Llama 3 models. A GGUF file stores the resulting divisors of the
/// frequencies instead of these numbers, and a manifest needs the numbers.
const KNOWN_ORIGINAL_CONTEXT: usize = 8192;
const KNOWN_LOW_FREQ_FACTOR: f64 = 1.0;
const KNOWN_HIGH_FREQ_FACTOR: f64 = 4.0;

/// How far a stored divisor may be from the one that a scaling gives, relative.
const DIVISOR_TOLERANCE: f32 = 1e-4;

/// The shortest decimal that gives this f32, so that 1e-5 reads as it does from `config.json`.
fn widen(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

struct Reader<'a> {
    metadata: &'a Metadata,
    prefix: &'a str,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<&MetadataValue> {
        self.metadata.get(&format!("{}.{name}", self.prefix))
    }

    fn optional_size(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        let field = || format!("{}.{name}", self.prefix);
        self.value(name)
            .map(|value| {
                value
                    .as_u64()
                    .and_then(|number| usize::try_from(number).ok())
                    .ok_or_else(|| ConfigError::bad(field(), value.describe()))
            })
            .transpose()
    }

    fn size(&self, name: &str) -> Result<usize, ConfigError> {
        self.optional_size(name)?
            .ok_or_else(|| ConfigError::Missing(format!("{}.{name}", self.prefix)))
    }

    fn optional_number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        self.value(name)
            .map(|value| match value {
                MetadataValue::F32(number) => Ok(widen(*number)),
                MetadataValue::F64(number) => Ok(*number),
                other => Err(ConfigError::bad(
                    format!("{}.{name}", self.prefix),
                    other.describe(),
                )),
            })
            .transpose()
    }
}

/// What the tensors of the file say beside its metadata.
pub(crate) struct TensorFacts {
    /// Rows of the token embedding.
    pub embedding_rows: Option<usize>,
    /// Is there a separate `output.weight`?
    pub has_head: bool,
    /// Values of `rope_freqs.weight`: divisors of the rotary frequencies.
    pub rope_divisors: Option<Vec<f32>>,
}

/// The configuration of a GGUF file.
pub(crate) fn parse(metadata: &Metadata, facts: TensorFacts) -> Result<ModelConfig, ConfigError> {
    let name = metadata
        .get("general.architecture")
        .ok_or_else(|| ConfigError::Missing("general.architecture".into()))?;
    let (architecture, prefix) = match name.as_str() {
        Some("llama") => (Architecture::Llama, "llama"),
        Some("qwen2") => (Architecture::Qwen2, "qwen2"),
        _ => {
            return Err(ConfigError::Unsupported(format!(
                "architecture {}",
                name.describe()
            )))
        }
    };
    if metadata
        .get("split.count")
        .and_then(MetadataValue::as_u64)
        .is_some_and(|count| count > 1)
    {
        return Err(ConfigError::Unsupported(
            "a GGUF split into several files".into(),
        ));
    }
    let reader = Reader { metadata, prefix };
    if reader.optional_size("expert_count")?.unwrap_or(0) > 0 {
        return Err(ConfigError::Unsupported("mixture of experts".into()));
    }
    if reader
        .optional_size("attention.sliding_window")?
        .unwrap_or(0)
        > 0
    {
        return Err(ConfigError::Unsupported("sliding-window attention".into()));
    }
    let scaling = reader
        .value("rope.scaling.type")
        .and_then(MetadataValue::as_str);
    if let Some(kind) = scaling.filter(|kind| *kind != "none") {
        return Err(ConfigError::Unsupported(format!(
            "rope scaling of type `{kind}`"
        )));
    }

    let hidden_size = reader.size("embedding_length")?;
    let heads = reader.size("attention.head_count")?;
    let head_dim = match reader.optional_size("attention.key_length")? {
        Some(width) => width,
        None if heads != 0 && hidden_size % heads == 0 => hidden_size / heads,
        None => return Err(ConfigError::bad("attention.head_count", heads)),
    };
    for name in ["rope.dimension_count", "attention.value_length"] {
        match reader.optional_size(name)? {
            Some(width) if width != head_dim => {
                return Err(ConfigError::Unsupported(format!(
                    "{name} {width} of {head_dim}"
                )));
            }
            _ => {}
        }
    }
    let vocab_size = match facts.embedding_rows {
        Some(rows) => rows,
        None => reader.size("vocab_size")?,
    };
    let mut config = ModelConfig {
        architecture,
        blocks: reader.size("block_count")?,
        hidden_size,
        intermediate_size: reader.size("feed_forward_length")?,
        heads,
        kv_heads: reader
            .optional_size("attention.head_count_kv")?
            .unwrap_or(heads),
        head_dim,
        vocab_size,
        context_length: reader.size("context_length")?,
        tied_embeddings: !facts.has_head,
        rms_norm_eps: reader
            .optional_number("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| ConfigError::Missing("attention.layer_norm_rms_epsilon".into()))?,
        rope_theta: reader
            .optional_number("rope.freq_base")?
            .unwrap_or(10_000.0),
        rope_scaling: None,
    };
    config.validate()?;
    if let Some(divisors) = facts.rope_divisors {
        config.rope_scaling = Some(recognise(&config, &divisors)?);
        config.validate()?;
    }
    Ok(config)
}

/// The published scaling that gives these divisors.
fn recognise(config: &ModelConfig, divisors: &[f32]) -> Result<RopeScaling, ConfigError> {
    let largest = divisors.iter().copied().fold(0.0f32, f32::max);
    let candidate = RopeScaling {
        factor: widen(largest),
        low_freq_factor: KNOWN_LOW_FREQ_FACTOR,
        high_freq_factor: KNOWN_HIGH_FREQ_FACTOR,
        original_context: KNOWN_ORIGINAL_CONTEXT,
    };
    let expected = rope::divisors(config.rope_theta, config.head_dim, &candidate);
    let close = |(stored, expected): (&f32, &f32)| {
        (stored - expected).abs() <= DIVISOR_TOLERANCE * expected.abs()
    };
    if largest.is_finite()
        && largest >= 1.0
        && divisors.len() == expected.len()
        && divisors.iter().zip(&expected).all(close)
    {
        Ok(candidate)
    } else {
        Err(ConfigError::Unsupported(
            "rope frequencies that no Llama 3 scaling gives".into(),
        ))
    }
}
