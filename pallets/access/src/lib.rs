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

mod impls;
pub mod quota;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
pub mod weights;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use weights::WeightInfo;

// The macros of FRAME write `expect` into the module; the calls of this pallet have no body of their own.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use crate::quota::{Day, DayNumber, Lock};
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{freeze::Mutate as MutateFreeze, InspectFreeze},
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::Balance;
    use sp_runtime::Perbill;

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// Who may use how much.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Weights of the calls and of the work in blocks.
        type WeightInfo: WeightInfo;

        /// QPU.
        type Currency: MutateFreeze<Self::AccountId>
            + InspectFreeze<Self::AccountId, Id: From<FreezeReason>, Balance = Balance>;

        /// The account whose funds pay.
        type Payer: Get<Self::AccountId>;

        /// The share of the payer's funds that may be used in a day.
        type DailyShare: Get<Perbill>;

        /// What a unit may cost at most: a position through 10⁶ parameters.
        type HighestUnitPrice: Get<Balance>;

        /// Blocks of a day.
        #[pallet::constant]
        type DayBlocks: Get<BlockNumberFor<Self>>;

        /// Least that may be locked when it is not nothing.
        #[pallet::constant]
        type MinLock: Get<Balance>;
    }

    /// Why this pallet freezes funds.
    #[pallet::composite_enum]
    pub enum FreezeReason {
        /// What entitles to inference.
        #[codec(index = 0)]
        Access,
    }

    /// The day that runs.
    #[pallet::storage]
    pub type Today<T> = StorageValue<_, Day, ValueQuery>;

    /// The block in which the next day begins.
    #[pallet::storage]
    pub type NextDay<T: Config> = StorageValue<_, BlockNumberFor<T>, ValueQuery>;

    /// What each holder locked.
    #[pallet::storage]
    pub type Locks<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Lock>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A day began.
        DayStarted {
            /// Which.
            day: DayNumber,
            /// What all holders together may use.
            budget: Balance,
            /// What exists, by which it is shared.
            supply: Balance,
        },
        /// A holder locked more.
        Locked {
            /// Who.
            holder: T::AccountId,
            /// How much more.
            amount: Balance,
            /// All that it has locked.
            locked: Balance,
        },
        /// A holder unlocked some.
        Unlocked {
            /// Who.
            holder: T::AccountId,
            /// How much.
            amount: Balance,
            /// What is still locked.
            locked: Balance,
        },
        /// Some of a quota was taken.
        QuotaTaken {
            /// Whose.
            holder: T::AccountId,
            /// How much.
            amount: Balance,
            /// What is left for the day.
            left: Balance,
        },
        /// Some of a quota was not needed.
        QuotaGivenBack {
            /// Whose.
            holder: T::AccountId,
            /// The day whose quota it was; once that is over it is of no use.
            day: DayNumber,
            /// How much.
            amount: Balance,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// The amount is zero.
        ZeroAmount,
        /// The account has less than that.
        NotEnough,
        /// Less than that is locked.
        NotEnoughLocked,
        /// Less than the least would be left locked: leave nothing, or at least that much.
        BelowMinLock,
        /// The quota of this day is less than that: lock more, which counts from tomorrow on, or pay.
        QuotaExceeded,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            if now < NextDay::<T>::get() {
                return T::DbWeight::get().reads(1);
            }
            Self::begin_day(now);
            T::WeightInfo::begin_day()
        }

        fn integrity_test() {
            assert!(T::DayBlocks::get() > 0u32.into(), "a day must have a block");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Locks more of what the signer has. From the next day on it entitles to a share of the day's
        /// budget. What is bonded counts like the rest.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::lock())]
        pub fn lock(origin: OriginFor<T>, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_lock(who, amount)
        }

        /// Unlocks some of it at once.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unlock())]
        pub fn unlock(origin: OriginFor<T>, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unlock(who, amount)
        }
    }
}
