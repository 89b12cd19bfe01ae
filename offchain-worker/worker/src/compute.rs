//! The loaded span: behind core's port, on a thread of its own, measured.

mod measure;
mod span;
mod thread;

pub use measure::{measure, Rates};
pub use span::SpanCompute;
pub use thread::{ComputeHandle, ComputeThread};
