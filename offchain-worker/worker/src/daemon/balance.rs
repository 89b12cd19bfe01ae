//! Looks for better blocks while the worker serves: others leave, die and come.
//!
//! What is decided, and why nobody runs back and forth, is [`quipu_worker_core::placement`]'s; here
//! is what it is decided on: the seats of the roster with what their servers announce. A server
//! whose record can't be found counts as away. If no record at all can be found, it is us who are
//! cut off, and nothing is decided.

use crate::{
    chain_sync::{ChainView, Roster},
    compute::Rates,
};
use futures::future::BoxFuture;
use quipu_primitives::{NodeId, Span};
use quipu_protocol::{Announcement, ServerState};
use quipu_worker_core::{
    placement::{choose, rebalance, Move, Resolve, Seated, Server},
    ports::SharedPeers,
    serve::Identity,
};
use std::{sync::Arc, time::Duration};
use tracing::{debug, info};

/// Waits until it is time to look again. Cancel-safe.
pub type Pause = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A pause of once to twice `shortest`, drawn anew each time: servers that started together must not
/// look at the same moment.
pub fn random_pause(shortest: Duration) -> Pause {
    Arc::new(move || {
        let more = shortest.mul_f64(rand::random());
        Box::pin(tokio::time::sleep(shortest.saturating_add(more)))
    })
}

/// What a worker needs that may take other blocks.
#[derive(Clone)]
pub struct Balancing {
    /// Number of blocks of the model.
    pub blocks: u16,
    /// Most blocks that fit.
    pub most: u16,
    /// Between two looks.
    pub pause: Pause,
}

/// The worker's eye on the swarm.
pub(super) struct Lookout {
    pub(super) balancing: Balancing,
    /// Where announcements are found.
    pub(super) peers: SharedPeers,
    pub(super) me: Arc<Identity>,
    pub(super) rates: Rates,
    pub(super) view: ChainView,
    pub(super) resolve: Resolve,
}

/// Positions per hour of who needs so long for one.
fn hourly(decode: Duration) -> u64 {
    let rate = Duration::from_secs(3600).as_micros() / decode.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX).max(1)
}

/// The seats of `roster` but ours, with what `announced` tells of their servers.
fn seated(me: NodeId, roster: &Roster, announced: &[Announcement]) -> Vec<Seated> {
    let others = roster.iter().filter(|node| node.id != me);
    let seated = others.filter_map(|node| {
        let seat = node.seat.as_ref()?;
        let record = announced.iter().find(|record| record.node == node.id);
        let serves = record.filter(|record| record.state != ServerState::Draining);
        let decode = serves.map(|record| Duration::from_micros(record.decode_micros.into()));
        let server = Server {
            span: seat.span,
            rate: decode.map_or(0, hourly),
        };
        Some(Seated {
            node: node.id,
            server,
        })
    });
    seated.collect()
}

impl Lookout {
    /// Waits until the worker should move, and says where to. Cancel-safe.
    pub(super) async fn wanted(&mut self) -> Span {
        loop {
            (self.balancing.pause)().await;
            let roster = self.view.roster.borrow().clone();
            let found = self.look(&roster).await;
            if let Some(Move { to, rank }) = found {
                info!(%to, rank, "these blocks need a server more than ours do");
            }
            if let Some(to) = self.resolve.consider(found) {
                return to;
            }
        }
    }

    /// The best blocks for a worker that has no seat any more.
    pub(super) async fn place(&self, roster: &Roster) -> Option<Span> {
        let others = self.others(roster).await?;
        let servers: Vec<Server> = others.iter().map(|other| other.server).collect();
        choose(self.balancing.blocks, &servers, self.balancing.most)
    }

    async fn look(&self, roster: &Roster) -> Option<Move> {
        let others = self.others(roster).await?;
        let me = Seated {
            node: self.me.node,
            server: Server {
                span: self.me.span,
                rate: hourly(self.rates.decode),
            },
        };
        rebalance(self.balancing.blocks, me, &others, self.balancing.most)
    }

    /// Those who serve beside us. `None` if we can't know.
    async fn others(&self, roster: &Roster) -> Option<Vec<Seated>> {
        let me = &self.me;
        let others = roster
            .iter()
            .filter(|node| node.id != me.node && node.seat.is_some());
        let keys: Vec<_> = others.map(|node| (node.id, node.hotkey)).collect();
        let announced = self.peers.announcements(me.genesis, me.subnet, &keys).await;
        if announced.is_empty() && !keys.is_empty() {
            debug!("nobody is heard of; nothing is decided");
            return None;
        }
        Some(seated(me.node, roster, &announced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::rig::{Subnet, FIRST, SECOND, SUBNET, THIRD};
    use quipu_worker_core::ports::Chain;

    #[test]
    fn rates_are_counted_by_the_hour() {
        assert_eq!(hourly(Duration::from_secs(1)), 3600);
        assert_eq!(hourly(Duration::from_millis(1)), 3_600_000);
        // Slow is not dead.
        assert_eq!(hourly(Duration::from_secs(1 << 40)), 1);
        assert_eq!(hourly(Duration::ZERO), 3_600_000_000);
    }

    #[tokio::test]
    async fn who_is_not_heard_of_or_leaves_counts_as_away() {
        let subnet = Subnet::new();
        for node in [FIRST, SECOND, THIRD] {
            subnet.seat(node);
        }
        let roster = Arc::new(subnet.chain.roster(SUBNET).await.unwrap());
        let record = |node: NodeId, state| Announcement {
            subnet: SUBNET,
            node,
            span: FIRST.span,
            state,
            decode_micros: 1_000,
            prefill_rate: 1,
            free_positions: 1,
            addresses: Vec::new(),
            made_at: 0,
        };
        let rates = |announced: &[Announcement]| {
            let others = seated(FIRST.id, &roster, announced);
            others
                .iter()
                .map(|one| (one.node, one.server.rate))
                .collect::<Vec<_>>()
        };
        let online = record(SECOND.id, ServerState::Online);
        let joining = record(THIRD.id, ServerState::Joining);
        let leaving = record(SECOND.id, ServerState::Draining);
        assert_eq!(rates(&[online, joining]), [(2, 3_600_000), (3, 3_600_000)]);
        assert_eq!(rates(&[leaving]), [(2, 0), (3, 0)]);
    }
}
