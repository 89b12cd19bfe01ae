//! The real model against references that share no code with this crate: Hugging Face transformers
//! for tokens and hidden states, llama.cpp for tokenisation, Python's hashlib for digests.
//! `scripts/fixtures` makes the fixtures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quipu_engine::testing::base64;
use quipu_engine::{ChatMessage, CpuEnds, CpuSpan, HiddenStates, Model, Sampling, Tokenizer};
use serde::Deserialize;

/// Relative distance ‖a−b‖/‖b‖ of a row of hidden states to the reference's.
const BOUNDARY_TOLERANCE: f64 = 1e-5;

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

/// All blocks and the ends, loaded once for all tests.
fn loaded() -> &'static (CpuSpan, CpuEnds) {
    static LOADED: OnceLock<(CpuSpan, CpuEnds)> = OnceLock::new();
    LOADED.get_or_init(|| {
        let device = Default::default();
        let span = CpuSpan::load(model(), 0..model().config().blocks, &device).unwrap();
        (span, CpuEnds::load(model(), &device).unwrap())
    })
}

/// Greedy tokens after `prompt`, through a chain of spans, and all that came out of the chain.
fn generate(chain: &[&CpuSpan], prompt: &[u32], count: usize) -> (Vec<u32>, Vec<f32>) {
    let (_, ends) = loaded();
    let mut caches: Vec<_> = chain.iter().map(|span| span.new_cache(512)).collect();
    let (mut tokens, mut rows) = (Vec::new(), Vec::new());
    let mut fed = prompt.to_vec();
    let mut position = 0;
    while tokens.len() < count {
        let mut hidden = ends.embed(&fed).unwrap();
        for (span, cache) in chain.iter().zip(&mut caches) {
            hidden = span.forward(cache, hidden, position).unwrap();
        }
        position += fed.len();
        let logits = ends.logits(&hidden).unwrap();
        fed = vec![Sampling::greedy().sample(&logits, position as u64).unwrap()];
        tokens.extend(&fed);
        rows.extend(hidden.data);
    }
    (tokens, rows)
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let fixture = fixture();
    assert!(fixture.cases.len() >= 5);
    for case in fixture.cases {
        assert_eq!(case.tokens.len(), 64);
        let (tokens, _) = generate(&[&loaded().0], &case.ids, 64);
        assert_eq!(tokens, case.tokens, "{:?}", case.prompt);
    }
}

#[test]
fn three_spans_give_the_bits_of_the_whole_model() {
    let case = &fixture().cases[1];
    let spans = [0..10, 10..20, 20..30]
        .map(|blocks| CpuSpan::load(model(), blocks, &Default::default()).unwrap());
    let (tokens, rows) = generate(&[&loaded().0], &case.ids, 24);
    let (chained_tokens, chained_rows) = generate(&spans.each_ref(), &case.ids, 24);
    assert_eq!(chained_tokens, tokens);
    let bits = |rows: &[f32]| rows.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&chained_rows), bits(&rows));
}

#[test]
fn hidden_states_at_the_boundaries_are_close_to_the_reference() {
    let (_, ends) = loaded();
    let mut compared = 0;
    for case in fixture()
        .cases
        .iter()
        .filter(|case| !case.hidden.is_empty())
    {
        let mut hidden = ends.embed(&case.ids).unwrap();
        for end in [10, 20, 30] {
            let span = CpuSpan::load(model(), end - 10..end, &Default::default()).unwrap();
            hidden = span.forward(&mut span.new_cache(64), hidden, 0).unwrap();
            for row in case.hidden.iter().filter(|row| row.after_blocks == end) {
                let distance = distance(&hidden, row);
                println!(
                    "after {end} blocks, position {}: {distance:.2e}",
                    row.position
                );
                assert!(
                    distance < BOUNDARY_TOLERANCE,
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

#[test]
fn a_long_prompt_fills_the_cache_piece_by_piece() {
    // 300 tokens at once and in uneven parts: the same sequence, up to rounding.
    let (span, ends) = loaded();
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
        difference < 1e-4 * norm(&mut a.iter().copied()),
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
