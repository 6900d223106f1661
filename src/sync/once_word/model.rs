//! loom: it is done once, by one at a time; whoever waits for that sees it, and does not wait for good when the first one fails.

#![expect(unsafe_code, reason = "data behind the modelled word")]

use super::{For, OnceWord};
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

const WAITERS: usize = 3;

struct Model {
    word: OnceWord,
    waiters: [Waiter; WAITERS],
    /// How often it was begun: loom finds two at once.
    begun: UnsafeCell<usize>,
}

// SAFETY: loom checks all accesses to the cell; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    /// `Once::wait_for`: whether it was done, or it may be the caller's turn.
    fn wait_for(&self, me: usize, what: For, gives_up: bool) -> bool {
        loop {
            let waited = self.waiters[me].wait_in(
                &self.word.queue,
                0,
                gives_up,
                |node| wake_one_of(&self.waiters, node),
                |_, _| self.word.must_wait(what).then_some(false),
                |_, _| {},
            );
            match waited {
                Some(Err(())) if !self.word.is_done() => return false,
                _ if what == For::ItsTurn || self.word.is_done() => return true,
                _ => {}
            }
        }
    }

    /// `Once::call_once`, of which so many fail.
    fn call(&self, me: usize, failures: usize) {
        while !self.word.is_done() {
            if self.word.begin() {
                // SAFETY: loom checks that nobody else is in here.
                let before = self.begun.with_mut(|begun| unsafe {
                    *begun += 1;
                    *begun - 1
                });
                let woken = self.word.end(before >= failures);
                woken.wake_each(|node| wake_one_of(&self.waiters, node));
                return;
            }
            assert!(self.wait_for(me, For::ItsTurn, false));
        }
        self.see(failures);
    }

    fn see(&self, failures: usize) {
        // SAFETY: loom checks that it was written before.
        self.begun.with(|begun| assert_eq!(unsafe { *begun }, failures + 1));
    }
}

fn check(failures: usize, gives_up: bool) {
    explore(2, move || {
        let model = Arc::new(Model {
            word: OnceWord::new(),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            begun: UnsafeCell::new(0),
        });
        let doers: Vec<_> = (1..3)
            .map(|me| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.call(me, failures))
            })
            .collect();
        if model.wait_for(0, For::TheEnd, gives_up) {
            model.see(failures);
        }
        doers.into_iter().for_each(|doer| doer.join().unwrap());
        assert!(model.word.is_done());
        model.see(failures);
    });
}

/// 3 threads, preemption bound 2.
#[test]
fn model_it_is_done_once() {
    check(0, false);
}

/// 3 threads, preemption bound 2: the first one fails, and the second does it.
#[test]
fn model_who_fails_leaves_it_to_the_next() {
    check(1, false);
}

/// 3 threads, preemption bound 2: whoever waits for the end leaves.
#[test]
fn model_who_waits_for_the_end_leaves() {
    check(1, true);
}
