//! What looking costs, and what receipts do.

use anyhow::Result;
use bytes::Bytes;
use quipu_cheats::trial::{profile, replayed, run as through, Trial};
use quipu_primitives::{DType, Kernel, Receipt, Span, RECEIPT_POSITIONS};
use quipu_protocol::{Activations, Frame, Response, SignedReceipt};
use serde_json::{json, Value};
use std::time::Instant;

/// Tokens of the answers.
const LENGTHS: [u32; 3] = [64, 256, 1_024];
/// Tokens of the prompt before them.
const PROMPT: u32 = 32;
/// Each is measured so often, in turn; the middle one counts.
const ROUNDS: usize = 5;

/// An auditor's whole look against the server's whole work, each on one thread of the same kernels.
pub fn run(trial: &Trial) -> Result<Value> {
    let mut table = Vec::new();
    for kernel in [Kernel::ReproducibleV1, Kernel::FlexF32] {
        let blocks = trial.blocks(1, kernel);
        let mut compute = blocks.load()?;
        for length in LENGTHS {
            eprintln!("{kernel:?}, {length} tokens");
            let total = PROMPT + length;
            let hidden = trial.hidden();
            let values: Vec<f32> = (0..total * hidden)
                .map(|i| ((i.wrapping_mul(2_654_435_761) >> 16) % 2_001) as f32 / 1_000.0 - 1.0)
                .collect();
            let input = Activations::from_f32(&values, hidden)?;
            let (mut serving, mut looking, mut loading) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let started = Instant::now();
                let output = through(compute.as_mut(), &input, (PROMPT, 1))?;
                serving.push(started.elapsed().as_secs_f64());
                let profile = profile(kernel, DType::F32);
                let case = trial.case(profile.clone(), total);
                let shown = trial.shown(&case, &input, &output)?;
                let started = Instant::now();
                let again = replayed(compute.as_mut(), &input)?;
                let (finding, _) =
                    quipu_worker::audit::examine(&case, &shown, |_| Ok(again.bytes.to_vec()));
                looking.push(started.elapsed().as_secs_f64());
                // Such rows no text gives: on kernels that promise no bits they may be undecided.
                anyhow::ensure!(finding.verdict != quipu_primitives::audit::Verdict::Fail);
                let started = Instant::now();
                drop(blocks.load()?);
                loading.push(started.elapsed().as_secs_f64());
            }
            let (serving, looking) = (middle(serving), middle(looking));
            table.push(json!({
                "kernel": kernel, "prompt": PROMPT, "tokens": length, "serving_seconds": serving,
                "looking_seconds": looking, "ratio": looking / serving, "loading_seconds": middle(loading),
            }));
        }
    }
    Ok(table.into())
}

fn middle(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Bytes of a receipt on the wire, which each server gives and each next one takes.
pub fn bytes() -> Result<Value> {
    let receipt = Receipt {
        session: u64::MAX,
        node: u32::MAX,
        span: Span { start: 10, end: 20 },
        weights_root: [1; 32],
        profile: [2; 32],
        start: 0,
        end: RECEIPT_POSITIONS,
        input: [3; 32],
        output: [4; 32],
        previous: [5; 32],
    };
    let signature = [6; 64];
    let response = Response::Receipt(SignedReceipt { receipt, signature });
    let frame = Frame::new(&response, Bytes::new());
    let bytes = frame.prefix().len() + frame.header.len();
    Ok(json!({
        "receipt": bytes,
        "positions": RECEIPT_POSITIONS,
        "per_token_and_hop": bytes as f64 / f64::from(RECEIPT_POSITIONS),
    }))
}
