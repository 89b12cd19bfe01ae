//! One sample of candle in a process of its own: prefill and greedy decoding, on the processor.
//!
//! Reads {"model", "threads", "tokens", "decode"} from standard input and writes one JSON object. A model that is a
//! folder in Hugging Face's layout runs in f32, a GGUF file as it is stored.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor, D};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use candle_transformers::models::quantized_llama::ModelWeights;
use serde::Deserialize;
use serde_json::{json, Value};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Deserialize)]
struct Job {
    model: PathBuf,
    threads: usize,
    tokens: Vec<u32>,
    decode: usize,
}

enum Model {
    F32 {
        weights: Box<Llama>,
        config: Config,
        cache: Cache,
    },
    // Holds its cache itself.
    Quantised(Box<ModelWeights>),
}

impl Model {
    fn load(path: &Path) -> Outcome<Self> {
        if !path.is_dir() {
            let mut file = BufReader::new(File::open(path)?);
            let content = Content::read(&mut file)?;
            let weights = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
            return Ok(Self::Quantised(Box::new(weights)));
        }
        let config: LlamaConfig = serde_json::from_slice(&fs::read(path.join("config.json"))?)?;
        let config = config.into_config(false);
        let data = fs::read(path.join("model.safetensors"))?;
        let tensors = VarBuilder::from_buffered_safetensors(data, DType::F32, &Device::Cpu)?;
        let weights = Box::new(Llama::load(tensors, &config)?);
        let cache = Cache::new(true, DType::F32, &config, &Device::Cpu)?;
        Ok(Self::F32 {
            weights,
            config,
            cache,
        })
    }

    /// The likeliest token after these, the first of which has that position.
    fn next(&mut self, tokens: &[u32], position: usize) -> Outcome<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match self {
            Self::F32 { weights, cache, .. } => weights.forward(&input, position, cache)?,
            Self::Quantised(weights) => weights.forward(&input, position)?,
        };
        Ok(logits.squeeze(0)?.argmax(D::Minus1)?.to_scalar()?)
    }

    fn clear(&mut self) -> Outcome<()> {
        match self {
            Self::F32 { config, cache, .. } => {
                *cache = Cache::new(true, DType::F32, config, &Device::Cpu)?;
            }
            Self::Quantised(weights) => weights.clear_kv_cache(),
        }
        Ok(())
    }
}

fn run(job: &Job) -> Outcome<Value> {
    let started = Instant::now();
    let mut model = Model::load(&job.model)?;
    let load = started.elapsed();
    // Warm up: weights repacked, threads started.
    model.next(&job.tokens, 0)?;
    model.clear()?;
    let started = Instant::now();
    let mut token = model.next(&job.tokens, 0)?;
    let prefill = started.elapsed();
    let mut chosen = Vec::with_capacity(job.decode);
    let started = Instant::now();
    for at in 0..job.decode {
        chosen.push(token);
        token = model.next(&[token], job.tokens.len() + at)?;
    }
    Ok(json!({
        "load_seconds": load.as_secs_f64(),
        "prefill_seconds": prefill.as_secs_f64(),
        "decode_seconds": started.elapsed().as_secs_f64(),
        "prompt_token_ids": job.tokens,
        "token_ids": chosen,
    }))
}

fn main() -> Outcome<()> {
    let job: Job = serde_json::from_reader(io::stdin().lock())?;
    // candle asks the environment, when it starts its threads; the first of these goes before.
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        env::set_var(name, job.threads.to_string());
    }
    // Where candle keeps its threads awake between products.
    println!("{}", Device::Cpu.with_context(|| run(&job))?);
    Ok(())
}
