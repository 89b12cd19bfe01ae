use super::*;

/// Fewer under Miri, which is some thousand times slower.
const JOBS: usize = if cfg!(miri) { 30 } else { 20_000 };

#[test]
fn each_part_runs_once() {
    for threads in [0, 1, 2, 3, 5] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for job in 0..JOBS {
            let parts = job % 7;
            let counts: [AtomicUsize; 7] = Default::default();
            pool.run(parts, |part| {
                counts[part].fetch_add(1, Ordering::Relaxed);
            });
            for (part, count) in counts.iter().enumerate() {
                assert_eq!(count.load(Ordering::Relaxed), usize::from(part < parts));
            }
        }
    }
}

#[test]
fn threads_that_slept_are_woken() {
    let pool = Pool::new(3);
    for _ in 0..if cfg!(miri) { 2 } else { 50 } {
        while !pool.shared.asleep.iter().all(|a| a.load(Ordering::SeqCst)) {
            thread::yield_now();
        }
        // Three parts that wait for each other: this ends only if all three threads come.
        let here = AtomicUsize::new(0);
        pool.run(3, |_| {
            here.fetch_add(1, Ordering::SeqCst);
            while here.load(Ordering::SeqCst) < 3 {
                thread::yield_now();
            }
        });
    }
}

#[test]
fn a_panic_in_a_part_reaches_the_caller_and_the_pool_goes_on() {
    let pool = Pool::new(3);
    for job in 0..if cfg!(miri) { 3 } else { 200 } {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(16, |part| assert!(part != job % 16, "part {part} is bad"));
        }));
        let message = caught.expect_err("one part panics");
        let message = message.downcast_ref::<String>().expect("a formatted one");
        assert_eq!(*message, format!("part {} is bad", job % 16));
        let sum = AtomicUsize::new(0);
        pool.run(16, |part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 120);
    }
}

#[test]
fn work_within_work_and_from_several_callers_is_done() {
    let pool = Pool::new(2);
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..JOBS / 10 {
                    pool.run(4, |_| {
                        pool.run(3, |_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        })
                    });
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 3 * (JOBS / 10) * 12);
}
