// Measured 2026-11-20 on Intel(R) Xeon(R) Processor, 2 cores;
// rustc 1.96.0, commit aacb63c.
// Again: scripts/weights --steps 50 --repeat 20
// Since then, by hand until that is run: what the audits are asked and told in `finalize` (their rate, holds,
// draws and forfeits), and a look at the job's session in `pay_job`.

//! Weights of `quipu_pallet_inference`, measured on this runtime's wasm. Generated: do not edit.
//!
//! Values of each component: 50; runs at each: 20 or more.
//! Proof sizes are those recorded; the chain does not bound them.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weights of `quipu_pallet_inference`.
pub struct WeightInfo<T>(PhantomData<T>);
impl<T: frame_system::Config> quipu_pallet_inference::WeightInfo for WeightInfo<T> {
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:1)
	/// Storage: `Inference::Deadlines` (r:0 w:1)
	/// Storage: `Inference::Duties` (r:64 w:64)
	/// Storage: `Inference::NextSession` (r:1 w:1)
	/// Storage: `Inference::OpenSessions` (r:1 w:1)
	/// Storage: `Inference::Sessions` (r:0 w:1)
	/// Storage: `Subnets::Nodes` (r:64 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:0)
	/// The range of component `s` is `[1, 64]`.
	fn open_session(s: u32, ) -> Weight {
		// Fastest run: 98_560_000 picoseconds.
		Weight::from_parts(100_473_505, 705)
			// Standard error: 12_351
			.saturating_add(Weight::from_parts(7_052_926, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().reads(2_u64.saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(6_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64.saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 201).saturating_mul(s.into()))
	}
	// Not measured yet: a manifest, a day, a lock, two parameters and the payer are read besides, and a lock is
	// written.
	fn open_session_by_quota(s: u32, ) -> Weight {
		Self::open_session(s)
			.saturating_add(Weight::from_parts(80_000_000, 20_000))
			.saturating_add(T::DbWeight::get().reads(7_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Inference::Cursor` (r:1 w:1)
	/// Storage: `Inference::Deadlines` (r:0 w:2)
	/// Storage: `Inference::Sessions` (r:1 w:1)
	/// Storage: `System::BlockHash` (r:1 w:0)
	/// The range of component `v` is `[0, 64]`.
	fn settle(v: u32, ) -> Weight {
		// Fastest run: 42_675_000 picoseconds.
		Weight::from_parts(128_738_327, 3206)
			// Standard error: 160_409
			.saturating_add(Weight::from_parts(52_348_283, 0).saturating_mul(v.into()))
			.saturating_add(T::DbWeight::get().reads(3_u64))
			.saturating_add(T::DbWeight::get().writes(4_u64))
	}
	/// Storage: `Inference::Sessions` (r:1 w:1)
	/// Storage: `System::BlockHash` (r:1 w:0)
	fn redeem() -> Weight {
		// Fastest run: 104_975_000 picoseconds.
		Weight::from_parts(123_454_000, 3210)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:0)
	/// Storage: `Inference::Deadlines` (r:0 w:2)
	/// Storage: `Inference::Duties` (r:64 w:64)
	/// Storage: `Inference::OpenSessions` (r:1 w:1)
	/// Storage: `Inference::Sessions` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:64 w:0)
	/// Storage: `System::Account` (r:64 w:64)
	/// The range of component `s` is `[1, 64]`.
	fn finalize(s: u32, ) -> Weight {
		// Fastest run: 157_399_000 picoseconds.
		Weight::from_parts(214_807_267, 1089)
			// Standard error: 268_053
			.saturating_add(Weight::from_parts(62_274_246, 0).saturating_mul(s.into()))
			.saturating_add(T::DbWeight::get().reads(10_u64))
			.saturating_add(T::DbWeight::get().reads(3_u64.saturating_mul(s.into())))
			.saturating_add(T::DbWeight::get().writes(9_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64.saturating_mul(s.into())))
			.saturating_add(Weight::from_parts(0, 349).saturating_mul(s.into()))
	}
	/// Storage: `Babe::EpochStart` (r:1 w:0)
	/// Storage: `Babe::NextRandomness` (r:1 w:0)
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:1)
	/// Storage: `Inference::Deadlines` (r:0 w:1)
	/// Storage: `Inference::Duties` (r:1 w:1)
	/// Storage: `Inference::Jobs` (r:0 w:1)
	/// Storage: `Inference::NextJob` (r:1 w:1)
	/// Storage: `Inference::NextSession` (r:1 w:0)
	/// Storage: `Inference::Prompts` (r:0 w:1)
	/// Storage: `Subnets::Members` (r:1 w:0)
	/// Storage: `Subnets::Nodes` (r:256 w:0)
	/// Storage: `Subnets::Subnets` (r:1 w:0)
	/// The range of component `p` is `[1, 4096]`.
	/// The range of component `n` is `[1, 256]`.
	fn request(p: u32, n: u32, ) -> Weight {
		// Fastest run: 104_651_000 picoseconds.
		Weight::from_parts(69_037_224, 1022)
			// Standard error: 1_141
			.saturating_add(Weight::from_parts(9_476, 0).saturating_mul(p.into()))
			// Standard error: 18_295
			.saturating_add(Weight::from_parts(4_433_548, 0).saturating_mul(n.into()))
			.saturating_add(T::DbWeight::get().reads(9_u64))
			.saturating_add(T::DbWeight::get().reads(1_u64.saturating_mul(n.into())))
			.saturating_add(T::DbWeight::get().writes(7_u64))
			.saturating_add(Weight::from_parts(0, 202).saturating_mul(n.into()))
	}
	/// Storage: `Inference::Answers` (r:0 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:0)
	/// Storage: `Inference::Deadlines` (r:0 w:2)
	/// Storage: `Inference::Jobs` (r:1 w:1)
	/// Storage: `Inference::Sessions` (r:1 w:1)
	/// Storage: `Subnets::NodeOfHotkey` (r:1 w:0)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	/// The range of component `a` is `[0, 16384]`.
	fn submit_result(a: u32, ) -> Weight {
		// Fastest run: 86_619_000 picoseconds.
		Weight::from_parts(93_954_238, 5125)
			// Standard error: 33
			.saturating_add(Weight::from_parts(1_729, 0).saturating_mul(a.into()))
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(5_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:0)
	/// Storage: `Inference::Deadlines` (r:0 w:2)
	/// Storage: `Inference::Duties` (r:1 w:1)
	/// Storage: `Inference::Jobs` (r:1 w:1)
	/// Storage: `Subnets::Nodes` (r:1 w:0)
	/// Storage: `System::Account` (r:2 w:2)
	fn pay_job() -> Weight {
		// Fastest run: 132_148_000 picoseconds.
		Weight::from_parts(151_688_000, 3294)
			.saturating_add(T::DbWeight::get().reads(8_u64))
			.saturating_add(T::DbWeight::get().writes(7_u64))
	}
	/// Storage: `Balances::Holds` (r:1 w:1)
	/// Storage: `Inference::Cursor` (r:1 w:0)
	/// Storage: `Inference::Deadlines` (r:0 w:2)
	/// Storage: `Inference::Duties` (r:1 w:1)
	/// Storage: `Inference::Jobs` (r:1 w:1)
	/// Storage: `System::Account` (r:1 w:1)
	fn refund_job() -> Weight {
		// Fastest run: 89_543_000 picoseconds.
		Weight::from_parts(105_183_000, 1331)
			.saturating_add(T::DbWeight::get().reads(5_u64))
			.saturating_add(T::DbWeight::get().writes(6_u64))
	}
	/// Storage: `Inference::Cursor` (r:1 w:1)
	/// Storage: `Inference::Deadlines` (r:1 w:0)
	fn idle() -> Weight {
		// Fastest run: 5_675_000 picoseconds.
		Weight::from_parts(6_900_000, 32)
			.saturating_add(T::DbWeight::get().reads(2_u64))
			.saturating_add(T::DbWeight::get().writes(1_u64))
	}
	/// Storage: `Inference::Deadlines` (r:0 w:1)
	/// Storage: `Inference::Sessions` (r:1 w:1)
	fn drop_session() -> Weight {
		// Fastest run: 16_735_000 picoseconds.
		Weight::from_parts(20_061_000, 3159)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(2_u64))
	}
	/// Storage: `Inference::Answers` (r:0 w:1)
	/// Storage: `Inference::Deadlines` (r:0 w:1)
	/// Storage: `Inference::Jobs` (r:1 w:1)
	/// Storage: `Inference::Prompts` (r:0 w:1)
	fn drop_job() -> Weight {
		// Fastest run: 20_542_000 picoseconds.
		Weight::from_parts(24_049_000, 468)
			.saturating_add(T::DbWeight::get().reads(1_u64))
			.saturating_add(T::DbWeight::get().writes(4_u64))
	}
}
