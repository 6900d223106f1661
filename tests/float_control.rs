//! The control state of floating-point arithmetic: that it leaks from job to job by default, and that it belongs to the fiber where that
//! was asked for.
#![cfg(target_arch = "x86_64")]

mod common;

use common::watch;
use ramie::{Builder, Counter, JobSystem};
use std::arch::asm;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Flush to zero: results that are denormal become zero.
const FLUSH: u32 = 1 << 15;
/// The flags that say which exceptions there were.
const FLAGS: u32 = 0x3f;

#[expect(unsafe_code, reason = "a register that has no other name")]
fn control() -> u32 {
    let mut word = 0_u32;
    // SAFETY: stores the register into `word`.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
    word & !FLAGS
}

#[expect(unsafe_code, reason = "a register that has no other name")]
fn set_control(word: u32) {
    // SAFETY: as programs do that want denormals flushed, at their own risk; the tests below compute nothing but what
    // they look at.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack)) };
}

/// Whether arithmetic flushes denormals now. Not inlined: to the compiler, arithmetic does not depend on the register.
#[inline(never)]
fn flushes() -> bool {
    black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0
}

/// Sets the flag until it is dropped.
struct Flushing(u32);

fn flush() -> Flushing {
    let before = control();
    set_control(before | FLUSH);
    Flushing(before)
}

impl Drop for Flushing {
    fn drop(&mut self) {
        set_control(self.0);
    }
}

fn isolating() -> Builder {
    common::builder().isolate_float_control(true)
}

fn isolated(workers: usize) -> JobSystem {
    isolating().workers(workers).build().unwrap()
}

/// What `Builder::isolate_float_control` says of the default.
#[test]
fn by_default_the_state_is_the_worker_s() {
    let _watch = watch("leaking control state", 60);
    let system = JobSystem::builder().workers(1).build().unwrap();
    let leaked = system.run(|| {
        let (set, gate) = (Counter::new(1), Counter::new(1));
        let (tell, theirs) = (set.clone(), gate.clone());
        let job = ramie::spawn(move || {
            let _flushing = flush();
            tell.signal();
            theirs.wait();
        });
        set.wait();
        let leaked = flushes();
        gate.signal();
        job.join().unwrap();
        leaked
    });
    assert!(leaked, "if this fails, the documentation can say something better");
}

#[test]
fn what_a_job_sets_holds_for_it_across_its_waits_and_for_no_other() {
    let _watch = watch("control state", 60);
    for workers in [1, 2, 3, 8] {
        let system = isolated(workers);
        let wrong = Arc::new(AtomicUsize::new(0));
        let done = Counter::new(0);
        for i in 0..200_u64 {
            let wrong = Arc::clone(&wrong);
            system.job().counter(&done).detach(move || {
                let sets = i % 3 == 0;
                let _flushing = sets.then(flush);
                let check = || {
                    if flushes() != sets || (control() & FLUSH != 0) != sets {
                        wrong.fetch_add(1, SeqCst);
                    }
                };
                check();
                for round in 0..5 {
                    match (i + round) % 4 {
                        0 => ramie::yield_now(),
                        1 => {
                            // Its children begin on fibers of their own, or on this one.
                            let handle = ramie::spawn(|| ());
                            handle.join().unwrap();
                        }
                        2 => drop(Counter::new(1).wait_timeout(Duration::from_micros(50))),
                        _ => {
                            let gate = Counter::new(1);
                            let theirs = gate.clone();
                            drop(ramie::spawn(move || theirs.signal()));
                            gate.wait();
                        }
                    }
                    check();
                }
            });
        }
        done.wait();
        assert_eq!(wrong.load(SeqCst), 0, "{workers} workers");
    }
}

#[test]
fn what_a_job_leaves_set_ends_with_it() {
    let _watch = watch("control state that is left", 60);
    let system = isolated(1);
    for _ in 0..100 {
        system.run(|| std::mem::forget(flush()));
        assert!(!system.run(flushes));
        let after = system.run(|| {
            let left = ramie::spawn(|| std::mem::forget(flush()));
            let looks = ramie::spawn(flushes);
            ramie::yield_now();
            ramie::yield_now();
            drop(left);
            looks
        });
        assert!(!after.join().unwrap());
    }
}

#[test]
fn jobs_begin_with_what_their_thread_was_given() {
    let _watch = watch("control state of threads", 60);
    let system = isolating().workers(2).on_worker_start(|_| std::mem::forget(flush())).build().unwrap();
    for _ in 0..100 {
        let inside = system.run(|| {
            let gate = Counter::new(1);
            let theirs = gate.clone();
            let child = ramie::spawn(move || {
                theirs.signal();
                flushes()
            });
            gate.wait();
            (flushes(), child.join().unwrap())
        });
        assert_eq!(inside, (true, true));
    }
    assert!(!flushes(), "and this thread is as it was");
}

#[test]
fn the_main_thread_is_as_before_after_a_visit() {
    let _watch = watch("control state of the main thread", 60);
    let system = isolating().workers(1).main_thread_worker(true).build().unwrap();
    let gate = Counter::new(1);
    let theirs = gate.clone();
    let job = system.spawn(move || {
        let _flushing = flush();
        theirs.wait();
        flushes()
    });
    // The job begins here, and waits.
    system.run(|| ());
    assert!(!flushes());
    let flushing = flush();
    // A visit begins with what the thread has, and the job goes on with its own.
    assert!(system.run(flushes));
    drop(flushing);
    gate.signal();
    assert!(job.join().unwrap());
    assert!(!flushes());
}
