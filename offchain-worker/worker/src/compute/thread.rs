//! One thread computes; everyone else waits in its queue.
//!
//! No session has more than one step in the queue. Which of those that wait run together, and how
//! much of a long one at a time, is for the [`Schedule`] to say.

use super::schedule::{Finished, Schedule};
use quipu_primitives::Span;
use quipu_protocol::{limits::MAX_SESSIONS, Activations};
use quipu_worker_core::ports::{BatchStep, CacheId, Compute, ComputeError};
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Work that waits for the thread. A step and a close for each session fit; when it is full,
/// callers wait.
const QUEUE: usize = 2 * MAX_SESSIONS;

type Reply<T> = oneshot::Sender<Result<T, ComputeError>>;

enum Work {
    Open(CacheId, u32, Reply<()>),
    Forward(CacheId, u32, Activations, Reply<Activations>),
    Truncate(CacheId, u32),
    Close(CacheId),
}

/// Reaches the computing thread. Cheap to clone; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct ComputeHandle {
    queue: mpsc::Sender<Work>,
    span: Span,
    hidden: u32,
    context: u32,
    positions: u32,
}

/// The thread itself.
pub struct ComputeThread(thread::JoinHandle<()>);

impl ComputeThread {
    /// Waits until the thread has ended and given its memory back. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the computing thread panicked");
        }
    }
}

fn gone<T>(_: T) -> ComputeError {
    ComputeError::Backend("the computing thread has ended".into())
}

impl ComputeHandle {
    /// Moves `compute` to a thread of its own.
    pub fn spawn(compute: Box<dyn Compute>) -> std::io::Result<(Self, ComputeThread)> {
        let (queue, work) = mpsc::channel(QUEUE);
        let handle = ComputeHandle {
            queue,
            span: compute.span(),
            hidden: compute.hidden_size(),
            context: compute.context_length(),
            positions: compute.free_positions(),
        };
        let thread = thread::Builder::new()
            .name("compute".into())
            .spawn(move || run(compute, work))?;
        Ok((handle, ComputeThread(thread)))
    }

    /// The span's blocks.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Width of the residual stream.
    pub fn hidden_size(&self) -> u32 {
        self.hidden
    }

    /// Longest sequence.
    pub fn context_length(&self) -> u32 {
        self.context
    }

    /// Positions that all caches together hold.
    pub fn positions(&self) -> u32 {
        self.positions
    }

    /// See [`Compute::open`]. Not cancel-safe: the reservation may be made.
    pub async fn open(&self, id: CacheId, positions: u32) -> Result<(), ComputeError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Work::Open(id, positions, reply))
            .await
            .map_err(gone)?;
        answer.await.map_err(gone)?
    }

    /// See [`Compute::forward`]. Not cancel-safe: the step may be appended.
    pub async fn forward(
        &self,
        id: CacheId,
        position: u32,
        input: Activations,
    ) -> Result<Activations, ComputeError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Work::Forward(id, position, input, reply))
            .await
            .map_err(gone)?;
        answer.await.map_err(gone)?
    }

    /// See [`Batching::truncate`](quipu_worker_core::ports::Batching::truncate). It is done before
    /// whatever is asked later; a span that can't do it refuses the step that counts on it.
    /// Cancel-safe: it is done or not.
    pub async fn truncate(&self, id: CacheId, positions: u32) {
        if self
            .queue
            .send(Work::Truncate(id, positions))
            .await
            .is_err()
        {
            tracing::debug!(id, "no cache to cut: the computing thread has ended");
        }
    }

    /// See [`Compute::close`]. It is done before whatever is asked later. Cancel-safe: it is done
    /// or not.
    pub async fn close(&self, id: CacheId) {
        if self.queue.send(Work::Close(id)).await.is_err() {
            tracing::debug!(id, "no cache to free: the computing thread has ended");
        }
    }

    /// Has the thread ended?
    pub fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until the thread has ended, which it does by itself only when it fails. Cancel-safe.
    pub async fn gone(&self) {
        self.queue.closed().await;
    }
}

/// Runs batches until nobody is left to ask. What came while one ran is in the next.
fn run(mut compute: Box<dyn Compute>, mut work: mpsc::Receiver<Work>) {
    let mut schedule = Schedule::new(compute.batching().is_some());
    loop {
        if schedule.is_empty() {
            match work.blocking_recv() {
                Some(next) => take(next, compute.as_mut(), &mut schedule),
                None => return,
            }
        }
        while let Ok(next) = work.try_recv() {
            take(next, compute.as_mut(), &mut schedule);
        }
        let batch = schedule.next();
        if batch.is_empty() {
            continue;
        }
        let results = forward(compute.as_mut(), &batch);
        for finished in schedule.done(batch, results) {
            answer(finished, compute.as_mut());
        }
    }
}

/// Whoever asked may be gone: then nobody needs the answer.
fn take(work: Work, compute: &mut dyn Compute, schedule: &mut Schedule<Reply<Activations>>) {
    match work {
        Work::Open(id, positions, reply) => {
            forget(id, schedule);
            let _ = reply.send(compute.open(id, positions));
        }
        Work::Forward(id, position, input, reply) => schedule.push(id, position, input, reply),
        Work::Truncate(id, positions) => {
            if let Some(batching) = compute.batching() {
                batching.truncate(id, positions);
            }
        }
        Work::Close(id) => {
            forget(id, schedule);
            compute.close(id);
        }
    }
}

fn forget(id: CacheId, schedule: &mut Schedule<Reply<Activations>>) {
    for reply in schedule.remove(id) {
        let _ = reply.send(Err(ComputeError::Unknown));
    }
}

fn answer(finished: Finished<Reply<Activations>>, compute: &mut dyn Compute) {
    let Finished {
        id,
        position,
        result,
        reply,
    } = finished;
    if let (Err(_), Some(batching)) = (&result, compute.batching()) {
        // Pieces of the step that came before are in the cache.
        batching.truncate(id, position);
    }
    let _ = reply.send(result);
}

/// A panic in the backend costs the sequences of the batch, not the server.
fn forward(
    compute: &mut dyn Compute,
    batch: &[BatchStep],
) -> Vec<Result<Activations, ComputeError>> {
    let result = catch_unwind(AssertUnwindSafe(|| match compute.batching() {
        Some(batching) => batching.forward_many(batch),
        None => batch
            .iter()
            .map(|step| compute.forward(step.id, step.position, &step.input))
            .collect(),
    }));
    result.unwrap_or_else(|_| {
        let fail = |step: &BatchStep| {
            let BatchStep { id, position, .. } = *step;
            tracing::error!(
                id,
                position,
                "the backend panicked; the sequence is dropped"
            );
            compute.close(id);
            Err(ComputeError::Unknown)
        };
        batch.iter().map(fail).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its input back, and panics at position 13.
    struct Echo(Vec<CacheId>);

    impl Compute for Echo {
        fn span(&self) -> Span {
            Span { start: 0, end: 1 }
        }
        fn hidden_size(&self) -> u32 {
            1
        }
        fn context_length(&self) -> u32 {
            100
        }
        fn free_positions(&self) -> u32 {
            100
        }
        fn open(&mut self, id: CacheId, _: u32) -> Result<(), ComputeError> {
            self.0.push(id);
            Ok(())
        }
        fn forward(
            &mut self,
            id: CacheId,
            position: u32,
            input: &Activations,
        ) -> Result<Activations, ComputeError> {
            assert_ne!(position, 13, "unlucky");
            match self.0.contains(&id) {
                true => Ok(input.clone()),
                false => Err(ComputeError::Unknown),
            }
        }
        fn close(&mut self, id: CacheId) {
            self.0.retain(|open| *open != id);
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_sequence_only() {
        let (handle, thread) = ComputeHandle::spawn(Box::new(Echo(Vec::new()))).unwrap();
        let input = Activations::from_f32(&[1.0], 1).unwrap();
        handle.open(1, 10).await.unwrap();
        handle.open(2, 10).await.unwrap();
        assert_eq!(handle.forward(1, 0, input.clone()).await, Ok(input.clone()));
        assert_eq!(
            handle.forward(1, 13, input.clone()).await,
            Err(ComputeError::Unknown)
        );
        assert_eq!(
            handle.forward(1, 1, input.clone()).await,
            Err(ComputeError::Unknown)
        );
        assert_eq!(handle.forward(2, 0, input.clone()).await, Ok(input.clone()));
        handle.close(2).await;
        assert_eq!(
            handle.forward(2, 1, input).await,
            Err(ComputeError::Unknown)
        );
        drop(handle);
        thread.join();
    }
}
