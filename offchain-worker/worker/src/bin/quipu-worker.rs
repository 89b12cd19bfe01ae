//! The daemon that serves blocks of a model. See the crate `quipu_worker`.

use clap::Parser;
use quipu_worker::{config::Cli, daemon::Stop, start::execute, telemetry::start_log};
use quipu_worker_core::{Classified, Fault};
use std::process::ExitCode;
use tokio::signal;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log);
    let stop = Stop::default();
    tokio::spawn(signals(stop.clone()));
    match execute(cli.command, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // As in sysexits.h: usage, unavailable, software.
            ExitCode::from(match error.fault() {
                Fault::Caller => 64,
                Fault::Environment | Fault::Peer => 69,
                Fault::Ours => 70,
            })
        }
    }
}

/// The first signal lets the worker finish what runs, the second ends it at once.
async fn signals(stop: Stop) {
    #[cfg(unix)]
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                while terminate.recv().await.is_some() {
                    stop_next(&stop);
                }
            }
            Err(error) => tracing::warn!(%error, "SIGTERM can't be listened to"),
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    let interrupt = async {
        while signal::ctrl_c().await.is_ok() {
            stop_next(&stop);
        }
    };
    tokio::join!(terminate, interrupt);
}

fn stop_next(stop: &Stop) {
    match stop.gently.is_cancelled() {
        false => stop.gently.cancel(),
        true => stop.now.cancel(),
    }
}
