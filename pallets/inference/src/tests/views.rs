//! What clients read.

use crate::mock::*;
use frame_support::assert_ok;
use quipu_primitives::{
    job::FinishReason,
    views::{JobStatus, Quote, QuoteError, SessionStatus},
    Balance,
};

#[test]
fn a_sessions_state_follows_the_blocks() {
    story(|| {
        assert_eq!(Inference::session_info(0), None);
        let id = open_usual();
        let info = || Inference::session_info(id).unwrap();
        let opened = info();
        assert_eq!(
            (opened.id, opened.subnet, opened.consumer),
            (id, SUBNET, ALICE)
        );
        assert_eq!((opened.deposit, opened.opened_at), (USUAL_DEPOSIT, 1));
        assert_eq!(
            (opened.seed_commitment, opened.integrator),
            ([3; 32], Some(BOB))
        );
        assert_eq!((opened.status, opened.deadline), (SessionStatus::Open, 51));
        assert_eq!((opened.receipt_root, opened.settled_at), (None, None));
        assert_eq!(opened.servers.len(), 4);
        // Whether or not anybody touched it, it expires.
        run_busy_to(50);
        assert_eq!(info().status, SessionStatus::Open);
        run_busy_to(51);
        assert_eq!(
            (info().status, info().deadline),
            (SessionStatus::Settling, 61)
        );
        run_to(62);
        assert_eq!(
            (info().status, info().deadline),
            (SessionStatus::Closed, 81)
        );
    });
}

#[test]
fn what_was_paid_can_be_read_back_until_the_record_is_dropped() {
    story(|| {
        let id = open_usual();
        assert_ok!(settle(ALICE, id, &[(HEAD, 10), (STANDBY, 4)]));
        let info = Inference::session_info(id).unwrap();
        assert_eq!((info.status, info.deadline), (SessionStatus::Settling, 11));
        run_to(31);
        let info = Inference::session_info(id).unwrap();
        assert_eq!((info.status, info.deadline), (SessionStatus::Closed, 31));
        assert_eq!((info.receipt_root, info.settled_at), (Some(ROOT), Some(1)));
        assert_eq!(info.deposit, USUAL_DEPOSIT);
        let servers: Vec<_> = info
            .servers
            .iter()
            .map(|server| (server.node, server.positions, server.earned))
            .collect();
        assert_eq!(
            servers,
            [
                (HEAD, 10, 200),
                (MIDDLE, 0, 0),
                (TAIL, 0, 0),
                (STANDBY, 4, 120)
            ]
        );
        run_to(32);
        assert_eq!(Inference::session_info(id), None);
    });
}

#[test]
fn a_jobs_state_can_be_read() {
    story(|| {
        assert_eq!(Inference::job_info(0), None);
        let (job, lost) = (request(ALICE, SMALL, 500), request(ALICE, SMALL, 500));
        let info = Inference::job_info(job).unwrap();
        assert_eq!((info.id, info.subnet, info.node), (job, SMALL, LONER));
        assert_eq!((info.requester, info.fee, info.max_tokens), (ALICE, 500, 8));
        assert_eq!(info.prompt.as_slice(), b"What is the capital of France?");
        assert_eq!((info.status, info.deadline), (JobStatus::Assigned, 16));

        let server = hotkey(LONER);
        let session = open(server, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(server, session, &[(LONER, 12)]));
        let answer: quipu_primitives::BoundedBytes<16_384> = b"Paris.".to_vec().try_into().unwrap();
        assert_ok!(Inference::submit_result(
            RuntimeOrigin::signed(server),
            job,
            answer.clone(),
            FinishReason::Length,
            session,
            ROOT
        ));
        let done = |paid| JobStatus::Done {
            answer: answer.clone(),
            finish: FinishReason::Length,
            session,
            receipt_root: ROOT,
            paid,
        };
        assert_eq!(Inference::job_info(job).unwrap().status, done(false));
        run_to(18);
        assert_eq!(Inference::job_info(job).unwrap().status, done(true));
        assert_eq!(
            Inference::job_info(lost).unwrap().status,
            JobStatus::Refunded
        );
    });
}

#[test]
fn a_quote_is_the_cheapest_exact_chain() {
    story(|| {
        assert_eq!(
            Inference::quote(SUBNET, 10),
            Ok(Quote {
                total: 600,
                route: vec![(HEAD, 200), (MIDDLE, 200), (TAIL, 200)]
            })
        );
        // The middle gets dear, the stand-by steps in; then the whole is cheapest.
        seat(SUBNET, MIDDLE, 10, 20, 50);
        assert_eq!(Inference::quote(SUBNET, 1).unwrap().total, 70);
        seat(SUBNET, WHOLE, 0, 30, 1);
        assert_eq!(
            Inference::quote(SUBNET, 1),
            Ok(Quote {
                total: 30,
                route: vec![(WHOLE, 30)]
            })
        );
        assert_eq!(Inference::quote(SUBNET, 0).unwrap().total, 0);
    });
}

#[test]
fn a_quote_can_be_paid_exactly() {
    story(|| {
        let quote = Inference::quote(SUBNET, 33).unwrap();
        let id = open(ALICE, SUBNET, &quote.route);
        for (node, _) in &quote.route {
            assert_ok!(redeem(id, *node, 33));
        }
        assert_ok!(settle(ALICE, id, &[]));
        run_to(12);
        assert_eq!(free(ALICE), RICH - quote.total);
    });
}

#[test]
fn there_is_no_quote_without_a_way() {
    story(|| {
        assert_eq!(Inference::quote(77, 1), Err(QuoteError::SubnetNotActive));
        assert_eq!(
            Inference::quote(ASLEEP, 1),
            Err(QuoteError::SubnetNotActive)
        );
        assert_eq!(
            Inference::quote(SUBNET, 101),
            Err(QuoteError::ContextExceeded)
        );
        assert_eq!(Inference::quote(EMPTY, 1), Err(QuoteError::NoRoute));
        seat(SMALL, LONER, 0, 4, Balance::MAX);
        assert_eq!(Inference::quote(SMALL, 1), Err(QuoteError::Overflow));
    });
}
