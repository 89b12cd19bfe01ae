//! Tells the swarm what this server is and has.

use crate::{compute::Rates, serve::Server, telemetry::Metrics};
use quipu_protocol::{
    limits::{ANNOUNCE_EVERY, MAX_ADDRESSES},
    Announcement, ServerState, SignedAnnouncement,
};
use quipu_worker_core::ports::{Announcer, PeerError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How soon it is tried again while no other peer took the record.
const RETRY: Duration = Duration::from_secs(2);
/// Least time between two records that tell of free positions alone.
const PACE: Duration = Duration::from_secs(5);

/// Unix time in seconds. Injected.
pub type UnixClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Announces.
pub struct Announcing {
    /// Where records go.
    pub announcer: Arc<dyn Announcer>,
    /// Whose record it is.
    pub server: Arc<Server>,
    /// What was measured.
    pub rates: Rates,
    /// Is it ready?
    pub state: watch::Receiver<ServerState>,
    /// The time.
    pub clock: UnixClock,
    /// Counts records.
    pub metrics: Metrics,
}

impl Announcing {
    /// Announces until `stop`: every minute, whenever the state changes, and when the free
    /// positions changed by a quarter.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut free = self.server.free_positions();
        let mut told = None;
        loop {
            let state = *self.state.borrow_and_update();
            let positions = *free.borrow_and_update();
            let reached = self.announce(state, positions).await;
            if let Err(error) = &reached {
                warn!(%error, "not announced");
            }
            if told != Some(state) {
                tracing::info!(?state, "announced");
                told = Some(state);
            }
            let announced = Instant::now();
            let again = match reached {
                Ok(0) | Err(_) => RETRY,
                Ok(_) => ANNOUNCE_EVERY,
            };
            let much = |now: &u32| now.abs_diff(positions) > positions.max(*now) / 4;
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(again) => {}
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                _ = async {
                    tokio::time::sleep_until(announced + PACE).await;
                    // The sender lives in the server, which we hold.
                    let _ = free.wait_for(much).await;
                } => {}
            }
        }
    }

    async fn announce(&self, state: ServerState, free: u32) -> Result<usize, PeerError> {
        let me = self.server.me();
        let mut addresses = self.announcer.addresses().await?;
        addresses.truncate(MAX_ADDRESSES);
        let announcement = Announcement {
            subnet: me.subnet,
            node: me.node,
            span: me.span,
            state,
            decode_micros: self.rates.decode.as_micros().min(u128::from(u32::MAX)) as u32,
            prefill_rate: self.rates.prefill,
            free_positions: free,
            addresses,
            made_at: (self.clock)(),
        };
        let signature = me.signer.sign(&announcement.payload(&me.genesis));
        let reached = self
            .announcer
            .announce(SignedAnnouncement {
                announcement,
                signature,
            })
            .await?;
        debug!(?state, free, reached, "record published");
        self.metrics.announcements.inc();
        Ok(reached)
    }
}
