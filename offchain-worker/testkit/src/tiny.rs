//! A tiny model as it lies on disk, and the manifest that its creator would register.

use quipu_engine::{testing::TinyModel, Model};
use quipu_primitives::{DType, Kernel, Manifest, NumericProfile};
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

/// The profile of the reproducible kernels.
pub fn exact_profile() -> NumericProfile {
    NumericProfile {
        kernel: Kernel::ReproducibleV1,
        ..flex_profile()
    }
}

/// The manifest of a model, named `tiny`. Servers may compute on Burn's CPU backend, which those do
/// that follow the order, or on the reproducible kernels.
pub fn manifest(model: &Model) -> Manifest {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let profiles = vec![flex_profile(), exact_profile()];
    Manifest {
        profiles: profiles.try_into().expect("they are few"),
        name: bytes("tiny").try_into().expect("it is short"),
        license: bytes("Apache-2.0").try_into().expect("it is short"),
        uri: bytes("file:tiny").try_into().expect("it is short"),
        ..model.manifest(|| ()).expect("the model is whole")
    }
}
