#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

extern crate alloc;

pub mod audit;
pub mod economy;
pub mod hash;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod money;
pub mod receipt;
pub mod session;
pub mod span;
pub mod views;

#[cfg(feature = "frame")]
pub mod agenda;
#[cfg(feature = "frame")]
pub mod runtime_api;
#[cfg(feature = "frame")]
pub mod traits;

pub use hash::Digest;
pub use ids::{node_account, node_of_account, JobId, NodeId, SessionId, SubnetId, ROOT_SUBNET};
pub use manifest::{
    Architecture, BoundedBytes, DType, Kernel, Manifest, ManifestError, ModelConfig,
    NumericProfile, RopeScaling, Terms,
};
pub use money::{cost, Balance, InQpu};
pub use receipt::{Leaf, Receipt, SignedReceipt, RECEIPT_POSITIONS};
pub use session::{voucher_payload, Voucher};
pub use span::{Span, SpanError};

/// Account of a person or of a key, as the chain knows it: 32 bytes of an sr25519 public key.
pub type AccountBytes = [u8; 32];

/// An sr25519 signature in the `substrate` signing context.
pub type SignatureBytes = [u8; 64];
