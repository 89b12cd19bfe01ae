//! What the pallet stores, the pure functions on it, and the traits it asks of the runtime.

use crate::{pool::spread, Config, Error};
use codec::{Decode, Encode, MaxEncodedLen};
use frame_support::{
    ensure, traits::Get, CloneNoBound, DebugNoBound, DefaultNoBound, EqNoBound, PartialEqNoBound,
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::Balance;
use scale_info::TypeInfo;
use sp_runtime::{traits::Zero, ArithmeticError, BoundedVec, DispatchResult, Perbill};
use sp_staking::{EraIndex, SessionIndex};

/// Part of a bond that was asked back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Chunk<BlockNumber> {
    /// How much.
    pub amount: Balance,
    /// The block from which on it can be paid out.
    pub release_at: BlockNumber,
}

/// What a node's owner has at stake for it. All functions are pure; those that fail leave the
/// ledger as it was or must be discarded.
#[derive(
    CloneNoBound,
    DebugNoBound,
    DefaultNoBound,
    PartialEqNoBound,
    EqNoBound,
    Encode,
    Decode,
    MaxEncodedLen,
    TypeInfo,
)]
#[scale_info(skip_type_params(T))]
pub struct Ledger<T: Config> {
    /// The self-bond: bonded, and not asked back.
    pub own: Balance,
    /// What was asked back, in the order of release; slashed like the self-bond.
    pub unbonding: BoundedVec<Chunk<BlockNumberFor<T>>, T::MaxUnbondingChunks>,
    /// Is the node kept from election until its owner asks for it again?
    pub chilled: bool,
}

impl<T: Config> Ledger<T> {
    /// Is nothing left in it?
    pub fn is_empty(&self) -> bool {
        self.own.is_zero() && self.unbonding.is_empty()
    }

    /// What waits for release.
    pub fn waiting(&self) -> Balance {
        self.unbonding
            .iter()
            .fold(0, |sum, chunk| sum.saturating_add(chunk.amount))
    }

    /// All that is in it.
    pub fn total(&self) -> Balance {
        self.own.saturating_add(self.waiting())
    }

    /// Adds to the self-bond.
    pub fn bond(&mut self, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        self.own = self
            .own
            .checked_add(amount)
            .ok_or(ArithmeticError::Overflow)?;
        self.check_minimum()
    }

    /// Takes out of the self-bond.
    pub fn lower(&mut self, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        self.own = self
            .own
            .checked_sub(amount)
            .ok_or(Error::<T>::NotEnoughBonded)?;
        self.check_minimum()
    }

    /// Moves part of the self-bond to where it waits for `release_at`.
    pub fn unbond(&mut self, amount: Balance, release_at: BlockNumberFor<T>) -> DispatchResult {
        self.lower(amount)?;
        match self
            .unbonding
            .binary_search_by_key(&release_at, |chunk| chunk.release_at)
        {
            Ok(same_block) => {
                if let Some(chunk) = self.unbonding.get_mut(same_block) {
                    chunk.amount = chunk
                        .amount
                        .checked_add(amount)
                        .ok_or(ArithmeticError::Overflow)?;
                }
            }
            Err(place) => self
                .unbonding
                .try_insert(place, Chunk { amount, release_at })
                .map_err(|_| Error::<T>::TooManyChunks)?,
        }
        Ok(())
    }

    /// Moves the whole self-bond to where it waits for `release_at`, and gives how much that is. Where
    /// there is no room, the last chunk waits along with it.
    pub fn unbond_all(&mut self, release_at: BlockNumberFor<T>) -> Balance {
        let amount = core::mem::take(&mut self.own);
        if amount.is_zero() {
            return amount;
        }
        let is_full = self.unbonding.is_full();
        match self.unbonding.last_mut() {
            Some(last) if is_full || last.release_at >= release_at => {
                last.amount = last.amount.saturating_add(amount);
                last.release_at = last.release_at.max(release_at);
            }
            // There is room.
            _ => {
                let _ = self.unbonding.try_push(Chunk { amount, release_at });
            }
        }
        amount
    }

    /// Bonds again what waits, of what would wait longest first.
    pub fn rebond(&mut self, amount: Balance) -> DispatchResult {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        ensure!(amount <= self.waiting(), Error::<T>::NotEnoughUnbonding);
        let mut missing = amount;
        for chunk in self.unbonding.iter_mut().rev() {
            let part = chunk.amount.min(missing);
            chunk.amount = chunk.amount.saturating_sub(part);
            missing = missing.saturating_sub(part);
        }
        self.unbonding.retain(|chunk| !chunk.amount.is_zero());
        self.bond(amount)
    }

    /// Takes out what is due, and says how much that is.
    pub fn withdraw(&mut self, now: BlockNumberFor<T>) -> Balance {
        let before = self.waiting();
        self.unbonding.retain(|chunk| chunk.release_at > now);
        before.saturating_sub(self.waiting())
    }

    /// Takes `amount`, or all where there is less, from the self-bond and from every chunk in
    /// proportion. Each part is rounded up as long as something is left to take. Says how much
    /// was taken.
    pub fn slash(&mut self, amount: Balance) -> Balance {
        let total = self.total();
        let taken = spread(self.parts(), total, amount);
        self.drop_empty();
        taken
    }

    /// Takes `amount`, or all where there is less, from the self-bond, and what is missing there from
    /// what would wait longest.
    pub fn take_last(&mut self, amount: Balance) {
        let mut missing = amount;
        let chunks = self.unbonding.iter_mut().rev();
        let parts = core::iter::once(&mut self.own).chain(chunks.map(|chunk| &mut chunk.amount));
        for part in parts {
            let cut = missing.min(*part);
            *part = part.saturating_sub(cut);
            missing = missing.saturating_sub(cut);
        }
        self.drop_empty();
    }

    /// The self-bond and the chunks, in the order in which a slash looks at them.
    pub fn parts(&mut self) -> impl Iterator<Item = &mut Balance> {
        core::iter::once(&mut self.own)
            .chain(self.unbonding.iter_mut().map(|chunk| &mut chunk.amount))
    }

    /// Forgets chunks of which nothing is left.
    pub fn drop_empty(&mut self) {
        self.unbonding.retain(|chunk| !chunk.amount.is_zero());
    }

    /// No dust is left bonded.
    fn check_minimum(&self) -> DispatchResult {
        match self.own.is_zero() || self.own >= T::MinBond::get() {
            true => Ok(()),
            false => Err(Error::<T>::BelowMinBond.into()),
        }
    }
}

/// An era by its number and its first session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Era {
    /// Counts from 0.
    pub index: EraIndex,
    /// The session with which it starts.
    pub first_session: SessionIndex,
}

/// What the pallet asks of the pallet that runs the sessions; `pallet_session::Pallet` is one.
pub trait Sessions<AccountId> {
    /// Has the validator set its session keys?
    fn has_keys(validator: &AccountId) -> bool;
    /// Lets an active validator take no further part in this session, as far as too many are not
    /// out already. `severity` says whom to let back in if so.
    fn disable(validator: AccountId, severity: Perbill);
    /// Forgets the validators of sessions before this one.
    fn prune_up_to(session: SessionIndex);
}

impl<T> Sessions<T::AccountId> for pallet_session::Pallet<T>
where
    T: pallet_session::Config<ValidatorId = <T as frame_system::Config>::AccountId>
        + pallet_session::historical::Config,
{
    fn has_keys(validator: &T::AccountId) -> bool {
        pallet_session::NextKeys::<T>::contains_key(validator)
    }

    fn disable(validator: T::AccountId, severity: Perbill) {
        Self::report_offence(validator, sp_staking::offence::OffenceSeverity(severity));
    }

    fn prune_up_to(session: SessionIndex) {
        pallet_session::historical::Pallet::<T>::prune_up_to(session);
    }
}

/// What the pallet's benchmarks need from the rest of the runtime.
#[cfg(feature = "runtime-benchmarks")]
pub trait BenchmarkHelper<AccountId> {
    /// Registers a node of the root subnet for this coldkey.
    fn root_node(coldkey: &AccountId) -> quipu_primitives::NodeId;
    /// Registers a node for this coldkey in a subnet of the largest model.
    fn server(coldkey: &AccountId) -> quipu_primitives::NodeId;
    /// Gives a bonded server a seat on every block.
    fn seat(server: quipu_primitives::NodeId);
    /// Lets a node earn something by its stake, where the runtime can.
    fn earn(_node: quipu_primitives::NodeId) {}
    /// Sets the session keys of a root node.
    fn set_keys(root_node: quipu_primitives::NodeId);
    /// Makes these the validators of the running session.
    fn run_session_of(validators: alloc::vec::Vec<AccountId>);
    /// Most root nodes there can be beside those there are already.
    fn room_for_root_nodes() -> u32;
}
