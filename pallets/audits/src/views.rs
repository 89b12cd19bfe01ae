//! What the runtime API answers.

use crate::pallet::*;
use alloc::vec::Vec;
use quipu_primitives::{audit::Subject, views::AuditInfo, NodeId};
use sp_runtime::traits::UniqueSaturatedInto;

/// Most audits of a node that are listed.
const MAX_LISTED: usize = 100;

impl<T: Config> Pallet<T> {
    /// An audit, for as long as its record is kept.
    pub fn audit_info(subject: Subject) -> Option<AuditInfo<T::AccountId>> {
        let audit = Audits::<T>::get(subject.session, subject.node)?;
        Some(AuditInfo {
            subject,
            subnet: audit.subnet,
            victim: audit.victim,
            price: audit.price,
            round: audit.round,
            stage: audit.stage.map(UniqueSaturatedInto::unique_saturated_into),
            members: audit.members.into_inner(),
            accusation: audit.accusation,
            head: audit.head,
        })
    }

    /// Open audits that the node is part of, in no order.
    pub fn audits_of(node: NodeId) -> Vec<AuditInfo<T::AccountId>> {
        Bound::<T>::iter_key_prefix(node)
            .take(MAX_LISTED)
            .filter_map(Self::audit_info)
            .collect()
    }
}
