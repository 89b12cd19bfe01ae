//! What the feature `try-runtime` adds: every pallet's checks of its state, around blocks and upgrades.

use super::{driver::Driver, *};
use crate::{Block, Runtime, Session};
use frame_try_runtime::{
    runtime_decl_for_try_runtime::TryRuntime, TryStateSelect, UpgradeCheckSelect,
};

#[test]
fn blocks_of_every_preset_pass_the_checks_of_the_state() {
    for preset in genesis::PRESETS {
        // The first block of each of the first sessions: slots may stay empty.
        let slots = chain(preset).execute_with(|| crate::Clock::schedule().epoch_slots);
        let blocks: Vec<Block> = chain(preset).execute_with(|| {
            let mut driver = Driver::new();
            (0..=3)
                .map(|session| driver.block(session * slots, vec![]).0)
                .collect()
        });
        chain(preset).execute_with(|| {
            for block in blocks {
                let checks = TryStateSelect::All;
                <Runtime as TryRuntime<Block>>::execute_block(block.into(), true, true, checks);
            }
            assert!(Session::current_index() >= 3, "{preset}");
        });
    }
}

#[test]
fn an_upgrade_to_this_runtime_passes_its_checks() {
    for preset in genesis::PRESETS {
        chain(preset).execute_with(|| {
            Driver::new().block(0, vec![]);
            let (weight, most) =
                <Runtime as TryRuntime<Block>>::on_runtime_upgrade(UpgradeCheckSelect::All);
            assert!(weight.all_lt(most), "{preset}: {weight:?}");
        });
    }
}

#[test]
#[should_panic(expected = "a failed check must stop the dry run")]
fn a_state_that_breaks_an_invariant_stops_the_dry_run() {
    chain(genesis::LOCAL).execute_with(|| {
        Driver::new().block(0, vec![]);
        // The nodes of the genesis have ids that were never given out, then.
        quipu_pallet_subnets::NextNodeId::<Runtime>::kill();
        <Runtime as TryRuntime<Block>>::on_runtime_upgrade(UpgradeCheckSelect::All);
    });
}
