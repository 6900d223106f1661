//! loom: a tier that was raised does not stay asleep, and a controller that has stopped looking is told when nobody sleeps any more.

use super::Spillover;
use crate::primitives::{Ordering, explore};
use crate::sched::sleep::{Sleep, Woken};
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;

/// What `find_work::sleep_with_tier` and the controller do.
#[test]
fn model_a_tier_that_is_raised_wakes() {
    explore(3, || {
        let shared = Arc::new((Spillover::new(1), Notify::new()));
        let theirs = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let (spillover, token) = &*theirs;
            // Worker 1 is of the second tier.
            while spillover.awake() <= 1 {
                token.wait();
            }
        });
        let (spillover, token) = &*shared;
        spillover.awake.swap(2, Ordering::SeqCst);
        token.notify();
        worker.join().expect("no panic");
    });
}

/// A worker wakes, or finds work, just as the controller stops looking.
fn controller_is_told(wakes_by_itself: bool) {
    explore(3, move || {
        let sleep = Sleep::new(1, 1, false);
        sleep.announce(0, false, false);
        let spillover = Spillover::new(1);
        spillover.looking.store(1, Ordering::Relaxed);
        let shared = Arc::new((sleep, spillover, Notify::new()));
        let theirs = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let (sleep, spillover, token) = &*theirs;
            if wakes_by_itself {
                assert_eq!(sleep.wake_self(0, false), Woken::ByItself);
            } else {
                // Somebody else wakes it for a job.
                assert_eq!(sleep.claim_sleeper(crate::sched::priority::Priority::Normal), Some(0));
                assert_eq!(sleep.wake_self(0, false), Woken::ToSearch);
                let _was_last = sleep.end_search();
            }
            if spillover.arm(sleep) {
                token.notify();
            }
        });
        let (sleep, spillover, token) = &*shared;
        if spillover.stop_looking(sleep) {
            // Nobody sleeps for good: this must not hang.
            token.wait();
        }
        worker.join().expect("no panic");
        assert_eq!(spillover.looking.load(Ordering::Relaxed), 1, "somebody must look at the load");
    });
}

#[test]
fn model_the_controller_is_told_that_a_worker_woke() {
    controller_is_told(true);
}

#[test]
fn model_the_controller_is_told_that_a_worker_was_woken() {
    controller_is_told(false);
}
