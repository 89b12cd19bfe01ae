//! What is signed, and that nothing is ever signed twice.

use super::bench::*;
use crate::{
    keys::verify,
    serve::{Record, ValidOpen},
};
use quipu_attest::Boundary;
use quipu_primitives::{DType, Leaf};
use quipu_protocol::{Activations, RefusalCode, Response, SignedReceipt};

/// The leaves that bytes at a boundary come to.
fn leaves(boundary: u16, bytes: &[u8]) -> Vec<Leaf> {
    let commit = Boundary::new(SESSION, boundary, HIDDEN, DType::F32).unwrap();
    let ranges = commit.all(bytes).unwrap();
    ranges.into_iter().map(|range| range.leaf).collect()
}

fn finish(bench: &mut Bench) -> (Vec<SignedReceipt>, quipu_primitives::receipt::ReceiptHead) {
    let answer = bench.finish();
    let Some((Response::Finished { head }, None)) = answer.replies.last() else {
        panic!("not finished: {answer:?}")
    };
    (answer.receipts(), *head)
}

#[test]
fn receipts_cover_every_position_once_and_chain() {
    let mut bench = Bench::first();
    let mut receipts = Vec::new();
    let mut outputs = Vec::new();
    for (start, end) in [(0, 5), (5, 33), (33, 34), (34, 70)] {
        let answer = bench.step(start, end);
        outputs.extend_from_slice(&answer.output().bytes);
        receipts.extend(answer.receipts());
    }
    let (last, head) = finish(&mut bench);
    receipts.extend(last);
    let ranges: Vec<_> = receipts
        .iter()
        .map(|one| (one.receipt.start, one.receipt.end))
        .collect();
    assert_eq!(ranges, [(0, 32), (32, 64), (64, 70)]);
    let (input, output) = (leaves(0, &rows(0, 70).bytes), leaves(10, &outputs));
    let mut previous = [0; 32];
    for (index, SignedReceipt { receipt, signature }) in receipts.iter().enumerate() {
        assert_eq!(
            (receipt.input, receipt.output),
            (input[index], output[index])
        );
        assert_eq!(receipt.previous, previous);
        assert!(verify(
            &bench.me.signer.public(),
            &bench.payload(receipt),
            signature
        ));
        previous = receipt.digest();
    }
    assert_eq!((head.positions, head.head), (70, previous));
    // Each was kept before it was sent.
    let kept: Vec<_> = receipts.into_iter().map(Record::Receipt).collect();
    assert_eq!(bench.journal[1..], kept);
    assert!(matches!(
        bench.journal[0],
        Record::Opened { deadline: 100, .. }
    ));
}

#[test]
fn a_long_prompt_gives_a_receipt_for_each_of_its_ranges() {
    let mut bench = Bench::first();
    bench.pay(200);
    let answer = bench.step(0, 200);
    assert_eq!(answer.receipts().len(), 6);
    assert!(matches!(answer.replies[0], (Response::Output(_), Some(_))));
}

#[test]
fn a_session_is_finished_once_and_says_so_again() {
    let mut bench = Bench::first();
    bench.step(0, 40);
    let first = bench.finish();
    assert!(first.released);
    assert_eq!(bench.finish().replies, first.replies);
    assert_eq!(bench.step(40, 41).refusal(), RefusalCode::Position);
    // On a new stream as well, but not in a new epoch: its positions were signed for good.
    assert_eq!(bench.open(0).opened_at(), 40);
    assert_eq!(bench.finish().replies, first.replies);
    assert_eq!(bench.open(1).refusal(), RefusalCode::Session);
    bench.crash();
    bench.open(0);
    assert_eq!(bench.finish().replies, first.replies);
}

#[test]
fn a_session_without_a_step_ends_in_an_empty_head() {
    let mut bench = Bench::first();
    let (receipts, head) = finish(&mut bench);
    assert!(receipts.is_empty());
    assert_eq!((head.node, head.positions, head.head), (ME, 0, [0; 32]));
}

#[test]
fn a_replay_within_an_epoch_keeps_to_what_was_handed_out_first() {
    // An undisturbed run, for comparison.
    let mut calm = Bench::first();
    calm.step(0, 40);
    calm.step(40, 70);
    let expected = finish(&mut calm);

    let mut bench = Bench::first();
    bench.step(0, 40);
    bench.evict();
    bench.open(0);
    // Replayed positions come out a little different, and are not committed to.
    bench.wobble = 0.25;
    bench.step(0, 20);
    bench.evict();
    bench.open(0);
    assert!(bench.step(0, 39).receipts().is_empty());
    let (input, cut) = (rows(39, 70), 1);
    // The last replayed position and new ones in one step.
    let step = bench.step_with(39, input.rows(0, cut).unwrap());
    assert!(step.receipts().is_empty());
    bench.wobble = 0.0;
    let receipt = bench.step(40, 70).receipts().remove(0);
    let same = calm.serving.commitments_for_tests().signed()[1].clone();
    assert_eq!(receipt.receipt, same.receipt);
    assert_eq!(finish(&mut bench).1, expected.1);
}

#[test]
fn a_step_may_straddle_the_point_where_the_cache_was_lost() {
    let mut calm = Bench::first();
    calm.step(0, 70);
    let mut bench = Bench::first();
    bench.step(0, 40);
    bench.evict();
    bench.open(0);
    bench.step(0, 70);
    let signed = |bench: &Bench| -> Vec<_> {
        let signed = bench.serving.commitments_for_tests().signed().to_vec();
        signed.into_iter().map(|one| one.receipt).collect()
    };
    assert_eq!(signed(&bench), signed(&calm));
}

#[test]
fn other_inputs_for_signed_positions_are_refused_in_every_epoch() {
    let mut bench = Bench::first();
    bench.step(0, 40);
    for epoch in [0, 1] {
        bench.evict();
        bench.open(epoch);
        let answer = bench.step_with(0, rows(1, 33));
        assert_eq!(answer.refusal(), RefusalCode::Position);
        // It is noticed where the range ends; what is appended until then is signed by nobody.
        bench.step_with(0, rows(1, 32));
        assert_eq!(
            bench.step_with(31, rows(32, 33)).refusal(),
            RefusalCode::Position
        );
    }
    bench.crash();
    bench.open(2);
    assert_eq!(
        bench.step_with(0, rows(1, 33)).refusal(),
        RefusalCode::Position
    );
    assert_eq!(bench.step(0, 64).receipts().len(), 1);
}

#[test]
fn the_open_range_may_change_in_a_higher_epoch_only() {
    let mut bench = Bench::first();
    bench.step(0, 40);
    bench.evict();
    bench.open(0);
    bench.step(0, 32);
    assert_eq!(
        bench.step_with(32, rows(33, 41)).refusal(),
        RefusalCode::Position
    );
    bench.open(1);
    bench.step(0, 32);
    bench.step_with(32, rows(33, 41));
    let receipt = bench.step_with(40, rows(41, 65)).receipts().remove(0);
    let bytes = [&rows(0, 32).bytes[..], &rows(33, 65).bytes[..]].concat();
    assert_eq!(receipt.receipt.input, leaves(0, &bytes)[1]);
}

#[test]
fn a_session_that_lost_its_cache_can_be_finished_without_a_replay() {
    let mut calm = Bench::first();
    calm.step(0, 40);
    let mut bench = Bench::first();
    bench.step(0, 40);
    bench.evict();
    bench.open(0);
    bench.step(0, 3);
    // The head binds every receipt; signatures are never the same twice.
    assert_eq!(finish(&mut bench).1, finish(&mut calm).1);
}

#[test]
fn after_a_crash_what_was_signed_and_promised_still_holds() {
    let mut bench = Bench::second();
    bench.step(0, 40);
    bench.send_upstream(0, 32);
    bench.pay(30);
    let signed = bench.serving.commitments_for_tests().signed().to_vec();
    bench.crash();
    assert_eq!(bench.serving.best_voucher().unwrap().0.positions, 30);
    assert_eq!(bench.open(0).opened_at(), 0);
    bench.wobble = 0.5;
    bench.step(0, 40);
    assert_eq!(bench.serving.commitments_for_tests().signed(), signed);
    let next = bench.step(40, 64).receipts().remove(0);
    assert_eq!(next.receipt.previous, signed[0].receipt.digest());
    // The upstream receipt is not asked for again.
    bench.step(64, 96);
    assert_eq!(bench.step(96, 97).output().header.tokens, 1);
}

#[test]
fn a_receipt_that_was_lost_on_the_way_comes_again_with_its_step() {
    let mut bench = Bench::first();
    let input: Activations = rows(0, 64);
    let step = quipu_protocol::Step {
        step: 4,
        position: 0,
        drafted: 0,
        activations: input.header,
    };
    let first = bench.step_as(step, input.clone());
    bench.open(0);
    assert_eq!(bench.step_as(step, input).receipts(), first.receipts());
}

#[test]
fn receipts_that_the_client_lacks_come_again_when_it_opens() {
    let mut bench = Bench::first();
    bench.pay(200);
    let receipts = bench.step(0, 100).receipts();
    assert_eq!(receipts.len(), 3);
    for (epoch, held, missing) in [(0, 0, 0), (0, 32, 1), (0, 95, 2), (0, 96, 3), (1, 64, 2)] {
        let terms = ValidOpen {
            receipts: held,
            ..bench.terms(epoch)
        };
        let answer = bench.open_with(&terms);
        assert!(matches!(answer.replies[0].0, Response::Opened { .. }));
        assert_eq!(answer.receipts(), receipts[missing..], "{held} held");
    }
}
