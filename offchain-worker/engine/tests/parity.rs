//! The real model against references that share no code with this crate: Hugging Face transformers
//! for tokens and hidden states, llama.cpp for tokenisation, Python's hashlib for digests.
//! `scripts/fixtures` makes the fixtures. What computes runs on the CPU and, with the feature `cuda`, on
//! the first CUDA device, which must be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quipu_engine::backend::Backend;
use quipu_engine::testing::base64;
use quipu_engine::{ChatMessage, Ends, HiddenStates, Model, Sampling, Span, Tokenizer};
use serde::Deserialize;

/// How far a backend may be from the reference, and from itself.
struct Tolerance {
    /// Relative distance ‖a−b‖/‖b‖ of a row of hidden states to the reference's.
    boundary: f64,
    /// The logit of the reference's token may be that much less than the best; with 0 it must be the
    /// one that greedy sampling takes.
    logit: f32,
    /// Relative distance between a sequence computed at once and in parts.
    parts: f32,
}

/// All blocks and the ends, and the device that they are on.
struct Loaded<B: Backend> {
    span: Span<B>,
    ends: Ends<B>,
    device: B::Device,
    tolerance: Tolerance,
}

impl<B: Backend> Loaded<B> {
    fn new(device: B::Device, tolerance: Tolerance) -> Self {
        Loaded {
            span: Span::load(model(), 0..model().config().blocks, &device).unwrap(),
            ends: Ends::load(model(), &device).unwrap(),
            device,
            tolerance,
        }
    }

    /// Some of the blocks, on the same device.
    fn part(&self, blocks: std::ops::Range<usize>) -> Span<B> {
        Span::load(model(), blocks, &self.device).unwrap()
    }
}

/// The tests of one backend. Its blocks are loaded once for all of them.
macro_rules! parity_on {
    ($name:ident, $backend:ty, $device:expr, $tolerance:expr) => {
        mod $name {
            use super::*;

            fn loaded() -> &'static Loaded<$backend> {
                static LOADED: OnceLock<Loaded<$backend>> = OnceLock::new();
                LOADED.get_or_init(|| Loaded::new($device, $tolerance))
            }

            #[test]
            fn greedy_tokens_are_those_of_transformers() {
                super::greedy_tokens_are_those_of_transformers(loaded());
            }

            #[test]
            fn three_spans_give_the_bits_of_the_whole_model() {
                super::three_spans_give_the_bits_of_the_whole_model(loaded());
            }

            #[test]
            fn hidden_states_at_the_boundaries_are_close_to_the_reference() {
                super::hidden_states_at_the_boundaries_are_close_to_the_reference(loaded());
            }

            #[test]
            fn a_long_prompt_fills_the_cache_piece_by_piece() {
                super::a_long_prompt_fills_the_cache_piece_by_piece(loaded());
            }
        }
    };
}

parity_on!(
    cpu,
    quipu_engine::backend::Flex,
    quipu_engine::backend::FlexDevice,
    Tolerance {
        boundary: 1e-5,
        logit: 0.0,
        parts: 1e-4,
    }
);

// The device may multiply in TF32, whose mantissa has 10 bits.
#[cfg(feature = "cuda")]
parity_on!(
    cuda,
    quipu_engine::backend::Cuda,
    quipu_engine::backend::CudaDevice::default(),
    Tolerance {
        boundary: 1e-2,
        logit: 0.5,
        parts: 1e-2,
    }
);

#[derive(Deserialize)]
struct Fixture {
    digests: Digests,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Digests {
    blocks: BTreeMap<String, String>,
    embedding: String,
    head: String,
    tokenizer: String,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    text: String,
    ids: Vec<u32>,
    tokens: Vec<u32>,
    #[serde(default)]
    hidden: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    after_blocks: usize,
    position: usize,
    row: String,
}

#[derive(Deserialize)]
struct Tokenised {
    text: String,
    ids: Vec<u32>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/smollm2_greedy.json")).unwrap()
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = std::env::var_os("QUIPU_MODEL").map_or_else(
            || {
                let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
                let folder = Path::new(".cache/quipu/models/smollm2-135m-instruct");
                home.join(folder).join("SmolLM2-135M-Instruct.Q4_1.gguf")
            },
            PathBuf::from,
        );
        Model::open(&path).unwrap_or_else(|error| panic!("{error}\nRun scripts/setup first."))
    })
}

fn tokenizer() -> Tokenizer {
    model().tokenizer().unwrap()
}

/// Passes `tokens` through a chain of spans: the prompt at once, then token by token. Gives the logits
/// after the prompt and after each token, and all that came out of the chain.
fn follow<B: Backend>(
    ends: &Ends<B>,
    chain: &[&Span<B>],
    prompt: &[u32],
    tokens: &[u32],
) -> (Vec<Vec<f32>>, Vec<f32>) {
    let mut caches: Vec<_> = chain.iter().map(|span| span.new_cache(512)).collect();
    let (mut logits, mut rows) = (Vec::new(), Vec::new());
    let mut position = 0;
    for fed in std::iter::once(prompt).chain(tokens.chunks(1)) {
        let mut hidden = ends.embed(fed).unwrap();
        for (span, cache) in chain.iter().zip(&mut caches) {
            hidden = span.forward(cache, hidden, position).unwrap();
        }
        position += fed.len();
        logits.push(ends.logits(&hidden).unwrap());
        rows.extend(hidden.data);
    }
    (logits, rows)
}

/// After each of the reference's tokens, the engine's likeliest token is the reference's next one.
fn greedy_tokens_are_those_of_transformers<B: Backend>(loaded: &Loaded<B>) {
    let fixture = fixture();
    assert!(fixture.cases.len() >= 5);
    for case in fixture.cases {
        assert_eq!(case.tokens.len(), 64);
        let fed = &case.tokens[..63];
        let (logits, _) = follow(&loaded.ends, &[&loaded.span], &case.ids, fed);
        assert_eq!(logits.len(), 64);
        for (at, (logits, token)) in logits.iter().zip(&case.tokens).enumerate() {
            let found = Sampling::greedy().sample(logits, at as u64).unwrap();
            let behind = logits[found as usize] - logits[*token as usize];
            assert!(
                found == *token || behind < loaded.tolerance.logit,
                "{:?}: token {at} is {found}, {token} is {behind} behind it",
                case.prompt
            );
        }
    }
}

fn three_spans_give_the_bits_of_the_whole_model<B: Backend>(loaded: &Loaded<B>) {
    let case = &fixture().cases[1];
    let spans = [0..10, 10..20, 20..30].map(|blocks| loaded.part(blocks));
    let bits = |chain: &[&Span<B>]| {
        let (logits, rows) = follow(&loaded.ends, chain, &case.ids, &case.tokens[..24]);
        let logits = logits.into_iter().flatten();
        let bits: Vec<u32> = logits.chain(rows).map(f32::to_bits).collect();
        bits
    };
    assert!(bits(&spans.each_ref()) == bits(&[&loaded.span]));
}

fn hidden_states_at_the_boundaries_are_close_to_the_reference<B: Backend>(loaded: &Loaded<B>) {
    let mut compared = 0;
    for case in fixture()
        .cases
        .iter()
        .filter(|case| !case.hidden.is_empty())
    {
        let mut hidden = loaded.ends.embed(&case.ids).unwrap();
        for end in [10, 20, 30] {
            let span = loaded.part(end - 10..end);
            hidden = span.forward(&mut span.new_cache(64), hidden, 0).unwrap();
            for row in case.hidden.iter().filter(|row| row.after_blocks == end) {
                let distance = distance(&hidden, row);
                println!(
                    "after {end} blocks, position {}: {distance:.2e}",
                    row.position
                );
                assert!(
                    distance < loaded.tolerance.boundary,
                    "after {end} blocks: {distance:.2e}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 12);
}

fn distance(hidden: &HiddenStates, row: &Row) -> f64 {
    let expected: Vec<f64> = base64(&row.row)
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()).into())
        .collect();
    let found = hidden.row(row.position).unwrap();
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found
        .iter()
        .zip(&expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    (difference / expected.iter().map(|value| value * value).sum::<f64>()).sqrt()
}

/// 300 tokens at once and in uneven parts: the same sequence, up to rounding.
fn a_long_prompt_fills_the_cache_piece_by_piece<B: Backend>(loaded: &Loaded<B>) {
    let Loaded { span, ends, .. } = loaded;
    let ids: Vec<u32> = fixture()
        .cases
        .iter()
        .flat_map(|case| case.tokens.clone())
        .collect();
    let ids = &ids[..300];
    let mut cache = span.new_cache(300);
    let whole = span
        .forward(&mut cache, ends.embed(ids).unwrap(), 0)
        .unwrap();
    let mut cache = span.new_cache(300);
    let mut last = None;
    for (part, start) in [(0..1, 0), (1..130, 1), (130..299, 130), (299..300, 299)] {
        last = Some(
            span.forward(&mut cache, ends.embed(&ids[part]).unwrap(), start)
                .unwrap(),
        );
    }
    let (a, b) = (whole.row(299).unwrap(), last.unwrap());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let difference = norm(&mut a.iter().zip(&b.data).map(|(a, b)| a - b));
    assert!(
        difference < loaded.tolerance.parts * norm(&mut a.iter().copied()),
        "{difference}"
    );
}

#[test]
fn tokenisation_is_llama_cpps() {
    let texts: Vec<Tokenised> =
        serde_json::from_str(include_str!("fixtures/smollm2_tokens.json")).unwrap();
    let tokenizer = tokenizer();
    for Tokenised { text, ids } in texts {
        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids, "{text:?}");
        if !text.contains("<|") {
            assert_eq!(tokenizer.decode(&ids), text);
        }
    }
}

#[test]
fn the_chat_template_is_the_models() {
    let tokenizer = tokenizer();
    for case in fixture().cases {
        let messages = [ChatMessage::user(case.prompt)];
        assert_eq!(tokenizer.render_chat(&messages), case.text);
        assert_eq!(tokenizer.encode_chat(&messages).unwrap(), case.ids);
    }
    assert!(tokenizer.is_end(tokenizer.token_id("<|im_end|>").unwrap()));
}

#[test]
fn digests_are_those_of_the_documentation() {
    let expected = fixture().digests;
    assert_eq!(expected.blocks.len(), 3);
    for (block, digest) in expected.blocks {
        assert_eq!(
            hex(model().block_digest(block.parse().unwrap()).unwrap()),
            digest,
            "{block}"
        );
    }
    let ends = model().ends_digests().unwrap();
    assert_eq!(hex(ends.embedding), expected.embedding);
    assert_eq!(hex(ends.head), expected.head);
    assert_eq!(hex(model().tokenizer_digest().unwrap()), expected.tokenizer);
}

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
