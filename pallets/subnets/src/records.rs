//! The only writer of the nodes' records and of the indices over them.

use crate::{
    types::*, Config, Error, FormerHotkeys, Members, NodeOfHotkey, NodeOfPeer, Nodes, RootNodeOf,
};
use core::marker::PhantomData;
use frame_support::traits::Get;
use quipu_primitives::{NodeId, ROOT_SUBNET};
use sp_runtime::{traits::Saturating, DispatchError, DispatchResult};

/// Owner of `Nodes`, `Members`, `NodeOfHotkey`, `FormerHotkeys`, `NodeOfPeer` and `RootNodeOf`: each
/// of its functions leaves them in agreement.
pub(crate) struct NodeBook<T>(PhantomData<T>);

impl<T: Config> NodeBook<T> {
    /// The record of a node.
    pub fn get(id: NodeId) -> Result<Node<T::AccountId>, Error<T>> {
        Nodes::<T>::get(id).ok_or(Error::<T>::NoSuchNode)
    }

    /// Writes what is not indexed: the seat.
    pub fn set_seat(id: NodeId, node: &Node<T::AccountId>) {
        Nodes::<T>::insert(id, node);
    }

    /// Takes a new node on the books.
    pub fn insert(id: NodeId, node: &Node<T::AccountId>) -> DispatchResult {
        Self::free_hotkey(&node.hotkey)?;
        Self::free_peer_id(&node.peer_id)?;
        Self::free_coldkey(node, &node.coldkey)?;
        Members::<T>::try_mutate(node.subnet, |members| members.try_push(id))
            .map_err(|_| Error::<T>::SubnetFull)?;
        NodeOfHotkey::<T>::insert(&node.hotkey, id);
        NodeOfPeer::<T>::insert(&node.peer_id, id);
        if node.subnet == ROOT_SUBNET {
            RootNodeOf::<T>::insert(&node.coldkey, id);
        }
        Nodes::<T>::insert(id, node);
        Ok(())
    }

    /// Strikes a node off the books.
    pub fn remove(id: NodeId, node: &Node<T::AccountId>) {
        Members::<T>::mutate_exists(node.subnet, |slot| {
            if let Some(members) = slot {
                members.retain(|member| *member != id);
                if members.is_empty() {
                    *slot = None;
                }
            }
        });
        NodeOfHotkey::<T>::remove(&node.hotkey);
        FormerHotkeys::<T>::remove(id);
        NodeOfPeer::<T>::remove(&node.peer_id);
        if node.subnet == ROOT_SUBNET {
            RootNodeOf::<T>::remove(&node.coldkey);
        }
        Nodes::<T>::remove(id);
    }

    /// Gives a node another hotkey.
    pub fn set_hotkey(
        id: NodeId,
        node: &mut Node<T::AccountId>,
        hotkey: T::AccountId,
    ) -> DispatchResult {
        Self::free_hotkey(&hotkey)?;
        let now = frame_system::Pallet::<T>::block_number();
        FormerHotkeys::<T>::try_mutate(id, |former| {
            former.retain(|(_, until)| now.saturating_sub(*until) <= T::HotkeyRetention::get());
            former.try_push((node.hotkey.clone(), now))
        })
        .map_err(|_| Error::<T>::TooManyHotkeys)?;
        NodeOfHotkey::<T>::remove(&node.hotkey);
        NodeOfHotkey::<T>::insert(&hotkey, id);
        node.hotkey = hotkey;
        Nodes::<T>::insert(id, node);
        Ok(())
    }

    /// Gives a node another peer id.
    pub fn set_peer_id(
        id: NodeId,
        node: &mut Node<T::AccountId>,
        peer_id: PeerId,
    ) -> DispatchResult {
        Self::free_peer_id(&peer_id)?;
        NodeOfPeer::<T>::remove(&node.peer_id);
        NodeOfPeer::<T>::insert(&peer_id, id);
        node.peer_id = peer_id;
        Nodes::<T>::insert(id, node);
        Ok(())
    }

    /// Gives a node another owner.
    pub fn set_coldkey(
        id: NodeId,
        node: &mut Node<T::AccountId>,
        coldkey: T::AccountId,
    ) -> DispatchResult {
        Self::free_coldkey(node, &coldkey)?;
        if node.subnet == ROOT_SUBNET {
            RootNodeOf::<T>::remove(&node.coldkey);
            RootNodeOf::<T>::insert(&coldkey, id);
        }
        node.coldkey = coldkey;
        Nodes::<T>::insert(id, node);
        Ok(())
    }

    fn free_hotkey(hotkey: &T::AccountId) -> Result<(), DispatchError> {
        match NodeOfHotkey::<T>::contains_key(hotkey) {
            true => Err(Error::<T>::HotkeyInUse.into()),
            false => Ok(()),
        }
    }

    fn free_peer_id(peer_id: &PeerId) -> Result<(), DispatchError> {
        if !is_peer_id(peer_id) {
            return Err(Error::<T>::BadPeerId.into());
        }
        match NodeOfPeer::<T>::contains_key(peer_id) {
            true => Err(Error::<T>::PeerIdInUse.into()),
            false => Ok(()),
        }
    }

    /// A coldkey owns at most one root node.
    fn free_coldkey(node: &Node<T::AccountId>, coldkey: &T::AccountId) -> DispatchResult {
        match node.subnet == ROOT_SUBNET && RootNodeOf::<T>::contains_key(coldkey) {
            true => Err(Error::<T>::ColdkeyHasRootNode.into()),
            false => Ok(()),
        }
    }
}
