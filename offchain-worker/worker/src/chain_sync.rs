//! Follows the chain's final blocks, and hands on what the rest of the worker wants to know.

use crate::redeem::Book;
use futures::StreamExt;
use quipu_primitives::{views::NodeInfo, AccountBytes, JobId, NodeId, SubnetId};
use quipu_worker_core::ports::{ChainError, ChainEvent, SharedChain};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Jobs that wait to be begun. Further ones are left on the chain until there is room; the fee of
/// one that its deadline overtakes goes back to who asked.
pub const JOB_QUEUE: usize = 16;
/// Pause before the events are asked for again, should they ever end.
const RESUBSCRIBE: Duration = Duration::from_secs(2);

/// Every node of the subnet.
pub type Roster = Arc<Vec<NodeInfo<AccountBytes>>>;

/// What is known of the chain.
#[derive(Clone, Debug)]
pub struct ChainView {
    /// Number of the last final block.
    pub block: watch::Receiver<u32>,
    /// Every node of our subnet.
    pub roster: watch::Receiver<Roster>,
}

/// Follows the chain.
pub struct ChainSync {
    chain: SharedChain,
    subnet: SubnetId,
    node: NodeId,
    book: Arc<Book>,
    jobs: mpsc::Sender<JobId>,
    block: watch::Sender<u32>,
    roster: watch::Sender<Roster>,
    /// Open jobs that were handed on. As many as the chain has assigned to us and not closed.
    handed: BTreeSet<JobId>,
    behind: Behind,
}

/// What is older than the last event.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    /// The roster could not be read.
    roster: bool,
    /// The open jobs could not be read, or not all found room.
    jobs: bool,
}

impl ChainSync {
    /// Reads where the chain is. Gives, with the view, the jobs that wait for `node`'s
    /// answer, once [`ChainSync::run`] finds them.
    pub async fn start(
        chain: SharedChain,
        subnet: SubnetId,
        node: NodeId,
        book: Arc<Book>,
    ) -> Result<(Self, ChainView, mpsc::Receiver<JobId>), ChainError> {
        let (block, block_view) = watch::channel(chain.finalized().await?);
        let (roster, roster_view) = watch::channel(Arc::new(chain.roster(subnet).await?));
        let (jobs, job_queue) = mpsc::channel(JOB_QUEUE);
        let view = ChainView {
            block: block_view,
            roster: roster_view,
        };
        let sync = ChainSync {
            chain,
            subnet,
            node,
            book,
            jobs,
            block,
            roster,
            handed: BTreeSet::new(),
            behind: Behind::default(),
        };
        Ok((sync, view, job_queue))
    }

    /// Follows the chain until `stop`. Reconnecting is the adapter's work; nothing is lost by it.
    /// What happened while nobody followed is read from the chain's state.
    pub async fn run(mut self, stop: CancellationToken) {
        let follow = async {
            loop {
                match self.chain.events().await {
                    Ok(mut events) => {
                        // What the state shows and the events repeat is recognised.
                        self.catch_up().await;
                        while let Some(event) = events.next().await {
                            self.handle(event).await;
                        }
                        warn!("the chain's events ended; asking for them again");
                    }
                    Err(error) => warn!(%error, "the chain's events can't be followed"),
                }
                tokio::time::sleep(RESUBSCRIBE).await;
            }
        };
        tokio::select! {
            _ = stop.cancelled() => {}
            () = follow => {}
        }
    }

    async fn handle(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::Finalized { number, .. } => {
                if self.behind.roster {
                    self.read_roster().await;
                }
                if !self.behind.roster {
                    self.reached(number);
                }
                if self.behind.jobs && self.jobs.capacity() > 0 {
                    self.read_jobs().await;
                }
            }
            ChainEvent::RosterChanged { subnet } if subnet == self.subnet => {
                self.read_roster().await;
            }
            ChainEvent::NodeChanged { node } if self.knows(node) => self.read_roster().await,
            ChainEvent::SessionSettling { session } | ChainEvent::SessionClosed { session, .. } => {
                self.book.touch(session);
            }
            ChainEvent::JobRequested { job, node, .. } if node == self.node => self.hand_on(job),
            ChainEvent::JobDone { job } | ChainEvent::JobRefunded { job } => {
                self.handed.remove(&job);
            }
            other => debug!(?other, "nothing to do"),
        }
    }

    fn knows(&self, node: NodeId) -> bool {
        self.roster.borrow().iter().any(|info| info.id == node)
    }

    /// Reads from the chain's state what events told while nobody followed them.
    async fn catch_up(&mut self) {
        // Before the rest, which then is at least as new.
        let block = self.chain.finalized().await;
        self.read_roster().await;
        self.read_jobs().await;
        match block {
            Ok(block) if !self.behind.roster => self.reached(block),
            Ok(_) => {}
            Err(error) => debug!(%error, "the last final block is not known yet"),
        }
    }

    /// A block is final, and the roster as new as it is. Events may repeat older ones.
    fn reached(&self, number: u32) {
        self.block.send_if_modified(|block| {
            let is_new = number > *block;
            *block = number.max(*block);
            is_new
        });
    }

    async fn read_roster(&mut self) {
        let read = self.chain.roster(self.subnet).await;
        self.behind.roster = read.is_err();
        match read {
            Ok(roster) => {
                self.roster.send_replace(Arc::new(roster));
            }
            Err(error) => warn!(%error, "the roster can't be read; the old one stays for a block"),
        }
    }

    /// Hands on the jobs that were assigned before we followed, or that found no room.
    async fn read_jobs(&mut self) {
        let read = self.chain.open_jobs(self.node).await;
        self.behind.jobs = read.is_err();
        match read {
            Ok(open) => {
                self.handed.retain(|job| open.contains(job));
                for job in open {
                    self.hand_on(job);
                }
            }
            Err(error) => warn!(%error, "the open jobs can't be read; tried again with a block"),
        }
    }

    /// Hands a job on, if it was not before.
    fn hand_on(&mut self, job: JobId) {
        if self.handed.contains(&job) {
            return;
        }
        match self.jobs.try_send(job) {
            Ok(()) => {
                self.handed.insert(job);
            }
            Err(_) => {
                debug!(job, "too many jobs wait; it is taken up when there is room");
                self.behind.jobs = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
