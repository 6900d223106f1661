//! loom: no notification is lost that comes after a waiter gave up the mutex, nor one that meets a waiter whose time is over.

use super::CondvarWord;
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::sync::{Mutex, MutexGuard};
use loom::thread;
use std::sync::Arc;

const WAITERS: usize = 2;

struct Model {
    word: CondvarWord,
    waiters: [Waiter; WAITERS],
    /// What the condition is about. Any mutex will do.
    items: Mutex<usize>,
}

impl Model {
    fn notify(&self, most: usize) {
        if self.word.is_waited_for() {
            self.word.notify(most).0.wake_each(|node| wake_one_of(&self.waiters, node));
        }
    }

    /// `Condvar::wait_on`: whether there was a notification.
    fn wait<'a>(
        &'a self,
        me: usize,
        guard: MutexGuard<'a, usize>,
        gives_up: bool,
    ) -> (MutexGuard<'a, usize>, bool) {
        let waited = self.waiters[me].wait_in_after(
            &self.word.queue,
            0,
            gives_up,
            |node| wake_one_of(&self.waiters, node),
            |_, _| {
                self.word.announce();
                Some(false)
            },
            || drop(guard),
            |list, _| self.word.note_left(list),
        );
        (self.items.lock().unwrap(), waited.expect("it always waits").is_ok())
    }

    fn take(&self, me: usize) {
        let mut items = self.items.lock().unwrap();
        while *items == 0 {
            items = self.wait(me, items, false).0;
        }
        *items -= 1;
    }

    fn put(&self, count: usize) {
        *self.items.lock().unwrap() += count;
    }
}

/// Runs `first` and `second`, with a waiter each, beside `third`.
fn check(first: fn(&Model), second: fn(&Model), third: fn(&Model)) {
    explore(2, move || {
        let model = Arc::new(Model {
            word: CondvarWord::new(),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            items: Mutex::new(0),
        });
        let others = [first, second].map(|run| {
            let model = Arc::clone(&model);
            thread::spawn(move || run(&model))
        });
        third(&model);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!model.word.is_waited_for(), "somebody is still said to wait");
        assert_eq!(*model.items.lock().unwrap(), 0);
    });
}

/// 3 threads, preemption bound 2: the mutex is free when they are notified.
#[test]
fn model_each_notification_wakes_one() {
    let put = |model: &Model| {
        for _ in 0..2 {
            model.put(1);
            model.notify(1);
        }
    };
    check(|model| model.take(0), |model| model.take(1), put);
}

/// 3 threads, preemption bound 2.
#[test]
fn model_all_are_notified() {
    let put = |model: &Model| {
        model.put(2);
        model.notify(usize::MAX);
    };
    check(|model| model.take(0), |model| model.take(1), put);
}

/// 3 threads, preemption bound 2: one leaves as it is notified. If it was, it hands that on; if not, the other one was.
#[test]
fn model_a_notification_is_not_lost_on_one_who_leaves() {
    let leave = |model: &Model| {
        let guard = model.items.lock().unwrap();
        if *guard == 0 {
            let (guard, is_notified) = model.wait(0, guard, true);
            drop(guard);
            if is_notified {
                model.notify(1);
            }
        }
    };
    let put = |model: &Model| {
        model.put(1);
        model.notify(1);
    };
    check(leave, |model| model.take(1), put);
}
