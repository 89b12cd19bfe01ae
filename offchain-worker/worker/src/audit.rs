//! Looking at another server's work: fetching what it signed and the rows behind it, and judging whether the
//! rows that came out are those that its blocks make of the rows that went in.
//!
//! ```text
//! drawn ──▶ fetch ──▶ inspect (signatures, chain of receipts, rows) ──▶ replay ──▶ compare ──▶ commit, reveal
//! ```
//!
//! Upstream drift never enters: each server's work is replayed from the rows that it signed as its input, so
//! that blame falls on one server. On exact profiles the replay must give the same bits.

mod answer;
mod duty;
mod fetch;
mod findings;
mod judge;
mod look;
mod replay;

pub use answer::{check as check_answer, Question, Unclear, Wrong};
pub use duty::Duty;
pub use fetch::{fetch, FetchError, Shape, Shown};
pub use findings::{Findings, Kept};
pub use judge::{compare, examine, inspect, projection, Case, Ended, Examiner, Reason};
pub use replay::{replay, ModelExaminer};
