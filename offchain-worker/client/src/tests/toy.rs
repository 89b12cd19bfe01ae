//! A toy model: every position depends on all before it, so that a wrong replay shows.

use crate::ends::{Digests, Ends, EndsError, Prompt, TextStream};
use quipu_primitives::{Architecture, ModelConfig, Span};
use quipu_protocol::Activations;

pub const HIDDEN: u32 = 8;
pub const VOCAB: u32 = 97;
pub const BLOCKS: u16 = 6;
pub const CONTEXT: u32 = 400;

pub fn config() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        blocks: BLOCKS,
        hidden_size: HIDDEN,
        intermediate_size: 16,
        heads: 2,
        kv_heads: 1,
        head_dim: 4,
        vocab_size: VOCAB,
        context_length: CONTEXT,
        tied_embeddings: true,
        rms_norm_eps_pico: 10_000_000,
        rope_theta_milli: 10_000_000,
        rope_scaling: None,
    }
}

/// A number in -1..1 that depends on everything.
fn noise(a: u32, b: u32) -> f32 {
    let mut x = a.wrapping_mul(0x9e37_79b9) ^ b.wrapping_mul(0x85eb_ca6b) ^ 0x27d4_eb2f;
    x ^= x >> 15;
    x = x.wrapping_mul(0x2c1b_3c6d);
    x ^= x >> 12;
    x = x.wrapping_mul(0x297a_2d39);
    x ^= x >> 15;
    (x >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// How a toy server computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numerics {
    /// The same bits however positions are cut into steps.
    Exact,
    /// The last bits depend on how many positions a step has, and on the machine.
    Tolerant { machine: u32 },
}

type State = Vec<[f32; HIDDEN as usize]>;

/// The cache of one sequence at one span: a running state for each block, after each position.
#[derive(Clone, Debug)]
pub struct ToyCache {
    span: Span,
    numerics: Numerics,
    state: State,
    after: Vec<State>,
}

impl ToyCache {
    pub fn new(span: Span, numerics: Numerics) -> Self {
        let state = vec![[0.0; HIDDEN as usize]; span.len().into()];
        ToyCache {
            span,
            numerics,
            state,
            after: Vec::new(),
        }
    }

    /// Positions in it.
    pub fn len(&self) -> u32 {
        self.after.len() as u32
    }

    /// Goes back to what it was after so many positions.
    pub fn truncate(&mut self, positions: u32) {
        self.after.truncate(positions as usize);
        self.state = match self.after.last() {
            Some(state) => state.clone(),
            None => Self::new(self.span, self.numerics).state,
        };
    }

    pub fn forward(&mut self, input: &Activations) -> Activations {
        let mut rows = input.to_f32().unwrap();
        let tokens = input.header.tokens;
        for row in rows.chunks_mut(HIDDEN as usize) {
            for (block, state) in self.span.blocks().zip(&mut self.state) {
                let before: Vec<f32> = row.to_vec();
                for (i, value) in row.iter_mut().enumerate() {
                    let mixed = before[(i + 3) % HIDDEN as usize];
                    state[i] = 0.7 * state[i] + mixed;
                    let gate = noise(block.into(), i as u32);
                    *value = 0.6 * *value + 0.5 * gate * (state[i]).tanh();
                    if let Numerics::Tolerant { machine } = self.numerics {
                        let last_bits = noise(tokens.min(2), machine);
                        *value *= 1.0 + 3e-7 * last_bits;
                    }
                }
            }
            self.after.push(self.state.clone());
        }
        Activations::from_f32(&rows, HIDDEN).unwrap()
    }
}

/// The toy's ends. A letter is a token.
#[derive(Clone, Debug)]
pub struct ToyEnds {
    pub config: ModelConfig,
    pub end: Option<u32>,
    pub digests: Digests,
}

impl Default for ToyEnds {
    fn default() -> Self {
        let digests = Digests {
            embedding: [11; 32],
            head: [12; 32],
            tokenizer: [13; 32],
        };
        ToyEnds {
            config: config(),
            end: None,
            digests,
        }
    }
}

struct Letters;

impl TextStream for Letters {
    fn push(&mut self, token: u32) -> String {
        format!("<{token}>")
    }

    fn finish(self: Box<Self>) -> String {
        String::new()
    }
}

impl Ends for ToyEnds {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn digests(&self) -> Digests {
        self.digests
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, EndsError> {
        match prompt {
            Prompt::Text(text) | Prompt::Raw(text) => {
                Ok(text.bytes().map(|byte| u32::from(byte) % VOCAB).collect())
            }
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Chat(_) => Err(EndsError::Prompt("the toy does not chat".into())),
        }
    }

    fn is_end(&self, token: u32) -> bool {
        Some(token) == self.end
    }

    fn text_stream(&self) -> Box<dyn TextStream> {
        Box::new(Letters)
    }

    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, EndsError> {
        if let Some(token) = tokens.iter().find(|token| **token >= VOCAB) {
            return Err(EndsError::Prompt(format!("there is no token {token}")));
        }
        let row = |token: &u32| {
            let token = *token;
            (0..HIDDEN).map(move |i| noise(token + 1000, i))
        };
        Ok(tokens.iter().flat_map(row).collect())
    }

    fn logits(&self, row: &[f32]) -> Result<Vec<f32>, EndsError> {
        let logit = |token: u32| {
            row.iter()
                .zip(0..)
                .map(|(value, i)| 6.0 * value * noise(token + 5000, i))
                .sum()
        };
        Ok((0..VOCAB).map(logit).collect())
    }
}

/// The likeliest tokens after a prompt, computed without any swarm, chain or client.
pub fn greedy(prompt: &[u32], tokens: usize) -> Vec<u32> {
    let ends = ToyEnds::default();
    let mut cache = ToyCache::new(
        Span {
            start: 0,
            end: BLOCKS,
        },
        Numerics::Exact,
    );
    let mut run = |tokens: &[u32]| {
        let input = Activations::from_f32(&ends.embed(tokens).unwrap(), HIDDEN).unwrap();
        let rows = cache.forward(&input).to_f32().unwrap();
        let logits = ends.logits(&rows[rows.len() - HIDDEN as usize..]).unwrap();
        quipu_engine::Sampling::greedy().sample(&logits, 0).unwrap()
    };
    let mut answer = vec![run(prompt)];
    while answer.len() < tokens {
        answer.push(run(&answer[answer.len() - 1..]));
    }
    answer
}
