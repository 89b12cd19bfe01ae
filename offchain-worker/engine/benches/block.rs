//! One block of a real model's shape, on Burn in f32 and on the reproducible kernels: a decoded token
//! behind 128 others, and a prefill of 32 and of 128.

use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use quipu_engine::exact::{ExactOptions, ExactSpan};
use quipu_engine::testing::{TinyModel, TinyStorage};
use quipu_engine::{CpuSpan, HiddenStates, Model};

/// A single block with the widths of SmolLM2-135M and a small vocabulary.
fn one_block(storage: TinyStorage) -> Model {
    let mut tiny = TinyModel::new(1).blocks(1).stored(storage);
    let config = &mut tiny.config;
    (config.hidden_size, config.intermediate_size) = (576, 1536);
    (config.heads, config.kv_heads, config.head_dim) = (9, 3, 64);
    config.context_length = 8192;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = tiny.write(dir.path()).expect("room for 15 MiB");
    // The open file outlives its folder.
    Model::open(&path).expect("what was just written")
}

fn hidden(tokens: usize) -> HiddenStates {
    let data = (0..tokens * 576)
        .map(|i| ((i * 7919) % 1013) as f32 / 506.0 - 1.0)
        .collect();
    HiddenStates { data, tokens }
}

/// Times `forward(hidden states, position)`, which goes back to the position first.
fn cases(
    criterion: &mut Criterion,
    name: &str,
    mut forward: impl FnMut(HiddenStates, usize) -> HiddenStates,
) {
    let mut group = criterion.benchmark_group(name);
    forward(hidden(128), 0);
    for (case, tokens, position) in [
        ("decode", 1, 128),
        ("prefill of 32", 32, 0),
        ("prefill of 128", 128, 0),
    ] {
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(case, |bencher| {
            if position > 0 {
                forward(hidden(position), 0);
            }
            bencher.iter_batched(
                || hidden(tokens),
                |hidden| forward(hidden, position),
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

fn block(criterion: &mut Criterion) {
    let model = one_block(TinyStorage::F32);
    let span = CpuSpan::load(&model, 0..1, &Default::default()).expect("what was just written");
    let mut cache = span.new_cache(256);
    cases(criterion, "block, burn f32", |hidden, position| {
        cache.truncate(position);
        span.forward(&mut cache, hidden, position)
            .expect("valid input")
    });
    for storage in [TinyStorage::F32, TinyStorage::Q4_0, TinyStorage::Q4_1] {
        let model = one_block(storage);
        for threads in [1, 2] {
            let options = ExactOptions {
                threads,
                ..Default::default()
            };
            let span = ExactSpan::load(&model, 0..1, options).expect("what was just written");
            let mut cache = span.new_cache(256).expect("pages enough");
            let name = format!("block, exact {storage:?}, {threads} threads");
            cases(criterion, &name, |hidden, position| {
                cache.truncate(position);
                span.forward(&mut cache, hidden, position)
                    .expect("valid input")
            });
        }
    }
}

criterion_group!(benches, block);
criterion_main!(benches);
