//! Where burned QPU is counted. Whoever burns hands what it burns to one of these.

use crate::pallet::*;
use core::marker::PhantomData;
use frame_support::{
    parameter_types,
    traits::{Get, Imbalance, OnUnbalanced},
};
use quipu_primitives::economy::BurnSource;

/// Counts what it is given under the reason `S` and burns it.
pub struct Burn<T, S>(PhantomData<(T, S)>);

impl<T: Config, S: Get<BurnSource>> OnUnbalanced<CreditOf<T>> for Burn<T, S> {
    fn on_nonzero_unbalanced(credit: CreditOf<T>) {
        let amount = credit.peek();
        drop(credit);
        Burned::<T>::mutate(S::get(), |sum| *sum = sum.saturating_add(amount));
    }
}

parameter_types! {
    /// [`BurnSource::Fee`].
    pub const Fee: BurnSource = BurnSource::Fee;
    /// [`BurnSource::Dust`].
    pub const Dust: BurnSource = BurnSource::Dust;
    /// [`BurnSource::Slash`].
    pub const Slash: BurnSource = BurnSource::Slash;
}
