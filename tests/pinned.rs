//! Pinned jobs: what enkiTS's users do with pinned tasks, and that nothing of it hangs.

mod common;

use common::{Rng, seed, soak, system, watch};
use ramie::{Counter, JobSystem};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// enkiTS's example: from every worker a pinned job for every worker, each of which knows where it runs.
#[test]
fn every_worker_pins_jobs_to_every_worker() {
    let _watch = watch("every_worker_pins_jobs_to_every_worker", 60);
    for workers in common::WORKERS {
        let system = system(workers);
        let theirs = &system;
        let counts = system.broadcast(|| {
            let jobs: Vec<_> = (0..workers)
                .map(|target| {
                    let job = theirs.job().on_worker(target);
                    job.spawn(move || assert_eq!(ramie::current_worker(), Some(target)))
                })
                .collect();
            jobs.into_iter().map(|job| job.join().unwrap()).count()
        });
        assert_eq!(counts, vec![workers; workers]);
    }
}

/// A pinned job that waits for a set of ordinary ones, which wait for pinned ones in turn.
#[test]
fn pinned_jobs_wait_for_sets_and_sets_for_pinned_jobs() {
    let _watch = watch("pinned_jobs_wait_for_sets_and_sets_for_pinned_jobs", 60);
    for workers in common::WORKERS {
        let system = system(workers);
        let outer: Vec<_> = (0..20)
            .map(|i| {
                let theirs = system.clone();
                system.job().on_worker(i % workers).spawn(move || {
                    let sum = AtomicUsize::new(0);
                    theirs.scope(|s| {
                        for n in 0..16 {
                            let (theirs, sum) = (&theirs, &sum);
                            s.spawn(move || {
                                let pinned = theirs.job().on_worker((i + n) % workers).spawn(move || n);
                                sum.fetch_add(pinned.join().unwrap(), Ordering::Relaxed);
                            });
                        }
                    });
                    assert_eq!(ramie::current_worker(), Some(i % workers));
                    sum.into_inner()
                })
            })
            .collect();
        assert!(outer.into_iter().all(|job| job.join().unwrap() == 120));
    }
}

/// enkiTS's file loading: one worker is for requests that others make; it sleeps in between, and ends when told.
#[test]
fn a_worker_for_requests() {
    let _watch = watch("a_worker_for_requests", 60);
    for workers in [2, 3, 8] {
        let system = system(workers);
        let (requests, ready) = (Arc::new(Mutex::new(VecDeque::new())), Counter::new(1));
        let stop = Arc::new(AtomicBool::new(false));
        let server = {
            let (requests, ready, stop) = (Arc::clone(&requests), ready.clone(), Arc::clone(&stop));
            system.job().name("requests").on_worker(workers - 1).spawn(move || {
                let mut served = 0;
                loop {
                    ready.wait();
                    ready.add(1);
                    loop {
                        let request: Option<(u64, Counter, Arc<AtomicUsize>)> =
                            requests.lock().unwrap().pop_front();
                        let Some((n, done, answer)) = request else { break };
                        assert_eq!(ramie::current_worker(), Some(workers - 1));
                        answer.store(n as usize * 2, Ordering::Release);
                        done.signal();
                        served += 1;
                    }
                    if stop.load(Ordering::Acquire) {
                        return served;
                    }
                }
            })
        };
        system.run(|| {
            ramie::par(0..200_u64).for_each(|n| {
                let (done, answer) = (Counter::new(1), Arc::new(AtomicUsize::new(0)));
                requests.lock().unwrap().push_back((n, done.clone(), Arc::clone(&answer)));
                // Somebody else may have rung already.
                ring(&ready);
                done.wait();
                assert_eq!(answer.load(Ordering::Acquire), n as usize * 2);
            });
        });
        stop.store(true, Ordering::Release);
        ring(&ready);
        assert_eq!(server.join().unwrap(), 200);
    }
}

/// Takes the counter to zero; if it is there the server is about to look anyway.
fn ring(ready: &Counter) {
    // Two may ring at once: a signal of 0 panics in the one who came second, and harms nobody.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if !ready.is_zero() {
            ready.signal();
        }
    }));
}

fn nest(system: &JobSystem, rng: &mut Rng, workers: usize, depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let children: Vec<_> = (0..3)
        .map(|_| {
            let (theirs, mut rng) = (system.clone(), Rng(rng.next()));
            let target = rng.below(workers as u64 + 1) as usize;
            let job = system.job();
            let job = if target < workers { job.on_worker(target) } else { job };
            job.spawn(move || nest(&theirs, &mut rng, workers, depth - 1))
        })
        .collect();
    1 + children.into_iter().map(|child| child.join().unwrap()).sum::<usize>()
}

/// FTL's and marl's test: waits nested deeply, with jobs pinned at random.
#[test]
fn deep_nested_waits_with_random_pins() {
    let _watch = watch("deep_nested_waits_with_random_pins", 120);
    let seed = seed();
    for workers in common::WORKERS {
        let system = system(workers);
        for round in 0..3 * soak() as u64 {
            let mut rng = Rng(seed ^ round);
            let theirs = system.clone();
            let nodes = system.run(move || nest(&theirs, &mut rng, workers, 6));
            assert_eq!(nodes, (3_usize.pow(7) - 1) / 2);
        }
    }
}
