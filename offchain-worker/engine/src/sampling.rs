//! Choice of a token from logits: pure, and the same on every machine.
//!
//! With a temperature T > 0 the token is `argmax(logit/T + g)` over the candidates that top-k and
//! top-p leave, where `g` is Gumbel noise: a function of the seed, the position and the token alone.
//! So a draw depends on nothing that was drawn before, and a verifier recomputes any one of them.
//!
//! The noise of token `t` at position `p` is `−ln(−ln((w + ½)·2⁻³²))`, with `w` the `t`-th word
//! (little-endian, 32 bits) of the ChaCha20 keystream under the key `seed`, the 64-bit nonce `p` and
//! a block counter that starts at 0. Logarithms and exponentials are those of the pure-Rust `libm`,
//! in f64.

use std::cmp::Ordering;

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use thiserror::Error;

/// Candidates that are sorted at a time while the nucleus of top-p is looked for.
const NUCLEUS_STEP: usize = 256;

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token; larger values make the choice more random.
    pub temperature: f32,
    /// Only the `k` likeliest tokens are candidates; 0 is no limit.
    pub top_k: u32,
    /// Only the likeliest tokens that together have at least this probability are candidates, after
    /// temperature and top-k; 1 is no limit.
    pub top_p: f32,
    /// Key of the noise.
    pub seed: [u8; 32],
}

/// Why no token can be chosen.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SamplingError {
    /// The temperature is negative or not a number.
    #[error("the temperature must be 0 or more, not {0}")]
    BadTemperature(f32),
    /// `top_p` is not within (0, 1].
    #[error("top_p must be above 0 and at most 1, not {0}")]
    BadTopP(f32),
    /// There are no logits.
    #[error("there are no logits to choose from")]
    NoLogits,
    /// A logit is infinite or not a number.
    #[error("the logit of token {0} is not finite")]
    NotFinite(usize),
}

impl Sampling {
    /// Always the likeliest token; of several that are, the one with the lowest id.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: [0; 32],
        }
    }

    /// Are the parameters usable?
    pub fn validate(&self) -> Result<(), SamplingError> {
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return Err(SamplingError::BadTemperature(self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(SamplingError::BadTopP(self.top_p));
        }
        Ok(())
    }

    /// The token at `position`, counted from the first token of the sequence, given the logits of
    /// all tokens.
    pub fn sample(&self, logits: &[f32], position: u64) -> Result<u32, SamplingError> {
        self.validate()?;
        if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(SamplingError::NotFinite(token));
        }
        if self.temperature == 0.0 {
            return greedy(logits);
        }
        let mut noise = Noise::new(&self.seed, position);
        let mut best: Option<(u32, f64)> = None;
        for token in self.candidates(logits)? {
            let score = self.scaled(logits[token as usize]) + noise.of(token);
            if best.is_none_or(|(_, highest)| score > highest) {
                best = Some((token, score));
            }
        }
        best.map(|(token, _)| token).ok_or(SamplingError::NoLogits)
    }

    fn scaled(&self, logit: f32) -> f64 {
        f64::from(logit) / f64::from(self.temperature)
    }

    /// The tokens that top-k and top-p leave, in ascending order of their ids.
    fn candidates(&self, logits: &[f32]) -> Result<Vec<u32>, SamplingError> {
        if logits.is_empty() {
            return Err(SamplingError::NoLogits);
        }
        let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
        let by_rank = |a: &u32, b: &u32| rank(logits, *a, *b);
        let k = self.top_k as usize;
        if k > 0 && k < tokens.len() {
            tokens.select_nth_unstable_by(k - 1, by_rank);
            tokens.truncate(k);
        }
        if self.top_p < 1.0 {
            self.keep_nucleus(logits, &mut tokens);
        }
        tokens.sort_unstable();
        Ok(tokens)
    }

    /// Keeps the shortest list of likeliest tokens that together reach `top_p`.
    fn keep_nucleus(&self, logits: &[f32], tokens: &mut Vec<u32>) {
        // Sums are taken in ascending order of ids, then in order of rank: always the same.
        tokens.sort_unstable();
        let highest = tokens
            .iter()
            .map(|token| logits[*token as usize])
            .fold(f32::MIN, f32::max);
        let weight =
            |token: u32| libm::exp(self.scaled(logits[token as usize]) - self.scaled(highest));
        let enough = tokens.iter().map(|token| weight(*token)).sum::<f64>() * f64::from(self.top_p);
        let by_rank = |a: &u32, b: &u32| rank(logits, *a, *b);
        let (mut sorted, mut sum) = (0, 0.0);
        while sorted < tokens.len() {
            let rest = &mut tokens[sorted..];
            let step = NUCLEUS_STEP.max(sorted).min(rest.len());
            if step < rest.len() {
                rest.select_nth_unstable_by(step - 1, by_rank);
            }
            rest[..step].sort_unstable_by(by_rank);
            for index in sorted..sorted + step {
                sum += weight(tokens[index]);
                if sum >= enough {
                    tokens.truncate(index + 1);
                    return;
                }
            }
            sorted += step;
        }
    }
}

/// Likelier first, then by id.
fn rank(logits: &[f32], a: u32, b: u32) -> Ordering {
    logits[b as usize]
        .total_cmp(&logits[a as usize])
        .then(a.cmp(&b))
}

/// The token with the highest logit; of several, the one with the lowest id.
fn greedy(logits: &[f32]) -> Result<u32, SamplingError> {
    let mut best: Option<(u32, f32)> = None;
    for (token, logit) in (0u32..).zip(logits) {
        if best.is_none_or(|(_, highest)| *logit > highest) {
            best = Some((token, *logit));
        }
    }
    best.map(|(token, _)| token).ok_or(SamplingError::NoLogits)
}

/// Gumbel noise of the tokens at `position` under `seed`; ascending tokens are fastest.
#[derive(Debug)]
pub struct Noise {
    stream: ChaCha20Rng,
    /// The token whose word comes next.
    next: u64,
}

impl Noise {
    /// The noise at one position.
    pub fn new(seed: &[u8; 32], position: u64) -> Self {
        let mut stream = ChaCha20Rng::from_seed(*seed);
        stream.set_stream(position);
        Self { stream, next: 0 }
    }

    /// The noise of `token`.
    pub fn of(&mut self, token: u32) -> f64 {
        if u64::from(token) != self.next {
            self.stream.set_word_pos(token.into());
        }
        self.next = u64::from(token) + 1;
        let word = self.stream.next_u32();
        let uniform = (f64::from(word) + 0.5) / 4_294_967_296.0;
        -libm::log(-libm::log(uniform))
    }
}

#[cfg(test)]
mod tests;
