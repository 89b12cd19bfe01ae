//! The command line for people. See `quipu_worker::cli`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    quipu_worker::cli::main().await
}
