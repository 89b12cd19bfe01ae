//! Sessions, jobs, balances and quotes.

use super::{
    args::{JobCommand, SessionCommand},
    context::Context,
    error::CliError,
    print::Printer,
    values::{show_hex, show_text, Account, Amount},
};
use futures::StreamExt;
use quipu_chain::show_account;
use quipu_primitives::{
    job::FinishReason,
    views::{JobInfo, JobStatus, SessionInfo, SessionStatus},
    AccountBytes, InQpu, JobId, SubnetId,
};
use quipu_worker_core::{
    ports::{Call, ChainEvent},
    Signer,
};
use serde_json::{json, Value};
use std::{fmt::Write, sync::Arc};

pub async fn session(
    command: SessionCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let SessionCommand::Show { session: id } = command;
    let session = context
        .chain
        .session(id)
        .await?
        .ok_or(CliError::NoSession(id))?;
    printer.result(session_value(&session), || session_text(&session))
}

fn status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Open => "open",
        SessionStatus::Settling => "settling",
        SessionStatus::Closed => "closed",
    }
}

fn session_text(session: &SessionInfo<AccountBytes>) -> String {
    let mut text = format!(
        "session {} of subnet {} is {}, deadline block {}\n  consumer {}\n  deposit {}",
        session.id,
        session.subnet,
        status(session.status),
        session.deadline,
        show_account(&session.consumer),
        InQpu(session.deposit),
    );
    if let (Some(root), Some(block)) = (session.receipt_root, session.settled_at) {
        let _ = write!(
            text,
            "\n  settled in block {block}, receipt root {}",
            show_hex(&root)
        );
    }
    for server in &session.servers {
        let _ = write!(
            text,
            "\n  node {} blocks {}: {} positions, {} of at most {}",
            server.node,
            server.span,
            server.positions,
            InQpu(server.earned),
            InQpu(server.cap),
        );
    }
    text
}

fn session_value(session: &SessionInfo<AccountBytes>) -> Value {
    json!({
        "session": session.id,
        "subnet": session.subnet,
        "status": status(session.status),
        "consumer": show_account(&session.consumer),
        "integrator": session.integrator.as_ref().map(show_account),
        "deposit": session.deposit.to_string(),
        "opened_at": session.opened_at,
        "deadline": session.deadline,
        "settled_at": session.settled_at,
        "receipt_root": session.receipt_root.map(|root| show_hex(&root)),
        "servers": session.servers.iter().map(|server| json!({
            "node": server.node,
            "blocks": server.span.to_string(),
            "price": server.price.to_string(),
            "cap": server.cap.to_string(),
            "positions": server.positions,
            "earned": server.earned.to_string(),
        })).collect::<Vec<_>>(),
    })
}

pub async fn job(
    command: JobCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (subnet, prompt, max_tokens, fee, wait) = match command {
        JobCommand::Show { job } => {
            let job = read_job(job, context).await?;
            return print_job(&job, printer);
        }
        JobCommand::Request {
            subnet,
            prompt,
            max_tokens,
            fee,
            wait,
        } => (subnet, prompt, max_tokens, fee, wait),
    };
    let most = quipu_primitives::job::MAX_PROMPT as usize;
    if prompt.len() > most {
        return Err(CliError::TooLong {
            option: "prompt",
            got: prompt.len(),
            most,
        });
    }
    // Listen first: the answer may come quickly.
    let mut events = context.chain.events().await?;
    let call = Call::RequestJob {
        subnet,
        prompt: prompt.into_bytes(),
        max_tokens,
        fee: fee.0,
    };
    let included = context.submit(call, printer).await?;
    let block = included.number;
    let requested = included.events.iter().find_map(|event| match event {
        ChainEvent::JobRequested { job, node, .. } => Some((*job, *node)),
        _ => None,
    });
    let (id, node) = requested.ok_or(CliError::NoEvent {
        block,
        event: "JobRequested",
    })?;
    if !wait {
        return printer.result(json!({ "job": id, "node": node, "block": block }), || {
            format!("job {id} is with node {node} (block {block}); `quipu job show {id}` tells")
        });
    }
    printer.aside(&format!("job {id} is with node {node} (block {block})\n"));
    while let Some(event) = events.next().await {
        match event {
            ChainEvent::JobDone { job } if job == id => {
                let job = read_job(id, context).await?;
                return print_job(&job, printer);
            }
            ChainEvent::JobRefunded { job } if job == id => break,
            _ => {}
        }
    }
    Err(CliError::Unanswered(id))
}

async fn read_job(id: JobId, context: &Context) -> Result<JobInfo<AccountBytes>, CliError> {
    context.chain.job(id).await?.ok_or(CliError::NoJob(id))
}

fn print_job(job: &JobInfo<AccountBytes>, printer: &mut Printer) -> Result<(), CliError> {
    let mut value = json!({
        "job": job.id,
        "subnet": job.subnet,
        "requester": show_account(&job.requester),
        "node": job.node,
        "prompt": show_text(&job.prompt),
        "max_tokens": job.max_tokens,
        "fee": job.fee.to_string(),
        "deadline": job.deadline,
    });
    let told = match &job.status {
        JobStatus::Assigned => {
            value["status"] = json!("assigned");
            format!("waits for node {} until block {}", job.node, job.deadline)
        }
        JobStatus::Refunded => {
            value["status"] = json!("refunded");
            "nobody answered in time; the fee went back".into()
        }
        JobStatus::Done {
            answer,
            finish,
            session,
            receipt_root,
            paid,
        } => {
            value["status"] = json!("done");
            value["answer"] = json!(show_text(answer));
            value["finish"] = json!(match finish {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            });
            value["session"] = json!(session);
            value["receipt_root"] = json!(show_hex(receipt_root));
            value["paid"] = json!(paid);
            format!(
                "answered by node {} in session {session}, receipt root {}\n\n{}",
                job.node,
                show_hex(receipt_root),
                show_text(answer)
            )
        }
    };
    printer.result(value, || {
        format!("job {} of subnet {}: {told}", job.id, job.subnet)
    })
}

pub fn account(signer: &Arc<dyn Signer>, printer: &mut Printer) -> Result<(), CliError> {
    let account = signer.public();
    let (ss58, hex) = (show_account(&account), show_hex(&account));
    printer.result(json!({ "account": ss58, "public_key": hex }), || {
        ss58.clone()
    })
}

pub async fn balance(
    account: Option<Account>,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let account = match account {
        Some(Account(account)) => account,
        None => context.signer()?.public(),
    };
    let free = context.chain.free_balance(account).await?;
    let who = show_account(&account);
    printer.result(json!({ "account": who, "free": free.to_string() }), || {
        format!("{who} has {} free", InQpu(free))
    })
}

pub async fn transfer(
    to: Account,
    amount: Amount,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let call = Call::Transfer {
        to: to.0,
        amount: amount.0,
    };
    let block = context.submit(call, printer).await?.number;
    let to = show_account(&to.0);
    let value = json!({ "to": to, "amount": amount.0.to_string(), "block": block });
    printer.result(value, || format!("sent {amount} to {to} (block {block})"))
}

pub async fn quote(
    subnet: SubnetId,
    positions: u32,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let quote = context.chain.quote(subnet, positions).await??;
    let route: Vec<Value> = quote
        .route
        .iter()
        .map(|(node, part)| json!({ "node": node, "cost": part.to_string() }))
        .collect();
    let value = json!({
        "subnet": subnet,
        "positions": positions,
        "total": quote.total.to_string(),
        "route": route,
    });
    printer.result(value, || {
        let mut text = format!("{positions} positions cost {}", InQpu(quote.total));
        for (node, part) in &quote.route {
            let _ = write!(text, "\n  node {node}: {}", InQpu(*part));
        }
        text
    })
}
