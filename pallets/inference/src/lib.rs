#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

extern crate alloc;

// Never part of a runtime that runs a chain: may panic.
#[cfg(feature = "runtime-benchmarks")]
#[allow(clippy::expect_used, clippy::arithmetic_side_effects)]
pub mod benchmarking;
pub mod fees;
mod impls;
#[cfg(test)]
mod mock;
pub mod route;
#[cfg(test)]
mod tests;
pub mod types;
pub mod weights;

pub use pallet::*;
pub use types::{Attested, Due, Fee, Funding, Job, Opening, Server, Session, Settlement};
pub use weights::WeightInfo;

// The macros' own code calls `expect`; what is written here by hand does not.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::{
        dispatch::PostDispatchInfo,
        pallet_prelude::*,
        traits::{
            fungible::{hold, Mutate},
            Randomness,
        },
    };
    use frame_system::pallet_prelude::*;
    use quipu_primitives::{
        job::{FinishReason, MAX_ANSWER, MAX_PROMPT},
        traits::{Nodes, PayoutGate, Quotas, Roster},
        Balance, BoundedBytes, Digest, JobId, NodeId, SessionId, SignatureBytes, SubnetId, Voucher,
    };

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// A session's vouchers, each with the session key's signature.
    pub type Vouchers<T> = BoundedVec<(Voucher, SignatureBytes), <T as Config>::MaxServers>;
    /// Nodes, and the most that each can be paid.
    pub type Caps<T> = BoundedVec<(NodeId, Balance), <T as Config>::MaxServers>;
    /// [`Job`] with this runtime's types.
    pub type JobOf<T> = Job<<T as frame_system::Config>::AccountId, BlockNumberFor<T>>;

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Names this pallet's holds among the runtime's.
        type RuntimeHoldReason: From<HoldReason>;

        /// The token that pays.
        type Currency: Mutate<Self::AccountId, Balance = Balance>
            + hold::Mutate<Self::AccountId, Reason = Self::RuntimeHoldReason>;

        /// The nodes and their keys.
        type Nodes: Nodes<Self::AccountId>;

        /// Who serves what.
        type Roster: Roster;

        /// Draws the servers of jobs. It need only be hard to steer, not hard to foresee.
        type Randomness: Randomness<Self::Hash, BlockNumberFor<Self>>;

        /// What consumers may use without paying for it.
        type Quotas: Quotas<Self::AccountId>;

        /// Says whether a session may be paid out, and who of its servers forfeits that.
        type PayoutGate: PayoutGate;

        /// Most blocks for which a session may be open.
        #[pallet::constant]
        type MaxSessionDuration: Get<BlockNumberFor<Self>>;

        /// Blocks after settlement or expiry in which a higher voucher still counts, and after an
        /// answer before the job's fee can be paid. At least one.
        #[pallet::constant]
        type SettlementWindow: Get<BlockNumberFor<Self>>;

        /// Blocks for which a closed session and a finished job can still be read. At least one.
        #[pallet::constant]
        type RecordRetention: Get<BlockNumberFor<Self>>;

        /// Blocks that a server has to answer a job. At least one.
        #[pallet::constant]
        type JobTimeout: Get<BlockNumberFor<Self>>;

        /// Most servers of a session, stand-bys included.
        #[pallet::constant]
        type MaxServers: Get<u32>;

        /// Most sessions of one consumer that are not closed.
        #[pallet::constant]
        type MaxOpenSessions: Get<u32>;

        /// Most seats of a subnet, as the roster bounds them. Weights rest on it.
        #[pallet::constant]
        type MaxSeats: Get<u32>;

        /// Least fee of a job.
        #[pallet::constant]
        type MinJobFee: Get<Balance>;

        /// Most tokens that a job may ask for.
        #[pallet::constant]
        type MaxJobTokens: Get<u32>;

        /// Weights of the calls and of the work in `on_idle`.
        type WeightInfo: WeightInfo;

        /// Sets up what benchmarks need of other pallets.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: crate::benchmarking::BenchmarkHelper<Self::AccountId>;
    }

    /// What this pallet puts on hold.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// A session's deposit, of its consumer.
        #[codec(index = 0)]
        Session,
        /// A job's fee, of its requester.
        #[codec(index = 1)]
        Job,
    }

    /// The next session's id.
    #[pallet::storage]
    pub type NextSession<T> = StorageValue<_, SessionId, ValueQuery>;

    /// Sessions, until their records are dropped.
    #[pallet::storage]
    pub type Sessions<T: Config> = StorageMap<_, Twox64Concat, SessionId, Session<T>>;

    /// How many sessions of a consumer are not closed; at most `MaxOpenSessions`.
    #[pallet::storage]
    pub type OpenSessions<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, u32, ValueQuery>;

    /// The next job's id.
    #[pallet::storage]
    pub type NextJob<T> = StorageValue<_, JobId, ValueQuery>;

    /// Jobs, until their records are dropped.
    #[pallet::storage]
    pub type Jobs<T: Config> = StorageMap<_, Twox64Concat, JobId, JobOf<T>>;

    /// The prompt of each job, UTF-8.
    #[pallet::storage]
    pub type Prompts<T> = StorageMap<_, Twox64Concat, JobId, BoundedBytes<MAX_PROMPT>>;

    /// The answer of each answered job, UTF-8.
    #[pallet::storage]
    pub type Answers<T> = StorageMap<_, Twox64Concat, JobId, BoundedBytes<MAX_ANSWER>>;

    /// How many unfinished sessions and jobs count on a node.
    #[pallet::storage]
    pub type Duties<T> = StorageMap<_, Twox64Concat, NodeId, u32, ValueQuery>;

    /// The deadline queue: what is to be done in which block. Exactly one entry for each session
    /// and each job that is stored, so that it is as bounded as they are and is never full.
    #[pallet::storage]
    pub type Deadlines<T: Config> =
        StorageDoubleMap<_, Twox64Concat, BlockNumberFor<T>, Twox64Concat, Due, ()>;

    /// No entry of [`Deadlines`] stands under an earlier block than this. Nothing was ever queued
    /// while it is missing.
    #[pallet::storage]
    pub type Cursor<T: Config> = StorageValue<_, BlockNumberFor<T>>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A consumer opened a session.
        SessionOpened {
            /// The session.
            session: SessionId,
            /// Who pays.
            consumer: T::AccountId,
            /// The subnet that serves it.
            subnet: SubnetId,
            /// What was put on hold.
            deposit: Balance,
            /// The first block in which it can't be settled any more.
            expires_at: BlockNumberFor<T>,
        },
        /// A higher voucher than before was recorded.
        VoucherRecorded {
            /// The session.
            session: SessionId,
            /// The server.
            node: NodeId,
            /// Its positions since the session began.
            positions: u32,
            /// What they come to.
            earned: Balance,
        },
        /// The consumer settled a session.
        SessionSettled {
            /// The session.
            session: SessionId,
            /// Root over the servers' receipts.
            receipt_root: Digest,
            /// The first block in which no voucher is taken any more.
            closes_at: BlockNumberFor<T>,
        },
        /// A server of a session was paid.
        ServerPaid {
            /// The session.
            session: SessionId,
            /// The server.
            node: NodeId,
            /// Its owner, who got it.
            to: T::AccountId,
            /// How much.
            amount: Balance,
            /// The positions that it is for.
            positions: u32,
        },
        /// A server of a session could not be paid: it is gone, or its owner's account can't take
        /// so little. The consumer keeps the amount.
        ServerUnpaid {
            /// The session.
            session: SessionId,
            /// The server.
            node: NodeId,
            /// How much.
            amount: Balance,
        },
        /// A server of a session was not paid: an audit found its work wrong, or it withheld it. The
        /// consumer keeps the amount.
        ServerForfeited {
            /// The session.
            session: SessionId,
            /// The server.
            node: NodeId,
            /// How much.
            amount: Balance,
        },
        /// A session was paid out.
        SessionClosed {
            /// The session.
            session: SessionId,
            /// What the servers got, all together.
            paid: Balance,
            /// What the consumer got back.
            refunded: Balance,
        },
        /// The gate wants the payout of a session later, or a job waits for that of its session.
        PayoutPostponed {
            /// The session or job.
            item: Due,
            /// When it is asked again.
            until: BlockNumberFor<T>,
        },
        /// A refund stays on hold, since the account can't take so little; it is tried again.
        RefundPostponed {
            /// The session or job.
            item: Due,
            /// Whose it is.
            to: T::AccountId,
            /// How much.
            amount: Balance,
            /// When it is tried again.
            until: BlockNumberFor<T>,
        },
        /// A postponed refund was made.
        LateRefund {
            /// The session or job.
            item: Due,
            /// Who got it.
            to: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A job was requested, and a server drawn for it.
        JobRequested {
            /// The job.
            job: JobId,
            /// The subnet asked.
            subnet: SubnetId,
            /// The server that must answer.
            node: NodeId,
            /// Who asked.
            requester: T::AccountId,
            /// Most tokens of the answer.
            max_tokens: u32,
            /// What the answer pays.
            fee: Balance,
            /// The last block in which the answer is taken.
            deadline: BlockNumberFor<T>,
        },
        /// A job was answered.
        JobDone {
            /// The job.
            job: JobId,
            /// The server that answered.
            node: NodeId,
            /// The session that computed the answer.
            session: SessionId,
            /// What that session's settlement recorded.
            receipt_root: Digest,
            /// How the answer ended.
            finish: FinishReason,
            /// The first block in which the fee can be paid.
            pays_at: BlockNumberFor<T>,
        },
        /// A job's fee was paid.
        JobPaid {
            /// The job.
            job: JobId,
            /// The server that answered.
            node: NodeId,
            /// Its owner, who got it.
            to: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A job's fee went back: nobody answered in time, the answer was found to be wrong, or the
        /// server could not be paid.
        JobRefunded {
            /// The job.
            job: JobId,
            /// Who asked.
            requester: T::AccountId,
            /// How much went back.
            amount: Balance,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The subnet does not exist or is not active: ask for its state, or choose another.
        SubnetNotActive,
        /// A node has no seat in the subnet: read the roster again.
        NotSeated,
        /// A server asks more than a quota pays for the model: choose cheaper ones, or pay.
        PriceAboveQuota,
        /// A node is named twice: add its caps up.
        DuplicateServer,
        /// No chain of the named servers covers every block end to end: ask for a quote.
        NoRoute,
        /// A session must be open for at least one block.
        ZeroDuration,
        /// The duration is more than `MaxSessionDuration`.
        DurationTooLong,
        /// The consumer has `MaxOpenSessions` unfinished sessions: settle some first.
        TooManySessions,
        /// The sum of the caps is no number.
        DepositOverflow,
        /// The session does not exist, or its record was dropped.
        UnknownSession,
        /// Only the consumer can settle a session.
        NotConsumer,
        /// The session has expired: servers redeem their vouchers themselves.
        SessionExpired,
        /// The session was settled before.
        AlreadySettled,
        /// The session's window has closed: no voucher is taken any more.
        WindowClosed,
        /// The session's window has not closed yet.
        WindowOpen,
        /// The session was paid out before.
        AlreadyClosed,
        /// The payout is held back: try later.
        PayoutWithheld,
        /// The voucher is for another session.
        VoucherForOtherSession,
        /// The voucher's node is not a server of the session.
        NotASessionServer,
        /// The signature is not the session key's over this voucher and this chain.
        BadVoucherSignature,
        /// As many or more positions are recorded for the server already.
        VoucherReplayed,
        /// The voucher's positions come to more than the server's cap.
        CapExceeded,
        /// The voucher's positions are more than the model's context holds.
        PositionsExceedContext,
        /// The prompt is empty.
        EmptyPrompt,
        /// The text is not UTF-8.
        NotUtf8,
        /// A job must ask for at least one token.
        NoTokens,
        /// More tokens than `MaxJobTokens` or than the model's context holds.
        TooManyTokens,
        /// The fee is less than `MinJobFee`.
        FeeTooLow,
        /// The subnet has no server to draw.
        NoServer,
        /// The job does not exist, or its record was dropped.
        UnknownJob,
        /// Only the hotkey of the server that was drawn can answer the job.
        NotAssignedServer,
        /// The job was answered before.
        JobAlreadyDone,
        /// The job's deadline has passed.
        JobExpired,
        /// The job has no answer to pay for.
        JobUnanswered,
        /// It is too early to refund or pay the job.
        JobNotDue,
        /// The job was paid or refunded before.
        JobClosed,
        /// The session was served by another subnet than the job's.
        SessionOfOtherSubnet,
        /// The session's consumer is neither the hotkey nor the coldkey of the server.
        SessionOfOtherConsumer,
        /// The session was opened before the job was requested.
        SessionOlderThanJob,
        /// The session answered another job already.
        SessionAlreadyUsed,
        /// What was done with the session was looked at, or nobody will look any more: answer with a new one.
        AnsweredTooLate,
        /// The session has no settlement that could vouch for the answer: settle it first.
        SessionNotSettled,
        /// The receipt root is not the one that the session's settlement recorded.
        ReceiptRootMismatch,
        /// All ids are used up.
        IdsExhausted,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_idle(now: BlockNumberFor<T>, remaining: Weight) -> Weight {
            Self::work_off_deadlines(now, remaining)
        }

        fn integrity_test() {
            assert!(
                T::MaxServers::get() > 0,
                "a session needs at least one server"
            );
            assert!(T::MaxOpenSessions::get() > 0, "nobody could open a session");
            for (name, blocks) in [
                ("MaxSessionDuration", T::MaxSessionDuration::get()),
                ("SettlementWindow", T::SettlementWindow::get()),
                ("RecordRetention", T::RecordRetention::get()),
                ("JobTimeout", T::JobTimeout::get()),
            ] {
                assert!(!blocks.is_zero(), "{name} must be at least one block");
            }
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Opens a session: puts the sum of `caps` on hold and fixes what each named server serves
        /// and asks.
        ///
        /// - `subnet`: must be active.
        /// - `session_key`: the sr25519 key that will sign the vouchers.
        /// - `caps`: the servers, each at most once and with a seat in the subnet, and the most that
        ///   each can be paid. At least one exact chain over all blocks must be among them; any
        ///   others are stand-bys.
        /// - `duration`: blocks until the session expires, at most `MaxSessionDuration`.
        /// - `seed_commitment`: commits to the nonce by which the consumer will sample.
        /// - `integrator`: who brought the consumer.
        ///
        /// The event `SessionOpened` names the session's id.
        #[pallet::call_index(0)]
        #[pallet::weight(weights::session::<T>(caps.len() as u32))]
        pub fn open_session(
            origin: OriginFor<T>,
            subnet: SubnetId,
            session_key: [u8; 32],
            caps: Caps<T>,
            duration: BlockNumberFor<T>,
            seed_commitment: Digest,
            integrator: Option<T::AccountId>,
        ) -> DispatchResult {
            let consumer = ensure_signed(origin)?;
            let opening = Opening {
                subnet,
                session_key,
                caps,
                duration,
                seed_commitment,
                integrator,
            };
            Self::do_open_session(consumer, Funding::Own, opening)
        }

        /// Settles a session: records the last voucher of each server that served, and the root
        /// over their receipts. By the consumer, before the session expires.
        ///
        /// Vouchers equal to what is recorded change nothing; lower ones are refused. For
        /// `SettlementWindow` blocks servers can still redeem higher ones.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::settle(vouchers.len() as u32))]
        pub fn settle(
            origin: OriginFor<T>,
            session: SessionId,
            vouchers: Vouchers<T>,
            receipt_root: Digest,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_settle(who, session, vouchers, receipt_root)
        }

        /// Records a voucher, higher than what is recorded for its server, until the session's
        /// window closes. By anyone, usually the server.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::redeem())]
        pub fn redeem(
            origin: OriginFor<T>,
            session: SessionId,
            voucher: Voucher,
            signature: SignatureBytes,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_redeem(session, voucher, signature)
        }

        /// Pays a session out whose window has closed. By anyone, without a fee; `on_idle` does it
        /// too.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::finalize(T::MaxServers::get()))]
        pub fn finalize(origin: OriginFor<T>, session: SessionId) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            let servers = Self::do_finalize(session)?;
            Ok(PostDispatchInfo {
                actual_weight: Some(T::WeightInfo::finalize(servers)),
                pays_fee: Pays::No,
            })
        }

        /// Asks a subnet to continue `prompt` by at most `max_tokens` tokens, and puts `fee` on
        /// hold. A server is drawn; the event `JobRequested` names it and the job's id.
        #[pallet::call_index(4)]
        #[pallet::weight(weights::job::<T>(prompt.len() as u32))]
        pub fn request(
            origin: OriginFor<T>,
            subnet: SubnetId,
            prompt: BoundedBytes<MAX_PROMPT>,
            max_tokens: u32,
            fee: Balance,
        ) -> DispatchResultWithPostInfo {
            let requester = ensure_signed(origin)?;
            let bytes = prompt.len() as u32;
            let seats = Self::do_request(requester, subnet, prompt, max_tokens, fee)?;
            Ok(Some(T::WeightInfo::request(bytes, seats)).into())
        }

        /// Answers a job. By the hotkey of the server that was drawn, by the deadline.
        ///
        /// `session` must be one that this server's hotkey or coldkey opened in the job's subnet
        /// after the request, that is settled with `receipt_root`, and that answered no other job.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::submit_result(answer.len() as u32))]
        pub fn submit_result(
            origin: OriginFor<T>,
            job: JobId,
            answer: BoundedBytes<MAX_ANSWER>,
            finish: FinishReason,
            session: SessionId,
            receipt_root: Digest,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_submit_result(hotkey, job, answer, finish, session, receipt_root)
        }

        /// Pays for a job's answer once its window has closed and the session that computed it was paid
        /// out. By anyone, without a fee; `on_idle`
        /// does it too.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::pay_job())]
        pub fn pay_job(origin: OriginFor<T>, job: JobId) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_pay_job(job)?;
            Ok(Pays::No.into())
        }

        /// Gives the fee of a job back that nobody answered by its deadline. By anyone, without a
        /// fee; `on_idle` does it too.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::refund_job())]
        pub fn refund_job(origin: OriginFor<T>, job: JobId) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_refund_job(job)?;
            Ok(Pays::No.into())
        }

        /// Opens a session like [`open_session`](Self::open_session) that the consumer's quota pays for: the
        /// deposit is taken of what it may use today, and what is not needed is given back. No
        /// server may ask more than a quota pays.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::open_session_by_quota(caps.len() as u32))]
        pub fn open_session_by_quota(
            origin: OriginFor<T>,
            subnet: SubnetId,
            session_key: [u8; 32],
            caps: Caps<T>,
            duration: BlockNumberFor<T>,
            seed_commitment: Digest,
            integrator: Option<T::AccountId>,
        ) -> DispatchResult {
            let consumer = ensure_signed(origin)?;
            let opening = Opening {
                subnet,
                session_key,
                caps,
                duration,
                seed_commitment,
                integrator,
            };
            Self::do_open_session(consumer, Funding::Quota, opening)
        }
    }
}
