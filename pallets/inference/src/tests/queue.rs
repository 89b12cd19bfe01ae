//! The deadline queue: metered, bounded, and nothing is ever lost.

use crate::{mock::*, pallet::*, Due, WeightInfo};
use frame_support::{assert_ok, traits::OnIdle, weights::Weight};

fn idle_with(weight: Weight) -> Weight {
    Inference::on_idle(System::block_number(), weight)
}

/// Opens and settles `count` sessions in block 1, all of which close in block 11.
fn settled(count: u32) {
    for index in 0..count {
        let who = [ALICE, BOB, CAROL][index as usize % 3];
        let id = open(who, SMALL, &[(LONER, 400)]);
        assert_ok!(settle(who, id, &[(LONER, 5)]));
    }
}

fn closed() -> usize {
    Sessions::<Test>::iter_values()
        .filter(|session| session.closed)
        .count()
}

#[test]
fn an_empty_chain_has_nothing_to_do() {
    story(|| {
        assert_eq!(idle_with(Weight::zero()), Weight::zero());
        assert_eq!(idle_with(Weight::MAX), <() as WeightInfo>::idle());
        assert_eq!(Cursor::<Test>::get(), None);
    });
}

#[test]
fn without_weight_nothing_happens_and_nothing_is_lost() {
    story(|| {
        settled(6);
        let job = request(ALICE, SMALL, 500);
        run_busy_to(1_000);
        assert_eq!(closed(), 0);
        assert_eq!(queued().len(), 7);
        // A thousand blocks late, in a single one.
        run_to(1_001);
        assert_eq!(closed(), 6);
        assert!(Jobs::<Test>::get(job).unwrap().held == 0);
        assert_eq!(free(coldkey(LONER)), ED + 6 * 20);
        assert_eq!(Cursor::<Test>::get(), Some(1_001));
    });
}

#[test]
fn a_little_weight_each_block_gets_everything_done_in_the_end() {
    story(|| {
        settled(9);
        run_busy_to(11);
        // A look, one session, and the look that finds no weight left for another.
        let idle = <() as WeightInfo>::idle();
        let one = <() as WeightInfo>::finalize(1);
        let enough = idle * 2 + one;
        for done in 1..=9 {
            let used = next_block_with(enough);
            assert_eq!(closed(), done);
            assert!(used.all_gte(one));
            assert!(Cursor::<Test>::get().unwrap() <= 11);
        }
        next_block_with(enough);
        assert_eq!(closed(), 9);
        assert!(Cursor::<Test>::get().unwrap() > 11);
        assert_eq!(free(coldkey(LONER)), ED + 9 * 20);
    });
}

#[test]
fn too_little_weight_for_one_entry_leaves_it_untouched() {
    story(|| {
        settled(1);
        run_busy_to(11);
        let idle = <() as WeightInfo>::idle();
        let one = <() as WeightInfo>::finalize(1);
        for weight in [
            idle,
            idle * 2,
            idle + one,
            idle * 2 + one - Weight::from_parts(1, 0),
        ] {
            let used = next_block_with(weight);
            assert!(used.all_lte(weight));
            assert_eq!(closed(), 0);
        }
        next_block_with(idle * 2 + one);
        assert_eq!(closed(), 1);
    });
}

#[test]
fn a_long_gap_of_blocks_is_walked_in_steps() {
    story(|| {
        // The first entry pins the cursor to block 11, the second waits in block 161.
        settled(1);
        assert_ok!(try_open(ALICE, SMALL, &[(LONER, 400)], 100));
        run_busy_to(200);
        let idle = <() as WeightInfo>::idle();
        let enough = idle * 20 + <() as WeightInfo>::finalize(1);
        let mut before = Cursor::<Test>::get().unwrap();
        for _ in 0..20 {
            next_block_with(enough);
            let after = Cursor::<Test>::get().unwrap();
            assert!(after >= before && after <= before + 40);
            before = after;
        }
        run_to(System::block_number() + 1);
        assert!(Sessions::<Test>::get(1).unwrap().closed);
    });
}

#[test]
fn weight_in_one_dimension_alone_is_no_weight() {
    story(|| {
        settled(1);
        run_busy_to(11);
        next_block_with(Weight::from_parts(u64::MAX, 0));
        next_block_with(Weight::from_parts(0, u64::MAX));
        assert_eq!(closed(), 0);
        next_block_with(Weight::MAX);
        assert_eq!(closed(), 1);
    });
}

#[test]
fn an_entry_behind_the_cursor_pulls_it_back() {
    story(|| {
        settled(1);
        // The queue was last worked off in block 5.
        Cursor::<Test>::put(70);
        let id = open(BOB, SMALL, &[(LONER, 400)]);
        assert_eq!(Cursor::<Test>::get(), Some(61));
        Cursor::<Test>::put(11);
        run_to(62);
        assert!(Sessions::<Test>::get(id).unwrap().closed);
    });
}

#[test]
fn an_entry_without_a_record_is_thrown_away() {
    new_test_ext().execute_with(|| {
        Deadlines::<Test>::insert(3, Due::Session(5), ());
        Deadlines::<Test>::insert(3, Due::Job(5), ());
        Cursor::<Test>::put(3);
        assert!(Inference::do_try_state().is_err());
        System::set_block_number(3);
        next_block_with(Weight::MAX);
        assert_eq!(queued(), []);
    });
}

#[test]
fn try_state_sees_what_is_wrong() {
    let broken = |damage: fn()| {
        new_test_ext().execute_with(|| {
            settled(2);
            let job = request(ALICE, SMALL, 500);
            let session = open(hotkey(LONER), SMALL, &[(LONER, 400)]);
            assert_ok!(settle(hotkey(LONER), session, &[]));
            assert_ok!(Inference::submit_result(
                RuntimeOrigin::signed(hotkey(LONER)),
                job,
                Default::default(),
                quipu_primitives::job::FinishReason::Stop,
                session,
                ROOT
            ));
            check();
            damage();
            assert!(Inference::do_try_state().is_err());
        })
    };
    fn session(damage: impl FnOnce(&mut crate::Session<Test>)) {
        Sessions::<Test>::mutate(0, |session| damage(session.as_mut().unwrap()));
    }
    fn job(damage: impl FnOnce(&mut JobOf<Test>)) {
        Jobs::<Test>::mutate(0, |job| damage(job.as_mut().unwrap()));
    }
    broken(|| session(|session| session.held -= 1));
    broken(|| session(|session| session.closed = true));
    broken(|| session(|session| session.due += 1));
    broken(|| session(|session| session.expires_at = 1));
    broken(|| session(|session| session.closes_at = 1));
    broken(|| session(|session| session.consumer = BOB));
    broken(|| session(|session| session.servers[0].cap += 1));
    broken(|| session(|session| session.servers[0].positions = 101));
    broken(|| session(|session| session.servers[0].price = u128::MAX));
    broken(|| {
        session(|session| {
            let twin = session.servers[0].clone();
            session.servers.try_push(twin).unwrap();
        })
    });
    broken(|| {
        Sessions::<Test>::mutate(2, |session| session.as_mut().unwrap().job = None);
    });
    broken(|| {
        Sessions::<Test>::mutate(2, |session| session.as_mut().unwrap().settlement = None);
    });
    broken(|| NextSession::<Test>::put(1));
    broken(|| NextJob::<Test>::put(0));
    broken(|| OpenSessions::<Test>::insert(ALICE, 7));
    broken(|| Duties::<Test>::insert(LONER, 1));
    broken(|| Duties::<Test>::insert(HEAD, 1));
    broken(|| Cursor::<Test>::put(100));
    broken(|| Deadlines::<Test>::insert(50, Due::Job(9), ()));
    broken(|| Prompts::<Test>::remove(0));
    broken(|| Answers::<Test>::remove(0));
    broken(|| Prompts::<Test>::insert(9, quipu_primitives::BoundedBytes::default()));
    broken(|| Answers::<Test>::insert(9, quipu_primitives::BoundedBytes::default()));
    broken(|| job(|job| job.held = 1));
    broken(|| job(|job| job.fee = 1));
    broken(|| job(|job| job.state = crate::Fee::Paid));
    broken(|| job(|job| job.result = None));
    broken(|| job(|job| job.due += 1));
    broken(|| job(|job| job.first_session = 3));
    broken(|| job(|job| job.requester = BOB));
}
