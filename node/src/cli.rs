//! The command line.

use sc_cli::RunCmd;
use std::path::PathBuf;

/// Runs the node, or one of the subcommands.
#[derive(Debug, clap::Parser)]
pub struct Cli {
    /// What to do instead of running the node.
    #[command(subcommand)]
    pub subcommand: Option<Subcommand>,

    /// How to run the node.
    #[clap(flatten)]
    pub run: RunCmd,

    /// Where compiled runtimes are kept, by default `wasm-cache` in the base path. Nodes may share
    /// it: the first one compiles, the others start at once.
    #[arg(long, value_name = "PATH", env = "QUIPU_WASM_CACHE")]
    pub wasm_cache: Option<PathBuf>,
}

/// What the binary can do beside running a node.
#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)]
pub enum Subcommand {
    /// Key management utilities.
    #[command(subcommand)]
    Key(sc_cli::KeySubcommand),

    /// Print a chain specification, with a boot node at this machine's address in it.
    #[command(alias = "chain-spec")]
    BuildSpec(sc_cli::BuildSpecCmd),

    /// Write a chain specification to a file or to standard output.
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Validate blocks.
    CheckBlock(sc_cli::CheckBlockCmd),

    /// Export blocks.
    ExportBlocks(sc_cli::ExportBlocksCmd),

    /// Import blocks.
    ImportBlocks(sc_cli::ImportBlocksCmd),

    /// Export the state of a block as a chain specification.
    ExportState(sc_cli::ExportStateCmd),

    /// Remove the whole chain.
    PurgeChain(sc_cli::PurgeChainCmd),

    /// Go back some blocks that are not finalised.
    Revert(sc_cli::RevertCmd),

    /// Print what the database knows of the chain.
    ChainInfo(sc_cli::ChainInfoCmd),
}
