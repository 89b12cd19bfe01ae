//! What the runtime API answers.

use crate::pallet::*;
use alloc::vec::Vec;
use quipu_primitives::{
    audit::{Stage, Subject},
    views::AuditInfo,
    NodeId,
};
use sp_runtime::traits::UniqueSaturatedInto;

/// Most audits of a node that are listed.
const MAX_LISTED: usize = 100;

impl<T: Config> Pallet<T> {
    /// An audit, for as long as its record is kept.
    pub fn audit_info(subject: Subject) -> Option<AuditInfo<T::AccountId>> {
        let audit = Audits::<T>::get(subject.session, subject.node)?;
        let number = |block: frame_system::pallet_prelude::BlockNumberFor<T>| -> u32 {
            block.unique_saturated_into()
        };
        let stage = match audit.stage {
            Stage::Waiting { since } => Stage::Waiting { since },
            Stage::Committing { until } => Stage::Committing {
                until: number(until),
            },
            Stage::Revealing { until } => Stage::Revealing {
                until: number(until),
            },
            Stage::Answering { until } => Stage::Answering {
                until: number(until),
            },
            Stage::Closed {
                outcome,
                kept_until,
            } => Stage::Closed {
                outcome,
                kept_until: number(kept_until),
            },
        };
        Some(AuditInfo {
            subject,
            subnet: audit.subnet,
            consumer: audit.consumer,
            price: audit.price,
            round: audit.round,
            stage,
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
