//! What the computing thread runs next.
//!
//! Where steps may be put together and cut ([`Batching`](quipu_worker_core::ports::Batching)), every
//! step of one position that waits is in the next batch: decoding is bound by reading the weights,
//! and they are read once for all of them. Prompts share what else a batch may hold, in pieces small
//! enough that no decode step waits for more than one of them. Elsewhere steps are taken one at a
//! time, in the order of their arrival, as they came.

use bytes::BytesMut;
use quipu_protocol::Activations;
use quipu_worker_core::ports::{BatchStep, CacheId, ComputeError};
use std::collections::VecDeque;

/// Rows of prompts in a batch in which others decode: what a decode step may have to wait for.
const PROMPT_ROWS_BESIDE_DECODES: u32 = 32;
/// Rows of prompts in a batch without decode steps. Others that come meanwhile wait for it.
const PROMPT_ROWS: u32 = 128;
/// Fewest rows of a prompt in a batch: products of fewer are hardly cheaper.
const LEAST_PIECE: u32 = 8;

/// A step with the one who waits for it, of whom the schedule knows nothing.
struct Waiting<R> {
    id: CacheId,
    position: u32,
    input: Activations,
    /// Positions that are computed already, and what came out.
    done: u32,
    output: BytesMut,
    reply: R,
}

impl<R> Waiting<R> {
    fn left(&self) -> u32 {
        self.input.header.tokens.saturating_sub(self.done)
    }
}

/// A step that is done with, its result, and who waits for it.
pub(super) struct Finished<R> {
    pub id: CacheId,
    /// Positions that the sequence held before the step.
    pub position: u32,
    pub result: Result<Activations, ComputeError>,
    pub reply: R,
}

/// The steps that wait. Each sequence has at most one.
pub(super) struct Schedule<R> {
    waiting: VecDeque<Waiting<R>>,
    batching: bool,
}

impl<R> Schedule<R> {
    /// An empty one; `batching` tells whether steps may be put together and cut.
    pub(super) fn new(batching: bool) -> Self {
        Schedule {
            waiting: VecDeque::new(),
            batching,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A step comes.
    pub(super) fn push(&mut self, id: CacheId, position: u32, input: Activations, reply: R) {
        self.waiting.push_back(Waiting {
            id,
            position,
            input,
            done: 0,
            output: BytesMut::new(),
            reply,
        });
    }

    /// The steps of a sequence that is closed.
    pub(super) fn remove(&mut self, id: CacheId) -> Vec<R> {
        let (gone, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|one| one.id == id);
        self.waiting = rest;
        gone.into_iter().map(|one| one.reply).collect()
    }

    /// What to run next, in the order of arrival; nothing only if nothing waits.
    pub(super) fn next(&self) -> Vec<BatchStep> {
        if !self.batching {
            return self.waiting.front().map(whole).into_iter().collect();
        }
        let decodes = self.waiting.iter().filter(|one| one.left() <= 1).count();
        let prompts = (self.waiting.len() - decodes) as u32;
        let mut budget = match decodes {
            0 => PROMPT_ROWS,
            _ => PROMPT_ROWS_BESIDE_DECODES,
        };
        let share = budget.div_ceil(prompts.max(1)).max(LEAST_PIECE);
        let piece = |one: &Waiting<R>| {
            let rows = match one.left() {
                0 | 1 => one.left(),
                left => left.min(share).min(budget),
            };
            if one.left() > 1 {
                budget -= rows;
                if rows == 0 {
                    return None;
                }
            }
            Some(BatchStep {
                id: one.id,
                position: one.position + one.done,
                // Rows that are there, so that this is never `None`.
                input: one.input.rows(one.done, one.done + rows)?,
            })
        };
        self.waiting.iter().filter_map(piece).collect()
    }

    /// Takes the results of what [`Schedule::next`] gave, and gives the steps that are done with.
    pub(super) fn done(
        &mut self,
        batch: Vec<BatchStep>,
        results: Vec<Result<Activations, ComputeError>>,
    ) -> Vec<Finished<R>> {
        let mut finished = Vec::new();
        for (step, result) in batch.into_iter().zip(results) {
            let place = self.waiting.iter().position(|one| one.id == step.id);
            let Some(place) = place else { continue };
            let one = &mut self.waiting[place];
            let result = match result {
                Ok(output) if output.header.tokens >= one.input.header.tokens => Ok(output),
                Ok(output) => {
                    one.done += output.header.tokens;
                    one.output.extend_from_slice(&output.bytes);
                    if one.left() > 0 {
                        continue;
                    }
                    let bytes = std::mem::take(&mut one.output).freeze();
                    Activations::new(one.input.header, bytes)
                        .map_err(|error| ComputeError::Backend(error.to_string()))
                }
                Err(error) => Err(error),
            };
            if let Some(Waiting {
                id,
                position,
                reply,
                ..
            }) = self.waiting.remove(place)
            {
                finished.push(Finished {
                    id,
                    position,
                    result,
                    reply,
                });
            }
        }
        finished
    }
}

fn whole<R>(one: &Waiting<R>) -> BatchStep {
    BatchStep {
        id: one.id,
        position: one.position,
        input: one.input.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u32) -> Activations {
        let values: Vec<f32> = (0..count).map(|row| row as f32).collect();
        Activations::from_f32(&values, 1).unwrap()
    }

    /// Steps of so many rows, of the sequences 0, 1, 2, …
    fn schedule(batching: bool, steps: &[u32]) -> Schedule<usize> {
        let mut schedule = Schedule::new(batching);
        for (place, count) in steps.iter().enumerate() {
            schedule.push(place as u64, 100, rows(*count), place);
        }
        schedule
    }

    fn shape(batch: &[BatchStep]) -> Vec<(u64, u32, u32)> {
        let one = |step: &BatchStep| (step.id, step.position - 100, step.input.header.tokens);
        batch.iter().map(one).collect()
    }

    /// Runs the next batch, in which every row is its own result.
    fn run(schedule: &mut Schedule<usize>) -> Vec<Finished<usize>> {
        let batch = schedule.next();
        let results = batch.iter().map(|step| Ok(step.input.clone())).collect();
        schedule.done(batch, results)
    }

    #[test]
    fn without_batching_steps_run_whole_and_in_their_order() {
        let mut schedule = schedule(false, &[300, 1]);
        assert_eq!(shape(&schedule.next()), [(0, 0, 300)]);
        assert_eq!(run(&mut schedule)[0].reply, 0);
        assert_eq!(shape(&schedule.next()), [(1, 0, 1)]);
    }

    #[test]
    fn all_decode_steps_run_together() {
        let mut schedule = schedule(true, &[1; 40]);
        assert_eq!(schedule.next().len(), 40);
        assert_eq!(run(&mut schedule).len(), 40);
        assert!(schedule.is_empty() && schedule.next().is_empty());
    }

    #[test]
    fn a_prompt_alone_runs_in_large_pieces_and_comes_back_whole() {
        let mut schedule = schedule(true, &[300]);
        let mut pieces = Vec::new();
        let finished = loop {
            pieces.extend(shape(&schedule.next()));
            let finished = run(&mut schedule);
            if let [one] = &finished[..] {
                assert_eq!(one.result, Ok(rows(300)));
                break one.reply;
            }
        };
        assert_eq!(finished, 0);
        assert_eq!(pieces, [(0, 0, 128), (0, 128, 128), (0, 256, 44)]);
    }

    #[test]
    fn decode_steps_wait_for_a_small_piece_of_a_prompt_at_most() {
        let mut schedule = schedule(true, &[300, 1]);
        assert_eq!(shape(&schedule.next()), [(0, 0, 32), (1, 0, 1)]);
        assert_eq!(run(&mut schedule)[0].reply, 1);
        assert_eq!(shape(&schedule.next()), [(0, 32, 128)]);
    }

    #[test]
    fn prompts_share_a_batch_and_none_starves() {
        let mut schedule = schedule(true, &[100, 100, 100, 100, 100, 100, 1]);
        let expected: Vec<_> = (0..4).map(|id| (id, 0, 8)).chain([(6, 0, 1)]).collect();
        assert_eq!(shape(&schedule.next()), expected);
        let mut order = Vec::new();
        while !schedule.is_empty() {
            order.extend(run(&mut schedule).into_iter().map(|one| one.reply));
        }
        assert_eq!(order, [6, 0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_error_in_the_middle_of_a_prompt_ends_its_step_only() {
        let mut schedule = schedule(true, &[200, 200]);
        run(&mut schedule);
        let batch = schedule.next();
        let results = vec![Err(ComputeError::Unknown), Ok(batch[1].input.clone())];
        let finished = schedule.done(batch, results);
        let [failed] = &finished[..] else {
            panic!("one is done with")
        };
        assert_eq!((failed.id, failed.position), (0, 100));
        assert_eq!(failed.result, Err(ComputeError::Unknown));
        assert_eq!(shape(&schedule.next()), [(1, 128, 72)]);
    }

    #[test]
    fn a_closed_sequence_leaves_nothing_behind() {
        let mut schedule = schedule(true, &[5, 5]);
        let batch = schedule.next();
        assert_eq!(schedule.remove(0), [0]);
        let results = batch.iter().map(|step| Ok(step.input.clone())).collect();
        let finished = schedule.done(batch, results);
        assert_eq!(finished.len(), 1);
        assert!(schedule.is_empty());
    }
}
