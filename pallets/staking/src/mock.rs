//! A runtime of this pallet with the real session, historical and offences pallets. Nodes are a
//! plain map that tests write.

use crate as pallet_staking;
use crate::Config;
use frame_support::{
    derive_impl,
    pallet_prelude::ValueQuery,
    parameter_types, storage_alias,
    traits::{fungible::Mutate, tokens::Preservation, ConstU128, ConstU32, ConstU64},
    PalletId, Twox64Concat,
};
use pallet_session::{
    disabling::UpToLimitWithReEnablingDisablingStrategy, historical as pallet_session_historical,
    PeriodicSessions,
};
use quipu_primitives::{
    node_account,
    traits::{
        Cause, Charge, NodeKeys, Nodes, OnBondChange, PendingSlashes, Slashable, Slasher,
        StakeRewards,
    },
    Balance, NodeId, SubnetId, ROOT_SUBNET,
};
use sp_runtime::{
    impl_opaque_keys, testing::UintAuthorityId, traits::IdentityLookup, AccountId32, BuildStorage,
    DispatchError, PerThing, Perbill, Rounding,
};

type Block = frame_system::mocking::MockBlock<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Staking: pallet_staking,
        Session: pallet_session,
        Historical: pallet_session_historical,
        Offences: pallet_offences,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<ED>;
    type AccountStore = System;
}

impl_opaque_keys! {
    pub struct TestKeys {
        pub dummy: UintAuthorityId,
    }
}

pub const SESSION: u64 = 5;

impl pallet_session::Config for Test {
    type RuntimeEvent = RuntimeEvent;
    type ValidatorId = AccountId32;
    type ValidatorIdOf = crate::ValidatorIdOf<Test>;
    type ShouldEndSession = PeriodicSessions<ConstU64<SESSION>, ConstU64<0>>;
    type NextSessionRotation = PeriodicSessions<ConstU64<SESSION>, ConstU64<0>>;
    type SessionManager = pallet_session_historical::NoteHistoricalRoot<Test, Staking>;
    type SessionHandler = pallet_session::TestSessionHandler;
    type Keys = TestKeys;
    type DisablingStrategy = UpToLimitWithReEnablingDisablingStrategy;
    type WeightInfo = ();
    type Currency = Balances;
    type KeyDeposit = ConstU128<0>;
}

impl pallet_session_historical::Config for Test {
    type RuntimeEvent = RuntimeEvent;
    type FullIdentification = ();
    type FullIdentificationOf = crate::IdentificationOf<Test>;
}

impl pallet_offences::Config for Test {
    type RuntimeEvent = RuntimeEvent;
    type IdentificationTuple = pallet_session_historical::IdentificationTuple<Test>;
    type OnOffenceHandler = Staking;
}

pub const ED: Balance = 10;
pub const MIN_BOND: Balance = 100;
pub const MIN_VALIDATOR_BOND: Balance = 1_000;
pub const MAX_VALIDATORS: u32 = 4;
pub const MAX_CHUNKS: u32 = 4;
pub const PERIOD: u64 = 40;
pub const WINDOW: u32 = 8;
pub const RICH: Balance = 1_000_000;

pub const MIN_DELEGATION: Balance = 50;
pub const MAX_MOVES: u32 = 3;
pub const COMMISSION_PERIOD: u64 = 20;

parameter_types! {
    pub const PotId: PalletId = PalletId(*b"test/pot");
    pub const MaxCommission: Perbill = Perbill::from_percent(50);
    pub const MaxCommissionRaise: Perbill = Perbill::from_percent(10);
    pub static MinOffenceFraction: Perbill = Perbill::zero();
    /// What `OnBondChange` was told.
    pub static Told: Vec<(NodeId, Balance)> = Vec::new();
    /// What nodes were charged with.
    pub static Charges: Vec<Charge<AccountId32>> = Vec::new();
    /// Do charges wait until [`decide`], or cost at once?
    pub static Deferred: bool = false;
}

#[storage_alias]
type NodeOf = StorageMap<TestNodes, Twox64Concat, NodeId, (SubnetId, AccountId32)>;

pub struct TestNodes;

impl Nodes<AccountId32> for TestNodes {
    fn keys(node: NodeId) -> Option<NodeKeys<AccountId32>> {
        let (subnet, coldkey) = NodeOf::get(node)?;
        Some(NodeKeys {
            subnet,
            hotkey: coldkey.clone(),
            coldkey,
        })
    }
    fn by_hotkey(hotkey: &AccountId32) -> Option<NodeId> {
        Self::root_node_of(hotkey)
    }
    fn of_subnet(subnet: SubnetId) -> Vec<NodeId> {
        let mut nodes: Vec<_> = NodeOf::iter()
            .filter(|(_, (of, _))| *of == subnet)
            .map(|(node, _)| node)
            .collect();
        nodes.sort();
        nodes
    }
    fn root_node_of(coldkey: &AccountId32) -> Option<NodeId> {
        let is_it = |(_, key): &(NodeId, (SubnetId, AccountId32))| *key == (0, coldkey.clone());
        NodeOf::iter().find(is_it).map(|(node, _)| node)
    }
}

impl OnBondChange for TestNodes {
    fn bond_changed(node: NodeId, self_bond: Balance) {
        Told::mutate(|told| told.push((node, self_bond)));
    }
}

#[storage_alias]
type PendingOf = StorageMap<Court, Twox64Concat, NodeId, Balance, ValueQuery>;

/// Charges a node with something that is not decided yet.
pub fn charge(node: NodeId, amount: Balance) {
    PendingOf::mutate(node, |pending| *pending += amount);
    Staking::pending_changed(node);
}

/// Takes what offences of consensus cost, and burns it.
pub struct Court;

impl Slasher<AccountId32> for Court {
    fn charge(charge: Charge<AccountId32>) -> Result<Balance, DispatchError> {
        let Cause::Consensus { from, to, .. } = charge.cause else {
            panic!("staking knows of consensus alone");
        };
        let node = charge.node;
        let (missing, rest) = (to - from, Perbill::one() - from);
        let share = Perbill::from_rational_with_rounding(
            missing.deconstruct(),
            rest.deconstruct(),
            Rounding::Up,
        )
        .unwrap();
        let amount = share.mul_ceil(Staking::slashable(node).saturating_sub(PendingOf::get(node)));
        Charges::mutate(|charges| charges.push(charge));
        PendingOf::mutate(node, |pending| *pending += amount);
        Staking::pending_changed(node);
        if !Deferred::get() {
            decide(node);
        }
        Ok(amount)
    }
}

impl PendingSlashes for Court {
    fn pending(node: NodeId) -> Balance {
        PendingOf::get(node)
    }
}

#[storage_alias]
type StakeOf = StorageMap<Fountain, Twox64Concat, NodeId, Balance, ValueQuery>;
#[storage_alias]
type EarnedOf = StorageMap<Fountain, Twox64Concat, NodeId, Balance, ValueQuery>;

/// What nodes earn, as tests say; paid by the account 100.
pub struct Fountain;

impl StakeRewards<AccountId32> for Fountain {
    fn stake_changed(node: NodeId, stake: Balance) {
        StakeOf::insert(node, stake);
    }
    fn earned(node: NodeId) -> Balance {
        EarnedOf::get(node)
    }
    fn collect(node: NodeId, to: &AccountId32) -> Balance {
        let amount = EarnedOf::take(node);
        Balances::transfer(&acc(100), to, amount, Preservation::Preserve).unwrap()
    }
}

/// Lets a node earn something.
pub fn earn(node: NodeId, amount: Balance) {
    EarnedOf::mutate(node, |earned| *earned += amount);
}

/// What counts of what is at stake for a node, as it was told.
pub fn earning_stake(node: NodeId) -> Balance {
    StakeOf::get(node)
}

/// Takes what waits to be taken of a node.
pub fn decide(node: NodeId) {
    let amount = PendingOf::take(node);
    drop(Staking::slash(node, amount).unwrap());
    Staking::pending_changed(node);
}

/// Lets a node go free.
pub fn acquit(node: NodeId) {
    PendingOf::remove(node);
    Staking::pending_changed(node);
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::BenchmarkHelper<AccountId32> for TestNodes {
    fn root_node(coldkey: &AccountId32) -> NodeId {
        let node = 300 + Self::of_subnet(ROOT_SUBNET).len() as NodeId;
        add_node(node, ROOT_SUBNET, coldkey.clone());
        node
    }
    fn server(coldkey: &AccountId32) -> NodeId {
        add_node(200, 1, coldkey.clone());
        200
    }
    fn seat(_: NodeId) {}
    fn earn(node: NodeId) {
        earn(node, 1_000);
    }
    fn set_keys(root_node: NodeId) {
        let validator = Staking::validator_id(root_node);
        pallet_session::NextKeys::<Test>::insert(validator, keys(root_node.into()));
    }
    fn run_session_of(validators: Vec<AccountId32>) {
        pallet_session::Validators::<Test>::put(validators);
    }
    fn room_for_root_nodes() -> u32 {
        MAX_VALIDATORS * 2
    }
}

impl Config for Test {
    type WeightInfo = ();
    type Currency = Balances;
    type Nodes = TestNodes;
    type OnBondChange = TestNodes;
    type Rewards = Fountain;
    type Slasher = Court;
    type Sessions = Session;
    type PotId = PotId;
    type UnbondingPeriod = ConstU64<PERIOD>;
    type MaxUnbondingChunks = ConstU32<MAX_CHUNKS>;
    type MinBond = ConstU128<MIN_BOND>;
    type MinDelegation = ConstU128<MIN_DELEGATION>;
    type MaxCommission = MaxCommission;
    type MaxCommissionRaise = MaxCommissionRaise;
    type CommissionPeriod = ConstU64<COMMISSION_PERIOD>;
    type MaxMoves = ConstU32<MAX_MOVES>;
    type MinSelfBond = ConstU128<500>;
    type MinValidatorBond = ConstU128<MIN_VALIDATOR_BOND>;
    type MaxValidators = ConstU32<MAX_VALIDATORS>;
    type SessionsPerEra = ConstU32<3>;
    type OffenceWindow = ConstU32<WINDOW>;
    type MinOffenceFraction = MinOffenceFraction;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = TestNodes;
}

/// The account number `seed`.
pub fn acc(seed: u8) -> AccountId32 {
    AccountId32::new([seed; 32])
}

/// Writes a node without asking anybody.
pub fn add_node(node: NodeId, subnet: SubnetId, coldkey: AccountId32) {
    NodeOf::insert(node, (subnet, coldkey));
}

/// Strikes a node.
pub fn drop_node(node: NodeId) {
    NodeOf::remove(node);
}

pub fn keys(seed: u64) -> TestKeys {
    TestKeys {
        dummy: UintAuthorityId(seed),
    }
}

/// Runs the hooks of every block up to `block`.
pub fn run_to(block: u64) {
    System::run_to_block::<AllPalletsWithSystem>(block);
}

/// Runs to the first block of a session.
pub fn run_to_session(session: u32) {
    while Session::current_index() < session {
        run_to(System::block_number() + 1);
    }
}

/// Accounts 1 to 9 with money, and 100 that pays what nodes earn; server nodes 11 and 12 of accounts
/// 1 and 2 in subnet 1.
pub fn new_test_ext() -> sp_io::TestExternalities {
    ext_with_validators(&[])
}

/// As [`new_test_ext`], and root node `i` of account `i + 1` for each bond, with session keys.
pub fn ext_with_validators(bonds: &[Balance]) -> sp_io::TestExternalities {
    Told::set(vec![]);
    Charges::set(vec![]);
    Deferred::set(false);
    MinOffenceFraction::set(Perbill::zero());
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    let balances = (1..=9)
        .chain([100])
        .map(|seed| (acc(seed), if seed == 100 { 1_000 * RICH } else { RICH }))
        .collect();
    pallet_balances::GenesisConfig::<Test> {
        balances,
        dev_accounts: None,
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut ext = sp_io::TestExternalities::new(storage);
    ext.execute_with(|| {
        use frame_support::traits::BuildGenesisConfig;
        add_node(11, 1, acc(1));
        add_node(12, 1, acc(2));
        let nodes = || (0u32..).zip(bonds.iter().copied());
        for (node, _) in nodes() {
            add_node(node, ROOT_SUBNET, acc(node as u8 + 1));
        }
        crate::GenesisConfig::<Test> {
            bonds: nodes().collect(),
            ..Default::default()
        }
        .build();
        pallet_session::GenesisConfig::<Test> {
            keys: nodes()
                .map(|(node, _)| {
                    (
                        acc(node as u8 + 1),
                        node_account(node).into(),
                        keys(u64::from(node)),
                    )
                })
                .collect(),
            ..Default::default()
        }
        .build();
        System::set_block_number(1);
        Told::set(vec![]);
    });
    ext
}
