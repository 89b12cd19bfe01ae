//! Running a benchmark often enough.

use crate::{
    plan::Benchmark,
    runtime::{On, Run, Runtime},
};
use anyhow::Context;
use frame_benchmarking::BenchmarkResult;
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Values of each component.
    pub steps: u32,
    /// Times at each point in one round.
    pub repeat: u32,
    /// Rounds go on until this time has passed.
    pub least: Duration,
}

/// What came out.
#[derive(Debug)]
pub struct Samples {
    /// Times, from the bare state.
    pub times: Vec<BenchmarkResult>,
    /// Keys and proofs, from the counting state: one for each point.
    pub counts: Vec<BenchmarkResult>,
}

/// Checks a benchmark at each of its points, and measures it there.
pub fn run(runtime: &Runtime, benchmark: &Benchmark, effort: &Effort) -> anyhow::Result<Samples> {
    let mut samples = Samples {
        times: Vec::new(),
        counts: Vec::new(),
    };
    let begun = Instant::now();
    let points = benchmark.points(effort.steps);
    for point in &points {
        let once = |on, verify| {
            let run = Run {
                pallet: &benchmark.pallet,
                instance: &benchmark.instance,
                benchmark: &benchmark.name,
                components: point,
                verify,
                repeat: 1,
            };
            runtime
                .run(on, &run)
                .with_context(|| format!("at {point:?}"))
        };
        once(On::BareState, true)?;
        samples.counts.extend(once(On::CountingState, false)?);
    }
    loop {
        for point in &points {
            let run = Run {
                pallet: &benchmark.pallet,
                instance: &benchmark.instance,
                benchmark: &benchmark.name,
                components: point,
                verify: false,
                repeat: effort.repeat,
            };
            let results = runtime.run(On::BareState, &run);
            samples
                .times
                .extend(results.with_context(|| format!("at {point:?}"))?);
        }
        if begun.elapsed() >= effort.least {
            return Ok(samples);
        }
    }
}
