//! Why a worker does not start, or stops.

use crate::{
    config::{ConfigError, Device},
    model::ModelMismatch,
};
use quipu_engine::EngineError;
use quipu_network::{KeyFileError, NetworkError};
use quipu_primitives::{Balance, InQpu, NodeId, Span, SpanError, SubnetId};
use quipu_worker_core::{
    ports::{ChainError, ComputeError},
    Classified, Fault,
};
use std::{io, path::PathBuf};

/// What counts of a bond, as people read it.
pub(crate) fn counted(bonded: Balance, pending: Balance) -> String {
    match pending {
        0 => InQpu(bonded).to_string(),
        _ => format!("{} ({} wait to be slashed)", InQpu(bonded), InQpu(pending)),
    }
}

/// What ends a worker. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model can't be opened, or is not the subnet's.
    #[error(transparent)]
    Model(#[from] ModelMismatch),
    /// The chain can't be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// There is no such subnet.
    #[error("there is no subnet {0} on this chain: look the number up with `quipu subnet list`")]
    NoSubnet(SubnetId),
    /// The hotkey signs for no node.
    #[error(
        "hotkey {hotkey} is not registered: run `quipu node register --subnet {subnet}` with its \
         coldkey, and bond for it"
    )]
    NotRegistered {
        /// The hotkey, in SS58.
        hotkey: String,
        /// The subnet to register in.
        subnet: SubnetId,
    },
    /// The node went away while the worker started.
    #[error("hotkey {0} signs for no node any more: its node was removed, or its key was changed")]
    Removed(String),
    /// The hotkey's node is in another subnet.
    #[error("hotkey {hotkey} signs for node {node} of subnet {found}, not of subnet {wanted}")]
    OtherSubnet {
        /// The hotkey, in SS58.
        hotkey: String,
        /// Its node.
        node: NodeId,
        /// The node's subnet.
        found: SubnetId,
        /// The subnet that was asked for.
        wanted: SubnetId,
    },
    /// The chain expects another peer.
    #[error(
        "node {node} is registered with peer id {registered}, but the key {key} has {own}: use the \
         right --base-path, or register the new id"
    )]
    OtherPeer {
        /// The node.
        node: NodeId,
        /// On chain.
        registered: String,
        /// Ours.
        own: String,
        /// File of our key.
        key: PathBuf,
    },
    /// The span does not fit the model.
    #[error("--blocks {span} can't be served: {error}")]
    Span {
        /// What was asked for.
        span: Span,
        /// What is wrong with it.
        error: SpanError,
    },
    /// Not even one block fits.
    #[error(
        "not one block fits into {memory} bytes: one takes {block}, and {reserve} are kept for the \
         rest; give more --memory, or fewer --kv-positions"
    )]
    NothingFits {
        /// Memory that may be used.
        memory: u64,
        /// What a block takes with its cache.
        block: u64,
        /// What is kept for the rest.
        reserve: u64,
    },
    /// The subnet accepts no profile that this worker computes with.
    #[error(
        "subnet {subnet} accepts no numeric profile of this worker, which computes in f32 on {device}: \
         choose another --device, or another subnet"
    )]
    NoProfile {
        /// The subnet.
        subnet: SubnetId,
        /// What the worker computes on.
        device: Device,
    },
    /// The bond is too small for a seat.
    #[error(
        "node {node} has bonded {}, which is too little for a seat: run `quipu node bond --node \
         {node} --amount …` with its coldkey", counted(*.bonded, *.pending)
    )]
    NotStaked {
        /// The node.
        node: NodeId,
        /// What counts of its bond.
        bonded: Balance,
        /// What waits to be slashed, and doesn't count.
        pending: Balance,
    },
    /// The chain gives no seat.
    #[error("node {node} gets no seat for blocks {span}: {source}")]
    NoSeat {
        /// The node.
        node: NodeId,
        /// The blocks.
        span: Span,
        /// What the chain said.
        source: ChainError,
    },
    /// The seat was taken from a node that served.
    #[error(
        "node {node} lost its seat for blocks {span}: its owner gave it back, or its bond of {} \
         became too little; start the worker again to take it anew, after `quipu node bond --node \
         {node} --amount …` if it is the bond", counted(*.bonded, *.pending)
    )]
    SeatLost {
        /// The node.
        node: NodeId,
        /// The blocks that it served.
        span: Span,
        /// What counts of its bond now.
        bonded: Balance,
        /// What waits to be slashed, and doesn't count.
        pending: Balance,
    },
    /// The node's seat is for something else now.
    #[error(
        "node {node} has a seat for blocks {found} now, where this worker serves {span}: somebody \
         else took it with the node's hotkey or coldkey; start the worker again to change it back"
    )]
    SeatChanged {
        /// The node.
        node: NodeId,
        /// The blocks that this worker serves.
        span: Span,
        /// The blocks of the seat.
        found: Span,
    },
    /// The node is found under another peer id.
    #[error(
        "node {node} is registered with another peer id now, so that no client finds this worker: \
         stop the other worker, or register this one's id again"
    )]
    PeerChanged {
        /// The node.
        node: NodeId,
    },
    /// The blocks can't be loaded.
    #[error("the blocks can't be loaded: {0}")]
    Load(#[from] EngineError),
    /// There is no such device.
    #[error(
        "no CUDA device can be used: {0}. It needs NVIDIA's driver and CUDA's libraries, found by \
         LD_LIBRARY_PATH or CUDA_PATH; `--device cpu` does without"
    )]
    NoDevice(String),
    /// The span does not compute.
    #[error("the span does not compute: {0}")]
    Compute(#[from] ComputeError),
    /// The peer key can't be used.
    #[error(transparent)]
    PeerKey(#[from] KeyFileError),
    /// The network can't be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The swarm went away.
    #[error("the network stopped by itself: restart the worker, and report it")]
    NetworkEnded,
    /// The computing thread went away.
    #[error("the computing thread stopped by itself: restart the worker, and report it")]
    ComputeEnded,
    /// A file or socket of the worker can't be used.
    #[error("{what}: {source}")]
    Io {
        /// What can't be used.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl WorkerError {
    /// An error of a file or socket.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| WorkerError::Io { what, source }
    }
}

impl Classified for WorkerError {
    fn is_fatal(&self) -> bool {
        true
    }

    fn fault(&self) -> Fault {
        match self {
            WorkerError::Chain(error) => error.fault(),
            WorkerError::NoSeat { source, .. } => source.fault(),
            WorkerError::Network(error) => error.fault(),
            WorkerError::Io { .. } | WorkerError::NoDevice(_) => Fault::Environment,
            WorkerError::Load(_)
            | WorkerError::Compute(_)
            | WorkerError::NetworkEnded
            | WorkerError::ComputeEnded => Fault::Ours,
            _ => Fault::Caller,
        }
    }
}
