//! Counters: targets, time limits, guards, outside waiters, continuations, and misuse.

mod common;

use common::{Census, WORKERS, message, panic_of, soak, spin_until, system, watch};
use ramie::{Counter, JobError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_counter_at_zero_holds_nobody_back() {
    let _watch = watch("zero", 20);
    let counter = Counter::new(0);
    counter.wait();
    counter.wait_until(0);
    counter.wait_until(5);
    assert_eq!(counter.wait_timeout(Duration::ZERO), Ok(()));
    system(1).run(|| {
        counter.wait();
        assert_eq!(counter.wait_timeout(LONG), Ok(()));
    });
}

#[test]
fn waits_for_targets_return_in_the_order_of_the_targets() {
    let _watch = watch("targets", 60);
    for workers in WORKERS {
        let system = system(workers);
        let counter = Counter::new(10);
        let reached: Arc<Vec<AtomicUsize>> =
            Arc::new((0..10).map(|_| AtomicUsize::new(usize::MAX)).collect());
        let registered = Counter::new(10);
        let handles: Vec<_> = (0..10)
            .map(|target| {
                let (counter, reached, registered) =
                    (counter.clone(), Arc::clone(&reached), registered.clone());
                system.spawn(move || {
                    registered.signal();
                    counter.wait_until(target);
                    let value = counter.value();
                    assert!(value <= target, "{value} is above {target}");
                    reached[target].store(value, Ordering::SeqCst);
                })
            })
            .collect();
        registered.wait();
        let mut handles: Vec<Option<_>> = handles.into_iter().map(Some).collect();
        for target in (0..10).rev() {
            // Nobody below the target can have returned yet.
            assert!((0..=target).all(|below| reached[below].load(Ordering::SeqCst) == usize::MAX));
            counter.signal();
            handles[target].take().expect("joined once").join().expect("it returns");
            assert_eq!(reached[target].load(Ordering::SeqCst), target);
        }
    }
}

#[test]
fn an_outside_thread_waits_for_targets_and_zero() {
    let _watch = watch("outside", 20);
    let system = system(2);
    let counter = Counter::new(100);
    for _ in 0..50 {
        let counter = counter.clone();
        system.spawn(move || counter.signal_n(2));
    }
    counter.wait_until(50);
    assert!(counter.value() <= 50);
    counter.wait();
    assert!(counter.is_zero());
}

#[test]
fn what_nobody_signals_times_out() {
    let _watch = watch("timeout", 20);
    let counter = Counter::new(1);
    assert!(counter.wait_timeout(Duration::ZERO).is_err());
    assert!(counter.wait_timeout(Duration::from_millis(3)).is_err());
    for workers in WORKERS {
        let system = system(workers);
        let waiters: Vec<_> = (0..50)
            .map(|i| {
                let counter = counter.clone();
                system.spawn(move || counter.wait_timeout(Duration::from_micros(i * 50)))
            })
            .collect();
        for waiter in waiters {
            waiter.join().expect("it returns").expect_err("nobody signals");
        }
    }
    assert_eq!(counter.value(), 1);
}

#[test]
fn what_is_signalled_in_time_does_not_time_out() {
    let _watch = watch("signalled", 30);
    for workers in WORKERS {
        let system = system(workers);
        let (counter, registered) = (Counter::new(1), Counter::new(20));
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let (counter, registered) = (counter.clone(), registered.clone());
                system.spawn(move || {
                    registered.signal();
                    counter.wait_timeout(LONG)
                })
            })
            .collect();
        registered.wait();
        counter.signal();
        for waiter in waiters {
            assert_eq!(waiter.join().expect("it returns"), Ok(()));
        }
    }
}

/// A limit that the clock cannot express is none.
#[test]
fn the_longest_limit_is_none() {
    let _watch = watch("longest limit", 20);
    let system = system(2);
    let (counter, registered) = (Counter::new(1), Counter::new(1));
    let (theirs, ready) = (counter.clone(), registered.clone());
    let waiter = system.spawn(move || {
        ready.signal();
        theirs.wait_timeout(Duration::MAX)
    });
    registered.wait();
    counter.signal();
    assert_eq!(waiter.join().expect("it returns"), Ok(()));
}

/// Signal and clock race; whoever wins, the wait ends once, and the next wait is not disturbed by the loser.
#[test]
fn signal_and_clock_may_race() {
    let _watch = watch("race", 60);
    for workers in [1, 2, 8] {
        let system = system(workers);
        for round in 0..2000 * soak() as u64 {
            let counter = Counter::new(1);
            let theirs = counter.clone();
            let waiter = system.spawn(move || {
                let first = theirs.wait_timeout(Duration::from_micros(round % 60));
                theirs.wait();
                first
            });
            for _ in 0..round % 500 {
                std::hint::spin_loop();
            }
            counter.signal();
            // Either answer is right; that it comes, and that the second wait returned, is the test.
            let _either = waiter.join().expect("it returns");
            assert!(counter.is_zero());
        }
    }
}

#[test]
fn a_guard_signals_when_dropped_and_by_a_panic() {
    let counter = Counter::new(0);
    let guard = counter.guard();
    assert_eq!(counter.value(), 1);
    assert_eq!(guard.counter().value(), 1);
    drop(guard);
    assert!(counter.is_zero());
    let guarded = counter.clone();
    drop(panic_of(move || {
        let _guard = guarded.guard();
        common::planned(1);
    }));
    assert!(counter.is_zero());
}

/// A zero that was there is never taken back by a later `add`.
#[test]
fn what_is_added_after_zero_holds_nobody_back() {
    let _watch = watch("add after zero", 60);
    for workers in WORKERS {
        let system = system(workers);
        for _ in 0..100 * soak() {
            let (counter, registered) = (Counter::new(1), Counter::new(8));
            let waiters: Vec<_> = (0..8)
                .map(|i| {
                    let (counter, registered) = (counter.clone(), registered.clone());
                    system.spawn(move || {
                        // Registered when this job suspends: on one worker that is before the signal below.
                        registered.signal();
                        if i % 2 == 0 { counter.wait() } else { counter.wait_until(0) }
                    })
                })
                .collect();
            registered.wait();
            // Wait until all are suspended, so that all of them were waiting at the zero.
            spin_until(|| {
                system.dump().fibers.iter().filter(|f| f.activity == ramie::FiberActivity::Waiting).count()
                    == 8
            });
            // A fiber says that it waits just before it registers. Once its worker has run another job, it has.
            for worker in 0..workers {
                system.job().on_worker(worker).spawn(|| ()).join().expect("it runs");
            }
            counter.signal();
            counter.add(1);
            for waiter in waiters {
                waiter.join().expect("the later 1 does not hold it back");
            }
            counter.signal();
        }
    }
}

#[test]
fn a_signal_below_zero_panics_and_leaves_the_counter_unharmed() {
    let _watch = watch("below zero", 20);
    let counter = Counter::new(2);
    let text = message(&*panic_of(|| counter.signal_n(3)));
    assert!(text.contains("more was signalled than was added"), "{text}");
    assert_eq!(counter.value(), 2);
    counter.signal_n(2);
    drop(panic_of(|| counter.signal()));
    assert_eq!(counter.value(), 0);
    // With a waiter with a target, which takes the path under the lock.
    counter.add(2);
    let system = system(2);
    let (theirs, registered) = (counter.clone(), Counter::new(1));
    let ready = registered.clone();
    let waiter = system.spawn(move || {
        ready.signal();
        theirs.wait_until(1);
    });
    registered.wait();
    drop(panic_of(|| counter.signal_n(3)));
    assert_eq!(counter.value(), 2);
    counter.signal();
    waiter.join().expect("the waiter is not harmed either");
    // And in a job: the handle gets it, and the worker lives on.
    let theirs = counter.clone();
    let error = system.spawn(move || theirs.signal_n(2)).join().expect_err("it panics");
    assert!(matches!(error, JobError::Panicked(_)), "{error:?}");
    assert_eq!(system.run(|| 1), 1);
}

#[test]
fn a_counter_holds_at_most_its_maximum() {
    let counter = Counter::new(Counter::MAX);
    assert_eq!(counter.value(), 4_294_967_295);
    let text = message(&*panic_of(|| counter.add(1)));
    assert!(text.contains("at most 4294967295"), "{text}");
    assert_eq!(counter.value(), Counter::MAX);
    drop(panic_of(|| counter.guard()));
    drop(panic_of(|| counter.add(usize::MAX)));
    drop(panic_of(|| Counter::new(Counter::MAX + 1)));
    drop(panic_of(|| counter.signal_n(usize::MAX)));
    counter.signal_n(Counter::MAX);
    assert!(counter.is_zero());
}

/// A job that cannot be counted was never submitted: the system still ends.
#[test]
fn a_job_on_a_full_counter_is_refused_and_not_waited_for() {
    let _watch = watch("full counter", 20);
    for workers in [1, 2] {
        let (system, full, census) = (system(workers), Counter::new(Counter::MAX), Census::default());
        let item = census.item();
        drop(panic_of(|| system.job().counter(&full).spawn(move || drop(item))));
        let inner = full.clone();
        let item = census.item();
        system.run(|| {
            let builder = system.job().counter(&inner);
            drop(panic_of(|| builder.detach(move || drop(item))));
        });
        census.assert_all_dropped(2);
        system.wait_idle();
        system.shutdown(ramie::Drain::Finish).expect("from outside");
    }
}

/// The first counter of a refused job must not keep the 1 that it was given.
#[test]
fn a_refused_job_leaves_its_other_counters_as_they_were() {
    let _watch = watch("refused job", 20);
    let (system, full, other) = (system(1), Counter::new(Counter::MAX), Counter::new(0));
    drop(panic_of(|| system.job().counter(&other).counter(&full).detach(|| ())));
    assert_eq!(other.value(), 0);
    system.wait_idle();
}

/// A user who signals a job's counter by hand has the job's own signal fail. The worker must survive that.
#[test]
fn a_counter_that_was_signalled_by_hand_too_does_not_kill_the_worker() {
    let _watch = watch("signalled by hand", 20);
    for workers in [1, 2] {
        let system = common::builder().workers(workers).on_panic(|_| ()).build().expect("a system");
        let counter = Counter::new(0);
        let theirs = counter.clone();
        let handle = system.job().counter(&counter).spawn(move || theirs.signal());
        drop(handle.join());
        assert!(counter.is_zero());
        assert_eq!(system.run(|| 1), 1);
    }
}

#[test]
fn a_counter_has_many_waiters_of_many_systems_and_threads() {
    let _watch = watch("many waiters", 60);
    let systems = WORKERS.map(system);
    for _ in 0..5 * soak() {
        let (gate, registered, woken) = (Counter::new(1), Counter::new(0), Arc::new(AtomicUsize::new(0)));
        let mut handles = Vec::new();
        for system in &systems {
            for i in 0..200 {
                registered.add(1);
                let (gate, registered, woken) = (gate.clone(), registered.clone(), Arc::clone(&woken));
                handles.push(system.spawn(move || {
                    registered.signal();
                    match i % 3 {
                        0 => gate.wait(),
                        1 => gate.wait_until(0),
                        _ => gate.wait_timeout(LONG).expect("it is signalled"),
                    }
                    woken.fetch_add(1, Ordering::Relaxed);
                }));
            }
        }
        std::thread::scope(|threads| {
            for i in 0..8 {
                let (gate, woken) = (&gate, &woken);
                threads.spawn(move || {
                    if i % 2 == 0 {
                        gate.wait()
                    } else {
                        gate.wait_timeout(LONG).expect("it is signalled")
                    }
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            registered.wait();
            gate.signal();
        });
        handles.into_iter().for_each(|handle| handle.join().expect("it returns"));
        assert_eq!(woken.load(Ordering::Relaxed), systems.len() * 200 + 8);
    }
}

#[test]
fn a_job_comes_after_no_one_or_many_counters() {
    let _watch = watch("after", 30);
    for workers in WORKERS {
        let system = system(workers);
        system.run(|| {
            let none: [Counter; 0] = [];
            assert_eq!(ramie::spawn_after(&none, || 1).join().expect("it runs"), 1);
            let zero = Counter::new(0);
            assert_eq!(ramie::spawn_after(&zero, || 2).join().expect("it runs"), 2);
            let one = Counter::new(1);
            let handle = ramie::spawn_after(&one, || 3);
            assert!(!handle.is_finished());
            one.signal();
            assert_eq!(handle.join().expect("it runs"), 3);
            let many: Vec<Counter> = (0..100).map(|i| Counter::new(i % 3)).collect();
            let all = many.clone();
            let handle = ramie::spawn_after(&many, move || all.iter().all(Counter::is_zero));
            many.iter().enumerate().for_each(|(i, counter)| counter.signal_n(i % 3));
            assert!(handle.join().expect("it runs"));
            // The same counter twice.
            let same = Counter::new(1);
            let handle = ramie::spawn_after(&[&same, &same], || 4);
            same.signal();
            assert_eq!(handle.join().expect("it runs"), 4);
        });
    }
}

#[test]
fn a_held_job_does_not_start_before_the_last_of_its_counters() {
    let _watch = watch("held", 30);
    for workers in WORKERS {
        let system = system(workers);
        let counters: Vec<Counter> = (0..5).map(|_| Counter::new(1)).collect();
        let started = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&started);
        let mut builder = system.job();
        for counter in &counters {
            builder = builder.after(counter);
        }
        let handle = builder.spawn(move || theirs.fetch_add(1, Ordering::SeqCst));
        for counter in &counters {
            // Everything that could run has run.
            system.broadcast(|| ());
            assert_eq!(started.load(Ordering::SeqCst), 0);
            counter.signal();
        }
        assert_eq!(handle.join().expect("it runs"), 0);
        assert_eq!(started.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_job_may_have_many_counters_and_signals_each_once() {
    let _watch = watch("many counters", 20);
    let system = system(2);
    let counters: Vec<Counter> = (0..7).map(|_| Counter::new(0)).collect();
    let gate = Counter::new(1);
    let mut builder = system.job().after(&gate);
    for counter in &counters {
        builder = builder.counter(counter);
    }
    builder.detach(|| ());
    assert!(counters.iter().all(|counter| counter.value() == 1));
    gate.signal();
    counters.iter().for_each(Counter::wait);
    system.wait_idle();
    assert!(counters.iter().all(Counter::is_zero));
}

#[test]
fn dropping_the_last_clone_of_a_counter_abandons_what_comes_after_it() {
    let _watch = watch("dropped counter", 30);
    for workers in WORKERS {
        let (system, census) = (system(workers), Census::default());
        let (dropped, other, done) = (Counter::new(1), Counter::new(1), Counter::new(0));
        let item = census.item();
        let after_both = system.job().after(&dropped).after(&other).counter(&done).spawn(move || drop(item));
        let item = census.item();
        let after_one = system.job().after(&dropped).counter(&done).spawn(move || drop(item));
        let item = census.item();
        system.job().after(&dropped).counter(&done).detach(move || drop(item));
        assert_eq!(done.value(), 3);
        drop(dropped.clone());
        assert_eq!(done.value(), 3, "there is another clone");
        drop(dropped);
        assert!(done.is_zero(), "an abandoned job signals its counters");
        census.assert_all_dropped(3);
        assert!(matches!(after_both.join(), Err(JobError::Abandoned)));
        assert!(matches!(after_one.join(), Err(JobError::Abandoned)));
        other.signal();
        system.wait_idle();
    }
}

/// A held job is cancelled, before or while its counter is signalled; it runs or is cancelled, once.
#[test]
fn a_held_job_can_be_cancelled() {
    let _watch = watch("cancel held", 60);
    for workers in WORKERS {
        let (system, census) = (system(workers), Census::default());
        let count = 200 * soak();
        for i in 0..count {
            let (gate, done) = (Counter::new(1), Counter::new(0));
            let item = census.item();
            let handle = system.job().after(&gate).counter(&done).spawn(move || drop(item));
            let cancelled = std::thread::scope(|threads| {
                if i % 2 == 0 {
                    threads.spawn(|| gate.signal());
                    handle.cancel()
                } else {
                    let cancelled = handle.cancel();
                    gate.signal();
                    assert!(cancelled, "it had not been started");
                    cancelled
                }
            });
            match handle.join() {
                Ok(()) => assert!(!cancelled),
                Err(JobError::Cancelled) => assert!(cancelled),
                Err(other) => panic!("{other}"),
            }
            done.wait();
        }
        system.wait_idle();
        census.assert_all_dropped(count);
    }
}

#[test]
fn counters_are_signalled_however_a_job_ends() {
    let _watch = watch("however", 30);
    for workers in WORKERS {
        let system = common::builder().workers(workers).on_panic(|_| ()).build().expect("a system");
        let done = Counter::new(0);
        system.job().counter(&done).detach(|| ());
        system.job().counter(&done).detach(|| common::planned(1));
        drop(system.job().counter(&done).spawn(|| common::planned(2)));
        let gate = Counter::new(1);
        assert!(system.job().after(&gate).counter(&done).spawn(|| ()).cancel());
        system.job().after(&gate).counter(&done).detach(|| ());
        drop(gate);
        done.wait();
        system.wait_idle();
        assert!(done.is_zero());
    }
}

/// Thread-local destructors run after ramie's own thread-local is gone.
#[test]
fn counters_work_in_thread_local_destructors() {
    struct AtExit(Counter);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let own = Counter::new(1);
            own.clone().signal();
            own.wait();
            assert!(Counter::new(1).wait_timeout(Duration::from_micros(10)).is_err());
            self.0.signal();
        }
    }
    thread_local!(static AT_EXIT: std::cell::RefCell<Option<AtExit>> = const { std::cell::RefCell::new(None) });
    let _watch = watch("thread-local destructors", 20);
    let ended = Counter::new(3);
    let theirs = ended.clone();
    std::thread::spawn(move || {
        AT_EXIT.with(|slot| *slot.borrow_mut() = Some(AtExit(theirs.clone())));
        Counter::new(0).wait();
    })
    .join()
    .expect("the destructor does not panic");
    let system = system(2);
    let theirs = ended.clone();
    system.broadcast(move || AT_EXIT.with(|slot| *slot.borrow_mut() = Some(AtExit(theirs.clone()))));
    drop(system);
    assert!(ended.is_zero(), "two workers and a thread have ended");
}
