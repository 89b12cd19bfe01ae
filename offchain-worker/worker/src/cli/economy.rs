//! Supply, quotas and what stake earns.

use super::{
    args::QuotaCommand, context::Context, error::CliError, print::Printer, values::Account,
};
use quipu_chain::show_account;
use quipu_primitives::{
    economy::{Bucket, BurnSource, QuotaInfo, SupplyInfo},
    AccountBytes, InQpu,
};
use quipu_worker_core::ports::{Call, EconomyCall};
use serde_json::{json, Value};
use std::fmt::Write;

fn bucket(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Compute => "compute",
        Bucket::Capital => "capital",
        Bucket::Builders => "builders",
        Bucket::Community => "community",
        Bucket::Protection => "protection",
    }
}

fn source(source: BurnSource) -> &'static str {
    match source {
        BurnSource::Fee => "fees",
        BurnSource::Dust => "dust",
        BurnSource::Slash => "slashes",
    }
}

/// `quipu supply`
pub async fn supply(context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let supply = context.chain.supply().await?;
    printer.result(supply_value(&supply), || supply_text(&supply))
}

fn supply_text(supply: &SupplyInfo<AccountBytes>) -> String {
    let mut text = format!(
        "{} exist: {} from genesis, {} emitted since\n  this day emits {}\n  this period emits {}, of \
         which {} are still to come",
        InQpu(supply.total),
        InQpu(supply.genesis),
        InQpu(supply.issued),
        InQpu(supply.today),
        InQpu(supply.period_total),
        InQpu(supply.period_left),
    );
    for (reason, amount) in &supply.burned {
        let _ = write!(
            text,
            "\n  burned by {}: {}",
            source(*reason),
            InQpu(*amount)
        );
    }
    for (of, account, balance) in &supply.buckets {
        let account = show_account(account);
        let _ = write!(
            text,
            "\n  {} has {} ({account})",
            bucket(*of),
            InQpu(*balance)
        );
    }
    text
}

fn supply_value(supply: &SupplyInfo<AccountBytes>) -> Value {
    let burned = supply.burned.iter();
    let buckets = supply.buckets.iter();
    json!({
        "total": supply.total.to_string(),
        "genesis": supply.genesis.to_string(),
        "issued": supply.issued.to_string(),
        "today": supply.today.to_string(),
        "period_total": supply.period_total.to_string(),
        "period_left": supply.period_left.to_string(),
        "burned": burned
            .map(|(reason, amount)| (source(*reason).to_owned(), json!(amount.to_string())))
            .collect::<serde_json::Map<_, _>>(),
        "buckets": buckets
            .map(|(of, account, balance)| {
                let value = json!({ "account": show_account(account), "balance": balance.to_string() });
                (bucket(*of).to_owned(), value)
            })
            .collect::<serde_json::Map<_, _>>(),
    })
}

/// `quipu quota …`
pub async fn quota(
    command: QuotaCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (call, done) = match command {
        QuotaCommand::Show { account } => return show_quota(account, context, printer).await,
        QuotaCommand::Lock { amount } => (
            EconomyCall::LockQuota { amount: amount.0 },
            format!("locked {amount}, which counts from the next day on"),
        ),
        QuotaCommand::Unlock { amount } => (
            EconomyCall::UnlockQuota { amount: amount.0 },
            format!("unlocked {amount}"),
        ),
    };
    let block = context.submit(Call::Economy(call), printer).await?.number;
    printer.result(json!({ "block": block }), || {
        format!("{done} (block {block})")
    })
}

async fn show_quota(
    account: Option<Account>,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let account = match account {
        Some(Account(account)) => account,
        None => context.signer()?.public(),
    };
    let quota = context.chain.quota(account).await?;
    let who = show_account(&account);
    printer.result(quota_value(&who, &quota), || {
        format!(
            "{who} may use {} today, of which {} are left\n  locked {}, of which {} count today\n  \
             all holders together may use {}",
            InQpu(quota.quota),
            InQpu(quota.left),
            InQpu(quota.locked),
            InQpu(quota.counts),
            InQpu(quota.budget),
        )
    })
}

fn quota_value(who: &str, quota: &QuotaInfo) -> Value {
    json!({
        "account": who,
        "day": quota.day,
        "locked": quota.locked.to_string(),
        "counts": quota.counts.to_string(),
        "quota": quota.quota.to_string(),
        "left": quota.left.to_string(),
        "budget": quota.budget.to_string(),
    })
}
