//! A server's side of its sessions, without I/O.
//!
//! # Goals
//!
//! A server must be paid for what it did, must be able to show what it did, and must never be
//! brought to sign two different statements about the same positions: those are an equivocation,
//! and cost it its bond.
//!
//! # Terms
//!
//! - The *cache* holds keys and values of the positions that were *appended*. It can be lost: its
//!   lease ends, or the client begins a higher epoch. What was signed stays.
//! - A *replay* feeds the inputs of lost positions in again. It must bring the same inputs for all
//!   positions that were signed. Receipts are not made anew: what counts is what was handed out
//!   first. A backend whose prefill differs from its decoding in the last bit can thus replay.
//! - *Credit*: positions that are served beyond the last voucher.
//! - *Drafted* positions are in the cache, behind those that count. The next step, or `Finish`, says
//!   how many of them count; only then are they committed to, signed and owed.
//!
//! # The way of a request
//!
//! ```text
//! check      an Open against the chain's record of the session           ValidOpen or a Refusal
//! on_open    Reserve ─▶ on_reserved ─▶ Opened, or Opened at once when the cache is still held
//! on_request Step ─▶ Truncate, Compute ─▶ on_computed ─▶ Output, Receipt…
//!            Voucher, Upstream, Finish ─▶ answered at once
//! evict      the lease ended: forget the cache
//! ```
//!
//! Effects are carried out in the order in which they are given. A [`Effect::Keep`] or
//! [`Effect::Store`] is on disk before the reply behind it goes out.
//!
//! # Properties
//!
//! - A position is appended at most once in the life of a cache, and never beyond the credit, the
//!   cap, the reservation or the session's end.
//! - Receipts partition the positions from 0 on, each names the one before, and no two of them
//!   cover the same position, whatever the client does and however often the cache is lost.
//! - Vouchers only rise, and only the session key makes them.

mod commit;
mod drafts;
mod identity;
mod lease;
mod machine;
mod open;
mod payment;
mod record;
mod upstream;

#[cfg(test)]
mod tests;

pub use commit::{Commitments, Evidence, Mismatch, Signed};
pub use identity::{Identity, Neighbour, Neighbours, Now};
pub use lease::{AdmitError, Leases};
pub use machine::{Effect, Serving};
pub use open::{check, ValidOpen};
pub use payment::Payment;
pub use record::Record;
pub use upstream::Upstream;
