//! `quipu delegation …`

use super::{
    args::{BondArgs, DelegationCommand, MoveArgs, NodeArg},
    context::Context,
    error::CliError,
    print::Printer,
    values::Account,
};
use quipu_chain::show_account;
use quipu_primitives::{views::DelegationInfo, InQpu, NodeId};
use quipu_worker_core::ports::{Call, EconomyCall};
use serde_json::{json, Value};
use std::fmt::Write;

pub async fn run(
    command: DelegationCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (node, call, done) = match command {
        DelegationCommand::Show { node, account } => {
            return show(node, account, context, printer).await
        }
        DelegationCommand::Add(BondArgs { node, amount }) => (
            node,
            EconomyCall::Delegate {
                node,
                amount: amount.0,
            },
            format!("{amount} more are at stake for it"),
        ),
        DelegationCommand::Remove(BondArgs { node, amount }) => (
            node,
            EconomyCall::Undelegate {
                node,
                amount: amount.0,
            },
            format!("{amount} are unbonding; withdraw them when the time is over"),
        ),
        DelegationCommand::Withdraw(NodeArg { node }) => (
            node,
            EconomyCall::WithdrawDelegation {
                node,
                delegator: context.signer()?.public(),
            },
            "withdrew what had finished unbonding".into(),
        ),
        DelegationCommand::Claim(NodeArg { node }) => (
            node,
            EconomyCall::Claim { node },
            "paid out what was earned".into(),
        ),
        DelegationCommand::Move(MoveArgs { from, to, amount }) => (
            from,
            EconomyCall::MoveDelegation {
                from,
                to,
                amount: amount.0,
            },
            format!("{amount} are at stake for node {to} now"),
        ),
    };
    let block = context.submit(Call::Economy(call), printer).await?.number;
    printer.result(json!({ "node": node, "block": block }), || {
        format!("node {node}: {done} (block {block})")
    })
}

async fn show(
    node: NodeId,
    account: Option<Account>,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let account = match account {
        Some(Account(account)) => account,
        None => context.signer()?.public(),
    };
    let who = show_account(&account);
    let Some(delegation) = context.chain.delegation(node, account).await? else {
        let value = json!({ "node": node, "account": who, "delegated": "0" });
        return printer.result(value, || {
            format!("{who} has nothing at stake for node {node}")
        });
    };
    printer.result(value(&who, &delegation), || text(&who, &delegation))
}

fn text(who: &str, delegation: &DelegationInfo) -> String {
    let mut text = format!(
        "{who} has {} at stake for node {}, and may claim {}",
        InQpu(delegation.amount),
        delegation.node,
        InQpu(delegation.rewards)
    );
    if delegation.liable > 0 {
        let liable = InQpu(delegation.liable);
        let _ = write!(
            text,
            "\n  {liable} came from other nodes and still answer for them"
        );
    }
    for chunk in &delegation.chunks {
        let _ = write!(
            text,
            "\n  {} are unbonding until block {}",
            InQpu(chunk.amount),
            chunk.release_at
        );
    }
    text
}

fn value(who: &str, delegation: &DelegationInfo) -> Value {
    json!({
        "node": delegation.node,
        "account": who,
        "delegated": delegation.amount.to_string(),
        "liable": delegation.liable.to_string(),
        "rewards": delegation.rewards.to_string(),
        "unbonding": delegation.chunks.iter().map(|chunk| json!({
            "amount": chunk.amount.to_string(),
            "release_at": chunk.release_at,
        })).collect::<Vec<_>>(),
    })
}
