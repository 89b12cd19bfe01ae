//! What computes.

use clap::ValueEnum;
use quipu_primitives::Kernel;
use serde::Deserialize;
use std::fmt;

/// What computes the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA device.
    Cuda,
}

impl Device {
    /// Does it compute with these kernels?
    pub fn runs(self, kernel: Kernel) -> bool {
        match self {
            Device::Cpu => matches!(kernel, Kernel::FlexF32 | Kernel::ReproducibleV1),
            Device::Cuda => kernel == Kernel::Cuda,
        }
    }
}

/// With the kernels that it computes with, as `quipu subnet register --profile` names them.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "the CPU (kernels flex-f32 and reproducible-v1)",
            Device::Cuda => "CUDA (kernel cuda)",
        })
    }
}
