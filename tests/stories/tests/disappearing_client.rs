//! A client that goes away without settling.

use crate::{consumer, long_sessions, WINDOW};
use quipu_pallet_inference::{Error, Event};
use quipu_primitives::views::SessionStatus;
use quipu_runtime::{genesis, Inference, Runtime};
use quipu_stories::{actors::*, event, story_at};

const DURATION: u32 = 20;

#[test]
fn servers_redeem_alone_and_the_consumer_gets_the_rest() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, second, third_server] = &servers;
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 100, DURATION);
        let expires_at = chain.number() + DURATION;
        let status = |chain: &mut quipu_stories::Chain| {
            let record = chain.read(|| Inference::session_info(session).expect("is kept"));
            record.status
        };

        // Nothing can be paid out while vouchers may still come.
        chain.refused(&first.hot, finalize(session), Error::<Runtime>::WindowOpen);
        chain.run_to(expires_at - 1);
        assert_eq!(status(chain), SessionStatus::Open);

        // Expired: the consumer comes too late to settle, the servers do not to redeem.
        let late = settle(chain, session, &session_key(), &[(first.node, 1)], [7; 32]);
        chain.refused(&consumer(), late, Error::<Runtime>::SessionExpired);
        assert_eq!(chain.number(), expires_at);
        assert_eq!(status(chain), SessionStatus::Settling);
        let call = redeem(chain, session, &session_key(), first.node, 64);
        chain.send(&first.hot, call);
        // Anybody may hand a voucher in: it pays the server alone.
        let call = redeem(chain, session, &session_key(), second.node, 63);
        chain.send(&first.hot, call);
        chain.assert_moved(&[]);

        // The third server sleeps through its window.
        let closes_at = expires_at + WINDOW;
        let events = chain.run_to(closes_at);
        let paid = event!(events, Inference(Event::SessionClosed { paid, .. }) => *paid);
        assert_eq!(paid, third(64) + third(63));
        let call = redeem(chain, session, &session_key(), third_server.node, 62);
        chain.refused(&third_server.hot, call, Error::<Runtime>::WindowClosed);
        assert_eq!(status(chain), SessionStatus::Closed);
        chain.assert_moved(&[
            (&consumer(), -gain(64) - gain(63)),
            (&first.cold, gain(64)),
            (&second.cold, gain(63)),
        ]);
    });
}

#[test]
fn without_a_voucher_everything_goes_back() {
    story_at(genesis::DEVELOPMENT_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        chain.mark();
        chain.open(&consumer(), subnet, &servers, 100, DURATION);
        let closes_at = chain.number() + DURATION + WINDOW;
        let events = chain.run_to(closes_at);
        let refunded = event!(
            events,
            Inference(Event::SessionClosed { refunded, .. }) => *refunded
        );
        assert_eq!(refunded, 3 * third(100));
        chain.assert_moved(&[]);
    });
}
