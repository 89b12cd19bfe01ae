//! Stories of those who back others' nodes.

use super::*;
use frame_support::traits::fungible::Mutate;

pub fn delegate(who: u8, node: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::delegate { node, amount })
}

pub fn undelegate(who: u8, node: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::undelegate { node, amount })
}

/// A stranger has a delegator's money paid out.
pub fn withdraw_delegation(who: u8, node: NodeId) -> DispatchResult {
    let delegator = acc(who);
    run(9, Call::withdraw_delegation { node, delegator })
}

pub fn release(who: u8, node: NodeId) -> DispatchResult {
    let delegator = acc(who);
    run(9, Call::release_delegator { node, delegator })
}

pub fn pool(node: NodeId) -> PoolOf<Test> {
    Pools::<Test>::get(node).unwrap_or_default()
}

/// What somebody has at stake for a node, and what of it was asked back.
pub fn position(who: u8, node: NodeId) -> (Balance, Balance) {
    Staking::delegation_of(node, &acc(who)).map_or((0, 0), |info| {
        let leaving = info.chunks.iter().map(|chunk| chunk.amount).sum();
        (info.amount, leaving)
    })
}

/// Sam owns node 11 and bonded 1,000 for it; Dora and Dan are accounts 3 and 4.
pub fn bonded() -> sp_io::TestExternalities {
    let mut ext = new_test_ext();
    ext.execute_with(|| {
        assert_ok!(bond(1, 11, 1_000));
        Told::set(vec![]);
    });
    ext
}

#[test]
fn somebody_backs_a_node_and_gets_it_back() {
    bonded().execute_with(|| {
        assert_noop!(delegate(3, 77, 500), Error::<Test>::NoSuchNode);
        assert_noop!(delegate(3, 12, 500), Error::<Test>::NotBonded);
        let little = MIN_DELEGATION - 1;
        assert_noop!(delegate(3, 11, little), Error::<Test>::BelowMinDelegation);
        assert_noop!(delegate(3, 11, 0), Error::<Test>::BelowMinDelegation);
        assert_noop!(delegate(3, 11, Balance::MAX), TokenError::FundsUnavailable);
        // The account stays alive beside what it delegates.
        let all = RICH - ED + 1;
        assert_noop!(delegate(3, 11, all), TokenError::FundsUnavailable);
        assert_ok!(delegate(3, 11, 600));
        assert_eq!(
            last_event(),
            Event::Delegated {
                node: 11,
                delegator: acc(3),
                amount: 600,
                shares: 600
            }
        );
        assert_ok!(delegate(3, 11, 100));
        assert_ok!(delegate(4, 11, 300));
        assert_noop!(delegate(4, 11, Balance::MAX), TokenError::FundsUnavailable);
        assert_eq!(Balances::balance(&acc(3)), RICH - 700);
        assert_eq!(Balances::balance(&Staking::pot()), ED + 1_000);
        assert_eq!((pool(11).active.amount, pool(11).delegators), (1_000, 2));
        assert_eq!(TotalDelegated::<Test>::get(), 1_000);
        // It is no self-bond, but it earns.
        assert_eq!((Staking::self_bond(11), earning_stake(11)), (1_000, 2_000));
        assert!(Told::get().is_empty());

        assert_noop!(undelegate(5, 11, 100), Error::<Test>::NotDelegated);
        assert_noop!(undelegate(3, 11, 0), Error::<Test>::ZeroAmount);
        assert_noop!(undelegate(3, 11, 701), Error::<Test>::NotEnoughDelegated);
        assert_noop!(
            undelegate(3, 11, Balance::MAX),
            Error::<Test>::NotEnoughDelegated
        );
        // Dust is not left.
        assert_noop!(undelegate(3, 11, 651), Error::<Test>::BelowMinDelegation);
        assert_ok!(undelegate(3, 11, 650));
        assert_eq!(
            last_event(),
            Event::Undelegated {
                node: 11,
                delegator: acc(3),
                amount: 650,
                release_at: 1 + PERIOD
            }
        );
        assert_ok!(undelegate(3, 11, 50));
        // One block, one chunk.
        assert_eq!(
            Delegations::<Test>::get(11, acc(3)).unwrap().chunks.len(),
            1
        );
        assert_eq!((position(3, 11), earning_stake(11)), ((0, 700), 1_300));
        assert_eq!(TotalDelegated::<Test>::get(), 300);

        run_to(PERIOD);
        assert_noop!(withdraw_delegation(3, 11), Error::<Test>::NothingDue);
        run_to(1 + PERIOD);
        assert_noop!(withdraw_delegation(4, 11), Error::<Test>::NothingDue);
        assert_noop!(withdraw_delegation(5, 11), Error::<Test>::NotDelegated);
        assert_ok!(withdraw_delegation(3, 11));
        assert_eq!(
            last_event(),
            Event::DelegationWithdrawn {
                node: 11,
                delegator: acc(3),
                amount: 700
            }
        );
        assert_eq!(Balances::balance(&acc(3)), RICH);
        assert!(!Delegations::<Test>::contains_key(11, acc(3)));
        assert_eq!(pool(11).delegators, 1);
    });
}

#[test]
fn an_owner_who_delegates_to_itself_has_no_more_self_bond() {
    bonded().execute_with(|| {
        assert_ok!(delegate(1, 11, 5_000));
        assert_eq!(Staking::self_bond(11), 1_000);
        assert_eq!(Staking::held(&acc(1)), 1_000);
        assert_eq!(position(1, 11), (5_000, 0));
    });
}

#[test]
fn the_queue_of_a_delegator_is_bounded_too() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 1_000));
        for _ in 0..MAX_CHUNKS {
            assert_ok!(undelegate(3, 11, 100));
            run_to(System::block_number() + 1);
        }
        assert_noop!(undelegate(3, 11, 100), Error::<Test>::TooManyChunks);
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(3, 11));
        assert_ok!(undelegate(3, 11, 100));
    });
}

#[test]
fn a_slash_hits_owner_and_delegators_alike() {
    bonded().execute_with(|| {
        assert_ok!(unbond(1, 11, 200));
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(delegate(4, 11, 400));
        assert_ok!(undelegate(4, 11, 200));
        let issuance = Balances::total_issuance();
        assert_eq!(Staking::slashable(11), 2_000);
        assert_eq!(slash(11, 500), Ok(500));
        assert_eq!(
            last_event(),
            Event::Slashed {
                node: 11,
                amount: 500
            }
        );
        assert_eq!((Staking::self_bond(11), chunks(11)), (600, vec![150]));
        assert_eq!((position(3, 11), position(4, 11)), ((450, 0), (150, 150)));
        assert_eq!(Staking::held(&acc(1)), 750);
        assert_eq!(Balances::balance(&Staking::pot()), ED + 750);
        assert_eq!(Balances::total_issuance(), issuance - 500);
        assert_eq!(TotalDelegated::<Test>::get(), 600);
        assert_eq!(earning_stake(11), 1_200);
        Staking::do_try_state().unwrap();
        // What rounding costs is the owner's.
        assert_eq!(slash(11, 1), Ok(1));
        assert_eq!(Staking::self_bond(11), 599);
        // Who comes later pays nothing for it.
        assert_ok!(delegate(5, 11, 300));
        assert_eq!(position(5, 11), (300, 0));
        assert_eq!(position(3, 11), (450, 0));
        // What waits is paid with what is left of it.
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(4, 11));
        assert_eq!(Balances::balance(&acc(4)), RICH - 400 + 150);
    });
}

#[test]
fn nobody_takes_anything_out_or_buys_in_while_a_slash_is_pending() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(undelegate(3, 11, 100));
        earn(11, 100);
        run_to(1 + PERIOD);
        charge(11, 160);
        for refused in [
            withdraw_delegation(3, 11),
            run(3, Call::claim { node: 11 }),
            run(1, Call::claim_own { node: 11 }),
            release(3, 11),
            delegate(4, 11, 100),
        ] {
            assert_eq!(refused, Err(Error::<Test>::SlashPending.into()));
        }
        // What is pending doesn't earn. To leave is allowed, for it doesn't help.
        assert_eq!(earning_stake(11), 1_340);
        assert_ok!(undelegate(3, 11, 500));
        decide(11);
        assert_eq!(position(3, 11), (0, 540));
        assert_eq!(earning_stake(11), 900);
        Staking::do_try_state().unwrap();
        assert_ok!(withdraw_delegation(3, 11));
        assert_ok!(run(3, Call::claim { node: 11 }));
    });
}

#[test]
fn a_pool_that_lost_everything_is_closed_until_it_is_cleared() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(delegate(4, 11, 400));
        assert_ok!(undelegate(4, 11, 100));
        earn(11, 2_000);
        assert_noop!(release(3, 11), Error::<Test>::NothingToRelease);
        assert_eq!(slash(11, Balance::MAX), Ok(2_000));
        Staking::do_try_state().unwrap();
        assert_ok!(bond(1, 11, 1_000));
        assert_noop!(delegate(5, 11, 100), Error::<Test>::PoolWiped);
        assert_noop!(undelegate(3, 11, 1), Error::<Test>::NotEnoughDelegated);
        // The rewards that were earned before are paid all the same: they are not at stake.
        assert_ok!(release(3, 11));
        assert_eq!(
            events()[events().len() - 2..],
            [
                Event::RewardClaimed {
                    node: 11,
                    delegator: acc(3),
                    amount: 631
                },
                Event::DelegatorReleased {
                    node: 11,
                    delegator: acc(3),
                    amount: 0,
                    worthless: true
                }
            ]
        );
        assert_noop!(delegate(5, 11, 100), Error::<Test>::PoolWiped);
        assert_ok!(release(4, 11));
        assert_noop!(release(4, 11), Error::<Test>::NotDelegated);
        assert_ok!(delegate(5, 11, 100));
        assert_eq!((pool(11).active.shares, position(5, 11)), (100, (100, 0)));
    });
}

#[test]
fn a_pool_that_lost_all_but_a_trace_takes_nothing_in() {
    bonded().execute_with(|| {
        assert_ok!(bond(1, 11, 3));
        assert_ok!(delegate(3, 11, 900_000));
        Pools::<Test>::mutate(11, |pool| {
            let pool = pool.as_mut().unwrap();
            pool.active.shares *= 1_000_000;
        });
        Delegations::<Test>::mutate(11, acc(3), |delegation| {
            delegation.as_mut().unwrap().shares *= 1_000_000;
        });
        assert_ok!(delegate(4, 11, 100));
        assert_eq!(position(4, 11), (100, 0));
        assert_eq!(slash(11, 800_000), Ok(800_000));
        assert_noop!(delegate(4, 11, 100), Error::<Test>::PoolDiluted);
        // Whoever is in it comes out.
        let (left, _) = position(3, 11);
        assert_ok!(undelegate(3, 11, left));
    });
}

/// Mallory is first with as little as may be, and sends the pot a fortune.
#[test]
fn a_gift_to_the_pot_makes_no_share_dearer() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, MIN_DELEGATION));
        assert_ok!(Balances::transfer(
            &acc(3),
            &Staking::pot(),
            900_000,
            frame_support::traits::tokens::Preservation::Preserve
        ));
        assert_ok!(delegate(4, 11, 10_000));
        assert_eq!(position(4, 11), (10_000, 0));
        assert_eq!(position(3, 11), (MIN_DELEGATION, 0));
        assert_ok!(undelegate(3, 11, MIN_DELEGATION));
        assert_ok!(undelegate(4, 11, 10_000));
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(3, 11));
        assert_ok!(withdraw_delegation(4, 11));
        assert_eq!(Balances::balance(&acc(4)), RICH);
        assert_eq!(Balances::balance(&acc(3)), RICH - 900_000);
    });
}

#[test]
fn a_node_is_free_once_everybody_is_gone() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(delegate(4, 11, 400));
        assert_noop!(release(3, 11), Error::<Test>::NothingToRelease);
        assert_ok!(unbond(1, 11, 1_000));
        assert_noop!(delegate(5, 11, 100), Error::<Test>::NotBonded);
        assert_noop!(release(5, 11), Error::<Test>::NotDelegated);
        assert_ok!(release(3, 11));
        assert_eq!(
            last_event(),
            Event::DelegatorReleased {
                node: 11,
                delegator: acc(3),
                amount: 600,
                worthless: false
            }
        );
        assert_noop!(release(3, 11), Error::<Test>::NothingToRelease);
        assert_ok!(undelegate(4, 11, 400));
        run_to(1 + PERIOD);
        assert_ok!(withdraw(9, 11));
        assert!(!Staking::is_free(11));
        assert_ok!(withdraw_delegation(3, 11));
        assert!(!Staking::is_free(11));
        assert_ok!(withdraw_delegation(4, 11));
        assert!(Staking::is_free(11));
        assert_eq!(Balances::balance(&Staking::pot()), ED);
        assert_eq!(Pools::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_node_whose_subnet_is_dissolved_gives_everything_back() {
    bonded().execute_with(|| {
        for _ in 0..MAX_CHUNKS {
            assert_ok!(unbond(1, 11, 100));
            run_to(System::block_number() + 1);
        }
        assert_ok!(delegate(3, 11, 600));
        assert_ok!(delegate(4, 11, 400));
        assert_ok!(undelegate(4, 11, 150));
        earn(11, 800);
        let now = System::block_number();
        Staking::unbond_all(11);
        Staking::do_try_state().unwrap();
        let release_at = now + PERIOD;
        assert_eq!(
            events()[events().len() - 2..],
            [
                Event::Unbonded {
                    node: 11,
                    amount: 600,
                    self_bond: 0,
                    release_at
                },
                Event::PoolClosed {
                    node: 11,
                    amount: 850,
                    release_at
                }
            ]
        );
        // There was no room for one more chunk: the last one waits along.
        assert_eq!(chunks(11), [100, 100, 100, 700]);
        assert_eq!((Staking::self_bond(11), earning_stake(11)), (0, 0));
        assert_eq!(Told::get().last(), Some(&(11, 0)));
        assert_eq!(
            (TotalDelegated::<Test>::get(), TotalBonded::<Test>::get()),
            (0, 0)
        );
        // A second time changes nothing.
        Staking::unbond_all(11);
        assert_eq!(pool(11).closed_at, Some(now));
        assert_eq!(
            Staking::pool_of(11).unwrap().closed_until,
            Some(release_at as u32)
        );

        assert_ok!(bond(1, 11, 1_000));
        assert_noop!(delegate(5, 11, 100), Error::<Test>::PoolClosed);
        assert_noop!(undelegate(3, 11, 100), Error::<Test>::PoolClosed);
        assert_noop!(release(3, 11), Error::<Test>::NothingToRelease);
        assert_noop!(withdraw_delegation(3, 11), Error::<Test>::NothingDue);
        // It is slashable all the while.
        assert_eq!(slash(11, Staking::slashable(11) / 2), Ok(1_500));
        run_to(release_at);
        assert_ok!(withdraw_delegation(3, 11));
        assert_ok!(withdraw_delegation(4, 11));
        assert_eq!(pool(11).delegators, 0);
        assert_eq!(pool(11).closed_at, None);
        // Half of the stake, and what it earned before.
        assert_eq!(Balances::balance(&acc(3)), RICH - 600 + 300 + 330);
        assert_eq!(Balances::balance(&acc(4)), RICH - 400 + 200 + 137);
        let own = Staking::rewards_of(11);
        assert_ok!(run(1, Call::claim_own { node: 11 }));
        assert_eq!(own, 800 - 330 - 137);
    });
}

#[test]
fn nothing_at_stake_is_asked_back_without_a_trace() {
    new_test_ext().execute_with(|| {
        Staking::unbond_all(11);
        Staking::unbond_all(77);
        assert!(events().is_empty());
        assert!(Staking::is_free(11));
    });
}

/// Less than an account needs to exist can't be paid to one that doesn't.
#[test]
fn what_is_too_little_for_who_is_gone_is_the_owners() {
    bonded().execute_with(|| {
        assert_ok!(Balances::mint_into(&acc(50), 100 + ED));
        assert_ok!(delegate(50, 11, 100));
        assert_ok!(undelegate(50, 11, 100));
        let leave = Balances::transfer_allow_death(RuntimeOrigin::signed(acc(50)), acc(9), ED);
        assert_ok!(leave);
        assert_eq!(slash(11, 1_100 * 95 / 100), Ok(1_045));
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(50, 11));
        assert_eq!(pool(11).delegators, 0);
        assert_eq!(Staking::rewards_of(11), 5);
        // An owner who is there can take it.
        assert_ok!(run(1, Call::claim_own { node: 11 }));
    });
}

#[test]
fn validators_are_elected_by_what_all_have_at_stake() {
    ext_with_validators(&[1_000, 3_000, 2_000]).execute_with(|| {
        assert_eq!(election::validators(), [1, 2, 0]);
        assert_ok!(delegate(5, 0, 2_500));
        run_to_session(4);
        assert_eq!(election::validators(), [0, 1, 2]);
        // Without enough of the owner's own it doesn't help.
        assert_ok!(unbond(1, 0, 100));
        run_to_session(7);
        assert_eq!(election::validators(), [1, 2]);
        Staking::do_try_state().unwrap();
    });
}

/// The numbers of the README.
#[test]
fn the_story_of_dora_and_dan() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 9_000));
        assert_ok!(bond(2, 12, 1_000));
        let commission = Perbill::from_percent(10);
        let node = 11;
        assert_ok!(run(1, Call::set_commission { node, commission }));
        assert_ok!(delegate(3, 11, 3_000));
        assert_eq!(pool(11).active.shares, 3_000);
        earn(11, 400);
        assert_eq!(Staking::delegation_of(11, &acc(3)).unwrap().rewards, 90);
        assert_eq!(Staking::rewards_of(11), 310);
        assert_eq!(slash(11, 1_200), Ok(1_200));
        assert_eq!(position(3, 11), (2_700, 0));
        assert_ok!(delegate(4, 11, 900));
        assert_eq!(Delegations::<Test>::get(11, acc(4)).unwrap().shares, 1_000);
        let (from, to, amount) = (11, 12, 1_000);
        assert_ok!(run(3, Call::move_delegation { from, to, amount }));
        // To within the unit that rounding costs.
        assert_eq!((position(3, 11), position(3, 12)), ((1_699, 0), (1_000, 0)));
        let before = Balances::balance(&acc(3));
        assert_ok!(undelegate(3, 11, 1_699));
        run_to(1 + PERIOD);
        assert_ok!(withdraw_delegation(3, 11));
        assert_eq!(Balances::balance(&acc(3)), before + 1_699 + 90);
    });
}

#[test]
fn a_delegation_is_seen_with_what_waits() {
    bonded().execute_with(|| {
        assert_eq!(Staking::pool_of(12), None);
        assert_eq!(Staking::delegation_of(11, &acc(3)), None);
        assert_eq!(Staking::pool_of(11).unwrap().amount, 0);
        assert_ok!(delegate(3, 11, 1_000));
        assert_ok!(undelegate(3, 11, 200));
        run_to(3);
        assert_ok!(undelegate(3, 11, 300));
        earn(11, 1_500);
        assert_eq!(slash(11, 1_000), Ok(1_000));
        let chunk = |amount, release_at: u64| quipu_primitives::views::DelegationChunk {
            amount,
            release_at: release_at as u32,
        };
        assert_eq!(
            Staking::delegation_of(11, &acc(3)),
            Some(quipu_primitives::views::DelegationInfo {
                node: 11,
                amount: 250,
                shares: 500,
                liable: 0,
                rewards: 500,
                chunks: vec![chunk(100, 1 + PERIOD), chunk(150, 3 + PERIOD)],
            })
        );
        assert_eq!(
            Staking::pool_of(11),
            Some(quipu_primitives::views::PoolInfo {
                node: 11,
                amount: 250,
                shares: 500,
                leaving: 250,
                delegators: 1,
                commission_parts: 0,
                closed_until: None,
                rewards: 500,
                owner_rewards: 1_000,
            })
        );
    });
}

/// Where next to nothing is left, what leaves may be less than a share of what waits.
#[test]
fn nobody_is_kept_by_a_trace() {
    bonded().execute_with(|| {
        assert_ok!(delegate(3, 11, 1_000));
        assert_ok!(delegate(4, 11, 1_000));
        assert_ok!(undelegate(3, 11, 500));
        // Of the 3,000 one unit of the leaving part and one of the other are left.
        assert_ok!(unbond(1, 11, 1_000));
        assert_eq!(slash(11, 2_997), Ok(2_997));
        assert_eq!((pool(11).active.amount, pool(11).leaving.amount), (1, 1));
        assert_ok!(release(3, 11));
        assert_ok!(release(4, 11));
        run_to(1 + PERIOD);
        for who in [3, 4] {
            let _ = release(who, 11);
            let _ = withdraw_delegation(who, 11);
        }
        let _ = withdraw(1, 11);
        let _ = run(1, Call::claim_own { node: 11 });
        assert!(Staking::is_free(11));
        assert_eq!(Balances::balance(&Staking::pot()), ED);
    });
}
