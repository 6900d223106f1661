//! Background threads: what runs where, waits across the kinds of workers, raising, shutdown, and what is done where there are none.

mod common;

use common::{Rng, Watch, soak};
use ramie::{
    BackgroundFallback, BuildError, Builder, Counter, Drain, FrameArenas, JobError, JobSystem, Priority,
    WorkerLocal,
};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use Priority::{Background, High, Low, Normal};

/// Watches over the rest of the test. Background threads get a thirtieth of a CPU that others want, so where the machine is busy with something else
/// these tests take that much longer.
fn watch(what: &'static str, seconds: u64) -> Watch {
    common::watch(what, 10 * seconds)
}

/// A system with so many workers of each kind.
fn system(workers: usize, background: usize) -> JobSystem {
    common::builder().workers(workers).background_threads(background).build().expect("it can be built")
}

/// Whether this system has them; without them only what says so is tested.
fn has_background(system: &JobSystem) -> bool {
    system.stats().background.threads > 0
}

fn here() -> usize {
    ramie::current_worker().expect("inside a job")
}

fn mine() -> Priority {
    ramie::current_priority().expect("inside a job")
}

/// Keeps all Background workers of a system busy until it is told to stop.
struct Blocked {
    stop: Arc<AtomicBool>,
    ended: Counter,
}

fn block_background(system: &JobSystem) -> Blocked {
    let (stop, started, ended) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Counter::new(0));
    let count = system.stats().background.threads;
    for _ in 0..count {
        let (stop, started) = (Arc::clone(&stop), Arc::clone(&started));
        system.job().priority(Background).counter(&ended).detach(move || {
            started.fetch_add(1, SeqCst);
            while !stop.load(SeqCst) {
                std::thread::yield_now();
            }
        });
    }
    common::spin_until(|| started.load(SeqCst) == count);
    Blocked { stop, ended }
}

impl Blocked {
    fn release(self) {
        self.stop.store(true, SeqCst);
        self.ended.wait();
    }
}

#[test]
fn without_threads_of_its_own_background_is_low() {
    let _watch = watch("no Background threads", 30);
    let system = system(2, 0);
    let stats = system.stats().background;
    assert_eq!((stats.threads, stats.fallback), (0, None));
    let seen = system.job().priority(Background).spawn(|| (mine(), here()));
    let (priority, worker) = seen.join().unwrap();
    assert!(priority >= Low && worker < 2, "{priority:?} on {worker}");
    assert_eq!(system.job().priority(Background).spawn(|| 5).join().unwrap(), 5);
}

#[test]
fn a_deterministic_system_has_none_and_says_so() {
    let _watch = watch("deterministic", 30);
    let system = JobSystem::builder().deterministic(3).background_threads(2).build().unwrap();
    let stats = system.stats().background;
    assert_eq!((stats.threads, stats.fallback), (0, Some(BackgroundFallback::Deterministic)));
    assert!(stats.fallback.unwrap().to_string().contains("deterministic"));
    assert_eq!(system.job().priority(Background).spawn(|| 5).join().unwrap(), 5);
}

#[test]
fn too_many_are_refused() {
    let built = JobSystem::builder().workers(1).background_threads(usize::MAX).build();
    assert!(matches!(built, Err(BuildError::TooManyWorkers { requested: usize::MAX, .. })));
    if !has_background(&system(1, 1)) {
        return;
    }
    for (workers, background) in [(1, Builder::WORKERS_MAX), (Builder::WORKERS_MAX, 1)] {
        let built = JobSystem::builder().workers(workers).background_threads(background).build();
        match built.expect_err("too many") {
            BuildError::TooManyWorkers { requested, max } => {
                assert_eq!((requested, max), (Builder::WORKERS_MAX + 1, Builder::WORKERS_MAX));
            }
            other => panic!("{other}"),
        }
    }
    let few = JobSystem::builder().workers(2).background_threads(2).max_fibers(3).build();
    assert!(matches!(few, Err(BuildError::TooFewFibers { max_fibers: 3, workers: 4 })));
}

#[test]
fn background_jobs_run_on_background_workers_and_others_do_not() {
    let _watch = watch("who runs what", 60);
    for (workers, background) in [(1, 1), (2, 2), (3, 1), (1, 4)] {
        let system = system(workers, background);
        if !has_background(&system) {
            return;
        }
        let is_background = move |worker: usize| (workers..workers + background).contains(&worker);
        // Nobody waits for the handles before all have ended, which would raise them.
        let (done, wrong) = (Counter::new(0), Arc::new(Mutex::new(Vec::new())));
        for i in 0..200_usize {
            let (wrong, theirs, inner_done) = (Arc::clone(&wrong), system.clone(), done.clone());
            let priority = [Background, Low, Normal, High][i % 4];
            system.job().priority(priority).counter(&done).detach(move || {
                let check = |what: &str, expected: Priority| {
                    if is_background(here()) != (expected == Background) || mine() != expected {
                        wrong.lock().unwrap().push(format!(
                            "{what}: {expected:?} is {:?} on {}",
                            mine(),
                            here()
                        ));
                    }
                };
                check("job", priority);
                // Children inherit, and may be given another priority.
                let child = Arc::clone(&wrong);
                theirs.job().counter(&inner_done).detach(move || {
                    if is_background(here()) != (priority == Background) {
                        child.lock().unwrap().push(format!("a child of {priority:?} on {}", here()));
                    }
                });
                for other in [Background, Normal] {
                    let child = Arc::clone(&wrong);
                    theirs.job().priority(other).counter(&inner_done).detach(move || {
                        if is_background(here()) != (other == Background) || mine() != other {
                            child
                                .lock()
                                .unwrap()
                                .push(format!("a {other:?} child of {priority:?} on {}", here()));
                        }
                    });
                }
                // Whatever the job waits for, it goes on where it was.
                ramie::join(|| check("half", priority), || check("half", priority));
                ramie::yield_now();
                check("after a yield", priority);
            });
        }
        done.wait();
        system.wait_idle();
        assert_eq!(*wrong.lock().unwrap(), Vec::<String>::new());
        let stats = system.stats();
        assert_eq!(stats.background.threads, background);
        // 50 jobs, their 50 children, and one child more of each of the 200.
        assert_eq!(stats.background.jobs, 50 + 50 + 200);
        assert_eq!((stats.busy.len(), stats.background.busy.len()), (workers, background));
        let text = system.dump().to_string();
        assert!(text.contains(&format!("{background} for Background jobs")), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_says_what_their_threads_are() {
    let _watch = watch("policies", 30);
    let system = system(2, 3);
    let stats = system.stats().background;
    if stats.threads == 0 {
        return;
    }
    #[expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]
    let observe = || {
        // SAFETY: 0 is the calling thread.
        let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        (policy, list.trim().to_owned(), std::thread::current().name().map(str::to_owned))
    };
    let seen = Arc::new(Mutex::new(vec![None; 5]));
    let done = Counter::new(0);
    common::spin_until(|| {
        let theirs = Arc::clone(&seen);
        system.job().priority(Background).counter(&done).detach(move || {
            theirs.lock().unwrap()[here()] = Some(observe());
            std::thread::sleep(Duration::from_millis(1));
        });
        std::thread::sleep(Duration::from_micros(200));
        seen.lock().unwrap()[2..].iter().all(Option::is_some)
    });
    done.wait();
    for worker in 0..2 {
        let theirs = Arc::clone(&seen);
        system
            .job()
            .on_worker(worker)
            .spawn(move || theirs.lock().unwrap()[here()] = Some(observe()))
            .join()
            .unwrap();
    }
    let placement = system.topology().placement().to_vec();
    for (worker, seen) in seen.lock().unwrap().iter().enumerate() {
        let (policy, allowed, name) = seen.clone().expect("all were seen");
        let (expected, cpu, expected_name) = match worker.checked_sub(2) {
            None => (libc::SCHED_OTHER, placement[worker], format!("ramie-{worker}")),
            Some(index) => (libc::SCHED_IDLE, stats.cpus[index], format!("ramie-bg-{index}")),
        };
        assert_eq!(policy, i64::from(expected), "worker {worker}");
        assert_eq!(name, Some(expected_name));
        if let Some(cpu) = cpu {
            assert_eq!(allowed, cpu.to_string(), "worker {worker}");
        }
    }
    // Each shares a CPU with a worker, as far as those are pinned.
    if let (Some(first), Some(second)) = (placement[0], placement[1]) {
        assert_eq!(stats.cpus[..2], [Some(second), Some(first)]);
    }
}

/// Where the kernel refuses, as a sandbox may, Background jobs are Low ones.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn where_the_kernel_refuses_background_is_low() {
    let _watch = watch("refused", 60);
    // The filter holds for the thread that installs it, and for those that it starts.
    let thread = std::thread::spawn(|| {
        if !refuse_policies() {
            eprintln!("no filter can be installed here: not tested");
            return;
        }
        let system = system(2, 2);
        let stats = system.stats().background;
        assert_eq!(stats.threads, 0);
        assert_eq!(stats.fallback, Some(BackgroundFallback::Refused(std::io::ErrorKind::PermissionDenied)));
        assert!(stats.fallback.unwrap().to_string().contains("refused"), "{}", stats.fallback.unwrap());
        assert!(system.topology().placement().iter().all(Option::is_none), "then nothing is pinned for it");
        let seen = system.job().priority(Background).spawn(|| (mine(), here())).join().unwrap();
        assert!(seen.0 >= Low && seen.1 < 2);
    });
    thread.join().unwrap();
}

/// Makes the kernel refuse `sched_setscheduler(2)` to this thread.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "system calls that libc offers no safe wrapper for")]
fn refuse_policies() -> bool {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the system call.
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_sched_setscheduler as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program, and the filter that it points to, live until after the calls.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

#[test]
fn jobs_of_both_kinds_wait_for_each_other() {
    let _watch = watch("waits across kinds", 120);
    for (workers, background) in [(1, 1), (2, 2), (1, 3)] {
        let system = system(workers, background);
        for _ in 0..50 * soak() {
            // A job waits for a Background job that has been started, which waits for a job, and so on.
            fn ping(system: &JobSystem, depth: u32) -> u64 {
                if depth == 0 {
                    return 1;
                }
                let (started, theirs) = (Counter::new(1), system.clone());
                let priority = if depth % 2 == 0 { Background } else { Normal };
                let (job, tell) = (system.job().priority(priority), started.clone());
                let child = job.spawn(move || {
                    tell.signal();
                    1 + ping(&theirs, depth - 1)
                });
                // By then it runs where its priority says.
                started.wait();
                1 + child.join().unwrap()
            }
            let theirs = system.clone();
            assert_eq!(system.run(|| ping(&theirs, 6)), 13);
            let theirs = system.clone();
            assert_eq!(system.job().priority(Background).spawn(move || ping(&theirs, 6)).join().unwrap(), 13);
            // Counters, scopes and continuations.
            let (gate, sum) = (Counter::new(1), Arc::new(AtomicU64::new(0)));
            let held: Vec<_> = [Background, Normal, High, Background]
                .into_iter()
                .map(|priority| {
                    let sum = Arc::clone(&sum);
                    system.job().priority(priority).after(&gate).spawn(move || sum.fetch_add(1, Relaxed))
                })
                .collect();
            let theirs = gate.clone();
            system.job().priority(Background).detach(move || theirs.signal());
            held.into_iter().for_each(|handle| {
                handle.join().unwrap();
            });
            assert_eq!(sum.load(Relaxed), 4);
            let total = AtomicU64::new(0);
            system.scope(|s| {
                for i in 0..10_u64 {
                    let total = &total;
                    let priority = if i % 2 == 0 { Background } else { Normal };
                    s.job().priority(priority).detach(move || {
                        s.spawn(move || total.fetch_add(i, Relaxed));
                        s.detach(move || {
                            total.fetch_add(100, Relaxed);
                        });
                    });
                }
            });
            assert_eq!(total.into_inner(), 45 + 1000);
        }
        system.wait_idle();
        assert!(system.dump().is_empty(), "{}", system.dump());
    }
}

#[test]
fn one_signal_of_a_background_job_wakes_fibers_and_threads_of_all_kinds() {
    let _watch = watch("wakes", 120);
    let (system, other) = (system(2, 2), common::system(1));
    for round in 0..20 * soak() {
        let (gate, woken, waiting) =
            (Counter::new(1), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let wait = {
            let (gate, woken, waiting) = (gate.clone(), Arc::clone(&woken), Arc::clone(&waiting));
            move || {
                waiting.fetch_add(1, SeqCst);
                gate.wait();
                woken.fetch_add(1, SeqCst);
            }
        };
        let mut handles = Vec::new();
        for i in 0..40 {
            let priority = [Background, Low, Normal, High][i % 4];
            handles.push(system.job().priority(priority).spawn(wait.clone()));
            handles.push(other.job().priority(priority).spawn(wait.clone()));
        }
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(wait.clone())).collect();
        common::spin_until(|| waiting.load(SeqCst) == 83);
        let theirs = gate.clone();
        system.job().priority(Background).detach(move || theirs.signal());
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(woken.load(SeqCst), 83, "round {round}");
    }
}

#[test]
fn the_main_thread_as_worker_0_is_woken_too() {
    let _watch = watch("main thread", 60);
    let system = common::builder().workers(2).background_threads(1).main_thread_worker(true).build().unwrap();
    for _ in 0..100 * soak() {
        let (gate, theirs) = (Counter::new(1), system.clone());
        let signal = gate.clone();
        system.job().priority(Background).detach(move || {
            theirs.job().on_worker(0).detach(move || signal.signal());
        });
        gate.wait();
        let baked = system.job().priority(Background).spawn(|| 7);
        assert_eq!(system.run_main(|| baked.join().unwrap()), 7);
    }
}

#[test]
fn waiting_for_a_background_job_that_has_not_been_started_takes_it_over() {
    let _watch = watch("raising", 60);
    let system = system(1, 2);
    if !has_background(&system) {
        return;
    }
    let blocked = block_background(&system);
    for _ in 0..20 {
        let theirs = system.clone();
        // By its handle: in place, with the priority of the one who waits.
        let ran = system.job().priority(High).spawn(move || {
            let job = theirs.job().priority(Background).spawn(|| (here(), mine()));
            job.join().unwrap()
        });
        assert_eq!(ran.join().unwrap(), (0, High));
        // By a scope, whose members lie in the injector of that priority.
        let seen = Mutex::new(BTreeSet::new());
        system.run(|| {
            ramie::scope(|s| {
                for _ in 0..50 {
                    s.job().priority(Background).detach(|| {
                        seen.lock().unwrap().insert((here(), mine()));
                    });
                    let handle = s.job().priority(Background).spawn(|| 1);
                    drop(handle);
                }
            });
        });
        assert_eq!(seen.into_inner().unwrap(), BTreeSet::from([(0, Normal)]));
    }
    blocked.release();
}

/// A Background job that has spawned into the scope of another job: what has a handle can be taken over, and the rest goes on in the
/// Background.
#[test]
fn members_that_a_background_member_has_spawned_end_with_their_scope() {
    let _watch = watch("members of members", 120);
    for (workers, background) in [(1, 1), (2, 3)] {
        let system = system(workers, background);
        for round in 0..100 * soak() as u64 {
            let sum = AtomicU64::new(0);
            system.run(|| {
                ramie::scope(|s| {
                    let started = Counter::new(0);
                    for i in 0..4 {
                        let (sum, started) = (&sum, started.clone());
                        s.job().priority(Background).counter(&started).detach(move || {
                            for j in 0..8_u64 {
                                if (i + j + round) % 2 == 0 {
                                    s.detach(move || {
                                        sum.fetch_add(1, Relaxed);
                                    });
                                } else {
                                    s.spawn(move || sum.fetch_add(1, Relaxed));
                                }
                            }
                            ramie::join(|| sum.fetch_add(1, Relaxed), || sum.fetch_add(1, Relaxed));
                        });
                    }
                    if round % 3 == 0 {
                        started.wait();
                    }
                });
            });
            assert_eq!(sum.into_inner(), 4 * 10);
        }
    }
}

#[test]
fn a_background_job_does_not_take_over_what_others_need_sooner() {
    let _watch = watch("not taken over", 60);
    let system = system(1, 1);
    if !has_background(&system) {
        return;
    }
    for priority in [Low, Normal, High] {
        let theirs = system.clone();
        let ran = system.job().priority(Background).spawn(move || {
            let job = theirs.job().priority(priority).spawn(|| (here(), mine()));
            let ran = job.join().unwrap();
            (here(), ran)
        });
        // Do not take it over from here either.
        common::spin_until(|| ran.is_finished());
        assert_eq!(ran.join().unwrap(), (1, (0, priority)));
    }
}

#[test]
fn panics_results_and_captures_come_back_from_the_background() {
    let _watch = watch("panics", 60);
    let system = system(1, 1);
    let held = Arc::new(());
    let started = Counter::new(1);
    let (tell, kept) = (started.clone(), Arc::clone(&held));
    let bad = system.job().priority(Background).spawn(move || {
        let _kept = kept;
        tell.signal();
        panic!("in the background");
    });
    started.wait();
    let bad: Result<(), _> = bad.join();
    assert!(matches!(bad, Err(JobError::Panicked(_))));
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(system.job().priority(Background).spawn(|| vec![1; 1000]).join().unwrap().len(), 1000);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        system.scope(|s| s.job().priority(Background).detach(|| panic!("a member")));
    }));
    assert!(caught.is_err());
}

#[test]
fn background_jobs_use_values_and_memory_of_their_worker() {
    let _watch = watch("worker locals", 60);
    let system = system(2, 2);
    let (done, background) = (Counter::new(0), system.stats().background.threads);
    let local = Arc::new(WorkerLocal::new(&system, |worker| std::cell::Cell::new((worker, 0_u64))));
    let arenas = FrameArenas::new(&system, 1).unwrap();
    let frame = Arc::new(arenas.begin());
    for i in 0..400_u64 {
        let (local, frame) = (Arc::clone(&local), Arc::clone(&frame));
        let priority = if i % 2 == 0 { Background } else { Normal };
        system.job().priority(priority).counter(&done).detach(move || {
            local.with(|cell| {
                let (worker, count) = cell.get();
                assert_eq!(worker, here());
                cell.set((worker, count + 1));
            });
            let slice = frame.alloc_slice_fill_with(100, |n| n as u64 + i);
            assert_eq!(slice[99], 99 + i);
        });
    }
    done.wait();
    let local = Arc::into_inner(local).expect("the jobs have ended");
    let counts: Vec<u64> = local.into_iter().map(|cell| cell.get().1).collect();
    assert_eq!(counts.len(), 2 + background);
    assert_eq!(counts.iter().sum::<u64>(), 400);
    if background > 0 {
        assert_eq!(counts[2..].iter().sum::<u64>(), 200);
    }
    // Calls on every worker mean those that jobs can be pinned to; also from the Background.
    let theirs = system.clone();
    let job = system.job().priority(Background).spawn(move || theirs.broadcast(here));
    common::spin_until(|| job.is_finished());
    assert_eq!(job.join().unwrap(), [0, 1]);
}

#[test]
fn nothing_is_stranded_at_shutdown() {
    let _watch = watch("shutdown", 120);
    let mut rng = Rng(common::seed());
    for round in 0..40 * soak() {
        let (workers, background) = [(1, 1), (2, 2), (1, 4), (3, 1)][round % 4];
        let system = system(workers, background);
        let held = Arc::new(AtomicUsize::new(0));
        let jobs = 1 + rng.below(200);
        for i in 0..jobs {
            let (theirs, held) = (system.clone(), Arc::clone(&held));
            let priority = if rng.below(3) == 0 { Normal } else { Background };
            let submit = move || {
                held.fetch_add(1, SeqCst);
                let (again, held) = (theirs.clone(), Arc::clone(&held));
                let priority = if i % 2 == 0 { Normal } else { Background };
                let child = theirs.job().priority(priority).spawn(move || {
                    held.fetch_add(1, SeqCst);
                    drop(again);
                });
                if i % 3 == 0 {
                    // Abandoned, in some rounds.
                    let _ = child.join();
                }
            };
            system.job().priority(priority).detach(submit);
        }
        let (drain, all) = match round / 4 % 3 {
            0 => (Drain::Finish, true),
            1 => (Drain::Abandon, false),
            _ => (Drain::Deadline(Duration::from_micros(rng.below(500))), false),
        };
        let report = system.shutdown(drain).expect("outside of its jobs");
        if all {
            assert!(report.finished, "{report:?}");
        }
        // After the others, jobs that had been started may still run.
        common::spin_until(|| {
            let stats = system.stats();
            stats.submitted == stats.jobs
        });
        let ran = held.load(SeqCst);
        if all {
            assert_eq!(ran as u64, 2 * jobs);
        }
        drop(system);
        common::spin_until(|| Arc::strong_count(&held) == 1);
    }
}

#[test]
fn dropping_the_last_handle_finishes_background_jobs() {
    let _watch = watch("drop", 60);
    for _ in 0..20 {
        let count = Arc::new(AtomicUsize::new(0));
        let system = system(1, 2);
        for _ in 0..50 {
            let count = Arc::clone(&count);
            system.job().priority(Background).detach(move || {
                count.fetch_add(1, SeqCst);
            });
        }
        drop(system);
        assert_eq!(count.load(SeqCst), 50);
    }
}

/// The last handle of a system is dropped by one of its Background jobs, which cannot wait for itself.
#[test]
fn a_background_job_may_drop_the_last_handle() {
    let _watch = watch("drop from the Background", 60);
    for _ in 0..50 {
        let ended = Counter::new(0);
        let system = system(1, 1);
        let theirs = system.clone();
        system.job().priority(Background).counter(&ended).detach(move || drop(theirs));
        drop(system);
        ended.wait();
    }
}

/// One job at a time reaches a sleeping Background worker, however busy the CPU of another is.
#[test]
fn no_background_job_waits_for_a_worker_whose_cpu_is_busy() {
    let _watch = watch("busy CPU", 120);
    for busy_worker in [0, 1] {
        let system = system(2, 2);
        let stop = Arc::new(AtomicBool::new(false));
        // One worker, and so its CPU, is busy all the time.
        let theirs = Arc::clone(&stop);
        let busy = system.job().on_worker(busy_worker).spawn(move || {
            while !theirs.load(SeqCst) {
                std::hint::spin_loop();
            }
        });
        let ran = Arc::new(AtomicUsize::new(0));
        for round in 1..=200 * soak() {
            let (done, ran_too) = (Counter::new(0), Arc::clone(&ran));
            system.job().priority(Background).counter(&done).detach(move || {
                ran_too.fetch_add(1, SeqCst);
            });
            done.wait();
            assert_eq!(ran.load(SeqCst), round);
        }
        stop.store(true, SeqCst);
        busy.join().unwrap();
    }
}

/// A job of one system that submits to, waits for and ends another one.
#[test]
fn a_background_job_ends_another_system() {
    let _watch = watch("another system's end", 120);
    for round in 0..60 * soak() {
        let (mine, other) =
            (system(1, 1), common::builder().workers(2).background_threads(round % 2).build().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let ended = mine.job().priority(Background).spawn(move || {
            for i in 0..5 {
                let count = Arc::clone(&theirs);
                let job = other.job();
                let job = if i == 0 { job.on_worker(1) } else { job };
                job.detach(move || {
                    count.fetch_add(1, SeqCst);
                });
            }
            match round % 4 {
                0 => assert!(other.shutdown(Drain::Finish).unwrap().finished),
                1 => drop(other),
                2 => {
                    // It is idle by then, and its workers sleep.
                    other.wait_idle();
                    assert!(other.shutdown(Drain::Finish).unwrap().finished);
                }
                _ => assert!(other.shutdown(Drain::Abandon).unwrap().finished),
            }
        });
        common::spin_until(|| ended.is_finished());
        ended.join().unwrap();
        if round % 4 != 3 {
            assert_eq!(count.load(SeqCst), 5);
        }
    }
}

/// What a Background member spawns, with a handle, into the scope of a job that already waits runs with that job's priority.
#[test]
fn late_members_are_as_urgent_as_the_one_who_waits() {
    let _watch = watch("late members", 60);
    let system = system(1, 1);
    if !has_background(&system) {
        return;
    }
    for _ in 0..50 {
        let seen = Mutex::new(Vec::new());
        let run = || {
            ramie::scope(|s| {
                let (started, seen) = (Counter::new(1), &seen);
                let (tell, theirs) = (started.clone(), system.clone());
                s.job().priority(Background).detach(move || {
                    tell.signal();
                    // Until the scope waits.
                    while !theirs.dump().to_string().contains("waits for the jobs of its scope") {
                        std::thread::yield_now();
                    }
                    s.spawn(move || seen.lock().unwrap().push((here(), mine())));
                });
                started.wait();
            });
        };
        let theirs = system.clone();
        std::thread::scope(|threads| {
            threads.spawn(|| theirs.scope(|s| s.job().priority(High).detach(run)));
        });
        let seen = seen.into_inner().unwrap();
        assert!(seen == [(0, High)] || seen == [(1, Background)], "{seen:?}");
        if seen == [(0, High)] {
            return;
        }
    }
    panic!("none was raised");
}
