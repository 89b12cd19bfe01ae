//! Stories of what nodes earn, and who gets it.

use super::{delegation::*, *};

fn claim(who: u8, node: NodeId) -> DispatchResult {
    run(who, Call::claim { node })
}

fn claim_own(who: u8, node: NodeId) -> DispatchResult {
    run(who, Call::claim_own { node })
}

fn set_commission(who: u8, node: NodeId, percent: u32) -> DispatchResult {
    let commission = Perbill::from_percent(percent);
    run(who, Call::set_commission { node, commission })
}

#[test]
fn what_a_node_earns_is_shared_by_stake() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(delegate(4, 11, 400));
        earn(11, 2_000);
        // Seen before anybody does anything.
        assert_eq!(Staking::rewards_of(11), 1_000);
        let info = Staking::delegation_of(11, &acc(3)).unwrap();
        assert_eq!((info.amount, info.rewards), (600, 600));
        let before = pool(11);
        assert_noop!(claim(5, 11), Error::<Test>::NotDelegated);
        assert_noop!(claim_own(3, 11), Error::<Test>::NotOwner);
        assert_noop!(claim_own(1, 77), Error::<Test>::NoSuchNode);
        assert_eq!(pool(11), before);
        assert_ok!(claim(3, 11));
        assert_eq!(
            events()[events().len() - 2..],
            [
                Event::RewardShared {
                    node: 11,
                    to_owner: 1_000,
                    to_delegators: 1_000
                },
                Event::RewardClaimed {
                    node: 11,
                    delegator: acc(3),
                    amount: 600
                }
            ]
        );
        assert_noop!(claim(3, 11), Error::<Test>::NothingToClaim);
        assert_ok!(claim_own(1, 11));
        assert_eq!(
            last_event(),
            Event::OwnRewardClaimed {
                node: 11,
                coldkey: acc(1),
                amount: 1_000
            }
        );
        assert_noop!(claim_own(1, 11), Error::<Test>::NothingToClaim);
        assert_eq!(Balances::balance(&acc(3)), RICH);
        assert_ok!(claim(4, 11));
        assert_eq!(Balances::balance(&Staking::pot()), ED + 1_000);
    });
}

#[test]
fn who_comes_later_has_nothing_of_what_was_earned_before() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 1_000));
        earn(11, 200);
        assert_ok!(delegate(4, 11, 1_000));
        assert_noop!(claim(4, 11), Error::<Test>::NothingToClaim);
        earn(11, 300);
        // Who leaves has what was earned until then, and no more.
        assert_ok!(undelegate(3, 11, 1_000));
        earn(11, 400);
        assert_ok!(claim(3, 11));
        assert_ok!(claim(4, 11));
        assert_eq!(Balances::balance(&acc(3)), RICH - 1_000 + 100 + 100);
        assert_eq!(Balances::balance(&acc(4)), RICH - 1_000 + 100 + 200);
        assert_eq!(Staking::rewards_of(11), 100 + 100 + 200);
        // The last payment takes along what was earned.
        assert_ok!(undelegate(4, 11, 1_000));
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(3, 11));
        assert_ok!(withdraw_delegation(4, 11));
        assert_eq!(pool(11).delegators, 0);
    });
}

#[test]
fn a_node_without_delegators_earns_for_its_owner() {
    bonded().execute_with(|| {
        assert_eq!(earning_stake(11), 1_000);
        earn(11, 70);
        assert_ok!(unbond(1, 11, 501));
        // Too little for a seat, so it earns nothing more.
        assert_eq!(earning_stake(11), 0);
        assert_eq!(Staking::rewards_of(11), 70);
        assert_ok!(unbond(1, 11, 499));
        run_to(1 + PERIOD);
        // What was earned and not claimed keeps the node, and goes with the last of the bond.
        assert!(!Staking::is_free(11));
        assert_ok!(withdraw(9, 11));
        System::assert_last_event(
            Event::OwnRewardClaimed {
                node: 11,
                coldkey: acc(1),
                amount: 70,
            }
            .into(),
        );
        assert!(Staking::is_free(11));
        assert_noop!(claim_own(1, 11), Error::<Test>::NothingToClaim);
    });
}

#[test]
fn delegation_earns_only_beside_an_owner_with_enough() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 5_000));
        assert_eq!(earning_stake(11), 6_000);
        assert_ok!(unbond(1, 11, 501));
        assert_eq!(earning_stake(11), 0);
        assert_ok!(bond(1, 11, 1));
        assert_eq!(earning_stake(11), 5_500);
        charge(11, 1);
        assert_eq!(earning_stake(11), 0);
        acquit(11);
        assert_eq!(earning_stake(11), 5_500);
    });
}

#[test]
fn the_owner_of_the_moment_is_paid() {
    bonded().execute_with(|| {
        earn(11, 70);
        assert_ok!(bond(1, 11, 1));
        add_node(11, 1, acc(2));
        assert_ok!(Staking::coldkey_swapped(11, &acc(1), &acc(2)));
        earn(11, 30);
        assert_noop!(claim_own(1, 11), Error::<Test>::NotOwner);
        assert_ok!(claim_own(2, 11));
        assert_eq!(Balances::balance(&acc(2)), RICH + 100);
    });
}

#[test]
fn a_commission_is_raised_step_by_step_and_lowered_at_once() {
    bonded().execute_with(|| {
        assert_noop!(set_commission(1, 77, 5), Error::<Test>::NoSuchNode);
        assert_noop!(set_commission(2, 11, 5), Error::<Test>::NotOwner);
        assert_noop!(set_commission(2, 12, 5), Error::<Test>::NotBonded);
        assert_noop!(set_commission(1, 11, 51), Error::<Test>::CommissionTooHigh);
        assert_noop!(set_commission(1, 11, 100), Error::<Test>::CommissionTooHigh);
        assert_noop!(set_commission(1, 11, 11), Error::<Test>::RaiseTooLarge);
        assert_noop!(set_commission(1, 11, 0), Error::<Test>::SameCommission);
        assert_ok!(delegate(3, 11, 1_000));
        earn(11, 200);
        assert_ok!(set_commission(1, 11, 10));
        assert_eq!(
            last_event(),
            Event::CommissionSet {
                node: 11,
                commission: Perbill::from_percent(10)
            }
        );
        // What was earned before is shared out on the old terms.
        assert_eq!((pool(11).owed, pool(11).owner_rewards), (100, 100));
        earn(11, 200);
        assert_ok!(claim(3, 11));
        assert_eq!(Balances::balance(&acc(3)), RICH - 1_000 + 190);

        assert_noop!(set_commission(1, 11, 11), Error::<Test>::RaiseTooSoon);
        assert_ok!(set_commission(1, 11, 4));
        assert_noop!(set_commission(1, 11, 5), Error::<Test>::RaiseTooSoon);
        run_to(COMMISSION_PERIOD);
        assert_noop!(set_commission(1, 11, 5), Error::<Test>::RaiseTooSoon);
        run_to(1 + COMMISSION_PERIOD);
        assert_noop!(set_commission(1, 11, 15), Error::<Test>::RaiseTooLarge);
        assert_ok!(set_commission(1, 11, 14));
        assert_eq!(
            Perbill::from_parts(Staking::pool_of(11).unwrap().commission_parts),
            Perbill::from_percent(14)
        );
    });
}

#[test]
fn the_terms_are_gone_with_the_stake() {
    bonded().execute_with(|| {
        assert_ok!(set_commission(1, 11, 10));
        assert_ok!(unbond(1, 11, 1_000));
        assert!(Pools::<Test>::contains_key(11));
        run_to(1 + PERIOD);
        assert_ok!(withdraw(1, 11));
        assert!(Staking::is_free(11));
        assert!(Staking::pool_of(11).is_none());
    });
}
