//! Which streams are opened, and where they go on.

use super::bench::*;
use crate::{keys::EphemeralKey, serve::*};
use quipu_primitives::{views::SessionStatus, DType, Span};
use quipu_protocol::{limits::MAX_REPLAYS, Open, RefusalCode, Request};

fn refused(
    change: impl Fn(&mut Open, &mut quipu_primitives::views::SessionInfo<[u8; 32]>),
) -> RefusalCode {
    let me = identity(Span { start: 10, end: 20 });
    let key = EphemeralKey::from_seed(&[4; 32]);
    let (mut open, mut session) = (signed_open(&me, &key, 0), session(&me, &key));
    let now = Now {
        block: 10,
        ..Now::default()
    };
    assert!(check(&open, Some(&session), &me, CLIENT, now).is_ok());
    change(&mut open, &mut session);
    check(&open, Some(&session), &me, CLIENT, now)
        .unwrap_err()
        .code
}

#[test]
fn an_open_is_refused_for_each_thing_that_can_be_wrong_with_it() {
    use RefusalCode::{Context, Session, Signature, Version, WrongNode};
    assert_eq!(refused(|open, _| open.version += 1), Version);
    assert_eq!(refused(|open, _| open.node = BEFORE), WrongNode);
    assert_eq!(
        refused(|open, _| open.dtype = DType::F16),
        RefusalCode::DType
    );
    assert_eq!(refused(|open, _| open.session = 8), Session);
    assert_eq!(refused(|_, session| session.subnet = 2), Session);
    assert_eq!(
        refused(|_, session| session.status = SessionStatus::Settling),
        Session
    );
    assert_eq!(refused(|_, session| session.deadline = 10), Session);
    assert_eq!(refused(|_, session| session.servers.truncate(1)), Session);
    assert_eq!(
        refused(|_, session| session.servers[1].span.end = 21),
        WrongNode
    );
    assert_eq!(refused(|open, _| open.signature[0] ^= 1), Signature);
    assert_eq!(
        refused(|_, session| session.session_key = [7; 32]),
        Signature
    );
    assert_eq!(refused(|open, _| open.max_positions = 0), Context);
    assert_eq!(refused(|open, _| open.max_positions = CONTEXT + 1), Context);
}

#[test]
fn a_stream_can_not_be_opened_with_another_peers_signature() {
    let me = identity(Span { start: 10, end: 20 });
    let key = EphemeralKey::from_seed(&[4; 32]);
    let (open, session) = (signed_open(&me, &key, 0), session(&me, &key));
    let code = |client: &[u8], session| {
        check(&open, session, &me, client, Now::default())
            .unwrap_err()
            .code
    };
    assert_eq!(code(b"thief", Some(&session)), RefusalCode::Signature);
    assert_eq!(code(CLIENT, None), RefusalCode::Session);
}

#[test]
fn a_new_stream_goes_on_where_the_old_one_broke() {
    let mut bench = Bench::first();
    bench.step(0, 40);
    assert_eq!(bench.open(0).opened_at(), 40);
    assert_eq!(bench.step(40, 41).output().header.tokens, 1);
}

#[test]
fn a_higher_epoch_begins_anew_and_a_lower_one_is_refused() {
    let mut bench = Bench::first();
    bench.step(0, 40);
    let answer = bench.open(2);
    assert!(answer.released);
    assert_eq!(answer.opened_at(), 0);
    assert_eq!(bench.open(1).refusal(), RefusalCode::Epoch);
    assert_eq!(bench.open(0).refusal(), RefusalCode::Epoch);
    assert_eq!(bench.open(2).opened_at(), 0);
}

/// What is computed again is paid once: it isn't computed for ever.
#[test]
fn a_sequence_begins_anew_only_so_often() {
    let mut bench = Bench::first();
    for epoch in 1..=MAX_REPLAYS {
        // Nothing was computed in these two: they cost nothing, and count for nothing.
        assert_eq!(bench.open(3 * epoch).opened_at(), 0);
        assert_eq!(bench.open(3 * epoch + 1).opened_at(), 0);
        bench.step(0, 40);
    }
    assert_eq!(bench.open(100).opened_at(), 0);
    bench.step(0, 40);
    assert_eq!(bench.open(101).refusal(), RefusalCode::Epoch);
    // What is there is not lost by that.
    assert_eq!(bench.open(100).opened_at(), 40);
}

#[test]
fn a_session_that_finds_no_room_is_refused_and_may_come_again() {
    let mut bench = Bench::unopened(Span { start: 0, end: 10 });
    bench.refuse = Some(AdmitError::Positions {
        asked: 512,
        free: 3,
    });
    assert_eq!(bench.open(0).refusal(), RefusalCode::Busy);
    assert!(!bench.serving.has_cache());
    bench.refuse = Some(AdmitError::Draining);
    assert_eq!(bench.open(0).refusal(), RefusalCode::Draining);
    assert_eq!(bench.open(0).opened_at(), 0);
}

#[test]
fn a_resumed_stream_can_not_have_more_than_was_reserved() {
    let mut bench = Bench::first();
    let more = ValidOpen {
        positions: 513,
        ..bench.terms(0)
    };
    assert_eq!(bench.open_with(&more).refusal(), RefusalCode::Context);
    let more = ValidOpen {
        positions: 513,
        ..bench.terms(1)
    };
    assert_eq!(bench.open_with(&more).opened_at(), 0);
}

#[test]
fn a_stream_is_opened_once() {
    let mut bench = Bench::first();
    let open = signed_open(&bench.me, &bench.session_key, 0);
    assert_eq!(
        bench.ask(Request::Open(open)).refusal(),
        RefusalCode::Unexpected
    );
}

#[test]
fn a_lost_computation_costs_the_cache_but_not_the_session() {
    let mut bench = Bench::first();
    bench.step(0, 10);
    let input = rows(10, 11);
    let step = quipu_protocol::Step {
        step: 9,
        position: 10,
        drafted: 0,
        activations: input.header,
    };
    let now = bench.now;
    let effects = bench
        .serving
        .on_request(Request::Step(step), Some(input.clone()), now);
    assert!(matches!(
        effects[..],
        [Effect::Compute { position: 10, .. }]
    ));
    // The task that waited for the result was dropped.
    let effects = bench
        .serving
        .on_request(Request::Finish { positions: 10 }, None, now);
    assert!(effects.contains(&Effect::Close));
    let answer = bench.open(0);
    assert!(answer.released);
    assert_eq!(answer.opened_at(), 0);
    assert_eq!(bench.serving.on_computed(Ok(input)), []);
}
