//! A random walk through calls, slashes, offences and sessions: whatever happens in whatever order,
//! the invariants hold and every unit of money is accounted for.

use super::*;
use proptest::prelude::*;
use quipu_primitives::node_account;
use sp_staking::offence::{OffenceDetails, OnOffenceHandler};

#[derive(Clone, Debug)]
enum Op {
    Bond {
        who: u8,
        node: NodeId,
        amount: Balance,
    },
    Unbond {
        who: u8,
        node: NodeId,
        amount: Balance,
    },
    Rebond {
        who: u8,
        node: NodeId,
        amount: Balance,
    },
    Withdraw {
        node: NodeId,
    },
    Chill {
        who: u8,
        node: NodeId,
    },
    Validate {
        who: u8,
        node: NodeId,
    },
    Slash {
        node: NodeId,
        amount: Balance,
    },
    Offend {
        node: NodeId,
        percent: u32,
    },
    Decide {
        node: NodeId,
        guilty: bool,
    },
    Swap {
        node: NodeId,
        to: u8,
    },
    Remove {
        node: NodeId,
    },
    Wait {
        blocks: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 1..5u8;
    let node = || prop_oneof![0..4u32, 11..13u32];
    let money = || {
        prop_oneof![
            1 => 0..MIN_BOND,
            6 => 0..3 * MIN_VALIDATOR_BOND,
            1 => Just(RICH - ED),
            1 => Just(Balance::MAX)
        ]
    };
    prop_oneof![
        6 => (who(), node(), money()).prop_map(|(who, node, amount)| Op::Bond { who, node, amount }),
        6 => (who(), node(), money())
            .prop_map(|(who, node, amount)| Op::Unbond { who, node, amount }),
        3 => (who(), node(), money())
            .prop_map(|(who, node, amount)| Op::Rebond { who, node, amount }),
        4 => node().prop_map(|node| Op::Withdraw { node }),
        1 => (who(), node()).prop_map(|(who, node)| Op::Chill { who, node }),
        1 => (who(), node()).prop_map(|(who, node)| Op::Validate { who, node }),
        3 => (node(), money()).prop_map(|(node, amount)| Op::Slash { node, amount }),
        2 => (node(), 0..101u32).prop_map(|(node, percent)| Op::Offend { node, percent }),
        2 => (node(), any::<bool>()).prop_map(|(node, guilty)| Op::Decide { node, guilty }),
        2 => (node(), who()).prop_map(|(node, to)| Op::Swap { node, to }),
        1 => node().prop_map(|node| Op::Remove { node }),
        5 => (0..2 * PERIOD).prop_map(|blocks| Op::Wait { blocks }),
    ]
}

fn step(op: Op) {
    match op {
        Op::Bond { who, node, amount } => refused_leaves_no_trace(|| bond(who, node, amount)),
        Op::Unbond { who, node, amount } => refused_leaves_no_trace(|| unbond(who, node, amount)),
        Op::Rebond { who, node, amount } => refused_leaves_no_trace(|| rebond(who, node, amount)),
        Op::Withdraw { node } => refused_leaves_no_trace(|| withdraw(9, node)),
        Op::Chill { who, node } => refused_leaves_no_trace(|| run(who, Call::chill { node })),
        Op::Validate { who, node } => refused_leaves_no_trace(|| run(who, Call::validate { node })),
        Op::Slash { node, amount } => burns_exactly(|| slash(node, amount).unwrap()),
        Op::Offend { node, percent } => burns_exactly(|| {
            let before = Staking::slashable(node);
            let details = OffenceDetails {
                offender: (node_account(node).into(), ()),
                reporters: vec![],
            };
            let session = Session::current_index();
            Staking::on_offence(&[details], &[Perbill::from_percent(percent)], session);
            before - Staking::slashable(node)
        }),
        Op::Decide { node, guilty } => burns_exactly(|| {
            let before = Staking::slashable(node);
            match guilty {
                true => decide(node),
                false => acquit(node),
            }
            before - Staking::slashable(node)
        }),
        Op::Swap { node, to } => refused_leaves_no_trace(|| {
            use quipu_primitives::traits::Nodes;
            let keys = TestNodes::keys(node).ok_or(DispatchError::CannotLookup)?;
            frame_support::storage::with_storage_layer(|| {
                add_node(node, keys.subnet, acc(to));
                Staking::coldkey_swapped(node, &keys.coldkey, &acc(to))
            })
        }),
        Op::Remove { node } => {
            if Staking::is_free(node) && !Staking::has_obligations(node) {
                drop_node(node);
            }
        }
        Op::Wait { blocks } => run_to(System::block_number() + blocks),
    }
    Staking::do_try_state().unwrap();
    assert!(
        !Session::validators().is_empty(),
        "the chain always has validators"
    );
}

fn refused_leaves_no_trace(call: impl FnOnce() -> DispatchResult) {
    let root = || sp_io::storage::root(sp_runtime::StateVersion::V1);
    let (before, issuance) = (root(), Balances::total_issuance());
    if call().is_err() {
        assert_eq!(root(), before, "a refused call left a trace");
    }
    assert_eq!(
        Balances::total_issuance(),
        issuance,
        "a call made or burned money"
    );
}

fn burns_exactly(punish: impl FnOnce() -> Balance) {
    let before = Balances::total_issuance();
    let burned = punish();
    assert_eq!(Balances::total_issuance(), before - burned);
}

/// Everybody takes everything back; what is not there was slashed.
fn take_apart() {
    let nodes: Vec<_> = Ledgers::<Test>::iter_keys().collect();
    nodes.iter().for_each(|node| decide(*node));
    run_to(System::block_number() + PERIOD);
    for node in &nodes {
        use quipu_primitives::traits::Nodes;
        let _ = withdraw(9, *node);
        let own = Staking::self_bond(*node);
        if own > 0 {
            let coldkey = TestNodes::keys(*node).unwrap().coldkey;
            assert_ok!(Staking::unbond(RuntimeOrigin::signed(coldkey), *node, own));
        }
    }
    run_to(System::block_number() + PERIOD);
    for node in nodes {
        let _ = withdraw(9, node);
        assert!(Staking::is_free(node));
    }
    assert_eq!(Ledgers::<Test>::iter().count(), 0);
    assert_eq!(TotalBonded::<Test>::get(), 0);
    assert!((1..=9).all(|who| Staking::held(&acc(who)) == 0));
    Staking::do_try_state().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_events_breaks_an_invariant(
        ops in prop::collection::vec(op(), 1..60),
        deferred in any::<bool>(),
    ) {
        ext_with_validators(&[2_000, 3_000, 1_000]).execute_with(|| {
            Deferred::set(deferred);
            ops.into_iter().for_each(step);
            take_apart();
        });
    }

    #[test]
    fn a_slash_takes_what_is_asked_from_every_part_alike(
        own in any::<u64>(),
        parts in prop::collection::vec(1..u64::MAX, 0..MAX_CHUNKS as usize),
        amount in any::<u64>(),
    ) {
        let mut ledger = Ledger::<Test> { own: own.into(), ..Default::default() };
        for (release_at, amount) in (1..).zip(&parts) {
            let chunk = Chunk { amount: (*amount).into(), release_at };
            ledger.unbonding.try_push(chunk).unwrap();
        }
        let (before, total) = (ledger.clone(), ledger.total());
        let taken = ledger.slash(amount.into());
        prop_assert_eq!(taken, total.min(amount.into()));
        prop_assert_eq!(ledger.total(), total - taken);
        // Each part pays its share to within as many units as there are parts.
        let slack = parts.len() as i128 + 1;
        let fair = |part: Balance| part.checked_mul(taken).map(|product| product / total.max(1));
        let left = |release_at| {
            let chunk = ledger.unbonding.iter().find(|chunk| chunk.release_at == release_at);
            chunk.map_or(0, |chunk| chunk.amount)
        };
        if let Some(fair) = fair(before.own) {
            prop_assert!(((before.own - ledger.own) as i128 - fair as i128).abs() <= slack);
        }
        for chunk in &before.unbonding {
            if let Some(fair) = fair(chunk.amount) {
                let paid = chunk.amount - left(chunk.release_at);
                prop_assert!((paid as i128 - fair as i128).abs() <= slack);
            }
        }
    }
}
