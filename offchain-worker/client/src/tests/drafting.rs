//! Guesses at how the answer goes on: whatever is guessed, and whoever fails meanwhile, nothing but
//! the number of steps shows it.

use super::{
    chain::SUBNET,
    failover::cases,
    swarm::Fault,
    toy::{greedy, VOCAB},
    world::{prompt, sampling, span, World, WorldBuilder, STEP, THIRDS},
};
use crate::{
    draft::{Drafted, Drafter},
    ends::Prompt,
    generate::{Event, Finish, Generation, Request},
    options::SamplingOptions,
};
use proptest::prelude::*;
use quipu_primitives::{Kernel, NodeId, Span, RECEIPT_POSITIONS};
use quipu_protocol::limits::MAX_DRAFTED;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const PROMPT: u32 = 50;
const TOKENS: u32 = 90;
const POSITIONS: u32 = PROMPT + TOKENS - 1;

/// Knows the answer, and says it with mistakes.
struct Oracle {
    answer: Vec<u32>,
    seed: u64,
}

impl Drafter for Oracle {
    fn draft(&self, tokens: &[u32], most: usize) -> Vec<u32> {
        let at = tokens.len() - PROMPT as usize;
        let mut noise = self.seed ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = |sides: usize| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 33) as usize % sides
        };
        // More than is asked for now and then, and tokens that do not exist.
        let count = dice(most + 3);
        let right = dice(count + 4);
        let truth = self.answer[at..]
            .iter()
            .copied()
            .chain(std::iter::repeat(3));
        let wrong = |token: u32| match token % 5 {
            0 => u32::MAX,
            _ => (token + 1) % VOCAB,
        };
        (0..count)
            .zip(truth)
            .map(|(place, token)| if place < right { token } else { wrong(token) })
            .collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn options(seed: u32, greedy: bool) -> SamplingOptions {
    SamplingOptions {
        temperature: if greedy { 0.0 } else { 0.9 },
        seed: Some(seed.into()),
        ..sampling(TOKENS)
    }
}

fn ask(world: &World, prompt: &[u32], options: SamplingOptions) -> Generation {
    let request = Request::new(SUBNET, Prompt::Tokens(prompt.to_vec()), options);
    runtime().block_on(world.ask(request)).unwrap()
}

fn servers(cut: &[Span], at: usize, fault: Option<Fault>) -> WorldBuilder {
    let builder = WorldBuilder::exact();
    cut.iter()
        .enumerate()
        .fold(builder, |builder, (place, span)| {
            builder.server(*span, fault.filter(|_| place == at % cut.len()))
        })
}

fn drafting(mut builder: WorldBuilder, most: u32, answer: &[u32], seed: u64) -> World {
    builder.options.draft = most;
    let mut world = builder.build();
    let oracle = Oracle {
        answer: answer.to_vec(),
        seed,
    };
    world.client = world.client.with_drafter(Arc::new(oracle));
    world
}

fn plain(builder: WorldBuilder) -> World {
    builder.build()
}

fn any_cut() -> impl Strategy<Value = Vec<Span>> {
    prop_oneof![
        Just(vec![span(0, 6)]),
        Just(THIRDS.to_vec()),
        Just(vec![span(0, 1), span(1, 5), span(5, 6)]),
        Just((0..6).map(|block| span(block, block + 1)).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), failure_persistence: None, ..Default::default() })]

    /// Tokens, text, receipts and pay are those of a run that guesses nothing.
    #[test]
    fn guesses_do_not_show(
        seed in 0u32..1000,
        oracle: u64,
        most in 0..=MAX_DRAFTED + 2,
        cut in any_cut(),
        greedy: bool,
    ) {
        let (prompt, options) = (prompt(seed, PROMPT), options(seed, greedy));
        let plain = ask(&plain(servers(&cut, 0, None)), &prompt, options);
        let world = drafting(servers(&cut, 0, None), most, &plain.tokens, oracle);
        let drafting = ask(&world, &prompt, options);
        prop_assert_eq!((&drafting.tokens, &drafting.text), (&plain.tokens, &plain.text));
        prop_assert_eq!(drafting.receipt_root, plain.receipt_root);
        prop_assert_eq!(&drafting.paid, &plain.paid);
        prop_assert!(drafting.failovers.is_empty());
        prop_assert_eq!(plain.drafted, Drafted::default());
        let Drafted { rounds, drafted, accepted } = drafting.drafted;
        prop_assert!(rounds <= drafted && drafted <= rounds * most.min(MAX_DRAFTED));
        prop_assert_eq!(accepted > 0, most > 0);
    }

    /// Streams that break, and servers that come back without the cache, change nothing of it.
    #[test]
    fn a_break_while_guessing_does_not_show(
        seed in 0u32..1000,
        oracle: u64,
        most in 1..=MAX_DRAFTED,
        cut in any_cut(),
        greedy: bool,
        at in 0..POSITIONS,
        place in 0usize..6,
        kind in 0usize..5,
    ) {
        let fault = [
            Fault::Break(at),
            Fault::BreakApplied(at),
            Fault::BreakBeforeReceipts(at),
            Fault::Restart(at),
            Fault::Amnesia(at),
        ][kind];
        let (prompt, options) = (prompt(seed, PROMPT), options(seed, greedy));
        let plain = ask(&plain(servers(&cut, 0, None)), &prompt, options);
        let builder = servers(&cut, place, Some(fault));
        let world = drafting(builder, most, &plain.tokens, oracle);
        let drafting = ask(&world, &prompt, options);
        prop_assert_eq!((&drafting.tokens, &drafting.text), (&plain.tokens, &plain.text));
        prop_assert_eq!(&drafting.paid, &plain.paid);
        prop_assert_eq!(drafting.receipt_root, plain.receipt_root);
        prop_assert_eq!(drafting.failovers.len(), usize::from(kind >= 3 && at >= STEP));
    }

    /// A server that dies with guesses in its cache is replaced as any other.
    #[test]
    fn a_death_while_guessing_does_not_show(
        seed in 0u32..1000,
        oracle: u64,
        most in 1..=MAX_DRAFTED,
        greedy: bool,
        at in 0..POSITIONS,
        third in 0usize..3,
        after: bool,
    ) {
        let fault = if after { Fault::DieAfter(at) } else { Fault::Die(at) };
        let (prompt, options) = (prompt(seed, PROMPT), options(seed, greedy));
        let plain = ask(&plain(servers(&THIRDS, 0, None)), &prompt, options);
        let builder = WorldBuilder::exact().doubled(third, fault);
        let world = drafting(builder, most, &plain.tokens, oracle);
        let drafting = ask(&world, &prompt, options);
        prop_assert_eq!((&drafting.tokens, &drafting.text), (&plain.tokens, &plain.text));
        let (dead, next) = (third as NodeId + 1, third as NodeId + 4);
        let positions = |node| {
            let paid = drafting.paid.iter().find(|paid| paid.node == node);
            paid.map_or(0, |paid| paid.positions)
        };
        for node in (1..=3).filter(|node| *node != dead) {
            prop_assert_eq!(positions(node), POSITIONS);
        }
        match &drafting.failovers[..] {
            // It died at the very end: nobody had to go on.
            [] => prop_assert!(after && at >= POSITIONS - 1 - MAX_DRAFTED),
            [failover] => {
                prop_assert_eq!((failover.failed, &failover.replaced_by), (dead, &vec![next]));
                prop_assert_eq!(positions(next), POSITIONS);
                prop_assert!(positions(dead) <= failover.position);
            }
            more => prop_assert!(false, "{more:?}"),
        }
        prop_assert!(positions(dead) % RECEIPT_POSITIONS == 0);
    }
}

#[test]
fn an_answer_may_end_within_what_was_guessed() {
    let prompt = prompt(3, PROMPT);
    let free = greedy(&prompt, TOKENS as usize);
    for end in [1, 7, 12, 30] {
        let stop = free[end];
        let ends = || {
            let mut builder = servers(&THIRDS, 0, None);
            builder.ends.end = Some(stop);
            builder
        };
        let plain = ask(&plain(ends()), &prompt, options(3, true));
        assert_eq!(plain.finish, Finish::Stop);
        for seed in 0..6 {
            let world = drafting(ends(), MAX_DRAFTED, &free, seed);
            let drafting = ask(&world, &prompt, options(3, true));
            assert_eq!(
                (&drafting.text, drafting.finish),
                (&plain.text, Finish::Stop)
            );
            assert_eq!(drafting.receipt_root, plain.receipt_root);
            assert_eq!(drafting.paid, plain.paid);
        }
    }
}

#[test]
fn a_cancelled_answer_is_paid_to_its_last_token() {
    let prompt = prompt(4, PROMPT);
    let free = greedy(&prompt, TOKENS as usize);
    let world = drafting(servers(&THIRDS, 0, None), MAX_DRAFTED, &free, 1);
    let cancel = CancellationToken::new();
    let request = Request {
        cancel: cancel.clone(),
        ..Request::new(SUBNET, Prompt::Tokens(prompt), sampling(TOKENS))
    };
    let mut tokens = 0;
    let answer = world.client.generate(request, |event| {
        if let Event::Token { .. } = event {
            tokens += 1;
            if tokens == 20 {
                cancel.cancel();
            }
        }
    });
    let generation = runtime().block_on(answer).unwrap();
    assert_eq!(generation.finish, Finish::Cancelled);
    assert_eq!(generation.tokens, free[..20]);
    assert!(generation.drafted.accepted > 0);
    let last = PROMPT + 19;
    assert_eq!(world.paid(), [(1, last), (2, last), (3, last)]);
    world.check_money();
}

#[test]
fn tolerant_profiles_are_not_asked_to_guess() {
    let mut builder = WorldBuilder::new(Kernel::FlexF32);
    builder.options.draft = MAX_DRAFTED;
    for third in THIRDS {
        builder = builder.server(third, None);
    }
    // A text that repeats itself.
    let prompt: Vec<u32> = (0..PROMPT).map(|at| at % 7).collect();
    let generation = ask(&builder.build(), &prompt, sampling(TOKENS));
    assert_eq!(generation.drafted, Drafted::default());
    assert_eq!(generation.tokens.len(), TOKENS as usize);
}
