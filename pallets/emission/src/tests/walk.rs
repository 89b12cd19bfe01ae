//! A random walk through stakes, duties, claims, burns, calls and blocks: whatever happens in whatever
//! order, the invariants hold and every unit of money is accounted for.

use super::*;
use frame_support::traits::fungible::Inspect;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Audit {
        node: NodeId,
        to: u8,
        price: Balance,
    },
    Stake {
        node: NodeId,
        amount: Balance,
    },
    Miss {
        node: NodeId,
    },
    Collect {
        node: NodeId,
        to: u8,
    },
    Burn {
        amount: Balance,
    },
    Shares {
        percent: [u32; 4],
    },
    Reschedule {
        first_day: Balance,
        days: u32,
    },
    Spend {
        bucket: usize,
        to: u8,
        amount: Balance,
    },
    Blocks {
        blocks: u64,
        steps: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let node = || 0..4u32;
    let amount = || prop_oneof![1 => Just(0), 8 => 1..50_000u128, 1 => Just(Balance::MAX / 8)];
    prop_oneof![
        4 => (node(), amount()).prop_map(|(node, amount)| Op::Stake { node, amount }),
        2 => node().prop_map(|node| Op::Miss { node }),
        2 => (node(), 1..12u8, amount())
            .prop_map(|(node, to, price)| Op::Audit { node, to, price }),
        4 => (node(), 1..12u8).prop_map(|(node, to)| Op::Collect { node, to }),
        2 => (1..5_000u128).prop_map(|amount| Op::Burn { amount }),
        1 => [0..40u32, 0..40, 0..40, 0..40].prop_map(|percent| Op::Shares { percent }),
        1 => (0..40_000u128, 0..12u32)
            .prop_map(|(first_day, days)| Op::Reschedule { first_day, days }),
        2 => (0..5usize, 1..12u8, amount())
            .prop_map(|(bucket, to, amount)| Op::Spend { bucket, to, amount }),
        6 => (1..60u64, 0..9u64).prop_map(|(blocks, steps)| Op::Blocks { blocks, steps }),
    ]
}

/// Sends something; what is refused leaves no trace.
fn tried(call: impl FnOnce() -> sp_runtime::DispatchResult) {
    let root = || sp_io::storage::root(sp_runtime::StateVersion::V1);
    let before = root();
    let result = frame_support::storage::with_storage_layer(call);
    if result.is_err() {
        assert_eq!(root(), before, "a refused call changed something");
    }
}

fn apply(op: Op) {
    match op {
        Op::Stake { node, amount } => Emission::stake_changed(node, amount),
        Op::Miss { node } => Emission::duty_missed(node),
        Op::Audit { node, to, price } => Emission::duty_done(node, &acc(to), price),
        Op::Collect { node, to } => {
            let (earned, before) = (Emission::earned(node), Balances::total_balance(&acc(to)));
            let paid = Emission::collect(node, &acc(to));
            assert!(paid == earned || paid == 0);
            assert_eq!(Balances::total_balance(&acc(to)), before + paid);
            assert_eq!(Emission::earned(node), earned - paid);
        }
        Op::Burn { amount } => burn::<crate::burn::Slash>(amount),
        Op::Shares {
            percent: [a, b, c, d],
        } => BucketShares::set(shares(a, b, c, d)),
        Op::Reschedule { first_day, days } => {
            tried(|| Emission::reschedule(root(), first_day, days))
        }
        Op::Spend { bucket, to, amount } => {
            tried(|| Emission::spend(root(), Bucket::ALL[bucket], acc(to), amount))
        }
        Op::Blocks { blocks, steps } => {
            for _ in 0..blocks {
                let now = System::block_number() + 1;
                System::set_block_number(now);
                Emission::on_initialize(now);
                let limit = <() as crate::WeightInfo>::look().saturating_mul(steps);
                let used = Emission::on_idle(now, limit);
                assert!(used.all_lte(limit));
                check();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn whatever_happens_every_unit_is_accounted_for(ops in prop::collection::vec(op(), 1..60)) {
        new_test_ext().execute_with(|| {
            BucketShares::set(shares(24, 24, 24, 24));
            for op in ops {
                apply(op);
                check();
                let there_is = <Balances as Inspect<_>>::total_issuance();
                let counted: Balance = BurnSource::ALL.map(Burned::<Test>::get).iter().sum();
                assert_eq!(
                    there_is,
                    GenesisSupply::<Test>::get() + Issued::<Test>::get() - counted
                );
            }
            // All stake that is gone leaves nothing behind but rounding.
            for node in 0..4 {
                Emission::stake_changed(node, 0);
            }
            let now = System::block_number() + REST;
            System::set_block_number(now);
            Emission::on_idle(now, Weight::MAX);
            for node in 0..4 {
                Emission::collect(node, &alice());
            }
            assert_eq!(Capitals::<Test>::get().stake, 0);
            assert_eq!(Resting::<Test>::iter().count(), 0);
            check();
        });
    }
}
