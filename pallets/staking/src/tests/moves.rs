//! Stories of stake that moves at once, and doesn't get away with it.

use super::{delegation::*, *};

fn move_delegation(who: u8, from: NodeId, to: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::move_delegation { from, to, amount })
}

fn move_bond(who: u8, from: NodeId, to: NodeId, amount: Balance) -> DispatchResult {
    run(who, Call::move_bond { from, to, amount })
}

fn clear_moves(node: NodeId) -> DispatchResult {
    run(9, Call::clear_moves { node })
}

/// Nodes 11, 12 and 13 with 1,000 each; Dora (3) delegated 1,000 to 11.
fn three() -> sp_io::TestExternalities {
    let mut ext = bonded();
    ext.execute_with(|| {
        add_node(13, 2, acc(1));
        assert_ok!(bond(2, 12, 1_000));
        assert_ok!(bond(1, 13, 1_000));
        assert_ok!(delegate(3, 11, 1_000));
    });
    ext
}

#[test]
fn a_delegation_moves_at_once() {
    three().execute_with(|| {
        earn(11, 200);
        assert_noop!(move_delegation(3, 11, 11, 500), Error::<Test>::SameNode);
        assert_noop!(move_delegation(4, 11, 12, 500), Error::<Test>::NotDelegated);
        assert_noop!(move_delegation(3, 11, 77, 500), Error::<Test>::NoSuchNode);
        assert_noop!(move_delegation(3, 77, 12, 500), Error::<Test>::NotDelegated);
        assert_noop!(move_delegation(3, 11, 12, 0), Error::<Test>::ZeroAmount);
        for too_much in [1_001, Balance::MAX] {
            assert_noop!(
                move_delegation(3, 11, 12, too_much),
                Error::<Test>::NotEnoughDelegated
            );
        }
        for dust in [MIN_DELEGATION - 1, 1_001 - MIN_DELEGATION] {
            assert_noop!(
                move_delegation(3, 11, 12, dust),
                Error::<Test>::BelowMinDelegation
            );
        }
        assert_ok!(move_delegation(3, 11, 12, 600));
        assert_eq!(
            last_event(),
            Event::DelegationMoved {
                from: 11,
                to: 12,
                delegator: acc(3),
                amount: 600,
                shares: 600
            }
        );
        assert_eq!((position(3, 11), position(3, 12)), ((400, 0), (600, 0)));
        assert_eq!((earning_stake(11), earning_stake(12)), (1_400, 1_600));
        assert_eq!(TotalDelegated::<Test>::get(), 1_000);
        assert_eq!(Staking::delegation_of(12, &acc(3)).unwrap().liable, 600);
        // What it earned there stays there, until the rest goes too.
        assert_eq!(Staking::delegation_of(11, &acc(3)).unwrap().rewards, 100);
        assert_ok!(move_delegation(3, 11, 12, 400));
        assert!(!Delegations::<Test>::contains_key(11, acc(3)));
        assert_eq!(Balances::balance(&acc(3)), RICH - 1_000 + 100);
    });
}

#[test]
fn what_moved_is_slashed_for_what_it_left_behind() {
    three().execute_with(|| {
        assert_ok!(delegate(3, 12, 100));
        assert_ok!(delegate(4, 12, 300));
        assert_ok!(move_delegation(3, 11, 12, 600));
        assert_eq!(Staking::slashable(11), 2_000);
        assert_eq!(Staking::slashable(12), 2_000);
        earn(12, 2_000);
        let issuance = Balances::total_issuance();
        assert_eq!(slash(11, 200), Ok(200));
        assert_eq!(Balances::total_issuance(), issuance - 200);
        assert!(events().contains(&Event::DepartedSlashed {
            from: 11,
            to: 12,
            delegator: Some(acc(3)),
            amount: 60
        }));
        Staking::do_try_state().unwrap();
        assert_eq!(Staking::self_bond(11), 900);
        assert_eq!((position(3, 11), position(3, 12)), ((360, 0), (640, 0)));
        // Nobody else pays, and what was earned until then is shared by what was there.
        assert_eq!((position(4, 12), Staking::self_bond(12)), ((300, 0), 1_000));
        assert_eq!(Staking::delegation_of(12, &acc(3)).unwrap().rewards, 700);
        assert_eq!(earning_stake(12), 1_940);
        // Slashed where it is, less of it answers for where it was.
        assert_eq!(slash(12, 1_940 / 2), Ok(970));
        assert_eq!(Staking::delegation_of(12, &acc(3)).unwrap().liable, 270);
        assert_eq!(Staking::slashable(11), 900 + 360 + 270);
        // All of it.
        assert_eq!(slash(11, Balance::MAX), Ok(900 + 360 + 270));
        assert_eq!(position(3, 12), (50, 0));
        assert_eq!(Departed::<Test>::iter().count(), 0);
        Staking::do_try_state().unwrap();
    });
}

#[test]
fn what_moved_stays_until_it_is_free() {
    three().execute_with(|| {
        assert_ok!(delegate(3, 12, 200));
        assert_ok!(move_delegation(3, 11, 12, 600));
        assert_ok!(undelegate(3, 12, 150));
        assert_noop!(undelegate(3, 12, 100), Error::<Test>::StillLiable);
        assert_noop!(move_delegation(3, 12, 13, 100), Error::<Test>::StillLiable);
        assert_ok!(unbond(2, 12, 1_000));
        assert_noop!(release(3, 12), Error::<Test>::StillLiable);
        assert_noop!(clear_moves(11), Error::<Test>::NothingToClear);
        run_to(PERIOD);
        assert_noop!(undelegate(3, 12, 650), Error::<Test>::StillLiable);
        run_to(1 + PERIOD);
        assert_eq!(Staking::slashable(11), 1_400);
        assert_ok!(undelegate(3, 12, 650));
        assert_eq!(Departed::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_charge_keeps_what_moved_liable_until_it_is_decided() {
    three().execute_with(|| {
        assert_ok!(delegate(4, 11, 1_000));
        assert_ok!(move_delegation(3, 11, 12, 600));
        run_to(5);
        assert_ok!(move_delegation(4, 11, 12, 600));
        // Dora's is free by then, and stays so; Dan's is not.
        run_to(1 + PERIOD);
        assert_eq!(Staking::slashable(11), 1_000 + 400 + 400 + 600);
        charge(11, 240);
        Staking::do_try_state().unwrap();
        assert_eq!(Staking::slashable(11), 2_400);
        assert_noop!(move_delegation(4, 11, 12, 400), Error::<Test>::SlashPending);
        run_to(5 + PERIOD);
        assert_noop!(undelegate(4, 12, 600), Error::<Test>::StillLiable);
        assert_noop!(clear_moves(11), Error::<Test>::NothingToClear);
        assert_ok!(undelegate(3, 12, 600));
        decide(11);
        Staking::do_try_state().unwrap();
        assert_eq!((position(4, 11), position(4, 12)), ((360, 0), (540, 0)));
        assert_ok!(clear_moves(11));
        assert_eq!(
            last_event(),
            Event::MovesCleared {
                node: 11,
                cleared: 1
            }
        );
        assert_ok!(undelegate(4, 12, 540));
    });
}

#[test]
fn the_moves_of_a_node_are_bounded() {
    three().execute_with(|| {
        for who in 4..8 {
            assert_ok!(delegate(who, 11, 100));
        }
        for who in 4..4 + MAX_MOVES as u8 {
            assert_ok!(move_delegation(who, 11, 12, 50));
        }
        assert_noop!(move_delegation(7, 11, 12, 50), Error::<Test>::TooManyMoves);
        // Who has one already only makes it more.
        assert_ok!(move_delegation(4, 11, 12, 50));
        assert_eq!(Staking::delegation_of(12, &acc(4)).unwrap().liable, 100);
        run_to(1 + PERIOD);
        assert_ok!(move_delegation(7, 11, 12, 50));
        assert_eq!(Departed::<Test>::get(11).list.len(), 1);
    });
}

#[test]
fn nothing_moves_where_no_delegation_is_taken() {
    three().execute_with(|| {
        charge(12, 10);
        assert_noop!(move_delegation(3, 11, 12, 500), Error::<Test>::SlashPending);
        acquit(12);
        assert_ok!(unbond(2, 12, 1_000));
        assert_noop!(move_delegation(3, 11, 12, 500), Error::<Test>::NotBonded);
        // Out of a closed pool one may move.
        Staking::unbond_all(11);
        assert_ok!(move_delegation(3, 11, 13, 1_000));
        assert_eq!(TotalDelegated::<Test>::get(), 1_000);
        assert_eq!(pool(11).closed_at, None);
    });
}

#[test]
fn what_moved_is_gone_where_its_new_pool_lost_everything() {
    three().execute_with(|| {
        assert_ok!(move_delegation(3, 11, 12, 600));
        assert_eq!(slash(12, Balance::MAX), Ok(1_600));
        Staking::do_try_state().unwrap();
        assert_eq!(Staking::slashable(11), 1_400);
        assert_eq!(slash(11, 140), Ok(140));
        Staking::do_try_state().unwrap();
        assert_ok!(release(3, 12));
        assert_eq!(Departed::<Test>::iter().count(), 0);
        assert!(Staking::is_free(12));
    });
}

#[test]
fn an_owner_moves_a_bond_between_its_nodes() {
    three().execute_with(|| {
        assert_noop!(move_bond(1, 11, 12, 500), Error::<Test>::NotOwner);
        assert_noop!(move_bond(2, 11, 12, 500), Error::<Test>::NotOwner);
        assert_noop!(move_bond(1, 11, 77, 500), Error::<Test>::NoSuchNode);
        assert_noop!(move_bond(1, 11, 11, 500), Error::<Test>::SameNode);
        assert_noop!(move_bond(1, 11, 13, 0), Error::<Test>::ZeroAmount);
        for too_much in [1_001, Balance::MAX] {
            assert_noop!(
                move_bond(1, 11, 13, too_much),
                Error::<Test>::NotEnoughBonded
            );
        }
        assert_noop!(move_bond(1, 11, 13, 901), Error::<Test>::BelowMinBond);
        charge(11, 10);
        assert_noop!(move_bond(1, 11, 13, 500), Error::<Test>::SlashPending);
        acquit(11);
        assert_ok!(move_bond(1, 11, 13, 600));
        assert_eq!(
            last_event(),
            Event::BondMovedToNode {
                from: 11,
                to: 13,
                amount: 600,
                self_bond: 1_600
            }
        );
        assert_eq!(Staking::held(&acc(1)), 2_000);
        assert_eq!(TotalBonded::<Test>::get(), 3_000);
        // Too little is left for a seat, and so for rewards.
        assert_eq!(
            Told::get()[Told::get().len() - 2..],
            [(11, 400), (13, 1_600)]
        );
        assert_eq!((earning_stake(11), earning_stake(13)), (0, 1_600));

        assert_noop!(unbond(1, 13, 1_001), Error::<Test>::StillLiable);
        assert_noop!(move_bond(1, 13, 11, 1_001), Error::<Test>::StillLiable);
        assert_ok!(unbond(1, 13, 1_000));
        // A tenth of 400 bonded, 1,000 delegated and 600 moved.
        assert_eq!(slash(11, 200), Ok(200));
        assert_eq!((Staking::self_bond(11), Staking::self_bond(13)), (360, 540));
        assert_eq!(chunks(13), [1_000]);
        assert_eq!(Staking::held(&acc(1)), 1_900);
        assert_eq!(Told::get().last(), Some(&(13, 540)));
        // Slashed for its own node, less of it answers for the other.
        assert_eq!(slash(13, 770), Ok(770));
        assert_eq!(Staking::slashable(11), 360 + 900 + 270);
        Staking::do_try_state().unwrap();

        run_to(1 + PERIOD);
        assert_ok!(unbond(1, 13, 270));
        assert_eq!(BondLiens::<Test>::iter().count(), 0);
        assert_eq!(Departed::<Test>::iter().count(), 0);
        assert_eq!(Staking::slashable(11), 360 + 900);
    });
}

#[test]
fn a_moved_bond_answers_where_it_is_asked_back_for_its_owner() {
    three().execute_with(|| {
        assert_ok!(move_bond(1, 11, 13, 600));
        run_to(5);
        Staking::unbond_all(13);
        Staking::do_try_state().unwrap();
        assert_eq!(chunks(13), [1_600]);
        assert_eq!(slash(11, 1_000), Ok(1_000));
        Staking::do_try_state().unwrap();
        assert_eq!(chunks(13), [1_300]);
        // Charged before it is free, it is not paid out even when it is due.
        charge(11, 100);
        run_to(5 + PERIOD);
        assert_noop!(withdraw(1, 13), Error::<Test>::StillLiable);
        acquit(11);
        assert_ok!(withdraw(1, 13));
        assert!(Staking::is_free(13));
        assert_eq!(Departed::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_node_that_something_moved_from_stays_until_that_is_free() {
    three().execute_with(|| {
        assert_ok!(move_delegation(3, 11, 12, 1_000));
        assert_ok!(unbond(1, 11, 1_000));
        run_to(1 + PERIOD);
        assert_ok!(withdraw(1, 11));
        assert!(!Staking::is_free(11));
        assert_ok!(clear_moves(11));
        assert!(Staking::is_free(11));
        assert_noop!(clear_moves(11), Error::<Test>::NothingToClear);
    });
}
