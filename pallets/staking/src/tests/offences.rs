//! What an offence costs, through the real `pallet-offences`.

use super::{election::validators, *};
use frame_support::traits::KeyOwnerProofSystem;
use quipu_primitives::node_account;
use sp_runtime::{key_types::DUMMY, testing::UintAuthorityId};
use sp_staking::{
    offence::{Kind, Offence, OffenceError, ReportOffence},
    SessionIndex,
};

/// An offence of the nodes, each costing `percent` for every offender of the same slot.
struct Misdeed {
    nodes: Vec<NodeId>,
    percent: u32,
    session: SessionIndex,
    slot: u64,
}

impl Offence<(AccountId32, ())> for Misdeed {
    const ID: Kind = *b"test:misdeed0000";
    type Slot = u64;
    fn offenders(&self) -> Vec<(AccountId32, ())> {
        self.nodes
            .iter()
            .map(|node| (node_account(*node).into(), ()))
            .collect()
    }
    fn session_index(&self) -> SessionIndex {
        self.session
    }
    fn validator_set_count(&self) -> u32 {
        4
    }
    fn slot(&self) -> u64 {
        self.slot
    }
    fn slash_fraction(&self, offenders: u32) -> Perbill {
        Perbill::from_percent(self.percent * offenders)
    }
}

fn report(nodes: &[NodeId], percent: u32, slot: u64) -> Result<(), OffenceError> {
    let session = Session::current_index();
    let misdeed = Misdeed {
        nodes: nodes.to_vec(),
        percent,
        session,
        slot,
    };
    let reported = Offences::report_offence(vec![], misdeed);
    Staking::do_try_state().unwrap();
    reported
}

fn four() -> sp_io::TestExternalities {
    ext_with_validators(&[4_000, 3_000, 2_000, 1_000])
}

#[test]
fn an_offender_is_slashed_disabled_chilled_and_replaced_early() {
    four().execute_with(|| {
        add_node(5, ROOT_SUBNET, acc(6));
        let issuance = Balances::total_issuance();
        assert_ok!(unbond(1, 0, 1_000));
        assert_ok!(report(&[0], 10, 1));
        // A tenth of what is bonded and of what waits.
        assert_eq!((Staking::self_bond(0), chunks(0)), (2_700, vec![900]));
        assert_eq!(Balances::total_issuance(), issuance - 400);
        let tenth = Perbill::from_percent(10);
        let events = events();
        assert!(events.contains(&Event::OffenceReported {
            node: 0,
            fraction: tenth,
            session: 0
        }));
        assert!(events.contains(&Event::Chilled { node: 0 }));
        assert!(events.contains(&Event::Slashed {
            node: 0,
            amount: 400
        }));
        assert_eq!(Session::disabled_validators(), [0]);

        // Elected anew at the next change, in office one session later, long before the era ends.
        run_to_session(2);
        assert_eq!(validators(), [1, 2, 3]);
        assert_eq!(
            CurrentEra::<Test>::get(),
            Some(Era {
                index: 1,
                first_session: 2
            })
        );
        // It stays out until its owner asks.
        run_to_session(5);
        assert_eq!(validators(), [1, 2, 3]);
        assert_ok!(bond(1, 0, 5_000));
        run_to_session(8);
        assert_eq!(validators(), [1, 2, 3]);
        assert_ok!(run(1, Call::validate { node: 0 }));
        run_to_session(11);
        assert_eq!(validators(), [0, 1, 2, 3]);
    });
}

#[test]
fn no_offence_costs_less_than_the_floor() {
    four().execute_with(|| {
        MinOffenceFraction::set(Perbill::one());
        assert_ok!(report(&[0], 1, 1));
        assert!(Staking::is_free(0));
        assert_eq!(Balances::total_balance(&acc(1)), RICH - 4_000);
        // With a fresh bond it may start over.
        assert_ok!(bond(1, 0, 2_000));
        assert!(!Ledgers::<Test>::get(0).unwrap().chilled);
    });
}

#[test]
fn a_slash_rounds_against_the_offender() {
    four().execute_with(|| {
        assert_ok!(bond(1, 0, 1));
        assert_ok!(report(&[0], 1, 1));
        assert_eq!(Staking::self_bond(0), 4_001 - 41);
    });
}

#[test]
fn one_report_counts_once() {
    four().execute_with(|| {
        assert_ok!(report(&[0], 10, 1));
        assert_eq!(report(&[0], 10, 1), Err(OffenceError::DuplicateReport));
        assert_eq!(Staking::self_bond(0), 3_600);
    });
}

#[test]
fn an_offender_named_again_pays_only_what_the_offence_got_dearer() {
    four().execute_with(|| {
        assert_ok!(report(&[0], 10, 1));
        assert_eq!(Staking::self_bond(0), 3_600);
        // A second offender at the same time: both are named, at 20 % now.
        assert_ok!(report(&[1], 10, 1));
        assert_eq!(Staking::self_bond(1), 2_400);
        assert_eq!(Staking::self_bond(0), 3_199);
        // Another, smaller offence in the same session adds nothing.
        assert_ok!(report(&[0], 15, 2));
        assert_eq!(Staking::self_bond(0), 3_199);
        // In another session it does.
        run_to_session(1);
        assert_ok!(report(&[0], 10, 3));
        assert_eq!(Staking::self_bond(0), 2_879);
    });
}

#[test]
fn who_left_is_slashed_in_what_still_waits() {
    four().execute_with(|| {
        assert_ok!(unbond(1, 0, 4_000));
        run_to_session(4);
        assert_eq!(validators(), [1, 2, 3]);
        let late = Misdeed {
            nodes: vec![0],
            percent: 50,
            session: 0,
            slot: 1,
        };
        assert_ok!(Offences::report_offence(vec![], late));
        assert_eq!(chunks(0), [2_000]);
        run_to(1 + PERIOD);
        assert_ok!(withdraw(9, 0));
        assert_eq!(Balances::total_balance(&acc(1)), RICH - 2_000);
    });
}

#[test]
fn what_waits_to_be_slashed_counts_for_nothing_and_cannot_be_taken_out() {
    four().execute_with(|| {
        Deferred::set(true);
        assert_ok!(unbond(1, 0, 1_000));
        Told::set(vec![]);
        assert_ok!(report(&[0], 50, 1));
        assert_eq!(Staking::slashable(0), 4_000, "nothing is taken yet");
        assert_eq!(Staking::self_bond(0), 1_000);
        assert_eq!(Told::get(), [(0, 1_000)]);
        assert!(Session::disabled_validators().contains(&0));

        // Nothing comes out, though it is due; the rest may still be asked back.
        run_to(1 + PERIOD);
        assert_noop!(withdraw(9, 0), Error::<Test>::SlashPending);
        assert_ok!(unbond(1, 0, 500));
        assert_eq!(Staking::self_bond(0), 500);
        // It would be elected with its whole bond, and is with what counts of a larger one.
        assert_ok!(run(1, Call::validate { node: 0 }));
        run_to_session(Session::current_index() + 4);
        assert_eq!(validators(), [1, 2, 3]);
        assert_ok!(bond(1, 0, 600));
        assert_eq!(Staking::self_bond(0), 1_100);
        run_to_session(Session::current_index() + 4);
        assert_eq!(validators(), [1, 2, 0, 3]);

        decide(0);
        assert_eq!(Staking::slashable(0), 2_600);
        assert_ok!(withdraw(9, 0));
        assert_eq!(Told::get().last(), Some(&(0, Staking::self_bond(0))));
    });
}

#[test]
fn who_is_acquitted_has_all_back_but_stays_out_until_it_asks() {
    four().execute_with(|| {
        Deferred::set(true);
        assert_ok!(report(&[0], 100, 1));
        assert_eq!(Staking::self_bond(0), 0);
        acquit(0);
        assert_eq!(Staking::self_bond(0), 4_000);
        assert_eq!(Told::get(), [(0, 0), (0, 4_000)]);
        run_to_session(5);
        assert_eq!(validators(), [1, 2, 3]);
        assert_ok!(run(1, Call::validate { node: 0 }));
        run_to_session(9);
        assert_eq!(validators(), [0, 1, 2, 3]);
    });
}

#[test]
fn whoever_reports_an_offence_is_named_by_an_account_that_somebody_has_the_key_to() {
    four().execute_with(|| {
        let report = |reporter: AccountId32, slot| {
            let misdeed = Misdeed {
                nodes: vec![0],
                percent: 10 * slot as u32,
                session: 0,
                slot,
            };
            assert_ok!(Offences::report_offence(vec![reporter], misdeed));
        };
        // The author of the block, a passer-by, and an author whose node is gone.
        report(node_account(1).into(), 1);
        report(acc(9), 2);
        report(node_account(77).into(), 3);
        let percent = Perbill::from_percent;
        let charges: Vec<_> = Charges::get()
            .into_iter()
            .map(|charge| {
                assert_eq!((charge.node, charge.price, charge.victim), (0, 0, None));
                (charge.cause, charge.reporter)
            })
            .collect();
        let cause = |from, to| quipu_primitives::traits::Cause::Consensus {
            session: 0,
            from: percent(from),
            to: percent(to),
        };
        assert_eq!(
            charges,
            [
                (cause(0, 10), Some(acc(2))),
                (cause(10, 20), Some(acc(9))),
                (cause(20, 30), None),
            ]
        );
    });
}

#[test]
fn an_offence_of_nobody_is_no_offence() {
    four().execute_with(|| {
        struct Stranger;
        impl Offence<(AccountId32, ())> for Stranger {
            const ID: Kind = *b"test:stranger000";
            type Slot = u64;
            fn offenders(&self) -> Vec<(AccountId32, ())> {
                // No node's account; and the account of a node that is no more.
                vec![(acc(1), ()), (node_account(77).into(), ())]
            }
            fn session_index(&self) -> SessionIndex {
                0
            }
            fn validator_set_count(&self) -> u32 {
                4
            }
            fn slot(&self) -> u64 {
                0
            }
            fn slash_fraction(&self, _: u32) -> Perbill {
                Perbill::one()
            }
        }
        let issuance = Balances::total_issuance();
        assert_ok!(Offences::report_offence(vec![], Stranger));
        assert_eq!(Balances::total_issuance(), issuance);
        Staking::do_try_state().unwrap();
    });
}

#[test]
fn a_key_is_proven_to_belong_to_a_validator_of_a_past_session() {
    four().execute_with(|| {
        run_to_session(1);
        let key = (DUMMY, UintAuthorityId(2));
        let proof = Historical::prove(key).unwrap();
        run_to_session(4);
        let key = (DUMMY, UintAuthorityId(2));
        assert_eq!(
            Historical::check_proof(key, proof),
            Some((node_account(2).into(), ()))
        );
    });
}

#[test]
fn what_can_no_longer_be_reported_is_forgotten() {
    four().execute_with(|| {
        run_to_session(1);
        assert_ok!(report(&[0, 1], 10, 1));
        assert_eq!(OffenceFractions::<Test>::iter_prefix(1).count(), 2);
        run_to_session(1 + WINDOW);
        assert_eq!(OffenceFractions::<Test>::iter_prefix(1).count(), 2);
        assert!(Historical::historical_root(1).is_some());
        run_to_session(2 + WINDOW);
        assert_eq!(OffenceFractions::<Test>::iter().count(), 0);
        assert!(Historical::historical_root(1).is_none());
        assert!(Historical::historical_root(2).is_some());
    });
}
