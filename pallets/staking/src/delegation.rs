//! What somebody has at stake for another's node, and what moved stake is still liable for. Pure
//! functions; those that fail leave what they change to be discarded.

use crate::{
    pool::{Part, Pool, ShareError, Shares},
    Config, Error,
};
use codec::{Decode, Encode, MaxEncodedLen};
use frame_support::{
    ensure, traits::Get, CloneNoBound, DebugNoBound, DefaultNoBound, EqNoBound, PartialEqNoBound,
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{Balance, NodeId};
use scale_info::TypeInfo;
use sp_runtime::{traits::Zero, BoundedVec, DispatchError, DispatchResult};

/// [`Pool`] with this runtime's types.
pub type PoolOf<T> = Pool<BlockNumberFor<T>>;
/// [`Lien`] with this runtime's types.
pub type LienOf<T> = Lien<BlockNumberFor<T>>;
/// The liens on a bond or on a delegation.
pub type LiensOf<T> = BoundedVec<LienOf<T>, <T as Config>::MaxMoves>;

/// Part of a delegation that was asked back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct LeavingChunk<BlockNumber> {
    /// Shares of what leaves the pool.
    pub shares: Shares,
    /// The block from which on it can be paid out.
    pub release_at: BlockNumber,
}

/// What was moved from another node and answers for what that one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Lien<BlockNumber> {
    /// The node for which it answers.
    pub from: NodeId,
    /// How much: shares of the active part of a pool, or of an owner's ledger an amount.
    pub amount: u128,
    /// The block from which on it is free, unless the node is charged with something by then.
    pub until: BlockNumber,
}

/// Where stake of a node went that still answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Departure<AccountId> {
    /// The node for which it is at stake.
    pub to: NodeId,
    /// Whose it is; the node's owner's where that is nobody.
    pub delegator: Option<AccountId>,
}

/// The stake that left a node and still answers for it.
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
pub struct Departures<T: Config> {
    /// Is the node charged with something? Then nothing of this is free before that is decided.
    pub charged: bool,
    /// Where it went, each once.
    pub list: BoundedVec<Departure<T::AccountId>, T::MaxMoves>,
}

/// What somebody has at stake for a node.
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
pub struct Delegation<T: Config> {
    /// Shares of the active part of the node's pool.
    pub shares: Shares,
    /// What a share of the pool had earned when `unclaimed` was brought up to date.
    pub since: u128,
    /// What was earned until then and not claimed.
    pub unclaimed: Balance,
    /// What was asked back, in the order of release.
    pub chunks: BoundedVec<LeavingChunk<BlockNumberFor<T>>, T::MaxUnbondingChunks>,
    /// What of the shares answers for other nodes.
    pub liens: LiensOf<T>,
}

impl<T: Config> Delegation<T> {
    /// Is nothing left of it, not even a reward?
    pub fn is_empty(&self) -> bool {
        self.is_over() && self.unclaimed.is_zero()
    }

    /// Is nothing at stake any more?
    pub fn is_over(&self) -> bool {
        self.shares.is_zero() && self.chunks.is_empty()
    }

    /// Brings what it earned up to date.
    pub fn settle(&mut self, pool: &PoolOf<T>) {
        let more = pool.earned(self.shares, self.since);
        self.unclaimed = self.unclaimed.saturating_add(more);
        self.since = pool.reward_per_share;
    }

    /// Shares of what leaves the pool.
    pub fn leaving(&self) -> Shares {
        self.chunks
            .iter()
            .fold(0, |sum, chunk| sum.saturating_add(chunk.shares))
    }

    /// Shares that answer for other nodes.
    pub fn liable(&self) -> Shares {
        total_of::<T>(&self.liens)
    }

    /// Takes `amount`, and by rounding less than a share more, out of the active part. Nothing may
    /// stay, or the least that may be delegated. Gives how much was taken.
    pub fn part_with(&mut self, active: &mut Part, amount: Balance) -> Result<Balance, Error<T>> {
        ensure!(!amount.is_zero(), Error::<T>::ZeroAmount);
        let value = active.value(self.shares);
        ensure!(amount <= value, Error::<T>::NotEnoughDelegated);
        let shares = match amount == value {
            true => self.shares,
            false => active.shares_for(amount).min(self.shares),
        };
        let free = self.shares.saturating_sub(self.liable());
        ensure!(shares <= free, Error::<T>::StillLiable);
        let taken = active.withdraw(shares);
        self.shares = self.shares.saturating_sub(shares);
        ensure!(
            self.shares.is_zero() || active.value(self.shares) >= T::MinDelegation::get(),
            Error::<T>::BelowMinDelegation
        );
        Ok(taken)
    }

    /// These shares of what leaves the pool wait for `release_at`.
    pub fn wait(&mut self, shares: Shares, release_at: BlockNumberFor<T>) -> DispatchResult {
        match self.chunks.last_mut() {
            Some(last) if last.release_at >= release_at => {
                last.shares = last.shares.saturating_add(shares);
            }
            _ => self
                .chunks
                .try_push(LeavingChunk { shares, release_at })
                .map_err(|_| Error::<T>::TooManyChunks)?,
        }
        Ok(())
    }

    /// Takes out the shares that are due, and says how many that are.
    pub fn withdraw(&mut self, now: BlockNumberFor<T>) -> Shares {
        let before = self.leaving();
        self.chunks.retain(|chunk| chunk.release_at > now);
        before.saturating_sub(self.leaving())
    }
}

/// All that answers for other nodes.
pub fn total_of<T: Config>(liens: &LiensOf<T>) -> u128 {
    liens
        .iter()
        .fold(0, |sum, lien| sum.saturating_add(lien.amount))
}

/// Adds to what answers for a node: all of it does so until `lien.until`.
pub fn add_lien<T: Config>(liens: &mut LiensOf<T>, lien: LienOf<T>) -> DispatchResult {
    match liens.iter_mut().find(|other| other.from == lien.from) {
        Some(same) => {
            same.amount = same.amount.saturating_add(lien.amount);
            same.until = same.until.max(lien.until);
        }
        None => liens.try_push(lien).map_err(|_| Error::<T>::TooManyMoves)?,
    }
    Ok(())
}

impl<T> From<ShareError> for Error<T> {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Wiped => Error::PoolWiped,
            ShareError::Diluted => Error::PoolDiluted,
            ShareError::TooSmall => Error::BelowMinDelegation,
        }
    }
}

impl<BlockNumber> Pool<BlockNumber> {
    /// Adds to the active part, and gives the shares for it.
    pub(crate) fn take_in<T: Config>(&mut self, amount: Balance) -> Result<Shares, DispatchError> {
        self.active
            .deposit(amount)
            .map_err(|error| Error::<T>::from(error).into())
    }
}
