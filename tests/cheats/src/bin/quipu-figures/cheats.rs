//! Which cheats an auditor catches, and which the baseline does.

use super::Common;
use anyhow::{Context, Result};
use quipu_attest::{
    calibration::{Calibration, Pair},
    tolerance::Spread,
};
use quipu_cheats::{
    interval::Count,
    prompts,
    trial::{profile, replayed, run as through, whole, Answer, Chain, Trial},
    Cheat,
};
use quipu_primitives::{audit::Verdict, DType, Kernel, NumericProfile};
use quipu_protocol::Activations;
use quipu_worker::audit::Reason;
use rand::{rngs::StdRng, Rng, SeedableRng};
use serde_json::{json, Value};

const PROFILES: [(Kernel, DType); 4] = [
    (Kernel::ReproducibleV1, DType::F32),
    (Kernel::ReproducibleV1, DType::Bf16),
    (Kernel::FlexF32, DType::F32),
    (Kernel::FlexF32, DType::Bf16),
];

fn name((kernel, dtype): (Kernel, DType)) -> String {
    let kernel = match kernel {
        Kernel::ReproducibleV1 => "reproducible-v1",
        Kernel::FlexF32 => "flex-f32",
        Kernel::Cuda => "cuda",
    };
    format!("{kernel}, rows in {dtype:?}").to_lowercase()
}

/// A session of the middle server: its answer, and what went in, in f32.
struct Session {
    answer: Answer,
    input: Vec<f32>,
}

/// Sampled answers to prompts that were not calibrated with.
fn sessions(
    common: &Common,
    trial: &Trial,
    chain: &mut Chain,
    prompts: &[String],
    seed: u64,
) -> Result<Vec<Session>> {
    let answers = trial.answer(chain, prompts, common.tokens, (0.7, seed))?;
    let session = |answer: Answer| {
        let embedded = trial.embed(&answer.tokens[..answer.positions()])?;
        let input = replayed(chain[0].as_mut(), &embedded)?.to_f32()?;
        Ok(Session { answer, input })
    };
    answers.into_iter().map(session).collect()
}

fn held_out(sessions: usize) -> Vec<String> {
    prompts::held_out().take(sessions).collect()
}

/// What a look says: the verdict, and how far off the rows were where that is measured.
type Look = (Verdict, Option<Spread>);

fn look(
    trial: &Trial,
    profile: &NumericProfile,
    input: &Activations,
    output: &Activations,
    replayed: &Activations,
) -> Result<Look> {
    let (finding, reason) = trial.look(profile.clone(), input, output, replayed)?;
    let spread = match reason {
        Reason::Off { spread, .. } => Some(spread),
        _ => None,
    };
    Ok((finding.verdict, spread))
}

fn verdicts(looks: &[Look]) -> Value {
    let n = looks.len() as u32;
    let count = |wanted| {
        let hits = looks.iter().filter(|(verdict, _)| *verdict == wanted);
        Count::new(hits.count() as u32, n)
    };
    let farthest = looks.iter().filter_map(|(_, spread)| *spread);
    let farthest = farthest.fold(Spread::default(), Spread::max);
    let nearest = looks
        .iter()
        .map(|(_, spread)| spread.map_or(0.0, |spread| spread.most));
    json!({
        "fail": count(Verdict::Fail),
        "inconclusive": count(Verdict::Inconclusive),
        "pass": count(Verdict::Pass),
        "farthest": farthest,
        "nearest_most": nearest.fold(f64::INFINITY, f64::min),
    })
}

/// Honest servers, who decode token by token: how often is one of them accused?
pub fn honest(common: &Common, trial: &Trial) -> Result<Value> {
    eprintln!("honest servers");
    let looks = common.each(held_out(common.sessions), |prompts, seed| {
        let mut chain = trial.honest()?;
        let mut flex = trial.blocks(1, Kernel::FlexF32).load()?;
        let mut all = Vec::new();
        for session in sessions(common, trial, &mut chain, prompts, seed)? {
            let mut of_profiles = Vec::new();
            for (kernel, dtype) in PROFILES {
                let profile = profile(kernel, dtype);
                let input = Activations::rounded(&session.input, trial.hidden(), dtype)?;
                let compute = match kernel {
                    Kernel::ReproducibleV1 => chain[1].as_mut(),
                    _ => flex.as_mut(),
                };
                let decoded = through(compute, &input, (session.answer.prompt as u32, 1))?;
                let again = replayed(compute, &input)?;
                of_profiles.push(look(trial, &profile, &input, &decoded, &again)?);
            }
            all.push(of_profiles);
        }
        Ok(all)
    })?;
    let of = |(index, profile)| {
        let of_profile: Vec<Look> = looks.iter().map(|looks| looks[index]).collect();
        json!({ "profile": name(profile), "verdicts": verdicts(&of_profile) })
    };
    Ok(PROFILES.into_iter().enumerate().map(of).collect())
}

/// Nine tenths of what an honest server may be off at half of the positions.
fn just_inside(dtype: DType) -> Result<f32> {
    let limits = Calibration::committed().limits(Pair {
        signed: Kernel::FlexF32,
        replayed: Kernel::FlexF32,
        activations: dtype,
    });
    Ok(limits.context("flex was calibrated")?.pass.median as f32 * 0.9)
}

/// What a cheat is called in the tables.
fn label(cheat: Cheat) -> String {
    match cheat {
        Cheat::Noise(_) => "noise just inside the tolerance of flex-f32".to_owned(),
        other => other.to_string(),
    }
}

/// Every cheat of a server, on every profile.
pub fn cheats(common: &Common, trial: &Trial) -> Result<Value> {
    let mut table = Vec::new();
    for profiled in PROFILES {
        let (kernel, dtype) = profiled;
        eprintln!("cheats on {}", name(profiled));
        let cheats = Cheat::all(just_inside(dtype)?);
        let looks = common.each(held_out(common.sessions), |prompts, seed| {
            let mut chain = trial.honest()?;
            let blocks = trial.blocks(1, kernel);
            let mut auditor = blocks.load()?;
            let mut servers = Vec::new();
            for cheat in cheats {
                servers.push(cheat.load(&blocks)?);
            }
            let mut all = Vec::new();
            for session in sessions(common, trial, &mut chain, prompts, seed)? {
                let profile = profile(kernel, dtype);
                let input = Activations::rounded(&session.input, trial.hidden(), dtype)?;
                let again = replayed(auditor.as_mut(), &input)?;
                let mut of_cheats = Vec::new();
                for server in &mut servers {
                    let output = replayed(server.as_mut(), &input)?;
                    of_cheats.push(look(trial, &profile, &input, &output, &again)?);
                }
                all.push(of_cheats);
            }
            Ok(all)
        })?;
        for (index, cheat) in cheats.into_iter().enumerate() {
            let of_cheat: Vec<Look> = looks.iter().map(|looks| looks[index]).collect();
            table.push(json!({
                "profile": name(profiled), "cheat": label(cheat), "verdicts": verdicts(&of_cheat),
            }));
        }
    }
    Ok(table.into())
}

/// What may be wrong with an answer to a job.
const ANSWERS: [&str; 6] = [
    "none",
    "altered prompt",
    "truncated output",
    "wrong sampling seed (T = 0.7 for the likeliest)",
    "draft tokens without checking",
    "replay of an old answer",
];

/// Answers to jobs: honest ones, and with each thing wrong that can be. Is it found?
pub fn answers(common: &Common, trial: &Trial) -> Result<Value> {
    eprintln!("answers to jobs");
    let most = common.tokens;
    let found = common.each(held_out(common.sessions), |prompts, seed| {
        let mut chain = trial.honest()?;
        let likeliest = trial.answer(&mut chain, prompts, most, (0.0, 0))?;
        let sampled = trial.answer(&mut chain, prompts, most, (0.7, seed))?;
        let mut found = Vec::new();
        for (prompt, (honest, sampled)) in prompts.iter().zip(likeliest.iter().zip(&sampled)) {
            // What the servers sign for these tokens, of which the last is not led through.
            let mut judged = |prompt: &str, tokens: &[u32], said: &[u32]| {
                let input = trial.embed(&tokens[..tokens.len() - 1])?;
                let output = whole(&mut chain, input.clone())?;
                trial.judge(prompt, most, said, (&input, &output))
            };
            let (tokens, start) = (&honest.tokens, honest.prompt);
            let said = &tokens[start..];
            let half = &prompt[..prompt.len() / 2];
            let short = &tokens[..tokens.len().min(start + 2)];
            let mut guessed = tokens.clone();
            let middle = start + said.len() / 2;
            guessed[middle] = guessed[middle].wrapping_add(1) % 1_000 + 1_000;
            let old = [&said[said.len() / 2..], &said[..said.len() / 2]].concat();
            found.push([
                judged(prompt, tokens, said)?.is_err(),
                judged(half, tokens, said)?.is_err(),
                judged(prompt, short, &short[start..])?.is_err(),
                judged(prompt, &sampled.tokens, &sampled.tokens[start..])?.is_err(),
                judged(prompt, &guessed, &guessed[start..])?.is_err(),
                judged(prompt, tokens, &old)?.is_err(),
            ]);
        }
        Ok(found)
    })?;
    let of = |(index, what): (usize, &&str)| {
        let hits = found.iter().filter(|found| found[index]).count();
        json!({ "wrong": what, "caught": Count::new(hits as u32, found.len() as u32) })
    };
    Ok(ANSWERS.iter().enumerate().map(of).collect())
}

/// Positions of an answer of which the token is checked: first, any, last.
fn drawn(answer: &Answer, seed: u64) -> [usize; 3] {
    let (first, last) = (answer.prompt, answer.tokens.len() - 1);
    let any = StdRng::seed_from_u64(seed).gen_range(first..=last);
    [first, any, last]
}

/// RASTiC: the first token, a random one and the last are computed again, each from the tokens before it, and
/// compared. The likeliest tokens, so that every difference shows. Beside it the share of answers in which any
/// token is another: no check of tokens can find more.
pub fn baseline(common: &Common, trial: &Trial, sessions: usize) -> Result<Value> {
    let mut table = Vec::new();
    let all = Cheat::all(just_inside(DType::F32)?);
    for cheat in std::iter::once(None).chain(all.into_iter().map(Some)) {
        let label = cheat.map_or("none".to_owned(), label);
        eprintln!("baseline on {label}");
        let found = common.each(held_out(sessions), |prompts, seed| {
            let mut honest = trial.honest()?;
            let mut swarm = trial.honest()?;
            if let Some(cheat) = cheat {
                swarm[1] = cheat.load(&trial.blocks(1, Kernel::ReproducibleV1))?;
            }
            let mut found = Vec::new();
            let answers = trial.answer(&mut swarm, prompts, common.tokens, (0.0, 0))?;
            for (answer, seed) in answers.into_iter().zip(seed..) {
                let rows = trial.embed(&answer.tokens[..answer.positions()])?;
                let rows = whole(&mut honest, rows)?.to_f32()?;
                let hidden = trial.hidden() as usize;
                let is_wrong = |at: usize| -> Result<bool> {
                    let row = &rows[(at - 1) * hidden..at * hidden];
                    Ok(trial.likeliest(row)? != answer.tokens[at])
                };
                let mut caught = false;
                for at in drawn(&answer, seed) {
                    caught |= is_wrong(at)?;
                }
                let mut any = caught;
                for at in answer.prompt..answer.tokens.len() {
                    any = any || is_wrong(at)?;
                }
                found.push((caught, any));
            }
            Ok(found)
        })?;
        let n = found.len() as u32;
        let caught = found.iter().filter(|(caught, _)| *caught).count() as u32;
        let any = found.iter().filter(|(_, any)| *any).count() as u32;
        table.push(json!({
            "cheat": label,
            "caught": Count::new(caught, n),
            "any_token_differs": Count::new(any, n),
        }));
    }
    Ok(table.into())
}
