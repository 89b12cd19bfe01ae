//! The main story: a model is registered and served, a consumer pays for a session, and when all
//! have gone home nothing is left of it.

use crate::{consumer, long_sessions, OURS, WINDOW};
use quipu_pallet_inference::{Error, Event};
use quipu_pallet_subnets::{self as subnets, Status, Subnets};
use quipu_primitives::{traits::Bonds, views::SessionStatus, Span};
use quipu_runtime::{clock::Schedule, genesis, Inference, Runtime, Staking, System};
use quipu_stories::{actors::*, event, story, story_at, Chain, Key};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

/// Blocks for which the record of a closed session is kept in these stories.
const RECORDS: u32 = 20;

fn with_short_records(tell: impl FnOnce(&mut Chain)) {
    let clock = |schedule: &mut Schedule| {
        long_sessions(schedule);
        schedule.job_blocks = RECORDS;
        schedule.record_blocks = RECORDS;
    };
    story_at(genesis::LOCAL_FAST, clock, tell);
}

#[test]
fn servers_are_paid_what_they_served_and_the_consumer_gets_the_rest() {
    with_short_records(|chain| {
        let creator = Key::new("Creator");
        chain.mark();
        let (subnet, servers) = chain.active_subnet();
        let [first, second, third_server] = &servers;

        // Bonds and deposits are on hold, not gone; hotkeys got their fee money.
        let fee_money = i128::try_from(FEE_MONEY).expect("is small");
        chain.assert_moved(&[
            (&first.cold, -fee_money),
            (&first.hot, fee_money),
            (&second.cold, -fee_money),
            (&second.hot, fee_money),
            (&third_server.cold, -fee_money),
            (&third_server.hot, fee_money),
        ]);
        for server in &servers {
            let free = chain.read(|| System::account(server.cold.account()).data.free);
            let spent = FEE_MONEY + chain.fees_of(&server.cold);
            let locked = node_deposit() + Staking::minimum_self_bond();
            assert_eq!(free, genesis::ENDOWMENT - spent - locked);
        }
        let free = chain.read(|| System::account(creator.account()).data.free);
        let spent = chain.fees_of(&creator) + registration_deposit();
        assert_eq!(free, genesis::ENDOWMENT - spent);

        let before = chain.footprint(&OURS);
        let references = chain.read(|| System::consumers(&consumer().account()));
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 100, 600);
        let free = chain.read(|| System::account(consumer().account()).data.free);
        let spent = chain.fees_of(&consumer());
        assert_eq!(free, genesis::ENDOWMENT - spent - 3 * third(100));
        chain.assert_moved(&[]);

        // One server redeems on the way: recorded, not paid.
        let call = redeem(chain, session, &session_key(), first.node, 32);
        chain.send(&first.hot, call);
        chain.assert_moved(&[]);

        // 40, 40 and 39 positions: the last server failed at the end.
        let positions = [(first.node, 40), (second.node, 40), (third_server.node, 39)];
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        let events = chain.send(&consumer(), call);
        let closes_at = event!(
            events,
            Inference(Event::SessionSettled { closes_at, .. }) => *closes_at
        );
        assert_eq!(closes_at, chain.number() + WINDOW);
        chain.run_to(closes_at - 1);
        chain.assert_moved(&[]);

        // The block in which the window closes pays by itself.
        let events = chain.run_to(closes_at);
        let (paid, refunded) = event!(
            events,
            Inference(Event::SessionClosed { paid, refunded, .. }) => (*paid, *refunded)
        );
        assert_eq!(paid, third(40) + third(40) + third(39));
        assert_eq!(refunded, 3 * third(100) - paid);
        let as_paid = [
            (&consumer(), -gain(40) - gain(40) - gain(39)),
            (&first.cold, gain(40)),
            (&second.cold, gain(40)),
            (&third_server.cold, gain(39)),
        ];
        chain.assert_moved(&as_paid);
        let free = chain.read(|| System::account(consumer().account()).data.free);
        let spent = chain.fees_of(&consumer());
        assert_eq!(free, genesis::ENDOWMENT - spent - paid);

        // The record can be read until it is dropped.
        let record = chain.read(|| Inference::session_info(session).expect("is kept"));
        assert_eq!(record.status, SessionStatus::Closed);
        assert_eq!(record.receipt_root, Some([7; 32]));
        assert_eq!(record.deadline, closes_at + RECORDS);
        chain.run_to(record.deadline - 1);
        assert!(chain.read(|| Inference::session_info(session).is_some()));
        chain.run_to(record.deadline);
        assert!(chain.read(|| Inference::session_info(session).is_none()));

        let left = chain.footprint(&OURS).changes_since(&before);
        let left: Vec<_> = left.iter().map(String::as_str).collect();
        assert_eq!(left, ["Inference.Cursor", "Inference.NextSession"]);
        let after = chain.read(|| System::consumers(&consumer().account()));
        assert_eq!(after, references, "nothing refers to the account");
        chain.assert_moved(&as_paid);
    });
}

#[test]
fn a_subnet_takes_sessions_only_while_every_block_is_served() {
    story(genesis::LOCAL_FAST, |chain| {
        let creator = Key::new("Creator");
        let subnet = chain.register_subnet(&creator, 30);
        let servers = [
            chain.serve(subnet, "Server1", 0, 10),
            chain.serve(subnet, "Server2", 10, 20),
            chain.register_server(subnet, "Server3"),
        ];
        let [.., last] = &servers;
        let status = |chain: &mut Chain| {
            chain.read(|| Subnets::<Runtime>::get(subnet).expect("exists").status)
        };
        assert_eq!(status(chain), Status::Uncovered);
        let caps = servers.clone().map(|server| (server.node, third(9)));
        let open = |caps: &[_]| open_session(subnet, &session_key(), caps, 50);
        chain.refused(&consumer(), open(&caps), Error::<Runtime>::SubnetNotActive);

        // Nobody sits where there is no block.
        let span = Span { start: 20, end: 31 };
        let error = subnets::Error::<Runtime>::SpanOutsideModel;
        chain.refused(&last.hot, join(last.node, span), error);
        let span = Span { start: 20, end: 30 };
        let stranger = Key::new("Eve");
        let error = subnets::Error::<Runtime>::NotOperator;
        chain.refused(&stranger, join(last.node, span), error);
        let events = chain.send(&last.hot, join(last.node, span));
        event!(events, Subnets(subnets::Event::SubnetActivated { .. }) => ());
        assert_eq!(status(chain), Status::Active);

        // Two of three servers are no chain; a stranger's node is no server.
        chain.refused(&consumer(), open(&caps[..2]), Error::<Runtime>::NoRoute);
        let foreign = [caps[0], caps[1], (0, third(9))];
        chain.refused(&consumer(), open(&foreign), Error::<Runtime>::NotSeated);
        let quote = chain
            .read(|| Inference::quote(subnet, 7))
            .expect("is served");
        assert_eq!(quote.total, 3 * third(7));
        assert_eq!(
            quote.route,
            servers.clone().map(|server| (server.node, third(7)))
        );
        chain.send(&consumer(), open(&caps));

        // Paused: closed for new sessions, while the open one goes on.
        chain.send(&creator, subnets::Call::pause_subnet { subnet });
        chain.refused(&consumer(), open(&caps), Error::<Runtime>::SubnetNotActive);
        let call = settle(chain, 0, &session_key(), &[(last.node, 9)], [1; 32]);
        chain.send(&consumer(), call);
        chain.send(&creator, subnets::Call::resume_subnet { subnet });
        chain.send(&consumer(), open(&caps));
    });
}

#[test]
fn the_first_block_of_a_session_has_no_room_and_nothing_is_lost_by_it() {
    story(genesis::LOCAL_FAST, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, ..] = &servers;
        // The window closes with the first block of a session of the validators.
        let epoch = u32::try_from(chain.schedule().epoch_slots).expect("is short");
        let full_block = 2 * epoch + 1;
        chain.mark();
        let duration = full_block - WINDOW - chain.number() - 1;
        let session = chain.open(&consumer(), subnet, &servers, 10, duration);
        chain.run_to(full_block - 2);
        let call = redeem(chain, session, &session_key(), first.node, 10);
        chain.send(&first.hot, call);
        assert!(chain.begins_session_next());

        let eager = chain.sign(&consumer(), finalize(session));
        let exhausted = InvalidTransaction::ExhaustsResources;
        let results = chain.block(vec![eager.clone()]);
        assert_eq!(results, [Err(TransactionValidityError::Invalid(exhausted))]);
        assert_eq!(chain.number(), full_block);
        chain.assert_moved(&[]);

        // The next block does it all, whoever asks.
        chain.block(vec![]);
        chain.assert_moved(&[(&consumer(), -gain(10)), (&first.cold, gain(10))]);
        let events = chain.events();
        event!(events, Inference(Event::SessionClosed { .. }) => ());
        let late = chain.block(vec![eager]);
        let closed = Error::<Runtime>::AlreadyClosed;
        assert_eq!(late, [Ok(Err(closed.into()))]);
        chain.assert_moved(&[(&consumer(), -gain(10)), (&first.cold, gain(10))]);
    });
}
