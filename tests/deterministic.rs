//! The deterministic mode: the same seed gives the same sequence of events, another seed another one.

mod common;

use common::{Rng, child, is_child, mix, planned, watch};
use ramie::{BuildError, Counter, JobSystem, Priority};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u64>>>);

impl Log {
    fn note(&self, event: u64) {
        self.0.lock().unwrap().push(event);
    }
}

/// A random program: a tree of jobs that wait, yield, split, time out and panic, and note all they do.
fn grow(log: &Log, id: u64, depth: u32) -> u64 {
    log.note(id);
    let mut rng = Rng(id);
    if depth == 0 {
        return 1;
    }
    let child = |n: u64| mix(id.wrapping_mul(31).wrapping_add(n));
    match rng.below(9) {
        0 => {
            let (a, b) = ramie::join(|| grow(log, child(1), depth - 1), || grow(log, child(2), depth - 1));
            a + b
        }
        1 => ramie::scope(|s| {
            let handles: Vec<_> = (0..4).map(|n| s.spawn(move || grow(log, child(n), depth - 1))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).sum()
        }),
        2 => ramie::par(0..16_u64).map_reduce(
            0,
            |n| {
                log.note(child(100 + n));
                grow(log, child(n), depth / 2)
            },
            |a, b| a + b,
        ),
        3 => {
            let counter = Counter::new(3);
            for n in 0..3 {
                let (counter, log, id) = (counter.clone(), log.clone(), child(n));
                ramie::spawn(move || {
                    grow(&log, id, depth - 1);
                    counter.signal();
                });
            }
            counter.wait();
            log.note(child(50));
            3
        }
        4 => {
            // Nobody signals: only time can end it.
            let limit = Duration::from_millis(1 + rng.below(3_600_000));
            assert!(Counter::new(1).wait_timeout(limit).is_err());
            log.note(child(51));
            1
        }
        5 => {
            // A race of a signal and the time.
            let counter = Counter::new(1);
            let theirs = counter.clone();
            ramie::spawn(move || {
                ramie::yield_now();
                theirs.signal();
            });
            log.note(u64::from(counter.wait_timeout(Duration::from_millis(5)).is_ok()));
            1
        }
        6 => {
            for n in 0..4 {
                ramie::yield_now();
                log.note(child(60 + n));
            }
            1
        }
        7 => {
            let payload = ramie::spawn(move || planned(id)).join();
            assert!(payload.is_err());
            1
        }
        _ => {
            let urgent = ramie::scope(|s| {
                for n in 0..3 {
                    let priority = [Priority::Low, Priority::Normal, Priority::High][n];
                    s.job().priority(priority).detach(move || {
                        grow(log, child(n as u64), depth - 1);
                    });
                }
                ramie::yield_if_urgent()
            });
            u64::from(urgent)
        }
    }
}

fn events(seed: u64) -> Vec<u64> {
    let system = JobSystem::builder().deterministic(seed).build().unwrap();
    assert_eq!(system.workers(), 1);
    let log = Log::default();
    let sum = system.run(|| (0..8).map(|n| grow(&log, mix(n), 4)).sum());
    log.note(sum);
    drop(system);
    let events = log.0.lock().unwrap();
    events.clone()
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let _watch = watch("the_same_seed_gives_the_same_events", 120);
    let mut different = HashSet::new();
    for seed in 0..20 {
        let first = events(seed);
        assert!(first.len() > 100, "the program does something");
        for _ in 0..3 {
            assert_eq!(events(seed), first, "seed {seed}");
        }
        different.insert(first);
    }
    assert!(different.len() > 15, "other seeds try other orders: {} of 20", different.len());
}

/// Seeds find a race that the ordinary order of one worker never shows: a check and an act with a split in between.
#[test]
fn seeds_find_a_race() {
    let _watch = watch("seeds_find_a_race", 60);
    let lost_updates = |builder: ramie::Builder| {
        let system = builder.build().unwrap();
        system.run(|| {
            let value = std::sync::atomic::AtomicU32::new(0);
            let add = || {
                let seen = value.load(std::sync::atomic::Ordering::Relaxed);
                ramie::join(|| (), || ());
                value.store(seen + 1, std::sync::atomic::Ordering::Relaxed);
            };
            ramie::scope(|s| (0..4).for_each(|_| drop(s.spawn(add))));
            4 - value.load(std::sync::atomic::Ordering::Relaxed)
        })
    };
    assert_eq!(lost_updates(JobSystem::builder().workers(1)), 0, "one worker, the usual order");
    let found: Vec<u64> =
        (0..100).filter(|&seed| lost_updates(JobSystem::builder().deterministic(seed)) > 0).collect();
    assert!(found.len() > 10, "{} of 100 seeds", found.len());
    for seed in found.into_iter().take(5) {
        assert!(lost_updates(JobSystem::builder().deterministic(seed)) > 0, "seed {seed} finds it again");
    }
}

/// A wait with a limit of a year ends at once when nothing else can run.
#[test]
fn time_limits_cost_no_time() {
    let _watch = watch("time_limits_cost_no_time", 60);
    for seed in 0..10 {
        let system = JobSystem::builder().deterministic(seed).build().unwrap();
        let begin = Instant::now();
        let order = system.run(|| {
            let order = Mutex::new(Vec::new());
            ramie::scope(|s| {
                for days in [300, 100, 200] {
                    let order = &order;
                    s.spawn(move || {
                        let limit = Duration::from_secs(days * 24 * 3600);
                        assert!(Counter::new(1).wait_timeout(limit).is_err());
                        order.lock().unwrap().push(days);
                    });
                }
            });
            order.into_inner().unwrap()
        });
        assert!(begin.elapsed() < Duration::from_secs(24 * 3600));
        assert_eq!(order.len(), 3);
    }
}

#[test]
fn it_has_one_worker() {
    let error = JobSystem::builder().workers(2).deterministic(1).build().unwrap_err();
    assert!(matches!(error, BuildError::DeterministicWorkers { workers: 2 }), "{error}");
    assert_eq!(JobSystem::builder().workers(1).deterministic(1).build().unwrap().workers(), 1);
}

#[test]
fn the_seed_is_printed_when_a_job_panics() {
    const NAME: &str = "the_seed_is_printed_when_a_job_panics";
    if is_child(NAME) {
        let system = JobSystem::builder().deterministic(4711).build().unwrap();
        assert!(system.dump().to_string().contains("deterministic(4711)"));
        for _ in 0..2 {
            assert!(system.spawn(|| planned(1)).join().is_err());
        }
        return;
    }
    let output = child(NAME, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("Builder::deterministic(4711)").count(), 1, "{errors}");
}
