//! The main thread as worker 0: `run`, `run_main`, `pump`, waits, and its absence.

mod common;

use common::{Census, message, panic_of, planned, planned_id, watch};
use ramie::{Counter, Drain, JobError, JobSystem};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const WORKERS: [usize; 4] = [1, 2, 3, 8];

fn system(workers: usize) -> JobSystem {
    common::builder().workers(workers).main_thread_worker(true).build().unwrap()
}

#[test]
fn run_works_on_the_calling_thread_too() {
    let _watch = watch("run_works_on_the_calling_thread_too", 60);
    for workers in WORKERS {
        let system = system(workers);
        assert_eq!(system.workers(), workers);
        let here = std::thread::current().id();
        let sum = system.run(|| {
            fn sum(n: std::ops::Range<u64>) -> u64 {
                if n.end - n.start < 8 {
                    return n.sum();
                }
                let middle = (n.start + n.end) / 2;
                let (a, b) = ramie::join(|| sum(n.start..middle), || sum(middle..n.end));
                a + b
            }
            sum(0..10_000)
        });
        assert_eq!(sum, 49_995_000);
        let ids = system.broadcast(|| (ramie::current_worker(), std::thread::current().id()));
        assert_eq!(ids[0], (Some(0), here));
        assert!(ids[1..].iter().all(|(_, id)| *id != here));
    }
}

#[test]
fn run_main_takes_a_closure_that_is_not_send_and_waits_in_it() {
    let _watch = watch("run_main_takes_a_closure_that_is_not_send_and_waits_in_it", 60);
    for workers in WORKERS {
        let system = system(workers);
        let local = Rc::new(5);
        let theirs = Rc::clone(&local);
        let here = std::thread::current().id();
        let got = system.run_main(move || {
            assert_eq!(ramie::current_worker(), Some(0));
            for i in 0..100 {
                assert_eq!(ramie::spawn(move || i * 2).join().unwrap(), i * 2);
                assert_eq!(std::thread::current().id(), here);
            }
            *theirs
        });
        assert_eq!((got, Rc::strong_count(&local)), (5, 1));
        let payload = panic_of(|| system.run_main(|| planned(1)));
        assert_eq!(planned_id(&*payload), 1);
        assert_eq!(system.run_main(|| 7), 7);
    }
}

#[test]
fn run_main_and_pump_refuse_other_threads() {
    let plain = common::system(1);
    for call in [(|system: &JobSystem| system.run_main(|| ())) as fn(&JobSystem), |system: &JobSystem| {
        assert!(!system.pump(Duration::ZERO))
    }] {
        let message = message(&*panic_of(|| call(&plain)));
        assert!(message.contains("main_thread_worker(true)"), "{message}");
    }
}

#[test]
fn a_thread_is_worker_0_of_one_system_at_a_time() {
    let _watch = watch("a_thread_is_worker_0_of_one_system_at_a_time", 60);
    let first = system(2);
    let second = common::builder().workers(1).main_thread_worker(true).build();
    assert!(matches!(second, Err(ramie::BuildError::MainThreadTaken)));
    drop(first);
    assert_eq!(system(1).run(|| 1), 1);
}

/// Joining a handle, waiting for a counter and opening a scope outside of `run`; with one worker nobody else could
/// run the jobs.
#[test]
fn waits_outside_of_run_work_for_the_system() {
    let _watch = watch("waits_outside_of_run_work_for_the_system", 10);
    for workers in WORKERS {
        let system = system(workers);
        let handle = system.spawn(|| ramie::spawn(|| 20).join().unwrap() + 1);
        assert_eq!(handle.join().unwrap(), 21);

        let counter = Counter::new(0);
        for _ in 0..100 {
            system.job().counter(&counter).detach(ramie::yield_now);
        }
        counter.wait();

        let mut numbers = [0_u32; 64];
        system.scope(|s| {
            for (i, n) in numbers.iter_mut().enumerate() {
                s.spawn(move || *n = i as u32);
            }
        });
        assert_eq!(numbers.iter().sum::<u32>(), 63 * 32);

        // A time limit ends the wait although the worker has endless work.
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let busy = system.spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                ramie::yield_now();
            }
        });
        let never = Counter::new(1);
        assert!(never.wait_timeout(Duration::from_millis(5)).is_err());
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();

        // What another thread brings about.
        let signaller = never.clone();
        let outside = std::thread::spawn(move || signaller.signal());
        never.wait();
        outside.join().unwrap();
        system.wait_idle();
    }
}

/// A job that worker 0 has started and that lives on does not hold `run`; it goes on in the next visit.
#[test]
fn an_actor_on_worker_0_does_not_hold_run() {
    let _watch = watch("an_actor_on_worker_0_does_not_hold_run", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (mail, turns) = (Counter::new(1), Arc::new(AtomicUsize::new(0)));
        let (inbox, counted) = (mail.clone(), Arc::clone(&turns));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let actor = system.job().name("actor").on_worker(0).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                inbox.wait();
                inbox.add(1);
                counted.fetch_add(1, Ordering::Release);
            }
        });
        for round in 0..10 {
            assert_eq!(system.run(move || round), round);
            mail.signal();
            while turns.load(Ordering::Acquire) <= round {
                system.pump(Duration::from_millis(1));
            }
        }
        stop.store(true, Ordering::Release);
        mail.signal();
        actor.join().unwrap();
    }
}

#[test]
fn pump_does_what_there_is_and_returns() {
    let _watch = watch("pump_does_what_there_is_and_returns", 60);
    let system = system(1);
    assert!(!system.pump(Duration::from_secs(100)), "there was nothing to do");
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let done = Arc::clone(&done);
        system.job().detach(move || {
            ramie::yield_now();
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    assert_eq!(done.load(Ordering::Relaxed), 0, "nobody else could have run them");
    assert!(!system.pump(Duration::from_secs(100)));
    assert_eq!(done.load(Ordering::Relaxed), 100);
    // No time at all is enough for something.
    for _ in 0..3 {
        let done = Arc::clone(&done);
        system.job().detach(move || {
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut pumps = 0;
    while done.load(Ordering::Relaxed) < 103 {
        system.pump(Duration::ZERO);
        pumps += 1;
    }
    assert!(pumps <= 103);
}

/// Another thread ends the system while this one is elsewhere.
#[test]
fn shutdown_from_another_thread_while_the_main_thread_is_away() {
    let _watch = watch("shutdown_from_another_thread_while_the_main_thread_is_away", 60);
    for workers in WORKERS {
        let census = Census::default();
        let system = system(workers);
        // Waits on worker 0 for ever.
        let gate = Counter::new(1);
        let waiting = gate.clone();
        let stuck = system.job().name("stuck").on_worker(0).spawn(move || waiting.wait());
        system.pump(Duration::from_secs(10));
        let pinned = {
            let captured = census.item();
            system.job().on_worker(0).spawn(move || drop(captured))
        };
        let free: Vec<_> = (0..100)
            .map(|i| {
                let captured = census.item();
                system.spawn(move || {
                    let _captured = captured;
                    i
                })
            })
            .collect();
        let theirs = system.clone();
        let report = std::thread::spawn(move || theirs.shutdown(Drain::Finish).unwrap()).join().unwrap();
        assert!(!report.finished);
        assert!(report.remaining.fibers.iter().any(|fiber| fiber.job_name == Some("stuck")));
        assert!(matches!(pinned.join(), Err(JobError::Abandoned)));
        for (i, job) in free.into_iter().enumerate() {
            match job.join() {
                Ok(value) => assert_eq!(value, i),
                Err(error) => assert!(workers == 1 && matches!(error, JobError::Abandoned)),
            }
        }
        census.assert_all_dropped(101);
        // A late wake of the fiber that was left harms nobody.
        gate.signal();
        drop(stuck);
        drop(system);
    }
}

#[test]
fn the_last_handle_is_dropped_on_another_thread() {
    let _watch = watch("the_last_handle_is_dropped_on_another_thread", 60);
    for workers in WORKERS {
        for inside in [false, true] {
            let system = system(workers);
            let handle = system.spawn(move || 1);
            if inside {
                assert_eq!(handle.join().unwrap(), 1);
            }
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                drop(system);
                sender.send(()).unwrap();
            });
            receiver.recv().unwrap();
            // The thread is free for another system.
            assert_eq!(self::system(1).run(|| 2), 2);
        }
    }
}

/// The thread that was worker 0 ends; its system goes on without it.
#[test]
fn the_main_thread_ends() {
    let _watch = watch("the_main_thread_ends", 60);
    for workers in WORKERS {
        let system = std::thread::spawn(move || {
            let system = system(workers);
            assert_eq!(system.run(|| 1), 1);
            system
        })
        .join()
        .unwrap();
        let pinned = system.job().on_worker(0).spawn(|| 1);
        assert!(matches!(pinned.join(), Err(JobError::Abandoned)));
        let free = system.spawn(|| 2).join();
        if workers > 1 {
            assert_eq!(free.unwrap(), 2);
            assert_eq!(system.run(|| 3), 3);
        } else {
            assert!(matches!(free, Err(JobError::Abandoned)));
        }
        drop(system);
    }
}

/// The main thread is inside `run` when another thread shuts the system down.
#[test]
fn shutdown_while_the_main_thread_is_inside() {
    let _watch = watch("shutdown_while_the_main_thread_is_inside", 60);
    for workers in WORKERS {
        let system = system(workers);
        let entered = Counter::new(1);
        let (theirs, gate) = (system.clone(), entered.clone());
        let other = std::thread::spawn(move || {
            gate.wait();
            theirs.shutdown(Drain::Finish).unwrap()
        });
        let pinned = system.run(|| {
            entered.signal();
            ramie::spawn(|| ramie::spawn(|| 3).join().unwrap()).join().unwrap()
        });
        assert_eq!(pinned, 3);
        let report = other.join().unwrap();
        assert!(report.finished, "{}", report.remaining);
    }
}

/// A windowing system's loop: callbacks on this thread, jobs that must run on it, work beside it.
#[test]
fn pinned_work_of_other_workers_is_done_by_pump() {
    let _watch = watch("pinned_work_of_other_workers_is_done_by_pump", 60);
    for workers in [2, 3, 8] {
        let system = system(workers);
        let here = std::thread::current().id();
        let theirs = system.clone();
        let game = system.job().on_worker(1).spawn(move || {
            (0..50)
                .map(|frame| {
                    let present =
                        theirs.job().on_worker(0).spawn(move || (frame, std::thread::current().id()));
                    present.join().unwrap()
                })
                .collect::<Vec<_>>()
        });
        while !game.is_finished() {
            system.pump(Duration::from_millis(1));
        }
        let frames = game.join().unwrap();
        assert!(frames.iter().enumerate().all(|(i, (frame, id))| i == *frame && *id == here));
    }
}

/// A long job that passes splits, on worker 0, holds neither `run` nor `pump`.
#[test]
fn a_cooperative_loop_on_worker_0_does_not_hold_run() {
    let _watch = watch("a_cooperative_loop_on_worker_0_does_not_hold_run", 60);
    for workers in WORKERS {
        let system = system(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let endless = system.job().on_worker(0).priority(ramie::Priority::Low).spawn(move || {
            while !theirs.load(Ordering::Acquire) {
                ramie::yield_if_urgent();
            }
        });
        for round in 0..20 {
            assert_eq!(system.run(move || round), round);
            system.pump(Duration::from_micros(100));
        }
        stop.store(true, Ordering::Release);
        endless.join().unwrap();
    }
}

/// What is abandoned when the seat is closed may bring about that more is delivered to it.
#[test]
fn abandoning_a_pinned_job_releases_another_one() {
    let _watch = watch("abandoning_a_pinned_job_releases_another_one", 60);
    for workers in WORKERS {
        let census = Census::default();
        let system = system(workers);
        let counters: Vec<Counter> = (0..4).map(|_| Counter::new(0)).collect();
        let mut jobs = Vec::new();
        for i in 0..4 {
            let captured = census.item();
            let mut job = system.job().on_worker(0).counter(&counters[i]);
            if i > 0 {
                job = job.after(&counters[i - 1]);
            }
            jobs.push(job.spawn(move || drop(captured)));
        }
        let theirs = system.clone();
        let report = std::thread::spawn(move || theirs.shutdown(Drain::Finish).unwrap()).join().unwrap();
        assert!(report.finished, "{}", report.remaining);
        for job in jobs {
            assert!(matches!(job.join(), Err(JobError::Abandoned)));
        }
        census.assert_all_dropped(4);
    }
}

/// The last handle is in a job that is abandoned because its thread ends.
#[test]
fn the_main_thread_ends_and_the_last_handle_is_in_a_job() {
    let _watch = watch("the_main_thread_ends_and_the_last_handle_is_in_a_job", 60);
    for workers in WORKERS {
        std::thread::spawn(move || {
            let system = system(workers);
            let theirs = system.clone();
            system.job().on_worker(0).detach(move || drop(theirs));
        })
        .join()
        .unwrap();
    }
}

/// A wake of a fiber that was left comes after its system has gone.
#[test]
fn late_wakes_of_fibers_that_were_left() {
    let _watch = watch("late_wakes_of_fibers_that_were_left", 60);
    for workers in [1, 2] {
        let gate = Counter::new(1);
        let waiting = gate.clone();
        let finished = std::thread::spawn(move || {
            let system = system(workers);
            let job = system.job().on_worker(0).spawn(move || waiting.wait());
            let free = gate.clone();
            let other = system.spawn(move || free.wait());
            system.pump(Duration::from_secs(10));
            drop((job, other));
            (system, gate)
        });
        let (system, gate) = finished.join().unwrap();
        if workers == 1 {
            assert!(!system.shutdown(Drain::Finish).unwrap().finished);
            drop(system);
            gate.signal();
        } else {
            // The job that is not pinned waits on whichever worker took it.
            gate.signal();
            assert!(!system.shutdown(Drain::Deadline(Duration::from_millis(50))).unwrap().finished);
        }
    }
}
