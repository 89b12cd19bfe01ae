//! Whatever a client does, in whatever order, the server's promises hold.

use super::bench::*;
use crate::keys::verify;
use proptest::prelude::*;
use quipu_primitives::{Span, RECEIPT_POSITIONS};
use quipu_protocol::{
    limits::{CREDIT_POSITIONS, UPSTREAM_SLACK},
    Request, Response, SignedReceipt, Step,
};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Move {
    /// A step at the expected position plus `offset`, with other numbers where `tampered`.
    Step {
        offset: i32,
        tokens: u32,
        drafted: u32,
        tampered: bool,
    },
    Repeat,
    Pay {
        positions: u32,
    },
    Upstream {
        range: u32,
        honest: bool,
    },
    Open {
        epoch: u32,
    },
    Evict,
    Crash,
    Fail,
    Finish,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => (1u32..80, prop::bool::weighted(0.1)).prop_map(|(tokens, tampered)| Move::Step {
            offset: 0,
            tokens,
            drafted: 0,
            tampered
        }),
        8 => (0i32..18, 1u32..20, 0u32..18).prop_map(|(offset, tokens, drafted)| Move::Step {
            offset,
            tokens,
            drafted,
            tampered: false
        }),
        2 => (-40i32..40, 1u32..80).prop_map(|(offset, tokens)| Move::Step {
            offset,
            tokens,
            drafted: 0,
            tampered: false
        }),
        2 => Just(Move::Repeat),
        6 => (0u32..400).prop_map(|positions| Move::Pay { positions }),
        6 => (0u32..8, prop::bool::weighted(0.8))
            .prop_map(|(range, honest)| Move::Upstream { range, honest }),
        3 => (0u32..4).prop_map(|epoch| Move::Open { epoch }),
        1 => Just(Move::Evict),
        1 => Just(Move::Crash),
        1 => Just(Move::Fail),
        1 => Just(Move::Finish),
    ]
}

fn play(bench: &mut Bench, last: &mut Option<(Step, bool)>, one: Move) -> Answer {
    let input = |start: u32, tokens: u32, tampered: bool| {
        rows(
            start + u32::from(tampered),
            start + tokens + u32::from(tampered),
        )
    };
    match one {
        Move::Step {
            offset,
            tokens,
            drafted,
            tampered,
        } => {
            let position = bench.serving.position().saturating_add_signed(offset);
            let rows = input(position, tokens, tampered);
            *last = Some((
                Step {
                    step: bench.next_step,
                    position,
                    drafted,
                    activations: rows.header,
                },
                tampered,
            ));
            bench.draft_with(position, rows, drafted)
        }
        Move::Repeat => match *last {
            Some((step, tampered)) => {
                let rows = input(step.position, step.activations.tokens, tampered);
                bench.step_as(step, rows)
            }
            None => Answer::default(),
        },
        Move::Pay { positions } => bench.pay(positions),
        Move::Upstream { range, honest } => {
            let start = range * RECEIPT_POSITIONS;
            let receipt = match honest {
                true => bench.upstream(start, start + RECEIPT_POSITIONS),
                false => bench.upstream_over(start, start + RECEIPT_POSITIONS, [1; 32]),
            };
            bench.ask(Request::Upstream(receipt))
        }
        Move::Open { epoch } => bench.open(epoch),
        Move::Evict => {
            bench.evict();
            Answer::default()
        }
        Move::Crash => {
            bench.crash();
            Answer::default()
        }
        Move::Fail => {
            bench.fail = Some(crate::ports::ComputeError::Backend("test".into()));
            Answer::default()
        }
        Move::Finish => bench.finish(),
    }
}

/// Every receipt ever sent, checked as a client or an auditor would.
fn check_receipts(bench: &Bench, sent: &BTreeMap<u32, SignedReceipt>) {
    let (mut end, mut previous) = (0, [0; 32]);
    for (start, SignedReceipt { receipt, signature }) in sent {
        assert_eq!(*start, end, "positions are partitioned");
        assert!(receipt.end > receipt.start && receipt.end <= start + RECEIPT_POSITIONS);
        assert_eq!(receipt.previous, previous, "receipts chain");
        assert!(verify(
            &bench.me.signer.public(),
            &bench.payload(receipt),
            signature
        ));
        (end, previous) = (receipt.end, receipt.digest());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn promises_hold(first: bool, moves in prop::collection::vec(any_move(), 1..40)) {
        let start = if first { 0 } else { 10 };
        let mut bench = Bench::unopened(Span { start, end: start + 10 });
        bench.open(0);
        let mut last = None;
        let mut sent: BTreeMap<u32, SignedReceipt> = BTreeMap::new();
        let mut paid = 0;
        for one in moves {
            let (before, asked_upstream) = (bench.serving.position(), bench.serving.clone());
            let is_step = matches!(one, Move::Step { .. });
            let answer = play(&mut bench, &mut last, one);
            // `Bench::compute` asserts that nothing is appended twice or out of order.
            let held = bench.serving.position() + bench.serving.drafted();
            prop_assert_eq!(bench.cache.unwrap_or(0), held);
            for (response, _) in &answer.replies {
                match response {
                    Response::VoucherAccepted { positions } => {
                        prop_assert!(*positions >= paid);
                        paid = *positions;
                    }
                    Response::Finished { head } => {
                        let end = sent.values().chain(&answer.receipts()).map(|one| one.receipt.end).max();
                        prop_assert_eq!(head.positions, end.unwrap_or(0));
                    }
                    _ => {}
                }
            }
            prop_assert!(held <= paid + CREDIT_POSITIONS);
            prop_assert_eq!(bench.serving.best_voucher().map_or(0, |best| best.0.positions), paid);
            if !first && is_step && bench.serving.position() > before {
                let commitments = asked_upstream.commitments_for_tests();
                let verified = bench.journal.iter().filter(|one| {
                    matches!(one, crate::serve::Record::Upstream(_))
                });
                let missing = commitments.signed().len().saturating_sub(verified.count());
                prop_assert!(missing <= UPSTREAM_SLACK as usize);
            }
            for receipt in answer.receipts() {
                // Signed once, whatever happened in between.
                let known = sent.entry(receipt.receipt.start).or_insert_with(|| receipt.clone());
                prop_assert_eq!(&*known, &receipt);
            }
            check_receipts(&bench, &sent);
        }
    }
}
