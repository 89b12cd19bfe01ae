use super::*;
use crate::daemon::tests::rig::{key, soon, Subnet, CONSUMER, FIRST, SECOND, SUBNET, THIRD};
use quipu_testkit::chain::JOB_TIMEOUT;
use quipu_worker_core::{ports::Call, Signer};

struct Following {
    view: ChainView,
    jobs: mpsc::Receiver<JobId>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Following {
    async fn start(subnet: &Subnet) -> Self {
        let book = Arc::<Book>::default();
        let started = ChainSync::start(subnet.chain.clone(), SUBNET, FIRST.id, book).await;
        let (sync, view, jobs) = started.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(sync.run(stop.clone()));
        Following {
            view,
            jobs,
            stop,
            task,
        }
    }

    async fn next(&mut self) -> JobId {
        soon(self.jobs.recv()).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap();
    }
}

fn ask(subnet: &Subnet) -> JobId {
    let request = Call::RequestJob {
        subnet: SUBNET,
        prompt: b"what is it?".to_vec(),
        max_tokens: 8,
        fee: 7,
    };
    match subnet.apply(CONSUMER, request).events[..] {
        [ChainEvent::JobRequested { job, .. }] => job,
        ref other => panic!("{other:?}"),
    }
}

fn seated() -> Subnet {
    let subnet = Subnet::new();
    subnet.seat(FIRST);
    subnet.seat(SECOND);
    subnet
}

#[tokio::test(start_paused = true)]
async fn jobs_from_before_the_start_come_first_and_each_comes_once() {
    let subnet = seated();
    let late = ask(&subnet);
    subnet.chain.advance(JOB_TIMEOUT + 1);
    let (one, two) = (ask(&subnet), ask(&subnet));
    let mut following = Following::start(&subnet).await;
    assert_eq!([following.next().await, following.next().await], [one, two]);
    let three = ask(&subnet);
    assert_eq!(following.next().await, three);
    assert!(late < one);
    // Everything is read again, and nothing comes twice.
    subnet.chain.end_events();
    let four = ask(&subnet);
    assert_eq!(following.next().await, four);
    assert!(following.jobs.try_recv().is_err());
    following.end().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_of_others_are_left_to_them() {
    let subnet = Subnet::new();
    subnet.seat(SECOND);
    subnet.seat(THIRD);
    let foreign = ask(&subnet);
    subnet.seat(FIRST);
    let mut following = Following::start(&subnet).await;
    let own = ask(&subnet);
    assert!(foreign < own);
    assert_eq!(following.next().await, own);
    following.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_taken_up_when_there_is_some() {
    let subnet = seated();
    let asked: Vec<JobId> = (0..JOB_QUEUE + 3).map(|_| ask(&subnet)).collect();
    let mut following = Following::start(&subnet).await;
    let mut got = Vec::new();
    for _ in 0..JOB_QUEUE {
        got.push(following.next().await);
    }
    assert_eq!(got, asked[..JOB_QUEUE]);
    assert!(following.jobs.try_recv().is_err());
    subnet.chain.advance(1);
    for _ in JOB_QUEUE..asked.len() {
        got.push(following.next().await);
    }
    assert_eq!(got, asked);
    following.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_read_with_a_later_block() {
    let subnet = seated();
    let job = ask(&subnet);
    let mut following = Following::start(&subnet).await;
    subnet.chain.set_reachable(false);
    tokio::task::yield_now().await;
    assert!(following.jobs.try_recv().is_err());
    subnet.chain.set_reachable(true);
    assert_eq!(following.next().await, job);
    subnet.chain.set_reachable(false);
    subnet.chain.change_node(SECOND.id, |node| node.seat = None);
    let block = subnet.chain.block();
    // Time stands still until everything that can be done is done.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(following
        .view
        .roster
        .borrow()
        .iter()
        .all(|node| node.id > 2 || node.seat.is_some()));
    // Nobody sees a block whose roster is not known yet.
    assert!(*following.view.block.borrow() < block);
    subnet.chain.set_reachable(true);
    subnet.chain.advance(1);
    let left = |roster: &Roster| {
        let second = roster.iter().find(|node| node.id == SECOND.id);
        second.is_some_and(|node| node.seat.is_none())
    };
    soon(following.view.roster.wait_for(left)).await.unwrap();
    soon(following.view.block.wait_for(|seen| *seen > block))
        .await
        .unwrap();
    following.end().await;
}

#[tokio::test(start_paused = true)]
async fn keys_and_prices_that_change_are_seen() {
    let subnet = seated();
    let mut following = Following::start(&subnet).await;
    let new = key(77).public();
    subnet
        .chain
        .change_node(SECOND.id, |node| node.hotkey = new);
    let swapped = |roster: &Roster| roster.iter().any(|node| node.hotkey == new);
    soon(following.view.roster.wait_for(swapped)).await.unwrap();
    let dearer = Call::UpdatePrice {
        node: FIRST.id,
        price: 99,
    };
    subnet.apply(FIRST.hotkey, dearer);
    let changed = |roster: &Roster| {
        let price = |node: &NodeInfo<AccountBytes>| node.seat.as_ref().map(|seat| seat.price);
        roster.iter().any(|node| price(node) == Some(99))
    };
    soon(following.view.roster.wait_for(changed)).await.unwrap();
    following.end().await;
}
