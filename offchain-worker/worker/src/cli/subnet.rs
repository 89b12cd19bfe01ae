//! `quipu subnet …`

use super::{
    args::{RegisterArgs, SubnetCommand},
    context::Context,
    error::CliError,
    print::Printer,
    values::{show_hex, show_text},
};
use indicatif::{ProgressBar, ProgressStyle};
use quipu_chain::show_account;
use quipu_engine::Model;
use quipu_primitives::{
    views::{NodeInfo, SubnetInfo, SubnetStatus},
    AccountBytes, BoundedBytes, InQpu, Kernel, Manifest, NumericProfile, SubnetId, Terms,
};
use quipu_worker_core::ports::{Call, ChainEvent};
use serde_json::{json, Value};
use std::fmt::Write;

pub async fn run(
    command: SubnetCommand,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    match command {
        SubnetCommand::Register(args) => register(args, context, printer).await,
        SubnetCommand::List => list(context, printer).await,
        SubnetCommand::Show { subnet } => show(subnet, context, printer).await,
    }
}

async fn register(
    args: RegisterArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    // Before the digests, which take time.
    context.signer()?;
    let manifest = tokio::task::spawn_blocking(move || manifest(&args))
        .await
        .map_err(|error| {
            let source = std::io::Error::other(error);
            CliError::Io {
                what: "the digests can't be computed",
                source,
            }
        })??;
    let root = show_hex(&manifest.weights_root);
    let deposit = context.chain.deposit().await?;
    printer.aside(&format!(
        "weights root {root}\nregistering for a deposit of {}\n",
        InQpu(deposit)
    ));
    let call = Call::RegisterSubnet(Box::new(manifest));
    let included = context.submit(call, printer).await?;
    let subnet = included.events.iter().find_map(|event| match event {
        ChainEvent::SubnetRegistered { subnet } => Some(*subnet),
        _ => None,
    });
    let block = included.number;
    let subnet = subnet.ok_or(CliError::NoEvent {
        block,
        event: "SubnetRegistered",
    })?;
    printer.result(
        json!({
            "subnet": subnet,
            "block": block,
            "weights_root": root,
            "deposit": deposit.to_string(),
        }),
        || format!("subnet {subnet} is registered in block {block}"),
    )
}

/// The manifest of a model. Reads every weight, and shows how far it is. Blocks.
pub fn manifest(args: &RegisterArgs) -> Result<Manifest, CliError> {
    let model = Model::open(&args.model)?;
    // What can be refused without reading the weights.
    let name = bounded("name", &args.name)?;
    let license = bounded("license", &args.license)?;
    let uri = bounded("uri", &args.uri)?;
    let profiles = profiles(&model, args)?;
    let bar = ProgressBar::new(model.config().blocks as u64 + 2);
    // The template is a constant; should it ever be wrong, the plain bar does.
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message("computing digests");
    let mut manifest = Manifest {
        name,
        license,
        uri,
        profiles: Default::default(),
        terms: Terms {
            min_self_bond: args.min_self_bond.0,
            max_nodes: args.max_nodes,
        },
        ..model.manifest(|| bar.inc(1))?
    };
    bar.finish_and_clear();
    for profile in profiles {
        // There are fewer kernels than a manifest takes profiles.
        let _ = manifest.profiles.try_push(profile);
    }
    manifest.validate().map_err(CliError::Manifest)?;
    Ok(manifest)
}

/// The profiles that count as honest, each once. Reads headers only.
fn profiles(model: &Model, args: &RegisterArgs) -> Result<Vec<NumericProfile>, CliError> {
    let mut profiles = Vec::new();
    for kernel in &args.profiles {
        let profile = NumericProfile {
            activations: args.activations.into(),
            ..model.profile(Kernel::from(*kernel))?
        };
        if !profiles.contains(&profile) {
            profiles.push(profile);
        }
    }
    Ok(profiles)
}

fn bounded<const N: u32>(option: &'static str, text: &str) -> Result<BoundedBytes<N>, CliError> {
    let bytes = text.as_bytes().to_vec();
    let got = bytes.len();
    bytes.try_into().map_err(|_| CliError::TooLong {
        option,
        got,
        most: N as usize,
    })
}

async fn list(context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let subnets = context.chain.all_subnets().await?;
    let value: Vec<Value> = subnets.iter().map(|subnet| value(subnet, None)).collect();
    printer.result(json!({ "subnets": value }), || match subnets.is_empty() {
        true => "there is no subnet yet; `quipu subnet register` makes one".into(),
        false => {
            let lines: Vec<String> = subnets.iter().map(line).collect();
            lines.join("\n")
        }
    })
}

fn line(subnet: &SubnetInfo<AccountBytes>) -> String {
    let config = &subnet.manifest.config;
    format!(
        "{:>4}  {:<32} {:>3} blocks  context {:>6}  {}",
        subnet.id,
        show_text(&subnet.manifest.name),
        config.blocks,
        config.context_length,
        match subnet.status {
            SubnetStatus::Active => "active",
            SubnetStatus::Uncovered => "waits for servers",
            SubnetStatus::Paused => "paused by its creator",
        },
    )
}

async fn show(id: SubnetId, context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let subnet = context
        .chain
        .subnet(id)
        .await?
        .ok_or(CliError::NoSubnet(id))?;
    let roster = context.chain.roster(id).await?;
    printer.result(value(&subnet, Some(&roster)), || {
        let mut text = line(&subnet);
        let manifest = &subnet.manifest;
        let uncovered = subnet.coverage.iter().filter(|seats| **seats == 0).count();
        let _ = write!(
            text,
            "\n      creator {}\n      weights root {}\n      license {}, from {}\n      {} of {} \
             blocks are covered",
            show_account(&subnet.creator),
            show_hex(&manifest.weights_root),
            show_text(&manifest.license),
            show_text(&manifest.uri),
            subnet.coverage.len() - uncovered,
            subnet.coverage.len(),
        );
        for node in &roster {
            let _ = write!(text, "\n  {}", super::node::line(node));
        }
        text
    })
}

fn value(subnet: &SubnetInfo<AccountBytes>, roster: Option<&[NodeInfo<AccountBytes>]>) -> Value {
    let manifest = &subnet.manifest;
    let mut value = json!({
        "subnet": subnet.id,
        "name": show_text(&manifest.name),
        "creator": show_account(&subnet.creator),
        "active": subnet.status.is_active(),
        "status": match subnet.status {
            SubnetStatus::Active => "active",
            SubnetStatus::Uncovered => "uncovered",
            SubnetStatus::Paused => "paused",
        },
        "deposit": subnet.deposit.to_string(),
        "config": manifest.config,
        "weights_root": show_hex(&manifest.weights_root),
        "tokenizer_digest": show_hex(&manifest.tokenizer_digest),
        "profiles": manifest.profiles.iter().map(|profile| json!({
            "digest": show_hex(&profile.digest()),
            "profile": profile,
        })).collect::<Vec<_>>(),
        "license": show_text(&manifest.license),
        "uri": show_text(&manifest.uri),
        "min_self_bond": manifest.terms.min_self_bond.to_string(),
        "max_nodes": manifest.terms.max_nodes,
        "coverage": subnet.coverage,
    });
    if let Some(roster) = roster {
        value["nodes"] = roster.iter().map(super::node::value).collect();
    }
    value
}
