//! What others have at stake for a node: shares of its pool, and what they earn. Pure functions; those
//! that fail leave their part as it was.

use codec::{Decode, Encode, MaxEncodedLen};
use quipu_primitives::Balance;
use scale_info::TypeInfo;
use sp_runtime::{
    helpers_128bit::multiply_by_rational_with_rounding, traits::Zero, Perbill, Rounding,
};

/// What [`Pool::reward_per_share`] counts in: 10⁻¹⁸ of the smallest unit of QPU.
pub const SCALE: u128 = 1_000_000_000_000_000_000;

/// Most shares for each unit of money with which a part takes more: it has lost all but a millionth.
pub const MAX_DILUTION: u128 = 1_000_000;

/// Shares of a part.
pub type Shares = u128;

/// Why a part takes nothing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareError {
    /// Nothing is left of it, but somebody still has shares.
    Wiped,
    /// It lost so much that what is added could not be counted in shares.
    Diluted,
    /// It is less than a share.
    TooSmall,
}

/// Money that belongs to those who have shares of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Part {
    /// How much. Only deposits, withdrawals and slashes change it.
    pub amount: Balance,
    /// The shares of it.
    pub shares: Shares,
}

impl Part {
    /// What so many shares are worth, rounded down.
    pub fn value(&self, shares: Shares) -> Balance {
        scaled(shares, self.amount, self.shares, Rounding::Down).unwrap_or(0)
    }

    /// The fewest shares that are worth `amount`.
    pub fn shares_for(&self, amount: Balance) -> Shares {
        scaled(amount, self.shares, self.amount, Rounding::Up).unwrap_or(Shares::MAX)
    }

    /// Has it shares, but nothing that they are worth?
    pub fn is_wiped(&self) -> bool {
        self.amount.is_zero() && !self.shares.is_zero()
    }

    /// Adds `amount`, and gives the shares for it, rounded down.
    pub fn deposit(&mut self, amount: Balance) -> Result<Shares, ShareError> {
        if self.is_wiped() {
            return Err(ShareError::Wiped);
        }
        let shares = if self.shares.is_zero() {
            amount
        } else if self.shares > self.amount.saturating_mul(MAX_DILUTION) {
            return Err(ShareError::Diluted);
        } else {
            scaled(amount, self.shares, self.amount, Rounding::Down).ok_or(ShareError::Diluted)?
        };
        if shares.is_zero() {
            return Err(ShareError::TooSmall);
        }
        let all = self.shares.checked_add(shares).ok_or(ShareError::Diluted)?;
        self.amount = self.amount.checked_add(amount).ok_or(ShareError::Diluted)?;
        self.shares = all;
        Ok(shares)
    }

    /// Takes shares out, and gives what they are worth, rounded down: all to the last one.
    pub fn withdraw(&mut self, shares: Shares) -> Balance {
        let shares = shares.min(self.shares);
        let amount = match shares == self.shares {
            true => self.amount,
            false => self.value(shares),
        };
        self.shares = self.shares.saturating_sub(shares);
        self.amount = self.amount.saturating_sub(amount);
        amount
    }

    /// Takes exactly `amount` at the expense of who has `shares`, and gives how many of these that
    /// costs, rounded up. `amount` is at most what they are worth.
    pub fn cut(&mut self, amount: Balance, shares: Shares) -> Shares {
        let amount = amount.min(self.amount);
        if amount.is_zero() {
            return 0;
        }
        let mut cost = self.shares_for(amount).min(shares).min(self.shares);
        self.amount = self.amount.saturating_sub(amount);
        if !self.amount.is_zero() {
            // What is left belongs to somebody: who has all shares keeps one.
            cost = cost.min(self.shares.saturating_sub(1));
        }
        self.shares = self.shares.saturating_sub(cost);
        cost
    }
}

/// What others than its owner have at stake for a node, and what it earned that nobody claimed yet.
/// All money in it lies in the pot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Pool<BlockNumber> {
    /// What is delegated and not asked back.
    pub active: Part,
    /// What was asked back and waits for its release; slashed like the rest.
    pub leaving: Part,
    /// How many delegations there are.
    pub delegators: u32,
    /// What a share of `active` earned since the pool began, times [`SCALE`].
    pub reward_per_share: u128,
    /// Rewards for delegators, at least the sum of what each of them may claim.
    pub owed: Balance,
    /// Rewards for the node's owner.
    pub owner_rewards: Balance,
    /// The share of the delegators' rewards that the owner keeps.
    pub commission: Perbill,
    /// The block in which that was last raised.
    pub raised_at: Option<BlockNumber>,
    /// The block in which all of `active` was asked back at once. A closed pool takes nothing in.
    pub closed_at: Option<BlockNumber>,
}

impl<BlockNumber> Default for Pool<BlockNumber> {
    fn default() -> Self {
        Self {
            active: Part::default(),
            leaving: Part::default(),
            delegators: 0,
            reward_per_share: 0,
            owed: 0,
            owner_rewards: 0,
            commission: Perbill::zero(),
            raised_at: None,
            closed_at: None,
        }
    }
}

impl<BlockNumber> Pool<BlockNumber> {
    /// What is delegated and not asked back, by its delegators or by closing the pool.
    pub fn backing(&self) -> Balance {
        match self.closed_at {
            Some(_) => 0,
            None => self.active.amount,
        }
    }

    /// All that can be slashed.
    pub fn total(&self) -> Balance {
        self.active.amount.saturating_add(self.leaving.amount)
    }

    /// All that lies in the pot.
    pub fn in_pot(&self) -> Balance {
        self.total()
            .saturating_add(self.owed)
            .saturating_add(self.owner_rewards)
    }

    /// Has nobody anything in it?
    pub fn is_empty(&self) -> bool {
        self.delegators.is_zero() && self.in_pot().is_zero()
    }

    /// Shares out what the node earned with `own` of its owner beside the [backing](Self::backing):
    /// to delegators by their part of both, rounded down, without the commission, rounded up; the
    /// rest to the owner. Gives what delegators get together.
    pub fn share_out(&mut self, reward: Balance, own: Balance) -> Balance {
        let backing = self.backing();
        let at_stake = own.saturating_add(backing);
        let part = scaled(reward, backing, at_stake, Rounding::Down).unwrap_or(0);
        let part = part.saturating_sub(self.commission.mul_ceil(part));
        let to_delegators = self.raise(part);
        self.owed = self.owed.saturating_add(to_delegators);
        self.owner_rewards = self
            .owner_rewards
            .saturating_add(reward.saturating_sub(to_delegators));
        to_delegators
    }

    /// Raises what each share earned by its part of `amount`, rounded down, and gives how much that is
    /// for all shares, rounded up. A sum that is full takes no more.
    fn raise(&mut self, amount: Balance) -> Balance {
        let rise = scaled(amount, SCALE, self.active.shares, Rounding::Down);
        let Some((rise, sum)) =
            rise.and_then(|rise| Some((rise, self.reward_per_share.checked_add(rise)?)))
        else {
            return 0;
        };
        self.reward_per_share = sum;
        // No more than `amount`, since the rise was rounded down.
        scaled(rise, self.active.shares, SCALE, Rounding::Up)
            .unwrap_or(0)
            .min(amount)
    }

    /// What so many shares earned since each had earned `since`, rounded down.
    pub fn earned(&self, shares: Shares, since: u128) -> Balance {
        let rise = self.reward_per_share.saturating_sub(since);
        scaled(rise, shares, SCALE, Rounding::Down).unwrap_or(0)
    }

    /// Once nobody has shares, a pool is open again, and what rounding left of the rewards of those
    /// who are gone is the owner's.
    pub fn tidy(&mut self) {
        if self.active.shares.is_zero() {
            self.closed_at = None;
        }
        if self.delegators.is_zero() {
            self.owner_rewards = self.owner_rewards.saturating_add(self.owed);
            (self.owed, self.reward_per_share) = (0, 0);
        }
    }
}

/// Takes `amount`, or all where there is less, from all parts in proportion. Each is rounded up as
/// long as something is left to take, so that the first ones bear what rounding costs. Says how much
/// was taken.
pub fn spread<'a>(
    parts: impl Iterator<Item = &'a mut Balance>,
    total: Balance,
    amount: Balance,
) -> Balance {
    let amount = amount.min(total);
    // Of the parts not yet looked at: what they hold, and what is still to be taken of them.
    let (mut held, mut missing) = (total, amount);
    for part in parts {
        // `missing` never exceeds `held`, so no cut exceeds its part.
        let cut = scaled(*part, missing, held, Rounding::Up)
            .unwrap_or_default()
            .min(*part)
            .min(missing);
        held = held.saturating_sub(*part);
        missing = missing.saturating_sub(cut);
        *part = part.saturating_sub(cut);
    }
    amount.saturating_sub(missing)
}

/// `a` × `b` / `c`; `None` where that is no number or too large.
pub(crate) fn scaled(a: u128, b: u128, c: u128, rounding: Rounding) -> Option<u128> {
    multiply_by_rational_with_rounding(a, b, c, rounding)
}

#[cfg(test)]
mod tests;
