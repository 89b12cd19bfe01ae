//! Memory for weights.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes that start at a cache line, or at a huge page where there are enough of them.
pub(crate) struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

const LINE: usize = 64;
/// A huge page of x86-64, and of AArch64 with pages of 4 KiB.
const HUGE: usize = 2 << 20;

// SAFETY: it owns its bytes as a `Vec<u8>` does.
unsafe impl Send for Buffer {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let Some(layout) = layout(len) else {
            return Self {
                start: NonNull::dangling(),
                len: 0,
            };
        };
        // SAFETY: the layout's size isn't zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        advise_huge_pages(start, layout);
        Self { start, len }
    }
}

/// None for no bytes.
fn layout(len: usize) -> Option<Layout> {
    let align = if len < HUGE { LINE } else { HUGE };
    let layout = Layout::from_size_align(len, align);
    // An allocation this large fails in any case.
    let layout = layout.unwrap_or_else(|_| panic!("{len} bytes don't fit the address space"));
    (len > 0).then_some(layout)
}

/// Weights are read from end to end for every token, and with small pages some of that time goes to
/// looking up addresses. It is advice: where the system doesn't take it, nothing else changes.
#[cfg(all(target_os = "linux", not(miri)))]
fn advise_huge_pages(start: NonNull<u8>, layout: Layout) {
    use std::ffi::{c_int, c_void};
    extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    if layout.align() == HUGE {
        // SAFETY: the range is whole pages from an aligned start, all of them part of this
        // allocation; the advice changes no contents.
        unsafe {
            madvise(
                start.as_ptr().cast(),
                layout.size() & !(HUGE - 1),
                MADV_HUGEPAGE,
            )
        };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn advise_huge_pages(_: NonNull<u8>, _: Layout) {}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is an allocation of `len` initialised bytes, or dangling and `len` is 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len) {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}
