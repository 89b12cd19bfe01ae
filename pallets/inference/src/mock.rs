//! A runtime of System, Balances and this pallet; nodes and rosters are plain storage.

use crate as pallet_inference;
use crate::{pallet::*, Due, Server};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types, storage_alias,
    traits::{ConstU128, ConstU32, ConstU64, OnIdle, Randomness},
    weights::Weight,
    BoundedVec, Twox64Concat,
};
use quipu_primitives::{
    traits::{Grant, NodeKeys, Nodes, PayoutGate, Quotas, Roster, Seat},
    voucher_payload, Balance, Digest, JobId, NodeId, SessionId, SignatureBytes, Span, SubnetId,
    Voucher,
};
use sp_core::{sr25519, Pair, H256};
use sp_runtime::{
    traits::{BlakeTwo256, Hash},
    BuildStorage, DispatchError,
};

pub type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Test>;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system::Pallet<Test>;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances::Pallet<Test>;
    #[runtime::pallet_index(2)]
    pub type Inference = pallet_inference::Pallet<Test>;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountData = pallet_balances::AccountData<Balance>;
}

pub const ED: Balance = 10;

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type AccountStore = System;
    type ExistentialDeposit = ConstU128<ED>;
    type FreezeIdentifier = u8;
    type MaxFreezes = ConstU32<1>;
}

pub const WINDOW: u64 = 10;
pub const RETENTION: u64 = 20;
pub const TIMEOUT: u64 = 15;
pub const MAX_DURATION: u64 = 100;
pub const MAX_SERVERS: u32 = 8;
pub const MAX_OPEN: u32 = 4;
/// Less than the existential deposit, to see what comes of it.
pub const MIN_FEE: Balance = 5;
pub const MAX_TOKENS: u32 = 120;

impl Config for Test {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Nodes = Book;
    type Roster = Book;
    type Randomness = Dice;
    type Quotas = Book;
    type PayoutGate = Book;
    type MaxSessionDuration = ConstU64<MAX_DURATION>;
    type SettlementWindow = ConstU64<WINDOW>;
    type RecordRetention = ConstU64<RETENTION>;
    type JobTimeout = ConstU64<TIMEOUT>;
    type MaxServers = ConstU32<MAX_SERVERS>;
    type MaxOpenSessions = ConstU32<MAX_OPEN>;
    type MaxSeats = ConstU32<64>;
    type MinJobFee = ConstU128<MIN_FEE>;
    type MaxJobTokens = ConstU32<MAX_TOKENS>;
    type WeightInfo = ();
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = Book;
}

/// Pays for what consumers use of their quotas.
pub const PAYER: AccountId = 700;
/// The day of every quota.
pub const DAY: u32 = 3;
/// Parameters of a block of every model.
pub const BLOCK_PARAMETERS: u64 = 12_345;

parameter_types! {
    /// What a server may ask to be paid by quota.
    pub static HighestPrice: Balance = 1_000;
    /// Sessions of which the gate was told that they ended.
    pub static Ended: Vec<SessionId> = Vec::new();
}

/// What the tests' subnets and nodes are, in storage, so that it is rolled back with the rest.
pub struct Book;

/// Blocks, context length, and whether it is active.
#[storage_alias]
pub type Models = StorageMap<Book, Twox64Concat, SubnetId, (u16, u32, bool)>;
#[storage_alias]
pub type SeatOf = StorageMap<Book, Twox64Concat, NodeId, (SubnetId, Seat)>;
/// Subnet, coldkey, hotkey.
#[storage_alias]
pub type KeysOf = StorageMap<Book, Twox64Concat, NodeId, (SubnetId, AccountId, AccountId)>;
/// Sessions that must not be paid out yet.
#[storage_alias]
pub type Withheld = StorageMap<Book, Twox64Concat, SessionId, ()>;
/// Sessions that nobody will look at any more.
#[storage_alias]
pub type Decided = StorageMap<Book, Twox64Concat, SessionId, ()>;
/// What is left of each consumer's quota.
#[storage_alias]
pub type QuotaOf = StorageMap<Book, Twox64Concat, AccountId, Balance>;
/// Those of a session's servers that get nothing.
#[storage_alias]
pub type Forfeited = StorageMap<Book, Twox64Concat, SessionId, Vec<NodeId>>;

impl Nodes<AccountId> for Book {
    fn keys(node: NodeId) -> Option<NodeKeys<AccountId>> {
        let (subnet, coldkey, hotkey) = KeysOf::get(node)?;
        Some(NodeKeys {
            subnet,
            coldkey,
            hotkey,
        })
    }
    fn by_hotkey(hotkey: &AccountId) -> Option<NodeId> {
        KeysOf::iter()
            .find(|(_, keys)| keys.2 == *hotkey)
            .map(|(node, _)| node)
    }
    fn of_subnet(subnet: SubnetId) -> Vec<NodeId> {
        KeysOf::iter()
            .filter(|(_, keys)| keys.0 == subnet)
            .map(|(node, _)| node)
            .collect()
    }
    fn root_node_of(_: &AccountId) -> Option<NodeId> {
        None
    }
}

impl Roster for Book {
    fn is_active(subnet: SubnetId) -> bool {
        Models::get(subnet).is_some_and(|(_, _, active)| active)
    }
    fn seat(node: NodeId) -> Option<(SubnetId, Seat)> {
        SeatOf::get(node)
    }
    fn seats(subnet: SubnetId) -> Vec<Seat> {
        SeatOf::iter_values()
            .filter(|(home, _)| *home == subnet)
            .map(|(_, seat)| seat)
            .collect()
    }
    fn blocks(subnet: SubnetId) -> Option<u16> {
        Models::get(subnet).map(|(blocks, ..)| blocks)
    }
    fn context_length(subnet: SubnetId) -> Option<u32> {
        Models::get(subnet).map(|(_, context, _)| context)
    }
    fn block_parameters(subnet: SubnetId) -> Option<u64> {
        Models::contains_key(subnet).then_some(BLOCK_PARAMETERS)
    }
}

impl Quotas<AccountId> for Book {
    fn take(holder: &AccountId, amount: Balance) -> Result<Grant<AccountId>, DispatchError> {
        let left = QuotaOf::get(holder)
            .unwrap_or_default()
            .checked_sub(amount)
            .ok_or("QuotaExceeded")?;
        QuotaOf::insert(holder, left);
        Ok(Grant {
            payer: PAYER,
            day: DAY,
        })
    }
    fn give_back(holder: &AccountId, day: u32, amount: Balance) {
        assert_eq!(day, DAY);
        QuotaOf::mutate(holder, |left| {
            *left = Some(left.unwrap_or_default() + amount)
        });
    }
    fn highest_price(block_parameters: u64) -> Balance {
        assert_eq!(block_parameters, BLOCK_PARAMETERS);
        HighestPrice::get()
    }
}

impl PayoutGate for Book {
    fn ended(session: SessionId) {
        Ended::mutate(|ended| ended.push(session));
    }
    fn take_forfeits(session: SessionId) -> Vec<NodeId> {
        Forfeited::take(session).unwrap_or_default()
    }
    fn may_pay_out(session: SessionId) -> bool {
        !Withheld::contains_key(session)
    }
    fn is_undecided(session: SessionId) -> bool {
        !Decided::contains_key(session)
    }
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::benchmarking::BenchmarkHelper<AccountId> for Book {
    fn grant_quota(consumer: &AccountId) {
        QuotaOf::insert(consumer, Balance::MAX / 2);
        let _ =
            <Balances as frame_support::traits::fungible::Mutate<_>>::mint_into(&PAYER, 1 << 100);
    }
    fn subnet(seats: u32, price: Balance) -> (SubnetId, Vec<NodeId>) {
        let chain = seats.min(MAX_SERVERS) as u16;
        Models::insert(9, (chain, 1_000, true));
        let nodes: Vec<NodeId> = (900..900 + seats).collect();
        for (index, node) in nodes.iter().enumerate() {
            let start = (index as u16).min(chain - 1);
            seat(9, *node, start, start + 1, price);
        }
        (9, nodes)
    }
}

/// Hashes what it is asked about, with the block.
pub struct Dice;

impl Randomness<H256, u64> for Dice {
    fn random(subject: &[u8]) -> (H256, u64) {
        let now = System::block_number();
        (BlakeTwo256::hash(&(subject, now).encode()), now)
    }
}

// --- the cast ----------------------------------------------------------------------------------

pub const ALICE: AccountId = 1;
pub const BOB: AccountId = 2;
pub const CAROL: AccountId = 3;
pub const RICH: Balance = 1_000_000;

/// A subnet of 30 blocks and a context of 100 positions.
pub const SUBNET: SubnetId = 1;
/// Serve 0..10, 10..20 and 20..30 at 2 per position and block: 20 a position.
pub const HEAD: NodeId = 1;
pub const MIDDLE: NodeId = 2;
pub const TAIL: NodeId = 3;
/// Stands by for 10..20 at 3.
pub const STANDBY: NodeId = 4;
/// Serves all at 5: 150 a position.
pub const WHOLE: NodeId = 5;
/// A subnet of 4 blocks with a single server.
pub const SMALL: SubnetId = 2;
pub const LONER: NodeId = 11;
/// A subnet that is not active.
pub const ASLEEP: SubnetId = 3;
/// An active subnet without seats.
pub const EMPTY: SubnetId = 4;

pub fn coldkey(node: NodeId) -> AccountId {
    100 + u64::from(node)
}

pub fn hotkey(node: NodeId) -> AccountId {
    1_000 + u64::from(node)
}

pub fn seat(subnet: SubnetId, node: NodeId, start: u16, end: u16, price: Balance) {
    let seat = Seat {
        node,
        span: Span { start, end },
        price,
        profile: [0; 32],
    };
    SeatOf::insert(node, (subnet, seat));
    KeysOf::insert(node, (subnet, coldkey(node), hotkey(node)));
}

pub fn new_test_ext() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    let nodes = [HEAD, MIDDLE, TAIL, STANDBY, WHOLE, LONER];
    let owners = nodes
        .iter()
        .flat_map(|node| [(coldkey(*node), ED), (hotkey(*node), RICH)]);
    pallet_balances::GenesisConfig::<Test> {
        balances: [ALICE, BOB, CAROL]
            .iter()
            .map(|who| (*who, RICH))
            .chain(owners)
            .collect(),
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
        Models::insert(SUBNET, (30, 100, true));
        Models::insert(SMALL, (4, 100, true));
        Models::insert(ASLEEP, (4, 100, false));
        Models::insert(EMPTY, (4, 100, true));
        seat(SUBNET, HEAD, 0, 10, 2);
        seat(SUBNET, MIDDLE, 10, 20, 2);
        seat(SUBNET, TAIL, 20, 30, 2);
        seat(SUBNET, STANDBY, 10, 20, 3);
        seat(SUBNET, WHOLE, 0, 30, 5);
        seat(SMALL, LONER, 0, 4, 1);
    });
    ext
}

/// Runs a story, and checks every property of the state at its end.
pub fn story(tell: impl FnOnce()) {
    new_test_ext().execute_with(|| {
        let issuance = Balances::total_issuance();
        tell();
        check();
        assert_eq!(
            Balances::total_issuance(),
            issuance,
            "funds were made or lost"
        );
    });
}

/// Checks every property of the state.
pub fn check() {
    Inference::do_try_state().unwrap();
}

// --- what happens ------------------------------------------------------------------------------

/// Ends this block, with `weight` left for idle work, and begins the next.
pub fn next_block_with(weight: Weight) -> Weight {
    let now = System::block_number();
    let used = Inference::on_idle(now, weight);
    assert!(
        used.all_lte(weight),
        "idle work took more than it was given"
    );
    check();
    System::set_block_number(now + 1);
    used
}

/// Moves on to block `to`, with plenty of weight left in every block.
pub fn run_to(to: u64) {
    while System::block_number() < to {
        next_block_with(Weight::MAX);
    }
}

/// Moves on to block `to` without any idle work.
pub fn run_busy_to(to: u64) {
    while System::block_number() < to {
        next_block_with(Weight::zero());
    }
}

pub fn key() -> sr25519::Pair {
    sr25519::Pair::from_seed(&[7; 32])
}

pub fn caps(list: &[(NodeId, Balance)]) -> Caps<Test> {
    BoundedVec::truncate_from(list.to_vec())
}

/// Alice's usual session: the chain of three with 1,000 each, the stand-by with 600. Open for 50
/// blocks.
pub const USUAL: [(NodeId, Balance); 4] = [
    (HEAD, 1_000),
    (MIDDLE, 1_000),
    (TAIL, 1_000),
    (STANDBY, 600),
];
pub const USUAL_DEPOSIT: Balance = 3_600;
pub const USUAL_DURATION: u64 = 50;

pub fn try_open(
    who: AccountId,
    subnet: SubnetId,
    list: &[(NodeId, Balance)],
    duration: u64,
) -> sp_runtime::DispatchResult {
    Inference::open_session(
        RuntimeOrigin::signed(who),
        subnet,
        key().public().0,
        caps(list),
        duration,
        [3; 32],
        Some(BOB),
    )
}

pub fn open(who: AccountId, subnet: SubnetId, list: &[(NodeId, Balance)]) -> SessionId {
    let id = NextSession::<Test>::get();
    try_open(who, subnet, list, USUAL_DURATION).unwrap();
    id
}

pub fn open_usual() -> SessionId {
    open(ALICE, SUBNET, &USUAL)
}

pub fn genesis() -> Digest {
    System::block_hash(0).0
}

pub fn sign(voucher: Voucher) -> (Voucher, SignatureBytes) {
    (
        voucher,
        key().sign(&voucher_payload(&genesis(), &voucher)).0,
    )
}

pub fn voucher(session: SessionId, node: NodeId, positions: u32) -> (Voucher, SignatureBytes) {
    sign(Voucher {
        session,
        node,
        positions,
    })
}

pub fn vouchers(session: SessionId, list: &[(NodeId, u32)]) -> Vouchers<Test> {
    let signed = list
        .iter()
        .map(|(node, positions)| voucher(session, *node, *positions));
    BoundedVec::truncate_from(signed.collect())
}

pub const ROOT: Digest = [9; 32];

pub fn settle(
    who: AccountId,
    session: SessionId,
    list: &[(NodeId, u32)],
) -> sp_runtime::DispatchResult {
    Inference::settle(
        RuntimeOrigin::signed(who),
        session,
        vouchers(session, list),
        ROOT,
    )
}

pub fn redeem(session: SessionId, node: NodeId, positions: u32) -> sp_runtime::DispatchResult {
    let (voucher, signature) = voucher(session, node, positions);
    Inference::redeem(RuntimeOrigin::signed(BOB), session, voucher, signature)
}

pub fn request(who: AccountId, subnet: SubnetId, fee: Balance) -> JobId {
    let id = NextJob::<Test>::get();
    let prompt = BoundedVec::truncate_from(b"What is the capital of France?".to_vec());
    Inference::request(RuntimeOrigin::signed(who), subnet, prompt, 8, fee).unwrap();
    id
}

pub fn server(session: SessionId, node: NodeId) -> Server {
    let session = Sessions::<Test>::get(session).unwrap();
    session
        .servers
        .iter()
        .find(|server| server.node == node)
        .unwrap()
        .clone()
}

pub fn on_hold(reason: HoldReason, who: AccountId) -> Balance {
    use frame_support::traits::fungible::InspectHold;
    Balances::balance_on_hold(&reason.into(), &who)
}

pub fn free(who: AccountId) -> Balance {
    Balances::free_balance(who)
}

/// Events of this pallet since the last call.
pub fn events() -> Vec<Event<Test>> {
    let events = System::read_events_for_pallet::<Event<Test>>();
    System::reset_events();
    events
}

/// Leaves `who` with nothing but what is on hold: possible for accounts that something else keeps
/// alive too.
pub fn strip(who: AccountId) {
    System::inc_providers(&who);
    let all = free(who);
    Balances::transfer_allow_death(RuntimeOrigin::signed(who), CAROL, all).unwrap();
    assert_eq!(free(who), 0);
}

/// What the queue holds, by block.
pub fn queued() -> Vec<(u64, Due)> {
    let mut all: Vec<_> = Deadlines::<Test>::iter()
        .map(|(at, due, ())| (at, due))
        .collect();
    all.sort_by_key(|(at, due)| (*at, due.encode()));
    all
}

/// Nothing of sessions and jobs is stored, and nothing is on hold.
pub fn assert_nothing_left(accounts: &[AccountId]) {
    assert_eq!(Sessions::<Test>::iter().count(), 0);
    assert_eq!(OpenSessions::<Test>::iter().count(), 0);
    assert_eq!(Jobs::<Test>::iter().count(), 0);
    assert_eq!(Prompts::<Test>::iter().count(), 0);
    assert_eq!(Answers::<Test>::iter().count(), 0);
    assert_eq!(Duties::<Test>::iter().count(), 0);
    assert_eq!(Deadlines::<Test>::iter().count(), 0);
    for who in accounts {
        assert_eq!(on_hold(HoldReason::Session, *who), 0);
        assert_eq!(on_hold(HoldReason::Job, *who), 0);
    }
}
