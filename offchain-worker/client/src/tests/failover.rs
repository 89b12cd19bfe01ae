//! Servers that fail on the way: the answer must not show it, and nobody is paid twice.

use super::{
    chain::SUBNET,
    swarm::Fault,
    toy::{greedy, Numerics},
    world::{prompt, sampling, span, WorldBuilder, STEP, THIRDS},
};
use crate::{
    ends::Prompt,
    error::{Broken, ClientError, ServerError},
    generate::{Event, Generation, Request},
};
use proptest::prelude::*;
use quipu_primitives::{Kernel, NodeId, RECEIPT_POSITIONS};
use quipu_protocol::RefusalCode;

const TOKENS: u32 = 45;
/// More than the credit: the last of its steps waits for receipts.
const PROMPT: u32 = 120;
const POSITIONS: u32 = PROMPT + TOKENS - 1;

/// So many, or what the environment asks for.
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(usual)
}

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
    #![proptest_config(ProptestConfig { cases: cases(24), failure_persistence: None, ..Default::default() })]

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
        kind in 0usize..5,
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
        // Nothing is lost by a restart before the first step.
        let replays = usize::from(kind >= 3 && at >= STEP);
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
            (Fault::LieReceipt(70), 64),
            (Fault::LieReceipt(20), 0),
            (Fault::LieReceipt(130), 128),
            (Fault::ForgeKey, 0),
            (Fault::LieOutput(10), 0),
            (Fault::NotFinite(90), 64),
            (Fault::NotFinite(140), 128),
        ] {
            let (generation, paid) = disturbed(Kernel::ReproducibleV1, &prompt, third, fault);
            assert_eq!(
                generation.tokens,
                greedy(&prompt, TOKENS as usize),
                "{fault:?}"
            );
            assert_eq!(generation.failovers.len(), 1, "{fault:?}");
            assert_eq!(
                paid,
                replaced(third, receipted),
                "{fault:?} in third {third}"
            );
            assert!(generation.abandoned.is_empty());
        }
    }
}

/// A wrong output is caught with its receipt. What followed from it until then is withdrawn.
#[test]
fn what_followed_from_a_lie_is_withdrawn() {
    let prompt = prompt(3, PROMPT);
    for (third, at) in [(0, 100), (1, 125), (2, 130), (2, 150)] {
        let world = WorldBuilder::exact()
            .doubled(third, Fault::LieOutput(at))
            .build();
        let (mut streamed, mut withdrawn) = (Vec::new(), Vec::new());
        let request = Request::new(SUBNET, Prompt::Tokens(prompt.clone()), sampling(TOKENS));
        let generation = runtime()
            .block_on(world.client.generate(request, |event| match event {
                Event::Token { id, .. } => streamed.push(id),
                Event::Withdrawn { session, .. } => {
                    withdrawn.push(session);
                    streamed.clear();
                }
                _ => {}
            }))
            .unwrap();
        let expected = greedy(&prompt, TOKENS as usize);
        assert_eq!((&generation.tokens, &streamed), (&expected, &expected));
        let given_up: Vec<_> = generation.abandoned.iter().map(|one| one.session).collect();
        assert_eq!(given_up, withdrawn);
        assert_eq!(given_up.len(), 1);
        assert!(generation.abandoned[0].settlement.is_some());
        // The liar has no part in the second session, and got no more than its honest ranges.
        let liar = third as NodeId + 1;
        assert!(generation.paid.iter().all(|paid| paid.node != liar));
        let before = generation.abandoned[0]
            .paid
            .iter()
            .find(|paid| paid.node == liar);
        let honest = before.map_or(0, |paid| paid.positions);
        assert_eq!(honest, at / RECEIPT_POSITIONS * RECEIPT_POSITIONS);
        world.check_money();
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
    assert!(world.paid().is_empty());
}

#[test]
fn a_server_that_hangs_is_left_after_the_timeout() {
    let world = WorldBuilder::exact().doubled(1, Fault::Hang(140)).build();
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
    assert_eq!(world.paid(), replaced(1, 128));
    assert!(generation.failovers[0].stall >= world.client.options.step_timeout);
}

#[test]
fn other_cuts_take_the_place_of_a_run_of_spans() {
    // No server alone can replace 2:4; 0:3 and 3:4 can replace 0:2 and 2:4.
    for at in [0, 40, 100, 140] {
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
        .server(span(0, 6), Some(Fault::Die(140)))
        .server(span(0, 6), Some(Fault::Die(100)))
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
    assert_eq!(world.paid(), [(1, 128), (2, 96), (3, POSITIONS)]);
}

#[test]
fn several_servers_may_fail_one_after_the_other() {
    let mut builder = WorldBuilder::exact();
    for (third, at) in THIRDS.iter().zip([60, 110, 140]) {
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
        .server(THIRDS[0], Some(Fault::Die(140)))
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
fn unlike_machines_replace_each_other_at_once_behind_the_last_block_and_else_anew() {
    let machine = |machine| Numerics::Tolerant { machine };
    for (third, of_third) in THIRDS.into_iter().enumerate() {
        let mut builder = WorldBuilder::new(Kernel::FlexF32);
        for (place, span) in THIRDS.iter().enumerate() {
            let fault = (place == third).then_some(Fault::Die(140));
            builder = builder.server_with(*span, machine(1), fault);
        }
        let world = builder.server_with(of_third, machine(2), None).build();
        let generation = runtime()
            .block_on(world.generate(&prompt(10, PROMPT), TOKENS))
            .unwrap();
        assert_eq!(generation.tokens.len(), TOKENS as usize);
        assert!(generation
            .paid
            .iter()
            .any(|paid| (paid.node, paid.positions) == (4, POSITIONS)));
        let (failovers, abandoned) = if third == 2 { (1, 0) } else { (0, 1) };
        assert_eq!(generation.failovers.len(), failovers);
        assert_eq!(generation.abandoned.len(), abandoned);
    }
}

/// Where the failure falls between two ranges, nothing is left that the next server would have to
/// commit to with other bits.
#[test]
fn unlike_machines_replace_each_other_between_ranges() {
    let machine = |machine| Numerics::Tolerant { machine };
    let world = WorldBuilder::new(Kernel::FlexF32)
        .server_with(THIRDS[0], machine(1), Some(Fault::Die(128)))
        .server_with(THIRDS[1], machine(1), Some(Fault::Die(140)))
        .server_with(THIRDS[2], machine(1), None)
        .server_with(THIRDS[0], machine(2), None)
        .server_with(THIRDS[1], machine(1), None)
        .build();
    let generation = runtime()
        .block_on(world.generate(&prompt(10, PROMPT), TOKENS))
        .unwrap();
    assert!(generation.abandoned.is_empty());
    // The second replacement is shown receipts of two servers for one boundary.
    let by: Vec<_> = generation
        .failovers
        .iter()
        .map(|each| (each.failed, each.replaced_by[0]))
        .collect();
    assert_eq!(by, [(1, 4), (2, 5)]);
}
