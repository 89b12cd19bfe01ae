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

mod backers;
mod book;
mod delegating;
mod delegation;
mod impls;
mod liens;
mod moving;
mod offences;
pub mod pool;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
mod types;
mod validators;
mod views;
pub mod weights;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use delegation::{
    Delegation, Departure, Departures, LeavingChunk, Lien, LienOf, LiensOf, PoolOf,
};
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
        PalletId,
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        traits::{Nodes, OnBondChange, PendingSlashes, Slasher, StakeRewards},
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

        /// The money that bonds are held in, and that is delegated.
        type Currency: Mutate<Self::AccountId>
            + Balanced<Self::AccountId, Balance = Balance>
            + BalancedHold<Self::AccountId>
            + MutateHold<Self::AccountId, Reason: From<HoldReason>, Balance = Balance>;

        /// The nodes and their owners.
        type Nodes: Nodes<Self::AccountId>;

        /// Told of every self-bond that changed, and of what pending slashes leave of it.
        type OnBondChange: OnBondChange;

        /// What nodes earn by what they have at stake, told of every stake that changed.
        type Rewards: StakeRewards<Self::AccountId>;

        /// Where validators are charged with what they did.
        type Slasher: Slasher<Self::AccountId> + PendingSlashes;

        /// The pallet that runs the sessions.
        type Sessions: Sessions<Self::AccountId>;

        /// The account that delegated money lies in derives from it.
        #[pallet::constant]
        type PotId: Get<PalletId>;

        /// Blocks that a bond or a delegation waits for its release, slashable all the while, and for
        /// which what moves away from a node answers for it.
        #[pallet::constant]
        type UnbondingPeriod: Get<BlockNumberFor<Self>>;

        /// Most chunks of a ledger or of a delegation that wait for their release.
        #[pallet::constant]
        type MaxUnbondingChunks: Get<u32>;

        /// Least self-bond that may be left when it is not zero.
        #[pallet::constant]
        type MinBond: Get<Balance>;

        /// Least that may be delegated, and that may be left of a delegation when it is not nothing.
        #[pallet::constant]
        type MinDelegation: Get<Balance>;

        /// The highest commission.
        #[pallet::constant]
        type MaxCommission: Get<Perbill>;

        /// Most by which a commission may be raised at once.
        #[pallet::constant]
        type MaxCommissionRaise: Get<Perbill>;

        /// Blocks between two raises of a commission.
        #[pallet::constant]
        type CommissionPeriod: Get<BlockNumberFor<Self>>;

        /// Most places where stake of one node may have gone that still answers for it, and most nodes for
        /// which one owner's or delegator's stake may answer beside its own.
        #[pallet::constant]
        type MaxMoves: Get<u32>;

        /// Self-bond without which no node may hold a seat, nor earn by what is at stake for it.
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

    /// What each node's owner has at stake for it; absent when that is nothing.
    #[pallet::storage]
    pub type Ledgers<T: Config> = StorageMap<_, Twox64Concat, NodeId, Ledger<T>>;

    /// The sum of all self-bonds.
    #[pallet::storage]
    pub type TotalBonded<T> = StorageValue<_, Balance, ValueQuery>;

    /// What others have at stake for each node, on which terms, and what was earned; absent when all that
    /// is nothing.
    #[pallet::storage]
    pub type Pools<T: Config> = StorageMap<_, Twox64Concat, NodeId, PoolOf<T>>;

    /// What each account has at stake for others' nodes; absent when that is nothing.
    #[pallet::storage]
    pub type Delegations<T: Config> =
        StorageDoubleMap<_, Twox64Concat, NodeId, Blake2_128Concat, T::AccountId, Delegation<T>>;

    /// The sum of all that is delegated and not asked back.
    #[pallet::storage]
    pub type TotalDelegated<T> = StorageValue<_, Balance, ValueQuery>;

    /// Where stake of each node went that still answers for it; absent when there is none.
    #[pallet::storage]
    pub type Departed<T: Config> = StorageMap<_, Twox64Concat, NodeId, Departures<T>, ValueQuery>;

    /// What of each ledger answers for other nodes; absent when that is nothing.
    #[pallet::storage]
    pub type BondLiens<T: Config> = StorageMap<_, Twox64Concat, NodeId, LiensOf<T>, ValueQuery>;

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

    /// The bonds that a chain starts with. The pot's existential deposit is minted.
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
            if let Err(error) = Pallet::<T>::endow_pot() {
                panic!("the pot cannot be endowed at genesis: {error:?}");
            }
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
        /// Somebody put something at stake for a node.
        Delegated {
            /// The node.
            node: NodeId,
            /// Who.
            delegator: T::AccountId,
            /// How much.
            amount: Balance,
            /// The shares of the node's pool for it.
            shares: u128,
        },
        /// A delegator asked something back.
        Undelegated {
            /// The node.
            node: NodeId,
            /// Who.
            delegator: T::AccountId,
            /// How much.
            amount: Balance,
            /// The block from which on it can be paid out.
            release_at: BlockNumberFor<T>,
        },
        /// A delegator was paid what was due.
        DelegationWithdrawn {
            /// The node.
            node: NodeId,
            /// Who was paid.
            delegator: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// All of a delegation was asked back for its delegator, or struck where it was worth nothing.
        DelegatorReleased {
            /// The node.
            node: NodeId,
            /// Whose delegation.
            delegator: T::AccountId,
            /// What was asked back.
            amount: Balance,
            /// Were worthless shares struck?
            worthless: bool,
        },
        /// An owner set what it keeps of its delegators' rewards.
        CommissionSet {
            /// The node.
            node: NodeId,
            /// The share of the rewards, from now on.
            commission: Perbill,
        },
        /// What a node earned was shared out.
        RewardShared {
            /// The node.
            node: NodeId,
            /// The owner's part, commission included.
            to_owner: Balance,
            /// The delegators' part.
            to_delegators: Balance,
        },
        /// A delegator was paid what it earned.
        RewardClaimed {
            /// The node.
            node: NodeId,
            /// Who was paid.
            delegator: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// An owner was paid what it earned.
        OwnRewardClaimed {
            /// The node.
            node: NodeId,
            /// Who was paid.
            coldkey: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A pool takes nothing in any more: all that was delegated is asked back.
        PoolClosed {
            /// The node.
            node: NodeId,
            /// How much was delegated.
            amount: Balance,
            /// The block from which on it can be paid out.
            release_at: BlockNumberFor<T>,
        },
        /// Part of a delegation moved to another node, and answers for the first one for a while.
        DelegationMoved {
            /// Where it was.
            from: NodeId,
            /// Where it is.
            to: NodeId,
            /// Whose it is.
            delegator: T::AccountId,
            /// How much.
            amount: Balance,
            /// The shares of the pool for it.
            shares: u128,
        },
        /// Part of a self-bond moved to another node of the owner, and answers for the first one for a
        /// while.
        BondMovedToNode {
            /// Where it was.
            from: NodeId,
            /// Where it is.
            to: NodeId,
            /// How much.
            amount: Balance,
            /// The self-bond of the second one from now on.
            self_bond: Balance,
        },
        /// Something was taken of what had moved away from a node that is slashed.
        DepartedSlashed {
            /// The node that is slashed.
            from: NodeId,
            /// Where it went.
            to: NodeId,
            /// Whose it was, nobody's where it was the owner's.
            delegator: Option<T::AccountId>,
            /// How much.
            amount: Balance,
        },
        /// What moved away from a node long enough ago doesn't answer for it any more.
        MovesCleared {
            /// The node.
            node: NodeId,
            /// From how many places.
            cleared: u32,
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
        /// Less than the least delegation would be added or left: leave nothing, or at least that much.
        BelowMinDelegation,
        /// The account has nothing at stake for this node.
        NotDelegated,
        /// Less than that is delegated.
        NotEnoughDelegated,
        /// The pool is closed: what is delegated is paid out once it is due.
        PoolClosed,
        /// All of the pool was slashed: its worthless shares must be released first.
        PoolWiped,
        /// So much of the pool was slashed that it takes nothing in.
        PoolDiluted,
        /// This moved from another node and answers for it a while longer.
        StillLiable,
        /// Too many moves of this node or of this stake still answer for the node that they left.
        TooManyMoves,
        /// The node is the same.
        SameNode,
        /// The commission is above the highest one.
        CommissionTooHigh,
        /// A commission can't be raised by so much at once.
        RaiseTooLarge,
        /// The commission was raised not long ago.
        RaiseTooSoon,
        /// The commission is that already.
        SameCommission,
        /// Nothing was earned that is not claimed.
        NothingToClaim,
        /// There is nothing to ask back for this delegator, and its shares are worth something.
        NothingToRelease,
        /// All that moved away from the node still answers for it.
        NothingToClear,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(
                T::MaxUnbondingChunks::get() > 0,
                "nothing could be unbonded"
            );
            assert!(
                T::MinDelegation::get() > 0,
                "what is nothing could be delegated"
            );
            assert!(T::MaxMoves::get() > 0, "nothing could be moved");
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

        /// Puts something at stake for a node, and shares what it earns and what it is slashed for.
        /// Anyone.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::delegate())]
        pub fn delegate(origin: OriginFor<T>, node: NodeId, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_delegate(who, node, amount)
        }

        /// Asks part of a delegation back. It is paid out after the unbonding period and can be
        /// slashed till then. Its delegator.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::undelegate())]
        pub fn undelegate(origin: OriginFor<T>, node: NodeId, amount: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_undelegate(who, node, amount)
        }

        /// Pays out to a delegator what is due, and with the last of it what was earned. Anyone.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::withdraw_delegation())]
        pub fn withdraw_delegation(
            origin: OriginFor<T>,
            node: NodeId,
            delegator: T::AccountId,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_withdraw_delegation(node, delegator)
        }

        /// Sets what the owner keeps of its delegators' rewards. What was earned before is shared out
        /// on the old terms. The node's coldkey.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::set_commission())]
        pub fn set_commission(
            origin: OriginFor<T>,
            node: NodeId,
            commission: Perbill,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_commission(who, node, commission)
        }

        /// Pays a delegator what it earned. The delegator.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::claim())]
        pub fn claim(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_claim(who, node)
        }

        /// Pays the owner what it earned, commission included. The node's coldkey.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::claim_own())]
        pub fn claim_own(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_claim_own(who, node)
        }

        /// Asks a delegation to a node without a self-bond back for its delegator, strikes worthless
        /// shares, and pays out what was earned to who has nothing else left. Anyone.
        #[pallet::call_index(12)]
        #[pallet::weight(T::WeightInfo::release_delegator())]
        pub fn release_delegator(
            origin: OriginFor<T>,
            node: NodeId,
            delegator: T::AccountId,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_release_delegator(node, delegator)
        }

        /// Moves part of a delegation to another node at once. For the unbonding period it still
        /// answers for what the first one did, and stays where it is. Its delegator.
        #[pallet::call_index(13)]
        #[pallet::weight(T::WeightInfo::move_delegation())]
        pub fn move_delegation(
            origin: OriginFor<T>,
            from: NodeId,
            to: NodeId,
            amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_move_delegation(who, from, to, amount)
        }

        /// Moves part of a self-bond to another node of the same owner at once. For the unbonding
        /// period it still answers for what the first one did, and stays bonded. The coldkey of both.
        #[pallet::call_index(14)]
        #[pallet::weight(T::WeightInfo::move_bond())]
        pub fn move_bond(
            origin: OriginFor<T>,
            from: NodeId,
            to: NodeId,
            amount: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_move_bond(who, from, to, amount)
        }

        /// Frees what moved away from a node and answered for it long enough. Anyone.
        #[pallet::call_index(15)]
        #[pallet::weight(T::WeightInfo::clear_moves())]
        pub fn clear_moves(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_clear_moves(node)
        }
    }
}
