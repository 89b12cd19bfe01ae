//! The chain's clock: durations that are fixed at genesis.
//!
//! Slot duration, epoch length, session-per-era count and the windows of Quipu's own pallets are
//! read from one storage value that the genesis block writes and no call can change. So the
//! *same* wasm runs a public chain of 6 s slots and a test chain of short slots and eras: what is
//! tested is what is deployed, nothing is built twice, and a fast chain can be upgraded with the
//! blob of a slow one.
//!
//! Terms: a *slot* is when one block may be authored, an *epoch* a fixed number of slots, which
//! is also one *session* of the validators; an *era* is a number of sessions.
//!
//! The adapters below ([`EpochSlots`] and so on) are `Get`s over that value. Reading one needs
//! externalities, as every storage access does; where nothing was written the default (the public
//! chain's) applies.
//!
//! Properties: the value never changes after genesis, and a genesis that breaks
//! [`Schedule::check`] is refused.

pub use pallet::*;

use codec::{Decode, Encode, MaxEncodedLen};
use core::marker::PhantomData;
use frame_support::traits::Get;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Every duration that is fixed at genesis.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Milliseconds of a slot; even, since half of it is the least time between two blocks.
    pub slot_millis: u64,
    /// Slots of an epoch, which is one session.
    pub epoch_slots: u64,
    /// Sessions of an era.
    pub sessions_per_era: u32,
    /// Blocks for which an unbonded amount stays locked and slashable.
    pub unbonding_blocks: u32,
    /// Most blocks for which a session of inference may be open.
    pub inference_blocks: u32,
    /// Blocks after a settlement in which a higher voucher still counts.
    pub settlement_blocks: u32,
    /// Blocks that a server has to answer a job.
    pub job_blocks: u32,
    /// Blocks for which the record of a closed session of inference is kept, and that of an audit.
    pub record_blocks: u32,
    /// Blocks that auditors have to look at a server's work, and to commit to what they find.
    pub audit_blocks: u32,
    /// Blocks that they have to reveal it.
    pub reveal_blocks: u32,
    /// Blocks that a server has to answer who did not let it pass.
    pub answer_blocks: u32,
    /// Blocks of a day, by which emission and prices go.
    pub day_blocks: u32,
    /// Blocks between two emissions.
    pub emission_blocks: u32,
}

impl Schedule {
    /// The public chain: 6 s slots, hourly sessions, six-hour eras, 30 days of unbonding; a day at
    /// most for a session of inference, an hour to redeem, ten minutes to answer a job, a week of
    /// records; an hour to audit, ten minutes each to reveal and to answer an accusation; emission by the hour.
    pub const PUBLIC: Self = Self {
        slot_millis: 6_000,
        epoch_slots: 600,
        sessions_per_era: 6,
        unbonding_blocks: 30 * 14_400,
        inference_blocks: 14_400,
        settlement_blocks: 600,
        job_blocks: 100,
        record_blocks: 7 * 14_400,
        audit_blocks: 600,
        reveal_blocks: 100,
        answer_blocks: 100,
        day_blocks: 14_400,
        emission_blocks: 600,
    };

    /// Demonstrations and tests: everything that a person or a test would wait for is short.
    pub const FAST: Self = Self {
        slot_millis: 1_000,
        epoch_slots: 20,
        sessions_per_era: 3,
        unbonding_blocks: 120,
        inference_blocks: 3_600,
        settlement_blocks: 6,
        job_blocks: 60,
        record_blocks: 3_600,
        audit_blocks: 40,
        reveal_blocks: 10,
        answer_blocks: 10,
        day_blocks: 240,
        emission_blocks: 10,
    };

    /// Says what makes this schedule unusable, if anything does.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.slot_millis < 500 || !self.slot_millis.is_multiple_of(2) {
            return Err("clock: a slot must last an even number of milliseconds, at least 500");
        }
        if self.epoch_slots < 4 {
            return Err("clock: an epoch must have at least 4 slots");
        }
        if self.sessions_per_era == 0 {
            return Err("clock: an era must have at least one session");
        }
        if u64::from(self.unbonding_blocks) < self.era_slots() {
            return Err("clock: unbonding must last an era at least");
        }
        let windows = [
            self.inference_blocks,
            self.settlement_blocks,
            self.job_blocks,
            self.record_blocks,
            self.audit_blocks,
            self.reveal_blocks,
            self.answer_blocks,
            self.day_blocks,
            self.emission_blocks,
        ];
        if windows.contains(&0) {
            return Err("clock: a window must have at least one block");
        }
        if self.record_blocks < self.job_blocks {
            // The session that answers a job must still be on record when the answer comes.
            return Err("clock: records must be kept for as long as a job may take");
        }
        Ok(())
    }

    /// Slots of an era.
    pub fn era_slots(&self) -> u64 {
        self.epoch_slots
            .saturating_mul(u64::from(self.sessions_per_era))
    }

    /// Blocks of an era, at one block a slot.
    pub fn era_blocks(&self) -> u32 {
        self.era_slots().try_into().unwrap_or(u32::MAX)
    }

    /// Whole sessions that an amount takes to unbond, at one block a slot: for so many sessions an
    /// offence can be punished.
    pub fn offence_sessions(&self) -> u32 {
        let sessions = u64::from(self.unbonding_blocks).checked_div(self.epoch_slots);
        sessions
            .and_then(|sessions| sessions.try_into().ok())
            .unwrap_or(u32::MAX)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::PUBLIC
    }
}

/// The pallet: one storage value, no calls, no hooks.
// FRAME's macros expand to `expect`.
#[allow(clippy::expect_used)]
#[frame_support::pallet]
pub mod pallet {
    use super::Schedule;
    use frame_support::pallet_prelude::*;

    /// The clock.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// The clock depends on nothing.
    #[pallet::config]
    pub trait Config: frame_system::Config {}

    /// The durations of this chain, written once at genesis.
    #[pallet::storage]
    #[pallet::whitelist_storage]
    pub type Durations<T: Config> = StorageValue<_, Schedule, ValueQuery>;

    /// The durations to start the chain with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// See [`Schedule`].
        pub schedule: Schedule,
        /// Only carries the runtime type.
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if let Err(reason) = self.schedule.check() {
                panic!("{reason}");
            }
            Durations::<T>::put(&self.schedule);
        }
    }
}

impl<T: Config> Pallet<T> {
    /// The durations of this chain.
    pub fn schedule() -> Schedule {
        Durations::<T>::get()
    }
}

/// Defines `Get` adapters over the stored [`Schedule`].
macro_rules! adapters {
    ($($(#[$doc:meta])* $name:ident: $type:ty = |$schedule:ident| $value:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(PhantomData<T>);

        impl<T: Config> Get<$type> for $name<T> {
            fn get() -> $type {
                let $schedule = Pallet::<T>::schedule();
                $value
            }
        }
    )*};
}

adapters! {
    /// Milliseconds of a slot.
    SlotMillis: u64 = |schedule| schedule.slot_millis;
    /// Least milliseconds between two blocks, half a slot: BABE doubles it to find the slot.
    MinimumPeriod: u64 = |schedule| schedule.slot_millis.saturating_div(2);
    /// Slots of an epoch.
    EpochSlots: u64 = |schedule| schedule.epoch_slots;
    /// Sessions of an era.
    SessionsPerEra: u32 = |schedule| schedule.sessions_per_era;
    /// Blocks that an unbonded amount stays locked.
    UnbondingBlocks: u32 = |schedule| schedule.unbonding_blocks;
    /// Sessions for which an offence can be reported.
    OffenceSessions: u32 = |schedule| schedule.offence_sessions();
    /// Blocks that a slash waits, in which it can be canceled: an era.
    SlashDefer: u32 = |schedule| schedule.era_blocks();
    /// Blocks for which stake earns nothing after a missed duty: an era.
    RestBlocks: u32 = |schedule| schedule.era_blocks();
    /// Sessions for which it is remembered which set of GRANDPA's authorities they had.
    SetIdSessions: u64 = |schedule| u64::from(schedule.offence_sessions());
    /// Most blocks for which a session of inference may be open.
    InferenceBlocks: u32 = |schedule| schedule.inference_blocks;
    /// Blocks after a settlement in which a higher voucher still counts.
    SettlementBlocks: u32 = |schedule| schedule.settlement_blocks;
    /// Blocks that a server has to answer a job.
    JobBlocks: u32 = |schedule| schedule.job_blocks;
    /// Blocks for which the record of a closed session of inference is kept.
    RecordBlocks: u32 = |schedule| schedule.record_blocks;
    /// Blocks that auditors have to commit.
    AuditBlocks: u32 = |schedule| schedule.audit_blocks;
    /// Blocks that auditors have to reveal.
    RevealBlocks: u32 = |schedule| schedule.reveal_blocks;
    /// Blocks that an accused server has to answer.
    AnswerBlocks: u32 = |schedule| schedule.answer_blocks;
    /// Blocks between two raises of a commission: a week.
    CommissionBlocks: u32 = |schedule| schedule.day_blocks.saturating_mul(7);
    /// Blocks of a day.
    DayBlocks: u32 = |schedule| schedule.day_blocks;
    /// Blocks between two emissions.
    EmissionBlocks: u32 = |schedule| schedule.emission_blocks;
    /// Blocks for which a report of an equivocation may wait in the pool.
    ReportLongevity: u64 = |schedule| u64::from(schedule.unbonding_blocks);
}
