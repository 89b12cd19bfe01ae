//! A frame of activations as wide as SmolLM2-135M, for a decoded token and for a prefill of 128: from
//! numbers to the bytes on the wire, and back to checked numbers.

use bytes::{Bytes, BytesMut};
use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use quipu_protocol::{
    frame::{lengths, PREFIX},
    Activations, Frame, FrameError, Request, Step,
};
use std::hint::black_box;

const HIDDEN: u32 = 576;

/// The bytes of a step with these activations.
fn encode(values: &[f32]) -> BytesMut {
    let activations = Activations::from_f32(values, HIDDEN).expect("whole rows");
    let step = Request::Step(Step {
        step: 1,
        position: 128,
        drafted: 0,
        activations: activations.header,
    });
    let frame = Frame::new(&step, activations.bytes);
    let mut bytes = BytesMut::with_capacity(PREFIX + frame.header.len() + frame.payload.len());
    bytes.extend_from_slice(&frame.prefix());
    bytes.extend_from_slice(&frame.header);
    bytes.extend_from_slice(&frame.payload);
    bytes
}

/// The numbers of a step, as a server takes them.
fn decode(mut bytes: Bytes) -> Result<Vec<f32>, FrameError> {
    let prefix = bytes.split_to(PREFIX);
    let (header, payload) = lengths(prefix.as_ref().try_into().expect("eight bytes"))?;
    let frame = Frame {
        header: bytes.split_to(header),
        payload: bytes.split_to(payload),
    };
    let (_, activations) = frame.into_request()?;
    Ok(activations.expect("a step has them").to_f32()?)
}

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for rows in [1, 128] {
        let values: Vec<f32> = (0..rows * HIDDEN).map(|i| (i % 31) as f32 - 15.0).collect();
        let wire = encode(&values).freeze();
        assert_eq!(decode(wire.clone()), Ok(values.clone()));
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::new("encode", rows), |bencher| {
            bencher.iter(|| encode(black_box(&values)))
        });
        group.bench_function(BenchmarkId::new("decode", rows), |bencher| {
            bencher.iter(|| decode(black_box(wire.clone())))
        });
    }
    group.finish();
}

criterion_group!(benches, frame);
criterion_main!(benches);
