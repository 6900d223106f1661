//! Raising: what a more urgent job waits for becomes as urgent as the waiter, wherever it is queued.
//!
//! Everything is told by the order of events; see `tests/priorities.rs`.

mod common;

use common::busy::{Held, Load, count, flag, mine, until_waiting};
use common::{spin_until, system, watch};
use ramie::{Counter, JobSystem, Priority};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The numbers of workers that everything here is tested with.
const WORKERS: [usize; 3] = [1, 2, 8];

/// Ways in which a High job can come to wait for a Low one.
const WAITS: [&str; 12] = [
    "handle",
    "counter",
    "own pin",
    "other pin",
    "each pin",
    "batch",
    "scope",
    "scope with pins",
    "scope that comes after",
    "continuation",
    "chain of handles",
    "started",
];

/// All workers are kept busy by Normal work that never ends, and a High job waits for a Low one.
#[test]
fn a_high_job_that_waits_for_a_low_one_goes_on_under_endless_normal_load() {
    let _watch = watch("inversion", 120);
    for workers in WORKERS {
        let system = system(workers);
        let load = Load::new(&system, Priority::Normal, 2 * workers);
        let pinned: Vec<_> =
            (0..workers).map(|worker| Load::on_worker(&system, Priority::Normal, worker)).collect();
        for round in 0..4 {
            for what in WAITS {
                let theirs = system.clone();
                // On each worker in turn, and anywhere.
                let job = system.job().name("waiter").priority(Priority::High);
                let job = if round % 2 == 0 { job.on_worker(round / 2 % workers) } else { job };
                let ended = job.spawn(move || waits_for_low(&theirs, what));
                ended.join().unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
        assert!(load.started() > 0);
        drop((load, pinned));
    }
}

/// A High job that waits for a Low one in this way.
fn waits_for_low(system: &JobSystem, what: &str) {
    let low = || system.job().name("low").priority(Priority::Low);
    let own = ramie::current_worker().expect("inside a job");
    let workers = system.workers();
    let (ran, total) = count();
    let add = move || {
        total.fetch_add(1, SeqCst);
    };
    let expected = match what {
        "handle" => {
            low().spawn(add).join().expect("it runs");
            1
        }
        "counter" => {
            let done = Counter::new(0);
            (0..3).for_each(|_| low().counter(&done).detach(add.clone()));
            done.wait();
            3
        }
        "own pin" => {
            low().on_worker(own).spawn(add).join().expect("it runs");
            1
        }
        "other pin" => {
            low().on_worker((own + 1) % workers).spawn(add).join().expect("it runs");
            1
        }
        "each pin" => {
            let jobs: Vec<_> = (0..workers).map(|w| low().on_worker(w).spawn(add.clone())).collect();
            jobs.into_iter().for_each(|job| job.join().expect("it runs"));
            workers
        }
        "batch" => {
            // The batch of a Low job, whose handle comes to this one.
            let (spawned, handle) = (Counter::new(0), Arc::new(Mutex::new(None)));
            let theirs = Arc::clone(&handle);
            low().counter(&spawned).detach(move || {
                let batch = ramie::spawn_batch((0..5).map(|_| add.clone()));
                *theirs.lock().expect("not poisoned") = Some(batch);
            });
            spawned.wait();
            handle.lock().expect("not poisoned").take().expect("it was spawned").wait();
            5
        }
        "scope" => {
            ramie::scope(|s| (0..5).for_each(|_| s.job().priority(Priority::Low).detach(add.clone())));
            5
        }
        "scope with pins" => {
            ramie::scope(|s| {
                for worker in 0..workers {
                    s.job().priority(Priority::Low).on_worker(worker).detach(add.clone());
                }
            });
            workers
        }
        "scope that comes after" => {
            let gate = Counter::new(0);
            let guard = gate.guard();
            ramie::scope(|s| {
                (0..3).for_each(|_| s.job().priority(Priority::Low).after(&gate).detach(add.clone()));
                s.job().priority(Priority::Low).detach(move || drop(guard));
            });
            3
        }
        "continuation" => {
            let gate = Counter::new(0);
            low().counter(&gate).detach(add.clone());
            low().after(&gate).spawn(add).join().expect("it runs");
            2
        }
        "chain of handles" => {
            // Each waits for the next: what is raised raises in turn.
            fn chain(system: JobSystem, left: usize, add: Arc<dyn Fn() + Send + Sync>) {
                add();
                if left > 0 {
                    let (theirs, pin) = (system.clone(), left % system.workers());
                    let next = system.job().priority(Priority::Low).on_worker(pin);
                    next.spawn(move || chain(theirs, left - 1, add)).join().expect("it runs");
                }
            }
            let (theirs, add) = (system.clone(), Arc::new(add));
            low().spawn(move || chain(theirs, 4, add)).join().expect("it runs");
            5
        }
        "started" => {
            // What runs already is not raised, and ends by fairness.
            let (begun, gate) = (Counter::new(1), Counter::new(1));
            let (ready, open) = (begun.clone(), gate.clone());
            let job = low().spawn(move || {
                ready.signal();
                open.wait();
                add();
            });
            begun.wait();
            gate.signal();
            job.join().expect("it runs");
            1
        }
        _ => unreachable!("{what}"),
    };
    assert_eq!(ran.load(SeqCst), expected, "{what}");
}

/// How many of 20 Normal jobs, all queued before, one worker starts between the beginning of a wait and the first
/// job that it is for.
fn normal_jobs_that_go_first(
    wait: impl FnOnce(&JobSystem, Arc<dyn Fn() + Send + Sync>) + Send + 'static,
) -> usize {
    let system = system(1);
    let theirs = system.clone();
    let (normal, started) = count();
    let (first, seen) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::clone(&normal));
    let at_first = Arc::clone(&first);
    let mark: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        at_first.fetch_min(seen.load(SeqCst), SeqCst);
    });
    let waiter = system.job().name("waiter").priority(Priority::High).spawn(move || {
        for _ in 0..20 {
            let started = Arc::clone(&started);
            theirs.job().priority(Priority::Normal).detach(move || {
                started.fetch_add(1, SeqCst);
            });
        }
        wait(&theirs, mark);
    });
    waiter.join().expect("its checks hold");
    system.wait_idle();
    assert_eq!(normal.load(SeqCst), 20);
    first.load(SeqCst)
}

#[test]
fn what_a_high_job_waits_for_goes_before_normal_jobs() {
    let _watch = watch("raised first", 30);
    let low = Priority::Low;
    let first = normal_jobs_that_go_first(move |system, mark| {
        system.job().priority(low).spawn(move || mark()).join().expect("it runs")
    });
    assert_eq!(first, 0, "a handle");
    let first = normal_jobs_that_go_first(move |system, mark| {
        system.job().priority(low).on_worker(0).spawn(move || mark()).join().expect("it runs")
    });
    assert_eq!(first, 0, "a handle of a pinned job");
    let first = normal_jobs_that_go_first(move |_, mark| {
        ramie::scope(|s| (0..4).for_each(|_| s.job().priority(low).detach(|| mark())));
    });
    assert_eq!(first, 0, "a scope");
    let first = normal_jobs_that_go_first(move |system, mark| {
        let (spawned, handle) = (Counter::new(0), Arc::new(Mutex::new(None)));
        let theirs = Arc::clone(&handle);
        // In place, as a High job does; what it spawns is Low all the same.
        system.job().priority(low).counter(&spawned).detach(move || {
            let batch = ramie::spawn_batch((0..4).map(|_| {
                let mark = Arc::clone(&mark);
                move || mark()
            }));
            *theirs.lock().expect("not poisoned") = Some(batch);
        });
        // Normal jobs run here, and then the Low one.
        spawned.wait();
        for _ in 0..20 {
            system.job().priority(Priority::Normal).detach(|| ());
        }
        handle.lock().expect("not poisoned").take().expect("it was spawned").wait();
    });
    assert_eq!(first, 20, "the 20 before the batch was there, and none of the later ones");
}

/// The one job of a handle that comes after a counter: raised while nobody may start it yet.
#[test]
fn a_continuation_is_raised_before_it_is_released() {
    let _watch = watch("raised continuation", 30);
    let first = normal_jobs_that_go_first(|system, mark| {
        let gate = Counter::new(1);
        let later = system.job().priority(Priority::Low).after(&gate).spawn(move || mark());
        // Last in, first out: this one goes first.
        system.job().priority(Priority::Normal).detach(move || gate.signal());
        later.join().expect("it runs");
    });
    assert!(first <= 1, "{first} of 20 Normal jobs went before a raised continuation");
}

/// A scope's pinned members are raised as the others are.
#[test]
fn a_scopes_pinned_members_are_raised() {
    let _watch = watch("raised pins", 30);
    let first = normal_jobs_that_go_first(|_, mark| {
        ramie::scope(|s| s.job().priority(Priority::Low).on_worker(0).detach(|| mark()));
    });
    assert!(first <= 1, "{first} of 20 Normal jobs went before a pinned member of a High job's scope");
}

/// ... and those that come after a counter.
#[test]
fn a_scopes_continuations_are_raised() {
    let _watch = watch("raised members that come after", 30);
    let first = normal_jobs_that_go_first(|system, mark| {
        let gate = Counter::new(1);
        ramie::scope(|s| {
            s.job().priority(Priority::Low).after(&gate).detach(|| mark());
            let gate = gate.clone();
            system.job().priority(Priority::Normal).detach(move || gate.signal());
        });
    });
    assert!(first <= 1, "{first} of 20 Normal jobs went before a member that came after a counter");
}

/// ... and those that its members spawn when the waiter waits already.
#[test]
fn members_that_are_spawned_during_the_wait_are_raised() {
    let _watch = watch("late members", 30);
    let first = normal_jobs_that_go_first(|_, mark| {
        ramie::scope(|s| {
            let mark = &mark;
            // High, like the scope's own job: when the wait begins there is nobody to be raised.
            s.spawn(move || s.job().priority(Priority::Low).detach(move || mark()));
        });
    });
    assert_eq!(first, 0, "of 20 Normal jobs that went before a member of a High job's scope");
}

/// A tree of members that spawn members, all Low, for which a High job waits.
#[test]
fn a_raised_scopes_members_spawn_more_members() {
    let _watch = watch("raised tree", 120);
    fn grow<'scope>(s: &'scope ramie::Scope<'scope, '_>, depth: u32, ran: &'scope AtomicUsize) {
        ran.fetch_add(1, SeqCst);
        if depth > 0 {
            // An explicit priority and an inherited one: both are raised.
            s.job().priority(Priority::Low).detach(move || grow(s, depth - 1, ran));
            s.spawn(move || grow(s, depth - 1, ran));
            s.job().name("member").detach(move || grow(s, depth - 1, ran));
        }
    }
    for workers in WORKERS {
        let system = system(workers);
        let load = Arc::new(Load::new(&system, Priority::Normal, 2 * workers));
        for _ in 0..10 {
            let theirs = Arc::clone(&load);
            let waiter = system.job().name("waiter").priority(Priority::High).spawn(move || {
                let ran = AtomicUsize::new(0);
                let before = theirs.started();
                ramie::scope(|s| s.job().priority(Priority::Low).detach(|| grow(s, 5, &ran)));
                assert_eq!(ran.load(SeqCst), (3_usize.pow(6) - 1) / 2);
                theirs.started() - before
            });
            let of_load = waiter.join().expect("it ends");
            if workers == 1 {
                assert_eq!(of_load, 0, "all members of the tree run in place, one after another");
            }
        }
    }
}

/// A member that was started as a Low job, before anybody waited, and that spawns others when somebody does.
#[test]
fn members_of_a_raised_scope_that_are_spawned_by_a_low_one_are_raised() {
    let _watch = watch("members of low members", 30);
    for workers in WORKERS {
        let system = system(workers);
        let theirs = system.clone();
        let waiter = system.job().name("waiter").priority(Priority::High).spawn(move || {
            let (begun, gate) = (Counter::new(1), Counter::new(1));
            let seen = Mutex::new(Vec::new());
            let ready = begun.clone();
            ramie::scope(|s| {
                let (seen, open) = (&seen, gate.clone());
                s.job().priority(Priority::Low).detach(move || {
                    ready.signal();
                    open.wait();
                    assert_eq!(mine(), Priority::Low, "it was started before it could be raised");
                    let note = || seen.lock().expect("not poisoned").push(mine());
                    s.spawn(note);
                    s.job().priority(Priority::Low).detach(note);
                    s.job().name("named").detach(note);
                });
                begun.wait();
                // Signalled by a job that cannot run before the waiter suspends at the scope's end ...
                let own = ramie::current_worker().expect("inside a job");
                theirs.job().priority(Priority::Normal).on_worker(own).detach(move || gate.signal());
            });
            seen.into_inner().expect("not poisoned")
        });
        // ... or gives way, which it never does.
        assert_eq!(waiter.join().expect("it ends"), [Priority::High; 3]);
    }
}

/// A pinned job that somebody waits for interrupts a long job of its worker, whatever other workers do meanwhile.
#[test]
fn a_raised_pinned_job_goes_first_at_the_splits_of_a_long_job() {
    let _watch = watch("raised pin", 60);
    for workers in [2, 8] {
        for (waiter, long) in [
            (Priority::High, Priority::Normal),
            (Priority::High, Priority::Low),
            (Priority::Normal, Priority::Low),
        ] {
            for after in [false, true] {
                let system = system(workers);
                let (ran, theirs) = flag();
                let (go, gone) = flag();
                let begun = Counter::new(1);
                let ready = begun.clone();
                let splits = system.job().name("long").priority(long).on_worker(1).spawn(move || {
                    ready.signal();
                    spin_until(|| gone.load(SeqCst));
                    // A number at which a test may fail rather than hang.
                    (0..1000)
                        .take_while(|_| {
                            ramie::yield_if_urgent();
                            !theirs.load(SeqCst)
                        })
                        .count()
                });
                begun.wait();
                let gate = Counter::new(usize::from(after));
                let low = system.job().priority(Priority::Low).on_worker(1).after(&gate);
                let low = low.spawn(move || ran.store(true, SeqCst));
                let waiting = system
                    .job()
                    .name("waiter")
                    .priority(waiter)
                    .on_worker(0)
                    .spawn(move || low.join().expect("it runs"));
                until_waiting(&system, "waiter", "the result of job");
                if after {
                    gate.signal();
                }
                // The waiter's worker has looked for other work since, and so have others.
                for worker in (0..workers).filter(|worker| *worker != 1) {
                    system.job().on_worker(worker).spawn(|| ()).join().expect("it runs");
                }
                go.store(true, SeqCst);
                let splits = splits.join().expect("it ends");
                waiting.join().expect("it ends");
                assert!(
                    splits <= 2,
                    "{splits} splits of a {long:?} job before a {waiter:?} job's pinned one, after: {after}"
                );
            }
        }
    }
}

/// Members that lie in the injector behind a backlog, where they came from outside.
#[test]
fn members_are_raised_wherever_they_are_queued() {
    let _watch = watch("raised out of the injector", 30);
    let system = system(1);
    let (fillers, started) = count();
    let held = Held::new(&system, 0);
    let (blocked, go) = (Counter::new(1), flag());
    let (ready, gone) = (blocked.clone(), Arc::clone(&go.1));
    // The worker takes some of these out of the injector at once, and leaves the others as a backlog.
    drop(system.spawn(move || {
        ready.signal();
        spin_until(|| gone.load(SeqCst));
    }));
    for _ in 0..45 {
        let started = Arc::clone(&started);
        drop(system.spawn(move || {
            started.fetch_add(1, SeqCst);
        }));
    }
    held.release();
    blocked.wait();
    let seen = Arc::new(AtomicUsize::new(0));
    let batch = system.spawn_batch((0..3).map(|_| {
        let (seen, fillers) = (Arc::clone(&seen), Arc::clone(&fillers));
        move || {
            seen.fetch_max(fillers.load(SeqCst), SeqCst);
        }
    }));
    let waiter = system.job().name("waiter").priority(Priority::High).spawn(move || batch.wait());
    go.0.store(true, SeqCst);
    waiter.join().expect("it ends");
    assert_eq!(
        seen.load(SeqCst),
        0,
        "of 45 Normal jobs that went before the batch for which a High job waits"
    );
}

// --- raising across systems ------------------------------------------------------------------

#[test]
fn a_high_job_that_waits_for_a_low_one_of_another_system_goes_on() {
    let _watch = watch("across systems", 120);
    for workers in WORKERS {
        let (here, there) = (system(workers), system(workers));
        let loads = [&here, &there].map(|system| Load::new(system, Priority::Normal, 2 * workers));
        for round in 0..6 {
            let theirs = there.clone();
            let waiter = here.job().name("waiter").priority(Priority::High).spawn(move || {
                let worker = round % theirs.workers();
                let low = || theirs.job().priority(Priority::Low);
                // Injected, pinned, held back; from here and from a job of theirs.
                low().spawn(mine).join().expect("it runs");
                low().on_worker(worker).spawn(mine).join().expect("it runs");
                let gate = Counter::new(0);
                low().counter(&gate).detach(|| ());
                low().after(&gate).spawn(mine).join().expect("it runs");
                let inner = low().spawn(|| ramie::spawn(mine)).join().expect("it runs");
                inner.join().expect("it runs");
                let batch = low().spawn(|| ramie::spawn_batch((0..5).map(|_| || ())));
                batch.join().expect("it runs").wait();
                theirs.scope(|s| (0..5).for_each(|_| s.job().priority(Priority::Low).detach(|| ())));
            });
            waiter.join().expect("it ends");
        }
        drop(loads);
    }
}

/// The waited-for job of a held worker's queue goes before the Normal jobs there. `behind`: it comes after so many
/// Low jobs that some are left in the injector when the worker takes its share.
fn raised_across_systems(pinned: bool, behind: usize) {
    let (here, there) = (system(1), system(1));
    let (normal, started) = count();
    let blocked = Counter::new(1);
    let (go, gone) = flag();
    let held = Held::new(&there, 0);
    if behind > 0 {
        let ready = blocked.clone();
        there.job().priority(Priority::Low).detach(move || {
            ready.signal();
            spin_until(|| gone.load(SeqCst));
        });
        (1..behind).for_each(|_| there.job().priority(Priority::Low).detach(|| ()));
        held.go.store(true, SeqCst);
        blocked.wait();
    }
    let low = there.job().priority(Priority::Low);
    let low = if pinned { low.on_worker(0) } else { low };
    let low = low.spawn(move || (mine(), normal.load(SeqCst)));
    let waiter = here.job().name("waiter").priority(Priority::High);
    let waiter = waiter.spawn(move || low.join().expect("it runs"));
    until_waiting(&here, "waiter", "the result of job");
    for _ in 0..10 {
        let started = Arc::clone(&started);
        drop(there.spawn(move || {
            started.fetch_add(1, SeqCst);
        }));
    }
    go.store(true, SeqCst);
    held.release();
    let (priority, normal_before) = waiter.join().expect("it ends");
    assert_eq!(normal_before, 0, "of 10 Normal jobs that went before one that a High job waits for");
    assert_eq!(priority, Priority::High);
}

#[test]
fn a_low_job_of_another_system_is_raised_in_its_injector() {
    let _watch = watch("across: injector", 30);
    raised_across_systems(false, 0);
}

#[test]
fn a_low_job_of_another_system_is_raised_behind_a_backlog() {
    let _watch = watch("across: backlog", 30);
    raised_across_systems(false, 40);
}

#[test]
fn a_pinned_low_job_of_another_system_is_raised() {
    let _watch = watch("across: pinned", 30);
    raised_across_systems(true, 0);
}
