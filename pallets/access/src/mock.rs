//! A runtime of System, Balances and this pallet. Its days are short, and its payer is an account with
//! funds.

use crate as pallet_access;
use crate::pallet::*;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU128, ConstU64, Hooks, VariantCountOf},
};
use quipu_primitives::Balance;
use sp_runtime::{traits::IdentityLookup, AccountId32, BuildStorage, Perbill};

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
        RuntimeTask
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(2)]
    pub type Access = pallet_access;
}

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
    type FreezeIdentifier = RuntimeFreezeReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
}

/// Blocks of a day.
pub const DAY: u64 = 10;
/// What the payer has.
pub const FUNDS: Balance = 100_000;
/// What Alice, Bob and Carl have.
pub const ENDOWMENT: Balance = 300_000;
/// Least that may be locked.
pub const MIN_LOCK: Balance = 100;

parameter_types! {
    pub static Payer: AccountId32 = acc(9);
    pub static DailyShare: Perbill = Perbill::from_percent(1);
    pub static HighestUnitPrice: Balance = 7;
}

impl Config for Test {
    type WeightInfo = ();
    type Currency = Balances;
    type Payer = Payer;
    type DailyShare = DailyShare;
    type HighestUnitPrice = HighestUnitPrice;
    type DayBlocks = ConstU64<DAY>;
    type MinLock = ConstU128<MIN_LOCK>;
}

/// The account of a small number.
pub fn acc(id: u8) -> AccountId32 {
    [id; 32].into()
}

/// Goes on to block `to`.
pub fn run_to(to: u64) {
    while System::block_number() < to {
        let now = System::block_number() + 1;
        System::set_block_number(now);
        Access::on_initialize(now);
        check();
    }
}

/// What holds at all times.
pub fn check() {
    Access::do_try_state().expect("the state is sound");
}

/// A chain at block 1 with a payer, Alice, Bob and Carl: a million in all.
pub fn new_test_ext() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .expect("genesis");
    let people = [1, 2, 3].map(|id| (acc(id), ENDOWMENT));
    pallet_balances::GenesisConfig::<Test> {
        balances: [people.to_vec(), vec![(acc(9), FUNDS)]].concat(),
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .expect("genesis");
    let mut ext = sp_io::TestExternalities::new(storage);
    ext.execute_with(|| run_to(1));
    ext
}

/// Runs a test, and checks what must hold before and after.
pub fn test(run: impl FnOnce()) {
    new_test_ext().execute_with(|| {
        check();
        run();
        check();
    });
}
