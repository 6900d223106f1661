//! A started fiber stays on its worker's thread: what is not `Send` may live across waits.

mod common;

use common::{WORKERS, soak, system, watch};
use ramie::Counter;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static SHARED: Rc<Cell<usize>> = Rc::new(Cell::new(0));
    static BORROWED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// The address of a thread-local, found anew each time.
#[inline(never)]
fn address() -> usize {
    SHARED.with(|shared| std::ptr::from_ref(shared).addr())
}

/// An `Rc` from a thread-local, held across ten thousand waits while other fibers do the same.
#[test]
fn an_rc_of_a_thread_local_survives_ten_thousand_waits() {
    let _watch = watch("Rc", 180);
    for workers in WORKERS {
        let system = system(workers);
        let helper = common::system(1);
        let waits = 10_000 * soak();
        let fibers = 4;
        let handles: Vec<_> = (0..fibers)
            .map(|fiber| {
                let helper = helper.clone();
                system.spawn(move || {
                    let shared = SHARED.with(Rc::clone);
                    HELD.with(|held| held.set(held.get() + 1));
                    let (thread, worker, place) =
                        (std::thread::current().id(), ramie::current_worker(), address());
                    for i in 0..waits {
                        let gate = Counter::new(1);
                        let theirs = gate.clone();
                        // Every so often the signal comes from another system's thread.
                        let signal = move || theirs.signal();
                        if (i + fiber) % 50 == 0 {
                            drop(helper.spawn(signal))
                        } else {
                            drop(ramie::spawn(signal))
                        }
                        let again = Rc::clone(&shared);
                        gate.wait();
                        again.set(again.get() + 1);
                        assert_eq!(std::thread::current().id(), thread);
                        assert_eq!(ramie::current_worker(), worker);
                        assert_eq!(address(), place);
                    }
                    drop(shared);
                    HELD.with(|held| held.set(held.get() - 1));
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it stays"));
        let sums = system.broadcast(|| {
            assert_eq!(HELD.with(Cell::get), 0);
            // The thread-local's own, and the one that `with` gave out here.
            let shared = SHARED.with(Rc::clone);
            assert_eq!(Rc::strong_count(&shared), 2, "no count was lost or made on another thread");
            shared.replace(0)
        });
        assert_eq!(sums.into_iter().sum::<usize>(), waits * fibers);
    }
}

/// The borrow of a `RefCell` in a thread-local, held across a wait.
#[test]
fn a_borrow_of_a_thread_local_may_be_held_across_a_wait() {
    let _watch = watch("RefCell", 60);
    for workers in WORKERS {
        let system = system(workers);
        let conflicts = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..100_u32)
            .map(|i| {
                let conflicts = Arc::clone(&conflicts);
                system.spawn(move || {
                    BORROWED.with(|cell| {
                        // Another fiber of this thread may hold it: that is seen, and is no data race.
                        let Ok(mut borrow) = cell.try_borrow_mut() else {
                            conflicts.fetch_add(1, Ordering::Relaxed);
                            return;
                        };
                        borrow.push(i);
                        let len = borrow.len();
                        for _ in 0..5 {
                            ramie::yield_now();
                        }
                        assert_eq!(borrow.len(), len, "nobody else could push meanwhile");
                        assert_eq!(borrow.last(), Some(&i));
                    });
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("no data race"));
        let pushed: usize = system.broadcast(|| BORROWED.with(|cell| cell.take().len())).into_iter().sum();
        assert_eq!(pushed + conflicts.load(Ordering::Relaxed), 100);
    }
}

/// All ways to wait keep the thread, also when the waker runs elsewhere.
#[test]
fn every_kind_of_wait_keeps_the_thread() {
    let _watch = watch("kinds", 60);
    for workers in WORKERS {
        let system = system(workers);
        let helper = common::system(2);
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let helper = helper.clone();
                system.spawn(move || {
                    let not_send = Rc::new(Cell::new(0));
                    let thread = std::thread::current().id();
                    let stays = || {
                        assert_eq!(std::thread::current().id(), thread);
                        not_send.set(not_send.get() + 1);
                    };
                    for _ in 0..20 {
                        ramie::yield_now();
                        stays();
                        ramie::scope(|s| (0..4).for_each(|_| drop(s.spawn(ramie::yield_now))));
                        stays();
                        ramie::join(ramie::yield_now, ramie::yield_now);
                        stays();
                        helper.spawn(|| ()).join().expect("it runs");
                        stays();
                        helper.run(|| ());
                        stays();
                        helper.spawn_batch([|| ()]).wait();
                        stays();
                        helper.wait_idle();
                        stays();
                        ramie::par(0..50_u32).for_each(|_| ramie::yield_now());
                        stays();
                        let never = Counter::new(1);
                        never.wait_timeout(std::time::Duration::from_micros(20)).expect_err("nobody signals");
                        stays();
                    }
                    assert_eq!(not_send.get(), 9 * 20);
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it stays"));
    }
}
