//! The chain as a story needs it: the real runtime, started from one of its own presets, whose
//! blocks are built as a node builds them, with inherents, signed extrinsics and hooks.
//!
//! - [`Chain`] is the chain: it takes extrinsics, authors blocks, and knows what happened since.
//! - [`Key`] is a person, a hotkey or a session key.
//! - [`actors`] are what most stories begin with: a model, its servers, a consumer's session.
//! - [`invariants`] are checked after every block of every story, from public storage alone.
//! - [`footprint`] says what a story left behind in storage.
//! - [`metadata`] is what off-chain workers are built from.
//!
//! A told [`story`] is then imported by a second chain from the same genesis, block by block: what
//! authoring and importing make of a block must be the same to the last bit of the state.

pub mod actors;
pub mod chain;
pub mod extrinsic;
pub mod footprint;
pub mod invariants;
pub mod keys;
pub mod metadata;

pub use actors::Server;
pub use chain::{audited_story, story, story_at, Chain};
pub use extrinsic::Signing;
pub use keys::Key;
pub use quipu_runtime::RuntimeEvent;

/// The value that the first of `events` matching the pattern gives; panics where none does.
///
/// `event!(events, Subnets(Event::SubnetActivated { subnet }) => *subnet)`
#[macro_export]
macro_rules! event {
    ($events:expr, $pallet:ident($pattern:pat) => $value:expr) => {{
        let events = &$events;
        events
            .iter()
            .find_map(|event| match event {
                $crate::RuntimeEvent::$pallet($pattern) => Some($value),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no {} among {events:#?}", stringify!($pattern)))
    }};
}
