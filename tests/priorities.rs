//! Priorities: who inherits what, who goes first, who is raised, and that nobody starves.
//!
//! Everything is told by the order of events. A job that holds a worker's thread (`Held`) lets a test put things
//! where it wants them before the worker looks; `Load` keeps all workers busy for as long as a test likes.

mod common;

use common::{Census, Rng, planned, planned_id, soak, spin_until, system, watch};
use ramie::{
    Counter, CounterGuard, Drain, FiberActivity, JobError, JobHandle, JobSystem, Partition, Priority,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The numbers of workers that everything here is tested with.
const WORKERS: [usize; 3] = [1, 2, 8];
const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

fn flag() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(false));
    (Arc::clone(&flag), flag)
}

fn count() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (Arc::clone(&count), count)
}

/// The priority of the calling job.
#[track_caller]
fn mine() -> Priority {
    ramie::current_priority().expect("inside a job")
}

/// Keeps the workers busy: each job starts the next, until this is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    started: Arc<AtomicUsize>,
    ended: Counter,
}

impl Load {
    /// So many chains of jobs that any worker may take.
    fn new(system: &JobSystem, priority: Priority, chains: usize) -> Self {
        Self::start(system, priority, chains, None)
    }

    /// A chain of jobs that only this worker may run.
    fn on_worker(system: &JobSystem, priority: Priority, worker: usize) -> Self {
        Self::start(system, priority, 1, Some(worker))
    }

    /// Returns when every chain has begun.
    fn start(system: &JobSystem, priority: Priority, chains: usize, worker: Option<usize>) -> Self {
        let load = Self { stop: Arc::default(), started: Arc::default(), ended: Counter::new(0) };
        let begun = Counter::new(chains);
        for _ in 0..chains {
            let link = Link {
                system: system.clone(),
                worker,
                stop: Arc::clone(&load.stop),
                started: Arc::clone(&load.started),
                guard: load.ended.guard(),
            };
            let begun = begun.clone();
            let job = system.job().priority(priority);
            let job = if let Some(worker) = worker { job.on_worker(worker) } else { job };
            job.detach(move || {
                begun.signal();
                link.run();
            });
        }
        begun.wait();
        load
    }

    /// How many jobs of it were started.
    fn started(&self) -> usize {
        self.started.load(SeqCst)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.ended.wait();
    }
}

/// One job of a load; it starts the next one.
struct Link {
    system: JobSystem,
    worker: Option<usize>,
    stop: Arc<AtomicBool>,
    started: Arc<AtomicUsize>,
    /// Handed on from job to job, so that the end of the chain can be waited for.
    guard: CounterGuard,
}

impl Link {
    fn run(self) {
        self.started.fetch_add(1, SeqCst);
        if self.stop.load(SeqCst) {
            drop(self.guard);
            return;
        }
        let system = self.system.clone();
        let next = system.job();
        let next = if let Some(worker) = self.worker { next.on_worker(worker) } else { next };
        next.detach(|| self.run());
    }
}

/// A job that keeps its worker's thread until it is let go, passing no split.
struct Held {
    go: Arc<AtomicBool>,
    handle: Option<JobHandle<()>>,
}

impl Held {
    fn new(system: &JobSystem, worker: usize) -> Self {
        Self::then(system, worker, || ())
    }

    /// When it is let go, the job does this.
    fn then(system: &JobSystem, worker: usize, f: impl FnOnce() + Send + 'static) -> Self {
        let (go, theirs) = flag();
        let (begun, ready) = flag();
        let handle = system.job().name("held").on_worker(worker).spawn(move || {
            ready.store(true, SeqCst);
            spin_until(|| theirs.load(SeqCst));
            f();
        });
        spin_until(|| begun.load(SeqCst));
        Self { go, handle: Some(handle) }
    }

    /// Lets the worker go on; returns when the job has ended.
    fn release(mut self) {
        self.go.store(true, SeqCst);
        if let Some(handle) = self.handle.take() {
            handle.join().expect("it ends");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.go.store(true, SeqCst);
    }
}

/// Returns when the job of this name waits for something that is described so.
fn until_waiting(system: &JobSystem, name: &str, waits_for: &str) {
    spin_until(|| {
        system.dump().fibers.iter().any(|fiber| {
            fiber.job_name == Some(name)
                && fiber.activity == FiberActivity::Waiting
                && fiber.waits_for.contains(waits_for)
        })
    });
}

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
        let system = system(1);
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
        // High and Normal fibers that were woken go before jobs of their priority.
        for priority in [Priority::High, Priority::Normal] {
            let first = log.iter().find(|(other, _)| *other == priority);
            assert_eq!(first, Some(&(priority, "fiber")), "{log:?}");
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

// --- raising ---------------------------------------------------------------------------------

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
        for round in 0..6 {
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
        for round in 0..20 {
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

// --- the guard -------------------------------------------------------------------------------

fn guarded(workers: usize, enabled: bool) -> JobSystem {
    JobSystem::builder().workers(workers).priority_guard(enabled).build().expect("a system")
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

/// A Low job of a few kinds, which waits and is woken.
fn low_work(kind: usize) {
    match kind % 4 {
        0 => ramie::yield_now(),
        1 => {
            let done = Counter::new(1);
            let theirs = done.clone();
            drop(ramie::spawn(move || theirs.signal()));
            done.wait();
        }
        2 => assert_eq!(ramie::join(|| 1, || 2), (1, 2)),
        _ => {
            ramie::scope(|s| (0..3).for_each(|_| drop(s.spawn(|| ()))));
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
    let system = JobSystem::builder().workers(1).spin(Duration::from_secs(1)).build().expect("a system");
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

// --- splits ----------------------------------------------------------------------------------

/// How a long job passes splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Yield,
    Join,
    Scope,
    Loop,
    StaticLoop,
    Tree,
}

const SPLITS: [Split; 6] =
    [Split::Yield, Split::Join, Split::Scope, Split::Loop, Split::StaticLoop, Split::Tree];

/// How something urgent comes up in the middle of a long job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// The long job itself spawns it.
    Spawned,
    SpawnedPinned,
    /// The long job wakes a fiber of its worker.
    Woken,
    /// A thread outside submits it.
    Submitted,
    SubmittedPinned,
    /// A thread outside wakes a fiber of the long job's worker.
    WokenFromOutside,
    /// A counter's last signal releases it.
    Released,
}

const ARRIVALS: [Arrival; 7] = [
    Arrival::Spawned,
    Arrival::SpawnedPinned,
    Arrival::Woken,
    Arrival::Submitted,
    Arrival::SubmittedPinned,
    Arrival::WokenFromOutside,
    Arrival::Released,
];

/// A long job on worker 0 and something more urgent, which `bring` brings about once and which sets `came`.
struct Overtaking {
    system: JobSystem,
    arrival: Arrival,
    urgent: Priority,
    gate: Counter,
    /// What the thread outside is asked, and has done.
    asked: AtomicBool,
    brought: AtomicBool,
    came: Arc<AtomicBool>,
    /// Splits of the long job since it was brought and before it came.
    passed: AtomicUsize,
}

impl Overtaking {
    fn urgent_job(&self) -> impl FnOnce() + Send + 'static {
        let (came, urgent) = (Arc::clone(&self.came), self.urgent);
        move || {
            assert_eq!(mine(), urgent);
            came.store(true, SeqCst);
        }
    }

    /// In the long job.
    fn bring(&self) {
        let job = || self.system.job().priority(self.urgent);
        match self.arrival {
            Arrival::Spawned => job().detach(self.urgent_job()),
            Arrival::SpawnedPinned => job().on_worker(0).detach(self.urgent_job()),
            Arrival::Woken | Arrival::Released => self.gate.signal(),
            _ => {
                self.asked.store(true, SeqCst);
                spin_until(|| self.brought.load(SeqCst));
            }
        }
    }

    /// In a thread outside.
    fn assist(&self) {
        if matches!(self.arrival, Arrival::Submitted | Arrival::SubmittedPinned | Arrival::WokenFromOutside) {
            spin_until(|| self.asked.load(SeqCst));
            let job = || self.system.job().priority(self.urgent);
            match self.arrival {
                Arrival::Submitted => job().detach(self.urgent_job()),
                Arrival::SubmittedPinned => job().on_worker(0).detach(self.urgent_job()),
                _ => self.gate.signal(),
            }
            self.brought.store(true, SeqCst);
        }
    }

    /// What the long job does between two splits; `false` when it need not go on.
    fn step(&self) -> bool {
        if self.came.load(SeqCst) {
            return false;
        }
        self.passed.fetch_add(1, SeqCst);
        true
    }

    fn long(&self, split: Split) {
        // A few splits before.
        for _ in 0..10 {
            ramie::yield_if_urgent();
            ramie::join(|| (), || ());
        }
        if !matches!(split, Split::Loop | Split::StaticLoop | Split::Tree) {
            self.bring();
        }
        match split {
            Split::Yield => {
                while self.step() {
                    ramie::yield_if_urgent();
                }
            }
            Split::Join => {
                while self.step() {
                    ramie::join(|| (), || ());
                }
            }
            Split::Scope => {
                while self.step() {
                    ramie::scope(|_| ());
                }
            }
            // With more than one worker a single loop may end while another worker is about to start the urgent job.
            Split::Loop => self.repeat(|first| {
                ramie::par(0..1000_u32).for_each(|i| {
                    if i == 0 && first {
                        self.bring();
                    } else {
                        self.step();
                    }
                });
            }),
            Split::StaticLoop => self.repeat(|first| {
                ramie::par(0..64_u32).partition(Partition::Static(64)).for_each(|i| {
                    if i == 0 && first {
                        self.bring();
                    } else {
                        self.step();
                    }
                });
            }),
            Split::Tree => self.repeat(|first| self.tree(8, first)),
        }
    }

    fn repeat(&self, run: impl Fn(bool)) {
        run(true);
        while !self.came.load(SeqCst) {
            run(false);
        }
    }

    fn tree(&self, depth: u32, first: bool) {
        if depth == 0 {
            if first {
                self.bring();
            } else {
                self.step();
            }
        } else {
            ramie::join(|| self.tree(depth - 1, first), || self.tree(depth - 1, false));
        }
    }
}

/// After how many of its steps a long job of one worker must have let what is urgent go first. A turn of fairness may
/// give it back the worker once, so the second split counts.
fn steps_max(split: Split) -> usize {
    match split {
        // The first step is before the first split.
        Split::Yield | Split::Join | Split::Scope => 2,
        // Chunks grow: 1 item, then at most 8, ...
        Split::Loop => 8,
        // Between the first leaf and the second there is none, and one between that and the third.
        Split::StaticLoop | Split::Tree => 3,
    }
}

#[test]
fn urgent_work_overtakes_a_long_job_at_its_next_split() {
    let _watch = watch("overtaking", 180);
    for workers in WORKERS {
        for (urgent, long) in [
            (Priority::High, Priority::Normal),
            (Priority::High, Priority::Low),
            (Priority::Normal, Priority::Low),
        ] {
            let system = system(workers);
            for split in SPLITS {
                for arrival in ARRIVALS {
                    (0..3).for_each(|_| overtake(&system, urgent, long, split, arrival));
                }
            }
        }
    }
}

fn overtake(system: &JobSystem, urgent: Priority, long: Priority, split: Split, arrival: Arrival) {
    let this = Arc::new(Overtaking {
        system: system.clone(),
        arrival,
        urgent,
        gate: Counter::new(1),
        asked: AtomicBool::new(false),
        brought: AtomicBool::new(false),
        came: Arc::default(),
        passed: AtomicUsize::new(0),
    });
    let (begun, gate, job) = (Counter::new(1), this.gate.clone(), this.urgent_job());
    match arrival {
        Arrival::Woken | Arrival::WokenFromOutside => {
            let ready = begun.clone();
            system.job().name("urgent").priority(urgent).on_worker(0).detach(move || {
                ready.signal();
                gate.wait();
                job();
            });
            begun.wait();
        }
        Arrival::Released => system.job().priority(urgent).after(&gate).detach(job),
        _ => drop(job),
    }
    let theirs = Arc::clone(&this);
    let handle = system.job().name("long").priority(long).on_worker(0).spawn(move || theirs.long(split));
    this.assist();
    handle.join().expect("it ends");
    let passed = this.passed.load(SeqCst);
    if system.workers() == 1 {
        assert!(
            passed <= steps_max(split),
            "{passed} steps of a {long:?} job with {split:?} before a {urgent:?} one, {arrival:?}"
        );
    }
    system.wait_idle();
}

/// What gives way goes on where it was: after what was urgent, before others of its priority.
#[test]
fn a_job_that_gave_way_goes_on_before_others_of_its_priority() {
    let _watch = watch("gave way", 30);
    for long in [Priority::Normal, Priority::Low] {
        let system = system(1);
        let theirs = system.clone();
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |log: &Arc<Mutex<Vec<_>>>, what: &'static str| {
            let log = Arc::clone(log);
            move || log.lock().expect("not poisoned").push(what)
        };
        let mine = Arc::clone(&log);
        let handle = system.job().priority(long).spawn(move || {
            theirs.job().priority(long).detach(note(&mine, "other"));
            theirs.job().priority(long).on_worker(0).detach(note(&mine, "pinned"));
            theirs.job().priority(Priority::High).detach(note(&mine, "urgent"));
            theirs.job().priority(Priority::High).detach(note(&mine, "urgent"));
            note(&mine, "begin")();
            assert!(ramie::yield_if_urgent());
            note(&mine, "end")();
            assert!(!ramie::yield_if_urgent());
        });
        handle.join().expect("its checks hold");
        system.wait_idle();
        let log = log.lock().expect("not poisoned").clone();
        assert_eq!(log[..4], ["begin", "urgent", "urgent", "end"], "{log:?}");
        assert_eq!(log.len(), 6);
    }
}

#[test]
fn yield_if_urgent_says_no_when_there_is_nothing_more_urgent() {
    let _watch = watch("nothing urgent", 60);
    assert!(!ramie::yield_if_urgent(), "outside of jobs");
    for workers in WORKERS {
        let system = system(workers);
        for priority in ALL {
            for _ in 0..20 {
                // Also after there was something, whose hint may be left behind.
                system.job().priority(Priority::High).spawn(|| ()).join().expect("it runs");
                let nothing =
                    system.job().priority(priority).spawn(|| (0..10).all(|_| !ramie::yield_if_urgent()));
                assert!(nothing.join().expect("it runs"), "{priority:?} with {workers} workers");
            }
        }
        assert!(!ramie::yield_if_urgent(), "outside of jobs");
    }
    // One worker, with jobs of the same priority and below queued: and of all in a High job.
    let system = system(1);
    for priority in ALL {
        let theirs = system.clone();
        let handle = system.job().priority(priority).spawn(move || {
            for other in ALL.into_iter().filter(|other| *other <= priority) {
                theirs.job().priority(other).detach(|| ());
                theirs.job().priority(other).on_worker(0).detach(|| ());
            }
            assert!(!ramie::yield_if_urgent(), "{priority:?}");
            for other in ALL.into_iter().filter(|other| *other > priority) {
                theirs.job().priority(other).detach(|| ());
                assert!(ramie::yield_if_urgent(), "{priority:?} with {other:?} queued");
            }
            assert!(!ramie::yield_if_urgent(), "{priority:?}");
        });
        handle.join().expect("its checks hold");
        system.wait_idle();
    }
}

/// In a destructor during unwinding nothing gives way: others must not see the panic.
#[test]
fn nothing_gives_way_while_the_thread_unwinds() {
    let _watch = watch("unwinding", 30);
    struct InDrop(JobSystem, Arc<AtomicBool>);
    impl Drop for InDrop {
        fn drop(&mut self) {
            let came = Arc::clone(&self.1);
            self.0.job().priority(Priority::High).detach(move || {
                assert!(!std::thread::panicking());
                came.store(true, SeqCst);
            });
            assert!(!ramie::yield_if_urgent());
            ramie::join(|| (), || ());
            ramie::scope(|_| ());
            assert!(!self.1.load(SeqCst), "the one worker is here");
        }
    }
    let system = system(1);
    for priority in [Priority::Normal, Priority::Low] {
        let (came, theirs) = (flag().0, system.clone());
        let seen = Arc::clone(&came);
        let handle = system.job().priority(priority).spawn(move || {
            let _in_drop = InDrop(theirs, seen);
            planned(5)
        });
        assert!(matches!(handle.join(), Err(JobError::Panicked(_))));
        system.wait_idle();
        assert!(came.load(SeqCst));
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
        let system = JobSystem::builder().workers(workers).on_panic(|_| ()).build().expect("a system");
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

impl Held {
    /// As `release`, in a system that was abandoned meanwhile.
    fn release_abandoned(mut self) {
        self.go.store(true, SeqCst);
        let handle = self.handle.take().expect("not released yet");
        assert!(matches!(handle.join(), Err(JobError::Abandoned)));
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
