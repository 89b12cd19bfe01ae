//! A runtime of System, Balances and this pallet. Its days are short.

use crate as pallet_emission;
use crate::{burn::*, pallet::*, Shares};
use frame_support::{
    derive_impl, parameter_types,
    traits::{
        fungible::{Balanced, Inspect},
        tokens::{Fortitude, Precision, Preservation},
        ConstU128, ConstU64, Hooks, OnUnbalanced,
    },
    weights::Weight,
    PalletId,
};
use frame_system::EnsureRoot;
use quipu_primitives::{economy::Bucket, Balance};
use sp_runtime::{traits::IdentityLookup, AccountId32, BuildStorage, Perbill};

type Block = frame_system::mocking::MockBlock<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Emission: pallet_emission,
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
    type DustRemoval = Burn<Test, Dust>;
}

/// Blocks of a day.
pub const DAY: u64 = 20;
/// Blocks between two emissions.
pub const INTERVAL: u64 = 5;
/// Days of a period.
pub const DAYS: u32 = 10;
/// Blocks of a period.
pub const PERIOD: u64 = DAY * DAYS as u64;
/// What the first day emits.
pub const FIRST_DAY: Balance = 19_000;
/// What the first period emits: the last day 1,000.
pub const CAP: Balance = 100_000;
/// Blocks of rest.
pub const REST: u64 = 30;
/// What each of Alice, Bob and Carl starts with.
pub const ENDOWMENT: Balance = 1_000_000;

parameter_types! {
    pub const PotId: PalletId = PalletId(*b"qp/emiss");
    pub static Total: Balance = CAP;
    pub static FirstEmits: Balance = FIRST_DAY;
    pub static PeriodDays: u32 = DAYS;
    pub static BlocksOfDay: u64 = DAY;
    pub static BucketShares: Shares = shares(24, 24, 24, 24);
    pub const TailOfBurned: Perbill = Perbill::from_percent(50);
    pub static AuditPay: Perbill = Perbill::from_percent(80);
    pub const AuditPayAtMost: Perbill = Perbill::from_percent(10);
    pub const TailOfSupply: Perbill = Perbill::from_percent(16);
}

/// In percent: compute, capital, builders, community.
pub fn shares(compute: u32, capital: u32, builders: u32, community: u32) -> Shares {
    Shares {
        compute: Perbill::from_percent(compute),
        capital: Perbill::from_percent(capital),
        builders: Perbill::from_percent(builders),
        community: Perbill::from_percent(community),
    }
}

impl Config for Test {
    type WeightInfo = ();
    type Currency = Balances;
    type PotId = PotId;
    type ManageOrigin = EnsureRoot<AccountId32>;
    type Cap = Total;
    type FirstDay = FirstEmits;
    type Days = PeriodDays;
    type DayBlocks = BlocksOfDay;
    type EmissionInterval = ConstU64<INTERVAL>;
    type Shares = BucketShares;
    type TailOfBurned = TailOfBurned;
    type TailOfSupply = TailOfSupply;
    type AuditPay = AuditPay;
    type AuditPayAtMost = AuditPayAtMost;
    type RestAfterMissedDuty = ConstU64<REST>;
}

/// The account of a small number.
pub fn acc(id: u8) -> AccountId32 {
    [id; 32].into()
}

pub fn alice() -> AccountId32 {
    acc(1)
}

pub fn bob() -> AccountId32 {
    acc(2)
}

/// What a bucket has.
pub fn has(bucket: Bucket) -> Balance {
    Balances::total_balance(&Emission::account(bucket))
}

/// Burns what Alice pays, under a reason.
pub fn burn<S: frame_support::traits::Get<quipu_primitives::economy::BurnSource>>(amount: Balance) {
    let credit = <Balances as Balanced<_>>::withdraw(
        &alice(),
        amount,
        Precision::Exact,
        Preservation::Preserve,
        Fortitude::Polite,
    )
    .expect("Alice has it");
    Burn::<Test, S>::on_unbalanced(credit);
}

/// Goes on to block `to`, with weight for everything.
pub fn run_to(to: u64) {
    while System::block_number() < to {
        let now = System::block_number() + 1;
        System::set_block_number(now);
        Emission::on_initialize(now);
        Emission::on_idle(now, Weight::MAX);
        check();
    }
}

/// What holds at all times.
pub fn check() {
    Emission::do_try_state().expect("the state is sound");
}

/// A chain at block 0 with Alice, Bob and Carl.
pub fn new_test_ext() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .expect("genesis");
    pallet_balances::GenesisConfig::<Test> {
        balances: [1, 2, 3].map(|id| (acc(id), ENDOWMENT)).to_vec(),
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .expect("genesis");
    crate::GenesisConfig::<Test>::default()
        .assimilate_storage(&mut storage)
        .expect("genesis");
    sp_io::TestExternalities::new(storage)
}

/// Runs a test, and checks what must hold before and after.
pub fn test(run: impl FnOnce()) {
    new_test_ext().execute_with(|| {
        check();
        run();
        check();
    });
}
