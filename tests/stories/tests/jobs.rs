//! One-shot jobs for those who can't hold a session.

use crate::{consumer, long_sessions, OURS, WINDOW};
use quipu_pallet_inference::{Error, Event};
use quipu_primitives::{traits::Obligations, views::JobStatus, JobId, NodeId};
use quipu_runtime::{clock::Schedule, genesis, Inference, Runtime, QPU};
use quipu_stories::{actors::*, event, story_at, Chain, Key, Server};

/// Blocks for which the record of a finished job is kept in these stories.
const RECORDS: u32 = Schedule::FAST.job_blocks;
/// Blocks that a server has to answer.
const TIMEOUT: u32 = Schedule::FAST.job_blocks;
/// What a job pays.
const FEE: u128 = 3 * QPU;

fn with_short_records(tell: impl FnOnce(&mut Chain)) {
    let clock = |schedule: &mut Schedule| {
        long_sessions(schedule);
        schedule.record_blocks = RECORDS;
    };
    story_at(genesis::LOCAL_FAST, clock, tell);
}

/// `//Consumer` requests a job. Gives it, the node that was drawn, and the deadline.
fn requested(chain: &mut Chain, subnet: u32) -> (JobId, NodeId, u32) {
    let call = request(subnet, "Why is the sky blue?", FEE);
    let events = chain.send(&consumer(), call);
    event!(
        events,
        Inference(Event::JobRequested { job, node, deadline, .. }) => (*job, *node, *deadline)
    )
}

/// The server that was drawn, and another one.
fn drawn_and_other(servers: &[Server; 3], node: NodeId) -> (&Server, &Server) {
    let drawn = servers.iter().find(|server| server.node == node);
    let other = servers.iter().find(|server| server.node != node);
    (drawn.expect("is one of them"), other.expect("are three"))
}

#[test]
fn a_drawn_server_answers_with_a_session_of_its_own_and_is_paid() {
    with_short_records(|chain| {
        let (subnet, servers) = chain.active_subnet();
        let before = chain.footprint(&OURS);
        chain.mark();
        let too_cheap = request(subnet, "Why?", QPU / 100 - 1);
        chain.refused(&consumer(), too_cheap, Error::<Runtime>::FeeTooLow);
        // Opened before the job: no session for it.
        let old = chain.open(&servers[0].cold, subnet, &servers, 20, 100);
        let (job, node, deadline) = requested(chain, subnet);
        assert_eq!(deadline, chain.number() + TIMEOUT);
        let (drawn, other) = drawn_and_other(&servers, node);
        assert!(chain.read(|| Inference::has_obligations(node)));
        let twin = loop {
            let (job, to, _) = requested(chain, subnet);
            if to == node {
                break job;
            }
        };

        // The drawn server acts as a client of all three, itself included.
        let own = chain.open(&drawn.cold, subnet, &servers, 20, 100);
        let strangers = chain.open(&consumer(), subnet, &servers, 20, 100);
        let answer = |session, root| submit_result(job, "Scattering.", session, [root; 32]);
        let error = Error::<Runtime>::SessionNotSettled;
        chain.refused(&drawn.hot, answer(own, 7), error);
        let positions: Vec<_> = servers.iter().map(|server| (server.node, 20)).collect();
        let call = settle(chain, own, &session_key(), &positions, [7; 32]);
        chain.send(&drawn.cold, call);
        let paid_at = chain.number() + WINDOW;

        // Only the drawn server, with its own session, of this job's time, with that root.
        chain.refused(
            &other.hot,
            answer(own, 7),
            Error::<Runtime>::NotAssignedServer,
        );
        chain.refused(
            &drawn.cold,
            answer(own, 7),
            Error::<Runtime>::NotAssignedServer,
        );
        chain.refused(
            &drawn.hot,
            answer(own, 8),
            Error::<Runtime>::ReceiptRootMismatch,
        );
        let error = Error::<Runtime>::SessionOfOtherConsumer;
        chain.refused(&drawn.hot, answer(strangers, 7), error);
        let error = match drawn.node == servers[0].node {
            true => Error::<Runtime>::SessionOlderThanJob,
            false => Error::<Runtime>::SessionOfOtherConsumer,
        };
        assert!(chain.number() < paid_at, "still in its window");
        chain.refused(&drawn.hot, answer(old, 7), error);
        chain.send(&drawn.hot, answer(own, 7));
        let pays_at = chain.number() + WINDOW;
        chain.refused(&drawn.hot, answer(own, 7), Error::<Runtime>::JobAlreadyDone);

        // One session answers one job.
        let call = submit_result(twin, "Scattering.", own, [7; 32]);
        chain.refused(&drawn.hot, call, Error::<Runtime>::SessionAlreadyUsed);

        // Paid after the window, not before, by the queue.
        let info = chain.read(|| Inference::job_info(job).expect("is kept"));
        let JobStatus::Done {
            answer,
            session,
            paid,
            ..
        } = info.status
        else {
            panic!("the job is answered: {info:?}");
        };
        assert_eq!((answer.to_vec(), session), (b"Scattering.".to_vec(), own));
        assert!(!paid && chain.number() < pays_at);
        let events = chain.run_to(pays_at);
        let (to, amount) = event!(
            events,
            Inference(Event::JobPaid { to, amount, .. }) => (to.clone(), *amount)
        );
        assert_eq!((to, amount), (drawn.cold.account(), FEE));
        assert_eq!(chain.number(), pays_at);
        chain.run_to(pays_at + RECORDS);
        assert!(chain.read(|| Inference::job_info(job).is_none()));

        // All others time out; in the end nothing is left of any.
        chain.run_to(chain.number() + 2 * TIMEOUT + RECORDS);
        let fee = i128::try_from(FEE).expect("is small");
        let requester = consumer();
        let mut moved = vec![(&requester, -fee), (&drawn.cold, fee - 2 * gain(20))];
        for server in servers.iter().filter(|server| server.node != node) {
            moved.push((&server.cold, gain(20)));
        }
        chain.assert_moved(&moved);
        let left = chain.footprint(&OURS).changes_since(&before);
        let left: Vec<_> = left
            .iter()
            .map(String::as_str)
            .filter(|item| !item.starts_with("Staking.")) // Eras went on.
            .collect();
        assert_eq!(
            left,
            [
                "Audits.Seeds",
                "Inference.Cursor",
                "Inference.NextJob",
                "Inference.NextSession"
            ]
        );
    });
}

#[test]
fn without_an_answer_in_time_the_fee_goes_back() {
    with_short_records(|chain| {
        let (subnet, servers) = chain.active_subnet();
        chain.mark();
        let (job, node, deadline) = requested(chain, subnet);
        let (drawn, _) = drawn_and_other(&servers, node);
        let own = chain.open(&drawn.hot, subnet, &servers, 1, 100);
        let call = settle(chain, own, &session_key(), &[], [7; 32]);
        chain.send(&drawn.hot, call);
        let refund = quipu_pallet_inference::Call::refund_job { job };
        let pay = quipu_pallet_inference::Call::pay_job { job };
        let others = Key::new("Ferdie");
        chain.refused(&others, refund.clone(), Error::<Runtime>::JobNotDue);
        chain.refused(&others, pay.clone(), Error::<Runtime>::JobUnanswered);

        // The deadline is the last block that takes an answer; the next one gives the fee back.
        chain.run_to(deadline);
        chain.assert_moved(&[]);
        let late = submit_result(job, "Scattering.", own, [7; 32]);
        chain.refused(&drawn.hot, late, Error::<Runtime>::JobExpired);
        assert_eq!(chain.number(), deadline + 1);
        let events = chain.events();
        let amount = event!(events, Inference(Event::JobRefunded { amount, .. }) => *amount);
        assert_eq!(amount, FEE);
        assert!(!chain.read(|| Inference::has_obligations(node)));
        chain.refused(&others, refund, Error::<Runtime>::JobClosed);
        chain.refused(&others, pay, Error::<Runtime>::JobClosed);
        let info = chain.read(|| Inference::job_info(job).expect("is kept"));
        assert_eq!(info.status, JobStatus::Refunded);
        chain.assert_moved(&[]);
    });
}

#[test]
fn an_answer_in_the_last_block_is_taken_and_jobs_are_drawn_among_all() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let mut jobs = vec![];
        while jobs.len() < 24 {
            jobs.push(requested(chain, subnet));
        }
        for server in &servers {
            let drawn = jobs
                .iter()
                .filter(|(_, node, _)| *node == server.node)
                .count();
            assert!((1..=20).contains(&drawn), "{drawn} of 24 for one of three");
        }
        chain.mark();
        let (job, node, deadline) = jobs[23];
        let (drawn, _) = drawn_and_other(&servers, node);
        let own = chain.open(&drawn.hot, subnet, &servers, 1, 100);
        let call = settle(chain, own, &session_key(), &[], [7; 32]);
        chain.send(&drawn.hot, call);
        chain.run_to(deadline - 1);
        chain.send(&drawn.hot, submit_result(job, "Now.", own, [7; 32]));
        assert_eq!(chain.number(), deadline);
        let pays_at = deadline + WINDOW;
        let pay = quipu_pallet_inference::Call::pay_job { job };
        let others = Key::new("Ferdie");
        chain.refused(&others, pay.clone(), Error::<Runtime>::JobNotDue);
        chain.run_to(pays_at - 1);
        // By anybody, in the block in which the queue would do it; free of fees.
        chain.mark();
        chain.send(&others, pay);
        assert_eq!(chain.fees_of(&others), 0);
        let fee = i128::try_from(FEE).expect("is small");
        chain.assert_moved(&[(&consumer(), -fee), (&drawn.cold, fee)]);
    });
}
