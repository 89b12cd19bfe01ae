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

mod docket;
mod impls;
pub mod penalty;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
pub mod types;
pub mod weights;

// Never part of a runtime that runs a chain: may panic.
#[cfg(feature = "runtime-benchmarks")]
#[allow(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic
)]
pub mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{Case, CaseId, Equivocation, Standing, State};
pub use weights::WeightInfo;

// The macros of FRAME write `expect` into the module; the calls of this pallet have no body of their own.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::boxed::Box;
    use frame_support::{
        pallet_prelude::*,
        traits::{
            fungible::{Balanced, Credit},
            OnUnbalanced,
        },
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        traits::{Cause, Nodes, Services, Signers, Slashable},
        Balance, NodeId,
    };
    use sp_runtime::Perbill;

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// What was taken of a bond.
    pub type CreditOf<T> = Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;
    /// [`Case`] with this runtime's types.
    pub type CaseOf<T> = Case<<T as frame_system::Config>::AccountId, BlockNumberFor<T>>;

    /// Cases and what becomes of them.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId: Into<[u8; 32]>> {
        /// Weights of the calls and of the work in `on_idle`.
        type WeightInfo: WeightInfo;

        /// The money that bonds are held in.
        type Currency: Balanced<Self::AccountId, Balance = Balance>;

        /// Burns what nobody gets of a slash.
        type OnBurn: OnUnbalanced<CreditOf<Self>>;

        /// The bonds.
        type Bonds: Slashable<Proceeds = CreditOf<Self>>;

        /// The nodes.
        type Nodes: Nodes<Self::AccountId> + Signers<Self::AccountId, BlockNumberFor<Self>>;

        /// The sessions of inference.
        type Services: Services<Self::AccountId, BlockNumberFor<Self>>;

        /// Who may cancel a case.
        type CancelOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// Blocks between a case's opening and its application.
        #[pallet::constant]
        type SlashDefer: Get<BlockNumberFor<Self>>;

        /// Blocks after the opening of a session in which evidence of what was signed in it is
        /// taken. No longer than bonds take to be released.
        #[pallet::constant]
        type EvidenceWindow: Get<BlockNumberFor<Self>>;

        /// Blocks for which a case is kept. No shorter than `EvidenceWindow`.
        #[pallet::constant]
        type CaseRetention: Get<BlockNumberFor<Self>>;

        /// What a wrong computation costs, in prices of the work in question.
        #[pallet::constant]
        type PriceMultiple: Get<u32>;

        /// The share of the bond that a wrong computation costs at least.
        #[pallet::constant]
        type MinComputation: Get<Perbill>;

        /// The share of the bond that withheld data costs the first time.
        #[pallet::constant]
        type Withheld: Get<Perbill>;

        /// The share of the proceeds for who proved the offence.
        #[pallet::constant]
        type ReporterShare: Get<Perbill>;

        /// The share of the proceeds for who was cheated.
        #[pallet::constant]
        type VictimShare: Get<Perbill>;

        /// What benchmarks need from the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: crate::benchmarking::BenchmarkHelper<Self::AccountId>;
    }

    /// The number of the next case. Numbers are never used again.
    #[pallet::storage]
    pub type NextCase<T> = StorageValue<_, CaseId, ValueQuery>;

    /// The cases, until they are forgotten.
    #[pallet::storage]
    pub type Cases<T: Config> = StorageMap<_, Twox64Concat, CaseId, CaseOf<T>>;

    /// The case of a node for a cause.
    #[pallet::storage]
    pub type CaseByCause<T> =
        StorageDoubleMap<_, Twox64Concat, NodeId, Blake2_128Concat, Cause, CaseId>;

    /// What hangs over each node; absent when that is nothing.
    #[pallet::storage]
    pub type Standings<T> = StorageMap<_, Twox64Concat, NodeId, Standing, ValueQuery>;

    /// No case with a lower number is pending.
    #[pallet::storage]
    pub type FirstPending<T> = StorageValue<_, CaseId, ValueQuery>;

    /// No case with a lower number is stored.
    #[pallet::storage]
    pub type FirstKept<T> = StorageValue<_, CaseId, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A node was charged.
        CaseOpened {
            /// The case.
            case: CaseId,
            /// The offender.
            node: NodeId,
            /// What it did.
            cause: Cause,
            /// What will be taken of its bond.
            amount: Balance,
            /// The block from which on it is taken.
            applies_at: BlockNumberFor<T>,
        },
        /// A case was canceled: nothing is taken for it.
        CaseCanceled {
            /// The case.
            case: CaseId,
            /// The node that was charged.
            node: NodeId,
        },
        /// A bond was slashed.
        CaseApplied {
            /// The case.
            case: CaseId,
            /// The offender.
            node: NodeId,
            /// What was taken: the sum of the three below.
            taken: Balance,
            /// What the reporter got of it.
            to_reporter: Balance,
            /// What the victim got of it.
            to_victim: Balance,
            /// What was burned of it.
            burned: Balance,
        },
    }

    /// Why a call or a charge was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// There is no such node.
        NoSuchNode,
        /// The node was charged with this already.
        AlreadyCharged,
        /// Every number of a case was given.
        IdsExhausted,
        /// There is no such case, or it was forgotten.
        NoSuchCase,
        /// The case was applied or canceled already.
        NotPending,
        /// The case can still be canceled: wait until it is due.
        NotDue,
        /// Both receipts can be true: they name different nodes or sessions, or share no position.
        NoContradiction,
        /// The node was no server of this session, or the session is no longer on record.
        NoSuchService,
        /// The session was opened too long ago.
        EvidenceTooOld,
        /// This key did not sign for the node since the session was opened.
        NotItsHotkey,
        /// The key did not sign the first receipt for this chain and this session.
        BadFirstSignature,
        /// The key did not sign the second receipt for this chain and this session.
        BadSecondSignature,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_idle(now: BlockNumberFor<T>, remaining: Weight) -> Weight {
            Self::work_off_cases(now, remaining)
        }

        fn integrity_test() {
            let shares = T::ReporterShare::get()
                .deconstruct()
                .checked_add(T::VictimShare::get().deconstruct());
            assert!(
                shares.is_some_and(|shares| shares <= Perbill::one().deconstruct()),
                "more than all is given away"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Proves that a node signed two receipts that can't both be true. Anyone; free of charge
        /// where it costs the node something.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::report_equivocation())]
        pub fn report_equivocation(
            origin: OriginFor<T>,
            evidence: Box<Equivocation<T::AccountId>>,
        ) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            let amount = Self::do_report_equivocation(reporter, *evidence)?;
            Ok(match amount {
                0 => Pays::Yes.into(),
                _ => Pays::No.into(),
            })
        }

        /// Drops a pending case. `CancelOrigin`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::cancel())]
        pub fn cancel(origin: OriginFor<T>, case: CaseId) -> DispatchResult {
            T::CancelOrigin::ensure_origin(origin)?;
            Self::do_cancel(case)
        }

        /// Has a pending case applied that is due, without waiting for its turn. Anyone.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::apply())]
        pub fn apply(origin: OriginFor<T>, case: CaseId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_apply(case)
        }
    }
}
