//! What off-chain workers are built from.

use quipu_stories::metadata;

/// Workers generate their calls, events and runtime APIs from a file. It is written by
/// `scripts/metadata`, and must be written anew when something in it changes.
#[test]
fn workers_are_built_from_what_this_runtime_is() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../offchain-worker/chain/metadata/quipu.scale"
    );
    let committed = std::fs::read(path).expect("is committed");
    assert!(
        committed == metadata::for_workers(),
        "{path} is out of date: run scripts/metadata and commit what it wrote"
    );
}
