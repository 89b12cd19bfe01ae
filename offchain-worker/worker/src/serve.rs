//! The sessions of this server: streams in, core's machine in the middle, the computing thread, the
//! journals, the evidence for audits and the book of vouchers around it.
//!
//! One task for each stream; it takes the session's lock for a request at a time and holds it while
//! the span computes, so that a session never has two requests under way. A new stream of the same
//! session takes over from the old one. What another server pushes for a session is put into the
//! inbox of the task that speaks for it: one task alone writes to the client.

mod evidence;
mod journal;
mod outlets;
mod registry;
mod server;
mod show;
mod stream;

pub use evidence::{EvidenceStore, Full};
pub use journal::{Journal, Journals, MAX_JOURNALS};
pub use server::{Clock, Server, ServerParts};
pub use stream::accept;
