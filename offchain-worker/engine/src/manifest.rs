//! From a model's files to the manifest that a subnet registers.

use quipu_primitives::{DType, Digest, Kernel, Manifest, NumericProfile, Terms};
use thiserror::Error;

use crate::config::ConfigError;
use crate::exact;
use crate::tokenizer::TokenizerError;
use crate::weights::model::Model;
use crate::weights::WeightsError;

/// Nodes on a roster where the creator says nothing else.
pub const DEFAULT_MAX_NODES: u32 = 64;

/// Why there is no manifest of a model.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The weights can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer can't be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The shape can't stand in a manifest.
    #[error(transparent)]
    Shape(#[from] ConfigError),
}

impl Model {
    /// The profile of servers that compute this model with such kernels: the blocks' weights as
    /// stored, activations and cache in f32. Reads headers only.
    pub fn profile(&self, kernel: Kernel) -> Result<NumericProfile, WeightsError> {
        Ok(NumericProfile {
            weights: self.weights_type()?,
            activations: DType::F32,
            kv: DType::F32,
            kernel,
        })
    }

    /// What a manifest says of the files: shape, digests and weights root, with the profile of the
    /// reproducible kernels. Name, licence and address are empty, for the creator to fill in, who
    /// may also set other profiles and terms than these: no bond beyond the chain's,
    /// [`DEFAULT_MAX_NODES`].
    ///
    /// Reads all of the model, and calls `progress` after each of its `blocks + 2` parts.
    pub fn manifest(&self, mut progress: impl FnMut()) -> Result<Manifest, ManifestError> {
        let config = quipu_primitives::ModelConfig::try_from(self.config())?;
        let mut block_digests: Vec<Digest> = Vec::new();
        for block in 0..self.config().blocks {
            block_digests.push(self.block_digest(block)?);
            progress();
        }
        let ends = self.ends_digests()?;
        progress();
        let tokenizer_digest = self.tokenizer_digest()?;
        progress();
        let mut manifest = Manifest {
            name: Default::default(),
            config,
            block_digests: block_digests
                .try_into()
                .map_err(|_| ConfigError::NotRepresentable("blocks"))?,
            embedding_digest: ends.embedding,
            head_digest: ends.head,
            weights_root: Digest::default(),
            tokenizer_digest,
            profiles: Default::default(),
            license: Default::default(),
            uri: Default::default(),
            terms: Terms {
                min_self_bond: 0,
                max_nodes: DEFAULT_MAX_NODES,
            },
        };
        manifest.weights_root = manifest.computed_weights_root();
        // An empty list has room for one.
        let _ = manifest.profiles.try_push(self.profile(exact::KERNEL)?);
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TinyFormat, TinyModel};

    #[test]
    fn a_manifest_needs_no_more_than_a_name() {
        for format in [
            TinyFormat::SafeTensors,
            TinyFormat::Sharded,
            TinyFormat::Gguf,
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = TinyModel::new(1).format(format).write(dir.path()).unwrap();
            let model = Model::open(&path).unwrap();
            let mut parts = 0;
            let mut manifest = model.manifest(|| parts += 1).unwrap();
            assert_eq!(parts, model.config().blocks + 2);
            manifest.name = b"tiny".to_vec().try_into().unwrap();
            manifest.validate().unwrap();
            for (block, digest) in manifest.block_digests.iter().enumerate() {
                assert_eq!(digest, &model.block_digest(block).unwrap());
            }
            let profile = model.profile(Kernel::ReproducibleV1).unwrap();
            assert_eq!(manifest.profiles.as_slice(), [profile]);
        }
    }
}
