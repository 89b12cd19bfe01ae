//! `quipu generate`

use super::{
    args::GenerateArgs, context::Context, error::CliError, print::Printer, swarm, values::show_hex,
};
use quipu_client::{
    generate::{Abandoned, Settlement},
    payment::Paid,
    Client, ClientError, Drafted, Event, Finish, Generation, Message, Prompt, Request,
};
use quipu_primitives::{Balance, InQpu};
use serde_json::{json, Value};

pub async fn generate(
    args: GenerateArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let client = swarm::client(&args.ask, context).await?;
    let prompt = match (args.raw, args.system) {
        (true, _) => Prompt::Raw(args.prompt),
        (false, None) => Prompt::Text(args.prompt),
        (false, Some(system)) => {
            Prompt::Chat(vec![Message::system(system), Message::user(args.prompt)])
        }
    };
    let request = Request::new(args.ask.subnet, prompt, args.ask.sampling());
    let generation = match stream(&client, request, printer).await {
        Ok(generation) => generation,
        Err(CliError::Client(error)) => {
            print_partial(&error, printer)?;
            return Err(CliError::Client(error));
        }
        Err(error) => return Err(error),
    };
    printer.stream("\n")?;
    printer.aside(&format!("{}\n", summary(&generation)));
    match printer.json() {
        true => printer.result(value(&generation), String::new),
        false => Ok(()),
    }
}

/// What there is of an answer that went wrong, for machines: with the error beside it.
fn print_partial(error: &ClientError, printer: &mut Printer) -> Result<(), CliError> {
    let partial = match error {
        ClientError::Interrupted { partial, .. } => partial,
        ClientError::Unsettled { generation, .. } => generation,
        _ => return Ok(()),
    };
    printer.stream("\n")?;
    if printer.json() {
        let mut value = value(partial);
        value["error"] = json!(error.to_string());
        printer.result(value, String::new)?;
    }
    Ok(())
}

/// Asks, and shows the tokens as they come. Ctrl-C ends the answer early.
pub async fn stream(
    client: &Client,
    request: Request,
    printer: &mut Printer,
) -> Result<Generation, CliError> {
    let cancel = request.cancel.clone();
    let mut failed: Option<CliError> = None;
    let interrupted = request.cancel.clone();
    let generation = {
        let answer = client.generate(request, |event| match event {
            Event::Opened {
                session,
                prompt_tokens,
                route,
            } => {
                let servers: Vec<String> = route
                    .iter()
                    .map(|(node, span)| format!("node {node} ({span})"))
                    .collect();
                printer.aside(&format!(
                    "session {session}: {prompt_tokens} tokens to {}\n",
                    servers.join(", ")
                ));
            }
            Event::Token { text, .. } => {
                if let Err(error) = printer.stream(text) {
                    // Nobody reads it any more: end the answer, and pay for what there is.
                    failed.get_or_insert(error);
                    cancel.cancel();
                }
            }
            Event::FailedOver(failover) => printer.aside(&format!(
                "\n[node {} failed at position {} ({}); {:?} went on after {:.1?}]\n",
                failover.failed,
                failover.position,
                failover.cause,
                failover.replaced_by,
                failover.stall
            )),
            Event::Withdrawn { session, reason } => printer.aside(&format!(
                "\n[session {session} is given up: {reason}. The answer begins anew.]\n"
            )),
        });
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            signal = tokio::signal::ctrl_c() => {
                if signal.is_ok() {
                    interrupted.cancel();
                }
                answer.await
            }
        }?
    };
    match failed {
        Some(error) => Err(error),
        None => Ok(generation),
    }
}

/// One line about an answer.
pub fn summary(generation: &Generation) -> String {
    let spent: Balance = generation
        .abandoned
        .iter()
        .flat_map(|abandoned| &abandoned.paid)
        .chain(&generation.paid)
        .map(|paid| paid.earned)
        .sum();
    let settled = match &generation.settlement {
        Some(Settlement { block, .. }) => format!("settled in block {block}"),
        None => "not settled".into(),
    };
    let Drafted {
        drafted, accepted, ..
    } = generation.drafted;
    let guessed = match drafted {
        0 => String::new(),
        _ => format!(", {accepted} of {drafted} guesses right"),
    };
    format!(
        "[{} tokens, first after {:.2} s, then {:.1} per second{guessed}; {} to {} servers, \
         {settled}]",
        generation.tokens.len(),
        generation.timing.first_token.as_secs_f64(),
        generation.timing.decode_rate,
        InQpu(spent),
        generation.paid.len(),
    )
}

fn paid(paid: &[Paid]) -> Value {
    let each = paid.iter().map(|paid| {
        json!({
            "node": paid.node,
            "blocks": paid.span.to_string(),
            "positions": paid.positions,
            "earned": paid.earned.to_string(),
        })
    });
    each.collect()
}

fn settlement(settlement: &Option<Settlement>) -> Value {
    json!(settlement.as_ref().map(|settlement| json!({
        "block": settlement.block,
        "hash": settlement.hash.map(|hash| show_hex(&hash)),
    })))
}

/// An answer for machines.
pub fn value(generation: &Generation) -> Value {
    let abandoned = |abandoned: &Abandoned| {
        json!({
            "session": abandoned.session,
            "settlement": settlement(&abandoned.settlement),
            "paid": paid(&abandoned.paid),
            "reason": abandoned.reason,
        })
    };
    let timing = &generation.timing;
    json!({
        "text": generation.text,
        "tokens": generation.tokens,
        "prompt_tokens": generation.prompt_tokens,
        "finish": match generation.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Cancelled => "cancelled",
            Finish::Interrupted => "interrupted",
        },
        "session": generation.session,
        "receipt_root": show_hex(&generation.receipt_root),
        "settlement": settlement(&generation.settlement),
        "paid": paid(&generation.paid),
        "abandoned": generation.abandoned.iter().map(abandoned).collect::<Vec<_>>(),
        "failovers": generation.failovers.iter().map(|failover| json!({
            "failed": failover.failed,
            "blocks": failover.span.to_string(),
            "position": failover.position,
            "replaced_by": failover.replaced_by,
            "cause": failover.cause,
            "stall_seconds": failover.stall.as_secs_f64(),
        })).collect::<Vec<_>>(),
        "timing": {
            "open_seconds": timing.open.as_secs_f64(),
            "first_token_seconds": timing.first_token.as_secs_f64(),
            "decode_seconds": timing.decode.as_secs_f64(),
            "settle_seconds": timing.settle.as_secs_f64(),
            "decode_tokens_per_second": timing.decode_rate,
            "guessed_tokens": generation.drafted.drafted,
            "guessed_right": generation.drafted.accepted,
            "guessing_rounds": generation.drafted.rounds,
        },
    })
}
