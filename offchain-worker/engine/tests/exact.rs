//! The real model on the reproducible kernels: the bits that every machine must find, and how far they
//! are from the references of `parity.rs`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use quipu_engine::exact::{ExactEnds, ExactSpan, Sequence, FAMILY};
use quipu_engine::testing::base64;
use quipu_engine::{HiddenStates, Model, Sampling};
use quipu_kernels::{Isa, Kernels};
use serde::{Deserialize, Serialize};

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

/// A chain of spans, cut at these blocks, and the ends.
struct Chain {
    spans: Vec<ExactSpan>,
    ends: ExactEnds,
}

impl Chain {
    fn new(isa: Isa, threads: usize, cuts: &[usize]) -> Self {
        let kernels = Arc::new(Kernels::new(isa, threads).unwrap());
        let load = |cut: &[usize]| {
            ExactSpan::load_on(model(), cut[0]..cut[1], kernels.clone(), 64).unwrap()
        };
        Self {
            spans: cuts.windows(2).map(load).collect(),
            ends: ExactEnds::load_on(model(), kernels.clone()).unwrap(),
        }
    }

    /// Passes the tokens through, in pieces: the rows behind each span.
    fn run(&self, ids: &[u32], chunk: usize) -> Vec<Vec<f32>> {
        let new_cache = |span: &ExactSpan| span.new_cache(ids.len()).unwrap();
        let mut caches: Vec<_> = self.spans.iter().map(new_cache).collect();
        let mut rows = vec![Vec::new(); self.spans.len()];
        let mut position = 0;
        for ids in ids.chunks(chunk) {
            let mut hidden = self.ends.embed(ids).unwrap();
            for ((span, cache), rows) in self.spans.iter().zip(&mut caches).zip(&mut rows) {
                hidden = span.forward(cache, hidden, position).unwrap();
                rows.extend(&hidden.data);
            }
            position += ids.len();
        }
        rows
    }

    /// The logits after the last of these rows.
    fn logits(&self, rows: &[f32]) -> Vec<f32> {
        let tokens = rows.len() / model().config().hidden_size;
        let data = rows.to_vec();
        self.ends.logits(&HiddenStates { data, tokens }).unwrap()
    }
}

/// BLAKE2b-256 over the numbers, little-endian.
fn digest(numbers: &[f32]) -> String {
    let mut hasher = Blake2b::<U32>::new();
    for number in numbers {
        hasher.update(number.to_le_bytes());
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every machine must find.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Vectors {
    made_by: String,
    family: String,
    prompt: String,
    ids: Vec<u32>,
    /// Of all rows of the prompt after so many blocks, and of the logits after the last token.
    after_10_blocks: String,
    after_20_blocks: String,
    after_30_blocks: String,
    logits: String,
}

const PROMPT: &str = "A khipu is a record made of knotted cords.";
const MAKE: &str = "QUIPU_WRITE_VECTORS=1 cargo test -p quipu-engine --test exact vectors";

fn vectors(isa: Isa, threads: usize, chunk: usize) -> Vectors {
    let ids = model().tokenizer().unwrap().encode(PROMPT, false).unwrap();
    let chain = Chain::new(isa, threads, &[0, 10, 20, 30]);
    let rows = chain.run(&ids, chunk);
    Vectors {
        made_by: MAKE.into(),
        family: FAMILY.into(),
        prompt: PROMPT.into(),
        after_10_blocks: digest(&rows[0]),
        after_20_blocks: digest(&rows[1]),
        after_30_blocks: digest(&rows[2]),
        logits: digest(&chain.logits(&rows[2])),
        ids,
    }
}

#[test]
fn every_instruction_set_finds_the_committed_vectors() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/exact_smollm2.json");
    if std::env::var_os("QUIPU_WRITE_VECTORS").is_some() {
        let found = serde_json::to_string_pretty(&vectors(Isa::Portable, 1, usize::MAX)).unwrap();
        std::fs::write(&file, found + "\n").unwrap();
    }
    let expected: Vectors = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (index, isa) in Isa::available().into_iter().enumerate() {
        assert_eq!(
            vectors(isa, 1 + index % 3, 1 + 3 * index),
            expected,
            "{isa}"
        );
    }
}

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
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

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/smollm2_greedy.json")).unwrap()
}

#[test]
fn chunks_threads_cuts_and_batches_change_no_bit() {
    let cases = fixture().cases;
    let sequences: Vec<Vec<u32>> = cases
        .iter()
        .take(3)
        .map(|case| [&case.ids[..], &case.tokens].concat())
        .collect();
    let whole = Chain::new(Isa::detect(), 1, &[0, 30]);
    let expected: Vec<Vec<f32>> = sequences
        .iter()
        .map(|ids| whole.run(ids, usize::MAX).remove(0))
        .collect();
    for (threads, chunk, cuts) in [
        (2, 1, vec![0, 30]),
        (3, 7, vec![0, 10, 20, 30]),
        (2, 32, vec![0, 29, 30]),
    ] {
        let rows = Chain::new(Isa::detect(), threads, &cuts).run(&sequences[0], chunk);
        let last = rows.last().unwrap();
        assert!(
            digest(last) == digest(&expected[0]),
            "{threads}, {chunk}, {cuts:?}"
        );
    }

    // All together: the first decodes while the others' prompts go by in unequal parts.
    let span = &whole.spans[0];
    let width = model().config().hidden_size;
    let mut workspace = span.new_workspace();
    let mut caches: Vec<_> = sequences
        .iter()
        .map(|ids| span.new_cache(ids.len()).unwrap())
        .collect();
    let mut found = vec![Vec::new(); sequences.len()];
    while found
        .iter()
        .zip(&expected)
        .any(|(found, all)| found.len() < all.len())
    {
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for ((ids, found), step) in sequences.iter().zip(&found).zip([1, 9, 40]) {
            let start = found.len() / width;
            let end = ids.len().min(start + step);
            let embedded = (start < end).then(|| whole.ends.embed(&ids[start..end]).unwrap().data);
            rows.push(embedded.unwrap_or_default());
        }
        let mut batch: Vec<_> = caches
            .iter_mut()
            .zip(&mut rows)
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(cache, rows)| {
                let position = cache.len();
                Sequence::new(cache, position, rows)
            })
            .collect();
        span.forward_batch(&mut workspace, &mut batch);
        for sequence in batch {
            sequence.result().unwrap();
        }
        for (found, rows) in found.iter_mut().zip(rows) {
            found.extend(rows);
        }
    }
    for (found, expected) in found.iter().zip(&expected) {
        assert!(digest(found) == digest(expected));
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let chain = Chain::new(Isa::detect(), 1, &[0, 10, 20, 30]);
    let cases = fixture().cases;
    assert!(cases.len() >= 5);
    for case in cases {
        assert_eq!(case.tokens.len(), 64);
        let capacity = case.ids.len() + 64;
        let new_cache = |span: &ExactSpan| span.new_cache(capacity).unwrap();
        let mut caches: Vec<_> = chain.spans.iter().map(new_cache).collect();
        // Its own tokens are fed to it, as in use.
        let (mut fed, mut position, mut tokens) = (case.ids, 0, Vec::new());
        while tokens.len() < 64 {
            let mut hidden = chain.ends.embed(&fed).unwrap();
            for (span, cache) in chain.spans.iter().zip(&mut caches) {
                hidden = span.forward(cache, hidden, position).unwrap();
            }
            position += fed.len();
            let logits = chain.ends.logits(&hidden).unwrap();
            let token = Sampling::greedy().sample(&logits, position as u64);
            tokens.push(token.unwrap());
            fed = tokens[tokens.len() - 1..].to_vec();
        }
        assert_eq!(tokens, case.tokens, "{:?}", case.prompt);
    }
}

#[test]
fn hidden_states_are_close_to_those_of_transformers() {
    let chain = Chain::new(Isa::detect(), 2, &[0, 10, 20, 30]);
    let width = model().config().hidden_size;
    let mut compared = 0;
    for case in fixture().cases {
        let rows = chain.run(&case.ids, usize::MAX);
        for row in &case.hidden {
            let found = &rows[row.after_blocks / 10 - 1][row.position * width..][..width];
            let distance = distance(found, &row.row);
            println!(
                "after {} blocks, position {}: {distance:.1e}",
                row.after_blocks, row.position
            );
            assert!(
                distance < CLOSE,
                "after {} blocks: {distance:.1e}",
                row.after_blocks
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

/// What rounding activations to 16 bits may move a row of hidden states by.
const CLOSE: f64 = 5e-4;

/// Relative distance of a row to the reference's.
fn distance(found: &[f32], expected: &str) -> f64 {
    let expected: Vec<f64> = base64(expected)
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()).into())
        .collect();
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found
        .iter()
        .zip(&expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    (difference / expected.iter().map(|value| value * value).sum::<f64>()).sqrt()
}
