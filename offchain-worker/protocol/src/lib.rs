#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used)]

pub mod activations;
pub mod announcement;
pub mod frame;
pub mod limits;
pub mod message;

pub use activations::{Activations, ActivationsError, ActivationsHeader};
pub use announcement::{Announcement, AnnouncementError, ServerState, SignedAnnouncement};
pub use frame::{Frame, FrameError};
pub use message::{Fetch, Open, Push, Refusal, RefusalCode, Request, Response, Step, Successor};
pub use quipu_primitives::SignedReceipt;

/// Version of everything in this crate. A server refuses an `Open` of another version.
pub const VERSION: u16 = 5;
/// Stream protocol between a client and a server.
pub const SERVE_PROTOCOL: &str = "/quipu/serve/5";
/// Kademlia's protocol name for the swarm.
pub const KAD_PROTOCOL: &str = "/quipu/kad/1";
/// What identify announces.
pub const IDENTIFY_PROTOCOL: &str = "/quipu/id/1";
