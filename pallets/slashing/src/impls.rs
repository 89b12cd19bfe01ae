//! What the calls do once their origin is known, the work in `on_idle`, and the traits by which other
//! pallets charge nodes.

use crate::{
    docket::Docket,
    pallet::*,
    penalty::{self, Stake, Tariff},
    types::{CaseId, Equivocation, State},
    WeightInfo,
};
use frame_support::{
    defensive, ensure,
    traits::{fungible::Balanced, Get, Imbalance, OnUnbalanced},
    weights::{Weight, WeightMeter},
};
use frame_system::pallet_prelude::BlockNumberFor;
use quipu_primitives::{
    traits::{
        genesis, Cause, Charge, Nodes, Obligations, PendingSlashes, Services, Signers, Slashable,
        Slasher,
    },
    AccountBytes, Balance, NodeId, SignedReceipt,
};
use sp_runtime::{traits::Saturating, DispatchError, DispatchResult};

impl<T: Config> Pallet<T> {
    fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }

    pub(crate) fn do_report_equivocation(
        reporter: T::AccountId,
        evidence: Equivocation<T::AccountId>,
    ) -> Result<Balance, DispatchError> {
        let (first, second) = (&evidence.first, &evidence.second);
        let contradict = first.receipt.contradicts(&second.receipt);
        ensure!(contradict, Error::<T>::NoContradiction);
        let (node, session) = (first.receipt.node, first.receipt.session);
        let service = T::Services::service(session, node).ok_or(Error::<T>::NoSuchService)?;
        let age = Self::now().saturating_sub(service.opened_at);
        ensure!(age <= T::EvidenceWindow::get(), Error::<T>::EvidenceTooOld);

        for (key, signed, error) in [
            (&evidence.first_key, first, Error::<T>::BadFirstSignature),
            (&evidence.second_key, second, Error::<T>::BadSecondSignature),
        ] {
            ensure!(
                T::Nodes::has_signed_for(node, key, service.opened_at),
                Error::<T>::NotItsHotkey
            );
            ensure!(Self::is_signed(key, signed, &service.session_key), error);
        }
        Self::charge(Charge {
            node,
            cause: Cause::Equivocation { session },
            price: 0,
            reporter: Some(reporter),
            victim: Some(service.consumer),
        })
    }

    /// Did this key sign the receipt for this chain, and for the session with this key?
    fn is_signed(key: &T::AccountId, signed: &SignedReceipt, session_key: &AccountBytes) -> bool {
        let key: [u8; 32] = key.clone().into();
        sp_io::crypto::sr25519_verify(
            &signed.signature.into(),
            &signed.receipt.payload(&genesis::<T>(), session_key),
            &key.into(),
        )
    }

    pub(crate) fn do_cancel(id: CaseId) -> DispatchResult {
        let case = Docket::<T>::pending(id)?;
        let node = case.node;
        Docket::<T>::lift(&case);
        Docket::<T>::decide(id, case, State::Canceled);
        Self::deposit_event(Event::CaseCanceled { case: id, node });
        Ok(())
    }

    pub(crate) fn do_apply(id: CaseId) -> DispatchResult {
        let case = Docket::<T>::pending(id)?;
        ensure!(Self::now() >= case.applies_at, Error::<T>::NotDue);
        Self::take(id, case);
        Ok(())
    }

    /// Takes what a pending case costs, and gives it to whom it is due.
    fn take(id: CaseId, case: CaseOf<T>) {
        Docket::<T>::lift(&case);
        let proceeds = T::Bonds::slash(case.node, case.amount).unwrap_or_else(|_| {
            // What pending cases take is on hold, and can't be taken out meanwhile.
            defensive!("a bond is not on hold");
            CreditOf::<T>::zero()
        });
        let taken = proceeds.peek();
        let (reporter, victim) =
            penalty::split(taken, T::ReporterShare::get(), T::VictimShare::get());
        let (to_reporter, rest) = Self::pay(proceeds, reporter, case.reporter.as_ref());
        let (to_victim, rest) = Self::pay(rest, victim, case.victim.as_ref());
        let burned = rest.peek();
        T::OnBurn::on_unbalanced(rest);
        let node = case.node;
        Docket::<T>::decide(id, case, State::Applied { taken });
        Self::deposit_event(Event::CaseApplied {
            case: id,
            node,
            taken,
            to_reporter,
            to_victim,
            burned,
        });
    }

    /// Pays `amount` out of `proceeds` and says how much was paid, and what is left. Who isn't there
    /// or can't take it, gets nothing.
    fn pay(
        proceeds: CreditOf<T>,
        amount: Balance,
        to: Option<&T::AccountId>,
    ) -> (Balance, CreditOf<T>) {
        let Some(to) = to else {
            return (0, proceeds);
        };
        let (share, rest) = proceeds.split(amount);
        match T::Currency::resolve(to, share) {
            Ok(()) => (amount, rest),
            Err(share) => (0, rest.merge(share)),
        }
    }

    /// Applies what is due by block `now` and forgets what was kept long enough, within `limit`, and
    /// says what weight that took.
    pub(crate) fn work_off_cases(now: BlockNumberFor<T>, limit: Weight) -> Weight {
        let mut meter = WeightMeter::with_limit(limit);
        if meter.try_consume(T::WeightInfo::idle()).is_err() {
            return meter.consumed();
        }
        let next = NextCase::<T>::get();
        let start = FirstPending::<T>::get();
        let decided = Self::walk(&mut meter, start, next, |meter, id, case| {
            if case.state != State::Pending {
                return true;
            }
            let due = now >= case.applies_at;
            if !due || meter.try_consume(T::WeightInfo::apply()).is_err() {
                return false;
            }
            Self::take(id, case);
            true
        });
        if decided != start {
            FirstPending::<T>::put(decided);
        }
        let start = FirstKept::<T>::get();
        let forgotten = Self::walk(&mut meter, start, decided, |meter, id, case| {
            let over = now >= case.kept_until;
            if !over || meter.try_consume(T::WeightInfo::forget()).is_err() {
                return false;
            }
            Docket::<T>::forget(id, &case);
            true
        });
        if forgotten != start {
            FirstKept::<T>::put(forgotten);
        }
        meter.consumed()
    }

    /// Visits cases in the order of their numbers, for as long as `visit` says that one is done with
    /// and there is weight left. Gives the number of the first that is not done with.
    fn walk(
        meter: &mut WeightMeter,
        from: CaseId,
        to: CaseId,
        mut visit: impl FnMut(&mut WeightMeter, CaseId, CaseOf<T>) -> bool,
    ) -> CaseId {
        let mut id = from;
        while id < to && meter.try_consume(T::WeightInfo::look()).is_ok() {
            if Cases::<T>::get(id).is_some_and(|case| !visit(meter, id, case)) {
                break;
            }
            id = id.saturating_add(1);
        }
        id
    }
}

impl<T: Config> Slasher<T::AccountId> for Pallet<T> {
    fn charge(charge: Charge<T::AccountId>) -> Result<Balance, DispatchError> {
        let Charge {
            node,
            cause,
            price,
            reporter,
            victim,
        } = charge;
        ensure!(T::Nodes::keys(node).is_some(), Error::<T>::NoSuchNode);
        let standing = Standings::<T>::get(node);
        let stake = Stake {
            total: T::Bonds::slashable(node),
            pending: standing.amount,
            withheld: standing.withheld,
        };
        let tariff = Tariff {
            price_multiple: T::PriceMultiple::get(),
            min_computation: T::MinComputation::get(),
            withheld: T::Withheld::get(),
        };
        let amount = penalty::amount(&tariff, &cause, price, &stake);
        let now = Self::now();
        let applies_at = now.saturating_add(T::SlashDefer::get());
        let case = Docket::<T>::open(crate::Case {
            node,
            cause,
            amount,
            reporter,
            victim,
            opened_at: now,
            applies_at,
            kept_until: now.saturating_add(T::CaseRetention::get()),
            state: State::Pending,
        })?;
        Self::deposit_event(Event::CaseOpened {
            case,
            node,
            cause,
            amount,
            applies_at,
        });
        Ok(amount)
    }
}

impl<T: Config> PendingSlashes for Pallet<T> {
    fn pending(node: NodeId) -> Balance {
        Standings::<T>::get(node).amount
    }
}

impl<T: Config> Obligations for Pallet<T> {
    fn has_obligations(node: NodeId) -> bool {
        Standings::<T>::get(node).pending > 0
    }
}
