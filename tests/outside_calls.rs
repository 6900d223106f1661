//! Calls that block, and the clock: panics, borrows, limits, many at once, and what threads they run on.

mod common;

use common::{Census, WORKERS, child_succeeds, is_child, panic_of, planned, planned_id, spin_until, watch};
use ramie::{Counter, JobSystem, blocking, sleep, sleep_until};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

#[test]
fn a_blocking_call_frees_its_worker() {
    let _watch = watch("blocking", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        // Each call waits for what a job does that can only run if the workers are free.
        system.scope(|s| {
            for _ in 0..8 {
                let (sender, receiver) = mpsc::channel();
                s.detach(move || assert_eq!(blocking(move || receiver.recv().unwrap()), 7));
                s.detach(move || sender.send(7).unwrap());
            }
        });
        // They run at the same time, whatever the number of workers.
        let barrier = Barrier::new(20);
        system.scope(|s| {
            for _ in 0..20 {
                s.detach(|| {
                    blocking(|| barrier.wait());
                });
            }
        });
    }
}

#[test]
fn blocking_calls_may_borrow_and_panic_and_give_back_what_they_own() {
    let _watch = watch("borrows", 60);
    let system = common::system(2);
    let census = Census::default();
    system.run(|| {
        let mut text = String::from("a");
        let length = blocking(|| {
            text.push('b');
            text.len()
        });
        assert_eq!((text.as_str(), length), ("ab", 2));
        let item = census.item();
        let payload = panic_of(|| {
            blocking(|| {
                let _item = item;
                planned(3);
            });
        });
        assert_eq!(planned_id(&*payload), 3);
        let item = blocking(|| census.item());
        assert!(!blocking(ramie::in_job));
        drop(item);
    });
    census.assert_all_dropped(2);
    // Outside of jobs it is a call in place.
    let here = std::thread::current().id();
    assert_eq!(blocking(|| std::thread::current().id()), here);
    assert_ne!(system.run(|| blocking(|| std::thread::current().id())), here);
}

/// A destructor that makes a blocking call while its thread unwinds calls in place.
#[test]
fn a_blocking_call_in_an_unwinding_thread_runs_in_place() {
    struct Calls<'a>(&'a AtomicUsize);
    impl Drop for Calls<'_> {
        fn drop(&mut self) {
            let here = std::thread::current().id();
            assert_eq!(blocking(|| std::thread::current().id()), here);
            self.0.fetch_add(1, SeqCst);
        }
    }
    let _watch = watch("unwinding", 60);
    let (system, calls) = (common::system(1), AtomicUsize::new(0));
    let payload = panic_of(|| {
        system.run(|| {
            let _calls = Calls(&calls);
            planned(1)
        })
    });
    assert_eq!((planned_id(&*payload), calls.into_inner()), (1, 1));
}

/// Helper threads must not inherit the CPU of the worker whose call has started them, nor its kind.
#[cfg(target_os = "linux")]
#[test]
fn helper_threads_of_pinned_workers_are_not_pinned() {
    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("Cpus_allowed_list")).expect("a line of it").to_owned()
    }
    const NAME: &str = "helper_threads_of_pinned_workers_are_not_pinned";
    if !is_child(NAME) {
        // In a process of its own, where no helper thread was started before.
        child_succeeds(NAME, &[]);
        return;
    }
    let _watch = watch("pinned", 60);
    let before = allowed();
    let Ok(system) = JobSystem::builder().workers(1).pinning(ramie::Pinning::Linear).build() else {
        return;
    };
    let (worker, helper) = system.run(|| (allowed(), blocking(allowed)));
    assert_eq!(helper, before);
    if std::thread::available_parallelism().is_ok_and(|count| count.get() > 1) {
        assert_ne!(worker, before);
    }
}

#[test]
fn sleepers_sleep_as_long_as_they_say() {
    let _watch = watch("sleep", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        system.scope(|s| {
            for ms in 0..20 {
                s.detach(move || {
                    let (begin, time) = (Instant::now(), Duration::from_millis(ms));
                    if ms % 2 == 0 {
                        sleep(time);
                    } else {
                        sleep_until(begin + time);
                    }
                    assert!(begin.elapsed() >= time);
                });
            }
        });
    }
    // Outside of jobs, and for no time at all.
    let begin = Instant::now();
    sleep(Duration::from_millis(2));
    assert!(begin.elapsed() >= Duration::from_millis(2));
    sleep(Duration::ZERO);
    sleep_until(begin);
}

#[test]
fn a_hundred_thousand_sleep_at_once() {
    let _watch = watch("100,000 sleepers", 180);
    let system = common::builder().workers(2).stack_size(16 << 10).build().unwrap();
    let (asleep, count) = (AtomicUsize::new(0), 100_000);
    let deadline = Instant::now() + Duration::from_millis(1500);
    system.scope(|s| {
        for _ in 0..count {
            s.detach(|| {
                asleep.fetch_add(1, SeqCst);
                sleep_until(deadline);
                assert!(Instant::now() >= deadline);
            });
        }
    });
    assert_eq!(asleep.into_inner(), count);
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let _watch = watch("order", 60);
    // By a clock that does not go on while somebody is late.
    for seed in 0..20 {
        let system = JobSystem::builder().deterministic(seed).build().expect("a system");
        let order = Mutex::new(Vec::new());
        system.scope(|s| {
            for n in [3_u32, 1, 4, 0, 2] {
                let order = &order;
                s.detach(move || {
                    sleep(Duration::from_secs(60) + n * Duration::from_secs(5));
                    order.lock().unwrap().push(n);
                });
            }
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4], "seed {seed}");
    }
}

/// A call in flight is no stall, and a shutdown waits for it.
#[test]
fn a_blocking_call_is_waited_for() {
    let _watch = watch("waited for", 60);
    let stalls = std::sync::Arc::new(AtomicUsize::new(0));
    let theirs = std::sync::Arc::clone(&stalls);
    let system = common::builder()
        .workers(1)
        .stall_after(Duration::from_millis(100))
        .on_stall(move |_| {
            theirs.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let running = threads.spawn(|| {
            system.run(|| blocking(move || receiver.recv().is_err()));
        });
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(stalls.load(SeqCst), 0, "`run` waits for a call that runs");
        drop(sender);
        running.join().unwrap();
    });
    let ended = Counter::new(1);
    let signal = ended.clone();
    system.job().detach(move || {
        blocking(std::thread::yield_now);
        signal.signal();
    });
    system.shutdown(ramie::Drain::Finish).unwrap();
    assert!(ended.is_zero());
}

#[test]
fn helper_threads_are_used_again() {
    let _watch = watch("helper threads", 60);
    let system = common::system(1);
    let threads: HashSet<_> =
        (0..100).map(|_| system.run(|| blocking(|| std::thread::current().id()))).collect();
    // Those that other tests of this process have started may take turns.
    assert!(threads.len() < 100, "a thread for each call");
    spin_until(|| system.dump().is_empty());
}
