//! Stories of servers, of those who look at their work, and of those who judge both.

mod answers;
mod bad_input;
mod draws;
mod trials;
mod walk;

use crate::{
    mock::*,
    pallet::{Bound, Call, Deadlines, Draws, Error, Event, Forfeits, Holds, Rate, Seeds},
    types::*,
};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::{DispatchResultWithPostInfo, Pays},
    storage::with_storage_layer,
};
use quipu_primitives::{
    audit::{Finding, Outcome, Round, Stage, Subject, Verdict},
    traits::{Cause, Obligations, PayoutGate},
    Digest, NodeId,
};
use sp_runtime::{traits::Dispatchable, DispatchResult, Perbill};

type E = Error<Test>;

fn sent(who: AccountId, call: Call<Test>) -> DispatchResultWithPostInfo {
    let sent = RuntimeCall::Audits(call).dispatch(RuntimeOrigin::signed(who));
    Audits::do_try_state().unwrap();
    sent
}

fn plain(sent: DispatchResultWithPostInfo) -> DispatchResult {
    sent.map(|_| ()).map_err(|error| error.error)
}

fn commit(subject: Subject, auditor: NodeId, finding: Finding) -> DispatchResult {
    let commitment = commitment(subject, auditor, &finding);
    plain(sent(
        hot(auditor),
        Call::commit {
            subject,
            commitment,
        },
    ))
}

fn reveal(subject: Subject, auditor: NodeId, finding: Finding) -> DispatchResult {
    let salt = salt(auditor);
    let call = Call::reveal {
        subject,
        finding,
        salt,
    };
    plain(sent(hot(auditor), call))
}

fn answer(subject: Subject, who: NodeId, head: Digest) -> DispatchResult {
    plain(sent(hot(who), Call::answer { subject, head }))
}

fn audit(subject: Subject) -> Audit<AccountId, u64> {
    crate::Audits::<Test>::get(subject.session, subject.node).unwrap()
}

fn members(subject: Subject) -> Vec<NodeId> {
    let audit = audit(subject);
    audit.members.iter().map(|member| member.node).collect()
}

fn outcome(subject: Subject) -> Option<Outcome> {
    match audit(subject).stage {
        Stage::Closed { outcome, .. } => Some(outcome),
        _ => None,
    }
}

/// Who was told to have done a duty in the audit of work of `price`, in the order of their ids.
fn thanked(price: u128) -> Vec<NodeId> {
    let done = Done::get().unwrap_or_default().into_iter();
    let mut nodes: Vec<_> = done.filter(|one| one.1 == price).map(|one| one.0).collect();
    nodes.sort_unstable();
    nodes
}

fn events() -> Vec<Event<Test>> {
    System::read_events_for_pallet()
}

/// The session ended in this block, and its draw has come: Sam and Sue are audited.
fn drawn() {
    Audits::ended(SESSION);
    run_to(draws_at());
    assert_eq!(audit(of(SAM)).round, Round::First);
    System::reset_events();
}

/// All members of the panel say this, one after the other.
fn say(subject: Subject, verdicts: &[Verdict]) {
    let members = members(subject);
    assert_eq!(members.len(), verdicts.len());
    let all = || members.iter().zip(verdicts);
    for (member, verdict) in all() {
        assert_ok!(commit(subject, *member, finding(subject, *verdict)));
    }
    for (member, verdict) in all() {
        assert_ok!(reveal(subject, *member, finding(subject, *verdict)));
    }
}

/// The auditor says this, and the server stands by its work. The next panel is there.
fn accused(subject: Subject, verdict: Verdict) -> NodeId {
    let auditor = members(subject)[0];
    say(subject, &[verdict]);
    assert_ok!(answer(subject, subject.node, head(subject.node)));
    run_to(draws_at());
    assert_eq!(audit(subject).round, Round::Committee);
    auditor
}

/// So many of each verdict.
fn verdicts(counts: &[(usize, Verdict)]) -> Vec<Verdict> {
    let of = |(count, verdict): &(usize, Verdict)| std::iter::repeat_n(*verdict, *count);
    counts.iter().flat_map(of).collect()
}
