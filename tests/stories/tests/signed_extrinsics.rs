//! Extrinsics as wallets sign them: what they cost, when they are refused, and how accounts act
//! for each other.

use crate::consumer;
use codec::Encode;
use pallet_transaction_payment_rpc_runtime_api as payment_apis;
use payment_apis::runtime_decl_for_transaction_payment_api::TransactionPaymentApi;
use quipu_pallet_subnets::{self as subnets, NextNodeId, NextSubnetId};
use quipu_primitives::{traits::Bonds, Span};
use quipu_runtime::{
    configs::ProxyKind, genesis, Balances, Block, Multisig, Runtime, RuntimeCall, RuntimeEvent,
    RuntimeGenesisConfig, Staking, System, UncheckedExtrinsic, QPU,
};
use quipu_stories::{
    actors::*,
    event,
    extrinsic::{signed, Signing},
    story, Chain, Key,
};
use sp_runtime::{
    generic::Era,
    transaction_validity::{InvalidTransaction, TransactionValidityError, UnknownTransaction},
    BuildStorage, DispatchError,
};

type Proxies = pallet_proxy::Call<Runtime>;
type Multisigs = pallet_multisig::Call<Runtime>;
type Utility = pallet_utility::Call<Runtime>;

fn a_transfer() -> RuntimeCall {
    transfer(&Key::new("Bob").account(), QPU)
}

#[test]
fn fees_are_what_the_runtime_quotes_and_are_burned() {
    story(genesis::LOCAL_FAST, |chain| {
        let sender = consumer();
        for (call, tip) in [
            (a_transfer(), 0),
            (a_transfer(), 7),
            (register_node(0, "Consumer"), 0),
            (
                subnets::Call::register_subnet {
                    manifest: Box::new(model(256)),
                }
                .into(),
                0,
            ),
        ] {
            let signing = Signing {
                tip,
                ..chain.signing(&sender)
            };
            let extrinsic = signed(&sender, call, signing);
            let length = extrinsic.encoded_size() as u32;
            let (quoted, details) = chain.read(|| {
                let info = <Runtime as TransactionPaymentApi<Block, _>>::query_info;
                let details = <Runtime as TransactionPaymentApi<Block, _>>::query_fee_details;
                let quoted = info(extrinsic.clone(), length).partial_fee;
                (quoted, details(extrinsic.clone(), length))
            });
            let parts = details.inclusion_fee.expect("pays a fee");
            assert!(parts.len_fee >= u128::from(length) * 1_000_000, "{parts:?}");
            assert!(parts.adjusted_weight_fee > 0);

            chain.mark();
            let issued = chain.read(Balances::total_issuance);
            assert_eq!(chain.block(vec![extrinsic]), [Ok(Ok(()))]);
            let paid = chain.fees_of(&sender);
            assert!(paid <= quoted + tip, "{paid} of {quoted}");
            assert!(paid + quoted / 10 > quoted + tip, "{paid} of {quoted}");
            assert_eq!(chain.read(Balances::total_issuance), issued - paid);
        }
    });
}

#[test]
fn extrinsics_that_are_not_for_this_moment_of_this_chain_are_refused() {
    story(genesis::LOCAL_FAST, |chain| {
        let sender = consumer();
        chain.send(&sender, a_transfer());
        chain.run_to(40);
        chain.mark();
        let honest = chain.signing(&sender);
        assert_eq!(honest.nonce, 1);
        let with = |change: fn(&mut Signing)| {
            let mut signing = honest.clone();
            change(&mut signing);
            signed(&sender, a_transfer(), signing)
        };
        let mut tampered = signed(&sender, a_transfer(), honest.clone());
        tampered.function = transfer(&Key::new("Eve").account(), QPU);
        let invalid = |reason| Err(TransactionValidityError::Invalid(reason));
        let no_metadata = UnknownTransaction::CannotLookup;
        let no_metadata = Err(TransactionValidityError::Unknown(no_metadata));
        let cases: [(&str, UncheckedExtrinsic, _); 8] = [
            ("tampered", tampered, invalid(InvalidTransaction::BadProof)),
            (
                "old nonce",
                with(|it| it.nonce = 0),
                invalid(InvalidTransaction::Stale),
            ),
            (
                "next nonce",
                with(|it| it.nonce = 2),
                invalid(InvalidTransaction::Future),
            ),
            (
                "other chain",
                with(|it| it.genesis = [1; 32].into()),
                invalid(InvalidTransaction::BadProof),
            ),
            (
                "other version",
                with(|it| it.spec_version += 1),
                invalid(InvalidTransaction::BadProof),
            ),
            (
                "other fork",
                with(|it| it.checkpoint = [1; 32].into()),
                invalid(InvalidTransaction::BadProof),
            ),
            (
                "too high a tip",
                with(|it| it.tip = 2 * genesis::ENDOWMENT),
                invalid(InvalidTransaction::Payment),
            ),
            // This build of the runtime has no metadata digest to compare with.
            (
                "metadata digest",
                with(|it| it.metadata_hash = Some([1; 32])),
                no_metadata,
            ),
        ];
        for (name, extrinsic, expected) in cases {
            assert_eq!(chain.block(vec![extrinsic]), [expected], "{name}");
        }
        chain.assert_moved(&[]);
        assert_eq!(chain.fees_of(&sender), 0);

        // An honest mortal one lives for its era and no longer.
        let call = || transfer(&Key::new("Bob").account(), QPU);
        let mut mortal = chain.signing(&sender);
        let head = u64::from(chain.number());
        mortal.era = Era::mortal(4, head);
        let birth = mortal.era.birth(head) as u32;
        mortal.checkpoint = chain.hash_of(birth);
        let death = mortal.era.death(head) as u32;
        chain.run_to(death - 1);
        let late = signed(&sender, call(), mortal.clone());
        let ancient = InvalidTransaction::AncientBirthBlock;
        assert_eq!(chain.block(vec![late]), [invalid(ancient)]);
        let bob = Key::new("Bob");
        let qpu = QPU as i128;
        chain.assert_moved(&[]);
        chain.send(&sender, call());
        chain.assert_moved(&[(&sender, -qpu), (&bob, qpu)]);

        // Whoever has nothing can do nothing.
        let poor = Key::new("Poor");
        let call = RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
        let penniless = chain.sign(&poor, call);
        assert_eq!(
            chain.block(vec![penniless]),
            [invalid(InvalidTransaction::Payment)]
        );
    });
}

#[test]
fn a_batch_starts_a_server_in_one_extrinsic_or_not_at_all() {
    story(genesis::LOCAL_FAST, |chain| {
        let owner = Key::new("Server1");
        let subnet = chain.register_subnet(&Key::new("Creator"), 4);
        let node = chain.read(NextNodeId::<Runtime>::get);
        let steps = |end| {
            vec![
                register_node(subnet, "Server1"),
                bond(node, Staking::minimum_self_bond()),
                join(node, Span { start: 0, end }),
            ]
        };
        let before = chain.footprint(&crate::OURS);
        let calls = steps(5);
        let error = subnets::Error::<Runtime>::SpanOutsideModel;
        chain.refused(&owner, Utility::batch_all { calls }, error);
        let after = chain.footprint(&crate::OURS);
        assert!(after.changes_since(&before).is_empty());
        let calls = steps(4);
        let events = chain.send(&owner, Utility::batch_all { calls });
        event!(events, Subnets(subnets::Event::SubnetActivated { .. }) => ());
    });
}

#[test]
fn a_proxy_registers_for_an_account_but_can_neither_take_its_money_nor_sell_its_node() {
    story(genesis::LOCAL_FAST, |chain| {
        let (real, delegate) = (Key::new("Server1"), Key::new("Ferdie"));
        let subnet = chain.register_subnet(&Key::new("Creator"), 1);
        let add = |proxy_type| Proxies::add_proxy {
            delegate: delegate.account().into(),
            proxy_type,
            delay: 0,
        };
        chain.send(&real, add(ProxyKind::Subnets));
        let reserved = chain.read(|| System::account(real.account()).data.reserved);
        assert!(reserved > 0, "a deposit");
        let act = |call: RuntimeCall| Proxies::proxy {
            real: real.account().into(),
            force_proxy_type: None,
            call: Box::new(call),
        };
        let outcome = |chain: &mut Chain, call: RuntimeCall| {
            let events = chain.send(&delegate, act(call));
            // The outcome of the call, then that of a batch in it.
            let within = events.iter().find_map(|event| match event {
                RuntimeEvent::Utility(pallet_utility::Event::BatchInterrupted {
                    error, ..
                }) => Some(Err(*error)),
                _ => None,
            });
            within.unwrap_or(event!(
                events,
                Proxy(pallet_proxy::Event::ProxyExecuted { result }) => *result))
        };
        let node = chain.read(NextNodeId::<Runtime>::get);
        chain.mark();
        assert_eq!(outcome(chain, register_node(subnet, "Server1")), Ok(()));
        let owner = chain.read(|| {
            subnets::Nodes::<Runtime>::get(node)
                .expect("exists")
                .coldkey
        });
        assert_eq!(owner, real.account());

        let filtered: Result<(), DispatchError> =
            Err(frame_system::Error::<Runtime>::CallFiltered.into());
        let theft = transfer(&delegate.account(), QPU);
        let sale: RuntimeCall = subnets::Call::set_coldkey {
            node,
            coldkey: delegate.account(),
        }
        .into();
        let more: RuntimeCall = add(ProxyKind::Any).into();
        let bonding = bond(node, QPU);
        for call in [theft, sale, more, bonding.clone()] {
            assert_eq!(outcome(chain, call.clone()), filtered, "{call:?}");
            let hidden = Utility::batch { calls: vec![call] };
            assert_eq!(outcome(chain, hidden.into()), filtered, "in a batch");
        }
        chain.assert_moved(&[]);
        let error = pallet_proxy::Error::<Runtime>::NotProxy;
        chain.refused(&Key::new("Eve"), act(bonding.clone()), error);

        // Two kinds together do what is needed to serve.
        chain.send(&real, add(ProxyKind::Staking));
        let bonding = bond(node, Staking::minimum_self_bond());
        let act_as = |kind, call: RuntimeCall| Proxies::proxy {
            real: real.account().into(),
            force_proxy_type: Some(kind),
            call: Box::new(call),
        };
        chain.send(&delegate, act_as(ProxyKind::Staking, bonding));
        let span = Span { start: 0, end: 1 };
        let events = chain.send(&delegate, act_as(ProxyKind::Subnets, join(node, span)));
        event!(events, Subnets(subnets::Event::SubnetActivated { .. }) => ());
        chain.send(&real, Proxies::remove_proxies {});
        let locked = node_deposit() + Staking::minimum_self_bond();
        let reserved = chain.read(|| System::account(real.account()).data.reserved);
        assert_eq!(reserved, locked, "the deposits for the proxies are back");
        chain.assert_moved(&[]);
    });
}

#[test]
fn two_of_three_creators_register_a_model_together() {
    story(genesis::LOCAL_FAST, |chain| {
        let mut members = ["Dave", "Eve", "Ferdie"].map(Key::new);
        members.sort_by_key(|key| key.account());
        let accounts = members.clone().map(|key| key.account());
        let together = Multisig::multi_account_id(&accounts, 2);
        let money = registration_deposit() + QPU;
        chain.send(&members[0], transfer(&together, money));
        let manifest = Box::new(model(8));
        let call: RuntimeCall = subnets::Call::register_subnet { manifest }.into();
        let others = |index: usize| {
            let mut others = accounts.to_vec();
            others.remove(index);
            others
        };
        let max_weight =
            frame_support::dispatch::GetDispatchInfo::get_dispatch_info(&call).call_weight;
        chain.mark();
        let propose = Multisigs::approve_as_multi {
            threshold: 2,
            other_signatories: others(0),
            maybe_timepoint: None,
            call_hash: sp_io::hashing::blake2_256(&call.encode()),
            max_weight,
        };
        chain.send(&members[0], propose);
        let when = pallet_multisig::Timepoint {
            height: chain.number(),
            index: 1,
        };
        let subnet = chain.read(NextSubnetId::<Runtime>::get);
        let agree = |index| Multisigs::as_multi {
            threshold: 2,
            other_signatories: others(index),
            maybe_timepoint: Some(when),
            call: Box::new(call.clone()),
            max_weight,
        };
        // One member alone is not two.
        let error = pallet_multisig::Error::<Runtime>::AlreadyApproved;
        let again = Multisigs::approve_as_multi {
            threshold: 2,
            other_signatories: others(0),
            maybe_timepoint: Some(when),
            call_hash: sp_io::hashing::blake2_256(&call.encode()),
            max_weight,
        };
        chain.refused(&members[0], again, error);
        let events = chain.send(&members[2], agree(2));
        let result = event!(
            events,
            Multisig(pallet_multisig::Event::MultisigExecuted { result, .. }) => *result
        );
        assert_eq!(result, Ok(()));
        let creator = chain.read(|| {
            subnets::Subnets::<Runtime>::get(subnet)
                .expect("exists")
                .creator
        });
        assert_eq!(creator, together);
        assert_eq!(chain.read(|| Balances::free_balance(&together)), QPU);
        chain.assert_moved(&[]);

        // None of them can close it alone.
        let error: DispatchError = subnets::Error::<Runtime>::NotCreator.into();
        for member in &members {
            chain.refused(member, subnets::Call::pause_subnet { subnet }, error);
        }
    });
}

#[test]
fn only_a_development_chain_has_a_superuser() {
    let sudo = |call: RuntimeCall| pallet_sudo::Call::<Runtime>::sudo {
        call: Box::new(call),
    };
    let root_only = || RuntimeCall::System(frame_system::Call::set_storage { items: vec![] });
    for preset in genesis::PRESETS {
        story(preset, |chain| {
            let alice = Key::new("Alice");
            let key = chain.read(pallet_sudo::Key::<Runtime>::get);
            assert_eq!(key, Some(alice.account()), "{preset}");
            let events = chain.send(&alice, sudo(root_only()));
            let done = event!(
                events,
                Sudo(pallet_sudo::Event::Sudid { sudo_result }) => *sudo_result
            );
            assert_eq!(done, Ok(()));
            let error = pallet_sudo::Error::<Runtime>::RequireSudo;
            chain.refused(&Key::new("Bob"), sudo(root_only()), error);
            chain.refused(&alice, root_only(), DispatchError::BadOrigin);
        });
    }
    // A genesis that names none has none: no call can make one.
    let storage = RuntimeGenesisConfig::default().build_storage();
    sp_io::TestExternalities::new(storage.expect("builds")).execute_with(|| {
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), None);
    });
}
