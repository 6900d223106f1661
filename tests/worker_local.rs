//! `WorkerLocal`: who sees which value, what stays on one thread, and who drops it.

mod common;

use common::{Census, message, panic_of, planned, planned_id, soak, system, watch};
use ramie::{Counter, JobSystem, WorkerLocal};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::ThreadId;

const WORKERS: [usize; 4] = [1, 2, 3, 8];

#[test]
fn each_worker_sees_the_value_that_was_made_for_it() {
    let _watch = watch("each its own", 30);
    for workers in WORKERS {
        let system = system(workers);
        let mut asked = Vec::new();
        let local = WorkerLocal::new(&system, |worker| {
            asked.push(worker);
            Cell::new(worker * 10)
        });
        assert!(asked.into_iter().eq(0..workers), "once for each, in order");
        for round in 0..3 {
            let seen = system.broadcast(|| local.with(|value| value.replace(value.get() + 1)));
            assert!(seen.into_iter().eq((0..workers).map(|worker| worker * 10 + round)));
        }
        assert!(
            local
                .into_values()
                .into_iter()
                .map(Cell::into_inner)
                .eq((0..workers).map(|worker| worker * 10 + 3))
        );
    }
}

/// Each value is seen by one thread, which is its worker's, however the jobs come there.
#[test]
fn a_value_stays_on_one_thread() {
    let _watch = watch("one thread", 120);
    for workers in WORKERS {
        let system = system(workers);
        let threads = system.broadcast(|| std::thread::current().id());
        let local = WorkerLocal::new(&system, |_| RefCell::new(Vec::<ThreadId>::new()));
        let note = || {
            local.with(|seen| {
                let thread = std::thread::current().id();
                seen.borrow_mut().push(thread);
                ramie::yield_now();
                assert_eq!(std::thread::current().id(), thread);
                seen.borrow_mut().push(thread);
            });
        };
        for _ in 0..20 * soak() {
            system.scope(|s| (0..20).for_each(|_| drop(s.spawn(note))));
            system.par(0..20).for_each(|_| note());
            system.join(note, || ramie::join(note, note));
        }
        let values = local.into_values();
        assert_eq!(values.iter().map(|seen| seen.borrow().len()).sum::<usize>(), 2 * 43 * 20 * soak());
        for (seen, thread) in values.into_iter().zip(threads) {
            assert!(seen.into_inner().into_iter().all(|seen| seen == thread));
        }
    }
}

/// No count is lost, although it is read and written without an atomic operation.
#[test]
fn plain_counts_of_many_jobs_add_up() {
    let _watch = watch("plain counts", 120);
    for workers in WORKERS {
        let system = system(workers);
        let mut local = WorkerLocal::new(&system, |_| Cell::new(0_usize));
        let jobs = 20_000 * soak();
        system.par(0..jobs).grain(1).for_each(|i| {
            local.with(|count| count.set(count.get() + 1));
            if i % 64 == 0 {
                ramie::yield_now();
                local.with(|count| count.set(count.get() + 1));
            }
        });
        assert_eq!(local.iter_mut().map(|count| count.get()).sum::<usize>(), jobs + jobs.div_ceil(64));
        local.iter_mut().for_each(|count| *count.get_mut() = 0);
        system.run(|| local.with(|count| assert_eq!(count.get(), 0)));
    }
}

/// Several fibers of one worker hold the same value, each across a wait that another of them ends.
#[test]
fn fibers_of_one_worker_hold_the_same_value_across_waits() {
    let _watch = watch("held at once", 30);
    let system = system(1);
    let local = WorkerLocal::new(&system, |_| Cell::new((0_u32, 0_u32)));
    let fibers = 50;
    let all_inside = Counter::new(fibers);
    system.scope(|s| {
        for _ in 0..fibers {
            s.spawn(|| {
                local.with(|held| {
                    let (inside, most) = held.get();
                    held.set((inside + 1, most.max(inside + 1)));
                    all_inside.signal();
                    all_inside.wait();
                    let (inside, most) = held.get();
                    held.set((inside - 1, most));
                });
            });
        }
    });
    assert_eq!(local.into_values()[0].get(), (0, fibers as u32));
}

/// A call inside of a call, and one that waits for a job which calls.
#[test]
fn calls_nest() {
    let _watch = watch("nested calls", 30);
    for workers in WORKERS {
        let system = system(workers);
        let local = WorkerLocal::new(&system, |_| AtomicUsize::new(0));
        system.broadcast(|| {
            local.with(|outer| {
                local.with(|inner| assert!(std::ptr::eq(outer, inner)));
                ramie::scope(|s| {
                    s.spawn(|| local.with(|other| other.fetch_add(1, Ordering::Relaxed)));
                });
            });
        });
        assert_eq!(local.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>(), workers);
    }
}

#[test]
fn outside_of_the_systems_jobs_there_is_no_value() {
    let _watch = watch("outside", 30);
    for workers in WORKERS {
        let (ours, other) = (system(workers), system(workers));
        let local = WorkerLocal::new(&ours, |worker| worker);
        let absent = |place: &str| {
            assert_eq!(local.try_with(|_| unreachable!("there is no value")), None::<()>);
            let text = message(&*panic_of(|| local.with(|_| unreachable!("there is no value"))));
            assert!(
                text.contains(place) && text.contains("`JobSystem::run`") && text.contains("`try_with`"),
                "{text}"
            );
        };
        absent("outside of jobs");
        std::thread::scope(|threads| {
            threads.spawn(|| absent("outside of jobs"));
        });
        other.broadcast(|| absent("in a job of another system"));
        // A job of another system inside of a job of ours, and the other way round; and a thread inside of a job.
        ours.run(|| {
            local.with(|_| other.run(|| absent("in a job of another system")));
            std::thread::scope(|threads| {
                threads.spawn(|| absent("outside of jobs"));
            });
            assert!(local.try_with(|worker| *worker) < Some(workers));
        });
        assert!(other.run(|| ours.run(|| local.with(|worker| *worker))) < workers);
        // A scope runs in place: on a thread outside there is no value, but for its members there is.
        ours.scope(|s| {
            absent("outside of jobs");
            assert!(s.spawn(|| local.with(|worker| *worker)).join().expect("it runs") < workers);
        });
    }
}

#[test]
fn callbacks_of_the_builder_have_no_value() {
    let _watch = watch("callbacks", 30);
    for workers in WORKERS {
        let cell: Arc<OnceLock<WorkerLocal<usize>>> = Arc::default();
        let ready = Counter::new(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let check = {
            let (cell, ready, calls) = (Arc::clone(&cell), ready.clone(), Arc::clone(&calls));
            move |_| {
                ready.wait();
                assert_eq!(cell.get().expect("it is ready").try_with(|worker| *worker), None);
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let system = JobSystem::builder()
            .workers(workers)
            .on_worker_start(check.clone())
            .on_worker_stop(check)
            .on_panic(|report| panic!("{report:?}"))
            .build()
            .expect("a system");
        cell.set(WorkerLocal::new(&system, |worker| worker)).expect("once");
        ready.signal();
        assert!(system.run(|| cell.get().expect("set").with(|worker| *worker)) < workers);
        drop(system);
        assert_eq!(calls.load(Ordering::SeqCst), 2 * workers);
    }
}

/// The main thread sees the value of worker 0 in its jobs, and none in between, whatever it still has waiting there.
#[test]
fn the_main_thread_as_a_worker_has_a_value_in_jobs_only() {
    let _watch = watch("main thread", 30);
    for workers in WORKERS {
        let builder = JobSystem::builder().workers(workers).main_thread_worker(true);
        let system = builder.build().expect("a system");
        let local = Arc::new(WorkerLocal::new(&system, |worker| Cell::new((worker, 0))));
        let gate = Counter::new(1);
        let (theirs, opens) = (Arc::clone(&local), gate.clone());
        let waiting = system.job().on_worker(0).spawn(move || {
            theirs.with(|value| {
                opens.wait();
                value.set((value.get().0, value.get().1 + 10));
                value.get()
            })
        });
        for visit in 1..=3 {
            assert_eq!(local.try_with(Cell::get), None);
            let count = |value: &Cell<(usize, u32)>| value.set((value.get().0, value.get().1 + 1));
            system.run_main(|| local.with(count));
            assert_eq!(system.run_main(|| local.with(Cell::get)), (0, visit));
        }
        gate.signal();
        assert_eq!(waiting.join().expect("it goes on in this wait"), (0, 13));
        assert!(system.broadcast(|| local.with(|value| value.get().0)).into_iter().eq(0..workers));
    }
}

/// A later system gets the same workers' memory and the same numbers of workers, but not their values.
#[test]
fn the_values_outlive_their_system_and_no_later_one_sees_them() {
    let _watch = watch("outlives", 60);
    for workers in WORKERS {
        let census = Census::default();
        let first = system(workers);
        let local = WorkerLocal::new(&first, |worker| (Cell::new(worker), census.item()));
        first.broadcast(|| local.with(|(value, _)| value.set(value.get() + 1)));
        drop(first);
        for _ in 0..10 {
            let later = system(workers);
            let seen = later.broadcast(|| local.try_with(|(value, _)| value.replace(99)));
            assert_eq!(seen, vec![None; workers]);
        }
        assert_eq!(census.dropped(), 0);
        assert!(local.into_iter().map(|(value, _)| value.into_inner()).eq(1..=workers));
        census.assert_all_dropped(workers);
    }
}

#[test]
fn each_value_is_dropped_once() {
    let _watch = watch("dropped once", 30);
    for workers in WORKERS {
        let system = system(workers);
        let census = Census::default();
        let make = || WorkerLocal::new(&system, |_| census.item());
        drop(make());
        census.assert_all_dropped(workers);
        let values = make().into_values();
        assert_eq!((values.len(), census.dropped()), (workers, workers));
        drop(values);
        census.assert_all_dropped(2 * workers);
        let mut half_way = make().into_iter();
        assert_eq!(half_way.len(), workers);
        drop(half_way.next());
        assert_eq!(census.dropped(), 2 * workers + 1);
        drop(half_way);
        census.assert_all_dropped(3 * workers);
        // Inside of a job, with a value in use by nobody; and by the last of many owners.
        let local = make();
        system.run(move || drop(local));
        census.assert_all_dropped(4 * workers);
        let shared = Arc::new(make());
        for _ in 0..20 {
            let theirs = Arc::clone(&shared);
            drop(system.spawn(move || theirs.with(|_| ramie::yield_now())));
        }
        drop(shared);
        system.wait_idle();
        census.assert_all_dropped(5 * workers);
    }
}

#[test]
fn a_panic_while_values_are_made_drops_those_that_were() {
    let system = system(3);
    let census = Census::default();
    let payload = panic_of(|| {
        WorkerLocal::new(&system, |worker| if worker == 2 { planned(2) } else { census.item() });
    });
    assert_eq!(planned_id(&*payload), 2);
    census.assert_all_dropped(2);
}

#[test]
fn a_panic_inside_of_a_call_passes_and_the_value_stays() {
    let _watch = watch("panic inside", 30);
    for workers in WORKERS {
        let system = system(workers);
        let local = WorkerLocal::new(&system, |_| Mutex::new(0));
        for with in [
            |local: &WorkerLocal<Mutex<u64>>| local.with(|_| planned(7)),
            |local: &WorkerLocal<Mutex<u64>>| local.try_with(|_| planned(7)).expect("there is a value"),
        ] {
            let payload = panic_of(|| system.run(|| with(&local)));
            assert_eq!(planned_id(&*payload), 7);
        }
        system.broadcast(|| local.with(|value| *value.lock().expect("not poisoned") += 1));
        assert_eq!(
            local.into_iter().map(|value| value.into_inner().expect("not poisoned")).sum::<u64>(),
            workers as u64
        );
    }
}

#[test]
fn values_that_are_sync_can_be_read_from_anywhere() {
    let _watch = watch("read from anywhere", 30);
    for workers in WORKERS {
        let system = system(workers);
        let local = WorkerLocal::new(&system, |_| AtomicUsize::new(0));
        system.scope(|s| {
            (0..100)
                .for_each(|_| drop(s.spawn(|| local.with(|count| count.fetch_add(1, Ordering::Relaxed)))));
            // While the jobs run: it is never more than there are.
            assert!(local.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>() <= 100);
        });
        let all = (0..workers).map(|worker| local.get(worker).expect("a worker").load(Ordering::Relaxed));
        assert_eq!(all.sum::<usize>(), 100);
        assert!(local.get(workers).is_none() && local.get(usize::MAX).is_none());
        assert_eq!(local.iter().len(), workers);
    }
}

#[test]
fn each_value_has_cache_lines_of_its_own() {
    let _watch = watch("padding", 30);
    let system = system(8);
    let local = WorkerLocal::new(&system, |_| 0_u8);
    let places: Vec<usize> = local.iter().map(|value| std::ptr::from_ref(value).addr()).collect();
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 64), "{places:?}");
    assert!(places.iter().all(|place| place % 64 == 0), "{places:?}");
}

#[test]
fn a_worker_local_can_be_shared_sent_and_printed() {
    fn shared<T: Send + Sync>(_: &T) {}
    let system = system(2);
    let local = WorkerLocal::new(&system, |_| Cell::new(RefCell::new(5)));
    shared(&local);
    let text = format!("{local:?}");
    assert!(text.contains("WorkerLocal") && text.contains("workers: 2"), "{text}");
}
