//! A tiny model as it lies on disk, and the manifest that its creator would register.

use quipu_engine::{testing::TinyModel, Model};
use quipu_primitives::{DType, Digest, Kernel, Manifest, ModelConfig, NumericProfile, Terms};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A tiny model in a temporary folder, which goes with it.
#[derive(Debug)]
pub struct TinyFiles {
    folder: TempDir,
    path: PathBuf,
}

/// The profile of the engine's CPU backend.
pub fn flex_profile() -> NumericProfile {
    NumericProfile {
        weights: DType::F32,
        activations: DType::F32,
        kv: DType::F32,
        kernel: Kernel::FlexF32,
    }
}

impl TinyFiles {
    /// Four blocks with weights drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::of(&TinyModel::new(seed))
    }

    /// Writes a model.
    pub fn of(model: &TinyModel) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = model
            .write(folder.path())
            .expect("the model can be written");
        TinyFiles { folder, path }
    }

    /// What to open.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The model.
    pub fn open(&self) -> Model {
        Model::open(&self.path).expect("the model is whole")
    }

    /// What its creator registers.
    pub fn manifest(&self) -> Manifest {
        manifest(&self.open())
    }
}

/// The manifest of a model, named `tiny`.
pub fn manifest(model: &Model) -> Manifest {
    let config = ModelConfig::try_from(model.config()).expect("tiny models fit a manifest");
    let digests: Vec<Digest> = (0..model.config().blocks)
        .map(|block| model.block_digest(block).expect("the weights are whole"))
        .collect();
    let ends = model.ends_digests().expect("the weights are whole");
    let bytes = |text: &str| text.as_bytes().to_vec();
    let mut manifest = Manifest {
        name: bytes("tiny").try_into().expect("it is short"),
        config,
        block_digests: digests.try_into().expect("there are few"),
        embedding_digest: ends.embedding,
        head_digest: ends.head,
        weights_root: Digest::default(),
        tokenizer_digest: model.tokenizer_digest().expect("there is a tokenizer"),
        profiles: vec![flex_profile()].try_into().expect("there is one"),
        license: bytes("Apache-2.0").try_into().expect("it is short"),
        uri: bytes("file:tiny").try_into().expect("it is short"),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: 64,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest
}
