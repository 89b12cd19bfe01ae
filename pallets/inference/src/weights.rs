//! What the calls of this pallet weigh. Runtimes measure that for themselves; those of tests, which
//! only need some number, take `()`.

use crate::Config;
use frame_support::{traits::Get, weights::Weight};

/// What opening a session with `servers` servers weighs: with what `on_idle` does for it later, since
/// nobody else pays for that.
pub(crate) fn session<T: Config>(servers: u32) -> Weight {
    T::WeightInfo::open_session(servers)
        .saturating_add(T::WeightInfo::finalize(servers))
        .saturating_add(T::WeightInfo::drop_session())
}

/// What a job with a prompt of `prompt` bytes weighs: with what `on_idle` does for it later.
pub(crate) fn job<T: Config>(prompt: u32) -> Weight {
    T::WeightInfo::request(prompt, T::MaxSeats::get())
        .saturating_add(T::WeightInfo::pay_job().max(T::WeightInfo::refund_job()))
        .saturating_add(T::WeightInfo::drop_job())
}

/// Weights of the calls and of what `on_idle` does, each at its worst case.
pub trait WeightInfo {
    /// A session with `s` servers.
    fn open_session(s: u32) -> Weight;
    /// The same with `s` servers, by quota.
    fn open_session_by_quota(s: u32) -> Weight;
    /// A session with the most servers, of which `v` have a voucher.
    fn settle(v: u32) -> Weight;
    /// The last server of the most.
    fn redeem() -> Weight;
    /// A session with `s` servers, all of which are paid.
    fn finalize(s: u32) -> Weight;
    /// A prompt of `p` bytes in a subnet with `n` seats.
    fn request(p: u32, n: u32) -> Weight;
    /// An answer of `a` bytes, by a session with the most servers.
    fn submit_result(a: u32) -> Weight;
    /// An answered job.
    fn pay_job() -> Weight;
    /// A job that nobody answered.
    fn refund_job() -> Weight;
    /// One look at the queue of deadlines, with reading and writing its cursor.
    fn idle() -> Weight;
    /// A record with the most servers.
    fn drop_session() -> Weight;
    /// A record with the longest prompt and answer.
    fn drop_job() -> Weight;
}

/// A round number for each step, as tests can count with; about as much as a small call takes.
const STEP: Weight = Weight::from_parts(100_000_000, 1_000);

impl WeightInfo for () {
    fn open_session(s: u32) -> Weight {
        STEP.saturating_mul(u64::from(s).saturating_add(1))
    }
    fn open_session_by_quota(s: u32) -> Weight {
        Self::open_session(s)
    }
    fn settle(v: u32) -> Weight {
        STEP.saturating_mul(u64::from(v).saturating_add(1))
    }
    fn redeem() -> Weight {
        STEP
    }
    fn finalize(s: u32) -> Weight {
        STEP.saturating_mul(u64::from(s).saturating_add(1))
    }
    fn request(p: u32, n: u32) -> Weight {
        STEP.saturating_mul(u64::from(p).saturating_add(n.into()).saturating_add(1))
    }
    fn submit_result(a: u32) -> Weight {
        STEP.saturating_mul(u64::from(a).saturating_add(1))
    }
    fn pay_job() -> Weight {
        STEP
    }
    fn refund_job() -> Weight {
        STEP
    }
    fn idle() -> Weight {
        STEP
    }
    fn drop_session() -> Weight {
        STEP
    }
    fn drop_job() -> Weight {
        STEP
    }
}
