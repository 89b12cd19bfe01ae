//! A decoded token allocates nothing, on any thread.
// Counting allocations takes an allocator, and that takes `unsafe`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use quipu_engine::exact::{ExactEnds, ExactOptions, ExactSpan, Sequence};
use quipu_engine::testing::{TinyModel, TinyStorage};
use quipu_engine::Model;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test of this program: another one's allocations would be counted too.
#[test]
fn tokens_allocate_nothing_but_pages() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = TinyModel::new(1).wide().stored(TinyStorage::Q4_1);
    let model = Model::open(&tiny.write(dir.path()).unwrap()).unwrap();
    for threads in [1, 2] {
        let options = ExactOptions {
            threads,
            ..Default::default()
        };
        let span = ExactSpan::load(&model, 0..2, options).unwrap();
        let ends = ExactEnds::load(&model, options).unwrap();
        let mut workspace = span.new_workspace();
        let mut caches = [span.new_cache(256).unwrap(), span.new_cache(256).unwrap()];
        let row = ends.embed(&[7]).unwrap().data;
        let mut rows = [row.clone(), row.clone()];
        let mut logits = vec![0.0; 2 * model.config().vocab_size];
        let mut both = [row.clone(), row].concat();
        // The second time around, pages come from the first.
        for round in 0..2 {
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for position in 0..200 {
                let [first, second] = &mut caches;
                let [a, b] = &mut rows;
                let mut batch = [
                    Sequence::new(first, position, a),
                    Sequence::new(second, position, b),
                ];
                span.forward_batch(&mut workspace, &mut batch);
                for sequence in batch {
                    sequence.result().unwrap();
                }
                both[..256].copy_from_slice(&rows[0]);
                both[256..].copy_from_slice(&rows[1]);
                ends.logits_into(&both, &mut logits).unwrap();
                // Back to the size of embeddings, or many rounds would let them grow.
                for row in rows.iter_mut() {
                    row.iter_mut().for_each(|x| *x *= 0.1);
                }
            }
            let allocated = ALLOCATIONS.load(Ordering::SeqCst) - before;
            match round {
                // Two caches' pages, rotations, and buffers that grow by doubling.
                0 => assert!(allocated < 80, "{allocated} allocations"),
                _ if threads == 1 => assert_eq!(allocated, 0),
                // A thread has buffers of its own, and may have come too late to all of the first
                // round's work.
                _ => assert!(allocated <= 2, "{allocated} allocations"),
            }
            for cache in &mut caches {
                cache.truncate(0);
            }
        }
    }
}
