//! loom: whoever is let through sees what was done before each count-down, and nobody waits for good.

#![expect(unsafe_code, reason = "data behind the modelled latch")]

use super::LatchWord;
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

const COUNT: usize = 2;

struct Model {
    word: LatchWord,
    waiter: [Waiter; 1],
    /// Written by each before it counts down.
    done: [UnsafeCell<bool>; COUNT],
}

// SAFETY: loom checks all accesses to the cells; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn count_down(&self, me: usize) {
        // SAFETY: nobody else writes this one.
        self.done[me].with_mut(|done| unsafe { *done = true });
        if self.word.count_down().expect("as often as was said") {
            self.word.open().wake_each(|node| wake_one_of(&self.waiter, node));
        }
    }

    fn wait(&self, gives_up: bool) {
        let passed = self.word.count() == 0 || {
            let waited = self.waiter[0].wait_in(
                &self.word.queue,
                0,
                gives_up,
                |node| wake_one_of(&self.waiter, node),
                |_, _| self.word.announce().then_some(false),
                |_, _| {},
            );
            !matches!(waited, Some(Err(())))
        };
        if passed {
            // SAFETY: loom checks that they were written before.
            self.done.iter().for_each(|done| done.with(|done| assert!(unsafe { *done })));
        }
    }
}

fn check(gives_up: bool) {
    explore(2, move || {
        let model = Arc::new(Model {
            word: LatchWord::new(COUNT),
            waiter: [Waiter::new(1)],
            done: std::array::from_fn(|_| UnsafeCell::new(false)),
        });
        let others: Vec<_> = (0..COUNT)
            .map(|me| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.count_down(me))
            })
            .collect();
        model.wait(gives_up);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(model.word.count() == 0 && model.word.count_down().is_none());
    });
}

/// 3 threads, preemption bound 2.
#[test]
fn model_a_latch_lets_through_when_all_have_counted_down() {
    check(false);
}

/// 3 threads, preemption bound 2.
#[test]
fn model_a_waiter_leaves_a_latch() {
    check(true);
}
