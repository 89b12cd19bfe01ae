//! Writes the metadata that off-chain workers are built from to standard output: what
//! `scripts/metadata` commits.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(&quipu_stories::metadata::for_workers())
}
