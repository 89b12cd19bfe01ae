//! Writes the runtime's metadata (version 15) to standard output: what `scripts/metadata` commits
//! for the workers to be built from.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let metadata = sp_io::TestExternalities::default()
        .execute_with(|| quipu_runtime::Runtime::metadata_at_version(15))
        .expect("FRAME generates version 15; qed");
    std::io::stdout().write_all(&metadata)
}
