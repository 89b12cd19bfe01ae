//! What is checked before a worker takes its place: that it may serve what it was told to, and that
//! it has the right weights.

use crate::{
    config::{Blocks, Device, MEMORY_RESERVE},
    error::WorkerError,
    model::{self, ModelMismatch},
};
use futures::StreamExt;
use quipu_chain::show_account;
use quipu_engine::Model;
use quipu_primitives::{
    views::{NodeInfo, SubnetInfo},
    AccountBytes, Balance, DType, Digest, Kernel, Manifest, NumericProfile, Span, SubnetId,
};
use quipu_worker_core::{
    placement::{choose, Memory, Server},
    ports::{Call, Chain, ChainError, ChainEvent},
    Signer,
};
use std::{path::Path, sync::Arc};
use tracing::info;

/// A place that a worker can take.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its node.
    pub node: NodeInfo<AccountBytes>,
    /// Its subnet.
    pub subnet: SubnetInfo<AccountBytes>,
    /// The blocks that it will serve.
    pub span: Span,
    /// The profile that it computes with.
    pub profile: NumericProfile,
}

/// Finds the node of the hotkey in the subnet.
pub async fn find_node(
    chain: &dyn Chain,
    hotkey: AccountBytes,
    wanted: SubnetId,
) -> Result<(SubnetInfo<AccountBytes>, NodeInfo<AccountBytes>), WorkerError> {
    let subnet = chain
        .subnet(wanted)
        .await?
        .ok_or(WorkerError::NoSubnet(wanted))?;
    let node = chain
        .node_of_hotkey(hotkey)
        .await?
        .ok_or_else(|| WorkerError::NotRegistered {
            hotkey: show_account(&hotkey),
            subnet: wanted,
        })?;
    if node.subnet != wanted {
        return Err(WorkerError::OtherSubnet {
            hotkey: show_account(&hotkey),
            node: node.id,
            found: node.subnet,
            wanted,
        });
    }
    Ok((subnet, node))
}

/// Compares the model with the manifest: its shape, its tokenizer, and the weights of `span`.
pub async fn check_model(
    model: &Arc<Model>,
    manifest: &Manifest,
    span: Span,
) -> Result<(), WorkerError> {
    info!(%span, "checking the weights against the manifest");
    let (model, manifest) = (model.clone(), manifest.clone());
    let check = move || model::check(&model, &manifest, span);
    let checked = tokio::task::spawn_blocking(check).await;
    checked
        .map_err(std::io::Error::other)
        .map_err(WorkerError::io("the weights can't be checked"))??;
    Ok(())
}

/// Finds the node of the hotkey and the blocks to serve, and compares the model with the manifest.
pub async fn find_place(
    chain: &dyn Chain,
    hotkey: AccountBytes,
    subnet: SubnetId,
    blocks: Blocks,
    kv_positions: u32,
    device: Device,
    model: Arc<Model>,
) -> Result<Place, WorkerError> {
    let wanted = subnet;
    let (subnet, node) = find_node(chain, hotkey, wanted).await?;
    let profile = profile(&subnet.manifest, device).ok_or(WorkerError::NoProfile {
        subnet: wanted,
        device,
    })?;
    let span = match blocks {
        Blocks::Span(span) => span,
        Blocks::Fit { memory } => {
            let roster = chain.roster(wanted).await?;
            let memory = memory_of(&model, profile.kernel, memory, kv_positions)?;
            fit(&subnet.manifest, &node, &roster, memory)?
        }
    };
    let error = |error| WorkerError::Span { span, error };
    span.check(subnet.manifest.config.blocks).map_err(error)?;
    check_model(&model, &subnet.manifest, span).await?;
    Ok(Place {
        node,
        subnet,
        span,
        profile,
    })
}

/// The first of the manifest's profiles that this device computes: the order is the creator's wish.
fn profile(manifest: &Manifest, device: Device) -> Option<NumericProfile> {
    let mut profiles = manifest.profiles.iter();
    let ours = profiles.find(|profile| {
        device.runs(profile.kernel)
            && matches!(profile.activations, DType::F32 | DType::F16 | DType::Bf16)
            && profile.kv == DType::F32
    });
    ours.cloned()
}

/// What the model's blocks take of `total` bytes on such kernels, with caches for `kv_positions`.
pub fn memory_of(
    model: &Model,
    kernel: Kernel,
    total: u64,
    kv_positions: u32,
) -> Result<Memory, WorkerError> {
    let config = model.config();
    let each = config.kv_bytes_per_token_and_block() as u64;
    let block = match kernel {
        // Weights stay as they are stored.
        Kernel::ReproducibleV1 => (0..config.blocks)
            .map(|block| model.stored_block_bytes(block))
            .try_fold(0, |most, bytes| bytes.map(|bytes| bytes.max(most)))
            .map_err(ModelMismatch::from)?,
        _ => config.block_parameters() as u64 * size_of::<f32>() as u64,
    };
    Ok(Memory {
        total,
        reserve: MEMORY_RESERVE,
        block,
        cache: each.saturating_mul(u64::from(kv_positions)),
    })
}

/// As many blocks as fit, where they are needed. A seat that the node has, and that fits, is kept.
fn fit(
    manifest: &Manifest,
    node: &NodeInfo<AccountBytes>,
    roster: &[NodeInfo<AccountBytes>],
    memory: Memory,
) -> Result<Span, WorkerError> {
    let most = memory.blocks();
    if let Some(seat) = node.seat.as_ref().filter(|seat| seat.span.len() <= most) {
        return Ok(seat.span);
    }
    let others = roster.iter().filter(|other| other.id != node.id);
    let servers: Vec<Server> = others
        .filter_map(|other| other.seat.as_ref())
        .map(|seat| Server::unmeasured(seat.span))
        .collect();
    choose(manifest.config.blocks, &servers, most).ok_or(WorkerError::NothingFits {
        memory: memory.total,
        block: memory.block.saturating_add(memory.cache),
        reserve: memory.reserve,
    })
}

/// Is the node registered with our peer id?
pub fn check_peer(
    node: &NodeInfo<AccountBytes>,
    own: &quipu_network::PeerId,
    key: &Path,
) -> Result<(), WorkerError> {
    if node.peer_id.as_slice() == own.to_bytes() {
        return Ok(());
    }
    let registered = match quipu_network::peer_id_from_bytes(&node.peer_id) {
        Ok(peer) => peer.to_string(),
        Err(_) => format!("0x{}", hex::encode(&node.peer_id)),
    };
    Err(WorkerError::OtherPeer {
        node: node.id,
        registered,
        own: own.to_string(),
        key: key.into(),
    })
}

/// How often [`take_seat`] looks again when what it saw was not the chain's latest state.
const LOOKS: u32 = 5;

/// Takes the seat on chain, unless the node has just that one, and gives the block that has it. Of
/// a seat that has another price only the price is changed.
///
/// What is read is final, what is submitted meets the best block: a worker that restarts soon after
/// it took or gave back a seat sees the state before. Then it waits for the next final block and
/// looks again.
pub async fn take_seat(
    chain: &dyn Chain,
    hotkey: &dyn Signer,
    span: Span,
    price: Balance,
    profile: Digest,
) -> Result<u32, WorkerError> {
    let mut looks = LOOKS;
    loop {
        looks -= 1;
        match try_take_seat(chain, hotkey, span, price, profile).await {
            Err(WorkerError::NoSeat { source, .. }) if looks > 0 && is_stale(&source) => {
                info!(%source, "the seat is not final yet; waiting for the next block");
                next_block(chain).await?;
            }
            result => return result,
        }
    }
}

fn is_stale(error: &ChainError) -> bool {
    matches!(error, ChainError::Dispatch { error, .. }
        if ["AlreadySeated", "NotSeated"].contains(&error.as_str()))
}

async fn next_block(chain: &dyn Chain) -> Result<(), WorkerError> {
    let mut events = chain.events().await?;
    let finalized = |event: &ChainEvent| matches!(event, ChainEvent::Finalized { .. });
    while events.next().await.is_some_and(|event| !finalized(&event)) {}
    Ok(())
}

async fn try_take_seat(
    chain: &dyn Chain,
    hotkey: &dyn Signer,
    span: Span,
    price: Balance,
    profile: Digest,
) -> Result<u32, WorkerError> {
    let account = hotkey.public();
    let node = chain.node_of_hotkey(account).await?;
    let node = node.ok_or_else(|| WorkerError::Removed(show_account(&account)))?;
    let id = node.id;
    let no_seat = |source| match source {
        ChainError::Dispatch { error, .. } if error == "BondTooSmall" => WorkerError::NotStaked {
            node: id,
            bonded: node.self_bond,
            pending: node.pending_slash,
        },
        source => WorkerError::NoSeat {
            node: id,
            span,
            source,
        },
    };
    if let Some(seat) = &node.seat {
        if (seat.span, seat.profile) == (span, profile) {
            if seat.price == price {
                info!(node = id, %span, "the seat is taken already");
                return Ok(chain.finalized().await?);
            }
            let change = Call::UpdatePrice { node: id, price };
            let included = chain.submit(hotkey, change).await.map_err(&no_seat)?;
            info!(
                node = id,
                old = seat.price,
                price,
                block = included.number,
                "price changed"
            );
            return Ok(included.number);
        }
        info!(node = id, old = %seat.span, "giving the old seat back");
        let leave = Call::Leave { node: id };
        chain.submit(hotkey, leave).await.map_err(&no_seat)?;
    }
    let join = Call::Join {
        node: id,
        span,
        price,
        profile,
    };
    let included = chain.submit(hotkey, join).await.map_err(&no_seat)?;
    info!(node = id, %span, block = included.number, "seat taken");
    Ok(included.number)
}

#[cfg(test)]
mod tests;
