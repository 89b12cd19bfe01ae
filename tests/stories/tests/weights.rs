//! Whether everything fits into a block.

use crate::{consumer, WINDOW};
use codec::Encode;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::{Get, GetCallName},
};
use quipu_pallet_inference::{self as inference, weights::WeightInfo, Event, Sessions};
use quipu_pallet_slashing::{self as slashing, weights::WeightInfo as _};
use quipu_pallet_staking as staking;
use quipu_pallet_subnets as subnets;
use quipu_primitives::{
    job::{FinishReason, MAX_ANSWER, MAX_PROMPT},
    manifest::MAX_BLOCKS,
    SignedReceipt, Span, Voucher,
};
use quipu_runtime::{
    configs::{RuntimeBlockLength, RuntimeBlockWeights},
    genesis, AccountId, Runtime, RuntimeCall, RuntimeEvent, System, QPU,
};
use quipu_stories::{actors::*, story, Key};
use std::collections::BTreeSet;

type InferenceWeights = <Runtime as inference::Config>::WeightInfo;
type SlashingWeights = <Runtime as slashing::Config>::WeightInfo;

/// Each call of our pallets, as large as it can be.
fn largest_calls() -> Vec<RuntimeCall> {
    let account: AccountId = Key::new("Alice").account();
    let servers = <Runtime as inference::Config>::MaxServers::get();
    let voucher = |node| Voucher {
        session: 0,
        node,
        positions: 1,
    };
    let subnet_calls = [
        subnets::Call::register_subnet {
            manifest: Box::new(model(MAX_BLOCKS as u16)),
        },
        subnets::Call::dissolve_subnet { subnet: 1 },
        subnets::Call::pause_subnet { subnet: 1 },
        subnets::Call::resume_subnet { subnet: 1 },
        subnets::Call::register_node {
            subnet: 1,
            hotkey: account.clone(),
            peer_id: peer_id("Alice"),
        },
        subnets::Call::remove_node { node: 1 },
        subnets::Call::join {
            node: 1,
            span: Span {
                start: 0,
                end: MAX_BLOCKS as u16,
            },
            price: 1,
            profile: [0; 32],
        },
        subnets::Call::update_price { node: 1, price: 1 },
        subnets::Call::leave { node: 1 },
        subnets::Call::set_hotkey {
            node: 1,
            hotkey: account.clone(),
        },
        subnets::Call::set_coldkey {
            node: 1,
            coldkey: account.clone(),
        },
        subnets::Call::set_peer_id {
            node: 1,
            peer_id: peer_id("Alice"),
        },
    ];
    let staking_calls = [
        staking::Call::bond { node: 1, amount: 1 },
        staking::Call::unbond { node: 1, amount: 1 },
        staking::Call::rebond { node: 1, amount: 1 },
        staking::Call::withdraw { node: 1 },
        staking::Call::validate { node: 1 },
        staking::Call::chill { node: 1 },
        staking::Call::delegate { node: 1, amount: 1 },
        staking::Call::undelegate { node: 1, amount: 1 },
        staking::Call::withdraw_delegation {
            node: 1,
            delegator: account.clone(),
        },
        staking::Call::set_commission {
            node: 1,
            commission: sp_runtime::Perbill::one(),
        },
        staking::Call::claim { node: 1 },
        staking::Call::claim_own { node: 1 },
        staking::Call::release_delegator {
            node: 1,
            delegator: account.clone(),
        },
        staking::Call::move_delegation {
            from: 1,
            to: 2,
            amount: 1,
        },
        staking::Call::move_bond {
            from: 1,
            to: 2,
            amount: 1,
        },
        staking::Call::clear_moves { node: 1 },
    ];
    let caps: Vec<_> = (0..servers).map(|node| (node, 1)).collect();
    let vouchers: Vec<_> = (0..servers).map(|node| (voucher(node), [0; 64])).collect();
    let inference_calls = [
        inference::Call::open_session {
            subnet: 1,
            session_key: [0; 32],
            caps: caps.clone().try_into().expect("as many as may be"),
            duration: 1,
            seed_commitment: [0; 32],
            integrator: Some(account.clone()),
        },
        inference::Call::open_session_by_quota {
            subnet: 1,
            session_key: [0; 32],
            caps: caps.try_into().expect("as many as may be"),
            duration: 1,
            seed_commitment: [0; 32],
            integrator: Some(account),
        },
        inference::Call::settle {
            session: 0,
            vouchers: vouchers.try_into().expect("as many as may be"),
            receipt_root: [0; 32],
        },
        inference::Call::redeem {
            session: 0,
            voucher: voucher(1),
            signature: [0; 64],
        },
        inference::Call::finalize { session: 0 },
        inference::Call::request {
            subnet: 1,
            prompt: vec![b'a'; MAX_PROMPT as usize]
                .try_into()
                .expect("as long as may be"),
            max_tokens: 1,
            fee: 1,
        },
        inference::Call::submit_result {
            job: 0,
            answer: vec![b'a'; MAX_ANSWER as usize]
                .try_into()
                .expect("as long as may be"),
            finish: FinishReason::Stop,
            session: 0,
            receipt_root: [0; 32],
        },
        inference::Call::pay_job { job: 0 },
        inference::Call::refund_job { job: 0 },
    ];
    let signed = SignedReceipt {
        receipt: receipt(0, 1, 0, 32, 1),
        signature: [0; 64],
    };
    let key: AccountId = Key::new("Alice").account();
    let slashing_calls = [
        slashing::Call::report_equivocation {
            evidence: Box::new(slashing::Equivocation {
                first_key: key.clone(),
                first: signed.clone(),
                second_key: key,
                second: signed,
            }),
        },
        slashing::Call::cancel { case: 0 },
        slashing::Call::apply { case: 0 },
    ];
    let mut calls: Vec<RuntimeCall> = subnet_calls.map(RuntimeCall::Subnets).into();
    calls.extend(staking_calls.map(RuntimeCall::Staking));
    calls.extend(inference_calls.map(RuntimeCall::Inference));
    calls.extend(slashing_calls.map(RuntimeCall::Slashing));
    calls
}

#[test]
fn every_call_at_its_largest_fits_into_a_block_with_room_for_others() {
    story(genesis::LOCAL_FAST, |chain| {
        let calls = largest_calls();
        let mut named = BTreeSet::new();
        for call in &calls {
            named.insert(match call {
                RuntimeCall::Subnets(call) => call.get_call_name(),
                RuntimeCall::Staking(call) => call.get_call_name(),
                RuntimeCall::Inference(call) => call.get_call_name(),
                RuntimeCall::Slashing(call) => call.get_call_name(),
                other => panic!("not one of ours: {other:?}"),
            });
        }
        let all = subnets::Call::<Runtime>::get_call_names()
            .iter()
            .chain(staking::Call::<Runtime>::get_call_names())
            .chain(inference::Call::<Runtime>::get_call_names())
            .chain(slashing::Call::<Runtime>::get_call_names());
        assert_eq!(named, all.copied().collect(), "a call is missing here");

        let normal = DispatchClass::Normal;
        let limits = RuntimeBlockWeights::get();
        let most = limits.get(normal).max_extrinsic.expect("is bounded");
        let longest = *RuntimeBlockLength::get().max.get(normal);
        for call in calls {
            let extrinsic = chain.sign(&Key::new("Alice"), call.clone());
            let info = chain.read(|| extrinsic.get_dispatch_info());
            let weight = info.total_weight();
            assert_eq!(info.class, normal, "{call:?}");
            assert!(weight.all_lte(most), "{weight:?} of {most:?}: {call:?}");
            // One user's largest call must not take a block from all others.
            let share = weight.ref_time() as f64 / most.ref_time() as f64;
            assert!(share < 0.1, "{share} of a block: {call:?}");
            assert!(weight.ref_time() > 1_000_000, "is free: {call:?}");
            assert!(extrinsic.encoded_size() < longest as usize / 10, "{call:?}");
        }
    });
}

#[test]
fn whatever_waits_in_the_queue_fits_beside_a_block_full_of_extrinsics() {
    let limits = RuntimeBlockWeights::get();
    let taken = limits
        .get(DispatchClass::Normal)
        .max_total
        .expect("is bounded");
    let left = limits.max_block - taken - limits.base_block;
    let servers = <Runtime as inference::Config>::MaxServers::get();
    let look = InferenceWeights::idle();
    for item in [
        InferenceWeights::finalize(servers),
        InferenceWeights::drop_session(),
        InferenceWeights::drop_job(),
        InferenceWeights::pay_job(),
        InferenceWeights::refund_job(),
    ] {
        let needed = item + look + look;
        assert!(needed.all_lte(left), "{needed:?} of {left:?}");
    }
    for item in [SlashingWeights::apply(), SlashingWeights::forget()] {
        let needed = item + SlashingWeights::look() + SlashingWeights::idle();
        assert!(needed.all_lte(left), "{needed:?} of {left:?}");
    }
}

#[test]
fn who_makes_work_for_the_queue_pays_for_it() {
    let charged = |call: inference::Call<Runtime>| call.get_dispatch_info().call_weight;
    for call in largest_calls() {
        let RuntimeCall::Inference(call) = call else {
            continue;
        };
        let later = match &call {
            inference::Call::open_session { caps, .. } => {
                InferenceWeights::finalize(caps.len() as u32) + InferenceWeights::drop_session()
            }
            inference::Call::request { .. } => {
                InferenceWeights::pay_job().max(InferenceWeights::refund_job())
                    + InferenceWeights::drop_job()
            }
            _ => continue,
        };
        let (name, charged) = (call.get_call_name(), charged(call));
        assert!(
            later.all_lt(charged),
            "{name} pays for {charged:?}, which is less than {later:?}"
        );
    }
}

#[test]
fn more_sessions_than_a_block_can_pay_out_are_paid_over_several() {
    story(genesis::DEVELOPMENT_FAST, |chain| {
        // As many servers as a session may have, one for each block of a model.
        let servers = <Runtime as inference::Config>::MaxServers::get();
        let subnet = chain.register_subnet(&Key::new("Creator"), servers as u16);
        let first = chain.read(subnets::NextNodeId::<Runtime>::get);
        let owner = Key::new("Server1");
        for index in 0..servers {
            let (node, start) = (first + index, index as u16);
            let calls = vec![
                register_node(subnet, &format!("Server1//{index}")),
                bond(node, 10_000 * QPU),
                join(
                    node,
                    Span {
                        start,
                        end: start + 1,
                    },
                ),
            ];
            chain.send_all(&owner, calls);
        }

        // Many consumers, each with as many sessions as it may have, all over at the same time.
        let each: u32 = <Runtime as inference::Config>::MaxOpenSessions::get();
        let consumers = [consumer(), Key::new("Dave"), Key::new("Eve")];
        let caps: Vec<_> = (0..servers).map(|index| (first + index, PRICE)).collect();
        let end = chain.number() + 60;
        for key in &consumers {
            for _ in 0..8 {
                let duration = end - chain.number() - 1;
                let call = open_session(subnet, &session_key(), &caps, duration);
                let calls = vec![call.clone(); each as usize / 8];
                chain.send_all(key, calls);
            }
            let call = open_session(subnet, &session_key(), &caps, 1);
            chain.refused(key, call, inference::Error::<Runtime>::TooManySessions);
        }
        let sessions = chain.read(|| Sessions::<Runtime>::iter_keys().count());
        assert_eq!(sessions, consumers.len() * each as usize);
        // One voucher each for the first server: every payout moves money.
        let mut vouchers: Vec<RuntimeCall> = (0..sessions as u64)
            .map(|session| redeem(chain, session, &session_key(), first, 1))
            .collect();
        while !vouchers.is_empty() {
            let some = vouchers.split_off(vouchers.len().saturating_sub(16));
            chain.send_all(&owner, some);
        }
        chain.mark();
        chain.run_to(end + WINDOW - 1);
        chain.assert_moved(&[]);

        // No block is overfull, each does what it can, and all is done after a few.
        let limits = RuntimeBlockWeights::get();
        let mut blocks = vec![];
        while blocks.iter().sum::<usize>() < sessions {
            chain.block(vec![]);
            let weight = chain.read(|| System::block_weight().total());
            assert!(weight.all_lte(limits.max_block), "{weight:?}");
            let closed = |event: &RuntimeEvent| {
                matches!(event, RuntimeEvent::Inference(Event::SessionClosed { .. }))
            };
            let closed = chain.events().iter().filter(|event| closed(event)).count();
            assert!(closed > 0, "a block did nothing after {blocks:?}");
            blocks.push(closed);
        }
        assert!(blocks.len() > 1, "too few to fill a block: {blocks:?}");
        let paid = i128::try_from(PRICE * u128::from(each)).expect("is small");
        let mut moved: Vec<_> = consumers.iter().map(|key| (key, -paid)).collect();
        moved.push((&owner, paid * consumers.len() as i128));
        chain.assert_moved(&moved);
    });
}
