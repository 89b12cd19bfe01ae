//! Dials that commands wait for.

use crate::driver::Driver;
use libp2p::{
    multiaddr::Protocol,
    swarm::{
        dial_opts::{DialOpts, PeerCondition},
        ConnectionId, DialError,
    },
    Multiaddr, PeerId,
};
use quipu_protocol::limits::MAX_ADDRESSES;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Who waits, with the reason in words where it failed.
type Reply = oneshot::Sender<Result<(), String>>;

/// The dials under way, at most one for each peer.
#[derive(Default)]
pub(crate) struct Dials(HashMap<PeerId, Dial>);

struct Dial {
    addresses: Vec<Multiaddr>,
    /// An address came since the attempt began.
    is_stale: bool,
    attempts: usize,
    waiting: Vec<Reply>,
    id: Option<ConnectionId>,
}

impl Driver {
    /// Connects to a peer, unless it is connected.
    pub(crate) fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply) {
        if self.swarm.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        if let Some(dial) = self.dials.0.get_mut(&peer) {
            for address in addresses {
                if !dial.addresses.contains(&address) {
                    dial.addresses.push(address);
                    dial.is_stale = true;
                }
            }
            dial.waiting.push(reply);
            return;
        }
        let dial = Dial {
            addresses,
            is_stale: false,
            attempts: 0,
            waiting: vec![reply],
            id: None,
        };
        self.attempt(peer, dial);
    }

    fn attempt(&mut self, peer: PeerId, mut dial: Dial) {
        // Always: a dial of the DHT's that is under way may try stale addresses alone.
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(dial.addresses.clone())
            .extend_addresses_through_behaviour()
            .build();
        dial.id = Some(options.connection_id());
        dial.is_stale = false;
        dial.attempts += 1;
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.0.insert(peer, dial);
            }
            Err(error) => {
                self.warden.metrics.dial_failures.inc();
                answer(dial, Err(words(&error)));
            }
        }
    }

    /// A peer is connected, whoever dialled.
    pub(crate) fn dialled(&mut self, peer: &PeerId) {
        if let Some(dial) = self.dials.0.remove(peer) {
            answer(dial, Ok(()));
        }
    }

    /// A dial of ours or the DHT's failed.
    ///
    /// One address at which another peer answers ends the attempt even if others are right: a
    /// server that restarted leaves such addresses behind. Then it is forgotten, and the others are
    /// tried again.
    pub(crate) fn dial_failed(&mut self, peer: PeerId, id: ConnectionId, error: &DialError) {
        let mut wrong = None;
        if let DialError::WrongPeerId { endpoint, .. } = error {
            let address = endpoint.get_remote_address().clone();
            self.swarm
                .behaviour_mut()
                .kad
                .remove_address(&peer, &address);
            wrong = Some(without_peer(address));
        }
        if self
            .dials
            .0
            .get(&peer)
            .is_none_or(|dial| dial.id != Some(id))
        {
            return;
        }
        let Some(mut dial) = self.dials.0.remove(&peer) else {
            return;
        };
        if let Some(wrong) = wrong {
            dial.addresses
                .retain(|address| without_peer(address.clone()) != wrong);
            dial.is_stale = !dial.addresses.is_empty();
        }
        if dial.is_stale && dial.attempts < MAX_ADDRESSES {
            self.attempt(peer, dial);
        } else {
            answer(dial, Err(words(error)));
        }
    }
}

fn answer(dial: Dial, result: Result<(), String>) {
    for reply in dial.waiting {
        // Who no longer waits needs no answer.
        let _ = reply.send(result.clone());
    }
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// What lies at the bottom of an error: what is wrapped around it often says nothing.
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

/// A dial's error in words for people.
fn words(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".into(),
        DialError::WrongPeerId { obtained, .. } => {
            format!("another peer answers there: {obtained}")
        }
        DialError::LocalPeerId { .. } => "its address is our own".into(),
        DialError::Denied { cause } => innermost(cause),
        DialError::Transport(attempts) => {
            let attempts: Vec<_> = attempts
                .iter()
                .map(|(address, error)| format!("{address}: {}", innermost(error)))
                .collect();
            attempts.join("; ")
        }
        other => other.to_string(),
    }
}
