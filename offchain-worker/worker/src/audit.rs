//! Looking at another server's work: fetching what it signed and the rows behind it, and judging whether the
//! rows that came out are those that its blocks make of the rows that went in.
//!
//! ```text
//! fetch ──▶ Shown ──▶ examine (signatures, chain of receipts, rows, replay) ──▶ Finding
//! ```
//!
//! Upstream drift never enters: each server's work is replayed from the rows that it signed as its input, so
//! that blame falls on one server. On exact profiles the replay must give the same bits.

mod fetch;
mod judge;
mod replay;

pub use fetch::{fetch, FetchError, Shape, Shown};
pub use judge::{examine, projection, Case, Reason};
pub use replay::replay;
