//! A consumer that settles with less than it promised.

use crate::{consumer, long_sessions, WINDOW};
use quipu_pallet_inference::{Error, Event};
use quipu_primitives::NodeId;
use quipu_runtime::{genesis, Runtime, RuntimeEvent};
use quipu_stories::{actors::*, story_at, Chain, Key};

/// Who was paid how much by the last block.
fn payments(chain: &mut Chain) -> Vec<(NodeId, u128)> {
    let paid = |event| match event {
        RuntimeEvent::Inference(Event::ServerPaid { node, amount, .. }) => Some((node, amount)),
        _ => None,
    };
    chain.events().into_iter().filter_map(paid).collect()
}

#[test]
fn a_higher_voucher_counts_until_the_window_closes_and_nobody_is_paid_twice() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, second, third_server] = &servers;
        let key = session_key();
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 100, 600);

        // The first server has voucher 32 on the chain already; settling below it is refused.
        let call = redeem(chain, session, &key, first.node, 32);
        chain.send(&first.hot, call);
        let below = settle(chain, session, &key, &[(first.node, 31)], [7; 32]);
        chain.refused(&consumer(), below, Error::<Runtime>::VoucherReplayed);
        let positions = [(first.node, 32), (second.node, 10), (third_server.node, 64)];
        let call = settle(chain, session, &key, &positions, [7; 32]);
        chain.send(&consumer(), call);
        let closes_at = chain.number() + WINDOW;
        let again = settle(chain, session, &key, &positions, [8; 32]);
        chain.refused(&consumer(), again, Error::<Runtime>::AlreadySettled);

        // The second was promised 64.
        let call = redeem(chain, session, &key, second.node, 64);
        chain.send(&second.hot, call.clone());
        chain.refused(&second.hot, call, Error::<Runtime>::VoucherReplayed);
        let lower = redeem(chain, session, &key, second.node, 63);
        chain.refused(&second.hot, lower, Error::<Runtime>::VoucherReplayed);
        let early = Error::<Runtime>::WindowOpen;
        chain.refused(&second.hot, finalize(session), early);
        assert_eq!(chain.number(), closes_at - 1);

        // Whoever is impatient has it paid in the very block in which the queue would do it.
        let others = Key::new("Ferdie");
        chain.send(&others, finalize(session));
        assert_eq!(chain.number(), closes_at);
        assert_eq!(chain.fees_of(&others), 0, "finalizing is free");
        let expected = [
            (first.node, third(32)),
            (second.node, third(64)),
            (third_server.node, third(64)),
        ];
        assert_eq!(payments(chain), expected);
        chain.refused(&others, finalize(session), Error::<Runtime>::AlreadyClosed);
        let call = redeem(chain, session, &key, first.node, 40);
        chain.refused(&first.hot, call, Error::<Runtime>::WindowClosed);
        for _ in 0..2 * WINDOW {
            chain.block(vec![]);
            assert_eq!(payments(chain), []);
        }
        chain.assert_moved(&[
            (&consumer(), -gain(32) - 2 * gain(64)),
            (&first.cold, gain(32)),
            (&second.cold, gain(64)),
            (&third_server.cold, gain(64)),
        ]);
    });
}

#[test]
fn vouchers_that_are_not_what_they_claim_to_be_pay_nothing() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, ..] = &servers;
        let key = session_key();
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 100, 20);
        let other = chain.open(&consumer(), subnet, &servers, 100, 20);
        let closes_at = chain.number() + 20 + WINDOW;

        // Signed by another key, though it is the consumer's own.
        let forged = redeem(chain, session, &consumer(), first.node, 5);
        chain.refused(&first.hot, forged, Error::<Runtime>::BadVoucherSignature);
        // Of another session.
        let genesis = chain.genesis_hash();
        let voucher = quipu_primitives::Voucher {
            session: other,
            node: first.node,
            positions: 5,
        };
        let (voucher, signature) = key.voucher(&genesis, voucher);
        let foreign = |session| quipu_pallet_inference::Call::redeem {
            session,
            voucher,
            signature,
        };
        let error = Error::<Runtime>::VoucherForOtherSession;
        chain.refused(&first.hot, foreign(session), error);
        // Of another chain.
        let (voucher, signature) = key.voucher(&[3; 32], voucher);
        let replayed = quipu_pallet_inference::Call::redeem {
            session: other,
            voucher,
            signature,
        };
        chain.refused(&first.hot, replayed, Error::<Runtime>::BadVoucherSignature);
        // For a node that is none of its servers.
        let stranger = redeem(chain, session, &key, 0, 5);
        chain.refused(&first.hot, stranger, Error::<Runtime>::NotASessionServer);
        // Beyond the cap.
        let beyond = redeem(chain, session, &key, first.node, 101);
        chain.refused(&first.hot, beyond, Error::<Runtime>::CapExceeded);

        chain.run_to(closes_at);
        chain.assert_moved(&[]);
    });
}
