//! A client that does what the test says.

use super::rig::{key, rows, soon, Node, HIDDEN, PATIENCE, SESSION_KEY};
use quipu_network::ClientStream;
use quipu_primitives::{
    receipt::ReceiptHead, session::open_payload, voucher_payload, DType, SessionId, Voucher,
};
use quipu_protocol::{
    Activations, Open, Refusal, RefusalCode, Request, Response, SignedReceipt, Step, VERSION,
};
use quipu_testkit::chain::GENESIS;
use quipu_worker_core::{
    ports::{PeerError, ServeStream},
    verify, Signer,
};
use tokio::io::DuplexStream;

pub struct TestClient {
    stream: ClientStream,
    node: Node,
    session: SessionId,
    next_step: u32,
    /// Positions of the sequence so far.
    end: u32,
    pub session_key: u8,
    pub receipts: Vec<SignedReceipt>,
}

/// An answer, or a refusal.
pub type Answer<T> = Result<T, RefusalCode>;

impl TestClient {
    pub fn over(io: DuplexStream, node: Node, session: SessionId) -> Self {
        let stream = ClientStream::over(io, PATIENCE);
        TestClient {
            stream,
            node,
            session,
            next_step: 0,
            end: 0,
            session_key: SESSION_KEY,
            receipts: Vec::new(),
        }
    }

    pub async fn send(&mut self, request: Request, payload: Option<Activations>) {
        self.stream.send(request, payload).await.unwrap();
    }

    pub async fn receive(&mut self) -> Result<(Response, Option<Activations>), PeerError> {
        soon(self.stream.receive()).await
    }

    pub fn an_open(&self, epoch: u32, max_positions: u32) -> Open {
        let node = self.node;
        let payload = open_payload(&GENESIS, self.session, node.id, b"client", &node.peer());
        Open {
            version: VERSION,
            session: self.session,
            node: node.id,
            epoch,
            dtype: DType::F32,
            max_positions,
            receipts: u32::MAX,
            signature: key(self.session_key).sign(&payload),
        }
    }

    pub async fn try_open(&mut self, open: Open) -> Answer<u32> {
        self.send(Request::Open(open), None).await;
        match self.receive().await.unwrap() {
            (Response::Opened { position, .. }, None) => {
                self.end = position;
                Ok(position)
            }
            (Response::Refused(refusal), None) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    pub async fn open(&mut self, epoch: u32, max_positions: u32) -> u32 {
        let open = self.an_open(epoch, max_positions);
        self.try_open(open).await.unwrap()
    }

    pub fn a_step(&mut self, position: u32, input: &Activations) -> Step {
        let step = Step {
            step: self.next_step,
            position,
            drafted: 0,
            activations: input.header,
        };
        self.next_step += 1;
        step
    }

    /// Sends a step and waits for its output and receipts.
    pub async fn step_as(&mut self, step: Step, input: Activations) -> Answer<Vec<f32>> {
        let before = step.position / 32;
        let after = (step.position + input.header.tokens) / 32;
        self.send(Request::Step(step), Some(input)).await;
        let output = match self.receive().await.unwrap() {
            (Response::Output(echo), Some(output)) => {
                assert_eq!(echo, step);
                output
            }
            (Response::Refused(Refusal { code, .. }), None) => return Err(code),
            other => panic!("{other:?}"),
        };
        self.end = self.end.max(step.position + step.activations.tokens);
        for range in before..after {
            // What was signed before a replay is not signed again.
            if self
                .receipts
                .iter()
                .all(|known| known.receipt.start != range * 32)
            {
                match self.receive().await.unwrap() {
                    (Response::Receipt(receipt), None) => self.keep(receipt),
                    other => panic!("{other:?}"),
                }
            }
        }
        Ok(output.to_f32().unwrap())
    }

    pub fn keep(&mut self, receipt: SignedReceipt) {
        let session_key = key(self.session_key).public();
        let payload = receipt.receipt.payload(&GENESIS, &session_key);
        assert!(verify(
            &key(self.node.hotkey).public(),
            &payload,
            &receipt.signature
        ));
        let previous = self
            .receipts
            .last()
            .map(|last| last.receipt.digest())
            .unwrap_or_default();
        assert_eq!(receipt.receipt.previous, previous);
        self.receipts.push(receipt);
    }

    pub async fn try_step_with(&mut self, position: u32, input: Activations) -> Answer<Vec<f32>> {
        let step = self.a_step(position, &input);
        self.step_as(step, input).await
    }

    /// A step over the usual rows.
    pub async fn try_step(&mut self, start: u32, end: u32) -> Answer<Vec<f32>> {
        self.try_step_with(start, rows(start, end)).await
    }

    pub async fn step(&mut self, start: u32, end: u32) -> Vec<f32> {
        self.try_step(start, end).await.unwrap()
    }

    /// A step over another server's output.
    pub async fn step_on(&mut self, start: u32, values: &[f32]) -> Vec<f32> {
        let input = Activations::from_f32(values, HIDDEN).unwrap();
        self.try_step_with(start, input).await.unwrap()
    }

    pub async fn try_pay_with(&mut self, voucher: Voucher, signature: [u8; 64]) -> Answer<u32> {
        self.send(Request::Voucher { voucher, signature }, None)
            .await;
        match self.receive().await.unwrap() {
            (Response::VoucherAccepted { positions }, None) => Ok(positions),
            (Response::Refused(refusal), None) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    pub async fn try_pay(&mut self, positions: u32) -> Answer<u32> {
        let voucher = Voucher {
            session: self.session,
            node: self.node.id,
            positions,
        };
        let signature = key(self.session_key).sign(&voucher_payload(&GENESIS, &voucher));
        self.try_pay_with(voucher, signature).await
    }

    pub async fn pay(&mut self, positions: u32) {
        assert_eq!(self.try_pay(positions).await, Ok(positions));
    }

    pub async fn finish(&mut self) -> ReceiptHead {
        let positions = self.end;
        self.send(Request::Finish { positions }, None).await;
        loop {
            match self.receive().await.unwrap() {
                (Response::Receipt(receipt), None) => self.keep(receipt),
                (Response::Finished { head }, None) => return head,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The server closed the stream.
    pub async fn closed(&mut self) {
        assert_eq!(self.receive().await.unwrap_err(), PeerError::Closed);
    }
}
