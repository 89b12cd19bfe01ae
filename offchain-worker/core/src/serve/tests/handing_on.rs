//! Outputs that go to the next server, and inputs that come from the one before.

use super::bench::*;
use quipu_primitives::DType;
use quipu_protocol::{Activations, Push, RefusalCode, Request, Response, Step, Successor};

const THERE: Successor = Successor {
    node: BEHIND,
    epoch: 7,
};

/// Rows of these positions, as the server before pushes them.
fn push(epoch: u32, start: u32, end: u32) -> (Push, Activations) {
    let input = rows(start, end);
    let push = Push {
        session: SESSION,
        epoch,
        position: start,
        drafted: 0,
        activations: input.header,
    };
    (push, input)
}

/// The second server of a chain, told to take pushes.
fn fed() -> Bench {
    let mut bench = Bench::second();
    let answer = bench.ask(Request::TakeFrom(Some(BEFORE)));
    assert!(answer.replies.is_empty());
    bench
}

/// Signatures are not the same twice; what is signed is.
fn same(one: &Answer, other: &Answer) {
    assert_eq!(one.replies[0], other.replies[0]);
    let signed = |answer: &Answer| -> Vec<_> {
        answer
            .receipts()
            .into_iter()
            .map(|one| one.receipt)
            .collect()
    };
    assert_eq!(signed(one), signed(other));
    assert_eq!(one.replies.len(), 1 + one.receipts().len());
}

#[test]
fn outputs_are_handed_on_and_come_to_the_client_as_well() {
    let mut bench = Bench::first();
    assert!(bench.step(0, 2).handed_on.is_empty());
    let answer = bench.ask(Request::HandOn(Some(THERE)));
    assert_eq!((answer.reached, answer.replies.len()), (vec![BEHIND], 0));
    let answer = bench.step(2, 5);
    let output = answer.output().clone();
    let expected = Push {
        session: SESSION,
        epoch: 7,
        position: 2,
        drafted: 0,
        activations: output.header,
    };
    assert_eq!(answer.handed_on, [(BEHIND, expected, output)]);
    bench.ask(Request::HandOn(None));
    assert!(bench.step(5, 6).handed_on.is_empty());
}

#[test]
fn a_repeated_step_is_not_handed_on_again() {
    let mut bench = Bench::first();
    bench.ask(Request::HandOn(Some(THERE)));
    let first = bench.step(0, 3);
    bench.next_step = 0;
    let again = bench.step(0, 3);
    assert_eq!(again.replies, first.replies);
    assert!(again.handed_on.is_empty());
}

#[test]
fn what_can_not_be_handed_on_is_left_to_the_client() {
    let mut bench = Bench::first();
    let stranger = Successor { node: 99, epoch: 0 };
    let answer = bench.ask(Request::HandOn(Some(stranger)));
    assert!(answer.reached.is_empty() && answer.replies.is_empty());
    let answer = bench.step(0, 3);
    assert!(answer.handed_on.is_empty());
    let told = Response::NotHandedOn {
        session: SESSION,
        position: 0,
    };
    assert_eq!(answer.replies[0].0, told);
    assert!(matches!(answer.replies[1].0, Response::Output(_)));
}

#[test]
fn pushes_that_would_be_refused_are_not_taken() {
    // The refusal would go to the client, from who did nothing wrong.
    let mut bench = fed();
    let (mut other_type, input) = push(0, 0, 4);
    other_type.activations.dtype = DType::F16;
    let halves = input.bytes.slice(..input.bytes.len() / 2);
    let halves = Activations::new(other_type.activations, halves).unwrap();
    assert!(bench.push(BEFORE_PEER, other_type, halves).is_none());
    let (mut other_shape, input) = push(0, 0, 4);
    other_shape.activations.tokens = 3;
    assert!(bench.push(BEFORE_PEER, other_shape, input).is_none());
    let (first, input) = push(0, 0, 4);
    assert!(bench.push(BEFORE_PEER, first, input).is_some());
}

#[test]
fn pushes_give_what_the_clients_steps_give() {
    let (mut fed, mut asked) = (fed(), Bench::second());
    for (start, end) in [(0, 3), (3, 4), (4, 40)] {
        let (push, input) = push(0, start, end);
        let answer = fed.push(BEFORE_PEER, push, input).unwrap();
        same(&answer, &asked.step(start, end));
    }
    // And the client goes on where they end.
    fed.next_step = 3;
    same(&fed.step(40, 41), &asked.step(40, 41));
}

#[test]
fn a_step_that_was_pushed_is_answered_again_if_the_client_brings_it_too() {
    let mut bench = fed();
    let (push, input) = push(0, 0, 3);
    let first = bench.push(BEFORE_PEER, push, input.clone()).unwrap();
    assert_eq!(bench.step_with(0, input.clone()).replies, first.replies);
    // The other way round the push is late.
    assert!(bench.push(BEFORE_PEER, push, input).is_none());
    assert_eq!(bench.cache, Some(3));
}

#[test]
fn on_a_new_stream_no_push_overtakes_a_step_whose_answer_was_lost() {
    let mut bench = fed();
    let (lost, input) = push(0, 0, 3);
    let first = bench.push(BEFORE_PEER, lost, input.clone()).unwrap();
    // The stream broke under the answer, and the predecessor goes on.
    assert_eq!(bench.open(0).opened_at(), 3);
    let (next, rows) = push(0, 3, 4);
    assert!(bench.push(BEFORE_PEER, next, rows.clone()).is_none());
    assert_eq!(bench.step_with(0, input).replies, first.replies);
    bench.ask(Request::TakeFrom(Some(BEFORE)));
    assert!(bench.push(BEFORE_PEER, next, rows).is_some());
}

#[test]
fn pushes_are_taken_from_whom_the_client_named_and_in_order() {
    let mut bench = Bench::second();
    let (first, input) = push(0, 0, 3);
    assert!(bench.push(BEFORE_PEER, first, input.clone()).is_none());
    // A server that is not one of the session can't be named.
    bench.ask(Request::TakeFrom(Some(99)));
    assert!(bench.push(BEFORE_PEER, first, input.clone()).is_none());
    bench.ask(Request::TakeFrom(Some(BEFORE)));
    assert!(bench.push(b"another", first, input.clone()).is_none());
    let foreign = Push {
        session: SESSION + 1,
        ..first
    };
    assert!(bench.push(BEFORE_PEER, foreign, input.clone()).is_none());
    let (other_epoch, _) = push(1, 0, 3);
    assert!(bench
        .push(BEFORE_PEER, other_epoch, input.clone())
        .is_none());
    let (gap, rows) = push(0, 1, 4);
    assert!(bench.push(BEFORE_PEER, gap, rows).is_none());
    let narrow = Activations::from_f32(&[1.0], 1).unwrap();
    let narrow_push = Push {
        activations: narrow.header,
        ..first
    };
    assert!(bench.push(BEFORE_PEER, narrow_push, narrow).is_none());
    assert_eq!(bench.cache, Some(0));
    assert!(bench.push(BEFORE_PEER, first, input).is_some());
    bench.ask(Request::TakeFrom(None));
    let (next, rows) = push(0, 3, 4);
    assert!(bench.push(BEFORE_PEER, next, rows).is_none());
}

#[test]
fn a_higher_epoch_begins_without_neighbours() {
    let mut bench = fed();
    bench.ask(Request::HandOn(Some(THERE)));
    assert_eq!(bench.open(1).opened_at(), 0);
    let (push, input) = push(1, 0, 3);
    assert!(bench.push(BEFORE_PEER, push, input).is_none());
    assert!(bench.step(0, 3).handed_on.is_empty());
}

#[test]
fn a_stream_that_resumes_keeps_its_successor() {
    let mut bench = fed();
    bench.ask(Request::HandOn(Some(THERE)));
    let (first, input) = push(0, 0, 3);
    bench.push(BEFORE_PEER, first, input).unwrap();
    assert_eq!(bench.open(0).opened_at(), 3);
    // Whom it takes pushes from is said anew; whom it hands on to is not forgotten.
    bench.ask(Request::TakeFrom(Some(BEFORE)));
    let (next, input) = push(0, 3, 5);
    let answer = bench.push(BEFORE_PEER, next, input).unwrap();
    assert_eq!(answer.handed_on.len(), 1);
}

#[test]
fn a_finished_session_takes_no_pushes() {
    let mut bench = fed();
    let (first, input) = push(0, 0, 3);
    bench.push(BEFORE_PEER, first, input).unwrap();
    bench.finish();
    let (next, input) = push(0, 3, 5);
    assert!(bench.push(BEFORE_PEER, next, input).is_none());
}

#[test]
fn a_push_does_not_overtake_the_voucher_that_admits_it() {
    let mut bench = fed();
    let (first, input) = push(0, 0, 96);
    bench.push(BEFORE_PEER, first, input).unwrap();
    for start in [0, 32, 64] {
        bench.send_upstream(start, start + 32);
    }
    let (next, input) = push(0, 96, 97);
    assert!(bench.push(BEFORE_PEER, next, input.clone()).is_none());
    bench.pay(96);
    assert!(bench.push(BEFORE_PEER, next, input).is_some());
}

#[test]
fn nor_the_receipts_of_the_server_before() {
    let mut bench = fed();
    bench.pay(200);
    let (first, input) = push(0, 0, 96);
    bench.push(BEFORE_PEER, first, input).unwrap();
    let (next, input) = push(0, 96, 97);
    assert!(bench.push(BEFORE_PEER, next, input.clone()).is_none());
    bench.send_upstream(0, 32);
    assert!(bench.push(BEFORE_PEER, next, input).is_some());
}

#[test]
fn clients_do_not_push() {
    let mut bench = fed();
    let (push, input) = push(0, 0, 3);
    let step = Step {
        step: 0,
        position: 0,
        drafted: 0,
        activations: input.header,
    };
    let effects = bench
        .serving
        .on_request(Request::Push(push), Some(input.clone()), bench.now);
    assert!(matches!(
        &effects[0],
        crate::serve::Effect::Reply(Response::Refused(refusal), None)
            if refusal.code == RefusalCode::Unexpected
    ));
    assert_eq!(bench.step_as(step, input).output().header.tokens, 3);
}
