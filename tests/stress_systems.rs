//! Many systems: a thousand that come and go, two that wait for each other, and many threads that use one.

mod common;

use common::{Census, WORKERS, mix, soak, system, watch};
use ramie::{Counter, Drain, JobError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_thousand_systems_dropped_with_pending_jobs() {
    let _watch = watch("a thousand systems", 180);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = 1000 * soak();
    for i in 0..count {
        let system = system([1, 2, 3, 8][i % 4]);
        for j in 0..20 {
            let ran = Arc::clone(&ran);
            drop(system.spawn(move || {
                if j % 5 == 0 {
                    ramie::yield_now();
                }
                ran.fetch_add(1, Ordering::Relaxed);
            }));
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), count * 20);
}

#[test]
fn hundreds_of_systems_abandoned_with_pending_jobs() {
    let _watch = watch("abandoned systems", 180);
    let seed = common::seed();
    let census = Census::default();
    let mut made = 0;
    for i in 0..600 * soak() as u64 {
        let system = system([1, 2, 3, 8][i as usize % 4]);
        let mut handles = Vec::new();
        for j in 0..20 {
            let item = census.item();
            made += 1;
            let job = move || {
                if j % 3 == 0 {
                    ramie::yield_now();
                }
                drop(item);
            };
            if mix(seed ^ i << 8 ^ j) % 2 == 0 {
                handles.push(system.spawn(job))
            } else {
                drop(system.spawn(job))
            }
        }
        system.shutdown(Drain::Abandon).expect("from outside");
        for handle in handles {
            match handle.join() {
                Ok(()) | Err(JobError::Abandoned) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
    }
    census.assert_all_dropped(made);
}

#[test]
fn large_systems_come_and_go() {
    let _watch = watch("large systems", 120);
    for _ in 0..20 * soak() {
        let system = system(64);
        assert_eq!(system.broadcast(|| 1).len(), 64);
    }
}

/// Systems that end with a handle of another system inside, in both directions.
#[test]
fn systems_are_built_and_dropped_inside_jobs_of_others() {
    let _watch = watch("nested systems", 120);
    for workers in WORKERS {
        let outer = system(workers);
        let handles: Vec<_> = (0..40)
            .map(|i| {
                outer.spawn(move || {
                    let inner = system(1 + i % 3);
                    let value = inner.run(|| ramie::join(move || i, || 1).0);
                    drop(inner.spawn(|| ()));
                    value
                })
            })
            .collect();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().expect("it ends"), i);
        }
    }
}

#[test]
fn two_systems_wait_for_each_others_counters() {
    let _watch = watch("two systems", 120);
    for (first, second) in [(1, 1), (2, 2), (1, 8), (3, 64)] {
        let systems = [system(first), system(second)];
        let count = 2000 * soak();
        // Job i of the one system waits for job i - 1 of the other one.
        let links: Arc<Vec<Counter>> = Arc::new((0..=count).map(|_| Counter::new(1)).collect());
        let handles: Vec<_> = (0..count)
            .map(|i| {
                let links = Arc::clone(&links);
                systems[i % 2].spawn(move || {
                    links[i].wait();
                    links[i + 1].signal();
                })
            })
            .collect();
        links[0].signal();
        links[count].wait();
        handles.into_iter().for_each(|handle| handle.join().expect("it ends"));
    }
}

/// Jobs of one system spawn, scope, join, run and batch on the other one, and wait for all of that.
#[test]
fn two_systems_use_each_other() {
    let _watch = watch("use each other", 120);
    for (first, second) in [(1, 1), (2, 3), (8, 1)] {
        let systems = Arc::new([system(first), system(second)]);
        fn play(systems: &Arc<[ramie::JobSystem; 2]>, here: usize, depth: u32) -> usize {
            if depth == 0 {
                return 1;
            }
            let there = 1 - here;
            let other = &systems[there];
            let shared = Arc::clone(systems);
            let spawned = other.spawn(move || play(&shared, there, depth - 1));
            let scoped =
                other.scope(|s| s.spawn(|| play(systems, there, depth - 1)).join().expect("it runs"));
            let run = other.run(|| play(systems, there, depth - 1));
            let (a, b) = other.join(|| play(systems, there, depth - 1), || 1);
            let done = Arc::new(AtomicUsize::new(0));
            let (shared, place) = (Arc::clone(systems), Arc::clone(&done));
            other
                .spawn_batch([move || place.store(play(&shared, there, depth - 1), Ordering::Relaxed)])
                .wait();
            spawned.join().expect("it runs") + scoped + run + a + b + done.load(Ordering::Relaxed)
        }
        let expected = |depth: u32| (0..depth).fold(1, |below, _| 5 * below + 1);
        let result = systems[0].run(|| play(&systems, 0, 4));
        assert_eq!(result, expected(4));
        systems[0].wait_idle();
        systems[1].wait_idle();
    }
}

#[test]
fn many_threads_submit_run_and_wait() {
    let _watch = watch("many threads", 180);
    for workers in WORKERS {
        let system = system(workers);
        let ran = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for thread in 0..8_usize {
                let (system, ran) = (&system, &ran);
                threads.spawn(move || {
                    for i in 0..100 * soak() {
                        let local = thread * 1000 + i;
                        // Several threads are in `run` at once, with borrows.
                        let doubled = system.run(|| ramie::join(|| local, || local));
                        assert_eq!(doubled, (local, local));
                        let handle = system.spawn(move || local);
                        assert_eq!(handle.join().expect("it runs"), local);
                        system.scope(|s| {
                            for _ in 0..5 {
                                drop(s.spawn(|| ran.fetch_add(1, Ordering::Relaxed)));
                            }
                        });
                        let sum = system.par(0..100_u64).map_reduce(0, |n| n, |a, b| a + b);
                        assert_eq!(sum, 4950);
                        let counter = Counter::new(0);
                        system.job().counter(&counter).detach(|| ());
                        counter.wait();
                    }
                });
            }
        });
        assert_eq!(ran.into_inner(), 8 * 100 * soak() * 5);
        let stats = system.stats();
        system.wait_idle();
        assert!(stats.submitted >= 8 * 100 * 9, "{stats:?}");
    }
}

/// Short-lived threads: their caches come and go with what they hold.
#[test]
fn short_lived_threads_use_a_system() {
    let _watch = watch("short-lived threads", 120);
    let system = system(2);
    for i in 0..400 * soak() {
        let system = system.clone();
        let thread = std::thread::spawn(move || {
            let counter = Counter::new(1);
            let theirs = counter.clone();
            let handle = system.spawn(move || {
                theirs.signal();
                i
            });
            counter.wait();
            handle
        });
        let handle = thread.join().expect("no panic");
        assert_eq!(handle.join().expect("it runs"), i);
    }
}
