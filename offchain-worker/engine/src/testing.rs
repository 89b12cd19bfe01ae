//! Tiny models with random weights, for tests of this crate and of those that use it.
//!
//! They are real artefacts in real formats: [`crate::Model::open`] reads them as it reads any.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::Dtype;
use serde_json::json;

use crate::config::{Architecture, ModelConfig, RopeScaling};
use crate::tokenizer::bytes::byte_characters;
use crate::weights::dtype::Format;
use crate::weights::names;

mod blocks;
mod changed;
mod gguf;

pub use changed::write_changed;

/// Special tokens behind the 256 bytes of the tiny vocabulary.
pub const SPECIAL_TOKENS: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];

/// The pairs that the tiny tokenizer merges, in the byte-level alphabet (`Ġ` is a space).
const MERGES: [(&str, &str); 6] = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("i", "n"),
    ("Ġ", "a"),
    ("e", "r"),
];

const CHAT_TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A tiny model's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TinyFormat {
    /// `config.json`, `model.safetensors`, `tokenizer.json`.
    SafeTensors,
    /// The same with two files of weights and an index.
    Sharded,
    /// `model.gguf` alone, with the vocabulary in it and q and k as llama.cpp stores them.
    Gguf,
}

/// In which type a GGUF file has its matrices; vectors are F32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TinyStorage {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    /// The matrices' inputs must be multiples of 256: [`TinyModel::wide`].
    Q4K,
    /// As [`TinyStorage::Q4K`].
    Q6K,
}

impl TinyStorage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q6K,
    ];

    pub(crate) fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Bf16 => Format::Bf16,
            Self::Q4_0 => Format::Q4_0,
            Self::Q4_1 => Format::Q4_1,
            Self::Q5_0 => Format::Q5_0,
            Self::Q5_1 => Format::Q5_1,
            Self::Q8_0 => Format::Q8_0,
            Self::Q4K => Format::Q4K,
            Self::Q6K => Format::Q6K,
        }
    }
}

/// A tiny model to be written. The weights depend on the seed and on the tensors' names, not on the
/// format.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Its shape.
    pub config: ModelConfig,
    /// From which the weights are drawn.
    pub seed: u64,
    /// How it is written.
    pub format: TinyFormat,
    /// In which type, if the format is [`TinyFormat::Gguf`].
    pub storage: TinyStorage,
}

impl TinyModel {
    /// Four blocks of width 32, four heads on two key-value heads, 266 tokens, context 256, tied
    /// head, safetensors.
    pub fn new(seed: u64) -> Self {
        let config = ModelConfig {
            architecture: Architecture::Llama,
            blocks: 4,
            hidden_size: 32,
            intermediate_size: 64,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            vocab_size: 256 + MERGES.len() + SPECIAL_TOKENS.len(),
            context_length: 256,
            tied_embeddings: true,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
        };
        Self {
            config,
            seed,
            format: TinyFormat::SafeTensors,
            storage: TinyStorage::F32,
        }
    }

    /// Two blocks of width 256, four heads of width 64 on two key-value heads.
    pub fn wide(mut self) -> Self {
        let config = &mut self.config;
        config.blocks = 2;
        (config.hidden_size, config.intermediate_size) = (256, 512);
        config.head_dim = 64;
        self
    }

    /// As a GGUF file with its matrices in `storage`. Their inputs must fill whole blocks of it.
    pub fn stored(mut self, storage: TinyStorage) -> Self {
        self.format = TinyFormat::Gguf;
        self.storage = storage;
        self
    }

    /// With another number of blocks.
    pub fn blocks(mut self, blocks: usize) -> Self {
        self.config.blocks = blocks;
        self
    }

    /// With biases on q, k and v.
    pub fn qwen2(mut self) -> Self {
        self.config.architecture = Architecture::Qwen2;
        self
    }

    /// With an LM head of its own.
    pub fn untied(mut self) -> Self {
        self.config.tied_embeddings = false;
        self
    }

    /// With Llama 3's rotary frequencies and their scaling.
    pub fn scaled_rope(mut self) -> Self {
        self.config.rope_theta = 500_000.0;
        self.config.rope_scaling = Some(RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        });
        self
    }

    /// In another file format.
    pub fn format(mut self, format: TinyFormat) -> Self {
        self.format = format;
        self
    }

    /// Writes the model into the folder `dir`, which must exist, and gives the path to open.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        match self.format {
            TinyFormat::SafeTensors => {
                self.write_side_files(dir)?;
                write_safetensors(&dir.join("model.safetensors"), &self.tensors())?;
                Ok(dir.to_owned())
            }
            TinyFormat::Sharded => {
                self.write_side_files(dir)?;
                self.write_shards(dir)?;
                Ok(dir.to_owned())
            }
            TinyFormat::Gguf => {
                let path = dir.join("model.gguf");
                std::fs::write(&path, gguf::bytes(self))?;
                Ok(path)
            }
        }
    }

    /// Canonical names, shapes and values of all tensors.
    fn tensors(&self) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let config = &self.config;
        let vocab = vec![config.vocab_size, config.hidden_size];
        let mut shapes = vec![
            (names::EMBEDDING.to_owned(), vocab.clone()),
            (names::FINAL_NORM.to_owned(), vec![config.hidden_size]),
        ];
        if !config.tied_embeddings {
            shapes.push((names::HEAD.to_owned(), vocab));
        }
        for block in 0..config.blocks {
            shapes.extend(names::block_tensors(config, block));
        }
        let draw = |(name, shape): (String, Vec<usize>)| {
            let values = self.values(&name, &shape);
            (name, (shape, values))
        };
        shapes.into_iter().map(draw).collect()
    }

    /// Values of about unit gain: norms near 1, matrices scaled by their inputs.
    fn values(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let salt = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut state = self.seed ^ salt;
        let count: usize = shape.iter().product();
        let scale = match shape {
            [_, inputs] => (3.0 / *inputs as f32).sqrt(),
            _ => 0.25,
        };
        let centre = if name.ends_with("norm.weight") {
            1.0
        } else {
            0.0
        };
        (0..count)
            .map(|_| centre + scale * uniform(&mut state))
            .collect()
    }

    fn write_side_files(&self, dir: &Path) -> io::Result<()> {
        let json = |name: &str, value: serde_json::Value| {
            std::fs::write(dir.join(name), value.to_string())
        };
        json("config.json", self.config_json())?;
        json("tokenizer.json", tokenizer_json())?;
        json(
            "tokenizer_config.json",
            json!({
                "bos_token": SPECIAL_TOKENS[0],
                "eos_token": SPECIAL_TOKENS[2],
                "chat_template": CHAT_TEMPLATE,
            }),
        )
    }

    fn config_json(&self) -> serde_json::Value {
        let config = &self.config;
        let (architecture, model_type) = match config.architecture {
            Architecture::Llama => ("LlamaForCausalLM", "llama"),
            Architecture::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        };
        let rope_scaling = config.rope_scaling.as_ref().map(|scaling| {
            json!({
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_context,
            })
        });
        json!({
            "architectures": [architecture],
            "model_type": model_type,
            "hidden_act": "silu",
            "num_hidden_layers": config.blocks,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "vocab_size": config.vocab_size,
            "max_position_embeddings": config.context_length,
            "tie_word_embeddings": config.tied_embeddings,
            "rms_norm_eps": config.rms_norm_eps,
            "rope_theta": config.rope_theta,
            "rope_scaling": rope_scaling,
        })
    }

    fn write_shards(&self, dir: &Path) -> io::Result<()> {
        let mut shards = [BTreeMap::new(), BTreeMap::new()];
        let mut weight_map = BTreeMap::new();
        // The first half of the blocks, with the ends, comes in the first file.
        let second: Vec<String> = (self.config.blocks.div_ceil(2)..self.config.blocks)
            .map(|block| names::in_block(block, ""))
            .collect();
        for (name, tensor) in self.tensors() {
            let number = usize::from(second.iter().any(|prefix| name.starts_with(prefix)));
            weight_map.insert(name.clone(), shard_name(number));
            shards[number].insert(name, tensor);
        }
        for (number, tensors) in shards.iter().enumerate() {
            write_safetensors(&dir.join(shard_name(number)), tensors)?;
        }
        let index = json!({ "metadata": {}, "weight_map": weight_map });
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string())
    }
}

/// Writes a [`TinyModel`] of the default shape as safetensors, with a byte-level `tokenizer.json`,
/// and gives the path to open.
pub fn tiny_model(dir: &Path, seed: u64) -> io::Result<PathBuf> {
    TinyModel::new(seed).write(dir)
}

fn shard_name(number: usize) -> String {
    format!("model-{:05}-of-00002.safetensors", number + 1)
}

fn write_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) -> io::Result<()> {
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            (name.clone(), shape.clone(), bytes)
        })
        .collect();
    let mut views = Vec::new();
    for (name, shape, bytes) in &stored {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(io::Error::other)?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize_to_file(views, None, path).map_err(io::Error::other)
}

/// The tokens of the tiny vocabulary in the order of their ids.
fn vocabulary() -> Vec<String> {
    let bytes = byte_characters().map(|(_, character)| character.to_string());
    let merged = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
    let special = SPECIAL_TOKENS.iter().map(|token| (*token).to_owned());
    bytes.chain(merged).chain(special).collect()
}

fn tokenizer_json() -> serde_json::Value {
    let tokens = vocabulary();
    let ordinary = tokens.len() - SPECIAL_TOKENS.len();
    let vocab: BTreeMap<&str, usize> = tokens
        .iter()
        .take(ordinary)
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let added: Vec<_> = SPECIAL_TOKENS
        .iter()
        .enumerate()
        .map(|(index, token)| {
            json!({
                "id": ordinary + index, "content": token, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        })
        .collect();
    let merges: Vec<_> = MERGES
        .iter()
        .map(|(left, right)| json!([left, right]))
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "post_processor": null,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": merges,
        },
    })
}

/// The next number of a SplitMix64 sequence, as an f32 in [−1, 1).
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// The bytes of standard base64; panics on anything else. Fixtures hold arrays in it.
#[allow(clippy::panic)]
pub fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other:#x} is no digit of base64"),
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group
            .iter()
            .fold(0u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
        let filled = bits << (6 * (4 - group.len()));
        bytes.extend(&filled.to_be_bytes()[1..group.len()]);
    }
    bytes
}
