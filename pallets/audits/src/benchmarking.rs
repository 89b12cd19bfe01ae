//! Benchmarks of every call, and of each piece of the work in blocks.

use crate::{book::Book, pallet::*, types::Draw};
use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::{
    traits::{EnsureOrigin, Get, OnIdle, OnInitialize},
    weights::Weight,
};
use frame_system::{Pallet as System, RawOrigin};
use quipu_primitives::{
    audit::{Accusation, Finding, Outcome, Round, Stage, Subject, Verdict},
    traits::{genesis, PayoutGate, Services},
    Digest, NodeId, SessionId,
};
use sp_runtime::{traits::Saturating, Perbill};

/// Sets up what benchmarks need of other pallets.
pub trait BenchmarkHelper<AccountId> {
    /// Makes a session that so many servers worked for, which is not paid out, and gives its number.
    fn served_session(servers: u32) -> SessionId;
    /// Makes so many more nodes of that session's subnet, all with a bond that lets them audit.
    fn auditors(nodes: u32) -> Vec<NodeId>;
    /// Who signs for a node.
    fn hotkey(node: NodeId) -> AccountId;
    /// Lets another epoch begin.
    fn next_epoch();
}

const SALT: [u8; 32] = [9; 32];
const HEAD: Digest = [1; 32];

/// A session is there, and everything that works is audited.
fn session<T: Config>(servers: u32) -> SessionId {
    Rate::<T>::put(Perbill::one());
    T::BenchmarkHelper::served_session(servers)
}

/// The server of the session that is audited.
fn subject<T: Config>(session: SessionId) -> Subject {
    let served = T::Services::served(session).expect("was just made");
    let server = served.servers.first().expect("has a server");
    Subject {
        session,
        node: server.node,
    }
}

/// Epochs pass, and with them all draws.
fn draws<T: Config>() {
    for _ in 0..DRAW_DELAY {
        T::BenchmarkHelper::next_epoch();
        Pallet::<T>::note_epoch();
    }
    Pallet::<T>::work_off(System::<T>::block_number(), Weight::MAX);
}

fn commit_all<T: Config>(subject: Subject, verdict: Verdict, but: usize) -> Vec<NodeId> {
    let audit = Book::<T>::get(subject).expect("is open");
    let members: Vec<NodeId> = audit.members.iter().map(|member| member.node).collect();
    for member in members.iter().skip(but) {
        let hotkey = T::BenchmarkHelper::hotkey(*member);
        let commitment = commitment::<T>(subject, *member, verdict);
        Pallet::<T>::do_commit(&hotkey, subject, commitment).expect("is due");
    }
    members
}

fn finding(verdict: Verdict) -> Finding {
    Finding {
        verdict,
        head: HEAD,
        projection: [2; 32],
    }
}

fn commitment<T: Config>(subject: Subject, member: NodeId, verdict: Verdict) -> Digest {
    finding(verdict).commitment(&genesis::<T>(), subject, member, &SALT)
}

fn reveal_all<T: Config>(subject: Subject, members: &[NodeId], verdict: Verdict, but: usize) {
    for member in members.iter().skip(but) {
        let hotkey = T::BenchmarkHelper::hotkey(*member);
        Pallet::<T>::do_reveal(&hotkey, subject, finding(verdict), SALT).expect("is due");
    }
}

/// A server is accused, after one auditor let it pass.
fn accused<T: Config>() -> Subject {
    let subject = subject::<T>(session::<T>(1));
    let judges = T::BenchmarkHelper::auditors(30);
    Pallet::<T>::ended(subject.session);
    draws::<T>();
    let mut audit = Book::<T>::get(subject).expect("all are drawn");
    let [first, second, ..] = judges[..] else {
        unreachable!("there are thirty")
    };
    let pass = crate::Pass {
        node: first,
        head: HEAD,
    };
    audit.passes.try_push(pass).expect("the first");
    audit.accusation = Some(Accusation {
        node: second,
        verdict: Verdict::Fail,
    });
    audit.head = Some(HEAD);
    audit.round = Round::Second;
    audit.members.clear();
    let until = System::<T>::block_number().saturating_add(T::AnswerWindow::get());
    audit.stage = Stage::Answering { until };
    Book::<T>::put(subject, audit);
    subject
}

/// The same server before a tribunal.
fn tried<T: Config>() -> Subject {
    let subject = accused::<T>();
    let mut audit = Book::<T>::get(subject).expect("is open");
    Pallet::<T>::wait_for(Round::Tribunal, &mut audit);
    Book::<T>::put(subject, audit);
    draws::<T>();
    subject
}

fn outcome<T: Config>(subject: Subject) -> Option<Outcome> {
    match Audits::<T>::get(subject.session, subject.node)?.stage {
        Stage::Closed { outcome, .. } => Some(outcome),
        _ => None,
    }
}

#[benchmarks]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn commit() {
        let subject = tried::<T>();
        let members = commit_all::<T>(subject, Verdict::Fail, 1);
        let hotkey = T::BenchmarkHelper::hotkey(members[0]);
        let commitment = commitment::<T>(subject, members[0], Verdict::Fail);

        #[extrinsic_call]
        _(RawOrigin::Signed(hotkey), subject, commitment);

        let audit = Book::<T>::get(subject).expect("is open");
        assert!(matches!(audit.stage, Stage::Revealing { .. }));
    }

    #[benchmark]
    fn reveal() {
        let subject = tried::<T>();
        let members = commit_all::<T>(subject, Verdict::Fail, 0);
        reveal_all::<T>(subject, &members, Verdict::Fail, 1);
        let hotkey = T::BenchmarkHelper::hotkey(members[0]);

        #[extrinsic_call]
        _(
            RawOrigin::Signed(hotkey),
            subject,
            finding(Verdict::Fail),
            SALT,
        );

        assert_eq!(outcome::<T>(subject), Some(Outcome::Convicted));
    }

    #[benchmark]
    fn answer() {
        let subject = accused::<T>();
        let hotkey = T::BenchmarkHelper::hotkey(subject.node);

        #[extrinsic_call]
        _(RawOrigin::Signed(hotkey), subject, HEAD);

        let audit = Book::<T>::get(subject).expect("is open");
        assert_eq!(audit.round, Round::Committee);
    }

    #[benchmark]
    fn set_rate() {
        let origin = T::ManageOrigin::try_successful_origin().expect("somebody may");
        let rate = Perbill::from_percent(7);

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, rate);

        assert_eq!(Rate::<T>::get(), rate);
    }

    #[benchmark]
    fn new_epoch() {
        for _ in 0..SEEDS {
            T::BenchmarkHelper::next_epoch();
            Pallet::<T>::note_epoch();
        }
        T::BenchmarkHelper::next_epoch();
        let now = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::on_initialize(now);
        }

        assert_eq!(Seeds::<T>::get().len() as u32, SEEDS);
    }

    /// Nothing is due.
    #[benchmark]
    fn idle() {
        let now = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::on_idle(now, Weight::MAX);
        }
    }

    #[benchmark]
    fn draw_session(s: Linear<1, { T::MaxServers::get() }>, n: Linear<1, 128>) {
        let session = session::<T>(s);
        T::BenchmarkHelper::auditors(n);
        Pallet::<T>::ended(session);
        for _ in 0..DRAW_DELAY {
            T::BenchmarkHelper::next_epoch();
            Pallet::<T>::note_epoch();
        }
        let (since, _, ()) = Draws::<T>::iter().next().expect("one waits");

        #[block]
        {
            Pallet::<T>::draw_session(since, session);
        }

        assert_eq!(Audits::<T>::iter_prefix(session).count() as u32, s);
        Draws::<T>::remove(since, Draw::Session(session));
    }

    #[benchmark]
    fn draw_panel(n: Linear<15, 200>) {
        let subject = accused::<T>();
        T::BenchmarkHelper::auditors(n);
        let mut audit = Book::<T>::get(subject).expect("is open");
        Pallet::<T>::wait_for(Round::Tribunal, &mut audit);
        Book::<T>::put(subject, audit);
        for _ in 0..DRAW_DELAY {
            T::BenchmarkHelper::next_epoch();
            Pallet::<T>::note_epoch();
        }
        let (since, _, ()) = Draws::<T>::iter().next().expect("one waits");

        #[block]
        {
            Pallet::<T>::draw_next(since, subject);
        }

        let audit = Book::<T>::get(subject).expect("is open");
        assert!(matches!(audit.stage, Stage::Committing { .. }));
    }

    /// One member of a tribunal did not reveal.
    #[benchmark]
    fn time_out() {
        let subject = tried::<T>();
        let members = commit_all::<T>(subject, Verdict::Fail, 0);
        reveal_all::<T>(subject, &members, Verdict::Fail, 1);
        let now = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::time_out(now, subject);
        }

        assert_eq!(outcome::<T>(subject), Some(Outcome::Convicted));
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
