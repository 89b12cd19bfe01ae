//! How far honest servers of a tolerant profile are from an auditor's replay.

use super::Common;
use anyhow::{Context, Result};
use quipu_attest::{
    calibration::{Calibration, Measured, Pair},
    tolerance::{distances, Spread},
};
use quipu_cheats::{
    prompts,
    trial::{replayed, run as through, Trial},
};
use quipu_primitives::{DType, Kernel};
use quipu_protocol::Activations;
use quipu_worker_core::ports::Compute;
use rand::{rngs::StdRng, Rng, SeedableRng};

/// How a server may have cut a session that an auditor replays in steps as long as they may be.
const CUTS: [(&str, u32); 2] = [("token by token", 1), ("32 tokens at a time", 32)];

const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

/// For each session and each type of rows: positions, and the farthest of all cuts.
fn measure(common: &Common, trial: &Trial) -> Result<Vec<Vec<(u64, Spread)>>> {
    let prompts: Vec<String> = prompts::calibration().take(common.sessions).collect();
    common.each(prompts, |prompts, seed| {
        let mut chain = trial.honest()?;
        let mut flex = trial.blocks(1, Kernel::FlexF32).load()?;
        let answers = trial.answer(&mut chain, prompts, common.tokens, (0.7, seed))?;
        let mut found = Vec::new();
        for answer in answers {
            let tokens = &answer.tokens[..answer.positions()];
            let embedded = trial.embed(tokens)?;
            let input = replayed(chain[0].as_mut(), &embedded)?.to_f32()?;
            let mut of_types = Vec::new();
            for dtype in TYPES {
                let input = Activations::rounded(&input, trial.hidden(), dtype)?;
                let off = off(trial, flex.as_mut(), &input, answer.prompt as u32)?;
                of_types.push((tokens.len() as u64, off));
            }
            found.push(of_types);
        }
        Ok(found)
    })
}

/// Rows that no text gives: noise of these sizes, and one row again and again.
const SIZES: [f32; 4] = [0.01, 0.3, 10.0, 1_000.0];
/// Sessions of each kind and size, and positions of one.
const ROUGH: (u64, u32) = (4, 96);

fn rough(trial: &Trial) -> Result<[Spread; 3]> {
    let mut flex = trial.blocks(1, Kernel::FlexF32).load()?;
    let (sessions, positions) = ROUGH;
    let hidden = trial.hidden();
    let mut farthest = [Spread::default(); 3];
    for (seed, size) in (0..sessions).flat_map(|seed| SIZES.map(|size| (seed, size))) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut noise = |rows: u32| -> Vec<f32> {
            let numbers = 0..rows * hidden;
            numbers.map(|_| random.gen_range(-size..size)).collect()
        };
        let again = noise(1).repeat(positions as usize);
        for rows in [noise(positions), again] {
            for (index, dtype) in TYPES.into_iter().enumerate() {
                let input = Activations::rounded(&rows, hidden, dtype)?;
                let off = off(trial, flex.as_mut(), &input, 32)?;
                farthest[index] = farthest[index].max(off);
            }
        }
    }
    Ok(farthest)
}

/// How far rows are, at most, that were cut in any of the ways behind a prompt of so many positions.
fn off(trial: &Trial, flex: &mut dyn Compute, input: &Activations, prompt: u32) -> Result<Spread> {
    let again = replayed(flex, input)?.to_f32()?;
    let mut farthest = Spread::default();
    for (_, further) in CUTS {
        let signed = through(flex, input, (prompt, further))?.to_f32()?;
        let hidden = trial.hidden() as usize;
        let off = distances(&input.to_f32()?, &signed, &again, hidden);
        farthest = farthest.max(Spread::of(&off.context("rows of one shape")?));
    }
    Ok(farthest)
}

/// Three digits are enough, and no less than what was found.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powf(2.0 - value.log10().floor());
    (value * scale).ceil() / scale
}

/// Measures on prompts that are used for nothing else.
pub fn run(common: &Common) -> Result<Calibration> {
    let trial = common.trial()?;
    let rough = rough(&trial)?;
    let found = measure(common, &trial)?;
    let cut = |(name, _): &(&str, u32)| format!("the answer {name} against all at once");
    let how: Vec<String> = CUTS.iter().map(cut).collect();
    let measured = TYPES.iter().enumerate().map(|(index, dtype)| {
        let of_type = found.iter().map(|of_types| of_types[index]);
        let positions = of_type.clone().map(|(positions, _)| positions).sum();
        let farthest = of_type.fold(Spread::default(), |all, (_, one)| all.max(one));
        let rounded = |spread: Spread| Spread {
            median: rounded(spread.median),
            upper: rounded(spread.upper),
            most: rounded(spread.most),
        };
        let (farthest, rough) = (rounded(farthest), rounded(rough[index]));
        let pair = Pair {
            signed: Kernel::FlexF32,
            replayed: Kernel::FlexF32,
            activations: *dtype,
        };
        Measured::new(
            pair,
            how.clone(),
            found.len() as u32,
            positions,
            farthest,
            rough,
        )
    });
    Ok(Calibration {
        made_with: common.made_with("calibrate"),
        pairs: measured.collect(),
    })
}
