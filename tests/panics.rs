//! Panics: where they come out, that nothing is lost by them, and that workers live on.

mod common;

use common::{WORKERS, child_succeeds, is_child, message, panic_of, planned, planned_id, system, watch};
use ramie::{Counter, JobError, JobSystem, PanicKind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What `on_panic` heard: kind, name, planned number or -1.
type Heard = Arc<Mutex<Vec<(PanicKind, Option<&'static str>, i64)>>>;

fn listening(workers: usize) -> (JobSystem, Heard) {
    let heard = Heard::default();
    let ours = Arc::clone(&heard);
    let system = common::builder()
        .workers(workers)
        .on_panic(move |report| {
            let id = report.payload.downcast_ref::<common::Planned>().map_or(-1, |planned| planned.0 as i64);
            ours.lock().expect("not poisoned").push((report.kind, report.job_name, id));
        })
        .build()
        .expect("a system");
    (system, heard)
}

fn heard_by(heard: &Heard) -> Vec<(PanicKind, Option<&'static str>, i64)> {
    let mut heard = heard.lock().expect("not poisoned").clone();
    heard.sort_by_key(|(_, name, id)| (*name, *id));
    heard
}

/// Panics when it is dropped.
struct Bomb(u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        planned(self.0);
    }
}

/// Runs a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn id_of(error: JobError) -> u64 {
    match error {
        JobError::Panicked(payload) => planned_id(&*payload),
        other => panic!("not a panic: {other}"),
    }
}

#[test]
fn a_handle_gets_the_panic_of_its_job() {
    let _watch = watch("handles", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        assert_eq!(id_of(system.spawn(|| planned(1)).join().expect_err("it panics")), 1);
        system.run(|| {
            let handle = ramie::spawn(|| planned(2));
            assert_eq!(id_of(handle.join().expect_err("it panics")), 2);
            let gate = Counter::new(1);
            let theirs = gate.clone();
            let handle = ramie::spawn(move || {
                theirs.wait();
                planned(3)
            });
            ramie::yield_now();
            gate.signal();
            assert_eq!(id_of(handle.join().expect_err("it panics")), 3);
        });
        system.wait_idle();
        assert_eq!(heard_by(&heard), []);
        assert_eq!(system.run(|| 7), 7, "the workers live on");
    }
}

#[test]
fn a_panic_of_run_comes_out_of_run() {
    let _watch = watch("run", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        assert_eq!(planned_id(&*panic_of(|| system.run(|| planned(4)))), 4);
        assert_eq!(planned_id(&*panic_of(|| system.run(|| system.run(|| planned(5))))), 5);
        let other = common::system(1);
        assert_eq!(planned_id(&*panic_of(|| other.run(|| system.run(|| planned(6))))), 6);
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_detached_panic_goes_to_on_panic_once() {
    let _watch = watch("detached", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        system.job().name("first").detach(|| planned(1));
        drop(system.job().name("second").spawn(|| planned(2)));
        let late = system.job().name("third").spawn(|| planned(3));
        system.wait_idle();
        assert!(late.is_finished());
        drop(late);
        drop(system.spawn_batch([4, 5].map(|id| move || planned(id))));
        system.wait_idle();
        let heard = heard_by(&heard);
        // Of a batch only the first panic is told; the other one is dropped.
        assert_eq!(heard.len(), 4, "{heard:?}");
        assert!(matches!(heard[0], (PanicKind::DetachedJob, None, 4 | 5)), "{heard:?}");
        assert_eq!(heard[1], (PanicKind::DetachedJob, Some("first"), 1));
        assert_eq!(heard[2], (PanicKind::DetachedJob, Some("second"), 2));
        assert_eq!(heard[3], (PanicKind::DetachedJob, Some("third"), 3));
    }
}

#[test]
fn the_report_says_where_the_job_was_spawned_and_the_message() {
    let _watch = watch("report", 20);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ours = Arc::clone(&seen);
    let system = common::builder()
        .workers(1)
        .on_panic(move |report| {
            let place = report.spawned_at.map(|at| (at.file().to_owned(), at.line()));
            ours.lock().expect("not poisoned").push((place, report.message().map(str::to_owned)));
        })
        .build()
        .expect("a system");
    let line = line!() + 1;
    drop(system.spawn(|| resume_unwind(Box::new("as text"))));
    system.wait_idle();
    let seen = seen.lock().expect("not poisoned").clone();
    assert_eq!(seen, [(Some((file!().to_owned(), line)), Some("as text".to_owned()))]);
}

#[test]
fn join_resumes_the_panic_of_a_else_of_b() {
    let _watch = watch("join", 60);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        system.run(|| {
            for _ in 0..50 {
                let ran = AtomicUsize::new(0);
                let count = || ran.fetch_add(1, Ordering::Relaxed);
                assert_eq!(planned_id(&*panic_of(|| ramie::join(|| planned(1), count))), 1);
                assert_eq!(planned_id(&*panic_of(|| ramie::join(count, || planned(2)))), 2);
                assert_eq!(ran.load(Ordering::Relaxed), 2, "the other half ran to its end");
                let both = panic_of(|| ramie::join(|| planned(3), || planned(4)));
                assert_eq!(planned_id(&*both), 3);
            }
            // `b` runs elsewhere, if there is anybody else.
            if workers > 1 {
                let (begun, go) = (Counter::new(1), Counter::new(1));
                let b = || {
                    begun.signal();
                    go.wait();
                    planned(5)
                };
                let a = || {
                    begun.wait();
                    go.signal();
                    planned(6)
                };
                let payload = panic_of(|| ramie::join::<_, _, (), ()>(a, b));
                assert_eq!(planned_id(&*payload), 6);
            }
        });
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_scope_resumes_the_first_panic_that_no_handle_took() {
    let _watch = watch("scope", 60);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        for outside in [true, false] {
            let check = || {
                let ended = AtomicUsize::new(0);
                let count = || {
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                // Not taken.
                let payload = panic_of(|| {
                    system.scope(|s| {
                        s.spawn(|| planned(1));
                        s.spawn(count);
                        s.spawn(count);
                    })
                });
                assert_eq!(planned_id(&*payload), 1);
                assert_eq!(ended.load(Ordering::Relaxed), 2, "the members had all ended");
                // Taken: the scope returns.
                let value = system.scope(|s| {
                    let error = s.spawn(|| planned(2)).join().expect_err("it panics");
                    id_of(error)
                });
                assert_eq!(value, 2);
                // Dropped after the end.
                let payload = panic_of(|| {
                    system.scope(|s| {
                        let done = Counter::new(0);
                        let handle = s.job().counter(&done).spawn(|| planned(3));
                        done.wait();
                        drop(handle);
                    })
                });
                assert_eq!(planned_id(&*payload), 3);
                // The closure's own panic goes first.
                let payload = panic_of(|| {
                    system.scope(|s| {
                        s.spawn(|| planned(4));
                        planned(5)
                    })
                });
                assert_eq!(planned_id(&*payload), 5);
                // Without a handle from the start.
                let payload = panic_of(|| system.scope(|s| s.job().detach(|| planned(6))));
                assert_eq!(planned_id(&*payload), 6);
            };
            if outside { check() } else { system.run(check) }
        }
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_batch_resumes_the_first_panic() {
    let _watch = watch("batch", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let ended = Arc::new(AtomicUsize::new(0));
        let batch = system.spawn_batch((0..100_usize).map(|i| {
            let ended = Arc::clone(&ended);
            move || {
                ended.fetch_add(1, Ordering::Relaxed);
                if i == 50 {
                    planned(50);
                }
            }
        }));
        assert_eq!(planned_id(&*panic_of(|| batch.wait())), 50);
        assert_eq!(ended.load(Ordering::Relaxed), 100);
        system.run(|| {
            let batch = ramie::spawn_batch([|| planned(51)]);
            assert_eq!(planned_id(&*panic_of(|| batch.wait())), 51);
        });
        assert_eq!(heard_by(&heard), []);
    }
}

/// An iterator that panics half-way: what it gave before runs.
#[test]
fn a_batch_whose_iterator_panics_runs_what_it_gave() {
    let _watch = watch("batch iterator", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let ended = Arc::new(AtomicUsize::new(0));
        let closures = (0..10).map(|i| {
            if i == 5 {
                planned(5);
            }
            let ended = Arc::clone(&ended);
            move || {
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!(planned_id(&*panic_of(|| system.spawn_batch(closures))), 5);
        system.wait_idle();
        assert_eq!(ended.load(Ordering::Relaxed), 5);
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_loop_resumes_a_panic_of_its_body() {
    let _watch = watch("par", 60);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        for outside in [true, false] {
            let check = || {
                let payload = panic_of(|| {
                    system.par(0..1000_u64).for_each(|i| {
                        if i == 700 {
                            planned(i)
                        }
                    })
                });
                assert_eq!(planned_id(&*payload), 700);
                let sum = |a: u64, b: u64| if b == 300 { planned(300) } else { a.max(b) };
                let payload = panic_of(|| {
                    system.par(0..1000_u64).partition(ramie::Partition::Static(7)).map_reduce(0, |i| i, sum)
                });
                assert_eq!(planned_id(&*payload), 300);
                let payload =
                    panic_of(|| system.par(0..10_u64).try_for_each(|_| -> Result<(), ()> { planned(8) }));
                assert_eq!(planned_id(&*payload), 8);
            };
            if outside { check() } else { system.run(check) }
        }
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_broadcast_resumes_a_panic_after_all_calls() {
    let _watch = watch("broadcast", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let calls = AtomicUsize::new(0);
        let payload = panic_of(|| {
            system.broadcast(|| {
                calls.fetch_add(1, Ordering::Relaxed);
                if ramie::current_worker() == Some(0) {
                    planned(9);
                }
            })
        });
        assert_eq!(planned_id(&*payload), 9);
        assert_eq!(calls.load(Ordering::Relaxed), workers);
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn nested_panics_come_out_level_by_level() {
    let _watch = watch("nested", 30);
    fn level(n: u64) {
        let inner = catch_unwind(|| {
            if n == 0 {
                planned(0);
            }
            match n % 4 {
                0 => drop(ramie::join(|| (), || level(n - 1))),
                1 => ramie::scope(|s| drop(s.spawn(|| level(n - 1)))),
                2 => match ramie::spawn(move || level(n - 1)).join() {
                    Ok(()) => {}
                    Err(error) => error.resume(),
                },
                _ => ramie::par(0..4_u32).for_each(|i| {
                    if i == 2 {
                        level(n - 1)
                    }
                }),
            }
        });
        let payload = inner.expect_err("every level panics");
        assert_eq!(planned_id(&*payload), n.saturating_sub(1).min(n));
        planned(n);
    }
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let payload = panic_of(|| system.run(|| level(40)));
        assert_eq!(planned_id(&*payload), 40);
        assert_eq!(heard_by(&heard), []);
    }
}

#[test]
fn a_guard_held_across_a_panic_signals() {
    let _watch = watch("guard", 30);
    for workers in WORKERS {
        let system = system(workers);
        let counter = Counter::new(0);
        let handles: Vec<_> = (0..20)
            .map(|i| {
                let guard = counter.guard();
                system.spawn(move || {
                    let _guard = guard;
                    ramie::yield_now();
                    planned(i)
                })
            })
            .collect();
        counter.wait();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(id_of(handle.join().expect_err("it panics")), i as u64);
        }
    }
}

#[test]
fn a_destructor_of_a_capture_that_panics_is_a_panic_of_the_job() {
    let _watch = watch("capture", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let bomb = Bomb(1);
        let handle = system.spawn(move || {
            let _bomb = &bomb;
        });
        assert_eq!(id_of(handle.join().expect_err("it panics")), 1);
        assert_eq!(heard_by(&heard), []);
        // Dropped by ramie, because the job never ran.
        let (gate, done) = (Counter::new(1), Counter::new(0));
        let bomb = Bomb(2);
        let handle = system.job().name("cancelled").after(&gate).counter(&done).spawn(move || drop(bomb));
        assert!(handle.cancel());
        assert!(matches!(handle.join(), Err(JobError::Cancelled)));
        let bomb = Bomb(3);
        system.job().name("dropped").after(&gate).counter(&done).detach(move || drop(bomb));
        drop(gate);
        assert!(done.is_zero());
        let expected =
            [(PanicKind::Destructor, Some("cancelled"), 2), (PanicKind::Destructor, Some("dropped"), 3)];
        assert_eq!(heard_by(&heard), expected);
        assert_eq!(system.run(|| 1), 1);
    }
}

#[test]
fn a_destructor_of_a_result_that_nobody_wants_goes_to_on_panic() {
    let _watch = watch("result", 30);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        drop(system.job().name("early").spawn(|| Bomb(1)));
        let done = Counter::new(0);
        let late = system.job().name("late").counter(&done).spawn(|| Bomb(2));
        system.wait_idle();
        drop(late);
        system.scope(|s| drop(s.job().name("member").spawn(|| Bomb(3))));
        system.wait_idle();
        let expected = [
            (PanicKind::Destructor, Some("early"), 1),
            (PanicKind::Destructor, Some("late"), 2),
            (PanicKind::Destructor, Some("member"), 3),
        ];
        assert_eq!(heard_by(&heard), expected);
        assert_eq!(system.run(|| 1), 1);
    }
}

/// The payload of a panic may panic when it is dropped: wherever ramie drops it, that ends there.
#[test]
fn a_payload_that_panics_when_dropped_is_contained() {
    if !is_child("a_payload_that_panics_when_dropped_is_contained") {
        child_succeeds("a_payload_that_panics_when_dropped_is_contained", &[]);
        return;
    }
    let _watch = watch("payload", 30);
    let bomb = || resume_unwind(Box::new(Bomb(1)));
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        // Detached.
        drop(system.spawn(bomb));
        system.job().detach(bomb);
        system.wait_idle();
        assert_eq!(heard_by(&heard).len(), 2);
        // The second of a batch.
        let batch = system.spawn_batch([bomb, bomb, bomb]);
        std::mem::forget(panic_of(|| batch.wait()));
        // Both halves of a join.
        let run = || system.run(|| ramie::join::<_, _, (), ()>(bomb, bomb));
        std::mem::forget(panic_of(run));
        assert_eq!(system.run(|| 1), 1);
    }
}

/// Which panic a scope does not resume, it drops; the payload may panic then.
#[test]
fn a_scope_that_panics_contains_the_payloads_of_its_members() {
    if !is_child("a_scope_that_panics_contains_the_payloads_of_its_members") {
        child_succeeds("a_scope_that_panics_contains_the_payloads_of_its_members", &[]);
        return;
    }
    let _watch = watch("scope payload", 30);
    for workers in WORKERS {
        let (system, _) = listening(workers);
        let payload = panic_of(|| {
            system.scope(|s| {
                s.spawn(|| resume_unwind(Box::new(Bomb(1))));
                planned(2)
            })
        });
        assert_eq!(planned_id(&*payload), 2);
    }
}

/// When one half of a join panics, the result of the other is dropped; its destructor may panic then.
#[test]
fn a_join_that_panics_contains_the_result_of_its_other_half() {
    if !is_child("a_join_that_panics_contains_the_result_of_its_other_half") {
        child_succeeds("a_join_that_panics_contains_the_result_of_its_other_half", &[]);
        return;
    }
    let _watch = watch("join result", 30);
    for workers in WORKERS {
        let (system, _) = listening(workers);
        let payload = panic_of(|| system.run(|| ramie::join::<_, _, _, ()>(|| Bomb(1), || planned(2))));
        assert_eq!(planned_id(&*payload), 2);
        let payload = panic_of(|| system.run(|| ramie::join::<_, _, (), _>(|| planned(3), || Bomb(4))));
        assert_eq!(planned_id(&*payload), 3);
    }
}

/// Waits in destructors while the thread unwinds: all of them end, and no sibling sees the panic.
#[test]
fn destructors_may_wait_while_panicking() {
    let _watch = watch("waiting while panicking", 60);
    for workers in [2, 3, 8, 64] {
        let (system, heard) = listening(workers);
        let ended = AtomicUsize::new(0);
        let count = || {
            assert!(!std::thread::panicking() || ramie::in_job());
            ended.fetch_add(1, Ordering::Relaxed);
        };
        let payload = panic_of(|| {
            system.run(|| {
                let _join = OnDrop(|| {
                    ramie::join(count, count);
                });
                let _scope = OnDrop(|| {
                    ramie::scope(|s| {
                        for _ in 0..5 {
                            s.spawn(count);
                        }
                    });
                });
                let _counter = OnDrop(|| {
                    let done = Counter::new(1);
                    let theirs = done.clone();
                    drop(ramie::spawn(move || theirs.signal()));
                    done.wait();
                    count();
                });
                let _timed = OnDrop(|| {
                    let never = Counter::new(1);
                    never.wait_timeout(std::time::Duration::from_millis(1)).expect_err("nobody signals");
                    count();
                });
                let _handle = OnDrop(|| {
                    assert_eq!(ramie::spawn(|| 5).join().expect("it runs"), 5);
                    count();
                });
                let _loop = OnDrop(|| ramie::par(0..10_u32).for_each(|_| count()));
                let _batch = OnDrop(|| ramie::spawn_batch([|| (), || ()]).wait());
                let _yield = OnDrop(ramie::yield_now);
                planned(1)
            })
        });
        assert_eq!(planned_id(&*payload), 1);
        assert_eq!(ended.load(Ordering::Relaxed), 2 + 5 + 1 + 1 + 1 + 10);
        assert_eq!(heard_by(&heard), []);
    }
}

/// With one worker too, as far as the waiter can run its children itself.
#[test]
fn destructors_may_join_and_scope_while_panicking_on_one_worker() {
    let _watch = watch("one worker panicking", 30);
    let (system, heard) = listening(1);
    let ended = AtomicUsize::new(0);
    let count = || {
        ended.fetch_add(1, Ordering::Relaxed);
    };
    let payload = panic_of(|| {
        system.run(|| {
            let _all = OnDrop(|| {
                ramie::join(count, || ramie::join(count, count));
                ramie::scope(|s| {
                    drop(s.spawn(|| ramie::scope(|inner| drop(inner.spawn(count)))));
                    // A foreign job on top of the deque.
                    drop(ramie::spawn(|| ()));
                    drop(s.spawn(count));
                    drop(ramie::spawn(|| ()));
                });
                ramie::join(|| drop(ramie::spawn(|| ())), count);
                ramie::par(0..100_u32).for_each(|_| count());
                ramie::spawn_batch([|| (), || ()]).wait();
            });
            planned(1)
        })
    });
    assert_eq!(planned_id(&*payload), 1);
    assert_eq!(ended.load(Ordering::Relaxed), 3 + 2 + 1 + 100);
    system.wait_idle();
    assert_eq!(heard_by(&heard), []);
}

/// A member that runs in place below an unwinding waiter may panic itself; that ends at its edge.
#[test]
fn a_member_may_panic_below_an_unwinding_waiter() {
    let _watch = watch("panic below panic", 30);
    for workers in WORKERS {
        let (system, _) = listening(workers);
        let payload = panic_of(|| {
            system.run(|| {
                let _scope = OnDrop(|| {
                    let inner = catch_unwind(|| ramie::scope(|s| drop(s.spawn(|| planned(2)))));
                    assert_eq!(planned_id(&*inner.expect_err("the member panics")), 2);
                    let inner = catch_unwind(|| ramie::join(|| (), || planned(3)));
                    assert_eq!(planned_id(&*inner.map(|((), ())| ()).expect_err("b panics")), 3);
                });
                planned(1)
            })
        });
        assert_eq!(planned_id(&*payload), 1);
    }
}

/// Siblings never see a foreign panic's state, however often their worker switches.
#[test]
fn siblings_never_see_a_foreign_panic() {
    let _watch = watch("siblings", 60);
    for workers in WORKERS {
        let (system, _) = listening(workers);
        let handles: Vec<_> = (0..200_u64)
            .map(|i| {
                system.spawn(move || {
                    for _ in 0..20 {
                        assert!(!std::thread::panicking());
                        ramie::yield_now();
                    }
                    if i % 2 == 0 {
                        let _late = OnDrop(|| {
                            ramie::join(|| (), || ());
                            ramie::yield_now();
                        });
                        planned(i);
                    }
                })
            })
            .collect();
        for (i, handle) in handles.into_iter().enumerate() {
            match handle.join() {
                Ok(()) => assert_eq!(i % 2, 1),
                Err(error) => assert_eq!(id_of(error), i as u64),
            }
        }
    }
}

#[test]
fn an_on_panic_callback_may_panic() {
    let _watch = watch("on_panic panics", 30);
    for workers in WORKERS {
        let calls = Arc::new(AtomicUsize::new(0));
        let ours = Arc::clone(&calls);
        let system = common::builder()
            .workers(workers)
            .on_panic(move |_| {
                ours.fetch_add(1, Ordering::Relaxed);
                planned(1)
            })
            .build()
            .expect("a system");
        for _ in 0..10 {
            drop(system.spawn(|| planned(2)));
        }
        system.wait_idle();
        assert_eq!(calls.load(Ordering::Relaxed), 10);
        assert_eq!(system.run(|| 1), 1);
    }
}

#[test]
fn worker_callbacks_may_panic() {
    let _watch = watch("callbacks", 30);
    let heard = Heard::default();
    let ours = Arc::clone(&heard);
    let system = common::builder()
        .workers(2)
        .on_worker_start(|index| planned(index as u64))
        .on_worker_stop(|index| planned(10 + index as u64))
        .on_panic(move |report| {
            let id = planned_id(report.payload) as i64;
            ours.lock().expect("not poisoned").push((report.kind, report.job_name, id));
        })
        .build()
        .expect("a system");
    assert_eq!(system.run(|| 1), 1);
    drop(system);
    let expected = [0, 1, 10, 11].map(|id| (PanicKind::Callback, None, id));
    assert_eq!(heard_by(&heard), expected);
}

/// A name callback that panics leaves nothing behind that would harm the next system.
#[test]
fn a_thread_name_callback_that_panics_harms_no_later_system() {
    let _watch = watch("thread_name", 30);
    for _ in 0..3 {
        let builder = common::builder().workers(3).stack_size(16 * 1024);
        let name = |index| if index == 2 { planned(2) } else { String::from("x") };
        assert_eq!(planned_id(&*panic_of(|| builder.thread_name(name).build())), 2);
    }
    // The workers are recycled: their new fibers have the new size, not that of the stillborn system.
    fn deep(n: u32) -> u64 {
        let room = std::hint::black_box([n as u64; 128]);
        if n == 0 { room[5] } else { deep(n - 1) + room[7] }
    }
    let system = common::builder().workers(3).stack_size(1024 * 1024).build().expect("a system");
    assert_eq!(system.stats().fibers, 3);
    assert_eq!(system.run(|| deep(300)), (0..=300).sum::<u64>());
}

#[test]
fn thousands_of_panics_leave_the_workers_alive() {
    let _watch = watch("thousands", 60);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        for i in 0..2000 {
            drop(system.spawn(move || planned(i)));
        }
        system.wait_idle();
        assert_eq!(heard.lock().expect("not poisoned").len(), 2000);
        assert_eq!(system.broadcast(|| 1).len(), workers);
    }
}

/// After a caught panic the dump shows the job itself again, not what it ran in place.
#[test]
fn the_dump_shows_the_right_job_after_a_caught_panic() {
    let _watch = watch("dump after panic", 20);
    let system = system(1);
    let (gate, ready) = (Counter::new(1), Counter::new(1));
    let (theirs, begun) = (gate.clone(), ready.clone());
    let handle = system.job().name("outer").spawn(move || {
        drop(panic_of(|| ramie::join(|| (), || planned(1))));
        drop(panic_of(|| ramie::join(|| planned(2), || ())));
        drop(panic_of(|| ramie::scope(|s| drop(s.spawn(|| planned(3))))));
        begun.signal();
        theirs.wait();
    });
    ready.wait();
    common::spin_until(|| {
        system.dump().fibers.iter().any(|fiber| fiber.activity == ramie::FiberActivity::Waiting)
    });
    let dump = system.dump();
    assert_eq!(dump.fibers[0].job_name, Some("outer"), "{dump}");
    gate.signal();
    handle.join().expect("it returns");
}

/// A message that was formatted is kept by the error's text.
#[test]
fn errors_say_what_happened() {
    let _watch = watch("errors", 20);
    let system = system(1);
    let error = system.spawn(|| resume_unwind(Box::new(String::from("formatted 7")))).join();
    let error = error.expect_err("it panics");
    assert_eq!(error.to_string(), "the job panicked: formatted 7");
    assert!(format!("{error:?}").contains("formatted 7"));
    assert_eq!(message(&*panic_of(AssertUnwindSafe(|| error.resume()))), "formatted 7");
}
