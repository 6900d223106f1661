//! Many waits: a million of them, producers and consumers, a baton, fork-join batches, deep nests.

mod common;

use common::{Rng, WORKERS, mix, soak, system, watch};
use ramie::Counter;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn a_million_waits() {
    let _watch = watch("a million waits", 180);
    for workers in WORKERS {
        let system = system(workers);
        let fibers = 10;
        let each = 1_000_000 / WORKERS.len() / fibers * soak();
        let waited = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..fibers)
            .map(|_| {
                let waited = Arc::clone(&waited);
                system.spawn(move || {
                    for _ in 0..each {
                        let gate = Counter::new(1);
                        let theirs = gate.clone();
                        drop(ramie::spawn(move || theirs.signal()));
                        gate.wait();
                        assert!(gate.is_zero());
                    }
                    waited.fetch_add(each, Ordering::Relaxed);
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it ends"));
        assert_eq!(waited.load(Ordering::Relaxed), fibers * each);
    }
}

/// A bounded channel made of nothing but counters: a consumer that finds it empty waits for a signal of a producer, a
/// producer that finds it full for a consumer's.
#[derive(Default)]
struct Channel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: VecDeque<u64>,
    /// Who waits for an item or for room.
    consumers: Vec<Counter>,
    producers: Vec<Counter>,
    closed: bool,
}

const ROOM: usize = 16;

impl Channel {
    fn push(&self, item: u64) {
        loop {
            let wait = {
                let mut state = self.state.lock().expect("not poisoned");
                if state.items.len() < ROOM {
                    state.items.push_back(item);
                    if let Some(consumer) = state.consumers.pop() {
                        consumer.signal();
                    }
                    return;
                }
                let wait = Counter::new(1);
                state.producers.push(wait.clone());
                wait
            };
            wait.wait();
        }
    }

    fn pop(&self) -> Option<u64> {
        loop {
            let wait = {
                let mut state = self.state.lock().expect("not poisoned");
                if let Some(item) = state.items.pop_front() {
                    if let Some(producer) = state.producers.pop() {
                        producer.signal();
                    }
                    return Some(item);
                }
                if state.closed {
                    return None;
                }
                let wait = Counter::new(1);
                state.consumers.push(wait.clone());
                wait
            };
            wait.wait();
        }
    }

    fn close(&self) {
        let mut state = self.state.lock().expect("not poisoned");
        state.closed = true;
        state.consumers.drain(..).for_each(|consumer| consumer.signal());
    }
}

#[test]
fn a_hundred_producers_of_ten_thousand_items() {
    let _watch = watch("producers and consumers", 180);
    for workers in [1, 2, 8] {
        let system = system(workers);
        let channel = Arc::new(Channel::default());
        let produced = Counter::new(0);
        for producer in 0..100_u64 {
            let channel = Arc::clone(&channel);
            system.job().counter(&produced).detach(move || {
                for i in 0..10_000 {
                    channel.push(producer * 10_000 + i);
                }
            });
        }
        let consumers: Vec<_> = (0..100)
            .map(|_| {
                let channel = Arc::clone(&channel);
                system.spawn(move || {
                    let (mut count, mut sum) = (0_u64, 0_u64);
                    while let Some(item) = channel.pop() {
                        count += 1;
                        sum += item;
                    }
                    (count, sum)
                })
            })
            .collect();
        produced.wait();
        channel.close();
        let (mut count, mut sum) = (0, 0);
        for consumer in consumers {
            let got = consumer.join().expect("it ends");
            count += got.0;
            sum += got.1;
        }
        assert_eq!(count, 1_000_000);
        assert_eq!(sum, (0..1_000_000).sum::<u64>());
    }
}

/// marl's event baton: passed 262,144 times.
#[test]
fn a_baton_of_262144_passes() {
    let _watch = watch("baton", 180);
    for workers in WORKERS {
        let system = system(workers);
        let (runners, passes) = (8, 262_144 / 8);
        let batons: Arc<Vec<Mutex<Counter>>> =
            Arc::new((0..runners).map(|_| Mutex::new(Counter::new(1))).collect());
        let passed = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..runners)
            .map(|runner| {
                let (batons, passed) = (Arc::clone(&batons), Arc::clone(&passed));
                system.spawn(move || {
                    for pass in 0..passes {
                        let mine = batons[runner].lock().expect("not poisoned").clone();
                        mine.wait();
                        *batons[runner].lock().expect("not poisoned") = Counter::new(1);
                        // Only the holder counts, so nothing is lost although this is no atomic addition.
                        let before = passed.load(Ordering::Relaxed);
                        assert_eq!(before, (pass * runners + runner) as u64);
                        passed.store(before + 1, Ordering::Relaxed);
                        let next = batons[(runner + 1) % runners].lock().expect("not poisoned").clone();
                        next.signal();
                    }
                })
            })
            .collect();
        batons[0].lock().expect("not poisoned").signal();
        handles.into_iter().for_each(|handle| handle.join().expect("it ends"));
        assert_eq!(passed.load(Ordering::Relaxed), 262_144);
    }
}

#[test]
fn fork_join_batches_of_512() {
    let _watch = watch("fork-join", 180);
    for workers in WORKERS {
        let system = system(workers);
        let sum = Arc::new(AtomicUsize::new(0));
        let rounds = 200 * soak();
        system.run(|| {
            for round in 0..rounds {
                let jobs = (0..512).map(|i| {
                    let sum = Arc::clone(&sum);
                    move || {
                        if i % 64 == 0 {
                            ramie::yield_now();
                        }
                        sum.fetch_add(1, Ordering::Relaxed);
                    }
                });
                ramie::spawn_batch(jobs).wait();
                assert_eq!(sum.load(Ordering::Relaxed), (round + 1) * 512);
            }
        });
        // The same from outside.
        for _ in 0..20 {
            let sum = Arc::clone(&sum);
            system
                .spawn_batch((0..512).map(move |_| {
                    let sum = Arc::clone(&sum);
                    move || {
                        sum.fetch_add(1, Ordering::Relaxed);
                    }
                }))
                .wait();
        }
        assert_eq!(sum.load(Ordering::Relaxed), (rounds + 20) * 512);
    }
}

/// Jobs that wait for jobs that wait for jobs: by counters, handles, scopes and batches.
#[test]
fn deep_nests_of_waits() {
    let _watch = watch("deep nests", 180);
    fn nest(depth: u64, kind: u64) -> u64 {
        if depth == 0 {
            return 1;
        }
        match kind % 4 {
            0 => ramie::spawn(move || nest(depth - 1, mix(kind))).join().expect("it runs"),
            1 => {
                let (done, result) = (Counter::new(1), Arc::new(AtomicU64::new(0)));
                let (theirs, place) = (done.guard(), Arc::clone(&result));
                done.signal();
                drop(ramie::spawn(move || {
                    place.store(nest(depth - 1, mix(kind)), Ordering::Relaxed);
                    drop(theirs);
                }));
                done.wait();
                result.load(Ordering::Relaxed)
            }
            2 => ramie::scope(|s| s.spawn(|| nest(depth - 1, mix(kind))).join().expect("it runs")),
            _ => {
                let result = Arc::new(AtomicU64::new(0));
                let place = Arc::clone(&result);
                // The yield makes the wait find an unfinished batch.
                let batch = ramie::spawn_batch([move || {
                    ramie::yield_now();
                    place.store(nest(depth - 1, mix(kind)), Ordering::Relaxed);
                }]);
                ramie::yield_now();
                batch.wait();
                result.load(Ordering::Relaxed)
            }
        }
        .wrapping_add(depth)
    }
    let seed = common::seed();
    for workers in WORKERS {
        let system = system(workers);
        let handles: Vec<_> = (0..40 * soak() as u64)
            .map(|i| {
                let kind = mix(seed.wrapping_add(i));
                system.spawn(move || nest(60, kind))
            })
            .collect();
        for handle in handles {
            assert_eq!(handle.join().expect("it ends"), 1 + 60 * 61 / 2);
        }
    }
}

/// Timed and untimed waiters, targets, adds and signals at random on the same counters: every wait ends, and the counts
/// add up.
#[test]
fn counters_under_fire() {
    let _watch = watch("counters under fire", 180);
    let seed = common::seed();
    for workers in WORKERS {
        let system = system(workers);
        for round in 0..10 * soak() as u64 {
            let counters: Arc<Vec<Counter>> = Arc::new((0..4).map(|_| Counter::new(1)).collect());
            let jobs: Vec<_> = (0..60)
                .map(|i| {
                    let counters = Arc::clone(&counters);
                    system.spawn(move || {
                        let mut rng = Rng(mix(seed ^ round << 32 ^ i));
                        for _ in 0..50 {
                            let counter = &counters[rng.below(4) as usize];
                            match rng.below(6) {
                                0 => drop(counter.guard()),
                                1 => {
                                    let guard = counter.guard();
                                    ramie::yield_now();
                                    drop(guard);
                                }
                                2 => {
                                    // Held at 1 by the test, so this ends by the clock or by luck.
                                    let limit = std::time::Duration::from_micros(rng.below(50));
                                    let _either = counter.wait_timeout(limit);
                                }
                                // At most one guard per job: the target is reached at once or soon.
                                3 => counter.wait_until(61),
                                4 => {
                                    counter.add(3);
                                    counter.signal_n(3);
                                }
                                _ => ramie::yield_now(),
                            }
                        }
                    })
                })
                .collect();
            // Many wait for the end, in all ways.
            let waiters: Vec<_> = (0..20)
                .map(|i| {
                    let counters = Arc::clone(&counters);
                    system.spawn(move || match i % 3 {
                        0 => counters[i % 4].wait(),
                        1 => counters[i % 4].wait_until(0),
                        _ => {
                            counters[i % 4]
                                .wait_timeout(std::time::Duration::from_secs(1000))
                                .expect("it is signalled");
                        }
                    })
                })
                .collect();
            jobs.into_iter().for_each(|job| job.join().expect("it ends"));
            for counter in counters.iter() {
                assert_eq!(counter.value(), 1, "what was added was signalled");
                counter.signal();
            }
            waiters.into_iter().for_each(|waiter| waiter.join().expect("it is woken"));
        }
    }
}
