//! One thread computes; everyone else waits in its queue.
//!
//! Steps are taken in the order of their arrival. No session has more than one in the queue, so
//! each of n waits for at most n − 1 others: that is the fairness. Decode steps of several sessions
//! that wait together are where continuous batching will join: see [`run`].

use quipu_primitives::Span;
use quipu_protocol::{limits::MAX_SESSIONS, Activations};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Work that waits for the thread. One step and one close for each session fit; when it is full,
/// callers wait.
const QUEUE: usize = 2 * MAX_SESSIONS;

type Reply<T> = oneshot::Sender<Result<T, ComputeError>>;

enum Work {
    Open(CacheId, u32, Reply<()>),
    Forward(CacheId, u32, Activations, Reply<Activations>),
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

/// A batching scheduler goes here: take all steps that wait (`work.try_recv`), run the decode steps
/// among them as one, and cut long prefills into chunks between them.
fn run(mut compute: Box<dyn Compute>, mut work: mpsc::Receiver<Work>) {
    while let Some(next) = work.blocking_recv() {
        // Whoever asked may be gone: then nobody needs the answer.
        match next {
            Work::Open(id, positions, reply) => {
                let _ = reply.send(compute.open(id, positions));
            }
            Work::Forward(id, position, input, reply) => {
                let _ = reply.send(forward(compute.as_mut(), id, position, &input));
            }
            Work::Close(id) => compute.close(id),
        }
    }
}

/// A panic in the backend costs the sequence, not the server.
fn forward(
    compute: &mut dyn Compute,
    id: CacheId,
    position: u32,
    input: &Activations,
) -> Result<Activations, ComputeError> {
    let result = catch_unwind(AssertUnwindSafe(|| compute.forward(id, position, input)));
    result.unwrap_or_else(|_| {
        tracing::error!(
            id,
            position,
            "the backend panicked; the sequence is dropped"
        );
        compute.close(id);
        Err(ComputeError::Unknown)
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
