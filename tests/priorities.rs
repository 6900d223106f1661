//! Priorities: who inherits what, who goes first, what the guard delays, that nobody starves, and the end.
//!
//! Everything is told by the order of events. A job that holds a worker's thread (`Held`) lets a test put things
//! where it wants them before the worker looks; `Load` keeps all workers busy for as long as a test likes.

mod common;

use common::busy::{ALL, Held, Load, count, flag, low_work, mine, until_waiting};
use common::{Census, Rng, planned, planned_id, soak, spin_until, system, watch};
use ramie::{Counter, Drain, FiberActivity, JobError, JobHandle, JobSystem, Partition, Priority};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The numbers of workers that everything here is tested with.
const WORKERS: [usize; 3] = [1, 2, 8];

// --- inheriting ------------------------------------------------------------------------------

#[test]
fn outside_threads_have_no_priority_and_their_jobs_are_normal() {
    let _watch = watch("outside", 30);
    assert_eq!(ramie::current_priority(), None);
    assert_eq!(Priority::default(), Priority::Normal);
    assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
    for workers in WORKERS {
        let system = system(workers);
        let gate = Counter::new(1);
        assert_eq!(system.spawn(mine).join().expect("it runs"), Priority::Normal);
        assert_eq!(system.run(mine), Priority::Normal);
        assert_eq!(system.join(mine, mine), (Priority::Normal, Priority::Normal));
        assert_eq!(system.job().name("named").spawn(mine).join().expect("it runs"), Priority::Normal);
        let after = system.job().after(&gate).spawn(mine);
        gate.signal();
        assert_eq!(after.join().expect("it runs"), Priority::Normal);
        system.scope(|s| {
            assert_eq!(s.spawn(mine).join().expect("it runs"), Priority::Normal);
            for priority in ALL {
                assert_eq!(s.job().priority(priority).spawn(mine).join().expect("it runs"), priority);
            }
        });
        system.spawn_batch((0..8).map(|_| || assert_eq!(mine(), Priority::Normal))).wait();
        system.par(0..1000).for_each(|_| assert_eq!(mine(), Priority::Normal));
        assert!(system.broadcast(mine).into_iter().all(|priority| priority == Priority::Normal));
        for priority in ALL {
            assert_eq!(system.job().priority(priority).spawn(mine).join().expect("it runs"), priority);
            for worker in 0..workers {
                let pinned = system.job().priority(priority).on_worker(worker).spawn(mine);
                assert_eq!(pinned.join().expect("it runs"), priority);
            }
            system.par(0..1000).priority(priority).for_each(|_| assert_eq!(mine(), priority));
        }
    }
    assert_eq!(ramie::current_priority(), None);
}

#[test]
fn children_inherit_the_priority() {
    let _watch = watch("inherit", 60);
    for workers in WORKERS {
        let system = system(workers);
        for priority in ALL {
            for _ in 0..20 {
                let theirs = system.clone();
                let root = system.job().priority(priority).spawn(move || family(&theirs, priority, 2));
                root.join().expect("all have the priority of the root");
            }
        }
    }
}

/// Children of every kind, and theirs.
fn family(system: &JobSystem, priority: Priority, generations: u32) {
    assert_eq!(mine(), priority);
    let Some(generations) = generations.checked_sub(1) else { return };
    let child = {
        let system = system.clone();
        move || family(&system, priority, generations)
    };
    let handles = [
        ramie::spawn(child.clone()),
        system.spawn(child.clone()),
        system.job().name("child").spawn(child.clone()),
        system.job().on_worker(system.workers() - 1).spawn(child.clone()),
    ];
    handles.into_iter().for_each(|handle| handle.join().expect("its checks hold"));
    ramie::join(&child, &child);
    ramie::scope(|s| {
        s.spawn(&child);
        s.job().name("member").detach(&child);
        s.job().on_worker(0).detach(&child);
        s.spawn(&child).join().expect("its checks hold");
    });
    ramie::spawn_batch((0..4).map(|_| child.clone())).wait();
    ramie::par(0..4).for_each(|_| child());
    ramie::par(0..9).partition(Partition::Static(3)).for_each(|_| assert_eq!(mine(), priority));
    system.run(&child);
    assert!(ramie::broadcast(mine).into_iter().all(|other| other == priority));
    // Across a counter, by whomever it is signalled.
    let gate = Counter::new(1);
    let (later, pinned) = (
        ramie::spawn_after(&gate, child.clone()),
        system.job().after(&gate).on_worker(0).spawn(child.clone()),
    );
    let signaller = system.job().priority(Priority::Normal);
    signaller.detach(move || gate.signal());
    later.join().expect("its checks hold");
    pinned.join().expect("its checks hold");
    ramie::yield_now();
    ramie::yield_if_urgent();
    assert_eq!(mine(), priority, "as before, after waits of all kinds");
}

/// What a job is given, it has, unless somebody more urgent waits for it, and hands on.
#[test]
fn an_explicit_priority_wins() {
    let _watch = watch("explicit", 60);
    for workers in WORKERS {
        let system = system(workers);
        for outer in ALL {
            for inner in ALL {
                let theirs = system.clone();
                let root = system.job().priority(outer).spawn(move || {
                    // The waits are for a counter, which raises nobody.
                    let (done, gate) = (Counter::new(0), Counter::new(1));
                    let check = move || {
                        assert_eq!(mine(), inner);
                        assert_eq!(ramie::join(mine, mine), (inner, inner));
                    };
                    let mut handles = vec![
                        theirs.job().priority(inner).counter(&done).spawn(check),
                        theirs.job().priority(inner).counter(&done).after(&gate).spawn(check),
                        theirs.job().priority(inner).counter(&done).name("named").spawn(check),
                    ];
                    for worker in 0..theirs.workers() {
                        let pinned = theirs.job().priority(inner).counter(&done).on_worker(worker);
                        handles.push(pinned.spawn(check));
                    }
                    gate.signal();
                    done.wait();
                    handles.into_iter().for_each(|handle| handle.join().expect("its checks hold"));
                    ramie::scope(|s| {
                        s.job().priority(inner).counter(&done).detach(check);
                        done.wait();
                    });
                    assert_eq!(mine(), outer);
                });
                root.join().expect("its checks hold");
            }
        }
    }
}

/// A loop's priority is its caller's too, until it ends, also by a panic.
#[test]
fn a_loop_has_its_own_priority_and_its_job_gets_its_old_one_back() {
    let _watch = watch("loops", 60);
    for workers in WORKERS {
        let system = system(workers);
        for outer in ALL {
            for inner in ALL {
                let root = system.job().priority(outer).spawn(move || {
                    for partition in [Partition::Auto, Partition::Static(4)] {
                        let run = ramie::par(0..2000_u64).partition(partition).priority(inner);
                        let sum = run.map_reduce(
                            0,
                            |n| {
                                assert_eq!(mine(), inner);
                                n
                            },
                            |a, b| a + b,
                        );
                        assert_eq!(sum, 1999 * 1000);
                        assert_eq!(mine(), outer);
                        let failed = catch_unwind(|| {
                            let run = ramie::par(0..100_u64).partition(partition).priority(inner);
                            run.for_each(|n| {
                                if n == 77 {
                                    planned(n)
                                }
                            });
                        });
                        assert_eq!(planned_id(&*failed.expect_err("77 panics")), 77);
                        assert_eq!(mine(), outer);
                        assert_eq!(ramie::spawn(mine).join().expect("it runs"), outer);
                    }
                });
                root.join().expect("its checks hold");
            }
        }
    }
}

/// What runs in place of a wait is at least as urgent as the waiter, and changes nothing for it.
#[test]
fn a_job_that_is_joined_in_place_has_the_greater_priority_of_both() {
    let _watch = watch("in place", 60);
    let system = system(1);
    for waiter in ALL {
        for job in ALL {
            for pinned in [false, true] {
                let theirs = system.clone();
                let root = system.job().priority(waiter).spawn(move || {
                    let spec = theirs.job().priority(job);
                    let spec = if pinned { spec.on_worker(0) } else { spec };
                    // With one worker it has not been started yet.
                    let handle = spec.spawn(|| (mine(), ramie::spawn(mine).join().expect("it runs")));
                    let seen = handle.join().expect("it runs");
                    assert_eq!(seen, (waiter.max(job), waiter.max(job)));
                    assert_eq!(mine(), waiter);
                    let panics = theirs.job().priority(job).spawn(|| planned(3));
                    assert!(matches!(panics.join(), Err(JobError::Panicked(_))));
                    assert_eq!(mine(), waiter);
                });
                root.join().expect("its checks hold");
            }
        }
    }
}

/// A job of another system inherits from the job that submits it, as one of the same system does.
#[test]
fn the_priority_is_inherited_across_systems() {
    let _watch = watch("inherit across", 30);
    for workers in WORKERS {
        let (here, there) = (system(workers), system(workers));
        for priority in ALL {
            let theirs = there.clone();
            let root = here.job().priority(priority).spawn(move || {
                assert_eq!(theirs.spawn(mine).join().expect("it runs"), priority);
                assert_eq!(theirs.run(mine), priority);
                assert_eq!(theirs.job().name("named").spawn(mine).join().expect("it runs"), priority);
                theirs.scope(|s| assert_eq!(s.spawn(mine).join().expect("it runs"), priority));
                theirs.spawn_batch((0..4).map(|_| move || assert_eq!(mine(), priority))).wait();
            });
            root.join().expect("its checks hold");
        }
    }
}

// --- order -----------------------------------------------------------------------------------

/// One worker takes what is more urgent first, from wherever it comes. A new system, and fewer jobs than there are
/// turns between two turns of fairness, so that there is none of those in between.
#[test]
fn one_worker_takes_high_before_normal_before_low() {
    let _watch = watch("order", 60);
    let mut rng = Rng(common::seed());
    for _ in 0..40 * soak() {
        // Where fibers migrate, those that are ready stand among the jobs.
        let system = common::sticky().workers(1).build().expect("it can be built");
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |log: &Arc<Mutex<Vec<_>>>, from: &'static str, priority: Priority| {
            let log = Arc::clone(log);
            move || {
                assert_eq!(mine(), priority);
                log.lock().expect("not poisoned").push((priority, from));
            }
        };
        // A fiber of each priority that waits, and is woken by the job that holds the worker.
        let (gate, ready) = (Counter::new(1), Counter::new(3));
        for priority in ALL {
            let (gate, ready) = (gate.clone(), ready.clone());
            let note = note(&log, "fiber", priority);
            system.job().name("fiber").priority(priority).detach(move || {
                ready.signal();
                gate.wait();
                note();
            });
        }
        ready.wait();
        let theirs = system.clone();
        let mut shuffled = [ALL, ALL, ALL].concat();
        (1..shuffled.len()).for_each(|i| shuffled.swap(i, rng.below(i as u64 + 1) as usize));
        let inside: Vec<_> = shuffled.iter().map(|p| (*p, note(&log, "inside", *p))).collect();
        let held = Held::then(&system, 0, move || {
            for (priority, note) in inside {
                theirs.job().priority(priority).detach(note);
            }
            gate.signal();
        });
        for priority in shuffled {
            match rng.below(2) {
                0 => system.job().priority(priority).detach(note(&log, "outside", priority)),
                _ => system.job().priority(priority).on_worker(0).detach(note(&log, "pinned", priority)),
            }
        }
        held.release();
        system.wait_idle();
        let log = std::mem::take(&mut *log.lock().expect("not poisoned"));
        assert_eq!(log.len(), 21);
        assert!(log.is_sorted_by(|a, b| a.0 >= b.0), "{log:?}");
        // Fibers that were woken go before jobs of their priority, unless they are queued like jobs.
        for priority in ALL {
            let first = log.iter().find(|(other, _)| *other == priority);
            assert!(common::migrating() || first == Some(&(priority, "fiber")), "{log:?}");
        }
    }
}

/// Nobody sleeps while there is work, of whatever priority, from wherever it comes.
#[test]
fn work_of_every_priority_wakes_sleepers() {
    let _watch = watch("sleepers", 60);
    for workers in WORKERS {
        let system = system(workers);
        for round in 0..200 * soak() {
            // All sleep or are about to, and one job needs another one that only somebody else can run.
            let priority = ALL[round % 3];
            let (theirs, done) = (system.clone(), Counter::new(0));
            let guard = done.guard();
            system.job().priority(ALL[round / 3 % 3]).detach(move || {
                let (begun, ended) = flag();
                theirs.job().priority(priority).detach(move || {
                    begun.store(true, SeqCst);
                    drop(guard);
                });
                if theirs.workers() > 1 {
                    spin_until(|| ended.load(SeqCst));
                }
            });
            done.wait();
        }
    }
}

// --- the guard -------------------------------------------------------------------------------

/// The guard knows sticky fibers alone: those that migrate need no worker of their own.
fn guarded(workers: usize, enabled: bool) -> JobSystem {
    common::sticky().workers(workers).priority_guard(enabled).build().expect("a system")
}

/// High jobs that wait until they are told, one on each of the first `count` workers.
fn long_lived(system: &JobSystem, count: usize) -> (Counter, Vec<JobHandle<()>>) {
    let (gate, begun) = (Counter::new(1), Counter::new(count));
    let jobs = (0..count)
        .map(|worker| {
            let (gate, begun) = (gate.clone(), begun.clone());
            system.job().name("long-lived").priority(Priority::High).on_worker(worker).spawn(move || {
                begun.signal();
                gate.wait();
            })
        })
        .collect();
    begun.wait();
    (gate, jobs)
}

/// While a High fiber waits for ever, its worker delays Low work, and never forbids it.
#[test]
fn low_work_ends_beside_a_high_fiber_that_waits_for_ever() {
    let _watch = watch("guard", 120);
    for workers in WORKERS {
        for enabled in [true, false] {
            for count in [1, workers] {
                let system = guarded(workers, enabled);
                let (gate, jobs) = long_lived(&system, count);
                // From outside, one at a time and many; from inside; pinned; of all kinds.
                for _ in 0..5 {
                    let one = system.job().priority(Priority::Low).spawn(|| 1);
                    assert_eq!(one.join().expect("it runs"), 1);
                }
                for round in 0..5 {
                    let many: Vec<_> = (0..50)
                        .map(|i| {
                            let job = system.job().priority(Priority::Low);
                            let job = if i % 10 == 9 { job.on_worker(i % workers) } else { job };
                            job.spawn(move || low_work(i))
                        })
                        .collect();
                    if round % 2 == 0 {
                        system.run(|| ramie::yield_now());
                    }
                    many.into_iter().for_each(|job| job.join().expect("it runs"));
                }
                system.par(0..10_000).priority(Priority::Low).for_each(|_| ());
                assert!(jobs.iter().all(|job| !job.is_finished()));
                gate.signal();
                jobs.into_iter().for_each(|job| job.join().expect("it ends"));
            }
        }
    }
}

/// A High fiber that waits for Low work on the guarded worker itself, again and again.
#[test]
fn a_guarded_worker_runs_the_low_work_that_its_high_fiber_needs() {
    let _watch = watch("guard and counter", 60);
    for workers in WORKERS {
        for enabled in [true, false] {
            let system = guarded(workers, enabled);
            let theirs = system.clone();
            let waiter = system.job().priority(Priority::High).spawn(move || {
                for round in 0..30 {
                    let done = Counter::new(0);
                    for i in 0..3 {
                        let low = theirs.job().priority(Priority::Low).counter(&done);
                        let low =
                            if (round + i) % 5 == 0 { low.on_worker(i % theirs.workers()) } else { low };
                        low.detach(move || low_work(i));
                    }
                    done.wait();
                }
            });
            waiter.join().expect("it ends");
        }
    }
}

/// Every worker is guarded, all sleep, and then Low work comes: from outside, and from a Normal job.
#[test]
fn low_work_that_meets_nothing_but_guarded_sleepers_ends() {
    let _watch = watch("guarded sleepers", 60);
    for workers in WORKERS {
        let system = guarded(workers, true);
        let (gate, jobs) = long_lived(&system, workers);
        for round in 0..20 {
            spin_until(|| system.stats().parks > 0);
            let (done, theirs) = (Counter::new(0), system.clone());
            if round % 2 == 0 {
                (0..10).for_each(|_| system.job().priority(Priority::Low).counter(&done).detach(|| ()));
            } else {
                let guard = done.guard();
                drop(system.spawn(move || {
                    for _ in 0..10 {
                        theirs.job().priority(Priority::Low).counter(guard.counter()).detach(|| ());
                    }
                }));
            }
            done.wait();
        }
        gate.signal();
        jobs.into_iter().for_each(|job| job.join().expect("it ends"));
    }
}

/// One of several workers is guarded, and busy with a Normal job that needs the Low ones that it spawns.
#[test]
fn low_work_of_a_guarded_worker_is_taken_by_others() {
    let _watch = watch("guard and others", 60);
    for workers in [2, 8] {
        let system = guarded(workers, true);
        let (gate, jobs) = long_lived(&system, 1);
        for round in 0..200 * soak() {
            let (done, theirs) = (Counter::new(0), system.clone());
            let needs = system.job().on_worker(0).spawn(move || {
                let low = || theirs.job().priority(Priority::Low).counter(&done);
                (0..1 + round % 4).for_each(|_| low().detach(|| ()));
                if round % 2 == 0 {
                    // Its own worker does nothing else meanwhile.
                    spin_until(|| done.is_zero());
                } else {
                    done.wait();
                }
            });
            needs.join().expect("it ends");
        }
        gate.signal();
        jobs.into_iter().for_each(|job| job.join().expect("it ends"));
    }
}

/// The guard holds Low work back again each time that a High job has run, also if it had given up before: in most
/// of the rounds a High job that waits for no longer than a moment goes on before a Low job is started.
#[test]
fn the_guard_holds_again_after_it_has_opened() {
    let _watch = watch("guard again", 60);
    const ROUNDS: usize = 60;
    let system = guarded(1, true);
    let theirs = system.clone();
    let gates: Arc<Vec<[Counter; 2]>> =
        Arc::new((0..ROUNDS).map(|_| [Counter::new(1), Counter::new(1)]).collect());
    let (waits, started) = count();
    let opened = Arc::clone(&gates);
    let waiter = system.job().name("waiter").priority(Priority::High).spawn(move || {
        let mut first = 0;
        for gates in opened.iter() {
            // The last job before was High, on whatever fiber.
            let other = Counter::new(0);
            theirs.job().priority(Priority::High).counter(&other).detach(|| ());
            other.wait();
            started.fetch_add(1, SeqCst);
            // For so long that the guard gives up.
            gates[0].wait();
            let (low, ran) = flag();
            let done = Counter::new(0);
            theirs.job().priority(Priority::Low).counter(&done).detach(move || ran.store(true, SeqCst));
            started.fetch_add(1, SeqCst);
            // For a moment.
            gates[1].wait();
            first += usize::from(!low.load(SeqCst));
            done.wait();
        }
        first
    });
    for (round, gates) in gates.iter().enumerate() {
        spin_until(|| waits.load(SeqCst) > 2 * round);
        until_waiting(&system, "waiter", "counter");
        // Not to synchronise anything: this much time is to pass.
        std::thread::sleep(Duration::from_millis(5));
        gates[0].signal();
        spin_until(|| waits.load(SeqCst) > 2 * round + 1);
        until_waiting(&system, "waiter", "counter");
        (0..5000).for_each(|_| std::hint::spin_loop());
        gates[1].signal();
    }
    let first = waiter.join().expect("it ends");
    // A busy machine may make a moment long.
    assert!(first >= ROUNDS / 6, "in {first} of {ROUNDS} rounds the High job went first");
}

/// A worker that spins for long holds Low work back for no longer than one that sleeps soon: a second of spinning for
/// each of these waits would be too much for the watchdog.
#[test]
fn the_guard_opens_while_its_worker_spins() {
    let _watch = watch("guard and spin", 15);
    let system = common::sticky().workers(1).spin(Duration::from_secs(1)).build().expect("a system");
    let theirs = system.clone();
    let waiter = system.job().priority(Priority::High).spawn(move || {
        for _ in 0..30 {
            let done = Counter::new(0);
            theirs.job().priority(Priority::Low).counter(&done).detach(|| ());
            done.wait();
        }
    });
    waiter.join().expect("it ends");
}

// --- nothing starves -------------------------------------------------------------------------

/// Work of every kind ends under constant load of a higher priority.
#[test]
fn less_urgent_work_ends_under_constant_load() {
    let _watch = watch("constant load", 120);
    for workers in WORKERS {
        for (load, below) in [
            (Priority::High, Priority::Low),
            (Priority::High, Priority::Normal),
            (Priority::Normal, Priority::Low),
        ] {
            let system = system(workers);
            let loads = Load::new(&system, load, 2 * workers);
            let pinned = Load::on_worker(&system, load, workers - 1);
            let done = Counter::new(0);
            for i in 0..40 {
                let job = system.job().priority(below).counter(&done);
                let job = if i % 4 == 3 { job.on_worker(i / 4 % workers) } else { job };
                job.detach(move || low_work(i));
            }
            // A fiber that gives way at each split, and one that is woken again and again.
            system.job().priority(below).counter(&done).detach(|| {
                (0..10).for_each(|_| {
                    ramie::yield_if_urgent();
                    ramie::yield_now();
                });
            });
            system.job().priority(below).counter(&done).detach(|| low_work(1));
            done.wait();
            drop((loads, pinned));
        }
    }
}

/// ... and beside fibers that yield for ever.
#[test]
fn less_urgent_work_ends_beside_urgent_fibers_that_yield_for_ever() {
    let _watch = watch("urgent yielders", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (stop, theirs) = flag();
        let yielders: Vec<_> = (0..2 * workers)
            .map(|i| {
                let theirs = Arc::clone(&theirs);
                system.job().priority(ALL[i % 2]).spawn(move || {
                    while !theirs.load(SeqCst) {
                        ramie::yield_now();
                    }
                })
            })
            .collect();
        for i in 0..30 {
            let job = system.job().priority(Priority::Low);
            let job = if i % 3 == 0 { job.on_worker(i % workers) } else { job };
            job.spawn(move || low_work(i)).join().expect("it ends");
        }
        stop.store(true, SeqCst);
        yielders.into_iter().for_each(|yielder| yielder.join().expect("it ends"));
    }
}

// --- cancel and shutdown ---------------------------------------------------------------------

#[test]
fn jobs_of_every_priority_can_be_cancelled() {
    let _watch = watch("cancel", 60);
    for workers in WORKERS {
        let system = system(workers);
        let census = Census::default();
        let held: Vec<_> = (0..workers).map(|worker| Held::new(&system, worker)).collect();
        let gate = Counter::new(1);
        let (done, mut made) = (Counter::new(0), 0);
        let mut handles = Vec::new();
        for priority in ALL {
            for i in 0..12 {
                let (item, after) = (census.item(), i % 4 == 3);
                made += 1;
                let job = system.job().priority(priority).counter(&done);
                let job = if i % 3 == 0 { job.on_worker(i % workers) } else { job };
                let job = if after { job.after(&gate) } else { job };
                handles.push((i % 2 == 0, job.spawn(move || drop(item))));
            }
        }
        for (cancel, handle) in &handles {
            if *cancel {
                assert!(handle.cancel(), "nobody could start it");
                assert!(!handle.cancel());
            }
        }
        assert_eq!(census.dropped(), handles.iter().filter(|(cancel, _)| *cancel).count());
        gate.signal();
        held.into_iter().for_each(Held::release);
        for (cancelled, handle) in handles {
            match handle.join() {
                Ok(()) => assert!(!cancelled),
                Err(JobError::Cancelled) => assert!(cancelled),
                Err(other) => panic!("{other}"),
            }
        }
        done.wait();
        system.wait_idle();
        census.assert_all_dropped(made);
    }
}

/// A raised job that is cancelled or was cancelled: what was moved is let go once.
#[test]
fn members_of_a_raised_scope_can_be_cancelled() {
    let _watch = watch("cancel raised", 60);
    for workers in WORKERS {
        let system = system(workers);
        let census = Census::default();
        let rounds = 50;
        for round in 0..rounds {
            let theirs = census.clone();
            let waiter = system.job().priority(Priority::High).spawn(move || {
                let ran = AtomicUsize::new(0);
                let cancelled = ramie::scope(|s| {
                    let ran = &ran;
                    let handles: Vec<_> = (0..10)
                        .map(|i| {
                            let item = theirs.item();
                            let job = s.job().priority(ALL[i % 3]);
                            let job = if (i + round) % 4 == 0 { job.on_worker(0) } else { job };
                            job.spawn(move || {
                                drop(item);
                                ran.fetch_add(1, SeqCst);
                            })
                        })
                        .collect();
                    handles.into_iter().step_by(2).filter(|handle| handle.cancel()).count()
                });
                assert_eq!(ran.load(SeqCst) + cancelled, 10);
            });
            waiter.join().expect("it ends");
        }
        system.wait_idle();
        census.assert_all_dropped(10 * rounds);
    }
}

#[test]
fn abandon_drops_queued_jobs_of_every_priority() {
    let _watch = watch("abandon", 60);
    for workers in WORKERS {
        let system = common::builder().workers(workers).on_panic(|_| ()).build().expect("a system");
        let census = Census::default();
        let (done, never) = (Counter::new(0), Counter::new(1));
        let mut made = 0;
        let mut item = || {
            made += 1;
            census.item()
        };
        // The held job of worker 0 fills the deques when it is let go, which is after the shutdown has begun for
        // one half of the rounds only: see below.
        let mut handles = Vec::new();
        let inside: Vec<_> = ALL.iter().cycle().take(30).map(|priority| (*priority, item())).collect();
        let (theirs, counter) = (system.clone(), done.clone());
        let filled = Counter::new(1);
        let (full, go) = (filled.clone(), flag());
        let gone = Arc::clone(&go.1);
        let filler = Held::then(&system, 0, move || {
            for (priority, item) in inside {
                theirs.job().priority(priority).counter(&counter).detach(move || drop(item));
            }
            drop((theirs, counter));
            full.signal();
            spin_until(|| gone.load(SeqCst));
        });
        let others: Vec<_> = (1..workers).map(|worker| Held::new(&system, worker)).collect();
        for priority in ALL {
            for i in 0..20 {
                let item = item();
                let job = system.job().priority(priority).counter(&done);
                let job = if i % 4 == 1 { job.on_worker(i % workers) } else { job };
                let job = if i % 5 == 2 { job.after(&never) } else { job };
                if i % 2 == 0 {
                    handles.push(job.spawn(move || drop(item)));
                } else {
                    job.detach(move || drop(item));
                }
            }
        }
        filler.go.store(true, SeqCst);
        filled.wait();
        // All workers are held, with work of every priority in deques, injectors, inboxes, and held back.
        let report = system.shutdown(Drain::Abandon).expect("from outside");
        assert!(!report.finished);
        for handle in handles {
            assert!(matches!(handle.join(), Err(JobError::Abandoned)));
        }
        go.0.store(true, SeqCst);
        filler.release_abandoned();
        others.into_iter().for_each(Held::release_abandoned);
        drop(never);
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
        done.wait();
        census.assert_all_dropped(made);
    }
}

/// A shutdown that abandons while High jobs wait for Low ones that are never started.
#[test]
fn a_waiter_is_told_when_what_it_waits_for_is_abandoned() {
    let _watch = watch("abandon raised", 60);
    for workers in WORKERS {
        let system = system(workers);
        let held: Vec<_> = (1..workers).map(|worker| Held::new(&system, worker)).collect();
        let never = Counter::new(1);
        let (theirs, after) = (system.clone(), never.clone());
        let told = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&told);
        let waiter = system.job().name("waiter").priority(Priority::High).on_worker(0).spawn(move || {
            let low = || theirs.job().priority(Priority::Low);
            let low = if theirs.workers() > 1 { low().on_worker(1) } else { low().after(&after) };
            let low = low.spawn(|| ());
            drop((theirs, after));
            assert!(matches!(low.join(), Err(JobError::Abandoned)));
            seen.fetch_add(1, SeqCst);
        });
        until_waiting(&system, "waiter", "the result of job");
        system.shutdown(Drain::Abandon).expect("from outside");
        assert!(matches!(waiter.join(), Err(JobError::Abandoned)));
        held.into_iter().for_each(Held::release_abandoned);
        drop(never);
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
        assert_eq!(told.load(SeqCst), 1);
    }
}

#[test]
fn finish_runs_queued_low_work_while_a_high_fiber_waits() {
    let _watch = watch("finish", 60);
    for workers in WORKERS {
        for enabled in [true, false] {
            let system = guarded(workers, enabled);
            let (gate, jobs) = long_lived(&system, workers);
            let (done, ran) = (Counter::new(0), Arc::new(AtomicUsize::new(0)));
            for i in 0..100 {
                let ran = Arc::clone(&ran);
                system.job().priority(Priority::Low).counter(&done).detach(move || {
                    low_work(i);
                    ran.fetch_add(1, SeqCst);
                });
            }
            std::thread::scope(|threads| {
                let end = threads.spawn(|| system.shutdown(Drain::Finish).expect("from outside"));
                // The High fibers wait until all Low work has ended.
                done.wait();
                assert!(jobs.iter().all(|job| !job.is_finished()));
                gate.signal();
                assert!(end.join().expect("no panic").finished);
            });
            assert_eq!(ran.load(SeqCst), 100);
            jobs.into_iter().for_each(|job| job.join().expect("it ended"));
        }
    }
}

/// The dump names priorities.
#[test]
fn dumps_show_the_priority() {
    let _watch = watch("dump", 30);
    let system = system(2);
    let (gate, jobs) = long_lived(&system, 2);
    spin_until(|| system.dump().fibers.iter().filter(|f| f.activity == FiberActivity::Waiting).count() == 2);
    let dump = system.dump();
    assert!(dump.fibers.iter().all(|fiber| fiber.priority == Priority::High), "{dump}");
    assert!(dump.to_string().contains("job 'long-lived' (High)"), "{dump}");
    gate.signal();
    jobs.into_iter().for_each(|job| job.join().expect("it ends"));
}

/// Waits of every priority that end by a time limit, beside jobs of every priority.
#[test]
fn time_limits_hold_at_every_priority() {
    let _watch = watch("time limits", 60);
    for workers in WORKERS {
        let system = system(workers);
        let jobs: Vec<_> = (0..30)
            .map(|i| {
                system.job().priority(ALL[i % 3]).spawn(move || {
                    let never = Counter::new(1);
                    for _ in 0..5 {
                        never.wait_timeout(Duration::from_micros(50)).expect_err("nobody signals it");
                        low_work(i);
                    }
                    assert_eq!(mine(), ALL[i % 3]);
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.join().expect("it ends"));
    }
}

/// Panics of jobs of every priority, in place and elsewhere, leave the priorities of others as they were.
#[test]
fn panics_leave_priorities_as_they_were() {
    let _watch = watch("panics", 60);
    for workers in WORKERS {
        let system = system(workers);
        for outer in ALL {
            for inner in ALL {
                let theirs = system.clone();
                let root = system.job().priority(outer).spawn(move || {
                    let handle = theirs.job().priority(inner).spawn(|| planned(1));
                    assert!(matches!(handle.join(), Err(JobError::Panicked(_))));
                    assert_eq!(mine(), outer);
                    let scoped = catch_unwind(AssertUnwindSafe(|| {
                        ramie::scope(|s| s.job().priority(inner).detach(|| planned(2)));
                    }));
                    assert_eq!(planned_id(&*scoped.expect_err("it panics")), 2);
                    assert_eq!(mine(), outer);
                    let joined = catch_unwind(|| ramie::join(|| planned(3), || ()));
                    assert_eq!(planned_id(&*joined.expect_err("it panics")), 3);
                    assert_eq!(mine(), outer);
                });
                root.join().expect("its checks hold");
            }
        }
    }
}
