//! A chain in memory that keeps the rules which workers and clients can run into.
//!
//! Every call makes a block of its own, which is final at once unless [`FakeChain::hold_finality`]
//! was called; [`FakeChain::advance`] makes empty ones. Refusals carry the names of the pallets' errors. There are no fees.

mod audits;
mod jobs;
mod quote;
mod sessions;
mod subnets;

use async_trait::async_trait;
use futures::{channel::mpsc, stream::BoxStream, StreamExt};
use quipu_primitives::{
    audit::Subject,
    views::{AuditInfo, JobInfo, NodeInfo, Quote, QuoteError, SessionInfo, SubnetInfo},
    AccountBytes, Balance, Digest, JobId, Manifest, NodeId, SessionId, SubnetId,
};
use quipu_worker_core::{
    ports::{Call, Chain, ChainError, ChainEvent, Included},
    Signer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Hash of the fake chain's first block.
pub const GENESIS: Digest = [0x51; 32];
/// Self-bond without which no node has a seat.
pub const MIN_SELF_BOND: Balance = 1_000;
/// Blocks after settlement or expiry in which a higher voucher still counts.
pub const SETTLEMENT_WINDOW: u32 = 5;
/// Blocks for which a closed session and a finished job can be read.
pub const RECORD_RETENTION: u32 = 50;
/// Blocks that a server has to answer a job.
pub const JOB_TIMEOUT: u32 = 20;
/// Most blocks for which a session may be open.
pub const MAX_SESSION_DURATION: u32 = 10_000;

/// The chain. Share it by its [`Arc`].
#[derive(Debug, Default)]
pub struct FakeChain {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    block: u32,
    unreachable: bool,
    balances: BTreeMap<AccountBytes, Balance>,
    subnets: BTreeMap<SubnetId, (AccountBytes, Manifest)>,
    paused: BTreeSet<SubnetId>,
    nodes: BTreeMap<NodeId, NodeInfo<AccountBytes>>,
    sessions: BTreeMap<SessionId, sessions::Session>,
    jobs: BTreeMap<JobId, jobs::Job>,
    audits: BTreeMap<Subject, AuditInfo<AccountBytes>>,
    next_session: SessionId,
    next_job: JobId,
    calls: Vec<(AccountBytes, Call)>,
    fail_next: Vec<ChainError>,
    lose_next: bool,
    held: Option<Held>,
    subscribers: Vec<mpsc::UnboundedSender<ChainEvent>>,
}

/// What is final while later blocks are not.
#[derive(Debug)]
struct Held {
    block: u32,
    nodes: BTreeMap<NodeId, NodeInfo<AccountBytes>>,
    /// What subscribers will hear of the later blocks.
    events: Vec<ChainEvent>,
}

/// What a call does: its events, or why it failed.
type Outcome = Result<Vec<ChainEvent>, ChainError>;

fn dispatch<T>(pallet: &str, error: &str) -> Result<T, ChainError> {
    Err(ChainError::Dispatch {
        pallet: pallet.into(),
        error: error.into(),
        docs: String::new(),
    })
}

impl State {
    fn emit(&mut self, event: ChainEvent) {
        if let Some(held) = &mut self.held {
            return held.events.push(event);
        }
        self.subscribers
            .retain(|subscriber| subscriber.unbounded_send(event.clone()).is_ok());
    }

    /// Begins a block: what is due in it happens first.
    fn next_block(&mut self) -> Vec<ChainEvent> {
        self.block += 1;
        let mut events = self.work_off_sessions();
        events.extend(self.work_off_jobs());
        events
    }

    fn finalize(&mut self, events: &[ChainEvent]) {
        for event in events {
            self.emit(event.clone());
        }
        let number = self.block;
        self.emit(ChainEvent::Finalized {
            number,
            hash: block_hash(number),
        });
    }

    fn final_block(&self) -> u32 {
        self.held.as_ref().map_or(self.block, |held| held.block)
    }

    fn final_nodes(&self) -> &BTreeMap<NodeId, NodeInfo<AccountBytes>> {
        self.held.as_ref().map_or(&self.nodes, |held| &held.nodes)
    }

    fn take(&mut self, who: AccountBytes, amount: Balance) -> Result<(), ChainError> {
        let free = self.balances.entry(who).or_default();
        match free.checked_sub(amount) {
            Some(rest) => *free = rest,
            None => return dispatch("Balances", "InsufficientBalance"),
        }
        Ok(())
    }

    fn give(&mut self, who: AccountBytes, amount: Balance) {
        *self.balances.entry(who).or_default() += amount;
    }

    fn call(&mut self, who: AccountBytes, call: Call) -> Outcome {
        match call {
            Call::RegisterSubnet(manifest) => self.register_subnet(who, *manifest),
            Call::RegisterNode {
                subnet,
                hotkey,
                peer_id,
            } => self.register_node(who, subnet, hotkey, peer_id),
            Call::Join {
                node,
                span,
                price,
                profile,
            } => self.join(who, node, span, price, profile),
            Call::UpdatePrice { node, price } => self.update_price(who, node, price),
            Call::Leave { node } => self.leave(who, node),
            Call::RemoveNode { node } => self.remove_node(who, node),
            Call::Bond { node, amount } => self.bond(who, node, amount),
            Call::Unbond { node, amount } => self.unbond(who, node, amount),
            Call::Withdraw { .. } => Ok(Vec::new()),
            Call::OpenSession {
                subnet,
                session_key,
                caps,
                duration,
                seed_commitment,
                integrator,
            } => {
                let terms = (session_key, seed_commitment, integrator);
                self.open_session(who, subnet, caps, duration, terms)
            }
            Call::Settle {
                session,
                vouchers,
                receipt_root,
            } => self.settle(who, session, vouchers, receipt_root),
            Call::Redeem { voucher, signature } => self.redeem(voucher, signature),
            Call::Finalize { session } => self.finalize_session(session),
            Call::RequestJob {
                subnet,
                prompt,
                max_tokens,
                fee,
            } => self.request_job(who, subnet, prompt, max_tokens, fee),
            Call::SubmitResult {
                job,
                answer,
                finish,
                session,
                receipt_root,
            } => self.submit_result(who, job, answer, finish, (session, receipt_root)),
            Call::RefundJob { job } => self.refund_job(job),
            Call::CommitFinding {
                subject,
                commitment,
            } => self.commit_finding(who, subject, commitment),
            Call::RevealFinding {
                subject,
                finding,
                salt,
            } => self.reveal_finding(who, subject, finding, salt),
            Call::AnswerAudit { subject, head } => self.answer_audit(who, subject, head),
            Call::Transfer { to, amount } => {
                self.take(who, amount)?;
                self.give(to, amount);
                Ok(Vec::new())
            }
            // Stakes and quotas are nothing that workers and clients run into.
            Call::Economy(_) => Ok(Vec::new()),
        }
    }
}

fn block_hash(number: u32) -> Digest {
    quipu_primitives::hash::hash_of(b"quipu/fake-block", &number)
}

impl FakeChain {
    /// A chain at block 0 without accounts.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, ChainError> {
        let state = self.state();
        match state.unreachable {
            true => Err(ChainError::Unreachable("the test took it down".into())),
            false => Ok(read(&state)),
        }
    }

    /// Gives an account `amount` out of nothing.
    pub fn fund(&self, account: AccountBytes, amount: Balance) {
        self.state().give(account, amount);
    }

    /// Makes `blocks` empty blocks.
    pub fn advance(&self, blocks: u32) {
        let mut state = self.state();
        for _ in 0..blocks {
            let events = state.next_block();
            state.finalize(&events);
        }
    }

    /// The number of the last block.
    pub fn block(&self) -> u32 {
        self.state().block
    }

    /// Takes the endpoint down or brings it up. Events of blocks in between come later.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().unreachable = !reachable;
    }

    /// The next submission fails with this, without reaching a block.
    pub fn fail_next(&self, error: ChainError) {
        self.state().fail_next.insert(0, error);
    }

    /// The next submission takes effect, and its sender hears that the connection broke.
    pub fn lose_next_answer(&self) {
        self.state().lose_next = true;
    }

    /// Changes a node as a call of its owner would that workers do not make, such as one that swaps
    /// a key. Makes a block.
    pub fn change_node(&self, id: NodeId, change: impl FnOnce(&mut NodeInfo<AccountBytes>)) {
        let mut state = self.state();
        let mut events = state.next_block();
        state
            .nodes
            .get_mut(&id)
            .map(change)
            .expect("there is such a node");
        events.push(ChainEvent::NodeChanged { node: id });
        state.finalize(&events);
    }

    /// Gives a session's number to another session, with this key, as when a block is replaced by one
    /// of another fork.
    pub fn change_session_key(&self, id: SessionId, session_key: AccountBytes) {
        let mut state = self.state();
        let session = state
            .sessions
            .get_mut(&id)
            .expect("there is such a session");
        session.info.session_key = session_key;
    }

    /// Pauses or resumes a subnet as its creator would, a call that workers do not make. Makes a
    /// block.
    pub fn pause_subnet(&self, id: SubnetId, paused: bool) {
        let mut state = self.state();
        let events = state.next_block();
        match paused {
            true => state.paused.insert(id),
            false => state.paused.remove(&id),
        };
        state.finalize(&events);
    }

    /// From now on blocks are made, but none becomes final: the number of the final block, its nodes
    /// and what subscribers hear stay behind. What else is read is the best block's.
    pub fn hold_finality(&self) {
        let mut state = self.state();
        let (block, nodes) = (state.final_block(), state.final_nodes().clone());
        let events = Vec::new();
        state.held.get_or_insert(Held {
            block,
            nodes,
            events,
        });
    }

    /// Every block becomes final.
    pub fn release_finality(&self) {
        let mut state = self.state();
        let held = state.held.take();
        for event in held.into_iter().flat_map(|held| held.events) {
            state.emit(event);
        }
    }

    /// Ends the streams of events, as an adapter does that lost its connection for good.
    pub fn end_events(&self) {
        self.state().subscribers.clear();
    }

    /// How many of those failures are still to come.
    pub fn failures_left(&self) -> usize {
        self.state().fail_next.len()
    }

    /// Every call that reached a block, successful or not, with who signed it.
    pub fn calls(&self) -> Vec<(AccountBytes, Call)> {
        self.state().calls.clone()
    }

    /// Free balance of an account.
    pub fn balance(&self, account: AccountBytes) -> Balance {
        self.state().balances.get(&account).copied().unwrap_or(0)
    }

    /// Makes a block with one call, as [`Chain::submit`] does.
    pub fn apply(&self, who: AccountBytes, call: Call) -> Result<Included, ChainError> {
        let mut state = self.state();
        if state.unreachable {
            return Err(ChainError::Unreachable("the test took it down".into()));
        }
        if let Some(error) = state.fail_next.pop() {
            return Err(error);
        }
        state.calls.push((who, call.clone()));
        let mut events = state.next_block();
        let outcome = state.call(who, call);
        if let Ok(caused) = &outcome {
            events.extend(caused.iter().cloned());
        }
        state.finalize(&events);
        let number = state.block;
        if std::mem::take(&mut state.lose_next) {
            return Err(ChainError::Unreachable("the answer is lost".into()));
        }
        outcome.map(|events| Included {
            number,
            hash: block_hash(number),
            events,
        })
    }
}

#[async_trait]
impl Chain for FakeChain {
    fn genesis(&self) -> Digest {
        GENESIS
    }

    async fn subnet(&self, id: SubnetId) -> Result<Option<SubnetInfo<AccountBytes>>, ChainError> {
        self.read(|state| state.subnet_info(id))
    }

    async fn roster(&self, id: SubnetId) -> Result<Vec<NodeInfo<AccountBytes>>, ChainError> {
        self.read(|state| {
            let nodes = state.final_nodes().values();
            nodes.filter(|node| node.subnet == id).cloned().collect()
        })
    }

    async fn node_of_hotkey(
        &self,
        hotkey: AccountBytes,
    ) -> Result<Option<NodeInfo<AccountBytes>>, ChainError> {
        self.read(|state| {
            let mut nodes = state.final_nodes().values();
            nodes.find(|node| node.hotkey == hotkey).cloned()
        })
    }

    async fn session(
        &self,
        id: SessionId,
    ) -> Result<Option<SessionInfo<AccountBytes>>, ChainError> {
        self.read(|state| state.session_info(id))
    }

    async fn job(&self, id: JobId) -> Result<Option<JobInfo<AccountBytes>>, ChainError> {
        self.read(|state| state.jobs.get(&id).map(|job| job.info.clone()))
    }

    async fn open_jobs(&self, node: NodeId) -> Result<Vec<JobId>, ChainError> {
        self.read(|state| state.open_jobs(node))
    }

    async fn hotkeys_of(&self, node: NodeId) -> Result<Vec<AccountBytes>, ChainError> {
        self.read(|state| {
            let node = state.nodes.get(&node);
            node.map(|node| node.hotkey).into_iter().collect()
        })
    }

    async fn audit(&self, subject: Subject) -> Result<Option<AuditInfo<AccountBytes>>, ChainError> {
        self.read(|state| state.audits.get(&subject).cloned())
    }

    async fn audits_of(&self, node: NodeId) -> Result<Vec<AuditInfo<AccountBytes>>, ChainError> {
        self.read(|state| state.audits_of(node))
    }

    async fn quote(
        &self,
        subnet: SubnetId,
        positions: u32,
    ) -> Result<Result<Quote, QuoteError>, ChainError> {
        self.read(|state| state.quote(subnet, positions))
    }

    async fn free_balance(&self, account: AccountBytes) -> Result<Balance, ChainError> {
        self.read(|state| state.balances.get(&account).copied().unwrap_or(0))
    }

    async fn finalized(&self) -> Result<u32, ChainError> {
        self.read(State::final_block)
    }

    async fn events(&self) -> Result<BoxStream<'static, ChainEvent>, ChainError> {
        let (sender, receiver) = mpsc::unbounded();
        self.read(|_| ())?;
        self.state().subscribers.push(sender);
        Ok(receiver.boxed())
    }

    async fn submit(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        self.apply(signer.public(), call)
    }

    /// Every block of this chain is final at once.
    async fn submit_final(&self, signer: &dyn Signer, call: Call) -> Result<Included, ChainError> {
        self.submit(signer, call).await
    }
}
