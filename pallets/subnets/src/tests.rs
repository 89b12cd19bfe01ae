//! Stories of creators and servers.

mod walk;

use crate::{
    mock::*, types::*, Call, CoverageOf, Error, Event, FormerHotkeys, HoldReason, Manifests,
    Members, NextNodeId, NextSubnetId, NodeOfHotkey, NodeOfPeer, Nodes, RootNodeOf,
    Subnets as SubnetsOf,
};
use frame_support::{
    assert_noop, assert_ok,
    traits::fungible::{Inspect, InspectHold},
};
use quipu_primitives::{
    traits::{NodeKeys, Nodes as _, Roster, Signers},
    Balance, Digest, Manifest, NodeId, Span, SubnetId, ROOT_SUBNET,
};
use sp_runtime::{traits::Dispatchable, DispatchError, DispatchResult, TokenError};

/// Sends a call as the chain would: what fails leaves nothing behind.
fn run(who: u64, call: Call<Test>) -> DispatchResult {
    let sent = RuntimeCall::Subnets(call).dispatch(RuntimeOrigin::signed(who));
    Subnets::do_try_state().unwrap();
    sent.map(|_| ()).map_err(|error| error.error)
}

fn register(who: u64, manifest: Manifest) -> DispatchResult {
    run(
        who,
        Call::register_subnet {
            manifest: Box::new(manifest),
        },
    )
}

fn register_node(who: u64, subnet: SubnetId, hotkey: u64) -> DispatchResult {
    run(
        who,
        Call::register_node {
            subnet,
            hotkey,
            peer_id: peer(hotkey),
        },
    )
}

fn join(who: u64, node: NodeId, start: u16, end: u16) -> DispatchResult {
    run(
        who,
        Call::join {
            node,
            span: Span { start, end },
            price: 3,
            profile: profile(),
        },
    )
}

fn profile() -> Digest {
    manifest().profiles[0].digest()
}

fn held(who: u64, reason: HoldReason) -> Balance {
    Balances::balance_on_hold(&reason.into(), &who)
}

fn last_event() -> Event<Test> {
    events().pop().unwrap()
}

fn events() -> Vec<Event<Test>> {
    System::read_events_for_pallet()
}

/// Carol's subnet 1 of four blocks, and in it Sam's node 0 and Sue's node 1, bonded.
fn two_servers() -> sp_io::TestExternalities {
    let mut ext = new_test_ext();
    ext.execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        assert_ok!(register_node(SAM, 1, 12));
        assert_ok!(register_node(SUE, 1, 13));
        set_bond(0, MIN_BOND);
        set_bond(1, MIN_BOND);
    });
    ext
}

#[test]
fn a_registered_model_holds_a_deposit_and_names_its_manifest() {
    new_test_ext().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        assert_eq!(
            last_event(),
            Event::SubnetRegistered {
                subnet: 1,
                creator: CAROL,
                deposit: REGISTRATION,
                manifest_digest: manifest().digest(),
            }
        );
        assert_eq!(held(CAROL, HoldReason::Registration), REGISTRATION);
        let info = Subnets::subnet_info(1).unwrap();
        assert_eq!(info.manifest, manifest());
        assert_eq!(
            (info.creator, info.deposit, info.status),
            (CAROL, REGISTRATION, Status::Uncovered)
        );
        assert_eq!(info.coverage, [0; 4]);
        assert_eq!(Subnets::blocks(1), Some(4));
        assert_eq!(Subnets::context_length(1), Some(128));
    });
}

/// A change to a manifest, and the error that it must give.
type Case = (fn(&mut Manifest), Error<Test>);

#[test]
fn a_manifest_that_cannot_be_served_is_refused_by_name() {
    let cases: Vec<Case> = vec![
        (|m| m.config.hidden_size = 0, Error::ManifestZeroSize),
        (|m| m.config.kv_heads = 3, Error::ManifestHeadsNotGrouped),
        (|m| m.config.head_dim = 5, Error::ManifestOddHeadDim),
        (|m| m.config.blocks = 257, Error::ManifestTooManyBlocks),
        (
            |m| m.config.hidden_size = 1 << 21,
            Error::ManifestSizeOutOfRange,
        ),
        (|m| m.config.blocks = 3, Error::ManifestDigestCount),
        (|m| m.block_digests[1] = [9; 32], Error::ManifestWeightsRoot),
        (|m| m.profiles.clear(), Error::ManifestNoProfile),
        (
            |m| m.profiles[1] = m.profiles[0].clone(),
            Error::ManifestDuplicateProfile,
        ),
        (
            |m| m.name = vec![0xff].try_into().unwrap(),
            Error::ManifestBadName,
        ),
        (|m| m.config.rope_theta_milli = 0, Error::ManifestBadRope),
        (|m| m.terms.max_nodes = 0, Error::ManifestNoNodes),
    ];
    new_test_ext().execute_with(|| {
        for (change, error) in cases {
            let mut bad = manifest();
            change(&mut bad);
            assert_noop!(register(CAROL, bad), error);
        }
        assert_ok!(register(CAROL, manifest()));
    });
}

#[test]
fn ids_are_never_used_again() {
    new_test_ext().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 1 }));
        assert_ok!(register(CAROL, manifest()));
        assert!(SubnetsOf::<Test>::contains_key(2) && !SubnetsOf::<Test>::contains_key(1));
        assert_ok!(register_node(SAM, 2, 12));
        assert_ok!(run(SAM, Call::remove_node { node: 0 }));
        assert_ok!(register_node(SAM, 2, 12));
        assert_eq!(Subnets::by_hotkey(&12), Some(1));

        NextSubnetId::<Test>::put(SubnetId::MAX);
        assert_noop!(register(CAROL, manifest()), Error::<Test>::IdsExhausted);
        NextNodeId::<Test>::put(NodeId::MAX);
        assert_noop!(register_node(SUE, 2, 13), Error::<Test>::IdsExhausted);
    });
}

#[test]
fn a_full_chain_takes_a_subnet_only_after_another_is_dissolved() {
    new_test_ext().execute_with(|| {
        for _ in 0..3 {
            assert_ok!(register(CAROL, manifest()));
        }
        assert_noop!(register(SAM, manifest()), Error::<Test>::TooManySubnets);
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 2 }));
        assert_ok!(register(SAM, manifest()));
    });
}

#[test]
fn a_price_that_moves_leaves_deposits_in_place() {
    new_test_ext().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        RegistrationDeposit::set(2 * REGISTRATION);
        assert_eq!(Subnets::registration_deposit(), 2 * REGISTRATION);
        assert_ok!(register(CAROL, manifest()));
        assert_eq!(held(CAROL, HoldReason::Registration), 3 * REGISTRATION);
        RegistrationDeposit::set(0);
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 1 }));
        assert_eq!(held(CAROL, HoldReason::Registration), 2 * REGISTRATION);
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 2 }));
        assert_eq!(Balances::balance(&CAROL), RICH);
        assert_eq!(
            last_event(),
            Event::SubnetDissolved {
                subnet: 2,
                deposit: 2 * REGISTRATION
            }
        );
    });
}

#[test]
fn who_cannot_pay_registers_nothing() {
    new_test_ext().execute_with(|| {
        assert_noop!(register(PAUL, manifest()), TokenError::FundsUnavailable);
        RegistrationDeposit::set(Balance::MAX);
        assert_noop!(register(CAROL, manifest()), TokenError::FundsUnavailable);
        // The account must stay alive beside the deposit.
        RegistrationDeposit::set(RICH - ED + 1);
        assert_noop!(register(CAROL, manifest()), TokenError::FundsUnavailable);
        RegistrationDeposit::set(RICH - ED);
        assert_ok!(register(CAROL, manifest()));
        assert_noop!(register_node(CAROL, 1, 12), TokenError::FundsUnavailable);
    });
}

#[test]
fn an_account_with_a_deposit_is_not_reaped() {
    new_test_ext().execute_with(|| {
        RegistrationDeposit::set(RICH - ED);
        assert_ok!(register(CAROL, manifest()));
        assert_noop!(
            Balances::transfer_allow_death(RuntimeOrigin::signed(CAROL), SAM, ED),
            TokenError::Frozen
        );
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 1 }));
        assert_ok!(Balances::transfer_allow_death(
            RuntimeOrigin::signed(CAROL),
            SAM,
            RICH
        ));
        assert_eq!(Balances::balance(&CAROL), 0);
    });
}

#[test]
fn only_its_creator_dissolves_a_subnet_and_only_an_empty_one() {
    two_servers().execute_with(|| {
        let dissolve = |who, subnet| run(who, Call::dissolve_subnet { subnet });
        assert_noop!(dissolve(CAROL, 2), Error::<Test>::NoSuchSubnet);
        assert_noop!(dissolve(CAROL, ROOT_SUBNET), Error::<Test>::NoSuchSubnet);
        assert_noop!(dissolve(SAM, 1), Error::<Test>::NotCreator);
        assert_noop!(dissolve(CAROL, 1), Error::<Test>::SubnetHasNodes);
        for (owner, node) in [(SAM, 0), (SUE, 1)] {
            set_bond(node, 0);
            assert_ok!(run(owner, Call::remove_node { node }));
        }
        assert_ok!(dissolve(CAROL, 1));
        // Nothing of it is left.
        assert_eq!(SubnetsOf::<Test>::iter().count(), 0);
        assert_eq!(Manifests::<Test>::iter().count(), 0);
        assert_eq!(CoverageOf::<Test>::iter().count(), 0);
        assert_eq!(Members::<Test>::iter().count(), 0);
        assert_eq!(Nodes::<Test>::iter().count(), 0);
        assert_eq!(NodeOfHotkey::<Test>::iter().count(), 0);
        assert_eq!(NodeOfPeer::<Test>::iter().count(), 0);
        for who in [CAROL, SAM, SUE] {
            assert_eq!(Balances::balance(&who), RICH);
        }
    });
}

#[test]
fn a_subnet_is_active_while_every_block_is_served() {
    two_servers().execute_with(|| {
        assert_ok!(join(SAM, 0, 0, 3));
        assert_eq!(
            last_event(),
            Event::NodeJoined {
                node: 0,
                subnet: 1,
                span: Span { start: 0, end: 3 },
                price: 3,
                profile: profile()
            }
        );
        assert!(!Subnets::is_active(1));
        assert_ok!(join(SUE, 1, 2, 4));
        assert_eq!(last_event(), Event::SubnetActivated { subnet: 1 });
        assert!(Subnets::is_active(1));
        assert_eq!(Subnets::subnet_info(1).unwrap().coverage, [1, 1, 2, 1]);
        assert_eq!(Subnets::seats(1).len(), 2);

        assert_ok!(run(SAM, Call::leave { node: 0 }));
        assert_eq!(last_event(), Event::SubnetDeactivated { subnet: 1 });
        assert!(!Subnets::is_active(1));
        assert_eq!(Subnets::subnet_info(1).unwrap().coverage, [0, 0, 1, 1]);
        assert_eq!(Subnets::seat(0), None);
        assert_eq!(Subnets::seat(1).unwrap().1.span, Span { start: 2, end: 4 });
    });
}

#[test]
fn a_paused_subnet_takes_no_sessions_until_its_creator_resumes_it() {
    two_servers().execute_with(|| {
        assert_ok!(join(SAM, 0, 0, 4));
        assert_noop!(
            run(SAM, Call::pause_subnet { subnet: 1 }),
            Error::<Test>::NotCreator
        );
        assert_noop!(
            run(CAROL, Call::resume_subnet { subnet: 1 }),
            Error::<Test>::NotPaused
        );
        assert_noop!(
            run(CAROL, Call::pause_subnet { subnet: 9 }),
            Error::<Test>::NoSuchSubnet
        );
        assert_ok!(run(CAROL, Call::pause_subnet { subnet: 1 }));
        assert_eq!(last_event(), Event::SubnetPaused { subnet: 1 });
        assert!(!Subnets::is_active(1));
        // Nobody takes it for one that lacks servers.
        let info = Subnets::subnet_info(1).unwrap();
        assert_eq!((info.status, info.coverage), (Status::Paused, vec![1; 4]));
        assert_noop!(
            run(CAROL, Call::pause_subnet { subnet: 1 }),
            Error::<Test>::AlreadyPaused
        );
        // Seats come and go meanwhile, and the state follows only on resumption.
        assert_ok!(join(SUE, 1, 0, 4));
        assert_ok!(run(SAM, Call::leave { node: 0 }));
        assert_noop!(
            run(SAM, Call::resume_subnet { subnet: 1 }),
            Error::<Test>::NotCreator
        );
        assert_ok!(run(CAROL, Call::resume_subnet { subnet: 1 }));
        assert_eq!(
            last_event(),
            Event::SubnetResumed {
                subnet: 1,
                active: true
            }
        );
        assert!(Subnets::is_active(1));

        assert_ok!(run(CAROL, Call::pause_subnet { subnet: 1 }));
        assert_ok!(run(SUE, Call::leave { node: 1 }));
        assert_ok!(run(CAROL, Call::resume_subnet { subnet: 1 }));
        assert_eq!(
            last_event(),
            Event::SubnetResumed {
                subnet: 1,
                active: false
            }
        );
    });
}

#[test]
fn a_node_needs_keys_of_its_own() {
    new_test_ext().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        let node = |subnet, hotkey, peer_id| {
            run(
                SAM,
                Call::register_node {
                    subnet,
                    hotkey,
                    peer_id,
                },
            )
        };
        assert_noop!(node(9, 12, peer(1)), Error::<Test>::NoSuchSubnet);
        let short = vec![0x12, 0x20, 1].try_into().unwrap();
        assert_noop!(node(1, 12, short), Error::<Test>::BadPeerId);
        assert_ok!(node(1, 12, peer(1)));
        assert_eq!(
            last_event(),
            Event::NodeRegistered {
                node: 0,
                subnet: 1,
                coldkey: SAM,
                hotkey: 12,
                deposit: NODE
            }
        );
        assert_noop!(node(1, 12, peer(2)), Error::<Test>::HotkeyInUse);
        assert_noop!(node(1, 13, peer(1)), Error::<Test>::PeerIdInUse);
        // One coldkey may own many servers.
        assert_ok!(node(1, 13, peer(2)));
        assert_eq!(held(SAM, HoldReason::Node), 2 * NODE);
        assert_eq!(Subnets::of_subnet(1), [0, 1]);
        assert_eq!(Subnets::by_hotkey(&13), Some(1));
        assert_eq!(Subnets::by_hotkey(&SAM), None);
        assert_eq!(
            Subnets::keys(0),
            Some(NodeKeys {
                subnet: 1,
                coldkey: SAM,
                hotkey: 12
            })
        );
    });
}

#[test]
fn a_subnet_is_full_at_its_terms_or_at_the_limit_of_the_chain() {
    new_test_ext().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        for hotkey in 0..4 {
            assert_ok!(register_node(SAM, 1, 100 + hotkey));
        }
        assert_noop!(register_node(SAM, 1, 104), Error::<Test>::SubnetFull);
        assert_ok!(run(SAM, Call::remove_node { node: 2 }));
        assert_ok!(register_node(SAM, 1, 104));

        let mut wide = manifest();
        wide.terms.max_nodes = u32::MAX;
        assert_ok!(register(CAROL, wide));
        for hotkey in 0..u64::from(MAX_NODES) {
            assert_ok!(register_node(SAM, 2, 200 + hotkey));
        }
        assert_noop!(register_node(SAM, 2, 300), Error::<Test>::SubnetFull);
    });
}

#[test]
fn the_root_subnet_starts_with_the_nodes_of_the_genesis() {
    ext_with_roots(vec![(CAROL, 11, peer(11)), (SAM, SAM, peer(12))]).execute_with(|| {
        Subnets::do_try_state().unwrap();
        assert_eq!(Subnets::of_subnet(ROOT_SUBNET), [0, 1]);
        assert_eq!(Subnets::root_node_of(&SAM), Some(1));
        assert_eq!(Subnets::root_node_of(&SUE), None);
        assert_eq!(held(SAM, HoldReason::Node), 0);
        assert_eq!(Subnets::roster_info(ROOT_SUBNET)[0].peer_id, peer(11));
        assert!(!Subnets::is_active(ROOT_SUBNET));
        assert_eq!(Subnets::blocks(ROOT_SUBNET), None);
        assert_eq!(Subnets::subnet_info(ROOT_SUBNET), None);

        assert_noop!(
            register_node(SAM, ROOT_SUBNET, 13),
            Error::<Test>::ColdkeyHasRootNode
        );
        assert_ok!(register_node(SUE, ROOT_SUBNET, 13));
        set_bond(2, MIN_BOND);
        assert_noop!(join(SUE, 2, 0, 1), Error::<Test>::RootHasNoSeats);
        set_bond(2, 0);
        assert_ok!(run(SUE, Call::remove_node { node: 2 }));
        assert_eq!(RootNodeOf::<Test>::get(SUE), None);
        assert_ok!(run(CAROL, Call::remove_node { node: 0 }));
    });
}

#[test]
#[should_panic(expected = "a root node of the genesis is refused")]
fn a_genesis_with_one_hotkey_twice_is_refused() {
    ext_with_roots(vec![(CAROL, 11, peer(11)), (SAM, 11, peer(12))]);
}

#[test]
fn a_seat_needs_a_span_a_profile_and_a_bond() {
    two_servers().execute_with(|| {
        assert_noop!(join(SAM, 9, 0, 4), Error::<Test>::NoSuchNode);
        assert_noop!(join(SUE, 0, 0, 4), Error::<Test>::NotOperator);
        assert_noop!(join(SAM, 0, 2, 2), Error::<Test>::EmptySpan);
        assert_noop!(join(SAM, 0, 3, 2), Error::<Test>::EmptySpan);
        assert_noop!(join(SAM, 0, 0, 5), Error::<Test>::SpanOutsideModel);
        assert_noop!(
            join(SAM, 0, u16::MAX - 1, u16::MAX),
            Error::<Test>::SpanOutsideModel
        );
        let span = Span { start: 0, end: 4 };
        let foreign = Call::join {
            node: 0,
            span,
            price: 1,
            profile: [8; 32],
        };
        assert_noop!(run(SAM, foreign), Error::<Test>::ProfileNotAccepted);
        set_bond(0, MIN_BOND - 1);
        assert_noop!(join(SAM, 0, 0, 4), Error::<Test>::BondTooSmall);
        set_bond(0, MIN_BOND);
        // The hotkey may join as well as the coldkey.
        assert_ok!(join(12, 0, 0, 4));
        assert_noop!(join(12, 0, 0, 4), Error::<Test>::AlreadySeated);
    });
}

#[test]
fn terms_may_ask_for_more_bond_than_the_chain() {
    new_test_ext().execute_with(|| {
        let mut strict = manifest();
        strict.terms.min_self_bond = 2 * MIN_BOND;
        assert_ok!(register(CAROL, strict));
        assert_ok!(register_node(SAM, 1, 12));
        set_bond(0, 2 * MIN_BOND - 1);
        assert_noop!(join(SAM, 0, 0, 4), Error::<Test>::BondTooSmall);
        set_bond(0, 2 * MIN_BOND);
        assert_ok!(join(SAM, 0, 0, 4));

        let mut impossible = manifest();
        impossible.terms.min_self_bond = Balance::MAX;
        assert_ok!(register(CAROL, impossible));
        assert_ok!(register_node(SUE, 2, 13));
        set_bond(1, Balance::MAX - 1);
        assert_noop!(join(SUE, 1, 0, 4), Error::<Test>::BondTooSmall);
    });
}

#[test]
fn a_bond_that_falls_too_low_costs_the_seat() {
    two_servers().execute_with(|| {
        assert_ok!(join(SAM, 0, 0, 4));
        set_bond(0, 10 * MIN_BOND);
        set_bond(0, MIN_BOND);
        assert!(Subnets::is_active(1));
        set_bond(0, MIN_BOND - 1);
        Subnets::do_try_state().unwrap();
        assert!(!Subnets::is_active(1));
        assert!(events().contains(&Event::NodeLeft {
            node: 0,
            subnet: 1,
            span: Span { start: 0, end: 4 },
            reason: LeaveReason::BondTooSmall,
        }));
        // A bond of a node without a seat, or of none at all, changes nothing.
        let before = events().len();
        set_bond(1, 0);
        set_bond(77, 0);
        assert_eq!(events().len(), before);
        set_bond(0, MIN_BOND);
        assert_ok!(join(SAM, 0, 0, 4));
    });
}

#[test]
fn prices_change_for_those_with_a_seat() {
    two_servers().execute_with(|| {
        let price = |who, price| run(who, Call::update_price { node: 0, price });
        assert_noop!(price(SAM, 7), Error::<Test>::NotSeated);
        assert_noop!(run(SAM, Call::leave { node: 0 }), Error::<Test>::NotSeated);
        assert_ok!(join(SAM, 0, 0, 4));
        assert_noop!(price(SUE, 7), Error::<Test>::NotOperator);
        assert_noop!(
            run(SUE, Call::leave { node: 0 }),
            Error::<Test>::NotOperator
        );
        assert_ok!(price(12, Balance::MAX));
        assert_eq!(
            last_event(),
            Event::PriceChanged {
                node: 0,
                price: Balance::MAX
            }
        );
        assert_eq!(Subnets::seat(0).unwrap().1.price, Balance::MAX);
        assert!(Subnets::is_active(1));
        assert_ok!(run(12, Call::leave { node: 0 }));
    });
}

#[test]
fn a_node_is_removed_only_when_nothing_hangs_on_it() {
    two_servers().execute_with(|| {
        let remove = |who| run(who, Call::remove_node { node: 0 });
        assert_ok!(join(SAM, 0, 0, 4));
        assert_noop!(remove(12), Error::<Test>::NotOwner);
        assert_noop!(remove(SAM), Error::<Test>::NodeSeated);
        assert_ok!(run(SAM, Call::leave { node: 0 }));
        assert_noop!(remove(SAM), Error::<Test>::NodeBonded);
        set_bond(0, 0);
        Needed::set(vec![0]);
        assert_noop!(remove(SAM), Error::<Test>::NodeHasObligations);
        Needed::set(vec![]);
        assert_ok!(remove(SAM));
        assert_eq!(
            last_event(),
            Event::NodeRemoved {
                node: 0,
                subnet: 1,
                deposit: NODE
            }
        );
        assert_eq!(Balances::balance(&SAM), RICH);
        assert_noop!(remove(SAM), Error::<Test>::NoSuchNode);
        // Its keys are free for another node.
        assert_ok!(register_node(SAM, 1, 12));
    });
}

#[test]
fn keys_are_swapped_without_moving_the_node() {
    two_servers().execute_with(|| {
        assert_ok!(join(SAM, 0, 0, 4));
        let hotkey = |who, hotkey| run(who, Call::set_hotkey { node: 0, hotkey });
        assert_noop!(hotkey(12, 14), Error::<Test>::NotOwner);
        assert_noop!(hotkey(SAM, 13), Error::<Test>::HotkeyInUse);
        assert_noop!(hotkey(SAM, 12), Error::<Test>::HotkeyInUse);
        assert_ok!(hotkey(SAM, 14));
        assert_eq!(
            last_event(),
            Event::HotkeyChanged {
                node: 0,
                old: 12,
                new: 14
            }
        );
        assert_eq!(
            (Subnets::by_hotkey(&12), Subnets::by_hotkey(&14)),
            (None, Some(0))
        );

        let peer_id = |who, peer_id| run(who, Call::set_peer_id { node: 0, peer_id });
        assert_noop!(peer_id(12, peer(50)), Error::<Test>::NotOperator);
        assert_noop!(peer_id(14, peer(13)), Error::<Test>::PeerIdInUse);
        assert_noop!(peer_id(14, PeerId::default()), Error::<Test>::BadPeerId);
        assert_ok!(peer_id(14, peer(50)));
        assert_eq!(
            last_event(),
            Event::PeerIdChanged {
                node: 0,
                peer_id: peer(50)
            }
        );
        assert!(NodeOfPeer::<Test>::get(peer(12)).is_none());

        assert!(Subnets::is_active(1));
        assert_eq!(Subnets::node_info_of_hotkey(&14), Subnets::node_info(0));
        assert_eq!(Subnets::node_info(0).unwrap().seat.unwrap().price, 3);
    });
}

#[test]
fn who_signed_before_is_remembered_for_as_long_as_that_matters() {
    two_servers().execute_with(|| {
        let hotkey = |hotkey| run(SAM, Call::set_hotkey { node: 0, hotkey });
        let signed = |key: u64, since| Subnets::has_signed_for(0, &key, since);
        assert!(signed(12, 1) && signed(12, 99) && !signed(14, 1));
        System::set_block_number(5);
        assert_ok!(hotkey(14));
        assert!(signed(14, 1) && signed(14, 99));
        assert!(signed(12, 5) && !signed(12, 6), "until it was let go");
        assert!(!Subnets::has_signed_for(1, &12, 1), "for no other node");

        System::set_block_number(7);
        assert_ok!(hotkey(15));
        assert_ok!(hotkey(16));
        assert_noop!(hotkey(17), Error::<Test>::TooManyHotkeys);
        System::set_block_number(5 + RETENTION);
        assert_noop!(hotkey(17), Error::<Test>::TooManyHotkeys);
        System::set_block_number(6 + RETENTION);
        assert_ok!(hotkey(17));
        let former: Vec<_> = FormerHotkeys::<Test>::get(0).into_inner();
        assert_eq!(former, [(14, 7), (15, 7), (16, 6 + RETENTION)]);

        // A key that comes back signs like any other.
        System::set_block_number(8 + RETENTION);
        assert_ok!(hotkey(14));
        assert!(signed(14, 99));

        // Nothing is remembered of a node that is gone.
        set_bond(0, 0);
        assert_ok!(run(SAM, Call::remove_node { node: 0 }));
        assert!(!signed(14, 1) && !signed(16, 1));
        assert_eq!(FormerHotkeys::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_node_changes_hands_with_its_deposit() {
    two_servers().execute_with(|| {
        let give = |who, node, coldkey| run(who, Call::set_coldkey { node, coldkey });
        assert_noop!(give(12, 0, SUE), Error::<Test>::NotOwner);
        assert_noop!(give(SAM, 0, SAM), Error::<Test>::SameColdkey);
        // An account that does not exist can hold nothing.
        assert_noop!(give(SAM, 0, PAUL), TokenError::CannotCreateHold);
        Pinned::set(vec![0]);
        assert_noop!(give(SAM, 0, SUE), DispatchError::Other("pinned"));
        Pinned::set(vec![]);
        assert_ok!(give(SAM, 0, SUE));
        assert_eq!(
            last_event(),
            Event::ColdkeyChanged {
                node: 0,
                old: SAM,
                new: SUE
            }
        );
        assert_eq!(held(SAM, HoldReason::Node), 0);
        assert_eq!(held(SUE, HoldReason::Node), 2 * NODE);
        assert_eq!(Balances::total_balance(&SAM), RICH - NODE);
        set_bond(0, 0);
        assert_noop!(
            run(SAM, Call::remove_node { node: 0 }),
            Error::<Test>::NotOwner
        );
        assert_ok!(run(SUE, Call::remove_node { node: 0 }));

        // A root node goes only to who has none.
        assert_ok!(register_node(SAM, ROOT_SUBNET, 20));
        assert_ok!(register_node(SUE, ROOT_SUBNET, 21));
        assert_noop!(give(SAM, 2, SUE), Error::<Test>::ColdkeyHasRootNode);
        assert_ok!(give(SAM, 2, CAROL));
        assert_eq!(Subnets::root_node_of(&CAROL), Some(2));
        assert_eq!(Subnets::root_node_of(&SAM), None);
    });
}

#[test]
fn an_unsigned_call_is_refused() {
    new_test_ext().execute_with(|| {
        assert_noop!(
            Subnets::register_subnet(RuntimeOrigin::none(), Box::new(manifest())),
            DispatchError::BadOrigin
        );
        assert_noop!(
            Subnets::remove_node(RuntimeOrigin::root(), 0),
            DispatchError::BadOrigin
        );
    });
}

#[test]
fn clients_page_through_the_subnets() {
    two_servers().execute_with(|| {
        assert_ok!(register(CAROL, manifest()));
        assert_ok!(register(CAROL, manifest()));
        assert_ok!(run(CAROL, Call::dissolve_subnet { subnet: 2 }));
        let ids = |from, limit| -> Vec<_> {
            Subnets::subnet_infos(from, limit)
                .into_iter()
                .map(|info| info.id)
                .collect()
        };
        assert_eq!(ids(0, 100), [1, 3]);
        assert_eq!(ids(2, u32::MAX), [3]);
        assert_eq!(ids(0, 1), [1]);
        assert!(ids(4, 100).is_empty() && ids(0, 0).is_empty());

        let roster = Subnets::roster_info(1);
        assert_eq!(
            roster.iter().map(|node| node.id).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(
            (roster[0].self_bond, roster[0].seat.clone()),
            (MIN_BOND, None)
        );
        assert_eq!(Subnets::node_info(9), None);
        assert_eq!(Subnets::node_info_of_hotkey(&99), None);
    });
}

#[test]
fn peer_ids_are_told_by_their_shape() {
    let identity = |len: usize| [vec![0x00, len as u8], vec![7; len]].concat();
    assert!(is_peer_id(&identity(1)));
    assert!(is_peer_id(&identity(36)));
    assert!(is_peer_id(&identity(42)));
    assert!(is_peer_id(&[vec![0x12, 0x20], vec![7; 32]].concat()));
    let bad: &[Vec<u8>] = &[
        vec![],
        vec![0x00],
        identity(0),
        identity(43),
        [identity(36), vec![1]].concat(),
        identity(36)[..37].to_vec(),
        vec![0x12, 0x20],
        [vec![0x12, 0x20], vec![7; 31]].concat(),
        [vec![0x12, 0x20], vec![7; 33]].concat(),
        [vec![0x12, 0x1f], vec![7; 31]].concat(),
        b"12D3KooW".to_vec(),
    ];
    for bytes in bad {
        assert!(!is_peer_id(bytes), "{bytes:?}");
    }
}

#[test]
fn coverage_counts_and_never_wraps() {
    let mut coverage = Coverage::bare(3);
    assert!(!coverage.is_complete());
    coverage.add(Span { start: 0, end: 3 });
    assert!(coverage.is_complete());
    coverage.add(Span { start: 1, end: 2 });
    coverage.remove(Span { start: 0, end: 2 });
    assert_eq!(coverage.counts(), [0, 1, 1]);
    coverage.remove(Span { start: 0, end: 1 });
    assert_eq!(coverage.counts(), [0, 1, 1]);
    // A span that is not of this model touches nothing.
    coverage.add(Span { start: 2, end: 9 });
    assert_eq!(coverage.counts(), [0, 1, 1]);
    assert_eq!(Coverage::bare(u16::MAX).counts().len(), 256);
}
