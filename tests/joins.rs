//! `join` at the edges: changed priorities, callbacks and destructors on workers' threads, threads that drive two systems.

mod common;

use common::{WORKERS, spin_until, sticky, system, watch};
use ramie::{JobSystem, Priority};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

/// A tree of joins, whose leaves are counted.
fn tree(depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let (a, b) = ramie::join(|| tree(depth - 1), || tree(depth - 1));
    a + b
}

/// So deep that a deque's first ring is too small for the halves.
fn list(length: usize) -> usize {
    if length == 0 {
        return 0;
    }
    let (a, b) = ramie::join(|| list(length - 1), || 1);
    a + b
}

#[test]
fn a_half_is_found_again_when_the_ring_has_grown() {
    let _watch = watch("growth", 60);
    for workers in WORKERS {
        let system = common::builder().workers(workers).stack_size(4 << 20).build().unwrap();
        assert_eq!(system.run(|| list(3_000)), 3_000);
        // And in the ring as it is now.
        assert_eq!(system.run(|| (list(3_000), tree(10))), (3_000, 1 << 10));
    }
}

#[test]
fn the_first_half_may_change_its_priority_for_a_while() {
    let _watch = watch("priority", 60);
    for workers in WORKERS {
        let system = system(workers);
        for (outer, inner) in [(Priority::Normal, Priority::High), (Priority::Low, Priority::Normal)] {
            let ran = AtomicUsize::new(0);
            let run = || {
                let looped = || {
                    ramie::par(0..100_u32).grain(1).priority(inner).for_each(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                    ramie::current_priority()
                };
                let ((before, _), after) =
                    ramie::join(|| ramie::join(looped, || tree(4)), ramie::current_priority);
                assert_eq!((before, after), (Some(outer), Some(outer)));
                tree(6)
            };
            let leaves = system.scope(|s| s.job().priority(outer).spawn(run).join().unwrap());
            assert_eq!((leaves, ran.into_inner()), (1 << 6, 100));
        }
    }
}

#[test]
fn the_first_half_may_run_a_more_urgent_job_in_place() {
    let _watch = watch("in place", 60);
    for workers in WORKERS {
        let system = system(workers);
        let found = system.run(|| {
            let (urgent, priority) = ramie::join(
                || {
                    ramie::scope(|s| {
                        let job =
                            s.job().priority(Priority::High).spawn(|| (ramie::current_priority(), tree(5)));
                        job.join().unwrap()
                    })
                },
                ramie::current_priority,
            );
            (urgent, priority, tree(5))
        });
        assert_eq!(found, ((Some(Priority::High), 32), Some(Priority::Normal), 32));
    }
}

/// Callbacks and destructors of thread-locals are on a worker's thread and on no fiber.
#[test]
fn joins_on_a_workers_thread_outside_of_jobs_go_elsewhere() {
    struct AtEnd(mpsc::Sender<(&'static str, usize)>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.0.send(("destructor", tree(5))).unwrap();
        }
    }
    thread_local!(static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) });

    let _watch = watch("callbacks", 60);
    let (sender, found) = mpsc::channel();
    let (starts, stops) = (Mutex::new(sender.clone()), Mutex::new(sender.clone()));
    let system = sticky()
        .workers(2)
        .on_worker_start(move |_| starts.lock().unwrap().send(("start", tree(5))).unwrap())
        .on_worker_stop(move |_| stops.lock().unwrap().send(("stop", tree(5))).unwrap())
        .build()
        .unwrap();
    for worker in 0..2 {
        let sender = sender.clone();
        let set = move || AT_END.with(|at_end| *at_end.borrow_mut() = Some(AtEnd(sender)));
        system.job().on_worker(worker).spawn(set).join().unwrap();
    }
    assert_eq!(system.run(|| tree(8)), 256);
    drop((system, sender));
    let mut found: Vec<_> = found.iter().collect();
    found.sort_unstable();
    let each = |what| [(what, 32); 2];
    assert_eq!(found, [each("destructor"), each("start"), each("stop")].concat());
}

#[test]
fn joins_on_a_main_thread_between_its_visits_go_elsewhere() {
    let _watch = watch("between visits", 60);
    for workers in [1, 2, 3] {
        let system = common::builder().workers(workers).main_thread_worker(true).build().unwrap();
        assert_eq!(system.run(|| tree(8)), 256);
        assert_eq!(tree(5), 32);
        system.pump(std::time::Duration::ZERO);
        assert_eq!(tree(5), 32);
        drop(system);
        assert_eq!(tree(5), 32);
    }
}

/// A worker's thread that was another system's worker for a while is its own system's again.
#[test]
fn a_workers_thread_may_visit_another_system() {
    let _watch = watch("two systems", 60);
    for workers in [1, 2, 3] {
        let visited = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visited);
        let outer = sticky()
            .workers(workers)
            .on_worker_start(move |_| {
                let inner = JobSystem::builder().workers(2).main_thread_worker(true).build().unwrap();
                counted.fetch_add(inner.run(|| tree(6)), Ordering::SeqCst);
            })
            .build()
            .unwrap();
        spin_until(|| visited.load(Ordering::SeqCst) == workers << 6);
        for _ in 0..20 {
            assert_eq!(outer.run(|| (tree(10), ramie::current_worker().is_some())), (1 << 10, true));
        }
    }
}
