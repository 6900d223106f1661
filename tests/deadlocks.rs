//! Jobs that wait for each other are named, with the places; jobs that will go on are not.

mod common;

use common::{spin_until, watch};
use ramie::sync::{Mutex, RwLock};
use ramie::{Counter, FiberActivity, JobHandle, JobSystem, StallKind, StallReport};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant};

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

/// Each of these locks its own mutex, and then its neighbour's.
fn philosophers(workers: usize, names: &'static [&'static str]) {
    let (system, reports) = system(workers);
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
    let report = the_deadlock(&reports, names);
    for edge in &report.circle {
        assert_eq!(edge.locked_at.expect("it is a lock").line(), lock_line, "{report}");
        assert_eq!(edge.fiber.waits_at.expect("it waits").line(), lock_line + 3, "{report}");
        assert!(edge.to_string().contains("has locked it at"), "{edge}");
    }
    leave(system);
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
            std::thread::sleep(Duration::from_millis(300));
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
                    let begin = Instant::now();
                    while !is_over.load(SeqCst) && begin.elapsed() < Duration::from_secs(5) {
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
    assert!(deadlocks(&reports).is_empty(), "{}", deadlocks(&reports)[0]);
    drop(system);
}
