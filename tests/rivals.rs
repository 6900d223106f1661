//! Defects of other schedulers, each as a test that ramie does not have it. The names are those of PEERS.md.

mod common;

use common::{WORKERS, mix, planned, soak, spin_until, system, watch};
use ramie::{Counter, Drain, FiberActivity};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// enkiTS#56, #78, FTL#93: the signaller touches the counter after its waiter has freed it. Here each counter dies
/// the moment its wait is over, and its memory becomes the next counter at once.
#[test]
fn enkits_56_the_signaller_does_not_touch_a_counter_that_its_waiter_has_freed() {
    let _watch = watch("enkiTS#56", 60);
    for workers in WORKERS {
        let system = system(workers);
        for _ in 0..4 {
            let system = &system;
            std::thread::scope(|threads| {
                for thread in 0..2 {
                    threads.spawn(move || {
                        for i in 0..1500 * soak() {
                            let counter = Counter::new(1);
                            let theirs = counter.clone();
                            system.job().detach(move || theirs.signal());
                            if (i + thread) % 2 == 0 {
                                counter.wait()
                            } else {
                                counter.wait_until(0)
                            }
                            assert_eq!(counter.value(), 0);
                            drop(counter);
                            // The same cell, most likely: a late touch would change or wake this one.
                            let next = Counter::new(2);
                            assert_eq!(next.value(), 2);
                            next.signal_n(2);
                        }
                    });
                }
            });
        }
        system.run(|| {
            for _ in 0..3000 {
                let counter = Counter::new(1);
                let theirs = counter.clone();
                drop(ramie::spawn(move || theirs.signal()));
                counter.wait();
            }
        });
    }
}

/// FTL#93 for latches: the waiter's stack frame, in which the latch of a join or a scope lives, is gone at once.
#[test]
fn ftl_93_a_latch_may_die_the_moment_it_is_released() {
    let _watch = watch("FTL#93", 60);
    #[inline(never)]
    fn scribble() -> u64 {
        let mut frame = std::hint::black_box([0x5555_5555_5555_5555_u64; 64]);
        std::hint::black_box(&mut frame)[7]
    }
    for workers in WORKERS {
        let system = system(workers);
        let round = || {
            for _ in 0..1500 * soak() {
                let (a, b) = ramie::join(|| std::hint::black_box(1), || std::hint::black_box(2));
                assert_eq!((a, b), (1, 2));
                assert_eq!(scribble(), 0x5555_5555_5555_5555);
                let mut x = 0;
                ramie::scope(|s| drop(s.spawn(|| x += 1)));
                assert_eq!(x, 1);
                assert_eq!(scribble(), 0x5555_5555_5555_5555);
            }
        };
        system.scope(|s| (0..workers.min(4)).for_each(|_| drop(s.spawn(round))));
        for _ in 0..300 {
            let mut x = 0;
            system.scope(|s| drop(s.spawn(|| x += 1)));
            assert_eq!(x, 1);
            assert_eq!(scribble(), 0x5555_5555_5555_5555);
        }
    }
}

thread_local! {
    /// How many waits of this test are open on this thread's running stack.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// rayon#957, bevy#12960, Taskflow#402: a wait runs foreign work on the waiter's stack. Here nothing foreign may
/// start between the begin and the end of a stack's wait without a switch: foreign jobs look at their own stack.
#[test]
fn rayon_957_no_foreign_job_runs_on_a_waiters_stack() {
    let _watch = watch("rayon#957", 60);
    #[inline(never)]
    fn here() -> usize {
        let local = 0_u8;
        std::ptr::from_ref(std::hint::black_box(&local)).addr()
    }
    for workers in WORKERS {
        let system = system(workers);
        let waiters = Arc::new(Mutex::new(Vec::new()));
        let buried = Arc::new(AtomicBool::new(false));
        let (foreign_seen, waits) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&waiters));
        let bury = Arc::clone(&buried);
        let seen = Arc::clone(&foreign_seen);
        system.run(move || {
            let gate = Counter::new(1);
            let top = here();
            waits.lock().expect("not poisoned").push(top);
            for _ in 0..50 {
                let (bury, waits, seen) = (Arc::clone(&bury), Arc::clone(&waits), Arc::clone(&seen));
                drop(ramie::spawn(move || {
                    // A stack is 256 KiB: the same stack if the distance is below.
                    let own = here();
                    if waits.lock().expect("not poisoned").iter().any(|top| top.abs_diff(own) < 200 * 1024) {
                        bury.store(true, Ordering::SeqCst);
                    }
                    seen.fetch_add(1, Ordering::SeqCst);
                }));
            }
            let open = gate.clone();
            let last = ramie::spawn_after(&Counter::new(0), move || open.signal());
            gate.wait();
            drop(last);
            // From here on the stack is free for others.
            waits.lock().expect("not poisoned").clear();
        });
        system.wait_idle();
        assert_eq!(foreign_seen.load(Ordering::SeqCst), 50);
        assert!(!buried.load(Ordering::SeqCst), "a foreign job ran on the stack of a waiter");
    }
}

/// rayon#957: the waiter goes on while a long foreign job is queued, running or waiting.
#[test]
fn rayon_957_a_waiter_goes_on_before_a_long_foreign_job_ends() {
    let _watch = watch("rayon#957 order", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (went_on, gate) = (Counter::new(1), Counter::new(1));
        let (theirs, opened, told) = (went_on.clone(), gate.clone(), went_on.clone());
        system.run(move || {
            // Long: it ends only after the waiter went on, wherever it was started.
            let long = ramie::spawn(move || told.wait());
            drop(ramie::spawn(move || opened.signal()));
            gate.wait();
            theirs.signal();
            long.join().expect("it ends");
        });
        assert!(went_on.is_zero());
    }
}

/// A handle's wait runs that very job or nothing: not another child that would wait for the waiter.
#[test]
fn rayon_1105_waiting_for_one_child_never_runs_another() {
    let _watch = watch("rayon#1105", 60);
    for workers in WORKERS {
        let system = system(workers);
        system.run(|| {
            for _ in 0..100 {
                let after = Counter::new(1);
                let theirs = after.clone();
                let wanted = ramie::spawn(|| 5);
                // On top of the deque, and it can only end when the waiter has gone on.
                let other = ramie::spawn(move || theirs.wait());
                assert_eq!(wanted.join().expect("it runs"), 5);
                after.signal();
                other.join().expect("it ends");
            }
        });
    }
}

/// rayon#854, bevy#21954: stack use grows with what was stolen. A worker whose job waits in a join takes other jobs on
/// other stacks, so that ten thousand waits nest on none.
#[test]
fn rayon_854_the_depth_of_a_stack_does_not_grow_with_stealing() {
    let _watch = watch("rayon#854", 60);
    for workers in WORKERS {
        let system = common::builder().workers(workers).stack_size(64 * 1024).build().expect("a system");
        let deepest = Arc::new(AtomicUsize::new(0));
        let jobs: Vec<_> = (0..5000_u64)
            .map(|i| {
                let deepest = Arc::clone(&deepest);
                system.spawn(move || {
                    let depth = DEPTH.with(|depth| depth.replace(depth.get() + 1));
                    deepest.fetch_max(depth, Ordering::Relaxed);
                    // The depth is of the stack: it is taken back before the wait, and this would be buried in it.
                    DEPTH.with(|depth| depth.set(depth.get() - 1));
                    let room = std::hint::black_box([i; 256]);
                    let (a, b) = ramie::join(
                        || {
                            ramie::yield_now();
                            room[5]
                        },
                        || {
                            ramie::yield_now();
                            room[6]
                        },
                    );
                    a + b
                })
            })
            .collect();
        for (i, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().expect("it fits its stack"), 2 * i as u64);
        }
        assert_eq!(deepest.load(Ordering::Relaxed), 0);
    }
}

/// FTL#72: wait lists with four slots; and a fan-out of ten thousand waiters.
#[test]
fn ftl_72_a_counter_has_ten_thousand_waiters() {
    let _watch = watch("FTL#72", 120);
    for workers in WORKERS {
        // Small stacks, because each waiter has one.
        let system = common::builder().workers(workers).stack_size(32 * 1024).build().expect("a system");
        let (gate, registered, done) = (Counter::new(1), Counter::new(10_000), Counter::new(10_000));
        for _ in 0..10_000 {
            let (gate, registered, done) = (gate.clone(), registered.clone(), done.clone());
            system.job().detach(move || {
                registered.signal();
                gate.wait();
                done.signal();
            });
        }
        registered.wait();
        gate.signal();
        done.wait();
        // And as continuations, which need no stack.
        let (gate, done) = (Counter::new(1), Counter::new(0));
        for _ in 0..10_000 {
            system.job().after(&gate).counter(&done).detach(|| ());
        }
        assert_eq!(done.value(), 10_000);
        gate.signal();
        done.wait();
    }
}

/// FTL: a fiber pool that is exhausted spins and prints. Here it grows.
#[test]
fn ftl_the_pool_of_fibers_grows() {
    let _watch = watch("FTL pool", 60);
    let system = common::builder().workers(2).stack_size(16 * 1024).build().expect("a system");
    let (gate, registered) = (Counter::new(1), Counter::new(3000));
    for _ in 0..3000 {
        let (gate, registered) = (gate.clone(), registered.clone());
        system.job().detach(move || {
            registered.signal();
            gate.wait();
        });
    }
    registered.wait();
    assert!(system.stats().fibers_max >= 3000);
    gate.signal();
    system.wait_idle();
}

/// RustFiber: 'a spawn from inside a job wakes nobody'. Here the other worker must take it, because the spawner does
/// not end before that.
#[test]
fn rustfiber_a_spawn_inside_a_job_wakes_another_worker() {
    let _watch = watch("RustFiber wakes", 60);
    for workers in [2, 3, 8, 64] {
        let system = system(workers);
        for _ in 0..50 * soak() {
            // All asleep.
            spin_until(|| system.dump().to_string().contains(&format!("of which {workers} sleep")));
            system.run(|| {
                let begun = Arc::new(AtomicBool::new(false));
                let theirs = Arc::clone(&begun);
                drop(ramie::spawn(move || theirs.store(true, Ordering::SeqCst)));
                spin_until(|| begun.load(Ordering::SeqCst));
            });
        }
    }
}

/// RustFiber: a hundred children, wait, repeat: 29 of 40 runs ended in an abort, a fault or a hang.
#[test]
fn rustfiber_a_hundred_children_and_a_wait_again_and_again() {
    let _watch = watch("RustFiber children", 120);
    for workers in WORKERS {
        let system = system(workers);
        let sum = Arc::new(AtomicUsize::new(0));
        for _ in 0..200 * soak() {
            let sum = Arc::clone(&sum);
            system.run(move || {
                let done = Counter::new(100);
                for _ in 0..100 {
                    let (done, sum) = (done.clone(), Arc::clone(&sum));
                    drop(ramie::spawn(move || {
                        sum.fetch_add(1, Ordering::Relaxed);
                        done.signal();
                    }));
                }
                done.wait();
            });
        }
        assert_eq!(sum.load(Ordering::Relaxed), 20_000 * soak());
    }
}

/// RustFiber: shutdown drops queued jobs.
#[test]
fn rustfiber_a_shutdown_runs_what_is_queued() {
    let _watch = watch("RustFiber shutdown", 60);
    for workers in WORKERS {
        for _ in 0..20 * soak() {
            let system = system(workers);
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..500 {
                let ran = Arc::clone(&ran);
                system.job().detach(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            }
            drop(system);
            assert_eq!(ran.load(Ordering::Relaxed), 500);
        }
    }
}

/// RustFiber: a panic inside a parallel loop hangs the waiter.
#[test]
fn rustfiber_a_panic_in_a_loop_does_not_hang() {
    let _watch = watch("RustFiber par panic", 60);
    for workers in WORKERS {
        let system = system(workers);
        for at in 0..50_u32 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                system.par(0..50_u32).partition(ramie::Partition::Static(50)).for_each(|i| {
                    if i == at {
                        planned(u64::from(i));
                    }
                });
            }));
            assert_eq!(common::planned_id(&*result.expect_err("it panics")), u64::from(at));
        }
    }
}

/// RustFiber: moving the system while jobs run leaves dangling pointers.
#[test]
fn rustfiber_the_system_may_be_moved_while_jobs_run() {
    let _watch = watch("RustFiber move", 30);
    for workers in WORKERS {
        let mut system = system(workers);
        let (gate, begun) = (Counter::new(1), Counter::new(10));
        let handles: Vec<_> = (0..10)
            .map(|i| {
                let (gate, begun) = (gate.clone(), begun.clone());
                system.spawn(move || {
                    begun.signal();
                    gate.wait();
                    ramie::join(move || i, || ()).0
                })
            })
            .collect();
        begun.wait();
        let boxed = Box::new(system);
        let many = vec![*boxed];
        system = many.into_iter().next().expect("it was put there");
        system = std::thread::spawn(move || system).join().expect("no panic");
        gate.signal();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().expect("it runs"), i);
        }
        drop(system);
    }
}

/// marl: waits that deadlock by overload. Deep chains of waits, each for a job that is submitted last.
#[test]
fn marl_more_waits_than_workers_do_not_deadlock() {
    let _watch = watch("marl overload", 60);
    for workers in WORKERS {
        let system = system(workers);
        let links: Vec<Counter> = (0..=2000).map(|_| Counter::new(1)).collect();
        for i in 0..2000 {
            let (before, after) = (links[i].clone(), links[i + 1].clone());
            system.job().detach(move || {
                before.wait();
                after.signal();
            });
        }
        links[0].signal();
        links[2000].wait();
    }
}

/// rayon#592, #1174: a lock held over a parallel call. A waiter never runs a foreign job that wants the lock in place,
/// so the lock is always released.
#[test]
fn rayon_592_a_lock_held_over_a_join_does_not_deadlock() {
    let _watch = watch("rayon#592", 60);
    for workers in [2, 3, 8, 64] {
        let system = system(workers);
        let held = Arc::new(AtomicUsize::new(0));
        // Ordinary mutexes block workers, so only one job at a time tries; the others are what the join could run.
        for _ in 0..50 * soak() {
            let held = Arc::clone(&held);
            system.run(move || {
                let mutex = Mutex::new(0);
                ramie::scope(|s| {
                    let guard = mutex.lock().expect("not poisoned");
                    // These lie on top of the join's half when it is pushed, and would take the lock.
                    for _ in 0..4 {
                        s.spawn(|| {
                            if let Ok(mut value) = mutex.try_lock() {
                                *value += 1;
                            }
                        });
                    }
                    ramie::join(
                        || held.fetch_add(1, Ordering::Relaxed),
                        || held.fetch_add(1, Ordering::Relaxed),
                    );
                    drop(guard);
                });
            });
        }
        assert_eq!(held.load(Ordering::Relaxed), 100 * soak());
    }
}

/// rayon#835, #1269: jobs that talk over channels. A job that waits frees its worker, so both sides run on one.
#[test]
fn rayon_835_two_jobs_that_wait_for_each_other_run_on_one_worker() {
    let _watch = watch("rayon#835", 60);
    for workers in WORKERS {
        let system = system(workers);
        let rounds = 500;
        let ping: Vec<Counter> = (0..rounds).map(|_| Counter::new(1)).collect();
        let pong: Vec<Counter> = (0..rounds).map(|_| Counter::new(1)).collect();
        let (their_ping, their_pong) = (ping.clone(), pong.clone());
        let player = system.spawn(move || {
            for (ping, pong) in their_ping.iter().zip(&their_pong) {
                ping.wait();
                pong.signal();
            }
        });
        let other = system.spawn(move || {
            for (ping, pong) in ping.iter().zip(&pong) {
                ping.signal();
                pong.wait();
            }
        });
        player.join().expect("it ends");
        other.join().expect("it ends");
    }
}

/// A batch is done when its jobs have ended, whatever the job that spawned it goes on doing.
#[test]
fn a_batch_ends_while_its_spawner_is_busy() {
    let _watch = watch("batch spawner busy", 20);
    for workers in [2, 3, 8, 64] {
        let system = system(workers);
        system.run(|| {
            let batch = ramie::spawn_batch((0..10).map(|_| || ()));
            let done = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&done);
            let waiter = std::thread::spawn(move || {
                batch.wait();
                theirs.store(true, Ordering::SeqCst);
            });
            // The other workers run the batch, and the spawner never waits in ramie.
            spin_until(|| done.load(Ordering::SeqCst));
            waiter.join().expect("no panic");
        });
    }
}

/// The same when the handle is dropped elsewhere, and its panic reported.
#[test]
fn a_batch_that_was_dropped_elsewhere_reports_while_its_spawner_is_busy() {
    let _watch = watch("batch dropped elsewhere", 20);
    let reported = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&reported);
    let system = common::builder()
        .workers(2)
        .on_panic(move |_| heard.store(true, Ordering::SeqCst))
        .build()
        .expect("a system");
    system.run(|| {
        let batch = ramie::spawn_batch([|| planned(1)]);
        std::thread::spawn(move || drop(batch)).join().expect("no panic");
        spin_until(|| reported.load(Ordering::SeqCst));
    });
}

/// A member of a scope that another member has spawned on a foreign worker counts like any other.
#[test]
fn a_scope_ends_while_a_foreign_worker_that_spawned_into_it_is_busy() {
    let _watch = watch("scope foreign spawner", 30);
    let (inner, outer) = (system(2), system(1));
    let done = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&done);
    inner.scope(|s| {
        outer.run(move || {
            drop(s.spawn(|| ()));
            // Keeps the one worker of `outer` busy from the end of this job on, until the scope has returned.
            drop(ramie::spawn(move || spin_until(|| theirs.load(Ordering::SeqCst))));
        });
    });
    done.store(true, Ordering::SeqCst);
    outer.wait_idle();
}

/// Boost.Fiber#203, Taskflow#244: an idle pool burns CPU. Here all workers of an idle system come to sleep, and stay:
/// the counts of parks and wakes do not move any more while everybody sleeps.
#[test]
fn boost_fiber_203_idle_workers_sleep() {
    let _watch = watch("Boost.Fiber#203", 60);
    for workers in WORKERS {
        let system = system(workers);
        for _ in 0..3 {
            system.scope(|s| (0..100).for_each(|_| drop(s.spawn(ramie::yield_now))));
            spin_until(|| system.dump().to_string().contains(&format!("of which {workers} sleep")));
        }
    }
}

/// FTL#74, Boost.Fiber#237: suspended fibers cannot be seen. Here each is in the dump, with the place of its wait.
#[test]
fn ftl_74_suspended_fibers_can_be_seen() {
    let _watch = watch("FTL#74", 30);
    for workers in WORKERS {
        let system = system(workers);
        let (gate, begun) = (Counter::new(1), Counter::new(20));
        for _ in 0..20 {
            let (gate, begun) = (gate.clone(), begun.clone());
            system.job().name("seen").detach(move || {
                begun.signal();
                gate.wait();
            });
        }
        begun.wait();
        spin_until(|| {
            system.dump().fibers.iter().filter(|f| f.activity == FiberActivity::Waiting).count() == 20
        });
        let dump = system.dump();
        assert!(
            dump.fibers.iter().all(|fiber| fiber.waits_at.is_some_and(|at| at.file().ends_with("rivals.rs")))
        );
        gate.signal();
        assert!(system.shutdown(Drain::Finish).expect("from outside").finished);
    }
}

/// may#109, generator-rs: values that must not change thread do. Here no started fiber moves, whoever wakes it.
#[test]
fn may_109_a_fiber_stays_on_its_thread_whoever_wakes_it() {
    let _watch = watch("may#109", 60);
    for workers in WORKERS {
        let sticky = |workers| common::sticky().workers(workers).build().expect("it can be built");
        let systems = [sticky(workers), sticky(2)];
        let counters: Vec<Counter> = (0..200).map(|_| Counter::new(1)).collect();
        let waiters: Vec<_> = counters
            .iter()
            .map(|counter| {
                let counter = counter.clone();
                systems[0].spawn(move || {
                    let (thread, worker) = (std::thread::current().id(), ramie::current_worker());
                    counter.wait();
                    assert_eq!(std::thread::current().id(), thread);
                    assert_eq!(ramie::current_worker(), worker);
                })
            })
            .collect();
        for (i, counter) in counters.into_iter().enumerate() {
            match mix(i as u64) % 3 {
                0 => counter.signal(),
                1 => drop(systems[0].spawn(move || counter.signal())),
                _ => drop(systems[1].spawn(move || counter.signal())),
            }
        }
        waiters.into_iter().for_each(|waiter| waiter.join().expect("it stays"));
    }
}
