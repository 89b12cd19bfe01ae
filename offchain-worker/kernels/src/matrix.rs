//! Products with weight matrices that stay in the form they are stored in.

mod buffer;
mod dense;
mod format;
mod pack;
mod product;
mod quantized;
mod simd;
#[cfg(test)]
mod tests;

pub use format::Format;
pub use pack::{MatrixError, PackedMatrix};
pub use product::{Finish, Operand, ShapeError};

/// Rows that lie interleaved. A SIMD lane owns one of them.
pub(crate) const GROUP: usize = 16;
