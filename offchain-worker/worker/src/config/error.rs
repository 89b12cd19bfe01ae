//! What is wrong with a configuration.

use quipu_chain::KeypairError;
use quipu_network::Multiaddr;
use quipu_worker_core::{Classified, Fault};
use std::{io, path::PathBuf};

/// Why the worker can't start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An option is needed.
    #[error("--{option} is needed, on the command line or in the file of --config")]
    Missing {
        /// The option with its value.
        option: &'static str,
    },
    /// Two options say the same thing.
    #[error("--{0} and --{1} exclude each other: leave one out")]
    Both(&'static str, &'static str),
    /// The file can't be read.
    #[error("the configuration {path} can't be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {path} can't be used: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// An address can't be used.
    #[error("--{option} {text} is no address: {reason}. Write it like /ip4/127.0.0.1/tcp/30444")]
    Address {
        /// The option.
        option: &'static str,
        /// What stands there.
        text: String,
        /// Why.
        reason: String,
    },
    /// A bootstrap address does not say whom to expect there.
    #[error(
        "--bootstrap {0} must end with /p2p/ and the peer's id, as a worker prints it when it listens"
    )]
    Bootstrap(Multiaddr),
    /// There is no model.
    #[error("there is no model at {0}: give a folder in Hugging Face's layout or a GGUF file")]
    NoModel(PathBuf),
    /// The root subnet has no model.
    #[error("subnet 0 is that of the chain's validators and has no model: name another")]
    RootSubnet,
    /// No room for what audits ask for.
    #[error(
        "--audit-space must be more than nothing: a server that can't show what it did is slashed"
    )]
    NoAuditSpace,
    /// No cache, no sessions.
    #[error("--kv-positions must be at least 1")]
    NoCache,
    /// Nobody computes.
    #[error("--threads must be at least 1")]
    NoThreads,
    /// This program can't use CUDA.
    #[error(
        "--device cuda needs a quipu-worker that was built with `--features cuda`; this one computes on \
         the CPU"
    )]
    NoCuda,
    /// No pause, no rest.
    #[error("--look-every must be at least 1")]
    NoPause,
    /// The hotkey can't be used.
    #[error(transparent)]
    Hotkey(#[from] KeypairError),
}

impl Classified for ConfigError {
    fn is_fatal(&self) -> bool {
        true
    }

    fn fault(&self) -> Fault {
        Fault::Caller
    }
}
