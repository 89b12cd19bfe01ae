//! The jobs that wait for a node. No runtime API lists them, so their records are read one by one
//! from the latest on.

use crate::{
    adapter::SubxtChain,
    error::chain_error,
    runtime::api::{self, runtime_types::quipu_pallet_inference::types::Fee},
};
use futures::stream::{self, StreamExt, TryStreamExt};
use quipu_primitives::{JobId, NodeId};
use quipu_worker_core::ports::{ChainError, MAX_JOBS_READ};
use std::future::ready;

/// Records that are asked for at once.
const AT_ONCE: usize = 32;

/// What a job's record says of who must answer it, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    node: NodeId,
    deadline: u32,
    is_open: bool,
}

/// Those of `entries` that wait for `node` in block `now`, oldest first. `entries` come from the
/// latest job on, `None` where the record was dropped.
///
/// Every job has the same time to be answered, so that no job before one whose deadline has passed
/// can be open: there the reading ends.
async fn waiting(
    entries: impl stream::Stream<Item = Result<(JobId, Option<Entry>), ChainError>>,
    node: NodeId,
    now: u32,
) -> Result<Vec<JobId>, ChainError> {
    let in_time = |entry: &Option<Entry>| entry.is_none_or(|entry| now <= entry.deadline);
    let jobs = entries
        .try_take_while(|(_, entry)| ready(Ok(in_time(entry))))
        .try_filter_map(|(id, entry)| {
            let waits = entry.is_some_and(|entry| entry.is_open && entry.node == node);
            ready(Ok(waits.then_some(id)))
        });
    let mut jobs: Vec<JobId> = jobs.try_collect().await?;
    jobs.reverse();
    Ok(jobs)
}

impl SubxtChain {
    /// See [`quipu_worker_core::ports::Chain::open_jobs`].
    pub(crate) async fn waiting_jobs(&self, node: NodeId) -> Result<Vec<JobId>, ChainError> {
        let block = self.client.blocks().at_latest().await;
        let block = block.map_err(chain_error)?;
        let storage = self.client.storage().at(block.hash());
        let inference = || api::storage().inference();
        let duties = storage.fetch_or_default(&inference().duties(node)).await;
        if duties.map_err(chain_error)? == 0 {
            return Ok(Vec::new());
        }
        let next = storage.fetch_or_default(&inference().next_job()).await;
        let next: JobId = next.map_err(chain_error)?;
        let latest_first = (next.saturating_sub(MAX_JOBS_READ)..next).rev();
        let entries = stream::iter(latest_first)
            .map(|id| {
                let storage = &storage;
                async move {
                    let record = storage.fetch(&inference().jobs(id)).await;
                    let entry = record.map_err(chain_error)?.map(|job| Entry {
                        node: job.node,
                        deadline: job.deadline,
                        is_open: job.result.is_none() && job.state == Fee::Held,
                    });
                    Ok((id, entry))
                }
            })
            .buffered(AT_ONCE);
        waiting(entries, node, block.number()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: NodeId, deadline: u32, is_open: bool) -> Option<Entry> {
        Some(Entry {
            node,
            deadline,
            is_open,
        })
    }

    async fn of_node_7(entries: &[(JobId, Option<Entry>)]) -> Vec<JobId> {
        let entries = stream::iter(entries.iter().copied().map(Ok));
        waiting(entries, 7, 100).await.unwrap()
    }

    #[tokio::test]
    async fn what_waits_for_the_node_comes_oldest_first() {
        let entries = [
            (9, entry(7, 120, true)),
            (8, entry(6, 119, true)),
            (7, entry(7, 119, false)),
            (6, None),
            (5, entry(7, 100, true)),
        ];
        assert_eq!(of_node_7(&entries).await, [5, 9]);
        assert!(of_node_7(&[]).await.is_empty());
    }

    #[tokio::test]
    async fn behind_a_deadline_that_has_passed_nothing_is_read() {
        let late = stream::iter([
            Ok((3, entry(7, 101, true))),
            Ok((2, entry(6, 99, false))),
            Err(ChainError::Decode("nobody asks for this one".into())),
        ]);
        assert_eq!(waiting(late, 7, 100).await, Ok(vec![3]));
    }

    #[tokio::test]
    async fn a_record_that_can_not_be_read_is_an_error_and_no_empty_list() {
        let broken = stream::iter([Err(ChainError::Unreachable("test".into()))]);
        assert!(waiting(broken, 7, 100).await.is_err());
    }
}
