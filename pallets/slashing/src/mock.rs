//! A runtime of System, Balances and this pallet; nodes and sessions are plain storage. What is bonded
//! for a node lies on the node's account, beside what keeps that in existence.

use crate as pallet_slashing;
use crate::{pallet::*, types::Equivocation};
use frame_support::{
    derive_impl, parameter_types, storage_alias,
    traits::{
        fungible::{Balanced, Mutate},
        tokens::{Fortitude, Precision, Preservation},
        ConstU128, ConstU32, ConstU64, OnIdle,
    },
    weights::Weight,
    Twox64Concat,
};
use frame_system::EnsureRoot;
use quipu_primitives::{
    node_account,
    traits::{NodeKeys, Nodes, ServedSession, Service, Services, Signers, Slashable},
    Balance, NodeId, Receipt, SessionId, SignedReceipt, Span, SubnetId,
};
use sp_core::{sr25519, Pair};
use sp_runtime::{traits::IdentityLookup, AccountId32, BuildStorage, DispatchError, Perbill};

type Block = frame_system::mocking::MockBlock<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Slashing: pallet_slashing,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

pub const ED: Balance = 10;

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<ED>;
    type AccountStore = System;
}

pub const DEFER: u64 = 10;
pub const WINDOW: u64 = 50;
pub const RETENTION: u64 = 60;

parameter_types! {
    pub const MinComputation: Perbill = Perbill::from_percent(1);
    pub const Withheld: Perbill = Perbill::from_percent(2);
    pub const ReporterShare: Perbill = Perbill::from_percent(40);
    pub const VictimShare: Perbill = Perbill::from_percent(20);
    /// Nodes of which the bonds were told that something changed, in this order.
    pub static Told: Vec<NodeId> = Vec::new();
}

impl Config for Test {
    type WeightInfo = ();
    type Currency = Balances;
    type OnBurn = ();
    type Bonds = Book;
    type Nodes = Book;
    type Services = Book;
    type CancelOrigin = EnsureRoot<AccountId32>;
    type SlashDefer = ConstU64<DEFER>;
    type EvidenceWindow = ConstU64<WINDOW>;
    type CaseRetention = ConstU64<RETENTION>;
    type PriceMultiple = ConstU32<300>;
    type MinComputation = MinComputation;
    type Withheld = Withheld;
    type ReporterShare = ReporterShare;
    type VictimShare = VictimShare;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = Book;
}

/// What the tests' nodes and sessions are, in storage, so that it is rolled back with the rest.
pub struct Book;

/// The keys of each node, the last of which signs for it, with the block in which the others stopped.
#[storage_alias]
pub type KeysOf = StorageMap<Book, Twox64Concat, NodeId, Vec<(AccountId32, u64)>>;
/// The consumer of each session, and the block in which it was opened. Every node serves all.
#[storage_alias]
pub type SessionOf = StorageMap<Book, Twox64Concat, SessionId, (AccountId32, u64)>;

impl Nodes<AccountId32> for Book {
    fn keys(node: NodeId) -> Option<NodeKeys<AccountId32>> {
        let keys = KeysOf::get(node)?;
        Some(NodeKeys {
            subnet: 1,
            coldkey: acc(node as u8),
            hotkey: keys.last()?.0.clone(),
        })
    }
    fn by_hotkey(hotkey: &AccountId32) -> Option<NodeId> {
        KeysOf::iter()
            .find(|(_, keys)| keys.last().is_some_and(|(key, _)| key == hotkey))
            .map(|(node, _)| node)
    }
    fn of_subnet(_: SubnetId) -> Vec<NodeId> {
        KeysOf::iter_keys().collect()
    }
    fn root_node_of(_: &AccountId32) -> Option<NodeId> {
        None
    }
}

impl Signers<AccountId32, u64> for Book {
    fn has_signed_for(node: NodeId, key: &AccountId32, since: u64) -> bool {
        let keys = KeysOf::get(node).unwrap_or_default();
        keys.iter()
            .any(|(other, until)| other == key && *until >= since)
    }
}

impl Services<AccountId32, u64> for Book {
    fn service(session: SessionId, node: NodeId) -> Option<Service<AccountId32, u64>> {
        let (consumer, opened_at) = SessionOf::get(session)?;
        KeysOf::contains_key(node).then_some(Service {
            consumer,
            opened_at,
            session_key: SESSION_KEY,
        })
    }
    fn served(_: SessionId) -> Option<ServedSession<AccountId32>> {
        None
    }
}

impl Slashable for Book {
    type Proceeds = CreditOf<Test>;

    fn slash(node: NodeId, amount: Balance) -> Result<Self::Proceeds, DispatchError> {
        Balances::withdraw(
            &node_account(node).into(),
            amount.min(Self::slashable(node)),
            Precision::Exact,
            Preservation::Expendable,
            Fortitude::Force,
        )
    }
    fn slashable(node: NodeId) -> Balance {
        Balances::free_balance(AccountId32::from(node_account(node))).saturating_sub(ED)
    }
    fn pending_changed(node: NodeId) {
        Told::mutate(|told| told.push(node));
    }
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::benchmarking::BenchmarkHelper<AccountId32> for Book {
    fn served_session(hotkey: &AccountId32, consumer: &AccountId32) -> (NodeId, SessionId) {
        KeysOf::insert(77, vec![(hotkey.clone(), u64::MAX)]);
        bond(77, 1_000_000);
        SessionOf::insert(77, (consumer.clone(), System::block_number()));
        (77, 77)
    }
    fn full_ledger(_: NodeId) {}
}

// --- the cast ----------------------------------------------------------------------------------

pub const SAM: NodeId = 11;
pub const SUE: NodeId = 12;
/// What Sam and Sue have at stake.
pub const STAKE: Balance = 10_000;
pub const RICH: Balance = 1_000_000;
/// The key of every session.
pub const SESSION_KEY: [u8; 32] = [4; 32];
/// The session that Carl pays and both serve, opened in block 1.
pub const SESSION: SessionId = 5;

/// The account number `seed`.
pub fn acc(seed: u8) -> AccountId32 {
    AccountId32::new([seed; 32])
}

pub fn rita() -> AccountId32 {
    acc(1)
}

pub fn carl() -> AccountId32 {
    acc(2)
}

/// Has nothing.
pub fn paul() -> AccountId32 {
    acc(99)
}

/// The hotkey of this name.
pub fn key(name: &str) -> sr25519::Pair {
    sr25519::Pair::from_string(&format!("//{name}"), None).unwrap()
}

pub fn hotkey(name: &str) -> AccountId32 {
    key(name).public().into()
}

/// Adds to what a node has at stake.
pub fn bond(node: NodeId, amount: Balance) {
    let account = node_account(node).into();
    if Balances::free_balance(&account) == 0 {
        Balances::mint_into(&account, ED).unwrap();
    }
    Balances::mint_into(&account, amount).unwrap();
}

/// A receipt of Sam's over these positions, with `salt` as its output.
pub fn receipt(start: u32, end: u32, salt: u8) -> Receipt {
    Receipt {
        session: SESSION,
        node: SAM,
        span: Span { start: 0, end: 10 },
        weights_root: [1; 32],
        profile: [2; 32],
        start,
        end,
        input: [3; 32],
        output: [salt; 32],
        previous: [0; 32],
    }
}

/// Signed by the key of this name.
pub fn signed(name: &str, receipt: Receipt) -> SignedReceipt {
    let genesis = System::block_hash(0).0;
    let signature = key(name).sign(&receipt.payload(&genesis, &SESSION_KEY)).0;
    SignedReceipt { receipt, signature }
}

/// Two receipts of Sam's that contradict each other.
pub fn evidence() -> Equivocation<AccountId32> {
    Equivocation {
        first_key: hotkey("Sam"),
        first: signed("Sam", receipt(0, 32, 7)),
        second_key: hotkey("Sam"),
        second: signed("Sam", receipt(0, 32, 8)),
    }
}

/// Runs the hooks of every block up to `block`.
pub fn run_to(block: u64) {
    while System::block_number() < block {
        System::set_block_number(System::block_number() + 1);
        Slashing::on_idle(System::block_number(), Weight::MAX);
        Slashing::do_try_state().unwrap();
    }
}

/// Rita and Carl with money, Sam and Sue with a bond and a session.
pub fn new_test_ext() -> sp_io::TestExternalities {
    Told::set(vec![]);
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: vec![(rita(), RICH), (carl(), RICH)],
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut ext = sp_io::TestExternalities::new(storage);
    #[cfg(feature = "runtime-benchmarks")]
    ext.register_extension(sp_keystore::KeystoreExt::new(
        sp_keystore::testing::MemoryKeystore::new(),
    ));
    ext.execute_with(|| {
        System::set_block_number(1);
        for (node, name) in [(SAM, "Sam"), (SUE, "Sue")] {
            KeysOf::insert(node, vec![(hotkey(name), u64::MAX)]);
            bond(node, STAKE);
        }
        SessionOf::insert(SESSION, (carl(), 1));
    });
    ext
}
