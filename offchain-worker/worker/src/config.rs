//! What the operator asks for, checked before anything is started.
//!
//! Options come from the command line, then from the file of `--config`, then from defaults.
//! [`ValidConfig`] is the only thing that the rest of the worker sees.

mod args;
mod device;
mod error;
mod size;

pub use args::{AuditArgs, Cli, Command, DigestArgs, IdArgs, LogFormat, ServeArgs};
pub use device::Device;
pub use error::ConfigError;
pub use size::Size;

use quipu_chain::Keypair;
use quipu_network::{bootstrap_peer, Multiaddr};
use quipu_primitives::{Balance, Digest, Span, SubnetId};
use std::{
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Positions that the cache holds unless told otherwise.
pub const DEFAULT_KV_POSITIONS: u32 = 8192;
/// Bytes on disk for what audits may ask for unless told otherwise: 1.8 million positions of a third of
/// SmolLM2-135M, at 4.6 kB each.
pub const DEFAULT_AUDIT_SPACE: u64 = 8 << 30;
/// Memory for everything but blocks and caches, where `--memory` bounds the process.
pub const MEMORY_RESERVE: u64 = 256 << 20;
/// Seconds between two looks for better blocks unless told otherwise: longer than what a move takes
/// to become final, so that whoever is ranked second sees it.
pub const DEFAULT_LOOK_EVERY: u64 = 60;
/// Where a worker listens unless told otherwise.
const DEFAULT_LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/30444", "/ip4/0.0.0.0/udp/30444/quic-v1"];

/// Which blocks to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// These.
    Span(Span),
    /// As many as fit into so many bytes, where they are needed most.
    Fit {
        /// Bytes for the whole process.
        memory: u64,
    },
}

/// A configuration that a node can do its duty as an auditor with, and on which one that serves builds.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// JSON-RPC endpoint of a node of the chain.
    pub chain: String,
    /// The subnet.
    pub subnet: SubnetId,
    /// Folder or GGUF file of the model.
    pub model: PathBuf,
    /// Signs work and operational extrinsics.
    pub hotkey: Keypair,
    /// Peers through which to join the swarm.
    pub bootstrap: Vec<Multiaddr>,
    /// Where metrics and health are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Folder of the peer key, the journals, what audits may ask for, and what they found.
    pub base_path: PathBuf,
    /// Threads that compute.
    pub threads: usize,
}

/// A configuration that a worker can serve with.
#[derive(Clone, Debug)]
pub struct ValidConfig {
    /// The node.
    pub node: NodeConfig,
    /// Which blocks.
    pub blocks: Blocks,
    /// Where it chooses by itself: shortest time between two looks for better ones.
    pub look_every: Duration,
    /// Asked per position and block, in the smallest unit.
    pub price: Balance,
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce, where they are not those listened on.
    pub external: Vec<Multiaddr>,
    /// What computes.
    pub device: Device,
    /// Positions that the cache holds, over all sessions.
    pub kv_positions: u32,
    /// Bytes on disk for what audits may ask for, over all sessions that are not paid out.
    pub audit_space: u64,
    /// Give the seat back when leaving.
    pub leave_on_exit: bool,
}

impl ServeArgs {
    /// These options, completed by those of the file that they name.
    pub fn with_file(self) -> Result<Self, ConfigError> {
        let Some(path) = self.config.clone() else {
            return Ok(self);
        };
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::File {
            path: path.clone(),
            source,
        })?;
        let file = toml::from_str(&text).map_err(|error| ConfigError::Toml {
            path,
            message: error.to_string(),
        })?;
        Ok(self.over(file))
    }

    /// Checks everything that can be checked without chain and model.
    pub fn validate(self) -> Result<ValidConfig, ConfigError> {
        let blocks = match (self.blocks, self.memory) {
            (Some(span), None) => Blocks::Span(span),
            (None, Some(memory)) => Blocks::Fit { memory: memory.0 },
            (Some(_), Some(_)) => return Err(ConfigError::Both("blocks", "memory")),
            (None, None) => return Err(missing("blocks START:END, or --memory SIZE,")),
        };
        let node = self.node()?;
        let kv_positions = self.kv_positions.unwrap_or(DEFAULT_KV_POSITIONS);
        if kv_positions == 0 {
            return Err(ConfigError::NoCache);
        }
        let audit_space = self.audit_space.map_or(DEFAULT_AUDIT_SPACE, |size| size.0);
        if audit_space == 0 {
            return Err(ConfigError::NoAuditSpace);
        }
        let device = self.device.unwrap_or_default();
        if device == Device::Cuda && !cfg!(feature = "cuda") {
            return Err(ConfigError::NoCuda);
        }
        let look_every = self.look_every.unwrap_or(DEFAULT_LOOK_EVERY);
        if look_every == 0 {
            return Err(ConfigError::NoPause);
        }
        let listen = match self.listen.is_empty() {
            true => DEFAULT_LISTEN.map(String::from).to_vec(),
            false => self.listen,
        };
        Ok(ValidConfig {
            node,
            blocks,
            look_every: Duration::from_secs(look_every),
            price: self.price.ok_or(missing("price AMOUNT"))?,
            listen: addresses("listen", &listen)?,
            external: addresses("external", &self.external)?,
            device,
            kv_positions,
            audit_space,
            leave_on_exit: self.leave_on_exit,
        })
    }

    /// What a node needs whatever it does.
    fn node(&self) -> Result<NodeConfig, ConfigError> {
        let hotkey = match (&self.hotkey, &self.hotkey_seed_file) {
            (Some(uri), None) => Keypair::from_uri(uri)?,
            (None, Some(path)) => Keypair::from_file(path)?,
            (Some(_), Some(_)) => return Err(ConfigError::Both("hotkey", "hotkey-seed-file")),
            (None, None) => return Err(missing("hotkey-seed-file PATH")),
        };
        let subnet = self.subnet.ok_or(missing("subnet N"))?;
        if subnet == quipu_primitives::ROOT_SUBNET {
            return Err(ConfigError::RootSubnet);
        }
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let threads = self.threads.unwrap_or_else(cores);
        if threads == 0 {
            return Err(ConfigError::NoThreads);
        }
        let model = self.model.clone().ok_or(missing("model PATH"))?;
        if !model.exists() {
            return Err(ConfigError::NoModel(model));
        }
        let bootstrap = addresses("bootstrap", &self.bootstrap)?;
        for address in &bootstrap {
            if bootstrap_peer(address).is_err() {
                return Err(ConfigError::Bootstrap(address.clone()));
            }
        }
        Ok(NodeConfig {
            chain: self.chain.clone().ok_or(missing("chain ws://HOST:PORT"))?,
            subnet,
            model,
            hotkey,
            bootstrap,
            metrics: self.metrics,
            base_path: self.base_path.clone().ok_or(missing("base-path DIR"))?,
            threads,
        })
    }
}

impl AuditArgs {
    /// Checks everything that can be checked without chain and model, after the options of the file.
    pub fn validate(self) -> Result<NodeConfig, ConfigError> {
        let args = ServeArgs::from(self).with_file()?;
        let config = args.node()?;
        match config.bootstrap.is_empty() {
            true => Err(missing("bootstrap ADDRESS")),
            false => Ok(config),
        }
    }
}

fn missing(option: &'static str) -> ConfigError {
    ConfigError::Missing { option }
}

fn addresses(option: &'static str, texts: &[String]) -> Result<Vec<Multiaddr>, ConfigError> {
    let parse = |text: &String| {
        text.parse().map_err(
            |error: quipu_network::MultiaddrError| ConfigError::Address {
                option,
                text: text.clone(),
                reason: error.to_string(),
            },
        )
    };
    texts.iter().map(parse).collect()
}

impl NodeConfig {
    /// File of the libp2p identity.
    pub fn peer_key(&self) -> PathBuf {
        peer_key(&self.base_path)
    }

    /// Folder of what belongs to one chain: its sessions and jobs have numbers that another chain
    /// gives as well.
    fn of_chain(&self, genesis: &Digest) -> PathBuf {
        self.base_path.join(hex::encode(&genesis[..8]))
    }

    /// Folder of the sessions' journals.
    pub fn journals(&self, genesis: &Digest) -> PathBuf {
        self.of_chain(genesis).join("sessions")
    }

    /// Folder of what audits may ask for.
    pub fn evidence(&self, genesis: &Digest) -> PathBuf {
        self.of_chain(genesis).join("evidence")
    }

    /// Folder of what was found of others' work.
    pub fn findings(&self, genesis: &Digest) -> PathBuf {
        self.of_chain(genesis).join("findings")
    }

    /// Folder of the jobs under way.
    pub fn jobs(&self, genesis: &Digest) -> PathBuf {
        self.of_chain(genesis).join("jobs")
    }
}

/// File of the libp2p identity below a worker's folder.
pub fn peer_key(base_path: &Path) -> PathBuf {
    base_path.join("peer.key")
}

#[cfg(test)]
mod tests;
