//! Handles, counters and batch handles outlive the system that they came from, and are harmless then.

mod common;

use common::{Census, panic_of, spin_until, system, watch};
use ramie::{Counter, Drain, JobError, JobSystem};
use std::time::Duration;

const WORKERS: [usize; 3] = [1, 2, 8];

/// Ends the system in one of its ways; `how` counts them.
fn end(system: JobSystem, how: usize) {
    match how {
        0 => drop(system),
        1 => assert!(system.shutdown(Drain::Finish).expect("from outside").finished),
        2 => {
            assert!(system.shutdown(Drain::Deadline(Duration::from_secs(60))).expect("from outside").finished)
        }
        _ => _ = system.shutdown(Drain::Abandon).expect("from outside"),
    }
}

/// Another system whose jobs use the same slots.
fn reuse_everything() {
    let other = system(2);
    other.run(|| {
        let handles: Vec<_> = (0..500).map(|i| ramie::spawn(move || i)).collect();
        let counters: Vec<_> = (0..500).map(|_| Counter::new(0)).collect();
        ramie::spawn_batch((0..500).map(|_| || ())).wait();
        assert_eq!(handles.into_iter().map(|handle| handle.join().expect("it runs")).sum::<i32>(), 124_750);
        assert!(counters.iter().all(Counter::is_zero));
    });
}

#[test]
fn handles_of_jobs_that_ran() {
    let _watch = watch("handles", 60);
    for workers in WORKERS {
        for how in 0..4 {
            let (system, census) = (system(workers), Census::default());
            let handles: Vec<_> = (0..100)
                .map(|_| {
                    let item = census.item();
                    system.spawn(move || item)
                })
                .collect();
            spin_until(|| handles.iter().all(|handle| handle.is_finished()));
            end(system, how);
            reuse_everything();
            for (i, handle) in handles.into_iter().enumerate() {
                assert!(handle.is_finished() && !handle.cancel());
                match i % 3 {
                    0 => drop(handle.join().expect("it has run")),
                    1 => drop(handle),
                    _ => std::thread::scope(|threads| _ = threads.spawn(move || drop(handle.join()))),
                }
            }
            census.assert_all_dropped(100);
        }
    }
}

#[test]
fn handles_of_jobs_that_never_ran() {
    let _watch = watch("handles", 60);
    for workers in WORKERS {
        let (system, census, gate) = (system(workers), Census::default(), Counter::new(1));
        let handles: Vec<_> = (0..100)
            .map(|_| {
                let item = census.item();
                system.job().after(&gate).spawn(move || item)
            })
            .collect();
        end(system, 3);
        census.assert_all_dropped(100);
        reuse_everything();
        for (i, handle) in handles.into_iter().enumerate() {
            assert!(handle.is_finished() && !handle.cancel());
            if i % 2 == 0 {
                assert!(matches!(handle.join(), Err(JobError::Abandoned)));
            }
            if i == 50 {
                // Their links are still in the counter's list; half of the handles are gone.
                gate.signal();
            }
        }
        reuse_everything();
    }
}

/// Jobs that came after a counter, which is signalled, or dropped, when their system is gone.
#[test]
fn counters_with_continuations_of_a_system_that_is_gone() {
    let _watch = watch("continuations", 60);
    for workers in WORKERS {
        for signals in [true, false] {
            let (system, census) = (system(workers), Census::default());
            let (gate, done) = (Counter::new(1), Counter::new(0));
            for _ in 0..100 {
                let item = census.item();
                system.job().after(&gate).counter(&done).detach(move || drop(item));
            }
            end(system, 3);
            census.assert_all_dropped(100);
            assert!(done.is_zero(), "abandoned jobs signal");
            reuse_everything();
            if signals {
                gate.signal();
                gate.wait();
            }
            drop(gate);
            reuse_everything();
        }
    }
}

#[test]
fn counters_go_on_working_and_serve_other_systems() {
    let _watch = watch("counters", 60);
    for workers in WORKERS {
        for how in 0..4 {
            let (first, counter) = (system(workers), Counter::new(5));
            for _ in 0..4 {
                let theirs = counter.clone();
                first.spawn(move || theirs.signal()).join().expect("it runs");
            }
            end(first, how);
            assert_eq!(counter.value(), 1);
            assert!(counter.wait_timeout(Duration::from_millis(1)).is_err());
            let second = system(workers);
            let theirs = counter.clone();
            let waits = second.spawn(move || theirs.wait());
            let after = second.job().after(&counter).spawn(|| 1);
            assert!(!after.is_finished());
            counter.signal();
            waits.join().expect("it runs");
            assert_eq!(after.join().expect("it runs"), 1);
        }
    }
}

#[test]
fn batches_that_ran_and_batches_that_were_abandoned() {
    let _watch = watch("batches", 60);
    for workers in WORKERS {
        for how in 0..4 {
            let (system, census) = (system(workers), Census::default());
            let items: Vec<_> = (0..100).map(|_| census.item()).collect();
            let [waited, dropped] = [(); 2].map(|()| system.spawn_batch((0..100).map(|_| || ())));
            let counted = system.spawn_batch(items.into_iter().map(|item| move || drop(item)));
            if how == 3 {
                system.wait_idle();
            }
            end(system, how);
            census.assert_all_dropped(100);
            reuse_everything();
            waited.wait();
            drop(dropped);
            counted.wait();
        }
        // Whose jobs are still queued when the system abandons them.
        let (system, census) = (system(workers), Census::default());
        let (begun, gate) = (Counter::new(workers), Counter::new(1));
        for worker in 0..workers {
            let (begun, gate) = (begun.clone(), gate.clone());
            system.job().on_worker(worker).detach(move || {
                begun.signal();
                spin_until(|| gate.is_zero());
            });
        }
        begun.wait();
        let batch = |system: &JobSystem| {
            let items: Vec<_> = (0..50).map(|_| census.item()).collect();
            system.spawn_batch(items.into_iter().map(|item| move || drop(item)))
        };
        let (waited, dropped) = (batch(&system), batch(&system));
        let abandons = std::thread::spawn(move || system.shutdown(Drain::Abandon).expect("from outside"));
        spin_until(|| census.dropped() == 100);
        gate.signal();
        abandons.join().expect("it does not panic");
        reuse_everything();
        let payload = panic_of(|| waited.wait());
        assert!(common::message(&*payload).contains("abandoned"));
        drop(dropped);
        census.assert_all_dropped(100);
    }
}
