//! Keys that change while money is on its way.

use crate::{consumer, long_sessions, WINDOW};
use quipu_pallet_inference::{self as inference};
use quipu_pallet_staking as staking;
use quipu_pallet_subnets::{self as subnets, NodeOfHotkey};
use quipu_primitives::{
    traits::{Bonds, Roster},
    NodeId,
};
use quipu_runtime::{genesis, Runtime, Staking, Subnets, System};
use quipu_stories::{actors::*, event, story_at, Key};
use sp_runtime::TokenError;

fn set_coldkey(node: NodeId, to: &Key) -> subnets::Call<Runtime> {
    let coldkey = to.account();
    subnets::Call::set_coldkey { node, coldkey }
}

fn set_hotkey(node: NodeId, to: &Key) -> subnets::Call<Runtime> {
    let hotkey = to.account();
    subnets::Call::set_hotkey { node, hotkey }
}

#[test]
fn a_node_that_is_sold_in_the_middle_of_a_session_pays_its_new_owner() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, second, third_server] = &servers;
        let buyer = Key::new("Ferdie");
        let whole = Staking::minimum_self_bond();
        let moves_along = i128::try_from(whole + node_deposit()).expect("is small");
        // Part of the bond waits for its release.
        chain.send(&first.cold, bond(first.node, whole));
        chain.send(&first.cold, unbond(first.node, whole));
        chain.mark();
        let session = chain.open(&consumer(), subnet, &servers, 100, 600);
        let call = redeem(chain, session, &session_key(), first.node, 50);
        chain.send(&first.hot, call);

        // Only its owner sells it, and only to an account that exists.
        let error = subnets::Error::<Runtime>::NotOwner;
        chain.refused(&first.hot, set_coldkey(first.node, &buyer), error);
        let nobody = Key::new("Nobody");
        let sale = set_coldkey(first.node, &nobody);
        chain.refused(&first.cold, sale, TokenError::CannotCreateHold);
        let events = chain.send(&first.cold, set_coldkey(first.node, &buyer));
        let amount = event!(events, Staking(staking::Event::BondMoved { amount, .. }) => *amount);
        assert_eq!(amount, 2 * whole, "with what waits for its release");
        let moved = moves_along + i128::try_from(whole).expect("is small");
        chain.assert_moved(&[(&first.cold, -moved), (&buyer, moved)]);
        assert_eq!(chain.read(|| Staking::held(&buyer.account())), 2 * whole);
        assert_eq!(chain.read(|| Staking::held(&first.cold.account())), 0);
        assert!(chain.read(|| Subnets::is_active(subnet)), "it still sits");

        // The old owner has no say any more; the hotkey works on.
        let error = staking::Error::<Runtime>::NotOwner;
        chain.refused(&first.cold, unbond(first.node, 1), error);
        let error = subnets::Error::<Runtime>::NotOwner;
        chain.refused(&first.cold, set_coldkey(first.node, &first.cold), error);
        let call = redeem(chain, session, &session_key(), first.node, 60);
        chain.send(&first.hot, call);

        // What it earned before and after the sale goes to the new owner.
        let positions: Vec<_> = servers.iter().map(|server| (server.node, 70)).collect();
        let call = settle(chain, session, &session_key(), &positions, [7; 32]);
        chain.send(&consumer(), call);
        chain.run_to(chain.number() + WINDOW);
        chain.assert_moved(&[
            (&consumer(), -3 * gain(70)),
            (&first.cold, -moved),
            (&buyer, moved + gain(70)),
            (&second.cold, gain(70)),
            (&third_server.cold, gain(70)),
        ]);

        // The bond is the new owner's to take out, the waiting part first.
        let unbonding = chain.schedule().unbonding_blocks;
        chain.run_to(chain.number() + unbonding);
        chain.send(&buyer, withdraw(first.node));
        assert_eq!(chain.read(|| Staking::held(&buyer.account())), whole);
    });
}

#[test]
fn a_new_hotkey_signs_from_then_on_and_the_old_one_no_more() {
    story_at(genesis::LOCAL_FAST, long_sessions, |chain| {
        let (subnet, servers) = chain.active_subnet();
        let [first, second, _] = &servers;
        let fresh = Key::new("Server1//hotkey2");
        chain.send(&first.cold, transfer(&fresh.account(), FEE_MONEY));
        let error = subnets::Error::<Runtime>::HotkeyInUse;
        chain.refused(&first.cold, set_hotkey(first.node, &second.hot), error);
        let error = subnets::Error::<Runtime>::NotOwner;
        chain.refused(&first.hot, set_hotkey(first.node, &fresh), error);

        let session = chain.open(&consumer(), subnet, &servers, 100, 600);
        let job = chain.send(&consumer(), request(subnet, "Why?", quipu_runtime::QPU));
        let (job, drawn) = event!(
            job,
            Inference(inference::Event::JobRequested { job, node, .. }) => (*job, *node)
        );
        let server = servers
            .iter()
            .find(|server| server.node == drawn)
            .expect("is one");
        let fresh_of_drawn = Key::new(&format!("{}//hotkey2", server.cold.name()));
        if fresh_of_drawn.name() != fresh.name() {
            chain.send(&server.cold, transfer(&fresh_of_drawn.account(), FEE_MONEY));
        }
        chain.send(&server.cold, set_hotkey(drawn, &fresh_of_drawn));
        if drawn != first.node {
            chain.send(&first.cold, set_hotkey(first.node, &fresh));
        }
        let owner = |chain: &mut quipu_stories::Chain, key: &Key| {
            chain.read(|| NodeOfHotkey::<Runtime>::get(key.account()))
        };
        assert_eq!(owner(chain, &first.hot), None);
        assert_eq!(owner(chain, &fresh), Some(first.node));

        // A seat is the new key's to run.
        let price = |price| subnets::Call::update_price {
            node: first.node,
            price,
        };
        let error = subnets::Error::<Runtime>::NotOperator;
        chain.refused(&first.hot, price(1), error);
        chain.send(&fresh, price(9 * PRICE));

        // So is a job that was drawn before the swap.
        let answer = |session| submit_result(job, "Because.", session, [7; 32]);
        let error = inference::Error::<Runtime>::NotAssignedServer;
        chain.refused(&server.hot, answer(session), error);
        let own = chain.open(&fresh_of_drawn, subnet, &servers, 1, 100);
        let call = settle(chain, own, &session_key(), &[], [7; 32]);
        chain.send(&fresh_of_drawn, call);
        chain.send(&fresh_of_drawn, answer(own));

        // What was agreed with the old key stays agreed: the price of the open session, too.
        chain.mark();
        let call = settle(
            chain,
            session,
            &session_key(),
            &[(first.node, 100)],
            [7; 32],
        );
        chain.send(&consumer(), call);
        chain.run_to(chain.number() + WINDOW);
        let fee = i128::try_from(quipu_runtime::QPU).expect("is small");
        let payer = consumer();
        let mut moved = vec![(&first.cold, gain(100)), (&payer, -gain(100) - fee)];
        match drawn == first.node {
            true => moved[0].1 += fee,
            false => moved.push((&server.cold, fee)),
        }
        chain.assert_moved(&moved);

        // A hotkey that was let go may sign for another node.
        chain.send(&second.cold, set_hotkey(second.node, &first.hot));
        assert_eq!(owner(chain, &first.hot), Some(second.node));
        assert!(chain.read(|| System::consumers(&first.hot.account())) == 0);
    });
}
