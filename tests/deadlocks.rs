//! Jobs that wait for each other are named, with the places; jobs that will go on are not.

mod common;

use common::{spin_until, watch};
use ramie::sync::{Mutex, RwLock, RwLockWriteGuard};
use ramie::{Counter, FiberActivity, JobHandle, JobSystem, StallKind, StallReport};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

type Reports = Arc<StdMutex<Vec<StallReport>>>;

fn system(workers: usize) -> (JobSystem, Reports) {
    let reports = Reports::default();
    let told = reports.clone();
    let system = common::builder()
        .workers(workers)
        .find_deadlocks(true)
        .stall_after(Duration::from_millis(20))
        .on_stall(move |report| told.lock().unwrap().push(report.clone()))
        .build()
        .expect("a system");
    (system, reports)
}

fn deadlocks(reports: &Reports) -> Vec<StallReport> {
    reports.lock().unwrap().iter().filter(|report| report.kind == StallKind::Deadlock).cloned().collect()
}

/// The one deadlock that is reported, checked for what all must have.
fn the_deadlock(reports: &Reports, names: &[&str]) -> StallReport {
    spin_until(|| !deadlocks(reports).is_empty());
    let report = deadlocks(reports).remove(0);
    let mut found: Vec<&str> = report.circle.iter().filter_map(|edge| edge.fiber.job_name).collect();
    found.sort_unstable();
    assert_eq!(found, names, "{report}");
    for (edge, next) in report.circle.iter().zip(report.circle.iter().cycle().skip(1)) {
        assert_eq!(edge.waits_for_fiber, next.fiber.fiber);
        assert!(edge.fiber.waits_at.is_some_and(|place| place.file() == file!()), "{report}");
    }
    let text = report.to_string();
    let many = format!("deadlock: {} jobs wait for each other", names.len());
    assert!(names.len() == 1 || text.contains(&many), "{text}");
    assert!(names.iter().all(|name| text.contains(&format!("job '{name}'"))), "{text}");
    report
}

/// Those of a deadlock never end: their system is left alone.
fn leave(system: JobSystem) {
    std::mem::forget(system);
}

fn philosophers(workers: usize, names: &'static [&'static str]) {
    let (system, reports) = system(workers);
    let lock_line = deadlock_of(&system, names);
    let report = the_deadlock(&reports, names);
    for edge in &report.circle {
        assert_eq!(edge.locked_at.expect("it is a lock").line(), lock_line, "{report}");
        assert_eq!(edge.fiber.waits_at.expect("it waits").line(), lock_line + 3, "{report}");
        assert!(edge.to_string().contains("has locked it at"), "{edge}");
    }
    leave(system);
}

/// Each of these locks its own mutex, and then its neighbour's; the line of the first.
fn deadlock_of(system: &JobSystem, names: &'static [&'static str]) -> u32 {
    let table: Arc<Vec<Mutex<()>>> = Arc::new(names.iter().map(|_| Mutex::new(())).collect());
    let all_sit = Counter::new(names.len());
    let lock_line = line!() + 4;
    for (seat, name) in names.iter().copied().enumerate() {
        let (table, all_sit) = (table.clone(), all_sit.clone());
        system.job().name(name).detach(move || {
            let _own = table[seat].lock();
            all_sit.signal();
            all_sit.wait();
            let _next = table[(seat + 1) % table.len()].lock();
        });
    }
    lock_line
}

#[test]
fn two_jobs_that_lock_each_others_mutexes() {
    let _watch = watch("two", 60);
    for workers in [1, 2, 3, 8] {
        philosophers(workers, &["first", "second"]);
    }
}

#[test]
fn three_jobs_that_lock_each_others_mutexes() {
    let _watch = watch("three", 60);
    for workers in [1, 2, 3, 8] {
        philosophers(workers, &["one", "three", "two"]);
    }
}

/// Those that are left alone do not hide later ones, however many they are.
#[test]
fn many_deadlocks() {
    let _watch = watch("many", 60);
    for _ in 0..40 {
        philosophers(1, &["first", "second"]);
    }
}

#[test]
fn jobs_that_join_each_other() {
    let _watch = watch("join each other", 60);
    let (system, reports) = system(2);
    let handles: Arc<[StdMutex<Option<JobHandle<()>>>; 2]> = Arc::default();
    let both = Counter::new(1);
    for (index, name) in ["left", "right"].into_iter().enumerate() {
        let (theirs, both) = (handles.clone(), both.clone());
        let handle = system.job().name(name).spawn(move || {
            both.wait();
            let other = theirs[1 - index].lock().unwrap().take().expect("it is there");
            other.join().expect("never");
        });
        *handles[index].lock().unwrap() = Some(handle);
    }
    // Neither is to be run in place by the other, which would be a circle of one fiber.
    spin_until(|| {
        system.dump().fibers.iter().filter(|fiber| fiber.activity == FiberActivity::Waiting).count() == 2
    });
    both.signal();
    let report = the_deadlock(&reports, &["left", "right"]);
    assert!(report.circle.iter().all(|edge| edge.to_string().contains(" runs it")), "{report}");
    leave(system);
}

/// A member of a scope wants what the one who waits for the scope has.
#[test]
fn a_job_whose_scope_wants_its_lock() {
    let _watch = watch("scope", 60);
    let (system, reports) = system(2);
    let lock = Arc::new(RwLock::new(0));
    system.job().name("outer").on_worker(0).detach({
        let lock = lock.clone();
        move || {
            let _read = lock.read();
            ramie::scope(|s| s.job().name("inner").on_worker(1).detach(|| *lock.write() += 1));
        }
    });
    the_deadlock(&reports, &["inner", "outer"]);
    leave(system);
}

/// The same where the fiber that waits for the scope runs the member itself.
#[test]
fn a_job_that_waits_for_itself() {
    let _watch = watch("itself", 60);
    let (system, reports) = self::system(1);
    let lock = Arc::new(Mutex::new(0));
    system.job().name("outer").detach({
        let lock = lock.clone();
        move || {
            let _own = lock.lock();
            ramie::scope(|s| s.job().name("inner").detach(|| *lock.lock() += 1));
        }
    });
    let report = the_deadlock(&reports, &["inner"]);
    assert!(
        report.to_string().contains("a job waits for what only itself, or a job that runs it, can give"),
        "{report}"
    );
    leave(system);
}

/// Makes a deadlock of its own, and waits until it is reported: by then whatever else was there has been looked at as often.
fn wait_for_looks() {
    let (system, reports) = system(2);
    deadlock_of(&system, &["looked", "once more"]);
    the_deadlock(&reports, &["looked", "once more"]);
    leave(system);
}

#[track_caller]
fn assert_none(reports: &Reports) {
    assert!(deadlocks(reports).is_empty(), "{}", deadlocks(reports)[0]);
}

/// What will end is no deadlock: a holder that waits for something else, one with a limit, a lock that is contended for.
#[test]
fn jobs_that_go_on_are_not_reported() {
    let _watch = watch("not reported", 60);
    let (system, reports) = system(2);
    let (mutex, other, gate) = (Mutex::new(0), Mutex::new(0), Counter::new(1));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // From outside, when it seems that nothing goes on any more.
            wait_for_looks();
            is_over.store(true, SeqCst);
            gate.signal();
        });
        system.scope(|s| {
            s.detach(|| {
                let _guard = mutex.lock();
                gate.wait();
            });
            s.detach(|| *mutex.lock() += 1);
            // These would be one, without the limits.
            for (mine, theirs) in [(&mutex, &other), (&other, &mutex)] {
                let is_over = &is_over;
                s.detach(move || {
                    while !is_over.load(SeqCst) {
                        if let Some(_mine) = mine.try_lock_for(Duration::from_millis(5)) {
                            drop(theirs.try_lock_for(Duration::from_millis(5)));
                        }
                    }
                });
            }
            for _ in 0..4 {
                s.detach(|| {
                    while !is_over.load(SeqCst) {
                        let _guard = other.lock();
                        ramie::yield_now();
                    }
                });
            }
        });
    });
    assert_none(&reports);
}

/// A system that does nothing while a thread outside will signal: it is suspected, and that is all.
#[test]
fn what_waits_for_a_signal_from_outside_is_only_suspected() {
    let _watch = watch("from outside", 60);
    let (system, reports) = system(2);
    let gate = Counter::new(1);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            wait_for_looks();
            spin_until(|| !reports.lock().unwrap().is_empty());
            gate.signal();
        });
        system.run(|| {
            ramie::scope(|s| (0..10).for_each(|_| s.detach(|| gate.wait())));
        });
    });
    let reports = reports.lock().unwrap();
    assert!(reports.iter().all(|report| report.kind == StallKind::RunBlocked), "{:?}", reports[0].kind);
    assert!(reports.iter().all(|report| report.to_string().contains("suspected")), "{}", reports[0]);
}

/// A reader waits behind a writer of the queue, but not for the readers who have the lock: the writer has a limit.
#[test]
fn a_reader_behind_a_writer_with_a_limit_is_not_reported() {
    let _watch = watch("behind a writer", 60);
    let (system, reports) = system(2);
    let (lock, has_read, gave_up) = (RwLock::new(0), Counter::new(1), AtomicBool::new(false));
    system.scope(|s| {
        s.job().name("reads twice").detach(|| {
            let _first = lock.read();
            has_read.signal();
            while !is_waiting("writes for a time") {
                ramie::yield_now();
            }
            let _second = lock.read();
        });
        s.job().name("writes for a time").detach(|| {
            has_read.wait();
            gave_up.store(lock.try_write_for(Duration::from_secs(2)).is_none(), SeqCst);
        });
        wait_for_looks();
    });
    assert!(gave_up.into_inner(), "there is a reader all the time");
    assert_none(&reports);
}

fn is_waiting(name: &str) -> bool {
    let dump = ramie::dump_all();
    let named = dump.fibers.iter().filter(|fiber| fiber.job_name == Some(name));
    named
        .filter(|fiber| fiber.activity == FiberActivity::Waiting)
        .any(|fiber| fiber.waits_for.contains("write"))
}

/// Whoever was a writer and shares the lock from now on holds up writers, and no readers.
#[test]
fn readers_beside_a_downgraded_writer_are_not_reported() {
    let _watch = watch("downgraded", 60);
    let (system, reports) = system(2);
    let (lock, mutex) = (RwLock::new(0), Mutex::new(0));
    let (shares, has_mutex) = (Counter::new(1), Counter::new(1));
    system.scope(|s| {
        s.detach(|| {
            let _shared = RwLockWriteGuard::downgrade(lock.write());
            shares.signal();
            has_mutex.wait();
            let _guard = mutex.lock();
        });
        s.job().name("writes for a time").detach(|| {
            shares.wait();
            assert!(lock.try_write_for(Duration::from_secs(2)).is_none(), "there is a reader all the time");
        });
        s.detach(|| {
            let _guard = mutex.lock();
            has_mutex.signal();
            while !is_waiting("writes for a time") {
                ramie::yield_now();
            }
            // It waits for the writer, who has a limit, and not for the one who has the lock.
            let _read = lock.read();
        });
        wait_for_looks();
    });
    assert_none(&reports);
}

/// At the limit of fibers the one that waits for a scope runs its jobs itself, which need not end soon.
#[test]
fn jobs_that_are_run_by_the_one_who_waits_for_them_are_not_reported() {
    let _watch = watch("at the limit", 60);
    let reports = Reports::default();
    let told = reports.clone();
    let system = common::builder()
        .workers(1)
        .max_fibers(1)
        .find_deadlocks(true)
        .stall_after(Duration::from_millis(20))
        .on_stall(move |report| told.lock().unwrap().push(report.clone()))
        .build()
        .expect("a system");
    let (runs, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            spin_until(|| runs.load(SeqCst));
            wait_for_looks();
            is_over.store(true, SeqCst);
        });
        system.run(|| {
            ramie::scope(|s| {
                // It is not among the jobs that are run before the wait.
                s.job().on_worker(0).detach(|| {
                    runs.store(true, SeqCst);
                    spin_until(|| is_over.load(SeqCst));
                });
            });
        });
    });
    assert_none(&reports);
}

/// A lock whose guard was forgotten, and that was forced open, is not the job's any more that had it, nor that of the next job on its fiber.
#[test]
#[expect(unsafe_code, reason = "opens a lock whose guard was forgotten")]
fn forgotten_guards_are_forgotten() {
    let _watch = watch("forgotten guards", 60);
    let ((system, reports), (elsewhere, _)) = (self::system(1), self::system(1));
    for is_open_in_job in [true, false] {
        let (mutex, gate) = (Mutex::new(0), Counter::new(1));
        // SAFETY: its guard was forgotten.
        let open = || unsafe { mutex.force_unlock() };
        system.run(|| {
            std::mem::forget(mutex.lock());
            if is_open_in_job {
                open();
            }
        });
        if !is_open_in_job {
            open();
        }
        elsewhere.scope(|s| {
            s.job().name("has it").detach(|| {
                let _guard = mutex.lock();
                gate.wait();
            });
            spin_until(|| mutex.is_locked());
            // On the fiber that had it.
            system.scope(|own| {
                own.detach(|| *mutex.lock() += 1);
                wait_for_looks();
                gate.signal();
            });
        });
    }
    assert_none(&reports);
}
