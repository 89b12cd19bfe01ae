//! Who validates the chain.

use quipu_pallet_staking as staking;
use quipu_pallet_subnets as subnets;
use quipu_primitives::{node_of_account, NodeId, ROOT_SUBNET};
use quipu_runtime::{genesis, AccountId, Balance, Runtime, RuntimeCall, Session, QPU};
use quipu_stories::{
    actors::*,
    event,
    keys::{Key, ValidatorKeys},
    story, Chain,
};

/// The validators of this session as nodes, in the order of the set.
pub fn validators(chain: &mut Chain) -> Vec<NodeId> {
    let node = |id: AccountId| node_of_account(id.as_ref()).expect("is a node");
    chain.read(|| Session::validators().into_iter().map(node).collect())
}

/// The call by which the owner `name` sets the session keys of the same name.
pub fn set_keys(name: &str, owner: &Key) -> RuntimeCall {
    let keys = ValidatorKeys::new(name);
    pallet_session::Call::set_keys {
        proof: keys.ownership_proof(&owner.account()),
        keys: keys.public(),
    }
    .into()
}

/// `//name` registers a root node and bonds for it; it has no session keys yet.
pub fn candidate(chain: &mut Chain, name: &str, amount: Balance) -> NodeId {
    let owner = Key::new(name);
    let events = chain.send(&owner, register_node(ROOT_SUBNET, name));
    let node = event!(events, Subnets(subnets::Event::NodeRegistered { node, .. }) => *node);
    chain.send(&owner, bond(node, amount));
    node
}

#[test]
fn a_larger_node_enters_at_the_next_era_and_only_with_keys() {
    story(genesis::LOCAL_FAST, |chain| {
        assert_eq!(
            validators(chain),
            [0, 1, 2],
            "equal bonds: the lower id first"
        );
        let dave = Key::new("Dave");
        let node = candidate(chain, "Dave", 2 * genesis::VALIDATOR_BOND);
        let eve = Key::new("Eve");
        let small = candidate(chain, "Eve", 10_000 * QPU - 1);
        chain.send(&eve, set_keys("Eve", &eve));

        // Without keys an era passes over it; nor does one bond too little.
        chain.run_to_session(3);
        assert_eq!(validators(chain), [0, 1, 2]);

        // Keys must be proven to be one's own.
        let stolen = pallet_session::Call::set_keys {
            keys: ValidatorKeys::new("Alice").public(),
            proof: ValidatorKeys::new("Dave").ownership_proof(&dave.account()),
        };
        let error = pallet_session::Error::<Runtime>::InvalidProof;
        chain.refused(&dave, stolen, error);
        let no_validator = Key::new("Ferdie");
        let error = pallet_session::Error::<Runtime>::NoAssociatedValidatorId;
        let call = set_keys("Ferdie", &no_validator);
        chain.refused(&no_validator, call, error);
        chain.send(&dave, set_keys("Dave", &dave));
        for session in 4..6 {
            chain.run_to_session(session);
            assert_eq!(validators(chain), [0, 1, 2], "not before the era is over");
        }
        chain.run_to_session(6);
        assert_eq!(validators(chain), [node, 0, 1, 2], "by stake");

        // The small one joins with a bond that is just enough, and the order follows the bonds.
        chain.send(&eve, bond(small, 1));
        chain.send(&Key::new("Bob"), bond(1, QPU));
        chain.run_to_session(9);
        assert_eq!(validators(chain), [node, 1, 0, 2, small]);

        // A validator can't be removed under the chain's feet, nor sold with its keys in place.
        let sale = subnets::Call::set_coldkey {
            node,
            coldkey: no_validator.account(),
        };
        let error = staking::Error::<Runtime>::SessionKeysSet;
        chain.refused(&dave, sale.clone(), error);
        chain.send(&dave, unbond(node, 2 * genesis::VALIDATOR_BOND));
        let unbonded = chain.number() + chain.schedule().unbonding_blocks;
        let error = subnets::Error::<Runtime>::NodeBonded;
        chain.refused(&dave, remove_node(node), error);
        chain.run_to_session(12);
        assert_eq!(validators(chain), [1, 0, 2, small], "out with the era");
        chain.run_to(unbonded);
        chain.send(&dave, withdraw(node));
        let error = subnets::Error::<Runtime>::NodeHasObligations;
        chain.refused(&dave, remove_node(node), error);
        chain.send(&dave, pallet_session::Call::purge_keys {});
        chain.send(&dave, sale);
        let error = subnets::Error::<Runtime>::NotOwner;
        chain.refused(&dave, remove_node(node), error);
        chain.send(&no_validator, remove_node(node));
    });
}

#[test]
fn a_hundred_larger_nodes_push_the_first_three_out() {
    story(genesis::LOCAL_FAST, |chain| {
        // As many as a session may have, each with a little more than the validators of genesis.
        let bond_of = |index: u32| genesis::VALIDATOR_BOND + u128::from(index + 1) * QPU;
        let names: Vec<String> = (0..100).map(|index| format!("Candidate{index}")).collect();
        let donors = genesis::ENDOWED[3..].iter().chain(["Bob"].iter());
        for (donor, receivers) in donors.zip(names.chunks(9)) {
            let gift = genesis::VALIDATOR_BOND + 200 * QPU;
            let calls = receivers
                .iter()
                .map(|name| transfer(&Key::new(name).account(), gift));
            let calls = calls.collect();
            chain.send(&Key::new(donor), pallet_utility::Call::batch_all { calls });
        }
        for (index, name) in (0..).zip(&names) {
            let owner = Key::new(name);
            let calls = vec![
                register_node(ROOT_SUBNET, name),
                bond(3 + index, bond_of(index)),
                set_keys(name, &owner),
            ];
            chain.send_all(&owner, calls);
        }
        let session = chain.read(Session::current_index);
        chain.run_to_session(session + 6);
        let largest_first: Vec<NodeId> = (0..100).rev().map(|index| 3 + index).collect();
        assert_eq!(validators(chain), largest_first);
    });
}

#[test]
fn the_set_never_gets_empty() {
    story(genesis::DEVELOPMENT_FAST, |chain| {
        let (alice, bob) = (Key::new("Alice"), Key::new("Bob"));
        assert_eq!(validators(chain), [0]);

        // The only validator stands down: as nobody else stands, it goes on.
        chain.send(&alice, staking::Call::chill { node: 0 });
        chain.run_to_session(6);
        assert_eq!(validators(chain), [0]);
        let unbond_all = unbond(0, genesis::VALIDATOR_BOND);
        chain.send(&alice, unbond_all);
        let released = chain.number() + chain.schedule().unbonding_blocks;
        chain.run_to(released);
        chain.send(&alice, withdraw(0));
        let error = subnets::Error::<Runtime>::NodeHasObligations;
        chain.refused(&alice, remove_node(0), error);
        let era = chain.read(|| staking::CurrentEra::<Runtime>::get().expect("runs"));
        assert!(era.index > 2, "eras go on");
        assert_eq!(validators(chain), [0]);

        // Somebody else stands: now it can go.
        let node = candidate(chain, "Bob", 10_000 * QPU);
        chain.send(&bob, set_keys("Bob", &bob));
        let session = chain.read(Session::current_index);
        chain.run_to_session(session + 4);
        assert_eq!(validators(chain), [node]);
        chain.send(&alice, pallet_session::Call::purge_keys {});
        chain.send(&alice, remove_node(0));
        let session = chain.read(Session::current_index);
        chain.run_to_session(session + 4);
        assert_eq!(validators(chain), [node]);
    });
}
