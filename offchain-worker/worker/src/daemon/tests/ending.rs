//! How a worker ends.

use super::{rig::*, scene::Setting};
use quipu_protocol::{RefusalCode, ServerState};
use quipu_worker_core::{ports::Chain, Signer};
use std::time::Duration;

#[tokio::test]
async fn a_draining_worker_ends_what_it_began_and_takes_nothing_new() {
    let (subnet, mut worker) = Setting::usual().server().await;
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
    let setup = Setup {
        drain: Duration::from_millis(1),
        ..Setup::default()
    };
    let (_subnet, worker, _, mut client) = Setting::usual().with(setup).scene().await;
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
