//! How far the reproducible kernels are from f32, on the prompts of the tests: each is given the tokens that
//! transformers chose, and what the kernels make of every position is compared with Burn.
//!
//! ```text
//! accuracy [--model PATH] [--reference PATH]
//! ```
//!
//! `--reference` is the model that Burn computes, if it is another file. With some matrices of `--model`
//! rewritten as F32, in front of which activations are not rounded, this tells what the rounding in front of
//! the others does.

use std::error::Error;
use std::path::{Path, PathBuf};

use quipu_engine::exact::{ExactEnds, ExactOptions, ExactSpan};
use quipu_engine::{CpuEnds, CpuSpan, Model};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    ids: Vec<u32>,
    tokens: Vec<u32>,
}

/// What was found over some positions.
#[derive(Default)]
struct Found {
    positions: usize,
    /// Where the likeliest token is not that of Burn, and not that of transformers.
    not_burn: usize,
    not_transformers: usize,
    difference: f64,
    size: f64,
    /// Greatest distance of any logit.
    greatest: f32,
    /// Smallest lead of Burn's likeliest token.
    closest: f32,
}

impl Found {
    fn add(&mut self, found: &[f32], expected: &[f32], token: u32) {
        let (best, of_burn) = (likeliest(found), likeliest(expected));
        self.positions += 1;
        self.not_burn += usize::from(best != of_burn);
        self.not_transformers += usize::from(best != token as usize);
        for (found, expected) in found.iter().zip(expected) {
            let difference = found - expected;
            self.difference += f64::from(difference).powi(2);
            self.size += f64::from(*expected).powi(2);
            self.greatest = self.greatest.max(difference.abs());
        }
        let others = expected.iter().enumerate().filter(|(i, _)| *i != of_burn);
        let second = others.fold(f32::MIN, |most, (_, logit)| most.max(*logit));
        let lead = expected[of_burn] - second;
        if self.positions == 1 || lead < self.closest {
            self.closest = lead;
        }
    }

    fn print(&self, name: &str) {
        println!(
            "{name:40} {:4} {:6} {:6} {:9.1e} {:9.1e} {:9.1e}",
            self.positions,
            self.not_burn,
            self.not_transformers,
            (self.difference / self.size).sqrt(),
            self.greatest,
            self.closest
        );
    }
}

fn likeliest(logits: &[f32]) -> usize {
    let order = |a: &usize, b: &usize| logits[*a].total_cmp(&logits[*b]);
    (0..logits.len()).max_by(order).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let mut model = Path::new(&home)
        .join(".cache/quipu/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if let Some(path) = std::env::var_os("QUIPU_MODEL") {
        model = path.into();
    }
    let mut reference = None;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--model" => model = value.into(),
            "--reference" => reference = Some(PathBuf::from(value)),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smollm2_greedy.json");
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(path)?)?;

    let exact = Model::open(&model)?;
    let blocks = 0..exact.config().blocks;
    let span = ExactSpan::load(&exact, blocks.clone(), ExactOptions::default())?;
    let ends = ExactEnds::load(&exact, ExactOptions::default())?;
    let burn = Model::open(reference.as_ref().unwrap_or(&model))?;
    let burn_span = CpuSpan::load(&burn, blocks, &Default::default())?;
    let burn_ends = CpuEnds::load(&burn, &Default::default())?;

    println!(
        "{:40} {:>4} {:>6} {:>6} {:>9} {:>9} {:>9}",
        "prompt", "rows", "burn≠", "hf≠", "logits", "greatest", "closest"
    );
    let vocab = exact.config().vocab_size;
    let mut all = Found::default();
    for case in fixture.cases {
        let (last, before) = (case.tokens.len() - 1, case.ids.len() - 1);
        let ids = [&case.ids[..], &case.tokens[..last]].concat();
        let hidden = ends.embed(&ids)?;
        let hidden = span.forward(&mut span.new_cache(ids.len())?, hidden, 0)?;
        let found = ends.all_logits(&hidden)?;
        let hidden = burn_ends.embed(&ids)?;
        let hidden = burn_span.forward(&mut burn_span.new_cache(ids.len()), hidden, 0)?;
        let expected = burn_ends.all_logits(&hidden)?;
        let mut of_case = Found::default();
        for (i, token) in case.tokens.iter().enumerate() {
            let row = (before + i) * vocab..(before + i + 1) * vocab;
            of_case.add(&found[row.clone()], &expected[row.clone()], *token);
            all.add(&found[row.clone()], &expected[row], *token);
        }
        let name: String = case.prompt.chars().take(40).collect();
        of_case.print(&name);
    }
    all.print("all");
    Ok(())
}
