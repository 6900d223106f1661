//! Pinning: what the kernel says of the workers' threads, what is refused, and that a refusal leaves nothing behind.

mod common;

use common::{Watch, watch};
use ramie::{BuildError, Builder, CpuId, JobSystem, Pinning};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// CPUs that one system has taken are not free for another, so these tests take turns. Watched like all others.
fn alone(what: &'static str, seconds: u64) -> (MutexGuard<'static, ()>, Watch) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (turn, watch(what, seconds))
}

/// The message of the error says what to do.
#[track_caller]
fn refused(builder: Builder, words: &[&str]) -> BuildError {
    let error = builder.build().expect_err("it cannot be pinned");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{text}' does not say '{word}'");
    }
    error
}

#[test]
fn pinning_shows_in_the_builder_and_cpus_are_numbers() {
    let builder = JobSystem::builder().pinning(Pinning::Custom(vec![CpuId(7)])).pinning_best_effort();
    let text = format!("{builder:?}");
    assert!(text.contains("CpuId(7)") && text.contains("pinning_best_effort: true"), "{text}");
    assert_eq!(Pinning::default(), Pinning::None);
    assert_eq!(CpuId::from(12).to_string(), "12");
    assert!(CpuId(2) < CpuId(10));
    assert_eq!(format!("{:>4}", CpuId(12)), "  12");
}

#[cfg(not(target_os = "linux"))]
#[test]
fn elsewhere_pinning_is_refused_unless_best_effort() {
    let _alone = alone("no pinning", 30);
    for pinning in [Pinning::Linear, Pinning::Custom(vec![CpuId(0)])] {
        let builder = || JobSystem::builder().workers(1).pinning(pinning.clone());
        let error = refused(builder(), &["Linux only", "`pinning_best_effort`"]);
        assert!(matches!(error, BuildError::PinningUnavailable { .. }));
        assert_eq!(builder().pinning_best_effort().build().expect("it runs unpinned").run(|| 3), 3);
    }
    let system = JobSystem::builder().workers(1).pinning(Pinning::None).build().expect("as by default");
    assert_eq!(system.run(|| 3), 3);
}

#[cfg(target_os = "linux")]
mod on_linux {
    use super::common::spin_until;
    use super::*;
    use ramie::Counter;
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const WORKERS: [usize; 4] = [1, 2, 3, 8];

    /// The CPUs of a list as the kernel writes them: `0-3,8`.
    fn parsed(list: &str) -> Vec<u32> {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        let runs = list.trim().split(',').flat_map(|run| match run.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(run)..=number(run),
        });
        runs.collect()
    }

    /// The CPUs that a thread's status in /proc allows it. That list may name CPUs which are off line.
    fn allowed_by(status: &str) -> Vec<u32> {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let on_line = parsed(&fs::read_to_string("/sys/devices/system/cpu/online").expect("Linux has it"));
        parsed(list.expect("the kernel tells")).into_iter().filter(|cpu| on_line.contains(cpu)).collect()
    }

    /// The CPUs that the calling thread may use, as the kernel sees it.
    fn affinity() -> Vec<u32> {
        allowed_by(&fs::read_to_string("/proc/thread-self/status").expect("Linux has it"))
    }

    fn cpus(numbers: &[u32]) -> Vec<CpuId> {
        numbers.iter().copied().map(CpuId).collect()
    }

    fn custom(numbers: &[u32]) -> Pinning {
        Pinning::Custom(cpus(numbers))
    }

    /// The affinity of each worker, asked inside of jobs before and after waits.
    #[track_caller]
    fn affinities(system: &JobSystem) -> Vec<Vec<u32>> {
        let worker_indices = system.broadcast(|| ramie::current_worker().expect("a job"));
        assert!(worker_indices.into_iter().eq(0..system.workers()));
        system.broadcast(|| {
            let before = affinity();
            ramie::yield_now();
            ramie::join(ramie::yield_now, ramie::yield_now);
            assert_eq!(affinity(), before);
            before
        })
    }

    fn each_alone(numbers: &[u32]) -> Vec<Vec<u32>> {
        numbers.iter().map(|number| vec![*number]).collect()
    }

    /// The status in /proc of all threads of this process whose names begin like this.
    fn threads_named(prefix: &str) -> Vec<String> {
        let threads = fs::read_dir("/proc/self/task").expect("Linux has it");
        // A thread may end between the listing and the look.
        let statuses = threads.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok());
        let named = |status: &String| {
            status
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("Name:"))
                .is_some_and(|name| name.trim().starts_with(prefix))
        };
        statuses.filter(named).collect()
    }

    #[test]
    fn by_default_nothing_is_pinned() {
        let _alone = alone("not pinned", 30);
        let here = affinity();
        for workers in WORKERS {
            for builder in [JobSystem::builder(), JobSystem::builder().pinning(Pinning::None)] {
                let system = builder.workers(workers).build().expect("a system");
                assert_eq!(affinities(&system), vec![here.clone(); workers]);
            }
        }
    }

    #[test]
    fn linear_puts_worker_i_on_the_ith_usable_cpu() {
        let _alone = alone("linear", 60);
        let here = affinity();
        for workers in WORKERS.into_iter().chain([here.len(), here.len() + 1]) {
            let builder = || JobSystem::builder().workers(workers).pinning(Pinning::Linear);
            if let Some(expected) = here.get(..workers) {
                let system = builder().build().expect("there are CPUs enough");
                assert_eq!(affinities(&system), each_alone(expected));
            } else {
                let error = refused(builder(), &[&format!("{workers} workers"), "lower `workers`"]);
                let BuildError::TooFewCpus { workers: named, usable, .. } = error else { panic!("{error}") };
                assert_eq!((named, usable), (workers, cpus(&here)));
            }
            assert_eq!(affinity(), here, "the building thread is not pinned");
        }
    }

    #[test]
    fn linear_as_good_as_can_be_leaves_workers_without_a_cpu_unpinned() {
        let _alone = alone("linear, best effort", 60);
        let here = affinity();
        for workers in WORKERS.into_iter().chain([here.len() + 1]) {
            let builder = JobSystem::builder().workers(workers).pinning(Pinning::Linear);
            let system = builder.pinning_best_effort().build().expect("it runs all the same");
            let pinned = workers.min(here.len());
            let affinities = affinities(&system);
            assert_eq!(affinities[..pinned], each_alone(&here[..pinned]));
            assert_eq!(affinities[pinned..], vec![here.clone(); workers - pinned]);
            let sum = system.par(0..10_000_u64).map_reduce(0, |n| n, |a, b| a + b);
            assert_eq!(sum, 49_995_000);
        }
    }

    #[test]
    fn custom_puts_worker_i_on_the_ith_cpu_of_the_list() {
        let _alone = alone("custom", 60);
        let here = affinity();
        let (first, last) = (here[0], here[here.len() - 1]);
        let backwards: Vec<u32> = here.iter().rev().copied().collect();
        let lists = [
            backwards.clone(),
            vec![last],
            // Workers may share a CPU, and more may be named than there are workers.
            vec![first, last, first, last, last, last, first, first, first],
        ];
        for list in lists {
            for workers in WORKERS.into_iter().filter(|workers| *workers <= list.len()) {
                let builder = JobSystem::builder().workers(workers).pinning(custom(&list));
                let system = builder.build().expect("all of these may be used");
                assert_eq!(affinities(&system), each_alone(&list[..workers]));
                let sum = system.par(0..10_000_u64).map_reduce(0, |n| n, |a, b| a + b);
                assert_eq!(sum, 49_995_000);
            }
        }
    }

    #[test]
    fn lists_that_cannot_work_are_refused_by_the_cpu() {
        let here = affinity();
        let stranger = here[here.len() - 1] + 1;
        let builder =
            |workers: usize, list: &[u32]| JobSystem::builder().workers(workers).pinning(custom(list));
        for workers in WORKERS {
            let short = vec![here[0]; workers - 1];
            let error = refused(builder(workers, &short), &["name one for each", "`pinning_best_effort`"]);
            assert!(matches!(error, BuildError::PinningTooShort { given, .. } if given == workers - 1));
        }
        for cpu in [stranger, u32::MAX] {
            // Also where no worker would take it.
            for (workers, index) in [(1, 0), (1, 1), (2, 1), (3, 2), (1, 5)] {
                let mut list = vec![here[0]; 6];
                list[index] = cpu;
                let error =
                    refused(builder(workers, &list), &[&format!("CPU {cpu},"), &format!("entry {index}")]);
                let BuildError::CpuNotUsable { cpu: named, index: at, usable } = error else {
                    panic!("{error}")
                };
                assert_eq!((named, at, usable), (CpuId(cpu), index, cpus(&here)));
            }
        }
        // Other values are checked as ever.
        refused(builder(0, &[]).pinning_best_effort(), &["at least 1 worker"]);
    }

    #[test]
    fn a_list_as_good_as_can_be_pins_what_it_can() {
        let _alone = alone("custom, best effort", 60);
        let here = affinity();
        let list = [u32::MAX, here[0], here[here.len() - 1] + 1, here[0]];
        for workers in WORKERS {
            let builder = JobSystem::builder().workers(workers).pinning(custom(&list));
            let system = builder.pinning_best_effort().build().expect("it runs all the same");
            for (worker, affinity) in affinities(&system).into_iter().enumerate() {
                let expected = if worker % 2 == 1 && worker < 4 { vec![here[0]] } else { here.clone() };
                assert_eq!(affinity, expected, "worker {worker} of {workers}");
            }
        }
    }

    #[test]
    fn a_worker_is_pinned_before_its_start_callback() {
        let _alone = alone("start callback", 30);
        let here = affinity();
        for workers in [1, 2, 3, 8] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let (started, stopped) = (Arc::clone(&heard), Arc::clone(&heard));
            let system = JobSystem::builder()
                .workers(workers)
                .pinning(custom(&vec![here[0]; workers]))
                .on_worker_start(move |index| started.lock().expect("not poisoned").push((index, affinity())))
                .on_worker_stop(move |index| stopped.lock().expect("not poisoned").push((index, affinity())))
                .build()
                .expect("a system");
            drop(system);
            let mut heard = heard.lock().expect("not poisoned").clone();
            heard.sort();
            let twice = |index: usize| [(index, vec![here[0]]), (index, vec![here[0]])];
            assert_eq!(heard, (0..workers).flat_map(twice).collect::<Vec<_>>());
        }
    }

    /// What may be used is what the building thread may: here a worker that is pinned itself.
    #[test]
    fn a_system_built_by_a_pinned_worker_has_one_cpu() {
        let _alone = alone("nested", 30);
        let here = affinity();
        let last = here[here.len() - 1];
        let outer = JobSystem::builder().workers(1).pinning(custom(&[last])).build().expect("a system");
        outer.run(|| {
            let builder = |workers: usize| JobSystem::builder().workers(workers).pinning(Pinning::Linear);
            // The outer system has taken it.
            let error = refused(builder(1), &["no other pinned system"]);
            assert!(
                matches!(error, BuildError::TooFewCpus { workers: 1, ref usable, .. } if usable.is_empty())
            );
            let effort = builder(1).pinning_best_effort().build().expect("it runs unpinned");
            assert_eq!(affinities(&effort), [[last]], "threads inherit the affinity");
            let shared =
                JobSystem::builder().workers(2).pinning(custom(&[last, last])).build().expect("as given");
            assert_eq!(affinities(&shared), [[last], [last]]);
            let unpinned = JobSystem::builder().workers(2).build().expect("a system");
            assert_eq!(affinities(&unpinned), [[last], [last]], "threads inherit the affinity");
        });
    }

    /// The building thread keeps its affinity, also as worker 0; the others are where they would be without that.
    #[test]
    fn the_main_thread_is_not_bound_as_worker_0() {
        let _alone = alone("main thread", 30);
        let here = affinity();
        for workers in WORKERS {
            let builder = || JobSystem::builder().workers(workers).main_thread_worker(true);
            let list = vec![here[0]; workers];
            let system = builder().pinning(custom(&list)).build().expect("these may be used");
            let mut expected = each_alone(&list);
            expected[0] = here.clone();
            assert_eq!(affinities(&system), expected);
            assert_eq!(system.run_main(affinity), here);
            drop(system);
            assert_eq!(affinity(), here);
            // Worker 0 counts nevertheless.
            refused(builder().pinning(custom(&list[1..])), &[&format!("for {workers} workers")]);
            let system = builder().pinning(Pinning::Linear).pinning_best_effort().build().expect("it runs");
            let mut expected = vec![here.clone(); workers];
            (1..workers.min(here.len())).for_each(|worker| expected[worker] = vec![here[worker]]);
            assert_eq!(affinities(&system), expected);
        }
    }

    /// The one thread that ramie keeps for itself must not end up on the CPU of the worker that needs it first.
    #[test]
    fn the_clock_is_not_bound_to_a_worker() {
        let _alone = alone("clock", 30);
        let here = affinity();
        let system = JobSystem::builder().workers(1).pinning(Pinning::Linear).build().expect("a system");
        system.run(|| {
            Counter::new(1).wait_timeout(Duration::from_millis(1)).expect_err("nobody signals");
        });
        let clocks = threads_named("ramie-clock");
        assert_eq!(clocks.len(), 1);
        assert_eq!(allowed_by(&clocks[0]), here);
    }

    /// As many systems as there are ways to be refused: none leaves a thread, and the next one works.
    #[test]
    fn a_refused_build_can_be_repeated_without_the_fault() {
        let _alone = alone("repeated", 60);
        let here = affinity();
        for _ in 0..100 {
            let named = |workers: usize| {
                JobSystem::builder().workers(workers).thread_name(|index| format!("again-{index}"))
            };
            refused(named(here.len() + 1).pinning(Pinning::Linear), &[]);
            refused(named(2).pinning(custom(&here[..1])), &[]);
            let system = named(1).pinning(Pinning::Linear).build().expect("a system");
            assert_eq!(system.run(|| affinity().len()), 1);
        }
        spin_until(|| threads_named("again-").is_empty());
    }

    /// System calls that are refused to one thread, and to those that it starts.
    mod refusals {
        #![expect(unsafe_code, reason = "installs a filter for system calls")]

        use super::*;

        /// Has the kernel answer `call` with EPERM from now on; false if filters cannot be had here.
        fn refuse(call: libc::c_long) -> bool {
            let op = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
            let mut program = [
                // The call's number; if it is this one, go on, else skip one.
                op(
                    libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
                    0,
                    std::mem::offset_of!(libc::seccomp_data, nr) as u32,
                ),
                op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
                op(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
                op(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
            ];
            let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
            // SAFETY: the filter lives until the calls have returned, and only ever refuses system calls.
            unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
            }
        }

        /// Calls `f` on a thread whose system call is refused.
        fn with_refused(call: libc::c_long, f: impl FnOnce() + Send) {
            std::thread::scope(|threads| {
                threads
                    .spawn(|| if refuse(call) { f() } else { eprintln!("no filters for system calls here") });
            });
        }

        #[test]
        fn a_worker_that_cannot_be_pinned_is_an_error_that_leaves_no_thread() {
            let _alone = alone("refused", 60);
            with_refused(libc::SYS_sched_setaffinity, || {
                let here = affinity();
                for workers in WORKERS {
                    let calls = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
                    let (started, stopped) = (Arc::clone(&calls), Arc::clone(&calls));
                    let builder = JobSystem::builder()
                        .workers(workers)
                        .pinning(custom(&vec![here[0]; workers]))
                        .thread_name(|index| format!("refused-{index}"))
                        .on_worker_start(move |_| {
                            started[0].fetch_add(1, Ordering::SeqCst);
                        })
                        .on_worker_stop(move |_| {
                            stopped[1].fetch_add(1, Ordering::SeqCst);
                        });
                    let error = refused(builder, &["could not be pinned", &format!("CPU {}:", here[0])]);
                    let BuildError::Pinning { worker, cpu, source } = error else { panic!("{error}") };
                    assert!(worker < workers && cpu == CpuId(here[0]));
                    assert_eq!(source.raw_os_error(), Some(libc::EPERM));
                    let [started, stopped] = calls.each_ref().map(|count| count.load(Ordering::SeqCst));
                    assert_eq!(started, stopped, "each worker that started has stopped");
                    // A joined thread is listed for a moment more.
                    spin_until(|| threads_named("refused-").is_empty());
                    let builder =
                        JobSystem::builder().workers(workers).pinning(custom(&vec![here[0]; workers]));
                    let system = builder.pinning_best_effort().build().expect("it runs unpinned");
                    assert_eq!(affinities(&system), vec![here.clone(); workers]);
                }
            });
        }

        /// A main thread whose system could not be built can be worker 0 of another.
        #[test]
        fn a_refused_build_leaves_the_main_thread_free() {
            let _alone = alone("refused, main thread", 60);
            with_refused(libc::SYS_sched_setaffinity, || {
                let here = affinity();
                for workers in WORKERS.into_iter().skip(1) {
                    let builder = || JobSystem::builder().workers(workers).main_thread_worker(true);
                    let list = vec![here[0]; workers];
                    for _ in 0..10 {
                        let error = refused(builder().pinning(custom(&list)), &["could not be pinned"]);
                        assert!(matches!(error, BuildError::Pinning { worker, .. } if worker > 0));
                    }
                    let system = builder().build().expect("the seat is free");
                    assert_eq!(system.run_main(ramie::current_worker), Some(0));
                    assert_eq!(affinities(&system), vec![here.clone(); workers]);
                }
            });
        }

        #[test]
        fn a_mask_that_cannot_be_read_is_an_error() {
            let _alone = alone("unreadable", 60);
            // The default number of workers comes from this mask too.
            with_refused(libc::SYS_sched_getaffinity, || {
                for workers in WORKERS {
                    let builder = || JobSystem::builder().workers(workers).pinning(Pinning::Linear);
                    let error = refused(builder(), &["are not known", "leave `pinning` out"]);
                    assert!(matches!(error, BuildError::PinningUnavailable { .. }));
                    let system = builder().pinning_best_effort().build().expect("it runs unpinned");
                    assert_eq!(system.broadcast(|| 1).len(), workers);
                    let system =
                        JobSystem::builder().workers(workers).build().expect("nobody asks for the mask");
                    assert_eq!(system.broadcast(|| 1).len(), workers);
                }
            });
        }
    }

    /// A second system takes what is free, and a third one finds the CPUs again when the first is gone.
    #[test]
    fn a_second_system_takes_free_cpus_first() {
        let _alone = alone("two systems", 60);
        let here = affinity();
        if here.len() < 2 {
            return;
        }
        let builder = || JobSystem::builder().workers(1).pinning(Pinning::Linear);
        let first = builder().build().expect("all are free");
        let second = builder().build().expect("one is taken");
        assert_eq!((affinities(&first), affinities(&second)), (vec![vec![here[0]]], vec![vec![here[1]]]));
        // By default there are as many workers as free CPUs.
        let rest = JobSystem::builder().pinning(Pinning::Linear).build();
        match here.len() {
            2 => assert!(matches!(rest, Err(BuildError::TooFewCpus { ref usable, .. }) if usable.is_empty())),
            count => assert_eq!(rest.expect("some are free").workers(), count - 2),
        }
        drop(first);
        let third = builder().build().expect("the first one's is free again");
        assert_eq!(affinities(&third), [[here[0]]]);
        assert_eq!(third.topology().placement(), [Some(CpuId(here[0]))]);
        drop((second, third));
    }

    #[test]
    fn each_strategy_is_applied_as_the_topology_says() {
        let _alone = alone("strategies", 60);
        for pinning in [Pinning::AvoidSmt, Pinning::CacheDomain, Pinning::TieredSpillover] {
            for workers in 1..=affinity().len() {
                let builder = JobSystem::builder().workers(workers).pinning(pinning.clone());
                match ramie::Topology::detect().place(&pinning, workers) {
                    Ok(placement) => {
                        let system = builder.build().expect("it can be placed");
                        assert_eq!(system.topology().placement(), placement);
                        let each: Vec<Vec<u32>> =
                            placement.iter().map(|cpu| vec![cpu.expect("pinned").0]).collect();
                        assert_eq!(affinities(&system), each, "{pinning:?}");
                    }
                    Err(_) => assert!(builder.build().is_err()),
                }
            }
        }
    }

    /// Steals between pinned workers are counted by distance.
    #[test]
    fn steals_are_counted_by_distance() {
        let _alone = alone("steals", 60);
        let here = affinity();
        let pinned =
            JobSystem::builder().workers(2).pinning(custom(&[here[0], here[0]])).build().expect("a system");
        steal_something(&pinned);
        let stats = pinned.stats();
        assert!(stats.steals_by_distance.core > 0, "{stats:?}");
        assert_eq!(stats.steals_by_distance.core, stats.steals);
        let unpinned = JobSystem::builder().workers(2).build().expect("a system");
        steal_something(&unpinned);
        assert!(unpinned.stats().steals_by_distance.unknown > 0);
    }

    /// Until a job was stolen: two that wait for each other without giving their workers free.
    fn steal_something(system: &JobSystem) {
        let before = system.stats().steals;
        while system.stats().steals == before {
            let met = AtomicUsize::new(0);
            let meet = || {
                met.fetch_add(1, Ordering::SeqCst);
                spin_until(|| met.load(Ordering::SeqCst) == 2);
            };
            system.run(|| ramie::join(meet, meet));
        }
    }
}
