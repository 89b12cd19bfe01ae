//! Running rows through blocks again.

use super::Replayer;
use crate::start::load_blocks;
use async_trait::async_trait;
use quipu_engine::Model;
use quipu_primitives::{DType, NumericProfile, Span};
use quipu_protocol::{activations::width, limits::MAX_STEP_TOKENS, Activations, ActivationsHeader};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};
use std::sync::Arc;

/// Replays on blocks that it loads for each replay, and lets go of afterwards: audits are rare, and what they
/// are about is any of the model's blocks.
pub struct ModelReplayer {
    model: Arc<Model>,
    threads: usize,
}

impl ModelReplayer {
    /// Computes on so many threads.
    pub fn new(model: Arc<Model>, threads: usize) -> Self {
        ModelReplayer { model, threads }
    }
}

#[async_trait]
impl Replayer for ModelReplayer {
    async fn replay(
        &self,
        profile: NumericProfile,
        span: Span,
        rows: Vec<u8>,
    ) -> Result<Vec<u8>, ComputeError> {
        let (model, threads) = (self.model.clone(), self.threads);
        let work = move || {
            let hidden = model.config().hidden_size;
            let dtype = profile.activations;
            let row = hidden * width(dtype).unwrap_or(0);
            let positions = rows.len().checked_div(row).unwrap_or(0) as u32;
            let loaded = load_blocks(&model, profile.kernel, span, threads, positions.max(1));
            let (mut compute, _) =
                loaded.map_err(|error| ComputeError::Backend(error.to_string()))?;
            replay(compute.as_mut(), &rows, dtype)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| ComputeError::Backend(error.to_string()))?
    }
}

/// The sequence of a replay: a span that replays does nothing else.
const REPLAY: CacheId = 0;

/// Runs rows of the positions from 0 on through the blocks, in steps as large as they may be, and gives what
/// comes out in the same type. On a span of its own, since it takes a cache as long as the rows. Blocks.
pub fn replay(
    compute: &mut dyn Compute,
    rows: &[u8],
    dtype: DType,
) -> Result<Vec<u8>, ComputeError> {
    let hidden = compute.hidden_size();
    let row = hidden as usize * width(dtype).unwrap_or(0);
    if row == 0 || !rows.len().is_multiple_of(row) {
        return Err(ComputeError::Input("no whole number of rows".into()));
    }
    let positions = u32::try_from(rows.len() / row)
        .map_err(|_| ComputeError::Input("more rows than positions".into()))?;
    compute.open(REPLAY, positions)?;
    let mut replayed = Vec::with_capacity(rows.len());
    let mut position = 0;
    let done = rows
        .chunks(row * MAX_STEP_TOKENS as usize)
        .try_for_each(|step| {
            let header = ActivationsHeader {
                dtype,
                tokens: (step.len() / row) as u32,
                hidden,
            };
            let input = Activations {
                header,
                bytes: bytes::Bytes::copy_from_slice(step),
            };
            let output = compute.forward(REPLAY, position, &input)?;
            position += header.tokens;
            replayed.extend_from_slice(&output.bytes);
            Ok(())
        });
    compute.close(REPLAY);
    done.map(|()| replayed)
}
