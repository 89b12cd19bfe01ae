//! What the pallet stores, and what it is sent.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use quipu_primitives::{traits::Cause, Balance, NodeId, SignedReceipt};
use scale_info::TypeInfo;

/// Number of a case.
pub type CaseId = u64;

/// Where a case stands. It goes from pending to one of the others, and stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub enum State {
    /// To be applied, unless it is canceled.
    #[codec(index = 0)]
    Pending,
    /// The bond was slashed.
    #[codec(index = 1)]
    Applied {
        /// What was taken.
        taken: Balance,
    },
    /// Nothing is taken.
    #[codec(index = 2)]
    Canceled,
}

/// A node's trial.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Case<AccountId, BlockNumber> {
    /// The offender.
    pub node: NodeId,
    /// What it did.
    pub cause: Cause,
    /// What it costs.
    pub amount: Balance,
    /// Who proved it.
    pub reporter: Option<AccountId>,
    /// Who was cheated.
    pub victim: Option<AccountId>,
    /// The block in which it was opened.
    pub opened_at: BlockNumber,
    /// The block from which on it is applied.
    pub applies_at: BlockNumber,
    /// The block from which on it may be forgotten.
    pub kept_until: BlockNumber,
    /// Where it stands.
    pub state: State,
}

/// What hangs over a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Standing {
    /// Number of its pending cases.
    pub pending: u32,
    /// What they will take.
    pub amount: Balance,
    /// Number of its cases for withheld data that are on record and were not canceled.
    pub withheld: u32,
}

/// Two receipts of one server, signed by one of its keys, that can't both be true.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Equivocation<AccountId> {
    /// The key that signed the first.
    pub first_key: AccountId,
    /// One receipt.
    pub first: SignedReceipt,
    /// The key that signed the second.
    pub second_key: AccountId,
    /// The other.
    pub second: SignedReceipt,
}
