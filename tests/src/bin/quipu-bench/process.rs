//! Sessions of one process: all of them take a step together.

use super::Workload;
use anyhow::{ensure, Context, Result};
use quipu_engine::{
    exact::{ExactEnds, ExactOptions, ExactSpan, Sequence, PAGE_POSITIONS},
    ChatMessage, Model, Sampling,
};
use serde_json::{json, Value};
use std::time::Instant;

/// Measures every number of sessions. Blocks.
pub fn run(workload: &Workload) -> Result<Value> {
    let model = Model::open(&workload.model()?)?;
    let prompt = model
        .tokenizer()?
        .encode_chat(&[ChatMessage::user(workload.prompt.as_str())])?;
    let most = *workload.sessions.iter().max().context("no sessions")?;
    ensure!(!workload.sessions.contains(&0), "no sessions");
    let capacity = prompt.len() + workload.max_tokens as usize;
    let options = ExactOptions {
        threads: workload.threads,
        max_pages: most * capacity.div_ceil(PAGE_POSITIONS),
        ..ExactOptions::default()
    };
    let span = ExactSpan::load(&model, 0..model.config().blocks, options)?;
    let ends = ExactEnds::load_on(&model, span.kernels().clone())?;
    let mut figures = Vec::new();
    for sessions in &workload.sessions {
        figures.push(sample(&span, &ends, &prompt, workload, *sessions)?);
    }
    Ok(json!({ "sessions": figures, "prompt_token_ids": prompt }))
}

fn sample(
    span: &ExactSpan,
    ends: &ExactEnds,
    prompt: &[u32],
    workload: &Workload,
    sessions: usize,
) -> Result<Value> {
    let (width, words) = (span.config().hidden_size, span.config().vocab_size);
    let greedy = Sampling {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: [0; 32],
    };
    let mut caches = Vec::new();
    let mut next = Vec::new();
    for _ in 0..sessions {
        let mut cache = span.new_cache(prompt.len() + workload.max_tokens as usize)?;
        let hidden = span.forward(&mut cache, ends.embed(prompt)?, 0)?;
        next.push(greedy.sample(&ends.logits(&hidden)?, prompt.len() as u64)?);
        caches.push(cache);
    }
    let first = next.clone();
    let mut answers: Vec<Vec<u32>> = first.iter().map(|token| vec![*token]).collect();
    let mut workspace = span.new_workspace();
    let mut logits = vec![0.0; sessions * words];
    let started = Instant::now();
    // The first token of each is of the prompt's pass.
    for position in prompt.len()..prompt.len() + workload.max_tokens as usize - 1 {
        let mut hidden = ends.embed(&next)?;
        let mut batch: Vec<Sequence> = caches
            .iter_mut()
            .zip(hidden.data.chunks_mut(width))
            .map(|(cache, row)| Sequence::new(cache, position, row))
            .collect();
        span.forward_batch(&mut workspace, &mut batch);
        for sequence in batch {
            sequence.result()?;
        }
        ends.logits_into(&hidden.data, &mut logits)?;
        let rows = logits.chunks(words).zip(&mut next).zip(&mut answers);
        for ((row, next), answer) in rows {
            *next = greedy.sample(row, position as u64 + 1)?;
            answer.push(*next);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let tokens = sessions * (workload.max_tokens as usize - 1);
    Ok(json!({
        "sessions": sessions,
        "tokens_per_second": tokens as f64 / seconds,
        "same_tokens": answers.iter().all(|answer| *answer == answers[0]),
        "token_ids": answers[0],
    }))
}
