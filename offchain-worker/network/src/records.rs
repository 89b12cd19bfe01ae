//! Which records of the DHT are believed.

use quipu_primitives::{AccountBytes, Digest, NodeId, SubnetId};
use quipu_protocol::{AnnouncementError, SignedAnnouncement};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Unix time in seconds. Injected, so that tests say what time it is.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}

/// The hotkeys that the chain names. Asked for each record that a peer wants stored, on the
/// network's task: it must answer from memory.
pub trait KeyDirectory: Send + Sync {
    /// The hotkey of a node that may announce itself in a subnet; `None` for others.
    fn hotkey(&self, subnet: SubnetId, node: NodeId) -> Option<AccountBytes>;
}

impl<F> KeyDirectory for F
where
    F: Fn(SubnetId, NodeId) -> Option<AccountBytes> + Send + Sync,
{
    fn hotkey(&self, subnet: SubnetId, node: NodeId) -> Option<AccountBytes> {
        self(subnet, node)
    }
}

/// Knows nobody: for clients, which store nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl KeyDirectory for NoKeys {
    fn hotkey(&self, _: SubnetId, _: NodeId) -> Option<AccountBytes> {
        None
    }
}

/// Why a record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The key is no digest.
    #[error("a key of {0} bytes; keys of nodes have 32")]
    Key(usize),
    /// No announcement, not current, or under another node's key.
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
    /// The chain knows no such node, or not yet.
    #[error("node {node} of subnet {subnet} is not known")]
    Unknown {
        /// The subnet it names.
        subnet: SubnetId,
        /// The node it names.
        node: NodeId,
    },
    /// Not signed by the node's hotkey.
    #[error("the announcement of node {0} is not signed by its hotkey")]
    Signature(NodeId),
}

impl RecordError {
    /// Its name in the metrics.
    pub fn label(&self) -> &'static str {
        match self {
            RecordError::Key(_) => "key",
            RecordError::Announcement(AnnouncementError::TooLong(_)) => "too_long",
            RecordError::Announcement(AnnouncementError::Malformed) => "malformed",
            RecordError::Announcement(AnnouncementError::WrongKey(_)) => "wrong_key",
            RecordError::Announcement(AnnouncementError::Stale) => "stale",
            RecordError::Unknown { .. } => "unknown_node",
            RecordError::Signature(_) => "signature",
        }
    }

    /// Could an honest peer have sent it? One whose clock is off, or that knows the chain better
    /// than we do, can.
    pub fn is_excusable(&self) -> bool {
        matches!(
            self,
            RecordError::Announcement(AnnouncementError::Stale) | RecordError::Unknown { .. }
        )
    }
}

/// Reads the value found under `key`, and checks its signature against the hotkey that `keys` names
/// for its node. `now` is unix time in seconds.
pub fn check_record(
    key: &[u8],
    value: &[u8],
    genesis: &Digest,
    now: u64,
    keys: &dyn KeyDirectory,
) -> Result<SignedAnnouncement, RecordError> {
    let digest = Digest::try_from(key).map_err(|_| RecordError::Key(key.len()))?;
    let signed = SignedAnnouncement::read(value, &digest, genesis, now)?;
    let (subnet, node) = (signed.announcement.subnet, signed.announcement.node);
    let hotkey = keys
        .hotkey(subnet, node)
        .ok_or(RecordError::Unknown { subnet, node })?;
    let payload = signed.announcement.payload(genesis);
    if !quipu_worker_core::verify(&hotkey, &payload, &signed.signature) {
        return Err(RecordError::Signature(node));
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{announcement, hotkey, sign, GENESIS, NOW};
    use quipu_protocol::Announcement;

    fn check(key: &[u8], value: &[u8]) -> Result<SignedAnnouncement, RecordError> {
        let keys = |subnet, node| {
            (subnet == 1 && node == 7).then(|| quipu_worker_core::Signer::public(&hotkey(7)))
        };
        check_record(key, value, &GENESIS, NOW, &keys)
    }

    #[test]
    fn only_what_the_nodes_hotkey_signed_is_believed() {
        let key = Announcement::key(&GENESIS, 1, 7);
        let signed = sign(announcement(7), &hotkey(7));
        assert_eq!(check(&key, &signed.to_bytes()), Ok(signed.clone()));

        let other = sign(announcement(7), &hotkey(8));
        assert_eq!(
            check(&key, &other.to_bytes()),
            Err(RecordError::Signature(7))
        );

        let mut changed = signed.clone();
        changed.announcement.free_positions += 1;
        assert_eq!(
            check(&key, &changed.to_bytes()),
            Err(RecordError::Signature(7))
        );

        let unknown = sign(announcement(8), &hotkey(8));
        let unknown_key = Announcement::key(&GENESIS, 1, 8);
        assert_eq!(
            check(&unknown_key, &unknown.to_bytes()),
            Err(RecordError::Unknown { subnet: 1, node: 8 })
        );
        assert_eq!(
            check(&unknown_key, &signed.to_bytes()),
            Err(RecordError::Announcement(AnnouncementError::WrongKey(7)))
        );
        assert_eq!(
            check(&key[1..], &signed.to_bytes()),
            Err(RecordError::Key(31))
        );
    }
}
