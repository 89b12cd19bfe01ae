//! One-shot jobs.

use crate::{mock::*, pallet::*, Due, Fee};
use frame_support::{assert_noop, assert_ok, dispatch::Pays, BoundedVec};
use quipu_primitives::{
    job::FinishReason,
    traits::{Answered, Obligations, Services},
    views::JobStatus,
    Balance, BoundedBytes, Digest, JobId, SessionId,
};
use sp_runtime::{DispatchResult, TokenError};
use std::collections::BTreeMap;

const FEE: Balance = 500;
/// The hotkey of the only server of the small subnet: every job there is its own.
fn server_key() -> AccountId {
    hotkey(LONER)
}

fn bytes<const N: u32>(text: &[u8]) -> BoundedBytes<N> {
    BoundedVec::try_from(text.to_vec()).unwrap()
}

fn try_request(prompt: &[u8], max_tokens: u32, fee: Balance) -> DispatchResult {
    Inference::request(
        RuntimeOrigin::signed(ALICE),
        SMALL,
        bytes(prompt),
        max_tokens,
        fee,
    )
    .map(|_| ())
    .map_err(|error| error.error)
}

fn submit_as(who: AccountId, job: JobId, session: SessionId, root: Digest) -> DispatchResult {
    let finish = FinishReason::Stop;
    Inference::submit_result(
        RuntimeOrigin::signed(who),
        job,
        bytes(b"Paris."),
        finish,
        session,
        root,
    )
}

fn submit(job: JobId, session: SessionId) -> DispatchResult {
    submit_as(server_key(), job, session, ROOT)
}

/// A session that the server ran for itself, settled.
fn own_session() -> SessionId {
    let id = open(server_key(), SMALL, &[(LONER, 400)]);
    settle(server_key(), id, &[(LONER, 12)]).unwrap();
    id
}

#[test]
fn a_job_is_requested_answered_and_paid() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        assert_eq!(
            events(),
            [Event::JobRequested {
                job,
                subnet: SMALL,
                node: LONER,
                requester: ALICE,
                max_tokens: 8,
                fee: FEE,
                deadline: 16,
            }]
        );
        assert_eq!(on_hold(HoldReason::Job, ALICE), FEE);
        assert!(Inference::has_obligations(LONER));
        assert_eq!(queued(), [(17, Due::Job(job))]);

        run_to(3);
        let session = own_session();
        events();
        assert_ok!(submit(job, session));
        assert_eq!(
            events(),
            [Event::JobDone {
                job,
                node: LONER,
                session,
                receipt_root: ROOT,
                finish: FinishReason::Stop,
                pays_at: 13,
            }]
        );
        // The fee waits for a window.
        run_to(13);
        assert_eq!(on_hold(HoldReason::Job, ALICE), FEE);
        let owner = coldkey(LONER);
        let before = free(owner);
        run_to(14);
        assert!(events().contains(&Event::JobPaid {
            job,
            node: LONER,
            to: owner,
            amount: FEE
        }));
        // 48 are the session's, which closed in the same block.
        assert_eq!(free(owner), before + FEE + 48);
        assert_eq!(free(ALICE), RICH - FEE);
        assert!(!Inference::has_obligations(LONER));
        assert!(Jobs::<Test>::contains_key(job));
        run_to(34);
        assert_nothing_left(&[ALICE, server_key()]);
    });
}

#[test]
fn a_request_that_cant_be_served_is_refused() {
    story(|| {
        assert_noop!(try_request(b"", 1, FEE), Error::<Test>::EmptyPrompt);
        assert_noop!(try_request(&[0xff, 0xfe], 1, FEE), Error::<Test>::NotUtf8);
        assert_noop!(try_request(b"a", 0, FEE), Error::<Test>::NoTokens);
        assert_noop!(
            try_request(b"a", MAX_TOKENS + 1, FEE),
            Error::<Test>::TooManyTokens
        );
        // More than the model's context holds.
        assert_noop!(
            try_request(b"a", MAX_TOKENS, FEE),
            Error::<Test>::TooManyTokens
        );
        assert_noop!(try_request(b"a", 1, MIN_FEE - 1), Error::<Test>::FeeTooLow);
        assert_noop!(try_request(b"a", 1, RICH), TokenError::FundsUnavailable);
        assert_noop!(
            try_request(b"a", 1, Balance::MAX),
            TokenError::FundsUnavailable
        );
        assert_ok!(try_request("\u{1fab6}".as_bytes(), 100, MIN_FEE));
    });
}

#[test]
fn the_subnet_of_a_job_must_be_active_and_have_servers() {
    story(|| {
        let ask =
            |subnet| Inference::request(RuntimeOrigin::signed(ALICE), subnet, bytes(b"a"), 1, FEE);
        assert_noop!(ask(ASLEEP), Error::<Test>::SubnetNotActive);
        assert_noop!(ask(77), Error::<Test>::SubnetNotActive);
        assert_noop!(ask(EMPTY), Error::<Test>::NoServer);
        assert_ok!(ask(SMALL));
    });
}

#[test]
fn job_ids_are_never_reused() {
    story(|| {
        NextJob::<Test>::put(u64::MAX);
        assert_noop!(try_request(b"a", 1, FEE), Error::<Test>::IdsExhausted);
    });
}

#[test]
fn every_seated_server_is_drawn_about_as_often() {
    story(|| {
        let mut drawn = BTreeMap::new();
        for _ in 0..1_000 {
            let job = request(ALICE, SUBNET, MIN_FEE);
            *drawn
                .entry(Jobs::<Test>::get(job).unwrap().node)
                .or_insert(0u32) += 1;
        }
        assert_eq!(
            drawn.keys().copied().collect::<Vec<_>>(),
            [HEAD, MIDDLE, TAIL, STANDBY, WHOLE]
        );
        // 200 each expected, with a standard deviation of 12.6.
        assert!(
            drawn.values().all(|count| (140..260).contains(count)),
            "{drawn:?}"
        );
    });
}

#[test]
fn only_the_drawn_servers_hotkey_answers() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let session = own_session();
        for who in [ALICE, coldkey(LONER), hotkey(HEAD)] {
            assert_noop!(
                submit_as(who, job, session, ROOT),
                Error::<Test>::NotAssignedServer
            );
        }
        assert_noop!(submit(77, session), Error::<Test>::UnknownJob);
        // The hotkey of this moment counts.
        KeysOf::insert(LONER, (SMALL, coldkey(LONER), BOB));
        assert_noop!(submit(job, session), Error::<Test>::NotAssignedServer);
        KeysOf::insert(LONER, (SMALL, coldkey(LONER), server_key()));
        assert_ok!(submit(job, session));
    });
}

#[test]
fn a_job_is_answered_once() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        assert_ok!(submit(job, own_session()));
        let again = own_session();
        assert_noop!(submit(job, again), Error::<Test>::JobAlreadyDone);
        run_to(13);
        assert_noop!(submit(job, again), Error::<Test>::JobAlreadyDone);
    });
}

#[test]
fn a_session_vouches_for_one_job() {
    story(|| {
        let (first, second) = (request(ALICE, SMALL, FEE), request(ALICE, SMALL, FEE));
        let session = own_session();
        assert_ok!(submit(first, session));
        assert_noop!(submit(second, session), Error::<Test>::SessionAlreadyUsed);
        assert_ok!(submit(second, own_session()));
    });
}

#[test]
fn only_a_fitting_session_vouches_for_an_answer() {
    story(|| {
        let older = own_session();
        let job = request(ALICE, SMALL, FEE);
        assert_noop!(submit(job, 77), Error::<Test>::UnknownSession);
        assert_noop!(submit(job, older), Error::<Test>::SessionOlderThanJob);

        let foreign = open(ALICE, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(ALICE, foreign, &[(LONER, 12)]));
        assert_noop!(submit(job, foreign), Error::<Test>::SessionOfOtherConsumer);

        let elsewhere = open(server_key(), SUBNET, &[(WHOLE, 400)]);
        assert_ok!(settle(server_key(), elsewhere, &[]));
        assert_noop!(submit(job, elsewhere), Error::<Test>::SessionOfOtherSubnet);

        let unsettled = open(server_key(), SMALL, &[(LONER, 400)]);
        assert_noop!(submit(job, unsettled), Error::<Test>::SessionNotSettled);

        let session = own_session();
        assert_noop!(
            submit_as(server_key(), job, session, [8; 32]),
            Error::<Test>::ReceiptRootMismatch
        );
        assert_ok!(submit(job, session));
    });
}

#[test]
fn a_session_of_the_coldkey_will_do_and_so_will_a_closed_one() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let owner = coldkey(LONER);
        assert_ok!(Balances::transfer_keep_alive(
            RuntimeOrigin::signed(BOB),
            owner,
            1_000
        ));
        let session = open(owner, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(owner, session, &[(LONER, 12)]));
        run_to(12);
        assert!(Sessions::<Test>::get(session).unwrap().closed);
        assert_ok!(submit(job, session));
        // The job's record outlives the session's.
        run_to(33);
        assert!(!Sessions::<Test>::contains_key(session));
        assert!(Jobs::<Test>::contains_key(job));
        run_to(43);
        assert_nothing_left(&[ALICE, owner]);
    });
}

#[test]
fn an_answer_must_be_text_and_may_be_empty() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let session = own_session();
        let submit = |answer: &[u8]| {
            let server = RuntimeOrigin::signed(server_key());
            Inference::submit_result(
                server,
                job,
                bytes(answer),
                FinishReason::Length,
                session,
                ROOT,
            )
        };
        assert_noop!(submit(&[b'a', 0xff]), Error::<Test>::NotUtf8);
        assert_ok!(submit(b""));
    });
}

#[test]
fn an_answer_in_the_last_block_counts_and_a_later_one_does_not() {
    story(|| {
        let (first, second) = (request(ALICE, SMALL, FEE), request(ALICE, SMALL, FEE));
        run_to(16);
        let sessions = [own_session(), own_session()];
        assert_noop!(
            Inference::refund_job(RuntimeOrigin::signed(BOB), second),
            Error::<Test>::JobNotDue
        );
        assert_ok!(submit(first, sessions[0]));
        run_busy_to(17);
        assert_noop!(submit(second, sessions[1]), Error::<Test>::JobExpired);
        run_to(18);
        assert_noop!(submit(second, sessions[1]), Error::<Test>::JobExpired);
        assert_eq!(on_hold(HoldReason::Job, ALICE), FEE);
        assert_eq!(Jobs::<Test>::get(second).unwrap().state, Fee::Refunded);
    });
}

#[test]
fn without_an_answer_the_fee_goes_back() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        events();
        run_to(18);
        assert_eq!(
            events(),
            [Event::JobRefunded {
                job,
                requester: ALICE,
                amount: FEE
            }]
        );
        assert_eq!(free(ALICE), RICH);
        assert!(!Inference::has_obligations(LONER));
        run_to(38);
        assert_nothing_left(&[ALICE]);
    });
}

#[test]
fn anyone_refunds_a_job_that_is_due() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let refund = |job| Inference::refund_job(RuntimeOrigin::signed(BOB), job);
        assert_noop!(refund(77), Error::<Test>::UnknownJob);
        run_busy_to(16);
        assert_noop!(refund(job), Error::<Test>::JobNotDue);
        run_busy_to(17);
        assert_eq!(refund(job).unwrap().pays_fee, Pays::No);
        assert_eq!(free(ALICE), RICH);
        assert_noop!(refund(job), Error::<Test>::JobClosed);
        run_to(38);
        assert_eq!(free(ALICE), RICH);
        assert_nothing_left(&[ALICE]);
    });
}

#[test]
fn anyone_pays_a_job_that_is_due() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let pay = |job| Inference::pay_job(RuntimeOrigin::signed(BOB), job);
        assert_noop!(pay(77), Error::<Test>::UnknownJob);
        assert_noop!(pay(job), Error::<Test>::JobUnanswered);
        assert_ok!(submit(job, own_session()));
        run_busy_to(10);
        assert_noop!(pay(job), Error::<Test>::JobNotDue);
        run_busy_to(20);
        // Long after the deadline of the answer, which came in time.
        assert_noop!(
            Inference::refund_job(RuntimeOrigin::signed(ALICE), job),
            Error::<Test>::JobAlreadyDone
        );
        // The session that computed the answer comes first.
        assert_noop!(pay(job), Error::<Test>::PayoutWithheld);
        let session = Jobs::<Test>::get(job).unwrap().result.unwrap().session;
        let finalized = Inference::finalize(RuntimeOrigin::signed(BOB), session);
        assert_ok!(finalized.map(|_| ()));
        assert_eq!(free(coldkey(LONER)), ED + 48);
        assert_eq!(pay(job).unwrap().pays_fee, Pays::No);
        assert_eq!(free(coldkey(LONER)), ED + FEE + 48);
        assert_noop!(pay(job), Error::<Test>::JobClosed);
        run_to(22);
        assert_eq!(free(coldkey(LONER)), ED + FEE + 48);
    });
}

#[test]
fn a_jobs_fee_waits_for_the_gate_of_its_session() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let session = own_session();
        assert_ok!(submit(job, session));
        Withheld::insert(session, ());
        run_to(12);
        let item = Due::Job(job);
        assert!(events().contains(&Event::PayoutPostponed { item, until: 21 }));
        assert_noop!(
            Inference::pay_job(RuntimeOrigin::signed(BOB), job),
            Error::<Test>::PayoutWithheld
        );
        Withheld::remove(session);
        run_to(22);
        assert_eq!(free(coldkey(LONER)), ED + FEE + 48);
    });
}

#[test]
fn the_fee_of_an_answer_that_was_found_wrong_goes_back() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let session = own_session();
        assert_ok!(submit(job, session));
        Forfeited::insert(session, vec![LONER]);
        run_to(13);
        let refunded = Event::JobRefunded {
            job,
            requester: ALICE,
            amount: FEE,
        };
        assert!(events().contains(&refunded));
        assert_eq!(free(ALICE), RICH);
        assert_eq!(free(coldkey(LONER)), ED);
        run_to(34);
        assert_nothing_left(&[ALICE, server_key()]);
    });
}

#[test]
fn no_answer_is_taken_with_a_session_that_was_looked_at() {
    story(|| {
        let (first, second) = (request(ALICE, SMALL, FEE), request(ALICE, SMALL, FEE));
        let [one, other] = [own_session(), own_session()];
        // Until its window closes nobody looks, whatever the gate says of it.
        Decided::insert(one, ());
        assert_ok!(submit(first, one));
        run_to(13);
        Decided::insert(other, ());
        assert_noop!(submit(second, other), Error::<Test>::AnsweredTooLate);
        Decided::remove(other);
        assert_ok!(submit(second, other));
        let served = Inference::served(other).unwrap();
        let answered = Answered {
            node: LONER,
            requester: ALICE,
            fee: FEE,
        };
        assert_eq!(served.answered, Some(answered));
    });
}

#[test]
fn the_fee_of_a_vanished_server_goes_back() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        assert_ok!(submit(job, own_session()));
        KeysOf::remove(LONER);
        run_to(12);
        assert!(events().contains(&Event::JobRefunded {
            job,
            requester: ALICE,
            amount: FEE
        }));
        assert_eq!(free(ALICE), RICH);
    });
}

#[test]
fn a_server_that_vanished_cant_answer() {
    story(|| {
        let job = request(ALICE, SMALL, FEE);
        let session = own_session();
        KeysOf::remove(LONER);
        assert_noop!(submit(job, session), Error::<Test>::NotAssignedServer);
    });
}

#[test]
fn a_fee_too_small_for_a_dead_account_goes_back() {
    story(|| {
        let job = request(ALICE, SMALL, MIN_FEE);
        KeysOf::insert(LONER, (SMALL, 555, server_key()));
        // Its session must not revive the account.
        let session = open(server_key(), SMALL, &[(LONER, 400)]);
        assert_ok!(settle(server_key(), session, &[]));
        assert_ok!(submit(job, session));
        run_to(12);
        assert!(events().contains(&Event::JobRefunded {
            job,
            requester: ALICE,
            amount: MIN_FEE
        }));
        assert_eq!(free(ALICE), RICH);
    });
}

#[test]
fn a_refund_that_the_requester_cant_take_waits_on_hold() {
    story(|| {
        let job = request(ALICE, SMALL, MIN_FEE);
        strip(ALICE);
        events();
        run_to(18);
        let item = Due::Job(job);
        let postponed = |until| Event::RefundPostponed {
            item,
            to: ALICE,
            amount: MIN_FEE,
            until,
        };
        assert_eq!(events(), [postponed(37)]);
        assert!(!Inference::has_obligations(LONER));
        assert_eq!(
            Inference::job_info(job).unwrap().status,
            JobStatus::Refunded
        );
        run_to(38);
        assert_eq!(events(), [postponed(57)]);
        assert_eq!(on_hold(HoldReason::Job, ALICE), MIN_FEE);

        assert_ok!(Balances::transfer_keep_alive(
            RuntimeOrigin::signed(CAROL),
            ALICE,
            ED
        ));
        events();
        run_to(58);
        assert_eq!(
            events(),
            [Event::LateRefund {
                item,
                to: ALICE,
                amount: MIN_FEE
            }]
        );
        assert_eq!(free(ALICE), ED + MIN_FEE);
        assert_nothing_left(&[ALICE]);
    });
}
