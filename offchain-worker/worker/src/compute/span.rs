//! The engine's span as core's [`Compute`], with caches for many sequences.

use super::sequences::Sequences;
use quipu_engine::{backend::Backend, EngineError, HiddenStates, KvCache, Span};
use quipu_primitives::Span as Blocks;
use quipu_protocol::{Activations, ActivationsError};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};

/// A span with the caches of its sequences.
pub struct SpanCompute<B: Backend> {
    span: Span<B>,
    blocks: Blocks,
    sequences: Sequences<KvCache<B>>,
}

impl<B: Backend> SpanCompute<B> {
    /// A span with room for `total` positions.
    pub fn new(span: Span<B>, total: u32) -> Self {
        let range = span.blocks();
        // A model has at most 256 blocks.
        let blocks = Blocks {
            start: range.start as u16,
            end: range.end as u16,
        };
        SpanCompute {
            sequences: Sequences::new(span.config().context_length as u32, total),
            span,
            blocks,
        }
    }
}

impl<B: Backend + Send> Compute for SpanCompute<B>
where
    B::Device: Send,
{
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
        let make = |capacity| Ok(self.span.new_cache(capacity));
        self.sequences.open(id, positions, make)
    }

    fn forward(
        &mut self,
        id: CacheId,
        position: u32,
        input: &Activations,
    ) -> Result<Activations, ComputeError> {
        let cache = self.sequences.get(id).ok_or(ComputeError::Unknown)?;
        let data = input
            .to_f32()
            .map_err(|error| ComputeError::Input(error.to_string()))?;
        let hidden = HiddenStates {
            data,
            tokens: input.header.tokens as usize,
        };
        let output = self
            .span
            .forward(cache, hidden, position as usize)
            .map_err(class)?;
        let (hidden, dtype) = (input.header.hidden, input.header.dtype);
        let output = Activations::rounded(&output.data, hidden, dtype);
        output
            .and_then(|output| output.to_f32().map(|_| output))
            .map_err(|error| {
                cache.truncate(position as usize);
                fault_of(error)
            })
    }

    fn close(&mut self, id: CacheId) {
        self.sequences.close(id);
    }
}

/// Finite numbers went in and others came out.
fn fault_of(error: ActivationsError) -> ComputeError {
    ComputeError::Backend(error.to_string())
}

pub(super) fn class(error: EngineError) -> ComputeError {
    match error {
        EngineError::PositionGap { position, cached } => ComputeError::Position {
            expected: cached as u32,
            got: position as u32,
        },
        EngineError::ContextExceeded {
            end,
            context: limit,
        }
        | EngineError::CacheFull {
            end,
            capacity: limit,
        } => ComputeError::Context {
            position: end as u32,
            limit: limit as u32,
        },
        error if error.is_callers_fault() => ComputeError::Input(error.to_string()),
        error => ComputeError::Backend(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_engine::{backend::FlexDevice, CpuSpan};
    use quipu_testkit::TinyFiles;

    fn rows(count: usize) -> Activations {
        let values: Vec<f32> = (0..count * 32)
            .map(|i| ((i % 13) as f32 - 6.0) / 10.0)
            .collect();
        Activations::from_f32(&values, 32).unwrap()
    }

    fn compute(total: u32) -> SpanCompute<quipu_engine::backend::Flex> {
        let files = TinyFiles::new(1);
        let span = CpuSpan::load(&files.open(), 1..3, &FlexDevice).unwrap();
        SpanCompute::new(span, total)
    }

    #[test]
    fn sequences_do_not_disturb_each_other() {
        let mut compute = compute(100);
        assert_eq!(compute.span(), Blocks { start: 1, end: 3 });
        compute.open(1, 40).unwrap();
        compute.open(2, 40).unwrap();
        let alone = compute.forward(1, 0, &rows(3)).unwrap();
        compute.forward(2, 0, &rows(7)).unwrap();
        let next = rows(4).rows(3, 4).unwrap();
        let first = compute.forward(1, 3, &next).unwrap();
        compute.close(1);
        compute.open(1, 40).unwrap();
        assert_eq!(compute.forward(1, 0, &rows(3)).unwrap(), alone);
        assert_eq!(compute.forward(1, 3, &next).unwrap(), first);
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let mut compute = compute(100);
        compute.open(1, 60).unwrap();
        assert_eq!(
            compute.open(2, 41),
            Err(ComputeError::Full {
                asked: 41,
                free: 40
            })
        );
        // Opening again replaces the reservation.
        compute.open(1, 80).unwrap();
        assert_eq!(compute.free_positions(), 20);
        compute.close(1);
        compute.close(1);
        assert_eq!(compute.free_positions(), 100);
        let context = compute.context_length();
        assert!(matches!(
            compute.open(3, context + 1),
            Err(ComputeError::Context { .. })
        ));
    }

    #[test]
    fn what_does_not_continue_the_sequence_changes_nothing() {
        let mut compute = compute(100);
        assert_eq!(compute.forward(1, 0, &rows(1)), Err(ComputeError::Unknown));
        compute.open(1, 5).unwrap();
        compute.forward(1, 0, &rows(2)).unwrap();
        assert_eq!(
            compute.forward(1, 3, &rows(1)),
            Err(ComputeError::Position {
                expected: 2,
                got: 3
            })
        );
        assert_eq!(
            compute.forward(1, 2, &rows(4)),
            Err(ComputeError::Context {
                position: 6,
                limit: 5
            })
        );
        let infinite = Activations::from_f32(&[f32::NAN; 32], 32).unwrap();
        assert!(matches!(
            compute.forward(1, 2, &infinite),
            Err(ComputeError::Input(_))
        ));
        let narrow = Activations::from_f32(&[0.5; 16], 16).unwrap();
        assert!(matches!(
            compute.forward(1, 2, &narrow),
            Err(ComputeError::Input(_))
        ));
        compute.forward(1, 2, &rows(3)).unwrap();
    }
}
