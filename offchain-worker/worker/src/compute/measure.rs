//! What this machine does with the span, measured before it is announced.

use quipu_protocol::{Activations, ActivationsError};
use quipu_worker_core::ports::{CacheId, Compute, ComputeError};
use std::time::{Duration, Instant};

/// Positions of the measured prompt, and decoded after it.
const PROMPT: u32 = 64;
const DECODED: u32 = 8;
/// No session has this id: they are counted from 0 on.
const PROBE: CacheId = CacheId::MAX;

/// How fast a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// One position through the span, decoding.
    pub decode: Duration,
    /// Positions of a long prompt per second.
    pub prefill: u32,
}

/// Runs a short sequence through the span. Blocks.
pub fn measure(compute: &mut dyn Compute) -> Result<Rates, ComputeError> {
    let room = compute
        .context_length()
        .min(compute.free_positions())
        .max(2);
    let prompt = PROMPT.min(room / 2);
    let decoded = DECODED.min(room - prompt);
    compute.open(PROBE, prompt + decoded)?;
    let rates = run(compute, prompt, decoded);
    compute.close(PROBE);
    rates
}

fn run(compute: &mut dyn Compute, prompt: u32, decoded: u32) -> Result<Rates, ComputeError> {
    let hidden = compute.hidden_size();
    let rows = |count: u32| {
        // Of about the size of an embedding, and not all alike.
        let values: Vec<f32> = (0..count * hidden)
            .map(|i| ((i % 31) as f32 - 15.0) / 100.0)
            .collect();
        Activations::from_f32(&values, hidden)
            .map_err(|error: ActivationsError| ComputeError::Input(error.to_string()))
    };
    let (long, one) = (rows(prompt)?, rows(1)?);
    // The first step of a process pays for threads and buffers.
    compute.forward(PROBE, 0, &long)?;
    compute.open(PROBE, prompt + decoded)?;
    let started = Instant::now();
    compute.forward(PROBE, 0, &long)?;
    let prefill = started.elapsed();
    let started = Instant::now();
    for position in prompt..prompt + decoded {
        compute.forward(PROBE, position, &one)?;
    }
    let decode = started.elapsed() / decoded;
    let prefill = f64::from(prompt) / prefill.as_secs_f64().max(1e-9);
    Ok(Rates {
        decode,
        prefill: prefill.min(f64::from(u32::MAX)) as u32,
    })
}
