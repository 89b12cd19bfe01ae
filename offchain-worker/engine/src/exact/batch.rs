//! What goes through a span together, and the memory that it needs.

use quipu_kernels::{AttentionPlan, AttentionScratch, Kernels, QuantizedRows};

use super::cache::ExactCache;
use crate::config::ModelConfig;
use crate::error::EngineError;

/// Rows that pass through a span at a time. More are cut into pieces of this size, which bounds the
/// memory of a [`Workspace`]; where they are cut changes no bit.
pub(super) const PIECE: usize = 128;

/// Consecutive tokens of one sequence: a prompt, a part of one, or a single token. Rows of all
/// sequences of a batch pass through every product together.
#[derive(Debug)]
pub struct Sequence<'a> {
    pub(super) cache: &'a mut ExactCache,
    pub(super) position: usize,
    pub(super) rows: &'a mut [f32],
    pub(super) error: Option<EngineError>,
}

impl<'a> Sequence<'a> {
    /// The tokens from `position` on, which must be the length of `cache`. `rows` are their hidden
    /// states, `tokens × hidden`; what comes out of the span takes their place.
    pub fn new(cache: &'a mut ExactCache, position: usize, rows: &'a mut [f32]) -> Self {
        Self {
            cache,
            position,
            rows,
            error: None,
        }
    }

    /// After the batch: was the sequence computed? If not, its cache is as it was, and its rows are
    /// to be thrown away.
    pub fn result(self) -> Result<(), EngineError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Rows of one sequence within a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub sequence: usize,
    /// First of its rows in the piece.
    pub row: usize,
    pub rows: usize,
    /// First of its rows in the sequence's.
    pub token: usize,
    /// Position of the first row.
    pub position: usize,
}

/// Memory for a pass, kept from one to the next: after the first of a size, a pass allocates
/// nothing but a page of the cache now and then.
#[derive(Debug)]
pub struct Workspace {
    /// `[rows, hidden]` each: the residual path, and its norm.
    pub(super) hidden: Vec<f32>,
    pub(super) normed: Vec<f32>,
    /// `rows × (query + 2 kv)`.
    pub(super) projected: Vec<f32>,
    /// `[rows, query]`.
    pub(super) mixed: Vec<f32>,
    /// `rows × 2 × intermediate`.
    pub(super) gate_up: Vec<f32>,
    /// `[rows, intermediate]`.
    pub(super) gated: Vec<f32>,
    pub(super) quantized: QuantizedRows,
    pub(super) segments: Vec<Segment>,
    pub(super) plan: AttentionPlan,
    pub(super) scratch: AttentionScratch,
}

impl Workspace {
    pub(super) fn new(kernels: &Kernels) -> Self {
        Self {
            hidden: Vec::new(),
            normed: Vec::new(),
            projected: Vec::new(),
            mixed: Vec::new(),
            gate_up: Vec::new(),
            gated: Vec::new(),
            quantized: QuantizedRows::new(),
            segments: Vec::new(),
            plan: AttentionPlan::new(),
            scratch: AttentionScratch::new(kernels),
        }
    }

    /// Sets the buffers to `rows` rows.
    pub(super) fn resize(&mut self, config: &ModelConfig, rows: usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (query, kv) = (config.query_width(), config.kv_width());
        for (buffer, width) in [
            (&mut self.hidden, hidden),
            (&mut self.normed, hidden),
            (&mut self.projected, query + 2 * kv),
            (&mut self.mixed, query),
            (&mut self.gate_up, 2 * inner),
            (&mut self.gated, inner),
        ] {
            buffer.resize(rows * width, 0.0);
        }
    }

    /// Bytes that its buffers take now.
    pub fn bytes(&self) -> usize {
        let buffers = [
            &self.hidden,
            &self.normed,
            &self.projected,
            &self.mixed,
            &self.gate_up,
            &self.gated,
        ];
        let numbers: usize = buffers.iter().map(|buffer| buffer.capacity()).sum();
        numbers * size_of::<f32>() + self.scratch.bytes()
    }
}
