//! Vouchers and credit.

use super::bench::*;
use crate::{keys::EphemeralKey, keys::Signer, serve::*};
use quipu_primitives::{voucher_payload, Span, Voucher};
use quipu_protocol::{limits::CREDIT_POSITIONS, RefusalCode, Request};

#[test]
fn credit_ends_and_a_voucher_extends_it() {
    let mut bench = Bench::first();
    bench.step(0, CREDIT_POSITIONS);
    assert_eq!(bench.step(96, 97).refusal(), RefusalCode::Unpaid);
    assert_eq!(bench.pay(1).accepted(), 1);
    assert_eq!(bench.step(96, 97).output().header.tokens, 1);
    assert_eq!(bench.step(97, 98).refusal(), RefusalCode::Unpaid);
    // Nothing was appended by what was refused.
    assert_eq!(bench.serving.position(), 97);
}

#[test]
fn nothing_is_served_that_the_cap_can_not_pay() {
    let mut bench = Bench::unopened(Span { start: 0, end: 10 });
    bench.session.servers[1].cap = PRICE * 10 * 50;
    let terms = bench.terms(0);
    bench.serving = Serving::new(bench.me.clone(), &terms, Neighbours::default());
    bench.open(0);
    assert_eq!(bench.step(0, 51).refusal(), RefusalCode::Unpaid);
    bench.step(0, 50);
    assert_eq!(bench.pay(50).accepted(), 50);
    assert_eq!(bench.pay(51).refusal(), RefusalCode::Voucher);
    assert_eq!(bench.step(50, 51).refusal(), RefusalCode::Unpaid);
}

#[test]
fn a_free_server_has_no_cap() {
    let mut bench = Bench::unopened(Span { start: 0, end: 10 });
    bench.session.servers[1].price = 0;
    bench.session.servers[1].cap = 0;
    let terms = bench.terms(0);
    bench.serving = Serving::new(bench.me.clone(), &terms, Neighbours::default());
    bench.open(0);
    assert_eq!(bench.pay(400).accepted(), 400);
    assert_eq!(bench.pay(CONTEXT + 1).refusal(), RefusalCode::Voucher);
    bench.step(0, 490);
}

#[test]
fn vouchers_only_rise() {
    let mut bench = Bench::first();
    assert_eq!(bench.pay(10).accepted(), 10);
    assert_eq!(bench.pay(9).refusal(), RefusalCode::Voucher);
    // The same one again, as after a broken stream, is taken and kept once.
    assert_eq!(bench.pay(10).accepted(), 10);
    assert_eq!(bench.journal.len(), 2);
    assert_eq!(bench.serving.best_voucher().unwrap().0.positions, 10);
}

#[test]
fn vouchers_for_others_or_signed_by_others_are_refused() {
    let mut bench = Bench::first();
    let own = Voucher {
        session: SESSION,
        node: ME,
        positions: 10,
    };
    assert_eq!(
        bench.pay_with(Voucher { session: 8, ..own }).refusal(),
        RefusalCode::Voucher
    );
    assert_eq!(
        bench
            .pay_with(Voucher {
                node: BEFORE,
                ..own
            })
            .refusal(),
        RefusalCode::Voucher
    );
    let thief = EphemeralKey::from_seed(&[6; 32]);
    let signature = thief.sign(&voucher_payload(&GENESIS, &own));
    let answer = bench.ask(Request::Voucher {
        voucher: own,
        signature,
    });
    assert_eq!(answer.refusal(), RefusalCode::Signature);
    let elsewhere = bench.session_key.sign(&voucher_payload(&[0; 32], &own));
    let answer = bench.ask(Request::Voucher {
        voucher: own,
        signature: elsewhere,
    });
    assert_eq!(answer.refusal(), RefusalCode::Signature);
    assert_eq!(bench.journal.len(), 1);
    assert!(bench.serving.best_voucher().is_none());
}

#[test]
fn no_position_is_paid_twice_after_a_replay_or_a_new_epoch() {
    let mut bench = Bench::first();
    bench.step(0, 90);
    bench.pay(90);
    bench.open(1);
    // The replay costs nothing, and earns nothing.
    bench.step(0, 90);
    assert_eq!(bench.serving.served(), 90);
    bench.step(90, 186);
    assert_eq!(bench.serving.served(), 186);
    assert_eq!(bench.step(186, 187).refusal(), RefusalCode::Unpaid);
}

#[test]
fn an_expired_session_takes_vouchers_but_no_steps() {
    let mut bench = Bench::first();
    bench.step(0, 20);
    bench.now.block = bench.session.deadline;
    assert_eq!(bench.step(20, 21).refusal(), RefusalCode::Session);
    assert_eq!(bench.pay(20).accepted(), 20);
}
