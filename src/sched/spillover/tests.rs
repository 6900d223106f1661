//! Tiers at run time, whatever machine this is: the sizes are given, and nobody is pinned.

use crate::{Builder, Counter, Drain, JobSystem, Priority};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Runs `test` under a watchdog.
fn watched(test: impl FnOnce()) {
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("WATCHDOG\n{}", crate::dump_all());
            std::process::abort();
        }
    });
    test();
    drop(done);
    watchdog.join().unwrap();
}

fn tiered(builder: Builder, sizes: &[usize]) -> JobSystem {
    let mut config = builder.workers(sizes.iter().sum()).into_config().unwrap();
    config.tier_sizes = sizes.to_vec();
    let system = JobSystem::build(config).unwrap();
    // A thread that has just been started looks for work before it knows of its tier.
    let remotes = &system.core().remotes[usize::from(system.core().main.is_some())..];
    spin_until(|| remotes.iter().all(|remote| remote.tally.parks.load(SeqCst) > 0));
    system
}

fn awake(system: &JobSystem) -> usize {
    system.core().tiers.as_ref().expect("there are tiers").awake()
}

fn spin_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

/// Keeps all who take one of its jobs busy, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    ended: Counter,
    seen: Arc<[AtomicUsize]>,
}

impl Load {
    fn on(system: &JobSystem, jobs: usize) -> Self {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Counter::new(0));
        let seen: Arc<[AtomicUsize]> = (0..system.workers()).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..jobs {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            system.job().counter(&ended).detach(move || {
                seen[crate::current_worker().unwrap()].fetch_add(1, SeqCst);
                while !stop.load(SeqCst) {
                    std::thread::yield_now();
                }
            });
        }
        Self { stop, ended, seen }
    }

    fn workers_seen(&self) -> usize {
        self.seen.iter().filter(|count| count.load(SeqCst) > 0).count()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.ended.wait();
    }
}

#[test]
fn tiers_wake_one_after_the_other_under_load_and_sleep_again() {
    watched(|| {
        let system = tiered(JobSystem::builder(), &[1, 2, 2]);
        assert_eq!(awake(&system), 1);
        for _ in 0..2 {
            let load = Load::on(&system, 5);
            spin_until(|| load.workers_seen() == 5);
            assert_eq!(awake(&system), 5);
            drop(load);
            spin_until(|| awake(&system) == 1);
        }
    });
}

#[test]
fn as_many_jobs_as_workers_of_the_first_tier_wake_nobody_else() {
    watched(|| {
        let system = tiered(JobSystem::builder(), &[2, 2]);
        let load = Load::on(&system, 2);
        spin_until(|| load.workers_seen() == 2);
        // Busy, and nothing is queued: many looks of the controller.
        let until = Instant::now() + Duration::from_millis(50);
        spin_until(|| Instant::now() > until);
        assert_eq!(awake(&system), 2);
        drop(load);
        // One job at a time is not a load: should the end of the other one, with a job queued, have woken a tier, it sleeps again.
        loop {
            (0..200).for_each(|_| system.run(|| ()));
            if awake(&system) == 2 {
                break;
            }
        }
    });
}

#[test]
fn workers_whose_tier_sleeps_do_what_only_they_can() {
    watched(|| {
        let system = tiered(JobSystem::builder(), &[1, 1, 2]);
        for round in 0..200 {
            // Pinned jobs, and fibers that were woken by others; what they spawn is taken by whoever is awake.
            let gates: Vec<Counter> = (0..4).map(|_| Counter::new(1)).collect();
            let handles: Vec<_> = (0..4)
                .map(|worker| {
                    let (gate, next) = (gates[worker].clone(), gates.get(worker + 1).cloned());
                    system.job().on_worker(worker).spawn(move || {
                        gate.wait();
                        let child = crate::spawn(move || next.inspect(Counter::signal).is_some());
                        (crate::current_worker(), child.join().unwrap())
                    })
                })
                .collect();
            if round % 7 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            gates[0].signal();
            for (worker, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), (Some(worker), worker < 3));
            }
        }
    });
}

/// Bursts of every size, and pauses between them that let tiers fall asleep at any moment.
#[test]
fn no_job_is_stranded_by_bursts() {
    watched(|| {
        for sizes in [&[1, 1][..], &[1, 1, 1], &[2, 2, 4], &[1, 7], &[3, 0, 5]] {
            let system = tiered(JobSystem::builder(), sizes);
            let mut random = 0x9E37_79B9_u32;
            for _ in 0..300 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (jobs, pause) = ((random >> 8) % 200, (random >> 20) % 300);
                let count = AtomicUsize::new(0);
                system.scope(|s| {
                    for i in 0..jobs {
                        let (count, priority) =
                            (&count, [Priority::High, Priority::Normal, Priority::Low][i as usize % 3]);
                        s.job().priority(priority).detach(move || {
                            crate::join(
                                || count.fetch_add(1, SeqCst),
                                || {
                                    crate::yield_now();
                                    s.spawn(|| count.fetch_add(1, SeqCst));
                                },
                            );
                        });
                    }
                });
                assert_eq!(count.into_inner(), 2 * jobs as usize);
                std::thread::sleep(Duration::from_micros(u64::from(pause)));
            }
            system.wait_idle();
        }
    });
}

/// In all ways, with jobs that only workers of a sleeping tier may run.
#[test]
fn shutdowns_end_whatever_tier_sleeps() {
    watched(|| {
        for round in 0..60 {
            let system = tiered(JobSystem::builder(), &[1, 2, 1]);
            let ran = Arc::new(AtomicUsize::new(0));
            for i in 0..50 {
                let ran = Arc::clone(&ran);
                let job = system.job();
                let job = if i % 5 == 0 { job.on_worker(i % 4) } else { job };
                job.detach(move || {
                    ran.fetch_add(1, SeqCst);
                });
            }
            match round % 3 {
                0 => assert!(system.shutdown(Drain::Finish).unwrap().finished),
                1 => drop(system.shutdown(Drain::Abandon).unwrap()),
                _ => drop(system),
            }
            if round % 3 != 1 {
                assert_eq!(ran.load(SeqCst), 50);
            }
        }
    });
}

/// Worker 0 is away most of the time: it is no tier by itself.
#[test]
fn an_absent_main_thread_is_not_all_of_the_first_tier() {
    watched(|| {
        let system = tiered(JobSystem::builder().main_thread_worker(true), &[1, 1, 1]);
        assert_eq!(awake(&system), 2);
        for _ in 0..200 {
            let (done, signal) = (Counter::new(1), std::sync::mpsc::channel());
            let (theirs, sender) = (done.clone(), signal.0);
            system.spawn(move || {
                theirs.signal();
                sender.send(()).unwrap();
            });
            // Not a wait of ramie: the main thread does not help.
            signal.1.recv().unwrap();
            assert!(done.is_zero());
        }
        assert_eq!(system.run_main(|| 5), 5);
    });
}
