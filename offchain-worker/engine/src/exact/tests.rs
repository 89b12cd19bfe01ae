use std::ops::Range;
use std::sync::Arc;

use quipu_kernels::{Isa, Kernels, PAGE_POSITIONS};

use super::*;
use crate::error::EngineError;
use crate::testing::{TinyFormat, TinyModel, TinyStorage};
use crate::{CpuEnds, CpuSpan, HiddenStates, Model};

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

fn kernels(isa: Isa, threads: usize) -> Arc<Kernels> {
    Arc::new(Kernels::new(isa, threads).unwrap())
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| (i * 37 + 11) % 266).collect()
}

impl Whole {
    fn span(&self, blocks: Range<usize>) -> ExactSpan {
        ExactSpan::load(&self.model, blocks, ExactOptions::default()).unwrap()
    }

    fn all(&self) -> ExactSpan {
        self.span(0..self.model.config().blocks)
    }

    /// Passes pieces of a sequence through a chain of spans that is cut at these blocks; all rows
    /// that come out, and their logits.
    fn run(&self, kernels: &Arc<Kernels>, cuts: &[usize], pieces: &[&[u32]]) -> Vec<u32> {
        let mut chain: Vec<_> = cuts
            .windows(2)
            .map(|cut| {
                let blocks = cut[0]..cut[1];
                let span = ExactSpan::load_on(&self.model, blocks, kernels.clone(), 16).unwrap();
                let cache = span.new_cache(256).unwrap();
                (span, cache)
            })
            .collect();
        let ends = ExactEnds::load_on(&self.model, kernels.clone()).unwrap();
        let (mut out, mut logits, mut position) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            let mut hidden = ends.embed(piece).unwrap();
            for (span, cache) in &mut chain {
                hidden = span.forward(cache, hidden, position).unwrap();
            }
            position += piece.len();
            logits.extend(ends.all_logits(&hidden).unwrap());
            out.extend(hidden.data);
        }
        out.extend(logits);
        bits(&out)
    }

    /// The same through Burn, in f32: rows, and their logits.
    fn reference(&self, tokens: &[u32]) -> (Vec<f32>, Vec<f32>) {
        let blocks = 0..self.model.config().blocks;
        let span = CpuSpan::load(&self.model, blocks, &Default::default()).unwrap();
        let hidden = self.ends.embed(tokens).unwrap();
        let hidden = span.forward(&mut span.new_cache(256), hidden, 0).unwrap();
        let logits = self.ends.all_logits(&hidden).unwrap();
        (hidden.data, logits)
    }
}

/// Every feature of a model that a span supports, and every storage type.
fn models() -> Vec<(String, TinyModel)> {
    let mut models = vec![
        ("plain".to_owned(), TinyModel::new(1)),
        ("qwen2".to_owned(), TinyModel::new(2).qwen2().scaled_rope()),
        (
            "untied gguf".to_owned(),
            TinyModel::new(3).untied().format(TinyFormat::Gguf),
        ),
        (
            "qwen2 in 4 bits".to_owned(),
            TinyModel::new(4).qwen2().untied().stored(TinyStorage::Q4_0),
        ),
        ("odd heads".to_owned(), odd_heads()),
    ];
    for storage in TinyStorage::ALL {
        let tiny = TinyModel::new(5).wide().scaled_rope().stored(storage);
        models.push((format!("{storage:?}"), tiny));
    }
    models
}

/// Three query heads on one, of a width that is neither `hidden / heads` nor whole registers.
fn odd_heads() -> TinyModel {
    let mut tiny = TinyModel::new(6).blocks(2);
    (tiny.config.heads, tiny.config.kv_heads) = (3, 1);
    tiny.config.head_dim = 20;
    (tiny.config.hidden_size, tiny.config.intermediate_size) = (36, 50);
    tiny
}

#[test]
fn neither_machine_nor_threads_nor_cuts_change_a_bit() {
    for (name, tiny) in models() {
        let whole = whole(&tiny);
        let blocks = tiny.config.blocks;
        let tokens = tokens(140);
        let one_by_one: Vec<&[u32]> = tokens.chunks(1).collect();
        let expected = whole.run(&kernels(Isa::Portable, 1), &[0, blocks], &one_by_one);
        let cases = [
            (2, 128, vec![0, 1, blocks]),
            (1, 140, vec![0, blocks]),
            (2, 1, vec![0, blocks]),
            (3, 7, vec![0, 1, blocks]),
            (2, 32, (0..=blocks).collect()),
        ];
        for isa in Isa::available() {
            // The portable kernels are slow, and were the reference already.
            let count = if isa == Isa::Portable { 1 } else { cases.len() };
            for (threads, chunk, cuts) in &cases[..count] {
                let (threads, chunk) = (*threads, *chunk);
                let pieces: Vec<&[u32]> = tokens.chunks(chunk).collect();
                let found = whole.run(&kernels(isa, threads), cuts, &pieces);
                // Logits come piece by piece, as rows do: the order is that of the tokens.
                assert!(
                    found == expected,
                    "{name}: {isa}, {threads}, {chunk}, {cuts:?}"
                );
            }
        }
    }
}

#[test]
fn it_is_close_to_burn() {
    for (name, tiny) in models() {
        let whole = whole(&tiny);
        let tokens = tokens(60);
        let (rows, logits) = whole.reference(&tokens);
        let span = whole.all();
        let hidden = whole.ends.embed(&tokens).unwrap();
        let mut cache = span.new_cache(64).unwrap();
        let hidden = span.forward(&mut cache, hidden, 0).unwrap();
        let ends = ExactEnds::load(&whole.model, ExactOptions::default()).unwrap();
        let found = ends.all_logits(&hidden).unwrap();
        let apart = [(&hidden.data, &rows), (&found, &logits)].map(|(a, b)| distance(a, b));
        println!("{name}: rows {:.1e}, logits {:.1e}", apart[0], apart[1]);
        // Activations are rounded to 16 bits in front of quantised weights, and only there.
        let rounded = matches!(
            tiny.storage,
            TinyStorage::Q4_0
                | TinyStorage::Q4_1
                | TinyStorage::Q8_0
                | TinyStorage::Q4K
                | TinyStorage::Q6K
        );
        let most = if rounded { 3e-4 } else { 1e-5 };
        assert!(apart.iter().all(|d| *d < most), "{name}: {apart:?}");
        assert_eq!(rounded, apart[0] > 1e-5, "{name}: {apart:?}");
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied())).sqrt()
}

#[test]
fn weights_stay_as_they_are_stored() {
    let bytes = |storage| {
        let tiny = TinyModel::new(5).wide().stored(storage);
        let whole = whole(&tiny);
        (
            whole.all().weight_bytes(),
            whole.model.stored_block_bytes(0).unwrap() as usize,
        )
    };
    for storage in [TinyStorage::Q4_0, TinyStorage::Q4_1, TinyStorage::Q8_0] {
        let (loaded, stored_block) = bytes(storage);
        assert!(
            loaded <= 2 * stored_block * 11 / 10,
            "{storage:?}: {loaded}"
        );
    }
    let (loaded, stored_block) = bytes(TinyStorage::F32);
    assert_eq!(loaded, 2 * stored_block);
}

/// Sequences of several lengths, each alone.
fn alone(whole: &Whole, span: &ExactSpan, ids: &[u32], prompt: usize) -> (ExactCache, Vec<f32>) {
    let mut cache = span.new_cache(256).unwrap();
    let hidden = whole.ends.embed(&ids[..prompt]).unwrap();
    span.forward(&mut cache, hidden, 0).unwrap();
    let rest = whole.ends.embed(&ids[prompt..]).unwrap();
    (cache, rest.data)
}

#[test]
fn a_batch_gives_each_sequence_its_own_bits() {
    for tiny in [
        TinyModel::new(7),
        TinyModel::new(7).wide().stored(TinyStorage::Q4_1),
    ] {
        let whole = whole(&tiny);
        // Decodes of different lengths, a part of a prompt, and a prompt of more than one piece.
        let lengths = [(40, 1), (1, 1), (100, 30), (17, 1), (33, 200)];
        let span = {
            let options = ExactOptions {
                threads: 2,
                ..Default::default()
            };
            ExactSpan::load(&whole.model, 0..2, options).unwrap()
        };
        let sequences: Vec<Vec<u32>> = lengths
            .iter()
            .enumerate()
            .map(|(i, (prompt, more))| {
                tokens(prompt + more)
                    .iter()
                    .map(|t| (t * (i as u32 + 3)) % 266)
                    .collect()
            })
            .collect();
        let start = |i: usize| alone(&whole, &span, &sequences[i], lengths[i].0);
        let expected: Vec<Vec<u32>> = (0..lengths.len())
            .map(|i| {
                let (mut cache, rows) = start(i);
                let hidden = HiddenStates {
                    data: rows,
                    tokens: lengths[i].1,
                };
                bits(&span.forward(&mut cache, hidden, lengths[i].0).unwrap().data)
            })
            .collect();
        let mut workspace = span.new_workspace();
        for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
            let mut states: Vec<_> = order.iter().map(|i| start(*i)).collect();
            let mut batch: Vec<_> = states
                .iter_mut()
                .zip(order)
                .map(|((cache, rows), i)| Sequence::new(cache, lengths[i].0, rows))
                .collect();
            span.forward_batch(&mut workspace, &mut batch);
            for sequence in batch {
                sequence.result().unwrap();
            }
            for ((cache, rows), i) in states.iter().zip(order) {
                assert!(bits(rows) == expected[i], "sequence {i}");
                assert_eq!(cache.len(), lengths[i].0 + lengths[i].1);
            }
        }
    }
}

#[test]
fn a_bad_sequence_does_not_disturb_the_others() {
    let whole = whole(&TinyModel::new(8));
    let span = whole.all();
    let ids = tokens(30);
    let (mut good, mut rows) = alone(&whole, &span, &ids, 20);
    let (mut bad, mut bad_rows) = alone(&whole, &span, &ids, 20);
    let (mut gap, mut gap_rows) = alone(&whole, &span, &ids, 20);
    bad_rows[70] = f32::INFINITY;
    let mut batch = [
        Sequence::new(&mut bad, 20, &mut bad_rows),
        Sequence::new(&mut good, 20, &mut rows),
        Sequence::new(&mut gap, 21, &mut gap_rows),
    ];
    span.forward_batch(&mut span.new_workspace(), &mut batch);
    let [first, second, third] = batch.map(Sequence::result);
    assert!(matches!(first, Err(EngineError::NotFinite { token: 2 })));
    assert!(second.is_ok());
    assert!(matches!(
        third,
        Err(EngineError::PositionGap {
            position: 21,
            cached: 20
        })
    ));
    assert_eq!((bad.len(), good.len(), gap.len()), (20, 30, 20));
    let hidden = whole.ends.embed(&ids).unwrap();
    let mut cache = span.new_cache(64).unwrap();
    let expected = span.forward(&mut cache, hidden, 0).unwrap();
    assert_eq!(bits(&rows), bits(&expected.data[20 * 32..]));
}

#[test]
fn truncating_goes_back_to_any_position() {
    let whole = whole(&TinyModel::new(5));
    let span = whole.all();
    let tokens = tokens(50);
    let mut cache = span.new_cache(64).unwrap();
    let hidden = |range: Range<usize>| whole.ends.embed(&tokens[range]).unwrap();
    span.forward(&mut cache, hidden(0..20), 0).unwrap();
    let first = span.forward(&mut cache, hidden(20..21), 20).unwrap();
    span.forward(&mut cache, hidden(21..50), 21).unwrap();
    assert_eq!(cache.allocated_bytes(), 4 * span.page_bytes());
    cache.truncate(20);
    assert_eq!(cache.len(), 20);
    assert_eq!(cache.allocated_bytes(), 2 * span.page_bytes());
    assert_eq!(span.forward(&mut cache, hidden(20..21), 20).unwrap(), first);
    cache.truncate(100);
    assert_eq!(cache.len(), 21);
    cache.truncate(0);
    assert!(cache.is_empty() && cache.allocated_bytes() == 0);
    // Another sequence on the same pages computes as on fresh ones.
    assert_eq!(
        span.forward(&mut cache, hidden(0..20), 0).unwrap().tokens,
        20
    );
    assert_eq!(span.forward(&mut cache, hidden(20..21), 20).unwrap(), first);
    assert_eq!(span.allocated_cache_bytes(), 4 * span.page_bytes());
}

#[test]
fn memory_for_caches_is_bounded_and_promised() {
    let whole = whole(&TinyModel::new(6));
    let options = ExactOptions {
        max_pages: 5,
        ..Default::default()
    };
    let span = ExactSpan::load(&whole.model, 1..3, options).unwrap();
    // Two blocks, two vectors of two heads: keys of eight f32, values filled up to sixteen.
    assert_eq!(span.page_bytes(), PAGE_POSITIONS * 2 * 2 * (8 + 16) * 4);
    let first = span.new_cache(33).unwrap();
    assert_eq!((span.free_pages(), span.allocated_cache_bytes()), (2, 0));
    let error = span.new_cache(33).unwrap_err();
    assert!(
        matches!(error, EngineError::CacheMemory { wanted: 3, free: 2 }),
        "{error}"
    );
    assert!(!error.is_callers_fault());
    let mut second = span.new_cache(32).unwrap();
    drop(first);
    assert_eq!(span.free_pages(), 3);
    let hidden = whole.ends.embed(&tokens(32)).unwrap();
    span.forward(&mut second, hidden, 0).unwrap();
    assert_eq!(span.allocated_cache_bytes(), 2 * span.page_bytes());
    drop(second);
    assert_eq!(span.free_pages(), 5);
    // More than the model's context is never promised.
    let large = ExactOptions {
        max_pages: 100,
        ..Default::default()
    };
    let span = ExactSpan::load(&whole.model, 1..3, large).unwrap();
    assert_eq!(span.new_cache(usize::MAX).unwrap().capacity(), 256);
    assert_eq!(span.new_cache(0).unwrap().capacity(), 0);
}

#[test]
fn bad_input_is_refused_and_leaves_the_cache_alone() {
    let whole = whole(&TinyModel::new(7));
    let span = whole.all();
    let mut cache = span.new_cache(40).unwrap();
    let embed = |count| whole.ends.embed(&tokens(count)).unwrap();
    span.forward(&mut cache, embed(10), 0).unwrap();
    let rows = |data: Vec<f32>, tokens| HiddenStates { data, tokens };
    let mut not_finite = embed(3);
    not_finite.data[40] = f32::NAN;
    type Matches = fn(&EngineError) -> bool;
    let cases: [(HiddenStates, usize, Matches); 9] = [
        (embed(1), 9, |e| {
            matches!(
                e,
                EngineError::PositionGap {
                    position: 9,
                    cached: 10
                }
            )
        }),
        (embed(1), 11, |e| {
            matches!(e, EngineError::PositionGap { position: 11, .. })
        }),
        (embed(1), usize::MAX, |e| {
            matches!(e, EngineError::PositionGap { .. })
        }),
        (embed(31), 10, |e| {
            matches!(
                e,
                EngineError::CacheFull {
                    end: 41,
                    capacity: 40
                }
            )
        }),
        (embed(247), 10, |e| {
            matches!(
                e,
                EngineError::ContextExceeded {
                    end: 257,
                    context: 256
                }
            )
        }),
        (rows(vec![], 0), 10, |e| matches!(e, EngineError::NoTokens)),
        (rows(vec![0.0; 31], 1), 10, |e| {
            matches!(
                e,
                EngineError::WrongSize {
                    expected: 32,
                    found: 31,
                    ..
                }
            )
        }),
        (rows(vec![0.0; 32], usize::MAX), 10, |e| {
            matches!(e, EngineError::WrongSize { .. })
        }),
        (not_finite, 10, |e| {
            matches!(e, EngineError::NotFinite { token: 1 })
        }),
    ];
    for (hidden, position, matches) in cases {
        let error = span.forward(&mut cache, hidden, position).unwrap_err();
        assert!(matches(&error) && error.is_callers_fault(), "{error:?}");
        assert_eq!(
            (cache.len(), cache.allocated_bytes()),
            (10, span.page_bytes())
        );
    }
    let mut uneven = vec![0.0; 33];
    let mut batch = [Sequence::new(&mut cache, 10, &mut uneven)];
    span.forward_batch(&mut span.new_workspace(), &mut batch);
    let [sequence] = batch;
    assert!(matches!(
        sequence.result(),
        Err(EngineError::WrongSize { .. })
    ));

    // And goes on as if nothing had been.
    let mut undisturbed = span.new_cache(40).unwrap();
    span.forward(&mut undisturbed, embed(10), 0).unwrap();
    let expected = span.forward(&mut undisturbed, embed(1), 10).unwrap();
    assert_eq!(span.forward(&mut cache, embed(1), 10).unwrap(), expected);

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
    let span = ExactSpan::load(&model, 0..4, ExactOptions::default()).unwrap();
    let mut cache = span.new_cache(256).unwrap();
    // More than one piece: the first one fails, the rest is not computed.
    let hidden = HiddenStates {
        data: vec![0.5; 200 * 32],
        tokens: 200,
    };
    let error = span.forward(&mut cache, hidden, 0).unwrap_err();
    assert!(
        matches!(error, EngineError::Diverged { token: 0 }),
        "{error}"
    );
    assert!(cache.is_empty());
    assert_eq!(cache.allocated_bytes(), 0);
}

#[test]
fn what_is_not_there_is_refused() {
    let whole = whole(&TinyModel::new(8));
    for blocks in [0..5, 4..5, 2..2, usize::MAX..usize::MAX] {
        let error = ExactSpan::load(&whole.model, blocks, ExactOptions::default()).unwrap_err();
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
    let missing = [Isa::Avx512, Isa::Neon]
        .into_iter()
        .find(|isa| !isa.is_available());
    let isa = missing.expect("no machine has both");
    let options = ExactOptions {
        isa,
        ..Default::default()
    };
    let error = ExactSpan::load(&whole.model, 0..1, options).unwrap_err();
    assert!(matches!(error, EngineError::Isa(_)) && !error.is_callers_fault());
}

#[test]
fn the_ends_know_their_vocabulary() {
    let whole = whole(&TinyModel::new(9).untied());
    let ends = ExactEnds::load(&whole.model, ExactOptions::default()).unwrap();
    assert!(matches!(
        ends.embed(&[0, 266]),
        Err(EngineError::UnknownToken {
            id: 266,
            vocab_size: 266
        })
    ));
    assert!(matches!(ends.embed(&[]), Err(EngineError::NoTokens)));
    let hidden = ends.embed(&[1, 2, 3]).unwrap();
    assert_eq!(hidden, whole.ends.embed(&[1, 2, 3]).unwrap());
    let logits = ends.logits(&hidden).unwrap();
    let all = ends.all_logits(&hidden).unwrap();
    assert_eq!(bits(&all[2 * 266..]), bits(&logits));
    assert!(distance(&logits, &whole.ends.logits(&hidden).unwrap()) < 1e-6);
    let mut out = vec![0.0; 265];
    let error = ends.logits_into(&hidden.data[..32], &mut out).unwrap_err();
    assert!(matches!(
        error,
        EngineError::WrongSize {
            expected: 266,
            found: 265,
            ..
        }
    ));
    let error = ends
        .logits_into(&[f32::NAN; 32], &mut [0.0; 266])
        .unwrap_err();
    assert!(matches!(error, EngineError::NotFinite { token: 0 }));
}

/// Spans and ends are shared between threads; caches move between them.
#[test]
fn threads_can_share_a_span() {
    fn shared<T: Send + Sync + 'static>() {}
    fn moved<T: Send + 'static>() {}
    shared::<ExactSpan>();
    shared::<ExactEnds>();
    moved::<ExactCache>();
    moved::<Workspace>();

    let whole = whole(&TinyModel::new(10));
    let options = ExactOptions {
        threads: 2,
        ..Default::default()
    };
    let span = ExactSpan::load(&whole.model, 0..4, options).unwrap();
    let hidden = whole.ends.embed(&tokens(50)).unwrap();
    let mut cache = span.new_cache(50).unwrap();
    let expected = span.forward(&mut cache, hidden.clone(), 0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = span.new_cache(50).unwrap();
                let found = span.forward(&mut cache, hidden.clone(), 0).unwrap();
                assert_eq!(bits(&found.data), bits(&expected.data));
            });
        }
    });
}

mod op {
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Distribution, Tensor};

    use super::*;

    type Tracked = Autodiff<Flex>;

    fn layer(storage: TinyStorage, part: &str) -> (PackedLinear, Tensor<Flex, 2>) {
        let whole = whole(&TinyModel::new(11).wide().stored(storage));
        let layer = PackedLinear::load(&whole.model, 1, part, kernels(Isa::detect(), 2)).unwrap();
        let shape = if part == "mlp.down_proj" {
            [256, 512]
        } else {
            [256, 256]
        };
        let name = format!("model.layers.1.{part}.weight");
        let values = whole.model.tensor(&name, &shape).unwrap().load().unwrap();
        let data = burn::tensor::TensorData::new(values, shape);
        (layer, Tensor::from_data(data, &Default::default()))
    }

    fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
        tensor.into_data().into_vec().unwrap()
    }

    #[test]
    fn products_and_gradients_are_those_of_the_weights() {
        for storage in [TinyStorage::F32, TinyStorage::Q4_1, TinyStorage::Q6K] {
            for part in ["self_attn.q_proj", "mlp.down_proj"] {
                let (layer, dense) = layer(storage, part);
                let device = Default::default();
                let width = dense.dims()[1];
                let x = Tensor::<Flex, 2>::random([9, width], Distribution::Default, &device);
                let dy = Tensor::<Flex, 2>::random([9, 256], Distribution::Default, &device);
                let found = values(layer.forward(x.clone()).unwrap());
                let expected = values(x.clone().matmul(dense.clone().transpose()));
                let most = if storage == TinyStorage::F32 {
                    1e-6
                } else {
                    1e-2
                };
                assert!(distance(&found, &expected) < most, "{storage:?} {part}");

                let x = Tensor::<Tracked, 2>::from_inner(x).require_grad();
                let y = layer.forward_tracked(x.clone()).unwrap();
                assert_eq!(bits(&values(y.clone().inner())), bits(&found));
                let loss = (y * Tensor::from_inner(dy.clone())).sum();
                let gradient = values(x.grad(&loss.backward()).unwrap());
                let expected = values(dy.matmul(dense));
                assert!(distance(&gradient, &expected) < 1e-5, "{storage:?} {part}");
            }
        }
    }

    /// Gradient descent on a low-rank adapter in front of a frozen layer and beside it.
    #[test]
    fn an_adapter_learns_through_it() {
        let (layer, _) = layer(TinyStorage::Q4_0, "self_attn.q_proj");
        let device = Default::default();
        let random = |shape| Tensor::<Tracked, 2>::random(shape, Distribution::Default, &device);
        let (x, target) = (random([16, 256]) * 0.1, random([16, 256]));
        let (mut a, mut b) = (
            random([256, 4]) * 0.1,
            Tensor::<Tracked, 2>::zeros([4, 256], &device),
        );
        let mut losses = Vec::new();
        for _ in 0..30 {
            (a, b) = (a.require_grad(), b.require_grad());
            let before = x.clone() + x.clone().matmul(a.clone()).matmul(b.clone());
            let y = layer.forward_tracked(before).unwrap();
            let loss = (y - target.clone()).powf_scalar(2.0).mean();
            losses.push(values(loss.clone().inner())[0]);
            let gradients = loss.backward();
            let step = |weight: &Tensor<Tracked, 2>, rate: f32| {
                let gradient = weight.grad(&gradients).unwrap();
                Tensor::from_inner(weight.clone().inner() - gradient * rate)
            };
            (a, b) = (step(&a, 5.0), step(&b, 5.0));
        }
        assert!(losses[29] < 0.9 * losses[0], "{losses:?}");
    }

    #[test]
    fn what_is_no_layer_is_refused() {
        let whole = whole(&TinyModel::new(11));
        for part in ["input_layernorm", "mlp.side_proj"] {
            let kernels = kernels(Isa::Portable, 1);
            let error = PackedLinear::load(&whole.model, 0, part, kernels).unwrap_err();
            assert!(matches!(error, EngineError::Weights(_)), "{error}");
        }
        let kernels = kernels(Isa::Portable, 1);
        let layer = PackedLinear::load(&whole.model, 0, "mlp.up_proj", kernels).unwrap();
        let narrow = Tensor::<Flex, 2>::zeros([1, 31], &Default::default());
        let error = layer.forward(narrow).unwrap_err();
        assert!(matches!(
            error,
            EngineError::WrongSize {
                expected: 32,
                found: 31,
                ..
            }
        ));
    }
}
