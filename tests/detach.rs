//! `Scope::detach`: jobs without a handle, in blocks of their own if they are small, and spawned inside of their system.

mod common;

use common::{Census, WORKERS, message, panic_of, planned, planned_id, spin_until, system, watch};
use ramie::{Counter, Drain, JobSystem};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const JOBS: usize = 300;

/// Spawns jobs whose captures are `N` bytes and a reference, and checks what arrives.
fn captures_arrive<const N: usize>(ran: &AtomicUsize) {
    ramie::scope(|scope| {
        for index in 0..JOBS {
            let bytes = [index as u8; N];
            scope.detach(move || {
                assert!(bytes.iter().all(|byte| *byte == index as u8), "{N} bytes, job {index}");
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
}

/// As above, for a capture that is aligned to more than any small block's content.
fn aligned_captures_arrive(ran: &AtomicUsize) {
    #[repr(align(64))]
    struct Aligned(usize);
    ramie::scope(|scope| {
        for index in 0..JOBS {
            let aligned = Aligned(index);
            scope.detach(move || {
                let aligned = &aligned;
                assert_eq!(std::ptr::from_ref(aligned).addr() % 64, 0);
                assert_eq!(aligned.0, index);
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
}

#[test]
fn captures_of_all_sizes_arrive() {
    let _watch = watch("captures", 60);
    // With the index and the reference: from 16 bytes to more than a small block holds, each boundary in between.
    let all: &[fn(&AtomicUsize)] = &[
        captures_arrive::<0>,
        captures_arrive::<1>,
        captures_arrive::<7>,
        captures_arrive::<8>,
        captures_arrive::<23>,
        captures_arrive::<24>,
        captures_arrive::<25>,
        captures_arrive::<32>,
        captures_arrive::<100>,
        captures_arrive::<1000>,
        aligned_captures_arrive,
    ];
    for workers in WORKERS {
        let system = system(workers);
        let ran = AtomicUsize::new(0);
        system.run(|| all.iter().for_each(|arrive| arrive(&ran)));
        assert_eq!(ran.load(Ordering::Relaxed), all.len() * JOBS);
    }
}

/// The smallest closure: a reference, or nothing at all.
#[test]
fn captures_may_be_one_word_or_none() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let _watch = watch("a word", 60);
    for workers in WORKERS {
        let system = system(workers);
        RAN.store(0, Ordering::Relaxed);
        let ran = AtomicUsize::new(0);
        system.run(|| {
            ramie::scope(|scope| {
                for _ in 0..JOBS {
                    scope.detach(|| _ = RAN.fetch_add(1, Ordering::Relaxed));
                    scope.detach(|| _ = ran.fetch_add(1, Ordering::Relaxed));
                }
            });
        });
        assert_eq!((RAN.load(Ordering::Relaxed), ran.into_inner()), (JOBS, JOBS));
    }
}

#[test]
fn captures_are_dropped_once_also_by_panics() {
    let _watch = watch("panics", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (census, ran) = (Census::default(), AtomicUsize::new(0));
        let ran = &ran;
        let payload = panic_of(|| {
            system.run(|| {
                ramie::scope(|scope| {
                    for index in 0..JOBS {
                        let item = census.item();
                        scope.detach(move || {
                            let _item = item;
                            ran.fetch_add(1, Ordering::Relaxed);
                            if index % 3 == 0 {
                                planned(7);
                            }
                        });
                    }
                });
            });
        });
        assert_eq!(planned_id(&*payload), 7);
        assert_eq!(ran.load(Ordering::Relaxed), JOBS, "a panic holds up no other member");
        census.assert_all_dropped(JOBS);
    }
}

#[test]
fn members_may_wait_and_spawn_more() {
    let _watch = watch("waiting", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (gate, ran) = (Counter::new(1), AtomicUsize::new(0));
        let (gate, ran) = (&gate, &ran);
        system.run(|| {
            ramie::scope(|scope| {
                for _ in 0..JOBS {
                    scope.detach(move || {
                        gate.wait();
                        scope.detach(move || _ = ran.fetch_add(1, Ordering::Relaxed));
                    });
                }
                scope.detach(|| gate.signal());
            });
        });
        assert_eq!(ran.load(Ordering::Relaxed), JOBS);
    }
}

/// Outside of their system's jobs they are jobs like any other.
#[test]
fn members_may_be_spawned_from_outside_and_from_another_system() {
    let _watch = watch("outside", 60);
    let (here, there) = (system(2), system(3));
    let ran = AtomicUsize::new(0);
    let spawn_all = |system: &JobSystem| {
        system
            .scope(|scope| (0..JOBS).for_each(|_| scope.detach(|| _ = ran.fetch_add(1, Ordering::Relaxed))));
    };
    spawn_all(&here);
    there.run(|| spawn_all(&here));
    assert_eq!(ran.load(Ordering::Relaxed), 2 * JOBS);
}

/// Says when it is dropped.
struct Tell<'a>(&'a AtomicBool);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn members_of_an_abandoned_system_run_or_are_dropped_and_the_scope_says_so() {
    let _watch = watch("abandoned", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (census, ran) = (Census::default(), AtomicUsize::new(0));
        let (never, begun, abandoned) = (Counter::new(1), Counter::new(1), AtomicBool::new(false));
        let payload = std::thread::scope(|threads| {
            let scoping = threads.spawn(|| {
                panic_of(|| {
                    system.run(|| {
                        ramie::scope(|scope| {
                            let tell = Tell(&abandoned);
                            scope.job().after(&never).detach(move || drop(tell));
                            let ran = &ran;
                            for _ in 0..JOBS {
                                let item = census.item();
                                scope.detach(move || {
                                    drop(item);
                                    ran.fetch_add(1, Ordering::SeqCst);
                                });
                            }
                            begun.signal();
                            // The held job is dropped by the thread that abandons.
                            spin_until(|| abandoned.load(Ordering::SeqCst));
                        });
                    });
                })
            });
            begun.wait();
            system.shutdown(Drain::Abandon).expect("from outside");
            scoping.join().expect("the panic was caught")
        });
        let text = message(&*payload);
        assert!(text.contains("was abandoned"), "{text}");
        census.assert_all_dropped(JOBS);
        if workers == 1 {
            assert_eq!(ran.load(Ordering::SeqCst), 0, "the only worker was busy until then");
        }
    }
}

/// Members that lie in the deque of a main thread that is away when its system is given up.
#[test]
fn members_that_were_left_on_worker_0_are_dropped() {
    let _watch = watch("left", 60);
    let system = common::builder().workers(1).main_thread_worker(true).build().unwrap();
    let (census, ran) = (Census::default(), std::sync::Arc::new(AtomicUsize::new(0)));
    let (sender, batches) = std::sync::mpsc::channel();
    let (items, counted) = (census.clone(), std::sync::Arc::clone(&ran));
    system.job().detach(move || {
        let members = (0..JOBS).map(|_| {
            let (item, counted) = (items.item(), std::sync::Arc::clone(&counted));
            move || {
                drop(item);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        sender.send(ramie::spawn_batch(members)).unwrap();
    });
    system.pump(std::time::Duration::ZERO);
    let batch = batches.recv().unwrap();
    assert!(ran.load(Ordering::Relaxed) < JOBS, "the visit was to end with the job that spawned them");
    let theirs = system.clone();
    std::thread::spawn(move || theirs.shutdown(Drain::Abandon).expect("from outside")).join().unwrap();
    census.assert_all_dropped(JOBS);
    let payload = panic_of(|| batch.wait());
    let text = message(&*payload);
    assert!(text.contains("abandoned"), "{text}");
}
