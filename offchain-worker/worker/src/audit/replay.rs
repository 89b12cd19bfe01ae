//! Running rows through blocks again.

use quipu_primitives::DType;
use quipu_protocol::{activations::width, limits::MAX_STEP_TOKENS, Activations, ActivationsHeader};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};

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
