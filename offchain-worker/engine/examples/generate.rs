//! Greedy or sampled generation in one process, with times: the baseline that a swarm is compared to.
//!
//! ```text
//! generate [--model PATH] [--prompt TEXT] [--max-tokens N] [--temperature T] [--seed N] [--spans N]
//!          [--ignore-end] [--warm-up] [--json]
//! ```
//!
//! `--warm-up` computes the prompt once before what is timed. `--json` prints one JSON object with the
//! tokens and times on standard output instead of the text.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use quipu_engine::{ChatMessage, CpuEnds, CpuSpan, Model, Sampling};
use serde_json::json;

struct Options {
    model: PathBuf,
    prompt: String,
    max_tokens: usize,
    temperature: f32,
    seed: u8,
    spans: usize,
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
        ignore_end: false,
        warm_up: false,
        json: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let switch = match name.as_str() {
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
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let started = Instant::now();
    let model = Model::open(&options.model)?;
    let tokenizer = model.tokenizer()?;
    let prompt = tokenizer.encode_chat(&[ChatMessage::user(options.prompt.as_str())])?;
    let sampling = Sampling {
        temperature: options.temperature,
        top_k: 0,
        top_p: 1.0,
        seed: [options.seed; 32],
    };
    let ends = CpuEnds::load(&model, &Default::default())?;
    let blocks = model.config().blocks;
    let spans = options.spans.clamp(1, blocks);
    let mut chain = Vec::new();
    for index in 0..spans {
        let range = index * blocks / spans..(index + 1) * blocks / spans;
        let span = CpuSpan::load(&model, range, &Default::default())?;
        let cache = span.new_cache(prompt.len() + options.max_tokens);
        chain.push((span, cache));
    }
    let loaded = started.elapsed();

    if options.warm_up {
        let mut hidden = ends.embed(&prompt)?;
        for (span, _) in &chain {
            hidden = span.forward(&mut span.new_cache(prompt.len()), hidden, 0)?;
        }
        ends.logits(&hidden)?;
    }
    let mut step = |tokens: &[u32], position: usize| -> Result<u32, Box<dyn Error>> {
        let mut hidden = ends.embed(tokens)?;
        for (span, cache) in &mut chain {
            hidden = span.forward(cache, hidden, position)?;
        }
        let next = position + tokens.len();
        Ok(sampling.sample(&ends.logits(&hidden)?, next as u64)?)
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
