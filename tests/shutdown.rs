//! The end of a system: finish, deadline, abandon, the last handle, and what comes after.

mod common;

use common::{Census, WORKERS, message, panic_of, planned, planned_id, soak, spin_until, system, watch};
use ramie::{Counter, Drain, FiberActivity, JobError, JobSystem, ShutdownError, StallKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn waiting_jobs(system: &JobSystem) -> usize {
    system.dump().fibers.iter().filter(|fiber| fiber.activity == FiberActivity::Waiting).count()
}

#[test]
fn finish_runs_everything_that_was_submitted_and_what_that_submits() {
    let _watch = watch("finish", 60);
    fn grow(count: &Arc<AtomicUsize>, depth: u32) {
        count.fetch_add(1, Ordering::Relaxed);
        if depth > 0 {
            for _ in 0..3 {
                let count = Arc::clone(count);
                drop(ramie::spawn(move || {
                    ramie::yield_now();
                    grow(&count, depth - 1);
                }));
            }
        }
    }
    for workers in WORKERS {
        for explicit in [true, false] {
            let system = system(workers);
            let count = Arc::new(AtomicUsize::new(0));
            for _ in 0..10 {
                let count = Arc::clone(&count);
                drop(system.spawn(move || grow(&count, 5)));
            }
            if explicit {
                let report = system.shutdown(Drain::Finish).expect("from outside");
                assert!(report.finished && report.remaining.is_empty(), "{report:?}");
                let again = system.shutdown(Drain::Abandon).expect("shutting down again is harmless");
                assert!(again.finished);
            } else {
                drop(system);
            }
            assert_eq!(count.load(Ordering::Relaxed), 10 * (3_usize.pow(6) - 1) / 2);
        }
    }
}

#[test]
fn finish_waits_for_held_and_suspended_jobs() {
    let _watch = watch("finish held", 30);
    for workers in WORKERS {
        let system = system(workers);
        let (gate, ran) = (Counter::new(1), Arc::new(AtomicUsize::new(0)));
        for i in 0..20 {
            let (theirs, ran) = (gate.clone(), Arc::clone(&ran));
            if i % 2 == 0 {
                system.job().after(&gate).detach(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            } else {
                drop(system.spawn(move || {
                    theirs.wait();
                    ran.fetch_add(1, Ordering::Relaxed);
                }));
            }
        }
        std::thread::scope(|threads| {
            threads.spawn(|| system.shutdown(Drain::Finish).expect("from outside"));
            // The shutdown may have begun or not: the jobs run either way.
            gate.signal();
        });
        assert_eq!(ran.load(Ordering::Relaxed), 20);
    }
}

#[test]
fn abandon_drops_what_was_not_started_and_lets_the_rest_end() {
    let _watch = watch("abandon", 60);
    for workers in WORKERS {
        let system = system(workers);
        let census = Census::default();
        let (gate, begun, done) = (Counter::new(1), Counter::new(workers), Counter::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        // One job that waits and one that would run, on each worker at least.
        let waiting: Vec<_> = (0..workers)
            .map(|i| {
                let (gate, begun, ended, item) =
                    (gate.clone(), begun.clone(), Arc::clone(&ended), census.item());
                system.job().name("waits").counter(&done).spawn(move || {
                    begun.signal();
                    gate.wait();
                    ended.fetch_add(1, Ordering::SeqCst);
                    drop(item);
                    i
                })
            })
            .collect();
        begun.wait();
        spin_until(|| waiting_jobs(&system) == workers);
        let never = Counter::new(1);
        let held: Vec<_> = (0..10)
            .map(|_| {
                let item = census.item();
                system.job().after(&never).counter(&done).spawn(move || drop(item))
            })
            .collect();
        let report = system.shutdown(Drain::Abandon).expect("from outside");
        assert!(!report.finished);
        assert_eq!(report.remaining.fibers.len(), workers, "{}", report.remaining);
        assert!(report.remaining.fibers.iter().all(|fiber| fiber.job_name == Some("waits")));
        assert_eq!(census.dropped(), 10, "held jobs are dropped at once");
        for handle in held {
            assert!(matches!(handle.join(), Err(JobError::Abandoned)));
        }
        for handle in waiting {
            assert!(handle.is_finished());
            assert!(matches!(handle.join(), Err(JobError::Abandoned)), "handles say so at once");
        }
        assert_eq!(done.value(), workers, "a counter tells when a job has really ended");
        gate.signal();
        done.wait();
        assert_eq!(ended.load(Ordering::SeqCst), workers);
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
        census.assert_all_dropped(workers + 10);
    }
}

#[test]
fn a_deadline_that_passes_abandons() {
    let _watch = watch("deadline", 30);
    for workers in WORKERS {
        let system = common::builder().workers(workers).on_stall(|_| ()).build().expect("a system");
        let (gate, begun) = (Counter::new(1), Counter::new(1));
        let (theirs, ready) = (gate.clone(), begun.clone());
        let handle = system.spawn(move || {
            ready.signal();
            theirs.wait();
        });
        begun.wait();
        let report = system.shutdown(Drain::Deadline(Duration::from_millis(5))).expect("from outside");
        assert!(!report.finished);
        assert_eq!(report.remaining.fibers.len(), 1);
        assert!(matches!(handle.join(), Err(JobError::Abandoned)));
        gate.signal();
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
    }
}

#[test]
fn a_deadline_that_is_met_finishes() {
    let _watch = watch("deadline met", 30);
    for workers in WORKERS {
        for limit in [Duration::from_secs(1000), Duration::MAX] {
            let system = system(workers);
            let handle = system.spawn(|| 5);
            assert!(system.shutdown(Drain::Deadline(limit)).expect("from outside").finished);
            assert_eq!(handle.join().expect("it has run"), 5);
        }
    }
}

#[test]
fn a_job_submitted_after_the_end_is_dropped() {
    let _watch = watch("after the end", 30);
    for workers in WORKERS {
        for drain in [Drain::Finish, Drain::Abandon, Drain::Deadline(Duration::from_secs(100))] {
            let (system, census) = (system(workers), Census::default());
            system.shutdown(drain).expect("from outside");
            let (done, gate) = (Counter::new(0), Counter::new(1));
            let item = census.item();
            let plain = system.spawn(move || drop(item));
            assert!(matches!(plain.join(), Err(JobError::Abandoned)));
            let item = census.item();
            let counted = system.job().name("late").counter(&done).spawn(move || drop(item));
            assert!(done.is_zero(), "the counter was signalled");
            assert!(!counted.cancel());
            assert!(matches!(counted.join(), Err(JobError::Abandoned)));
            let item = census.item();
            let held = system.job().after(&gate).counter(&done).spawn(move || drop(item));
            assert!(matches!(held.join(), Err(JobError::Abandoned)));
            let item = census.item();
            system.job().counter(&done).detach(move || drop(item));
            assert!(done.is_zero());
            let items = [census.item(), census.item()];
            let batch = system.spawn_batch(items.map(|item| move || drop(item)));
            let text = message(&*panic_of(|| batch.wait()));
            assert!(text.contains("abandoned"), "{text}");
            census.assert_all_dropped(6);
            gate.signal();
            system.wait_idle();
        }
    }
}

#[test]
fn run_scope_join_par_and_broadcast_after_the_end_panic() {
    let _watch = watch("after the end", 30);
    let system = system(2);
    system.shutdown(Drain::Finish).expect("from outside");
    for payload in [
        panic_of(|| system.run(|| ())),
        panic_of(|| system.scope(|_| ())),
        panic_of(|| system.join(|| (), || ())),
        panic_of(|| system.par(0..10_u32).for_each(|_| ())),
        panic_of(|| system.broadcast(|| ())),
    ] {
        let text = message(&*payload);
        assert!(text.contains("has been shut down"), "{text}");
    }
}

#[test]
fn shutdown_and_wait_idle_inside_an_own_job_are_refused() {
    let _watch = watch("own job", 30);
    for workers in WORKERS {
        let system = system(workers);
        let inner = system.clone();
        system.run(move || {
            for drain in [Drain::Finish, Drain::Abandon, Drain::Deadline(Duration::ZERO)] {
                assert_eq!(inner.shutdown(drain).expect_err("inside"), ShutdownError::InsideOwnJob);
            }
            let text = message(&*panic_of(|| inner.wait_idle()));
            assert!(text.contains("wait for itself"), "{text}");
        });
        assert_eq!(system.run(|| 1), 1, "the system was not shut down");
        assert!(ShutdownError::InsideOwnJob.to_string().contains("from outside"));
    }
}

#[test]
fn the_last_handle_may_be_dropped_inside_an_own_job() {
    let _watch = watch("last handle inside", 60);
    for workers in WORKERS {
        for _ in 0..20 * soak() {
            let stopped = Counter::new(workers);
            let theirs = stopped.clone();
            let system = common::builder()
                .workers(workers)
                .on_worker_stop(move |_| theirs.signal())
                .build()
                .expect("a system");
            let ran = Arc::new(AtomicUsize::new(0));
            let (gate, inner, counted) = (Counter::new(1), system.clone(), Arc::clone(&ran));
            let go = gate.clone();
            let handle = system.spawn(move || {
                go.wait();
                for _ in 0..10 {
                    let counted = Arc::clone(&counted);
                    drop(inner.spawn(move || {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }));
                }
                drop(inner);
                ramie::yield_now();
                5
            });
            drop(system);
            gate.signal();
            assert_eq!(handle.join().expect("it runs to its end"), 5);
            stopped.wait();
            assert_eq!(ran.load(Ordering::Relaxed), 10, "dropping the last handle is Finish");
        }
    }
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_job_of_another_system() {
    let _watch = watch("last handle elsewhere", 30);
    let outer = system(1);
    for workers in WORKERS {
        let inner = system(workers);
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        outer.run(move || {
            for _ in 0..10 {
                let counted = Arc::clone(&counted);
                drop(inner.spawn(move || {
                    ramie::yield_now();
                    counted.fetch_add(1, Ordering::Relaxed);
                }));
            }
            drop(inner);
        });
        assert_eq!(ran.load(Ordering::Relaxed), 10);
    }
}

#[test]
fn the_last_handle_may_be_dropped_while_panicking() {
    let _watch = watch("last handle panicking", 30);
    for workers in WORKERS {
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let payload = panic_of(|| {
            let system = system(workers);
            drop(system.spawn(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }));
            planned(1)
        });
        assert_eq!(planned_id(&*payload), 1);
        // Within its second; a job that was not started by then would have been dropped.
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    }
    // A job that does not end does not keep the unwinding thread.
    let gate = Counter::new(1);
    let theirs = gate.clone();
    let payload = panic_of(|| {
        let system = common::builder().workers(1).on_stall(|_| ()).build().expect("a system");
        drop(system.spawn(move || theirs.wait()));
        planned(2)
    });
    assert_eq!(planned_id(&*payload), 2);
    gate.signal();
}

#[test]
fn a_system_that_owns_itself_through_a_queued_job_is_abandoned_cleanly() {
    let _watch = watch("owned by a job", 30);
    let system = system(1);
    let (gate, census) = (Counter::new(1), Census::default());
    let (own, item) = (system.clone(), census.item());
    system.job().after(&gate).detach(move || drop((own, item)));
    drop(system);
    assert_eq!(census.dropped(), 0);
    // The job holds the last handle; it is dropped with the job, on this thread.
    drop(gate);
    census.assert_all_dropped(1);
}

#[test]
fn a_scope_panics_when_a_member_was_abandoned() {
    let _watch = watch("scope abandoned", 60);
    for workers in WORKERS {
        let system = system(workers);
        let never = Counter::new(1);
        let (begun, census) = (Counter::new(1), Census::default());
        let payload = std::thread::scope(|threads| {
            let scoping = threads.spawn(|| {
                panic_of(|| {
                    system.scope(|s| {
                        let item = census.item();
                        s.job().after(&never).detach(move || drop(item));
                        begun.signal();
                    })
                })
            });
            begun.wait();
            system.shutdown(Drain::Abandon).expect("from outside");
            scoping.join().expect("the panic was caught")
        });
        let text = message(&*payload);
        assert!(text.contains("was abandoned"), "{text}");
        census.assert_all_dropped(1);
    }
}

/// Started work that borrows is waited for, whatever the shutdown says.
#[test]
fn a_scope_waits_for_started_members_through_an_abandon() {
    let _watch = watch("scope through abandon", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (gate, begun, ended) = (Counter::new(1), Counter::new(1), AtomicBool::new(false));
        std::thread::scope(|threads| {
            let scoping = threads.spawn(|| {
                system.scope(|s| {
                    s.spawn(|| {
                        begun.signal();
                        gate.wait();
                        ended.store(true, Ordering::SeqCst);
                    });
                });
                ended.load(Ordering::SeqCst)
            });
            begun.wait();
            let report = system.shutdown(Drain::Abandon).expect("from outside");
            assert!(!report.finished);
            gate.signal();
            assert!(scoping.join().expect("the scope returns"), "the member had ended");
        });
    }
}

/// `run` lends its closure the caller's stack: it must not return before the closure has ended, abandoned or not.
#[test]
fn run_from_a_thread_returns_only_when_its_closure_has_ended() {
    let _watch = watch("run through abandon", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (gate, begun, ended) = (Counter::new(1), Counter::new(1), AtomicBool::new(false));
        std::thread::scope(|threads| {
            let running = threads.spawn(|| {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    system.run(|| {
                        begun.signal();
                        gate.wait();
                        ended.store(true, Ordering::SeqCst);
                    })
                }));
                (result.is_ok(), ended.load(Ordering::SeqCst))
            });
            begun.wait();
            system.shutdown(Drain::Abandon).expect("from outside");
            gate.signal();
            let (_, ended) = running.join().expect("caught");
            assert!(ended, "run returned while its closure was running");
        });
    }
}

/// The same from a job of another system, where `run` suspends instead of blocking.
#[test]
fn run_from_a_foreign_job_returns_only_when_its_closure_has_ended() {
    let _watch = watch("run from a foreign job", 60);
    for workers in WORKERS {
        let (inner, outer) = (system(workers), system(1));
        let (gate, begun) = (Counter::new(1), Counter::new(1));
        // Nothing here is borrowed, so that a failure is a failure and no use after free.
        let ended = Arc::new(AtomicBool::new(false));
        let caller = {
            let (inner, gate, begun, ended) =
                (inner.clone(), gate.clone(), begun.clone(), Arc::clone(&ended));
            outer.spawn(move || {
                let theirs = Arc::clone(&ended);
                let _either = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    inner.run(move || {
                        begun.signal();
                        gate.wait();
                        theirs.store(true, Ordering::SeqCst);
                    })
                }));
                ended.load(Ordering::SeqCst)
            })
        };
        begun.wait();
        inner.shutdown(Drain::Abandon).expect("from outside");
        // If the abandon had woken the caller, it would have run before this job of the same worker.
        outer.spawn(|| ()).join().expect("it runs");
        gate.signal();
        assert!(caller.join().expect("it returns"), "run returned while its closure was running");
    }
}

/// A closure that was running when the system was abandoned has a result; the result is not lost or dropped late.
#[test]
fn a_result_of_run_is_gone_or_there_when_run_returns() {
    let _watch = watch("result of run", 60);
    for workers in [1, 2, 8] {
        for _ in 0..100 * soak() {
            let (system, census) = (system(workers), Census::default());
            let begun = Counter::new(1);
            std::thread::scope(|threads| {
                let running = threads.spawn(|| {
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        system.run(|| {
                            let item = census.item();
                            begun.signal();
                            item
                        })
                    }));
                    drop(result);
                    census.dropped()
                });
                begun.wait();
                system.shutdown(Drain::Abandon).expect("from outside");
                assert_eq!(running.join().expect("caught"), 1, "the result was dropped before run returned");
            });
        }
    }
}

#[test]
fn wait_idle_waits_for_all_jobs_and_can_be_repeated() {
    let _watch = watch("wait_idle", 60);
    for workers in WORKERS {
        let system = system(workers);
        system.wait_idle();
        for round in 1..=20 {
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..round * 5 {
                let (ran, system) = (Arc::clone(&ran), system.clone());
                drop(system.clone().spawn(move || {
                    ramie::yield_now();
                    drop(system.spawn(move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                    }));
                }));
            }
            std::thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| {
                        system.wait_idle();
                        assert_eq!(ran.load(Ordering::Relaxed), round * 5);
                    });
                }
            });
        }
    }
}

/// Submissions race with the end: each is run or refused, none is lost.
#[test]
fn submissions_race_with_the_end() {
    let _watch = watch("submissions race", 120);
    for workers in WORKERS {
        for round in 0..30 * soak() {
            let (system, census) = (system(workers), Census::default());
            let (started, ran) = (Counter::new(2), Arc::new(AtomicUsize::new(0)));
            let made = std::thread::scope(|threads| {
                let submitters: Vec<_> = (0..2)
                    .map(|_| {
                        threads.spawn(|| {
                            let mut outcomes = [0_usize; 2];
                            let mut handles = Vec::new();
                            for i in 0..200 {
                                let (item, ran) = (census.item(), Arc::clone(&ran));
                                handles.push(system.spawn(move || {
                                    drop(item);
                                    ran.fetch_add(1, Ordering::SeqCst);
                                }));
                                if i == 20 {
                                    started.signal();
                                }
                            }
                            for handle in handles {
                                match handle.join() {
                                    Ok(()) => outcomes[0] += 1,
                                    Err(JobError::Abandoned) => outcomes[1] += 1,
                                    Err(other) => panic!("{other}"),
                                }
                            }
                            outcomes
                        })
                    })
                    .collect();
                started.wait();
                let drain = if round % 2 == 0 { Drain::Finish } else { Drain::Abandon };
                system.shutdown(drain).expect("from outside");
                let mut sums = [0, 0];
                for submitter in submitters {
                    let outcomes = submitter.join().expect("no panic");
                    sums = [sums[0] + outcomes[0], sums[1] + outcomes[1]];
                }
                sums
            });
            drop(system);
            assert_eq!(made[0] + made[1], 400);
            let ran = ran.load(Ordering::SeqCst);
            // A handle may say Abandoned of a job that was running just then and did run to its end.
            assert!(ran >= made[0], "{ran} ran, {made:?}");
            if round % 2 == 0 {
                assert_eq!(ran, made[0], "finish: what was not refused has run");
            }
            census.assert_all_dropped(400);
        }
    }
}

#[test]
fn a_blocked_finish_is_reported_with_the_job_that_blocks_it() {
    let _watch = watch("blocked finish", 30);
    let (gate, reports) = (Counter::new(1), Arc::new(Mutex::new(Vec::new())));
    let (opened, heard) = (gate.clone(), Arc::clone(&reports));
    let system = common::builder()
        .workers(2)
        .stall_after(Duration::from_millis(2))
        .on_stall(move |report| {
            let mut heard = heard.lock().expect("not poisoned");
            if heard.is_empty() {
                opened.signal();
            }
            heard.push(report.clone());
        })
        .build()
        .expect("a system");
    let theirs = gate.clone();
    system.job().name("the culprit").detach(move || theirs.wait());
    // Otherwise the first report may come before it has begun.
    spin_until(|| waiting_jobs(&system) == 1);
    assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
    let reports = reports.lock().expect("not poisoned");
    let report = &reports[0];
    assert_eq!(report.kind, StallKind::ShutdownBlocked);
    let text = report.to_string();
    assert!(text.contains("the culprit") && text.contains("shutdown.rs"), "{text}");
}

#[test]
fn a_blocked_run_is_reported_as_suspected() {
    let _watch = watch("blocked run", 30);
    let gate = Counter::new(1);
    let (opened, heard) = (gate.clone(), Arc::new(Mutex::new(None)));
    let ours = Arc::clone(&heard);
    let system = common::builder()
        .workers(2)
        .stall_after(Duration::from_millis(2))
        .on_stall(move |report| {
            let mut heard = ours.lock().expect("not poisoned");
            if heard.is_none() {
                *heard = Some(report.clone());
                opened.signal();
            }
        })
        .build()
        .expect("a system");
    system.run(|| gate.wait());
    let report = heard.lock().expect("not poisoned").clone().expect("reported");
    assert_eq!(report.kind, StallKind::RunBlocked);
    assert!(report.to_string().contains("suspected stall"), "{report}");
    assert_eq!(report.dump.fibers.len(), 1);
}

#[test]
fn a_stall_callback_may_panic() {
    let _watch = watch("on_stall panics", 30);
    let gate = Counter::new(1);
    let opened = gate.clone();
    let calls = AtomicUsize::new(0);
    let system = common::builder()
        .workers(1)
        .stall_after(Duration::from_millis(1))
        .on_stall(move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                opened.signal();
            }
            planned(1)
        })
        .build()
        .expect("a system");
    let theirs = gate.clone();
    drop(system.spawn(move || theirs.wait()));
    assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
}

/// A running job of a system that drains goes on submitting; so may a job that it released.
#[test]
fn jobs_go_on_submitting_while_the_system_drains() {
    let _watch = watch("draining", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (begun, go, ran) = (Counter::new(1), Counter::new(1), Arc::new(AtomicUsize::new(0)));
        let (inner, ready, start, count) = (system.clone(), begun.clone(), go.clone(), Arc::clone(&ran));
        drop(system.spawn(move || {
            ready.signal();
            start.wait();
            let add = {
                let count = Arc::clone(&count);
                move || {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            drop(ramie::spawn(add.clone()));
            inner.scope(|s| drop(s.spawn(add.clone())));
            inner.join(add.clone(), add.clone());
            inner.par(0..3_u32).for_each(|_| add.clone()());
            inner.spawn_batch([add.clone()]).wait();
            inner.broadcast(add.clone());
            let gate = Counter::new(1);
            let last = ramie::spawn_after(&gate, add);
            gate.signal();
            last.join().expect("it runs");
        }));
        begun.wait();
        std::thread::scope(|threads| {
            let shutting = threads.spawn(|| system.shutdown(Drain::Finish).expect("from outside"));
            // The end has begun when a submission from outside is refused.
            spin_until(|| matches!(system.spawn(|| ()).join(), Err(JobError::Abandoned)));
            go.signal();
            assert!(shutting.join().expect("no panic").finished);
        });
        assert_eq!(ran.load(Ordering::Relaxed), 1 + 1 + 2 + 3 + 1 + workers + 1);
    }
}

/// A job of an abandoned system that still runs may use all of its API; nothing hangs and nothing is started.
#[test]
fn a_running_job_of_an_abandoned_system_may_submit() {
    let _watch = watch("submit abandoned", 60);
    for workers in WORKERS {
        let (system, census) = (system(workers), Census::default());
        let (begun, go, ended) = (Counter::new(1), Counter::new(1), Counter::new(1));
        let (ready, start, last, theirs) = (begun.clone(), go.clone(), ended.clone(), census.clone());
        drop(system.spawn(move || {
            ready.signal();
            start.wait();
            let item = theirs.item();
            drop(ramie::spawn(move || drop(item)));
            let item = theirs.item();
            assert!(matches!(ramie::spawn(move || drop(item)).join(), Err(JobError::Abandoned)));
            let item = theirs.item();
            drop(panic_of(|| ramie::scope(|s| drop(s.spawn(move || drop(item))))));
            let item = theirs.item();
            drop(panic_of(|| ramie::spawn_batch([move || drop(item)]).wait()));
            drop(panic_of(|| ramie::broadcast(|| ())));
            // `join` and loops are this job's own work: they run.
            let (a, b) = ramie::join(|| 1, || 2);
            assert_eq!((a, b), (1, 2));
            assert_eq!(ramie::par(0..100_u32).map_reduce(0, |i| i, |a, b| a + b), 4950);
            ramie::yield_now();
            let (gate, item) = (Counter::new(1), theirs.item());
            let held = ramie::spawn_after(&gate, move || drop(item));
            assert!(matches!(held.join(), Err(JobError::Abandoned)));
            last.signal();
        }));
        begun.wait();
        assert!(!system.shutdown(Drain::Abandon).expect("from outside").finished);
        go.signal();
        ended.wait();
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
        census.assert_all_dropped(5);
    }
}

/// Each abandoned job releases the next one: none of them lies on the stack of the one before.
#[test]
fn a_long_chain_of_continuations_is_abandoned() {
    const LENGTH: usize = 100_000;
    let _watch = watch("a long chain", 60);
    let system = system(2);
    let counters: Vec<Counter> = (0..=LENGTH).map(|_| Counter::new(0)).collect();
    counters[0].add(1);
    let census = common::Census::default();
    let link = |i: usize| {
        let item = census.item();
        system.job().after(&counters[i]).counter(&counters[i + 1]).spawn(move || drop(item))
    };
    // The last first: each comes after a counter that is not zero yet.
    counters[1..].iter().for_each(|counter| counter.add(1));
    let jobs: Vec<_> = (0..LENGTH).map(link).collect();
    counters[1..].iter().for_each(Counter::signal);
    let report = system.shutdown(Drain::Abandon).expect("outside of its jobs");
    assert!(report.finished);
    assert!(jobs.into_iter().all(|job| matches!(job.join(), Err(JobError::Abandoned))));
    census.assert_all_dropped(LENGTH);
}
