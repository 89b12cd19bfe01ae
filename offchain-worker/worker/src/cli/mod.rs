//! `quipu`, the command line for people: register, stake, ask, inspect.
//!
//! What people read goes to standard output, with what is only said on the way on standard error.
//! With `--json` each command prints one JSON object as its last line; amounts in it are strings,
//! in the smallest unit. The exit status is 64 for what the caller can change, 69 for what may pass
//! by itself, 70 for the rest, and 2 for a command line that can't be read.

mod args;
mod ask;
mod chat;
mod context;
mod delegation;
mod economy;
mod error;
mod money;
mod node;
mod print;
mod subnet;
mod swarm;
#[cfg(test)]
mod tests;
mod values;

pub use args::{Cli, Command};
pub use context::{Context, People};
pub use error::CliError;
pub use print::Printer;
pub use values::{Account, Amount, Peer, Percent};

use clap::Parser;
use quipu_worker_core::{Classified, Fault};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Runs the command line of this process.
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    // What happens to an answer is told beside it.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,quipu_client=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(match error.fault() {
                Fault::Caller => 64,
                Fault::Environment | Fault::Peer => 69,
                Fault::Ours => 70,
            })
        }
    }
}

/// Does what the command line asks for.
pub async fn execute(cli: Cli) -> Result<(), CliError> {
    let Cli { common, command } = cli;
    let mut printer = Printer::standard(common.json);
    if let Command::Account = command {
        return money::account(&common.signer()?, &mut printer);
    }
    let signer = common.optional_signer()?;
    command.check(&common)?;
    let chain = context::connect(&common.chain).await?;
    let context = Context {
        chain: std::sync::Arc::new(chain),
        signer,
    };
    run(command, &context, &mut printer).await
}

/// Does what a command asks for, on any chain.
pub async fn run(
    command: Command,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    match command {
        Command::Subnet(command) => subnet::run(command, context, printer).await,
        Command::Node(command) => node::run(command, context, printer).await,
        Command::Session(command) => money::session(command, context, printer).await,
        Command::Job(command) => money::job(command, context, printer).await,
        Command::Account => money::account(&context.signer()?, printer),
        Command::Balance { account } => money::balance(account, context, printer).await,
        Command::Transfer { to, amount } => money::transfer(to, amount, context, printer).await,
        Command::Quote { subnet, positions } => {
            money::quote(subnet, positions, context, printer).await
        }
        Command::Delegation(command) => delegation::run(command, context, printer).await,
        Command::Quota(command) => economy::quota(command, context, printer).await,
        Command::Supply => economy::supply(context, printer).await,
        Command::Generate(args) => ask::generate(args, context, printer).await,
        Command::Chat(args) => chat::chat(args, context, printer).await,
    }
}
