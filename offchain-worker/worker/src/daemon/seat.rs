//! Watches the seat of a worker that serves.
//!
//! No new session or job can name a server without a seat, so that a worker must not go on as if
//! nothing had happened. What it does about it:
//!
//! | what the chain shows | the worker |
//! |---|---|
//! | the seat as it was taken, at whatever price | goes on, and says that it is online: sessions have their price from the chain |
//! | no seat, soon after the start | takes it again, once: a farewell of the worker before (`--leave-on-exit`) came into a block only now |
//! | no seat later: the owner gave it back, or a slash made the bond too small | ends what runs, and stops with an error that says so |
//! | a seat for other blocks, another peer id, another hotkey, no node | the same |
//!
//! What it shows is final: before that, no client finds the seat, and another block may replace the
//! one that has it. So a server that waits for its seat announces itself as joining.

use crate::{chain_sync::ChainView, error::WorkerError, preflight};
use quipu_primitives::{
    views::{NodeInfo, SeatInfo},
    AccountBytes, Balance,
};
use quipu_protocol::ServerState;
use quipu_worker_core::{ports::SharedChain, serve::Identity, Classified, Fault};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

/// Blocks after the start within which a seat may be lost to a farewell of the worker before: as
/// long as a signed extrinsic may wait for its block.
pub(super) const FAREWELL: u32 = 64;

/// Where a worker stands, as the chain has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has its seat.
    Seated,
    /// It has none; so much of its bond counts, and so much waits to be slashed.
    Unseated(Balance, Balance),
    /// The node has another seat, or is another's.
    Elsewhere(Wrong),
}

/// Why a worker can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Seat(quipu_primitives::Span),
    Peer,
    Gone,
}

fn standing(me: &Identity, node: Option<&NodeInfo<AccountBytes>>) -> Standing {
    let node = match node {
        Some(node) if node.hotkey == me.signer.public() => node,
        _ => return Standing::Elsewhere(Wrong::Gone),
    };
    if node.peer_id.as_slice() != me.peer {
        return Standing::Elsewhere(Wrong::Peer);
    }
    match &node.seat {
        None => Standing::Unseated(node.self_bond, node.pending_slash),
        Some(SeatInfo { span, profile, .. }) if (*span, *profile) == (me.span, me.profile) => {
            Standing::Seated
        }
        Some(seat) => Standing::Elsewhere(Wrong::Seat(seat.span)),
    }
}

/// The watch over a seat.
pub(super) struct SeatWatch {
    pub(super) chain: SharedChain,
    pub(super) me: Arc<Identity>,
    pub(super) price: Balance,
    pub(super) view: ChainView,
    /// The block that has the seat: before it is final, nothing is known.
    pub(super) since: u32,
    /// What is announced: online while the seat is there.
    pub(super) state: watch::Sender<ServerState>,
}

impl SeatWatch {
    /// Watches until the worker can't go on, and says why. Not cancel-safe: while it takes the seat
    /// again, that may still land.
    pub(super) async fn lost(mut self) -> WorkerError {
        let mut may_return = true;
        let started = *self.view.block.borrow();
        // The seat may have been there before the start.
        self.view.block.mark_changed();
        loop {
            if self.view.block.changed().await.is_err() {
                // Nobody follows the chain any more: the worker ends.
                std::future::pending::<()>().await;
            }
            let block = *self.view.block.borrow_and_update();
            if block < self.since {
                continue;
            }
            let roster = self.view.roster.borrow().clone();
            let own = roster.iter().find(|node| node.id == self.me.node);
            let (node, span) = (self.me.node, self.me.span);
            match standing(&self.me, own) {
                Standing::Seated => {
                    if self.turn(ServerState::Joining, ServerState::Online) {
                        info!(node, %span, block, "the seat is final: serving");
                    }
                }
                Standing::Unseated(bonded, pending) => {
                    if !may_return || block.saturating_sub(started) > FAREWELL {
                        return WorkerError::SeatLost {
                            node,
                            span,
                            bonded,
                            pending,
                        };
                    }
                    warn!("the seat is gone, though it was there at the start; taking it again");
                    self.turn(ServerState::Online, ServerState::Joining);
                    match self.take_again().await {
                        Ok(()) => may_return = false,
                        Err(error) if error.fault() == Fault::Environment => {
                            warn!(%error, "the seat can't be taken now; tried again with a block");
                        }
                        Err(error) => return error,
                    }
                }
                Standing::Elsewhere(Wrong::Seat(found)) => {
                    return WorkerError::SeatChanged { node, span, found }
                }
                Standing::Elsewhere(Wrong::Peer) => return WorkerError::PeerChanged { node },
                Standing::Elsewhere(Wrong::Gone) => {
                    let hotkey = quipu_chain::show_account(&self.me.signer.public());
                    return WorkerError::Removed(hotkey);
                }
            }
        }
    }

    /// Changes what is announced, unless it is something else: a server that leaves stays leaving.
    fn turn(&self, from: ServerState, to: ServerState) -> bool {
        self.state.send_if_modified(|state| {
            let turns = *state == from;
            if turns {
                *state = to;
            }
            turns
        })
    }

    async fn take_again(&mut self) -> Result<(), WorkerError> {
        let me = &self.me;
        let (chain, signer) = (&*self.chain, &*me.signer);
        self.since = preflight::take_seat(chain, signer, me.span, self.price, me.profile).await?;
        info!(block = self.since, "the seat is taken again");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::rig::{key, FIRST, HIDDEN, PRICE, SUBNET};
    use quipu_primitives::Span;
    use quipu_worker_core::Signer;

    #[test]
    fn what_the_chain_shows_is_told_apart() {
        let me = Identity {
            genesis: [0; 32],
            subnet: SUBNET,
            node: FIRST.id,
            span: FIRST.span,
            peer: FIRST.peer(),
            weights_root: [0; 32],
            profile: [7; 32],
            exact: false,
            dtype: quipu_primitives::DType::F32,
            hidden: HIDDEN,
            context: 64,
            signer: Arc::new(key(FIRST.hotkey)),
        };
        let seated = NodeInfo {
            id: FIRST.id,
            subnet: SUBNET,
            coldkey: key(FIRST.coldkey).public(),
            hotkey: key(FIRST.hotkey).public(),
            peer_id: FIRST.peer().try_into().unwrap(),
            self_bond: 5_000,
            pending_slash: 70,
            seat: Some(SeatInfo {
                span: FIRST.span,
                price: PRICE,
                profile: [7; 32],
            }),
        };
        let of = |change: &dyn Fn(&mut NodeInfo<AccountBytes>)| {
            let mut node = seated.clone();
            change(&mut node);
            standing(&me, Some(&node))
        };
        let other = Span { start: 1, end: 2 };
        let seat = |node: &mut NodeInfo<AccountBytes>| node.seat.clone().unwrap();
        assert_eq!(of(&|_| {}), Standing::Seated);
        // The price is the chain's business.
        let dearer = |node: &mut NodeInfo<AccountBytes>| {
            let price = PRICE + 1;
            node.seat = Some(SeatInfo {
                price,
                ..seat(node)
            });
        };
        assert_eq!(of(&dearer), Standing::Seated);
        assert_eq!(of(&|node| node.seat = None), Standing::Unseated(5_000, 70));
        let moved = |node: &mut NodeInfo<AccountBytes>| {
            let span = other;
            node.seat = Some(SeatInfo { span, ..seat(node) });
        };
        assert_eq!(of(&moved), Standing::Elsewhere(Wrong::Seat(other)));
        let profile = |node: &mut NodeInfo<AccountBytes>| {
            let profile = [8; 32];
            node.seat = Some(SeatInfo {
                profile,
                ..seat(node)
            });
        };
        assert_eq!(of(&profile), Standing::Elsewhere(Wrong::Seat(FIRST.span)));
        let peer = |node: &mut NodeInfo<AccountBytes>| node.peer_id = vec![1].try_into().unwrap();
        assert_eq!(of(&peer), Standing::Elsewhere(Wrong::Peer));
        assert_eq!(
            of(&|node| node.hotkey = [1; 32]),
            Standing::Elsewhere(Wrong::Gone)
        );
        assert_eq!(standing(&me, None), Standing::Elsewhere(Wrong::Gone));
    }
}
