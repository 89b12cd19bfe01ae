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

mod book;
mod impls;
mod offences;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
mod types;
mod validators;
pub mod weights;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::*;
pub use validators::{IdentificationOf, ValidatorIdOf};
pub use weights::WeightInfo;

// The macros of FRAME write `expect` into the module; the calls of this pallet have no body of their own.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::vec::Vec;
    use core::marker::PhantomData;
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{hold::Mutate as MutateHold, Balanced, BalancedHold, Mutate},
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        traits::{Nodes, OnBondChange, PendingSlashes, Slasher},
        Balance, NodeId,
    };
    use sp_runtime::Perbill;
    use sp_staking::{EraIndex, SessionIndex};

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// Bonds, and the validators that they elect.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId: From<[u8; 32]> + Into<[u8; 32]>> {
        /// Weights of the calls.
        type WeightInfo: WeightInfo;

        /// The money that bonds are held in.
        type Currency: Mutate<Self::AccountId>
            + Balanced<Self::AccountId, Balance = Balance>
            + BalancedHold<Self::AccountId>
            + MutateHold<Self::AccountId, Reason: From<HoldReason>, Balance = Balance>;

        /// The nodes and their owners.
        type Nodes: Nodes<Self::AccountId>;

        /// Told of every self-bond that changed, and of what pending slashes leave of it.
        type OnBondChange: OnBondChange;

        /// Where validators are charged with what they did.
        type Slasher: Slasher<Self::AccountId> + PendingSlashes;

        /// The pallet that runs the sessions.
        type Sessions: Sessions<Self::AccountId>;

        /// Blocks that a bond waits for its release, slashable all the while.
        #[pallet::constant]
        type UnbondingPeriod: Get<BlockNumberFor<Self>>;

        /// Most chunks of a ledger that wait for their release.
        #[pallet::constant]
        type MaxUnbondingChunks: Get<u32>;

        /// Least self-bond that may be left when it is not zero.
        #[pallet::constant]
        type MinBond: Get<Balance>;

        /// Self-bond without which no node may hold a seat.
        #[pallet::constant]
        type MinSelfBond: Get<Balance>;

        /// Self-bond without which no root node stands for election.
        #[pallet::constant]
        type MinValidatorBond: Get<Balance>;

        /// Most validators of the chain.
        #[pallet::constant]
        type MaxValidators: Get<u32>;

        /// Sessions of an era.
        #[pallet::constant]
        type SessionsPerEra: Get<SessionIndex>;

        /// Sessions for which an offence can be reported. Times the blocks of a session at most
        /// `UnbondingPeriod`.
        #[pallet::constant]
        type OffenceWindow: Get<SessionIndex>;

        /// Share of the bond that any proven offence costs at least.
        #[pallet::constant]
        type MinOffenceFraction: Get<Perbill>;

        /// What benchmarks need from the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: BenchmarkHelper<Self::AccountId>;
    }

    /// Why this pallet holds funds.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// The bonds of the nodes that an account owns.
        #[codec(index = 0)]
        Bond,
    }

    /// What each node has at stake; absent when that is nothing.
    #[pallet::storage]
    pub type Ledgers<T: Config> = StorageMap<_, Twox64Concat, NodeId, Ledger<T>>;

    /// The sum of all self-bonds.
    #[pallet::storage]
    pub type TotalBonded<T> = StorageValue<_, Balance, ValueQuery>;

    /// The era that runs.
    #[pallet::storage]
    pub type CurrentEra<T> = StorageValue<_, Era>;

    /// The validators of the era that runs.
    #[pallet::storage]
    pub type CurrentValidators<T: Config> =
        StorageValue<_, BoundedVec<NodeId, T::MaxValidators>, ValueQuery>;

    /// The era planned last: the one that runs, or the next.
    #[pallet::storage]
    pub type PlannedEra<T> = StorageValue<_, Era>;

    /// The validators elected last.
    #[pallet::storage]
    pub type PlannedValidators<T: Config> =
        StorageValue<_, BoundedVec<NodeId, T::MaxValidators>, ValueQuery>;

    /// Does the next session to be planned start an era, however long this one has run? Set by an
    /// offence.
    #[pallet::storage]
    pub type EarlyElection<T> = StorageValue<_, bool, ValueQuery>;

    /// What the gravest offence of a node in a session costs, for as long as offences of that
    /// session can be reported.
    #[pallet::storage]
    pub type OffenceFractions<T> =
        StorageDoubleMap<_, Twox64Concat, SessionIndex, Twox64Concat, NodeId, Perbill>;

    /// The bonds that a chain starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Nodes and what is bonded for them, held on their coldkeys. The nodes must exist and the
        /// coldkeys have the money: `balances` and `subnets` come before this pallet, `session`
        /// after it.
        pub bonds: Vec<(NodeId, Balance)>,
        /// Nothing.
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for (node, amount) in self.bonds.iter().copied() {
                let bonded = T::Nodes::keys(node)
                    .ok_or(Error::<T>::NoSuchNode.into())
                    .and_then(|keys| Pallet::<T>::do_bond(keys.coldkey, node, amount));
                if let Err(error) = bonded {
                    panic!("the bond of node {node} at genesis is refused: {error:?}");
                }
            }
        }
    }

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A self-bond was raised.
        Bonded {
            /// The node.
            node: NodeId,
            /// What was added.
            amount: Balance,
            /// The self-bond from now on.
            self_bond: Balance,
        },
        /// Part of a self-bond was asked back.
        Unbonded {
            /// The node.
            node: NodeId,
            /// What was asked back.
            amount: Balance,
            /// The self-bond from now on.
            self_bond: Balance,
            /// The block from which on it can be paid out.
            release_at: BlockNumberFor<T>,
        },
        /// What waited for its release was bonded again.
        Rebonded {
            /// The node.
            node: NodeId,
            /// How much.
            amount: Balance,
            /// The self-bond from now on.
            self_bond: Balance,
        },
        /// What was due was paid out.
        Withdrawn {
            /// The node.
            node: NodeId,
            /// Its owner, who was paid.
            coldkey: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// Part of what a node had at stake was taken.
        Slashed {
            /// The node.
            node: NodeId,
            /// How much.
            amount: Balance,
        },
        /// A node changed hands, and what it has at stake with it.
        BondMoved {
            /// The node.
            node: NodeId,
            /// Owned it until now.
            from: T::AccountId,
            /// Owns it from now on.
            to: T::AccountId,
            /// The whole ledger.
            amount: Balance,
        },
        /// A node no longer stands for election.
        Chilled {
            /// The node.
            node: NodeId,
        },
        /// A node stands for election again.
        Unchilled {
            /// The node.
            node: NodeId,
        },
        /// An era started.
        EraStarted {
            /// Its number.
            era: EraIndex,
            /// Its first session.
            session: SessionIndex,
            /// Its validators, those with the largest bonds first.
            validators: Vec<NodeId>,
        },
        /// An offence of a validator was proven.
        OffenceReported {
            /// The offender.
            node: NodeId,
            /// The share of its bond that its offences of that session cost together.
            fraction: Perbill,
            /// The session in which it happened.
            session: SessionIndex,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// There is no such node.
        NoSuchNode,
        /// Only the node's coldkey may do this.
        NotOwner,
        /// The amount is zero.
        ZeroAmount,
        /// Less than the least bond would be left bonded: leave nothing, or at least that much.
        BelowMinBond,
        /// Less than that is bonded.
        NotEnoughBonded,
        /// Less than that waits for its release.
        NotEnoughUnbonding,
        /// Too many chunks wait for their release: withdraw those that are due, or wait.
        TooManyChunks,
        /// Nothing is due for release.
        NothingDue,
        /// The node is charged with an offence: wait until that is decided.
        SlashPending,
        /// Nothing is bonded for the node.
        NotBonded,
        /// Only nodes of the root subnet validate the chain.
        NotRootNode,
        /// The node is chilled already.
        AlreadyChilled,
        /// The node stands for election already.
        NotChilled,
        /// The node's session keys must be purged before it changes hands.
        SessionKeysSet,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(
                T::MaxUnbondingChunks::get() > 0,
                "nothing could be unbonded"
            );
            assert!(T::MaxValidators::get() > 0, "nobody could validate");
            assert!(T::SessionsPerEra::get() > 0, "an era needs a session");
            // `pallet-session` charges a whole block for what it does where a session begins, and
            // asks no one what that costs.
            assert!(
                T::WeightInfo::new_era().all_lte(T::BlockWeights::get().max_block),
                "a new era does not fit into a block"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Raises the self-bond of a node. Its coldkey, on which it is held.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::bond())]
        pub fn bond(origin: OriginFor<T>, node: NodeId, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_bond(who, node, amount)
        }

        /// Asks part of a self-bond back. It is paid out after the unbonding period and can be
        /// slashed till then. A node whose self-bond gets too small loses its seat. Its coldkey.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unbond())]
        pub fn unbond(origin: OriginFor<T>, node: NodeId, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unbond(who, node, amount)
        }

        /// Bonds again part of what waits for its release. Its coldkey.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::rebond())]
        pub fn rebond(origin: OriginFor<T>, node: NodeId, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_rebond(who, node, amount)
        }

        /// Pays out to the node's coldkey what is due. Anyone.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::withdraw())]
        pub fn withdraw(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_withdraw(node)
        }

        /// Lets a chilled node stand for election again. Its coldkey.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::validate())]
        pub fn validate(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_validate(who, node)
        }

        /// Keeps a node out of the next elections. Its coldkey.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::chill())]
        pub fn chill(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_chill(who, node)
        }
    }
}
