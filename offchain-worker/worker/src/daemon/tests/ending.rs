//! How a worker takes its seat, and how it ends.

use super::rig::*;
use crate::error::WorkerError;
use quipu_protocol::{RefusalCode, ServerState};
use quipu_testkit::chain::MIN_SELF_BOND;
use quipu_worker_core::{
    ports::{Call, Chain},
    Signer,
};
use std::time::Duration;

#[tokio::test]
async fn a_draining_worker_ends_what_it_began_and_takes_nothing_new() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let mut worker = Worker::start(&subnet, FIRST).await;
    let (running, new) = (subnet.open_session(1_000), subnet.open_session(1_000));
    let (mut client, _) = worker.open(running, 0).await;
    client.step(0, 10).await;
    worker.stop.gently.cancel();
    worker.until_state(ServerState::Draining).await;

    let mut refused = worker.connect(new).await;
    let open = refused.an_open(0, 100);
    assert_eq!(refused.try_open(open).await, Err(RefusalCode::Draining));
    client.step(10, 20).await;
    // Even on a new stream.
    drop(client);
    let (mut client, position) = worker.open(running, 0).await;
    assert_eq!(position, 20);
    client.finish().await;
    worker.ended().await.unwrap();
    // It keeps its seat, for it may come back.
    let node = subnet
        .chain
        .node_of_hotkey(key(FIRST.hotkey).public())
        .await
        .unwrap();
    assert!(node.unwrap().seat.is_some());
}

#[tokio::test]
async fn draining_does_not_wait_for_ever() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    let setup = Setup {
        drain: Duration::from_millis(1),
        ..Setup::default()
    };
    let worker = Worker::start_with(&subnet, FIRST, setup).await;
    let (mut client, _) = worker.open(subnet.open_session(1_000), 0).await;
    client.step(0, 10).await;
    worker.stop.gently.cancel();
    worker.ended().await.unwrap();
    client.closed().await;
}

#[tokio::test]
async fn an_idle_worker_leaves_at_once_and_gives_its_seat_back_if_told_to() {
    let subnet = Subnet::new();
    let setup = Setup {
        leave_on_exit: true,
        ..Setup::default()
    };
    let worker = Worker::start_with(&subnet, FIRST, setup).await;
    worker.stop.gently.cancel();
    worker.ended().await.unwrap();
    let node = subnet
        .chain
        .node_of_hotkey(key(FIRST.hotkey).public())
        .await
        .unwrap();
    assert!(node.unwrap().seat.is_none());
}

fn joins(subnet: &Subnet) -> usize {
    subnet
        .chain
        .calls()
        .iter()
        .filter(|(_, call)| matches!(call, Call::Join { .. }))
        .count()
}

#[tokio::test]
async fn a_seat_is_taken_once_and_changed_when_the_terms_change() {
    let subnet = Subnet::new();
    let base = Worker::start(&subnet, FIRST).await.kill().await;
    assert_eq!(joins(&subnet), 1);
    let mut worker = Worker::launch(&subnet, FIRST, Setup::default(), base).await;
    worker.until_state(ServerState::Online).await;
    let base = worker.kill().await;
    assert_eq!(joins(&subnet), 1);
    let dearer = Setup {
        price: PRICE + 1,
        ..Setup::default()
    };
    let mut worker = Worker::launch(&subnet, FIRST, dearer, base).await;
    worker.until_state(ServerState::Online).await;
    assert_eq!(joins(&subnet), 2);
    let roster = subnet.chain.roster(SUBNET).await.unwrap();
    assert_eq!(roster[0].seat.as_ref().unwrap().price, PRICE + 1);
    worker.kill().await;
}

#[tokio::test]
async fn a_node_without_enough_bond_is_told_to_bond() {
    let subnet = Subnet::new();
    let unbond = Call::Unbond {
        node: FIRST.id,
        amount: 5_000 - MIN_SELF_BOND + 1,
    };
    subnet.apply(FIRST.coldkey, unbond);
    let base = tempfile::tempdir().unwrap();
    let worker = Worker::launch(&subnet, FIRST, Setup::default(), base).await;
    let error = worker.ended().await.unwrap_err();
    assert!(
        matches!(
            error,
            WorkerError::NotStaked {
                node: 1,
                bonded: 999
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("quipu node bond"));
}
