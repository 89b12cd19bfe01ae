//! A worker that was not told its blocks goes where it is needed.

use super::{
    rig::*,
    swarm::{in_memory_with, setup},
};
use crate::daemon::{Balancing, Ended, Pause};
use quipu_primitives::Span;
use quipu_protocol::{RefusalCode, ServerState};
use quipu_testkit::MemorySwarm;
use quipu_worker_core::ports::Call;
use std::sync::{
    atomic::{AtomicUsize, Ordering},
    Arc,
};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Lets a worker look at the swarm as often as the test says.
#[derive(Clone)]
struct Looks {
    allowed: Arc<Semaphore>,
    total: Arc<AtomicUsize>,
    /// How often a worker began to wait for its next look.
    waits: Arc<AtomicUsize>,
}

impl Looks {
    fn none() -> Self {
        Looks {
            allowed: Arc::new(Semaphore::new(0)),
            total: Arc::default(),
            waits: Arc::default(),
        }
    }

    /// Allows so many looks.
    fn allow(&self, looks: usize) {
        self.total.fetch_add(looks, Ordering::SeqCst);
        self.allowed.add_permits(looks);
    }

    /// The worker has looked so many times, and waits again.
    async fn look(&self, looks: usize) {
        self.allow(looks);
        let total = self.total.load(Ordering::SeqCst);
        eventually(|| self.waits.load(Ordering::SeqCst) > total).await;
    }

    fn pause(&self) -> Pause {
        let looks = self.clone();
        Arc::new(move || {
            looks.waits.fetch_add(1, Ordering::SeqCst);
            let allowed = looks.allowed.clone();
            Box::pin(async move { allowed.acquire_owned().await.unwrap().forget() })
        })
    }
}

fn balancing(swarm: &MemorySwarm, looks: &Looks, most: u16) -> Setup {
    Setup {
        balancing: Some(Balancing {
            blocks: 4,
            most,
            pause: looks.pause(),
        }),
        peers: Some(Arc::new(swarm.client(b"lookout"))),
        ..setup()
    }
}

/// One that gives its seat back when it ends.
fn leaving() -> Setup {
    Setup {
        leave_on_exit: true,
        ..setup()
    }
}

/// Waits until the workers know of the last block.
async fn seen_by(subnet: &Subnet, workers: &[&Worker]) {
    let block = i64::from(subnet.chain.block());
    eventually(|| {
        workers
            .iter()
            .all(|worker| worker.metrics.block.get() >= block)
    })
    .await;
}

fn leaves(subnet: &Subnet, node: Node) -> usize {
    let calls = subnet.chain.calls();
    let left = |call: &Call| matches!(call, Call::Leave { node: left } if *left == node.id);
    calls.iter().filter(|(_, call)| left(call)).count()
}

fn on(node: Node, span: Span) -> Node {
    Node { span, ..node }
}

#[tokio::test]
async fn a_stand_by_takes_the_blocks_of_one_that_left() {
    let (subnet, swarm, looks) = (Subnet::new(), MemorySwarm::default(), Looks::none());
    let first = in_memory_with(&subnet, FIRST, &swarm, setup()).await;
    let second = in_memory_with(&subnet, SECOND, &swarm, leaving()).await;
    let third = in_memory_with(&subnet, THIRD, &swarm, balancing(&swarm, &looks, 2)).await;
    // All is well: nobody moves.
    looks.look(5).await;
    assert_eq!(leaves(&subnet, THIRD), 0);

    second.kill().await;
    seen_by(&subnet, &[&third]).await;
    // The first is ranked before it, and it thinks twice: only the third look counts.
    looks.look(2).await;
    assert_eq!(leaves(&subnet, THIRD), 0);
    looks.allow(1);
    assert_eq!(third.ended().await.unwrap(), Ended::Move(BACK));
    assert_eq!(leaves(&subnet, THIRD), 1);
    let third = in_memory_with(
        &subnet,
        on(THIRD, BACK),
        &swarm,
        balancing(&swarm, &looks, 2),
    )
    .await;
    assert!(subnet.is_active().await);
    // There it stays.
    looks.look(5).await;
    assert_eq!(leaves(&subnet, THIRD), 1);
    first.kill().await;
    third.kill().await;
}

#[tokio::test]
async fn two_that_could_go_do_not_both_go() {
    let (subnet, swarm) = (Subnet::new(), MemorySwarm::default());
    let looks = [Looks::none(), Looks::none()];
    let second = in_memory_with(&subnet, SECOND, &swarm, leaving()).await;
    let first = in_memory_with(&subnet, FIRST, &swarm, balancing(&swarm, &looks[0], 2)).await;
    let third = in_memory_with(&subnet, THIRD, &swarm, balancing(&swarm, &looks[1], 2)).await;
    second.kill().await;
    seen_by(&subnet, &[&first, &third]).await;
    looks[0].allow(2);
    looks[1].look(2).await;
    assert_eq!(first.ended().await.unwrap(), Ended::Move(BACK));
    let first = in_memory_with(
        &subnet,
        on(FIRST, BACK),
        &swarm,
        balancing(&swarm, &looks[0], 2),
    )
    .await;
    seen_by(&subnet, &[&third]).await;
    for looks in &looks {
        looks.look(5).await;
    }
    assert_eq!((leaves(&subnet, FIRST), leaves(&subnet, THIRD)), (1, 0));
    assert!(subnet.is_active().await);
    first.kill().await;
    third.kill().await;
}

#[tokio::test]
async fn a_server_that_died_without_a_word_is_replaced_too() {
    let (subnet, swarm, looks) = (Subnet::new(), MemorySwarm::default(), Looks::none());
    // Its seat is there, but nobody ever heard of it.
    subnet.seat(SECOND);
    let first = in_memory_with(&subnet, FIRST, &swarm, setup()).await;
    let third = in_memory_with(&subnet, THIRD, &swarm, balancing(&swarm, &looks, 2)).await;
    looks.allow(3);
    assert_eq!(third.ended().await.unwrap(), Ended::Move(BACK));
    first.kill().await;
}

#[tokio::test]
async fn who_hears_of_nobody_stays_where_it_is() {
    let (subnet, swarm, looks) = (Subnet::new(), MemorySwarm::default(), Looks::none());
    subnet.seat(FIRST);
    subnet.seat(SECOND);
    let third = in_memory_with(&subnet, THIRD, &swarm, balancing(&swarm, &looks, 2)).await;
    looks.look(6).await;
    assert_eq!(leaves(&subnet, THIRD), 0);
    third.kill().await;
}

#[tokio::test]
async fn what_runs_is_finished_before_the_worker_moves() {
    let (subnet, swarm, looks) = (Subnet::new(), MemorySwarm::default(), Looks::none());
    subnet.seat(SECOND);
    let first = in_memory_with(&subnet, FIRST, &swarm, setup()).await;
    // Reached by the test's own client.
    let impatient = Setup {
        drain: Duration::from_millis(1),
        ..balancing(&swarm, &looks, 2)
    };
    let mut third = Worker::start_with(&subnet, THIRD, impatient).await;
    let open = || subnet.open_session_with(&[FIRST, SECOND, THIRD], 1_000, SESSION_KEY);
    let (running, new) = (open(), open());
    let (mut client, _) = third.open(running, 0).await;
    client.step(0, 10).await;
    looks.allow(3);
    third.until_state(ServerState::Draining).await;
    assert_eq!(leaves(&subnet, THIRD), 1, "no new session can name it");
    let mut refused = third.connect(new).await;
    let open = refused.an_open(0, 100);
    assert_eq!(refused.try_open(open).await, Err(RefusalCode::Draining));
    // However long it takes: there is no hurry as there is when it is told to stop.
    client.step(10, 60).await;
    client.pay(60).await;
    client.finish().await;
    assert_eq!(third.ended().await.unwrap(), Ended::Move(BACK));
    first.kill().await;
}

#[tokio::test]
async fn a_worker_on_the_move_that_is_told_to_stop_stops() {
    let (subnet, swarm, looks) = (Subnet::new(), MemorySwarm::default(), Looks::none());
    subnet.seat(SECOND);
    let first = in_memory_with(&subnet, FIRST, &swarm, setup()).await;
    let setup = Setup {
        leave_on_exit: true,
        ..balancing(&swarm, &looks, 2)
    };
    let mut third = Worker::start_with(&subnet, THIRD, setup).await;
    let running = subnet.open_session_with(&[FIRST, SECOND, THIRD], 1_000, SESSION_KEY);
    let (mut client, _) = third.open(running, 0).await;
    client.step(0, 10).await;
    looks.allow(3);
    third.until_state(ServerState::Draining).await;
    third.stop.gently.cancel();
    client.finish().await;
    assert_eq!(third.ended().await.unwrap(), Ended::Stopped);
    assert_eq!(
        leaves(&subnet, THIRD),
        1,
        "there is but one seat to give back"
    );
    first.kill().await;
}
