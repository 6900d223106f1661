//! Stacks that are too small end the process with a message that says whose, and what to do; faults that are none of
//! ours are left to whom they belong.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "makes the faults that it tests for")]

mod common;

use common::{child, is_child};
use ramie::{JobSystem, Priority};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// Uses about `bytes` bytes of stack.
#[inline(never)]
fn dig(bytes: usize) -> usize {
    let frame = std::hint::black_box([bytes as u8; 1024]);
    if bytes < frame.len() { 0 } else { dig(bytes - frame.len()) + frame[bytes % 512] as usize }
}

/// More than any stack here.
fn overflow() -> usize {
    dig(1 << 30)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the test of this name in a child process, which must end by our message.
#[track_caller]
fn overflows(test: &str, variables: &[(&str, &str)], expected: &[&str]) -> String {
    let output = child(test, variables);
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{:?}\n{errors}", output.status);
    let line = errors.lines().find(|line| line.starts_with("ramie: stack overflow: "));
    let Some(line) = line else { panic!("no message:\n{errors}") };
    for text in expected {
        assert!(line.contains(text), "'{text}' is missing in: {line}");
    }
    line.to_owned()
}

fn system() -> JobSystem {
    let workers = std::env::var("WORKERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    common::builder().workers(workers).build().expect("a system")
}

#[test]
fn a_job_that_overruns_its_stack_is_named() {
    const TEST: &str = "a_job_that_overruns_its_stack_is_named";
    if is_child(TEST) {
        let job = system().job().name("dig for ever").spawn(overflow);
        let _ = job.join();
        return;
    }
    for workers in ["1", "2", "8"] {
        let line = overflows(
            TEST,
            &[("WORKERS", workers)],
            &[
                "job 'dig for ever' spawned at tests/stack_overflow.rs:",
                "256 KiB",
                "`Builder::stack_size`",
                "large_stack()",
            ],
        );
        assert!(!line.contains("large_stack_size"), "{line}");
    }
}

#[test]
fn the_stack_has_the_size_that_was_asked_for() {
    const TEST: &str = "the_stack_has_the_size_that_was_asked_for";
    let Ok(bytes) = std::env::var("STACK_BYTES").map(|text| text.parse::<usize>().expect("a number")) else {
        for kib in [16_usize, 64, 1024, 8192] {
            let bytes = (kib * 1024).to_string();
            overflows(TEST, &[("STACK_BYTES", &bytes)], &[&format!("stack of {kib} KiB")]);
        }
        return;
    };
    let system = common::builder().workers(1).stack_size(bytes).build().expect("a system");
    // What a job cannot use of it: the job loop's frames, and the frames of this test.
    let room = bytes - 8 * 1024;
    assert!(system.run(|| dig(room)) < usize::MAX);
    system.run(|| std::hint::black_box(dig(bytes + 8 * 1024)));
}

#[test]
fn a_job_that_overruns_its_large_stack_is_told_of_that_size() {
    const TEST: &str = "a_job_that_overruns_its_large_stack_is_told_of_that_size";
    if is_child(TEST) {
        let system = common::builder().workers(2).large_stack_size(4 << 20).build().expect("a system");
        // It is the large stack: this much fits.
        assert!(system.job().large_stack().spawn(|| dig(3 << 20)).join().is_ok());
        let _ = system.job().name("large").large_stack().spawn(overflow).join();
        return;
    }
    let line =
        overflows(TEST, &[], &["job 'large'", "large stack of 4096 KiB", "`Builder::large_stack_size`"]);
    assert!(!line.contains("`Builder::stack_size`"), "{line}");
}

/// The name is that of the innermost job, wherever it runs: here in place, in the end of a scope.
#[test]
fn a_job_of_a_nested_scope_is_named() {
    const TEST: &str = "a_job_of_a_nested_scope_is_named";
    if is_child(TEST) {
        let outer = system().job().name("outer").spawn(|| {
            ramie::scope(|s| {
                s.job().name("middle").detach(|| {
                    ramie::scope(|s| {
                        s.job().name("inner").spawn(overflow);
                    });
                });
            });
        });
        let _ = outer.join();
        return;
    }
    for workers in ["1", "2"] {
        let line = overflows(TEST, &[("WORKERS", workers)], &["job 'inner'"]);
        assert!(!line.contains("outer") && !line.contains("middle"), "{line}");
    }
}

#[test]
fn a_half_of_a_join_is_told_by_its_place() {
    const TEST: &str = "a_half_of_a_join_is_told_by_its_place";
    if is_child(TEST) {
        system().run(|| ramie::join(|| 1, overflow));
        return;
    }
    overflows(TEST, &[], &["job spawned at tests/stack_overflow.rs:"]);
}

#[test]
fn a_job_that_has_waited_is_named() {
    const TEST: &str = "a_job_that_has_waited_is_named";
    if is_child(TEST) {
        let go = ramie::Counter::new(1);
        let system = system();
        let job = {
            let go = go.clone();
            system.job().name("waited").priority(Priority::High).spawn(move || {
                go.wait();
                overflow()
            })
        };
        go.signal();
        let _ = job.join();
        return;
    }
    overflows(TEST, &[], &["job 'waited'"]);
}

#[test]
fn a_job_on_the_main_thread_is_named() {
    const TEST: &str = "a_job_on_the_main_thread_is_named";
    if is_child(TEST) {
        let system = common::builder().workers(2).main_thread_worker(true).build().expect("a system");
        let job = system.job().name("on main").on_worker(0).spawn(overflow);
        system.run_main(|| drop(job.join()));
        return;
    }
    overflows(TEST, &[], &["job 'on main'", "worker 0"]);
}

/// The root of a worker is a thread's own stack: what Rust says of threads holds there.
#[test]
fn the_root_of_a_worker_is_reported_as_a_thread() {
    const TEST: &str = "the_root_of_a_worker_is_reported_as_a_thread";
    if is_child(TEST) {
        let system = common::builder()
            .workers(1)
            .on_worker_start(|_| {
                std::hint::black_box(overflow());
            })
            .build()
            .expect("a system");
        system.run(|| ());
        return;
    }
    let output = child(TEST, &[]);
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{errors}");
    assert!(errors.contains("'ramie-0'") && errors.contains("has overflowed its stack"), "{errors}");
    assert!(!errors.contains("ramie: stack overflow"), "{errors}");
}

#[test]
fn a_thread_outside_is_reported_as_a_thread() {
    const TEST: &str = "a_thread_outside_is_reported_as_a_thread";
    if is_child(TEST) {
        let _system = system();
        let thread = std::thread::Builder::new().name("outside".into()).spawn(overflow);
        let _ = thread.expect("a thread").join();
        return;
    }
    let output = child(TEST, &[]);
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{errors}");
    assert!(errors.contains("'outside'") && errors.contains("has overflowed its stack"), "{errors}");
}

#[test]
fn an_ordinary_null_write_is_none_of_ours() {
    const TEST: &str = "an_ordinary_null_write_is_none_of_ours";
    if is_child(TEST) {
        let null = std::hint::black_box(0);
        // SAFETY: there is none; the child is to end by this.
        system().run(move || unsafe { std::ptr::without_provenance_mut::<u8>(null).write_volatile(1) });
        return;
    }
    let output = child(TEST, &[]);
    let errors = errors(&output);
    assert_eq!(output.status.signal(), Some(SIGSEGV), "{errors}");
    assert!(!errors.contains("overflow"), "{errors}");
}

/// The handler that was installed before gets every fault that is no overflow, and no other.
#[test]
fn other_faults_go_to_the_handler_that_was_there() {
    const TEST: &str = "other_faults_go_to_the_handler_that_was_there";
    extern "C" fn theirs(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid structure; `_exit` may be called in a handler.
        unsafe { libc::_exit(if (*info).si_addr().addr() == 64 { 77 } else { 78 }) }
    }
    if is_child(TEST) {
        // SAFETY: zero is a valid `sigaction`, and the handler does nothing that is not allowed in one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = theirs as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()), 0);
        }
        if std::env::var_os("OVERFLOW").is_some() {
            system().run(overflow);
            return;
        }
        let wild = std::hint::black_box(64);
        // SAFETY: there is none; the handler ends the child.
        system().run(move || unsafe { std::ptr::without_provenance_mut::<u64>(wild).write_volatile(1) });
        return;
    }
    let output = child(TEST, &[]);
    assert_eq!(output.status.code(), Some(77), "{}", errors(&output));
    overflows(TEST, &[("OVERFLOW", "1")], &["256 KiB"]);
}

/// A guard that is hit by a wild pointer, and not by the stack that ends there, is no overflow.
#[test]
fn a_wild_pointer_into_a_guard_is_not_called_an_overflow() {
    const TEST: &str = "a_wild_pointer_into_a_guard_is_not_called_an_overflow";
    if is_child(TEST) {
        let upwards = std::env::var_os("UPWARDS").is_some();
        let wild = move || {
            // With one worker the next stack belongs to the fiber that this makes.
            ramie::yield_now();
            let here = 0_u8;
            let page = std::ptr::from_ref(&here).addr() & !4095;
            // Downwards through the own stack to its guard, far from where this code's stack frames are; or
            // upwards into the next stack's guard, or whatever else is there.
            for step in 1..100 {
                let address = if upwards { page + step * 4096 } else { page - step * 4096 };
                // SAFETY: there is none; the child ends at the guard.
                unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(0) };
            }
        };
        if std::env::var_os("LARGE").is_none() {
            system().run(wild);
            return;
        }
        // The next large stack, which has a guard only once it is used.
        let system = Arc::new(system());
        let theirs = Arc::clone(&system);
        let job = system.job().large_stack().spawn(move || {
            let begun = ramie::Counter::new(1);
            let signal = begun.clone();
            let neighbour = theirs.job().large_stack().spawn(move || {
                signal.signal();
                ramie::Counter::new(1).wait();
            });
            begun.wait();
            wild();
            drop(neighbour);
        });
        let _ = job.join();
        return;
    }
    let one = ("WORKERS", "1");
    for variables in [&[one][..], &[one, ("UPWARDS", "1")], &[one, ("UPWARDS", "1"), ("LARGE", "1")]] {
        let output = child(TEST, variables);
        let errors = errors(&output);
        assert_eq!(output.status.signal(), Some(SIGSEGV), "{variables:?}: {errors}");
        assert!(!errors.contains("overflow"), "{errors}");
    }
}

/// A signal that somebody has sent is no fault, and ends the process like one that was not caught.
#[test]
fn a_signal_that_was_sent_is_passed_on() {
    const TEST: &str = "a_signal_that_was_sent_is_passed_on";
    if is_child(TEST) {
        // SAFETY: plain calls.
        unsafe {
            let action = if std::env::var_os("IGNORED").is_some() { libc::SIG_IGN } else { libc::SIG_DFL };
            libc::signal(libc::SIGSEGV, action);
        }
        let _system = system();
        // SAFETY: as above. This thread takes it before the call returns.
        unsafe { libc::raise(libc::SIGSEGV) };
        std::process::exit(42);
    }
    let output = child(TEST, &[]);
    assert_eq!(output.status.signal(), Some(SIGSEGV), "{}", errors(&output));
    let output = child(TEST, &[("IGNORED", "1")]);
    assert_eq!(output.status.code(), Some(42), "{}", errors(&output));
}

/// A program that was not started by Rust's runtime, or another library, may leave threads without an alternate stack.
#[test]
fn a_thread_without_an_alternate_stack_gets_one() {
    const TEST: &str = "a_thread_without_an_alternate_stack_gets_one";
    if is_child(TEST) {
        // SAFETY: plain calls; the alternate stack of this thread is not in use.
        unsafe {
            let mut none: libc::stack_t = std::mem::zeroed();
            none.ss_flags = libc::SS_DISABLE;
            assert_eq!(libc::sigaltstack(&raw const none, std::ptr::null_mut()), 0);
        }
        let system = common::builder().workers(1).main_thread_worker(true).build().expect("a system");
        system.run_main(|| std::hint::black_box(overflow()));
        return;
    }
    overflows(TEST, &[], &["worker 0"]);
}
