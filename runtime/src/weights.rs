//! What calls weigh.
//!
//! Those of Quipu's own pallets, and what their hooks do, are measured in this runtime's wasm by
//! `scripts/weights`, which writes the modules below; each says what it rests on.
//!
//! The rest is the SDK's: what it measured for its pallets on its reference hardware
//! (`SubstrateWeight`), its formulas for reports of equivocations to BABE and GRANDPA, its weights
//! of an empty block, of an empty extrinsic, and of a read and a write in ParityDB.
//! `pallet-session` charges a whole block for the one in which a session begins; `new_era` of the
//! staking pallet says that our part of it fits in, which that pallet's integrity test checks.

pub mod quipu_pallet_access;
pub mod quipu_pallet_audits;
pub mod quipu_pallet_emission;
pub mod quipu_pallet_inference;
pub mod quipu_pallet_slashing;
pub mod quipu_pallet_staking;
pub mod quipu_pallet_subnets;
