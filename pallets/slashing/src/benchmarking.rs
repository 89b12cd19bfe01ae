//! Benchmarks of every call, and of each piece of the work in `on_idle`.

use crate::{
    docket::Docket,
    pallet::*,
    types::{CaseId, Equivocation, State},
};
use alloc::boxed::Box;
use frame_benchmarking::v2::*;
use frame_support::{
    traits::{EnsureOrigin, Get, OnIdle},
    weights::Weight,
};
use frame_system::{pallet_prelude::BlockNumberFor, Pallet as System, RawOrigin};
use quipu_primitives::{
    traits::{genesis, Cause, Charge, Slasher},
    NodeId, Receipt, SessionId, SignedReceipt, Span,
};
use sp_runtime::{traits::Saturating, KeyTypeId};

/// Sets up what benchmarks need of other pallets.
pub trait BenchmarkHelper<AccountId> {
    /// Makes a node that `hotkey` signs for, with a bond and a seat, and a session in which it
    /// serves `consumer`, with [`SESSION_KEY`].
    fn served_session(hotkey: &AccountId, consumer: &AccountId) -> (NodeId, SessionId);
    /// Fills the queue of what the node has asked back.
    fn full_ledger(node: NodeId);
}

const KEY: KeyTypeId = KeyTypeId(*b"qslb");
/// The key of the session that benchmarks are about.
pub const SESSION_KEY: [u8; 32] = [4; 32];

struct Offender<AccountId> {
    key: [u8; 32],
    hotkey: AccountId,
    node: NodeId,
    session: SessionId,
}

fn offender<T: Config>() -> Offender<T::AccountId>
where
    T::AccountId: From<[u8; 32]>,
{
    let key: [u8; 32] = sp_io::crypto::sr25519_generate(KEY, None).into();
    let hotkey: T::AccountId = key.into();
    let consumer: T::AccountId = account("consumer", 0, 0);
    let (node, session) = T::BenchmarkHelper::served_session(&hotkey, &consumer);
    Offender {
        key,
        hotkey,
        node,
        session,
    }
}

/// A receipt of the offender's that says `output`.
fn signed<T: Config>(offender: &Offender<T::AccountId>, output: u8) -> SignedReceipt {
    let receipt = Receipt {
        session: offender.session,
        node: offender.node,
        span: Span { start: 0, end: 1 },
        weights_root: [1; 32],
        profile: [2; 32],
        start: 0,
        end: 32,
        input: [3; 32],
        output: [output; 32],
        previous: [0; 32],
    };
    let payload = receipt.payload(&genesis::<T>(), &SESSION_KEY);
    let signature = sp_io::crypto::sr25519_sign(KEY, &offender.key.into(), &payload)
        .expect("the key was just made")
        .into();
    SignedReceipt { receipt, signature }
}

/// A pending case of the offender that takes everything, and will pay a reporter and a victim.
fn open<T: Config>(offender: &Offender<T::AccountId>) -> CaseId {
    let case = NextCase::<T>::get();
    Pallet::<T>::charge(Charge {
        node: offender.node,
        cause: Cause::Equivocation {
            session: offender.session,
        },
        price: 0,
        reporter: Some(account("reporter", 0, 0)),
        victim: Some(account("victim", 0, 0)),
    })
    .expect("nobody charged it before");
    case
}

fn wait<T: Config>(blocks: BlockNumberFor<T>) {
    let now = System::<T>::block_number();
    System::<T>::set_block_number(now.saturating_add(blocks));
}

#[benchmarks(where T::AccountId: From<[u8; 32]>)]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn report_equivocation() {
        let offender = offender::<T>();
        let evidence = Box::new(Equivocation {
            first_key: offender.hotkey.clone(),
            first: signed::<T>(&offender, 7),
            second_key: offender.hotkey.clone(),
            second: signed::<T>(&offender, 8),
        });
        let case = NextCase::<T>::get();
        let reporter: T::AccountId = whitelisted_caller();

        #[extrinsic_call]
        _(RawOrigin::Signed(reporter), evidence);

        assert!(Cases::<T>::contains_key(case));
    }

    #[benchmark]
    fn cancel() {
        let case = open::<T>(&offender::<T>());
        let origin = T::CancelOrigin::try_successful_origin().expect("somebody may cancel");

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, case);

        assert!(Docket::<T>::pending(case).is_err());
    }

    #[benchmark]
    fn apply() {
        let offender = offender::<T>();
        T::BenchmarkHelper::full_ledger(offender.node);
        let case = open::<T>(&offender);
        wait::<T>(T::SlashDefer::get());
        let anyone: T::AccountId = whitelisted_caller();

        #[extrinsic_call]
        _(RawOrigin::Signed(anyone), case);

        let state = Cases::<T>::get(case).map(|case| case.state);
        assert!(matches!(state, Some(State::Applied { taken }) if taken > 0));
    }

    /// Nothing is pending, nothing is kept.
    #[benchmark]
    fn idle() {
        let now = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::on_idle(now, Weight::MAX);
        }
    }

    /// One case that is not due.
    #[benchmark]
    fn look() {
        open::<T>(&offender::<T>());

        #[block]
        {
            assert!(Cases::<T>::get(FirstPending::<T>::get()).is_some());
        }
    }

    #[benchmark]
    fn forget() {
        let id = open::<T>(&offender::<T>());
        let case = Docket::<T>::pending(id).expect("was just opened");
        Docket::<T>::lift(&case);
        Docket::<T>::decide(id, case.clone(), State::Applied { taken: 0 });

        #[block]
        {
            Docket::<T>::forget(id, &case);
            FirstKept::<T>::put(id);
        }

        assert!(!Cases::<T>::contains_key(id));
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
