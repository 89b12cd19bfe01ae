//! The model on disk against the model on chain.

use quipu_engine::{ManifestError, Model, TokenizerError, WeightsError};
use quipu_primitives::{Manifest, ModelConfig, Span};
use serde_json::{json, Value};

/// How the files differ from the manifest. A server with such files would compute something else
/// than what it is paid for.
#[derive(Debug, thiserror::Error)]
pub enum ModelMismatch {
    /// The shapes differ.
    #[error("the model's {} differ from the subnet's manifest: these are files of another model",
        fields.join(", "))]
    Config {
        /// Names of the fields.
        fields: Vec<String>,
    },
    /// The tokenizers differ.
    #[error(
        "the tokenizer differs from the subnet's manifest: fetch the model again from where the \
         manifest says"
    )]
    Tokenizer,
    /// A block's weights differ.
    #[error(
        "block {block} differs from the subnet's manifest (digest {found}, not {expected}): fetch \
         the model again from where the manifest says, in the same format"
    )]
    Block {
        /// The block.
        block: u16,
        /// Digest in the manifest, hex.
        expected: String,
        /// Digest of the file, hex.
        found: String,
    },
    /// The weights can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer can't be read.
    #[error(transparent)]
    TokenizerFile(#[from] TokenizerError),
    /// The shape can't stand in a manifest.
    #[error(transparent)]
    Shape(#[from] quipu_engine::ConfigError),
}

impl From<ManifestError> for ModelMismatch {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Weights(error) => error.into(),
            ManifestError::Tokenizer(error) => error.into(),
            ManifestError::Shape(error) => error.into(),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    format!("0x{}", hex::encode(digest))
}

/// Does the model fit the manifest? Reads the blocks of `span`, and no others. Blocks.
pub fn check(model: &Model, manifest: &Manifest, span: Span) -> Result<(), ModelMismatch> {
    let config = ModelConfig::try_from(model.config())?;
    if config != manifest.config {
        return Err(ModelMismatch::Config {
            fields: differing(&config, &manifest.config),
        });
    }
    if model.tokenizer_digest()? != manifest.tokenizer_digest {
        return Err(ModelMismatch::Tokenizer);
    }
    for block in span.blocks() {
        let found = model.block_digest(usize::from(block))?;
        let expected = manifest
            .block_digests
            .get(usize::from(block))
            .copied()
            .unwrap_or_default();
        if found != expected {
            let (expected, found) = (hex(&expected), hex(&found));
            return Err(ModelMismatch::Block {
                block,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// Names of the fields in which two shapes differ.
fn differing(one: &ModelConfig, other: &ModelConfig) -> Vec<String> {
    let fields = |config| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Default::default(),
    };
    let (one, other) = (fields(one), fields(other));
    one.iter()
        .filter(|(name, value)| other.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect()
}

/// What a manifest says of a model's files, for machines: digests in hex. Reads all of the model;
/// blocks.
pub fn digests(model: &Model) -> Result<Value, ModelMismatch> {
    let manifest = model.manifest(|| ())?;
    let blocks = manifest.block_digests.iter();
    Ok(json!({
        "config": manifest.config,
        "profiles": manifest.profiles,
        "block_digests": blocks.map(|digest| hex(digest)).collect::<Vec<_>>(),
        "embedding_digest": hex(&manifest.embedding_digest),
        "head_digest": hex(&manifest.head_digest),
        "weights_root": hex(&manifest.weights_root),
        "tokenizer_digest": hex(&manifest.tokenizer_digest),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_testkit::TinyFiles;

    const SPAN: Span = Span { start: 1, end: 3 };

    #[test]
    fn the_registered_model_fits() {
        let files = TinyFiles::new(1);
        check(&files.open(), &files.manifest(), SPAN).unwrap();
    }

    #[test]
    fn other_weights_are_named_by_their_block() {
        let files = TinyFiles::new(1);
        let mut manifest = files.manifest();
        // A block that is not ours may differ.
        manifest.block_digests[0] = [0; 32];
        check(&files.open(), &manifest, SPAN).unwrap();
        manifest.block_digests[2] = [0; 32];
        let error = check(&files.open(), &manifest, SPAN).unwrap_err();
        assert!(
            matches!(error, ModelMismatch::Block { block: 2, .. }),
            "{error}"
        );
        assert!(check(&TinyFiles::new(2).open(), &files.manifest(), SPAN).is_err());
    }

    #[test]
    fn another_shape_or_tokenizer_is_named() {
        let files = TinyFiles::new(1);
        let mut manifest = files.manifest();
        manifest.config.rope_theta_milli += 1;
        manifest.config.context_length *= 2;
        let error = check(&files.open(), &manifest, SPAN)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("context_length, rope_theta_milli differ"),
            "{error}"
        );
        let mut manifest = files.manifest();
        manifest.tokenizer_digest = [0; 32];
        let error = check(&files.open(), &manifest, SPAN).unwrap_err();
        assert!(matches!(error, ModelMismatch::Tokenizer));
    }

    #[test]
    fn corrupted_weights_are_told() {
        let files = TinyFiles::new(1);
        let manifest = files.manifest();
        let weights = files.folder().join("model.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        // Blocks take the second half of the file.
        let middle = bytes.len() * 3 / 4;
        bytes[middle] ^= 1;
        std::fs::write(&weights, &bytes).unwrap();
        let all = Span { start: 0, end: 4 };
        let error = check(&files.open(), &manifest, all).unwrap_err();
        assert!(matches!(error, ModelMismatch::Block { .. }), "{error}");
    }

    #[test]
    fn the_printed_digests_are_those_of_the_manifest() {
        let files = TinyFiles::new(1);
        let (printed, manifest) = (digests(&files.open()).unwrap(), files.manifest());
        assert_eq!(printed["weights_root"], hex(&manifest.weights_root));
        assert_eq!(printed["block_digests"][3], hex(&manifest.block_digests[3]));
        assert_eq!(printed["tokenizer_digest"], hex(&manifest.tokenizer_digest));
        assert_eq!(printed["config"]["blocks"], 4);
        assert_eq!(printed["profiles"][0]["weights"], "f32");
    }
}
