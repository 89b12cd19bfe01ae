//! Writes a tiny model as a GGUF file.

use super::{blocks, vocabulary, TinyModel, TinyStorage, CHAT_TEMPLATE, MERGES, SPECIAL_TOKENS};
use crate::config::Architecture;
use crate::rope;
use crate::weights::dtype::Format;
use crate::weights::gguf::{kind, MAGIC};
use crate::weights::names;

const ALIGNMENT: usize = 32;
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// Metadata entries as they are stored, counted.
#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    count: u64,
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

impl Entries {
    fn put(&mut self, key: &str, value_kind: u32, value: &[u8]) {
        put_text(&mut self.bytes, key);
        self.bytes.extend(value_kind.to_le_bytes());
        self.bytes.extend(value);
        self.count += 1;
    }

    fn number(&mut self, key: &str, value: usize) {
        self.put(key, kind::U32, &(value as u32).to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f64) {
        self.put(key, kind::F32, &(value as f32).to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        put_text(&mut bytes, value);
        self.put(key, kind::STRING, &bytes);
    }

    fn array(&mut self, key: &str, element: u32, count: usize, elements: &[u8]) {
        let mut bytes = element.to_le_bytes().to_vec();
        bytes.extend((count as u64).to_le_bytes());
        bytes.extend(elements);
        self.put(key, kind::ARRAY, &bytes);
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        let mut bytes = Vec::new();
        texts.iter().for_each(|text| put_text(&mut bytes, text));
        self.array(key, kind::STRING, texts.len(), &bytes);
    }
}

/// The whole file.
pub(super) fn bytes(model: &TinyModel) -> Vec<u8> {
    let entries = metadata(model);
    let tensors = tensors(model);
    let mut header = MAGIC.to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(entries.count.to_le_bytes());
    header.extend(&entries.bytes);
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, values) in &tensors {
        put_text(&mut header, name);
        header.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            header.extend((*size as u64).to_le_bytes());
        }
        let storage = match shape.len() {
            1 => TinyStorage::F32,
            _ => model.storage,
        };
        header.extend(number(storage.format()).to_le_bytes());
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        header.extend((data.len() as u64).to_le_bytes());
        data.extend(blocks::encode(storage, values));
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    header.extend(data);
    header
}

/// GGUF's number of a format.
fn number(format: Format) -> u32 {
    let mut numbers = 0..u32::from(u8::MAX);
    numbers
        .find(|number| Format::from_gguf(*number) == Some(format))
        .unwrap_or(0)
}

fn metadata(model: &TinyModel) -> Entries {
    let config = &model.config;
    let name = match config.architecture {
        Architecture::Llama => "llama",
        Architecture::Qwen2 => "qwen2",
    };
    let mut entries = Entries::default();
    entries.text("general.architecture", name);
    entries.number("general.alignment", ALIGNMENT);
    let numbers = [
        ("block_count", config.blocks),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("rope.dimension_count", config.head_dim),
        ("context_length", config.context_length),
        ("vocab_size", config.vocab_size),
    ];
    for (key, value) in numbers {
        entries.number(&format!("{name}.{key}"), value);
    }
    entries.float(
        &format!("{name}.attention.layer_norm_rms_epsilon"),
        config.rms_norm_eps,
    );
    entries.float(&format!("{name}.rope.freq_base"), config.rope_theta);

    let tokens = vocabulary();
    let ordinary = tokens.len() - SPECIAL_TOKENS.len();
    let types: Vec<u8> = (0..tokens.len())
        .flat_map(|id| if id < ordinary { NORMAL } else { CONTROL }.to_le_bytes())
        .collect();
    let merges: Vec<String> = MERGES
        .iter()
        .map(|(left, right)| format!("{left} {right}"))
        .collect();
    entries.text("tokenizer.ggml.model", "gpt2");
    entries.text("tokenizer.ggml.pre", "gpt-2");
    entries.texts("tokenizer.ggml.tokens", &tokens);
    entries.array("tokenizer.ggml.token_type", kind::I32, tokens.len(), &types);
    entries.texts("tokenizer.ggml.merges", &merges);
    entries.number("tokenizer.ggml.bos_token_id", ordinary);
    entries.number("tokenizer.ggml.eos_token_id", ordinary + 2);
    entries.put("tokenizer.ggml.add_bos_token", kind::BOOL, &[0]);
    entries.text("tokenizer.chat_template", CHAT_TEMPLATE);
    entries
}

/// GGUF names, shapes and values; q and k of the llama architecture interleaved.
fn tensors(model: &TinyModel) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let config = &model.config;
    let interleaved = config.architecture == Architecture::Llama;
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = model
        .tensors()
        .into_iter()
        .map(|(name, (shape, values))| {
            let heads = match name.as_str() {
                name if name.ends_with("q_proj.weight") => config.heads,
                name if name.ends_with("k_proj.weight") => config.kv_heads,
                _ => 0,
            };
            let values = if interleaved && heads > 0 {
                halves_to_pairs(&values, heads, shape[1])
            } else {
                values
            };
            (names::to_gguf(&name), shape, values)
        })
        .collect();
    if let Some(scaling) = &config.rope_scaling {
        let divisors = rope::divisors(config.rope_theta, config.head_dim, scaling);
        tensors.push((
            names::ROPE_DIVISORS.to_owned(),
            vec![divisors.len()],
            divisors,
        ));
    }
    tensors
}

/// llama.cpp's interleaving of rotary pairs: row `j·d/2 + i` of a head goes to `2i + j`.
fn halves_to_pairs(rows: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    let head_rows = rows.len() / columns / heads;
    for head in rows.chunks(head_rows * columns) {
        for i in 0..head_rows / 2 {
            for row in [i, head_rows / 2 + i] {
                out.extend(&head[row * columns..][..columns]);
            }
        }
    }
    out
}
