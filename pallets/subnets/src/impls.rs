//! What the calls do once their origin is known.

use crate::{
    records::NodeBook, types::*, Config, CoverageOf, Error, Event, HoldReason, Manifests, Members,
    NextNodeId, NextSubnetId, Pallet, Subnets,
};
use frame_support::{
    ensure,
    traits::{
        fungible::MutateHold,
        tokens::{Fortitude, Precision, Restriction},
        Get,
    },
};
use quipu_primitives::{
    traits::{Bonds, Obligations, OnColdkeySwap, Seat},
    Balance, Digest, Manifest, NodeId, Span, SpanError, SubnetId, Terms, ROOT_SUBNET,
};
use sp_runtime::{traits::Zero, DispatchError, DispatchResult};

/// Subnets.
impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_subnet(creator: T::AccountId, manifest: Manifest) -> DispatchResult {
        manifest.validate().map_err(Error::<T>::from)?;
        ensure!(
            Subnets::<T>::count() < T::MaxSubnets::get(),
            Error::<T>::TooManySubnets
        );
        let id = NextSubnetId::<T>::get();
        NextSubnetId::<T>::put(id.checked_add(1).ok_or(Error::<T>::IdsExhausted)?);

        let deposit = T::RegistrationDeposit::get();
        T::Currency::hold(&HoldReason::Registration.into(), &creator, deposit)?;

        let manifest_digest = manifest.digest();
        let subnet = Subnet {
            creator: creator.clone(),
            deposit,
            status: Status::Uncovered,
            blocks: manifest.config.blocks,
            context_length: manifest.config.context_length,
            terms: manifest.terms.clone(),
            manifest_digest,
        };
        CoverageOf::<T>::insert(id, Coverage::bare(subnet.blocks));
        Subnets::<T>::insert(id, subnet);
        Manifests::<T>::insert(id, manifest);
        Self::deposit_event(Event::SubnetRegistered {
            subnet: id,
            creator,
            deposit,
            manifest_digest,
        });
        Ok(())
    }

    /// A subnet without nodes is a few storage items; dissolving one that has nodes, over as many
    /// blocks as that takes, would start from the same list of members.
    pub(crate) fn do_dissolve_subnet(who: T::AccountId, id: SubnetId) -> DispatchResult {
        let subnet = Self::owned_subnet(&who, id)?;
        ensure!(!Members::<T>::contains_key(id), Error::<T>::SubnetHasNodes);
        T::Currency::release(
            &HoldReason::Registration.into(),
            &subnet.creator,
            subnet.deposit,
            Precision::Exact,
        )?;
        Subnets::<T>::remove(id);
        Manifests::<T>::remove(id);
        CoverageOf::<T>::remove(id);
        Self::deposit_event(Event::SubnetDissolved {
            subnet: id,
            deposit: subnet.deposit,
        });
        Ok(())
    }

    pub(crate) fn do_pause_subnet(who: T::AccountId, id: SubnetId) -> DispatchResult {
        let mut subnet = Self::owned_subnet(&who, id)?;
        ensure!(subnet.status != Status::Paused, Error::<T>::AlreadyPaused);
        subnet.status = Status::Paused;
        Subnets::<T>::insert(id, subnet);
        Self::deposit_event(Event::SubnetPaused { subnet: id });
        Ok(())
    }

    pub(crate) fn do_resume_subnet(who: T::AccountId, id: SubnetId) -> DispatchResult {
        let mut subnet = Self::owned_subnet(&who, id)?;
        ensure!(subnet.status == Status::Paused, Error::<T>::NotPaused);
        let active = CoverageOf::<T>::get(id).is_some_and(|coverage| coverage.is_complete());
        subnet.status = if active {
            Status::Active
        } else {
            Status::Uncovered
        };
        Subnets::<T>::insert(id, subnet);
        Self::deposit_event(Event::SubnetResumed { subnet: id, active });
        Ok(())
    }

    fn owned_subnet(
        who: &T::AccountId,
        id: SubnetId,
    ) -> Result<Subnet<T::AccountId>, DispatchError> {
        let subnet = Subnets::<T>::get(id).ok_or(Error::<T>::NoSuchSubnet)?;
        ensure!(subnet.creator == *who, Error::<T>::NotCreator);
        Ok(subnet)
    }

    /// Self-bond without which no node may hold a seat under these terms.
    pub(crate) fn bond_needed(terms: &Terms) -> Balance {
        T::Bonds::minimum_self_bond().max(terms.min_self_bond)
    }
}

/// Nodes.
impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_node(
        coldkey: T::AccountId,
        subnet: SubnetId,
        hotkey: T::AccountId,
        peer_id: PeerId,
    ) -> DispatchResult {
        if subnet != ROOT_SUBNET {
            let record = Subnets::<T>::get(subnet).ok_or(Error::<T>::NoSuchSubnet)?;
            let members = Members::<T>::decode_len(subnet).unwrap_or_default();
            ensure!(
                members < record.terms.max_nodes as usize,
                Error::<T>::SubnetFull
            );
        }
        let deposit = T::NodeDeposit::get();
        let node = Node {
            subnet,
            coldkey,
            hotkey,
            peer_id,
            deposit,
            seat: None,
        };
        let id = Self::add_node(&node)?;
        T::Currency::hold(&HoldReason::Node.into(), &node.coldkey, deposit)?;
        let Node {
            subnet,
            coldkey,
            hotkey,
            deposit,
            ..
        } = node;
        Self::deposit_event(Event::NodeRegistered {
            node: id,
            subnet,
            coldkey,
            hotkey,
            deposit,
        });
        Ok(())
    }

    /// A node of the root subnet without deposit, as the genesis has them.
    pub(crate) fn add_root_node(
        coldkey: T::AccountId,
        hotkey: T::AccountId,
        peer_id: PeerId,
    ) -> Result<NodeId, DispatchError> {
        let deposit = Balance::zero();
        Self::add_node(&Node {
            subnet: ROOT_SUBNET,
            coldkey,
            hotkey,
            peer_id,
            deposit,
            seat: None,
        })
    }

    fn add_node(node: &Node<T::AccountId>) -> Result<NodeId, DispatchError> {
        let id = NextNodeId::<T>::get();
        NextNodeId::<T>::put(id.checked_add(1).ok_or(Error::<T>::IdsExhausted)?);
        NodeBook::<T>::insert(id, node)?;
        Ok(id)
    }

    pub(crate) fn do_remove_node(who: T::AccountId, id: NodeId) -> DispatchResult {
        let node = Self::owned_node(&who, id)?;
        ensure!(node.seat.is_none(), Error::<T>::NodeSeated);
        ensure!(T::Bonds::is_free(id), Error::<T>::NodeBonded);
        ensure!(
            !T::Obligations::has_obligations(id),
            Error::<T>::NodeHasObligations
        );
        T::Currency::release(
            &HoldReason::Node.into(),
            &node.coldkey,
            node.deposit,
            Precision::Exact,
        )?;
        NodeBook::<T>::remove(id, &node);
        Self::deposit_event(Event::NodeRemoved {
            node: id,
            subnet: node.subnet,
            deposit: node.deposit,
        });
        Ok(())
    }

    pub(crate) fn do_set_hotkey(
        who: T::AccountId,
        id: NodeId,
        hotkey: T::AccountId,
    ) -> DispatchResult {
        let mut node = Self::owned_node(&who, id)?;
        let old = node.hotkey.clone();
        NodeBook::<T>::set_hotkey(id, &mut node, hotkey)?;
        Self::deposit_event(Event::HotkeyChanged {
            node: id,
            old,
            new: node.hotkey,
        });
        Ok(())
    }

    pub(crate) fn do_set_coldkey(
        who: T::AccountId,
        id: NodeId,
        coldkey: T::AccountId,
    ) -> DispatchResult {
        let mut node = Self::owned_node(&who, id)?;
        ensure!(node.coldkey != coldkey, Error::<T>::SameColdkey);
        NodeBook::<T>::set_coldkey(id, &mut node, coldkey)?;
        if !node.deposit.is_zero() {
            T::Currency::transfer_on_hold(
                &HoldReason::Node.into(),
                &who,
                &node.coldkey,
                node.deposit,
                Precision::Exact,
                Restriction::OnHold,
                Fortitude::Polite,
            )?;
        }
        T::OnColdkeySwap::coldkey_swapped(id, &who, &node.coldkey)?;
        Self::deposit_event(Event::ColdkeyChanged {
            node: id,
            old: who,
            new: node.coldkey,
        });
        Ok(())
    }

    pub(crate) fn do_set_peer_id(who: T::AccountId, id: NodeId, peer_id: PeerId) -> DispatchResult {
        let mut node = Self::operated_node(&who, id)?;
        NodeBook::<T>::set_peer_id(id, &mut node, peer_id)?;
        Self::deposit_event(Event::PeerIdChanged {
            node: id,
            peer_id: node.peer_id,
        });
        Ok(())
    }

    fn owned_node(who: &T::AccountId, id: NodeId) -> Result<Node<T::AccountId>, DispatchError> {
        let node = NodeBook::<T>::get(id)?;
        ensure!(node.coldkey == *who, Error::<T>::NotOwner);
        Ok(node)
    }

    fn operated_node(who: &T::AccountId, id: NodeId) -> Result<Node<T::AccountId>, DispatchError> {
        let node = NodeBook::<T>::get(id)?;
        ensure!(
            node.hotkey == *who || node.coldkey == *who,
            Error::<T>::NotOperator
        );
        Ok(node)
    }
}

/// Seats.
impl<T: Config> Pallet<T> {
    pub(crate) fn do_join(
        who: T::AccountId,
        id: NodeId,
        span: Span,
        price: Balance,
        profile: Digest,
    ) -> DispatchResult {
        let mut node = Self::operated_node(&who, id)?;
        ensure!(node.subnet != ROOT_SUBNET, Error::<T>::RootHasNoSeats);
        ensure!(node.seat.is_none(), Error::<T>::AlreadySeated);
        let subnet = Subnets::<T>::get(node.subnet).ok_or(Error::<T>::NoSuchSubnet)?;
        span.check(subnet.blocks).map_err(|error| match error {
            SpanError::Empty => Error::<T>::EmptySpan,
            SpanError::OutsideModel { .. } => Error::<T>::SpanOutsideModel,
        })?;
        let manifest = Manifests::<T>::get(node.subnet).ok_or(Error::<T>::NoSuchSubnet)?;
        ensure!(
            manifest
                .profiles
                .iter()
                .any(|accepted| accepted.digest() == profile),
            Error::<T>::ProfileNotAccepted
        );
        let bond = T::Bonds::self_bond(id);
        ensure!(
            bond >= Self::bond_needed(&subnet.terms),
            Error::<T>::BondTooSmall
        );

        node.seat = Some(Seat {
            node: id,
            span,
            price,
            profile,
        });
        NodeBook::<T>::set_seat(id, &node);
        let subnet = node.subnet;
        Self::deposit_event(Event::NodeJoined {
            node: id,
            subnet,
            span,
            price,
            profile,
        });
        Self::change_coverage(subnet, |coverage| coverage.add(span));
        Ok(())
    }

    pub(crate) fn do_update_price(who: T::AccountId, id: NodeId, price: Balance) -> DispatchResult {
        let mut node = Self::operated_node(&who, id)?;
        let seat = node.seat.as_mut().ok_or(Error::<T>::NotSeated)?;
        seat.price = price;
        NodeBook::<T>::set_seat(id, &node);
        Self::deposit_event(Event::PriceChanged { node: id, price });
        Ok(())
    }

    pub(crate) fn do_leave(who: T::AccountId, id: NodeId) -> DispatchResult {
        let node = Self::operated_node(&who, id)?;
        ensure!(
            Self::vacate(id, node, LeaveReason::Asked),
            Error::<T>::NotSeated
        );
        Ok(())
    }

    /// Takes the node's seat and says whether there was one.
    pub(crate) fn vacate(id: NodeId, mut node: Node<T::AccountId>, reason: LeaveReason) -> bool {
        let Some(Seat { span, .. }) = node.seat.take() else {
            return false;
        };
        NodeBook::<T>::set_seat(id, &node);
        let subnet = node.subnet;
        Self::deposit_event(Event::NodeLeft {
            node: id,
            subnet,
            span,
            reason,
        });
        Self::change_coverage(subnet, |coverage| coverage.remove(span));
        true
    }

    /// Changes the coverage, and the state of the subnet with it.
    fn change_coverage(id: SubnetId, change: impl FnOnce(&mut Coverage)) {
        let complete = CoverageOf::<T>::mutate(id, |slot| {
            slot.as_mut().is_some_and(|coverage| {
                change(coverage);
                coverage.is_complete()
            })
        });
        let Some(mut subnet) = Subnets::<T>::get(id) else {
            return;
        };
        let (status, event) = match (subnet.status, complete) {
            (Status::Uncovered, true) => (Status::Active, Event::SubnetActivated { subnet: id }),
            (Status::Active, false) => (Status::Uncovered, Event::SubnetDeactivated { subnet: id }),
            _ => return,
        };
        subnet.status = status;
        Subnets::<T>::insert(id, subnet);
        Self::deposit_event(event);
    }
}
