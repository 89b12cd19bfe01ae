//! The loaded span: behind core's port, on a thread of its own, scheduled, measured.

mod exact;
mod measure;
mod schedule;
mod sequences;
mod span;
mod thread;

pub use exact::ExactCompute;
pub use measure::{measure, Rates};
pub use span::SpanCompute;
pub use thread::{ComputeHandle, ComputeThread};
