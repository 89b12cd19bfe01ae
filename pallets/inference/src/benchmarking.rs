//! Benchmarks of every call, and of each piece of the work in `on_idle`.

// The macros of FRAME compute with floats in the benchmarks' tests.
#![allow(clippy::float_arithmetic)]

use crate::{
    types::{Funding, Opening},
    Call, Config, Cursor, Jobs, NextJob, NextSession, Pallet, Sessions,
};
use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::{
    traits::{
        fungible::{Inspect, Mutate},
        Get,
    },
    weights::Weight,
    BoundedVec,
};
use frame_system::{pallet_prelude::BlockNumberFor, Pallet as System, RawOrigin};
use quipu_primitives::{
    cost,
    job::{FinishReason, MAX_ANSWER, MAX_PROMPT},
    traits::{Nodes, Roster},
    voucher_payload, Balance, JobId, NodeId, SessionId, SignatureBytes, SubnetId, Voucher,
};
use sp_runtime::{
    traits::{One, Saturating, Zero},
    KeyTypeId,
};

/// Sets up what benchmarks need of other pallets.
pub trait BenchmarkHelper<AccountId> {
    /// Makes a new active subnet with `seats` seats, each of which asks `price` per position and
    /// block, and names their nodes. The first `min(seats, MaxServers)` nodes, in this order, must
    /// form an exact chain over the model; each node has a coldkey of its own.
    fn subnet(seats: u32, price: Balance) -> (SubnetId, Vec<NodeId>);
    /// Gives the consumer a quota that is worth more than any session of the benchmarks.
    fn grant_quota(consumer: &AccountId);
}

const KEY: KeyTypeId = KeyTypeId(*b"qsvb");
const POSITIONS: u32 = 2;
const ROOT: [u8; 32] = [7; 32];

/// Text of so many bytes that takes long to check: two bytes to each character.
fn text(bytes: u32) -> Vec<u8> {
    let mut text = "é".repeat(bytes as usize / 2).into_bytes();
    text.resize(bytes as usize, b'e');
    text
}

fn funded<T: Config>(account: T::AccountId) -> T::AccountId {
    T::Currency::set_balance(&account, 1 << 100);
    account
}

/// So much that a single position pays any account into existence.
fn price<T: Config>() -> Balance {
    T::Currency::minimum_balance().max(1)
}

struct Opened {
    session: SessionId,
    key: [u8; 32],
    nodes: Vec<NodeId>,
}

fn caps<T: Config>(nodes: &[NodeId]) -> Vec<(NodeId, Balance)> {
    let cap = |node: &NodeId| {
        let (_, seat) = T::Roster::seat(*node).expect("the helper seated it");
        (
            *node,
            cost(seat.price, seat.span.len(), POSITIONS * 2).expect("small numbers"),
        )
    };
    nodes.iter().map(cap).collect()
}

/// A session of `consumer` with these servers.
fn open_in<T: Config>(consumer: T::AccountId, subnet: SubnetId, nodes: Vec<NodeId>) -> Opened {
    let session = NextSession::<T>::get();
    let key = sp_io::crypto::sr25519_generate(KEY, None).into();
    let opening = Opening {
        subnet,
        session_key: key,
        caps: caps::<T>(&nodes).try_into().expect("at most MaxServers"),
        duration: T::MaxSessionDuration::get(),
        seed_commitment: [1; 32],
        integrator: Some(consumer.clone()),
    };
    Pallet::<T>::do_open_session(funded::<T>(consumer), Funding::Own, opening)
        .expect("everything is set up");
    Opened {
        session,
        key,
        nodes,
    }
}

fn open<T: Config>(consumer: T::AccountId, servers: u32) -> Opened {
    let (subnet, nodes) = T::BenchmarkHelper::subnet(servers, price::<T>());
    open_in::<T>(consumer, subnet, nodes)
}

impl Opened {
    fn vouchers<T: Config>(&self, count: u32) -> Vec<(Voucher, SignatureBytes)> {
        let sign = |node: &NodeId| {
            let voucher = Voucher {
                session: self.session,
                node: *node,
                positions: POSITIONS,
            };
            let payload = voucher_payload(&quipu_primitives::traits::genesis::<T>(), &voucher);
            let signature = sp_io::crypto::sr25519_sign(KEY, &self.key.into(), &payload);
            (voucher, signature.expect("the key was just made").into())
        };
        self.nodes.iter().take(count as usize).map(sign).collect()
    }

    fn settle<T: Config>(&self, consumer: T::AccountId) {
        let vouchers = self
            .vouchers::<T>(u32::MAX)
            .try_into()
            .expect("one for each server");
        Pallet::<T>::do_settle(consumer, self.session, vouchers, ROOT).expect("vouchers are good");
    }
}

/// Moves on to the block in which the window of whatever ends now has closed.
fn close_window<T: Config>() {
    pass::<T>(T::SettlementWindow::get());
}

/// The session's window has closed, and its gate, asked before, lets it be paid out now.
fn release<T: Config>(id: SessionId) {
    close_window::<T>();
    Sessions::<T>::mutate(id, |session| {
        let session = session.as_mut().expect("the session is open");
        let later = session.due.saturating_add(One::one());
        crate::impls::postpone::<T>(&mut session.due, later, crate::Due::Session(id));
    });
}

/// The session that answered the job was paid out.
fn pay_session<T: Config>(job: JobId) {
    let result = Jobs::<T>::get(job).and_then(|job| job.result);
    let session = result.expect("it was answered").session;
    release::<T>(session);
    Pallet::<T>::do_finalize(session).expect("the gate is open");
}

fn pass<T: Config>(blocks: BlockNumberFor<T>) {
    System::<T>::set_block_number(System::<T>::block_number().saturating_add(blocks));
}

/// A job with the longest prompt in a subnet with as many nodes as a session can have servers.
fn requested<T: Config>() -> (JobId, SubnetId, Vec<NodeId>) {
    let (subnet, nodes) = T::BenchmarkHelper::subnet(T::MaxServers::get(), price::<T>());
    let job = NextJob::<T>::get();
    Pallet::<T>::do_request(
        funded::<T>(account("requester", 0, 0)),
        subnet,
        text(MAX_PROMPT).try_into().expect("just fits"),
        1,
        T::MinJobFee::get().max(price::<T>()),
    )
    .expect("everything is set up");
    (job, subnet, nodes)
}

/// A job with a settled session of the drawn server, over as many servers as it can have, and the
/// hotkey of that server.
fn answerable<T: Config>() -> (JobId, T::AccountId, SessionId) {
    let (job, subnet, nodes) = requested::<T>();
    let drawn = Jobs::<T>::get(job).expect("it was just stored").node;
    let hotkey = T::Nodes::keys(drawn).expect("the helper made it").hotkey;
    let opened = open_in::<T>(hotkey.clone(), subnet, nodes);
    opened.settle::<T>(hotkey.clone());
    (job, hotkey, opened.session)
}

fn answered<T: Config>() -> JobId {
    let (job, hotkey, session) = answerable::<T>();
    let answer = text(MAX_ANSWER).try_into().expect("just fits");
    Pallet::<T>::do_submit_result(hotkey, job, answer, FinishReason::Stop, session, ROOT)
        .expect("the session is settled");
    job
}

#[benchmarks]
mod benches {
    use super::*;

    #[benchmark]
    fn open_session(s: Linear<1, { T::MaxServers::get() }>) {
        let consumer = funded::<T>(whitelisted_caller());
        let (subnet, nodes) = T::BenchmarkHelper::subnet(s, price::<T>());
        let caps = caps::<T>(&nodes).try_into().expect("at most MaxServers");
        let integrator = Some(consumer.clone());

        #[extrinsic_call]
        _(
            RawOrigin::Signed(consumer),
            subnet,
            [5; 32],
            caps,
            T::MaxSessionDuration::get(),
            [1; 32],
            integrator,
        );

        assert_eq!(Sessions::<T>::iter().count(), 1);
    }

    #[benchmark]
    fn open_session_by_quota(s: Linear<1, { T::MaxServers::get() }>) {
        let consumer = funded::<T>(whitelisted_caller());
        // At a price that any quota pays.
        let (subnet, nodes) = T::BenchmarkHelper::subnet(s, 1);
        let caps = caps::<T>(&nodes).try_into().expect("at most MaxServers");
        T::BenchmarkHelper::grant_quota(&consumer);

        #[extrinsic_call]
        _(
            RawOrigin::Signed(consumer),
            subnet,
            [5; 32],
            caps,
            T::MaxSessionDuration::get(),
            [1; 32],
            None,
        );

        assert_eq!(Sessions::<T>::iter().count(), 1);
    }

    #[benchmark]
    fn settle(v: Linear<0, { T::MaxServers::get() }>) {
        let consumer: T::AccountId = whitelisted_caller();
        let opened = open::<T>(consumer.clone(), T::MaxServers::get());
        let vouchers = opened
            .vouchers::<T>(v)
            .try_into()
            .expect("at most MaxServers");

        #[extrinsic_call]
        _(RawOrigin::Signed(consumer), opened.session, vouchers, ROOT);

        let session = Sessions::<T>::get(opened.session).expect("still there");
        assert!(session.settlement.is_some());
    }

    #[benchmark]
    fn redeem() {
        let consumer: T::AccountId = whitelisted_caller();
        let opened = open::<T>(consumer.clone(), T::MaxServers::get());
        let (voucher, signature) = *opened.vouchers::<T>(u32::MAX).last().expect("at least one");

        #[extrinsic_call]
        _(
            RawOrigin::Signed(consumer),
            opened.session,
            voucher,
            signature,
        );

        let session = Sessions::<T>::get(opened.session).expect("still there");
        assert_eq!(
            session.servers.last().map(|server| server.positions),
            Some(POSITIONS)
        );
    }

    #[benchmark]
    fn finalize(s: Linear<1, { T::MaxServers::get() }>) {
        let consumer: T::AccountId = whitelisted_caller();
        let opened = open::<T>(consumer.clone(), s);
        opened.settle::<T>(consumer.clone());
        release::<T>(opened.session);

        #[extrinsic_call]
        _(RawOrigin::Signed(consumer), opened.session);

        let session = Sessions::<T>::get(opened.session).expect("kept for a while");
        assert!(session.closed && session.held == 0);
    }

    #[benchmark]
    fn request(p: Linear<1, MAX_PROMPT>, n: Linear<1, { T::MaxSeats::get() }>) {
        let requester = funded::<T>(whitelisted_caller());
        let (subnet, _) = T::BenchmarkHelper::subnet(n, price::<T>());
        let prompt = BoundedVec::try_from(text(p)).expect("fits");
        let fee = T::MinJobFee::get().max(price::<T>());

        #[extrinsic_call]
        _(RawOrigin::Signed(requester), subnet, prompt, 1, fee);

        assert_eq!(Jobs::<T>::iter().count(), 1);
    }

    #[benchmark]
    fn submit_result(a: Linear<0, MAX_ANSWER>) {
        let (job, hotkey, session) = answerable::<T>();
        let answer = BoundedVec::try_from(text(a)).expect("fits");

        #[extrinsic_call]
        _(
            RawOrigin::Signed(hotkey),
            job,
            answer,
            FinishReason::Length,
            session,
            ROOT,
        );

        assert!(Jobs::<T>::get(job).expect("still there").result.is_some());
    }

    #[benchmark]
    fn pay_job() {
        let job = answered::<T>();
        pay_session::<T>(job);

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), job);

        assert_eq!(
            Jobs::<T>::get(job).map(|job| job.state),
            Some(crate::Fee::Paid)
        );
    }

    #[benchmark]
    fn refund_job() {
        let (job, ..) = requested::<T>();
        pass::<T>(T::JobTimeout::get().saturating_add(One::one()));

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), job);

        assert_eq!(
            Jobs::<T>::get(job).map(|job| job.state),
            Some(crate::Fee::Refunded)
        );
    }

    #[benchmark]
    fn idle() {
        let zero = BlockNumberFor::<T>::zero();
        Cursor::<T>::put(zero);

        #[block]
        {
            Pallet::<T>::work_off_deadlines(zero, Weight::MAX);
        }

        assert_eq!(Cursor::<T>::get(), Some(One::one()));
    }

    #[benchmark]
    fn drop_session() {
        let consumer: T::AccountId = whitelisted_caller();
        let opened = open::<T>(consumer.clone(), T::MaxServers::get());
        opened.settle::<T>(consumer);
        release::<T>(opened.session);
        Pallet::<T>::do_finalize(opened.session).expect("the window has closed");

        #[block]
        {
            Pallet::<T>::work_off_session(opened.session, System::<T>::block_number());
        }

        assert_eq!(Sessions::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn drop_job() {
        let job = answered::<T>();
        pay_session::<T>(job);
        Pallet::<T>::do_pay_job(job).expect("the window has closed");

        #[block]
        {
            Pallet::<T>::work_off_job(job, System::<T>::block_number());
        }

        assert_eq!(Jobs::<T>::iter().count(), 0);
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
