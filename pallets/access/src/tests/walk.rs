//! A random walk through locks, uses, transfers and days: no balance serves two accounts a day, and never
//! more is used than the budget.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Lock { who: u8, amount: Balance },
    Unlock { who: u8, amount: Balance },
    Send { from: u8, to: u8, amount: Balance },
    Take { who: u8, amount: Balance },
    GiveBack { who: u8, amount: Balance },
    Blocks { blocks: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 1..4u8;
    let amount = || prop_oneof![1 => Just(0), 8 => 1..400_000u128, 1 => Just(Balance::MAX)];
    prop_oneof![
        4 => (who(), amount()).prop_map(|(who, amount)| Op::Lock { who, amount }),
        3 => (who(), amount()).prop_map(|(who, amount)| Op::Unlock { who, amount }),
        3 => (who(), who(), amount()).prop_map(|(from, to, amount)| Op::Send { from, to, amount }),
        5 => (who(), 1..400u128).prop_map(|(who, amount)| Op::Take { who, amount }),
        2 => (who(), 1..100u128).prop_map(|(who, amount)| Op::GiveBack { who, amount }),
        3 => (1..25u64).prop_map(|blocks| Op::Blocks { blocks }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn a_day_never_gives_more_than_its_budget(ops in prop::collection::vec(op(), 1..80)) {
        new_test_ext().execute_with(|| {
            // What was taken today and not given back.
            let mut taken = [0u128; 4];
            for op in ops {
                let day = Today::<Test>::get().number;
                match op {
                    Op::Lock { who, amount } => {
                        let _ = Access::lock(origin(who), amount);
                    }
                    Op::Unlock { who, amount } => {
                        let _ = Access::unlock(origin(who), amount);
                    }
                    Op::Send { from, to, amount } => {
                        let _ = Balances::transfer_allow_death(origin(from), acc(to), amount);
                    }
                    Op::Take { who, amount } => {
                        let before = left(who);
                        let took = Access::take(&acc(who), amount).is_ok();
                        prop_assert_eq!(took, amount <= before && Locks::<Test>::contains_key(acc(who)));
                        if took {
                            prop_assert_eq!(left(who), before - amount);
                            taken[usize::from(who)] += amount;
                        }
                    }
                    Op::GiveBack { who, amount } => {
                        let amount = amount.min(taken[usize::from(who)]);
                        Access::give_back(&acc(who), day, amount);
                        taken[usize::from(who)] -= amount;
                    }
                    Op::Blocks { blocks } => {
                        run_to(System::block_number() + blocks);
                        if Today::<Test>::get().number != day {
                            taken = [0; 4];
                        }
                    }
                }
                check();
                let sum: Balance = taken.iter().sum();
                prop_assert!(sum <= Today::<Test>::get().budget);
            }
            Ok(())
        })?;
    }
}
