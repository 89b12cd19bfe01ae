//! Caps and vouchers over whole runs.

use super::{
    failover::cases,
    swarm::Fault,
    world::{prompt, World, WorldBuilder, PRICE, THIRDS},
};
use proptest::prelude::*;
use quipu_primitives::Balance;
use quipu_worker_core::ports::Call;

fn caps(world: &World) -> Vec<Balance> {
    let state = world.chain.0.lock();
    match &state.calls[0] {
        Call::OpenSession { caps, .. } => caps.iter().map(|(_, cap)| *cap).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_server_and_stand_by_can_be_paid_for_the_whole_sequence() {
    let world = WorldBuilder::exact().doubled(0, Fault::Die(1000)).build();
    world.generate(&prompt(1, 40), 20).await.unwrap();
    assert_eq!(caps(&world), [PRICE * 2 * 59; 6]);
    let session = world.chain.only_session();
    assert_eq!(session.deposit, PRICE * 2 * 59 * 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), failure_persistence: None, ..Default::default() })]

    /// Whatever fails, the money adds up: the world checks it after each run.
    #[test]
    fn nobody_is_paid_beyond_cap_and_work(
        seed in 0u32..1000,
        length in 1u32..120,
        tokens in 1u32..40,
        faults in prop::collection::vec((0u32..150, 0usize..8), 6),
    ) {
        let mut builder = WorldBuilder::exact();
        for (place, (at, kind)) in faults.into_iter().enumerate() {
            let fault = [
                None,
                Some(Fault::Die(at)),
                Some(Fault::DieAfter(at)),
                Some(Fault::Break(at)),
                Some(Fault::Restart(at)),
                Some(Fault::LieReceipt(at)),
                Some(Fault::Busy),
                None,
            ][kind];
            builder = builder.server(THIRDS[place % 3], fault);
        }
        let world = builder.build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Some of these runs break off; the world checks the money in any case.
        let _ = runtime.block_on(world.generate(&prompt(seed, length), tokens));
        prop_assert!(world.client.unsettled().is_empty());
        for (_, positions) in world.paid() {
            prop_assert!(positions < length + tokens);
        }
    }
}
