//! Peers that do what they should not.

use super::{
    rig::*,
    scene::{scene, Setting},
};
use quipu_primitives::DType;
use quipu_protocol::{Activations, RefusalCode, Request, Response};

async fn refusal(worker: &Worker, session: u64, request: Request) -> RefusalCode {
    let mut client = worker.connect(session).await;
    client.send(request, None).await;
    let code = match client.receive().await.unwrap() {
        (Response::Refused(refusal), None) => refusal.code,
        other => panic!("{other:?}"),
    };
    client.closed().await;
    code
}

#[tokio::test]
async fn streams_that_can_not_be_opened_are_refused_and_closed() {
    let (subnet, worker) = Setting::usual().server().await;
    let session = subnet.open_session(10);
    let good = worker.connect(session).await.an_open(0, 100);
    let open = |change: &dyn Fn(&mut quipu_protocol::Open)| {
        let mut open = good.clone();
        change(&mut open);
        Request::Open(open)
    };
    for (request, code) in [
        (Request::Finish { positions: 0 }, RefusalCode::Unexpected),
        (open(&|open| open.version = 9), RefusalCode::Version),
        (open(&|open| open.node = SECOND.id), RefusalCode::WrongNode),
        (open(&|open| open.dtype = DType::Bf16), RefusalCode::DType),
        (open(&|open| open.session = 99), RefusalCode::Session),
        (open(&|open| open.signature[3] ^= 1), RefusalCode::Signature),
        (
            open(&|open| open.max_positions = 100_000),
            RefusalCode::Context,
        ),
    ] {
        assert_eq!(refusal(&worker, session, request).await, code);
        assert_eq!(worker.metrics.refused(code).get(), 1);
    }
    // Nothing of it is left.
    assert!(worker.journals().is_empty());
    assert_eq!(worker.metrics.sessions.get(), 0);
    subnet.chain.advance(10);
    assert_eq!(
        refusal(&worker, session, Request::Open(good)).await,
        RefusalCode::Session
    );
    worker.kill().await;
}

#[tokio::test]
async fn numbers_that_no_model_gives_are_refused_before_they_are_computed() {
    let (_subnet, worker, session, mut client) = scene().await;
    client.step(0, 3).await;
    let nan = Activations::from_f32(&[f32::NAN; HIDDEN as usize], HIDDEN).unwrap();
    assert_eq!(
        client.try_step_with(3, nan).await,
        Err(RefusalCode::Activations)
    );
    client.closed().await;
    let (mut client, position) = worker.open(session, 0).await;
    assert_eq!(position, 3);
    let narrow = Activations::from_f32(&[0.5; 16], 16).unwrap();
    assert_eq!(
        client.try_step_with(3, narrow).await,
        Err(RefusalCode::Activations)
    );
    worker.kill().await;
}

#[tokio::test]
async fn a_server_refuses_input_that_its_predecessor_did_not_sign() {
    let (_subnet, worker, _, mut client) = Setting::usual().behind().scene().await;
    client.pay(200).await;
    client.step(0, 96).await;
    assert_eq!(client.try_step(96, 97).await, Err(RefusalCode::Upstream));
    // Its own receipt is no substitute.
    let own = client.receipts[0].clone();
    client.send(Request::Upstream(own), None).await;
    let (refused, _) = client.receive().await.unwrap();
    assert!(
        matches!(&refused, Response::Refused(refusal) if refusal.code == RefusalCode::Upstream)
    );
    worker.kill().await;
}
