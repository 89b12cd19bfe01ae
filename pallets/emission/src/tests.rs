//! The pallet's story, call by call.

mod rewards;
mod supply;
mod walk;

use crate::{curve::Shape, mock::*, pallet::*};
use frame_support::{assert_noop, assert_ok, traits::Hooks, weights::Weight};
use quipu_primitives::{
    economy::{Bucket, BurnSource},
    traits::{AuditDuties, StakeRewards},
    Balance, NodeId,
};
use sp_runtime::DispatchError;

const SAM: NodeId = 1;
const SUE: NodeId = 2;

fn origin(who: u8) -> RuntimeOrigin {
    RuntimeOrigin::signed(acc(who))
}

fn root() -> RuntimeOrigin {
    RuntimeOrigin::root()
}
