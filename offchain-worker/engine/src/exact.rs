//! Blocks and ends on reproducible kernels: the same bits on every machine, for any number of threads,
//! any batch, any way of cutting a prompt or a model into pieces.
//!
//! [`ExactSpan`] and [`ExactEnds`] do what [`Span`](crate::Span) and [`Ends`](crate::Ends) do, with the
//! same checks and errors. Weights stay as they are stored where there is a kernel for their type, else
//! they become f32. In front of quantised weights activations are rounded to 16 bits, 32 at a time
//! by the greatest of them; in front of F32, F16 and BF16 they are not. Which of the two it is follows from the types in the
//! file alone, so that the file determines the bits.
//!
//! The order of every operation is that of `quipu_kernels`, whose documentation is the
//! specification. In a numeric profile of a manifest this is
//! [`Kernel::ReproducibleV1`](quipu_primitives::Kernel), with keys and values in f32.

pub use quipu_kernels::{Isa, PAGE_POSITIONS};
use quipu_primitives::{DType, Kernel};

mod batch;
mod cache;
mod ends;
mod linear;
mod op;
mod rope;
mod span;

pub use batch::{Sequence, Workspace};
pub use cache::ExactCache;
pub use ends::ExactEnds;
pub use op::PackedLinear;
pub use span::ExactSpan;

/// Name and version of what is computed. Anything that changes a bit changes the version.
pub const FAMILY: &str = "quipu-exact/2";

/// The family as a manifest's numeric profile names it.
pub const KERNEL: Kernel = Kernel::ReproducibleV1;

/// Type of the cached keys and values.
pub const KV: DType = DType::F32;

/// With what an [`ExactSpan`] computes. None of it changes a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactOptions {
    /// Threads, the calling one among them.
    pub threads: usize,
    /// Instruction set, one that the machine has.
    pub isa: Isa,
    /// Most pages of cache, of [`PAGE_POSITIONS`](quipu_kernels::PAGE_POSITIONS) positions each, for
    /// all sequences together.
    pub max_pages: usize,
}

impl Default for ExactOptions {
    /// One thread, the best instruction set of the machine, 1024 pages.
    fn default() -> Self {
        Self {
            threads: 1,
            isa: Isa::detect(),
            max_pages: 1024,
        }
    }
}

#[cfg(test)]
mod tests;
