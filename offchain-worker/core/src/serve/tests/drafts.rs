//! Drafted positions: those that count leave what an undrafted run leaves, the others nothing.

use super::bench::*;
use crate::{ports::ComputeError, serve::Identity};
use proptest::prelude::*;
use quipu_primitives::{Receipt, Span};
use quipu_protocol::{
    limits::{DRAFT_ALLOWANCE, MAX_DRAFTED, MAX_REPLAYS},
    Activations, Push, RefusalCode, Request, Response, Step, Successor,
};

/// Rows that are not those of these positions: a guess that turned out wrong.
fn wrong(start: u32, end: u32) -> Activations {
    rows(start + 5000, end + 5000)
}

/// Rows of `start..end`, with the last ones wrong from `right` on.
fn guess(start: u32, right: u32, end: u32) -> Activations {
    let (good, bad) = (rows(start, right), wrong(right, end));
    let bytes = [good.bytes.as_ref(), bad.bytes.as_ref()].concat();
    let mut header = good.header;
    header.tokens = end - start;
    Activations::new(header, bytes.into()).unwrap()
}

/// All that was signed by the end.
fn signed(bench: &Bench) -> Vec<Receipt> {
    let commitments = bench.serving.commitments_for_tests();
    let receipts = commitments.signed().iter();
    receipts.map(|one| one.receipt.clone()).collect()
}

/// What a run without drafts signs for so many positions.
fn plain(positions: u32) -> Vec<Receipt> {
    let mut bench = Bench::first();
    bench.pay(positions);
    for position in 0..positions {
        bench.step(position, position + 1);
    }
    bench.finish();
    signed(&bench)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However much is drafted and however much of it counts, with steps that are repeated, fail or
    /// lose the stream in between: the receipts are those of a run without drafts.
    #[test]
    fn receipts_know_nothing_of_drafts(
        rounds in prop::collection::vec((1u32..14, 0..=MAX_DRAFTED, 0..=MAX_DRAFTED, 0u32..6), 1..18),
        last in 0..=MAX_DRAFTED,
    ) {
        let mut bench = Bench::first();
        let (mut position, mut held) = (0, 0);
        for (sure, drafted, counted, trouble) in rounds {
            position += counted.min(held);
            bench.pay(position);
            let right = position + sure;
            let input = guess(position, right + drafted / 2, right + drafted);
            match trouble {
                0 => bench.fail = Some(ComputeError::Backend("test".into())),
                1 => {
                    let Response::Opened { position: at, drafted, .. } = bench.open(0).replies[0].0 else {
                        panic!("not opened")
                    };
                    prop_assert!(at <= position && position <= at + drafted);
                }
                _ => {}
            }
            let mut answer = bench.draft_with(position, input.clone(), drafted);
            if trouble == 0 && bench.fail.is_none() {
                prop_assert_eq!(answer.refusal(), RefusalCode::Internal);
                answer = bench.draft_with(position, input.clone(), drafted);
            }
            if let (Response::Refused(refusal), _) = &answer.replies[0] {
                // Too much was drafted in vain: the same without.
                prop_assert_eq!(refusal.code, RefusalCode::Drafted);
                bench.fail = None;
                let answer = bench.step(position, right);
                prop_assert_eq!(answer.output().header.tokens, sure);
                (position, held) = (right, 0);
                continue;
            }
            prop_assert_eq!(answer.output().header, input.header);
            if trouble == 2 {
                bench.next_step -= 1;
                prop_assert_eq!(&bench.draft_with(position, input, drafted).replies, &answer.replies);
            }
            // Only the first half of the guesses is right.
            (position, held) = (right, drafted / 2);
        }
        position += last.min(held);
        bench.ask(Request::Finish { positions: position });
        prop_assert!(bench.serving.is_finished());
        prop_assert_eq!(signed(&bench), plain(position));
        prop_assert_eq!(bench.serving.served(), position);
    }
}

#[test]
fn what_does_not_count_is_cut_off_and_never_owed() {
    let mut bench = Bench::first();
    bench.step(0, 30);
    let answer = bench.draft_with(30, guess(30, 33, 36), 5);
    // 31 and 32 are right; nothing of it is signed before the client says so.
    assert!(answer.receipts().is_empty());
    assert_eq!((bench.cache, bench.serving.drafted()), (Some(36), 5));
    assert_eq!((bench.serving.position(), bench.serving.served()), (31, 31));
    let answer = bench.step(33, 34);
    assert_eq!(answer.receipts().len(), 1);
    assert_eq!((bench.cache, bench.serving.drafted()), (Some(34), 0));
    bench.finish();
    assert_eq!(signed(&bench), plain(34));
}

#[test]
fn no_more_can_count_than_was_drafted() {
    let mut bench = Bench::first();
    bench.draft_with(0, rows(0, 5), 2);
    for position in [2, 6, 100, u32::MAX] {
        let input = rows(7, 8);
        assert_eq!(
            bench.step_with(position, input).refusal(),
            RefusalCode::Position
        );
        let finish = Request::Finish {
            positions: position,
        };
        assert_eq!(bench.ask(finish).refusal(), RefusalCode::Position);
    }
    assert_eq!((bench.cache, bench.serving.drafted()), (Some(5), 2));
    assert_eq!(bench.step(5, 6).output().header.tokens, 1);
}

#[test]
fn drafts_are_bounded() {
    let mut bench = Bench::first();
    let long = MAX_DRAFTED + 2;
    for (tokens, drafted) in [(long, MAX_DRAFTED + 1), (3, 3), (1, u32::MAX)] {
        let answer = bench.draft_with(0, rows(0, tokens), drafted);
        assert_eq!(
            answer.refusal(),
            RefusalCode::Drafted,
            "{drafted} of {tokens}"
        );
    }
    assert_eq!(bench.cache, Some(0));
    bench.draft_with(0, rows(0, long), MAX_DRAFTED);
    // They take room under the credit as others do.
    bench.step(long, 90);
    let answer = bench.draft_with(90, rows(90, 97), 6);
    assert_eq!(answer.refusal(), RefusalCode::Unpaid);
}

#[test]
fn work_that_never_counts_is_not_done_for_long() {
    let mut bench = Bench::first();
    let (mut position, mut lost) = (0, 0);
    let refused = loop {
        bench.pay(position);
        let input = guess(position, position + 1, position + 1 + MAX_DRAFTED);
        let answer = bench.draft_with(position, input, MAX_DRAFTED);
        if let Response::Refused(refusal) = &answer.replies[0].0 {
            break refusal.code;
        }
        (position, lost) = (position + 1, lost + MAX_DRAFTED);
        assert!(lost <= DRAFT_ALLOWANCE + position);
    };
    assert_eq!(refused, RefusalCode::Drafted);
    assert!(lost + MAX_DRAFTED > DRAFT_ALLOWANCE);
    // Without drafts it goes on, and what it serves gives room for others.
    bench.step(position, position + 30);
    let input = rows(position + 30, position + 35);
    assert_eq!(
        bench
            .draft_with(position + 30, input, 4)
            .output()
            .header
            .tokens,
        5
    );
}

#[test]
fn a_tolerant_profile_takes_no_drafts() {
    let mut bench = Bench::of(Identity {
        exact: false,
        ..identity(Span { start: 0, end: 10 })
    });
    bench.open(0);
    let answer = bench.draft_with(0, rows(0, 3), 1);
    assert_eq!(answer.refusal(), RefusalCode::Drafted);
    assert_eq!(bench.step(0, 3).output().header.tokens, 3);
}

#[test]
fn drafts_are_handed_on_as_such() {
    let mut first = Bench::first();
    first.ask(Request::HandOn(Some(Successor {
        node: BEHIND,
        epoch: 0,
    })));
    let answer = first.draft_with(0, rows(0, 4), 3);
    let [(BEHIND, push, _)] = &answer.handed_on[..] else {
        panic!("not handed on: {answer:?}")
    };
    assert_eq!((push.position, push.drafted), (0, 3));

    let mut fed = Bench::second();
    fed.ask(Request::TakeFrom(Some(BEFORE)));
    let push = |position, drafted, input: &Activations| Push {
        session: SESSION,
        epoch: 0,
        position,
        drafted,
        activations: input.header,
    };
    let input = guess(0, 2, 4);
    let answer = fed.push(BEFORE_PEER, push(0, 3, &input), input).unwrap();
    let Response::Output(Step {
        position: 0,
        drafted: 3,
        ..
    }) = answer.replies[0].0
    else {
        panic!("{answer:?}")
    };
    // One counts. More than there are can't, and too many are not taken; both are left to the
    // client.
    let input = rows(2, 4);
    assert!(fed
        .push(BEFORE_PEER, push(5, 0, &input), input.clone())
        .is_none());
    assert!(fed
        .push(BEFORE_PEER, push(2, 2, &input), input.clone())
        .is_none());
    assert_eq!(fed.cache, Some(4));
    fed.push(BEFORE_PEER, push(2, 1, &input), input).unwrap();
    assert_eq!(
        (fed.cache, fed.serving.position(), fed.serving.drafted()),
        (Some(4), 3, 1)
    );
}

#[test]
fn a_lost_cache_takes_the_drafts_with_it() {
    let mut bench = Bench::first();
    bench.draft_with(0, rows(0, 8), 4);
    bench.evict();
    assert_eq!(bench.serving.drafted(), 0);
    let Response::Opened {
        position, drafted, ..
    } = bench.open(0).replies[0].0
    else {
        panic!("not opened")
    };
    assert_eq!((position, drafted), (0, 0));
    // Nothing was promised about them: the replay may bring others, but not for those that count.
    let other = Activations::from_f32(&[9.0; 2 * HIDDEN as usize], HIDDEN).unwrap();
    bench.step(0, 4);
    assert_eq!(bench.step_with(4, other).output().header.tokens, 2);
    let mut bench = Bench::first();
    bench.draft_with(0, rows(0, 8), 4);
    bench.evict();
    bench.open(0);
    assert_eq!(
        bench.step_with(0, wrong(0, 4)).refusal(),
        RefusalCode::Position
    );
    // In the middle of a replay the drafts are not those of the end.
    bench.draft_with(0, rows(0, 3), 1);
    let finish = Request::Finish { positions: 5 };
    assert_eq!(bench.ask(finish).refusal(), RefusalCode::Position);
    assert_eq!(bench.finish().receipts()[0].receipt.end, 4);
}

/// Whoever begins anew again and again does not get another allowance each time.
#[test]
fn drafts_that_a_new_epoch_drops_count_as_lost() {
    let mut bench = Bench::first();
    let mut lost = 0;
    for epoch in 0..=MAX_REPLAYS {
        bench.open(epoch);
        let answer = bench.draft_with(0, rows(0, 1 + MAX_DRAFTED), MAX_DRAFTED);
        if let Response::Refused(refusal) = &answer.replies[0].0 {
            assert_eq!(refusal.code, RefusalCode::Drafted);
            break;
        }
        lost += MAX_DRAFTED;
    }
    assert_eq!(lost, DRAFT_ALLOWANCE);
}
