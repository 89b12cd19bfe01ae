//! Answers without trouble on the way, and requests that can't be answered.

use super::{
    chain::SUBNET,
    swarm::Fault,
    toy::{greedy, ToyEnds, CONTEXT},
    world::{prompt, sampling, span, World, WorldBuilder, FUNDS, PRICE, THIRDS},
};
use crate::{
    ends::Prompt,
    error::{Broken, ClientError, Inactive},
    generate::{Event, Finish, Request},
    options::SamplingOptions,
};
use quipu_primitives::{
    receipt::receipt_root,
    views::{JobInfo, JobStatus, SessionStatus, SubnetStatus},
    Balance,
};
use quipu_worker_core::{
    ports::{JobError, JobRunner},
    Classified, Fault as Whose,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn thirds() -> WorldBuilder {
    THIRDS.iter().fold(WorldBuilder::exact(), |builder, third| {
        builder.server(*third, None)
    })
}

fn request(prompt: &[u32], sampling: SamplingOptions) -> Request {
    Request::new(SUBNET, Prompt::Tokens(prompt.to_vec()), sampling)
}

#[tokio::test]
async fn an_answer_is_streamed_paid_and_attested() {
    let world = thirds().build();
    let prompt = prompt(1, 150);
    let generation = world.generate(&prompt, 40).await.unwrap();
    assert_eq!(generation.tokens, greedy(&prompt, 40));
    assert_eq!(generation.finish, Finish::Length);
    assert_eq!(generation.prompt_tokens, prompt);
    assert!(generation.failovers.is_empty());

    // The last token was chosen, but never led through the servers.
    assert_eq!(world.paid(), [(1, 189), (2, 189), (3, 189)]);
    let earned: Vec<Balance> = generation.paid.iter().map(|paid| paid.earned).collect();
    assert_eq!(earned, [PRICE * 2 * 189; 3]);

    let session = world.chain.only_session();
    assert_eq!(session.status, SessionStatus::Settling);
    assert_eq!(session.id, generation.session);
    assert_eq!(session.receipt_root, Some(generation.receipt_root));
    assert_eq!(
        generation.settlement.unwrap().block,
        session.settled_at.unwrap()
    );
    assert_ne!(generation.receipt_root, receipt_root(session.id, &[]));
    assert!(world.client.unsettled().is_empty());
}

#[tokio::test]
async fn events_come_in_order() {
    let world = thirds().build();
    let mut seen = Vec::new();
    let generation = world
        .client
        .generate(request(&prompt(2, 5), sampling(3)), |event| match event {
            Event::Opened {
                prompt_tokens,
                route,
                ..
            } => {
                assert_eq!((prompt_tokens, route.len()), (5, 3));
                seen.push(None);
            }
            Event::Token { id, .. } => seen.push(Some(id)),
            Event::FailedOver(_) | Event::Withdrawn { .. } => panic!("nobody failed"),
        })
        .await
        .unwrap();
    let expected: Vec<Option<u32>> = [None]
        .into_iter()
        .chain(generation.tokens.into_iter().map(Some))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_model_may_end_the_answer() {
    let prompt = prompt(3, 20);
    let free = greedy(&prompt, 30);
    let end = free[12];
    let until = free.iter().position(|token| *token == end).unwrap();
    let mut builder = thirds();
    builder.ends = ToyEnds {
        end: Some(end),
        ..Default::default()
    };
    let generation = builder.build().generate(&prompt, 30).await.unwrap();
    assert_eq!(generation.finish, Finish::Stop);
    assert_eq!(generation.tokens, free[..=until]);
    assert!(
        !generation.text.contains(&format!("<{end}>")),
        "{}",
        generation.text
    );
}

#[tokio::test]
async fn a_seed_makes_the_text_reproducible() {
    let text = |seed| async move {
        let options = SamplingOptions {
            temperature: 1.0,
            seed,
            ..sampling(40)
        };
        let generation = thirds()
            .build()
            .ask(request(&prompt(4, 10), options))
            .await
            .unwrap();
        generation.text
    };
    let one = text(Some(1)).await;
    assert_eq!(one, text(Some(1)).await);
    assert_ne!(one, text(Some(2)).await);
    assert_ne!(text(None).await, text(None).await);
}

/// While the last server computes one step of a prompt, those before it compute the next ones.
#[tokio::test]
async fn the_steps_of_a_prompt_follow_on_each_other() {
    let world = thirds().build();
    world.generate(&prompt(2, 150), 3).await.unwrap();
    let computed = world.chain.0.lock().computed.clone();
    let when = |step| computed.iter().position(|one| *one == step).unwrap();
    assert!(when((1, 64)) < when((3, 0)), "{computed:?}");
    assert!(when((2, 64)) < when((3, 64)), "{computed:?}");
    // Nobody runs ahead of what is paid.
    assert!(when((1, 96)) > when((3, 0)), "{computed:?}");
    for node in 1..=3 {
        let of_node = computed.iter().filter(|(one, _)| *one == node);
        let positions: Vec<u32> = of_node.map(|(_, position)| *position).collect();
        assert_eq!(positions, [0, 32, 64, 96, 128, 150, 151]);
    }
}

#[tokio::test]
async fn one_server_may_hold_everything() {
    let world = WorldBuilder::exact().server(span(0, 6), None).build();
    let prompt = prompt(5, 33);
    assert_eq!(
        world.generate(&prompt, 9).await.unwrap().tokens,
        greedy(&prompt, 9)
    );
    assert_eq!(world.paid(), [(1, 41)]);
}

#[tokio::test]
async fn the_longest_sequence_fits_exactly() {
    let world = thirds().build();
    let long = prompt(6, CONTEXT - 1);
    assert_eq!(world.generate(&long, 1).await.unwrap().tokens.len(), 1);
    let error = world.generate(&long, 2).await.unwrap_err();
    let ClientError::TooLong {
        prompt,
        max_tokens,
        context,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((prompt, max_tokens, context), (CONTEXT - 1, 2, CONTEXT));
    assert_eq!(world.chain.0.lock().sessions.len(), 1);
}

/// An error, and that nothing was opened.
async fn refused(world: &World, request: Request) -> ClientError {
    let error = world.ask(request).await.unwrap_err();
    assert!(world.chain.0.lock().sessions.is_empty());
    error
}

#[tokio::test]
async fn bad_requests_are_refused_before_anything_is_opened() {
    let world = thirds().build();
    let error = refused(&world, request(&[], sampling(5))).await;
    assert!(matches!(error, ClientError::EmptyPrompt));
    assert_eq!(error.fault(), Whose::Caller);
    let error = refused(&world, request(&[1], sampling(0))).await;
    assert!(matches!(error, ClientError::Options(_)));
    let error = refused(
        &world,
        Request {
            subnet: 9,
            ..request(&[1], sampling(5))
        },
    )
    .await;
    assert!(matches!(error, ClientError::NoSubnet(9)));

    let lock = |status, coverage| {
        let subnet = &mut world.chain.0.lock().subnet;
        (subnet.status, subnet.coverage) = (status, coverage);
    };
    lock(SubnetStatus::Paused, vec![1, 0, 1, 1, 1, 1]);
    let error = refused(&world, request(&[1], sampling(5))).await;
    assert!(
        error.to_string().contains("its creator paused it"),
        "{error}"
    );
    lock(SubnetStatus::Uncovered, vec![1, 0, 0, 1, 1, 0]);
    let error = refused(&world, request(&[1], sampling(5))).await;
    assert!(
        error.to_string().contains("nobody serves blocks 1:3, 5:6"),
        "{error}"
    );
    let ClientError::Inactive { subnet, why } = error else {
        panic!("{error}")
    };
    let bare = vec![span(1, 3), span(5, 6)];
    assert_eq!((subnet, why), (SUBNET, Inactive::Uncovered(bare)));
    world.chain.0.lock().subnet.manifest.tokenizer_digest = [0; 32];
    let error = refused(&world, request(&[1], sampling(5))).await;
    assert!(matches!(
        error,
        ClientError::WrongModel {
            what: "the tokenizer",
            ..
        }
    ));
}

#[tokio::test]
async fn a_deposit_that_can_not_be_paid_is_named() {
    let mut builder = thirds();
    builder.funds = 100;
    let error = refused(&builder.build(), request(&prompt(1, 10), sampling(5))).await;
    assert!(error
        .to_string()
        .contains(" QPU and the account has 0.0000000001 QPU free"));
    let ClientError::Funds { needed, free } = error else {
        panic!("{error}")
    };
    assert_eq!((needed, free), (PRICE * 6 * 14, 100));
}

#[tokio::test]
async fn a_gap_in_the_chain_is_named() {
    let world = WorldBuilder::exact()
        .server(span(0, 2), None)
        .server(span(4, 6), None)
        .build();
    let error = refused(&world, request(&[1], sampling(5))).await;
    let ClientError::NoRoute { reason, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((reason.usable, reason.reached, reason.blocks), (2, 2, 6));
}

#[tokio::test]
async fn silent_leaving_and_dead_servers_are_not_chosen() {
    let mut builder = thirds();
    for _ in 0..3 {
        builder = builder.server(span(0, 2), None);
    }
    let World {
        chain,
        swarm,
        client,
        funds,
    } = builder.build();
    drop(client);
    let mut swarm = Arc::try_unwrap(swarm).ok().unwrap();
    swarm.silent.insert(1);
    swarm.draining.insert(4);
    let world = World {
        client: crate::Client::new(
            chain.clone(),
            Arc::new(swarm),
            Arc::new(ToyEnds::default()),
            Arc::new(super::world::consumer()),
            crate::ClientOptions {
                route_patience: Default::default(),
                ..Default::default()
            },
        ),
        swarm: Default::default(),
        chain,
        funds,
    };
    let generation = world.generate(&prompt(1, 10), 3).await.unwrap();
    assert!(generation
        .paid
        .iter()
        .all(|paid| ![1, 4].contains(&paid.node)));
}

#[tokio::test(start_paused = true)]
async fn a_server_may_hear_of_the_session_late() {
    let world = WorldBuilder::exact()
        .server(span(0, 6), Some(Fault::Late(3)))
        .build();
    let generation = world.generate(&prompt(1, 10), 3).await.unwrap();
    assert_eq!(generation.tokens, greedy(&prompt(1, 10), 3));
    assert!(generation.failovers.is_empty());
    assert_eq!(*world.swarm.servers[&1].opened.lock(), 4);
}

#[tokio::test]
async fn prices_that_rise_at_the_last_moment_cost_nothing() {
    let world = thirds().build();
    world.chain.0.lock().raise_prices = true;
    let error = world.generate(&prompt(1, 10), 3).await.unwrap_err();
    assert!(
        matches!(error, ClientError::RosterChanged(SUBNET)),
        "{error}"
    );
    assert_eq!(world.chain.only_session().status, SessionStatus::Settling);
    assert!(world.paid().is_empty());
    assert!(world.client.unsettled().is_empty());
}

#[tokio::test]
async fn an_id_that_became_anothers_session_is_left_alone() {
    // Another consumer's session, and another one of the same consumer.
    let same = thirds().build().client.signer.public();
    for other in [[0xdd; 32], same] {
        let world = thirds().build();
        world.chain.0.lock().replace_opening = Some(other);
        let error = world.generate(&prompt(1, 10), 3).await.unwrap_err();
        let id = world.chain.only_session().id;
        assert!(
            matches!(error, ClientError::Replaced(replaced) if replaced == id),
            "{error}"
        );
        assert_eq!(error.fault(), Whose::Environment);
        assert_eq!(world.chain.only_session().status, SessionStatus::Open);
        assert_eq!(world.chain.0.lock().calls.len(), 1);
        assert!(world.client.unsettled().is_empty());
        assert!(world.paid().is_empty());
        let generation = world.generate(&prompt(1, 10), 3).await.unwrap();
        assert_eq!(generation.tokens, greedy(&prompt(1, 10), 3));
    }
}

#[tokio::test]
async fn a_cancelled_answer_is_paid_and_settled() {
    let world = thirds().build();
    let cancel = CancellationToken::new();
    let mut request = request(&prompt(7, 50), sampling(100));
    request.cancel = cancel.clone();
    let mut tokens = 0;
    let generation = world
        .client
        .generate(request, |event| {
            if let Event::Token { .. } = event {
                tokens += 1;
                if tokens == 7 {
                    cancel.cancel();
                }
            }
        })
        .await
        .unwrap();
    assert_eq!(generation.finish, Finish::Cancelled);
    assert_eq!(generation.tokens, greedy(&prompt(7, 50), 7));
    assert_eq!(world.paid(), [(1, 56), (2, 56), (3, 56)]);
    world.check_money();
}

#[tokio::test]
async fn a_dropped_answer_can_be_aborted() {
    let world = thirds().build();
    let (halted, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut tokens = 0;
    let running = world
        .client
        .generate(request(&prompt(8, 70), sampling(200)), |event| {
            if let Event::Token { .. } = event {
                tokens += 1;
                if tokens == 10 {
                    halted.send(()).unwrap();
                }
            }
        });
    tokio::select! {
        _ = running => panic!("it has 200 tokens to go"),
        _ = seen.recv() => {}
    }
    let session = world.chain.only_session();
    assert_eq!(session.status, SessionStatus::Open);
    assert_eq!(world.client.unsettled(), [session.id]);
    world.client.abort(session.id).await.unwrap();
    // Whole ranges were verified and paid.
    assert_eq!(world.paid(), [(1, 64), (2, 64), (3, 64)]);
    world.check_money();
    assert!(matches!(
        world.client.abort(session.id).await,
        Err(ClientError::UnknownSession(id)) if id == session.id
    ));
}

#[tokio::test]
async fn an_answer_survives_a_settlement_that_fails() {
    let world = thirds().build();
    world.chain.0.lock().break_settlement = Some(false);
    let error = world.generate(&prompt(9, 10), 5).await.unwrap_err();
    let ClientError::Unsettled {
        session,
        generation,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(generation.tokens, greedy(&prompt(9, 10), 5));
    assert_eq!(generation.settlement, None);
    assert_eq!(world.client.unsettled(), [session]);
    world.client.abort(session).await.unwrap();
    assert_eq!(world.paid().len(), 3);
    world.check_money();
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_found() {
    let world = thirds().build();
    world.chain.0.lock().break_settlement = Some(true);
    let generation = world.generate(&prompt(9, 10), 5).await.unwrap();
    let session = world.chain.only_session();
    assert_eq!(
        generation.settlement.unwrap().block,
        session.settled_at.unwrap()
    );
    assert!(world.client.unsettled().is_empty());
}

#[tokio::test]
async fn jobs_are_answered_with_the_likeliest_tokens() {
    let world = thirds().build();
    let job = |prompt: &[u8]| JobInfo {
        id: 1,
        subnet: SUBNET,
        requester: [0; 32],
        node: 1,
        prompt: prompt.to_vec().try_into().unwrap(),
        max_tokens: 6,
        fee: FUNDS,
        deadline: 99,
        status: JobStatus::Assigned,
    };
    let answer = world.client.run(&job(b"What is a quipu?")).await.unwrap();
    let tokens: Vec<u32> = b"What is a quipu?"
        .iter()
        .map(|byte| u32::from(*byte) % super::toy::VOCAB)
        .collect();
    let text: String = greedy(&tokens, 6)
        .iter()
        .map(|token| format!("<{token}>"))
        .collect();
    assert_eq!(answer.answer, text.into_bytes());
    let session = world.chain.only_session();
    assert_eq!(
        (answer.session, Some(answer.receipt_root)),
        (session.id, session.receipt_root)
    );
    assert!(matches!(
        world.client.run(&job(b"\xff")).await,
        Err(JobError::Prompt(_))
    ));
}

#[tokio::test]
async fn without_stand_bys_a_failure_is_settled_and_told() {
    for (at, tokens) in [(0, 0), (20, 0), (80, 30)] {
        let world = THIRDS[..2]
            .iter()
            .fold(WorldBuilder::exact(), |builder, third| {
                builder.server(*third, None)
            })
            .server(THIRDS[2], Some(Fault::Die(at)))
            .build();
        let prompt = prompt(10, 51);
        let error = world.generate(&prompt, 60).await.unwrap_err();
        let ClientError::Interrupted { reason, partial } = error else {
            panic!("{error}")
        };
        let Broken::NoServerLeft { span, failures } = reason else {
            panic!("{reason}")
        };
        assert_eq!((span, failures.len(), failures[0].0), (THIRDS[2], 1, 3));
        assert_eq!(partial.tokens, greedy(&prompt, 60)[..tokens]);
        assert_eq!(partial.finish, Finish::Interrupted);
        assert!(partial.settlement.is_some());
        assert_eq!(world.chain.only_session().status, SessionStatus::Settling);
        assert!(world.client.unsettled().is_empty());
        // The two that live are paid to the last position; the dead one for its receipts.
        let paid = world.paid();
        let last = if tokens == 0 { 51 } else { 81 };
        assert_eq!(paid[..2], [(1, last), (2, last)]);
        assert_eq!(paid.get(2).copied(), (tokens > 0).then_some((3, 64)));
    }
}
