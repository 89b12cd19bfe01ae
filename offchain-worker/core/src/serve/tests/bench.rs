//! A server with a scripted span, and a client that holds every key.

use crate::{
    keys::{EphemeralKey, Signer},
    ports::ComputeError,
    serve::*,
};
use quipu_attest::{
    check::{self as checked, End},
    Boundary,
};
use quipu_primitives::{
    session::open_payload,
    views::{SessionInfo, SessionServer, SessionStatus},
    voucher_payload, DType, Receipt, Span, Voucher,
};
use quipu_protocol::{
    Activations, Open, Push, Refusal, RefusalCode, Request, Response, SignedReceipt, Step, VERSION,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

pub const SESSION: u64 = 7;
pub const ME: u32 = 3;
pub const BEFORE: u32 = 2;
pub const BEHIND: u32 = 4;
pub const BEFORE_PEER: &[u8] = b"before";
pub const HIDDEN: u32 = 2;
pub const CONTEXT: u32 = 1024;
pub const GENESIS: [u8; 32] = [9; 32];
pub const CLIENT: &[u8] = b"client";
pub const PRICE: u128 = 5;

/// What came back from one request.
#[derive(Debug, Default)]
pub struct Answer {
    pub replies: Vec<(Response, Option<Activations>)>,
    pub closed: bool,
    pub released: bool,
    /// What was handed on, and to whom.
    pub handed_on: Vec<(u32, Push, Activations)>,
    /// Servers that must be reached.
    pub reached: Vec<u32>,
}

impl Answer {
    pub fn refusal(&self) -> RefusalCode {
        match &self.replies[..] {
            [(Response::Refused(refusal), None)] => {
                assert_eq!(self.closed, refusal.code.is_fatal(), "{refusal}");
                refusal.code
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn receipts(&self) -> Vec<SignedReceipt> {
        let receipt = |reply: &(Response, _)| match &reply.0 {
            Response::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        };
        self.replies.iter().filter_map(receipt).collect()
    }

    pub fn output(&self) -> &Activations {
        match &self.replies[0] {
            (Response::Output(_), Some(output)) => output,
            other => panic!("no output: {other:?}"),
        }
    }

    pub fn opened_at(&self) -> u32 {
        match self.replies[..] {
            [(Response::Opened { position, .. }, None)] => position,
            ref other => panic!("not opened: {other:?}"),
        }
    }

    pub fn accepted(&self) -> u32 {
        match self.replies[..] {
            [(Response::VoucherAccepted { positions }, None)] => positions,
            ref other => panic!("not accepted: {other:?}"),
        }
    }
}

/// A server under test. The span doubles its input and adds `wobble`, as a backend does whose bits
/// depend on how the positions are cut.
pub struct Bench {
    pub serving: Serving,
    pub me: Arc<Identity>,
    pub session: SessionInfo<[u8; 32]>,
    pub session_key: EphemeralKey,
    pub before: EphemeralKey,
    pub now: Now,
    pub journal: Vec<Record>,
    /// What is kept for audits, in the order in which it came.
    pub evidence: Vec<Evidence>,
    /// Rows in the cache, `None` without one.
    pub cache: Option<u32>,
    pub wobble: f32,
    pub fail: Option<ComputeError>,
    pub refuse: Option<AdmitError>,
    pub next_step: u32,
}

pub fn identity(span: Span) -> Identity {
    Identity {
        genesis: GENESIS,
        subnet: 1,
        node: ME,
        span,
        peer: b"server".to_vec(),
        weights_root: [1; 32],
        profile: [2; 32],
        exact: true,
        dtype: DType::F32,
        hidden: HIDDEN,
        context: CONTEXT,
        signer: Arc::new(EphemeralKey::from_seed(&[3; 32])),
    }
}

pub fn session(me: &Identity, key: &EphemeralKey) -> SessionInfo<[u8; 32]> {
    let server = |node, span| SessionServer {
        node,
        span,
        price: PRICE,
        cap: PRICE * 10 * u128::from(CONTEXT),
        positions: 0,
        earned: 0,
    };
    SessionInfo {
        id: SESSION,
        subnet: 1,
        consumer: [8; 32],
        session_key: key.public(),
        seed_commitment: [0; 32],
        integrator: None,
        opened_at: 1,
        deposit: 1_000_000,
        status: SessionStatus::Open,
        deadline: 100,
        receipt_root: None,
        settled_at: None,
        servers: vec![
            server(BEFORE, Span { start: 0, end: 10 }),
            server(ME, me.span),
        ],
        job: None,
    }
}

/// Rows of positions `start..end` as an undisturbed client brings them.
pub fn rows(start: u32, end: u32) -> Activations {
    let values: Vec<f32> = (start * HIDDEN..end * HIDDEN)
        .map(|value| value as f32)
        .collect();
    Activations::from_f32(&values, HIDDEN).unwrap()
}

impl Bench {
    /// The server of blocks 10 to 19, opened in epoch 0 for 512 positions.
    pub fn second() -> Self {
        let mut bench = Self::unopened(Span { start: 10, end: 20 });
        assert_eq!(bench.open(0).opened_at(), 0);
        bench
    }

    /// The server of the first blocks: nobody stands before it.
    pub fn first() -> Self {
        let mut bench = Self::unopened(Span { start: 0, end: 10 });
        assert_eq!(bench.open(0).opened_at(), 0);
        bench
    }

    pub fn unopened(span: Span) -> Self {
        Self::of(identity(span))
    }

    pub fn of(me: Identity) -> Self {
        let (span, me) = (me.span, Arc::new(me));
        let session_key = EphemeralKey::from_seed(&[4; 32]);
        let session = session(&me, &session_key);
        let now = Now {
            time: Duration::ZERO,
            block: 10,
        };
        let terms = terms(&me, &session, &session_key, 0);
        let before = EphemeralKey::from_seed(&[5; 32]);
        Bench {
            serving: Serving::new(me.clone(), &terms, neighbours(&before, span)),
            me,
            session,
            session_key,
            before,
            now,
            journal: Vec::new(),
            evidence: Vec::new(),
            cache: None,
            wobble: 0.0,
            fail: None,
            refuse: None,
            next_step: 0,
        }
    }

    pub fn terms(&self, epoch: u32) -> ValidOpen {
        terms(&self.me, &self.session, &self.session_key, epoch)
    }

    pub fn open(&mut self, epoch: u32) -> Answer {
        let terms = self.terms(epoch);
        self.open_with(&terms)
    }

    pub fn open_with(&mut self, terms: &ValidOpen) -> Answer {
        let effects = self.serving.on_open(terms);
        self.carry_out(effects)
    }

    /// The process died and came back: only the journal is left.
    pub fn crash(&mut self) {
        let terms = self.terms(0);
        let neighbours = neighbours(&self.before, self.me.span);
        let journal = self.journal.clone();
        self.serving = Serving::restore(self.me.clone(), &terms, neighbours, journal);
        self.cache = None;
    }

    /// What came from a server. `None` if it was not taken.
    pub fn push(&mut self, from: &[u8], push: Push, input: Activations) -> Option<Answer> {
        let effects = self.serving.on_push(from, push, input, self.now)?;
        Some(self.carry_out(effects))
    }

    pub fn evict(&mut self) {
        self.serving.evict();
        self.cache = None;
    }

    pub fn ask(&mut self, request: Request) -> Answer {
        let effects = self.serving.on_request(request, None, self.now);
        self.carry_out(effects)
    }

    /// The next step in order, with these rows.
    pub fn step_with(&mut self, position: u32, input: Activations) -> Answer {
        self.draft_with(position, input, 0)
    }

    /// The next step in order, with these rows, of which the last `drafted` are drafted.
    pub fn draft_with(&mut self, position: u32, input: Activations, drafted: u32) -> Answer {
        let step = Step {
            step: self.next_step,
            position,
            drafted,
            activations: input.header,
        };
        self.next_step += 1;
        self.step_as(step, input)
    }

    /// Ends the sequence at the last position that counts.
    pub fn finish(&mut self) -> Answer {
        let positions = self.serving.commitments_for_tests().end();
        self.ask(Request::Finish { positions })
    }

    pub fn step_as(&mut self, step: Step, input: Activations) -> Answer {
        let effects = self
            .serving
            .on_request(Request::Step(step), Some(input), self.now);
        self.carry_out(effects)
    }

    /// The next step in order, for these positions.
    pub fn step(&mut self, start: u32, end: u32) -> Answer {
        self.step_with(start, rows(start, end))
    }

    pub fn pay(&mut self, positions: u32) -> Answer {
        let voucher = Voucher {
            session: SESSION,
            node: ME,
            positions,
        };
        self.pay_with(voucher)
    }

    pub fn pay_with(&mut self, voucher: Voucher) -> Answer {
        let signature = self.session_key.sign(&voucher_payload(&GENESIS, &voucher));
        self.ask(Request::Voucher { voucher, signature })
    }

    /// The predecessor's honest receipt for what `rows` brings.
    pub fn upstream(&self, start: u32, end: u32) -> SignedReceipt {
        let boundary = Boundary::new(SESSION, self.me.span.start, HIDDEN, DType::F32).unwrap();
        let ranges = boundary.all(&rows(0, end).bytes).unwrap();
        let range = ranges
            .into_iter()
            .find(|range| range.start == start)
            .unwrap();
        self.upstream_over(start, end, range.leaf)
    }

    pub fn upstream_over(&self, start: u32, end: u32, output: [u8; 32]) -> SignedReceipt {
        self.sign_upstream(Receipt {
            session: SESSION,
            node: BEFORE,
            span: Span { start: 0, end: 10 },
            weights_root: [1; 32],
            profile: [2; 32],
            start,
            end,
            input: [0; 32],
            output,
            previous: [0; 32],
        })
    }

    /// What is signed of a receipt in this session.
    pub fn payload(&self, receipt: &Receipt) -> [u8; 32] {
        receipt.payload(&GENESIS, &self.session_key.public())
    }

    pub fn sign_upstream(&self, receipt: Receipt) -> SignedReceipt {
        let signature = self.before.sign(&self.payload(&receipt));
        SignedReceipt { receipt, signature }
    }

    pub fn send_upstream(&mut self, start: u32, end: u32) -> Answer {
        let receipt = self.upstream(start, end);
        self.ask(Request::Upstream(receipt))
    }

    fn compute(&mut self, position: u32, input: &Activations) -> Result<Activations, ComputeError> {
        if let Some(error) = self.fail.take() {
            return Err(error);
        }
        let length = self.cache.as_mut().expect("computed without a cache");
        assert_eq!(*length, position, "appended out of order");
        *length += input.header.tokens;
        let values: Vec<f32> = input
            .to_f32()
            .unwrap()
            .iter()
            .map(|value| value * 2.0 + self.wobble)
            .collect();
        Ok(Activations::from_f32(&values, HIDDEN).unwrap())
    }

    /// There are rows for everything that was signed, and they are those that the receipts commit to.
    fn check_evidence(&self) {
        let receipts: Vec<Receipt> = self
            .journal
            .iter()
            .filter_map(|record| match record {
                Record::Receipt(signed) => Some(signed.receipt.clone()),
                _ => None,
            })
            .collect();
        let stored = &self.evidence[..receipts.len()];
        for (receipt, evidence) in receipts.iter().zip(stored) {
            assert_eq!((receipt.start, receipt.end), (evidence.start, evidence.end));
        }
        for (end, block) in [
            (End::Entrance, self.me.span.start),
            (End::Exit, self.me.span.end),
        ] {
            let of = |evidence: &Evidence| match end {
                End::Entrance => evidence.input.to_vec(),
                End::Exit => evidence.output.to_vec(),
            };
            let rows: Vec<u8> = stored.iter().flat_map(of).collect();
            let boundary = Boundary::new(SESSION, block, HIDDEN, DType::F32).unwrap();
            checked::boundary(boundary, end, &receipts, &rows).unwrap();
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Answer {
        let mut answer = Answer::default();
        let mut queue: VecDeque<Effect> = effects.into();
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Release => {
                    assert!(self.cache.take().is_some(), "released twice");
                    answer.released = true;
                }
                Effect::Reserve { .. } => {
                    assert!(self.cache.is_none() && queue.is_empty());
                    let result = self
                        .refuse
                        .take()
                        .map_or(Ok(()), |error| Err(Refusal::from(error)));
                    self.cache = result.is_ok().then_some(0);
                    queue.extend(self.serving.on_reserved(result));
                }
                Effect::Truncate { positions } => {
                    let length = self.cache.as_mut().expect("truncated without a cache");
                    assert!(positions < *length, "nothing to truncate");
                    *length = positions;
                }
                Effect::Compute { position, input } => {
                    assert!(queue.is_empty());
                    let result = self.compute(position, &input);
                    queue.extend(self.serving.on_computed(result));
                }
                Effect::Reach(to) => answer.reached.push(to.node),
                Effect::HandOn { to, push, output } => {
                    answer.handed_on.push((to.node, push, output));
                }
                Effect::Store(evidence) => self.evidence.push(evidence),
                Effect::Keep(record) => {
                    let is_receipt = matches!(record, Record::Receipt(_));
                    self.journal.push(record);
                    if is_receipt {
                        self.check_evidence();
                    }
                }
                Effect::Reply(response, payload) => answer.replies.push((response, payload)),
                Effect::Close => answer.closed = true,
            }
        }
        answer
    }
}

pub fn signed_open(me: &Identity, key: &EphemeralKey, epoch: u32) -> Open {
    let payload = open_payload(&GENESIS, SESSION, me.node, CLIENT, &me.peer);
    Open {
        version: VERSION,
        session: SESSION,
        node: me.node,
        epoch,
        dtype: DType::F32,
        max_positions: 512,
        receipts: u32::MAX,
        signature: key.sign(&payload),
    }
}

fn terms(
    me: &Identity,
    session: &SessionInfo<[u8; 32]>,
    key: &EphemeralKey,
    epoch: u32,
) -> ValidOpen {
    check(
        &signed_open(me, key, epoch),
        Some(session),
        me,
        CLIENT,
        Now::default(),
    )
    .unwrap()
}

/// One server before ours unless it holds the first block, and one behind.
fn neighbours(before: &EphemeralKey, span: Span) -> Neighbours {
    let neighbour = |node, key: &EphemeralKey, span, peer: &[u8]| Neighbour {
        node,
        hotkey: key.public(),
        peer: peer.to_vec(),
        span,
    };
    let mut neighbours = Neighbours::default();
    if span.start > 0 {
        let first = Span { start: 0, end: 10 };
        let one = neighbour(BEFORE, before, first, BEFORE_PEER);
        neighbours.before.push(one);
    }
    let rest = Span {
        start: span.end,
        end: span.end + 10,
    };
    let key = EphemeralKey::from_seed(&[6; 32]);
    neighbours
        .behind
        .push(neighbour(BEHIND, &key, rest, b"behind"));
    neighbours
}
