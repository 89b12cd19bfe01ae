//! One receipt over 32 positions as wide as SmolLM2-135M: the leaves of both boundaries and the
//! signature, the signature alone, and what a client does to check it.

use bytes::Bytes;
use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use quipu_primitives::{DType, Span, RECEIPT_POSITIONS};
use quipu_protocol::SignedReceipt;
use quipu_worker_core::{
    keys::EphemeralKey,
    serve::{Commitments, Identity},
    verify,
};
use std::{hint::black_box, sync::Arc};

const HIDDEN: u32 = 576;
/// Bytes of a position's f32 activations.
const ROW: usize = 4 * HIDDEN as usize;

fn identity() -> Identity {
    Identity {
        genesis: [9; 32],
        subnet: 1,
        node: 3,
        span: Span { start: 10, end: 20 },
        peer: vec![1; 38],
        weights_root: [2; 32],
        profile: [3; 32],
        exact: true,
        dtype: DType::F32,
        hidden: HIDDEN,
        context: 8192,
        signer: Arc::new(EphemeralKey::from_seed(&[7; 32])),
    }
}

const SESSION_KEY: [u8; 32] = [4; 32];

/// The receipt for a step of 32 positions.
fn sign(me: &Identity, mut at: Commitments, input: &Bytes, output: &Bytes) -> SignedReceipt {
    let prepared = at.prepare(input.clone(), ROW).expect("whole rows");
    let mut signed = at.complete(me, prepared, output).expect("whole rows");
    let (receipt, _rows) = signed.pop().expect("the step completes a range");
    receipt
}

fn receipt(criterion: &mut Criterion) {
    let me = identity();
    let hotkey = me.signer.public();
    let bytes = RECEIPT_POSITIONS as usize * ROW;
    let input: Bytes = (0..bytes).map(|i| (i % 251) as u8).collect();
    let output: Bytes = (0..bytes).map(|i| (i % 241) as u8).collect();
    let new = || Commitments::new(&me, 5, SESSION_KEY, Vec::new());
    let signed = sign(&me, new(), &input, &output);
    let is_good = |SignedReceipt { receipt, signature }: &SignedReceipt| {
        verify(
            &hotkey,
            &receipt.payload(&me.genesis, &SESSION_KEY),
            signature,
        )
    };
    assert!(is_good(&signed));

    let mut group = criterion.benchmark_group("receipt");
    group.bench_function("signature", |bencher| {
        bencher.iter(|| {
            me.signer
                .sign(&black_box(&signed.receipt).payload(&me.genesis, &SESSION_KEY))
        })
    });
    group.bench_function("check", |bencher| {
        bencher.iter(|| is_good(black_box(&signed)))
    });
    group.throughput(Throughput::Bytes(2 * bytes as u64));
    group.bench_function("leaves and signature", |bencher| {
        bencher.iter_batched(
            new,
            |commitments| sign(&me, commitments, black_box(&input), black_box(&output)),
            BatchSize::SmallInput,
        )
    });
    group.finish();
}

criterion_group!(benches, receipt);
criterion_main!(benches);
