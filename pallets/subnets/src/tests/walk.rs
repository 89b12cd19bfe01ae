//! A random walk through all calls: whatever is sent in whatever order, the invariants hold, what
//! is refused changes nothing, and in the end everything can be taken apart.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Register {
        who: u64,
        max_nodes: u32,
        min_self_bond: Balance,
    },
    Dissolve {
        who: u64,
        subnet: SubnetId,
    },
    Pause {
        who: u64,
        subnet: SubnetId,
    },
    Resume {
        who: u64,
        subnet: SubnetId,
    },
    Node {
        who: u64,
        subnet: SubnetId,
        hotkey: u64,
        peer: u64,
    },
    Remove {
        who: u64,
        node: NodeId,
    },
    Join {
        who: u64,
        node: NodeId,
        start: u16,
        end: u16,
    },
    Price {
        who: u64,
        node: NodeId,
        price: Balance,
    },
    Leave {
        who: u64,
        node: NodeId,
    },
    Hotkey {
        who: u64,
        node: NodeId,
        hotkey: u64,
    },
    Coldkey {
        who: u64,
        node: NodeId,
        coldkey: u64,
    },
    Peer {
        who: u64,
        node: NodeId,
        peer: u64,
    },
    Bond {
        node: NodeId,
        amount: Balance,
    },
    Deposit {
        amount: Balance,
    },
    Wait {
        blocks: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let who = || prop_oneof![5 => CAROL..=SUE, 1 => Just(PAUL), 2 => 10..16u64];
    let subnet = || 0..4u32;
    let node = || 0..8u32;
    let money = || prop_oneof![4 => 0..3 * MIN_BOND, 1 => Just(Balance::MAX)];
    prop_oneof![
        2 => (who(), 0..6u32, 0..2 * MIN_BOND).prop_map(|(who, max_nodes, min_self_bond)| {
            Op::Register { who, max_nodes, min_self_bond }
        }),
        1 => (who(), subnet()).prop_map(|(who, subnet)| Op::Dissolve { who, subnet }),
        1 => (who(), subnet()).prop_map(|(who, subnet)| Op::Pause { who, subnet }),
        1 => (who(), subnet()).prop_map(|(who, subnet)| Op::Resume { who, subnet }),
        4 => (who(), subnet(), 10..16u64, 0..8u64)
            .prop_map(|(who, subnet, hotkey, peer)| Op::Node { who, subnet, hotkey, peer }),
        2 => (who(), node()).prop_map(|(who, node)| Op::Remove { who, node }),
        6 => (who(), node(), 0..5u16, 0..6u16)
            .prop_map(|(who, node, start, end)| Op::Join { who, node, start, end }),
        1 => (who(), node(), money()).prop_map(|(who, node, price)| Op::Price { who, node, price }),
        2 => (who(), node()).prop_map(|(who, node)| Op::Leave { who, node }),
        2 => (who(), node(), 10..16u64)
            .prop_map(|(who, node, hotkey)| Op::Hotkey { who, node, hotkey }),
        2 => (who(), node(), who())
            .prop_map(|(who, node, coldkey)| Op::Coldkey { who, node, coldkey }),
        1 => (who(), node(), 0..8u64).prop_map(|(who, node, peer)| Op::Peer { who, node, peer }),
        6 => (node(), money()).prop_map(|(node, amount)| Op::Bond { node, amount }),
        1 => money().prop_map(|amount| Op::Deposit { amount }),
        2 => (0..2 * RETENTION).prop_map(|blocks| Op::Wait { blocks }),
    ]
}

/// Does one step; what the chain refuses must leave storage as it was.
fn step(op: Op) {
    let before = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let done = match op {
        Op::Register {
            who,
            max_nodes,
            min_self_bond,
        } => {
            let mut manifest = manifest();
            manifest.terms.max_nodes = max_nodes;
            manifest.terms.min_self_bond = min_self_bond;
            register(who, manifest)
        }
        Op::Dissolve { who, subnet } => run(who, Call::dissolve_subnet { subnet }),
        Op::Pause { who, subnet } => run(who, Call::pause_subnet { subnet }),
        Op::Resume { who, subnet } => run(who, Call::resume_subnet { subnet }),
        Op::Node {
            who,
            subnet,
            hotkey,
            peer: seed,
        } => run(
            who,
            Call::register_node {
                subnet,
                hotkey,
                peer_id: peer(seed),
            },
        ),
        Op::Remove { who, node } => run(who, Call::remove_node { node }),
        Op::Join {
            who,
            node,
            start,
            end,
        } => join(who, node, start, end),
        Op::Price { who, node, price } => run(who, Call::update_price { node, price }),
        Op::Leave { who, node } => run(who, Call::leave { node }),
        Op::Hotkey { who, node, hotkey } => run(who, Call::set_hotkey { node, hotkey }),
        Op::Coldkey { who, node, coldkey } => run(who, Call::set_coldkey { node, coldkey }),
        Op::Peer {
            who,
            node,
            peer: seed,
        } => run(
            who,
            Call::set_peer_id {
                node,
                peer_id: peer(seed),
            },
        ),
        Op::Bond { node, amount } => {
            if Nodes::<Test>::contains_key(node) {
                set_bond(node, amount);
            }
            Ok(())
        }
        Op::Deposit { amount } => {
            RegistrationDeposit::set(amount);
            Ok(())
        }
        Op::Wait { blocks } => {
            System::set_block_number(System::block_number() + blocks);
            Ok(())
        }
    };
    if done.is_err() {
        let after = sp_io::storage::root(sp_runtime::StateVersion::V1);
        assert_eq!(before, after, "a refused call left a trace");
    }
    Subnets::do_try_state().unwrap();
    seats_are_bonded();
    assert_eq!(Balances::total_issuance(), 3 * RICH);
}

/// Bonds are not this pallet's, but no seat outlives its bond.
fn seats_are_bonded() {
    for (id, node) in Nodes::<Test>::iter().filter(|(_, node)| node.seat.is_some()) {
        let terms = SubnetsOf::<Test>::get(node.subnet).unwrap().terms;
        let bond = Subnets::node_info(id).unwrap().self_bond;
        assert!(bond >= MIN_BOND.max(terms.min_self_bond));
    }
}

/// Every owner takes everything back.
fn take_apart() {
    for (node, record) in Nodes::<Test>::iter().collect::<Vec<_>>() {
        set_bond(node, 0);
        assert_ok!(run(record.coldkey, Call::remove_node { node }));
    }
    for (subnet, record) in SubnetsOf::<Test>::iter().collect::<Vec<_>>() {
        assert_ok!(run(record.creator, Call::dissolve_subnet { subnet }));
    }
    for reason in [HoldReason::Registration, HoldReason::Node] {
        assert!((0..=PAUL).all(|who| held(who, reason) == 0));
    }
    assert_eq!(NodeOfHotkey::<Test>::iter().count(), 0);
    assert_eq!(FormerHotkeys::<Test>::iter().count(), 0);
    assert_eq!(CoverageOf::<Test>::iter().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_order_of_calls_breaks_an_invariant(ops in prop::collection::vec(op(), 1..80)) {
        new_test_ext().execute_with(|| {
            ops.into_iter().for_each(step);
            take_apart();
        });
    }
}
