//! Fibers that migrate: an opt-in whose obligations these tests keep.

#![expect(unsafe_code, reason = "the opt-in is unsafe")]

mod common;

use common::{Rng, seed, soak, spin_until, watch};
use ramie::{Counter, JobSystem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ThreadId;

fn system(workers: usize) -> JobSystem {
    // SAFETY: 1. What the tests keep across waits is Send. 2. They have no thread-locals. 3. They look at the
    // identity of their thread by calls that are not inlined, and rely on it only where their job is pinned.
    unsafe { JobSystem::builder().migrating_fibers() }.workers(workers).build().expect("it can be built")
}

#[inline(never)]
fn here() -> (Option<usize>, ThreadId) {
    (ramie::current_worker(), std::thread::current().id())
}

/// Worker A starts a job that waits, and is then kept busy; the job goes on elsewhere.
#[test]
fn a_fiber_resumes_on_another_worker() {
    let _watch = watch("a_fiber_resumes_on_another_worker", 60);
    for workers in [2, 3, 8] {
        let system = system(workers);
        let (gate, release) = (Counter::new(1), Arc::new(AtomicBool::new(false)));
        let waiting = Counter::new(1);
        let (theirs, begun) = (gate.clone(), waiting.clone());
        let wanderer = system.spawn(move || {
            let before = here();
            begun.signal();
            theirs.wait();
            (before, here())
        });
        waiting.wait();
        // It has begun and is about to wait, or does. Whichever worker started it gets busy.
        let owner = loop {
            let dump = system.dump();
            let found = dump.fibers.iter().find(|fiber| fiber.waits_for.contains("counter"));
            if let Some(fiber) = found {
                break fiber.worker;
            }
            std::thread::yield_now();
        };
        let (busy, go) = (Counter::new(1), Arc::clone(&release));
        let started = busy.clone();
        system.job().on_worker(owner).detach(move || {
            started.signal();
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        busy.wait();
        gate.signal();
        let (before, after) = wanderer.join().unwrap();
        release.store(true, Ordering::Release);
        assert_eq!(before.0, Some(owner));
        assert_ne!(after.0, before.0, "its worker was busy: it was resumed by another one");
        assert_ne!(after.1, before.1);
    }
}

/// Pinned jobs, calls of `broadcast` and `run_main` do not migrate.
#[test]
fn pinned_jobs_stay_where_they_are() {
    let _watch = watch("pinned_jobs_stay_where_they_are", 60);
    for workers in [1, 2, 3, 8] {
        let system = system(workers);
        let churn: Vec<_> =
            (0..200).map(|_| system.spawn(|| (0..20).for_each(|_| ramie::yield_now()))).collect();
        let pinned: Vec<_> = (0..100)
            .map(|i| {
                let worker = i % workers;
                system.job().on_worker(worker).spawn(move || {
                    let before = here();
                    assert_eq!(before.0, Some(worker));
                    for _ in 0..10 {
                        ramie::spawn(|| ()).join().unwrap();
                        ramie::yield_now();
                        let (counter, theirs) = (Counter::new(1), Counter::new(0));
                        let signalled = counter.clone();
                        ramie::spawn(move || signalled.signal());
                        counter.wait();
                        theirs.wait();
                        assert_eq!(here(), before);
                    }
                })
            })
            .collect();
        let calls = system.broadcast(|| {
            let before = here();
            ramie::spawn(|| ()).join().unwrap();
            ramie::yield_now();
            assert_eq!(here(), before);
            before.0
        });
        assert_eq!(calls, (0..workers).map(Some).collect::<Vec<_>>());
        pinned.into_iter().chain(churn).for_each(|job| job.join().unwrap());
    }
}

/// Jobs that wait for each other, woken from everywhere: each resume is counted once, and nothing is lost.
#[test]
fn batons_go_round_among_all_workers() {
    let _watch = watch("batons_go_round_among_all_workers", 120);
    let seed = seed();
    for workers in [1, 2, 3, 8, 64] {
        let system = system(workers);
        let mut rng = Rng(seed ^ workers as u64);
        let (rings, length, rounds) = (8, 2 + rng.below(14) as usize, 200 * soak());
        let passes = Arc::new(AtomicUsize::new(0));
        let jobs: Vec<_> = (0..rings)
            .flat_map(|_| {
                let counters: Vec<Counter> = (0..length).map(|i| Counter::new(usize::from(i > 0))).collect();
                let counters = Arc::new(counters);
                (0..length).map(|i| (i, Arc::clone(&counters))).collect::<Vec<_>>()
            })
            .map(|(i, counters)| {
                let passes = Arc::clone(&passes);
                system.spawn(move || {
                    for _ in 0..rounds {
                        counters[i].wait();
                        counters[i].add(1);
                        passes.fetch_add(1, Ordering::Relaxed);
                        counters[(i + 1) % counters.len()].signal();
                    }
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.join().unwrap());
        assert_eq!(passes.load(Ordering::Relaxed), rings * length * rounds);
    }
}

/// Fibers end on other workers than those that made them; the pools do not grow for that.
#[test]
fn idle_fibers_are_shared() {
    let _watch = watch("idle_fibers_are_shared", 60);
    let system = system(2);
    let mut most = 0;
    for round in 0..200 {
        let gate = Counter::new(1);
        let jobs: Vec<_> = (0..100)
            .map(|_| {
                let gate = gate.clone();
                system.spawn(move || gate.wait())
            })
            .collect();
        spin_until(|| system.dump().fibers.len() == 100);
        gate.signal();
        jobs.into_iter().for_each(|job| job.join().unwrap());
        if round == 20 {
            most = system.stats().fibers;
        }
    }
    let fibers = system.stats().fibers;
    assert!(fibers <= most + 128, "{most} fibers after 20 rounds, {fibers} after 200");
}
