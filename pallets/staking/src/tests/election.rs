//! Who gets to validate, and when.

use super::*;
use quipu_primitives::node_account;
use sp_runtime::{testing::UintAuthorityId, traits::Convert, RuntimeAppPublic};

/// Sets session keys as a wallet would, from the coldkey.
fn set_keys(who: u8, seed: u64) -> DispatchResult {
    use codec::Encode;
    let owner = acc(who).encode();
    let proof = UintAuthorityId(seed)
        .generate_proof_of_possession(&owner)
        .unwrap()
        .encode();
    Session::set_keys(RuntimeOrigin::signed(acc(who)), keys(seed), proof)
}

/// The nodes that `pallet-session` has for validators.
pub fn validators() -> Vec<NodeId> {
    Session::validators()
        .into_iter()
        .map(|id| quipu_primitives::node_of_account(&id.into()).unwrap())
        .collect()
}

#[test]
fn the_genesis_bonds_elect_the_first_validators() {
    ext_with_validators(&[1_000, 3_000, 2_000]).execute_with(|| {
        Staking::do_try_state().unwrap();
        assert_eq!(validators(), [1, 2, 0]);
        assert_eq!(
            CurrentEra::<Test>::get(),
            Some(Era {
                index: 0,
                first_session: 0
            })
        );
        assert_eq!(CurrentValidators::<Test>::get().into_inner(), [1, 2, 0]);
        assert_eq!(Staking::held(&acc(2)), 3_000);
    });
}

#[test]
fn the_largest_bonds_win_and_the_lower_id_of_equal_ones() {
    ext_with_validators(&[2_000, 5_000, 2_000, 2_000, 2_000, 1_000]).execute_with(|| {
        assert_eq!(validators(), [1, 0, 2, 3]);
        assert_ok!(bond(6, 5, 2_000));
        run_to_session(4);
        assert_eq!(validators(), [1, 5, 0, 2]);
    });
}

#[test]
fn only_bonded_root_nodes_with_keys_stand() {
    ext_with_validators(&[1_000]).execute_with(|| {
        // Not of the root subnet, however rich.
        assert_ok!(bond(1, 11, 50_000));
        // Root nodes: one without keys, one a little too poor, one that has all.
        for (node, seed, amount) in [
            (3, 4, 9_000),
            (4, 5, MIN_VALIDATOR_BOND - 1),
            (5, 6, MIN_VALIDATOR_BOND),
        ] {
            add_node(node, ROOT_SUBNET, acc(seed));
            assert_ok!(bond(seed, node, amount));
        }
        assert_ok!(set_keys(5, 50));
        assert_ok!(set_keys(6, 60));
        // Who has no root node can't set keys.
        assert_noop!(
            set_keys(7, 70),
            pallet_session::Error::<Test>::NoAssociatedValidatorId
        );
        run_to_session(4);
        assert_eq!(validators(), [0, 5]);
        assert_eq!(
            ValidatorIdOf::<Test>::convert(acc(6)),
            Some(node_account(5).into())
        );
        assert_eq!(ValidatorIdOf::<Test>::convert(acc(2)), None);
        assert_eq!(
            IdentificationOf::<Test>::convert(node_account(5).into()),
            Some(())
        );
        assert_eq!(IdentificationOf::<Test>::convert(acc(6)), None);
    });
}

#[test]
fn an_era_is_three_sessions_and_is_elected_one_session_ahead() {
    ext_with_validators(&[1_000, 2_000]).execute_with(|| {
        assert_ok!(bond(1, 0, 5_000));
        run_to_session(2);
        assert_eq!(
            PlannedEra::<Test>::get(),
            Some(Era {
                index: 1,
                first_session: 3
            })
        );
        assert_eq!(
            CurrentEra::<Test>::get(),
            Some(Era {
                index: 0,
                first_session: 0
            })
        );
        assert_eq!(validators(), [1, 0]);
        Staking::do_try_state().unwrap();
        run_to_session(3);
        assert_eq!(validators(), [0, 1]);
        assert_eq!(
            events()
                .into_iter()
                .rfind(|e| matches!(e, Event::EraStarted { .. })),
            Some(Event::EraStarted {
                era: 1,
                session: 3,
                validators: vec![0, 1]
            })
        );
        run_to_session(9);
        assert_eq!(
            CurrentEra::<Test>::get(),
            Some(Era {
                index: 3,
                first_session: 9
            })
        );
        let eras = events()
            .iter()
            .filter(|e| matches!(e, Event::EraStarted { .. }))
            .count();
        assert_eq!(eras, 3);
    });
}

#[test]
fn if_nobody_stands_the_old_set_goes_on() {
    ext_with_validators(&[1_000, 2_000]).execute_with(|| {
        assert_ok!(unbond(1, 0, 1_000));
        assert_ok!(unbond(2, 1, 2_000));
        run_to_session(7);
        assert_eq!(validators(), [1, 0]);
        assert_eq!(CurrentValidators::<Test>::get().into_inner(), [1, 0]);
        assert_eq!(CurrentEra::<Test>::get().unwrap().index, 2);
        assert_ok!(bond(1, 0, 1_000));
        run_to_session(10);
        assert_eq!(validators(), [0]);
        Staking::do_try_state().unwrap();
    });
}

#[test]
fn a_validator_may_step_back_and_come_again() {
    ext_with_validators(&[1_000, 2_000]).execute_with(|| {
        let chill = |who, node| run(who, Call::chill { node });
        let validate = |who, node| run(who, Call::validate { node });
        assert_noop!(chill(1, 77), Error::<Test>::NoSuchNode);
        assert_noop!(chill(2, 0), Error::<Test>::NotOwner);
        assert_noop!(chill(1, 11), Error::<Test>::NotRootNode);
        assert_noop!(validate(1, 0), Error::<Test>::NotChilled);
        add_node(5, ROOT_SUBNET, acc(6));
        assert_noop!(chill(6, 5), Error::<Test>::NotBonded);
        assert_noop!(validate(6, 5), Error::<Test>::NotBonded);

        assert_ok!(chill(1, 0));
        assert_eq!(last_event(), Event::Chilled { node: 0 });
        assert_noop!(chill(1, 0), Error::<Test>::AlreadyChilled);
        run_to_session(4);
        assert_eq!(validators(), [1]);
        assert_ok!(validate(1, 0));
        assert_eq!(last_event(), Event::Unchilled { node: 0 });
        run_to_session(7);
        assert_eq!(validators(), [1, 0]);
    });
}

#[test]
fn a_validator_is_needed_until_its_keys_are_purged_and_its_era_is_over() {
    ext_with_validators(&[1_000, 2_000]).execute_with(|| {
        assert!(Staking::has_obligations(0));
        assert!(!Staking::has_obligations(11));
        // A node with keys does not change hands either.
        assert_noop!(
            Staking::coldkey_swapped(0, &acc(1), &acc(9)),
            Error::<Test>::SessionKeysSet
        );
        assert_ok!(Session::purge_keys(RuntimeOrigin::signed(acc(1))));
        assert!(Staking::has_obligations(0), "it still validates");
        run_to_session(4);
        assert_eq!(validators(), [1]);
        assert!(!Staking::has_obligations(0));
        add_node(0, ROOT_SUBNET, acc(9));
        assert_ok!(Staking::coldkey_swapped(0, &acc(1), &acc(9)));
        assert_ok!(set_keys(9, 90));
        run_to_session(7);
        assert_eq!(validators(), [1, 0]);
    });
}
