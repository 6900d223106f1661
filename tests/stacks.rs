//! Stacks: how many there can be, what they cost, that their memory comes back, large ones, and guards where the kernel
//! refuses the lightweight ones.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "system calls that limit the child processes")]

mod common;

use common::{WORKERS, builder, child_succeeds, is_child, message, planned, planned_id, watch};
use ramie::{Counter, FiberActivity, JobError, JobSystem, StackGuards};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A value of `/proc/self/status` in KiB.
fn status_kib(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text.lines().find(|line| line.starts_with(key)).expect("the key is there");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

/// What the process has in memory, page tables included.
fn memory_kib() -> usize {
    status_kib("VmRSS:") + status_kib("VmPTE:")
}

/// Spawns jobs that all wait for `go`, until as many wait.
fn suspend(system: &JobSystem, count: usize, go: &Counter) -> Counter {
    let (waiting, done) = (Arc::new(AtomicUsize::new(0)), Counter::new(0));
    system.run(|| {
        for _ in 0..count {
            let (go, waiting) = (go.clone(), Arc::clone(&waiting));
            system.job().counter(&done).detach(move || {
                waiting.fetch_add(1, SeqCst);
                go.wait();
            });
        }
    });
    common::spin_until(|| waiting.load(SeqCst) == count);
    done
}

fn mapping_count() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("Linux has it").lines().count()
}

/// As in ClickHouse#79147, where guards were given up for want of mappings.
#[test]
fn a_hundred_thousand_fibers_wait_at_once() {
    const TEST: &str = "a_hundred_thousand_fibers_wait_at_once";
    const FIBERS: usize = 100_000;
    let Ok(workers) = std::env::var("WORKERS").map(|text| text.parse().expect("a number")) else {
        for workers in ["1", "2", "8"] {
            print!("{}", child_succeeds(TEST, &[("WORKERS", workers)]));
        }
        return;
    };
    let _watch = watch(TEST, 120);
    let system = builder().workers(workers).stack_size(64 * 1024).build().expect("a system");
    let before = memory_kib();
    let go = Counter::new(1);
    let done = suspend(&system, FIBERS, &go);
    let each = (memory_kib() - before) as f64 / FIBERS as f64;
    let stats = system.stats();
    let stacks = stats.stacks.iter().find(|stacks| stacks.stack_bytes == 64 * 1024).expect("they are known");
    assert!(stacks.count >= FIBERS, "{stacks}");
    assert!(stats.fibers >= FIBERS as u64);
    if stats.stack_guards == StackGuards::Regions {
        assert!(mapping_count() < 1000, "{} mappings", mapping_count());
    }
    eprintln!("{workers} workers: {each:.2} KiB a fiber; {stacks}");
    // Two pages and what belongs to them; the bench has the exact figure of an optimised build.
    assert!(each < 9.0, "{each:.2} KiB a fiber");
    go.signal();
    done.wait();
}

/// After a peak the memory of stacks goes back to the operating system, while the system idles.
#[test]
fn memory_falls_after_a_peak() {
    const TEST: &str = "memory_falls_after_a_peak";
    const FIBERS: usize = 20_000;
    let Ok(workers) = std::env::var("WORKERS").map(|text| text.parse().expect("a number")) else {
        for workers in ["1", "3"] {
            print!("{}", child_succeeds(TEST, &[("WORKERS", workers)]));
        }
        return;
    };
    let _watch = watch(TEST, 60);
    let system = builder().workers(workers).warm_fibers(100).build().expect("a system");
    let before = memory_kib();
    for _ in 0..2 {
        let go = Counter::new(1);
        let done = suspend(&system, FIBERS, &go);
        let peak = memory_kib();
        assert!(peak - before > FIBERS * 4, "each has touched a page: {before} to {peak} KiB");
        go.signal();
        done.wait();
        // Every stack but the warm ones; the watch is the limit.
        let enough = before + (peak - before) / 4;
        while memory_kib() > enough || system.stats().fibers > (workers * 100 + 150) as u64 {
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{workers} workers: {before} KiB, {peak} KiB at the peak, {} KiB later", memory_kib());
    }
    // What was kept serves the next peak, and the depth of stacks whose memory is gone is not forgotten.
    let stats = system.stats();
    let stacks = stats.stacks.iter().find(|stacks| stacks.stack_bytes == 256 * 1024).expect("they are known");
    assert!(stacks.count < 3 * FIBERS, "{stacks}");
    assert!(stacks.used_bytes_max >= 4096, "{stacks}");
    assert!(system.dump().to_string().contains("stacks of 256 KiB, of which at most"), "dumps say it too");
}

/// Nothing is given back while it is needed again and again.
#[test]
fn what_every_frame_needs_is_kept() {
    let _watch = watch("kept", 60);
    let system = builder().workers(1).warm_fibers(10).build().expect("a system");
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(2500) {
        let go = Counter::new(1);
        let done = suspend(&system, 1000, &go);
        go.signal();
        done.wait();
        std::thread::sleep(Duration::from_millis(10));
        assert!(system.stats().fibers > 1000, "they were ended between two peaks");
    }
}

/// Uses about `bytes` bytes of stack.
#[inline(never)]
fn dig(bytes: usize) -> usize {
    let frame = std::hint::black_box([bytes as u8; 1024]);
    if bytes < frame.len() { 0 } else { dig(bytes - frame.len()) + frame[bytes % 512] as usize }
}

#[test]
fn large_stacks_are_large_and_their_jobs_may_wait() {
    let _watch = watch("large stacks", 60);
    for workers in WORKERS {
        let system = builder().workers(workers).stack_size(16 * 1024).build().expect("a system");
        let go = Counter::new(1);
        let jobs: Vec<_> = (0..200_usize)
            .map(|i| {
                let go = go.clone();
                let job = system.job().large_stack().name("large");
                job.spawn(move || {
                    let before = dig(1 << 20);
                    go.wait();
                    ramie::yield_now();
                    // A normal job within a large one has a normal stack or this one, and another large one a large one.
                    let (one, two) = ramie::join(|| dig(2 << 10), || 1);
                    let nested = ramie::scope(|s| s.job().large_stack().spawn(|| dig(1 << 20)).join());
                    assert_eq!(nested.expect("it does not panic"), before);
                    one + two + i - dig(2 << 10) - 1
                })
            })
            .collect();
        go.signal();
        for (i, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().expect("it does not panic"), i);
        }
    }
}

#[test]
fn large_jobs_end_in_every_way() {
    let _watch = watch("ends of large jobs", 60);
    for workers in WORKERS {
        let system = builder().workers(workers).build().expect("a system");
        let handle = system.job().large_stack().spawn(|| planned(7));
        match handle.join() {
            Err(JobError::Panicked(payload)) => assert_eq!(planned_id(&*payload), 7),
            other => panic!("{:?}", other.map(|()| "returned")),
        }
        let payload = common::panic_of(|| {
            system.scope(|s| s.job().large_stack().detach(|| planned(8)));
        });
        assert_eq!(planned_id(&*payload), 8);
        // Joined inside of a job: runs in place if nobody has taken it, on a large stack all the same.
        let sum = system.run(|| {
            let jobs: Vec<_> =
                (0..50).map(|_| system.job().large_stack().spawn(|| dig(1 << 20) | 1)).collect();
            jobs.into_iter().map(|job| job.join().expect("it does not panic") & 1).sum::<usize>()
        });
        assert_eq!(sum, 50);
        let census = common::Census::default();
        let gate = Counter::new(1);
        let held: Vec<_> = (0..10)
            .map(|_| {
                let item = census.item();
                system.job().large_stack().after(&gate).spawn(move || drop(item))
            })
            .collect();
        assert!(held.iter().all(|job| job.cancel()));
        drop(held);
        census.assert_all_dropped(10);
        gate.signal();
    }
}

// --- refusals of the kernel -------------------------------------------------------------

/// From here on this thread, and those that it starts, get `error` for these calls: `madvise` with an advice of 102, and
/// `process_madvise`.
fn refuse_guard_regions(error: i32, process_madvise_only: bool) {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    let refuse = 0x0005_0000 | error as u32;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let madvise = if process_madvise_only { u32::MAX } else { libc::SYS_madvise as u32 };
    let filter = [
        // The number of the call; `process_madvise` is refused.
        step(LOAD, 0, 0, 0),
        step(EQUAL, 3, 0, libc::SYS_process_madvise as u32),
        // `madvise` is refused if its third argument is the advice.
        step(EQUAL, 0, 3, madvise),
        step(LOAD, 0, 0, 16 + 2 * 8),
        step(EQUAL, 0, 1, 102),
        step(RETURN, 0, 0, refuse),
        step(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program is valid for the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let done = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

fn variable(name: &str) -> Option<i32> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn guards_are_pages_where_regions_are_refused() {
    const TEST: &str = "guards_are_pages_where_regions_are_refused";
    let Some(error) = variable("REFUSE") else {
        // 0 is a kernel, or what stands in for one, that says yes and does nothing.
        for error in [libc::EPERM, libc::ENOSYS, libc::EINVAL, 0] {
            child_succeeds(TEST, &[("REFUSE", &error.to_string())]);
            // The overflow is recognised all the same.
            let output = common::child(TEST, &[("REFUSE", &error.to_string()), ("OVERFLOW", "1")]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains("ramie: stack overflow"), "{errors}");
        }
        return;
    };
    let _watch = watch(TEST, 60);
    refuse_guard_regions(error, false);
    let system = builder().workers(2).build().expect("a system");
    let go = Counter::new(1);
    let done = suspend(&system, 2000, &go);
    go.signal();
    done.wait();
    assert_eq!(system.stats().stack_guards, StackGuards::ProtectedPages);
    assert!(mapping_count() > 2000, "each guard is a mapping");
    if variable("OVERFLOW").is_some() {
        system.run(|| dig(1 << 20));
    }
}

#[test]
fn guard_regions_are_installed_one_by_one_where_batches_are_refused() {
    const TEST: &str = "guard_regions_are_installed_one_by_one_where_batches_are_refused";
    let Some(error) = variable("REFUSE") else {
        for error in [libc::EPERM, libc::ENOSYS] {
            child_succeeds(TEST, &[("REFUSE", &error.to_string())]);
        }
        return;
    };
    let _watch = watch(TEST, 60);
    let before = system_guards();
    refuse_guard_regions(error, true);
    let system = builder().workers(2).build().expect("a system");
    let go = Counter::new(1);
    let done = suspend(&system, 2000, &go);
    assert_eq!(system.stats().stack_guards, before);
    go.signal();
    done.wait();
}

fn system_guards() -> StackGuards {
    builder().workers(1).build().expect("a system").stats().stack_guards
}

/// A real-time program locks its memory; reservations are not filled by that.
#[test]
fn stacks_are_exempt_from_locked_memory() {
    const TEST: &str = "stacks_are_exempt_from_locked_memory";
    if !is_child(TEST) {
        child_succeeds(TEST, &[]);
        return;
    }
    let _watch = watch(TEST, 60);
    // SAFETY: a plain call.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        eprintln!("SKIPPED: {}", std::io::Error::last_os_error());
        return;
    }
    let before = memory_kib();
    let system = builder().workers(2).stack_size(1 << 20).build().expect("a system");
    let go = Counter::new(1);
    let done = suspend(&system, 100, &go);
    let used = memory_kib() - before;
    assert!(used < 60 * 1024, "{used} KiB for stacks of 100 MiB, of which few pages are touched");
    go.signal();
    done.wait();
}

// --- limits -----------------------------------------------------------------------------

fn limit(resource: libc::__rlimit_resource_t, bytes: usize) {
    let limit = libc::rlimit { rlim_cur: bytes as u64, rlim_max: bytes as u64 };
    // SAFETY: the structure is valid for the call.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// Spawns jobs that wait until no more fibers can be made; the waits that fail say so, nothing hangs, and everything goes on
/// when there is room again.
fn fill(system: &JobSystem, attempts: usize) {
    let go = Counter::new(1);
    let (waiting, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = system.run(|| {
        (0..attempts)
            .map(|_| {
                let (go, waiting, refused) = (go.clone(), Arc::clone(&waiting), Arc::clone(&refused));
                system.spawn(move || {
                    waiting.fetch_add(1, SeqCst);
                    struct Count(Arc<AtomicUsize>);
                    impl Drop for Count {
                        fn drop(&mut self) {
                            self.0.fetch_add(usize::from(std::thread::panicking()), SeqCst);
                        }
                    }
                    let _count = Count(refused);
                    go.wait();
                })
            })
            .collect()
    });
    common::spin_until(|| waiting.load(SeqCst) == attempts);
    // At the limit splits run their own children, here and on other workers.
    let sum = system.run(|| {
        let ran = AtomicUsize::new(0);
        let inner = || {
            let count = || {
                ran.fetch_add(1, SeqCst);
            };
            ramie::scope(|s| (0..100).for_each(|_| s.job().detach(count)));
            ran.load(SeqCst)
        };
        let (a, b) = ramie::join(|| 1, inner);
        a + b + ramie::par(0..1000_usize).map_reduce(0_usize, |i| i, |a, b| a + b)
    });
    assert_eq!(sum, 1 + 100 + 499_500);
    go.signal();
    let mut limited = 0;
    for job in jobs {
        match job.join() {
            Ok(()) => {}
            Err(JobError::Panicked(payload)) => {
                let text = message(&*payload);
                assert!(text.contains("FiberLimit"), "{text}");
                limited += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(limited, refused.load(SeqCst));
    assert!(limited > 0, "the limit was reached");
    assert!(limited < attempts, "some waited");
    // There is room again, on every worker: those that have more fibers than they need end them.
    loop {
        let (all, together) = (Counter::new(system.workers()), Arc::new(AtomicUsize::new(0)));
        let results = system.run(|| {
            let jobs = (0..system.workers()).map(|worker| {
                let (all, together) = (all.clone(), Arc::clone(&together));
                system.job().on_worker(worker).spawn(move || {
                    all.signal();
                    all.wait();
                    together.fetch_add(1, SeqCst)
                })
            });
            jobs.collect::<Vec<_>>()
        });
        if results.into_iter().filter_map(|job| job.join().ok()).count() == system.workers() {
            break;
        }
    }
    eprintln!("{} workers: {} of {attempts} waits were refused", system.workers(), limited);
}

/// Runs `body` in a child process for 1, 2 and 8 workers.
fn at_a_limit(test: &str, body: impl FnOnce(usize)) {
    let Some(workers) = variable("WORKERS") else {
        for workers in ["1", "2", "8"] {
            print!("{}", child_succeeds(test, &[("WORKERS", workers)]));
        }
        return;
    };
    assert!(is_child(test));
    let _watch = watch("a limit", 120);
    // The default hook's output would be most of the time.
    std::panic::set_hook(Box::new(|_| {}));
    body(workers as usize);
}

#[test]
fn out_of_address_space() {
    at_a_limit("out_of_address_space", |workers| {
        let system = builder().workers(workers).stack_size(1 << 20).build().expect("a system");
        limit(libc::RLIMIT_AS, status_kib("VmSize:") * 1024 + (600 << 20));
        fill(&system, 2000);
    });
}

#[test]
fn out_of_data() {
    at_a_limit("out_of_data", |workers| {
        let system = builder().workers(workers).stack_size(1 << 20).build().expect("a system");
        limit(libc::RLIMIT_DATA, status_kib("VmData:") * 1024 + (600 << 20));
        fill(&system, 2000);
    });
}

/// With a protected page as guard each stack costs two mappings, and 65,530 are the default limit.
#[test]
fn out_of_mappings() {
    at_a_limit("out_of_mappings", |workers| {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        if max.trim().parse::<usize>().map_or(true, |max| max > 100_000) {
            eprintln!("SKIPPED: vm.max_map_count is {max}");
            return;
        }
        refuse_guard_regions(libc::EPERM, false);
        let system = builder().workers(workers).stack_size(16 << 10).build().expect("a system");
        fill(&system, 40_000);
        assert!(mapping_count() < 64_000, "some are left to others");
    });
}

#[test]
fn out_of_fibers() {
    at_a_limit("out_of_fibers", |workers| {
        let system = builder().workers(workers).max_fibers(workers + 50).build().expect("a system");
        fill(&system, 1000);
    });
}

/// A worker that has nothing to do keeps no fiber that another one needs.
#[test]
fn the_last_fiber_goes_where_it_is_needed() {
    let _watch = watch("the last fiber", 60);
    for workers in [2, 3, 8] {
        let system = builder().workers(workers).max_fibers(workers + 1).build().expect("a system");
        for round in 0..3 * workers {
            // The wait needs the one fiber that is left over, wherever it was needed last.
            loop {
                let (go, begun) = (Counter::new(1), Counter::new(1));
                let job = {
                    let (go, begun) = (go.clone(), begun.clone());
                    system.job().on_worker(round % workers).spawn(move || {
                        begun.signal();
                        go.wait();
                    })
                };
                begun.wait();
                let waits = || system.dump().fibers.iter().any(|f| f.activity == FiberActivity::Waiting);
                common::spin_until(|| job.is_finished() || waits());
                go.signal();
                match job.join() {
                    Ok(()) => break,
                    Err(JobError::Panicked(payload)) => assert!(message(&*payload).contains("FiberLimit")),
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }
}

/// What a job with a large stack captures and returns may be larger than a normal stack.
#[test]
fn captures_and_results_of_large_jobs_do_not_go_over_the_normal_stack() {
    let _watch = watch("large captures", 60);
    let system = builder().workers(2).stack_size(16 * 1024).build().expect("a system");
    let values = Box::new([7_u8; 100_000]);
    let job = system.job().large_stack().spawn(move || {
        let copy = std::hint::black_box(*values);
        copy.map(|byte| byte + 1)
    });
    assert!(job.join().expect("it does not panic").iter().all(|byte| *byte == 8));
    let captured = [3_u8; 12_000];
    let job = system.job().large_stack().spawn(move || std::hint::black_box(captured).map(|byte| byte + 1));
    assert!(job.join().expect("it does not panic").iter().all(|byte| *byte == 4));
}

/// A large stack that cannot be had is the end of the job that asked for it, and of nothing else.
#[test]
fn out_of_large_stacks() {
    at_a_limit("out_of_large_stacks", |workers| {
        let system = builder().workers(workers).large_stack_size(256 << 20).build().expect("a system");
        assert_eq!(system.run(|| 5), 5);
        limit(libc::RLIMIT_AS, status_kib("VmSize:") * 1024 + (1200 << 20));
        let go = Counter::new(1);
        let census = common::Census::default();
        let begun = Counter::new(0);
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let (go, item) = (go.clone(), census.item());
                let job = system.job().large_stack().counter(&begun);
                let begun = begun.clone();
                job.spawn(move || {
                    let _item = item;
                    drop(begun);
                    go.wait();
                })
            })
            .collect();
        common::spin_until(|| jobs.iter().filter(|job| job.is_finished()).count() >= 10);
        go.signal();
        let refused = jobs.into_iter().filter_map(|job| match job.join() {
            Ok(()) => None,
            Err(JobError::Panicked(payload)) => Some(message(&*payload)),
            Err(other) => panic!("{other:?}"),
        });
        let refused: Vec<_> = refused.collect();
        assert!((10..20).contains(&refused.len()), "{} of 20 were refused", refused.len());
        assert!(
            refused.iter().all(|text| text.contains("FiberLimit") && text.contains("`large_stack_size`"))
        );
        census.assert_all_dropped(20);
        assert_eq!(system.run(|| 6), 6);
    });
}

/// A system that cannot have its first stacks is not built, and says why.
#[test]
fn a_system_without_stacks_is_not_built() {
    const TEST: &str = "a_system_without_stacks_is_not_built";
    if !is_child(TEST) {
        child_succeeds(TEST, &[]);
        return;
    }
    limit(libc::RLIMIT_AS, status_kib("VmSize:") * 1024 + (100 << 20));
    let error = builder().workers(2).stack_size(256 << 20).build().expect_err("there is no room for them");
    assert!(matches!(error, ramie::BuildError::Stack { bytes, .. } if bytes == 256 << 20), "{error}");
    assert!(error.to_string().contains("`stack_size`"), "{error}");
    assert_eq!(builder().workers(1).build().expect("there is room for these").run(|| 3), 3);
}
