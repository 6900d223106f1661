//! The builder: every value that cannot work, the global system, the environment, callbacks, and the limit of fibers.

mod common;

use common::{WORKERS, child_succeeds, is_child, message, panic_of, spin_until, system, watch};
use ramie::{BuildError, Builder, Counter, JobError, JobSystem};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The message of the error says what to do.
#[track_caller]
fn refused(builder: Builder, advice: &str) -> BuildError {
    let error = builder.build().expect_err("the value cannot work");
    let text = error.to_string();
    assert!(text.contains(advice), "'{text}' does not say '{advice}'");
    error
}

#[test]
fn values_that_cannot_work_are_refused_by_name() {
    let builder = JobSystem::builder;
    assert!(matches!(
        refused(builder().workers(0), "pass a positive number to `workers`"),
        BuildError::NoWorkers
    ));
    let error = refused(builder().workers(4097), "at most 4096");
    assert!(matches!(error, BuildError::TooManyWorkers { requested: 4097, max: Builder::WORKERS_MAX }));
    refused(builder().workers(usize::MAX), "at most 4096");
    for bytes in [0, 1, 16 * 1024 - 1, (1 << 30) + 1, usize::MAX] {
        let error = refused(builder().stack_size(bytes), "to `stack_size`");
        assert!(matches!(error, BuildError::StackSize { requested, min: 16384, .. } if requested == bytes));
    }
    let error = refused(builder().workers(3).max_fibers(2), "raise it or lower `workers`");
    assert!(matches!(error, BuildError::TooFewFibers { max_fibers: 2, workers: 3 }));
    refused(builder().workers(1).max_fibers(0), "max_fibers(0)");
    let error = refused(builder().spin(Duration::from_secs(2)), "between 0ns and 1s");
    assert!(matches!(error, BuildError::Duration { setting: "spin", .. }));
    refused(builder().spin(Duration::MAX), "spin(");
    let error = refused(builder().stall_after(Duration::ZERO), "stall_after(0ns)");
    assert!(matches!(error, BuildError::Duration { setting: "stall_after", .. }));
    refused(builder().stall_after(Duration::MAX), "stall_after(");
}

#[test]
fn values_at_the_edges_work() {
    let _watch = watch("edges", 30);
    let systems = [
        JobSystem::builder().workers(1).max_fibers(1),
        JobSystem::builder().workers(1).stack_size(16 * 1024),
        JobSystem::builder().workers(1).stack_size(16 * 1024 + 1),
        JobSystem::builder().workers(1).stack_size(1 << 30),
        JobSystem::builder().workers(1).spin(Duration::ZERO),
        JobSystem::builder().workers(1).spin(Duration::from_secs(1)),
        JobSystem::builder().workers(1).stall_after(Duration::from_millis(1)),
        JobSystem::builder().workers(1).thread_name(|_| "with \0 inside".into()),
        JobSystem::builder().workers(1).thread_name(|_| "long ".repeat(100)),
    ];
    for system in systems {
        assert_eq!(system.build().expect("it can work").run(|| 1), 1);
    }
    assert!(JobSystem::new().expect("it can work").workers() >= 1);
}

/// Stacks that the system cannot give: an error, and no thread or worker stays behind.
#[test]
fn stacks_that_cannot_be_had_are_an_error() {
    let _watch = watch("stacks", 60);
    // 4096 stacks of 1 GiB: more than may be reserved at once in most places; if it is not, it works.
    let builder = JobSystem::builder().workers(4096).stack_size(1 << 30);
    if !is_child("stacks_that_cannot_be_had_are_an_error") {
        child_succeeds("stacks_that_cannot_be_had_are_an_error", &[]);
        return;
    }
    // Limits the address space of this child.
    let limited = limit_address_space(8 << 30);
    match builder.build() {
        Err(BuildError::Stack { bytes, .. }) => assert_eq!(bytes, 1 << 30),
        Err(other) => panic!("{other}"),
        Ok(_) => assert!(!limited, "4 TiB of stacks do not fit into 8 GiB"),
    }
    assert_eq!(system(2).run(|| 5), 5, "what was taken was given back");
}

/// Whether the process's address space could be limited.
fn limit_address_space(bytes: usize) -> bool {
    let pid = std::process::id().to_string();
    let limit = format!("--as={bytes}");
    std::process::Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn workers_are_named_and_hear_of_start_and_stop() {
    let _watch = watch("callbacks", 30);
    for workers in WORKERS {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (started, stopped) = (Arc::clone(&heard), Arc::clone(&heard));
        let name = || std::thread::current().name().map(str::to_owned);
        let system = JobSystem::builder()
            .workers(workers)
            .thread_name(|index| format!("loom-{index}"))
            .on_worker_start(move |index| {
                started.lock().expect("not poisoned").push((index, "start", name()))
            })
            .on_worker_stop(move |index| stopped.lock().expect("not poisoned").push((index, "stop", name())))
            .build()
            .expect("a system");
        let names = system.broadcast(|| std::thread::current().name().map(str::to_owned));
        let expected: Vec<_> = (0..workers).map(|index| Some(format!("loom-{index}"))).collect();
        assert_eq!(names, expected);
        drop(system);
        let mut heard = heard.lock().expect("not poisoned").clone();
        heard.sort_by_key(|(index, what, _)| (*index, *what));
        let expected: Vec<_> = (0..workers)
            .flat_map(|index| ["start", "stop"].map(|what| (index, what, Some(format!("loom-{index}")))))
            .collect();
        assert_eq!(heard, expected);
    }
    let names = system(2).broadcast(|| std::thread::current().name().map(str::to_owned));
    assert_eq!(names, [Some("ramie-0".to_owned()), Some("ramie-1".to_owned())]);
}

/// A start callback runs outside of fibers: it may spawn, and it is no job.
#[test]
fn a_start_callback_may_use_the_api() {
    let _watch = watch("start callback", 30);
    let other = Arc::new(system(1));
    let seen = Arc::new(AtomicUsize::new(0));
    let (theirs, count) = (Arc::clone(&other), Arc::clone(&seen));
    let system = JobSystem::builder()
        .workers(3)
        .on_worker_start(move |_| {
            assert!(!ramie::in_job() && ramie::current_worker().is_none());
            assert_eq!(theirs.run(|| 3), 3);
            assert_eq!(theirs.spawn(|| 4).join().expect("it runs"), 4);
            let counted = Arc::clone(&count);
            drop(ramie::spawn(move || counted.fetch_add(1, Ordering::SeqCst)));
            ramie::yield_now();
        })
        .on_panic(|report| panic!("{report:?}"))
        .build()
        .expect("a system");
    spin_until(|| seen.load(Ordering::SeqCst) == 3);
    system.wait_idle();
}

#[test]
fn the_global_system_is_built_once() {
    let name = "the_global_system_is_built_once";
    if !is_child(name) {
        child_succeeds(name, &[("RAMIE_WORKERS", "7")]);
        return;
    }
    let _watch = watch("build_global", 30);
    let built = JobSystem::builder().workers(3).build_global().expect("the first");
    assert_eq!(built.workers(), 3, "the environment is for the default only");
    let error = JobSystem::builder().workers(2).build_global().expect_err("the second");
    assert!(matches!(error, BuildError::GlobalExists));
    assert!(error.to_string().contains("before its first use"), "{error}");
    assert_eq!(JobSystem::global().workers(), 3);
    assert!(!ramie::in_job());
    // The free functions use it.
    assert!(ramie::spawn(|| ramie::current_worker().is_some()).join().expect("it runs"));
    assert_eq!(ramie::join(|| 1, || 2), (1, 2));
    assert_eq!(ramie::broadcast(|| 1), [1, 1, 1]);
    assert!(ramie::scope(|s| s.spawn(ramie::in_job).join().expect("it runs")));
    assert_eq!(ramie::par(0..10_u32).map_reduce(0, |n| n, |a, b| a + b), 45);
    ramie::spawn_batch([|| ()]).wait();
    ramie::yield_now();
}

#[test]
fn many_threads_may_be_the_first_to_use_the_global_system() {
    let name = "many_threads_may_be_the_first_to_use_the_global_system";
    if !is_child(name) {
        child_succeeds(name, &[("RAMIE_WORKERS", "2")]);
        return;
    }
    let _watch = watch("global race", 30);
    std::thread::scope(|threads| {
        for i in 0..16 {
            threads.spawn(move || {
                if i % 4 == 0 {
                    let _either = JobSystem::builder().workers(2).build_global();
                }
                assert_eq!(ramie::spawn(move || i).join().expect("it runs"), i);
            });
        }
    });
    assert_eq!(JobSystem::global().workers(), 2);
}

#[test]
fn the_environment_sets_the_global_workers() {
    let name = "the_environment_sets_the_global_workers";
    if !is_child(name) {
        for (value, expected) in [("5", "5"), (" 3 ", "3"), ("1", "1"), ("4096", "")] {
            if !expected.is_empty() {
                let errors = child_succeeds(name, &[("RAMIE_WORKERS", value), ("EXPECTED", expected)]);
                assert!(!errors.contains("RAMIE_WORKERS"), "{errors}");
            }
        }
        for value in ["0", "-1", "two", "", "4097", "1.5", "99999999999999999999"] {
            let errors = child_succeeds(name, &[("RAMIE_WORKERS", value), ("EXPECTED", "default")]);
            let lines = errors.lines().filter(|line| line.contains("RAMIE_WORKERS")).count();
            assert_eq!(lines, 1, "one warning that names it:\n{errors}");
            assert!(errors.contains("the default is used"), "{errors}");
        }
        for value in ["0", "4096", "lots"] {
            let errors = child_succeeds(name, &[("RAMIE_STACK_SIZE", value), ("EXPECTED", "default")]);
            assert!(errors.contains("RAMIE_STACK_SIZE"), "{errors}");
        }
        let errors =
            child_succeeds(name, &[("RAMIE_STACK_SIZE", "1048576"), ("EXPECTED", "default"), ("DEEP", "1")]);
        assert!(!errors.contains("RAMIE_STACK_SIZE"), "{errors}");
        return;
    }
    let _watch = watch("environment", 30);
    let default = JobSystem::new().expect("it can work").workers();
    let expected = std::env::var("EXPECTED").expect("the parent sets it");
    let expected = if expected == "default" { default } else { expected.parse().expect("a number") };
    assert_eq!(JobSystem::global().workers(), expected);
    assert_eq!(JobSystem::global().workers(), expected);
    if std::env::var_os("DEEP").is_some() {
        // More than the default stack would hold.
        fn deep(n: u64) -> u64 {
            let room = std::hint::black_box([n; 128]);
            if n == 0 { room[3] } else { deep(n - 1) + room[9] }
        }
        assert_eq!(ramie::spawn(|| deep(600)).join().expect("it fits"), 180_300);
    }
}

/// With a single fiber every wait for a counter is refused, by name and with the setting to raise.
#[test]
fn a_wait_at_the_limit_of_fibers_panics_with_fiber_limit() {
    let _watch = watch("FiberLimit", 30);
    let system = JobSystem::builder().workers(1).max_fibers(1).build().expect("a system");
    let never = Counter::new(1);
    for wait in [
        |counter: &Counter| counter.wait(),
        |counter: &Counter| counter.wait_until(0),
        |counter: &Counter| {
            let _refused = counter.wait_timeout(Duration::from_secs(1000));
        },
    ] {
        let theirs = never.clone();
        let error = system.spawn(move || wait(&theirs)).join().expect_err("it is refused");
        let JobError::Panicked(payload) = error else { panic!("{error}") };
        let text = message(&*payload);
        assert!(text.contains("FiberLimit") && text.contains("`max_fibers`"), "{text}");
    }
    system.run(|| {
        // An unstarted job is run in place; one that waits for a counter cannot be waited for.
        assert_eq!(ramie::spawn(|| 5).join().expect("it runs"), 5);
        let held = ramie::spawn_after(&never, || ());
        let text = message(&*panic_of(|| held.join()));
        assert!(text.contains("FiberLimit"), "{text}");
        ramie::yield_now();
        assert_eq!(never.wait_timeout(Duration::ZERO), Counter::new(1).wait_timeout(Duration::ZERO));
    });
    assert_eq!(system.stats().fibers_max, 1);
    never.signal();
    system.wait_idle();
}

#[test]
fn scopes_joins_and_loops_go_on_at_the_limit_of_fibers() {
    let _watch = watch("limit goes on", 60);
    for workers in [1, 2, 3, 8] {
        let system = JobSystem::builder().workers(workers).max_fibers(workers).build().expect("a system");
        for _ in 0..50 {
            let count = AtomicUsize::new(0);
            let one = || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            system.run(|| {
                ramie::scope(|s| (0..50).for_each(|_| drop(s.spawn(one))));
                ramie::scope(|s| {
                    for _ in 0..5 {
                        s.spawn(|| ramie::scope(|inner| (0..5).for_each(|_| drop(inner.spawn(one)))));
                    }
                });
                ramie::join(one, || ramie::join(one, one));
                ramie::par(0..100_u32).for_each(|_| one());
                ramie::spawn_batch([|| (), || ()]).wait();
            });
            assert_eq!(count.into_inner(), 50 + 25 + 3 + 100);
        }
        assert_eq!(system.stats().fibers_max, workers as u64);
    }
}

/// DESIGN 7: at the limit a scope runs its own children; a foreign job that lies on top of them must not hide them.
#[test]
fn a_scope_at_the_limit_finds_its_members_below_a_foreign_job() {
    let _watch = watch("scope below foreign", 20);
    let system = JobSystem::builder().workers(1).max_fibers(1).build().expect("a system");
    let count = AtomicUsize::new(0);
    system.run(|| {
        ramie::scope(|s| {
            drop(s.spawn(|| count.fetch_add(1, Ordering::Relaxed)));
            drop(ramie::spawn(|| ()));
        });
    });
    assert_eq!(count.into_inner(), 1);
}

/// The same for the second half of a join.
#[test]
fn a_join_at_the_limit_finds_its_half_below_a_foreign_job() {
    let _watch = watch("join below foreign", 20);
    let system = JobSystem::builder().workers(1).max_fibers(1).build().expect("a system");
    let result = system.run(|| ramie::join(|| drop(ramie::spawn(|| ())), || 5));
    assert_eq!(result.1, 5);
}

/// The same for a batch, and for members that another thread has submitted.
#[test]
fn a_scope_at_the_limit_gets_members_that_were_spawned_elsewhere() {
    let _watch = watch("members from elsewhere", 20);
    let system = JobSystem::builder().workers(1).max_fibers(1).build().expect("a system");
    let count = AtomicUsize::new(0);
    system.run(|| {
        ramie::scope(|s| {
            std::thread::scope(|threads| {
                threads.spawn(|| drop(s.spawn(|| count.fetch_add(1, Ordering::Relaxed))));
            });
        });
    });
    assert_eq!(count.into_inner(), 1);
}

/// A broadcast inside a job at the limit: the calling worker has its own call to run.
#[test]
fn a_broadcast_at_the_limit_ends() {
    let _watch = watch("broadcast at the limit", 20);
    for workers in [1, 2] {
        let system = JobSystem::builder().workers(workers).max_fibers(workers).build().expect("a system");
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| system.run(|| ramie::broadcast(|| 1))));
        // Run, or refused by name; but not a hang.
        match result {
            Ok(calls) => assert_eq!(calls.len(), workers),
            Err(payload) => assert!(message(&*payload).contains("FiberLimit")),
        }
    }
}

#[test]
fn builders_and_systems_can_be_printed() {
    let builder = JobSystem::builder().workers(2).max_fibers(9);
    let text = format!("{builder:?}");
    assert!(text.contains("workers: Some(2)") && text.contains("max_fibers: 9"), "{text}");
    let system = builder.build().expect("a system");
    assert!(format!("{system:?}").contains("Running"));
    system.shutdown(ramie::Drain::Finish).expect("from outside");
    assert!(format!("{system:?}").contains("Stopping"));
}
