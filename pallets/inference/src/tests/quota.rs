//! Sessions that the consumer's quota pays for.

use crate::{mock::*, pallet::*};
use frame_support::{assert_noop, assert_ok};
use quipu_primitives::Balance;
use sp_runtime::{DispatchError, DispatchResult, TokenError};

const FUNDS: Balance = 100_000;

fn try_open_by_quota(list: &[(quipu_primitives::NodeId, Balance)]) -> DispatchResult {
    Inference::open_session_by_quota(
        RuntimeOrigin::signed(ALICE),
        SUBNET,
        sp_core::Pair::public(&key()).0,
        caps(list),
        USUAL_DURATION,
        [3; 32],
        None,
    )
}

fn send(from: AccountId, to: AccountId, amount: Balance) {
    Balances::transfer_allow_death(RuntimeOrigin::signed(from), to, amount).unwrap();
}

fn with_quota(quota: Balance, tell: impl FnOnce()) {
    story(|| {
        send(CAROL, PAYER, FUNDS);
        QuotaOf::insert(ALICE, quota);
        tell();
        QuotaOf::remove(ALICE);
    });
}

#[test]
fn the_payer_pays_and_what_is_not_needed_is_given_back() {
    with_quota(5_000, || {
        let before = free(ALICE);
        assert_ok!(try_open_by_quota(&USUAL));
        assert_eq!(free(ALICE), before);
        assert_eq!(on_hold(HoldReason::Session, ALICE), 0);
        assert_eq!(on_hold(HoldReason::Session, PAYER), USUAL_DEPOSIT);
        assert_eq!(QuotaOf::get(ALICE), Some(5_000 - USUAL_DEPOSIT));
        let session = Sessions::<Test>::get(0).unwrap();
        assert_eq!((session.consumer, *session.payer()), (ALICE, PAYER));

        // The consumer still settles, and nobody else.
        assert_noop!(settle(BOB, 0, &[(HEAD, 5)]), Error::<Test>::NotConsumer);
        assert_ok!(settle(ALICE, 0, &[(HEAD, 5), (MIDDLE, 5), (TAIL, 4)]));
        let earned: Balance = [HEAD, MIDDLE, TAIL]
            .map(|node| server(0, node).earned())
            .iter()
            .sum();
        assert!(earned > 0);
        run_to(System::block_number() + WINDOW + 1);
        assert_eq!(free(ALICE), before);
        assert_eq!(on_hold(HoldReason::Session, PAYER), 0);
        assert_eq!(free(PAYER), FUNDS - earned);
        assert_eq!(QuotaOf::get(ALICE), Some(5_000 - earned));
    });
}

#[test]
fn who_vanishes_has_its_quota_back_but_for_what_was_redeemed() {
    with_quota(5_000, || {
        assert_ok!(try_open_by_quota(&USUAL));
        assert_ok!(redeem(0, HEAD, 3));
        let earned = server(0, HEAD).earned();
        run_to(1 + USUAL_DURATION + WINDOW + 1);
        assert_eq!(free(PAYER), FUNDS - earned);
        assert_eq!(QuotaOf::get(ALICE), Some(5_000 - earned));
    });
}

#[test]
fn what_a_server_forfeits_goes_back_to_the_payer() {
    with_quota(5_000, || {
        assert_ok!(try_open_by_quota(&USUAL));
        assert_ok!(settle(ALICE, 0, &[(HEAD, 5)]));
        Forfeited::insert(0, vec![HEAD]);
        run_to(System::block_number() + WINDOW + 1);
        assert_eq!(free(PAYER), FUNDS);
        assert_eq!(QuotaOf::get(ALICE), Some(5_000));
    });
}

#[test]
fn no_more_is_paid_than_the_quota_the_price_and_the_funds_allow() {
    with_quota(USUAL_DEPOSIT - 1, || {
        assert_noop!(
            try_open_by_quota(&USUAL),
            DispatchError::Other("QuotaExceeded")
        );
        QuotaOf::insert(ALICE, USUAL_DEPOSIT);
        // Dearer than any server may be.
        let most = HighestPrice::get();
        HighestPrice::set(0);
        assert_noop!(try_open_by_quota(&USUAL), Error::<Test>::PriceAboveQuota);
        HighestPrice::set(most);
        // The payer can't hold so much: nothing of the quota is taken either.
        send(PAYER, CAROL, FUNDS - USUAL_DEPOSIT);
        assert_noop!(try_open_by_quota(&USUAL), TokenError::FundsUnavailable);
        assert_eq!(QuotaOf::get(ALICE), Some(USUAL_DEPOSIT));
        send(CAROL, PAYER, FUNDS - USUAL_DEPOSIT);
        assert_ok!(try_open_by_quota(&USUAL));
    });
}
