//! What can be written on the command line.

use super::{
    error::CliError,
    values::{Account, Amount, KernelName, Peer, Percent, WireType},
};
use clap::{Args, Parser, Subcommand};
use quipu_chain::Keypair;
use quipu_client::{ClientOptions, SamplingOptions};
use quipu_engine::Model;
use quipu_network::{bootstrap_peer, Multiaddr};
use quipu_primitives::{JobId, NodeId, SessionId, SubnetId};
use quipu_protocol::limits::MAX_DRAFTED;
use quipu_worker_core::Signer;
use std::{path::PathBuf, sync::Arc};

/// Register models, stake, ask the swarm, and look at what the chain recorded.
#[derive(Debug, Parser)]
#[command(name = "quipu", version)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// JSON-RPC endpoint of a node.
    #[arg(
        long,
        value_name = "URL",
        env = "QUIPU_CHAIN",
        default_value = "ws://127.0.0.1:9944"
    )]
    #[arg(global = true)]
    pub chain: String,
    /// Key that signs: a phrase, a hex seed, or a development key such as //Alice. Other users of
    /// the machine can see it; prefer --key-file.
    #[arg(
        long,
        value_name = "SURI",
        env = "QUIPU_KEY",
        hide_env_values = true,
        global = true
    )]
    pub key: Option<String>,
    /// File with the key that signs.
    #[arg(long, value_name = "PATH", env = "QUIPU_KEY_FILE", global = true)]
    pub key_file: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// The key, if one was given.
    pub fn optional_signer(&self) -> Result<Option<Arc<dyn Signer>>, CliError> {
        let key = match (&self.key, &self.key_file) {
            (Some(_), Some(_)) => return Err(CliError::TwoKeys),
            (Some(uri), None) => Keypair::from_uri(uri)?,
            (None, Some(path)) => Keypair::from_file(path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Arc::new(key)))
    }

    /// The key.
    pub fn signer(&self) -> Result<Arc<dyn Signer>, CliError> {
        self.optional_signer()?.ok_or(CliError::NoKey)
    }
}

/// What `quipu` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Models and the subnets around them.
    #[command(subcommand)]
    Subnet(SubnetCommand),
    /// Servers: register, stake, leave.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Paid sessions.
    #[command(subcommand)]
    Session(SessionCommand),
    /// One-shot jobs on chain.
    #[command(subcommand)]
    Job(JobCommand),
    /// Shows the account of the key.
    Account,
    /// Shows the free balance of an account; of the key's without one.
    Balance {
        /// SS58, 0x and 64 hex digits, or a development key.
        account: Option<Account>,
    },
    /// Sends QPU.
    Transfer {
        /// Receiver.
        #[arg(long)]
        to: Account,
        /// How much, such as 10000 or 1.5QPU.
        #[arg(long)]
        amount: Amount,
    },
    /// Asks what positions cost now, prompt and answer together.
    Quote {
        /// The subnet.
        #[arg(long)]
        subnet: SubnetId,
        /// Positions.
        #[arg(long)]
        positions: u32,
    },
    /// Stake for nodes of others.
    #[command(subcommand)]
    Delegation(DelegationCommand),
    /// Inference that holders of QPU need not pay for.
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Shows how much QPU exists, where it comes from, and what was burned.
    Supply,
    /// Asks once, and streams the answer.
    Generate(GenerateArgs),
    /// Talks with a model.
    Chat(ChatArgs),
}

/// `quipu subnet …`
#[derive(Debug, Subcommand)]
pub enum SubnetCommand {
    /// Registers a model: computes the digests of its weights and submits its manifest.
    Register(RegisterArgs),
    /// Lists the subnets.
    List,
    /// Shows a subnet, its model and its nodes.
    Show {
        /// The subnet.
        #[arg(value_name = "SUBNET")]
        subnet: SubnetId,
    },
}

/// Options of `subnet register`.
#[derive(Clone, Debug, Args)]
pub struct RegisterArgs {
    /// Folder in Hugging Face's layout, or a GGUF file.
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    /// Name for people, up to 64 bytes.
    #[arg(long)]
    pub name: String,
    /// SPDX expression of the weights' licence.
    #[arg(long)]
    pub license: String,
    /// Where the weights are to be had.
    #[arg(long)]
    pub uri: String,
    /// Kernels that count as honest; repeatable.
    #[arg(long = "profile", value_enum, default_values_t = [KernelName::ReproducibleV1])]
    pub profiles: Vec<KernelName>,
    /// Type in which activations cross the wire, whatever the kernels. In 16 bits, reproducible
    /// kernels keep their promise for one cut of the model into spans.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = WireType::F32)]
    pub activations: WireType,
    /// Self-bond that a server needs, where it is more than the chain's minimum.
    #[arg(long, default_value = "0")]
    pub min_self_bond: Amount,
    /// Most nodes on the roster.
    #[arg(long, default_value_t = 64)]
    pub max_nodes: u32,
}

/// `quipu node …`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Registers a node; the key becomes its coldkey, which owns the stake.
    Register {
        /// The subnet that it will serve; 0 for chain validators.
        #[arg(long)]
        subnet: SubnetId,
        /// Account of the key that signs its work.
        #[arg(long)]
        hotkey: Account,
        /// Its libp2p peer id, as `quipu-worker id` prints it.
        #[arg(long)]
        peer_id: Peer,
    },
    /// Bonds more.
    Bond(BondArgs),
    /// Asks for a part of the bond back; it can be withdrawn after the unbonding time.
    Unbond(BondArgs),
    /// Pays out what has finished unbonding.
    Withdraw(NodeArg),
    /// Gives the node's seat back.
    Leave(NodeArg),
    /// Removes a node that has no seat and no bond.
    Remove(NodeArg),
    /// Pays out what the node earned by its own stake, and its commission.
    Claim(NodeArg),
    /// Sets what the owner keeps of its delegators' rewards.
    Commission {
        /// The node.
        #[arg(long)]
        node: NodeId,
        /// In per cent, such as 12.5.
        #[arg(long)]
        percent: Percent,
    },
    /// Moves a part of the bond to another node of the same owner, at once.
    MoveBond(MoveArgs),
    /// Shows a node, what it earns, and what others have at stake for it.
    Show(NodeArg),
}

/// `quipu delegation …`
#[derive(Debug, Subcommand)]
pub enum DelegationCommand {
    /// Puts QPU at stake for a node, for a share of what it earns and of its slashes.
    Add(BondArgs),
    /// Asks for a part of it back; it can be withdrawn after the unbonding time.
    Remove(BondArgs),
    /// Pays out what is due.
    Withdraw(NodeArg),
    /// Pays out what it earned.
    Claim(NodeArg),
    /// Moves a part of it to another node, at once.
    Move(MoveArgs),
    /// Shows what an account has at stake for a node; the key's without one.
    Show {
        /// The node.
        #[arg(long)]
        node: NodeId,
        /// SS58, 0x and 64 hex digits, or a development key.
        account: Option<Account>,
    },
}

/// Two nodes and an amount.
#[derive(Clone, Copy, Debug, Args)]
pub struct MoveArgs {
    /// Where it is. For the unbonding time it still answers for what this node did.
    #[arg(long)]
    pub from: NodeId,
    /// Where it goes.
    #[arg(long)]
    pub to: NodeId,
    /// How much, such as 500QPU.
    #[arg(long)]
    pub amount: Amount,
}

/// A node.
#[derive(Clone, Copy, Debug, Args)]
pub struct NodeArg {
    /// The node.
    #[arg(long)]
    pub node: NodeId,
}

/// A node and an amount.
#[derive(Clone, Copy, Debug, Args)]
pub struct BondArgs {
    /// The node.
    #[arg(long)]
    pub node: NodeId,
    /// How much, such as 10000QPU.
    #[arg(long)]
    pub amount: Amount,
}

/// `quipu quota …`
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Shows what an account may use today; the key's without one.
    Show {
        /// SS58, 0x and 64 hex digits, or a development key.
        account: Option<Account>,
    },
    /// Locks QPU. From the next day on it entitles to a share of what holders may use each day.
    Lock {
        /// How much more, such as 500QPU.
        #[arg(long)]
        amount: Amount,
    },
    /// Unlocks QPU at once.
    Unlock {
        /// How much.
        #[arg(long)]
        amount: Amount,
    },
}

/// `quipu session …`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Shows a session and what its servers earned.
    Show {
        /// The session.
        #[arg(value_name = "SESSION")]
        session: SessionId,
    },
}

/// `quipu job …`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Requests an answer on chain.
    Request {
        /// The subnet to ask.
        #[arg(long)]
        subnet: SubnetId,
        /// What to ask.
        #[arg(long)]
        prompt: String,
        /// Most tokens of the answer.
        #[arg(long, default_value_t = 64)]
        max_tokens: u32,
        /// What the answer pays.
        #[arg(long)]
        fee: Amount,
        /// Waits for the answer.
        #[arg(long)]
        wait: bool,
    },
    /// Shows a job and its answer.
    Show {
        /// The job.
        #[arg(value_name = "JOB")]
        job: JobId,
    },
}

/// Whom to ask, with which model and how.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// The subnet to ask.
    #[arg(long)]
    pub subnet: SubnetId,
    /// The subnet's model: its tokenizer, embedding and head run here.
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    /// Peers through which to join the swarm; each ends with /p2p/ and a peer id. Repeatable.
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "QUIPU_BOOTSTRAP",
        value_delimiter = ','
    )]
    pub bootstrap: Vec<Multiaddr>,
    /// Most tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_tokens: u32,
    /// 0 takes the likeliest token; higher spreads the choice.
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub temperature: f32,
    /// Chooses among this many of the likeliest tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: u32,
    /// Chooses among the likeliest tokens that together have this probability.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub top_p: f32,
    /// Makes the text reproducible. Whoever guesses it foresees the choice of tokens.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Replacements to name for each server; each adds to the deposit.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub standbys: usize,
    /// Microseconds of latency per position that saving a millionth of a QPU is worth.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub price_weight: u64,
    /// Most tokens that are guessed ahead with each that is sure, on subnets of an exact profile;
    /// 0 guesses nothing. The answer and its price are the same, in fewer round trips.
    #[arg(long, value_name = "N", default_value_t = ClientOptions::default().draft)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_DRAFTED)))]
    pub draft: u32,
}

impl Command {
    /// Finds what the caller must change before anything else takes time.
    pub fn check(&self, common: &Common) -> Result<(), CliError> {
        match self {
            Command::Generate(args) => args.ask.check(common),
            Command::Chat(args) => args.ask.check(common),
            _ => Ok(()),
        }
    }
}

impl AskArgs {
    fn check(&self, common: &Common) -> Result<(), CliError> {
        common.signer()?;
        self.sampling().validate()?;
        if self.bootstrap.is_empty() {
            return Err(CliError::NoBootstrap);
        }
        for address in &self.bootstrap {
            bootstrap_peer(address)?;
        }
        // Reads headers only.
        Model::open(&self.model)?;
        Ok(())
    }

    /// How tokens are chosen.
    pub fn sampling(&self) -> SamplingOptions {
        SamplingOptions {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        }
    }

    /// How the client deals with the swarm.
    pub fn options(&self) -> ClientOptions {
        ClientOptions {
            standbys: self.standbys,
            price_weight: self.price_weight,
            draft: self.draft,
            ..ClientOptions::default()
        }
    }
}

/// Options of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// Whom to ask, and how.
    #[command(flatten)]
    pub ask: AskArgs,
    /// What to ask.
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// Instructions that stand above the prompt.
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Lets the model continue the prompt, without the chat template.
    #[arg(long)]
    pub raw: bool,
}

/// Options of `chat`.
#[derive(Clone, Debug, Args)]
pub struct ChatArgs {
    /// Whom to ask, and how.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Instructions that stand above the conversation.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
}
