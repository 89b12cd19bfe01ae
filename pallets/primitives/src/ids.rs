//! Numeric ids, never reused, so that keys and accounts can change without moving storage.

use crate::AccountBytes;

/// A model's subnet. Subnet 0 is the root subnet of the chain validators.
pub type SubnetId = u32;
/// A node: one server (or chain validator) with its bond.
pub type NodeId = u32;
/// A paid session of a consumer with a set of servers.
pub type SessionId = u64;
/// A one-shot job of a dApp.
pub type JobId = u64;

/// The subnet of the chain validators: it has no model.
pub const ROOT_SUBNET: SubnetId = 0;

const NODE_ACCOUNT: &[u8; 14] = b"modlquipu/node";

/// The account that stands for a node wherever a Substrate pallet wants an account, such as the
/// validator id of `pallet-session`. It is derived from the id alone: swapping a node's keys does
/// not change it. Nobody holds a key to it.
///
/// Layout: `"modlquipu/node"` ‖ id as u32 little endian ‖ zeros.
pub fn node_account(node: NodeId) -> AccountBytes {
    let mut account = [0u8; 32];
    let (prefix, rest) = account.split_at_mut(NODE_ACCOUNT.len());
    prefix.copy_from_slice(NODE_ACCOUNT);
    for (byte, value) in rest.iter_mut().zip(node.to_le_bytes()) {
        *byte = value;
    }
    account
}

/// The node that [`node_account`] made this account for.
pub fn node_of_account(account: &AccountBytes) -> Option<NodeId> {
    let rest = account.strip_prefix(NODE_ACCOUNT.as_slice())?;
    let (id, zeros) = rest.split_first_chunk::<4>()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| NodeId::from_le_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_accounts_go_both_ways() {
        for id in [0, 1, 77, NodeId::MAX] {
            assert_eq!(node_of_account(&node_account(id)), Some(id));
        }
        assert_eq!(node_of_account(&[7; 32]), None);
        let mut other = node_account(1);
        other[31] = 1;
        assert_eq!(node_of_account(&other), None);
    }
}
