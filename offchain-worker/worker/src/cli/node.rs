//! `quipu node …`

use super::{
    args::{BondArgs, MoveArgs, NodeArg, NodeCommand},
    context::Context,
    error::CliError,
    print::Printer,
    values::{show_hex, show_peer, Percent},
};
use crate::error::counted;
use quipu_chain::show_account;
use quipu_primitives::{views::NodeInfo, AccountBytes, InQpu, NodeId};
use quipu_worker_core::ports::{Call, ChainEvent, EconomyCall};
use serde_json::{json, Value};

pub async fn run(
    command: NodeCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (node, call, done) = match command {
        NodeCommand::Register {
            subnet,
            hotkey,
            peer_id,
        } => {
            let (hotkey, peer_id) = (hotkey.0, peer_id.0);
            return register(
                Call::RegisterNode {
                    subnet,
                    hotkey,
                    peer_id,
                },
                context,
                printer,
            )
            .await;
        }
        NodeCommand::Show(NodeArg { node }) => return show(node, context, printer).await,
        NodeCommand::Bond(BondArgs { node, amount }) => (
            node,
            Call::Bond {
                node,
                amount: amount.0,
            },
            format!("bonded {amount}"),
        ),
        NodeCommand::Unbond(BondArgs { node, amount }) => {
            let done = format!("{amount} are unbonding; withdraw them when the time is over");
            (
                node,
                Call::Unbond {
                    node,
                    amount: amount.0,
                },
                done,
            )
        }
        NodeCommand::Withdraw(NodeArg { node }) => (
            node,
            Call::Withdraw { node },
            "withdrew what had finished unbonding".into(),
        ),
        NodeCommand::Leave(NodeArg { node }) => {
            (node, Call::Leave { node }, "gave its seat back".into())
        }
        NodeCommand::Remove(NodeArg { node }) => {
            (node, Call::RemoveNode { node }, "is removed".into())
        }
        NodeCommand::Claim(NodeArg { node }) => (
            node,
            Call::Economy(EconomyCall::ClaimOwn { node }),
            "its owner was paid what it had earned".into(),
        ),
        NodeCommand::Commission { node, percent } => (
            node,
            Call::Economy(EconomyCall::SetCommission {
                node,
                parts: percent.parts,
            }),
            format!("keeps {percent} of its delegators' rewards from now on"),
        ),
        NodeCommand::MoveBond(MoveArgs { from, to, amount }) => (
            from,
            Call::Economy(EconomyCall::MoveBond {
                from,
                to,
                amount: amount.0,
            }),
            format!("{amount} of its bond are with node {to} now"),
        ),
    };
    let block = context.submit(call, printer).await?.number;
    printer.result(json!({ "node": node, "block": block }), || {
        format!("node {node}: {done} (block {block})")
    })
}

async fn register(call: Call, context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let included = context.submit(call, printer).await?;
    let block = included.number;
    let registered = included.events.iter().find_map(|event| match event {
        ChainEvent::NodeRegistered { node, subnet } => Some((*node, *subnet)),
        _ => None,
    });
    let (node, subnet) = registered.ok_or(CliError::NoEvent {
        block,
        event: "NodeRegistered",
    })?;
    printer.result(
        json!({ "node": node, "subnet": subnet, "block": block }),
        || {
            format!(
                "node {node} of subnet {subnet} is registered in block {block}; bond for it with \
             `quipu node bond --node {node} --amount …`"
            )
        },
    )
}

async fn show(id: NodeId, context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let node = context
        .chain
        .node_by_id(id)
        .await?
        .ok_or(CliError::NoNode(id))?;
    let income = context.chain.stake_income(id).await?;
    let pool = context.chain.pool(id).await?;
    let mut shown = value(&node);
    shown["stake"] = json!(income.stake.to_string());
    shown["earned"] = json!(income.earned.to_string());
    shown["earns_per_day"] = json!(income.per_day.to_string());
    shown["pool"] = json!(pool.as_ref().map(|pool| json!({
        "delegated": pool.amount.to_string(),
        "leaving": pool.leaving.to_string(),
        "delegators": pool.delegators,
        "commission_parts": pool.commission_parts,
        "owner_rewards": pool.owner_rewards.to_string(),
    })));
    let delegated = pool.map_or(String::new(), |pool| {
        let commission = Percent {
            parts: pool.commission_parts,
        };
        format!(
            "\n  {} of {} delegators, commission {commission}; its owner may claim {}",
            InQpu(pool.amount),
            pool.delegators,
            InQpu(pool.owner_rewards)
        )
    });
    printer.result(shown, || {
        format!(
            "{}\n  coldkey {}\n  hotkey {}\n  peer {}\n  stake that counts {}, earns {} a day, has {} to \
             collect{delegated}",
            line(&node),
            show_account(&node.coldkey),
            show_account(&node.hotkey),
            show_peer(&node.peer_id),
            InQpu(income.stake),
            InQpu(income.per_day),
            InQpu(income.earned),
        )
    })
}

/// A node in one line.
pub fn line(node: &NodeInfo<AccountBytes>) -> String {
    let seat = match &node.seat {
        Some(seat) => format!(
            "serves blocks {} at {} per position and block",
            seat.span,
            InQpu(seat.price)
        ),
        None => "has no seat".into(),
    };
    format!(
        "node {} of subnet {} {seat}, bonded {}",
        node.id,
        node.subnet,
        counted(node.self_bond, node.pending_slash)
    )
}

/// A node for machines.
pub fn value(node: &NodeInfo<AccountBytes>) -> Value {
    json!({
        "node": node.id,
        "subnet": node.subnet,
        "coldkey": show_account(&node.coldkey),
        "hotkey": show_account(&node.hotkey),
        "peer_id": show_peer(&node.peer_id),
        "self_bond": node.self_bond.to_string(),
        "pending_slash": node.pending_slash.to_string(),
        "seat": node.seat.as_ref().map(|seat| json!({
            "blocks": seat.span.to_string(),
            "price": seat.price.to_string(),
            "profile": show_hex(&seat.profile),
        })),
    })
}
