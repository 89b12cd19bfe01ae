#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

extern crate alloc;

pub mod burn;
pub mod capital;
pub mod curve;
mod impls;
mod split;
mod stakes;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
mod views;
pub mod weights;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use split::{split, Shares};
pub use weights::WeightInfo;

// The macros of FRAME write `expect` into the module; the calls of this pallet have no body of their own.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use crate::{
        capital::{Capital, Stake},
        curve::{Period, Shape},
    };
    use core::marker::PhantomData;
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{Balanced, Credit, Mutate},
        PalletId,
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        economy::{Bucket, BurnSource},
        Balance, NodeId,
    };
    use sp_runtime::Perbill;

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// QPU that belongs to no account.
    pub type CreditOf<T> = Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;
    /// [`Period`] with this runtime's types.
    pub type PeriodOf<T> = Period<BlockNumberFor<T>>;
    /// [`Stake`] with this runtime's types.
    pub type StakeOf<T> = Stake<BlockNumberFor<T>>;

    /// What is issued, and what stake earns of it.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Weights of the calls and of the work in blocks.
        type WeightInfo: WeightInfo;

        /// QPU.
        type Currency: Mutate<Self::AccountId, Balance = Balance>
            + Balanced<Self::AccountId, Balance = Balance>;

        /// The accounts of the buckets derive from it.
        #[pallet::constant]
        type PotId: Get<PalletId>;

        /// Who may change the schedule, and spend what builders, the community and protection have.
        type ManageOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// What the first period emits in all.
        #[pallet::constant]
        type Cap: Get<Balance>;

        /// What its first day emits.
        #[pallet::constant]
        type FirstDay: Get<Balance>;

        /// Days of each period.
        #[pallet::constant]
        type Days: Get<u32>;

        /// Blocks of a day.
        #[pallet::constant]
        type DayBlocks: Get<BlockNumberFor<Self>>;

        /// Blocks between two emissions.
        #[pallet::constant]
        type EmissionInterval: Get<BlockNumberFor<Self>>;

        /// The shares of the buckets.
        type Shares: Get<Shares>;

        /// The share of what was burned in a period that the one after emits at most.
        type TailOfBurned: Get<Perbill>;

        /// The share of all that exists that a period after the first emits at most.
        type TailOfSupply: Get<Perbill>;

        /// What an auditor is paid whose finding turned out to be so, as a share of the price of the work
        /// that it looked at.
        type AuditPay: Get<Perbill>;

        /// The share of what protection has that one auditor is paid at most.
        type AuditPayAtMost: Get<Perbill>;

        /// Blocks for which the stake of a node earns nothing that missed its duty as an auditor.
        #[pallet::constant]
        type RestAfterMissedDuty: Get<BlockNumberFor<Self>>;
    }

    /// The period that runs.
    #[pallet::storage]
    pub type CurrentPeriod<T: Config> = StorageValue<_, PeriodOf<T>>;

    /// All that was ever emitted.
    #[pallet::storage]
    pub type Issued<T> = StorageValue<_, Balance, ValueQuery>;

    /// The block from which on something is emitted again.
    #[pallet::storage]
    pub type NextEmission<T: Config> = StorageValue<_, BlockNumberFor<T>, ValueQuery>;

    /// What existed before anything was emitted.
    #[pallet::storage]
    pub type GenesisSupply<T> = StorageValue<_, Balance, ValueQuery>;

    /// What had been burned when the period that runs began.
    #[pallet::storage]
    pub type BurnedBefore<T> = StorageValue<_, Balance, ValueQuery>;

    /// What was burned for each reason.
    #[pallet::storage]
    pub type Burned<T> = StorageMap<_, Twox64Concat, BurnSource, Balance, ValueQuery>;

    /// All stake, and what it earned.
    #[pallet::storage]
    pub type Capitals<T> = StorageValue<_, Capital, ValueQuery>;

    /// The stake of each node, and what it earned; absent when that is nothing.
    #[pallet::storage]
    pub type Stakes<T: Config> = StorageMap<_, Twox64Concat, NodeId, StakeOf<T>>;

    /// Which nodes' stake earns again from which block on.
    #[pallet::storage]
    pub type Resting<T: Config> =
        StorageDoubleMap<_, Twox64Concat, BlockNumberFor<T>, Twox64Concat, NodeId, ()>;

    /// No entry of [`Resting`] stands under an earlier block.
    #[pallet::storage]
    pub type RestingCursor<T: Config> = StorageValue<_, BlockNumberFor<T>>;

    /// The schedule begins with the chain.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Nothing.
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Pallet::<T>::begin();
        }
    }

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// QPU was issued.
        Emitted {
            /// For inference.
            compute: Balance,
            /// For stake.
            capital: Balance,
            /// For builders.
            builders: Balance,
            /// For the community.
            community: Balance,
            /// For protection.
            protection: Balance,
        },
        /// What was due could not be issued, such as where it is less than an account needs to exist. It
        /// is part of the next emission.
        EmissionPostponed {
            /// How much.
            amount: Balance,
        },
        /// A period began.
        PeriodStarted {
            /// The block at which it did.
            starts_at: BlockNumberFor<T>,
            /// Its days.
            days: u32,
            /// What it emits in all.
            total: Balance,
            /// How that is spread.
            shape: Shape,
        },
        /// Something was paid out of a bucket.
        Spent {
            /// The bucket.
            bucket: Bucket,
            /// Who was paid.
            to: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// What a node earned by its stake was collected.
        Collected {
            /// The node.
            node: NodeId,
            /// The account to which it was paid.
            to: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// An auditor was paid, out of protection.
        AuditorPaid {
            /// The auditor.
            node: NodeId,
            /// Its owner, who was paid.
            to: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A node missed a duty: its stake earns nothing for a while.
        StakeRests {
            /// The node.
            node: NodeId,
            /// The block from which on it earns again.
            until: BlockNumberFor<T>,
        },
        /// A node's stake earns again.
        StakeEarnsAgain {
            /// The node.
            node: NodeId,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// What is left can't be emitted like that: with so many days the first must emit between once and
        /// twice the average, and there must be 2 to 1,000,000 of them.
        BadSchedule,
        /// What this bucket has is paid by rules: nobody can spend it.
        NotSpendable,
        /// The bucket has less than that, or would be left with less than an account needs to exist.
        NotEnough,
        /// The amount is zero.
        ZeroAmount,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            if now < NextEmission::<T>::get() {
                return T::DbWeight::get().reads(1);
            }
            Self::emit(now);
            T::WeightInfo::emit()
        }

        fn on_idle(now: BlockNumberFor<T>, limit: Weight) -> Weight {
            Self::work_off_rests(now, limit)
        }

        fn integrity_test() {
            assert!(
                Self::first_period().is_sound(),
                "the schedule can't be followed: see `Period::is_sound`"
            );
            assert!(
                T::EmissionInterval::get() > 0u32.into(),
                "there must be a block between two emissions"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Emits what is left of this period over so many days from now on, the first of which emits so
        /// much, and each after it less. `ManageOrigin`.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::reschedule())]
        pub fn reschedule(origin: OriginFor<T>, first_day: Balance, days: u32) -> DispatchResult {
            T::ManageOrigin::ensure_origin(origin)?;
            Self::do_reschedule(first_day, days)
        }

        /// Pays out of what builders, the community or protection have. `ManageOrigin`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::spend())]
        pub fn spend(
            origin: OriginFor<T>,
            bucket: Bucket,
            to: T::AccountId,
            amount: Balance,
        ) -> DispatchResult {
            T::ManageOrigin::ensure_origin(origin)?;
            Self::do_spend(bucket, to, amount)
        }
    }
}
