//! One block of a real model's shape: a decoded token behind 128 others, and a prefill of 32.

use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use quipu_engine::testing::TinyModel;
use quipu_engine::{CpuSpan, HiddenStates, Model};

/// A single block with the widths of SmolLM2-135M and a small vocabulary.
fn one_block() -> CpuSpan {
    let mut tiny = TinyModel::new(1).blocks(1);
    let config = &mut tiny.config;
    (config.hidden_size, config.intermediate_size) = (576, 1536);
    (config.heads, config.kv_heads, config.head_dim) = (9, 3, 64);
    config.context_length = 8192;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = tiny.write(dir.path()).expect("room for 15 MiB");
    let model = Model::open(&path).expect("what was just written");
    CpuSpan::load(&model, 0..1, &Default::default()).expect("what was just written")
}

fn hidden(tokens: usize) -> HiddenStates {
    let data = (0..tokens * 576)
        .map(|i| ((i * 7919) % 1013) as f32 / 506.0 - 1.0)
        .collect();
    HiddenStates { data, tokens }
}

fn block(criterion: &mut Criterion) {
    let span = one_block();
    let mut group = criterion.benchmark_group("block");
    let mut cache = span.new_cache(256);
    span.forward(&mut cache, hidden(128), 0)
        .expect("valid input");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(
            || hidden(1),
            |hidden| {
                cache.truncate(128);
                span.forward(&mut cache, hidden, 128).expect("valid input")
            },
            BatchSize::SmallInput,
        )
    });
    let mut cache = span.new_cache(256);
    group.throughput(Throughput::Elements(32));
    group.bench_function("prefill of 32", |bencher| {
        bencher.iter_batched(
            || hidden(32),
            |hidden| {
                cache.truncate(0);
                span.forward(&mut cache, hidden, 0).expect("valid input")
            },
            BatchSize::SmallInput,
        )
    });
    group.finish();
}

criterion_group!(benches, block);
criterion_main!(benches);
