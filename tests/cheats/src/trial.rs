//! A session of three servers in one process, and an auditor's whole look at the middle one: signatures, chain of
//! receipts, rows, replay, comparison.

use crate::Blocks;
use anyhow::{Context, Result};
use quipu_attest::check::{End, Service};
use quipu_client::{jobs::deliver, Ends, EngineEnds, Finish, Prompt};
use quipu_engine::{Model, Sampling};
use quipu_primitives::{audit::Finding, Digest, Kernel, NumericProfile, Receipt, Span};
use quipu_protocol::{Activations, SignedReceipt};
use quipu_worker::audit::{check_answer, examine, replay, Case, Question, Reason, Shown, Wrong};
use quipu_worker_core::{
    keys::EphemeralKey,
    ports::{BatchStep, Compute, ComputeError},
    Signer,
};
use std::collections::BTreeMap;

/// Sequences that are decoded together.
pub const BATCH: usize = 16;
/// Longest sequence.
const POSITIONS: u32 = 2_048;

const GENESIS: Digest = [7; 32];
const SESSION_KEY: [u8; 32] = [5; 32];

/// A model in three spans.
pub struct Trial {
    /// The model.
    pub model: Model,
    ends: EngineEnds,
    /// The spans, in their order.
    pub spans: [Span; 3],
    server: EphemeralKey,
}

/// What was asked and answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Tokens of the prompt, then those of the answer.
    pub tokens: Vec<u32>,
    /// How many are the prompt's.
    pub prompt: usize,
}

impl Answer {
    /// Positions that went through the servers: nobody has to know what would follow the last token.
    pub fn positions(&self) -> usize {
        self.tokens.len().saturating_sub(1)
    }
}

/// One span after the other.
pub type Chain = [Box<dyn Compute>; 3];

impl Trial {
    /// Loads what a client needs.
    pub fn new(model: Model) -> Result<Self> {
        let ends = EngineEnds::load(&model)?;
        let blocks = ends.config().blocks;
        let cut = |part: u16| blocks * part / 3;
        let span = |part: u16| Span {
            start: cut(part),
            end: cut(part + 1),
        };
        Ok(Trial {
            model,
            ends,
            spans: [span(0), span(1), span(2)],
            server: EphemeralKey::from_seed(&[1; 32]),
        })
    }

    /// The blocks of one of the spans on such kernels, on one thread.
    pub fn blocks(&self, span: usize, kernel: Kernel) -> Blocks<'_> {
        Blocks {
            model: &self.model,
            kernel,
            span: self.spans[span],
            threads: 1,
            positions: BATCH as u32 * POSITIONS,
        }
    }

    /// Three honest servers on the reproducible kernels.
    pub fn honest(&self) -> Result<Chain> {
        let load = |span| self.blocks(span, Kernel::ReproducibleV1).load();
        Ok([load(0)?, load(1)?, load(2)?])
    }

    /// Numbers in a row.
    pub fn hidden(&self) -> u32 {
        self.ends.config().hidden_size
    }

    /// Up to [`BATCH`] answers of at most `most` tokens. With a temperature the n-th is sampled with the n-th seed
    /// from `seed` on. An answer ends where the model ends it.
    pub fn answer(
        &self,
        chain: &mut Chain,
        prompts: &[String],
        most: usize,
        (temperature, seed): (f32, u64),
    ) -> Result<Vec<Answer>> {
        let hidden = self.hidden();
        let mut answers = Vec::new();
        let mut steps = Vec::new();
        for (prompt, id) in prompts.iter().zip(0..) {
            let tokens = self.ends.encode(&Prompt::Text(prompt.clone()))?;
            for compute in chain.iter_mut() {
                compute.open(id, POSITIONS)?;
            }
            steps.push(BatchStep {
                id,
                position: 0,
                input: Activations::from_f32(&self.ends.embed(&tokens)?, hidden)?,
            });
            let prompt = tokens.len();
            answers.push(Answer { tokens, prompt });
        }
        while !steps.is_empty() {
            let outputs = through(chain, steps)?;
            steps = Vec::new();
            for (id, output) in outputs {
                let answer = &mut answers[id as usize];
                let rows = output.to_f32()?;
                let last = &rows[rows.len() - hidden as usize..];
                let sampling = Sampling {
                    temperature,
                    seed: seeded(seed + id),
                    ..Sampling::greedy()
                };
                let position = answer.tokens.len() as u64;
                let token = sampling.sample(&self.ends.logits(last)?, position)?;
                answer.tokens.push(token);
                let given = answer.tokens.len() - answer.prompt;
                if given < most && !self.ends.is_end(token) {
                    steps.push(BatchStep {
                        id,
                        position: answer.tokens.len() as u32 - 1,
                        input: Activations::from_f32(&self.ends.embed(&[token])?, hidden)?,
                    });
                }
            }
        }
        for compute in chain.iter_mut() {
            (0..prompts.len() as u64).for_each(|id| compute.close(id));
        }
        Ok(answers)
    }

    /// What goes into block 0.
    pub fn embed(&self, tokens: &[u32]) -> Result<Activations> {
        Ok(Activations::from_f32(
            &self.ends.embed(tokens)?,
            self.hidden(),
        )?)
    }

    /// What is said of an answer that was given as these tokens, at most `most`, to a prompt, where this is what went
    /// into the first blocks and came out of the last ones.
    pub fn judge(
        &self,
        prompt: &str,
        most: usize,
        answer: &[u32],
        (input, output): (&Activations, &Activations),
    ) -> Result<Result<Vec<u32>, Wrong>> {
        let mut text = self.ends.text_stream();
        let is_end = |token: &u32| self.ends.is_end(*token);
        let written = answer.iter().take_while(|token| !is_end(token));
        let mut written: String = written.map(|token| text.push(*token)).collect();
        written.push_str(&text.finish());
        let finish = match answer.last().is_some_and(is_end) {
            true => Finish::Stop,
            false => Finish::Length,
        };
        let (answer, finish) = deliver(written, finish);
        let question = Question {
            prompt: prompt.as_bytes().to_vec(),
            max_tokens: most as u32,
            answer,
            finish,
        };
        Ok(check_answer(&self.ends, &question, input, output)?)
    }

    /// The likeliest token after a row that came out of the last block.
    pub fn likeliest(&self, row: &[f32]) -> Result<u32> {
        Ok(Sampling::greedy().sample(&self.ends.logits(row)?, 0)?)
    }

    /// What an auditor knows of the middle server, which is paid for so many positions.
    pub fn case(&self, profile: NumericProfile, paid: u32) -> Case {
        Case {
            genesis: GENESIS,
            service: Service {
                session: 1,
                node: 2,
                span: self.spans[1],
                weights_root: [3; 32],
                profile: profile.digest(),
            },
            session_key: SESSION_KEY,
            hotkeys: vec![self.server.public()],
            paid,
            profile,
            hidden: self.hidden(),
        }
    }

    /// What the middle server shows that took and gave these rows, and signed for them.
    pub fn shown(&self, case: &Case, input: &Activations, output: &Activations) -> Result<Shown> {
        let given = case.boundary(End::Entrance)?.all(&input.bytes)?;
        let gave = case.boundary(End::Exit)?.all(&output.bytes)?;
        let sign = |receipt: Receipt| SignedReceipt {
            signature: self.server.sign(&receipt.payload(&GENESIS, &SESSION_KEY)),
            receipt,
        };
        let receipts = case.service.receipts(given, gave).into_iter();
        Ok(Shown {
            receipts: receipts.map(sign).collect(),
            input: input.bytes.to_vec(),
            output: output.bytes.to_vec(),
        })
    }

    /// The auditor's verdict on the middle server, whose replay gives `replayed`.
    pub fn look(
        &self,
        profile: NumericProfile,
        input: &Activations,
        output: &Activations,
        replayed: &Activations,
    ) -> Result<(Finding, Reason)> {
        let case = self.case(profile, input.header.tokens);
        let shown = self.shown(&case, input, output)?;
        let replay = |_: &[u8]| Ok::<_, ComputeError>(replayed.bytes.to_vec());
        Ok(examine(&case, &shown, replay))
    }
}

/// A key of noise.
fn seeded(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// One batch through all spans: what comes out for each sequence.
pub fn through(chain: &mut Chain, mut steps: Vec<BatchStep>) -> Result<BTreeMap<u64, Activations>> {
    for compute in chain.iter_mut() {
        let outputs = crate::altered::forward_many(compute.as_mut(), &steps);
        for (step, output) in steps.iter_mut().zip(outputs) {
            step.input = output?;
        }
    }
    Ok(steps
        .into_iter()
        .map(|step| (step.id, step.input))
        .collect())
}

/// A whole sequence through one span, as an auditor replays it.
pub fn replayed(compute: &mut dyn Compute, input: &Activations) -> Result<Activations> {
    let rows = replay(compute, &input.bytes, input.header.dtype)?;
    Ok(Activations::new(input.header, rows.into())?)
}

/// A whole sequence through all spans.
pub fn whole(chain: &mut Chain, rows: Activations) -> Result<Activations> {
    let mut spans = chain.iter_mut();
    spans.try_fold(rows, |rows, span| replayed(span.as_mut(), &rows))
}

/// A whole sequence through one span, in steps of so many rows: first, then each further.
pub fn run(
    compute: &mut dyn Compute,
    input: &Activations,
    (first, further): (u32, u32),
) -> Result<Activations> {
    const ONLY: u64 = 1 << 32;
    let total = input.header.tokens;
    compute.open(ONLY, total)?;
    let (mut bytes, mut start) = (Vec::with_capacity(input.bytes.len()), 0);
    while start < total {
        let length = match start {
            0 => first,
            _ => further,
        };
        let end = total.min(start + length.max(1));
        let rows = input.rows(start, end).context("rows that are there")?;
        bytes.extend_from_slice(&compute.forward(ONLY, start, &rows)?.bytes);
        start = end;
    }
    compute.close(ONLY);
    Ok(Activations::new(input.header, bytes.into())?)
}

/// The profile of these kernels, with rows of this type.
pub fn profile(kernel: Kernel, activations: quipu_primitives::DType) -> NumericProfile {
    NumericProfile {
        weights: quipu_primitives::DType::Q4_1,
        activations,
        kv: quipu_primitives::DType::F32,
        kernel,
    }
}
