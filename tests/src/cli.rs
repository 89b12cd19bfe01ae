//! The command line `quipu` as its users run it: a process with a status, and what it printed.

use crate::localnet::Localnet;
use anyhow::{ensure, Context, Result};
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(90);
/// What users set once for all commands, and tests must not inherit.
const VARIABLES: [&str; 5] = [
    "QUIPU_CHAIN",
    "QUIPU_KEY",
    "QUIPU_KEY_FILE",
    "QUIPU_BOOTSTRAP",
    "QUIPU_HOTKEY",
];

/// What a program said before it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a program to its end, with nothing on standard input.
pub async fn run<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Result<Said> {
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .with_context(|| format!("{} did not end within {LIMIT:?}", program.display()))?
        .with_context(|| format!("{} can't be started", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said {
        status: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// A program that ends with its owner, without what the environment may say to it.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.kill_on_drop(true);
    command
}

/// `quipu` on one chain.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    url: String,
}

impl Cli {
    /// On the chain of a local network.
    pub fn new(net: &Localnet) -> Self {
        Cli {
            program: net.programs.cli.clone(),
            url: net.url.clone(),
        }
    }

    fn whole<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--chain", self.url.as_str()], arguments].concat()
    }

    /// Starts it, with pipes to all its streams.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        command(&self.program)
            .args(self.whole(arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} can't be started", self.program.display()))
    }

    /// Runs a command, which must succeed, and gives what it printed for people.
    pub async fn text(&self, arguments: &[&str]) -> Result<String> {
        let said = run(&self.program, &self.whole(arguments)).await?;
        ensure!(said.status == Some(0), "{arguments:?} failed: {said:?}");
        Ok(said.out)
    }

    /// Runs a command, which must succeed, with `--json`, and gives the object that is its last
    /// line.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.text(&[&["--json"], arguments].concat()).await?;
        let line = printed.lines().last().context("nothing was printed")?;
        serde_json::from_str(line).with_context(|| format!("{line} is not JSON"))
    }

    /// Runs a command, which must fail with this status and print nothing but an error, and gives
    /// the error.
    pub async fn refused(&self, status: i32, arguments: &[&str]) -> Result<String> {
        let said = run(&self.program, &self.whole(arguments)).await?;
        ensure!(said.status == Some(status), "{arguments:?}: {said:?}");
        ensure!(said.out.is_empty(), "{arguments:?} printed {}", said.out);
        let error = said
            .err
            .lines()
            .find_map(|line| line.strip_prefix("error: "));
        Ok(error
            .with_context(|| format!("{arguments:?}: {}", said.err))?
            .to_owned())
    }
}
