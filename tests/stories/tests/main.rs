//! Stories across pallets, each told on the real runtime.

mod audits;
mod disappearing_client;
mod economy;
mod equivocation;
mod invariants;
mod jobs;
mod key_swaps;
mod metadata;
mod old_voucher;
mod paid_session;
mod proxy_kinds;
mod signed_extrinsics;
mod slashing;
mod unbonding;
mod validators;
mod weights;

use quipu_runtime::clock::Schedule;

/// The consumer of every story.
fn consumer() -> quipu_stories::Key {
    quipu_stories::Key::new("Consumer")
}

/// The fast clock with one long session, for stories that count blocks and are not about
/// validators: the first block of a session has room for nothing else.
fn long_sessions(schedule: &mut Schedule) {
    schedule.epoch_slots = 150;
    schedule.sessions_per_era = 1;
    schedule.unbonding_blocks = 150;
}

/// Blocks after a settlement in which higher vouchers count, on the fast clock.
const WINDOW: u32 = Schedule::FAST.settlement_blocks;

/// The pallets of Quipu's own that keep something for what people do. Those that keep time besides, emission and
/// access, change with every day.
const OURS: [&str; 5] = ["Subnets", "Staking", "Inference", "Slashing", "Audits"];
