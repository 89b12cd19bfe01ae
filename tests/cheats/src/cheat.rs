//! What a server can do instead of its work.

use crate::{
    altered::{Alter, Altered, InRow},
    weights,
};
use anyhow::{ensure, Context, Result};
use quipu_engine::{testing::write_changed, Model};
use quipu_primitives::{Kernel, Span};
use quipu_worker::start::load_blocks;
use quipu_worker_core::ports::Compute;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::{fmt, str::FromStr};

/// The blocks that a server was paid for.
#[derive(Clone, Copy)]
pub struct Blocks<'a> {
    /// The subnet's model.
    pub model: &'a Model,
    /// With what the server was to compute.
    pub kernel: Kernel,
    /// Its blocks.
    pub span: Span,
    /// Threads.
    pub threads: usize,
    /// Room in the cache.
    pub positions: u32,
}

impl Blocks<'_> {
    /// The honest span.
    pub fn load(&self) -> Result<Box<dyn Compute>> {
        self.load_of(self.model, self.span)
    }

    fn load_of(&self, model: &Model, span: Span) -> Result<Box<dyn Compute>> {
        let loaded = load_blocks(model, self.kernel, span, self.threads, self.positions);
        Ok(loaded?.0)
    }

    /// Each block as a span of its own.
    pub fn each(&self) -> Result<Vec<Box<dyn Compute>>> {
        let blocks = self.span.start..self.span.end;
        blocks
            .map(|block| {
                let end = block + 1;
                self.load_of(self.model, Span { start: block, end })
            })
            .collect()
    }

    fn changed(&self, change: impl FnMut(&str, &[usize], &mut [f32])) -> Result<Box<dyn Compute>> {
        // It is read whole when it is loaded.
        let folder = tempfile::tempdir()?;
        let blocks = usize::from(self.span.start)..usize::from(self.span.end);
        let path = write_changed(self.model, blocks, folder.path(), change)?;
        let model = Model::open(&path)?;
        self.load_of(&model, self.span)
    }
}

/// What a server does to the rows that it was paid for. Its receipts are in order, and it shows all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cheat {
    /// Gives back what came in.
    PassThrough,
    /// Leaves the middle one of its blocks out.
    SkipLayer,
    /// Computes with weights that are off by 1 %: another checkpoint.
    OtherModel,
    /// Computes with weights that were rounded to 8 bits, a scale for each row.
    Int8,
    /// Computes with weights that were rounded to 4 bits, a scale for each 32.
    Int4,
    /// Gives back what came in at every twentieth position.
    SomePositions,
    /// Adds noise to each row, of so much of what its blocks change in it.
    Noise(f32),
}

impl Cheat {
    /// All of them, the noise as small as the one given.
    pub fn all(noise: f32) -> [Cheat; 7] {
        [
            Cheat::PassThrough,
            Cheat::SkipLayer,
            Cheat::OtherModel,
            Cheat::Int8,
            Cheat::Int4,
            Cheat::SomePositions,
            Cheat::Noise(noise),
        ]
    }

    /// What computes in place of the blocks.
    pub fn load(self, blocks: &Blocks) -> Result<Box<dyn Compute>> {
        let altered = |alter: Alter| -> Result<Box<dyn Compute>> {
            Ok(Box::new(Altered::new(blocks.load()?, alter)))
        };
        match self {
            Cheat::PassThrough => altered(Box::new(|_, given, gives| gives.copy_from_slice(given))),
            Cheat::SkipLayer => {
                ensure!(blocks.span.len() > 1, "of one block none can be left out");
                let mut parts = blocks.each()?;
                parts.remove(parts.len() / 2);
                let row = InRow::new(parts, blocks.span).context("no block is left")?;
                Ok(Box::new(row))
            }
            Cheat::OtherModel => blocks.changed(|name, shape, values| {
                weights::perturb(name, shape, values, 0.01);
            }),
            Cheat::Int8 => blocks.changed(|_, shape, values| weights::int8(shape, values)),
            Cheat::Int4 => blocks.changed(|_, shape, values| weights::int4(shape, values)),
            Cheat::SomePositions => altered(Box::new(|position, given, gives| {
                if position % 20 == 10 {
                    gives.copy_from_slice(given);
                }
            })),
            Cheat::Noise(amount) => altered(Box::new(move |position, given, gives| {
                add_noise(position, given, gives, amount);
            })),
        }
    }
}

/// Adds noise of exactly so much of the difference between two rows.
fn add_noise(position: u32, given: &[f32], gives: &mut [f32], amount: f32) {
    let mut random = StdRng::seed_from_u64(position.into());
    let noise: Vec<f64> = gives.iter().map(|_| random.gen_range(-1.0..1.0)).collect();
    let norm = |squares: f64| squares.sqrt();
    let of_noise = norm(noise.iter().map(|value| value * value).sum());
    let pairs = given.iter().zip(gives.iter());
    let changed = norm(pairs.map(|(a, b)| f64::from(b - a).powi(2)).sum());
    let scale = f64::from(amount) * changed / of_noise.max(f64::MIN_POSITIVE);
    for (value, noise) in gives.iter_mut().zip(noise) {
        *value += (scale * noise) as f32;
    }
}

impl fmt::Display for Cheat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cheat::PassThrough => f.write_str("pass-through"),
            Cheat::SkipLayer => f.write_str("skip-layer"),
            Cheat::OtherModel => f.write_str("other-model"),
            Cheat::Int8 => f.write_str("int8"),
            Cheat::Int4 => f.write_str("int4"),
            Cheat::SomePositions => f.write_str("some-positions"),
            Cheat::Noise(amount) => write!(f, "noise:{amount}"),
        }
    }
}

impl FromStr for Cheat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(amount) = text.strip_prefix("noise:") {
            let amount: f32 = amount
                .parse()
                .map_err(|_| format!("{amount} is no number"))?;
            return match amount.is_finite() && amount > 0.0 {
                true => Ok(Cheat::Noise(amount)),
                false => Err(format!("noise of {amount} is none")),
            };
        }
        let known = Cheat::all(0.1)
            .into_iter()
            .find(|cheat| cheat.to_string() == text);
        known.ok_or_else(|| format!("{text} is no cheat of a server"))
    }
}

#[cfg(test)]
mod tests;
