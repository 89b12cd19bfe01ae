//! What a server keeps for those who audit it, and what it says to them.

use super::{
    rig::*,
    scene::{scene, Setting},
};
use crate::serve::EvidenceStore;
use quipu_attest::check::{boundary, End};
use quipu_attest::Boundary;
use quipu_primitives::{
    audit::{Outcome, Subject},
    DType, Receipt,
};
use quipu_protocol::{Fetch, RefusalCode, Request, Response, SignedReceipt, VERSION};
use quipu_testkit::chain::SETTLEMENT_WINDOW;
use quipu_worker_core::Signer;
use std::path::Path;

const ROW: usize = 4 * HIDDEN as usize;

fn store(base: &Path) -> EvidenceStore {
    EvidenceStore::open(&base.join("evidence"), 1 << 30, ROW).unwrap()
}

fn subject(session: u64) -> Subject {
    Subject {
        session,
        node: FIRST.id,
    }
}

/// The rows behind these receipts are there, and they are those that were signed.
fn shown(base: &Path, session: u64, receipts: &[SignedReceipt]) -> bool {
    let store = store(base);
    let session_key = key(SESSION_KEY).public();
    let receipts: Vec<Receipt> = receipts.iter().map(|one| one.receipt.clone()).collect();
    let (mut given, mut gave) = (Vec::new(), Vec::new());
    for receipt in &receipts {
        let range = (receipt.start, receipt.end);
        let Some(evidence) = store.read(session, &session_key, range).unwrap() else {
            return false;
        };
        given.extend_from_slice(&evidence.input);
        gave.extend_from_slice(&evidence.output);
    }
    for (end, block, rows) in [
        (End::Entrance, FIRST.span.start, given),
        (End::Exit, FIRST.span.end, gave),
    ] {
        let committed = Boundary::new(session, block, HIDDEN, DType::F32).unwrap();
        boundary(committed, end, &receipts, &rows).unwrap();
    }
    true
}

#[tokio::test]
async fn what_is_signed_can_be_shown_until_the_session_is_paid_out() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 70).await;
    client.pay(70).await;
    client.step(70, 71).await;
    assert_eq!(client.receipts.len(), 2);
    assert!(shown(worker.base.path(), session, &client.receipts));
    let head = client.finish().await;
    assert_eq!((head.positions, client.receipts.len()), (71, 3));
    assert!(shown(worker.base.path(), session, &client.receipts));

    subnet.settle(session, &[(FIRST, 70)], [7; 32]);
    subnet.chain.advance(SETTLEMENT_WINDOW);
    eventually(|| worker.journals().is_empty()).await;
    let folder = worker.base.path().join("evidence");
    eventually(|| files(&folder).is_empty()).await;
    worker.kill().await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_signed_for() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 40).await;
    let before = client.receipts.clone();
    let base = worker.kill().await;
    assert!(shown(base.path(), session, &before));

    // The open range is computed again, and the rows are those that are signed in the end. The backend
    // gives other bits where the steps are cut in another way.
    let worker = Worker::restart(&subnet, FIRST, base).await;
    let (mut client, position) = worker.open(session, 1).await;
    assert_eq!(position, 0);
    client.receipts = before;
    client.step(0, 33).await;
    client.step(33, 70).await;
    assert_eq!(client.receipts.len(), 2);
    assert!(shown(worker.base.path(), session, &client.receipts));
    worker.kill().await;
}

#[tokio::test]
async fn a_session_that_might_not_fit_is_refused_and_one_that_ended_makes_room() {
    let setup = Setup {
        // The client means to use 200 positions.
        audit_space: (2 * 300 * ROW) as u64,
        ..Setup::default()
    };
    let (subnet, worker, session, mut client) = Setting::usual().with(setup).scene().await;
    client.step(0, 40).await;
    let other = subnet.open_session(1_000);
    let try_open = async || {
        let mut another = worker.connect(other).await;
        let open = another.an_open(0, 200);
        another.try_open(open).await
    };
    assert_eq!(try_open().await, Err(RefusalCode::Busy));

    // It took 40 of its 200 positions.
    client.pay(40).await;
    client.finish().await;
    drop(client);
    let folder = worker.base.path().join("evidence");
    assert_eq!(files(&folder), [session.to_string()]);
    // The server measures that once its stream has ended.
    let opened = soon(async {
        loop {
            match try_open().await {
                Err(RefusalCode::Busy) => tokio::task::yield_now().await,
                opened => break opened,
            }
        }
    });
    assert_eq!(opened.await, Ok(0));
    worker.kill().await;
}

#[tokio::test]
async fn an_accused_server_stands_by_what_it_signed() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 40).await;
    client.pay(40).await;
    client.finish().await;
    let head = client.receipts.last().unwrap().receipt.digest();
    subnet.settle(session, &[(FIRST, 40)], [7; 32]);
    let answered = || {
        let audit = subnet.chain.audit_record(subject(session)).unwrap();
        audit.head == Some(head)
    };
    subnet.chain.accuse(subject(session), SECOND.id, 50);
    assert!(!answered());
    subnet.chain.advance(1);
    eventually(answered).await;
    // Once: the chain knows it.
    eventually(|| worker.metrics.answered.get() == 1).await;
    subnet.chain.advance(3);
    eventually(|| worker.metrics.block.get() >= subnet.chain.block().into()).await;
    assert_eq!(worker.metrics.answered.get(), 1);
    worker.kill().await;
}

#[tokio::test]
async fn an_accusation_that_came_while_the_server_was_down_is_answered_after_it() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 40).await;
    client.pay(40).await;
    client.finish().await;
    let head = client.receipts.last().unwrap().receipt.digest();
    subnet.settle(session, &[(FIRST, 40)], [7; 32]);
    let base = worker.kill().await;
    subnet.chain.accuse(subject(session), SECOND.id, 50);
    let worker = Worker::restart(&subnet, FIRST, base).await;
    eventually(|| {
        let audit = subnet.chain.audit_record(subject(session)).unwrap();
        audit.head == Some(head)
    })
    .await;
    worker.kill().await;
}

/// What the first server answers first to whoever asks for this from this peer.
async fn asked(worker: &Worker, peer: &[u8], fetch: Fetch) -> Result<Response, RefusalCode> {
    let mut auditor = worker.connect_as(peer, fetch.session).await;
    auditor.send(Request::Fetch(fetch), None).await;
    match auditor.receive().await.unwrap() {
        (Response::Refused(refusal), None) => {
            auditor.closed().await;
            Err(refusal.code)
        }
        (other, None) => Ok(other),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_who_is_drawn_sees_what_was_signed() {
    let (subnet, worker, session, mut client) = scene().await;
    client.step(0, 40).await;
    client.pay(40).await;
    client.finish().await;
    let fetch = Fetch {
        version: VERSION,
        session,
        node: FIRST.id,
        audited: FIRST.id,
    };
    let auditor = SECOND.peer();
    let none = Err(RefusalCode::Audit);
    assert_eq!(asked(&worker, &auditor, fetch).await, none, "none is drawn");
    subnet.chain.draw(subject(session), &[SECOND.id], 50);
    let receipt = asked(&worker, &auditor, fetch).await.unwrap();
    assert_eq!(receipt, Response::Receipt(client.receipts[0].clone()));

    // Another peer, the client itself, the server itself; another's work; another server or version.
    for stranger in [b"client".as_slice(), b"stranger", &FIRST.peer()] {
        assert_eq!(asked(&worker, stranger, fetch).await, none);
    }
    let audited = SECOND.id;
    let neighbour = Fetch { audited, ..fetch };
    assert_eq!(asked(&worker, &auditor, neighbour).await, none);
    let nobody = Fetch {
        audited: 77,
        ..fetch
    };
    assert_eq!(asked(&worker, &auditor, nobody).await, none);
    for (wrong, code) in [
        (Fetch { node: 77, ..fetch }, RefusalCode::WrongNode),
        (
            Fetch {
                version: 1,
                ..fetch
            },
            RefusalCode::Version,
        ),
        (
            Fetch {
                session: 77,
                ..fetch
            },
            RefusalCode::Session,
        ),
    ] {
        assert_eq!(asked(&worker, &auditor, wrong).await, Err(code));
    }
    // A neighbour shows what it has itself, once the other is audited.
    let other = Subject {
        node: SECOND.id,
        ..subject(session)
    };
    subnet.chain.draw(other, &[SECOND.id], 50);
    assert!(asked(&worker, &auditor, neighbour).await.is_ok());
    // When it is over, nobody sees anything.
    subnet.chain.end_audit(subject(session), Outcome::Passed);
    assert_eq!(asked(&worker, &auditor, fetch).await, none);
    worker.kill().await;
}
