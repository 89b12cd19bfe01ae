//! Files that were changed at random: the engine answers with an error or with numbers, never with a
//! panic, and never allocates what a file merely announces.

use std::path::Path;

use proptest::prelude::*;
use quipu_engine::testing::{TinyFormat, TinyModel};
use quipu_engine::{CpuEnds, CpuSpan, Model};

/// Does everything a server and a client do with a model.
fn use_fully(path: &Path) {
    let Ok(model) = Model::open(path) else { return };
    for block in 0..model.config().blocks {
        let _ = model.block_digest(block);
    }
    let _ = model.ends_digests();
    let _ = model.tokenizer_digest();
    if let Ok(tokenizer) = model.tokenizer() {
        if let Ok(ids) = tokenizer.encode("the other 🦙 <|im_end|>", true) {
            let _ = tokenizer.decode(&ids);
        }
    }
    let device = Default::default();
    let Ok(ends) = CpuEnds::load(&model, &device) else {
        return;
    };
    let Ok(span) = CpuSpan::load(&model, 0..model.config().blocks, &device) else {
        return;
    };
    let mut cache = span.new_cache(16);
    if let Ok(hidden) = ends.embed(&[1, 2, 3]) {
        if let Ok(hidden) = span.forward(&mut cache, hidden, 0) {
            let _ = ends.logits(&hidden);
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    /// One byte becomes another.
    Byte { at: prop::sample::Index, value: u8 },
    /// Eight bytes become a number that is likely to be a length out of range.
    Word { at: prop::sample::Index, value: u64 },
    /// Some bytes are left out.
    Cut { at: prop::sample::Index, len: usize },
    /// The file ends early.
    End { at: prop::sample::Index },
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let word = prop_oneof![
        Just(u64::MAX),
        Just(u64::MAX / 2 + 1),
        Just(1 << 40),
        Just(u64::from(u32::MAX)),
        Just(0),
        any::<u64>(),
    ];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, value)| Change::Byte { at, value }),
        4 => (at(), word).prop_map(|(at, value)| Change::Word { at, value }),
        1 => (at(), 1usize..64).prop_map(|(at, len)| Change::Cut { at, len }),
        1 => at().prop_map(|at| Change::End { at }),
    ]
}

/// Applies `change` within the first `within` bytes: headers are where the structure is.
fn apply(bytes: &mut Vec<u8>, change: &Change, within: usize) {
    let within = within.min(bytes.len()).max(1);
    if bytes.is_empty() {
        return;
    }
    match change {
        Change::Byte { at, value } => bytes[at.index(within)] = *value,
        Change::Word { at, value } => {
            let start = at.index(within);
            let len = (bytes.len() - start).min(8);
            bytes[start..start + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        Change::Cut { at, len } => {
            let start = at.index(within);
            let end = (start + len).min(bytes.len());
            bytes.drain(start..end);
        }
        Change::End { at } => bytes.truncate(at.index(bytes.len())),
    }
}

/// A model written once, of which one file is changed for every case.
struct Victim {
    dir: tempfile::TempDir,
    file: &'static str,
    original: Vec<u8>,
    /// Bytes from the start that are worth changing.
    within: usize,
}

impl Victim {
    fn new(format: TinyFormat, file: &'static str, within: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        TinyModel::new(1)
            .blocks(1)
            .qwen2()
            .format(format)
            .write(dir.path())
            .unwrap();
        let original = std::fs::read(dir.path().join(file)).unwrap();
        Self {
            dir,
            file,
            original,
            within,
        }
    }

    fn survive(&self, changes: &[Change]) {
        let mut bytes = self.original.clone();
        changes
            .iter()
            .for_each(|change| apply(&mut bytes, change, self.within));
        std::fs::write(self.dir.path().join(self.file), bytes).unwrap();
        use_fully(self.dir.path());
    }

    fn try_many(&self) {
        let config = ProptestConfig {
            cases: 256,
            failure_persistence: None,
            ..Default::default()
        };
        proptest!(config, |(changes in prop::collection::vec(change(), 1..4))| {
            self.survive(&changes);
        });
    }
}

#[test]
fn gguf() {
    Victim::new(TinyFormat::Gguf, "model.gguf", 11_000).try_many();
}

#[test]
fn safetensors() {
    Victim::new(TinyFormat::SafeTensors, "model.safetensors", 2_000).try_many();
}

#[test]
fn shard() {
    let file = "model-00001-of-00002.safetensors";
    Victim::new(TinyFormat::Sharded, file, 2_000).try_many();
}

#[test]
fn index() {
    let file = "model.safetensors.index.json";
    Victim::new(TinyFormat::Sharded, file, usize::MAX).try_many();
}

#[test]
fn configuration() {
    Victim::new(TinyFormat::SafeTensors, "config.json", usize::MAX).try_many();
}

#[test]
fn tokenizer() {
    Victim::new(TinyFormat::SafeTensors, "tokenizer.json", usize::MAX).try_many();
}

#[test]
fn tokenizer_settings() {
    Victim::new(TinyFormat::SafeTensors, "tokenizer_config.json", usize::MAX).try_many();
}

#[test]
fn every_length_of_a_gguf_header_is_refused() {
    let victim = Victim::new(TinyFormat::Gguf, "model.gguf", usize::MAX);
    for len in (0..1_000).chain((1_000..victim.original.len()).step_by(19)) {
        std::fs::write(
            victim.dir.path().join("model.gguf"),
            &victim.original[..len],
        )
        .unwrap();
        let error = Model::open(&victim.dir.path().join("model.gguf")).unwrap_err();
        assert!(error.is_corruption(), "cut to {len}: {error}");
    }
}
