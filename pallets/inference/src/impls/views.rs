//! What the runtime APIs answer.

use crate::{pallet::*, route, Fee, Pallet};
use quipu_primitives::{
    cost,
    traits::Roster,
    views::{JobInfo, JobStatus, Quote, QuoteError, SessionInfo, SessionServer, SessionStatus},
    JobId, SessionId, SubnetId,
};
use sp_runtime::traits::UniqueSaturatedInto;

/// Runtime APIs speak of blocks as u32.
fn number(block: impl UniqueSaturatedInto<u32>) -> u32 {
    block.unique_saturated_into()
}

impl<T: Config> Pallet<T> {
    /// A session, for as long as its record is kept.
    pub fn session_info(id: SessionId) -> Option<SessionInfo<T::AccountId>> {
        let session = Sessions::<T>::get(id)?;
        let status = session.status(Self::now());
        let deadline = match status {
            SessionStatus::Open => session.expires_at,
            SessionStatus::Settling => session.closes_at,
            SessionStatus::Closed => session.due,
        };
        let servers = session.servers.iter().map(|server| SessionServer {
            node: server.node,
            span: server.span,
            price: server.price,
            cap: server.cap,
            positions: server.positions,
            earned: server.earned(),
        });
        Some(SessionInfo {
            id,
            subnet: session.subnet,
            session_key: session.session_key,
            seed_commitment: session.seed_commitment,
            opened_at: number(session.opened_at),
            deposit: session.deposit(),
            status,
            deadline: number(deadline),
            receipt_root: session.settlement.map(|settlement| settlement.receipt_root),
            settled_at: session.settlement.map(|settlement| number(settlement.at)),
            servers: servers.collect(),
            job: session.job,
            consumer: session.consumer,
            integrator: session.integrator,
        })
    }

    /// A job, for as long as its record is kept.
    pub fn job_info(id: JobId) -> Option<JobInfo<T::AccountId>> {
        let job = Jobs::<T>::get(id)?;
        let status = match (job.result, job.state) {
            (Some(result), state) => JobStatus::Done {
                answer: Answers::<T>::get(id)?,
                finish: result.finish,
                session: result.session,
                receipt_root: result.receipt_root,
                paid: state == Fee::Paid,
            },
            (None, Fee::Refunded) => JobStatus::Refunded,
            (None, _) => JobStatus::Assigned,
        };
        Some(JobInfo {
            id,
            subnet: job.subnet,
            requester: job.requester,
            node: job.node,
            prompt: Prompts::<T>::get(id)?,
            max_tokens: job.max_tokens,
            fee: job.fee,
            deadline: number(job.deadline),
            status,
        })
    }

    /// What `positions` positions cost now over the cheapest chain of seats.
    pub fn quote(subnet: SubnetId, positions: u32) -> Result<Quote, QuoteError> {
        if !T::Roster::is_active(subnet) {
            return Err(QuoteError::SubnetNotActive);
        }
        let blocks = T::Roster::blocks(subnet).ok_or(QuoteError::SubnetNotActive)?;
        let context = T::Roster::context_length(subnet).ok_or(QuoteError::SubnetNotActive)?;
        if positions > context {
            return Err(QuoteError::ContextExceeded);
        }
        let hops: alloc::vec::Vec<route::Hop> = T::Roster::seats(subnet)
            .into_iter()
            .map(|seat| route::Hop {
                node: seat.node,
                span: seat.span,
                cost: cost(seat.price, seat.span.len(), positions),
            })
            .collect();
        match route::cheapest(blocks, &hops) {
            Some((total, chain)) => Ok(Quote {
                total,
                route: chain
                    .iter()
                    .map(|hop| (hop.node, hop.cost.unwrap_or_default()))
                    .collect(),
            }),
            None if route::exists(blocks, hops.iter().map(|hop| hop.span)) => {
                Err(QuoteError::Overflow)
            }
            None => Err(QuoteError::NoRoute),
        }
    }
}
