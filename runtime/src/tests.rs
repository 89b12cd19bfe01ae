//! The composition: presets, metadata, and blocks with their inherents.

mod blocks;
mod driver;
mod equivocation;
mod presets;
#[cfg(feature = "try-runtime")]
mod try_runtime;

use crate::{genesis, RuntimeGenesisConfig, System};
use frame_support::genesis_builder_helper;
use sp_io::TestExternalities;
use sp_runtime::BuildStorage;

/// The genesis config that a preset comes to: the default with the preset's patch on it, as a
/// node makes it.
fn config_of(preset: &str) -> RuntimeGenesisConfig {
    let full = genesis_builder_helper::get_preset::<RuntimeGenesisConfig>(&None, |_| None)
        .expect("there is a default");
    let mut full: serde_json::Value = serde_json::from_slice(&full).expect("is JSON");
    let patch = genesis::preset(&preset.into()).expect("the preset exists");
    merge(&mut full, serde_json::from_slice(&patch).expect("is JSON"));
    serde_json::from_value(full).expect("fits the runtime's genesis config")
}

/// RFC 7386.
fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = serde_json::Value::Object(Default::default());
    }
    let target = target.as_object_mut().expect("made one above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(serde_json::Value::Null), value);
        }
    }
}

/// A chain that has just started from a preset.
fn chain(preset: &str) -> TestExternalities {
    let storage = config_of(preset)
        .build_storage()
        .expect("the preset builds");
    TestExternalities::new(storage)
}
