//! Vouchers: redeeming and settling.

use crate::{mock::*, pallet::*, Due, Settlement};
use frame_support::{assert_noop, assert_ok};
use quipu_primitives::{voucher_payload, Voucher};
use sp_core::{sr25519, Pair};

#[test]
fn a_server_redeems_rising_vouchers_and_is_not_paid_yet() {
    story(|| {
        let id = open_usual();
        events();
        assert_ok!(redeem(id, HEAD, 3));
        assert_ok!(redeem(id, HEAD, 7));
        assert_eq!(
            events(),
            [
                Event::VoucherRecorded {
                    session: id,
                    node: HEAD,
                    positions: 3,
                    earned: 60
                },
                Event::VoucherRecorded {
                    session: id,
                    node: HEAD,
                    positions: 7,
                    earned: 140
                },
            ]
        );
        assert_eq!(server(id, HEAD).positions, 7);
        assert_eq!(server(id, MIDDLE).positions, 0);
        assert_eq!(free(coldkey(HEAD)), ED);
        assert_eq!(on_hold(HoldReason::Session, ALICE), USUAL_DEPOSIT);
    });
}

#[test]
fn a_replayed_voucher_is_refused() {
    story(|| {
        let id = open_usual();
        assert_noop!(redeem(id, HEAD, 0), Error::<Test>::VoucherReplayed);
        assert_ok!(redeem(id, HEAD, 3));
        assert_noop!(redeem(id, HEAD, 3), Error::<Test>::VoucherReplayed);
        assert_noop!(redeem(id, HEAD, 2), Error::<Test>::VoucherReplayed);
        assert_ok!(redeem(id, HEAD, 4));
    });
}

#[test]
fn an_overspent_voucher_is_refused() {
    story(|| {
        let id = open_usual();
        // 1,000 at 20 a position: 50 positions and no more.
        assert_noop!(redeem(id, HEAD, 51), Error::<Test>::CapExceeded);
        assert_ok!(redeem(id, HEAD, 50));
        assert_noop!(redeem(id, HEAD, 51), Error::<Test>::CapExceeded);
        // The rest of the deposit is not for this server.
        assert_ok!(redeem(id, MIDDLE, 50));
    });
}

#[test]
fn positions_end_with_the_models_context() {
    story(|| {
        let id = open(ALICE, SMALL, &[(LONER, 10_000)]);
        assert_noop!(
            redeem(id, LONER, 101),
            Error::<Test>::PositionsExceedContext
        );
        assert_noop!(
            redeem(id, LONER, u32::MAX),
            Error::<Test>::PositionsExceedContext
        );
        assert_ok!(redeem(id, LONER, 100));
    });
}

#[test]
fn a_wrongly_signed_voucher_is_refused() {
    story(|| {
        let id = open_usual();
        let (good, signature) = voucher(id, HEAD, 3);
        let redeem = |voucher, signature| {
            Inference::redeem(RuntimeOrigin::signed(BOB), id, voucher, signature)
        };
        let other_key = sr25519::Pair::from_seed(&[8; 32]);
        let bad = [
            // Another key.
            other_key.sign(&voucher_payload(&genesis(), &good)).0,
            // Another chain.
            key().sign(&voucher_payload(&[1; 32], &good)).0,
            // Other positions.
            key()
                .sign(&voucher_payload(
                    &genesis(),
                    &Voucher {
                        positions: 4,
                        ..good
                    },
                ))
                .0,
            // Another server, another session.
            key()
                .sign(&voucher_payload(
                    &genesis(),
                    &Voucher { node: TAIL, ..good },
                ))
                .0,
            key()
                .sign(&voucher_payload(
                    &genesis(),
                    &Voucher { session: 5, ..good },
                ))
                .0,
            [0; 64],
            [0xff; 64],
        ];
        for signature in bad {
            assert_noop!(redeem(good, signature), Error::<Test>::BadVoucherSignature);
        }
        assert_ok!(redeem(good, signature));
    });
}

#[test]
fn a_voucher_counts_only_in_its_own_session_and_for_its_servers() {
    story(|| {
        let (first, second) = (open_usual(), open_usual());
        let (foreign, signature) = voucher(second, HEAD, 3);
        let alice = || RuntimeOrigin::signed(ALICE);
        assert_noop!(
            Inference::redeem(alice(), first, foreign, signature),
            Error::<Test>::VoucherForOtherSession
        );
        assert_noop!(
            Inference::settle(alice(), first, vouchers(second, &[(HEAD, 3)]), ROOT),
            Error::<Test>::VoucherForOtherSession
        );
        assert_noop!(redeem(first, WHOLE, 1), Error::<Test>::NotASessionServer);
        assert_noop!(redeem(77, HEAD, 1), Error::<Test>::UnknownSession);
        assert_ok!(Inference::redeem(alice(), second, foreign, signature));
    });
}

#[test]
fn the_consumer_settles_all_servers_at_once() {
    story(|| {
        let id = open_usual();
        events();
        run_to(5);
        assert_ok!(settle(
            ALICE,
            id,
            &[(HEAD, 10), (MIDDLE, 4), (STANDBY, 6), (TAIL, 10)]
        ));
        assert_eq!(
            events().last(),
            Some(&Event::SessionSettled {
                session: id,
                receipt_root: ROOT,
                closes_at: 15
            })
        );
        let session = Sessions::<Test>::get(id).unwrap();
        assert_eq!(
            session.settlement,
            Some(Settlement {
                receipt_root: ROOT,
                at: 5
            })
        );
        assert_eq!(
            session
                .servers
                .iter()
                .map(|server| server.earned())
                .collect::<Vec<_>>(),
            [200, 80, 200, 180]
        );
        // Its entry in the queue has moved.
        assert_eq!(queued(), [(15, Due::Session(id))]);
    });
}

#[test]
fn only_the_consumer_settles_once_and_in_time() {
    story(|| {
        let id = open_usual();
        assert_noop!(settle(BOB, id, &[]), Error::<Test>::NotConsumer);
        assert_noop!(settle(ALICE, 77, &[]), Error::<Test>::UnknownSession);
        assert_ok!(settle(ALICE, id, &[]));
        assert_noop!(
            settle(ALICE, id, &[(HEAD, 1)]),
            Error::<Test>::AlreadySettled
        );

        let late = open_usual();
        let expires_at = Sessions::<Test>::get(late).unwrap().expires_at;
        run_busy_to(expires_at);
        assert_noop!(
            settle(ALICE, late, &[(HEAD, 1)]),
            Error::<Test>::SessionExpired
        );
    });
}

#[test]
fn a_session_can_be_settled_in_its_last_block() {
    story(|| {
        let id = open_usual();
        run_to(50);
        assert_ok!(settle(ALICE, id, &[(HEAD, 1)]));
        // Never later than if it had expired.
        assert_eq!(Sessions::<Test>::get(id).unwrap().closes_at, 60);
    });
}

#[test]
fn one_bad_voucher_stops_the_whole_settlement() {
    story(|| {
        let id = open_usual();
        assert_ok!(redeem(id, TAIL, 5));
        for (bad, error) in [
            ((TAIL, 4), Error::<Test>::VoucherReplayed),
            ((MIDDLE, 51), Error::<Test>::CapExceeded),
            ((WHOLE, 1), Error::<Test>::NotASessionServer),
            ((STANDBY, 101), Error::<Test>::PositionsExceedContext),
        ] {
            assert_noop!(settle(ALICE, id, &[(HEAD, 10), bad]), error);
        }
        let mut forged = vouchers(id, &[(HEAD, 10), (MIDDLE, 10)]);
        forged[1].1 = forged[0].1;
        assert_noop!(
            Inference::settle(RuntimeOrigin::signed(ALICE), id, forged, ROOT),
            Error::<Test>::BadVoucherSignature
        );
        assert_ok!(settle(ALICE, id, &[(HEAD, 10), (TAIL, 5)]));
    });
}

#[test]
fn settling_with_what_is_recorded_changes_nothing_about_it() {
    story(|| {
        let id = open_usual();
        assert_ok!(redeem(id, HEAD, 10));
        assert_ok!(settle(ALICE, id, &[(HEAD, 10), (TAIL, 0)]));
        assert_eq!(server(id, HEAD).positions, 10);
        assert_eq!(server(id, TAIL).positions, 0);
        // Equal or not, it must be signed.
        let other = open_usual();
        let mut forged = vouchers(other, &[(TAIL, 0)]);
        forged[0].1 = [0; 64];
        assert_noop!(
            Inference::settle(RuntimeOrigin::signed(ALICE), other, forged, ROOT),
            Error::<Test>::BadVoucherSignature
        );
    });
}

#[test]
fn settling_with_old_vouchers_gains_nothing() {
    story(|| {
        let id = open_usual();
        run_to(5);
        assert_ok!(settle(ALICE, id, &[(HEAD, 1)]));
        run_to(14);
        assert_ok!(redeem(id, HEAD, 40));
        assert_eq!(server(id, HEAD).earned(), 800);
        // In the block in which the window closes it is too late, whether anyone closed it or not.
        run_busy_to(15);
        assert_noop!(redeem(id, HEAD, 41), Error::<Test>::WindowClosed);
        run_to(16);
        assert_noop!(redeem(id, HEAD, 41), Error::<Test>::WindowClosed);
        assert_eq!(free(coldkey(HEAD)), ED + 800);
    });
}

#[test]
fn after_the_consumer_vanishes_servers_still_redeem() {
    story(|| {
        let id = open_usual();
        run_to(60);
        assert_ok!(redeem(id, HEAD, 10));
        assert_ok!(redeem(id, TAIL, 10));
        run_busy_to(61);
        assert_noop!(redeem(id, MIDDLE, 10), Error::<Test>::WindowClosed);
        run_to(62);
        assert_eq!(free(coldkey(HEAD)), ED + 200);
        assert_eq!(free(coldkey(TAIL)), ED + 200);
        assert_eq!(free(coldkey(MIDDLE)), ED);
        assert_eq!(free(ALICE), RICH - 400);
        assert_eq!(Sessions::<Test>::get(id).unwrap().settlement, None);
    });
}
