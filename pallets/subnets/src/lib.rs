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
mod records;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
mod types;
mod views;
pub mod weights;

#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::*;
pub use weights::WeightInfo;

// The macros of FRAME write `expect` into the module; the calls of this pallet have no body of their own.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{hold::Mutate as MutateHold, Mutate},
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        traits::{Bonds, Obligations, OnColdkeySwap},
        Balance, Digest, Manifest, ManifestError, NodeId, Span, SubnetId,
    };

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// Subnets, their nodes and who serves what.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Weights of the calls.
        type WeightInfo: WeightInfo;

        /// The money that deposits are held in.
        type Currency: Mutate<Self::AccountId>
            + MutateHold<Self::AccountId, Reason: From<HoldReason>, Balance = Balance>;

        /// The bonds of the nodes.
        type Bonds: Bonds;

        /// Moves along what belongs to a node's owner when the owner changes, or refuses the change.
        type OnColdkeySwap: OnColdkeySwap<Self::AccountId>;

        /// What keeps a node from being removed.
        type Obligations: Obligations;

        /// Deposit for the next subnet to be registered.
        type RegistrationDeposit: Get<Balance>;

        /// Deposit for a node.
        #[pallet::constant]
        type NodeDeposit: Get<Balance>;

        /// Most subnets at a time, the root subnet not counted.
        #[pallet::constant]
        type MaxSubnets: Get<u32>;

        /// Most nodes of a subnet, whatever its terms say.
        #[pallet::constant]
        type MaxNodesPerSubnet: Get<u32>;

        /// Most keys that signed for a node before and are remembered.
        #[pallet::constant]
        type MaxFormerHotkeys: Get<u32>;

        /// Blocks for which a key that signed for a node before is remembered: as long as it can
        /// be punished for that.
        #[pallet::constant]
        type HotkeyRetention: Get<BlockNumberFor<Self>>;

        /// What benchmarks need from the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: BenchmarkHelper<Self::AccountId>;
    }

    /// Why this pallet holds funds.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposit of a subnet's creator.
        #[codec(index = 0)]
        Registration,
        /// Deposit of a node's owner.
        #[codec(index = 1)]
        Node,
    }

    /// Id of the next subnet. Ids are never used again; 0 is the root subnet.
    #[pallet::storage]
    pub type NextSubnetId<T> = StorageValue<_, SubnetId, ValueQuery, ConstU32<1>>;

    /// Every subnet but the root subnet.
    #[pallet::storage]
    pub type Subnets<T: Config> =
        CountedStorageMap<_, Twox64Concat, SubnetId, Subnet<T::AccountId>>;

    /// The model of each subnet.
    #[pallet::storage]
    pub type Manifests<T> = StorageMap<_, Twox64Concat, SubnetId, Manifest>;

    /// For each block of each subnet, how many seats serve it.
    #[pallet::storage]
    pub type CoverageOf<T> = StorageMap<_, Twox64Concat, SubnetId, Coverage>;

    /// The nodes of each subnet, the root subnet included; absent when there are none.
    #[pallet::storage]
    pub type Members<T: Config> =
        StorageMap<_, Twox64Concat, SubnetId, BoundedVec<NodeId, T::MaxNodesPerSubnet>, ValueQuery>;

    /// Id of the next node. Ids are never used again.
    #[pallet::storage]
    pub type NextNodeId<T> = StorageValue<_, NodeId, ValueQuery>;

    /// Every node.
    #[pallet::storage]
    pub type Nodes<T: Config> = StorageMap<_, Twox64Concat, NodeId, Node<T::AccountId>>;

    /// The node that a hotkey signs for.
    #[pallet::storage]
    pub type NodeOfHotkey<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, NodeId>;

    /// The keys that signed for a node before, the last of them last, each with the block in which
    /// another took its place; absent when there are none. Those that no longer matter go when the
    /// next is added.
    #[pallet::storage]
    pub type FormerHotkeys<T: Config> = StorageMap<
        _,
        Twox64Concat,
        NodeId,
        BoundedVec<(T::AccountId, BlockNumberFor<T>), T::MaxFormerHotkeys>,
        ValueQuery,
    >;

    /// The node that the swarm finds under a peer id.
    #[pallet::storage]
    pub type NodeOfPeer<T> = StorageMap<_, Blake2_128Concat, PeerId, NodeId>;

    /// The root node of a coldkey.
    #[pallet::storage]
    pub type RootNodeOf<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, NodeId>;

    /// The nodes that a chain starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Coldkey, hotkey and peer id of each node of the root subnet. They get the ids 0, 1, 2…
        /// in this order, and no deposit is held for them.
        pub root_nodes: Vec<(T::AccountId, T::AccountId, PeerId)>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for (coldkey, hotkey, peer_id) in self.root_nodes.iter().cloned() {
                if let Err(error) = Pallet::<T>::add_root_node(coldkey, hotkey, peer_id) {
                    panic!("a root node of the genesis is refused: {error:?}");
                }
            }
        }
    }

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A model was registered.
        SubnetRegistered {
            /// The new subnet.
            subnet: SubnetId,
            /// Who registered it.
            creator: T::AccountId,
            /// What is held on the creator's account.
            deposit: Balance,
            /// Digest of the manifest.
            manifest_digest: Digest,
        },
        /// A subnet is gone, and its deposit released.
        SubnetDissolved {
            /// The subnet.
            subnet: SubnetId,
            /// What was released to the creator.
            deposit: Balance,
        },
        /// Every block of a subnet is served: it takes sessions and jobs.
        SubnetActivated {
            /// The subnet.
            subnet: SubnetId,
        },
        /// Some block of a subnet is served by nobody: it takes no sessions or jobs.
        SubnetDeactivated {
            /// The subnet.
            subnet: SubnetId,
        },
        /// A subnet's creator closed it for new sessions and jobs.
        SubnetPaused {
            /// The subnet.
            subnet: SubnetId,
        },
        /// A subnet's creator opened it again.
        SubnetResumed {
            /// The subnet.
            subnet: SubnetId,
            /// Is every block served, so that it takes sessions and jobs?
            active: bool,
        },
        /// A node was registered.
        NodeRegistered {
            /// The new node.
            node: NodeId,
            /// Its subnet.
            subnet: SubnetId,
            /// Owns it.
            coldkey: T::AccountId,
            /// Signs for it.
            hotkey: T::AccountId,
            /// What is held on the coldkey.
            deposit: Balance,
        },
        /// A node is gone, and its deposit released.
        NodeRemoved {
            /// The node.
            node: NodeId,
            /// Its subnet.
            subnet: SubnetId,
            /// What was released to the coldkey.
            deposit: Balance,
        },
        /// A node took a seat.
        NodeJoined {
            /// The node.
            node: NodeId,
            /// Its subnet.
            subnet: SubnetId,
            /// The blocks that it serves.
            span: Span,
            /// What it asks per position and block.
            price: Balance,
            /// Digest of its numeric profile.
            profile: Digest,
        },
        /// A node with a seat asks another price.
        PriceChanged {
            /// The node.
            node: NodeId,
            /// What it asks per position and block from now on.
            price: Balance,
        },
        /// A node lost its seat.
        NodeLeft {
            /// The node.
            node: NodeId,
            /// Its subnet.
            subnet: SubnetId,
            /// The blocks that it served.
            span: Span,
            /// Why.
            reason: LeaveReason,
        },
        /// A node has another hotkey.
        HotkeyChanged {
            /// The node.
            node: NodeId,
            /// Signed for it until now.
            old: T::AccountId,
            /// Signs for it from now on.
            new: T::AccountId,
        },
        /// A node has another owner.
        ColdkeyChanged {
            /// The node.
            node: NodeId,
            /// Owned it until now.
            old: T::AccountId,
            /// Owns it from now on.
            new: T::AccountId,
        },
        /// A node is found under another peer id.
        PeerIdChanged {
            /// The node.
            node: NodeId,
            /// The peer id from now on.
            peer_id: PeerId,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// A size of the model is zero.
        ManifestZeroSize,
        /// The number of heads is not a multiple of the number of key-value heads.
        ManifestHeadsNotGrouped,
        /// The head dimension is odd; rotary embeddings need pairs.
        ManifestOddHeadDim,
        /// The model has more than 256 blocks.
        ManifestTooManyBlocks,
        /// A size of the model is beyond what can be served.
        ManifestSizeOutOfRange,
        /// There must be one digest for each block.
        ManifestDigestCount,
        /// The weights root is not the root of the digests given.
        ManifestWeightsRoot,
        /// At least one numeric profile is needed.
        ManifestNoProfile,
        /// A numeric profile stands twice.
        ManifestDuplicateProfile,
        /// The name must be 1 to 64 bytes of UTF-8.
        ManifestBadName,
        /// The rotary embedding's constants can't be used.
        ManifestBadRope,
        /// The terms must allow at least one node.
        ManifestNoNodes,
        /// There are as many subnets as there may be: wait until one is dissolved.
        TooManySubnets,
        /// Every id was given.
        IdsExhausted,
        /// There is no such subnet, or it is the root subnet where a model is needed.
        NoSuchSubnet,
        /// Only the subnet's creator may do this.
        NotCreator,
        /// The subnet still has nodes: they must be removed first.
        SubnetHasNodes,
        /// The subnet is paused already.
        AlreadyPaused,
        /// The subnet is not paused.
        NotPaused,
        /// There is no such node.
        NoSuchNode,
        /// Only the node's coldkey may do this.
        NotOwner,
        /// Only the node's hotkey or coldkey may do this.
        NotOperator,
        /// These bytes are no libp2p peer id.
        BadPeerId,
        /// The hotkey signs for a node already: generate another.
        HotkeyInUse,
        /// The node had too many hotkeys that still matter: wait until the first is forgotten.
        TooManyHotkeys,
        /// The peer id belongs to a node already: generate another.
        PeerIdInUse,
        /// The coldkey owns a root node already.
        ColdkeyHasRootNode,
        /// The node is the new owner's already.
        SameColdkey,
        /// The subnet has as many nodes as it may have.
        SubnetFull,
        /// Nodes of the root subnet serve no blocks.
        RootHasNoSeats,
        /// The span holds no block.
        EmptySpan,
        /// The span ends behind the model's last block.
        SpanOutsideModel,
        /// The subnet's manifest does not name this numeric profile.
        ProfileNotAccepted,
        /// The node's self-bond is less than what the chain or the subnet asks for: bond more.
        BondTooSmall,
        /// The node has a seat already: leave it first.
        AlreadySeated,
        /// The node has no seat.
        NotSeated,
        /// The node still has a seat: leave it first.
        NodeSeated,
        /// Part of the node's bond is still bonded or waits for its release.
        NodeBonded,
        /// The node is still needed, such as by an open session or as a validator.
        NodeHasObligations,
    }

    impl<T> From<ManifestError> for Error<T> {
        fn from(error: ManifestError) -> Self {
            match error {
                ManifestError::ZeroSize => Error::ManifestZeroSize,
                ManifestError::HeadsNotGrouped => Error::ManifestHeadsNotGrouped,
                ManifestError::OddHeadDim => Error::ManifestOddHeadDim,
                ManifestError::TooManyBlocks => Error::ManifestTooManyBlocks,
                ManifestError::SizeOutOfRange => Error::ManifestSizeOutOfRange,
                ManifestError::DigestCount => Error::ManifestDigestCount,
                ManifestError::WeightsRoot => Error::ManifestWeightsRoot,
                ManifestError::NoProfile => Error::ManifestNoProfile,
                ManifestError::DuplicateProfile => Error::ManifestDuplicateProfile,
                ManifestError::BadName => Error::ManifestBadName,
                ManifestError::BadRope => Error::ManifestBadRope,
                ManifestError::NoNodes => Error::ManifestNoNodes,
            }
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            let max_nodes = T::MaxNodesPerSubnet::get();
            assert!(max_nodes > 0, "no subnet could have a node");
            assert!(
                max_nodes <= u32::from(u16::MAX),
                "coverage counts the seats of a block in 16 bits"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Registers a model. Anyone with the deposit.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_subnet(manifest.block_digests.len() as u32))]
        pub fn register_subnet(origin: OriginFor<T>, manifest: Box<Manifest>) -> DispatchResult {
            let creator = ensure_signed(origin)?;
            Self::do_register_subnet(creator, *manifest)
        }

        /// Removes a subnet without nodes and releases its deposit. Its creator.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::dissolve_subnet())]
        pub fn dissolve_subnet(origin: OriginFor<T>, subnet: SubnetId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_dissolve_subnet(who, subnet)
        }

        /// Closes a subnet for new sessions and jobs. Its creator.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::pause_subnet())]
        pub fn pause_subnet(origin: OriginFor<T>, subnet: SubnetId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_pause_subnet(who, subnet)
        }

        /// Opens a paused subnet again. Its creator.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::resume_subnet())]
        pub fn resume_subnet(origin: OriginFor<T>, subnet: SubnetId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_resume_subnet(who, subnet)
        }

        /// Registers a node, owned by who signs this. A deposit is held until it is removed.
        /// `subnet` 0 is for validators of the chain.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::register_node())]
        pub fn register_node(
            origin: OriginFor<T>,
            subnet: SubnetId,
            hotkey: T::AccountId,
            peer_id: PeerId,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_register_node(coldkey, subnet, hotkey, peer_id)
        }

        /// Removes a node that has no seat, no bond and no obligations. Its coldkey.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::remove_node())]
        pub fn remove_node(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_remove_node(who, node)
        }

        /// Takes a seat: the node serves `span` at `price` per position and block, computing with
        /// the manifest's profile of digest `profile`. Its hotkey or coldkey.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::join())]
        pub fn join(
            origin: OriginFor<T>,
            node: NodeId,
            span: Span,
            price: Balance,
            profile: Digest,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_join(who, node, span, price, profile)
        }

        /// Changes what a node with a seat asks of sessions opened from now on. Its hotkey or
        /// coldkey.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::update_price())]
        pub fn update_price(origin: OriginFor<T>, node: NodeId, price: Balance) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_update_price(who, node, price)
        }

        /// Gives up a seat. Its hotkey or coldkey.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::leave())]
        pub fn leave(origin: OriginFor<T>, node: NodeId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_leave(who, node)
        }

        /// Lets another key sign for the node. Its coldkey.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::set_hotkey())]
        pub fn set_hotkey(
            origin: OriginFor<T>,
            node: NodeId,
            hotkey: T::AccountId,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_hotkey(who, node, hotkey)
        }

        /// Hands the node with its deposit and its bond to another account, which must exist. Its
        /// coldkey.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::set_coldkey())]
        pub fn set_coldkey(
            origin: OriginFor<T>,
            node: NodeId,
            coldkey: T::AccountId,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_coldkey(who, node, coldkey)
        }

        /// Tells the swarm to find the node elsewhere. Its hotkey or coldkey.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::set_peer_id())]
        pub fn set_peer_id(origin: OriginFor<T>, node: NodeId, peer_id: PeerId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_peer_id(who, node, peer_id)
        }
    }
}
