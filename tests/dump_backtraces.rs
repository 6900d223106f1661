//! Dumps have a backtrace of every job that waits, taken by other threads while everything moves.

#![cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{spin_until, watch};
use ramie::{Counter, FiberActivity, FiberDump, FiberInfo, JobSystem, StackFrame};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

#[inline(never)]
fn deep_inside_user_code(gate: &Counter) -> u64 {
    let kept = black_box(3);
    gate.wait();
    black_box(kept) + 1
}

#[inline(never)]
fn middle_of_user_code(gate: &Counter) -> u64 {
    let kept = black_box(4);
    deep_inside_user_code(gate) + black_box(kept)
}

#[inline(never)]
fn edge_of_user_code(gate: &Counter) -> u64 {
    let kept = black_box(5);
    middle_of_user_code(gate) + black_box(kept)
}

/// The job of this name, once it waits. The caller's worker, if it has one, is not needed for that.
fn waiting(system: &JobSystem, name: &str) -> FiberInfo {
    let mut found = None;
    spin_until(|| {
        let fibers = system.dump().fibers;
        found = fibers.into_iter().find(|f| {
            f.job_name == Some(name) && f.activity == FiberActivity::Waiting && !f.backtrace.is_empty()
        });
        found.is_some()
    });
    found.expect("it was found")
}

fn line_of(text: &str) -> u32 {
    let line = include_str!("dump_backtraces.rs").lines().position(|line| line == text);
    line.expect("it is there") as u32 + 1
}

/// The user's functions, innermost first, and nothing of ramie's at either end.
#[track_caller]
fn check(info: &FiberInfo) {
    let at = |name: &str| {
        let is_it = |frame: &StackFrame| frame.function.as_deref().is_some_and(|f| f.contains(name));
        info.backtrace.iter().position(is_it).unwrap_or_else(|| panic!("no {name}:\n{info}"))
    };
    assert_eq!(at("deep_inside_user_code"), 0, "{info}");
    assert_eq!(at("middle_of_user_code"), 1, "{info}");
    assert_eq!(at("edge_of_user_code"), 2, "{info}");
    let innermost = &info.backtrace[0];
    assert!(innermost.file.as_deref().is_some_and(|file| file.ends_with("dump_backtraces.rs")), "{info}");
    assert_eq!(innermost.line, Some(line_of("    gate.wait();")), "{info}");
    let last = info.backtrace.last().expect("there are some");
    assert!(last.file.as_deref().is_some_and(|file| file.ends_with("dump_backtraces.rs")), "{info}");
    let text = info.to_string();
    assert!(text.contains("\n    ") && text.contains("dump_backtraces.rs:"), "{text}");
}

#[test]
fn a_waiting_job_has_a_backtrace() {
    let _watch = watch("has a backtrace", 60);
    for workers in [1, 2, 8] {
        let system = common::system(workers);
        let gate = Counter::new(1);
        let spawn = |name, large| {
            let theirs = gate.clone();
            let job = system.job().name(name);
            let job = if large { job.large_stack() } else { job };
            job.spawn(move || edge_of_user_code(&theirs))
        };
        let handles = [spawn("waits", false), spawn("waits on a large stack", true)];
        check(&waiting(&system, "waits"));
        let on_large = waiting(&system, "waits on a large stack");
        check(&on_large);
        // The dump of everything has it too, and a job that runs has none.
        let everything = ramie::dump_all().to_string();
        assert!(everything.contains("deep_inside_user_code"), "{everything}");
        system.run(|| {
            let dump = system.dump();
            let running =
                dump.fibers.iter().find(|f| f.activity == FiberActivity::Running).expect("this one");
            assert!(running.backtrace.is_empty(), "{running}");
        });
        gate.signal();
        for handle in handles {
            assert_eq!(handle.join().expect("it ends"), 13);
        }
    }
}

/// A job may ask as well: what that needs of its stack fits a small one.
#[test]
fn a_job_takes_a_dump_on_a_small_stack() {
    let _watch = watch("small stack", 60);
    let system = common::builder().workers(2).stack_size(64 << 10).build().expect("a system");
    let gate = Counter::new(1);
    let theirs = gate.clone();
    let handle = system.job().name("waits").spawn(move || edge_of_user_code(&theirs));
    check(&system.run(|| waiting(&system, "waits")));
    gate.signal();
    assert_eq!(handle.join().expect("it ends"), 13);
}

/// Many waits that are the same share one backtrace.
#[test]
fn equal_backtraces_are_made_once() {
    let _watch = watch("made once", 60);
    let system = common::system(2);
    let gate = Counter::new(1);
    let handles: Vec<_> = (0..1000)
        .map(|_| {
            let theirs = gate.clone();
            system.spawn(move || edge_of_user_code(&theirs))
        })
        .collect();
    let has_all = |dump: &FiberDump| dump.fibers.iter().filter(|f| !f.backtrace.is_empty()).count() == 1000;
    let mut dump = system.dump();
    spin_until(|| {
        dump = system.dump();
        has_all(&dump)
    });
    let first = &dump.fibers[0].backtrace;
    assert!(dump.fibers.iter().all(|f| std::sync::Arc::ptr_eq(&f.backtrace, first)));
    gate.signal();
    handles.into_iter().for_each(|handle| assert_eq!(handle.join().expect("it ends"), 13));
}

// --- beside fibers that move -----------------------------------------------------------------

/// Waits at a depth that changes all the time, and leaves other values on its stack every time.
#[inline(never)]
fn descend_and_yield(depth: u64, salt: u64) -> u64 {
    let kept = black_box([salt; 4]);
    let below = if depth == 0 {
        ramie::yield_now();
        0
    } else {
        descend_and_yield(depth - 1, salt.wrapping_mul(7))
    };
    below + black_box(kept)[(salt % 4) as usize] % 3
}

/// Whether it is what a suspended job looks like: the functions of this test from one end to the other, each called by what may call it.
#[track_caller]
fn check_plausible(info: &FiberInfo) {
    let names: Vec<_> = info.backtrace.iter().map(|frame| frame.function.as_deref().unwrap_or("?")).collect();
    let ours = ["descend_and_yield", "deep_inside_user_code", "middle_of_user_code", "edge_of_user_code"];
    let first = names.first().copied().unwrap_or("");
    assert!(ours[..2].iter().any(|name| first.contains(name)), "{info}");
    assert!(names.last().is_some_and(|last| last.contains("closure")), "{info}");
    let descents = names.iter().filter(|name| name.contains("descend_and_yield")).count();
    assert!(descents <= 9, "{info}");
    if descents == 0 {
        check(info);
    }
}

/// Lets the jobs end, also when a check fails.
struct LetEnd<'a>(&'a AtomicBool, &'a Counter);

impl Drop for LetEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.signal();
    }
}

#[test]
fn dumps_beside_fibers_that_move() {
    const DUMPS: usize = 1000;
    let _watch = watch("beside", 300);
    for workers in [1, 2, 8] {
        let system = common::system(workers);
        let (stop, gate) = (AtomicBool::new(false), Counter::new(1));
        let (mut taken, mut absent) = (0, 0);
        system.scope(|s| {
            let _end = LetEnd(&stop, &gate);
            for number in 0..4 * workers as u64 {
                let stop = &stop;
                s.job().name("moves").detach(move || {
                    let mut rng = common::Rng(number);
                    while !stop.load(Ordering::Relaxed) {
                        let (depth, salt) = (rng.below(8), rng.next());
                        black_box(descend_and_yield(depth, salt));
                        // Some rest, so that a look may succeed.
                        (0..rng.below(2000)).for_each(|n| assert_eq!(black_box(n), n));
                    }
                });
            }
            for _ in 0..8 {
                let gate = &gate;
                s.job().name("stays").detach(move || assert_eq!(edge_of_user_code(gate), 13));
            }
            spin_until(|| {
                let fibers = system.dump().fibers;
                fibers.iter().filter(|f| f.job_name == Some("stays") && !f.backtrace.is_empty()).count() == 8
            });
            for _ in 0..DUMPS * common::soak() {
                for info in system.dump().fibers {
                    if info.activity == FiberActivity::Running {
                        assert!(info.backtrace.is_empty(), "{info}");
                    } else if !matches!(info.job_name, Some("moves" | "stays")) {
                        continue;
                    } else if info.backtrace.is_empty() {
                        absent += 1;
                    } else {
                        taken += 1;
                        check_plausible(&info);
                    }
                }
            }
        });
        eprintln!("{workers} workers: {taken} backtraces, {absent} absent");
        assert!(taken > 0);
    }
}
