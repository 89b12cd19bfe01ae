//! Follows the chain's final blocks, and hands on what the rest of the worker wants to know.

use crate::redeem::Book;
use futures::StreamExt;
use quipu_primitives::{views::NodeInfo, AccountBytes, JobId, NodeId, SubnetId};
use quipu_worker_core::ports::{ChainError, ChainEvent, SharedChain};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Jobs that wait to be begun. Further ones are dropped: their fee goes back to who asked.
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
}

impl ChainSync {
    /// Reads where the chain is. Gives, with the view, the jobs that will be assigned to `node`.
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
        };
        Ok((sync, view, job_queue))
    }

    /// Follows the chain until `stop`. Reconnecting is the adapter's work; nothing is lost by it.
    pub async fn run(self, stop: CancellationToken) {
        let follow = async {
            loop {
                match self.chain.events().await {
                    Ok(mut events) => {
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

    async fn handle(&self, event: ChainEvent) {
        match event {
            ChainEvent::Finalized { number, .. } => {
                self.block.send_replace(number);
            }
            ChainEvent::RosterChanged { subnet } if subnet == self.subnet => {
                match self.chain.roster(subnet).await {
                    Ok(roster) => {
                        self.roster.send_replace(Arc::new(roster));
                    }
                    Err(error) => warn!(%error, "the roster can't be read; the old one stays"),
                }
            }
            ChainEvent::SessionSettling { session } | ChainEvent::SessionClosed { session, .. } => {
                self.book.touch(session);
            }
            ChainEvent::JobRequested { job, node, .. } if node == self.node => {
                if self.jobs.try_send(job).is_err() {
                    warn!(job, "too many jobs wait; this one is left to its deadline");
                }
            }
            other => debug!(?other, "nothing to do"),
        }
    }
}
