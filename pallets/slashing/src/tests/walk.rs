//! A random walk through charges, reports, calls and blocks: whatever happens in whatever order, the
//! invariants hold and every unit of money is accounted for.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Charge {
        node: NodeId,
        cause: Cause,
        price: Balance,
        paid: bool,
    },
    Report {
        start: u32,
        salt: u8,
    },
    Cancel {
        case: CaseId,
    },
    Apply {
        case: CaseId,
    },
    Bond {
        node: NodeId,
        amount: Balance,
    },
    Wait {
        blocks: u64,
        steps: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let node = || prop_oneof![4 => Just(SAM), 4 => Just(SUE), 1 => Just(77)];
    let session = || 0..4u64;
    let cause = prop_oneof![
        (0..3u32, 0..100u32, 1..101u32)
            .prop_map(|(session, from, to)| { consensus(session, from.min(to - 1), to) }),
        session().prop_map(|session| Cause::Equivocation { session }),
        session().prop_map(|session| Cause::Computation { session }),
        session().prop_map(withheld),
    ];
    let price = prop_oneof![5 => 0..50u128, 1 => Just(Balance::MAX)];
    prop_oneof![
        6 => (node(), cause, price, any::<bool>())
            .prop_map(|(node, cause, price, paid)| Op::Charge { node, cause, price, paid }),
        2 => (0..40u32, 0..3u8).prop_map(|(start, salt)| Op::Report { start, salt }),
        2 => (0..20u64).prop_map(|case| Op::Cancel { case }),
        2 => (0..20u64).prop_map(|case| Op::Apply { case }),
        2 => (node(), 1..2 * STAKE).prop_map(|(node, amount)| Op::Bond { node, amount }),
        4 => (0..RETENTION, 0..8u64).prop_map(|(blocks, steps)| Op::Wait { blocks, steps }),
    ]
}

/// Sends something; what is refused leaves no trace.
fn tried(call: impl FnOnce() -> DispatchResult) {
    let root = || sp_io::storage::root(sp_runtime::StateVersion::V1);
    let before = root();
    let events = System::event_count();
    if call().is_err() {
        assert_eq!(root(), before, "a refused call left a trace");
        assert_eq!(System::event_count(), events);
    }
}

fn step(op: Op) {
    match op {
        Op::Charge {
            node,
            cause,
            price,
            paid,
        } => tried(|| {
            let charge = Charge {
                price,
                reporter: paid.then(rita),
                victim: paid.then(paul),
                ..charged(node, cause)
            };
            frame_support::storage::with_storage_layer(|| Slashing::charge(charge)).map(|_| ())
        }),
        Op::Report { start, salt } => tried(|| {
            let mut evidence = evidence();
            evidence.second = signed("Sam", receipt(start, start + 32, salt));
            plain(report(rita(), evidence))
        }),
        Op::Cancel { case } => tried(|| cancel(case)),
        Op::Apply { case } => tried(|| apply(case)),
        Op::Bond { node, amount } => {
            if node != 77 {
                bond(node, amount);
            }
        }
        Op::Wait { blocks, steps } => {
            System::set_block_number(System::block_number() + blocks);
            let limit = Weight::from_parts(1_000_000, 1_000) * steps;
            let used = Slashing::on_idle(System::block_number(), limit);
            assert!(used.all_lte(limit), "{used:?} of {limit:?}");
        }
    }
    Slashing::do_try_state().unwrap();
}

/// What was burned, by the events of the block.
fn burned() -> Balance {
    let events = System::read_events_for_pallet::<Event<Test>>().into_iter();
    events
        .map(|event| match event {
            Event::CaseApplied {
                taken,
                to_reporter,
                to_victim,
                burned,
                ..
            } => {
                assert_eq!(taken, to_reporter + to_victim + burned);
                burned
            }
            _ => 0,
        })
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_events_breaks_an_invariant(ops in prop::collection::vec(op(), 1..60)) {
        new_test_ext().execute_with(|| {
            let mut cases: std::collections::BTreeMap<CaseId, State> = Default::default();
            for op in ops {
                System::reset_events();
                let minted = matches!(op, Op::Bond { .. });
                let before = Balances::total_issuance();
                step(op);
                if !minted {
                    assert_eq!(Balances::total_issuance(), before - burned());
                }
                // States go one way.
                for (id, case) in Cases::<Test>::iter() {
                    let old = cases.insert(id, case.state);
                    assert!(old.is_none_or(|old| old == State::Pending || old == case.state));
                }
            }
            // In the end nothing is left but the numbers.
            run_to(System::block_number() + RETENTION + DEFER);
            assert_eq!(Cases::<Test>::iter().count(), 0);
            assert_eq!(CaseByCause::<Test>::iter().count(), 0);
            assert_eq!(Standings::<Test>::iter().count(), 0);
            assert_eq!(FirstKept::<Test>::get(), NextCase::<Test>::get());
        });
    }
}
