//! Servers that fail on the way: the answer must not show it, and nobody is paid twice.

use super::{
    swarm::Fault,
    toy::{greedy, Numerics, VOCAB},
    world::{prompt, span, WorldBuilder, THIRDS},
};
use crate::{
    error::{Broken, ClientError, ServerError},
    generate::Generation,
};
use proptest::prelude::*;
use quipu_primitives::{Kernel, NodeId, RECEIPT_POSITIONS};
use quipu_protocol::RefusalCode;

const TOKENS: u32 = 45;
const PROMPT: u32 = 75;
const POSITIONS: u32 = PROMPT + TOKENS - 1;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// What an undisturbed run of tolerant servers on one machine gives.
fn undisturbed(kernel: Kernel, prompt: &[u32]) -> Vec<u32> {
    let world = THIRDS
        .iter()
        .fold(WorldBuilder::new(kernel), |builder, third| {
            builder.server(*third, None)
        })
        .build();
    runtime()
        .block_on(world.generate(prompt, TOKENS))
        .unwrap()
        .tokens
}

/// A run with `fault` at the primary of the `third`-th third and a stand-by for each.
fn disturbed(
    kernel: Kernel,
    prompt: &[u32],
    third: usize,
    fault: Fault,
) -> (Generation, Vec<(NodeId, u32)>) {
    let world = WorldBuilder::new(kernel).doubled(third, fault).build();
    let generation = runtime().block_on(world.generate(prompt, TOKENS)).unwrap();
    (generation, world.paid())
}

/// Who was paid, if the primary of `third` failed after receipts for `receipted` positions.
fn replaced(third: usize, receipted: u32) -> Vec<(NodeId, u32)> {
    let primary = third as NodeId + 1;
    let mut paid: Vec<(NodeId, u32)> = (1..=3)
        .map(|node| {
            (
                node,
                if node == primary {
                    receipted
                } else {
                    POSITIONS
                },
            )
        })
        .filter(|(_, positions)| *positions > 0)
        .collect();
    paid.push((primary + 3, POSITIONS));
    paid
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever dies, whenever, whatever the numerics: the same tokens as without it.
    #[test]
    fn a_death_does_not_show(
        seed in 0u32..1000,
        third in 0usize..3,
        at in 0..POSITIONS,
        after: bool,
        exact: bool,
    ) {
        let kernel = if exact { Kernel::ReproducibleV1 } else { Kernel::FlexF32 };
        let prompt = prompt(seed, PROMPT);
        let fault = if after { Fault::DieAfter(at) } else { Fault::Die(at) };
        let (generation, paid) = disturbed(kernel, &prompt, third, fault);
        let expected = match exact {
            true => greedy(&prompt, TOKENS as usize),
            false => undisturbed(kernel, &prompt),
        };
        prop_assert_eq!(&generation.tokens, &expected);
        if after && at == POSITIONS - 1 {
            // It answered everything, and was missed at the end only.
            prop_assert!(generation.failovers.is_empty());
        } else {
            prop_assert_eq!(generation.failovers.len(), 1);
            let failover = &generation.failovers[0];
            prop_assert_eq!(failover.failed, third as NodeId + 1);
            prop_assert_eq!(&failover.replaced_by, &vec![third as NodeId + 4]);
            let of_dead = paid.iter().find(|(node, _)| *node == failover.failed);
            let receipted = of_dead.map_or(0, |(_, positions)| *positions);
            prop_assert!(receipted % RECEIPT_POSITIONS == 0 && receipted <= failover.position);
            prop_assert_eq!(paid, replaced(third, receipted));
        }
    }

    /// A stream that breaks is opened again at the same server; a server that restarts replays.
    #[test]
    fn a_break_does_not_show(
        seed in 0u32..1000,
        third in 0usize..3,
        at in 0..POSITIONS,
        kind in 0..5,
        exact: bool,
    ) {
        let kernel = if exact { Kernel::ReproducibleV1 } else { Kernel::FlexF32 };
        let prompt = prompt(seed, PROMPT);
        let fault = [
            Fault::Break(at),
            Fault::BreakApplied(at),
            Fault::BreakBeforeReceipts(at),
            Fault::Restart(at),
            Fault::Amnesia(at),
        ][kind];
        let world = THIRDS
            .iter()
            .enumerate()
            .fold(WorldBuilder::new(kernel), |builder, (place, span)| {
                builder.server(*span, (place == third).then_some(fault))
            })
            .build();
        let generation = runtime().block_on(world.generate(&prompt, TOKENS)).unwrap();
        let expected = match exact {
            true => greedy(&prompt, TOKENS as usize),
            false => undisturbed(kernel, &prompt),
        };
        prop_assert_eq!(&generation.tokens, &expected);
        prop_assert_eq!(world.paid(), (1..=3).map(|node| (node, POSITIONS)).collect::<Vec<_>>());
        let replays = usize::from(kind >= 3);
        prop_assert_eq!(generation.failovers.len(), replays);
        for failover in &generation.failovers {
            prop_assert_eq!(&failover.replaced_by, &vec![failover.failed]);
        }
    }
}

#[test]
fn liars_are_caught_and_replaced() {
    let prompt = prompt(3, PROMPT);
    for third in 0..3 {
        for (fault, receipted) in [
            (Fault::LieOutput(70), 64),
            (Fault::LieReceipt(70), 64),
            (Fault::LieReceipt(20), 0),
            (Fault::ForgeKey, 0),
            (Fault::NotFinite(90), 64),
            (Fault::NotFinite(100), 96),
        ] {
            let (generation, paid) = disturbed(Kernel::ReproducibleV1, &prompt, third, fault);
            assert_eq!(generation.failovers.len(), 1, "{fault:?}");
            assert_eq!(
                paid,
                replaced(third, receipted),
                "{fault:?} in third {third}"
            );
            // A lie is caught with its receipt: until then the client could only believe it.
            if !matches!(fault, Fault::LieOutput(_)) {
                assert_eq!(
                    generation.tokens,
                    greedy(&prompt, TOKENS as usize),
                    "{fault:?}"
                );
            }
        }
    }
}

#[test]
fn a_liar_is_not_asked_again() {
    let world = WorldBuilder::exact().doubled(1, Fault::ForgeKey).build();
    let runtime = runtime();
    let ask = || runtime.block_on(world.generate(&prompt(1, 40), 5)).unwrap();
    assert_eq!(ask().failovers.len(), 1);
    let again = ask();
    assert!(again.failovers.is_empty());
    assert_eq!(
        again.paid.iter().map(|paid| paid.node).collect::<Vec<_>>(),
        [1, 3, 5]
    );
}

#[test]
fn a_busy_server_leads_to_the_next() {
    for third in 0..3 {
        let (generation, paid) = disturbed(
            Kernel::ReproducibleV1,
            &prompt(4, PROMPT),
            third,
            Fault::Busy,
        );
        assert_eq!(
            generation.tokens,
            greedy(&prompt(4, PROMPT), TOKENS as usize)
        );
        assert_eq!(paid, replaced(third, 0));
        assert!(generation.failovers[0].cause.contains("Busy"));
    }
}

#[test]
fn when_everybody_is_busy_nothing_is_paid() {
    let world = WorldBuilder::exact()
        .server(span(0, 6), Some(Fault::Busy))
        .server(span(0, 6), Some(Fault::Busy))
        .build();
    let error = runtime()
        .block_on(world.generate(&prompt(4, 10), 5))
        .unwrap_err();
    let ClientError::Interrupted {
        reason: Broken::NoServerLeft { failures, .. },
        partial,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|(_, error)| matches!(
        error,
        ServerError::Refused(refusal) if refusal.code == RefusalCode::Busy
    )));
    assert!(partial.tokens.is_empty() && partial.settlement.is_some());
    assert_eq!(world.paid(), []);
}

#[test]
fn a_server_that_hangs_is_left_after_the_timeout() {
    let world = WorldBuilder::exact().doubled(1, Fault::Hang(90)).build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let generation = runtime
        .block_on(world.generate(&prompt(5, PROMPT), TOKENS))
        .unwrap();
    assert_eq!(
        generation.tokens,
        greedy(&prompt(5, PROMPT), TOKENS as usize)
    );
    assert_eq!(world.paid(), replaced(1, 64));
    assert!(generation.failovers[0].stall >= world.client.options.step_timeout);
}

#[test]
fn other_cuts_take_the_place_of_a_run_of_spans() {
    // No server alone can replace 2:4; 0:3 and 3:4 can replace 0:2 and 2:4.
    for at in [0, 40, 80, 100] {
        let world = WorldBuilder::exact()
            .server(THIRDS[0], None)
            .server(THIRDS[1], Some(Fault::Die(at)))
            .server(THIRDS[2], None)
            .server(span(0, 3), None)
            .server(span(3, 4), None)
            .build();
        let generation = runtime()
            .block_on(world.generate(&prompt(6, PROMPT), TOKENS))
            .unwrap();
        assert_eq!(
            generation.tokens,
            greedy(&prompt(6, PROMPT), TOKENS as usize),
            "at {at}"
        );
        assert_eq!(generation.failovers[0].replaced_by, [4, 5]);
        let paid = world.paid();
        assert!(
            paid.ends_with(&[(3, POSITIONS), (4, POSITIONS), (5, POSITIONS)]),
            "{paid:?}"
        );
    }
}

#[test]
fn stand_bys_that_die_in_the_replay_are_replaced_too() {
    let mut builder = WorldBuilder::exact().doubled(1, Fault::Die(100));
    builder.options.standbys = 3;
    let world = builder
        .server(THIRDS[1], Some(Fault::Die(50)))
        .server(THIRDS[1], None)
        .server(THIRDS[0], None)
        .build();
    // Server 5 stands by first; let it die in its replay.
    let generation = runtime()
        .block_on(world.generate(&prompt(7, PROMPT), TOKENS))
        .unwrap();
    assert_eq!(
        generation.tokens,
        greedy(&prompt(7, PROMPT), TOKENS as usize)
    );

    let mut builder = WorldBuilder::exact();
    builder.options.standbys = 2;
    let world = builder
        .server(span(0, 6), Some(Fault::Die(100)))
        .server(span(0, 6), Some(Fault::Die(70)))
        .server(span(0, 6), None)
        .build();
    let generation = runtime()
        .block_on(world.generate(&prompt(7, PROMPT), TOKENS))
        .unwrap();
    assert_eq!(
        generation.tokens,
        greedy(&prompt(7, PROMPT), TOKENS as usize)
    );
    assert_eq!(generation.failovers.len(), 1);
    assert_eq!(generation.failovers[0].replaced_by, [3]);
    assert_eq!(world.paid(), [(1, 96), (3, POSITIONS)]);
}

#[test]
fn several_servers_may_fail_one_after_the_other() {
    let mut builder = WorldBuilder::exact();
    for (third, at) in THIRDS.iter().zip([60, 90, 110]) {
        builder = builder.server(*third, Some(Fault::Die(at)));
    }
    let world = THIRDS
        .iter()
        .fold(builder, |builder, third| builder.server(*third, None))
        .build();
    let generation = runtime()
        .block_on(world.generate(&prompt(8, PROMPT), TOKENS))
        .unwrap();
    assert_eq!(
        generation.tokens,
        greedy(&prompt(8, PROMPT), TOKENS as usize)
    );
    let failed: Vec<NodeId> = generation
        .failovers
        .iter()
        .map(|each| each.failed)
        .collect();
    assert_eq!(failed, [1, 2, 3]);
    let paid = world.paid();
    assert_eq!(
        paid[paid.len() - 3..],
        [(4, POSITIONS), (5, POSITIONS), (6, POSITIONS)]
    );
}

#[test]
fn an_exact_stand_by_that_computes_something_else_is_a_liar() {
    let world = WorldBuilder::exact()
        .server(THIRDS[0], Some(Fault::Die(100)))
        .server(THIRDS[1], None)
        .server(THIRDS[2], None)
        .server(THIRDS[0], Some(Fault::Miscompute(0)))
        .build();
    let error = runtime()
        .block_on(world.generate(&prompt(9, PROMPT), TOKENS))
        .unwrap_err();
    let ClientError::Interrupted {
        reason: Broken::NoServerLeft { failures, .. },
        partial,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        failures[1],
        (
            4,
            ServerError::Differs {
                position: 0,
                exact: true
            }
        )
    );
    let all = greedy(&prompt(9, PROMPT), TOKENS as usize);
    assert_eq!(partial.tokens, all[..partial.tokens.len()]);
    assert!(partial.tokens.len() > 20);
}

#[test]
fn unlike_machines_replace_each_other_only_behind_the_last_block() {
    let machine = |machine| Numerics::Tolerant { machine };
    for third in 0..3 {
        let mut builder = WorldBuilder::new(Kernel::FlexF32);
        for (place, span) in THIRDS.iter().enumerate() {
            let fault = (place == third).then_some(Fault::Die(100));
            builder = builder.server_with(*span, machine(1), fault);
        }
        let world = builder.server_with(THIRDS[third], machine(2), None).build();
        let result = runtime().block_on(world.generate(&prompt(10, PROMPT), TOKENS));
        match (third, result) {
            (2, Ok(generation)) => {
                assert_eq!(generation.failovers[0].replaced_by, [4]);
                assert!(generation.tokens.iter().all(|token| *token < VOCAB));
            }
            (0 | 1, Err(ClientError::Interrupted { reason, .. })) => {
                let Broken::NoServerLeft { failures, .. } = reason else {
                    panic!("{reason}")
                };
                assert!(matches!(
                    failures[1].1,
                    ServerError::Differs { exact: false, .. }
                ));
            }
            (_, other) => panic!("third {third}: {other:?}"),
        }
    }
}
