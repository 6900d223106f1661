//! Waits during which a lock is held are counted by place, on request. One test: the counts are the process's.

mod common;

use common::{spin_until, watch};
use ramie::Counter;
use ramie::sync::{Condvar, Mutex, RwLock, WaitsWithLock, count_waits_with_locks, waits_with_locks};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[test]
fn waits_during_which_a_lock_is_held_are_counted_by_place() {
    let _watch = watch("waits with locks", 60);
    let system = common::system(1);
    let (mutex, rwlock, condvar) = (Mutex::new(0), RwLock::new(0), Condvar::new());
    let wait_with_lock = || {
        let guard = mutex.lock();
        ramie::yield_now();
        drop(guard);
        // Without a lock.
        ramie::yield_now();
    };
    // Nobody has asked.
    system.run(wait_with_lock);
    assert!(waits_with_locks().is_empty());
    count_waits_with_locks(true);
    let lines = system.run(|| {
        (0..3).for_each(|_| wait_with_lock());
        // The lock that was taken last; and a read lock is one.
        let outer = mutex.try_lock().expect("nobody has it");
        let lock_line = line!() + 1;
        let inner = rwlock.read();
        let wait_line = line!() + 1;
        ramie::yield_now();
        drop(inner);
        drop(outer);
        // Jobs that run meanwhile hold nothing, and one that is resumed holds what it held.
        let gate = Counter::new(1);
        ramie::scope(|s| {
            s.detach(|| {
                let _guard = rwlock.write();
                gate.wait();
            });
            s.detach(|| {
                ramie::yield_now();
                gate.signal();
                ramie::yield_now();
            });
        });
        (lock_line, wait_line)
    });
    // A wait for a condition gives the mutex up.
    system.scope(|s| {
        s.detach(|| condvar.wait_while(&mut mutex.lock(), |n| *n == 0));
        s.detach(|| {
            *mutex.lock() = 1;
            condvar.notify_all();
        });
    });
    count_waits_with_locks(false);
    system.run(wait_with_lock);
    let counted = waits_with_locks();
    let total: u64 = counted.iter().map(|waits| waits.count).sum();
    assert_eq!((counted.len(), counted[0].count, total), (3, 3, 5), "{counted:#?}");
    let nested = |waits: &&WaitsWithLock| {
        waits.locked_at.file() == file!() && (waits.locked_at.line(), waits.waited_at.line()) == lines
    };
    assert!(counted.iter().any(|waits| nested(&waits)), "{counted:#?}");
    count_waits_with_locks(true);
    assert!(waits_with_locks().is_empty(), "begun anew");
    count_waits_with_locks(false);
    // What was held when nobody counted any longer is not held when somebody counts again: it was not seen how it was given up.
    count_waits_with_locks(true);
    system.run(|| {
        let guard = mutex.lock();
        count_waits_with_locks(false);
        ramie::yield_now();
        drop(guard);
        count_waits_with_locks(true);
        ramie::yield_now();
        // Nor does the next job hold what this one leaks.
        std::mem::forget(rwlock.read());
    });
    system.run(ramie::yield_now);
    assert_eq!(waits_with_locks(), []);
    // One that is lent to those who wait is held again afterwards, and given up only once.
    let lent = Mutex::new(0);
    system.run(|| {
        let bump_line = std::cell::Cell::new(0);
        let mut guard = lent.lock();
        ramie::scope(|s| {
            s.detach(|| *lent.lock() += 1);
            ramie::yield_now();
            bump_line.set(line!() + 1);
            lock_api::MutexGuard::bump(&mut guard);
        });
        assert_eq!(*guard, 1);
        let held_line = line!() + 1;
        ramie::yield_now();
        let waits = waits_with_locks();
        assert!(
            waits.iter().all(|waits| waits.waited_at.line() != bump_line.get()),
            "it is lent: {waits:#?}"
        );
        let here = waits.iter().filter(|waits| waits.waited_at.line() == held_line).count();
        assert_eq!(here, 1, "it holds it: {waits:#?}");
        drop(guard);
        let before: u64 = waits_with_locks().iter().map(|waits| waits.count).sum();
        ramie::yield_now();
        let after: u64 = waits_with_locks().iter().map(|waits| waits.count).sum();
        assert_eq!(before, after);
    });
    count_waits_with_locks(false);

    // A job that runs when it is asked for: what it locks from then on is its own, and nobody else's.
    let (runs, counts) = (AtomicBool::new(false), AtomicBool::new(false));
    let mutex = Mutex::new(0);
    system.scope(|s| {
        let (runs, counts, mutex) = (&runs, &counts, &mutex);
        s.detach(|| {
            // Resumed while the other one has its lock.
            ramie::yield_now();
            (0..3).for_each(|_| ramie::yield_now());
        });
        s.detach(move || {
            runs.store(true, SeqCst);
            spin_until(|| counts.load(SeqCst));
            let _guard = mutex.lock();
            ramie::yield_now();
        });
        spin_until(|| runs.load(SeqCst));
        count_waits_with_locks(true);
        counts.store(true, SeqCst);
    });
    count_waits_with_locks(false);
    let waits = waits_with_locks();
    assert_eq!(waits.iter().map(|waits| waits.count).sum::<u64>(), 1, "{waits:?}");
}
