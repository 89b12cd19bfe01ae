//! Sessions from end to end, and what interrupts them.

use super::{
    rig::*,
    scene::{scene, Setting},
};
use quipu_primitives::{receipt::receipt_root, Span};
use quipu_protocol::{limits::LEASE, RefusalCode, Request};
use quipu_worker_core::Signer;
use std::time::Duration;

#[tokio::test]
async fn two_servers_compute_what_one_would_and_are_paid() {
    let subnet = Subnet::new();
    let (first, second) = tokio::join!(
        Worker::start(&subnet, FIRST),
        Worker::start(&subnet, SECOND)
    );
    let session = subnet.open_session(1_000);
    let ((mut one, at), (mut two, _)) =
        (first.open(session, 0).await, second.open(session, 0).await);
    assert_eq!(at, 0);
    let mut outputs = Vec::new();
    let mut handed = 0;
    for (start, end) in [(0, 40), (40, 41), (41, 96), (96, 97), (97, 130)] {
        let between = one.step(start, end).await;
        for receipt in &one.receipts[handed..] {
            two.send(Request::Upstream(receipt.clone()), None).await;
        }
        handed = one.receipts.len();
        outputs.extend(two.step_on(start, &between).await);
        one.pay(end).await;
        two.pay(end).await;
    }
    let heads = [one.finish().await, two.finish().await];
    assert_eq!(heads.map(|head| head.positions), [130, 130]);
    // Both signed the same activations at the boundary between them.
    for (one, two) in one.receipts.iter().zip(&two.receipts) {
        assert_eq!(one.receipt.output, two.receipt.input);
    }
    // Steps of other sizes differ in the last bits, and no more.
    let whole = subnet.reference(Span { start: 0, end: 4 }, &rows(0, 130));
    let worst = outputs
        .iter()
        .zip(&whole)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert_eq!(outputs.len(), whole.len());
    assert!(worst < 1e-3, "{worst}");

    let root = receipt_root(session, &heads);
    subnet.settle(session, &[(FIRST, 130), (SECOND, 130)], root);
    subnet
        .chain
        .advance(quipu_testkit::chain::SETTLEMENT_WINDOW);
    for node in [FIRST, SECOND] {
        assert_eq!(
            subnet.chain.balance(key(node.coldkey).public()),
            PRICE * 2 * 130
        );
    }
    // The session is over: the servers forget it, and had nothing to redeem.
    eventually(|| first.journals().is_empty() && second.journals().is_empty()).await;
    assert!(subnet.redeemed().is_empty());
    first.kill().await;
    second.kill().await;
}

#[tokio::test]
async fn a_killed_stream_is_resumed_without_computing_twice() {
    let (_subnet, worker, session, mut client) = scene().await;
    let input = rows(0, 40);
    let step = client.a_step(0, &input);
    let output = client.step_as(step, input.clone()).await.unwrap();
    let receipts = client.receipts.clone();
    let computed = worker.metrics.positions.get();
    drop(client);

    let (mut client, position) = worker.open(session, 0).await;
    assert_eq!(position, 40);
    // The answer may have been lost on the way: the step is asked for again.
    assert_eq!(client.step_as(step, input).await.unwrap(), output);
    assert_eq!(client.receipts, receipts);
    assert_eq!(worker.metrics.positions.get(), computed);
    client.a_step(40, &rows(40, 41));
    client.step(40, 41).await;
    assert_eq!(worker.metrics.positions.get(), computed + 1);
    worker.kill().await;
}

#[tokio::test]
async fn a_stream_that_dies_with_a_step_under_way_loses_nothing() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 10).await;
    let input = rows(10, 60);
    let step = client.a_step(10, &input);
    client.send(Request::Step(step), Some(input.clone())).await;
    drop(client);

    // Either it was computed before the new stream took over, or it was not begun.
    let (mut client, position) = worker.open(session, 0).await;
    assert!(position == 10 || position == 60, "{position}");
    let output = client.step_as(step, input.clone()).await.unwrap();
    let whole = subnet.reference(FIRST.span, &rows(0, 60));
    let worst = output
        .iter()
        .zip(&whole[320..])
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
    assert_eq!(worker.metrics.positions.get(), 60);
    worker.kill().await;
}

#[tokio::test]
async fn sessions_that_had_one_number_on_two_forks_are_kept_apart() {
    const OTHER: u8 = 77;
    let (subnet, worker, session, mut one) = scene().await;
    one.step(0, 40).await;
    let signed = one.receipts.clone();
    assert_eq!(signed.len(), 1);

    // On the fork that is the best chain now the number is another consumer's, who asks something else.
    let give_to = |name| subnet.chain.change_session_key(session, key(name).public());
    give_to(OTHER);
    let (mut other, position) = worker.open_with(session, OTHER).await;
    assert_eq!(position, 0, "nothing of the first is here");
    let input = rows(7, 47);
    let step = other.a_step(0, &input);
    other.step_as(step, input.clone()).await.unwrap();
    // Signed for the other's key, as the client checks: no lie about the first.
    assert_ne!(other.receipts[0].receipt, signed[0].receipt);

    // The first fork wins after all: what was signed there holds, and nothing else is signed.
    give_to(SESSION_KEY);
    let (mut one, position) = worker.open(session, 0).await;
    assert_eq!(position, 0, "the cache was given up");
    let step = one.a_step(0, &input);
    assert!(one.step_as(step, input).await.is_err());
    let (mut one, _) = worker.open(session, 1).await;
    one.receipts = signed.clone();
    one.step(0, 40).await;
    one.step(40, 64).await;
    assert_eq!(one.receipts.len(), 2);
    assert_eq!(one.receipts[0], signed[0]);
    worker.kill().await;
}

#[tokio::test]
async fn a_second_stream_of_a_session_takes_over() {
    let (subnet, worker) = Setting::usual().server().await;
    let session = subnet.open_session(1_000);
    let (mut old, _) = worker.open(session, 0).await;
    old.step(0, 5).await;
    let (mut new, position) = worker.open(session, 0).await;
    assert_eq!(position, 5);
    old.closed().await;
    let step = new.a_step(5, &rows(5, 6));
    new.step_as(quipu_protocol::Step { step: 1, ..step }, rows(5, 6))
        .await
        .unwrap();
    worker.kill().await;
}

#[tokio::test]
async fn an_unused_cache_goes_to_who_needs_it_and_can_be_replayed() {
    let setup = Setup {
        positions: 200,
        ..Setup::default()
    };
    let (subnet, worker) = Setting::usual().with(setup).server().await;
    let (one, two) = (subnet.open_session(1_000), subnet.open_session(1_000));
    let (mut idle, _) = worker.open(one, 0).await;
    let before = idle.step(0, 40).await;

    // There is no room until the lease is over.
    let mut late = worker.connect(two).await;
    let open = late.an_open(0, 200);
    assert_eq!(late.try_open(open.clone()).await, Err(RefusalCode::Busy));
    late.closed().await;
    worker.clock.advance(LEASE);
    let (mut late, _) = worker.open(two, 0).await;
    idle.closed().await;
    assert_eq!(worker.metrics.evicted.get(), 1);

    // The one that was idle comes back once there is room again.
    let mut again = worker.connect(one).await;
    let open = again.an_open(0, 200);
    assert_eq!(again.try_open(open).await, Err(RefusalCode::Busy));
    late.step(0, 1).await;
    late.finish().await;
    let (mut again, position) = worker.open(one, 0).await;
    assert_eq!(position, 0);
    // What was signed stays signed: the replay brings no receipt.
    again.receipts = idle.receipts.clone();
    assert_eq!(again.step(0, 40).await, before);
    again.step(40, 64).await;
    assert_eq!(again.receipts.len(), 2);
    worker.kill().await;
}

#[tokio::test]
async fn a_session_that_the_chain_does_not_know_yet_is_waited_for() {
    let setup = Setup {
        session_patience: PATIENCE,
        ..Setup::default()
    };
    let (subnet, worker) = Setting::usual().with(setup).server().await;
    let mut client = worker.connect(1).await;
    let open = client.an_open(0, 100);
    let opening = tokio::spawn(async move { client.try_open(open).await });
    assert_eq!(subnet.open_session(1_000), 1);
    assert_eq!(soon(opening).await.unwrap(), Ok(0));
    worker.kill().await;
}

#[tokio::test]
async fn after_a_crash_the_session_goes_on_and_nothing_is_signed_twice() {
    let (subnet, worker, session, mut client) = scene().await;
    let first = client.step(0, 40).await;
    client.pay(40).await;
    let base = worker.kill().await;

    let worker = Worker::restart(&subnet, FIRST, base).await;
    let (mut again, position) = worker.open(session, 0).await;
    assert_eq!(position, 0);
    again.receipts = client.receipts.clone();
    // Lower than what was promised before the crash.
    assert_eq!(again.try_pay(39).await, Err(RefusalCode::Voucher));
    // Other inputs for what was signed are refused, the same ones are replayed.
    let other = again.try_step_with(0, rows(1, 41)).await;
    assert_eq!(other, Err(RefusalCode::Position));
    assert_eq!(again.step(0, 40).await, first);
    again.step(40, 64).await;
    assert_eq!(again.receipts.len(), 2);
    worker.kill().await;
}

#[tokio::test]
async fn sessions_are_served_side_by_side() {
    let (subnet, worker) = Setting::usual().server().await;
    let (one, two) = (subnet.open_session(1_000), subnet.open_session(1_000));
    let ((mut one, _), (mut two, _)) = (worker.open(one, 0).await, worker.open(two, 0).await);
    let alone = subnet.reference(FIRST.span, &rows(0, 9));
    for position in 0..9 {
        let (a, b) = tokio::join!(
            one.step(position, position + 1),
            two.step(position, position + 1)
        );
        assert_eq!(a, b);
        let expected = &alone[(position * HIDDEN) as usize..((position + 1) * HIDDEN) as usize];
        let worst = a
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-3, "{worst}");
    }
    worker.kill().await;
}

#[tokio::test]
async fn a_server_announces_what_it_is() {
    let subnet = Subnet::new();
    let worker = Worker::start(&subnet, FIRST).await;
    let record = worker.announced.borrow().last().unwrap().clone();
    let said = record.announcement;
    assert_eq!(
        (said.subnet, said.node, said.span),
        (SUBNET, FIRST.id, FIRST.span)
    );
    assert_eq!((said.free_positions, said.made_at), (512, 1_000));
    assert!(said.prefill_rate > 0 && said.decode_micros > 0);
    let payload = said.payload(&quipu_testkit::chain::GENESIS);
    let hotkey = key(FIRST.hotkey).public();
    assert!(quipu_worker_core::verify(
        &hotkey,
        &payload,
        &record.signature
    ));
    assert!(Duration::from_micros(said.decode_micros.into()) < Duration::from_secs(1));
    worker.kill().await;
}
