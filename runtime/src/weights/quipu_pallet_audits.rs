// Not measured yet: guesses, made of the measured weights of what is alike in the other pallets.
// Again: scripts/weights quipu_pallet_audits

//! Weights of `quipu_pallet_audits`, guessed until `scripts/weights` measures them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_audits`.
pub struct WeightInfo<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo<T> {
    fn of(picoseconds: u64, reads: u64, writes: u64) -> Weight {
        let db = T::DbWeight::get();
        Weight::from_parts(picoseconds, 10_000)
            .saturating_add(db.reads(reads))
            .saturating_add(db.writes(writes))
    }
}

impl<T: frame_system::Config> quipu_pallet_audits::WeightInfo for WeightInfo<T> {
    fn commit() -> Weight {
        Self::of(150_000_000, 8, 24)
    }
    fn reveal() -> Weight {
        // Three charges, each of which may cost a seat, and fifteen auditors who are paid.
        Self::of(1_800_000_000, 120, 100)
    }
    fn answer() -> Weight {
        Self::of(120_000_000, 8, 12)
    }
    fn set_rate() -> Weight {
        Self::of(15_000_000, 0, 1)
    }
    fn new_epoch() -> Weight {
        Self::of(30_000_000, 4, 1)
    }
    fn idle() -> Weight {
        Self::of(20_000_000, 5, 2)
    }
    fn draw_session(servers: u32, nodes: u32) -> Weight {
        let (servers, nodes) = (u64::from(servers), u64::from(nodes));
        // Each server's panel walks over all candidates.
        let picoseconds = servers.saturating_mul(nodes).saturating_mul(50_000);
        Self::of(100_000_000, 6, 4)
            .saturating_add(Self::of(60_000_000, 2, 8).saturating_mul(servers))
            .saturating_add(Self::of(15_000_000, 3, 0).saturating_mul(nodes))
            .saturating_add(Weight::from_parts(picoseconds, 0))
    }
    fn draw_panel(nodes: u32) -> Weight {
        Self::of(400_000_000, 30, 24)
            .saturating_add(Self::of(20_000_000, 3, 0).saturating_mul(nodes.into()))
    }
    fn time_out() -> Weight {
        // As `reveal`, or fifteen auditors whose stakes rest.
        Self::of(1_800_000_000, 140, 120)
    }
}
