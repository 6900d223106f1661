//! loom: nobody waits for good for an event that is set, each set of an auto event lets at most one through, and what was done before is seen.

#![expect(unsafe_code, reason = "data behind the modelled event")]

use super::EventWord;
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

const WAITERS: usize = 2;

struct Model {
    word: EventWord,
    waiters: [Waiter; WAITERS],
    /// Written before the first set, read by whoever was let through.
    done: UnsafeCell<bool>,
}

// SAFETY: loom checks all accesses to the cell; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new(is_auto: bool) -> Arc<Self> {
        Arc::new(Self {
            word: EventWord::new(is_auto),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            done: UnsafeCell::new(false),
        })
    }

    fn set(&self) {
        if !self.word.try_set() {
            self.word.let_through().wake_each(|node| wake_one_of(&self.waiters, node));
        }
    }

    /// Whether it was let through.
    fn wait(&self, me: usize, gives_up: bool) -> bool {
        let passed = self.word.try_pass() || {
            let waited = self.waiters[me].wait_in(
                &self.word.queue,
                0,
                gives_up,
                |node| wake_one_of(&self.waiters, node),
                |_, _| self.word.announce().then_some(false),
                |list, _| self.word.note_left(list),
            );
            !matches!(waited, Some(Err(())))
        };
        if passed {
            // SAFETY: loom checks that it was written before.
            self.done.with(|done| assert!(unsafe { *done }));
        }
        passed
    }
}

/// Two wait, of whom those of `gives_up` may leave, and one sets it, once. With `hands_on`, those who may leave and were let through
/// set it for the other one. How many were let through.
fn check(is_auto: bool, gives_up: &'static [usize], hands_on: bool, passes: fn(usize) -> bool) {
    explore(2, move || {
        let model = Model::new(is_auto);
        let waiters: Vec<_> = (0..WAITERS)
            .map(|me| {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    let passed = model.wait(me, gives_up.contains(&me));
                    if passed && hands_on && gives_up.contains(&me) {
                        model.set();
                    }
                    usize::from(passed)
                })
            })
            .collect();
        // SAFETY: nobody reads before the first set.
        model.done.with_mut(|done| unsafe { *done = true });
        model.set();
        let passed: usize = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        assert!(passes(passed), "{passed} were let through");
        let left = model.word.is_set();
        let most = if hands_on { 2 } else { 1 };
        assert!(if is_auto { passed + usize::from(left) <= most } else { left });
        assert!(model.word.try_set(), "somebody is still said to wait");
    });
}

/// 3 threads, preemption bound 2.
#[test]
fn model_a_manual_event_lets_all_through() {
    check(false, &[], false, |passed| passed == 2);
}

/// 3 threads, preemption bound 2: one leaves as it is set, or hands it on; the other is let through in any case.
#[test]
fn model_a_set_goes_to_one_who_is_still_there() {
    check(true, &[0], true, |passed| passed >= 1);
}

/// 3 threads, preemption bound 2: both may leave.
#[test]
fn model_who_leaves_takes_no_set_along() {
    check(true, &[0, 1], false, |passed| passed <= 1);
}
