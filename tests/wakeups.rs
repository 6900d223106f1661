//! No wake is lost: work that is pushed while workers go to sleep is found, from inside and outside, by fibers and
//! threads. A lost wake shows as a hang, which the watchdog ends.

mod common;

use common::{Rng, WORKERS, soak, spin_until, system, watch};
use ramie::{Counter, JobSystem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A system whose workers go to sleep at once, or after a while.
fn sleepy(workers: usize, spin: Duration) -> JobSystem {
    common::builder().workers(workers).spin(spin).build().expect("a system")
}

const SPINS: [Duration; 3] = [Duration::ZERO, Duration::from_micros(1), Duration::from_micros(50)];

fn all_asleep(system: &JobSystem) -> bool {
    system.dump().to_string().contains(&format!("of which {} sleep", system.workers()))
}

/// FTL#43, #107: pushed just as the last worker goes to sleep.
#[test]
fn ftl_43_a_job_from_outside_is_found_by_workers_that_fall_asleep() {
    let _watch = watch("FTL#43", 120);
    let mut rng = Rng(common::seed());
    for workers in WORKERS {
        for spin in SPINS {
            let system = sleepy(workers, spin);
            for _ in 0..1500 * soak() {
                // The job ends when its counter is zero; its worker then searches and goes to sleep. The next
                // submission comes at some moment of that.
                let done = Counter::new(1);
                let theirs = done.clone();
                system.job().detach(move || theirs.signal());
                done.wait();
                for _ in 0..rng.below(600) {
                    std::hint::spin_loop();
                }
            }
        }
    }
}

/// FTL#107: from deep sleep.
#[test]
fn ftl_107_a_job_from_outside_wakes_a_sleeping_system() {
    let _watch = watch("FTL#107", 120);
    for workers in WORKERS {
        let system = sleepy(workers, Duration::ZERO);
        for _ in 0..100 * soak() {
            spin_until(|| all_asleep(&system));
            system.spawn(|| ()).join().expect("it runs");
        }
    }
}

/// marl#59, enkiTS#48: a job pushed inside a job, while the only other workers fall asleep. The pusher never gives way,
/// so only they can run it.
#[test]
fn marl_59_a_job_from_inside_is_found_by_workers_that_fall_asleep() {
    let _watch = watch("marl#59", 120);
    let seed = common::seed();
    for workers in [2, 3, 8, 64] {
        for spin in SPINS {
            let system = sleepy(workers, spin);
            system.run(|| {
                let mut rng = Rng(seed);
                for _ in 0..700 * soak() {
                    let ran = Arc::new(AtomicBool::new(false));
                    let theirs = Arc::clone(&ran);
                    drop(ramie::spawn(move || theirs.store(true, Ordering::SeqCst)));
                    spin_until(|| ran.load(Ordering::SeqCst));
                    for _ in 0..rng.below(600) {
                        std::hint::spin_loop();
                    }
                }
            });
        }
    }
}

/// FTL#115: a fiber is woken by another thread just as its worker goes to sleep.
#[test]
fn ftl_115_a_wake_from_a_thread_reaches_a_worker_that_falls_asleep() {
    let _watch = watch("FTL#115", 120);
    let mut rng = Rng(common::seed());
    for workers in WORKERS {
        for spin in SPINS {
            let system = sleepy(workers, spin);
            for _ in 0..700 * soak() {
                let (gate, begun) = (Counter::new(1), Counter::new(1));
                let (theirs, ready) = (gate.clone(), begun.clone());
                let waiter = system.spawn(move || {
                    ready.signal();
                    theirs.wait();
                });
                begun.wait();
                for _ in 0..rng.below(600) {
                    std::hint::spin_loop();
                }
                gate.signal();
                waiter.join().expect("it is woken");
            }
        }
    }
}

/// FTL#118, Boost.Fiber#327: wakes between the workers of a system and between systems, both about to sleep.
#[test]
fn boost_fiber_327_wakes_between_workers_that_fall_asleep() {
    let _watch = watch("Boost.Fiber#327", 120);
    for (first, second) in [(1, 1), (2, 1), (1, 8), (3, 3)] {
        for spin in SPINS {
            let systems = [sleepy(first, spin), sleepy(second, spin)];
            let rounds = 1500 * soak();
            let ping: Vec<Counter> = (0..rounds).map(|_| Counter::new(1)).collect();
            let pong: Vec<Counter> = (0..rounds).map(|_| Counter::new(1)).collect();
            let (their_ping, their_pong) = (ping.clone(), pong.clone());
            let a = systems[0].spawn(move || {
                for (ping, pong) in their_ping.iter().zip(&their_pong) {
                    ping.signal();
                    pong.wait();
                }
            });
            let b = systems[1].spawn(move || {
                for (ping, pong) in ping.iter().zip(&pong) {
                    ping.wait();
                    pong.signal();
                }
            });
            a.join().expect("it ends");
            b.join().expect("it ends");
        }
    }
}

/// marl#232: many outside threads submit at once, in bursts, to a system that falls asleep between them.
#[test]
fn marl_232_bursts_from_many_threads_are_all_run() {
    let _watch = watch("marl#232", 120);
    for workers in WORKERS {
        let system = sleepy(workers, Duration::ZERO);
        let ran = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for thread in 0..4_u64 {
                let (system, ran) = (&system, &ran);
                threads.spawn(move || {
                    let mut rng = Rng(thread);
                    for _ in 0..150 * soak() {
                        let burst = 1 + rng.below(10) as usize;
                        system.scope(|s| {
                            for _ in 0..burst {
                                drop(s.spawn(|| ran.fetch_add(1, Ordering::Relaxed)));
                            }
                        });
                        ran.fetch_sub(burst, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(ran.into_inner(), 0);
    }
}

/// enkiTS#51: the last searcher finds one job and goes to work while another was just pushed: it must pass the search on.
#[test]
fn enkits_51_work_that_a_searcher_left_behind_is_found() {
    let _watch = watch("enkiTS#51", 120);
    for workers in [2, 3, 8, 64] {
        let system = sleepy(workers, Duration::ZERO);
        for _ in 0..500 * soak() {
            // Two jobs that need each other, on two workers, because they spin.
            let met = Arc::new(AtomicUsize::new(0));
            let meet = |met: Arc<AtomicUsize>| {
                move || {
                    met.fetch_add(1, Ordering::SeqCst);
                    spin_until(|| met.load(Ordering::SeqCst) >= 2);
                }
            };
            let first = system.spawn(meet(Arc::clone(&met)));
            let second = system.spawn(meet(Arc::clone(&met)));
            first.join().expect("they meet");
            second.join().expect("they meet");
        }
    }
}

/// As many jobs as workers that all need each other: every worker must be woken.
#[test]
fn enough_workers_are_woken_for_the_work_there_is() {
    let _watch = watch("rendezvous", 120);
    for workers in [2, 3, 8, 64] {
        let system = sleepy(workers, Duration::ZERO);
        for round in 0..60 * soak() {
            let met = AtomicUsize::new(0);
            let meet = || {
                met.fetch_add(1, Ordering::SeqCst);
                spin_until(|| met.load(Ordering::SeqCst) >= workers);
            };
            if round % 2 == 0 {
                // From outside.
                system.scope(|s| (0..workers).for_each(|_| drop(s.spawn(meet))));
            } else {
                // From inside: all but one are stolen.
                system.run(|| ramie::scope(|s| (0..workers).for_each(|_| drop(s.spawn(meet)))));
            }
        }
    }
}

/// Continuations that another thread or system releases are found as well.
#[test]
fn released_continuations_wake_somebody() {
    let _watch = watch("continuations", 120);
    let mut rng = Rng(common::seed());
    let other = system(1);
    for workers in WORKERS {
        let system = sleepy(workers, Duration::ZERO);
        for _ in 0..300 * soak() {
            let gate = Counter::new(1);
            let after = system.job().after(&gate).spawn(|| ());
            for _ in 0..rng.below(600) {
                std::hint::spin_loop();
            }
            if rng.below(2) == 0 {
                gate.signal();
            } else {
                drop(other.spawn(move || gate.signal()));
            }
            after.join().expect("it is released");
        }
    }
}

/// Broadcasts reach sleeping and falling-asleep workers.
#[test]
fn broadcasts_wake_every_worker() {
    let _watch = watch("broadcasts", 120);
    for workers in WORKERS {
        let system = sleepy(workers, Duration::ZERO);
        for round in 0..100 * soak() {
            if round % 4 == 0 {
                spin_until(|| all_asleep(&system));
            }
            let indices = if round % 2 == 0 {
                system.broadcast(ramie::current_worker)
            } else {
                system.run(|| ramie::broadcast(ramie::current_worker))
            };
            assert_eq!(indices, (0..workers).map(Some).collect::<Vec<_>>());
        }
    }
}

/// The end of a system wakes all of its workers, asleep or about to.
#[test]
fn the_end_wakes_everybody() {
    let _watch = watch("the end", 120);
    for workers in WORKERS {
        for round in 0..30 * soak() {
            let system = sleepy(workers, Duration::ZERO);
            if round % 3 == 0 {
                spin_until(|| all_asleep(&system));
            } else if round % 3 == 1 {
                drop(system.spawn(|| ()));
            }
            drop(system);
        }
    }
}

/// Timers wake fibers whose workers sleep.
#[test]
fn clocks_wake_sleeping_workers() {
    let _watch = watch("clocks", 120);
    for workers in WORKERS {
        let system = sleepy(workers, Duration::ZERO);
        let never = Counter::new(1);
        let waiters: Vec<_> = (0..100_u64)
            .map(|i| {
                let never = never.clone();
                system.spawn(move || {
                    for _ in 0..5 {
                        never.wait_timeout(Duration::from_micros(i * 10)).expect_err("nobody signals");
                    }
                })
            })
            .collect();
        waiters.into_iter().for_each(|waiter| waiter.join().expect("it is woken"));
    }
}
