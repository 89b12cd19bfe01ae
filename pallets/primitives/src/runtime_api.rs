//! What clients read from the chain in one call, decoded by any tool that knows the metadata.

// `decl_runtime_apis` repeats the bounds of its parameters.
#![allow(clippy::multiple_bound_locations)]

pub use crate::{economy::*, views::*};

use crate::{
    ids::{JobId, NodeId, SessionId, SubnetId},
    money::Balance,
};
use alloc::vec::Vec;

sp_api::decl_runtime_apis! {
    /// Subnets, nodes and bonds.
    pub trait SubnetsApi<AccountId: codec::Codec> {
        /// A subnet by its id.
        fn subnet(id: SubnetId) -> Option<SubnetInfo<AccountId>>;
        /// Up to `limit` (at most 100) subnets with ids of at least `from`, in order.
        fn subnets(from: SubnetId, limit: u32) -> Vec<SubnetInfo<AccountId>>;
        /// Every node of a subnet.
        fn roster(id: SubnetId) -> Vec<NodeInfo<AccountId>>;
        /// A node by its id.
        fn node(id: NodeId) -> Option<NodeInfo<AccountId>>;
        /// The node that a hotkey signs for.
        fn node_of_hotkey(hotkey: AccountId) -> Option<NodeInfo<AccountId>>;
        /// The deposit that registering a subnet takes now.
        fn registration_deposit() -> Balance;
    }

    /// Sessions and jobs.
    pub trait InferenceApi<AccountId: codec::Codec> {
        /// A session by its id; closed ones for as long as their record is kept.
        fn session(id: SessionId) -> Option<SessionInfo<AccountId>>;
        /// A job by its id.
        fn job(id: JobId) -> Option<JobInfo<AccountId>>;
        /// What `positions` positions (prompt and answer together) cost now, over the cheapest
        /// chain of servers.
        fn quote(subnet: SubnetId, positions: u32) -> Result<Quote, QuoteError>;
    }

    /// What there is, where it comes from, and who earns what.
    pub trait EconomyApi<AccountId: codec::Codec> {
        /// The supply of QPU, and where it comes from.
        fn supply() -> SupplyInfo<AccountId>;
        /// What a node earns by its stake.
        fn stake_income(node: NodeId) -> StakeIncome;
        /// What others than its owner have at stake for a node; `None` where nobody has and nothing is
        /// left to be paid.
        fn pool(node: NodeId) -> Option<PoolInfo>;
        /// What somebody has at stake for another's node.
        fn delegation(node: NodeId, delegator: AccountId) -> Option<DelegationInfo>;
        /// What a holder may use today without paying for it.
        fn quota(holder: AccountId) -> QuotaInfo;
    }

    /// Audits.
    pub trait AuditsApi<AccountId: codec::Codec> {
        /// The audit of a server's work in a session, for as long as its record is kept.
        fn audit(session: SessionId, node: NodeId) -> Option<AuditInfo<AccountId>>;
        /// Up to 100 open audits that the node is part of: as the server that is audited, or as one who
        /// was drawn to look.
        fn audits_of(node: NodeId) -> Vec<AuditInfo<AccountId>>;
    }
}
