//! Proven offences of validators, as `pallet-offences` tells of them.

use crate::{
    book::Book, Config, EarlyElection, Event, Ledgers, OffenceFractions, Pallet, Sessions,
    WeightInfo,
};
use frame_support::{traits::Get, weights::Weight};
use quipu_primitives::{
    node_of_account,
    traits::{Cause, Charge, Nodes, Slasher},
    NodeId,
};
use sp_runtime::Perbill;
use sp_staking::{
    offence::{OffenceDetails, OnOffenceHandler},
    SessionIndex,
};

impl<T: Config> OnOffenceHandler<T::AccountId, (T::AccountId, ()), Weight> for Pallet<T> {
    fn on_offence(
        offenders: &[OffenceDetails<T::AccountId, (T::AccountId, ())>],
        fractions: &[Perbill],
        session: SessionIndex,
    ) -> Weight {
        let mut weight = Weight::zero();
        for (details, fraction) in offenders.iter().zip(fractions) {
            let (validator, ()) = details.offender.clone();
            if let Some(node) = node_of_account(&validator.into()) {
                let fraction = (*fraction).max(T::MinOffenceFraction::get());
                let reporter = details.reporters.first().and_then(Self::payee);
                Self::punish(node, fraction, session, reporter);
            }
            weight.saturating_accrue(T::WeightInfo::on_offence());
        }
        weight
    }
}

impl<T: Config> Pallet<T> {
    /// Who is paid for what this account reported. A report without a signature is its author's,
    /// whom the sessions know by the account of its node, to which nobody has a key.
    fn payee(reporter: &T::AccountId) -> Option<T::AccountId> {
        match node_of_account(&reporter.clone().into()) {
            Some(author) => T::Nodes::keys(author).map(|keys| keys.coldkey),
            None => Some(reporter.clone()),
        }
    }

    /// Takes the offender out of the sessions, and charges it with what its offence costs beyond
    /// what its offences of that session cost already.
    fn punish(
        node: NodeId,
        fraction: Perbill,
        session: SessionIndex,
        reporter: Option<T::AccountId>,
    ) {
        let before = OffenceFractions::<T>::get(session, node);
        if before.is_some_and(|before| before >= fraction) {
            return;
        }
        OffenceFractions::<T>::insert(session, node, fraction);
        Self::deposit_event(Event::OffenceReported {
            node,
            fraction,
            session,
        });

        T::Sessions::disable(Self::validator_id(node), fraction);
        EarlyElection::<T>::put(true);
        if Ledgers::<T>::get(node).is_some_and(|ledger| !ledger.chilled) {
            let chilled = Book::<T>::mark(node, |ledger| {
                ledger.chilled = true;
                Ok(())
            });
            if chilled.is_ok() {
                Self::deposit_event(Event::Chilled { node });
            }
        }
        let before = before.unwrap_or_default();
        if fraction > before {
            // Refused only where the node is gone, and with it what it had at stake.
            let _ = T::Slasher::charge(Charge {
                node,
                cause: Cause::Consensus {
                    session,
                    from: before,
                    to: fraction,
                },
                price: 0,
                reporter,
                victim: None,
            });
        }
    }
}
