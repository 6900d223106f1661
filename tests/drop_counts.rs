//! Every closure's captures and every result are dropped exactly once, on all paths.

mod common;

use common::{Census, Item, WORKERS, planned, spin_until, system, watch};
use ramie::{Counter, Drain, JobError, JobSystem};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something of a given size and alignment that is counted, and that notices when it was moved wrongly.
trait Sized: Send + 'static {
    fn with(item: Item) -> Self;
    fn check(&self);
}

impl Sized for Item {
    fn with(item: Item) -> Self {
        item
    }
    fn check(&self) {}
}

struct Large<const BYTES: usize> {
    item: Item,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Sized for Large<BYTES> {
    fn with(item: Item) -> Self {
        Self { item, bytes: [0xA5; BYTES] }
    }
    fn check(&self) {
        assert!(self.bytes.iter().all(|byte| *byte == 0xA5), "the bytes of {:?} were changed", self.item);
    }
}

macro_rules! aligned {
    ($($name:ident $align:literal)*) => {$(
        #[repr(align($align))]
        struct $name(Item, u8);
        impl Sized for $name {
            fn with(item: Item) -> Self {
                Self(item, 0x5A)
            }
            fn check(&self) {
                assert_eq!(std::ptr::from_ref(self).addr() % $align, 0, "{:?} is not aligned", self.0);
                assert_eq!(self.1, 0x5A);
            }
        }
    )*};
}

aligned! { Align32 32 Align64 64 Align128 128 Align1024 1024 Align4096 4096 }

fn quiet(workers: usize) -> JobSystem {
    common::builder().workers(workers).on_panic(|_| ()).build().expect("a system")
}

/// All the ways in which a job with a capture `C` and a result `R` can end.
fn every_path<C: Sized, R: Sized>(workers: usize) {
    let census = Census::default();
    let system = quiet(workers);
    let mut made = 0;
    let mut item = || {
        made += 1;
        census.item()
    };
    let job = |capture: C, result: Item| {
        move || {
            capture.check();
            R::with(result)
        }
    };
    // Joined.
    let result = system.spawn(job(C::with(item()), item())).join().expect("it runs");
    result.check();
    drop(result);
    // Joined after the end, and inside.
    let handle = system.spawn(job(C::with(item()), item()));
    spin_until(|| handle.is_finished());
    handle.join().expect("it has run").check();
    let inside = job(C::with(item()), item());
    system.run(|| ramie::spawn(inside).join().expect("it runs").check());
    // The handle dropped before the end, and after it.
    drop(system.spawn(job(C::with(item()), item())));
    let handle = system.spawn(job(C::with(item()), item()));
    spin_until(|| handle.is_finished());
    drop(handle);
    let (gate, begun) = (Counter::new(1), Counter::new(1));
    let (theirs, ready, inner) = (gate.clone(), begun.clone(), job(C::with(item()), item()));
    let handle = system.spawn(move || {
        ready.signal();
        theirs.wait();
        inner()
    });
    begun.wait();
    drop(handle);
    gate.signal();
    // Detached, with a counter.
    let (done, inner) = (Counter::new(0), job(C::with(item()), item()));
    system.job().name("counted").counter(&done).detach(move || inner().check());
    done.wait();
    // A panic, with the handle joined and dropped.
    for join in [true, false] {
        let (capture, result) = (C::with(item()), item());
        let handle = system.spawn(move || -> R {
            let _held = (capture, result);
            planned(1)
        });
        if join {
            assert!(matches!(handle.join(), Err(JobError::Panicked(_))));
        }
    }
    // Cancelled while held; with the handle kept and dropped.
    for join in [true, false] {
        let gate = Counter::new(1);
        // The second of a pair is never made a result: it is a capture.
        let handle = system.job().after(&gate).counter(&done).spawn(job(C::with(item()), item()));
        assert!(handle.cancel());
        assert!(!handle.cancel());
        if join {
            assert!(matches!(handle.join(), Err(JobError::Cancelled)));
        }
        gate.signal();
    }
    // Cancelled in the queue, or not.
    let handle = system.spawn(job(C::with(item()), item()));
    let cancelled = handle.cancel();
    assert_eq!(cancelled, matches!(handle.join(), Err(JobError::Cancelled)));
    // After a counter that is dropped, and one that is signalled.
    let gate = Counter::new(1);
    let handle = system.job().after(&gate).spawn(job(C::with(item()), item()));
    drop(gate);
    assert!(matches!(handle.join(), Err(JobError::Abandoned)));
    let gate = Counter::new(1);
    drop(system.job().after(&gate).spawn(job(C::with(item()), item())));
    gate.signal();
    // Scope and batch.
    system.scope(|s| {
        drop(s.spawn(job(C::with(item()), item())));
        s.spawn(job(C::with(item()), item())).join().expect("it runs").check();
        let inner = job(C::with(item()), item());
        s.job().name("member").detach(move || inner().check());
    });
    let jobs: Vec<_> = (0..3).map(|_| job(C::with(item()), item())).collect();
    system.spawn_batch(jobs.into_iter().map(|job| move || job().check())).wait();
    let jobs: Vec<_> = (0..3).map(|_| job(C::with(item()), item())).collect();
    drop(system.spawn_batch(jobs.into_iter().map(|job| move || job().check())));
    // Join and run.
    let (a, b) = (job(C::with(item()), item()), job(C::with(item()), item()));
    let (a, b) = system.join(a, b);
    a.check();
    b.check();
    drop((a, b));
    let only = job(C::with(item()), item());
    system.run(only).check();
    // After the end.
    system.shutdown(Drain::Finish).expect("from outside");
    let handle = system.spawn(job(C::with(item()), item()));
    assert!(matches!(handle.join(), Err(JobError::Abandoned)));
    drop(system.spawn(job(C::with(item()), item())));
    census.assert_all_dropped(made);
}

#[test]
fn small_ones_are_dropped_once() {
    let _watch = watch("small", 60);
    for workers in WORKERS {
        every_path::<Item, Item>(workers);
    }
}

#[test]
fn large_ones_are_dropped_once() {
    let _watch = watch("large", 60);
    for workers in [1, 3] {
        every_path::<Large<100>, Item>(workers);
        every_path::<Item, Large<100>>(workers);
        every_path::<Large<900>, Large<900>>(workers);
        every_path::<Large<1000>, Item>(workers);
        every_path::<Large<1024>, Large<1024>>(workers);
        every_path::<Item, Large<5000>>(workers);
        every_path::<Large<10_000>, Large<3>>(workers);
    }
}

#[test]
fn over_aligned_ones_are_aligned_and_dropped_once() {
    let _watch = watch("aligned", 60);
    for workers in [1, 3] {
        every_path::<Align32, Align32>(workers);
        every_path::<Align64, Item>(workers);
        every_path::<Item, Align64>(workers);
        every_path::<Align128, Align1024>(workers);
        every_path::<Align1024, Align128>(workers);
        every_path::<Align4096, Item>(workers);
        every_path::<Item, Align4096>(workers);
        every_path::<Align4096, Align4096>(workers);
    }
}

#[test]
fn zero_sized_ones_are_dropped_once() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    #[repr(align(256))]
    struct AlignedNothing(Nothing);
    let _watch = watch("zero-sized", 30);
    let mut expected = 0;
    for workers in WORKERS {
        let system = quiet(workers);
        let (nothing, aligned) = (Nothing, AlignedNothing(Nothing));
        // A result of size zero, and captures of size zero.
        drop(system.spawn(move || nothing).join());
        drop(system.spawn(move || aligned.0));
        let nothing = Nothing;
        let handle = system.spawn(move || {
            let _held = &nothing;
            planned(1)
        });
        assert!(handle.join().is_err());
        let (gate, nothing) = (Counter::new(1), Nothing);
        assert!(system.job().after(&gate).spawn(move || drop(nothing)).cancel());
        let batch: Vec<_> = (0..10).map(|_| Nothing).collect();
        system.spawn_batch(batch.into_iter().map(|nothing| move || drop(nothing))).wait();
        drop(system);
        expected += 14;
        assert_eq!(DROPPED.load(Ordering::SeqCst), expected);
    }
}

/// Abandoned with jobs that are queued, held, running and suspended: what runs is dropped after it has ended.
#[test]
fn an_abandoned_system_drops_everything_once() {
    let _watch = watch("abandon", 120);
    for workers in WORKERS {
        for round in 0..10 * common::soak() {
            let (system, census) = (quiet(workers), Census::default());
            let (never, gate, begun) = (Counter::new(1), Counter::new(1), Counter::new(2));
            let done = Counter::new(0);
            let mut made = 0;
            let mut item = || {
                made += 1;
                census.item()
            };
            // One suspended, one that keeps its worker busy until told.
            let (theirs, ready, capture, result) = (gate.clone(), begun.clone(), item(), item());
            let suspended = system.job().counter(&done).spawn(move || {
                ready.signal();
                theirs.wait();
                drop(capture);
                result
            });
            let (theirs, ready, capture, result) = (gate.clone(), begun.clone(), item(), item());
            let running = system.job().counter(&done).spawn(move || {
                ready.signal();
                while !theirs.is_zero() {
                    std::thread::yield_now();
                }
                drop(capture);
                result
            });
            begun.wait();
            let mut handles = Vec::new();
            for i in 0..60 {
                let (capture, result) = (item(), item());
                let job = move || {
                    drop(capture);
                    result
                };
                match i % 6 {
                    0 => handles.push(system.spawn(job)),
                    1 => drop(system.spawn(job)),
                    2 => handles.push(system.job().after(&never).counter(&done).spawn(job)),
                    3 => drop(system.job().after(&never).spawn(job)),
                    4 => system.job().counter(&done).detach(move || drop(job())),
                    _ => drop(system.spawn_batch([move || drop(job())])),
                }
            }
            let never = if round % 2 == 0 {
                drop(never);
                None
            } else {
                Some(never)
            };
            let report = system.shutdown(Drain::Abandon).expect("from outside");
            assert!(!report.finished);
            for handle in handles {
                match handle.join() {
                    Ok(item) => drop(item),
                    Err(JobError::Abandoned) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            if round % 3 == 0 {
                assert!(matches!(suspended.join(), Err(JobError::Abandoned)));
                assert!(matches!(running.join(), Err(JobError::Abandoned)));
            } else if round % 3 == 1 {
                drop((suspended, running));
            } else {
                gate.signal();
                done.wait();
                assert!(matches!(suspended.join(), Err(JobError::Abandoned)));
                assert!(matches!(running.join(), Err(JobError::Abandoned)));
            }
            if round % 3 != 2 {
                assert!(census.dropped() <= made - 4, "what still runs keeps its own");
                gate.signal();
            }
            done.wait();
            assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
            census.assert_all_dropped(made);
            drop(never);
        }
    }
}

/// The same while many threads and jobs submit.
#[test]
fn an_abandon_in_the_middle_of_submissions_drops_everything_once() {
    let _watch = watch("abandon in the middle", 120);
    for workers in WORKERS {
        for _ in 0..20 * common::soak() {
            let (system, census) = (quiet(workers), Census::default());
            let made = AtomicUsize::new(0);
            let begun = Counter::new(2);
            std::thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| {
                        for i in 0..100 {
                            made.fetch_add(6, Ordering::SeqCst);
                            let inner: Vec<Item> = (0..4).map(|_| census.item()).collect();
                            let (capture, result) = (census.item(), census.item());
                            let handle = system.spawn(move || {
                                let batch =
                                    ramie::spawn_batch(inner.into_iter().map(|item| move || drop(item)));
                                ramie::yield_now();
                                drop((batch, capture));
                                result
                            });
                            if i % 2 == 0 {
                                drop(handle);
                            } else {
                                drop(handle.join());
                            }
                            if i == 10 {
                                begun.signal();
                            }
                        }
                    });
                }
                begun.wait();
                system.shutdown(Drain::Abandon).expect("from outside");
            });
            assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
            census.assert_all_dropped(made.into_inner());
        }
    }
}

/// Handles outlive their system, with results in them.
#[test]
fn results_outlive_their_system() {
    let _watch = watch("outlive", 30);
    for workers in WORKERS {
        let (system, census) = (system(workers), Census::default());
        let handles: Vec<_> = (0..200)
            .map(|_| {
                let item = census.item();
                system.spawn(move || item)
            })
            .collect();
        drop(system);
        assert_eq!(census.dropped(), 0);
        for (i, handle) in handles.into_iter().enumerate() {
            if i % 2 == 0 {
                drop(handle.join().expect("it has run"));
            } else {
                drop(handle);
            }
        }
        census.assert_all_dropped(200);
    }
}

/// Handle dropped or cancelled at any moment of the job's life, from another thread.
#[test]
fn handles_race_with_their_jobs() {
    let _watch = watch("handles race", 60);
    let seed = common::seed();
    for workers in WORKERS {
        let (system, census) = (quiet(workers), Census::default());
        let mut rng = common::Rng(seed);
        let count = 3000 * common::soak();
        for _ in 0..count {
            let (capture, result) = (census.item(), census.item());
            let handle = system.spawn(move || {
                drop(capture);
                result
            });
            for _ in 0..rng.below(400) {
                std::hint::spin_loop();
            }
            match rng.below(4) {
                0 => drop(handle),
                1 => drop(handle.cancel()),
                2 => drop(handle.join()),
                _ => {
                    let cancelled = handle.cancel();
                    assert_eq!(handle.join().is_err(), cancelled);
                }
            }
        }
        drop(system);
        census.assert_all_dropped(2 * count);
    }
}

#[test]
fn memory_of_shared_captures_is_released() {
    let _watch = watch("arcs", 30);
    for workers in WORKERS {
        let system = system(workers);
        let shared = Arc::new(5);
        system.run(|| {
            ramie::scope(|s| {
                for _ in 0..100 {
                    let shared = Arc::clone(&shared);
                    drop(s.spawn(move || *shared));
                }
            });
        });
        assert_eq!(Arc::strong_count(&shared), 1, "captures are gone when the scope returns");
    }
}
