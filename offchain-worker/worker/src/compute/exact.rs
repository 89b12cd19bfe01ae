//! The engine's reproducible span as core's [`Compute`] and [`Batching`].

use super::{sequences::Sequences, span::class};
use quipu_engine::{
    exact::{ExactCache, ExactOptions, ExactSpan, Sequence, Workspace, PAGE_POSITIONS},
    EngineError, Model,
};
use quipu_primitives::Span as Blocks;
use quipu_protocol::{limits::MAX_SESSIONS, Activations};
use quipu_worker_core::ports::{BatchStep, Batching, CacheId, Compute, ComputeError};
use std::ops::Range;

/// A span with the caches of its sequences.
pub struct ExactCompute {
    span: ExactSpan,
    workspace: Workspace,
    blocks: Blocks,
    sequences: Sequences<ExactCache>,
}

impl ExactCompute {
    /// Loads `blocks`, with room for `total` positions. Blocks on the disk.
    pub fn load(
        model: &Model,
        blocks: Range<usize>,
        threads: usize,
        total: u32,
    ) -> Result<Self, EngineError> {
        // Every sequence may waste a part of its last page.
        let max_pages = (total as usize).div_ceil(PAGE_POSITIONS) + MAX_SESSIONS;
        let options = ExactOptions {
            threads,
            max_pages,
            ..ExactOptions::default()
        };
        let span = ExactSpan::load(model, blocks, options)?;
        let range = span.blocks();
        Ok(ExactCompute {
            workspace: span.new_workspace(),
            // A model has at most 256 blocks.
            blocks: Blocks {
                start: range.start as u16,
                end: range.end as u16,
            },
            sequences: Sequences::new(span.config().context_length as u32, total),
            span,
        })
    }

    /// Bytes of the loaded weights.
    pub fn weight_bytes(&self) -> usize {
        self.span.weight_bytes()
    }
}

impl Compute for ExactCompute {
    fn span(&self) -> Blocks {
        self.blocks
    }

    fn hidden_size(&self) -> u32 {
        self.span.config().hidden_size as u32
    }

    fn context_length(&self) -> u32 {
        self.span.config().context_length as u32
    }

    fn free_positions(&self) -> u32 {
        self.sequences.free()
    }

    fn open(&mut self, id: CacheId, positions: u32) -> Result<(), ComputeError> {
        let make = |capacity| self.span.new_cache(capacity).map_err(class);
        self.sequences.open(id, positions, make)
    }

    fn forward(
        &mut self,
        id: CacheId,
        position: u32,
        input: &Activations,
    ) -> Result<Activations, ComputeError> {
        let step = BatchStep {
            id,
            position,
            input: input.clone(),
        };
        let result = self.forward_many(&[step]).pop();
        result.unwrap_or(Err(ComputeError::Unknown))
    }

    fn close(&mut self, id: CacheId) {
        self.sequences.close(id);
    }

    fn batching(&mut self) -> Option<&mut dyn Batching> {
        Some(self)
    }
}

impl Batching for ExactCompute {
    fn forward_many(&mut self, steps: &[BatchStep]) -> Vec<Result<Activations, ComputeError>> {
        let input = |step: &BatchStep| {
            let rows = step.input.to_f32();
            rows.map_err(|error| ComputeError::Input(error.to_string()))
        };
        let mut rows: Vec<Result<Vec<f32>, ComputeError>> = steps.iter().map(input).collect();
        let mut caches: Vec<Option<&mut ExactCache>> = steps.iter().map(|_| None).collect();
        for (id, cache) in self.sequences.iter() {
            if let Some(place) = steps.iter().position(|step| step.id == id) {
                caches[place] = Some(cache);
            }
        }
        let mut batch = Vec::with_capacity(steps.len());
        let mut places = Vec::with_capacity(steps.len());
        let parts = steps.iter().zip(&mut caches).zip(&mut rows).enumerate();
        for (place, ((step, cache), rows)) in parts {
            match (cache, rows) {
                (Some(cache), Ok(values)) => {
                    batch.push(Sequence::new(cache, step.position as usize, values));
                    places.push(place);
                }
                (None, rows) if rows.is_ok() => *rows = Err(ComputeError::Unknown),
                _ => {}
            }
        }
        self.span.forward_batch(&mut self.workspace, &mut batch);
        let failed: Vec<(usize, EngineError)> = places
            .into_iter()
            .zip(batch)
            .filter_map(|(place, sequence)| Some((place, sequence.result().err()?)))
            .collect();
        for (place, error) in failed {
            rows[place] = Err(class(error));
        }
        let hidden = self.hidden_size();
        let output = |(rows, step): (Result<Vec<f32>, ComputeError>, &BatchStep)| {
            Activations::rounded(&rows?, hidden, step.input.header.dtype)
                .map_err(|error| ComputeError::Backend(error.to_string()))
        };
        rows.into_iter().zip(steps).map(output).collect()
    }

    fn truncate(&mut self, id: CacheId, positions: u32) {
        if let Some(cache) = self.sequences.get(id) {
            cache.truncate(positions as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_testkit::TinyFiles;

    fn rows(seed: usize, count: usize) -> Activations {
        let values: Vec<f32> = (0..count * 32)
            .map(|i| (((i + seed) * 7 % 13) as f32 - 6.0) / 10.0)
            .collect();
        Activations::from_f32(&values, 32).unwrap()
    }

    fn compute(total: u32) -> ExactCompute {
        ExactCompute::load(&TinyFiles::new(1).open(), 1..3, 1, total).unwrap()
    }

    fn step(id: CacheId, position: u32, input: Activations) -> BatchStep {
        BatchStep {
            id,
            position,
            input,
        }
    }

    #[test]
    fn what_runs_together_gets_the_bits_that_it_gets_alone() {
        let (mut alone, mut together) = (compute(200), compute(200));
        for id in 0..3 {
            alone.open(id, 40).unwrap();
            together.open(id, 40).unwrap();
        }
        let prompts = [rows(1, 17), rows(2, 3), rows(3, 1)];
        let expected: Vec<_> = (0..)
            .zip(&prompts)
            .map(|(id, prompt)| alone.forward(id, 0, prompt))
            .collect();
        let steps: Vec<_> = (0..)
            .zip(&prompts)
            .map(|(id, prompt)| step(id, 0, prompt.clone()))
            .collect();
        assert_eq!(together.forward_many(&steps), expected);
        // In other pieces, after a step back, with others beside them.
        together.truncate(0, 5);
        let steps = [
            step(1, 3, rows(4, 2)),
            step(0, 5, prompts[0].rows(5, 17).unwrap()),
        ];
        let results = together.forward_many(&steps);
        let rest = expected[0].as_ref().unwrap().rows(5, 17).unwrap();
        assert_eq!(results[1], Ok(rest));
        assert_eq!(results[0], alone.forward(1, 3, &rows(4, 2)));
    }

    #[test]
    fn one_that_fails_does_not_disturb_the_others() {
        let (mut alone, mut compute) = (compute(100), compute(100));
        for id in [1, 2] {
            alone.open(id, 20).unwrap();
            compute.open(id, 20).unwrap();
        }
        let infinite = Activations::from_f32(&[f32::NAN; 32], 32).unwrap();
        let narrow = Activations::from_f32(&[0.5; 16], 16).unwrap();
        let steps = [
            step(9, 0, rows(1, 1)),
            step(1, 0, infinite),
            step(2, 0, rows(2, 4)),
        ];
        let results = compute.forward_many(&steps);
        assert_eq!(results[0], Err(ComputeError::Unknown));
        assert!(matches!(results[1], Err(ComputeError::Input(_))));
        assert_eq!(results[2], alone.forward(2, 0, &rows(2, 4)));
        let results = compute.forward_many(&[step(1, 0, narrow), step(2, 9, rows(2, 1))]);
        assert!(matches!(results[0], Err(ComputeError::Input(_))));
        let gap = ComputeError::Position {
            expected: 4,
            got: 9,
        };
        assert_eq!(results[1], Err(gap));
        assert_eq!(
            compute.forward(1, 0, &rows(1, 2)),
            alone.forward(1, 0, &rows(1, 2))
        );
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let mut compute = compute(100);
        compute.open(1, 60).unwrap();
        let full = ComputeError::Full {
            asked: 41,
            free: 40,
        };
        assert_eq!(compute.open(2, 41), Err(full));
        // Opening again replaces the reservation.
        compute.open(1, 99).unwrap();
        assert_eq!(compute.free_positions(), 1);
        compute.open(2, 1).unwrap();
        compute.close(1);
        compute.close(1);
        assert_eq!(compute.free_positions(), 99);
        let context = compute.context_length();
        assert!(matches!(
            compute.open(3, context + 1),
            Err(ComputeError::Context { .. })
        ));
        assert_eq!(compute.span(), Blocks { start: 1, end: 3 });
    }
}
