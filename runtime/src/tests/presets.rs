//! What a chain looks like right after genesis.

use super::*;
use crate::{
    clock::{self, Schedule},
    Babe, Balances, Clock, Emission, Grandpa, Runtime, Session,
};
use codec::Decode;
use frame_support::traits::Get;
use sp_genesis_builder::runtime_decl_for_genesis_builder::GenesisBuilder;
use sp_keyring::Sr25519Keyring;

const ALL: [(&str, usize, Schedule); 4] = [
    (genesis::DEVELOPMENT, 1, Schedule::PUBLIC),
    (genesis::DEVELOPMENT_FAST, 1, Schedule::FAST),
    (genesis::LOCAL, 3, Schedule::PUBLIC),
    (genesis::LOCAL_FAST, 3, Schedule::FAST),
];

#[test]
fn presets_are_offered_by_the_runtime_api() {
    let names = <Runtime as GenesisBuilder<crate::Block>>::preset_names();
    assert_eq!(names, genesis::PRESETS);
    for name in names {
        assert!(<Runtime as GenesisBuilder<crate::Block>>::get_preset(&Some(name)).is_some());
    }
    assert!(<Runtime as GenesisBuilder<crate::Block>>::get_preset(&None).is_some());
    assert!(<Runtime as GenesisBuilder<crate::Block>>::get_preset(&Some("x".into())).is_none());
}

#[test]
fn a_node_can_build_the_state_of_every_preset() {
    for (preset, ..) in ALL {
        let json = serde_json::to_vec(&config_of(preset)).expect("serialises");
        TestExternalities::default().execute_with(|| {
            <Runtime as GenesisBuilder<crate::Block>>::build_state(json).expect("builds");
            assert!(Balances::total_issuance() > 0, "{preset}");
        });
    }
}

#[test]
fn a_genesis_that_says_something_unknown_is_refused() {
    let mut json = serde_json::to_value(config_of(genesis::LOCAL)).expect("serialises");
    json["clock"]["schedule"]["slotMilis"] = 6000.into();
    let refused = TestExternalities::default().execute_with(|| {
        <Runtime as GenesisBuilder<crate::Block>>::build_state(json.to_string().into_bytes())
    });
    assert!(refused.is_err_and(|reason| reason.contains("slotMilis")));
}

#[test]
fn validators_author_and_finalise_from_the_start() {
    for (preset, validators, _) in ALL {
        chain(preset).execute_with(|| {
            assert_eq!(Session::validators().len(), validators, "{preset}");
            assert_eq!(Babe::authorities().len(), validators, "{preset}");
            assert_eq!(Grandpa::grandpa_authorities().len(), validators, "{preset}");
            assert_eq!(Babe::epoch_config(), Some(crate::BABE_GENESIS_EPOCH_CONFIG));
        });
    }
}

#[test]
fn the_preset_sets_the_clock() {
    for (preset, _, schedule) in ALL {
        chain(preset).execute_with(|| {
            assert_eq!(Clock::schedule(), schedule, "{preset}");
            assert_eq!(Babe::slot_duration(), schedule.slot_millis);
            let epoch: u64 = <Runtime as pallet_babe::Config>::EpochDuration::get();
            assert_eq!(epoch, schedule.epoch_slots);
            let period: u64 = <Runtime as pallet_timestamp::Config>::MinimumPeriod::get();
            assert_eq!(period * 2, schedule.slot_millis);
            assert_eq!(
                clock::SessionsPerEra::<Runtime>::get(),
                schedule.sessions_per_era
            );
        });
    }
}

#[test]
fn an_unset_clock_is_the_public_one() {
    TestExternalities::default().execute_with(|| {
        assert_eq!(Clock::schedule(), Schedule::PUBLIC);
        assert_eq!(Babe::slot_duration(), 6_000);
    });
}

#[test]
fn schedules_that_cannot_work_are_refused() {
    assert_eq!(Schedule::PUBLIC.check(), Ok(()));
    assert_eq!(Schedule::FAST.check(), Ok(()));
    let broken = [
        Schedule {
            slot_millis: 1_001,
            ..Schedule::FAST
        },
        Schedule {
            slot_millis: 0,
            ..Schedule::FAST
        },
        Schedule {
            epoch_slots: 0,
            ..Schedule::FAST
        },
        Schedule {
            sessions_per_era: 0,
            ..Schedule::FAST
        },
        Schedule {
            unbonding_blocks: 1,
            ..Schedule::FAST
        },
        Schedule {
            record_blocks: Schedule::FAST.job_blocks - 1,
            ..Schedule::FAST
        },
    ];
    for schedule in broken {
        assert!(schedule.check().is_err(), "{schedule:?}");
    }
}

#[test]
fn the_well_known_accounts_are_the_usual_ones() {
    chain(genesis::DEVELOPMENT).execute_with(|| {
        let alice = Sr25519Keyring::Alice.to_account_id();
        let ferdie = Sr25519Keyring::Ferdie.to_account_id();
        assert_eq!(Balances::free_balance(&ferdie), genesis::ENDOWMENT);
        let bonded = genesis::ENDOWMENT - genesis::VALIDATOR_BOND;
        assert_eq!(
            Balances::free_balance(&alice),
            bonded,
            "the bond is on hold"
        );
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), Some(alice));
        // The pot of delegations exists from the start.
        let endowed = genesis::ENDOWMENT * genesis::ENDOWED.len() as u128;
        let everything = endowed + crate::EXISTENTIAL_DEPOSIT;
        assert_eq!(Balances::total_issuance(), everything);
        assert_eq!(Emission::supply().genesis, everything);
    });
}

#[test]
fn metadata_carries_the_clock() {
    chain(genesis::LOCAL_FAST).execute_with(|| {
        let versions = Runtime::metadata_versions();
        assert!(
            versions.contains(&14) && versions.contains(&15),
            "{versions:?}"
        );
        for version in versions {
            assert!(Runtime::metadata_at_version(version).is_some(), "{version}");
        }
        let metadata = Runtime::metadata_ir();
        let babe = metadata
            .pallets
            .iter()
            .find(|pallet| pallet.name == "Babe")
            .expect("is there");
        let epoch = babe
            .constants
            .iter()
            .find(|it| it.name == "EpochDuration")
            .expect("is there");
        assert_eq!(
            u64::decode(&mut epoch.value.as_slice()),
            Ok(Schedule::FAST.epoch_slots)
        );
    });
}
