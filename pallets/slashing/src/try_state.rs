//! What holds at all times; the README says it in words.

use crate::{
    pallet::*,
    types::{Standing, State},
};
use alloc::collections::BTreeMap;
use frame_support::ensure;
use quipu_primitives::{
    traits::{Cause, Nodes},
    NodeId,
};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut standings = BTreeMap::<NodeId, Standing>::new();
        let mut cases: usize = 0;
        for (id, case) in Cases::<T>::iter() {
            cases = cases.saturating_add(1);
            ensure!(id < NextCase::<T>::get(), "number never given");
            ensure!(
                id >= FirstKept::<T>::get(),
                "case behind the cursor of those kept"
            );
            ensure!(
                CaseByCause::<T>::get(case.node, case.cause) == Some(id),
                "case not found by its cause"
            );
            let standing = standings.entry(case.node).or_default();
            match case.state {
                State::Pending => {
                    ensure!(
                        id >= FirstPending::<T>::get(),
                        "case behind the cursor of those pending"
                    );
                    standing.pending = standing.pending.saturating_add(1);
                    standing.amount = standing
                        .amount
                        .checked_add(case.amount)
                        .ok_or("amounts overflow")?;
                }
                State::Applied { taken } => ensure!(taken <= case.amount, "more was taken"),
                State::Canceled => continue,
            }
            if matches!(case.cause, Cause::Withheld { .. }) {
                standing.withheld = standing.withheld.saturating_add(1);
            }
        }
        ensure!(
            CaseByCause::<T>::iter().count() == cases,
            "cause without a case"
        );
        standings.retain(|_, standing| *standing != Standing::default());
        ensure!(
            Standings::<T>::iter().collect::<BTreeMap<_, _>>() == standings,
            "a standing is not what the cases say"
        );
        for (node, standing) in standings {
            ensure!(
                standing.pending == 0 || T::Nodes::keys(node).is_some(),
                "pending case of no node"
            );
        }
        ensure!(
            FirstKept::<T>::get() <= FirstPending::<T>::get(),
            "a case was forgotten before it was decided"
        );
        ensure!(
            FirstPending::<T>::get() <= NextCase::<T>::get(),
            "cursor ahead of the cases"
        );
        Ok(())
    }
}
