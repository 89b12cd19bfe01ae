//! How each pallet is configured, grouped by what it is about.

mod consensus;
mod money;
mod quipu;
mod system;

pub use money::{LengthToFee, WeightToFee};
pub use quipu::NodeObligations;
pub use system::{ProxyKind, RuntimeBlockLength, RuntimeBlockWeights};
