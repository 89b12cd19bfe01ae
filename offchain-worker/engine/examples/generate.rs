//! Greedy or sampled generation in one process, with times: the baseline that a swarm is compared to.
//!
//! ```text
//! generate [--model PATH] [--prompt TEXT] [--max-tokens N] [--temperature T] [--seed N] [--spans N]
//!          [--exact] [--threads N] [--prompt-tokens N] [--ignore-end] [--warm-up] [--json]
//! ```
//!
//! `--exact` computes on the reproducible kernels, on `--threads` threads and with the instruction set
//! that `QUIPU_ISA` names, if it is set. `--prompt-tokens` repeats the prompt, or cuts it, to that many
//! tokens. `--warm-up` computes the prompt once before what is timed. `--json` prints one JSON object with the
//! tokens and times on standard output instead of the text.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use quipu_engine::backend::Flex;
use quipu_engine::exact::{ExactCache, ExactEnds, ExactSpan, PAGE_POSITIONS};
use quipu_engine::{ChatMessage, CpuEnds, CpuSpan, KvCache, Model, Sampling};
use quipu_kernels::{Isa, Kernels};
use serde_json::json;

struct Options {
    model: PathBuf,
    prompt: String,
    max_tokens: usize,
    temperature: f32,
    seed: u8,
    spans: usize,
    exact: bool,
    threads: usize,
    prompt_tokens: usize,
    ignore_end: bool,
    warm_up: bool,
    json: bool,
}

fn default_model() -> PathBuf {
    if let Some(path) = std::env::var_os("QUIPU_MODEL") {
        return path.into();
    }
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home)
        .join(".cache/quipu/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        model: default_model(),
        prompt: "What is the capital of France?".into(),
        max_tokens: 128,
        temperature: 0.0,
        seed: 0,
        spans: 1,
        exact: false,
        threads: 1,
        prompt_tokens: 0,
        ignore_end: false,
        warm_up: false,
        json: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let switch = match name.as_str() {
            "--exact" => Some(&mut options.exact),
            "--ignore-end" => Some(&mut options.ignore_end),
            "--warm-up" => Some(&mut options.warm_up),
            "--json" => Some(&mut options.json),
            _ => None,
        };
        if let Some(switch) = switch {
            *switch = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--model" => options.model = value.into(),
            "--prompt" => options.prompt = value,
            "--max-tokens" => options.max_tokens = value.parse()?,
            "--temperature" => options.temperature = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--spans" => options.spans = value.parse()?,
            "--threads" => options.threads = value.parse()?,
            "--prompt-tokens" => options.prompt_tokens = value.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

/// A chain of spans with a cache for each, and the ends.
enum Chain {
    Burn(Vec<(CpuSpan, KvCache<Flex>)>, Box<CpuEnds>),
    Exact(Vec<(ExactSpan, ExactCache)>, Box<ExactEnds>),
}

impl Chain {
    fn load(options: &Options, model: &Model, capacity: usize) -> Result<Self, Box<dyn Error>> {
        let blocks = model.config().blocks;
        let spans = options.spans.clamp(1, blocks);
        let range = |index: usize| index * blocks / spans..(index + 1) * blocks / spans;
        if !options.exact {
            let mut chain = Vec::new();
            for index in 0..spans {
                let span = CpuSpan::load(model, range(index), &Default::default())?;
                let cache = span.new_cache(capacity);
                chain.push((span, cache));
            }
            return Ok(Self::Burn(
                chain,
                Box::new(CpuEnds::load(model, &Default::default())?),
            ));
        }
        let isa = Isa::choose(std::env::var(Isa::VARIABLE).ok().as_deref())?;
        let kernels = Arc::new(Kernels::new(isa, options.threads)?);
        let pages = capacity.div_ceil(PAGE_POSITIONS);
        let mut chain = Vec::new();
        for index in 0..spans {
            let span = ExactSpan::load_on(model, range(index), kernels.clone(), pages)?;
            let cache = span.new_cache(capacity)?;
            chain.push((span, cache));
        }
        let ends = Box::new(ExactEnds::load_on(model, kernels)?);
        Ok(Self::Exact(chain, ends))
    }

    /// The logits after `tokens`, the first of which is at `position`.
    fn logits(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>, Box<dyn Error>> {
        Ok(match self {
            Self::Burn(chain, ends) => {
                let mut hidden = ends.embed(tokens)?;
                for (span, cache) in chain {
                    cache.truncate(position);
                    hidden = span.forward(cache, hidden, position)?;
                }
                ends.logits(&hidden)?
            }
            Self::Exact(chain, ends) => {
                let mut hidden = ends.embed(tokens)?;
                for (span, cache) in chain {
                    cache.truncate(position);
                    hidden = span.forward(cache, hidden, position)?;
                }
                ends.logits(&hidden)?
            }
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let started = Instant::now();
    let model = Model::open(&options.model)?;
    let tokenizer = model.tokenizer()?;
    let mut prompt = tokenizer.encode_chat(&[ChatMessage::user(options.prompt.as_str())])?;
    if options.prompt_tokens > 0 {
        prompt = prompt
            .iter()
            .copied()
            .cycle()
            .take(options.prompt_tokens)
            .collect();
    }
    let sampling = Sampling {
        temperature: options.temperature,
        top_k: 0,
        top_p: 1.0,
        seed: [options.seed; 32],
    };
    let mut chain = Chain::load(&options, &model, prompt.len() + options.max_tokens)?;
    let loaded = started.elapsed();

    if options.warm_up {
        chain.logits(&prompt, 0)?;
    }
    let mut step = |tokens: &[u32], position: usize| -> Result<u32, Box<dyn Error>> {
        let logits = chain.logits(tokens, position)?;
        let next = position + tokens.len();
        Ok(sampling.sample(&logits, next as u64)?)
    };
    let mut out = std::io::stdout();
    let mut stream = tokenizer.detokenizer();
    let started = Instant::now();
    let mut token = step(&prompt, 0)?;
    let prefilled = started.elapsed();
    let started = Instant::now();
    let mut tokens = Vec::new();
    let mut text = String::new();
    for position in prompt.len().. {
        if tokens.len() == options.max_tokens || (tokenizer.is_end(token) && !options.ignore_end) {
            break;
        }
        let piece = stream.push(token);
        if !options.json {
            write!(out, "{piece}")?;
            out.flush()?;
        }
        text.push_str(&piece);
        tokens.push(token);
        token = step(&[token], position)?;
    }
    let spent = started.elapsed();
    let rest = stream.finish();
    if options.json {
        text.push_str(&rest);
        let report = json!({
            "load_seconds": loaded.as_secs_f64(),
            "prefill_seconds": prefilled.as_secs_f64(),
            "decode_seconds": spent.as_secs_f64(),
            "prompt_token_ids": prompt,
            "token_ids": tokens,
            "text": text,
        });
        writeln!(out, "{report}")?;
        return Ok(());
    }
    writeln!(out, "{rest}")?;
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds;
    eprintln!("load     {:8.3} s", loaded.as_secs_f64());
    eprintln!(
        "prefill  {:8.3} s  {:4} tokens  {:7.1} tokens/s",
        prefilled.as_secs_f64(),
        prompt.len(),
        rate(prompt.len(), prefilled.as_secs_f64())
    );
    eprintln!(
        "decode   {:8.3} s  {:4} tokens  {:7.1} tokens/s",
        spent.as_secs_f64(),
        tokens.len(),
        rate(tokens.len(), spent.as_secs_f64())
    );
    Ok(())
}
