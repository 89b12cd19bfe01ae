//! Shares and rewards by numbers, and whatever the numbers are.

use super::*;
use proptest::prelude::*;
use quipu_primitives::money::QPU;

fn part(amount: Balance, shares: Shares) -> Part {
    Part { amount, shares }
}

fn pool(amount: Balance, shares: Shares) -> Pool<u64> {
    Pool {
        active: part(amount, shares),
        ..Default::default()
    }
}

#[test]
fn shares_are_minted_and_paid_rounded_down() {
    use ShareError::*;
    // Amount and shares before, what is added, and the shares for it.
    let cases: &[(Balance, Shares, Balance, Result<Shares, ShareError>)] = &[
        (0, 0, 1, Ok(1)),
        (0, 0, 0, Err(TooSmall)),
        (0, 0, Balance::MAX, Ok(Balance::MAX)),
        (100, 100, 50, Ok(50)),
        // After a slash of a half.
        (50, 100, 50, Ok(100)),
        (50, 100, 1, Ok(2)),
        // A share is worth more than one.
        (150, 100, 100, Ok(66)),
        (150, 100, 1, Err(TooSmall)),
        (0, 100, 50, Err(Wiped)),
        (1, MAX_DILUTION, 1, Ok(MAX_DILUTION)),
        (1, MAX_DILUTION + 1, 1, Err(Diluted)),
        (Balance::MAX, Balance::MAX, 1, Err(Diluted)),
        (1, 1, Balance::MAX, Err(Diluted)),
        (2, 4, Balance::MAX, Err(Diluted)),
    ];
    for (amount, shares, added, minted) in cases {
        let mut after = part(*amount, *shares);
        assert_eq!(after.deposit(*added), *minted, "{amount} {shares} {added}");
        let expected = match minted {
            Ok(minted) => part(amount + added, shares + minted),
            Err(_) => part(*amount, *shares),
        };
        assert_eq!(after, expected, "{amount} {shares} {added}");
    }

    // Amount and shares before, the shares that leave, and what is paid for them.
    for (amount, shares, leave, paid) in [
        (100, 100, 50, 50),
        (50, 100, 3, 1),
        (50, 100, 1, 0),
        (99, 100, 99, 98),
        // The last one takes what is left, and who has more shares than there are gets no more.
        (99, 100, 100, 99),
        (99, 100, Shares::MAX, 99),
        (0, 100, 50, 0),
        (0, 0, 50, 0),
        (
            Balance::MAX,
            Balance::MAX,
            Balance::MAX - 1,
            Balance::MAX - 1,
        ),
    ] {
        let mut after = part(amount, shares);
        assert_eq!(after.withdraw(leave), paid, "{amount} {shares} {leave}");
        assert_eq!(after, part(amount - paid, shares - leave.min(shares)));
    }
}

#[test]
fn a_cut_is_exact_and_costs_shares_rounded_up() {
    // Amount and shares before, the cut, the shares of who bears it, and what it costs of them.
    for (amount, shares, cut, of, cost) in [
        (100, 100, 10, 50, 10),
        (50, 100, 10, 50, 20),
        (150, 100, 10, 50, 7),
        (100, 100, 100, 100, 100),
        // All shares, but not all that they are worth: one stays.
        (100, 1, 50, 1, 0),
        (100, 3, 99, 3, 2),
        (0, 100, 10, 50, 0),
        (100, 100, 0, 50, 0),
    ] {
        let mut after = part(amount, shares);
        assert_eq!(after.cut(cut, of), cost, "{amount} {shares} {cut} {of}");
        let left = amount.saturating_sub(cut);
        assert_eq!(after, part(left, shares - cost));
    }
}

/// Mallory is first, makes a share as dear as she can, and waits for Vic. What she has in the pool
/// afterwards is no more than what she put in, but for the single units that rounding takes of Vic.
#[test]
fn the_first_one_gains_nothing_by_being_first() {
    let mut pool = part(0, 0);
    let mut mallory = pool.deposit(QPU).unwrap();
    // Money sent to the pot is no deposit: nothing that she can send changes the price of a share.
    // Deposits and withdrawals of odd amounts leave less than one unit each time.
    let mut put_in = QPU;
    for odd in 1..1_000u128 {
        let amount = QPU / 7 + odd;
        mallory += pool.deposit(amount).unwrap();
        let shares = pool.shares_for(amount - 1);
        mallory -= shares;
        put_in = put_in + amount - pool.withdraw(shares);
    }
    assert!(
        pool.amount - pool.shares <= 1_000,
        "the price is one to within rounding"
    );
    let vic = pool.deposit(2 * QPU - 1).unwrap();
    assert!(pool.value(vic) >= 2 * QPU - 3);
    assert!(pool.value(mallory) <= put_in);
}

#[test]
fn rewards_go_by_stake_and_the_owner_keeps_the_commission() {
    let percent = Perbill::from_percent;
    // Own, backing, commission, reward; then what delegators get, and what the owner gets.
    for (own, backing, commission, reward, delegators, owner) in [
        (100, 300, percent(0), 400, 300, 100),
        (100, 300, percent(10), 400, 270, 130),
        (100, 300, percent(100), 400, 0, 400),
        // Rounded down for delegators, up for the commission.
        (1, 2, percent(0), 100, 66, 34),
        (1, 2, percent(50), 50, 16, 34),
        // Nothing at stake: all for the owner.
        (0, 0, percent(0), 50, 0, 50),
        (100, 0, percent(0), 50, 0, 50),
        (0, 300, percent(0), 50, 49, 1),
        (0, 300, percent(0), 0, 0, 0),
    ] {
        let mut pool = pool(backing, backing);
        pool.commission = commission;
        let shared = pool.share_out(reward, own);
        assert!(
            shared == delegators || shared == delegators + 1,
            "{own} {backing} {reward}: {shared}"
        );
        assert_eq!(pool.owed, shared);
        assert_eq!(
            pool.owner_rewards,
            reward - shared,
            "{own} {backing} {reward}"
        );
        assert!(pool.owner_rewards == owner || pool.owner_rewards + 1 == owner);
    }
}

#[test]
fn a_closed_pool_earns_nothing_and_opens_once_it_is_empty() {
    let mut pool = pool(300, 300);
    pool.closed_at = Some(5);
    assert_eq!(pool.share_out(100, 100), 0);
    assert_eq!((pool.owner_rewards, pool.owed), (100, 0));
    assert_eq!((pool.backing(), pool.total()), (0, 300));
    pool.tidy();
    assert_eq!(pool.closed_at, Some(5));
    assert_eq!(pool.active.withdraw(300), 300);
    pool.owed = 2;
    pool.tidy();
    assert_eq!(
        (pool.closed_at, pool.owed, pool.owner_rewards),
        (None, 0, 102)
    );
    assert!(!pool.is_empty());
}

#[test]
fn a_full_sum_takes_no_more() {
    let mut full = pool(1, 1);
    full.reward_per_share = u128::MAX;
    assert_eq!(full.share_out(10, 0), 0);
    assert_eq!((full.owed, full.owner_rewards), (0, 10));
    // Nor what would not fit into it.
    let mut small = pool(1, 1);
    assert_eq!(small.share_out(Balance::MAX, 0), 0);
    assert_eq!(small.owner_rewards, Balance::MAX);
}

#[derive(Clone, Debug)]
enum Move {
    Deposit { who: usize, amount: Balance },
    Withdraw { who: usize, share: u32 },
    Slash { share: u32 },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let amount = || prop_oneof![1..1_000u128, 1..1_000_000 * QPU];
    let one = prop_oneof![
        4 => (0..4usize, amount()).prop_map(|(who, amount)| Move::Deposit { who, amount }),
        3 => (0..4usize, 1..=1_000_000_000u32).prop_map(|(who, share)| Move::Withdraw { who, share }),
        1 => (0..=1_000_000_000u32).prop_map(|share| Move::Slash { share }),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    /// Nobody's shares are worth less because somebody else comes or goes, and nobody takes out more
    /// than they are worth.
    #[test]
    fn nobody_gains_by_anothers_loss(moves in moves()) {
        let mut pool = part(0, 0);
        let mut held: [Shares; 4] = [0; 4];
        for step in moves {
            let before: Vec<_> = held.iter().map(|shares| pool.value(*shares)).collect();
            let mut moved = None;
            match step {
                Move::Deposit { who, amount } => {
                    if let Ok(shares) = pool.deposit(amount) {
                        held[who] += shares;
                        prop_assert!(pool.value(shares) <= amount);
                    }
                    moved = Some(who);
                }
                Move::Withdraw { who, share } => {
                    let shares = Perbill::from_parts(share).mul_ceil(held[who]);
                    let paid = pool.withdraw(shares);
                    held[who] -= shares;
                    prop_assert!(pool.shares == 0 || paid <= before[who]);
                    moved = Some(who);
                }
                Move::Slash { share } => {
                    pool.amount -= Perbill::from_parts(share).mul_ceil(pool.amount);
                }
            }
            prop_assert_eq!(held.iter().sum::<Shares>(), pool.shares);
            if let Some(moved) = moved {
                for other in (0..4).filter(|other| *other != moved) {
                    prop_assert!(pool.value(held[other]) >= before[other]);
                }
            }
            prop_assert!(pool.shares > 0 || pool.amount == 0);
        }
    }

    #[test]
    fn no_more_is_claimed_than_was_earned(
        stakes in prop::collection::vec(1..=1_000_000 * QPU, 1..6),
        own in 0..=1_000_000 * QPU,
        commission in 0..=1_000_000_000u32,
        rewards in prop::collection::vec(0..=100_000 * QPU, 0..10),
    ) {
        let all: Balance = stakes.iter().sum();
        let mut pool = pool(all, all);
        pool.commission = Perbill::from_parts(commission);
        for reward in &rewards {
            pool.share_out(*reward, own);
        }
        let claimed: Balance = stakes.iter().map(|shares| pool.earned(*shares, 0)).sum();
        prop_assert!(claimed <= pool.owed);
        prop_assert!(pool.owed - claimed <= (stakes.len() + rewards.len()) as u128);
        prop_assert_eq!(pool.owed + pool.owner_rewards, rewards.iter().sum::<Balance>());
    }

    #[test]
    fn a_cut_hits_nobody_else(
        amount in 1..=1_000_000 * QPU,
        shares in 1..=1_000_000 * QPU,
        of in 0..=1_000_000_000u32,
        cut in 0..=1_000_000_000u32,
    ) {
        let before = part(amount, shares);
        let of = Perbill::from_parts(of).mul_floor(shares);
        let cut = Perbill::from_parts(cut).mul_floor(before.value(of));
        let mut after = before;
        let cost = after.cut(cut, of);
        prop_assert_eq!(after.amount, before.amount - cut);
        prop_assert!(cost <= of);
        let others = shares - of;
        prop_assert!(after.value(others) >= before.value(others));
        prop_assert!(after.shares > 0 || after.amount == 0);
    }
}
