//! Subnets, nodes, seats and bonds.

use super::{dispatch, Outcome, State, MIN_SELF_BOND};
use quipu_primitives::{
    views::{NodeInfo, SeatInfo, SubnetInfo, SubnetStatus},
    AccountBytes, Balance, Digest, Manifest, NodeId, Span, SubnetId,
};
use quipu_worker_core::ports::{ChainError, ChainEvent};

impl State {
    pub(super) fn roster(&self, id: SubnetId) -> impl Iterator<Item = &NodeInfo<AccountBytes>> {
        self.nodes.values().filter(move |node| node.subnet == id)
    }

    pub(super) fn by_hotkey(&self, hotkey: &AccountBytes) -> Option<&NodeInfo<AccountBytes>> {
        self.nodes.values().find(|node| node.hotkey == *hotkey)
    }

    fn coverage(&self, id: SubnetId, blocks: u16) -> Vec<u16> {
        let mut coverage = vec![0; usize::from(blocks)];
        for seat in self.roster(id).filter_map(|node| node.seat.as_ref()) {
            for block in seat.span.blocks() {
                coverage[usize::from(block)] += 1;
            }
        }
        coverage
    }

    pub(super) fn is_active(&self, id: SubnetId) -> bool {
        self.subnet_info(id)
            .is_some_and(|subnet| subnet.status.is_active())
    }

    pub(super) fn subnet_info(&self, id: SubnetId) -> Option<SubnetInfo<AccountBytes>> {
        let (creator, manifest) = self.subnets.get(&id)?;
        let coverage = self.coverage(id, manifest.config.blocks);
        let status = match coverage.iter().all(|seats| *seats > 0) {
            _ if self.paused.contains(&id) => SubnetStatus::Paused,
            true => SubnetStatus::Active,
            false => SubnetStatus::Uncovered,
        };
        Some(SubnetInfo {
            id,
            creator: *creator,
            status,
            deposit: 0,
            manifest: manifest.clone(),
            coverage,
        })
    }

    pub(super) fn register_subnet(&mut self, creator: AccountBytes, manifest: Manifest) -> Outcome {
        if manifest.validate().is_err() {
            return dispatch("Subnets", "ManifestWeightsRoot");
        }
        let subnet = self.subnets.len() as SubnetId + 1;
        self.subnets.insert(subnet, (creator, manifest));
        Ok(vec![ChainEvent::SubnetRegistered { subnet }])
    }

    pub(super) fn register_node(
        &mut self,
        coldkey: AccountBytes,
        subnet: SubnetId,
        hotkey: AccountBytes,
        peer_id: Vec<u8>,
    ) -> Outcome {
        if !self.subnets.contains_key(&subnet) {
            return dispatch("Subnets", "NoSuchSubnet");
        }
        if self.by_hotkey(&hotkey).is_some() {
            return dispatch("Subnets", "HotkeyInUse");
        }
        let Ok(peer_id) = peer_id.try_into() else {
            return dispatch("Subnets", "BadPeerId");
        };
        let id = self.nodes.keys().last().map_or(1, |last| last + 1);
        let node = NodeInfo {
            id,
            subnet,
            coldkey,
            hotkey,
            peer_id,
            self_bond: 0,
            pending_slash: 0,
            seat: None,
        };
        self.nodes.insert(id, node);
        Ok(vec![
            ChainEvent::NodeRegistered { node: id, subnet },
            ChainEvent::RosterChanged { subnet },
        ])
    }

    fn operated(
        &mut self,
        who: AccountBytes,
        node: NodeId,
    ) -> Result<&mut NodeInfo<AccountBytes>, ChainError> {
        match self.nodes.get_mut(&node) {
            None => dispatch("Subnets", "NoSuchNode"),
            Some(node) if node.hotkey != who && node.coldkey != who => {
                dispatch("Subnets", "NotOperator")
            }
            Some(node) => Ok(node),
        }
    }

    pub(super) fn join(
        &mut self,
        who: AccountBytes,
        node: NodeId,
        span: Span,
        price: Balance,
        profile: Digest,
    ) -> Outcome {
        let subnet = self.operated(who, node)?.subnet;
        let Some((_, manifest)) = self.subnets.get(&subnet) else {
            return dispatch("Subnets", "NoSuchSubnet");
        };
        if span.check(manifest.config.blocks).is_err() {
            return dispatch("Subnets", "SpanOutsideModel");
        }
        if manifest
            .profiles
            .iter()
            .all(|known| known.digest() != profile)
        {
            return dispatch("Subnets", "ProfileNotAccepted");
        }
        let node = self.operated(who, node)?;
        if node.self_bond < MIN_SELF_BOND {
            return dispatch("Subnets", "BondTooSmall");
        }
        if node.seat.is_some() {
            return dispatch("Subnets", "AlreadySeated");
        }
        node.seat = Some(SeatInfo {
            span,
            price,
            profile,
        });
        Ok(vec![ChainEvent::RosterChanged { subnet }])
    }

    pub(super) fn update_price(
        &mut self,
        who: AccountBytes,
        id: NodeId,
        price: Balance,
    ) -> Outcome {
        match &mut self.operated(who, id)?.seat {
            Some(seat) => seat.price = price,
            None => return dispatch("Subnets", "NotSeated"),
        }
        Ok(vec![ChainEvent::NodeChanged { node: id }])
    }

    pub(super) fn leave(&mut self, who: AccountBytes, node: NodeId) -> Outcome {
        let node = self.operated(who, node)?;
        let subnet = node.subnet;
        if node.seat.take().is_none() {
            return dispatch("Subnets", "NotSeated");
        }
        Ok(vec![ChainEvent::RosterChanged { subnet }])
    }

    pub(super) fn remove_node(&mut self, who: AccountBytes, node: NodeId) -> Outcome {
        let info = self.operated(who, node)?;
        let subnet = info.subnet;
        if info.coldkey != who {
            return dispatch("Subnets", "NotOwner");
        }
        if info.self_bond > 0 {
            return dispatch("Subnets", "NodeBonded");
        }
        self.nodes.remove(&node);
        Ok(vec![ChainEvent::RosterChanged { subnet }])
    }

    pub(super) fn bond(&mut self, who: AccountBytes, node: NodeId, amount: Balance) -> Outcome {
        if self.operated(who, node)?.coldkey != who {
            return dispatch("Staking", "NotOwner");
        }
        self.take(who, amount)?;
        self.operated(who, node)?.self_bond += amount;
        Ok(Vec::new())
    }

    /// Released at once: there is no queue here.
    pub(super) fn unbond(&mut self, who: AccountBytes, node: NodeId, amount: Balance) -> Outcome {
        let info = self.operated(who, node)?;
        let subnet = info.subnet;
        if info.coldkey != who {
            return dispatch("Staking", "NotOwner");
        }
        match info.self_bond.checked_sub(amount) {
            Some(rest) => info.self_bond = rest,
            None => return dispatch("Staking", "NotEnoughBonded"),
        }
        if info.self_bond < MIN_SELF_BOND {
            info.seat = None;
        }
        self.give(who, amount);
        Ok(vec![ChainEvent::RosterChanged { subnet }])
    }
}
