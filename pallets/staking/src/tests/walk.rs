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
    Delegate {
        who: u8,
        node: NodeId,
        amount: Balance,
    },
    Undelegate {
        who: u8,
        node: NodeId,
        amount: Balance,
    },
    WithdrawDelegation {
        who: u8,
        node: NodeId,
    },
    Release {
        who: u8,
        node: NodeId,
    },
    Claim {
        who: u8,
        node: NodeId,
    },
    ClaimOwn {
        who: u8,
        node: NodeId,
    },
    Commission {
        who: u8,
        node: NodeId,
        percent: u32,
    },
    MoveDelegation {
        who: u8,
        from: NodeId,
        to: NodeId,
        amount: Balance,
    },
    MoveBond {
        who: u8,
        from: NodeId,
        to: NodeId,
        amount: Balance,
    },
    ClearMoves {
        node: NodeId,
    },
    Dissolve {
        node: NodeId,
    },
    Earn {
        node: NodeId,
        amount: Balance,
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
    // Those who back nodes, with amounts that are often there.
    let backer = || 4..7u8;
    let backed = || prop_oneof![4 => 0..3u32, 1 => 11..13u32];
    let part = || prop_oneof![6 => 0..600u128, 1 => money()];
    let owner = prop_oneof![
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
        2 => (who(), node(), node(), part())
            .prop_map(|(who, from, to, amount)| Op::MoveBond { who, from, to, amount }),
        1 => (who(), node()).prop_map(|(who, node)| Op::ClaimOwn { who, node }),
        1 => (who(), node(), 0..60u32)
            .prop_map(|(who, node, percent)| Op::Commission { who, node, percent }),
        1 => node().prop_map(|node| Op::Dissolve { node }),
        3 => (node(), 0..5_000u128).prop_map(|(node, amount)| Op::Earn { node, amount }),
        5 => (0..2 * PERIOD).prop_map(|blocks| Op::Wait { blocks }),
    ];
    let delegator = prop_oneof![
        6 => (backer(), backed(), part())
            .prop_map(|(who, node, amount)| Op::Delegate { who, node, amount }),
        4 => (backer(), backed(), part())
            .prop_map(|(who, node, amount)| Op::Undelegate { who, node, amount }),
        4 => (backer(), backed(), backed(), part())
            .prop_map(|(who, from, to, amount)| Op::MoveDelegation { who, from, to, amount }),
        3 => (backer(), backed()).prop_map(|(who, node)| Op::WithdrawDelegation { who, node }),
        2 => (backer(), backed()).prop_map(|(who, node)| Op::Release { who, node }),
        2 => (backer(), backed()).prop_map(|(who, node)| Op::Claim { who, node }),
        1 => node().prop_map(|node| Op::ClearMoves { node }),
    ];
    prop_oneof![1 => owner, 1 => delegator]
}

/// What was taken in this block.
fn slashed() -> Balance {
    let amounts = events().into_iter().filter_map(|event| match event {
        Event::Slashed { amount, .. } => Some(amount),
        _ => None,
    });
    amounts.sum()
}

/// Who calls: the node's owner, more often than not.
fn caller(who: u8, node: NodeId) -> u8 {
    use quipu_primitives::traits::Nodes;
    match TestNodes::keys(node) {
        Some(keys) if who > 1 => *AsRef::<[u8]>::as_ref(&keys.coldkey).first().unwrap(),
        _ => who,
    }
}

fn step(op: Op) {
    match op {
        Op::Bond { who, node, amount } => {
            refused_leaves_no_trace(|| bond(caller(who, node), node, amount))
        }
        Op::Unbond { who, node, amount } => {
            refused_leaves_no_trace(|| unbond(caller(who, node), node, amount))
        }
        Op::Rebond { who, node, amount } => {
            refused_leaves_no_trace(|| rebond(caller(who, node), node, amount))
        }
        Op::Withdraw { node } => refused_leaves_no_trace(|| withdraw(9, node)),
        Op::Chill { who, node } => {
            refused_leaves_no_trace(|| run(caller(who, node), Call::chill { node }))
        }
        Op::Validate { who, node } => {
            refused_leaves_no_trace(|| run(caller(who, node), Call::validate { node }))
        }
        Op::Slash { node, amount } => burns_exactly(|| {
            let there_is = Staking::slashable(node);
            let taken = slash(node, amount).unwrap();
            assert_eq!(taken, amount.min(there_is));
            taken
        }),
        Op::Offend { node, percent } => burns_exactly(|| {
            let before = slashed();
            let details = OffenceDetails {
                offender: (node_account(node).into(), ()),
                reporters: vec![],
            };
            let session = Session::current_index();
            Staking::on_offence(&[details], &[Perbill::from_percent(percent)], session);
            slashed() - before
        }),
        Op::Decide { node, guilty } => burns_exactly(|| {
            let before = slashed();
            match guilty {
                true => decide(node),
                false => acquit(node),
            }
            slashed() - before
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
        Op::Delegate { who, node, amount } => {
            refused_leaves_no_trace(|| delegation::delegate(who, node, amount))
        }
        Op::Undelegate { who, node, amount } => {
            refused_leaves_no_trace(|| delegation::undelegate(who, node, amount))
        }
        Op::WithdrawDelegation { who, node } => {
            refused_leaves_no_trace(|| delegation::withdraw_delegation(who, node))
        }
        Op::Release { who, node } => refused_leaves_no_trace(|| delegation::release(who, node)),
        Op::Claim { who, node } => refused_leaves_no_trace(|| run(who, Call::claim { node })),
        Op::ClaimOwn { who, node } => {
            refused_leaves_no_trace(|| run(caller(who, node), Call::claim_own { node }))
        }
        Op::Commission { who, node, percent } => refused_leaves_no_trace(|| {
            let commission = Perbill::from_percent(percent);
            run(caller(who, node), Call::set_commission { node, commission })
        }),
        Op::MoveDelegation {
            who,
            from,
            to,
            amount,
        } => refused_leaves_no_trace(|| run(who, Call::move_delegation { from, to, amount })),
        Op::MoveBond {
            who,
            from,
            to,
            amount,
        } => {
            refused_leaves_no_trace(|| run(caller(who, from), Call::move_bond { from, to, amount }))
        }
        Op::ClearMoves { node } => refused_leaves_no_trace(|| run(9, Call::clear_moves { node })),
        Op::Dissolve { node } => refused_leaves_no_trace(|| {
            Staking::unbond_all(node);
            Ok(())
        }),
        // Only what counts earns.
        Op::Earn { node, amount } => {
            if earning_stake(node) > 0 {
                earn(node, amount);
            }
        }
        Op::Wait { blocks } => run_to(System::block_number() + blocks),
    }
    Staking::do_try_state().unwrap();
    assert_eq!(Balances::balance(&Staking::pot()), Staking::due_in_pot());
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

/// Sam owns two nodes with a bond, and there is something to move.
fn set_out() {
    assert_ok!(bond(1, 11, 1_500));
    for (who, node, amount) in [(4, 0, 900), (5, 0, 300), (5, 1, 700), (6, 2, 500)] {
        assert_ok!(delegation::delegate(who, node, amount));
    }
}

/// Everybody takes everything back; what is not there was slashed.
fn take_apart() {
    use quipu_primitives::traits::Nodes;
    let wait = || run_to(System::block_number() + PERIOD);
    let nodes: Vec<_> = Pools::<Test>::iter_keys()
        .chain(Ledgers::<Test>::iter_keys())
        .chain(Departed::<Test>::iter_keys())
        .collect();
    nodes.iter().for_each(|node| decide(*node));
    wait();
    for node in &nodes {
        let _ = run(9, Call::clear_moves { node: *node });
    }
    for node in &nodes {
        let _ = withdraw(9, *node);
        Staking::unbond_all(*node);
    }
    wait();
    for node in &nodes {
        let _ = withdraw(9, *node);
        let backers: Vec<_> = Delegations::<Test>::iter_key_prefix(*node).collect();
        for delegator in backers {
            let (node, again) = (*node, delegator.clone());
            let _ = run(9, Call::release_delegator { node, delegator });
            let delegator = again;
            let _ = run(9, Call::withdraw_delegation { node, delegator });
        }
        let coldkey = TestNodes::keys(*node).unwrap().coldkey;
        let _ = Staking::claim_own(RuntimeOrigin::signed(coldkey), *node);
        assert!(
            Staking::is_free(*node),
            "{node}: {:?}",
            Pools::<Test>::get(node)
        );
    }
    assert_eq!(Ledgers::<Test>::iter().count(), 0);
    assert_eq!(Pools::<Test>::iter().count(), 0);
    assert_eq!(Delegations::<Test>::iter().count(), 0);
    assert_eq!(Departed::<Test>::iter().count(), 0);
    assert_eq!(BondLiens::<Test>::iter().count(), 0);
    assert_eq!(TotalBonded::<Test>::get(), 0);
    assert_eq!(TotalDelegated::<Test>::get(), 0);
    assert_eq!(Balances::balance(&Staking::pot()), ED);
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
            set_out();
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
