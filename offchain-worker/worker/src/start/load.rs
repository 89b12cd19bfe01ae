//! Loading blocks for the kernels of a profile.

use crate::{
    compute::{measure, ExactCompute, Rates, SpanCompute},
    error::WorkerError,
};
use quipu_engine::{backend::FlexDevice, CpuSpan, Model};
use quipu_primitives::{Kernel, Span};
use quipu_worker_core::ports::Compute;
use std::time::Instant;
use tracing::info;

/// Loads the blocks and measures them. Blocks.
pub(super) fn load(
    model: &Model,
    kernel: Kernel,
    span: Span,
    threads: usize,
    positions: u32,
) -> Result<(Box<dyn Compute>, Rates), WorkerError> {
    let started = Instant::now();
    let work = || {
        let (mut compute, bytes) = load_blocks(model, kernel, span, threads, positions)?;
        let took = started.elapsed();
        let rates = measure(compute.as_mut())?;
        info!(
            %span, ?kernel, threads, bytes, ?took, decode = ?rates.decode, prefill = rates.prefill,
            "blocks loaded"
        );
        Ok((compute, rates))
    };
    #[cfg(feature = "cuda")]
    if kernel == Kernel::Cuda {
        return on_device(work);
    }
    work()
}

/// Loads blocks with a cache for so many positions, and says how many bytes their weights take. Blocks.
pub fn load_blocks(
    model: &Model,
    kernel: Kernel,
    span: Span,
    threads: usize,
    positions: u32,
) -> Result<(Box<dyn Compute>, usize), WorkerError> {
    let range = usize::from(span.start)..usize::from(span.end);
    match kernel {
        Kernel::ReproducibleV1 => {
            let compute = ExactCompute::load(model, range, threads, positions)?;
            let bytes = compute.weight_bytes();
            Ok((Box::new(compute), bytes))
        }
        Kernel::FlexF32 => {
            let loaded = CpuSpan::load(model, range, &FlexDevice)?;
            let bytes = loaded.weight_bytes();
            Ok((Box::new(SpanCompute::new(loaded, positions)), bytes))
        }
        #[cfg(feature = "cuda")]
        Kernel::Cuda => {
            let device = quipu_engine::backend::CudaDevice::default();
            let loaded = quipu_engine::CudaSpan::load(model, range, &device)?;
            let bytes = loaded.weight_bytes();
            Ok((Box::new(SpanCompute::new(loaded, positions)), bytes))
        }
        #[cfg(not(feature = "cuda"))]
        Kernel::Cuda => Err(crate::config::ConfigError::NoCuda.into()),
    }
}

/// Runs what uses a device for the first time. Burn can't be asked whether there is one: it panics
/// where driver, device or libraries are missing, some of it only when a kernel is compiled.
#[cfg_attr(not(feature = "cuda"), cfg(test))]
fn on_device<T>(work: impl FnOnce() -> Result<T, WorkerError>) -> Result<T, WorkerError> {
    // What was half made is dropped with the panic, and nobody looks at it again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(WorkerError::NoDevice(
            said.unwrap_or("the reason stands above").to_owned(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_no_panic() {
        assert_eq!(on_device(|| Ok(3)).unwrap(), 3);
        let error = on_device::<()>(|| panic!("libcuda.so: {}", "not found")).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("libcuda.so: not found") && told.contains("--device cpu"),
            "{told}"
        );
        let error = on_device::<()>(|| std::panic::panic_any(7)).unwrap_err();
        assert!(error.to_string().contains("stands above"), "{error}");
        assert_eq!(
            quipu_worker_core::Classified::fault(&error),
            quipu_worker_core::Fault::Environment
        );
    }
}
