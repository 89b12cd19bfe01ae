//! The predecessor's receipts.

use super::bench::*;
use crate::{keys::EphemeralKey, keys::Signer, serve::Record};
use quipu_primitives::{Receipt, Span};
use quipu_protocol::{limits::MAX_EARLY_UPSTREAM, RefusalCode, Request, SignedReceipt};

#[test]
fn more_than_two_unverified_ranges_stop_the_session_until_they_are_verified() {
    let mut bench = Bench::second();
    bench.pay(400);
    bench.step(0, 96);
    assert_eq!(bench.step(96, 97).refusal(), RefusalCode::Upstream);
    assert!(bench.send_upstream(0, 32).replies.is_empty());
    assert_eq!(bench.step(96, 97).output().header.tokens, 1);
    assert!(matches!(bench.journal.last(), Some(Record::Upstream(_))));
    bench.step(97, 160);
    assert_eq!(bench.step(160, 161).refusal(), RefusalCode::Upstream);
    for start in [32, 64, 96] {
        bench.send_upstream(start, start + 32);
    }
    bench.step(160, 161);
}

#[test]
fn the_first_server_of_a_chain_asks_for_none_and_takes_none() {
    let mut bench = Bench::first();
    bench.pay(400);
    bench.step(0, 400);
    bench.step(400, 401);
    let receipt = bench.upstream_over(0, 32, [0; 32]);
    assert_eq!(
        bench.ask(Request::Upstream(receipt)).refusal(),
        RefusalCode::Upstream
    );
}

#[test]
fn receipts_may_come_before_the_positions_they_cover() {
    let mut bench = Bench::second();
    bench.pay(400);
    for start in [0, 32, 64, 96] {
        assert!(bench.send_upstream(start, start + 32).replies.is_empty());
    }
    bench.step(0, 128);
    bench.step(128, 160);
    let verified = |record: &&Record| matches!(record, Record::Upstream(_));
    assert_eq!(bench.journal.iter().filter(verified).count(), 4);
}

#[test]
fn inputs_that_contradict_an_early_receipt_are_not_computed() {
    let mut bench = Bench::second();
    bench.send_upstream(0, 32);
    assert_eq!(
        bench.step_with(0, rows(1, 33)).refusal(),
        RefusalCode::Upstream
    );
    assert_eq!(bench.cache, Some(0));
    assert!(matches!(bench.journal[1..], [Record::Conflict(_)]));
    assert_eq!(bench.step(0, 32).receipts().len(), 1);
}

#[test]
fn drafted_rows_that_count_in_the_end_are_held_against_an_early_receipt_too() {
    let mut bench = Bench::second();
    bench.step(0, 30);
    bench.draft_with(30, rows(30, 35), 4);
    let lie = bench.upstream_over(0, 32, [7; 32]);
    assert!(bench.ask(Request::Upstream(lie.clone())).replies.is_empty());
    let answer = bench.ask(Request::Finish { positions: 35 });
    assert_eq!(answer.refusal(), RefusalCode::Upstream);
    assert_eq!(bench.journal.last(), Some(&Record::Conflict(lie)));
    assert!(bench.serving.commitments_for_tests().signed().is_empty());
}

#[test]
fn a_contradicting_receipt_is_refused_and_kept_once_as_evidence() {
    let mut bench = Bench::second();
    bench.step(0, 32);
    let lie = bench.upstream_over(0, 32, [7; 32]);
    for _ in 0..2 {
        assert_eq!(
            bench.ask(Request::Upstream(lie.clone())).refusal(),
            RefusalCode::Upstream
        );
    }
    let conflicts = bench
        .journal
        .iter()
        .filter(|one| matches!(one, Record::Conflict(_)));
    assert_eq!(conflicts.collect::<Vec<_>>(), [&Record::Conflict(lie)]);
    // The right one is still taken.
    assert!(bench.send_upstream(0, 32).replies.is_empty());
}

#[test]
fn the_last_range_is_verified_when_it_is_cut() {
    let mut bench = Bench::second();
    bench.step(0, 40);
    bench.send_upstream(32, 40);
    bench.finish();
    assert!(bench.journal.iter().any(
        |one| matches!(one, Record::Upstream(SignedReceipt { receipt, .. }) if receipt.end == 40)
    ));
    // And after it was cut.
    let mut bench = Bench::second();
    bench.step(0, 40);
    bench.finish();
    assert!(bench.send_upstream(32, 40).replies.is_empty());
    let short = bench.upstream_over(32, 39, [1; 32]);
    assert_eq!(
        bench.ask(Request::Upstream(short)).refusal(),
        RefusalCode::Upstream
    );
}

#[test]
fn receipts_of_strangers_and_for_other_things_are_refused() {
    let mut bench = Bench::second();
    bench.step(0, 32);
    let honest = bench.upstream(0, 32);
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = honest.receipt.clone();
        change(&mut receipt);
        receipt
    };
    for receipt in [
        changed(&|receipt| receipt.session = 8),
        changed(&|receipt| receipt.node = ME),
        changed(&|receipt| receipt.span = Span { start: 1, end: 10 }),
        changed(&|receipt| receipt.weights_root = [0; 32]),
        changed(&|receipt| receipt.start = 1),
        changed(&|receipt| receipt.end = 33),
        changed(&|receipt| receipt.end = 0),
        changed(&|receipt| (receipt.start, receipt.end) = (CONTEXT, CONTEXT + 32)),
    ] {
        let given = bench.sign_upstream(receipt);
        assert_eq!(
            bench.ask(Request::Upstream(given)).refusal(),
            RefusalCode::Upstream
        );
    }
    let stranger = EphemeralKey::from_seed(&[6; 32]);
    let signature = stranger.sign(&bench.payload(&honest.receipt));
    let forged = SignedReceipt {
        receipt: honest.receipt.clone(),
        signature,
    };
    assert_eq!(
        bench.ask(Request::Upstream(forged)).refusal(),
        RefusalCode::Upstream
    );
    // Signed for another session that had this number on a fork of the chain.
    let elsewhere = honest.receipt.payload(&GENESIS, &[9; 32]);
    let signature = bench.before.sign(&elsewhere);
    let forked = SignedReceipt {
        receipt: honest.receipt.clone(),
        signature,
    };
    assert_eq!(
        bench.ask(Request::Upstream(forked)).refusal(),
        RefusalCode::Upstream
    );
    assert!(matches!(bench.journal[1..], [Record::Receipt(_)]));
    assert!(bench.ask(Request::Upstream(honest)).replies.is_empty());
}

#[test]
fn early_receipts_are_bounded() {
    let mut bench = Bench::second();
    let bound = MAX_EARLY_UPSTREAM.min((CONTEXT / 32) as usize);
    for index in 0..bound as u32 {
        let receipt = bench.upstream_over(index * 32, index * 32 + 32, [1; 32]);
        assert!(bench.ask(Request::Upstream(receipt)).replies.is_empty());
    }
    let beyond = bench.upstream_over(CONTEXT, CONTEXT + 32, [1; 32]);
    assert_eq!(
        bench.ask(Request::Upstream(beyond)).refusal(),
        RefusalCode::Upstream
    );
}
