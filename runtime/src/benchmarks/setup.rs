//! What the benchmarks of a Quipu pallet need to find in the others.

use crate::{
    clock, Access, AccountId, Balance, Balances, Emission, Inference, Runtime, RuntimeOrigin,
    SessionKeys, Staking, Subnets, System, QPU,
};
use alloc::vec::Vec;
use codec::Decode;
use frame_benchmarking::account;
use frame_support::traits::{
    fungible::{Inspect, Mutate},
    Get, OnInitialize,
};
use quipu_pallet_slashing::benchmarking::SESSION_KEY;
use quipu_pallet_subnets::benchmarking::{new_node, new_seat, new_subnet};
use quipu_primitives::{
    economy::Bucket,
    manifest::MAX_BLOCKS,
    traits::{Bonds, Nodes},
    NodeId, SessionId, Span, SubnetId, ROOT_SUBNET,
};

/// Sets up the other pallets.
pub struct Setup;

/// The largest model there may be.
const LARGEST: u16 = MAX_BLOCKS as u16;

fn bond(node: NodeId, coldkey: &AccountId, amount: Balance) {
    Balances::mint_into(coldkey, amount.saturating_add(QPU)).expect("issuance is far from full");
    Staking::bond(RuntimeOrigin::signed(coldkey.clone()), node, amount)
        .expect("the account was just paid");
}

impl quipu_pallet_subnets::BenchmarkHelper<AccountId> for Setup {
    fn bond(node: NodeId, coldkey: &AccountId, amount: Balance) {
        bond(node, coldkey, amount);
    }
}

impl quipu_pallet_staking::BenchmarkHelper<AccountId> for Setup {
    fn earn(_: NodeId) {
        // A day is emitted, of which all stake has its part.
        let day = clock::DayBlocks::<Runtime>::get();
        System::set_block_number(day);
        Emission::on_initialize(day);
    }

    fn root_node(coldkey: &AccountId) -> NodeId {
        new_node::<Runtime>(ROOT_SUBNET, coldkey)
    }

    fn server(coldkey: &AccountId) -> NodeId {
        let creator = account("creator", 0, 0);
        new_node::<Runtime>(new_subnet::<Runtime>(&creator, LARGEST), coldkey)
    }

    fn seat(server: NodeId) {
        new_seat::<Runtime>(server);
    }

    fn set_keys(root_node: NodeId) {
        // Any bytes are keys; each of them at most once.
        let mut bytes = [0u8; 64];
        bytes[..4].copy_from_slice(&root_node.to_le_bytes());
        bytes[32..36].copy_from_slice(&root_node.to_le_bytes());
        let keys = SessionKeys::decode(&mut bytes.as_slice()).expect("two keys of 32 bytes");
        pallet_session::NextKeys::<Runtime>::insert(Staking::validator_id(root_node), keys);
    }

    fn run_session_of(validators: Vec<AccountId>) {
        pallet_session::Validators::<Runtime>::put(validators);
    }

    fn room_for_root_nodes() -> u32 {
        let most: u32 = <Runtime as quipu_pallet_subnets::Config>::MaxNodesPerSubnet::get();
        let there = <Subnets as Nodes<AccountId>>::of_subnet(ROOT_SUBNET).len() as u32;
        most.saturating_sub(there)
    }
}

impl quipu_pallet_slashing::benchmarking::BenchmarkHelper<AccountId> for Setup {
    fn served_session(hotkey: &AccountId, consumer: &AccountId) -> (NodeId, SessionId) {
        let creator: AccountId = account("creator", 0, 0);
        let coldkey: AccountId = account("coldkey", 0, 0);
        let subnet = new_subnet::<Runtime>(&creator, LARGEST);
        let node = new_node::<Runtime>(subnet, &coldkey);
        // As many keys as can be remembered: the one that signs is found last.
        let most = <Runtime as quipu_pallet_subnets::Config>::MaxFormerHotkeys::get();
        let owner = || RuntimeOrigin::signed(coldkey.clone());
        for index in 1..most {
            let key = account("former", index, 0);
            Subnets::set_hotkey(owner(), node, key).expect("there is room");
        }
        Subnets::set_hotkey(owner(), node, hotkey.clone()).expect("there is room");
        bond(node, &coldkey, Staking::minimum_self_bond());
        new_seat::<Runtime>(node);

        Balances::mint_into(consumer, QPU).expect("issuance is far from full");
        let session = quipu_pallet_inference::NextSession::<Runtime>::get();
        let most = <Runtime as quipu_pallet_inference::Config>::MaxSessionDuration::get();
        let caps = [(node, 1)].to_vec().try_into().expect("is one");
        let signer = RuntimeOrigin::signed(consumer.clone());
        Inference::open_session(signer, subnet, SESSION_KEY, caps, most, [0; 32], None)
            .expect("the node serves every block");
        (node, session)
    }

    fn full_ledger(node: NodeId) {
        let owner = Subnets::keys(node).expect("is a node").coldkey;
        let least = <Runtime as quipu_pallet_staking::Config>::MinBond::get();
        for _ in 0..<Runtime as quipu_pallet_staking::Config>::MaxUnbondingChunks::get() {
            System::set_block_number(System::block_number().saturating_add(1));
            bond(node, &owner, least);
            Staking::unbond(RuntimeOrigin::signed(owner.clone()), node, least)
                .expect("there is room for so many chunks");
        }
    }
}

/// The subnet of the session that [`Setup`] makes to be audited.
const AUDITED: SubnetId = 1;

impl quipu_pallet_audits::benchmarking::BenchmarkHelper<AccountId> for Setup {
    fn served_session(servers: u32) -> SessionId {
        use quipu_pallet_inference::benchmarking::BenchmarkHelper;
        let (subnet, nodes) = <Setup as BenchmarkHelper>::subnet(servers, 1);
        assert_eq!(subnet, AUDITED, "the state has another subnet already");
        let consumer: AccountId = account("consumer", 0, 0);
        Balances::mint_into(&consumer, QPU).expect("issuance is far from full");
        let session = quipu_pallet_inference::NextSession::<Runtime>::get();
        let most = <Runtime as quipu_pallet_inference::Config>::MaxSessionDuration::get();
        let caps: Vec<_> = nodes.iter().map(|node| (*node, 1_000)).collect();
        let caps = caps.try_into().expect("at most MaxServers");
        let signer = RuntimeOrigin::signed(consumer);
        Inference::open_session(signer, subnet, SESSION_KEY, caps, most, [0; 32], None)
            .expect("the nodes serve every block");
        quipu_pallet_inference::Sessions::<Runtime>::mutate(session, |session| {
            for server in session.iter_mut().flat_map(|session| &mut session.servers) {
                server.positions = 1;
            }
        });
        session
    }

    fn auditors(nodes: u32) -> Vec<NodeId> {
        let taken = <Subnets as Nodes<AccountId>>::of_subnet(AUDITED).len() as u32;
        let auditor = |index| {
            let coldkey: AccountId = account("auditor", index, taken);
            let node = new_node::<Runtime>(AUDITED, &coldkey);
            bond(node, &coldkey, Staking::minimum_self_bond());
            node
        };
        (0..nodes).map(auditor).collect()
    }

    fn hotkey(node: NodeId) -> AccountId {
        Subnets::keys(node).expect("is a node").hotkey
    }

    fn next_epoch() {
        pallet_babe::EpochIndex::<Runtime>::mutate(|epoch| *epoch = epoch.saturating_add(1));
    }
}

impl quipu_pallet_inference::benchmarking::BenchmarkHelper<AccountId> for Setup {
    fn grant_quota(consumer: &AccountId) {
        // All that exists is locked by one holder, and the payer has as much.
        let payer = Emission::account(Bucket::Compute);
        let supply = Balances::total_issuance();
        Balances::mint_into(&payer, supply).expect("issuance is far from full");
        let who = RuntimeOrigin::signed(consumer.clone());
        Access::lock(who, Balances::total_balance(consumer)).expect("the account has it");
        let day = clock::DayBlocks::<Runtime>::get();
        System::set_block_number(day);
        Access::on_initialize(day);
    }

    fn subnet(seats: u32, price: Balance) -> (SubnetId, Vec<NodeId>) {
        let creator: AccountId = account("creator", 0, 0);
        // As many blocks as servers of a session, so that each can have a span of its own.
        let most: u32 = <Runtime as quipu_pallet_inference::Config>::MaxServers::get();
        let chain = seats.clamp(1, most).min(u32::from(LARGEST)) as u16;
        let subnet = new_subnet::<Runtime>(&creator, chain);
        let profile = Subnets::subnet_info(subnet)
            .and_then(|info| {
                info.manifest
                    .profiles
                    .first()
                    .map(|profile| profile.digest())
            })
            .expect("the manifest was just registered");
        let nodes: Vec<NodeId> = (0..seats)
            .map(|index| {
                let coldkey: AccountId = account("server", index, subnet);
                let node = new_node::<Runtime>(subnet, &coldkey);
                bond(node, &coldkey, Staking::minimum_self_bond());
                // One block each along the chain; whoever is left doubles the last.
                let start = (index as u16).min(chain.saturating_sub(1));
                let span = Span {
                    start,
                    end: start.saturating_add(1),
                };
                let signer = RuntimeOrigin::signed(coldkey);
                Subnets::join(signer, node, span, price, profile).expect("bonded and registered");
                node
            })
            .collect();
        debug_assert_eq!(
            <Subnets as Nodes<AccountId>>::of_subnet(subnet).len(),
            nodes.len()
        );
        (subnet, nodes)
    }
}
