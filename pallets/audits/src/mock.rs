//! A runtime of System and this pallet; nodes, bonds, sessions and charges are plain storage.

use crate as pallet_audits;
use crate::{pallet::*, types::Epoch};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types, storage_alias,
    traits::{ConstU128, ConstU32, ConstU64, Get, OnIdle, OnInitialize, Randomness},
    weights::Weight,
    Twox64Concat,
};
use frame_system::EnsureRoot;
use quipu_primitives::{
    audit::{Finding, Subject, Verdict},
    traits::{
        Answered, AuditDuties, Bonds, Cause, Charge, NodeKeys, Nodes, Served, ServedSession,
        Service, Services, Slasher,
    },
    Balance, Digest, NodeId, SessionId, SubnetId,
};
use sp_core::H256;
use sp_runtime::{
    traits::{BlakeTwo256, Hash},
    BuildStorage, DispatchError, Perbill,
};

pub type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Audits: pallet_audits,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
}

/// Blocks of an epoch.
pub const EPOCH: u64 = 10;
pub const COMMIT: u64 = 8;
pub const REVEAL: u64 = 4;
pub const ANSWER: u64 = 6;
pub const RETENTION: u64 = 50;
pub const STAKED: Balance = 700;
pub const ATTEMPTS: u32 = 3;

parameter_types! {
    pub const DefaultRate: Perbill = Perbill::from_percent(100);
    /// The share of passes that are looked at again.
    pub static SecondRate: Perbill = Perbill::zero();
}

impl Config for Test {
    type WeightInfo = ();
    type Nodes = World;
    type Bonds = World;
    type Services = World;
    type Slasher = World;
    type Duties = World;
    type Epoch = World;
    type Randomness = World;
    type ManageOrigin = EnsureRoot<AccountId>;
    type DefaultRate = DefaultRate;
    type SecondRate = SecondRate;
    type CommitWindow = ConstU64<COMMIT>;
    type RevealWindow = ConstU64<REVEAL>;
    type AnswerWindow = ConstU64<ANSWER>;
    type RecordRetention = ConstU64<RETENTION>;
    type AccusationBond = ConstU128<STAKED>;
    type MaxAttempts = ConstU32<ATTEMPTS>;
    type MaxServers = ConstU32<64>;
    type MaxNodes = ConstU32<256>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = World;
}

/// What surrounds the pallet, in storage, so that it is rolled back with the rest.
pub struct World;

/// Coldkey, hotkey and bond of each node. All are of [`SUBNET`].
#[storage_alias]
pub type NodeOf = StorageMap<World, Twox64Concat, NodeId, (AccountId, AccountId, Balance)>;
/// Consumer of each session, and its servers with the positions that they served.
#[storage_alias]
pub type SessionOf = StorageMap<World, Twox64Concat, SessionId, (AccountId, Vec<(NodeId, u32)>)>;
/// Who answered a job with a session, who asked, and for what fee.
#[storage_alias]
pub type AnswerOf = StorageMap<World, Twox64Concat, SessionId, (NodeId, AccountId, Balance)>;
/// Who did not do a duty, as often as that was.
#[storage_alias]
pub type Missed = StorageValue<World, Vec<NodeId>>;
/// Who did a duty, and the price of what it looked at.
#[storage_alias]
pub type Done = StorageValue<World, Vec<(NodeId, Balance)>>;
/// Who was charged with what.
#[storage_alias]
pub type Charged = StorageValue<World, Vec<Charging>>;

/// A charge as it was made: node, cause, price, reporter, victim.
pub type Charging = (NodeId, Cause, Balance, Option<AccountId>, Option<AccountId>);

impl AuditDuties<AccountId> for World {
    fn duty_missed(node: NodeId) {
        Missed::append(node);
    }
    fn duty_done(node: NodeId, owner: &AccountId, price: Balance) {
        assert_eq!(Self::keys(node).map(|keys| keys.coldkey), Some(*owner));
        Done::append((node, price));
    }
}

impl Nodes<AccountId> for World {
    fn keys(node: NodeId) -> Option<NodeKeys<AccountId>> {
        let (coldkey, hotkey, _) = NodeOf::get(node)?;
        Some(NodeKeys {
            subnet: SUBNET,
            coldkey,
            hotkey,
        })
    }
    fn by_hotkey(hotkey: &AccountId) -> Option<NodeId> {
        NodeOf::iter()
            .find(|(_, keys)| keys.1 == *hotkey)
            .map(|(node, _)| node)
    }
    fn of_subnet(subnet: SubnetId) -> Vec<NodeId> {
        match subnet {
            SUBNET => NodeOf::iter_keys().collect(),
            _ => Vec::new(),
        }
    }
    fn root_node_of(_: &AccountId) -> Option<NodeId> {
        None
    }
}

impl Bonds for World {
    fn self_bond(node: NodeId) -> Balance {
        NodeOf::get(node).map_or(0, |(_, _, bond)| bond)
    }
    fn pending_slash(_: NodeId) -> Balance {
        0
    }
    fn minimum_self_bond() -> Balance {
        MIN_BOND
    }
    fn is_free(_: NodeId) -> bool {
        false
    }
    fn unbond_all(_: NodeId) {}
}

impl Services<AccountId, u64> for World {
    fn service(_: SessionId, _: NodeId) -> Option<Service<AccountId, u64>> {
        None
    }
    fn served(session: SessionId) -> Option<ServedSession<AccountId>> {
        let (consumer, servers) = SessionOf::get(session)?;
        let served = |(node, positions): (NodeId, u32)| Served {
            node,
            positions,
            earned: Balance::from(positions) * PRICE,
        };
        Some(ServedSession {
            subnet: SUBNET,
            consumer,
            servers: servers.into_iter().map(served).collect(),
            answered: AnswerOf::get(session).map(|(node, requester, fee)| Answered {
                node,
                requester,
                fee,
            }),
        })
    }
}

impl Slasher<AccountId> for World {
    fn charge(charge: Charge<AccountId>) -> Result<Balance, DispatchError> {
        let Charge {
            node,
            cause,
            price,
            reporter,
            victim,
        } = charge;
        let mut charged = Charged::get().unwrap_or_default();
        if charged
            .iter()
            .any(|other| (other.0, other.1) == (node, cause))
        {
            return Err(DispatchError::Other("charged twice"));
        }
        charged.push((node, cause, price, reporter, victim));
        Charged::put(charged);
        Ok(price)
    }
}

impl Get<Epoch> for World {
    fn get() -> Epoch {
        System::block_number() / EPOCH
    }
}

/// Hashes what it is asked about, with the epoch.
impl Randomness<H256, u64> for World {
    fn random(subject: &[u8]) -> (H256, u64) {
        let epoch = <World as Get<Epoch>>::get();
        let since = epoch.saturating_sub(1) * EPOCH;
        (BlakeTwo256::hash(&(subject, epoch).encode()), since)
    }
}

// --- the cast ----------------------------------------------------------------------------------

pub const SUBNET: SubnetId = 1;
pub const MIN_BOND: Balance = 1_000;
/// What a position costs at each server.
pub const PRICE: Balance = 20;
/// The session that Carl pays: Sam and Sue serve 40 positions each, Stan stood by.
pub const SESSION: SessionId = 5;
pub const POSITIONS: u32 = 40;
pub const SAM: NodeId = 11;
pub const SUE: NodeId = 12;
pub const STAN: NodeId = 13;
/// Carl pays, and owns a node that is no server of his session.
pub const CARL: AccountId = 100_099;
pub const CARLS: NodeId = 99;
/// Twenty who have nothing to do with the session.
pub const OTHERS: std::ops::Range<NodeId> = 30..50;

/// Who owns a node.
pub fn cold(node: NodeId) -> AccountId {
    100_000 + AccountId::from(node)
}

/// Who signs for a node.
pub fn hot(node: NodeId) -> AccountId {
    200_000 + AccountId::from(node)
}

pub fn node(node: NodeId, bond: Balance) {
    NodeOf::insert(node, (cold(node), hot(node), bond));
}

pub fn of(node: NodeId) -> Subject {
    Subject {
        session: SESSION,
        node,
    }
}

/// The head of a node's receipts.
pub fn head(node: NodeId) -> Digest {
    [node as u8; 32]
}

pub fn finding(subject: Subject, verdict: Verdict) -> Finding {
    let nothing = verdict == Verdict::Withheld;
    Finding {
        verdict,
        head: if nothing { [0; 32] } else { head(subject.node) },
        projection: [7; 32],
    }
}

pub fn salt(node: NodeId) -> [u8; 32] {
    [node as u8 ^ 0xff; 32]
}

pub fn commitment(subject: Subject, auditor: NodeId, finding: &Finding) -> Digest {
    let genesis = System::block_hash(0).0;
    finding.commitment(&genesis, subject, auditor, &salt(auditor))
}

pub fn charges() -> Vec<Charging> {
    Charged::get().unwrap_or_default()
}

/// Runs the hooks of every block up to `block`.
pub fn run_to(block: u64) {
    while System::block_number() < block {
        let now = System::block_number() + 1;
        System::set_block_number(now);
        Audits::on_initialize(now);
        Audits::on_idle(now, Weight::MAX);
        Audits::do_try_state().unwrap();
    }
}

pub fn run(blocks: u64) {
    run_to(System::block_number() + blocks);
}

/// The first block in which is drawn what waits since now.
pub fn draws_at() -> u64 {
    (System::block_number() / EPOCH + DRAW_DELAY) * EPOCH
}

pub fn new_test_ext() -> sp_io::TestExternalities {
    SecondRate::set(Perbill::zero());
    let storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    let mut ext = sp_io::TestExternalities::new(storage);
    ext.execute_with(|| {
        for name in [SAM, SUE, CARLS].into_iter().chain(OTHERS) {
            node(name, 10 * MIN_BOND);
        }
        // Too little to be drawn.
        node(STAN, MIN_BOND - 1);
        let servers = vec![(SAM, POSITIONS), (SUE, POSITIONS), (STAN, 0)];
        SessionOf::insert(SESSION, (CARL, servers));
        run_to(1);
    });
    ext
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::benchmarking::BenchmarkHelper<AccountId> for World {
    fn served_session(servers: u32) -> SessionId {
        let named = |at: u32| (SAM + 100 + at, POSITIONS);
        let servers: Vec<_> = (0..servers).map(named).collect();
        for (server, _) in &servers {
            node(*server, 10 * MIN_BOND);
        }
        SessionOf::insert(77, (CARL, servers));
        77
    }
    fn auditors(nodes: u32) -> Vec<NodeId> {
        let all: Vec<NodeId> = (1_000..1_000 + nodes).collect();
        all.iter().for_each(|auditor| node(*auditor, 10 * MIN_BOND));
        all
    }
    fn hotkey(node: NodeId) -> AccountId {
        hot(node)
    }
    fn next_epoch() {
        let now = System::block_number();
        System::set_block_number(now + EPOCH);
    }
}
