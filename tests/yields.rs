//! Yielding lets others run, and nobody starves: neither behind fibers that wake each other, nor behind one that yields
//! for ever, nor below a deque that never runs empty.

mod common;

use common::{WORKERS, system, watch};
use ramie::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn flag() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(false));
    (Arc::clone(&flag), flag)
}

/// RustFiber: yield pops itself straight back, so that one worker livelocks when the yielder waits for its own child.
#[test]
fn rustfiber_yield_lets_a_child_run() {
    let _watch = watch("RustFiber yield", 30);
    for workers in WORKERS {
        system(workers).run(|| {
            for _ in 0..100 {
                let (ran, theirs) = flag();
                drop(ramie::spawn(move || theirs.store(true, Ordering::SeqCst)));
                while !ran.load(Ordering::SeqCst) {
                    ramie::yield_now();
                }
            }
        });
    }
}

#[test]
fn yield_lets_other_fibers_and_outside_jobs_run() {
    let _watch = watch("yield others", 30);
    for workers in WORKERS {
        let system = system(workers);
        // Any number of fibers that yield until all have come as far.
        let arrived = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..50)
            .map(|_| {
                let arrived = Arc::clone(&arrived);
                system.spawn(move || {
                    for round in 1..=20 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        while arrived.load(Ordering::SeqCst) < 50 * round {
                            ramie::yield_now();
                        }
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it ends"));
    }
}

/// A job from outside is started although a fiber yields for ever.
#[test]
fn an_outside_job_is_started_beside_a_fiber_that_yields_for_ever() {
    let _watch = watch("yield for ever", 30);
    for workers in WORKERS {
        let system = system(workers);
        let (stop, theirs) = flag();
        let count = workers.min(8);
        let yielders: Vec<_> = (0..count)
            .map(|_| {
                let theirs = Arc::clone(&theirs);
                system.spawn(move || {
                    while !theirs.load(Ordering::SeqCst) {
                        ramie::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..50 {
            system.spawn(|| ()).join().expect("it is started");
        }
        stop.store(true, Ordering::SeqCst);
        yielders.into_iter().for_each(|yielder| yielder.join().expect("it ends"));
    }
}

/// ... and although two fibers on each worker wake each other for ever.
#[test]
fn an_outside_job_is_started_beside_fibers_that_wake_each_other_for_ever() {
    let _watch = watch("wake each other", 60);
    for workers in [1, 2, 3, 8] {
        let system = system(workers);
        let (stop, theirs) = flag();
        let mut players = Vec::new();
        for _ in 0..2 * workers {
            // A baton goes to and fro: each leg is a counter of its own.
            let legs: Arc<Vec<std::sync::Mutex<Counter>>> =
                Arc::new((0..2).map(|_| std::sync::Mutex::new(Counter::new(1))).collect());
            for side in 0..2 {
                let (legs, theirs) = (Arc::clone(&legs), Arc::clone(&theirs));
                players.push(system.spawn(move || {
                    let get = |side: usize| legs[side].lock().expect("not poisoned").clone();
                    if side == 0 {
                        get(0).signal();
                    }
                    loop {
                        let mine = get(side);
                        mine.wait();
                        // A new leg for the next round, before the other side may signal it.
                        *legs[side].lock().expect("not poisoned") = Counter::new(1);
                        let stopping = theirs.load(Ordering::SeqCst);
                        let other = get(1 - side);
                        if !other.is_zero() {
                            other.signal();
                        }
                        if stopping {
                            break;
                        }
                    }
                }));
            }
        }
        for _ in 0..20 {
            system.spawn(|| ()).join().expect("it is started");
        }
        stop.store(true, Ordering::SeqCst);
        // Whoever still waits for a partner that has stopped is let go.
        players.into_iter().for_each(|player| player.join().expect("it ends"));
    }
}

/// The oldest job of a deque that never runs empty is started.
#[test]
fn the_oldest_job_of_a_deque_that_never_runs_empty_is_started() {
    let _watch = watch("oldest job", 30);
    fn refill(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::SeqCst) {
            // Newest first: without the fair turn the older job below would never come.
            drop(ramie::spawn(move || refill(stop)));
        }
    }
    let system = system(1);
    for _ in 0..20 {
        let (stop, theirs) = flag();
        system
            .spawn(move || {
                let oldest = Arc::clone(&theirs);
                drop(ramie::spawn(move || oldest.store(true, Ordering::SeqCst)));
                drop(ramie::spawn(move || refill(theirs)));
            })
            .join()
            .expect("it ends");
        system.wait_idle();
        assert!(stop.load(Ordering::SeqCst));
    }
}

/// An outside job is started beside a deque that never runs empty.
#[test]
fn an_outside_job_is_started_beside_a_deque_that_never_runs_empty() {
    let _watch = watch("outside beside deque", 30);
    fn refill(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::SeqCst) {
            drop(ramie::spawn(move || refill(stop)));
        }
    }
    let system = system(1);
    let (stop, theirs) = flag();
    drop(system.spawn(move || refill(theirs)));
    for _ in 0..50 {
        system.spawn(|| ()).join().expect("it is started");
    }
    stop.store(true, Ordering::SeqCst);
    system.wait_idle();
}

/// A fiber that yielded goes on beside a deque that never runs empty, and so does one that was woken.
#[test]
fn fibers_go_on_beside_a_deque_that_never_runs_empty() {
    let _watch = watch("fibers beside deque", 30);
    fn refill(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::SeqCst) {
            drop(ramie::spawn(move || refill(stop)));
        }
    }
    let system = system(1);
    for _ in 0..20 {
        let (stop, theirs) = flag();
        system.run(|| {
            drop(ramie::spawn(move || refill(theirs)));
            for _ in 0..10 {
                ramie::yield_now();
            }
            let gate = Counter::new(1);
            let opened = gate.clone();
            drop(ramie::spawn(move || opened.signal()));
            gate.wait();
            stop.store(true, Ordering::SeqCst);
        });
        system.wait_idle();
    }
}

/// A broadcast's call is started beside all of these.
#[test]
fn a_broadcast_comes_through() {
    let _watch = watch("broadcast comes through", 30);
    for workers in [1, 2, 3, 8] {
        let system = system(workers);
        let (stop, theirs) = flag();
        let yielders: Vec<_> = (0..2 * workers)
            .map(|_| {
                let theirs = Arc::clone(&theirs);
                system.spawn(move || {
                    while !theirs.load(Ordering::SeqCst) {
                        ramie::join(|| (), || ());
                        ramie::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(system.broadcast(|| 1).len(), workers);
        }
        stop.store(true, Ordering::SeqCst);
        yielders.into_iter().for_each(|yielder| yielder.join().expect("it ends"));
    }
}

#[test]
fn yield_outside_of_a_job_is_harmless() {
    ramie::yield_now();
    assert!(!ramie::in_job());
}

/// At the limit, whoever is woken goes on, although another fiber of its worker yields again and again.
#[test]
fn a_woken_fiber_goes_on_beside_one_that_yields_at_the_limit() {
    let _watch = watch("yields at the limit", 30);
    let system = common::builder().workers(1).max_fibers(2).build().expect("a system");
    let (gate, woken) = (Counter::new(1), Arc::new(AtomicBool::new(false)));
    let waiter = {
        let (gate, woken) = (gate.clone(), Arc::clone(&woken));
        system.spawn(move || {
            gate.wait();
            woken.store(true, Ordering::SeqCst);
        })
    };
    let yielder = system.spawn(move || {
        // The waiter has one of the two fibers, and this job the other.
        gate.signal();
        while !woken.load(Ordering::SeqCst) {
            ramie::yield_now();
        }
    });
    assert!(waiter.join().is_ok() && yielder.join().is_ok());
}
