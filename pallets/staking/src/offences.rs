//! Proven offences of validators, as `pallet-offences` tells of them.

use crate::{
    book::Book, share_of_rest, Config, EarlyElection, Event, Ledgers, OffenceFractions, Pallet,
    Sessions, WeightInfo,
};
use frame_support::{traits::Get, weights::Weight};
use quipu_primitives::{
    node_of_account,
    traits::{Offence, OnOffence},
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
                Self::punish(node, (*fraction).max(T::MinOffenceFraction::get()), session);
            }
            weight.saturating_accrue(T::WeightInfo::on_offence());
        }
        weight
    }
}

impl<T: Config> Pallet<T> {
    /// Takes the offender out of the sessions and passes on what its offence costs beyond what its
    /// offences of that session cost already.
    fn punish(node: NodeId, fraction: Perbill, session: SessionIndex) {
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
            let chilled = Book::<T>::change(node, |ledger| {
                ledger.chilled = true;
                Ok(())
            });
            if chilled.is_ok() {
                Self::deposit_event(Event::Chilled { node });
            }
        }
        let fraction = share_of_rest(before.unwrap_or_default(), fraction);
        if !fraction.is_zero() {
            T::OnOffence::offence(Offence {
                node,
                fraction,
                session,
            });
        }
    }
}
