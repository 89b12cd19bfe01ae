use super::*;
use crate::ends::CpuEnds;
use crate::testing::{TinyFormat, TinyModel};

struct Whole {
    model: Model,
    ends: CpuEnds,
    _dir: tempfile::TempDir,
}

fn whole(tiny: &TinyModel) -> Whole {
    let dir = tempfile::tempdir().unwrap();
    let model = Model::open(&tiny.write(dir.path()).unwrap()).unwrap();
    let ends = CpuEnds::load(&model, &Default::default()).unwrap();
    Whole {
        model,
        ends,
        _dir: dir,
    }
}

impl Whole {
    fn span(&self, blocks: Range<usize>) -> CpuSpan {
        CpuSpan::load(&self.model, blocks, &Default::default()).unwrap()
    }

    /// Passes pieces of a sequence through a chain of spans that is cut at these blocks; all rows
    /// that come out.
    fn run(&self, cuts: &[usize], pieces: &[&[u32]]) -> Vec<f32> {
        let mut chain: Vec<_> = cuts
            .windows(2)
            .map(|cut| {
                let span = self.span(cut[0]..cut[1]);
                let cache = span.new_cache(256);
                (span, cache)
            })
            .collect();
        let (mut out, mut position) = (Vec::new(), 0);
        for piece in pieces {
            let mut hidden = self.ends.embed(piece).unwrap();
            for (span, cache) in &mut chain {
                hidden = span.forward(cache, hidden, position).unwrap();
            }
            position += piece.len();
            out.extend(hidden.data);
        }
        out
    }
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| (i * 37 + 11) % 266).collect()
}

fn relative_distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied())).sqrt()
}

#[test]
fn a_chain_of_spans_gives_the_bits_of_the_whole() {
    for tiny in [TinyModel::new(1), TinyModel::new(1).qwen2().scaled_rope()] {
        let whole = whole(&tiny);
        let tokens = tokens(200);
        // A long prompt, which is cut within the span, and single tokens after it.
        let pieces: Vec<&[u32]> = [&tokens[..190]]
            .into_iter()
            .chain(tokens[190..].chunks(1))
            .collect();
        let expected = whole.run(&[0, 4], &pieces);
        assert_eq!(whole.run(&[0, 1, 3, 4], &pieces), expected);
        assert_eq!(whole.run(&[0, 2, 4], &pieces), expected);
    }
}

#[test]
fn token_by_token_is_close_to_all_at_once() {
    let whole = whole(&TinyModel::new(2));
    let tokens = tokens(150);
    let at_once = whole.run(&[0, 4], &[&tokens]);
    let one_by_one = whole.run(&[0, 4], &tokens.chunks(1).collect::<Vec<_>>());
    let distance = relative_distance(&one_by_one, &at_once);
    assert!(distance < 1e-5, "{distance}");
}

#[test]
fn the_formats_compute_the_same() {
    let tiny = TinyModel::new(3).untied();
    let tokens = tokens(20);
    let expected = whole(&tiny).run(&[0, 4], &[&tokens]);
    for format in [TinyFormat::Gguf, TinyFormat::Sharded] {
        let other = whole(&tiny.clone().format(format));
        assert_eq!(other.run(&[0, 4], &[&tokens]), expected, "{format:?}");
    }
}

#[test]
fn later_tokens_change_nothing_before_them() {
    let whole = whole(&TinyModel::new(4));
    let mut tokens = tokens(12);
    let before = whole.run(&[0, 4], &[&tokens]);
    tokens[8] += 1;
    let after = whole.run(&[0, 4], &[&tokens]);
    assert_eq!(before[..8 * 32], after[..8 * 32]);
    assert_ne!(before[8 * 32..9 * 32], after[8 * 32..9 * 32]);
    assert_ne!(before[11 * 32..], after[11 * 32..]);
}

#[test]
fn truncating_goes_back_to_any_position() {
    let whole = whole(&TinyModel::new(5));
    let span = whole.span(0..4);
    let tokens = tokens(30);
    let mut cache = span.new_cache(64);
    let hidden = |range: Range<usize>| whole.ends.embed(&tokens[range]).unwrap();
    span.forward(&mut cache, hidden(0..20), 0).unwrap();
    let first = span.forward(&mut cache, hidden(20..21), 20).unwrap();
    span.forward(&mut cache, hidden(21..30), 21).unwrap();
    cache.truncate(20);
    assert_eq!(cache.len(), 20);
    assert_eq!(span.forward(&mut cache, hidden(20..21), 20).unwrap(), first);
    cache.truncate(100);
    assert_eq!(cache.len(), 21);
}

#[test]
fn a_cache_grows_up_to_its_capacity() {
    let whole = whole(&TinyModel::new(6));
    let span = whole.span(1..3);
    let mut cache = span.new_cache(200);
    // Two blocks, two vectors of two heads of eight f32.
    assert_eq!(cache.bytes_per_token(), 2 * 2 * 2 * 8 * 4);
    assert_eq!(cache.allocated_bytes(), 128 * cache.bytes_per_token());
    let hidden = whole.ends.embed(&tokens(150)).unwrap();
    span.forward(&mut cache, hidden, 0).unwrap();
    assert_eq!((cache.len(), cache.capacity()), (150, 200));
    assert_eq!(cache.allocated_bytes(), 200 * cache.bytes_per_token());
    // More than the model's context is never promised.
    assert_eq!(span.new_cache(usize::MAX).capacity(), 256);
}

#[test]
fn bad_input_is_refused_and_leaves_the_cache_alone() {
    let whole = whole(&TinyModel::new(7));
    let span = whole.span(0..4);
    let mut cache = span.new_cache(40);
    let embed = |count| whole.ends.embed(&tokens(count)).unwrap();
    span.forward(&mut cache, embed(10), 0).unwrap();
    let mut expect = |hidden: HiddenStates, position, matches: fn(&EngineError) -> bool| {
        let error = span.forward(&mut cache, hidden, position).unwrap_err();
        assert!(matches(&error) && error.is_callers_fault(), "{error:?}");
        assert_eq!(cache.len(), 10);
    };
    expect(embed(1), 9, |e| {
        matches!(
            e,
            EngineError::PositionGap {
                position: 9,
                cached: 10
            }
        )
    });
    expect(embed(1), 11, |e| {
        matches!(
            e,
            EngineError::PositionGap {
                position: 11,
                cached: 10
            }
        )
    });
    expect(embed(31), 10, |e| {
        matches!(
            e,
            EngineError::CacheFull {
                end: 41,
                capacity: 40
            }
        )
    });
    expect(embed(247), 10, |e| {
        matches!(
            e,
            EngineError::ContextExceeded {
                end: 257,
                context: 256
            }
        )
    });
    let empty = HiddenStates {
        data: vec![],
        tokens: 0,
    };
    expect(empty, 10, |e| matches!(e, EngineError::NoTokens));
    let narrow = HiddenStates {
        data: vec![0.0; 31],
        tokens: 1,
    };
    expect(narrow, 10, |e| {
        matches!(
            e,
            EngineError::WrongSize {
                expected: 32,
                found: 31,
                ..
            }
        )
    });
    let absurd = HiddenStates {
        data: vec![0.0; 32],
        tokens: usize::MAX,
    };
    expect(absurd, 10, |e| matches!(e, EngineError::WrongSize { .. }));
    let mut not_finite = embed(3);
    not_finite.data[40] = f32::NAN;
    expect(not_finite, 10, |e| {
        matches!(e, EngineError::NotFinite { token: 1 })
    });

    // And goes on as if nothing had been.
    let undisturbed = whole.run(&[0, 4], &[&tokens(10), &tokens(1)]);
    let after = span.forward(&mut cache, embed(1), 10).unwrap();
    assert_eq!(after.data, undisturbed[10 * 32..]);

    let other = whole.span(0..2);
    let error = other.forward(&mut cache, embed(1), 11).unwrap_err();
    assert!(matches!(error, EngineError::ForeignCache { .. }));
}

#[test]
fn weights_that_are_no_numbers_are_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(7).write(dir.path()).unwrap();
    let file = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let info = metadata.info("model.layers.2.mlp.up_proj.weight").unwrap();
    let start = 8 + header + info.data_offsets.0;
    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();

    let model = Model::open(&path).unwrap();
    let span = CpuSpan::load(&model, 0..4, &Default::default()).unwrap();
    let mut cache = span.new_cache(16);
    let hidden = HiddenStates {
        data: vec![0.5; 64],
        tokens: 2,
    };
    let error = span.forward(&mut cache, hidden, 0).unwrap_err();
    assert!(
        matches!(error, EngineError::Diverged { token: 0 }),
        "{error}"
    );
    assert!(cache.is_empty());
}

#[test]
fn spans_outside_the_model_are_refused() {
    let whole = whole(&TinyModel::new(8));
    for blocks in [0..5, 4..5, 2..2, usize::MAX..usize::MAX] {
        let error = CpuSpan::load(&whole.model, blocks, &Default::default()).unwrap_err();
        assert!(
            matches!(
                error,
                EngineError::BadSpan {
                    model_blocks: 4,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn the_ends_know_their_vocabulary() {
    let whole = whole(&TinyModel::new(9).untied());
    assert!(matches!(
        whole.ends.embed(&[0, 266]),
        Err(EngineError::UnknownToken {
            id: 266,
            vocab_size: 266
        })
    ));
    assert!(matches!(whole.ends.embed(&[]), Err(EngineError::NoTokens)));
    let hidden = whole.ends.embed(&[1, 2, 3]).unwrap();
    assert_eq!((hidden.tokens, hidden.width()), (3, 32));
    let logits = whole.ends.logits(&hidden).unwrap();
    assert_eq!(logits.len(), 266);
    let all = whole.ends.all_logits(&hidden).unwrap();
    assert!(relative_distance(&all[2 * 266..], &logits) < 1e-6);
    let last = HiddenStates {
        data: hidden.row(2).unwrap().to_vec(),
        tokens: 1,
    };
    assert_eq!(whole.ends.logits(&last).unwrap(), logits);
}

/// Spans and ends are shared between threads; caches move between them.
#[test]
fn threads_can_share_a_span() {
    fn shared<T: Send + Sync + 'static>() {}
    fn moved<T: Send + 'static>() {}
    shared::<CpuSpan>();
    shared::<CpuEnds>();
    shared::<Model>();
    shared::<crate::Tokenizer>();
    moved::<KvCache<Flex>>();
}
