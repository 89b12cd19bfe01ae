//! How each pallet is configured, grouped by what it is about.

mod consensus;
mod economy;
mod money;
mod quipu;
mod system;

pub use economy::{
    dynamic_params, RuntimeParameters, RuntimeParametersKey, RuntimeParametersValue,
};
pub use money::{LengthToFee, WeightToFee};
pub use quipu::NodeObligations;
pub use system::{ProxyKind, RuntimeBlockLength, RuntimeBlockWeights};
