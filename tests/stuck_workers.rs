//! Workers that are stuck inside one job are reported with the job's name and place; others are not.

mod common;

use common::{child, is_child, spin_until, watch};
use ramie::{Counter, JobSystem, StallKind, StallReport};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Reports = Arc<Mutex<Vec<StallReport>>>;

fn system(workers: usize, stall_after: Duration) -> (JobSystem, Reports) {
    let reports = Reports::default();
    let theirs = Arc::clone(&reports);
    let system = JobSystem::builder()
        .workers(workers)
        .stall_after(stall_after)
        .on_stall(move |report| theirs.lock().unwrap().push(report.clone()))
        .build()
        .expect("a system");
    (system, reports)
}

fn first(reports: &Reports) -> StallReport {
    spin_until(|| !reports.lock().unwrap().is_empty());
    reports.lock().unwrap()[0].clone()
}

#[test]
fn a_job_that_never_ends_is_named() {
    let _watch = watch("never ends", 60);
    for workers in [1, 3] {
        let (system, reports) = system(workers, Duration::from_millis(50));
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let line = line!() + 1;
        let handle = system.job().name("endless").on_worker(workers - 1).spawn(move || {
            while !theirs.load(SeqCst) {
                spin_loop();
            }
        });
        let report = first(&reports);
        stop.store(true, SeqCst);
        handle.join().unwrap();
        // It computes, whatever else this machine does.
        assert_eq!(report.kind, StallKind::WorkerStuck { worker: workers - 1, blocked: false });
        let text = report.to_string();
        let told =
            format!("worker {} has been inside job 'endless' spawned at {}:{line}:", workers - 1, file!());
        assert!(text.contains(&told), "{text}");
        assert!(report.blocked_for >= Duration::from_millis(50));
        assert_eq!(reports.lock().unwrap().len(), 1, "it is reported once");
    }
}

#[test]
fn a_worker_that_a_std_mutex_blocks_is_told_from_one_that_computes() {
    let _watch = watch("std mutex", 60);
    let (system, reports) = system(2, Duration::from_millis(200));
    let (mutex, begun, go_on) = (Mutex::new(()), Counter::new(1), Counter::new(1));
    let kind = system.scope(|s| {
        s.job().name("holder").on_worker(0).detach(|| {
            let _guard = mutex.lock().unwrap();
            begun.signal();
            // The mistake: its guard is held across a wait.
            go_on.wait();
        });
        s.job().name("victim").on_worker(1).after(&begun).detach(|| drop(mutex.lock()));
        let report = first(&reports);
        go_on.signal();
        let text = report.to_string();
        assert!(text.contains("inside job 'victim'") && text.contains("is blocked"), "{text}");
        assert!(text.contains("job 'holder'"), "the dump has the other one: {text}");
        report.kind
    });
    assert_eq!(kind, StallKind::WorkerStuck { worker: 1, blocked: cfg!(target_os = "linux") });
}

#[test]
fn jobs_that_wait_or_do_nothing_are_not_stuck() {
    let _watch = watch("not stuck", 60);
    let (system, reports) = system(2, Duration::from_millis(20));
    let gate = Counter::new(1);
    let waits = system.spawn({
        let gate = gate.clone();
        move || gate.wait()
    });
    let busy = system.spawn(|| (0..200).for_each(|_| ramie::sleep(Duration::from_micros(500))));
    busy.join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    gate.signal();
    waits.join().unwrap();
    assert!(reports.lock().unwrap().is_empty(), "{:?}", reports.lock().unwrap());
}

/// By default it is printed, if the worker is blocked or others wait for it.
#[test]
fn a_stuck_worker_is_printed() {
    const NAME: &str = "a_stuck_worker_is_printed";
    if !is_child(NAME) {
        let output = child(NAME, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(errors.contains("worker 0 has been inside job 'hog'"), "{errors}");
        assert_eq!(errors.matches("ramie: stall").count(), 1, "{errors}");
        return;
    }
    let system = JobSystem::builder().workers(1).stall_after(Duration::from_millis(50)).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // Nobody waits for this one's worker, so nothing is printed.
    let spinning = |name, for_ms: u64| {
        let (stop, begin) = (Arc::clone(&stop), std::time::Instant::now());
        system.job().name(name).spawn(move || {
            while !stop.load(SeqCst) && begin.elapsed() < Duration::from_millis(for_ms) {
                spin_loop();
            }
        })
    };
    spinning("alone", 300).join().unwrap();
    let hog = spinning("hog", 10_000);
    spin_until(|| system.dump().fibers.iter().any(|fiber| fiber.job_name == Some("hog")));
    let waits = system.job().on_worker(0).spawn(|| ());
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, SeqCst);
    hog.join().unwrap();
    waits.join().unwrap();
}
