//! How a worker takes its seat, and what it does when it loses it.

use super::{rig::*, scene::Setting};
use crate::{
    daemon::{seat::FAREWELL, Ended},
    error::WorkerError,
};
use quipu_primitives::{views::SeatInfo, NodeId, Span};
use quipu_protocol::{RefusalCode, ServerState};
use quipu_testkit::chain::MIN_SELF_BOND;
use quipu_worker_core::{
    ports::{Call, Chain, ChainError},
    Signer,
};

const LEAVE: Call = Call::Leave { node: FIRST.id };

/// How often the chain took or refused calls of this kind.
fn count(subnet: &Subnet, is_it: impl Fn(&Call) -> bool) -> usize {
    let calls = subnet.chain.calls();
    calls.iter().filter(|(_, call)| is_it(call)).count()
}

fn joins(subnet: &Subnet) -> usize {
    count(subnet, |call| matches!(call, Call::Join { .. }))
}

fn leaves(subnet: &Subnet) -> usize {
    count(subnet, |call| matches!(call, Call::Leave { .. }))
}

async fn seat(subnet: &Subnet, node: NodeId) -> Option<SeatInfo> {
    let roster = subnet.chain.roster(SUBNET).await.unwrap();
    let own = roster.into_iter().find(|info| info.id == node);
    own.unwrap().seat
}

/// Takes so much of the first server's bond that the rest is not enough, as a slash would.
fn slash(subnet: &Subnet) {
    let unbond = Call::Unbond {
        node: FIRST.id,
        amount: 5_000 - MIN_SELF_BOND + 1,
    };
    subnet.apply(FIRST.coldkey, unbond);
}

/// Lets so many blocks pass, and waits until the worker has seen them.
async fn later(subnet: &Subnet, worker: &Worker, blocks: u32) {
    subnet.chain.advance(blocks);
    let now = i64::from(subnet.chain.block());
    eventually(|| worker.metrics.block.get() >= now).await;
}

#[tokio::test]
async fn a_seat_is_taken_once_and_another_price_is_one_call() {
    let subnet = Subnet::new();
    let base = Worker::start(&subnet, FIRST).await.kill().await;
    assert_eq!(joins(&subnet), 1);
    let base = Worker::restart(&subnet, FIRST, base).await.kill().await;
    assert_eq!(joins(&subnet), 1);
    let dearer = Setup {
        price: PRICE + 1,
        ..Setup::default()
    };
    let worker = Worker::restart_with(&subnet, FIRST, dearer, base).await;
    // A seat that was left for a moment would have made the subnet inactive.
    assert_eq!((joins(&subnet), leaves(&subnet)), (1, 0));
    let changes =
        |call: &Call| matches!(call, Call::UpdatePrice { node: 1, price } if *price == PRICE + 1);
    assert_eq!(count(&subnet, changes), 1);
    assert_eq!(seat(&subnet, FIRST.id).await.unwrap().price, PRICE + 1);
    worker.kill().await;
}

#[tokio::test]
async fn a_server_says_that_it_serves_once_its_seat_is_final() {
    let subnet = Subnet::new();
    subnet.chain.hold_finality();
    let base = tempfile::tempdir().unwrap();
    let mut worker = Worker::launch(&subnet, FIRST, Setup::default(), base).await;
    eventually(|| joins(&subnet) == 1).await;
    // The best block has the seat, and more blocks follow; no client can know it yet.
    subnet.chain.advance(3);
    let mut stream = worker.connect(9).await;
    let open = stream.an_open(0, 100);
    assert_eq!(stream.try_open(open).await, Err(RefusalCode::Session));
    let online = |records: &[quipu_protocol::SignedAnnouncement]| {
        records
            .iter()
            .any(|record| record.announcement.state == ServerState::Online)
    };
    worker.until_state(ServerState::Joining).await;
    assert!(!online(&worker.announced.borrow()));

    subnet.chain.release_finality();
    worker.until_state(ServerState::Online).await;
    // It stays so while further blocks are slow to become final.
    subnet.chain.hold_finality();
    subnet.chain.advance(3);
    worker.stop.gently.cancel();
    assert_eq!(worker.ended().await.unwrap(), Ended::Stopped);
    assert_eq!((joins(&subnet), leaves(&subnet)), (1, 0));
}

#[tokio::test]
async fn a_server_that_waits_for_its_seat_again_says_so() {
    let subnet = Subnet::new();
    let mut worker = Worker::start(&subnet, FIRST).await;
    subnet
        .chain
        .fail_next(ChainError::Unreachable("test".into()));
    subnet.chain.change_node(FIRST.id, |node| node.seat = None);
    worker.until_state(ServerState::Joining).await;
    subnet.chain.advance(1);
    worker.until_state(ServerState::Online).await;
    assert_eq!(joins(&subnet), 2);
    worker.kill().await;
}

#[tokio::test]
async fn a_seat_on_other_blocks_is_given_back_first() {
    let subnet = Subnet::new();
    let other = Node {
        span: SECOND.span,
        ..FIRST
    };
    subnet.seat(other);
    let worker = Worker::start(&subnet, FIRST).await;
    assert_eq!((joins(&subnet), leaves(&subnet)), (2, 1));
    assert_eq!(seat(&subnet, FIRST.id).await.unwrap().span, FIRST.span);
    worker.kill().await;
}

#[tokio::test]
async fn a_node_without_enough_bond_is_told_to_bond() {
    let subnet = Subnet::new();
    slash(&subnet);
    let base = tempfile::tempdir().unwrap();
    let worker = Worker::launch(&subnet, FIRST, Setup::default(), base).await;
    let error = worker.ended().await.unwrap_err();
    assert!(
        matches!(
            error,
            WorkerError::NotStaked {
                node: 1,
                bonded: 999,
                pending: 0
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("quipu node bond"));
}

#[tokio::test]
async fn a_farewell_that_comes_late_costs_a_restarted_worker_nothing() {
    let subnet = Subnet::new();
    let leaving = || Setup {
        leave_on_exit: true,
        ..Setup::default()
    };
    let worker = Worker::start_with(&subnet, FIRST, leaving()).await;
    // Its farewell is on its way when the worker is killed, and comes into a block only once the
    // next one has found the seat taken.
    subnet
        .chain
        .fail_next(ChainError::Unreachable("test".into()));
    let base = worker.kill().await;
    let worker = Worker::restart_with(&subnet, FIRST, leaving(), base).await;
    assert_eq!(joins(&subnet), 1);
    subnet.apply(FIRST.hotkey, LEAVE);
    subnet.until(|_| joins(&subnet) == 2).await;
    later(&subnet, &worker, 3).await;
    assert_eq!(joins(&subnet), 2, "once is enough");
    assert!(seat(&subnet, FIRST.id).await.is_some());
    worker.stop.gently.cancel();
    assert_eq!(worker.ended().await.unwrap(), Ended::Stopped);
    assert!(seat(&subnet, FIRST.id).await.is_none());
}

#[tokio::test]
async fn a_seat_that_the_chain_gives_only_later_is_tried_for_again() {
    let subnet = Subnet::new();
    let worker = Worker::start(&subnet, FIRST).await;
    subnet
        .chain
        .fail_next(ChainError::Unreachable("test".into()));
    subnet.chain.change_node(FIRST.id, |node| node.seat = None);
    eventually(|| subnet.chain.failures_left() == 0).await;
    subnet.chain.advance(1);
    subnet.until(|_| joins(&subnet) == 2).await;
    worker.kill().await;
}

#[tokio::test]
async fn an_owner_who_takes_the_seat_away_stops_the_worker_once_its_sessions_end() {
    let setup = Setup {
        leave_on_exit: true,
        ..Setup::default()
    };
    let (subnet, mut worker) = Setting::usual().with(setup).server().await;
    let (running, new) = (subnet.open_session(1_000), subnet.open_session(1_000));
    let (mut client, _) = worker.open(running, 0).await;
    client.step(0, 10).await;
    later(&subnet, &worker, FAREWELL + 1).await;
    subnet.apply(FIRST.coldkey, LEAVE);
    worker.until_state(ServerState::Draining).await;
    let mut refused = worker.connect(new).await;
    let open = refused.an_open(0, 100);
    assert_eq!(refused.try_open(open).await, Err(RefusalCode::Draining));
    // What began before is served and paid to its end.
    client.step(10, 20).await;
    client.pay(20).await;
    client.finish().await;
    let error = worker.ended().await.unwrap_err();
    assert!(
        matches!(
            error,
            WorkerError::SeatLost {
                node: 1,
                bonded: 5_000,
                ..
            }
        ),
        "{error}"
    );
    let told = error.to_string();
    assert!(
        told.contains("0:2") && told.contains("start the worker again"),
        "{told}"
    );
    // There is nothing left to give back.
    assert_eq!((joins(&subnet), leaves(&subnet)), (2, 1));
}

#[tokio::test]
async fn an_owner_who_insists_is_not_fought() {
    let subnet = Subnet::new();
    let worker = Worker::start(&subnet, FIRST).await;
    subnet.apply(FIRST.coldkey, LEAVE);
    subnet.until(|_| joins(&subnet) == 2).await;
    subnet.apply(FIRST.coldkey, LEAVE);
    let error = worker.ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::SeatLost { .. }), "{error}");
    assert_eq!(joins(&subnet), 2);
}

#[tokio::test]
async fn a_slash_stops_the_worker_and_names_the_bond() {
    for (wait, told) in [
        (1, "has bonded 0.000000000999 QPU"),
        (FAREWELL + 1, "its bond of 0.000000000999 QPU"),
    ] {
        let subnet = Subnet::new();
        let worker = Worker::start(&subnet, FIRST).await;
        later(&subnet, &worker, wait).await;
        slash(&subnet);
        let error = worker.ended().await.unwrap_err().to_string();
        assert!(
            error.contains(told) && error.contains("quipu node bond"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn who_is_charged_with_something_is_told_so() {
    for (wait, told) in [
        (1, "has bonded 0 QPU (0.000000005 QPU wait to be slashed)"),
        (
            FAREWELL + 1,
            "its bond of 0 QPU (0.000000005 QPU wait to be slashed)",
        ),
    ] {
        let subnet = Subnet::new();
        let worker = Worker::start(&subnet, FIRST).await;
        later(&subnet, &worker, wait).await;
        subnet.chain.change_node(FIRST.id, |node| {
            (node.self_bond, node.pending_slash, node.seat) = (0, 5_000, None);
        });
        let error = worker.ended().await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_is_another_s_now_stops_the_worker() {
    let other_seat = SeatInfo {
        span: Span { start: 2, end: 4 },
        price: PRICE,
        profile: quipu_testkit::tiny::flex_profile().digest(),
    };
    type Change = Box<dyn FnOnce(&mut quipu_primitives::views::NodeInfo<[u8; 32]>)>;
    let cases: [(Change, &str); 3] = [
        (
            Box::new(|node| node.hotkey = key(99).public()),
            "signs for no node any more",
        ),
        (
            Box::new(|node| node.peer_id = vec![1, 2].try_into().unwrap()),
            "another peer id",
        ),
        (
            Box::new(|node| node.seat = Some(other_seat)),
            "has a seat for blocks 2:4",
        ),
    ];
    for (change, told) in cases {
        let subnet = Subnet::new();
        let worker = Worker::start(&subnet, FIRST).await;
        later(&subnet, &worker, 1).await;
        subnet.chain.change_node(FIRST.id, change);
        let error = worker.ended().await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!((joins(&subnet), leaves(&subnet)), (1, 0));
    }
}

#[tokio::test]
async fn a_price_that_the_owner_sets_stays() {
    let subnet = Subnet::new();
    let worker = Worker::start(&subnet, FIRST).await;
    let price = 50;
    subnet.apply(
        FIRST.coldkey,
        Call::UpdatePrice {
            node: FIRST.id,
            price,
        },
    );
    later(&subnet, &worker, 2).await;
    assert_eq!(seat(&subnet, FIRST.id).await.unwrap().price, price);
    worker.stop.gently.cancel();
    worker.ended().await.unwrap();
    assert_eq!((joins(&subnet), leaves(&subnet)), (1, 0));
}
