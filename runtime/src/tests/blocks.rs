//! Blocks and sessions.

use super::{
    driver::{signed, Driver},
    *,
};
use crate::{
    clock::Schedule, Balances, Executive, RuntimeCall, Session, Staking, UncheckedExtrinsic, QPU,
};
use sp_keyring::Sr25519Keyring;

fn transfer(nonce: u32) -> UncheckedExtrinsic {
    let call = pallet_balances::Call::transfer_keep_alive {
        dest: Sr25519Keyring::Bob.to_account_id().into(),
        value: QPU,
    };
    signed(Sr25519Keyring::Alice, nonce, RuntimeCall::Balances(call))
}

#[test]
fn a_block_that_was_built_executes_to_the_same_state_and_burns_its_fees() {
    let block = chain(genesis::LOCAL).execute_with(|| {
        let (block, results) = Driver::new().block(0, vec![transfer(0), transfer(1)]);
        assert_eq!(results, vec![Ok(Ok(())), Ok(Ok(()))]);
        block
    });
    chain(genesis::LOCAL).execute_with(|| {
        let issued = Balances::total_issuance();
        let [alice, bob] = [Sr25519Keyring::Alice, Sr25519Keyring::Bob]
            .map(|who| Balances::free_balance(who.to_account_id()));
        Executive::execute_block(block.into());
        assert_eq!(System::block_number(), 1);
        let now = |who: Sr25519Keyring| Balances::free_balance(who.to_account_id());
        assert_eq!(now(Sr25519Keyring::Bob), bob + 2 * QPU);
        let fees = alice - now(Sr25519Keyring::Alice) - 2 * QPU;
        assert!(fees > 0 && fees < QPU / 10, "two transfers cost {fees}");
        assert_eq!(Balances::total_issuance(), issued - fees);
    });
}

#[test]
fn extrinsics_that_must_not_be_applied_are_refused() {
    chain(genesis::LOCAL).execute_with(|| {
        let replayed = vec![transfer(0), transfer(0), transfer(7)];
        let (_, results) = Driver::new().block(0, replayed);
        assert!(results[0].is_ok());
        assert!(results[1].is_err(), "the nonce is used up");
        assert!(results[2].is_err(), "the nonce is in the future");
    });
}

#[test]
fn sessions_and_eras_follow_the_clock() {
    for (preset, schedule) in [
        (genesis::LOCAL, Schedule::PUBLIC),
        (genesis::LOCAL_FAST, Schedule::FAST),
    ] {
        chain(preset).execute_with(|| {
            let mut driver = Driver::new();
            // Slots may stay empty: a block at the start of each session is enough.
            driver.block(0, vec![]);
            driver.block(schedule.epoch_slots - 1, vec![]);
            assert_eq!(Session::current_index(), 0, "{preset}");
            for session in 1..=schedule.sessions_per_era {
                driver.block(schedule.epoch_slots * u64::from(session), vec![]);
                assert_eq!(Session::current_index(), session, "{preset}");
                assert_eq!(Session::validators().len(), 3, "{preset}");
            }
            let era = quipu_pallet_staking::CurrentEra::<crate::Runtime>::get();
            assert_eq!(era.map(|era| era.index), Some(1), "{preset}");
        });
    }
}

#[test]
fn a_new_validator_gets_in_with_stake_and_keys() {
    use crate::{Runtime, SessionKeys, Subnets};
    use codec::Encode;
    use sp_core::{ed25519, sr25519, Pair};

    let dave = Sr25519Keyring::Dave;
    let validators = || Session::validators();
    chain(genesis::LOCAL_FAST).execute_with(|| {
        let mut driver = Driver::new();
        let peer_id = [vec![0x12, 0x20], vec![7; 32]]
            .concat()
            .try_into()
            .expect("34 bytes");
        let register = quipu_pallet_subnets::Call::register_node {
            subnet: quipu_primitives::ROOT_SUBNET,
            hotkey: Sr25519Keyring::DaveStash.to_account_id(),
            peer_id,
        };
        let (_, results) = driver.block(0, vec![signed(dave, 0, RuntimeCall::Subnets(register))]);
        assert_eq!(results, vec![Ok(Ok(()))]);
        let node = quipu_pallet_subnets::RootNodeOf::<Runtime>::get(dave.to_account_id())
            .expect("was registered");
        assert_eq!(Subnets::roster_info(quipu_primitives::ROOT_SUBNET).len(), 4);

        let grandpa = ed25519::Pair::from_string("//Dave", None).expect("derives");
        let babe = sr25519::Pair::from_string("//Dave", None).expect("derives");
        let keys = SessionKeys {
            grandpa: grandpa.public().into(),
            babe: babe.public().into(),
        };
        let proof = ownership_proof(&grandpa, &babe, &dave.to_account_id().encode());
        let bond = quipu_pallet_staking::Call::bond {
            node,
            amount: 2 * genesis::VALIDATOR_BOND,
        };
        let calls = [
            RuntimeCall::Staking(bond),
            RuntimeCall::Session(pallet_session::Call::set_keys { keys, proof }),
        ];
        let calls = (1..)
            .zip(calls)
            .map(|(nonce, call)| signed(dave, nonce, call))
            .collect();
        let (_, results) = driver.block(1, calls);
        assert_eq!(results, vec![Ok(Ok(())), Ok(Ok(()))]);
        assert!(!validators().contains(&Staking::validator_id(node)));

        let Schedule {
            epoch_slots,
            sessions_per_era,
            ..
        } = Schedule::FAST;
        for session in 1..=u64::from(sessions_per_era) {
            driver.block(epoch_slots * session, vec![]);
        }
        let expected = [node, 0, 1, 2].map(Staking::validator_id);
        assert_eq!(validators(), expected, "in the order of their stakes");
    });
}

/// The signatures with which the owner of session keys proves to have them.
fn ownership_proof(
    grandpa: &sp_core::ed25519::Pair,
    babe: &sp_core::sr25519::Pair,
    owner: &[u8],
) -> Vec<u8> {
    use codec::Encode;
    use sp_core::proof_of_possession::ProofOfPossessionGenerator;
    let (mut grandpa, mut babe) = (*grandpa, babe.clone());
    let proof = (
        grandpa.generate_proof_of_possession(owner),
        babe.generate_proof_of_possession(owner),
    );
    proof.encode()
}
