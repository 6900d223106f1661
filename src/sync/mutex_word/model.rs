//! loom: one at a time has the mutex, sees what the one before did, and nobody sleeps for good.

#![expect(unsafe_code, reason = "data behind the modelled mutex")]

use super::{HANDED_OVER, LOSSES_MAX, MutexWord, WANTS_HANDOVER, WANTS_WAKE};
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

const LOCKERS: usize = 3;

struct Model {
    word: MutexWord,
    waiters: [Waiter; LOCKERS],
    /// Whether everybody hands the mutex over.
    is_fair: bool,
    /// How often the mutex was had: loom finds two at once.
    count: UnsafeCell<usize>,
}

// SAFETY: loom checks all accesses to the cell; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new(is_fair: bool) -> Arc<Self> {
        Arc::new(Self {
            is_fair,
            word: MutexWord::new(),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            count: UnsafeCell::new(0),
        })
    }

    /// `RawMutex::lock_slow`.
    fn lock(&self, me: usize, gives_up: bool) -> bool {
        if self.word.try_lock_uncontended() {
            return true;
        }
        let wake = |node| wake_one_of(&self.waiters, node);
        let (mut is_woken, mut losses) = (false, 0);
        loop {
            let was_had = if is_woken { self.word.try_lock_woken() } else { self.word.try_lock() };
            if was_had {
                return true;
            }
            if is_woken && gives_up {
                // No time is left.
                self.word.pass_on().wake_each(wake);
                return false;
            }
            let waited = self.waiters[me].wait_in(
                &self.word.queue,
                if losses >= LOSSES_MAX { WANTS_HANDOVER } else { WANTS_WAKE },
                gives_up,
                wake,
                |_, _| self.word.announce(is_woken).then_some(losses > 0),
                |list, _| self.word.note_left(list),
            );
            is_woken = false;
            match waited {
                None | Some(Ok(HANDED_OVER)) => return true,
                Some(Ok(_)) => (is_woken, losses) = (true, losses + 1),
                Some(Err(())) => return false,
            }
        }
    }

    fn unlock(&self) {
        if !self.word.unlock_uncontended() {
            let woken = if self.is_fair { self.word.hand_over() } else { self.word.unlock() };
            woken.wake_each(|node| wake_one_of(&self.waiters, node));
        }
    }

    fn count_once(&self, me: usize, gives_up: bool) -> usize {
        if !self.lock(me, gives_up) {
            return 0;
        }
        // SAFETY: loom checks that nobody else is in here.
        self.count.with_mut(|count| unsafe { *count += 1 });
        self.unlock();
        1
    }
}

/// Each of so many threads locks so often; those of `gives_up` may find that their time is over.
fn check(preemptions: usize, threads: usize, times: usize, gives_up: &'static [usize]) {
    check_with(false, preemptions, threads, times, gives_up);
}

fn check_with(is_fair: bool, preemptions: usize, threads: usize, times: usize, gives_up: &'static [usize]) {
    explore(preemptions, move || {
        let model = Model::new(is_fair);
        let run = |me: usize| {
            let model = Arc::clone(&model);
            move || (0..times).map(|_| model.count_once(me, gives_up.contains(&me))).sum::<usize>()
        };
        let others: Vec<_> = (1..threads).map(|me| thread::spawn(run(me))).collect();
        let mut counted = run(0)();
        for other in others {
            counted += other.join().unwrap();
        }
        // SAFETY: all threads have ended.
        model.count.with(|count| assert_eq!(unsafe { *count }, counted));
        assert!(!model.word.is_locked());
        assert!(model.word.try_lock_uncontended(), "something is left of the waiters");
    });
}

/// 2 threads, preemption bound 3.
#[test]
fn model_two_threads_take_turns() {
    check(3, 2, 2, &[]);
}

/// 3 threads, preemption bound 2: one waits, is woken, and may be overtaken.
#[test]
fn model_three_threads_get_the_mutex() {
    check(2, 3, 1, &[]);
}

/// 3 threads, preemption bound 2: one gives up, at any moment.
#[test]
fn model_a_waiter_that_gives_up_takes_nothing_along() {
    check(2, 3, 1, &[1]);
}

/// 2 threads, preemption bound 3: both may give up.
#[test]
fn model_waiters_that_give_up_leave_the_mutex_usable() {
    check(3, 2, 2, &[0, 1]);
}

/// 3 threads, preemption bound 2: the mutex is handed over, and one gives up.
#[test]
fn model_a_mutex_is_handed_over() {
    check_with(true, 2, 3, 1, &[1]);
}
