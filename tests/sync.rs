//! Locks and their like: exclusion, order, time limits, panics of holders, fibers of several systems and threads at once, and programs that
//! hang elsewhere.

mod common;

use common::{Census, Rng, WORKERS, message, panic_of, planned, soak, spin_until, watch};
use ramie::sync::{
    Barrier, Condvar, Event, Latch, LazyLock, Mutex, MutexGuard, Once, OnceLock, RwLock, RwLockReadGuard,
    RwLockWriteGuard, Semaphore,
};
use ramie::{Counter, JobSystem};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Runs `f` often, by jobs of two systems and by threads, all at once; it gets a number of its own and random numbers.
fn from_everywhere(workers: usize, jobs: u64, f: impl Fn(u64, &mut Rng) + Send + Sync) {
    let seed = common::seed();
    let systems = [common::system(workers), common::system(2)];
    let (f, next) = (&f, AtomicU64::new(0));
    let run = || {
        let number = next.fetch_add(1, SeqCst);
        f(number, &mut Rng(common::mix(seed ^ number)));
    };
    let run = &run;
    std::thread::scope(|threads| {
        for system in &systems {
            threads.spawn(move || system.scope(|s| (0..jobs).for_each(|_| s.detach(run))));
        }
        for _ in 0..2 {
            threads.spawn(move || (0..jobs / 4).for_each(|_| run()));
        }
    });
    for system in &systems {
        system.wait_idle();
        assert!(system.dump().is_empty(), "{}", system.dump());
    }
}

/// Waits in some way, as a holder may.
fn dawdle(rng: &mut Rng) {
    match rng.below(8) {
        0 => ramie::yield_now(),
        1 => drop(ramie::join(|| (), || ())),
        2 => drop(Counter::new(1).wait_timeout(Duration::from_micros(rng.below(30)))),
        _ => {}
    }
}

#[test]
fn one_at_a_time_has_a_mutex() {
    let _watch = watch("mutex", 180);
    for workers in WORKERS {
        let (mutex, inside) = (Mutex::new(0_u64), AtomicUsize::new(0));
        let (locked, missed) = (AtomicU64::new(0), AtomicU64::new(0));
        from_everywhere(workers, 400 * soak() as u64, |_, rng| {
            for _ in 0..1 + rng.below(4) {
                let guard = match rng.below(4) {
                    0 => mutex.try_lock(),
                    1 => mutex.try_lock_for(Duration::from_micros(rng.below(50))),
                    _ => Some(mutex.lock()),
                };
                let Some(mut guard) = guard else {
                    missed.fetch_add(1, SeqCst);
                    continue;
                };
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at once");
                *guard += 1;
                dawdle(rng);
                assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                locked.fetch_add(1, SeqCst);
            }
        });
        assert_eq!(mutex.into_inner(), locked.into_inner());
    }
}

#[test]
fn readers_share_and_writers_do_not() {
    let _watch = watch("rwlock", 180);
    for workers in WORKERS {
        let lock = RwLock::new([0_u64; 4]);
        // Readers count up, a writer takes off a thousand.
        let (inside, writes) = (AtomicI64::new(0), AtomicU64::new(0));
        from_everywhere(workers, 400 * soak() as u64, |_, rng| {
            let limit = Duration::from_micros(rng.below(50));
            let reads = rng.below(4) != 0;
            if reads {
                let guard = match rng.below(4) {
                    0 => lock.try_read(),
                    1 => lock.try_read_for(limit),
                    _ => Some(lock.read()),
                };
                let Some(guard) = guard else { return };
                assert!(inside.fetch_add(1, SeqCst) >= 0, "a writer is inside");
                dawdle(rng);
                assert!(guard.iter().all(|value| *value == guard[0]), "half written");
                inside.fetch_sub(1, SeqCst);
                return;
            }
            let guard = match rng.below(4) {
                0 => lock.try_write(),
                1 => lock.try_write_for(limit),
                _ => Some(lock.write()),
            };
            let Some(mut guard) = guard else { return };
            assert_eq!(inside.fetch_sub(1000, SeqCst), 0, "a writer is not alone");
            for index in 0..4 {
                guard[index] += 1;
                if index == 1 {
                    dawdle(rng);
                }
            }
            writes.fetch_add(1, SeqCst);
            inside.fetch_add(1000, SeqCst);
            if rng.below(3) == 0 {
                let guard = RwLockWriteGuard::downgrade(guard);
                assert!(inside.fetch_add(1, SeqCst) >= 0);
                assert!(guard.iter().all(|value| *value == guard[0]));
                inside.fetch_sub(1, SeqCst);
            }
        });
        assert_eq!(lock.into_inner(), [writes.into_inner(); 4]);
    }
}

#[test]
fn a_writer_is_not_starved_by_readers() {
    let _watch = watch("readers and a writer", 60);
    let system = common::system(2);
    let (lock, stop) = (RwLock::new(0), AtomicBool::new(false));
    system.scope(|s| {
        for _ in 0..4 {
            s.detach(|| {
                while !stop.load(SeqCst) {
                    let guard = lock.read();
                    ramie::yield_now();
                    drop(guard);
                }
            });
        }
        s.detach(|| {
            for _ in 0..100 {
                *lock.write() += 1;
            }
            stop.store(true, SeqCst);
        });
    });
    assert_eq!(*lock.read(), 100);
}

/// Whoever waits gets the mutex although another one takes it again and again.
#[test]
fn a_waiter_is_not_overtaken_for_ever() {
    let _watch = watch("barging", 60);
    let system = common::system(2);
    let (mutex, had) = (Mutex::new(()), AtomicUsize::new(0));
    system.scope(|s| {
        s.job().on_worker(0).detach(|| {
            // Never suspends.
            while had.load(SeqCst) < 50 {
                let _guard = mutex.lock();
                (0..100).for_each(|_| std::hint::spin_loop());
            }
        });
        s.job().on_worker(1).detach(|| {
            for _ in 0..50 {
                let _guard = mutex.lock();
                had.fetch_add(1, SeqCst);
            }
        });
    });
}

#[test]
fn waiters_get_a_mutex_in_order_and_a_permit_too() {
    let _watch = watch("order", 60);
    let system = common::sticky().workers(1).build().unwrap();
    system.run(|| {
        let (mutex, order) = (Mutex::new(()), std::sync::Mutex::new(Vec::new()));
        let (permits, permit_order) = (Semaphore::new(1), std::sync::Mutex::new(Vec::new()));
        ramie::scope(|s| {
            let (guard, permit) = (mutex.lock(), permits.acquire());
            for i in 0..20 {
                let (mutex, order, permits, permit_order) = (&mutex, &order, &permits, &permit_order);
                let started = Counter::new(1);
                let tell = started.clone();
                s.detach(move || {
                    tell.signal();
                    let _guard = mutex.lock();
                    order.lock().unwrap().push(i);
                    // Wants more than there are for a while; nobody behind it gets less.
                    drop(permits.acquire_many(1 + i % 2));
                    permit_order.lock().unwrap().push(i);
                });
                started.wait();
                ramie::yield_now();
            }
            permits.add_permits(1);
            drop((guard, permit));
        });
        assert_eq!(order.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(permit_order.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(permits.available(), 2);
    });
}

/// Many who are woken at once go on in the order in which they came, on each worker, whoever wakes them: a thread, or a job of one of the workers.
#[test]
fn those_who_are_woken_together_go_on_in_order() {
    const EACH: usize = 20;
    let _watch = watch("order of many", 60);
    for workers in [1, 2, 3, 20] {
        let system = common::sticky().workers(workers).build().unwrap();
        for round in 0..20 {
            let event = Event::manual();
            let (came, went): (Vec<_>, Vec<_>) = (0..workers)
                .map(|_| (std::sync::Mutex::new(Vec::new()), std::sync::Mutex::new(Vec::new())))
                .unzip();
            system.scope(|s| {
                for number in 0..workers * EACH {
                    let (event, came, went) = (&event, &came[number % workers], &went[number % workers]);
                    s.job().on_worker(number % workers).detach(move || {
                        came.lock().unwrap().push(number);
                        event.wait();
                        went.lock().unwrap().push(number);
                    });
                }
                spin_until(|| came.iter().all(|came| came.lock().unwrap().len() == EACH));
                // When this runs, the last one of its worker waits as well.
                (0..workers).for_each(|index| s.job().on_worker(index).spawn(|| ()).join().unwrap());
                if round % 2 == 0 {
                    event.set();
                } else {
                    s.job().on_worker(round % workers).detach(|| event.set());
                }
            });
            for (came, went) in came.iter().zip(&went) {
                assert_eq!(*came.lock().unwrap(), *went.lock().unwrap());
            }
        }
    }
}

/// The same where fibers migrate: with one worker there is one order.
#[test]
fn those_who_are_woken_together_go_on_in_order_where_fibers_migrate() {
    let _watch = watch("order of many that migrate", 60);
    // SAFETY: the jobs hold nothing across their waits that is bound to a thread.
    #[expect(unsafe_code, reason = "an opt-in")]
    let system = unsafe { JobSystem::builder().workers(1).migrating_fibers() }.build().unwrap();
    for from_outside in [false, true] {
        let event = Event::manual();
        let (came, went) = (std::sync::Mutex::new(Vec::new()), std::sync::Mutex::new(Vec::new()));
        system.scope(|s| {
            for number in 0..20 {
                let (event, came, went) = (&event, &came, &went);
                s.detach(move || {
                    came.lock().unwrap().push(number);
                    event.wait();
                    went.lock().unwrap().push(number);
                });
            }
            spin_until(|| came.lock().unwrap().len() == 20);
            s.spawn(|| ()).join().unwrap();
            if from_outside { event.set() } else { s.detach(|| event.set()) }
        });
        assert_eq!(*came.lock().unwrap(), *went.lock().unwrap());
    }
}

#[test]
fn a_holder_that_panics_lets_go() {
    let _watch = watch("panics of holders", 60);
    let system = common::system(2);
    let (mutex, lock, semaphore) = (Mutex::new(1), RwLock::new(1), Semaphore::new(1));
    for round in 0..50 * soak() {
        system.scope(|s| {
            let member = s.spawn(|| {
                let mut first = mutex.lock();
                let (mut second, _permit) = (lock.write(), semaphore.acquire());
                *first += 1;
                *second += 1;
                ramie::yield_now();
                panic!("holding all");
            });
            let waits = s.spawn(|| (*mutex.lock(), *lock.read(), semaphore.acquire().count()));
            let panicked: Result<(), _> = member.join();
            assert!(panicked.is_err());
            waits.join().unwrap();
        });
        assert_eq!((*mutex.lock(), *lock.read(), semaphore.available()), (round + 2, round + 2, 1));
    }
}

#[test]
fn no_more_than_its_permits() {
    let _watch = watch("semaphore", 180);
    for workers in WORKERS {
        let (semaphore, inside) = (Semaphore::new(5), AtomicUsize::new(0));
        from_everywhere(workers, 300 * soak() as u64, |_, rng| {
            let count = 1 + rng.below(5) as u32;
            let permits = match rng.below(4) {
                0 => semaphore.try_acquire_many(count),
                1 => semaphore.acquire_many_timeout(count, Duration::from_micros(rng.below(50))).ok(),
                _ => Some(semaphore.acquire_many(count)),
            };
            let Some(permits) = permits else { return };
            let there = inside.fetch_add(count as usize, SeqCst) + count as usize;
            assert!(there <= 5, "{there} permits are taken");
            dawdle(rng);
            inside.fetch_sub(count as usize, SeqCst);
            assert_eq!(permits.count(), count);
        });
        assert_eq!(semaphore.available(), 5);
        semaphore.acquire().forget();
        assert_eq!(semaphore.available(), 4);
    }
    let refused = catch_unwind(AssertUnwindSafe(|| Semaphore::new(1).add_permits(u32::MAX)));
    assert!(refused.is_err());
    let refused = catch_unwind(AssertUnwindSafe(|| drop(Semaphore::new(1).acquire_many(u32::MAX))));
    assert!(refused.is_err());
    assert!(Semaphore::new(1).try_acquire_many(u32::MAX).is_none());
}

#[test]
fn a_condition_is_waited_for() {
    let _watch = watch("condvar", 180);
    for workers in WORKERS {
        let (queue, filled) = (Mutex::new(VecDeque::new()), Condvar::new());
        let (taken, sum) = (AtomicU64::new(0), AtomicU64::new(0));
        let expected = AtomicU64::new(0);
        // Even ones put in, odd ones take out.
        from_everywhere(workers, 400 * soak() as u64, |number, rng| {
            if number % 2 == 0 {
                queue.lock().push_back(number);
                expected.fetch_add(number, SeqCst);
                if rng.below(2) == 0 {
                    _ = filled.notify_one()
                } else {
                    _ = filled.notify_all()
                }
                return;
            }
            let mut queue = queue.lock();
            let value = match rng.below(3) {
                0 => {
                    let limit = Duration::from_micros(rng.below(50));
                    let _in_time = filled.wait_while_timeout(&mut queue, limit, |queue| queue.is_empty());
                    queue.pop_front()
                }
                // There is one to put in for each that takes out, but not all of them take.
                _ => {
                    filled.wait_while(&mut queue, |queue| queue.is_empty());
                    queue.pop_front()
                }
            };
            if let Some(value) = value {
                taken.fetch_add(1, SeqCst);
                sum.fetch_add(value, SeqCst);
            }
        });
        let left: u64 = queue.into_inner().into_iter().sum();
        assert_eq!(sum.into_inner() + left, expected.into_inner());
        assert!(!filled.notify_one() && filled.notify_all() == 0);
    }
}

#[test]
fn an_event_lets_through_whom_it_should() {
    let _watch = watch("event", 180);
    for workers in WORKERS {
        // As many sets as passes, each by itself.
        let (event, sets, passes) = (Event::auto(), AtomicU64::new(0), AtomicU64::new(0));
        from_everywhere(workers, 200 * soak() as u64, |number, rng| {
            if number % 2 == 0 {
                // One at a time, so that none is swallowed by another.
                sets.fetch_add(1, SeqCst);
                event.set();
                while sets.load(SeqCst) > passes.load(SeqCst) + 1 && rng.below(4) != 0 {
                    ramie::yield_now();
                }
            } else if event.wait_timeout(Duration::from_micros(rng.below(200))).is_ok() {
                passes.fetch_add(1, SeqCst);
            }
        });
        assert!(passes.into_inner() <= sets.into_inner());
        // All who wait when it is set go on, also if it is reset at once.
        let (event, waiting, through) = (Event::manual(), AtomicUsize::new(0), AtomicUsize::new(0));
        let system = common::system(workers);
        for _ in 0..20 {
            waiting.store(0, SeqCst);
            through.store(0, SeqCst);
            system.scope(|s| {
                for _ in 0..30 {
                    s.detach(|| {
                        waiting.fetch_add(1, SeqCst);
                        event.wait();
                        through.fetch_add(1, SeqCst);
                    });
                }
                spin_until(|| waiting.load(SeqCst) == 30);
                // They are about to wait, or do: all are through when it stays set for a while.
                event.set();
                spin_until(|| through.load(SeqCst) == 30);
                event.reset();
                assert!(!event.is_set() && !event.try_pass());
            });
        }
    }
}

#[test]
fn barriers_and_latches() {
    let _watch = watch("barriers", 120);
    for workers in WORKERS {
        let system = common::system(workers);
        let (barrier, arrived, leaders) = (Barrier::new(10), AtomicUsize::new(0), AtomicUsize::new(0));
        let latch = Latch::new(10);
        system.scope(|s| {
            for _ in 0..10 {
                s.detach(|| {
                    for round in 1..=20 {
                        arrived.fetch_add(1, SeqCst);
                        leaders.fetch_add(usize::from(barrier.wait()), SeqCst);
                        assert!(arrived.load(SeqCst) >= 10 * round);
                    }
                    latch.count_down_and_wait();
                    assert!(latch.is_open());
                });
            }
        });
        assert_eq!((arrived.into_inner(), leaders.into_inner()), (200, 20));
        assert!(latch.wait_timeout(Duration::ZERO).is_ok());
        assert!(Barrier::new(0).wait() && Barrier::new(1).wait());
    }
}

/// An arrival whose time is over is taken back, also when others come at that moment: as many go on together as the barrier is for.
#[test]
fn arrivals_at_a_barrier_are_taken_back() {
    let _watch = watch("barrier with limits", 120);
    let barrier = Barrier::new(2);
    assert!(
        barrier.wait_timeout(Duration::ZERO).is_err()
            && barrier.wait_timeout(Duration::from_micros(1)).is_err()
    );
    assert_eq!(Barrier::new(1).wait_timeout(Duration::ZERO), Ok(true));
    for workers in WORKERS {
        const SIZE: usize = 3;
        let (barrier, through, leaders) = (Barrier::new(SIZE), AtomicUsize::new(0), AtomicUsize::new(0));
        from_everywhere(workers, 300 * soak() as u64, |_, rng| {
            if let Ok(leads) = barrier.wait_timeout(Duration::from_micros(rng.below(60))) {
                through.fetch_add(1, SeqCst);
                leaders.fetch_add(usize::from(leads), SeqCst);
            }
        });
        assert_eq!(through.into_inner(), SIZE * leaders.into_inner());
        // Nobody is left in it.
        let system = common::system(workers);
        system.scope(|s| (0..SIZE).for_each(|_| s.detach(|| _ = barrier.wait())));
    }
}

#[test]
fn a_latch_in_a_static() {
    static LATCH: Latch = Latch::new(30);
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let _watch = watch("latch", 60);
    let system = common::system(3);
    assert!(LATCH.wait_timeout(Duration::from_micros(1)).is_err());
    system.scope(|s| {
        for _ in 0..10 {
            s.detach(|| {
                LATCH.wait();
                PASSED.fetch_add(1, SeqCst);
            });
            s.detach(|| _ = LATCH.wait_timeout(Duration::from_micros(10)));
        }
        for _ in 0..30 {
            assert_eq!(PASSED.load(SeqCst), 0);
            s.detach(|| LATCH.count_down());
        }
    });
    assert!(LATCH.is_open() && PASSED.load(SeqCst) == 10);
    assert!(message(&*panic_of(|| LATCH.count_down())).contains("it is open"));
    assert!(LATCH.is_open());
    Latch::new(0).wait();
}

#[test]
fn what_is_made_once_is_made_once() {
    let _watch = watch("once", 120);
    for workers in WORKERS {
        let (cell, once, made, done) =
            (OnceLock::new(), Once::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let failures = AtomicUsize::new(0);
        from_everywhere(workers, 200, |number, rng| {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let value = cell.get_or_init(|| {
                    // The first ones fail, and wait for others meanwhile.
                    dawdle(rng);
                    assert!(failures.fetch_add(1, SeqCst) >= 3, "planned");
                    made.fetch_add(1, SeqCst);
                    vec![number; 3]
                });
                assert_eq!(value.len(), 3);
            }));
            if result.is_err() {
                assert!(cell.get().is_none() || failures.load(SeqCst) > 3);
            }
            once.call_once(|| {
                ramie::yield_now();
                done.fetch_add(1, SeqCst);
            });
            assert!(once.is_done());
        });
        assert_eq!((made.into_inner(), done.into_inner()), (1, 1));
        let mut cell = cell;
        assert!(cell.set(Vec::new()).is_err());
        cell.get_mut().unwrap().push(1);
        assert_eq!(cell.take().unwrap().len(), 4);
        assert_eq!(cell.set(vec![7]), Ok(()));
        assert_eq!(cell.into_inner(), Some(vec![7]));
        assert_eq!(OnceLock::from(5).get(), Some(&5));
    }
}

/// Those who wait for what others make or do get it, but for those whose time is over before; a failure leaves it to the next.
#[test]
fn what_is_made_once_is_waited_for() {
    let _watch = watch("waits for once", 120);
    for workers in WORKERS {
        let (cell, once) = (OnceLock::new(), Once::new());
        let (made, tried, late) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        from_everywhere(workers, 200, |number, rng| match number % 4 {
            // At least four of them try, whoever comes first.
            0 => {
                let result = cell.get_or_try_init(|| {
                    dawdle(rng);
                    if tried.fetch_add(1, SeqCst) < 3 {
                        return Err(number);
                    }
                    made.fetch_add(1, SeqCst);
                    Ok(number)
                });
                assert!(result.is_err_and(|error| error == number) || cell.get().is_some());
                once.call_once(|| dawdle(rng));
            }
            1 => {
                let limit = Duration::from_micros(rng.below(30));
                match cell.wait_timeout(limit) {
                    Ok(value) => assert!(ptr_eq(value, cell.get())),
                    Err(_) => _ = late.fetch_add(1, SeqCst),
                }
                if once.wait_timeout(limit).is_ok() {
                    assert!(once.is_done());
                }
            }
            _ => {
                assert!(ptr_eq(cell.wait(), cell.get()));
                once.wait();
                assert!(once.is_done());
            }
        });
        assert_eq!((made.into_inner(), tried.into_inner()), (1, 4));
        assert!(late.into_inner() <= 300);
    }
    let once = Once::new();
    assert!(
        once.wait_timeout(Duration::from_micros(1)).is_err() && once.wait_timeout(Duration::ZERO).is_err()
    );
    assert!(OnceLock::<u8>::new().wait_timeout(Duration::from_micros(1)).is_err());
}

fn ptr_eq<T>(a: &T, b: Option<&T>) -> bool {
    b.is_some_and(|b| std::ptr::eq(a, b))
}

#[test]
fn a_lazy_value_is_made_by_its_first_user() {
    static LAZY: LazyLock<Vec<u64>> = LazyLock::new(|| {
        ramie::yield_now();
        vec![ramie::par(0..100_u64).map_reduce(0, |n| n, |a, b| a + b)]
    });
    let _watch = watch("lazy", 60);
    let system = common::system(2);
    assert!(LazyLock::get(&LAZY).is_none());
    system.par(0..100).grain(1).for_each(|_| assert_eq!(LAZY[0], 4950));
    assert_eq!(format!("{:?}", *LAZY), "[4950]");
    // A panic leaves nothing to make it with.
    let fails: LazyLock<u8, _> = LazyLock::new(|| planned(1));
    _ = panic_of(|| *fails);
    assert!(message(&*panic_of(|| *fails)).contains("has panicked before"));
    assert!(LazyLock::get(&fails).is_none() && LazyLock::into_inner(fails).is_none());
    let unused = LazyLock::new(|| 5);
    let make = LazyLock::into_inner(unused).unwrap().unwrap_err();
    assert_eq!(make(), 5);
    assert_eq!(*LazyLock::<u8>::default(), 0);
}

/// What is kept by primitives is dropped once, whether it was made, taken, left there, or half made by somebody who panicked.
#[test]
fn what_primitives_keep_is_dropped_once() {
    let _watch = watch("drops", 60);
    let (system, census) = (common::system(2), Census::default());
    system.run(|| {
        let cell = OnceLock::new();
        _ = panic_of(|| {
            cell.get_or_init(|| {
                let _half = census.item();
                ramie::yield_now();
                planned(1)
            })
        });
        assert_eq!(census.dropped(), 1);
        let tried: Result<_, ramie::sync::Permits<'_>> = {
            // An error is handed on.
            static NONE: Semaphore = Semaphore::new(1);
            cell.get_or_try_init(|| Err(NONE.acquire()))
        };
        assert_eq!(tried.map(drop).unwrap_err().count(), 1);
        cell.get_or_init(|| census.item());
        let refused = cell.set(census.item());
        assert!(refused.is_err());
        drop(refused);
        assert_eq!(census.dropped(), 2);
        let mut cell = cell;
        drop(cell.take());
        assert_eq!(census.dropped(), 3);
        assert!(cell.set(census.item()).is_ok());
        drop(cell);
        assert_eq!(census.dropped(), 4);
        drop(OnceLock::from(census.item()));
        assert_eq!(census.dropped(), 5);

        // Made or not, a lazy value drops what its function has, and the value.
        for uses in [false, true] {
            let (item, counted) = (census.item(), census.clone());
            let lazy = LazyLock::new(move || (item, counted.item()));
            if uses {
                let _value = &lazy.0;
            }
        }
        assert_eq!(census.dropped(), 8);
        let item = census.item();
        let fails: LazyLock<(), _> = LazyLock::new(move || {
            let _item = item;
            planned(2)
        });
        _ = panic_of(|| LazyLock::force(&fails));
        drop(fails);
        assert_eq!(census.dropped(), 9);

        // A holder that panics keeps nothing, and the data stays.
        let (mutex, lock) = (Mutex::new(census.item()), RwLock::new(census.item()));
        _ = panic_of(|| {
            let (_a, _b) = (mutex.lock(), lock.write());
            planned(3)
        });
        drop((mutex.into_inner(), lock.into_inner()));
    });
    census.assert_all_dropped(11);
}

#[test]
fn permits_that_own_their_semaphore() {
    let _watch = watch("owned permits", 60);
    let system = common::system(2);
    let semaphore = Arc::new(Semaphore::new(3));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    system.scope(|s| {
        for number in 0..100_u32 {
            let permits = match number % 5 {
                0 => semaphore.try_acquire_owned(),
                1 => semaphore.try_acquire_many_owned(2),
                2 => semaphore.acquire_owned_timeout(Duration::from_micros(20)).ok(),
                3 => semaphore.acquire_many_owned_timeout(3, Duration::from_micros(20)).ok(),
                _ => Some(semaphore.acquire_many_owned(2)),
            };
            let Some(permits) = permits else { continue };
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            // The permits go to another job, which may panic.
            let member = s.spawn(move || {
                let count = permits.count() as usize;
                most.fetch_max(now.fetch_add(count, SeqCst) + count, SeqCst);
                ramie::yield_now();
                now.fetch_sub(count, SeqCst);
                if permits.semaphore().available() == 0 && number % 2 == 0 {
                    planned(u64::from(number));
                }
            });
            if number % 7 == 0 {
                _ = member.join();
            } else {
                s.detach(move || _ = member.join());
            }
        }
    });
    assert!((1..=3).contains(&most.load(SeqCst)));
    assert_eq!((semaphore.available(), Arc::strong_count(&semaphore)), (3, 1));
    semaphore.acquire_owned().forget();
    assert_eq!((semaphore.available(), Arc::strong_count(&semaphore)), (2, 1));
    assert!(semaphore.try_acquire_many_owned(u32::MAX).is_none() && semaphore.try_acquire().is_some());
}

/// Who gives a lock up fairly, or lends it, is not the next to have it.
#[test]
fn fair_unlocks_hand_locks_on() {
    let _watch = watch("fair", 60);
    let system = common::sticky().workers(1).build().unwrap();
    system.run(|| {
        let (mutex, lock) = (Mutex::new(Vec::new()), RwLock::new(Vec::new()));
        ramie::scope(|s| {
            let (mut first, mut second) = (mutex.lock(), lock.write());
            for number in 1..=3 {
                let (mutex, lock) = (&mutex, &lock);
                s.detach(move || {
                    mutex.lock().push(number);
                    lock.write().push(number);
                });
                // It wants the mutex.
                ramie::yield_now();
            }
            MutexGuard::bump(&mut first);
            assert_eq!(*first, [1, 2, 3], "they came first");
            RwLockWriteGuard::bump(&mut second);
            assert_eq!(*second, [1, 2, 3]);
            s.detach(|| mutex.lock().push(4));
            ramie::yield_now();
            s.detach(|| assert_eq!(lock.read().len(), 3));
            ramie::yield_now();
            MutexGuard::unlock_fair(first);
            assert!(mutex.try_lock().is_none(), "it was handed over");
            RwLockWriteGuard::unlock_fair(second);
            assert!(lock.try_write().is_none(), "it was handed over");
            RwLockReadGuard::unlock_fair(lock.read());
        });
        assert_eq!(*mutex.lock(), [1, 2, 3, 4]);
        // Nobody waits: nothing happens.
        let mut guard = mutex.lock();
        MutexGuard::bump(&mut guard);
        MutexGuard::unlock_fair(guard);
        RwLockReadGuard::bump(&mut lock.read());
        assert!(mutex.try_lock().is_some() && lock.try_write().is_some());
    });
}

/// Time limits that pass just as somebody wakes: nobody is lost, and nothing is given to somebody who has left.
#[test]
fn time_limits_race_with_wakes() {
    let _watch = watch("limits and wakes", 180);
    let rounds = 3_000 * soak() as u64;
    for workers in [1, 2, 3, 8] {
        let system = common::system(workers);
        let (mutex, event, semaphore) = (Mutex::new(0_u64), Event::auto(), Semaphore::new(0));
        let (got, given) = (AtomicU64::new(0), AtomicU64::new(0));
        system.scope(|s| {
            s.detach(|| {
                for round in 0..rounds {
                    event.set();
                    semaphore.add_permits(1);
                    given.fetch_add(1, SeqCst);
                    let guard = mutex.lock();
                    if round % 3 == 0 {
                        ramie::yield_now();
                    }
                    drop(guard);
                    if round % 16 == 0 {
                        let _never = Counter::new(1).wait_timeout(Duration::from_micros(1));
                    }
                }
            });
            for waiter in 0..3_u64 {
                let (mutex, event, semaphore, got) = (&mutex, &event, &semaphore, &got);
                s.detach(move || {
                    let mut rng = Rng(waiter + 1);
                    for _ in 0..rounds / 3 {
                        let limit = Duration::from_micros(rng.below(5));
                        let _in_time = event.wait_timeout(limit);
                        if let Ok(permit) = semaphore.acquire_timeout(limit) {
                            permit.forget();
                            got.fetch_add(1, SeqCst);
                        }
                        if let Some(mut guard) = mutex.try_lock_for(limit) {
                            *guard += 1;
                        }
                    }
                });
            }
        });
        assert_eq!(got.into_inner() + u64::from(semaphore.available()), given.into_inner());
        assert!(mutex.try_lock().is_some());
    }
}

/// rayon-rs/rayon#592: parallel work under a lock, inside parallel work that takes the lock. A worker that blocks, or that steals a job which wants
/// the lock that the job below it holds, never ends.
#[test]
fn parallel_work_under_a_lock_inside_parallel_work() {
    let _watch = watch("rayon#592", 120);
    for workers in [1, 2, 8] {
        let system = common::system(workers);
        for _ in 0..20 * soak() {
            let total = Mutex::new(0_u64);
            system.par(0..100_u64).for_each(|i| {
                let mut total = total.lock();
                *total += ramie::par(0..100_u64).map_reduce(0, |j| i ^ j, |a, b| a + b);
            });
            let expected: u64 = (0..100_u64).flat_map(|i| (0..100_u64).map(move |j| i ^ j)).sum();
            assert_eq!(*total.lock(), expected);
        }
    }
}

/// A pipeline of more stages than workers, with a queue of one between each two.
#[test]
fn a_bounded_pipeline_of_more_stages_than_workers() {
    const STAGES: usize = 12;
    struct Slot {
        value: Mutex<Option<u64>>,
        changed: Condvar,
    }
    let _watch = watch("bounded pipeline", 120);
    for workers in [1, 2, 8] {
        let system: JobSystem = common::system(workers);
        let slots: Arc<Vec<Slot>> = Arc::new(
            (0..=STAGES).map(|_| Slot { value: Mutex::new(None), changed: Condvar::new() }).collect(),
        );
        let put = |slot: &Slot, value: u64| {
            let mut place = slot.value.lock();
            slot.changed.wait_while(&mut place, |place| place.is_some());
            *place = Some(value);
            drop(place);
            slot.changed.notify_all();
        };
        let take = |slot: &Slot| {
            let mut place = slot.value.lock();
            slot.changed.wait_while(&mut place, |place| place.is_none());
            let value = place.take().expect("there is one");
            drop(place);
            slot.changed.notify_all();
            value
        };
        system.scope(|s| {
            for stage in 0..STAGES {
                let slots = &slots;
                s.detach(move || {
                    for _ in 0..200 {
                        let value = take(&slots[stage]);
                        put(&slots[stage + 1], value + 1);
                    }
                });
            }
            let slots = &slots;
            s.detach(move || (0..200).for_each(|n| put(&slots[0], n)));
            s.detach(move || (0..200).for_each(|n| assert_eq!(take(&slots[STAGES]), n + STAGES as u64)));
        });
    }
}

/// At the limit of fibers a lock is waited for in place, other waits say so, and a condition variable has its mutex back.
#[test]
fn at_the_limit_of_fibers() {
    let _watch = watch("fiber limit", 60);
    let system = common::sticky().workers(1).max_fibers(1).build().unwrap();
    let (mutex, lock, event) = (Mutex::new(0), RwLock::new(0), Event::manual());
    let refuses = |wait: &(dyn Fn() + Sync)| {
        let refused = catch_unwind(AssertUnwindSafe(|| system.run(wait)));
        let payload = refused.expect_err("no fiber is left");
        assert!(payload.downcast_ref::<String>().is_some_and(|text| text.contains("FiberLimit")));
    };
    let long = Duration::from_secs(1000);
    let (guard, write) = (mutex.lock(), lock.write());
    refuses(&|| drop(mutex.try_lock_for(long)));
    refuses(&|| drop(lock.try_read_for(long)));
    refuses(&|| event.wait());
    // Locks go on to look.
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| {
            system.run(|| {
                let (first, second) = (*mutex.lock(), *lock.read());
                (first, second, *lock.write())
            })
        });
        std::thread::sleep(Duration::from_millis(5));
        drop((guard, write));
        assert_eq!(waits.join().unwrap(), (0, 0, 0));
    });
    let changed = Condvar::new();
    refuses(&|| {
        let mut guard = mutex.lock();
        changed.wait(&mut guard);
    });
    assert!(mutex.try_lock().is_some(), "its guard was dropped");
    // A guard that gives its mutex up for a while has it back in any case: another thread takes it meanwhile.
    let (had, taken, given_back) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // The job has it then, and gives it up.
            spin_until(|| had.load(SeqCst));
            let mut other = mutex.lock();
            taken.store(true, SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            *other += 1;
            given_back.store(true, SeqCst);
        });
        system.run(|| {
            let mut guard = mutex.lock();
            had.store(true, SeqCst);
            MutexGuard::unlocked(&mut guard, || spin_until(|| taken.load(SeqCst)));
            assert!(given_back.load(SeqCst), "two have it");
            *guard += 1;
        });
    });
    assert_eq!(*mutex.lock(), 2);
}

/// As many fibers as a barrier's size are enough: the last one need not suspend.
#[test]
fn a_barrier_needs_no_more_fibers_than_its_size() {
    let _watch = watch("barrier at the limit", 60);
    let system = common::sticky().workers(1).max_fibers(4).build().unwrap();
    let (barrier, through) = (Barrier::new(4), AtomicUsize::new(0));
    system.scope(|s| {
        for _ in 0..4 {
            s.detach(|| {
                barrier.wait();
                through.fetch_add(1, SeqCst);
            });
        }
    });
    assert_eq!(through.into_inner(), 4);
}

/// A destructor that locks while its thread unwinds blocks the worker, beside a fiber of the same worker that is first in the queue and cannot
/// run meanwhile.
#[test]
fn a_destructor_that_locks_while_unwinding_gets_the_mutex() {
    struct Locks<'a>(&'a Mutex<u32>);
    impl Drop for Locks<'_> {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }
    let _watch = watch("unwinding", 60);
    let system = common::sticky().workers(1).build().unwrap();
    for _ in 0..20 {
        let mutex = Mutex::new(0);
        let held = mutex.lock();
        let queued = Counter::new(1);
        std::thread::scope(|threads| {
            let jobs = threads.spawn(|| {
                system.scope(|s| {
                    s.detach(|| {
                        queued.signal();
                        *mutex.lock() += 10;
                    });
                    let handle = s.spawn(|| {
                        queued.wait();
                        ramie::yield_now();
                        let _locks = Locks(&mutex);
                        panic!("unwinds");
                    });
                    let panicked: Result<(), _> = handle.join();
                    assert!(panicked.is_err());
                });
            });
            std::thread::sleep(Duration::from_millis(2));
            drop(held);
            jobs.join().unwrap();
        });
        assert_eq!(*mutex.lock(), 11);
    }
}

/// Time limits in a deterministic system pass on its own clock, and one that no clock can express never passes.
#[test]
fn time_limits_of_a_deterministic_system() {
    let _watch = watch("deterministic limits", 60);
    let system = JobSystem::builder().deterministic(11).build().unwrap();
    system.run(|| {
        let (mutex, changed, event) = (Mutex::new(()), Condvar::new(), Event::manual());
        let hour = Duration::from_secs(3600);
        assert!(changed.wait_while_timeout(&mut mutex.lock(), hour, |()| true).is_err());
        assert!(event.wait_timeout(hour).is_err());
        ramie::scope(|s| {
            s.detach(|| {
                let _never = Counter::new(1).wait_timeout(hour);
                event.set();
            });
            assert!(event.wait_timeout(Duration::MAX).is_ok());
        });
    });
}

/// What is left of a time limit after a wake that was not the last is told by that clock too.
#[test]
fn what_is_left_of_a_time_limit_in_a_deterministic_system() {
    let _watch = watch("what is left", 60);
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let pass = |minutes| assert!(Counter::new(1).wait_timeout(minutes * minute).is_err());
    let gave_up = AtomicUsize::new(0);
    for seed in 0..50 {
        let system = JobSystem::builder().deterministic(seed).build().unwrap();
        // A condition that does not come true, notified of every 25 minutes.
        let (mutex, changed, notified) = (Mutex::new(()), Condvar::new(), AtomicUsize::new(0));
        system.scope(|s| {
            s.detach(|| {
                assert!(changed.wait_while_timeout(&mut mutex.lock(), hour, |()| true).is_err());
                // The clock may go on a little further before this job does.
                assert!((2..=4).contains(&notified.load(SeqCst)), "{notified:?} of seed {seed}");
            });
            s.detach(|| {
                for _ in 0..20 {
                    pass(25);
                    notified.fetch_add(1, SeqCst);
                    changed.notify_one();
                }
            });
        });
        // A mutex that is free for a moment after 25 minutes, and then after 75.
        system.scope(|s| {
            let held = Counter::new(1);
            let wants = held.clone();
            let (mutex, gave_up) = (&mutex, &gave_up);
            s.detach(move || {
                let guard = mutex.lock();
                held.signal();
                pass(25);
                drop(guard);
                let _again = mutex.lock();
                pass(50);
            });
            s.detach(move || {
                wants.wait();
                gave_up.fetch_add(usize::from(mutex.try_lock_for(hour).is_none()), SeqCst);
            });
        });
    }
    // Now and then the clock goes on while somebody is ready to run, who then finds the mutex free.
    assert!(gave_up.load(SeqCst) >= 40, "{gave_up:?} of 50");
}

#[test]
fn dumps_say_what_is_waited_for() {
    let _watch = watch("dumps", 60);
    let system = common::system(1);
    let (mutex, lock, semaphore, event, barrier) =
        (Mutex::new(()), RwLock::new(()), Semaphore::new(0), Event::manual(), Barrier::new(2));
    let (guard, write) = (mutex.lock(), lock.write());
    system.scope(|s| {
        s.detach(|| drop(mutex.lock()));
        s.detach(|| drop(lock.read()));
        s.detach(|| drop(lock.write()));
        s.detach(|| drop(semaphore.acquire()));
        s.detach(|| event.wait());
        s.detach(|| {
            barrier.wait();
        });
        let wanted = [
            "a mutex",
            "to read",
            "to write",
            "a permit of a semaphore",
            "an event",
            "the others at a barrier",
        ];
        spin_until(|| {
            let text = system.dump().to_string();
            wanted.iter().all(|what| text.contains(&format!("waits for {what}")) || text.contains(what))
        });
        let text = system.dump().to_string();
        assert!(text.contains("tests/sync.rs"), "{text}");
        drop((guard, write));
        semaphore.add_permits(1);
        event.set();
        barrier.wait();
    });
}
