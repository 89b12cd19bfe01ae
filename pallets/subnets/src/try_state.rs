//! What holds at all times; the README says it in words.

use crate::{
    types::*, Config, CoverageOf, FormerHotkeys, HoldReason, Manifests, Members, NextNodeId,
    NextSubnetId, NodeOfHotkey, NodeOfPeer, Nodes, Pallet, RootNodeOf, Subnets,
};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{ensure, traits::fungible::InspectHold};
use quipu_primitives::{Balance, NodeId, ROOT_SUBNET};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::subnets_are_whole()?;
        Self::nodes_are_on_the_books()?;
        Self::seats_make_the_coverage()?;
        Self::holds_are_the_deposits()
    }

    fn subnets_are_whole() -> Result<(), TryRuntimeError> {
        let mut subnets: u32 = 0;
        for (id, subnet) in Subnets::<T>::iter() {
            subnets = subnets.saturating_add(1);
            ensure!(
                id != ROOT_SUBNET && id < NextSubnetId::<T>::get(),
                "id never given"
            );
            let manifest = Manifests::<T>::get(id).ok_or("subnet without manifest")?;
            ensure!(manifest.validate().is_ok(), "manifest that can't be served");
            ensure!(
                manifest.digest() == subnet.manifest_digest,
                "digest of another manifest"
            );
            ensure!(
                (
                    manifest.config.blocks,
                    manifest.config.context_length,
                    manifest.terms
                ) == (subnet.blocks, subnet.context_length, subnet.terms),
                "record of another shape"
            );
        }
        ensure!(subnets == Subnets::<T>::count(), "subnets are miscounted");
        ensure!(
            Manifests::<T>::iter_keys().all(Subnets::<T>::contains_key),
            "manifest without subnet"
        );
        ensure!(
            CoverageOf::<T>::iter_keys().all(Subnets::<T>::contains_key),
            "coverage without subnet"
        );
        Ok(())
    }

    fn nodes_are_on_the_books() -> Result<(), TryRuntimeError> {
        let mut listed = BTreeSet::<NodeId>::new();
        for (subnet, members) in Members::<T>::iter() {
            ensure!(!members.is_empty(), "empty list of members");
            ensure!(
                subnet == ROOT_SUBNET || Subnets::<T>::contains_key(subnet),
                "members of no subnet"
            );
            for id in members {
                ensure!(listed.insert(id), "node listed twice");
                let node = Nodes::<T>::get(id).ok_or("member that is no node")?;
                ensure!(node.subnet == subnet, "node listed in another subnet");
            }
        }
        let mut roots: usize = 0;
        for (id, node) in Nodes::<T>::iter() {
            ensure!(id < NextNodeId::<T>::get(), "id never given");
            ensure!(listed.contains(&id), "node on no list");
            ensure!(
                NodeOfHotkey::<T>::get(&node.hotkey) == Some(id),
                "hotkey not indexed"
            );
            ensure!(is_peer_id(&node.peer_id), "bad peer id");
            ensure!(
                NodeOfPeer::<T>::get(&node.peer_id) == Some(id),
                "peer id not indexed"
            );
            if node.subnet == ROOT_SUBNET {
                roots = roots.saturating_add(1);
                ensure!(
                    RootNodeOf::<T>::get(&node.coldkey) == Some(id),
                    "root not indexed"
                );
            }
        }
        for (id, former) in FormerHotkeys::<T>::iter() {
            ensure!(listed.contains(&id), "former hotkeys of no node");
            ensure!(!former.is_empty(), "no former hotkeys");
            ensure!(
                former.is_sorted_by(|(_, a), (_, b)| a <= b),
                "former hotkeys out of order"
            );
        }
        // Each node is found under its own keys, so equal numbers mean that nothing else is.
        ensure!(
            NodeOfHotkey::<T>::iter_keys().count() == listed.len(),
            "stray hotkey"
        );
        ensure!(
            NodeOfPeer::<T>::iter_keys().count() == listed.len(),
            "stray peer id"
        );
        ensure!(
            RootNodeOf::<T>::iter_keys().count() == roots,
            "stray root node"
        );
        Ok(())
    }

    fn seats_make_the_coverage() -> Result<(), TryRuntimeError> {
        for (id, subnet) in Subnets::<T>::iter() {
            let manifest = Manifests::<T>::get(id).ok_or("subnet without manifest")?;
            let mut coverage = Coverage::bare(subnet.blocks);
            for member in Members::<T>::get(id) {
                let Some(seat) = Nodes::<T>::get(member).and_then(|node| node.seat) else {
                    continue;
                };
                ensure!(seat.node == member, "seat of another node");
                ensure!(
                    seat.span.check(subnet.blocks).is_ok(),
                    "seat outside the model"
                );
                ensure!(
                    manifest
                        .profiles
                        .iter()
                        .any(|profile| profile.digest() == seat.profile),
                    "seat with a foreign profile"
                );
                coverage.add(seat.span);
            }
            ensure!(
                CoverageOf::<T>::get(id) == Some(coverage.clone()),
                "coverage is miscounted"
            );
            let agrees = match subnet.status {
                Status::Uncovered => !coverage.is_complete(),
                Status::Active => coverage.is_complete(),
                Status::Paused => true,
            };
            ensure!(agrees, "state and coverage disagree");
        }
        for member in Members::<T>::get(ROOT_SUBNET) {
            let seat = Nodes::<T>::get(member).and_then(|node| node.seat);
            ensure!(seat.is_none(), "root node with a seat");
        }
        Ok(())
    }

    fn holds_are_the_deposits() -> Result<(), TryRuntimeError> {
        let mut deposits = BTreeMap::<T::AccountId, (Balance, Balance)>::new();
        for subnet in Subnets::<T>::iter_values() {
            let sum = &mut deposits.entry(subnet.creator).or_default().0;
            *sum = sum.checked_add(subnet.deposit).ok_or("deposits overflow")?;
        }
        for node in Nodes::<T>::iter_values() {
            let sum = &mut deposits.entry(node.coldkey).or_default().1;
            *sum = sum.checked_add(node.deposit).ok_or("deposits overflow")?;
        }
        for account in frame_system::Account::<T>::iter_keys() {
            let (registration, node) = deposits.remove(&account).unwrap_or_default();
            let held = |reason: HoldReason| T::Currency::balance_on_hold(&reason.into(), &account);
            ensure!(
                held(HoldReason::Registration) == registration,
                "hold of a subnet is off"
            );
            ensure!(held(HoldReason::Node) == node, "hold of a node is off");
        }
        ensure!(
            deposits.values().all(|sums| *sums == (0, 0)),
            "deposit of a missing account"
        );
        Ok(())
    }
}
