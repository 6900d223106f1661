//! The whole scheduler under shuttle, on fibers that are threads: small programs, many interleavings.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p ramie --test shuttle --release`
//!
//! shuttle reports a deadlock when all threads are blocked, so each of these also shows that no wake is lost. It explores
//! interleavings of sequentially consistent steps; orderings are loom's (`src/**/model.rs`). `RAMIE_SHUTTLE_ITERATIONS` and
//! `RAMIE_SHUTTLE_SEED` change how much and what is explored; a failure prints the schedule for `shuttle::replay`.
#![cfg(shuttle)]

use ramie::{Counter, Drain, JobError, JobSystem, join, scope, spawn, spawn_after, yield_now};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ITERATIONS: usize = 400;
const STACK_BYTES: usize = 1 << 18;
/// An execution takes a few thousand steps; more than this means that threads wake each other for ever.
const STEPS_MAX: usize = 400_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Explores `program` with random schedules, and with schedules that delay one thread for long.
fn check(program: fn()) {
    check_often(ITERATIONS, program);
}

/// As [`check`], for programs whose interesting schedules are rare.
fn check_often(iterations: usize, program: fn()) {
    let iterations = from_environment("RAMIE_SHUTTLE_ITERATIONS").map_or(iterations, |n| n as usize);
    let seed = from_environment("RAMIE_SHUTTLE_SEED").unwrap_or(0x72616d6965);
    println!("RAMIE_SHUTTLE_SEED={seed}");
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::Print;
    Runner::new(RandomScheduler::new_from_seed(seed, iterations), config.clone()).run(program);
    Runner::new(PctScheduler::new_from_seed(seed, 3, iterations), config).run(program);
}

fn system(workers: usize) -> JobSystem {
    JobSystem::builder().workers(workers).build().expect("threads of shuttle do not fail")
}

/// Counts without being a step of its own.
#[derive(Clone, Default)]
struct Tally(Arc<AtomicUsize>);

impl Tally {
    fn hit(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_system_without_jobs_ends() {
    check(|| drop(system(2)));
}

#[test]
fn run_returns_what_a_join_computes() {
    check(|| {
        let (a, b) = system(2).run(|| join(|| 1, || 2));
        assert_eq!((a, b), (1, 2));
    });
}

#[test]
fn nested_joins_give_all_results() {
    fn sum(from: u32, to: u32) -> u32 {
        if to - from == 1 {
            return from;
        }
        let middle = from.midpoint(to);
        let (a, b) = join(|| sum(from, middle), || sum(middle, to));
        a + b
    }
    check(|| assert_eq!(system(3).run(|| sum(0, 6)), 15));
}

#[test]
fn a_thread_outside_waits_for_jobs_that_signal_a_counter() {
    check(|| {
        let system = system(2);
        let done = Counter::new(2);
        let handles = [1, 2].map(|number| {
            let done = done.clone();
            system.spawn(move || {
                done.signal();
                number
            })
        });
        done.wait();
        assert_eq!(handles.map(|handle| handle.join().unwrap()), [1, 2]);
    });
}

#[test]
fn one_signal_wakes_all_fibers_that_wait() {
    check(|| {
        let system = system(2);
        let (gate, woken) = (Counter::new(1), Counter::new(0));
        for _ in 0..3 {
            let gate = gate.clone();
            system.job().counter(&woken).detach(move || gate.wait());
        }
        let opener = gate.clone();
        system.spawn(move || opener.signal());
        woken.wait();
        assert!(gate.is_zero());
    });
}

#[test]
fn a_job_after_two_counters_starts_when_both_are_zero() {
    check(|| {
        let system = system(2);
        let before = Tally::default();
        let theirs = before.clone();
        let seen = system.run(move || {
            let counters = [Counter::new(1), Counter::new(1)];
            let seen = {
                let before = theirs.clone();
                spawn_after(&counters, move || before.get())
            };
            for counter in counters {
                let before = theirs.clone();
                spawn(move || {
                    before.hit();
                    counter.signal();
                });
            }
            seen.join().unwrap()
        });
        assert_eq!(seen, 2);
    });
}

#[test]
fn nested_scopes_end_after_their_members() {
    check(|| {
        let (inner, outer) = (Tally::default(), Tally::default());
        system(2).run(|| {
            scope(|s| {
                for _ in 0..2 {
                    s.spawn(|| {
                        scope(|s| {
                            s.spawn(|| inner.hit());
                            s.spawn(|| inner.hit());
                        });
                        assert!(inner.get() >= 2);
                        outer.hit();
                    });
                }
            });
            assert_eq!((inner.get(), outer.get()), (4, 2));
        });
    });
}

#[test]
fn a_scope_of_a_thread_outside_parks_until_its_members_ended() {
    check(|| {
        let ended = Tally::default();
        system(2).scope(|s| {
            s.spawn(|| ended.hit());
            s.spawn(|| ended.hit());
        });
        assert_eq!(ended.get(), 2);
    });
}

#[test]
fn the_panic_of_a_member_is_resumed_after_all_have_ended() {
    check(|| {
        let ended = Tally::default();
        let result = system(2).run(|| {
            catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    // Without the panic hook, which is shuttle's.
                    s.spawn(|| -> () { resume_unwind(Box::new("member")) });
                    s.spawn(|| ended.hit());
                });
            }))
        });
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"member"));
        assert_eq!(ended.get(), 1);
    });
}

#[test]
fn a_job_is_run_or_cancelled_and_its_capture_dropped_once() {
    check(|| {
        let system = system(2);
        let ran = Tally::default();
        let capture = ran.clone();
        let handle = system.spawn(move || capture.hit());
        let cancelled = handle.cancel();
        let result = handle.join();
        assert_eq!(matches!(result, Err(JobError::Cancelled)), cancelled);
        drop(system);
        assert_eq!(ran.get(), usize::from(!cancelled));
        assert_eq!(Arc::strong_count(&ran.0), 1);
    });
}

#[test]
fn a_dropped_handle_leaves_nothing_behind() {
    check(|| {
        let system = system(2);
        let result = Tally::default();
        let theirs = result.clone();
        drop(system.spawn(move || theirs));
        drop(system);
        assert_eq!(Arc::strong_count(&result.0), 1);
    });
}

#[test]
fn finish_runs_what_is_queued_and_what_that_spawns_and_resumes_what_waits() {
    check(|| {
        let system = system(2);
        let (ended, gate) = (Tally::default(), Counter::new(1));
        let (theirs, closed) = (ended.clone(), gate.clone());
        system.spawn(move || {
            closed.wait();
            theirs.hit();
        });
        let theirs = ended.clone();
        system.spawn(move || {
            let last = theirs.clone();
            spawn(move || {
                gate.signal();
                last.hit();
            });
            theirs.hit();
        });
        let report = system.shutdown(Drain::Finish).unwrap();
        assert!(report.finished);
        assert_eq!(ended.get(), 3);
        assert!(matches!(system.spawn(|| ()).join(), Err(JobError::Abandoned)));
    });
}

#[test]
fn abandon_tells_the_handles_of_queued_and_suspended_jobs() {
    check(|| {
        let system = system(2);
        let captures = Tally::default();
        let gate = Counter::new(1);
        let handles = [0, 1, 2].map(|_| {
            let (gate, capture) = (gate.clone(), captures.clone());
            system.spawn(move || {
                gate.wait();
                capture.hit();
            })
        });
        let report = system.shutdown(Drain::Abandon).unwrap();
        for handle in handles {
            assert!(matches!(handle.join(), Err(JobError::Abandoned)));
        }
        assert_eq!(captures.get(), 0);
        // Started jobs go on to their end, with or without the system's handle.
        gate.signal();
        system.shutdown(Drain::Finish).unwrap();
        assert!(captures.get() <= 3 && (!report.finished || captures.get() == 0));
        assert_eq!(Arc::strong_count(&captures.0), 1);
    });
}

#[test]
fn abandon_drops_jobs_that_come_after_a_counter() {
    check(|| {
        let system = system(1);
        let captures = Tally::default();
        let gate = Counter::new(1);
        let capture = captures.clone();
        let handle = system.job().after(&gate).spawn(move || capture.hit());
        let signaller = {
            let gate = gate.clone();
            shuttle::thread::spawn(move || gate.signal())
        };
        system.shutdown(Drain::Abandon).unwrap();
        let result = handle.join();
        assert_eq!(matches!(result, Err(JobError::Abandoned)), captures.get() == 0);
        signaller.join().unwrap();
        drop(system);
        assert_eq!(Arc::strong_count(&captures.0), 1);
    });
}

#[test]
fn two_systems_wait_for_each_other() {
    check(|| {
        let systems = [system(1), system(1)];
        let (ping, pong) = (Counter::new(1), Counter::new(1));
        let (ping_1, pong_1) = (ping.clone(), pong.clone());
        let first = systems[0].spawn(move || {
            ping_1.signal();
            pong_1.wait();
        });
        let second = systems[1].spawn(move || {
            ping.wait();
            pong.signal();
        });
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_job_of_one_system_runs_a_job_of_another() {
    check(|| {
        let systems = [system(1), system(1)];
        let inner = systems[1].clone();
        assert_eq!(systems[0].run(move || inner.run(|| 7)), 7);
    });
}

#[test]
fn a_fiber_that_yields_lets_the_other_go_on() {
    check(|| {
        let system = system(1);
        system.run(|| {
            let flag = Tally::default();
            let theirs = flag.clone();
            let other = spawn(move || theirs.hit());
            while flag.get() == 0 {
                yield_now();
            }
            other.join().unwrap();
        });
    });
}

#[test]
fn a_job_that_blocks_its_thread_does_not_keep_what_it_pushed() {
    check(|| {
        let system = system(2);
        system.run(|| {
            let (sender, receiver) = shuttle::sync::mpsc::channel();
            spawn(move || sender.send(1).unwrap());
            // Blocks the worker, so somebody else must take the job.
            assert_eq!(receiver.recv(), Ok(1));
        });
    });
}

#[test]
fn two_jobs_from_outside_that_block_until_they_meet_get_two_workers() {
    check(|| {
        let system = system(2);
        let (to_second, from_first) = shuttle::sync::mpsc::channel();
        let (to_first, from_second) = shuttle::sync::mpsc::channel();
        let first = system.spawn(move || {
            to_second.send(()).unwrap();
            from_second.recv().unwrap();
        });
        let second = system.spawn(move || {
            to_first.send(()).unwrap();
            from_first.recv().unwrap();
        });
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_jobs_that_block_until_they_meet_are_both_stolen_from_a_blocked_worker() {
    check_often(20_000, || {
        let system = system(3);
        system.run(|| {
            let (to_second, from_first) = shuttle::sync::mpsc::channel();
            let (to_first, from_second) = shuttle::sync::mpsc::channel();
            let (done, all) = shuttle::sync::mpsc::channel();
            let also_done = done.clone();
            spawn(move || {
                to_second.send(()).unwrap();
                from_second.recv().unwrap();
                done.send(()).unwrap();
            });
            spawn(move || {
                to_first.send(()).unwrap();
                from_first.recv().unwrap();
                also_done.send(()).unwrap();
            });
            all.recv().unwrap();
            all.recv().unwrap();
        });
    });
}

#[test]
fn wait_idle_returns_when_nothing_is_left() {
    check(|| {
        let system = system(2);
        let ended = Tally::default();
        for _ in 0..2 {
            let ended = ended.clone();
            system.spawn(move || {
                let last = ended.clone();
                spawn(move || last.hit());
                ended.hit();
            });
        }
        system.wait_idle();
        assert_eq!(ended.get(), 4);
    });
}

#[test]
fn broadcast_reaches_every_worker() {
    check(|| {
        let indices = system(3).broadcast(|| ramie::current_worker().unwrap());
        assert_eq!(indices, [0, 1, 2]);
    });
}

#[test]
fn a_batch_ends_whether_it_is_waited_for_or_not() {
    check(|| {
        let system = system(2);
        let ended = Tally::default();
        let closures = || {
            let ended = ended.clone();
            [0, 1].map(move |_| {
                let ended = ended.clone();
                move || ended.hit()
            })
        };
        system.spawn_batch(closures()).wait();
        assert_eq!(ended.get(), 2);
        drop(system.spawn_batch(closures()));
        drop(system);
        assert_eq!(ended.get(), 4);
    });
}
