//! Opening sessions.

use crate::{mock::*, pallet::*, Due};
use frame_support::{assert_noop, assert_ok};
use quipu_primitives::{
    traits::{Obligations, Service, Services},
    Balance, Digest, NodeId,
};
use sp_core::Pair;
use sp_runtime::TokenError;

const NOBODY: NodeId = 99;

#[test]
fn a_consumer_opens_a_session_and_its_deposit_is_on_hold() {
    story(|| {
        assert_ok!(try_open(ALICE, SUBNET, &USUAL, USUAL_DURATION));
        assert_eq!(on_hold(HoldReason::Session, ALICE), USUAL_DEPOSIT);
        assert_eq!(free(ALICE), RICH - USUAL_DEPOSIT);
        assert_eq!(
            events(),
            [Event::SessionOpened {
                session: 0,
                consumer: ALICE,
                subnet: SUBNET,
                deposit: USUAL_DEPOSIT,
                expires_at: 51
            }]
        );
        let session = Sessions::<Test>::get(0).unwrap();
        assert_eq!(
            (session.opened_at, session.expires_at, session.closes_at),
            (1, 51, 61)
        );
        assert_eq!(session.integrator, Some(BOB));
        assert_eq!(queued(), [(61, Due::Session(0))]);
        for node in [HEAD, MIDDLE, TAIL, STANDBY] {
            assert!(Inference::has_obligations(node));
        }
        assert!(!Inference::has_obligations(WHOLE));
    });
}

#[test]
fn who_serves_a_session_and_for_whom_is_known_until_its_record_is_dropped() {
    story(|| {
        let serves = |session, node| {
            let service: Option<Service<AccountId, u64>> = Inference::service(session, node);
            service.map(|service| {
                assert_eq!(service.session_key, key().public().0);
                (service.consumer, service.opened_at)
            })
        };
        run_to(3);
        let session = open_usual();
        for node in [HEAD, MIDDLE, TAIL, STANDBY] {
            assert_eq!(serves(session, node), Some((ALICE, 3)));
        }
        assert_eq!(serves(session, WHOLE), None);
        assert_eq!(serves(session + 1, HEAD), None);
        // Until long after it was paid out.
        while Sessions::<Test>::contains_key(session) {
            assert_eq!(serves(session, HEAD), Some((ALICE, 3)));
            run_to(frame_system::Pallet::<Test>::block_number() + 1);
        }
        assert_eq!(serves(session, HEAD), None);
    });
}

#[test]
fn sessions_are_numbered_and_add_up() {
    story(|| {
        assert_eq!(open_usual(), 0);
        assert_eq!(open(BOB, SMALL, &[(LONER, 40)]), 1);
        assert_eq!(open_usual(), 2);
        assert_eq!(on_hold(HoldReason::Session, ALICE), 2 * USUAL_DEPOSIT);
        assert_eq!(on_hold(HoldReason::Session, BOB), 40);
        assert_eq!(Duties::<Test>::get(HEAD), 2);
        assert_eq!(OpenSessions::<Test>::get(ALICE), 2);
    });
}

#[test]
fn the_subnet_must_be_active() {
    story(|| {
        let caps = [(LONER, 10)];
        for subnet in [ASLEEP, 77] {
            assert_noop!(
                try_open(ALICE, subnet, &caps, 5),
                Error::<Test>::SubnetNotActive
            );
        }
        assert_ok!(try_open(ALICE, SMALL, &caps, 5));
    });
}

#[test]
fn servers_need_a_seat_in_this_subnet_and_stand_once() {
    story(|| {
        let with = |node| [(WHOLE, 10), (node, 10)];
        for node in [LONER, NOBODY] {
            assert_noop!(
                try_open(ALICE, SUBNET, &with(node), 5),
                Error::<Test>::NotSeated
            );
        }
        assert_noop!(
            try_open(ALICE, SUBNET, &with(WHOLE), 5),
            Error::<Test>::DuplicateServer
        );
        assert_ok!(try_open(ALICE, SUBNET, &with(HEAD), 5));
    });
}

#[test]
fn an_exact_chain_must_be_among_the_servers() {
    story(|| {
        let noop = |caps: &[(NodeId, Balance)]| {
            assert_noop!(try_open(ALICE, SUBNET, caps, 5), Error::<Test>::NoRoute);
        };
        noop(&[]);
        noop(&[(HEAD, 1), (MIDDLE, 1)]);
        noop(&[(HEAD, 1), (TAIL, 1)]);
        // 15..30 overlaps 10..20, and 0..10 leaves a gap before it.
        seat(SUBNET, 7, 15, 30, 1);
        noop(&[(HEAD, 1), (MIDDLE, 1), (7, 1)]);
        assert_ok!(try_open(
            ALICE,
            SUBNET,
            &[(HEAD, 1), (STANDBY, 1), (TAIL, 1), (7, 1)],
            5
        ));
    });
}

#[test]
fn the_duration_is_bounded() {
    story(|| {
        let open = |duration| try_open(ALICE, SMALL, &[(LONER, 10)], duration);
        assert_noop!(open(0), Error::<Test>::ZeroDuration);
        assert_noop!(open(MAX_DURATION + 1), Error::<Test>::DurationTooLong);
        assert_ok!(open(MAX_DURATION));
        assert_ok!(open(1));
    });
}

#[test]
fn a_consumer_has_a_bounded_number_of_unfinished_sessions() {
    story(|| {
        for _ in 0..MAX_OPEN {
            assert_ok!(try_open(ALICE, SMALL, &[(LONER, 10)], 5));
        }
        assert_noop!(
            try_open(ALICE, SMALL, &[(LONER, 10)], 5),
            Error::<Test>::TooManySessions
        );
        assert_ok!(try_open(BOB, SMALL, &[(LONER, 10)], 5));
        // Settled ones count until they are closed.
        assert_ok!(settle(ALICE, 0, &[]));
        assert_noop!(
            try_open(ALICE, SMALL, &[(LONER, 10)], 5),
            Error::<Test>::TooManySessions
        );
        run_to(12);
        assert_ok!(try_open(ALICE, SMALL, &[(LONER, 10)], 5));
    });
}

#[test]
fn a_deposit_beyond_the_consumers_means_changes_nothing() {
    story(|| {
        let open = |cap| try_open(ALICE, SMALL, &[(LONER, cap)], 5);
        assert_noop!(open(RICH - ED + 1), TokenError::FundsUnavailable);
        assert_noop!(open(Balance::MAX), TokenError::FundsUnavailable);
        assert_ok!(open(RICH - ED));
        assert_noop!(open(1), TokenError::FundsUnavailable);
    });
}

#[test]
fn caps_that_overflow_are_refused() {
    story(|| {
        assert_noop!(
            try_open(ALICE, SUBNET, &[(WHOLE, Balance::MAX), (HEAD, 1)], 5),
            Error::<Test>::DepositOverflow
        );
    });
}

#[test]
fn a_session_that_costs_nothing_opens_and_closes() {
    story(|| {
        assert_ok!(try_open(ALICE, SMALL, &[(LONER, 0)], 5));
        assert_noop!(redeem(0, LONER, 1), Error::<Test>::CapExceeded);
        run_to(17);
        assert!(Sessions::<Test>::get(0).unwrap().closed);
        assert_eq!(free(ALICE), RICH);
    });
}

#[test]
fn what_a_server_serves_and_asks_is_fixed_at_opening() {
    story(|| {
        let id = open_usual();
        seat(SUBNET, HEAD, 0, 30, 1_000);
        assert_ok!(redeem(id, HEAD, 5));
        assert_eq!(server(id, HEAD).earned(), 100);
        Models::insert(SUBNET, (30, 3, true));
        assert_ok!(redeem(id, HEAD, 6));
    });
}

#[test]
fn ids_are_never_reused() {
    story(|| {
        NextSession::<Test>::put(u64::MAX);
        assert_noop!(
            try_open(ALICE, SMALL, &[(LONER, 10)], 5),
            Error::<Test>::IdsExhausted
        );
        NextSession::<Test>::put(u64::MAX - 1);
        assert_ok!(try_open(ALICE, SMALL, &[(LONER, 10)], 5));
    });
}

#[test]
fn nobody_unsigned_does_anything() {
    use frame_system::RawOrigin::None;
    use sp_runtime::DispatchError::BadOrigin;
    story(|| {
        let digest = Digest::default();
        let (voucher, signature) = voucher(0, LONER, 1);
        let finish = quipu_primitives::job::FinishReason::Stop;
        let none = || RuntimeOrigin::from(None);
        assert_noop!(
            Inference::open_session(none(), 1, digest, caps(&[]), 1, digest, Option::None),
            BadOrigin
        );
        assert_noop!(
            Inference::settle(none(), 0, vouchers(0, &[]), digest),
            BadOrigin
        );
        assert_noop!(Inference::redeem(none(), 0, voucher, signature), BadOrigin);
        assert_noop!(Inference::finalize(none(), 0), BadOrigin);
        assert_noop!(
            Inference::request(none(), 1, Default::default(), 1, 1),
            BadOrigin
        );
        assert_noop!(
            Inference::submit_result(none(), 0, Default::default(), finish, 0, digest),
            BadOrigin
        );
        assert_noop!(Inference::pay_job(none(), 0), BadOrigin);
        assert_noop!(Inference::refund_job(none(), 0), BadOrigin);
    });
}
