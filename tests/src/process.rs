//! A child process whose log can be awaited, and that ends with its owner.

use anyhow::{bail, Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::Notify,
};

/// Lines that a process wrote, and a bell that rings with each.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    bell: Notify,
}

#[derive(Default)]
struct Lines {
    all: Vec<String>,
    /// Streams that still may write.
    open: usize,
}

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    log_file: PathBuf,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("id", &self.child.id())
            .finish()
    }
}

/// Copies a stream into the log and a file, line by line.
async fn copy(stream: impl AsyncRead + Unpin, log: Arc<Log>, file: PathBuf) {
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .await
        .ok();
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(file) = &mut file {
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
        }
        log.lock().all.push(line);
        log.bell.notify_waiters();
    }
    log.lock().open -= 1;
    log.bell.notify_waiters();
}

impl Process {
    /// Starts `program` and writes what it prints to `directory/NAME.log`.
    pub fn spawn(
        name: &str,
        program: &Path,
        arguments: &[String],
        directory: &Path,
    ) -> Result<Process> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))?;
        let log = Arc::new(Log::default());
        log.lock().open = 2;
        let log_file = directory.join(format!("{name}.log"));
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(copy(stdout, log.clone(), log_file.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(copy(stderr, log.clone(), log_file.clone()));
        }
        Ok(Process {
            name: name.to_owned(),
            child,
            log,
            log_file,
        })
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where its log lies.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Waits for the first line, from the start of the log on, of which `pick` makes something.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let mut seen = 0;
        let search = async {
            loop {
                let rung = self.log.bell.notified();
                tokio::pin!(rung);
                rung.as_mut().enable();
                {
                    let lines = self.log.lock();
                    if let Some(found) = lines.all[seen..].iter().find_map(|line| pick(line)) {
                        return Ok(found);
                    }
                    seen = lines.all.len();
                    if lines.open == 0 {
                        bail!("{} ended before {what}:\n{}", self.name, tail(&lines.all));
                    }
                }
                rung.await;
            }
        };
        match tokio::time::timeout(limit, search).await {
            Ok(found) => found,
            Err(_) => {
                bail!(
                    "{}: no {what} within {limit:?}:\n{}",
                    self.name,
                    tail(&self.log.lock().all)
                )
            }
        }
    }

    /// Kills it at once, as a crash would, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("killing {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for its exit.
    pub async fn terminate(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        if let Some(id) = self.child.id() {
            let status = Command::new("kill")
                .arg("-TERM")
                .arg(id.to_string())
                .status()
                .await?;
            if !status.success() {
                bail!("{} can't be signalled", self.name);
            }
        }
        tokio::time::timeout(limit, self.child.wait())
            .await
            .with_context(|| format!("{} did not end within {limit:?}", self.name))?
            .with_context(|| format!("waiting for {}", self.name))
    }
}

/// The last lines of a log.
fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(15)..].join("\n")
}
