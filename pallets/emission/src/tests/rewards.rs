//! What stake earns, and who rests.

use super::*;

/// What stake gets of a day, as long as nothing was emitted in parts that round.
const CAPITAL_OF_FIRST_DAY: Balance = 4_560;

#[test]
fn stake_earns_its_share_from_when_it_is_there() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        Emission::stake_changed(SUE, 1_000);
        run_to(DAY);
        assert_eq!(Emission::earned(SAM), CAPITAL_OF_FIRST_DAY * 3 / 4);
        assert_eq!(Emission::earned(SUE), CAPITAL_OF_FIRST_DAY / 4);
        // Sam leaves: what he earned stays his, what comes now is Sue's.
        Emission::stake_changed(SAM, 0);
        run_to(DAY + INTERVAL);
        assert_eq!(Emission::earned(SAM), CAPITAL_OF_FIRST_DAY * 3 / 4);
        assert_eq!(Emission::earned(SUE), CAPITAL_OF_FIRST_DAY / 4 + 1_020);
        assert_eq!(Emission::earned(77), 0);
    });
}

#[test]
fn what_came_before_anybody_had_a_stake_is_shared_out_later() {
    test(|| {
        run_to(DAY);
        Emission::stake_changed(SAM, 500);
        assert_eq!(Emission::earned(SAM), 0);
        run_to(DAY + INTERVAL);
        assert_eq!(Emission::earned(SAM), CAPITAL_OF_FIRST_DAY + 1_020);
    });
}

#[test]
fn earnings_are_collected_once() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        Emission::stake_changed(SUE, 1_000);
        run_to(DAY);
        let pot = has(Bucket::Capital);
        assert_eq!(Emission::collect(SUE, &acc(9)), 1_140);
        System::assert_last_event(
            Event::Collected {
                node: SUE,
                to: acc(9),
                amount: 1_140,
            }
            .into(),
        );
        assert_eq!(Balances::free_balance(acc(9)), 1_140);
        assert_eq!(has(Bucket::Capital), pot - 1_140);
        assert_eq!(Emission::collect(SUE, &acc(9)), 0);
        assert_eq!(Emission::collect(77, &acc(9)), 0);
        assert_eq!(Emission::earned(SUE), 0);
        assert_eq!(Emission::earned(SAM), 3_420);
    });
}

#[test]
fn what_an_account_cannot_take_is_not_lost() {
    test(|| {
        Emission::stake_changed(SAM, 1_000);
        Emission::stake_changed(SUE, 1);
        run_to(INTERVAL);
        // One of 1,140: less than an account needs to exist.
        assert_eq!(Emission::earned(SUE), 1);
        assert_eq!(Emission::collect(SUE, &acc(9)), 0);
        assert_eq!(Emission::earned(SUE), 1);
        assert_eq!(Emission::collect(SUE, &bob()), 1);
        // Nor is what would end the bucket's account.
        assert_eq!(Emission::earned(SAM), 1_138);
        assert_eq!(Emission::collect(SAM, &bob()), 0);
        run_to(2 * INTERVAL);
        assert_eq!(Emission::earned(SAM), 2_277);
        assert_eq!(has(Bucket::Capital), 2_279);
    });
}

#[test]
fn who_misses_a_duty_earns_nothing_for_a_while() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        Emission::stake_changed(SUE, 1_000);
        run_to(INTERVAL);
        Emission::duty_missed(SAM);
        let until = INTERVAL + REST;
        System::assert_last_event(Event::StakeRests { node: SAM, until }.into());
        let (sam, sue) = (Emission::earned(SAM), Emission::earned(SUE));
        assert_eq!((sam, sue), (855, 285));
        run_to(2 * INTERVAL);
        assert_eq!(Emission::earned(SAM), sam);
        assert_eq!(Emission::earned(SUE), sue + 1_140);
        assert_eq!(Emission::stake_income(SAM).stake, 0);
        // He may still collect what was his before, and add to his stake.
        assert_eq!(Emission::collect(SAM, &acc(9)), sam);
        Emission::stake_changed(SAM, 7_000);
        assert_eq!(Emission::stake_income(SUE).total_stake, 1_000);
        run_to(until - 1);
        assert_eq!(Emission::earned(SAM), 0);
        // An emission comes in this very block, before he wakes.
        run_to(until);
        System::assert_last_event(Event::StakeEarnsAgain { node: SAM }.into());
        assert_eq!(Emission::earned(SAM), 0);
        assert_eq!(Emission::stake_income(SAM).total_stake, 8_000);
        run_to(until + INTERVAL);
        assert!(Emission::earned(SAM) > 0);
    });
}

#[test]
fn a_rest_is_prolonged_and_not_escaped() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        run_to(3);
        Emission::duty_missed(SAM);
        run_to(10);
        Emission::duty_missed(SAM);
        Emission::stake_changed(SAM, 0);
        Emission::stake_changed(SAM, 3_000);
        run_to(3 + REST);
        assert_eq!(Emission::stake_income(SAM).stake, 0);
        run_to(10 + REST);
        assert_eq!(Emission::stake_income(SAM).stake, 3_000);
        // Who has nothing at stake has nothing to lose, and leaves nothing behind.
        Emission::duty_missed(77);
        assert!(!Stakes::<Test>::contains_key(77));
        Emission::duty_missed(SAM);
        Emission::stake_changed(SAM, 0);
        run_to(10 + 2 * REST);
        Emission::collect(SAM, &alice());
        assert_eq!(Emission::earned(SAM), 0);
        assert!(!Stakes::<Test>::contains_key(SAM));
        assert_eq!(Resting::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_block_without_weight_leaves_the_waking_to_the_next() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        Emission::stake_changed(SUE, 3_000);
        Emission::duty_missed(SAM);
        Emission::duty_missed(SUE);
        System::set_block_number(REST);
        let step = <() as crate::WeightInfo>::look();
        assert_eq!(Emission::on_idle(REST, Weight::zero()), Weight::zero());
        assert_eq!(Emission::stake_income(SAM).total_stake, 0);
        // Looks until it finds the block, then two to wake the one, and no more.
        let used = Emission::on_idle(REST, step.saturating_mul(3));
        assert!(used.all_lte(step.saturating_mul(3)));
        let total = Emission::stake_income(SAM).total_stake;
        assert_eq!(total, 3_000);
        Emission::on_idle(REST + 1, Weight::MAX);
        assert_eq!(Emission::stake_income(SAM).total_stake, 6_000);
    });
}

#[test]
fn clients_see_what_a_day_brings() {
    test(|| {
        Emission::stake_changed(SAM, 3_000);
        Emission::stake_changed(SUE, 1_000);
        run_to(DAY);
        let income = Emission::stake_income(SAM);
        assert_eq!((income.stake, income.total_stake), (3_000, 4_000));
        assert_eq!(income.earned, 3_420);
        // Of the second day's 17,000.
        assert_eq!(income.per_day, 17_000 * 24 / 100 * 3 / 4);
        assert_eq!(Emission::stake_income(77).per_day, 0);
    });
}

#[test]
fn auditors_are_paid_out_of_protection() {
    test(|| {
        // Nothing is there yet.
        Emission::duty_done(SAM, &acc(9), 100);
        run_to(DAY);
        assert_eq!(has(Bucket::Protection), 760);
        Emission::duty_done(SAM, &acc(9), 60);
        System::assert_last_event(
            Event::AuditorPaid {
                node: SAM,
                to: acc(9),
                amount: 48,
            }
            .into(),
        );
        // Never more than a tenth of what is there.
        Emission::duty_done(SUE, &acc(9), Balance::MAX);
        System::assert_last_event(
            Event::AuditorPaid {
                node: SUE,
                to: acc(9),
                amount: 71,
            }
            .into(),
        );
        assert_eq!(Balances::free_balance(acc(9)), 48 + 71);
        assert_eq!(has(Bucket::Protection), 760 - 48 - 71);
        // What the owner can't take stays there, and nothing is nothing.
        Emission::duty_done(SAM, &acc(8), ED);
        Emission::duty_done(SAM, &acc(8), 0);
        assert_eq!(has(Bucket::Protection), 760 - 48 - 71);
    });
}
