//! Paying sessions out, and what can go wrong with accounts.

use crate::{mock::*, pallet::*, Due};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::Pays,
    traits::fungible::{Mutate, MutateFreeze},
};
use quipu_primitives::{traits::Obligations, Balance, SessionId};

fn finalize(session: SessionId) -> frame_support::dispatch::DispatchResultWithPostInfo {
    Inference::finalize(RuntimeOrigin::signed(CAROL), session)
}

/// A usual session, settled in block 1 with 10 positions each of the chain of three.
fn settled() -> SessionId {
    let id = open_usual();
    settle(ALICE, id, &[(HEAD, 10), (MIDDLE, 10), (TAIL, 10)]).unwrap();
    events();
    id
}

#[test]
fn servers_are_paid_and_the_rest_goes_back() {
    story(|| {
        let id = settled();
        run_to(12);
        let paid = |node| Event::ServerPaid {
            session: id,
            node,
            to: coldkey(node),
            amount: 200,
            positions: 10,
        };
        assert_eq!(
            events(),
            [
                paid(HEAD),
                paid(MIDDLE),
                paid(TAIL),
                Event::SessionClosed {
                    session: id,
                    paid: 600,
                    refunded: USUAL_DEPOSIT - 600
                },
            ]
        );
        for node in [HEAD, MIDDLE, TAIL] {
            assert_eq!(free(coldkey(node)), ED + 200);
        }
        assert_eq!(free(coldkey(STANDBY)), ED);
        assert_eq!(free(ALICE), RICH - 600);
        assert_eq!(on_hold(HoldReason::Session, ALICE), 0);
        assert!(!Inference::has_obligations(HEAD));
    });
}

#[test]
fn anyone_finalizes_once_the_window_has_closed_and_only_once() {
    story(|| {
        let id = settled();
        run_busy_to(10);
        assert_noop!(finalize(id), Error::<Test>::WindowOpen);
        assert_noop!(finalize(77), Error::<Test>::UnknownSession);
        run_busy_to(11);
        let done = finalize(id).unwrap();
        assert_eq!(done.pays_fee, Pays::No);
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        assert_noop!(finalize(id), Error::<Test>::AlreadyClosed);
        // The queue pays nobody a second time.
        run_to(31);
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        assert_eq!(free(ALICE), RICH - 600);
    });
}

#[test]
fn an_expired_session_pays_what_was_redeemed() {
    story(|| {
        let id = open_usual();
        assert_ok!(redeem(id, STANDBY, 20));
        run_busy_to(60);
        assert_noop!(finalize(id), Error::<Test>::WindowOpen);
        run_busy_to(61);
        assert_ok!(finalize(id));
        assert_eq!(free(coldkey(STANDBY)), ED + 600);
        assert_eq!(free(ALICE), RICH - 600);
    });
}

#[test]
fn the_owner_at_payout_is_paid() {
    story(|| {
        let id = settled();
        KeysOf::insert(HEAD, (SUBNET, BOB, hotkey(HEAD)));
        run_to(12);
        assert_eq!(free(BOB), RICH + 200);
        assert_eq!(free(coldkey(HEAD)), ED);
        assert!(Sessions::<Test>::get(id).unwrap().closed);
    });
}

#[test]
fn a_server_may_be_its_own_consumer() {
    story(|| {
        let owner = coldkey(LONER);
        assert_ok!(Balances::transfer_keep_alive(
            RuntimeOrigin::signed(ALICE),
            owner,
            1_000
        ));
        let id = open(owner, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(owner, id, &[(LONER, 100)]));
        run_to(12);
        assert_eq!(free(owner), ED + 1_000);
        assert_eq!(on_hold(HoldReason::Session, owner), 0);
    });
}

#[test]
fn the_part_of_a_vanished_server_goes_back() {
    story(|| {
        let id = settled();
        KeysOf::remove(MIDDLE);
        run_to(12);
        assert!(events().contains(&Event::ServerUnpaid {
            session: id,
            node: MIDDLE,
            amount: 200
        }));
        assert_eq!(free(ALICE), RICH - 400);
        assert!(!Inference::has_obligations(MIDDLE));
    });
}

#[test]
fn a_dead_account_is_revived_by_a_payment_that_can() {
    story(|| {
        settled();
        KeysOf::insert(HEAD, (SUBNET, 555, hotkey(HEAD)));
        run_to(12);
        assert_eq!(free(555), 200);
    });
}

#[test]
fn a_payment_below_the_existential_deposit_goes_back_and_blocks_nothing() {
    story(|| {
        // 4 for a position, to an owner whose account does not exist.
        KeysOf::insert(LONER, (SMALL, 555, hotkey(LONER)));
        let id = open(ALICE, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(ALICE, id, &[(LONER, 1)]));
        let next = settled();
        run_to(12);
        assert_eq!(free(555), 0);
        assert_eq!(free(ALICE), RICH - 600);
        assert!(Sessions::<Test>::get(id).unwrap().closed);
        assert!(Sessions::<Test>::get(next).unwrap().closed);
    });
}

#[test]
fn a_freeze_of_the_consumer_does_not_stop_what_it_owes() {
    story(|| {
        let id = settled();
        assert_ok!(Balances::set_freeze(&1, &ALICE, RICH));
        run_to(12);
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        assert!(Sessions::<Test>::get(id).unwrap().closed);
    });
}

#[test]
fn a_refund_that_the_account_cant_take_waits_on_hold() {
    story(|| {
        // All but 8 of the deposit will be earned, and 8 is less than an account may hold.
        let id = open(ALICE, SMALL, &[(LONER, 408)]);
        assert_ok!(settle(ALICE, id, &[(LONER, 100)]));
        strip(ALICE);
        let before = events().len();
        assert!(before > 0);
        run_to(12);
        // The server has its pay all the same.
        assert_eq!(free(coldkey(LONER)), ED + 400);
        let item = Due::Session(id);
        assert_eq!(
            &events()[1..],
            [
                Event::RefundPostponed {
                    item,
                    to: ALICE,
                    amount: 8,
                    until: 31
                },
                Event::SessionClosed {
                    session: id,
                    paid: 400,
                    refunded: 0
                },
            ]
        );
        assert_eq!(on_hold(HoldReason::Session, ALICE), 8);
        assert!(!Inference::has_obligations(LONER));

        // Tried again, as long as it takes; the record stays.
        run_to(32);
        assert_eq!(
            events(),
            [Event::RefundPostponed {
                item,
                to: ALICE,
                amount: 8,
                until: 51
            }]
        );
        assert_ok!(Balances::transfer_keep_alive(
            RuntimeOrigin::signed(CAROL),
            ALICE,
            ED
        ));
        events();
        run_to(52);
        assert_eq!(
            events(),
            [Event::LateRefund {
                item,
                to: ALICE,
                amount: 8
            }]
        );
        assert_eq!(free(ALICE), ED + 8);
        assert_nothing_left(&[ALICE]);
    });
}

#[test]
fn a_payout_waits_for_its_gate() {
    story(|| {
        let id = settled();
        Withheld::insert(id, ());
        run_to(12);
        let item = Due::Session(id);
        assert_eq!(events(), [Event::PayoutPostponed { item, until: 21 }]);
        assert_eq!(on_hold(HoldReason::Session, ALICE), USUAL_DEPOSIT);
        assert!(Inference::has_obligations(HEAD));
        assert_noop!(finalize(id), Error::<Test>::PayoutWithheld);
        // Withheld or not, the window has closed.
        assert_noop!(redeem(id, HEAD, 11), Error::<Test>::WindowClosed);
        run_to(22);
        assert_eq!(events(), [Event::PayoutPostponed { item, until: 31 }]);
        Withheld::remove(id);
        assert_ok!(finalize(id));
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        run_to(43);
        assert_nothing_left(&[ALICE]);
    });
}

#[test]
fn the_gate_is_told_of_the_end_before_it_is_asked_whoever_asks_first() {
    story(|| {
        let [by_hand, by_queue] = [settled(), settled()];
        Ended::take();
        System::set_block_number(11);
        assert_ok!(finalize(by_hand));
        assert_eq!(Ended::take(), [by_hand]);
        Withheld::insert(by_queue, ());
        run_to(12);
        assert_eq!(Ended::take(), [by_queue]);
        // Asked again, but not told again.
        run_to(22);
        assert!(Ended::take().is_empty());
    });
}

#[test]
fn who_forfeits_its_pay_leaves_it_with_the_consumer() {
    story(|| {
        let id = settled();
        Forfeited::insert(id, vec![MIDDLE]);
        run_to(12);
        let all = events();
        let forfeited = Event::ServerForfeited {
            session: id,
            node: MIDDLE,
            amount: 200,
        };
        assert!(all.contains(&forfeited));
        let closed = Event::SessionClosed {
            session: id,
            paid: 400,
            refunded: USUAL_DEPOSIT - 400,
        };
        assert!(all.contains(&closed));
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        assert_eq!(free(coldkey(MIDDLE)), ED);
        assert_eq!(free(ALICE), RICH - 400);
        run_to(32);
        assert_nothing_left(&[ALICE]);
    });
}

#[test]
fn the_record_is_kept_for_a_while_and_then_nothing_is_left() {
    story(|| {
        let id = settled();
        run_to(31);
        assert!(Sessions::<Test>::contains_key(id));
        run_to(32);
        assert_nothing_left(&[ALICE]);
        assert_noop!(finalize(id), Error::<Test>::UnknownSession);
        assert_noop!(redeem(id, HEAD, 50), Error::<Test>::UnknownSession);
    });
}

#[test]
fn a_server_whose_price_overflows_earns_nothing_without_vouchers() {
    story(|| {
        seat(SUBNET, STANDBY, 10, 20, Balance::MAX);
        let id = open_usual();
        assert_eq!(server(id, STANDBY).earned(), 0);
        assert_noop!(redeem(id, STANDBY, 1), Error::<Test>::CapExceeded);
        run_to(62);
        assert_eq!(free(coldkey(STANDBY)), ED);
        assert_eq!(free(ALICE), RICH);
    });
}

#[test]
fn the_largest_amounts_neither_overflow_nor_get_lost() {
    new_test_ext().execute_with(|| {
        let rest = Balance::MAX - Balances::total_issuance();
        assert_ok!(Balances::mint_into(&ALICE, rest));
        assert_eq!(Balances::total_issuance(), Balance::MAX);
        let all = free(ALICE);

        // One position costs two thirds of all there is; two are no number.
        let price = Balance::MAX / 6;
        seat(SMALL, LONER, 0, 4, price);
        let id = open(ALICE, SMALL, &[(LONER, all - ED)]);
        assert_eq!(free(ALICE), ED);
        assert_noop!(redeem(id, LONER, 2), Error::<Test>::CapExceeded);
        assert_noop!(redeem(id, LONER, 100), Error::<Test>::CapExceeded);
        assert_ok!(redeem(id, LONER, 1));
        check();
        assert_ok!(settle(ALICE, id, &[(LONER, 1)]));
        run_to(12);
        assert_eq!(free(coldkey(LONER)), ED + 4 * price);
        assert_eq!(free(ALICE), all - 4 * price);
        assert_eq!(Balances::total_issuance(), Balance::MAX);
    });
}
