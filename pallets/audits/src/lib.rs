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
pub mod draw;
mod impls;
mod panels;
pub mod tally;
#[cfg(any(feature = "try-runtime", test))]
mod try_state;
pub mod types;
mod views;
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
pub use types::{Audit, Draw, Epoch, Pass};
pub use weights::WeightInfo;

// The macros' own code calls `expect`; what is written here by hand does not.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use alloc::vec::Vec;
    use frame_support::{dispatch::PostDispatchInfo, pallet_prelude::*, traits::Randomness};
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        audit::{Finding, Outcome, Round, Subject, Verdict},
        traits::{AuditDuties, Bonds, Nodes, Services, Slasher},
        Balance, Digest, NodeId, SessionId,
    };
    use sp_runtime::Perbill;

    /// Version of what is stored.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// Epochs of which the seed is kept. A draw that is later than that takes the oldest there is.
    pub(crate) const SEEDS: u32 = 16;
    /// Epochs that a draw waits for: what it is drawn with was made in the one after that in which the wait
    /// began, and is known from the next on.
    pub(crate) const DRAW_DELAY: Epoch = 2;

    /// [`Audit`] with this runtime's types.
    pub type AuditOf<T> = Audit<<T as frame_system::Config>::AccountId, BlockNumberFor<T>>;

    /// Audits and what becomes of them.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime decides.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Weights of the calls and of the work in blocks.
        type WeightInfo: WeightInfo;

        /// The nodes.
        type Nodes: Nodes<Self::AccountId>;

        /// The bonds, by which auditors are drawn.
        type Bonds: Bonds;

        /// The sessions of inference.
        type Services: Services<Self::AccountId, BlockNumberFor<Self>>;

        /// Whom those who are convicted are left to.
        type Slasher: Slasher<Self::AccountId>;

        /// Who is told which auditors did their duty, and which did not.
        type Duties: AuditDuties<Self::AccountId>;

        /// The epoch that is running.
        type Epoch: Get<Epoch>;

        /// When an epoch begins: randomness that was made in the epoch before, all of it.
        type Randomness: Randomness<Self::Hash, BlockNumberFor<Self>>;

        /// Who may say how much is audited.
        type ManageOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// The share of servers' work that is audited, until somebody says otherwise.
        #[pallet::constant]
        type DefaultRate: Get<Perbill>;

        /// The share of what an auditor let pass that another one looks at.
        #[pallet::constant]
        type SecondRate: Get<Perbill>;

        /// Blocks that auditors have to look and commit. At least one.
        #[pallet::constant]
        type CommitWindow: Get<BlockNumberFor<Self>>;

        /// Blocks that they have to reveal. At least one.
        #[pallet::constant]
        type RevealWindow: Get<BlockNumberFor<Self>>;

        /// Blocks that an accused server has to answer. At least one.
        #[pallet::constant]
        type AnswerWindow: Get<BlockNumberFor<Self>>;

        /// Blocks for which the record of an audit is kept. At least one.
        #[pallet::constant]
        type RecordRetention: Get<BlockNumberFor<Self>>;

        /// What a verdict costs that a trial finds to be wrong. Who has less than that bonded can't
        /// accuse.
        #[pallet::constant]
        type AccusationBond: Get<Balance>;

        /// How often an auditor is drawn anew where one did not do its duty. At least one.
        #[pallet::constant]
        type MaxAttempts: Get<u32>;

        /// Most servers of a session. Weights rest on it.
        #[pallet::constant]
        type MaxServers: Get<u32>;

        /// Most nodes of a subnet. Weights rest on it.
        #[pallet::constant]
        type MaxNodes: Get<u32>;

        /// What benchmarks need from the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: crate::benchmarking::BenchmarkHelper<Self::AccountId>;
    }

    /// The share of servers' work that is audited.
    #[pallet::storage]
    pub type Rate<T: Config> = StorageValue<_, Perbill, ValueQuery, T::DefaultRate>;

    /// The audits by session and server, until they are forgotten.
    #[pallet::storage]
    pub type Audits<T: Config> =
        StorageDoubleMap<_, Twox64Concat, SessionId, Twox64Concat, NodeId, AuditOf<T>>;

    /// Why a session is not paid out: its draw, if it is to come, and its audits that are not over.
    #[pallet::storage]
    pub type Holds<T> = StorageMap<_, Twox64Concat, SessionId, u32, ValueQuery>;

    /// Servers that get nothing for a session, until it is paid out.
    #[pallet::storage]
    pub type Forfeits<T> = StorageDoubleMap<_, Twox64Concat, SessionId, Twox64Concat, NodeId, ()>;

    /// The open audits that each node is part of. While there are any, it stays.
    #[pallet::storage]
    pub type Bound<T> = StorageDoubleMap<_, Twox64Concat, NodeId, Twox64Concat, Subject, ()>;

    /// What waits for a draw, by the epoch in which the wait began: an entry for each session of which it
    /// is not drawn yet what is audited, and for each audit that waits.
    #[pallet::storage]
    pub type Draws<T> = StorageDoubleMap<_, Twox64Concat, Epoch, Twox64Concat, Draw, ()>;

    /// No entry of [`Draws`] stands under an earlier epoch.
    #[pallet::storage]
    pub type DrawCursor<T> = StorageValue<_, Epoch>;

    /// What is to be done in which block: an entry for each audit that waits for no draw.
    #[pallet::storage]
    pub type Deadlines<T: Config> =
        StorageDoubleMap<_, Twox64Concat, BlockNumberFor<T>, Twox64Concat, Subject, ()>;

    /// No entry of [`Deadlines`] stands under an earlier block.
    #[pallet::storage]
    pub type DeadlineCursor<T: Config> = StorageValue<_, BlockNumberFor<T>>;

    /// What draws are made with: the last epochs, each with the randomness that was made in the one before
    /// it.
    #[pallet::storage]
    pub type Seeds<T> = StorageValue<_, BoundedVec<(Epoch, Digest), ConstU32<SEEDS>>, ValueQuery>;

    /// How much is audited at first.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The share of servers' work that is audited, in billionths; `DefaultRate` if it is not said.
        pub rate: Option<Perbill>,
        /// Only carries the runtime type.
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if let Some(rate) = self.rate {
                Rate::<T>::put(rate);
            }
        }
    }

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// It was drawn which of a session's servers are audited.
        SessionDrawn {
            /// The session.
            session: SessionId,
            /// The servers. Those of whom nobody can be drawn to audit them are not among them.
            servers: Vec<NodeId>,
        },
        /// Who looks was drawn.
        PanelDrawn {
            /// What is audited.
            subject: Subject,
            /// What the panel is for.
            round: Round,
            /// Its members.
            members: Vec<NodeId>,
            /// What it was drawn with.
            seed: Digest,
            /// The first block in which no commitment is taken.
            until: BlockNumberFor<T>,
        },
        /// Nobody could be drawn to look, or too few.
        PanelMissing {
            /// What was to be audited.
            subject: Subject,
            /// What the panel was for.
            round: Round,
        },
        /// A member of a panel committed.
        Committed {
            /// What is audited.
            subject: Subject,
            /// The auditor.
            node: NodeId,
        },
        /// All commitments are in: members reveal.
        RevealBegan {
            /// What is audited.
            subject: Subject,
            /// The first block in which nothing is revealed any more.
            until: BlockNumberFor<T>,
        },
        /// A member of a panel revealed what it found.
        Revealed {
            /// What is audited.
            subject: Subject,
            /// The auditor.
            node: NodeId,
            /// What it found.
            finding: Finding,
        },
        /// Somebody drawn to look did not commit, or did not reveal.
        DutyMissed {
            /// What is audited.
            subject: Subject,
            /// The auditor.
            node: NodeId,
        },
        /// An auditor did not let the server pass: it must say which work it stands by.
        Accused {
            /// What is audited.
            subject: Subject,
            /// The auditor.
            by: NodeId,
            /// What it says.
            verdict: Verdict,
            /// The first block in which no answer is taken.
            until: BlockNumberFor<T>,
        },
        /// The server said which work it stands by.
        Answered {
            /// What is audited.
            subject: Subject,
            /// [`Finding::head`] of that work.
            head: Digest,
        },
        /// An audit is over.
        AuditClosed {
            /// What was audited.
            subject: Subject,
            /// How it ended.
            outcome: Outcome,
        },
        /// The share of servers' work that is audited was changed.
        RateSet {
            /// The share.
            rate: Perbill,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// There is no such audit, or it is over.
        NoSuchAudit,
        /// Only the hotkeys of the panel's members can do this.
        NotOnThePanel,
        /// No commitments are taken now: the panel is not drawn yet, reveals already, or its time is over.
        NotCommitting,
        /// This auditor committed before.
        AlreadyCommitted,
        /// Nothing is revealed now: others may still commit, or the time is over.
        NotRevealing,
        /// This auditor committed to nothing.
        NotCommitted,
        /// This auditor revealed before.
        AlreadyRevealed,
        /// Finding and salt are not those of the commitment.
        CommitmentMismatch,
        /// Too little is bonded for this auditor to accuse anybody.
        BondTooSmall,
        /// Only the hotkey of the server that is audited can answer.
        NotTheServer,
        /// The server is not asked now: nobody accused it, it answered already, or its time is over.
        NotAnswering,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::note_epoch();
            T::WeightInfo::new_epoch()
        }

        fn on_idle(now: BlockNumberFor<T>, remaining: Weight) -> Weight {
            Self::work_off(now, remaining)
        }

        fn integrity_test() {
            for (name, blocks) in [
                ("CommitWindow", T::CommitWindow::get()),
                ("RevealWindow", T::RevealWindow::get()),
                ("AnswerWindow", T::AnswerWindow::get()),
                ("RecordRetention", T::RecordRetention::get()),
            ] {
                assert!(
                    blocks > Default::default(),
                    "{name} must be a block at least"
                );
            }
            assert!(T::MaxAttempts::get() > 0, "nobody could be drawn");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    /// What is done for the chain costs nothing.
    const FREE: PostDispatchInfo = PostDispatchInfo {
        actual_weight: None,
        pays_fee: Pays::No,
    };

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Commits to what the caller found, by [`Finding::commitment`]. By the hotkey of a member of the
        /// panel, once, while it commits. Free of charge.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::commit())]
        pub fn commit(
            origin: OriginFor<T>,
            subject: Subject,
            commitment: Digest,
        ) -> DispatchResultWithPostInfo {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit(&hotkey, subject, commitment)?;
            Ok(FREE)
        }

        /// Reveals what the caller committed to. By the hotkey of a member of the panel, once, when all
        /// commitments are in or their time is over. Free of charge.
        ///
        /// The first auditor's verdict ends the audit or begins a trial; a trial ends with its last.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::reveal())]
        pub fn reveal(
            origin: OriginFor<T>,
            subject: Subject,
            finding: Finding,
            salt: [u8; 32],
        ) -> DispatchResultWithPostInfo {
            let hotkey = ensure_signed(origin)?;
            Self::do_reveal(&hotkey, subject, finding, salt)?;
            Ok(FREE)
        }

        /// Says which work the caller stands by, which a trial then judges: the head of its receipts. By
        /// the hotkey of a server that did not pass, within `AnswerWindow` blocks; a server that says
        /// nothing withholds its data. Free of charge.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::answer())]
        pub fn answer(
            origin: OriginFor<T>,
            subject: Subject,
            head: Digest,
        ) -> DispatchResultWithPostInfo {
            let hotkey = ensure_signed(origin)?;
            Self::do_answer(&hotkey, subject, head)?;
            Ok(FREE)
        }

        /// Changes the share of servers' work that is audited. `ManageOrigin`.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::set_rate())]
        pub fn set_rate(origin: OriginFor<T>, rate: Perbill) -> DispatchResult {
            T::ManageOrigin::ensure_origin(origin)?;
            Rate::<T>::put(rate);
            Self::deposit_event(Event::RateSet { rate });
            Ok(())
        }
    }
}
