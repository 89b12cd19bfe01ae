//! Why a command failed, and what to do.

use quipu_chain::KeypairError;
use quipu_client::{ClientError, EndsError};
use quipu_engine::{ConfigError, TokenizerError, WeightsError};
use quipu_network::{NetworkError, Unreached};
use quipu_primitives::{
    manifest::ManifestError, views::QuoteError, JobId, NodeId, SessionId, SubnetId,
};
use quipu_worker_core::{ports::ChainError, Classified, Fault};
use std::io;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The chain did not take part.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// There is no answer, or not all of it.
    #[error(transparent)]
    Client(#[from] Box<ClientError>),
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] KeypairError),
    /// No key was given.
    #[error("this command signs: give --key SURI or --key-file PATH")]
    NoKey,
    /// Two keys were given.
    #[error("--key and --key-file exclude each other: leave one out")]
    TwoKeys,
    /// The model can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer can't be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model's shape can't stand in a manifest.
    #[error(transparent)]
    Shape(#[from] ConfigError),
    /// The local part of the model can't be used.
    #[error(transparent)]
    Ends(#[from] EndsError),
    /// The chain would refuse the manifest.
    #[error("the chain would refuse the manifest: {0}")]
    Manifest(ManifestError),
    /// A text is too long for the manifest.
    #[error("--{option} has {got} bytes; at most {most} are taken")]
    TooLong {
        /// The option.
        option: &'static str,
        /// Its bytes.
        got: usize,
        /// Most bytes.
        most: usize,
    },
    /// The network can't be joined.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Nobody to join through.
    #[error("give --bootstrap MULTIADDR of a worker or any peer of the swarm")]
    NoBootstrap,
    /// Nobody that was named answers.
    #[error(
        "no peer of --bootstrap can be reached: {}. Take an address from what a worker prints when it \
         listens", list(.0)
    )]
    Unreached(Vec<Unreached>),
    /// No such subnet.
    #[error("there is no subnet {0}; `quipu subnet list` shows those there are")]
    NoSubnet(SubnetId),
    /// No such node.
    #[error(
        "there is no node {0}, or its block is not final yet; `quipu subnet show` lists nodes"
    )]
    NoNode(NodeId),
    /// No such session.
    #[error("there is no session {0}, or its record was dropped")]
    NoSession(SessionId),
    /// No such job.
    #[error("there is no job {0}, or its record was dropped")]
    NoJob(JobId),
    /// Nobody answered.
    #[error("nobody answered job {0} in time; its fee went back")]
    Unanswered(JobId),
    /// No quote.
    #[error("no quote: {0}")]
    Quote(&'static str),
    /// The block lacks the event that names what was made.
    #[error(
        "the extrinsic is in block {block}, but its event {event} is missing: is this program \
             as new as the chain?"
    )]
    NoEvent {
        /// The block.
        block: u32,
        /// The event.
        event: &'static str,
    },
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn list(unreached: &[Unreached]) -> String {
    let each: Vec<String> = unreached.iter().map(Unreached::to_string).collect();
    each.join("; ")
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        CliError::Client(Box::new(error))
    }
}

impl From<quipu_engine::ManifestError> for CliError {
    fn from(error: quipu_engine::ManifestError) -> Self {
        use quipu_engine::ManifestError;
        match error {
            ManifestError::Weights(error) => error.into(),
            ManifestError::Tokenizer(error) => error.into(),
            ManifestError::Shape(error) => error.into(),
        }
    }
}

impl From<QuoteError> for CliError {
    fn from(error: QuoteError) -> Self {
        CliError::Quote(match error {
            QuoteError::SubnetNotActive => {
                "the subnet does not exist or is not active; `quipu subnet list` shows those that \
                 are"
            }
            QuoteError::ContextExceeded => {
                "more positions than the model's context holds; ask for fewer"
            }
            QuoteError::NoRoute => "no chain of servers covers every block; try again later",
            QuoteError::Overflow => "the price overflows; ask for fewer positions",
        })
    }
}

impl Classified for CliError {
    fn is_fatal(&self) -> bool {
        true
    }

    fn fault(&self) -> Fault {
        match self {
            CliError::Chain(error) => error.fault(),
            CliError::Client(error) => error.fault(),
            CliError::Ends(error) => error.fault(),
            CliError::Network(error) => error.fault(),
            CliError::Unreached(_) | CliError::Unanswered(_) => Fault::Environment,
            CliError::NoEvent { .. } | CliError::Io { .. } => Fault::Ours,
            _ => Fault::Caller,
        }
    }
}
