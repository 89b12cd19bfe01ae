//! The command line.

use super::{Device, Size};
use clap::{Args, Parser, Subcommand, ValueEnum};
use quipu_primitives::{Balance, Span, SubnetId};
use serde::{Deserialize, Deserializer};
use std::{net::SocketAddr, path::PathBuf};

/// Serves blocks of a model to Quipu's swarm.
#[derive(Debug, Parser)]
#[command(name = "quipu-worker", version, about)]
pub struct Cli {
    /// How to write the log.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the daemon does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves a span of blocks until it is told to stop.
    Serve(Box<ServeArgs>),
    /// Looks at others' work where the chain asks this node to, without serving blocks itself, until it is
    /// told to stop. A node that serves does so anyway.
    Audit(Box<AuditArgs>),
    /// Prints what a subnet's manifest says of a model: its shape and digests, as JSON.
    Digest(DigestArgs),
    /// Prints the peer id of a worker, which its node is registered with, as JSON. Makes the key if
    /// there is none.
    Id(IdArgs),
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object for each event.
    Json,
}

/// Options of `digest`.
#[derive(Clone, Debug, Args)]
pub struct DigestArgs {
    /// Folder or GGUF file of the model.
    #[arg(long)]
    pub model: PathBuf,
}

/// Options of `id`.
#[derive(Clone, Debug, Args)]
pub struct IdArgs {
    /// Folder of the worker.
    #[arg(long)]
    pub base_path: PathBuf,
}

/// Options of `serve`. The same names stand in the file of `--config`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServeArgs {
    /// TOML file with further options.
    #[arg(long)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// JSON-RPC endpoint of a node, such as ws://127.0.0.1:9944.
    #[arg(long)]
    pub chain: Option<String>,
    /// Subnet to serve.
    #[arg(long)]
    pub subnet: Option<SubnetId>,
    /// Blocks to serve, such as 0:10 for blocks 0 to 9.
    #[arg(long)]
    pub blocks: Option<Span>,
    /// Serve as many blocks as fit into so much memory, such as 4GiB, where they are needed most.
    #[arg(long)]
    pub memory: Option<Size>,
    /// With --memory: seconds between two looks for blocks that need this server more, and up to
    /// twice as many. 60 unless told otherwise. Less than a block takes to become final makes servers
    /// run after each other.
    #[arg(long)]
    pub look_every: Option<u64>,
    /// Folder or GGUF file of the model.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Secret URI of the hotkey. For development: other users of the machine can read it. Never
    /// read from the file.
    #[arg(long, env = "QUIPU_HOTKEY", hide_env_values = true)]
    #[serde(skip)]
    pub hotkey: Option<String>,
    /// File with the secret URI of the hotkey.
    #[arg(long)]
    pub hotkey_seed_file: Option<PathBuf>,
    /// Asked per position and block, in the smallest unit: 10^12 are one QPU.
    #[arg(long)]
    #[serde(deserialize_with = "price")]
    pub price: Option<Balance>,
    /// Address to listen on; repeatable. Port 0 is any free port.
    #[arg(long)]
    pub listen: Vec<String>,
    /// Address to announce, where it is not one listened on; repeatable.
    #[arg(long)]
    pub external: Vec<String>,
    /// Address of a peer through which to join the swarm, ending in /p2p/ID; repeatable.
    #[arg(long)]
    pub bootstrap: Vec<String>,
    /// Address at which to serve Prometheus metrics and health.
    #[arg(long)]
    pub metrics: Option<SocketAddr>,
    /// Folder of the peer key, the journals and what audits may ask for.
    #[arg(long)]
    pub base_path: Option<PathBuf>,
    /// Positions that the cache holds, over all sessions.
    #[arg(long)]
    pub kv_positions: Option<u32>,
    /// Space on disk for what audits may ask for, such as 8GiB: what went into and came out of the blocks,
    /// of all sessions that are not paid out. Sessions that might not fit are refused. 8GiB unless told
    /// otherwise.
    #[arg(long)]
    pub audit_space: Option<Size>,
    /// What computes. The subnet must accept the kernel: cuda for the one, flex-f32 or
    /// reproducible-v1 for the other. By default the CPU.
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// Threads that compute. By default as many as the machine has cores.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Give the seat back when leaving.
    #[arg(long)]
    pub leave_on_exit: bool,
}

/// Options of `audit`. The file of `--config` may be that of `serve`, whose other options are left aside.
#[derive(Clone, Debug, Default, Args)]
pub struct AuditArgs {
    /// TOML file with further options.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// JSON-RPC endpoint of a node, such as ws://127.0.0.1:9944.
    #[arg(long)]
    pub chain: Option<String>,
    /// Subnet of the node.
    #[arg(long)]
    pub subnet: Option<SubnetId>,
    /// Folder or GGUF file of the model: all of its blocks.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Secret URI of the hotkey. For development: other users of the machine can read it.
    #[arg(long, env = "QUIPU_HOTKEY", hide_env_values = true)]
    pub hotkey: Option<String>,
    /// File with the secret URI of the hotkey.
    #[arg(long)]
    pub hotkey_seed_file: Option<PathBuf>,
    /// Address of a peer through which to join the swarm, ending in /p2p/ID; repeatable.
    #[arg(long)]
    pub bootstrap: Vec<String>,
    /// Address at which to serve Prometheus metrics and health.
    #[arg(long)]
    pub metrics: Option<SocketAddr>,
    /// Folder of the peer key, and of what was found.
    #[arg(long)]
    pub base_path: Option<PathBuf>,
    /// Threads that compute. By default as many as the machine has cores.
    #[arg(long)]
    pub threads: Option<usize>,
}

impl From<AuditArgs> for ServeArgs {
    fn from(args: AuditArgs) -> Self {
        ServeArgs {
            config: args.config,
            chain: args.chain,
            subnet: args.subnet,
            model: args.model,
            hotkey: args.hotkey,
            hotkey_seed_file: args.hotkey_seed_file,
            bootstrap: args.bootstrap,
            metrics: args.metrics,
            base_path: args.base_path,
            threads: args.threads,
            ..ServeArgs::default()
        }
    }
}

/// TOML has no numbers beyond 64 bits; as a price that is enough.
fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Balance>, D::Error> {
    u64::deserialize(deserializer).map(|price| Some(price.into()))
}

impl ServeArgs {
    /// These options; where one is missing, that of `other`. Alternatives count as one option.
    pub(super) fn over(self, other: Self) -> Self {
        fn list(first: Vec<String>, second: Vec<String>) -> Vec<String> {
            match first.is_empty() {
                true => second,
                false => first,
            }
        }
        let (blocks, memory) = match (self.blocks, self.memory) {
            (None, None) => (other.blocks, other.memory),
            own => own,
        };
        let (hotkey, hotkey_seed_file) = match (self.hotkey, self.hotkey_seed_file) {
            (None, None) => (other.hotkey, other.hotkey_seed_file),
            own => own,
        };
        ServeArgs {
            config: self.config,
            chain: self.chain.or(other.chain),
            subnet: self.subnet.or(other.subnet),
            blocks,
            memory,
            look_every: self.look_every.or(other.look_every),
            model: self.model.or(other.model),
            hotkey,
            hotkey_seed_file,
            price: self.price.or(other.price),
            listen: list(self.listen, other.listen),
            external: list(self.external, other.external),
            bootstrap: list(self.bootstrap, other.bootstrap),
            metrics: self.metrics.or(other.metrics),
            base_path: self.base_path.or(other.base_path),
            device: self.device.or(other.device),
            kv_positions: self.kv_positions.or(other.kv_positions),
            audit_space: self.audit_space.or(other.audit_space),
            threads: self.threads.or(other.threads),
            leave_on_exit: self.leave_on_exit || other.leave_on_exit,
        }
    }
}
