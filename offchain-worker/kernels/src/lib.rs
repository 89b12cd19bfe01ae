#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod exp;
mod isa;
mod lanes;
mod matrix;
mod norm;
#[cfg(test)]
mod numbers;
mod pool;
mod quantize;
mod rope;
mod rows;

pub use activation::silu_mul;
pub use attention::{
    attend, AttentionPlan, AttentionScratch, AttentionShape, KvPage, PAGE_POSITIONS,
};
pub use exp::exp_in_place;
pub use isa::{Isa, IsaError};
pub use matrix::{Finish, Format, MatrixError, Operand, PackedMatrix, ShapeError};
pub use norm::rms_norm;
pub use pool::{Pool, MAX_THREADS};
pub use quantize::QuantizedRows;
pub use rope::rotate;

/// The instruction set and the threads that kernels run with. Neither changes a single bit of
/// what they compute.
#[derive(Debug)]
pub struct Kernels {
    isa: Isa,
    pool: Pool,
}

impl Kernels {
    /// Kernels for `isa`, on `threads` threads, the calling one among them.
    ///
    /// # Errors
    /// [`IsaError::Unavailable`] if this machine can't run `isa`.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, IsaError> {
        if !isa.is_available() {
            return Err(IsaError::Unavailable(isa));
        }
        let pool = Pool::new(threads);
        Ok(Self { isa, pool })
    }

    /// The instruction set in use. This machine has it: nothing else gets in here, and the `unsafe`
    /// code below relies on it.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads in use.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}
