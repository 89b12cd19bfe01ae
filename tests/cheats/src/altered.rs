//! Spans that give something else than their blocks do.

use quipu_primitives::Span;
use quipu_protocol::{Activations, ActivationsError};
use quipu_worker_core::ports::{BatchStep, Batching, CacheId, Compute, ComputeError};

/// What becomes of a row: its position, what went in, and what came out, to be changed.
pub type Alter = Box<dyn Fn(u32, &[f32], &mut [f32]) + Send>;

/// A span whose rows are changed before they go out.
pub struct Altered {
    inner: Box<dyn Compute>,
    alter: Alter,
}

impl Altered {
    /// Changes the rows that `inner` gives.
    pub fn new(inner: Box<dyn Compute>, alter: Alter) -> Self {
        Altered { inner, alter }
    }

    fn changed(
        &self,
        position: u32,
        input: &Activations,
        output: Activations,
    ) -> Result<Activations, ComputeError> {
        let (given, mut gives) = (numbers(input)?, numbers(&output)?);
        let hidden = output.header.hidden as usize;
        let rows = given.chunks(hidden).zip(gives.chunks_mut(hidden));
        for ((given, gives), position) in rows.zip(position..) {
            (self.alter)(position, given, gives);
        }
        let (hidden, dtype) = (output.header.hidden, output.header.dtype);
        Activations::rounded(&gives, hidden, dtype).map_err(unusable)
    }
}

fn numbers(activations: &Activations) -> Result<Vec<f32>, ComputeError> {
    activations.to_f32().map_err(unusable)
}

fn unusable(error: ActivationsError) -> ComputeError {
    ComputeError::Backend(error.to_string())
}

impl Compute for Altered {
    fn span(&self) -> Span {
        self.inner.span()
    }

    fn hidden_size(&self) -> u32 {
        self.inner.hidden_size()
    }

    fn context_length(&self) -> u32 {
        self.inner.context_length()
    }

    fn free_positions(&self) -> u32 {
        self.inner.free_positions()
    }

    fn open(&mut self, id: CacheId, positions: u32) -> Result<(), ComputeError> {
        self.inner.open(id, positions)
    }

    fn forward(
        &mut self,
        id: CacheId,
        position: u32,
        input: &Activations,
    ) -> Result<Activations, ComputeError> {
        let output = self.inner.forward(id, position, input)?;
        self.changed(position, input, output)
    }

    fn close(&mut self, id: CacheId) {
        self.inner.close(id);
    }

    fn batching(&mut self) -> Option<&mut dyn Batching> {
        match self.inner.batching() {
            Some(_) => Some(self),
            None => None,
        }
    }
}

impl Batching for Altered {
    fn forward_many(&mut self, steps: &[BatchStep]) -> Vec<Result<Activations, ComputeError>> {
        let outputs = forward_many(self.inner.as_mut(), steps);
        let pairs = steps.iter().zip(outputs);
        pairs
            .map(|(step, output)| self.changed(step.position, &step.input, output?))
            .collect()
    }

    fn truncate(&mut self, id: CacheId, positions: u32) {
        truncate(self.inner.as_mut(), id, positions);
    }
}

pub(crate) fn forward_many(
    compute: &mut dyn Compute,
    steps: &[BatchStep],
) -> Vec<Result<Activations, ComputeError>> {
    if let Some(batching) = compute.batching() {
        return batching.forward_many(steps);
    }
    steps
        .iter()
        .map(|step| compute.forward(step.id, step.position, &step.input))
        .collect()
}

fn truncate(compute: &mut dyn Compute, id: CacheId, positions: u32) {
    if let Some(batching) = compute.batching() {
        batching.truncate(id, positions);
    }
}

/// Spans one after the other, with a claim to be other blocks than they are.
pub struct InRow {
    parts: Vec<Box<dyn Compute>>,
    claimed: Span,
    /// What becomes of what one hands to the next.
    between: fn(Activations) -> Result<Activations, ActivationsError>,
}

impl InRow {
    /// Runs `parts`, of which there must be one, in their order, and says that they are `claimed`.
    pub fn new(parts: Vec<Box<dyn Compute>>, claimed: Span) -> Option<Self> {
        let between = Ok;
        (!parts.is_empty()).then_some(InRow {
            parts,
            claimed,
            between,
        })
    }

    /// The same, with every row rounded to bf16 behind each part: what a device would give that keeps the
    /// residual stream in 16 bits.
    pub fn in_bf16(self) -> Self {
        let between = |rows: Activations| {
            let (hidden, dtype) = (rows.header.hidden, rows.header.dtype);
            let half =
                Activations::rounded(&rows.to_f32()?, hidden, quipu_primitives::DType::Bf16)?;
            Activations::rounded(&half.to_f32()?, hidden, dtype)
        };
        InRow { between, ..self }
    }
}

impl Compute for InRow {
    fn span(&self) -> Span {
        self.claimed
    }

    fn hidden_size(&self) -> u32 {
        self.parts[0].hidden_size()
    }

    fn context_length(&self) -> u32 {
        self.parts[0].context_length()
    }

    fn free_positions(&self) -> u32 {
        let free = self.parts.iter().map(|part| part.free_positions());
        free.min().unwrap_or(0)
    }

    fn open(&mut self, id: CacheId, positions: u32) -> Result<(), ComputeError> {
        let opened = self
            .parts
            .iter_mut()
            .try_for_each(|part| part.open(id, positions));
        if opened.is_err() {
            self.close(id);
        }
        opened
    }

    fn forward(
        &mut self,
        id: CacheId,
        position: u32,
        input: &Activations,
    ) -> Result<Activations, ComputeError> {
        let mut rows = input.clone();
        for part in &mut self.parts {
            let output = part.forward(id, position, &rows)?;
            rows = (self.between)(output).map_err(unusable)?;
        }
        Ok(rows)
    }

    fn close(&mut self, id: CacheId) {
        for part in &mut self.parts {
            part.close(id);
        }
    }

    fn batching(&mut self) -> Option<&mut dyn Batching> {
        let batches = self.parts.iter_mut().all(|part| part.batching().is_some());
        match batches {
            true => Some(self),
            false => None,
        }
    }
}

impl Batching for InRow {
    /// One after the other: a cheat need not be fast. What fails in one part is cut from all.
    fn forward_many(&mut self, steps: &[BatchStep]) -> Vec<Result<Activations, ComputeError>> {
        let mut results = Vec::with_capacity(steps.len());
        for BatchStep {
            id,
            position,
            input,
        } in steps
        {
            let result = self.forward(*id, *position, input);
            if result.is_err() {
                self.truncate(*id, *position);
            }
            results.push(result);
        }
        results
    }

    fn truncate(&mut self, id: CacheId, positions: u32) {
        for part in &mut self.parts {
            truncate(part.as_mut(), id, positions);
        }
    }
}
