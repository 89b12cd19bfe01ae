//! Validators that sign two things where one is allowed, and what it costs them.

use crate::validators::{candidate, set_keys, validators};
use codec::{Decode, Encode};
use frame_support::traits::KeyOwnerProofSystem;
use quipu_pallet_emission::Issued;
use quipu_pallet_slashing as slashing;
use quipu_pallet_staking::{self as staking, Ledgers};
use quipu_primitives::{
    traits::{Bonds, Cause, PendingSlashes, Slashable},
    NodeId,
};
use quipu_runtime::{
    genesis, Balances, Grandpa, Hash, Header, Historical, Runtime, RuntimeCall, Session, Slashing,
    Staking, UncheckedExtrinsic, QPU,
};
use quipu_stories::{
    actors::*,
    event,
    keys::{Key, ValidatorKeys},
    story, Chain,
};
use sp_core::Pair;
use sp_runtime::{
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    DigestItem,
};

type OwnerProof = <Runtime as pallet_babe::Config>::KeyOwnerProof;

/// Bob's node.
const BOB: NodeId = 1;
/// Charlie's node.
const CHARLIE: NodeId = 2;

/// A chain with a fourth validator, so that one of them can be spared: it is disabled at once.
fn with_four_validators(tell: impl FnOnce(&mut Chain)) {
    story(genesis::LOCAL_FAST, |chain| {
        candidate(chain, "Dave", genesis::VALIDATOR_BOND);
        let dave = Key::new("Dave");
        chain.send(&dave, set_keys("Dave", &dave));
        chain.run_to_session(3);
        assert_eq!(validators(chain), [0, BOB, CHARLIE, 3]);
        tell(chain);
    });
}

/// Its place in the set of validators.
fn place_of(chain: &mut Chain, node: NodeId) -> u32 {
    let place = validators(chain).iter().position(|other| *other == node);
    place.expect("validates") as u32
}

/// The header with the seal of its author.
fn sealed(mut header: Header, keys: &ValidatorKeys) -> Header {
    let signature = keys.babe.sign(header.hash().as_ref());
    header.digest.push(DigestItem::Seal(
        sp_consensus_babe::BABE_ENGINE_ID,
        sp_consensus_babe::AuthoritySignature::from(signature).encode(),
    ));
    header
}

/// `name` authors a block, and signs another one for the same slot, for others to see.
fn two_blocks(
    chain: &mut Chain,
    node: NodeId,
    name: &str,
) -> (sp_consensus_babe::EquivocationProof<Header>, OwnerProof) {
    let keys = ValidatorKeys::new(name);
    let (slot, place) = (chain.next_slot(), place_of(chain, node));
    chain.block_by(place, vec![]);
    let first = chain.head().header.clone();
    let mut second = first.clone();
    second.state_root = Hash::repeat_byte(1);
    let offender: sp_consensus_babe::AuthorityId = keys.babe.public().into();
    let key = (sp_consensus_babe::KEY_TYPE, offender.clone());
    let owner = chain.read(|| Historical::prove(key).expect("validates"));
    let proof = sp_consensus_babe::EquivocationProof {
        offender,
        slot: slot.into(),
        first_header: sealed(first, &keys),
        second_header: sealed(second, &keys),
    };
    (proof, owner)
}

fn babe_report(
    (proof, key_owner_proof): (sp_consensus_babe::EquivocationProof<Header>, OwnerProof),
) -> UncheckedExtrinsic {
    UncheckedExtrinsic::new_bare(RuntimeCall::Babe(
        pallet_babe::Call::report_equivocation_unsigned {
            equivocation_proof: Box::new(proof),
            key_owner_proof,
        },
    ))
}

#[test]
fn two_blocks_in_one_slot_cost_all_that_is_at_stake() {
    with_four_validators(|chain| {
        // Bob takes part of it out, too late.
        let bob = Key::new("Bob");
        let asked_back = 40_000 * QPU;
        chain.send(&bob, unbond(BOB, asked_back / 2));
        chain.send(&bob, unbond(BOB, asked_back / 2));
        let released = chain.number() + chain.schedule().unbonding_blocks;

        let evidence = two_blocks(chain, BOB, "Bob");
        chain.mark();
        assert_eq!(
            chain.block(vec![babe_report(evidence.clone())]),
            [Ok(Ok(()))]
        );
        let events = chain.events_of_extrinsic(0);
        let fraction = event!(
            events,
            Staking(staking::Event::OffenceReported { node: BOB, fraction, .. }) => *fraction
        );
        assert_eq!(fraction, sp_runtime::Perbill::one());
        event!(events, Staking(staking::Event::Chilled { node: BOB }) => ());
        let (cause, amount, applies_at) = event!(
            events,
            Slashing(slashing::Event::CaseOpened { node: BOB, cause, amount, applies_at, .. }) =>
                (*cause, *amount, *applies_at)
        );
        assert!(matches!(cause, Cause::Consensus { to, .. } if to == fraction));
        assert_eq!(amount, genesis::VALIDATOR_BOND, "self-bond and chunks");
        assert_eq!(applies_at, chain.number() + chain.schedule().era_blocks());
        // Nothing is taken yet, but nothing counts any more, and nothing comes out.
        assert_eq!(chain.read(|| Staking::slashable(BOB)), amount);
        assert_eq!(chain.read(|| Staking::self_bond(BOB)), 0);
        chain.assert_moved(&[]);
        let error = staking::Error::<Runtime>::SlashPending;
        chain.refused(&bob, withdraw(BOB), error);

        // Out of the session at once, and out of the set as soon as can be.
        let place = place_of(chain, BOB);
        assert_eq!(chain.read(Session::disabled_validators), [place]);
        assert!(!chain.lets_author(place), "its blocks are refused");
        assert!(chain.lets_author(0));
        let session = chain.read(Session::current_index);
        chain.run_to_session(session + 2);
        assert_eq!(validators(chain), [0, CHARLIE, 3]);
        assert!(chain.read(Session::disabled_validators).is_empty());

        // The same evidence is worth nothing a second time.
        let stale = TransactionValidityError::Invalid(InvalidTransaction::Stale);
        assert_eq!(chain.block(vec![babe_report(evidence)]), [Err(stale)]);

        // An era after the report all is taken. Alice, who authored the block with it, is paid.
        let events = chain.run_to(applies_at + 1);
        let slashed = event!(
            events,
            Staking(staking::Event::Slashed { node: BOB, amount }) => *amount
        );
        assert_eq!(slashed, amount);
        assert_eq!(chain.read(|| Staking::slashable(BOB)), 0);
        let lost = i128::try_from(slashed).expect("is small");
        let alice = Key::new("Alice");
        let moved = [(&bob, -lost), (&alice, lost * 2 / 5)];
        chain.assert_moved(&moved);
        chain.run_to(released);
        let error = staking::Error::<Runtime>::NothingDue;
        chain.refused(&bob, withdraw(BOB), error);
        chain.assert_moved(&moved);
    });
}

/// What `name` signs when it votes twice in a round: `kind` is 0 for prevotes, 1 for precommits.
/// The types of votes are of a crate that nothing else here needs: their encodings are written
/// down instead.
fn two_votes(
    chain: &mut Chain,
    name: &str,
    kind: u8,
) -> (
    sp_consensus_grandpa::EquivocationProof<Hash, u32>,
    OwnerProof,
) {
    let keys = ValidatorKeys::new(name);
    let (round, set) = (
        7u64,
        chain.read(pallet_grandpa::CurrentSetId::<Runtime>::get),
    );
    let number = chain.number();
    let vote = |block: Hash| {
        let message = (kind, (block, number), round, set).encode();
        ((block, number), keys.grandpa.sign(&message))
    };
    let real = vote(chain.hash_of(number));
    let other = vote(Hash::repeat_byte(1));
    let offender = keys.grandpa.public();
    let encoded = (set, kind, round, offender, real, other).encode();
    let proof = Decode::decode(&mut encoded.as_slice()).expect("is a proof");
    let offender: sp_consensus_grandpa::AuthorityId = offender.into();
    let key = (sp_consensus_grandpa::KEY_TYPE, offender);
    let owner = chain.read(|| Historical::prove(key).expect("validates"));
    (proof, owner)
}

#[test]
fn two_votes_in_one_round_are_punished_even_sessions_later() {
    with_four_validators(|chain| {
        assert_eq!(chain.read(Grandpa::grandpa_authorities).len(), 4);
        let (proof, key_owner_proof) = two_votes(chain, "Charlie", 1);
        let happened = chain.read(Session::current_index);

        // A signed report, long after: whose key it was is proven by the roots of past sessions.
        chain.run_to_session(happened + 4);
        let informant = Key::new("Ferdie");
        let report = |proof: &sp_consensus_grandpa::EquivocationProof<Hash, u32>,
                      key_owner_proof: &OwnerProof| {
            pallet_grandpa::Call::report_equivocation {
                equivocation_proof: Box::new(proof.clone()),
                key_owner_proof: key_owner_proof.clone(),
            }
        };
        chain.mark();
        let issued = chain.read(Balances::total_issuance);
        let emitted = chain.read(Issued::<Runtime>::get);
        let events = chain.send(&informant, report(&proof, &key_owner_proof));
        let (session, fraction) = event!(
            events,
            Staking(staking::Event::OffenceReported {
                node: CHARLIE,
                session,
                fraction,
            }) => (*session, *fraction)
        );
        assert_eq!((session, fraction), (happened, sp_runtime::Perbill::one()));
        assert_eq!(chain.fees_of(&informant), 0, "telling the truth is free");
        let applies_at = event!(
            events,
            Slashing(slashing::Event::CaseOpened { applies_at, .. }) => *applies_at
        );
        chain.assert_moved(&[]);
        let place = place_of(chain, CHARLIE);
        assert_eq!(chain.read(Session::disabled_validators), [place]);

        // Telling it again costs the fee.
        let error = pallet_grandpa::Error::<Runtime>::DuplicateOffenceReport;
        chain.refused(&informant, report(&proof, &key_owner_proof), error);
        assert!(chain.fees_of(&informant) > 0);

        chain.run_to_session(happened + 6);
        assert_eq!(validators(chain), [0, BOB, 3]);
        let authorities = chain.read(Grandpa::grandpa_authorities);
        assert_eq!(authorities.len(), 3);

        // Whoever told has the reporter's share, three fifths were burned: there is no victim.
        chain.run_to(applies_at + 1);
        let lost = genesis::VALIDATOR_BOND;
        let burned = chain.fees_of(&informant) + lost * 3 / 5;
        let emitted = chain.read(Issued::<Runtime>::get) - emitted;
        assert_eq!(
            chain.read(Balances::total_issuance),
            issued + emitted - burned
        );
        let lost = i128::try_from(lost).expect("is small");
        let moved = [(&Key::new("Charlie"), -lost), (&informant, lost * 2 / 5)];
        chain.assert_moved(&moved);
        assert!(!chain.read(|| Ledgers::<Runtime>::contains_key(CHARLIE)));
    });
}

#[test]
fn what_can_no_longer_be_proven_is_not_punished_and_bonds_wait_as_long() {
    with_four_validators(|chain| {
        let (proof, key_owner_proof) = two_votes(chain, "Charlie", 0);
        let blocks = two_blocks(chain, BOB, "Bob");
        let happened = chain.read(Session::current_index);
        // Charlie runs with its bond in the very next block.
        let charlie = Key::new("Charlie");
        chain.send(&charlie, unbond(CHARLIE, genesis::VALIDATOR_BOND));
        let released = chain.number() + chain.schedule().unbonding_blocks;
        let window = chain.schedule().offence_sessions();

        // In the last session of the window it can still be slashed, as its bond still waits.
        chain.run_to_session(happened + window);
        assert!(chain.number() < released, "bonds outlast the window");
        let call = RuntimeCall::Grandpa(pallet_grandpa::Call::report_equivocation_unsigned {
            equivocation_proof: Box::new(proof),
            key_owner_proof,
        });
        let report = UncheckedExtrinsic::new_bare(call);
        assert_eq!(chain.block(vec![report]), [Ok(Ok(()))]);
        let pending = chain.read(|| Slashing::pending(CHARLIE));
        assert_eq!(pending, genesis::VALIDATOR_BOND);

        // Nothing is released as long as that is not decided.
        let error = staking::Error::<Runtime>::SlashPending;
        chain.refused(&charlie, withdraw(CHARLIE), error);

        // One session more, and nobody can say any more whose keys those were.
        chain.run_to_session(happened + window + 1);
        let unproven = TransactionValidityError::Invalid(InvalidTransaction::BadProof);
        assert_eq!(chain.block(vec![babe_report(blocks)]), [Err(unproven)]);
        assert_eq!(
            chain.read(|| Staking::slashable(BOB)),
            genesis::VALIDATOR_BOND
        );
    });
}

#[test]
fn nobody_is_punished_for_what_another_signed() {
    with_four_validators(|chain| {
        let (mut proof, owner) = two_blocks(chain, BOB, "Bob");
        chain.mark();
        // Charlie seals the second block in Bob's name.
        let (mut forged, genuine) = (proof.second_header.clone(), proof.clone());
        forged.digest.pop();
        proof.second_header = sealed(forged, &ValidatorKeys::new("Charlie"));
        let results = chain.block(vec![babe_report((proof, owner.clone()))]);
        let error: sp_runtime::DispatchError =
            pallet_babe::Error::<Runtime>::InvalidEquivocationProof.into();
        assert_eq!(results, [Ok(Err(error))]);

        // One block twice is no equivocation.
        let mut same = genuine.clone();
        same.second_header = same.first_header.clone();
        let results = chain.block(vec![babe_report((same, owner.clone()))]);
        assert_eq!(results, [Ok(Err(error))]);

        // The evidence is Bob's, the proof of ownership Charlie's.
        let key: sp_consensus_babe::AuthorityId =
            ValidatorKeys::new("Charlie").babe.public().into();
        let key = (sp_consensus_babe::KEY_TYPE, key);
        let charlies = chain.read(|| Historical::prove(key).expect("validates"));
        let results = chain.block(vec![babe_report((genuine, charlies))]);
        let unproven = TransactionValidityError::Invalid(InvalidTransaction::BadProof);
        assert_eq!(results, [Err(unproven)]);

        chain.assert_moved(&[]);
        for node in 0..4 {
            let bond = chain.read(|| Staking::slashable(node));
            assert_eq!(bond, genesis::VALIDATOR_BOND);
        }
        assert!(chain.read(Session::disabled_validators).is_empty());
    });
}
