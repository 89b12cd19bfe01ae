//! Steps: order, repetition, shape, and what happens when the span fails.

use super::bench::*;
use crate::ports::ComputeError;
use quipu_primitives::DType;
use quipu_protocol::{
    limits::MAX_STEP_TOKENS, Activations, ActivationsHeader, RefusalCode, Request, Response, Step,
};

#[test]
fn a_repeated_step_is_answered_from_memory() {
    let mut bench = Bench::first();
    let input = rows(0, 33);
    let step = Step {
        step: 0,
        position: 0,
        drafted: 0,
        activations: input.header,
    };
    let first = bench.step_as(step, input.clone());
    let kept = bench.journal.len();
    // The span would give other bits now, and it is not asked.
    bench.wobble = 0.5;
    let again = bench.step_as(step, input);
    assert_eq!(first.replies, again.replies);
    assert_eq!(first.receipts().len(), 1);
    assert_eq!(bench.cache, Some(33));
    assert_eq!(bench.journal.len(), kept);
}

#[test]
fn a_repeated_step_with_other_numbers_is_refused() {
    let mut bench = Bench::first();
    let step = Step {
        step: 0,
        position: 0,
        drafted: 0,
        activations: rows(0, 3).header,
    };
    bench.step_as(step, rows(0, 3));
    assert_eq!(
        bench.step_as(step, rows(1, 4)).refusal(),
        RefusalCode::Position
    );
    assert_eq!(bench.cache, Some(3));
}

#[test]
fn gaps_overlaps_and_old_steps_are_refused() {
    let mut bench = Bench::first();
    bench.step(0, 10);
    bench.step(10, 20);
    assert_eq!(bench.step(21, 22).refusal(), RefusalCode::Position);
    assert_eq!(bench.step(19, 20).refusal(), RefusalCode::Position);
    bench.next_step = 1;
    assert_eq!(bench.step(20, 21).refusal(), RefusalCode::Position);
    bench.next_step = 2;
    assert_eq!(bench.step(20, 21).output().header.tokens, 1);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut bench = Bench::first();
    bench.pay(512);
    let wide = Activations::from_f32(&[0.0; 6], 3).unwrap();
    assert_eq!(bench.step_with(0, wide).refusal(), RefusalCode::Activations);
    let none = Activations::from_f32(&[], HIDDEN).unwrap();
    assert_eq!(bench.step_with(0, none).refusal(), RefusalCode::Activations);
    let long = rows(0, MAX_STEP_TOKENS + 1);
    assert_eq!(bench.step_with(0, long).refusal(), RefusalCode::Activations);
    let header = ActivationsHeader {
        dtype: DType::F16,
        tokens: 1,
        hidden: HIDDEN,
    };
    let half = Activations::new(header, vec![0; 4].into()).unwrap();
    assert_eq!(bench.step_with(0, half).refusal(), RefusalCode::DType);
    let step = Step {
        step: 9,
        position: 0,
        drafted: 0,
        activations: rows(0, 2).header,
    };
    assert_eq!(
        bench.step_as(step, rows(0, 1)).refusal(),
        RefusalCode::Activations
    );
    let effects = bench
        .serving
        .on_request(Request::Step(step), None, bench.now);
    assert!(format!("{effects:?}").contains("Unexpected"));
    let now = bench.now;
    let effects = bench
        .serving
        .on_request(Request::Finish { positions: 0 }, Some(rows(0, 1)), now);
    assert!(format!("{effects:?}").contains("Unexpected"));
    assert_eq!(bench.cache, Some(0));
}

#[test]
fn a_step_beyond_the_reservation_is_refused() {
    let mut bench = Bench::first();
    bench.pay(CONTEXT);
    bench.step(0, 510);
    assert_eq!(bench.step(510, 513).refusal(), RefusalCode::Context);
    assert_eq!(bench.step(510, 512).output().header.tokens, 2);
}

#[test]
fn a_failed_computation_changes_nothing() {
    let mut bench = Bench::first();
    bench.step(0, 10);
    for (error, code) in [
        (ComputeError::Input("nan".into()), RefusalCode::Activations),
        (
            ComputeError::Backend("out of memory".into()),
            RefusalCode::Internal,
        ),
        (
            ComputeError::Context {
                position: 9,
                limit: 8,
            },
            RefusalCode::Internal,
        ),
    ] {
        bench.fail = Some(error);
        assert_eq!(bench.step(10, 50).refusal(), code);
        assert_eq!(bench.serving.position(), 10);
        assert!(bench.serving.commitments_for_tests().signed().is_empty());
    }
    assert_eq!(bench.step(10, 50).receipts().len(), 1);
}

#[test]
fn a_cache_that_was_dropped_is_asked_for_again() {
    let mut bench = Bench::first();
    bench.step(0, 10);
    bench.fail = Some(ComputeError::Unknown);
    assert_eq!(bench.step(10, 11).refusal(), RefusalCode::Internal);
    bench.cache = None;
    assert_eq!(bench.open(0).opened_at(), 0);
    assert_eq!(bench.step(0, 11).output().header.tokens, 11);
}

#[test]
fn without_its_cache_a_session_is_sent_to_open_again() {
    let mut bench = Bench::first();
    bench.step(0, 10);
    bench.evict();
    let answer = bench.step(10, 11);
    assert!(answer.closed);
    assert!(matches!(
        &answer.replies[..],
        [(Response::Refused(refusal), None)] if refusal.code == RefusalCode::Position
    ));
    assert_eq!(bench.open(0).opened_at(), 0);
}
