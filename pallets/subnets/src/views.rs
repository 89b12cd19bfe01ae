//! What other pallets and clients may ask and tell: the traits of `quipu-primitives`, and the
//! functions behind the runtime API `SubnetsApi`.

use crate::{
    types::*, Config, CoverageOf, FormerHotkeys, Manifests, Members, NextSubnetId, NodeOfHotkey,
    Pallet, RootNodeOf, Subnets,
};
use alloc::vec::Vec;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    runtime_api::{NodeInfo, SeatInfo, SubnetInfo},
    traits::{Bonds, NodeKeys, Nodes, OnBondChange, Roster, Seat, Signers},
    Balance, NodeId, SubnetId,
};

/// Most subnets that one call of the runtime API returns.
const MAX_SUBNETS_PER_CALL: u32 = 100;

impl<T: Config> Nodes<T::AccountId> for Pallet<T> {
    fn keys(node: NodeId) -> Option<NodeKeys<T::AccountId>> {
        let Node {
            subnet,
            coldkey,
            hotkey,
            ..
        } = crate::Nodes::<T>::get(node)?;
        Some(NodeKeys {
            subnet,
            coldkey,
            hotkey,
        })
    }

    fn by_hotkey(hotkey: &T::AccountId) -> Option<NodeId> {
        NodeOfHotkey::<T>::get(hotkey)
    }

    fn of_subnet(subnet: SubnetId) -> Vec<NodeId> {
        Members::<T>::get(subnet).into_inner()
    }

    fn root_node_of(coldkey: &T::AccountId) -> Option<NodeId> {
        RootNodeOf::<T>::get(coldkey)
    }
}

impl<T: Config> Signers<T::AccountId, BlockNumberFor<T>> for Pallet<T> {
    fn has_signed_for(node: NodeId, key: &T::AccountId, since: BlockNumberFor<T>) -> bool {
        crate::Nodes::<T>::get(node).is_some_and(|node| node.hotkey == *key)
            || FormerHotkeys::<T>::get(node)
                .iter()
                .any(|(former, until)| former == key && *until >= since)
    }
}

impl<T: Config> Roster for Pallet<T> {
    fn is_active(subnet: SubnetId) -> bool {
        Subnets::<T>::get(subnet).is_some_and(|subnet| subnet.status.is_active())
    }

    fn seat(node: NodeId) -> Option<(SubnetId, Seat)> {
        let node = crate::Nodes::<T>::get(node)?;
        Some((node.subnet, node.seat?))
    }

    fn seats(subnet: SubnetId) -> Vec<Seat> {
        let members = Members::<T>::get(subnet);
        members
            .iter()
            .filter_map(|id| crate::Nodes::<T>::get(id)?.seat)
            .collect()
    }

    fn blocks(subnet: SubnetId) -> Option<u16> {
        Subnets::<T>::get(subnet).map(|subnet| subnet.blocks)
    }

    fn context_length(subnet: SubnetId) -> Option<u32> {
        Subnets::<T>::get(subnet).map(|subnet| subnet.context_length)
    }

    fn block_parameters(subnet: SubnetId) -> Option<u64> {
        Manifests::<T>::get(subnet).map(|manifest| manifest.config.block_parameters())
    }
}

impl<T: Config> OnBondChange for Pallet<T> {
    fn bond_changed(id: NodeId, self_bond: Balance) {
        let Some(node) = crate::Nodes::<T>::get(id) else {
            return;
        };
        if node.seat.is_none() {
            return;
        }
        let Some(subnet) = Subnets::<T>::get(node.subnet) else {
            return;
        };
        if self_bond < Self::bond_needed(&subnet.terms) {
            Self::vacate(id, node, LeaveReason::BondTooSmall);
        }
    }
}

/// The runtime API.
impl<T: Config> Pallet<T> {
    /// A subnet by its id; the root subnet has no model and is none.
    pub fn subnet_info(id: SubnetId) -> Option<SubnetInfo<T::AccountId>> {
        let subnet = Subnets::<T>::get(id)?;
        Some(SubnetInfo {
            id,
            creator: subnet.creator,
            status: subnet.status,
            deposit: subnet.deposit,
            manifest: Manifests::<T>::get(id)?,
            coverage: CoverageOf::<T>::get(id)?.counts().to_vec(),
        })
    }

    /// Up to `limit` (at most 100) subnets with ids of at least `from`, in order.
    pub fn subnet_infos(from: SubnetId, limit: u32) -> Vec<SubnetInfo<T::AccountId>> {
        (from..NextSubnetId::<T>::get())
            .filter_map(Self::subnet_info)
            .take(limit.min(MAX_SUBNETS_PER_CALL) as usize)
            .collect()
    }

    /// Every node of a subnet, the root subnet included.
    pub fn roster_info(id: SubnetId) -> Vec<NodeInfo<T::AccountId>> {
        Members::<T>::get(id)
            .iter()
            .filter_map(|id| Self::node_info(*id))
            .collect()
    }

    /// A node by its id.
    pub fn node_info(id: NodeId) -> Option<NodeInfo<T::AccountId>> {
        let Node {
            subnet,
            coldkey,
            hotkey,
            peer_id,
            seat,
            ..
        } = crate::Nodes::<T>::get(id)?;
        let seat = seat.map(
            |Seat {
                 span,
                 price,
                 profile,
                 ..
             }| SeatInfo {
                span,
                price,
                profile,
            },
        );
        let (self_bond, pending_slash) = (T::Bonds::self_bond(id), T::Bonds::pending_slash(id));
        Some(NodeInfo {
            id,
            subnet,
            coldkey,
            hotkey,
            peer_id,
            self_bond,
            pending_slash,
            seat,
        })
    }

    /// The node that a hotkey signs for.
    pub fn node_info_of_hotkey(hotkey: &T::AccountId) -> Option<NodeInfo<T::AccountId>> {
        Self::node_info(NodeOfHotkey::<T>::get(hotkey)?)
    }

    /// The deposit that registering a subnet takes now.
    pub fn registration_deposit() -> Balance {
        T::RegistrationDeposit::get()
    }
}
