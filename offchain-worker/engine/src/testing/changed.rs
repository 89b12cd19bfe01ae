//! Models that are almost others.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{write_safetensors, TinyFormat, TinyModel, TinyStorage};
use crate::weights::names;
use crate::Model;

/// Writes some blocks of a model with changed values into the folder `dir`, which must exist, as safetensors
/// in f32, and gives the path to open. `change` gets each tensor's canonical name, shape and values. Neither
/// the ends nor a tokenizer are there.
pub fn write_changed(
    model: &Model,
    blocks: Range<usize>,
    dir: &Path,
    mut change: impl FnMut(&str, &[usize], &mut [f32]),
) -> io::Result<PathBuf> {
    let mut tensors = BTreeMap::new();
    for block in blocks {
        for (name, shape) in names::block_tensors(model.config(), block) {
            let stored = model.tensor(&name, &shape).map_err(io::Error::other)?;
            let mut values = stored.load().map_err(io::Error::other)?;
            change(&name, &shape, &mut values);
            tensors.insert(name, (shape, values));
        }
    }
    let described = TinyModel {
        config: model.config().clone(),
        seed: 0,
        format: TinyFormat::SafeTensors,
        storage: TinyStorage::F32,
    };
    std::fs::write(dir.join("config.json"), described.config_json().to_string())?;
    write_safetensors(&dir.join("model.safetensors"), &tensors)?;
    Ok(dir.to_owned())
}
