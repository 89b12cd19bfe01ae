//! What the computing thread runs next.
//!
//! Where steps may be put together and cut ([`Batching`](quipu_worker_core::ports::Batching)), every
//! step of one position that waits is in the next batch: decoding is bound by reading the weights,
//! and they are read once for all of them. Steps of few positions, such as one with drafted ones
//! behind it, run whole, the oldest first, as many as fit. Prompts share what else a batch may hold,
//! in pieces small enough that no decode step waits for more than one of them. Elsewhere steps are
//! taken one at a time, in the order of their arrival, as they came.

use bytes::BytesMut;
use quipu_protocol::{limits::MAX_DRAFTED, Activations};
use quipu_worker_core::ports::{BatchStep, CacheId, ComputeError};
use std::collections::VecDeque;

/// Rows of prompts in a batch in which others decode: what a decode step may have to wait for.
const PROMPT_ROWS_BESIDE_DECODES: u32 = 32;
/// Rows of prompts in a batch without decode steps. Others that come meanwhile wait for it.
const PROMPT_ROWS: u32 = 128;
/// Most rows of a step that is never cut: a position with all that may be drafted behind it.
const SHORT: u32 = 1 + MAX_DRAFTED;
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

    fn kind(&self) -> Kind {
        match self.left() {
            0 | 1 => Kind::Decode,
            _ if self.input.header.tokens <= SHORT => Kind::Short,
            _ => Kind::Prompt,
        }
    }
}

/// How a step is put into a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Always.
    Decode,
    /// Whole, while there is room.
    Short,
    /// In pieces, for which there is always some room.
    Prompt,
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
        let of = |kind| self.waiting.iter().filter(move |one| one.kind() == kind);
        let (prompts, is_waited_for) = (
            of(Kind::Prompt).count() as u32,
            self.waiting.iter().any(|one| one.kind() != Kind::Prompt),
        );
        let all = match is_waited_for {
            false => PROMPT_ROWS,
            true => PROMPT_ROWS_BESIDE_DECODES,
        };
        let mut short = of(Kind::Short)
            .map(Waiting::left)
            .scan(0, |sum: &mut u32, rows| {
                *sum += rows;
                Some(*sum)
            })
            .take_while(|sum| *sum <= all)
            .collect::<VecDeque<u32>>();
        let least = LEAST_PIECE.min(all);
        let mut budget = all
            .saturating_sub(short.back().copied().unwrap_or(0))
            .max(least);
        let share = budget.div_ceil(prompts.max(1)).max(LEAST_PIECE);
        let piece = |one: &Waiting<R>| {
            let rows = match one.kind() {
                Kind::Decode => one.left(),
                Kind::Short => short.pop_front().map(|_| one.left())?,
                Kind::Prompt => {
                    let rows = one.left().min(share).min(budget);
                    budget -= rows;
                    if rows == 0 {
                        return None;
                    }
                    rows
                }
            };
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
    fn short_steps_run_whole_and_stall_nobody() {
        // Two of a position with 8 drafted ones, one prompt, one decode step.
        let mut schedule = schedule(true, &[9, 300, 1, 9, 17]);
        let expected = [(0, 0, 9), (1, 0, 14), (2, 0, 1), (3, 0, 9)];
        assert_eq!(shape(&schedule.next()), expected);
        run(&mut schedule);
        // The third is the oldest now, and the prompt goes on beside it.
        schedule.push(5, 100, rows(17), 5);
        assert_eq!(shape(&schedule.next()), [(1, 14, 15), (4, 0, 17)]);
        run(&mut schedule);
        assert_eq!(shape(&schedule.next()), [(1, 29, 15), (5, 0, 17)]);
    }

    #[test]
    fn a_prompt_goes_on_beside_any_number_of_short_steps() {
        let schedule = schedule(true, &[16, 16, 300, 16, 16]);
        let expected = [(0, 0, 16), (1, 0, 16), (2, 0, 8)];
        assert_eq!(shape(&schedule.next()), expected);
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
