//! Threads for single products: they spin for a short while between two of them, then sleep.
//!
//! A decoded token is some two hundred products of 5 to 500 µs each. Waking a sleeping thread takes
//! longer than most of them, so threads that have just worked watch for more work before they
//! sleep, and no one waits for a thread that is still waking up: work is taken in parts by
//! whoever is there, and a thread that comes when all parts are taken goes back to watching.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// More threads than this are never started.
pub const MAX_THREADS: usize = 256;

/// How often a thread looks for work before it sleeps: about 50 to 100 µs.
const SPINS: u32 = if cfg!(miri) { 20 } else { 2_000 };

/// A fixed set of threads that share the parts of one piece of work after another.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the caller whose work the threads are at.
    running: Mutex<()>,
}

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// A piece of work: called once for each part.
#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    parts: usize,
}

struct Shared {
    /// See [`state`].
    state: AtomicU64,
    /// Written by the caller of `run` alone, while the state is closed and nobody is at work.
    job: UnsafeCell<Option<Job>>,
    /// The next part to take.
    next: AtomicUsize,
    /// Threads that have joined the job and are through with it.
    left: AtomicUsize,
    stop: AtomicBool,
    asleep: Vec<AtomicBool>,
    /// What the first thread that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that isn't `Sync` already. It is written in `Pool::run` alone, by
// the holder of `running`, before the state is opened (a release) and after every thread that had
// joined the job before has left it (an acquire of `left`). It is read by threads that have joined,
// that is, have seen the state open (an acquire). The pointer in it lives as long: `run` doesn't
// return before they have left.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

/// The state is one word, so that joining a job and closing it exclude each other: 16 bits of
/// threads that have joined, one bit that says whether the job is open, 47 bits of its number.
mod state {
    pub const JOINED: u64 = 0xffff;
    pub const OPEN: u64 = 1 << 16;
    pub const ONE_JOB: u64 = 1 << 17;
}

impl Pool {
    /// A pool of `threads`, the caller of [`Pool::run`] among them: one less is started, none for 0
    /// and 1. Should the system refuse to start some, the pool does with fewer.
    pub fn new(threads: usize) -> Self {
        let others = threads.clamp(1, MAX_THREADS) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            asleep: (0..others).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        });
        let start = |index| {
            let shared = shared.clone();
            let builder = thread::Builder::new().name(format!("kernels-{index}"));
            builder.spawn(move || shared.serve(index)).ok()
        };
        let workers = (0..others).map_while(start).collect();
        Self {
            shared,
            workers,
            running: Mutex::new(()),
        }
    }

    /// How many threads share the work, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` once for each of `0..parts`, on all threads, in no order; returns when
    /// all calls have returned. What the parts write must not depend on who runs them.
    ///
    /// While the threads are at another caller's work, or called from within `work`, all parts run
    /// on the calling thread. Nothing is allocated.
    ///
    /// # Panics
    /// With what the first panicking part said, after all threads have left the work.
    pub fn run(&self, parts: usize, work: impl Fn(usize) + Sync) {
        let alone = self.workers.is_empty() || parts < 2;
        let running = if alone {
            None
        } else {
            self.running.try_lock().ok()
        };
        match running {
            Some(running) => self.share(running, parts, &work),
            None => (0..parts).for_each(work),
        }
    }

    fn share(&self, running: MutexGuard<'_, ()>, parts: usize, work: &Work<'_>) {
        let shared = &*self.shared;
        // SAFETY: the lifetime is dropped from a pointer that is used until this function
        // returns at the latest: it waits for all who joined, and nobody joins a closed job.
        let work: *const Work<'static> = unsafe { std::mem::transmute(work as *const Work<'_>) };
        let job = Job { work, parts };
        // SAFETY: the state is closed, and all who joined the last job have left: no one reads.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.left.store(0, Ordering::Relaxed);
        let last = shared.state.load(Ordering::Relaxed) & !(state::OPEN | state::JOINED);
        let open = last.wrapping_add(state::ONE_JOB) | state::OPEN;
        // Sequentially consistent, as are the stores to `asleep`: either a thread that is going to
        // sleep sees this job, or it is seen here to be asleep.
        shared.state.store(open, Ordering::SeqCst);
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.take_parts(job);
        let joined = shared.state.fetch_and(!state::OPEN, Ordering::AcqRel) & state::JOINED;
        let mut spins = 0;
        while shared.left.load(Ordering::Acquire) as u64 != joined {
            spins += 1;
            if spins > SPINS {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
        let panic = lock(&shared.panic).take();
        drop(running);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Shared {
    /// What a thread does all its life.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        let mut spins = 0;
        while !self.stop.load(Ordering::Acquire) {
            if let Some(job) = self.join(&mut seen) {
                self.take_parts(job);
                self.left.fetch_add(1, Ordering::Release);
                spins = 0;
                continue;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            spins = 0;
            self.asleep[index].store(true, Ordering::SeqCst);
            let news = self.state.load(Ordering::SeqCst);
            let idle = news & state::OPEN == 0 || news / state::ONE_JOB == seen;
            if idle && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep[index].store(false, Ordering::SeqCst);
        }
    }

    /// Joins the open job, unless it is the one that this thread has `seen` last.
    fn join(&self, seen: &mut u64) -> Option<Job> {
        let mut now = self.state.load(Ordering::Acquire);
        loop {
            let number = now / state::ONE_JOB;
            if now & state::OPEN == 0 || number == *seen {
                return None;
            }
            let joined = now + 1;
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self
                .state
                .compare_exchange_weak(now, joined, success, failure)
            {
                Ok(_) => {
                    *seen = number;
                    // SAFETY: the job is open and this thread is counted: the caller doesn't
                    // write before it has left. See `Sync`.
                    return unsafe { *self.job.get() };
                }
                Err(other) => now = other,
            }
        }
    }

    /// Runs parts until none is left. A panic is put aside, and no part after it is run.
    fn take_parts(&self, job: Job) {
        let run = || loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= job.parts {
                break;
            }
            // SAFETY: the pointer lives until the caller of `run` has seen all who joined leave,
            // and this thread is one of them, or the caller.
            unsafe { (*job.work)(part) };
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            self.next.store(job.parts, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(payload);
        }
    }
}

impl Drop for Pool {
    /// Ends the threads and waits for them.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A thread catches what its work panics with: there is no other error.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Pool");
        debug.field("threads", &self.threads()).finish()
    }
}

/// A panic while the lock was held leaves an `Option` in it, whole either way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
