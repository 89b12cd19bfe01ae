//! Stories of owners, validators and offenders.

mod delegation;
mod election;
mod moves;
mod offences;
mod rewards;
mod walk;

use crate::{mock::*, *};
use frame_support::{
    assert_noop, assert_ok,
    traits::{fungible::Inspect, Imbalance},
};
use quipu_primitives::{
    traits::{Bonds, Obligations, OnColdkeySwap, Slashable},
    Balance, NodeId, ROOT_SUBNET,
};
use sp_runtime::{
    traits::Dispatchable, AccountId32, ArithmeticError, DispatchError, DispatchResult, Perbill,
    TokenError,
};

/// Sends a call as the chain would: what fails leaves nothing behind.
fn run(who: u8, call: Call<Test>) -> DispatchResult {
    let sent = RuntimeCall::Staking(call).dispatch(RuntimeOrigin::signed(acc(who)));
    Staking::do_try_state().unwrap();
    sent.map(|_| ()).map_err(|error| error.error)
}

fn bond(who: u8, node: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::bond { node, amount })
}

fn unbond(who: u8, node: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::unbond { node, amount })
}

fn rebond(who: u8, node: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::rebond { node, amount })
}

fn withdraw(who: u8, node: NodeId) -> DispatchResult {
    run(who, Call::withdraw { node })
}

/// Takes of what a node has at stake, burns it, and says how much that was.
fn slash(node: NodeId, amount: Balance) -> Result<Balance, DispatchError> {
    Staking::slash(node, amount).map(|taken| taken.peek())
}

fn last_event() -> Event<Test> {
    events().pop().unwrap()
}

fn events() -> Vec<Event<Test>> {
    System::read_events_for_pallet()
}

/// Amounts of the chunks that wait.
fn chunks(node: NodeId) -> Vec<Balance> {
    let ledger = Ledgers::<Test>::get(node).unwrap_or_default();
    ledger.unbonding.iter().map(|chunk| chunk.amount).collect()
}

#[test]
fn a_bond_is_held_on_the_owner() {
    new_test_ext().execute_with(|| {
        assert_noop!(bond(1, 77, 500), Error::<Test>::NoSuchNode);
        assert_noop!(bond(2, 11, 500), Error::<Test>::NotOwner);
        assert_noop!(bond(1, 11, 0), Error::<Test>::ZeroAmount);
        assert_noop!(bond(1, 11, MIN_BOND - 1), Error::<Test>::BelowMinBond);
        assert_ok!(bond(1, 11, MIN_BOND));
        assert_ok!(bond(1, 11, 1));
        assert_eq!(
            last_event(),
            Event::Bonded {
                node: 11,
                amount: 1,
                self_bond: MIN_BOND + 1
            }
        );
        assert_eq!(Told::get(), [(11, MIN_BOND), (11, MIN_BOND + 1)]);
        assert_eq!(Staking::self_bond(11), MIN_BOND + 1);
        assert_eq!(Staking::held(&acc(1)), MIN_BOND + 1);
        assert_eq!(TotalBonded::<Test>::get(), MIN_BOND + 1);
        assert!(!Staking::is_free(11) && Staking::is_free(12));
        assert_eq!(Staking::minimum_self_bond(), 500);
    });
}

#[test]
fn an_owner_of_many_nodes_bonds_for_each() {
    new_test_ext().execute_with(|| {
        add_node(13, 2, acc(1));
        assert_ok!(bond(1, 11, 500));
        assert_ok!(bond(1, 13, 700));
        assert_eq!(Staking::held(&acc(1)), 1_200);
        assert_ok!(unbond(1, 11, 500));
        assert_eq!((Staking::self_bond(11), Staking::self_bond(13)), (0, 700));
        assert_eq!(TotalBonded::<Test>::get(), 700);
    });
}

#[test]
fn nobody_bonds_what_they_do_not_have() {
    new_test_ext().execute_with(|| {
        assert_noop!(bond(1, 11, Balance::MAX), TokenError::FundsUnavailable);
        // The account must stay alive beside the bond.
        assert_noop!(bond(1, 11, RICH - ED + 1), TokenError::FundsUnavailable);
        assert_ok!(bond(1, 11, RICH - ED));
        assert_noop!(bond(1, 11, Balance::MAX), ArithmeticError::Overflow);
        assert_noop!(bond(1, 11, 1), TokenError::FundsUnavailable);
        assert_noop!(unbond(1, 11, Balance::MAX), Error::<Test>::NotEnoughBonded);
        assert_noop!(
            rebond(1, 11, Balance::MAX),
            Error::<Test>::NotEnoughUnbonding
        );
    });
}

#[test]
fn an_account_with_a_bond_is_not_reaped() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, RICH - ED));
        let leave =
            |amount| Balances::transfer_allow_death(RuntimeOrigin::signed(acc(1)), acc(2), amount);
        assert_noop!(leave(ED), TokenError::Frozen);
        assert_ok!(unbond(1, 11, RICH - ED));
        assert_noop!(leave(ED), TokenError::Frozen);
        run_to(1 + PERIOD);
        assert_ok!(withdraw(9, 11));
        assert_ok!(leave(RICH));
        assert!(!System::account_exists(&acc(1)));
        Staking::do_try_state().unwrap();
    });
}

#[test]
fn what_is_asked_back_waits_and_anybody_may_have_it_paid_out() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 1_000));
        assert_noop!(unbond(2, 11, 100), Error::<Test>::NotOwner);
        assert_noop!(unbond(1, 77, 100), Error::<Test>::NoSuchNode);
        assert_noop!(unbond(1, 11, 0), Error::<Test>::ZeroAmount);
        assert_noop!(unbond(1, 11, 1_001), Error::<Test>::NotEnoughBonded);
        // Dust is not left bonded.
        assert_noop!(unbond(1, 11, 901), Error::<Test>::BelowMinBond);
        assert_ok!(unbond(1, 11, 900));
        assert_eq!(
            last_event(),
            Event::Unbonded {
                node: 11,
                amount: 900,
                self_bond: 100,
                release_at: 1 + PERIOD
            }
        );
        assert_eq!(Told::get().last(), Some(&(11, 100)));
        assert_ok!(unbond(1, 11, 100));
        // One block, one chunk.
        assert_eq!(chunks(11), [1_000]);
        assert_eq!(TotalBonded::<Test>::get(), 0);
        assert_eq!(Staking::held(&acc(1)), 1_000);

        run_to(PERIOD);
        assert_noop!(withdraw(1, 11), Error::<Test>::NothingDue);
        run_to(1 + PERIOD);
        assert_noop!(withdraw(1, 77), Error::<Test>::NoSuchNode);
        assert_ok!(withdraw(9, 11));
        assert_eq!(
            last_event(),
            Event::Withdrawn {
                node: 11,
                coldkey: acc(1),
                amount: 1_000
            }
        );
        assert_eq!(Balances::balance(&acc(1)), RICH);
        assert!(Staking::is_free(11));
        assert_eq!(Ledgers::<Test>::iter().count(), 0);
        assert_noop!(withdraw(9, 11), Error::<Test>::NothingDue);
        // A node that was free bonds anew.
        assert_ok!(bond(1, 11, 500));
    });
}

#[test]
fn the_queue_is_bounded_and_frees_what_is_due() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 10_000));
        for _ in 0..MAX_CHUNKS {
            assert_ok!(unbond(1, 11, 100));
            run_to(System::block_number() + 2);
        }
        assert_noop!(unbond(1, 11, 100), Error::<Test>::TooManyChunks);
        run_to(1 + PERIOD + 2);
        assert_ok!(withdraw(1, 11));
        assert_eq!(chunks(11), [100, 100]);
        assert_ok!(unbond(1, 11, 100));
    });
}

#[test]
fn a_change_of_mind_takes_back_what_would_wait_longest() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 1_000));
        assert_ok!(unbond(1, 11, 400));
        run_to(3);
        assert_ok!(unbond(1, 11, 600));
        assert_noop!(rebond(2, 11, 100), Error::<Test>::NotOwner);
        assert_noop!(rebond(1, 11, 0), Error::<Test>::ZeroAmount);
        assert_noop!(rebond(1, 11, 1_001), Error::<Test>::NotEnoughUnbonding);
        assert_noop!(rebond(1, 11, MIN_BOND - 1), Error::<Test>::BelowMinBond);
        assert_ok!(rebond(1, 11, 500));
        assert_eq!(
            last_event(),
            Event::Rebonded {
                node: 11,
                amount: 500,
                self_bond: 500
            }
        );
        assert_eq!(chunks(11), [400, 100]);
        assert_ok!(rebond(1, 11, 250));
        assert_eq!(chunks(11), [250]);
        assert_eq!(Told::get().last(), Some(&(11, 750)));
    });
}

#[test]
fn a_slash_hits_what_waits_as_well_as_what_is_bonded() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 1_000));
        assert_ok!(unbond(1, 11, 300));
        run_to(3);
        assert_ok!(unbond(1, 11, 100));
        let issuance = Balances::total_issuance();
        assert_eq!(Staking::slashable(11), 1_000);
        assert_eq!(slash(11, 100), Ok(100));
        assert_eq!(
            last_event(),
            Event::Slashed {
                node: 11,
                amount: 100
            }
        );
        assert_eq!((Staking::self_bond(11), chunks(11)), (540, vec![270, 90]));
        assert_eq!(Told::get().last(), Some(&(11, 540)));
        assert_eq!(Balances::total_issuance(), issuance - 100);
        assert_eq!(Staking::held(&acc(1)), 900);
        assert_eq!(TotalBonded::<Test>::get(), 540);
        Staking::do_try_state().unwrap();

        // More than there is: all, and nothing of the rest of the account.
        assert_eq!(slash(11, Balance::MAX), Ok(900));
        assert_eq!(Balances::balance(&acc(1)), RICH - 1_000);
        assert!(Staking::is_free(11));
        Staking::do_try_state().unwrap();
        // Nothing is left to take, here or of a node that never was.
        let before = events().len();
        assert_eq!(slash(11, 5), Ok(0));
        assert_eq!(slash(77, 5), Ok(0));
        assert_eq!(events().len(), before);
    });
}

#[test]
fn a_slash_may_leave_dust_that_only_more_bond_or_a_full_leave_cures() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, MIN_BOND));
        assert_eq!(slash(11, 1), Ok(1));
        assert_noop!(unbond(1, 11, 1), Error::<Test>::BelowMinBond);
        assert_ok!(bond(1, 11, 1));
        assert_eq!(slash(11, 60), Ok(60));
        assert_noop!(bond(1, 11, 59), Error::<Test>::BelowMinBond);
        assert_ok!(unbond(1, 11, 40));
    });
}

#[test]
fn a_slash_reaches_a_bond_that_is_frozen_too() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, RICH - ED));
        // Burning what is held must not need anything free.
        assert_eq!(Balances::balance(&acc(1)), ED);
        assert_eq!(slash(11, RICH), Ok(RICH - ED));
        assert_eq!(Balances::total_balance(&acc(1)), ED);
    });
}

#[test]
fn a_bond_moves_with_its_node() {
    new_test_ext().execute_with(|| {
        assert_ok!(bond(1, 11, 1_000));
        assert_ok!(unbond(1, 11, 300));
        let swap = |to: u8| {
            let swapped = frame_support::storage::with_storage_layer(|| {
                add_node(11, 1, acc(to));
                Staking::coldkey_swapped(11, &acc(1), &acc(to))
            });
            Staking::do_try_state().unwrap();
            swapped
        };
        // An account that does not exist can hold nothing.
        assert_noop!(swap(99), TokenError::CannotCreateHold);
        assert_ok!(swap(2));
        let (from, to) = (acc(1), acc(2));
        assert_eq!(
            last_event(),
            Event::BondMoved {
                node: 11,
                from,
                to,
                amount: 1_000
            }
        );
        assert_eq!((Staking::held(&acc(1)), Staking::held(&acc(2))), (0, 1_000));
        assert_noop!(unbond(1, 11, 700), Error::<Test>::NotOwner);
        assert_ok!(unbond(2, 11, 700));
        run_to(1 + PERIOD);
        assert_ok!(withdraw(9, 11));
        assert_eq!(Balances::balance(&acc(2)), RICH + 1_000);
    });
}

#[test]
fn a_node_without_a_bond_changes_hands_for_nothing() {
    new_test_ext().execute_with(|| {
        assert_ok!(Staking::coldkey_swapped(11, &acc(1), &acc(99)));
        assert!(events().is_empty());
    });
}

#[test]
fn an_unsigned_call_is_refused() {
    new_test_ext().execute_with(|| {
        assert_noop!(
            Staking::bond(RuntimeOrigin::none(), 11, 500),
            DispatchError::BadOrigin
        );
        assert_noop!(
            Staking::withdraw(RuntimeOrigin::root(), 11),
            DispatchError::BadOrigin
        );
        let (node, from, to, amount, delegator) = (11, 11, 12, 500, acc(3));
        let again = delegator.clone();
        let commission = Perbill::zero();
        for call in [
            Call::delegate { node, amount },
            Call::undelegate { node, amount },
            Call::withdraw_delegation { node, delegator },
            Call::set_commission { node, commission },
            Call::claim { node },
            Call::claim_own { node },
            Call::release_delegator {
                node,
                delegator: again,
            },
            Call::move_delegation { from, to, amount },
            Call::move_bond { from, to, amount },
            Call::clear_moves { node },
        ] {
            let sent = RuntimeCall::Staking(call).dispatch(RuntimeOrigin::none());
            assert_eq!(sent.unwrap_err().error, DispatchError::BadOrigin);
        }
    });
}

#[test]
#[should_panic(expected = "the bond of node 1 at genesis is refused")]
fn a_genesis_that_bonds_dust_is_refused() {
    ext_with_validators(&[MIN_BOND, MIN_BOND - 1]);
}

/// A ledger with chunks that are released at blocks 1, 2 and so on.
fn ledger(own: Balance, parts: &[Balance]) -> Ledger<Test> {
    let unbonding = (1..).zip(parts.iter().copied());
    Ledger::<Test> {
        own,
        unbonding: unbonding
            .map(|(release_at, amount)| Chunk { amount, release_at })
            .collect::<Vec<_>>()
            .try_into()
            .unwrap(),
        chilled: false,
    }
}

#[test]
fn all_of_a_bond_waits_even_where_there_is_no_room() {
    // Self-bond, chunks, and when it is released; then the chunks with their blocks.
    type Case = (Balance, &'static [Balance], u64, &'static [(Balance, u64)]);
    let cases: &[Case] = &[
        (0, &[], 9, &[]),
        (0, &[5], 9, &[(5, 1)]),
        (7, &[], 9, &[(7, 9)]),
        (7, &[5], 9, &[(5, 1), (7, 9)]),
        (7, &[5], 1, &[(12, 1)]),
        // The period was shortened: what waits longer keeps its block.
        (7, &[5, 5], 1, &[(5, 1), (12, 2)]),
        (7, &[1, 2, 3, 4], 9, &[(1, 1), (2, 2), (3, 3), (11, 9)]),
    ];
    for (own, parts, release_at, expected) in cases {
        let mut left = ledger(*own, parts);
        assert_eq!(left.unbond_all(*release_at), *own);
        let chunks = left.unbonding.iter();
        let chunks: Vec<_> = chunks
            .map(|chunk| (chunk.amount, chunk.release_at))
            .collect();
        assert_eq!((left.own, &chunks[..]), (0, *expected), "{own} {parts:?}");
    }
}

#[test]
fn what_moved_here_is_taken_from_the_bond_before_what_waits() {
    for (own, parts, amount, left) in [
        (10, &[5, 5][..], 4, (6, vec![5, 5])),
        (10, &[5, 5], 12, (0, vec![5, 3])),
        (10, &[5, 5], 15, (0, vec![5])),
        (10, &[5, 5], Balance::MAX, (0, vec![])),
        (0, &[], 5, (0, vec![])),
    ] {
        let mut after = ledger(own, parts);
        after.take_last(amount);
        let chunks: Vec<_> = after.unbonding.iter().map(|chunk| chunk.amount).collect();
        assert_eq!((after.own, chunks), left, "{own} {parts:?} {amount}");
    }
}

#[test]
fn a_slash_of_many_parts_is_exact() {
    // Self-bond, chunks, amount; then what is taken and what is left of each.
    type Case = (
        Balance,
        &'static [Balance],
        Balance,
        Balance,
        Balance,
        &'static [Balance],
    );
    let cases: &[Case] = &[
        (0, &[], 5, 0, 0, &[]),
        (10, &[], 0, 0, 10, &[]),
        (10, &[10, 10], 0, 0, 10, &[10, 10]),
        (10, &[10, 10], 3, 3, 9, &[9, 9]),
        // Rounded up while something is left to take.
        (10, &[10, 10], 1, 1, 9, &[10, 10]),
        (10, &[10, 10], 2, 2, 9, &[9, 10]),
        (0, &[1, 1, 1, 1], 3, 3, 0, &[1]),
        (7, &[3], 9, 9, 0, &[1]),
        (7, &[3], 10, 10, 0, &[]),
        (7, &[3], Balance::MAX, 10, 0, &[]),
        (
            Balance::MAX - 2,
            &[1, 1],
            Balance::MAX,
            Balance::MAX,
            0,
            &[],
        ),
        (
            Balance::MAX - 1,
            &[1],
            Balance::MAX - 1,
            Balance::MAX - 1,
            0,
            &[1],
        ),
        (1, &[Balance::MAX - 1], 1, 1, 0, &[Balance::MAX - 1]),
    ];
    for (own, parts, amount, taken, own_left, parts_left) in cases {
        let mut slashed = ledger(*own, parts);
        assert_eq!(slashed.slash(*amount), *taken, "{own} {parts:?} {amount}");
        let left: Vec<_> = slashed.unbonding.iter().map(|chunk| chunk.amount).collect();
        assert_eq!(
            (slashed.own, &left[..]),
            (*own_left, *parts_left),
            "{own} {parts:?} {amount}"
        );
    }
}
