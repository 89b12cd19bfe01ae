//! Every cheat changes what comes out, on the very first row that it touches, and nothing else about the span.

use super::*;
use quipu_attest::check::exact;
use quipu_primitives::DType;
use quipu_protocol::Activations;
use quipu_testkit::TinyFiles;
use quipu_worker::audit::replay;
use quipu_worker_core::ports::BatchStep;

const HIDDEN: u32 = 32;
const SPAN: Span = Span { start: 0, end: 3 };

fn rows(count: u32) -> Vec<u8> {
    let values: Vec<f32> = (0..count * HIDDEN)
        .map(|i| ((i * 7 % 29) as f32 - 14.0) / 10.0)
        .collect();
    Activations::from_f32(&values, HIDDEN)
        .unwrap()
        .bytes
        .to_vec()
}

fn blocks(model: &Model, kernel: Kernel) -> Blocks<'_> {
    Blocks {
        model,
        kernel,
        span: SPAN,
        threads: 1,
        positions: 64,
    }
}

#[test]
fn the_replay_of_an_honest_server_differs_from_what_each_cheat_gives() {
    let files = TinyFiles::new(3);
    let model = files.open();
    for kernel in [Kernel::ReproducibleV1, Kernel::FlexF32] {
        let blocks = blocks(&model, kernel);
        let given = rows(24);
        let run = |mut compute: Box<dyn Compute>| replay(compute.as_mut(), &given, DType::F32);
        let honest = run(blocks.load().unwrap()).unwrap();
        assert_eq!(run(blocks.load().unwrap()).unwrap(), honest);
        for cheat in Cheat::all(1e-3) {
            let compute = cheat.load(&blocks).unwrap();
            assert_eq!(compute.span(), SPAN, "{cheat}");
            let gives = run(compute).unwrap();
            let first = match cheat {
                Cheat::SomePositions => 10,
                _ => 0,
            };
            let found = exact(&gives, &honest, HIDDEN as usize * 4);
            assert_eq!(found, Some(first), "{cheat} on {kernel:?}");
        }
    }
}

#[test]
fn a_cheat_gives_the_same_however_its_steps_are_cut_and_survives_a_step_that_fails() {
    let files = TinyFiles::new(3);
    let model = files.open();
    let blocks = blocks(&model, Kernel::ReproducibleV1);
    let given = rows(20);
    let all = Activations::from_f32(
        &given
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect::<Vec<_>>(),
        HIDDEN,
    )
    .unwrap();
    for cheat in [Cheat::SkipLayer, Cheat::Noise(0.1), Cheat::SomePositions] {
        let mut whole = cheat.load(&blocks).unwrap();
        whole.open(1, 20).unwrap();
        let expected = whole.forward(1, 0, &all).unwrap();
        let mut cut = cheat.load(&blocks).unwrap();
        cut.open(7, 20).unwrap();
        let step = |start, end| BatchStep {
            id: 7,
            position: start,
            input: all.rows(start, end).unwrap(),
        };
        let batching = cut.batching().unwrap();
        let first = batching.forward_many(&[step(0, 12)]).remove(0).unwrap();
        assert_eq!(first, expected.rows(0, 12).unwrap(), "{cheat}");
        // A gap; then a guess that is taken back.
        assert!(batching.forward_many(&[step(13, 15)]).remove(0).is_err());
        batching.forward_many(&[step(12, 15)]).remove(0).unwrap();
        batching.truncate(7, 12);
        let rest = batching.forward_many(&[step(12, 20)]).remove(0).unwrap();
        assert_eq!(rest, expected.rows(12, 20).unwrap(), "{cheat}");
        cut.close(7);
        assert_eq!(cut.free_positions(), 64);
    }
}

#[test]
fn noise_is_as_large_as_it_was_asked_to_be() {
    let given = vec![1.0f32; 64];
    let honest: Vec<f32> = (0..64).map(|i| 1.0 + i as f32 / 10.0).collect();
    let mut gives = honest.clone();
    add_noise(5, &given, &mut gives, 0.01);
    let norm = |a: &[f32], b: &[f32]| {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let share = norm(&gives, &honest) / norm(&honest, &given);
    assert!((share - 0.01).abs() < 1e-4, "{share}");
}

#[test]
fn blocks_in_a_row_are_the_span_until_they_are_rounded_between() {
    let files = TinyFiles::new(3);
    let model = files.open();
    let blocks = blocks(&model, Kernel::ReproducibleV1);
    let given = rows(8);
    let run = |mut compute: Box<dyn Compute>| replay(compute.as_mut(), &given, DType::F32).unwrap();
    let honest = run(blocks.load().unwrap());
    let row = || InRow::new(blocks.each().unwrap(), SPAN).unwrap();
    assert_eq!(run(Box::new(row())), honest);
    assert_ne!(run(Box::new(row().in_bf16())), honest);
    assert!(InRow::new(Vec::new(), SPAN).is_none());
}

#[test]
fn cheats_have_names() {
    for cheat in Cheat::all(0.25) {
        assert_eq!(cheat.to_string().parse(), Ok(cheat));
    }
    for bad in ["", "honest", "noise:", "noise:-1", "noise:inf", "int3"] {
        assert!(bad.parse::<Cheat>().is_err(), "{bad}");
    }
}
