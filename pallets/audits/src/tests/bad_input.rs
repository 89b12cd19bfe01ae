//! What is refused, and changes nothing.

use super::*;
use frame_system::RawOrigin;

#[test]
fn only_who_is_drawn_can_say_anything() {
    new_test_ext().execute_with(|| {
        let pass = finding(of(SAM), Verdict::Pass);
        // Nothing is drawn yet, and some never will be.
        assert_noop!(commit(of(SAM), 30, pass), E::NoSuchAudit);
        drawn();
        assert_noop!(commit(of(STAN), 30, pass), E::NoSuchAudit);
        let unknown = Subject {
            session: 404,
            node: SAM,
        };
        assert_noop!(commit(unknown, 30, pass), E::NoSuchAudit);
        let auditor = members(of(SAM))[0];
        let others = OTHERS.filter(|other| *other != auditor);
        for other in others.chain([SAM, SUE, CARLS]) {
            assert_noop!(commit(of(SAM), other, pass), E::NotOnThePanel);
            assert_noop!(reveal(of(SAM), other, pass), E::NotOnThePanel);
        }
        // Nobody signs for a node but its hotkey.
        let subject = of(SAM);
        let call = Call::commit {
            subject,
            commitment: [1; 32],
        };
        assert_noop!(plain(sent(cold(auditor), call)), E::NotOnThePanel);
        let unsigned = Audits::commit(RawOrigin::None.into(), subject, [1; 32]);
        assert_noop!(plain(unsigned), sp_runtime::DispatchError::BadOrigin);
    });
}

#[test]
fn nobody_says_two_things() {
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Fail);
        let committee = members(of(SAM));
        let (pass, fail) = (
            finding(of(SAM), Verdict::Pass),
            finding(of(SAM), Verdict::Fail),
        );
        assert_ok!(commit(of(SAM), committee[0], pass));
        assert_noop!(commit(of(SAM), committee[0], pass), E::AlreadyCommitted);
        assert_noop!(commit(of(SAM), committee[0], fail), E::AlreadyCommitted);
        for member in &committee[1..6] {
            assert_ok!(commit(of(SAM), *member, fail));
        }
        run(COMMIT);
        assert_noop!(commit(of(SAM), committee[6], fail), E::NotCommitting);
        assert_noop!(reveal(of(SAM), committee[6], fail), E::NotCommitted);
        assert_noop!(reveal(of(SAM), committee[0], fail), E::CommitmentMismatch);
        let other_work = Finding {
            head: [0; 32],
            ..pass
        };
        assert_noop!(
            reveal(of(SAM), committee[0], other_work),
            E::CommitmentMismatch
        );
        assert_ok!(reveal(of(SAM), committee[0], pass));
        assert_noop!(reveal(of(SAM), committee[0], pass), E::AlreadyRevealed);
        // Another's salt and commitment are no use.
        let copied = Call::reveal {
            subject: of(SAM),
            finding: fail,
            salt: salt(committee[2]),
        };
        assert_noop!(
            plain(sent(hot(committee[1]), copied)),
            E::CommitmentMismatch
        );
    });
}

#[test]
fn nothing_comes_too_late() {
    new_test_ext().execute_with(|| {
        drawn();
        let auditor = members(of(SAM))[0];
        let fail = finding(of(SAM), Verdict::Fail);
        assert_noop!(reveal(of(SAM), auditor, fail), E::NotRevealing);
        assert_noop!(answer(of(SAM), SAM, head(SAM)), E::NotAnswering);
        // The block in which the time is over, before it is worked off.
        let Stage::Committing { until } = audit(of(SAM)).stage else {
            panic!("commits");
        };
        run_to(until - 1);
        System::set_block_number(until);
        assert_noop!(commit(of(SAM), auditor, fail), E::NotCommitting);
        System::set_block_number(until - 1);
        assert_ok!(commit(of(SAM), auditor, fail));
        let Stage::Revealing { until } = audit(of(SAM)).stage else {
            panic!("reveals");
        };
        System::set_block_number(until);
        assert_noop!(reveal(of(SAM), auditor, fail), E::NotRevealing);
        System::set_block_number(until - 1);
        assert_ok!(reveal(of(SAM), auditor, fail));
        let Stage::Answering { until } = audit(of(SAM)).stage else {
            panic!("asks the server");
        };
        assert_noop!(answer(of(SAM), SUE, head(SAM)), E::NotTheServer);
        assert_noop!(answer(of(SAM), auditor, head(SAM)), E::NotTheServer);
        System::set_block_number(until);
        assert_noop!(answer(of(SAM), SAM, head(SAM)), E::NotAnswering);
        System::set_block_number(until - 1);
        assert_ok!(answer(of(SAM), SAM, head(SAM)));
        assert_noop!(answer(of(SAM), SAM, head(SAM)), E::NotAnswering);
    });
}

#[test]
fn who_has_nothing_left_to_lose_accuses_nobody() {
    new_test_ext().execute_with(|| {
        drawn();
        let auditor = members(of(SAM))[0];
        node(auditor, STAKED - 1);
        let fail = finding(of(SAM), Verdict::Fail);
        assert_ok!(commit(of(SAM), auditor, fail));
        assert_noop!(reveal(of(SAM), auditor, fail), E::BondTooSmall);
        node(auditor, STAKED);
        assert_ok!(reveal(of(SAM), auditor, fail));
    });
    // Those who can't tell, or judge in a trial, risk nothing.
    new_test_ext().execute_with(|| {
        drawn();
        node(members(of(SAM))[0], 0);
        accused(of(SAM), Verdict::Inconclusive);
        members(of(SAM))
            .into_iter()
            .for_each(|member| node(member, 0));
        say(of(SAM), &[Verdict::Fail; 7]);
        assert_eq!(outcome(of(SAM)), Some(Outcome::Convicted));
    });
}

#[test]
fn what_is_over_stays_over() {
    new_test_ext().execute_with(|| {
        drawn();
        accused(of(SAM), Verdict::Fail);
        let committee = members(of(SAM));
        say(of(SAM), &[Verdict::Fail; 7]);
        let fail = finding(of(SAM), Verdict::Fail);
        assert_noop!(commit(of(SAM), committee[0], fail), E::NoSuchAudit);
        assert_noop!(reveal(of(SAM), committee[0], fail), E::NoSuchAudit);
        assert_noop!(answer(of(SAM), SAM, head(SAM)), E::NoSuchAudit);
        run(RETENTION);
        assert!(crate::Audits::<Test>::get(SESSION, SAM).is_none());
        assert_eq!(charges().len(), 1);
    });
}

#[test]
fn doing_ones_duty_is_free_and_the_rate_is_for_governance() {
    new_test_ext().execute_with(|| {
        drawn();
        let (auditor, pass) = (members(of(SAM))[0], finding(of(SAM), Verdict::Pass));
        let commitment = commitment(of(SAM), auditor, &pass);
        let subject = of(SAM);
        let call = Call::commit {
            subject,
            commitment,
        };
        let sent = sent(hot(auditor), call).unwrap();
        assert_eq!(sent.pays_fee, Pays::No);

        let rate = Perbill::from_percent(3);
        let denied = with_storage_layer(|| Audits::set_rate(RuntimeOrigin::signed(CARL), rate));
        assert_noop!(denied, sp_runtime::DispatchError::BadOrigin);
        assert_ok!(Audits::set_rate(RuntimeOrigin::root(), rate));
        assert_eq!(Rate::<Test>::get(), rate);
    });
}
