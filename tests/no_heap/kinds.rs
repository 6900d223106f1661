//! The kinds of work. Each does about `jobs` of it on a system, called from a thread outside.

use crate::common::spin_until;
use ramie::sync::{Condvar, Event, Mutex, RwLock, Semaphore, channel};
use ramie::{Counter, JobError, JobSystem, Partition, Priority};
use std::array::from_fn;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// Jobs that are outstanding at once, where nothing else says how many.
const BURST: usize = 100;
/// Long enough never to be reached.
const LONG: Duration = Duration::from_secs(1000);

/// Two halves of the jobs, one from inside and one from outside of a job.
fn inside_and_outside(system: &JobSystem, jobs: usize, work: impl Fn(&JobSystem, usize) + Send + Sync) {
    system.run(|| work(system, jobs / 2));
    work(system, jobs / 2);
}

pub(crate) fn spawn_and_join(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs, |system, jobs| {
        for burst in 0..jobs / BURST {
            let handles: [_; BURST] = from_fn(|i| system.spawn(move || burst + i));
            for (i, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().expect("it runs"), burst + i);
            }
        }
    });
    system.run(|| {
        for i in 0..jobs / 4 {
            assert_eq!(ramie::spawn(move || i).join().expect("it runs"), i);
        }
    });
}

pub(crate) fn detach(system: &JobSystem, jobs: usize) {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    inside_and_outside(system, jobs, |system, jobs| {
        for burst in 0..jobs / BURST {
            ENDED.store(0, Ordering::SeqCst);
            for i in 0..BURST {
                let job = || _ = ENDED.fetch_add(1, Ordering::SeqCst);
                match i % 2 {
                    0 => system.job().detach(job),
                    _ => drop(system.spawn(job)),
                }
            }
            if ramie::in_job() {
                while ENDED.load(Ordering::SeqCst) < BURST {
                    ramie::yield_now();
                }
            } else if burst % 10 == 0 {
                system.wait_idle();
            }
            spin_until(|| ENDED.load(Ordering::SeqCst) == BURST);
        }
    });
}

pub(crate) fn named_prioritised_pinned(system: &JobSystem, jobs: usize) {
    let workers = system.workers();
    inside_and_outside(system, jobs, |system, jobs| {
        let done = Counter::new(0);
        for _ in 0..jobs / BURST {
            for i in 0..BURST {
                let job = system.job().counter(&done);
                match i % 6 {
                    0 => job.name("named").detach(|| ()),
                    1 => job.priority(Priority::High).detach(|| ()),
                    2 => job.priority(Priority::Low).detach(|| ()),
                    3 => job.on_worker(i % workers).detach(|| ()),
                    4 => job.large_stack().detach(|| ()),
                    _ => job.name("all").priority(Priority::High).on_worker(i % workers).detach(|| ()),
                }
            }
            done.wait();
        }
    });
}

pub(crate) fn jobs_with_counters(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs, |system, jobs| {
        let counters: [Counter; 8] = from_fn(|_| Counter::new(0));
        for _ in 0..jobs / BURST {
            for i in 0..BURST {
                let job = counters[..=i % 8].iter().fold(system.job(), |job, counter| job.counter(counter));
                match i % 2 {
                    0 => job.detach(|| ()),
                    _ => drop(job.spawn(move || i)),
                }
            }
            counters.iter().for_each(Counter::wait);
        }
    });
}

pub(crate) fn continuations(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs, |system, jobs| {
        let done = Counter::new(0);
        for _ in 0..jobs / BURST {
            let gates: [Counter; 8] = from_fn(|_| Counter::new(1));
            for i in 0..BURST {
                let after = gates[..=i % 8].iter().fold(system.job(), |job, gate| job.after(gate));
                after.counter(&done).detach(|| ());
            }
            gates.iter().for_each(Counter::signal);
            done.wait();
        }
    });
    system.run(|| {
        for _ in 0..jobs / BURST {
            let gates: [Counter; 4] = from_fn(|_| Counter::new(1));
            let handles: [_; BURST] = from_fn(|i| ramie::spawn_after(&gates[..=i % 4], move || i));
            gates.iter().for_each(Counter::signal);
            for (i, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().expect("it runs"), i);
            }
            // The counters are zero already.
            assert_eq!(ramie::spawn_after(&gates, || 7).join().expect("it runs"), 7);
        }
    });
}

pub(crate) fn waits_for_counters(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs / 4, |system, jobs| {
        for i in 0..jobs {
            let counter = Counter::new(2);
            let theirs = counter.clone();
            system.job().detach(move || {
                theirs.signal();
                theirs.signal_n(1);
            });
            match i % 4 {
                0 => counter.wait(),
                1 => counter.wait_until(1),
                2 => counter.wait_until(0),
                _ => counter.wait_timeout(LONG).expect("it is signalled"),
            }
        }
    });
    system.run(|| {
        for _ in 0..jobs / 2 / BURST {
            let gate = Counter::new(0);
            for _ in 0..BURST {
                let guard = gate.guard();
                drop(ramie::spawn(move || drop(guard)));
            }
            gate.wait();
        }
    });
}

pub(crate) fn time_limits(system: &JobSystem, jobs: usize) {
    let waits = jobs / 5;
    let gates: [Counter; 20] = from_fn(|_| Counter::new(1));
    let (gates, never) = (&gates, Counter::new(1));
    system.scope(|s| {
        // Twenty at a time that are signalled, so timers are taken back from everywhere in their heap.
        for gate in gates {
            s.spawn(move || {
                for i in 0..waits / 20 {
                    gate.wait_timeout(LONG - Duration::from_millis(i as u64 % 7)).expect("it is signalled");
                    gate.add(1);
                }
            });
        }
        s.spawn(move || {
            for _ in 0..waits / 20 {
                for gate in gates {
                    while gate.is_zero() {
                        ramie::yield_now();
                    }
                    gate.signal();
                }
            }
        });
        // And some that are not.
        s.spawn(|| {
            for _ in 0..100 {
                assert!(never.wait_timeout(Duration::from_micros(20)).is_err());
                assert!(never.wait_timeout(Duration::ZERO).is_err());
            }
        });
    });
}

pub(crate) fn scopes(system: &JobSystem, jobs: usize) {
    let ended = AtomicUsize::new(0);
    inside_and_outside(system, jobs, |system, jobs| {
        for burst in 0..jobs / BURST {
            system.scope(|s| {
                for i in 0..BURST / 4 {
                    let mine = s.spawn(move || burst + i);
                    drop(s.spawn(|| _ = ended.fetch_add(1, Ordering::Relaxed)));
                    s.job().name("member").priority(Priority::High).detach(|| ());
                    assert_eq!(mine.join().expect("it runs"), burst + i);
                    s.spawn(|| {
                        ramie::scope(|inner| drop(inner.spawn(|| _ = ended.fetch_add(1, Ordering::Relaxed))))
                    });
                }
            });
        }
    });
}

pub(crate) fn batches(system: &JobSystem, jobs: usize) {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    inside_and_outside(system, jobs, |system, jobs| {
        for burst in 0..jobs / BURST {
            let batch = system.spawn_batch((0..BURST).map(|_| || _ = ENDED.fetch_add(1, Ordering::Relaxed)));
            if burst % 4 == 0 && ramie::in_job() {
                // Nobody waits for it: it ends by itself.
                drop(batch);
                ramie::yield_now();
            } else {
                batch.wait();
            }
        }
    });
    system.wait_idle();
}

pub(crate) fn joins(system: &JobSystem, jobs: usize) {
    fn leaves(n: usize) -> usize {
        if n < 2 {
            return n;
        }
        let (a, b) = ramie::join(|| leaves(n / 2), || leaves(n - n / 2));
        a + b
    }
    assert_eq!(system.join(|| leaves(jobs / 2), || leaves(jobs / 2)), (jobs / 2, jobs / 2));
    for _ in 0..jobs / 100 {
        assert_eq!(system.run(|| leaves(10)), 10);
    }
}

pub(crate) fn loops(system: &JobSystem, jobs: usize, items: &mut [u32]) {
    let len = items.len();
    for round in 0..10 * jobs / len / 8 {
        let count = AtomicUsize::new(0);
        let add = |n: usize| _ = count.fetch_add(n, Ordering::Relaxed);
        system.par(0..len).for_each(|_| add(1));
        system.par(0..len as u32).partition(Partition::Static(16)).for_each(|_| add(1));
        system.par_chunks(items, 10).for_each(|(_, chunk)| add(chunk.len()));
        system.par_chunks_mut(items, 7).priority(Priority::High).for_each(|(_, chunk)| {
            chunk.iter_mut().for_each(|item| *item += 1);
            add(chunk.len());
        });
        system.par(&mut *items).grain(16).for_each(|item| {
            *item -= 1;
            add(1);
        });
        assert_eq!(count.load(Ordering::Relaxed), 5 * len);
        system.run(|| {
            let sum = ramie::par(&*items).map_reduce(0_u64, |item| u64::from(*item), |a, b| a + b);
            assert_eq!(sum, items.iter().map(|item| u64::from(*item)).sum::<u64>());
            let found = ramie::par(0..len).try_for_each(|i| if i == round % len { Err(i) } else { Ok(()) });
            assert_eq!(found, Err(round % len));
            assert_eq!(ramie::par(0..len).map_reduce(|| 0, |i| i, usize::max), len - 1);
        });
    }
}

pub(crate) fn yields(system: &JobSystem, jobs: usize) {
    system.scope(|s| {
        for _ in 0..16 {
            s.spawn(|| {
                for i in 0..jobs / 16 {
                    match i % 2 {
                        0 => ramie::yield_now(),
                        _ => _ = ramie::yield_if_urgent(),
                    }
                }
            });
        }
    });
}

pub(crate) fn broadcasts(system: &JobSystem, jobs: usize) {
    // A vector of results without a size needs no memory.
    let calls = AtomicUsize::new(0);
    let rounds = jobs / system.workers() / 8;
    inside_and_outside(system, rounds, |system, rounds| {
        for _ in 0..rounds {
            system.broadcast(|| _ = calls.fetch_add(1, Ordering::Relaxed));
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), rounds / 2 * 2 * system.workers());
}

/// 10,000 fibers wait for one counter. They are spread over the workers, because each worker has fibers of its own, whose
/// number would grow with every new distribution.
pub(crate) fn ten_thousand_waiters(system: &JobSystem, jobs: usize) {
    const WAITERS: usize = 10_000;
    let workers = system.workers();
    for _ in 0..jobs / WAITERS {
        let (gate, started, done) = (Counter::new(1), Counter::new(WAITERS), Counter::new(0));
        for i in 0..WAITERS {
            let (gate, started) = (gate.clone(), started.clone());
            system.job().on_worker(i % workers).counter(&done).detach(move || {
                started.signal();
                gate.wait();
            });
        }
        started.wait();
        gate.signal();
        done.wait();
    }
}

/// Fibers that wait for a counter each, and a thread outside that signals them.
pub(crate) fn wakes_from_outside(system: &JobSystem, jobs: usize) {
    let rounds = jobs / BURST;
    let gates: [Counter; BURST] = from_fn(|_| Counter::new(1));
    let waiters: [_; BURST] = from_fn(|i| {
        let gate = gates[i].clone();
        system.spawn(move || {
            for _ in 0..rounds {
                gate.wait();
                gate.add(1);
            }
        })
    });
    for _ in 0..rounds {
        for gate in &gates {
            spin_until(|| !gate.is_zero());
            gate.signal();
        }
    }
    waiters.into_iter().for_each(|waiter| waiter.join().expect("it runs"));
}

/// As large as blocks can be, and aligned to what they can be aligned to.
pub(crate) fn large_and_over_aligned(system: &JobSystem, jobs: usize) {
    #[derive(Clone, Copy)]
    struct Bytes<const N: usize>([u8; N]);
    #[derive(Clone, Copy)]
    #[repr(align(4096))]
    struct Page(u8);
    #[derive(Clone, Copy)]
    #[repr(align(128))]
    struct Lines(u8);
    fn one<T: Copy + Send + 'static>(system: &JobSystem, value: T, check: fn(T) -> u8) {
        assert_eq!(check(system.spawn(move || value).join().expect("it runs")), 3);
        assert_eq!(system.spawn(move || check(value)).join().expect("it runs"), 3);
        let done = Counter::new(0);
        system.job().counter(&done).detach(move || assert_eq!(check(value), 3));
        done.wait();
    }
    system.run(|| {
        for _ in 0..jobs / 21 {
            one(system, Bytes([3; 100]), |bytes| bytes.0[99]);
            one(system, Bytes([3; 1000]), |bytes| bytes.0[999]);
            one(system, Bytes([3; 2000]), |bytes| bytes.0[1999]);
            one(system, Bytes([3; 4096]), |bytes| bytes.0[4095]);
            one(system, Bytes([3; 8192]), |bytes| bytes.0[8191]);
            one(system, Page(3), |page| page.0);
            one(system, Lines(3), |lines| lines.0);
        }
    });
}

pub(crate) fn cancel(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs, |system, jobs| {
        for _ in 0..jobs / BURST {
            let (gate, done) = (Counter::new(1), Counter::new(0));
            let held: [_; BURST / 2] = from_fn(|i| system.job().after(&gate).counter(&done).spawn(move || i));
            let queued: [_; BURST / 2] = from_fn(|i| system.spawn(move || i));
            for (i, handle) in held.into_iter().enumerate() {
                assert!(handle.cancel());
                if i % 2 == 0 {
                    assert!(matches!(handle.join(), Err(JobError::Cancelled)));
                }
            }
            for (i, handle) in queued.into_iter().enumerate() {
                let cancelled = handle.cancel();
                match handle.join() {
                    Ok(value) => assert!(!cancelled && value == i),
                    Err(error) => assert!(cancelled && matches!(error, JobError::Cancelled)),
                }
            }
            done.wait();
            // What comes after a counter that is dropped is abandoned.
            let last = system.job().after(&gate).spawn(|| ());
            drop(gate);
            assert!(matches!(last.join(), Err(JobError::Abandoned)));
        }
    });
}

/// Jobs of priority High that wait for less urgent ones, which are raised.
pub(crate) fn raised(system: &JobSystem, jobs: usize) {
    let job = || {
        for burst in 0..jobs / BURST {
            ramie::scope(|s| {
                for i in 0..BURST / 2 {
                    let priority = if i % 2 == 0 { Priority::Normal } else { Priority::Low };
                    s.job().priority(priority).detach(|| ());
                }
            });
            let handles: [_; BURST / 2] =
                from_fn(|i| system.job().priority(Priority::Low).spawn(move || burst + i));
            for (i, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().expect("it runs"), burst + i);
            }
        }
    };
    system.scope(|s| _ = s.job().priority(Priority::High).spawn(job));
}

/// Every round trip of a thread outside.
pub(crate) fn runs_from_outside(system: &JobSystem, jobs: usize) {
    for i in 0..jobs / 40 {
        assert_eq!(system.run(|| i), i);
        system.scope(|s| drop(s.spawn(|| ())));
        system.wait_idle();
    }
}

/// Locks, events, semaphores and conditions that are waited for.
pub(crate) fn primitives(system: &JobSystem, jobs: usize) {
    let rounds = jobs / 100;
    let (mutex, rwlock, semaphore) = (Mutex::new(0_usize), RwLock::new(0_usize), Semaphore::new(1));
    let (a, b, condvar) = (Event::auto(), Event::auto(), Condvar::new());
    inside_and_outside(system, rounds, |system, rounds| {
        system.scope(|s| {
            for _ in 0..4 {
                s.detach(|| {
                    for _ in 0..rounds {
                        let mut count = mutex.lock();
                        ramie::yield_now();
                        *count += 1;
                        drop(count);
                        *rwlock.write() += 1;
                        let _read = rwlock.read();
                        let _permit = semaphore.acquire();
                        ramie::yield_now();
                    }
                });
            }
            s.detach(|| {
                (0..rounds).for_each(|_| {
                    a.wait();
                    b.set();
                });
                *mutex.lock() += 1_000_000;
                condvar.notify_all();
            });
            s.detach(|| {
                (0..rounds).for_each(|_| {
                    a.set();
                    b.wait();
                });
                condvar.wait_while(&mut mutex.lock(), |count| *count < 1_000_000);
            });
        });
        *mutex.lock() = 0;
    });
}

/// Messages, and a future that is polled again and again; nothing is allocated for a poll.
pub(crate) fn messages_and_polls(system: &JobSystem, jobs: usize) {
    type Pair = (channel::Sender<usize>, channel::Receiver<usize>);
    // A channel is allocated when it is made.
    static CHANNELS: LazyLock<(Pair, Pair)> = LazyLock::new(|| (channel::bounded(4), channel::bounded(1)));
    let rounds = jobs / 50;
    let ((to, from), (back, answers)) = &*CHANNELS;
    inside_and_outside(system, rounds, |system, rounds| {
        system.scope(|s| {
            s.detach(|| {
                for n in 0..rounds {
                    to.send(n).expect("there is a receiver");
                    assert_eq!(answers.recv(), Ok(n));
                }
            });
            s.detach(|| {
                for _ in 0..rounds {
                    let n = ramie::block_on(from.recv_async()).expect("there is a sender");
                    ramie::block_on(back.send_async(n)).expect("there is a receiver");
                }
            });
            let mut left = rounds;
            s.detach(move || {
                ramie::block_on(std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    left -= 1;
                    if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                }));
            });
        });
    });
}

/// Handles and counters that are awaited.
pub(crate) fn awaited(system: &JobSystem, jobs: usize) {
    inside_and_outside(system, jobs / 20, |system, jobs| {
        for n in 0..jobs {
            let counter = Counter::new(1);
            let signal = counter.clone();
            let handle = system.spawn(move || {
                signal.signal();
                n
            });
            ramie::block_on(async {
                counter.await;
                assert_eq!(handle.await.expect("it runs"), n);
            });
        }
    });
}
