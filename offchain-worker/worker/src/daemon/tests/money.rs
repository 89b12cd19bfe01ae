//! Credit, vouchers, and what becomes of them when the client is gone.

use super::{
    rig::*,
    scene::{scene, Setting},
};
use quipu_primitives::{voucher_payload, Voucher};
use quipu_protocol::{limits::CREDIT_POSITIONS, RefusalCode};
use quipu_testkit::chain::{GENESIS, SETTLEMENT_WINDOW};
use quipu_worker_core::{ports::ChainError, Signer};

#[tokio::test]
async fn beyond_the_credit_a_server_wants_to_be_paid() {
    let (_subnet, worker, _, mut client) = scene().await;
    client.step(0, CREDIT_POSITIONS).await;
    assert_eq!(client.try_step(96, 97).await, Err(RefusalCode::Unpaid));
    // The stream is still good.
    client.pay(96).await;
    client.step(96, 97).await;
    worker.kill().await;
}

#[tokio::test]
async fn vouchers_that_are_no_money_are_refused() {
    let (_subnet, worker, session, mut client) = scene().await;
    client.pay(10).await;
    assert_eq!(client.try_pay(9).await, Err(RefusalCode::Voucher));
    // Above the cap, and beyond the model's context.
    assert_eq!(
        client.try_pay((CAP / (PRICE * 2)) as u32 + 1).await,
        Err(RefusalCode::Voucher)
    );
    let foreign = Voucher {
        session: session + 1,
        node: FIRST.id,
        positions: 20,
    };
    let signature = key(SESSION_KEY).sign(&voucher_payload(&GENESIS, &foreign));
    assert_eq!(
        client.try_pay_with(foreign, signature).await,
        Err(RefusalCode::Voucher)
    );
    let forged = Voucher {
        session,
        node: FIRST.id,
        positions: 20,
    };
    let signature = key(CONSUMER).sign(&voucher_payload(&GENESIS, &forged));
    assert_eq!(
        client.try_pay_with(forged, signature).await,
        Err(RefusalCode::Signature)
    );
    client.closed().await;
    worker.kill().await;
}

#[tokio::test]
async fn when_the_client_disappears_the_server_redeems() {
    let (subnet, worker, _, mut client) = Setting::usual().lasting(10).scene().await;
    client.step(0, 50).await;
    client.pay(32).await;
    client.pay(50).await;
    drop(client);
    subnet.chain.advance(10);
    subnet.until(|_| !subnet.redeemed().is_empty()).await;
    subnet.chain.advance(SETTLEMENT_WINDOW);
    assert_eq!(
        subnet.chain.balance(key(FIRST.coldkey).public()),
        PRICE * 2 * 50
    );
    eventually(|| worker.journals().is_empty()).await;
    assert_eq!(subnet.redeemed(), [(FIRST.id, 50)]);
    worker.kill().await;
}

#[tokio::test]
async fn a_settlement_with_an_old_voucher_is_corrected() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 50).await;
    client.pay(20).await;
    client.pay(50).await;
    subnet.settle(session, &[(FIRST, 20)], [0; 32]);
    subnet
        .until(|_| subnet.redeemed() == [(FIRST.id, 50)])
        .await;
    subnet.chain.advance(SETTLEMENT_WINDOW);
    assert_eq!(
        subnet.chain.balance(key(FIRST.coldkey).public()),
        PRICE * 2 * 50
    );
    worker.kill().await;
}

#[tokio::test]
async fn vouchers_survive_a_crash_and_are_redeemed_after_it() {
    let (subnet, worker, _, mut client) = Setting::usual().lasting(10).scene().await;
    client.step(0, 50).await;
    client.pay(50).await;
    let base = worker.kill().await;
    // It expires while nobody is there.
    subnet.chain.advance(11);
    let worker = Worker::restart(&subnet, FIRST, base).await;
    subnet
        .until(|_| subnet.redeemed() == [(FIRST.id, 50)])
        .await;
    let base = worker.kill().await;

    // Another start finds it redeemed, and sends nothing.
    let worker = Worker::restart(&subnet, FIRST, base).await;
    subnet.chain.advance(SETTLEMENT_WINDOW);
    eventually(|| worker.journals().is_empty()).await;
    assert_eq!(subnet.redeemed(), [(FIRST.id, 50)]);
    worker.kill().await;
}

#[tokio::test]
async fn a_chain_that_drops_out_delays_a_redemption_and_does_not_double_it() {
    let (subnet, worker, _, mut client) = Setting::usual().lasting(10).scene().await;
    client.step(0, 50).await;
    client.pay(50).await;
    // One submission is lost.
    subnet
        .chain
        .fail_next(ChainError::Unreachable("test".into()));
    subnet.chain.advance(10);
    eventually(|| subnet.chain.failures_left() == 0).await;
    // Then the endpoint is down for a block, and comes back.
    subnet.chain.set_reachable(false);
    subnet.chain.advance(1);
    subnet.chain.set_reachable(true);
    subnet.chain.advance(1);
    subnet.until(|_| !subnet.redeemed().is_empty()).await;
    subnet.chain.advance(SETTLEMENT_WINDOW);
    eventually(|| worker.journals().is_empty()).await;
    assert_eq!(subnet.redeemed(), [(FIRST.id, 50)]);
    worker.kill().await;
}

#[tokio::test]
async fn a_chain_that_lags_behind_does_not_cost_the_vouchers() {
    let (subnet, worker, session, mut client) = Setting::usual().lasting(50).scene().await;
    client.step(0, 50).await;
    client.pay(50).await;
    let base = worker.kill().await;

    // The same worker behind a node that has not come to the session's block yet.
    let lagging = Subnet::new();
    lagging.seat(SECOND);
    let worker = Worker::restart(&lagging, FIRST, base).await;
    lagging.chain.advance(3);
    eventually(|| worker.metrics.block.get() >= lagging.chain.block().into()).await;
    assert_eq!(worker.journals(), [format!("{session}.log")]);
    let base = worker.kill().await;

    let worker = Worker::restart(&subnet, FIRST, base).await;
    subnet.chain.advance(50);
    subnet
        .until(|_| subnet.redeemed() == [(FIRST.id, 50)])
        .await;
    worker.kill().await;
}

#[tokio::test]
async fn the_journal_of_another_life_of_the_chain_is_no_hindrance() {
    let (_subnet, worker, session, mut client) = Setting::usual().lasting(50).scene().await;
    client.step(0, 50).await;
    client.pay(50).await;
    let base = worker.kill().await;

    // A development chain was purged: the same genesis, the same number, another session.
    let anew = Subnet::new();
    anew.seat(SECOND);
    let worker = Worker::restart(&anew, FIRST, base).await;
    assert_eq!(
        anew.open_session_with(&[FIRST, SECOND], 10, CONSUMER),
        session
    );
    let (mut client, position) = worker.open_with(session, CONSUMER).await;
    assert_eq!(position, 0);
    client.step_on(0, &[0.25; 40 * HIDDEN as usize]).await;
    client.pay(40).await;
    anew.chain.advance(10);
    anew.until(|_| anew.redeemed() == [(FIRST.id, 40)]).await;
    worker.kill().await;
}
