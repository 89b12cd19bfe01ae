//! Who signs two blocks for one slot, or two votes for one round, is found out and charged with it.

use super::{
    driver::{claim, Driver, FIRST_SLOT},
    *,
};
use crate::{
    clock::Schedule, Balances, Grandpa, Header, Historical, Runtime, RuntimeCall, Session,
    Slashing, Staking, UncheckedExtrinsic,
};
use codec::{Decode, Encode};
use frame_support::traits::KeyOwnerProofSystem;
use quipu_primitives::traits::{Bonds, PendingSlashes, Slashable};
use sp_core::{ed25519, sr25519, Pair};
use sp_runtime::{
    traits::Header as _,
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    DigestItem,
};

/// Bob's node, and its place among the validators.
const BOB: u32 = 1;

/// Reports an equivocation of Bob in the second block, and sees what comes of it.
fn bob_is_caught(report: impl Fn() -> RuntimeCall) {
    chain(genesis::LOCAL_FAST).execute_with(|| {
        let mut driver = Driver::new();
        driver.block(0, vec![]);
        let issued = Balances::total_issuance();
        assert_eq!(Staking::slashable(BOB), genesis::VALIDATOR_BOND);

        let call = report();
        let extrinsic = UncheckedExtrinsic::new_bare(call);
        let (_, results) = driver.block(1, vec![extrinsic.clone()]);
        assert_eq!(results, vec![Ok(Ok(()))]);
        let pending = Slashing::pending(BOB);
        assert_eq!(pending, genesis::VALIDATOR_BOND, "all will be lost");
        assert_eq!(Staking::self_bond(BOB), 0);
        assert_eq!(Balances::total_issuance(), issued, "but not yet");
        assert!(
            Session::disabled_validators().is_empty(),
            "two of three could not finalise"
        );

        let (_, results) = driver.block(2, vec![extrinsic]);
        let stale = TransactionValidityError::Invalid(InvalidTransaction::Stale);
        assert_eq!(
            results,
            vec![Err(stale)],
            "nobody is punished twice for the same"
        );
        assert_eq!(Slashing::pending(BOB), genesis::VALIDATOR_BOND);

        for session in 1..=2 {
            driver.block(Schedule::FAST.epoch_slots * session, vec![]);
        }
        let validators = [0, 2].map(Staking::validator_id);
        assert_eq!(
            Session::validators(),
            validators,
            "and is no validator any more"
        );
    });
}

#[test]
fn two_blocks_in_one_slot() {
    bob_is_caught(|| {
        let pair = sr25519::Pair::from_string("//Bob", None).expect("derives");
        let offender: sp_consensus_babe::AuthorityId = pair.public().into();
        let header = |root: u8| {
            let mut header = Header::new(
                2,
                [root; 32].into(),
                Default::default(),
                Default::default(),
                claim(FIRST_SLOT, BOB),
            );
            let signature = pair.sign(header.hash().as_ref());
            header.digest.push(DigestItem::Seal(
                sp_consensus_babe::BABE_ENGINE_ID,
                sp_consensus_babe::AuthoritySignature::from(signature).encode(),
            ));
            header
        };
        let proof = sp_consensus_babe::EquivocationProof {
            offender: offender.clone(),
            slot: FIRST_SLOT.into(),
            first_header: header(1),
            second_header: header(2),
        };
        let owner = Historical::prove((sp_consensus_babe::KEY_TYPE, offender)).expect("validates");
        RuntimeCall::Babe(pallet_babe::Call::report_equivocation_unsigned {
            equivocation_proof: Box::new(proof),
            key_owner_proof: owner,
        })
    });
}

#[test]
fn two_votes_in_one_round() {
    bob_is_caught(|| {
        let pair = ed25519::Pair::from_string("//Bob", None).expect("derives");
        let offender: sp_consensus_grandpa::AuthorityId = pair.public().into();
        let (round, set) = (1u64, pallet_grandpa::CurrentSetId::<Runtime>::get());
        // The types of votes are of a crate that nothing else here needs: their encodings are
        // written down instead. A prevote is variant 0, of messages as of equivocations.
        let vote = |hash: u8| {
            let target = ([hash; 32], 2u32);
            let message = (0u8, target, round, set).encode();
            (target, pair.sign(&message))
        };
        let encoded = (set, 0u8, round, pair.public(), vote(1), vote(2)).encode();
        let proof = Decode::decode(&mut encoded.as_slice()).expect("is a proof");
        let owner =
            Historical::prove((sp_consensus_grandpa::KEY_TYPE, offender)).expect("validates");
        assert_eq!(Grandpa::grandpa_authorities().len(), 3);
        RuntimeCall::Grandpa(pallet_grandpa::Call::report_equivocation_unsigned {
            equivocation_proof: Box::new(proof),
            key_owner_proof: owner,
        })
    });
}

#[test]
fn a_forged_report_is_refused() {
    chain(genesis::LOCAL_FAST).execute_with(|| {
        let mut driver = Driver::new();
        driver.block(0, vec![]);
        let pair = sr25519::Pair::from_string("//Bob", None).expect("derives");
        let offender: sp_consensus_babe::AuthorityId = pair.public().into();
        let header = |root: u8| {
            let mut header = Header::new(
                2,
                [root; 32].into(),
                Default::default(),
                Default::default(),
                claim(FIRST_SLOT, BOB),
            );
            // Alice signs for Bob.
            let alice = sr25519::Pair::from_string("//Alice", None).expect("derives");
            let signature = alice.sign(header.hash().as_ref());
            header.digest.push(DigestItem::Seal(
                sp_consensus_babe::BABE_ENGINE_ID,
                sp_consensus_babe::AuthoritySignature::from(signature).encode(),
            ));
            header
        };
        let owner =
            Historical::prove((sp_consensus_babe::KEY_TYPE, offender.clone())).expect("validates");
        let call = RuntimeCall::Babe(pallet_babe::Call::report_equivocation_unsigned {
            equivocation_proof: Box::new(sp_consensus_babe::EquivocationProof {
                offender,
                slot: FIRST_SLOT.into(),
                first_header: header(1),
                second_header: header(2),
            }),
            key_owner_proof: owner,
        });
        let (_, results) = driver.block(1, vec![UncheckedExtrinsic::new_bare(call)]);
        assert!(matches!(results[..], [Ok(Err(_))]), "{results:?}");
        assert_eq!(Staking::slashable(BOB), genesis::VALIDATOR_BOND);
    });
}
