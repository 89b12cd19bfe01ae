//! What a server must not forget when it crashes.

use codec::{Decode, Encode};
use quipu_primitives::{AccountBytes, SignatureBytes, Voucher};
use quipu_protocol::SignedReceipt;

/// An entry of a session's journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// A voucher higher than any before: it is money.
    #[codec(index = 0)]
    Voucher {
        /// What is signed.
        voucher: Voucher,
        /// The session key's signature.
        signature: SignatureBytes,
    },
    /// We signed this. Signing anything else about these positions would be an equivocation.
    #[codec(index = 1)]
    Receipt(SignedReceipt),
    /// The predecessor signed that it handed on what we took in.
    #[codec(index = 2)]
    Upstream(SignedReceipt),
    /// A predecessor signed something else than what the client brought: evidence for a dispute.
    #[codec(index = 3)]
    Conflict(SignedReceipt),
    /// Comes first: which session the journal is about, beyond its number. A development chain that
    /// begins anew counts its sessions from the start again.
    #[codec(index = 4)]
    Opened {
        /// The key that signs its vouchers.
        session_key: AccountBytes,
        /// The block at which it expires.
        deadline: u32,
    },
}

impl Record {
    /// Must the record be on disk before the reply behind it is sent?
    pub fn is_urgent(&self) -> bool {
        matches!(self, Record::Voucher { .. } | Record::Receipt(_))
    }
}
