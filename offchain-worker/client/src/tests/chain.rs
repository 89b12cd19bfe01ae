//! A chain in memory, with the pallet's rules for sessions.

use super::toy;
use async_trait::async_trait;
use futures::{stream::BoxStream, StreamExt};
use parking_lot::Mutex;
use quipu_primitives::{
    audit::Subject,
    cost,
    views::{
        AuditInfo, JobInfo, NodeInfo, Quote, QuoteError, SessionInfo, SessionServer, SessionStatus,
        SubnetInfo, SubnetStatus,
    },
    voucher_payload, AccountBytes, Balance, DType, Digest, JobId, Kernel, Manifest, NodeId,
    NumericProfile, SessionId, SubnetId, Terms,
};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, ChainEvent, Included},
    verify, Signer,
};
use std::collections::BTreeMap;

pub const GENESIS: Digest = [77; 32];
pub const SUBNET: SubnetId = 1;

/// What the chain stores.
pub struct State {
    pub block: u32,
    pub subnet: SubnetInfo<AccountBytes>,
    pub roster: Vec<NodeInfo<AccountBytes>>,
    pub sessions: BTreeMap<SessionId, SessionInfo<AccountBytes>>,
    pub free: BTreeMap<AccountBytes, Balance>,
    pub calls: Vec<Call>,
    /// Fails the next settlement like a broken connection; `true` if it lands all the same.
    pub break_settlement: Option<bool>,
    /// Raises every price in the moment a session opens.
    pub raise_prices: bool,
    /// Replaces the block of the next opening by one in which another's session has its id.
    pub replace_opening: Option<AccountBytes>,
    /// Steps in the order in which the servers computed them: who, and the first position.
    pub computed: Vec<(NodeId, u32)>,
}

pub struct FakeChain(pub Mutex<State>);

pub fn profile(kernel: Kernel) -> NumericProfile {
    NumericProfile {
        weights: DType::Q4_1,
        activations: DType::F32,
        kv: DType::F32,
        kernel,
    }
}

fn manifest(kernel: Kernel) -> Manifest {
    let mut manifest = Manifest {
        name: b"toy".to_vec().try_into().unwrap(),
        config: toy::config(),
        block_digests: vec![[9; 32]; toy::BLOCKS.into()].try_into().unwrap(),
        embedding_digest: [11; 32],
        head_digest: [12; 32],
        weights_root: [0; 32],
        tokenizer_digest: [13; 32],
        profiles: vec![profile(kernel)].try_into().unwrap(),
        license: Default::default(),
        uri: Default::default(),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: 64,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest.validate().unwrap();
    manifest
}

fn refused(error: &str) -> ChainError {
    let (pallet, error) = ("inference".into(), error.into());
    ChainError::Dispatch {
        pallet,
        error,
        docs: String::new(),
    }
}

impl FakeChain {
    pub fn new(kernel: Kernel) -> Self {
        let subnet = SubnetInfo {
            id: SUBNET,
            creator: [0; 32],
            status: SubnetStatus::Active,
            deposit: 0,
            manifest: manifest(kernel),
            coverage: Vec::new(),
        };
        FakeChain(Mutex::new(State {
            block: 10,
            subnet,
            roster: Vec::new(),
            sessions: BTreeMap::new(),
            free: BTreeMap::new(),
            calls: Vec::new(),
            break_settlement: None,
            raise_prices: false,
            replace_opening: None,
            computed: Vec::new(),
        }))
    }

    pub fn only_session(&self) -> SessionInfo<AccountBytes> {
        let state = self.0.lock();
        assert_eq!(state.sessions.len(), 1);
        state.sessions.values().next().unwrap().clone()
    }
}

impl State {
    fn open(&mut self, consumer: AccountBytes, call: Call) -> Result<ChainEvent, ChainError> {
        let Call::OpenSession {
            subnet,
            session_key,
            caps,
            duration,
            seed_commitment,
            integrator,
        } = call
        else {
            unreachable!()
        };
        if self.raise_prices {
            for seat in self.roster.iter_mut().filter_map(|node| node.seat.as_mut()) {
                seat.price += 1;
            }
        }
        let seat = |node: NodeId| {
            self.roster
                .iter()
                .find(|info| info.id == node)?
                .seat
                .clone()
        };
        let mut servers: Vec<SessionServer> = Vec::new();
        for (node, cap) in caps {
            let seat = seat(node).ok_or_else(|| refused("NotSeated"))?;
            if servers.iter().any(|server| server.node == node) {
                return Err(refused("DuplicateServer"));
            }
            let (span, price) = (seat.span, seat.price);
            servers.push(SessionServer {
                node,
                span,
                price,
                cap,
                positions: 0,
                earned: 0,
            });
        }
        let deposit: Balance = servers.iter().map(|server| server.cap).sum();
        let free = self.free.entry(consumer).or_default();
        *free = free
            .checked_sub(deposit)
            .ok_or_else(|| refused("FundsUnavailable"))?;
        let id = self.sessions.len() as SessionId + 100;
        let (consumer, session_key) = match self.replace_opening.take() {
            Some(other) => (other, [0xee; 32]),
            None => (consumer, session_key),
        };
        let session = SessionInfo {
            id,
            subnet,
            consumer,
            session_key,
            seed_commitment,
            integrator,
            opened_at: self.block,
            deposit,
            status: SessionStatus::Open,
            deadline: self.block + duration,
            receipt_root: None,
            settled_at: None,
            servers,
            job: None,
        };
        self.sessions.insert(id, session);
        Ok(ChainEvent::SessionOpened {
            session: id,
            subnet,
        })
    }

    fn settle(&mut self, consumer: AccountBytes, call: Call) -> Result<ChainEvent, ChainError> {
        let Call::Settle {
            session: id,
            vouchers,
            receipt_root,
        } = call
        else {
            unreachable!()
        };
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or_else(|| refused("UnknownSession"))?;
        if session.consumer != consumer {
            return Err(refused("NotConsumer"));
        }
        if session.status != SessionStatus::Open {
            return Err(refused("AlreadySettled"));
        }
        let mut servers = session.servers.clone();
        for (voucher, signature) in vouchers {
            if voucher.session != id {
                return Err(refused("VoucherForOtherSession"));
            }
            let server = servers
                .iter_mut()
                .find(|server| server.node == voucher.node);
            let server = server.ok_or_else(|| refused("NotASessionServer"))?;
            let payload = voucher_payload(&GENESIS, &voucher);
            if !verify(&session.session_key, &payload, &signature) {
                return Err(refused("BadVoucherSignature"));
            }
            if voucher.positions < server.positions {
                return Err(refused("VoucherReplayed"));
            }
            server.positions = voucher.positions;
            server.earned = cost(server.price, server.span.len(), voucher.positions)
                .filter(|earned| *earned <= server.cap)
                .ok_or_else(|| refused("CapExceeded"))?;
        }
        let earned: Balance = servers.iter().map(|server| server.earned).sum();
        *self.free.entry(consumer).or_default() += session.deposit - earned;
        session.servers = servers;
        session.status = SessionStatus::Settling;
        session.receipt_root = Some(receipt_root);
        session.settled_at = Some(self.block);
        Ok(ChainEvent::SessionSettling { session: id })
    }
}

#[async_trait]
impl Chain for FakeChain {
    fn genesis(&self) -> Digest {
        GENESIS
    }

    async fn subnet(&self, id: SubnetId) -> Result<Option<SubnetInfo<AccountBytes>>, ChainError> {
        Ok(Some(self.0.lock().subnet.clone()).filter(|subnet| subnet.id == id))
    }

    async fn roster(&self, id: SubnetId) -> Result<Vec<NodeInfo<AccountBytes>>, ChainError> {
        let state = self.0.lock();
        Ok(state
            .roster
            .iter()
            .filter(|node| node.subnet == id)
            .cloned()
            .collect())
    }

    async fn node_of_hotkey(
        &self,
        hotkey: AccountBytes,
    ) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        Ok(self
            .0
            .lock()
            .roster
            .iter()
            .find(|node| node.hotkey == hotkey)
            .cloned())
    }

    async fn session(
        &self,
        id: SessionId,
    ) -> Result<Option<SessionInfo<AccountBytes>>, ChainError> {
        Ok(self.0.lock().sessions.get(&id).cloned())
    }

    async fn job(&self, _: JobId) -> Result<Option<JobInfo<AccountBytes>>, ChainError> {
        Ok(None)
    }

    async fn open_jobs(&self, _: NodeId) -> Result<Vec<JobId>, ChainError> {
        Ok(Vec::new())
    }

    async fn hotkeys_of(&self, _: NodeId) -> Result<Vec<AccountBytes>, ChainError> {
        Ok(Vec::new())
    }

    async fn audit(&self, _: Subject) -> Result<Option<AuditInfo<AccountBytes>>, ChainError> {
        Ok(None)
    }

    async fn audits_of(&self, _: NodeId) -> Result<Vec<AuditInfo<AccountBytes>>, ChainError> {
        Ok(Vec::new())
    }

    async fn quote(&self, _: SubnetId, _: u32) -> Result<Result<Quote, QuoteError>, ChainError> {
        Ok(Err(QuoteError::NoRoute))
    }

    async fn free_balance(&self, account: AccountBytes) -> Result<Balance, ChainError> {
        Ok(self.0.lock().free.get(&account).copied().unwrap_or(0))
    }

    async fn finalized(&self) -> Result<u32, ChainError> {
        Ok(self.0.lock().block)
    }

    async fn events(&self) -> Result<BoxStream<'static, ChainEvent>, ChainError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn submit_final(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        self.submit(signer, call).await
    }

    async fn submit(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        let mut state = self.0.lock();
        state.block += 1;
        state.calls.push(call.clone());
        let event = match &call {
            Call::OpenSession { .. } => state.open(signer.public(), call)?,
            Call::Settle { .. } => {
                let lands = state.break_settlement.take();
                if lands == Some(false) {
                    return Err(ChainError::Unreachable("the line is cut".into()));
                }
                let event = state.settle(signer.public(), call)?;
                if lands == Some(true) {
                    return Err(ChainError::Unreachable("the line is cut".into()));
                }
                event
            }
            other => panic!("no client submits {other:?}"),
        };
        Ok(Included {
            number: state.block,
            hash: [state.block as u8; 32],
            events: vec![event],
        })
    }
}
