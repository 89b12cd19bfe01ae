//! Products: single matrices, all those of a SmolLM2-135M for one token, and a prompt's.
//!
//! Times are of kernels on one thread and on two, with the instruction set that `QUIPU_ISA` names or the
//! best. `unordered` is what reproducibility is measured against.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use quipu_kernels::{
    attend, AttentionPlan, AttentionScratch, AttentionShape, Format, Isa, Kernels, KvPage, Operand,
    PackedMatrix, QuantizedRows, PAGE_POSITIONS,
};

#[cfg(target_arch = "x86_64")]
#[path = "matrix/unordered.rs"]
mod unordered;

/// A block's matrices, as rows and columns: q, k and v in one; out; gate and up in one; down.
const BLOCK: [(usize, usize); 4] = [(960, 576), (576, 576), (3072, 576), (576, 1536)];
const BLOCKS: usize = 30;
const HEAD: (usize, usize) = (49152, 576);

/// A matrix as a file holds it, with small scales.
fn stored(format: Format, (rows, columns): (usize, usize)) -> Vec<u8> {
    let bytes = rows * columns / format.block_values() * format.block_bytes();
    // In floating-point types: no subnormal numbers, which no model has and which take long.
    let number = |i: usize| (i as f32 * 0.73).sin();
    match format {
        Format::F32 => (0..bytes / 4)
            .flat_map(|i| number(i).to_le_bytes())
            .collect(),
        Format::Bf16 => (0..bytes / 2)
            .flat_map(|i| ((number(i).to_bits() >> 16) as u16).to_le_bytes())
            .collect(),
        // Between 2⁻⁶ and 1.
        Format::F16 => (0..bytes / 2)
            .flat_map(|i| (0x2400 + (i * 7919 % 0x1800) as u16).to_le_bytes())
            .collect(),
        // Without the high bits, scales are small numbers.
        _ => (0..bytes)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8 & 0x3b)
            .collect(),
    }
}

fn matrix(format: Format, shape: (usize, usize)) -> PackedMatrix {
    let (rows, columns) = shape;
    PackedMatrix::pack(format, rows, columns, &stored(format, shape)).expect("the right length")
}

fn activations(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn kernels(threads: usize) -> Kernels {
    let asked = std::env::var(Isa::VARIABLE).ok();
    let isa = Isa::choose(asked.as_deref()).expect("an instruction set of this machine");
    Kernels::new(isa, threads).expect("available")
}

/// Room for one product after another.
#[derive(Default)]
struct Workspace {
    quantized: QuantizedRows,
    out: Vec<f32>,
}

impl Workspace {
    /// Quantises the activations if the weights are, and multiplies.
    fn multiply(&mut self, kernels: &Kernels, w: &PackedMatrix, x: &[f32]) {
        let x = &x[..x.len() / 1536 * w.columns()];
        let tokens = x.len() / w.columns();
        self.out.resize(tokens * w.rows(), 0.0);
        let operand = if w.format().is_quantized() {
            let quantized = kernels.quantize(x, w.columns(), &mut self.quantized);
            quantized.expect("whole blocks");
            Operand::Quantized(&self.quantized)
        } else {
            Operand::F32(x)
        };
        let product = kernels.matmul(w, operand, &mut self.out);
        product.expect("shapes fit");
        black_box(&self.out);
    }
}

/// One matrix-vector product of each format, weights in a cache.
fn vector(criterion: &mut Criterion) {
    let x = activations(1536);
    let kernels = kernels(1);
    let mut workspace = Workspace::default();
    for format in Format::ALL {
        let mut group = criterion.benchmark_group(format!("vector/{format:?}"));
        for shape in [(576, 576), (1536, 576), (576, 1536), HEAD] {
            if shape.1 % format.block_values() != 0 {
                continue;
            }
            let w = matrix(format, shape);
            group.throughput(Throughput::Bytes(w.bytes() as u64));
            group.bench_function(format!("{}x{}", shape.0, shape.1), |bencher| {
                bencher.iter(|| workspace.multiply(&kernels, &w, &x));
            });
        }
    }
}

/// All products of a token.
fn token(criterion: &mut Criterion) {
    let x = activations(1536);
    let mut workspace = Workspace::default();
    for format in [
        Format::F32,
        Format::F16,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q8_0,
    ] {
        let of_head = match format.is_quantized() {
            true => Format::Q8_0,
            false => format,
        };
        let shapes = (0..BLOCKS).flat_map(|_| BLOCK);
        let mut all: Vec<_> = shapes.map(|shape| matrix(format, shape)).collect();
        all.push(matrix(of_head, HEAD));
        let bytes: usize = all.iter().map(PackedMatrix::bytes).sum();
        let mut group = criterion.benchmark_group(format!("token/{format:?}"));
        group.sample_size(30);
        group.throughput(Throughput::Bytes(bytes as u64));
        for threads in [1, 2] {
            let kernels = kernels(threads);
            group.bench_function(format!("{threads} threads"), |bencher| {
                bencher.iter(|| {
                    for w in &all {
                        workspace.multiply(&kernels, w, &x);
                    }
                });
            });
        }
    }
}

/// A block's products for a prompt.
fn prompt(criterion: &mut Criterion) {
    let mut workspace = Workspace::default();
    for format in [Format::F32, Format::Q4_0, Format::Q4_1, Format::Q8_0] {
        let block = BLOCK.map(|shape| matrix(format, shape));
        let weights: usize = block.iter().map(|w| w.rows() * w.columns()).sum();
        let mut group = criterion.benchmark_group(format!("prompt/{format:?}"));
        group.sample_size(30);
        for tokens in [1, 2, 4, 8, 16, 64, 128] {
            let x = activations(tokens * 1536);
            // Products of two numbers.
            group.throughput(Throughput::Elements((tokens * weights) as u64));
            for threads in [1, 2] {
                let kernels = kernels(threads);
                group.bench_function(format!("{tokens} tokens, {threads} threads"), |bencher| {
                    bencher.iter(|| {
                        for w in &block {
                            workspace.multiply(&kernels, w, &x);
                        }
                    });
                });
            }
        }
    }
}

/// What the order of sums costs: the same product with as many partial sums for each row as help. All
/// weights are in a cache, where it would cost most.
#[cfg(target_arch = "x86_64")]
fn order(criterion: &mut Criterion) {
    let kernels = kernels(1);
    if kernels.isa() != Isa::Avx512 {
        return;
    }
    for (rows, columns) in [(576, 576), (3072, 576), (576, 1536)] {
        let mut group = criterion.benchmark_group(format!("order/{rows}x{columns}"));
        let x = activations(columns);
        let stored = stored(Format::Q4_1, (rows, columns));
        let w = PackedMatrix::pack(Format::Q4_1, rows, columns, &stored);
        let w = w.expect("the right length");
        let mut quantized = QuantizedRows::new();
        let result = kernels.quantize(&x, columns, &mut quantized);
        result.expect("whole blocks");
        let mut out = vec![0.0; rows];
        group.bench_function("in order", |bencher| {
            bencher.iter(|| kernels.matmul(&w, &quantized, black_box(&mut out)));
        });
        let mut other = unordered::Q4_1::new(rows, columns, &stored, &x);
        macro_rules! partial_sums {
            ($($sums:literal)*) => {$(
                group.bench_function(concat!("partial sums: ", $sums), |bencher| {
                    bencher.iter(|| other.multiply::<$sums>()[0]);
                });
            )*};
        }
        partial_sums!(1 2 4);
    }
}

/// The same of attention: one token of SmolLM2's three heads that share keys.
#[cfg(target_arch = "x86_64")]
fn order_of_attention(criterion: &mut Criterion) {
    use unordered::{Head, GROUP, WIDTH};

    let kernels = kernels(1);
    if kernels.isa() != Isa::Avx512 {
        return;
    }
    let shape = AttentionShape {
        heads: GROUP,
        kv_heads: 1,
        head_dim: WIDTH,
    };
    for positions in [64, 256, 1024] {
        let mut group = criterion.benchmark_group(format!("order/attention/{positions}"));
        let numbers = activations((2 * positions + GROUP) * WIDTH);
        let (keys, rest) = numbers.split_at(positions * WIDTH);
        let (values, queries) = rest.split_at(positions * WIDTH);
        let mut pages = Vec::new();
        for page in 0..positions / PAGE_POSITIONS {
            let mut to = KvPage::new(shape, 1);
            for slot in 0..PAGE_POSITIONS {
                let at = (page * PAGE_POSITIONS + slot) * WIDTH;
                to.write(0, slot, &keys[at..][..WIDTH], &values[at..][..WIDTH]);
            }
            pages.push(to);
        }
        let mut plan = AttentionPlan::new();
        plan.push(&shape, 0, positions - 1, 1);
        let scratch = AttentionScratch::new(&kernels);
        let mut out = [0.0; GROUP * WIDTH];
        group.bench_function("in order", |bencher| {
            bencher.iter(|| {
                let (of, out) = (|_| &pages[..], black_box(&mut out[..]));
                attend(
                    &kernels,
                    &shape,
                    &plan,
                    0,
                    of,
                    queries,
                    queries.len(),
                    &scratch,
                    out,
                );
            });
        });
        let of_page = |keys: &[f32]| {
            std::array::from_fn(|i| std::array::from_fn(|slot| keys[slot * WIDTH + i]))
        };
        let keys = keys.chunks_exact(PAGE_POSITIONS * WIDTH).map(of_page);
        let values = values.as_chunks().0.to_vec();
        let mut head = Head::new(keys.collect(), values);
        let queries = queries.as_array().expect("as many");
        let mut found = [0.0; GROUP * WIDTH];
        head.attend::<4>(&kernels, queries, &mut found);
        assert!(found.iter().zip(out).all(|(a, b)| (a - b).abs() < 1e-4));
        macro_rules! partial_sums {
            ($($sums:literal)*) => {$(
                group.bench_function(concat!("partial sums: ", $sums), |bencher| {
                    bencher.iter(|| head.attend::<$sums>(&kernels, queries, black_box(&mut found)));
                });
            )*};
        }
        partial_sums!(1 2 4);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn order(_: &mut Criterion) {}
#[cfg(not(target_arch = "x86_64"))]
fn order_of_attention(_: &mut Criterion) {}

criterion_group!(benches, vector, token, prompt, order, order_of_attention);
criterion_main!(benches);
