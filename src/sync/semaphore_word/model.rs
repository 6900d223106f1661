//! loom: nobody has permits that are not there, nobody waits for good for those that are, and none is lost.

use super::SemaphoreWord;
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;

const TAKERS: usize = 3;

struct Model {
    word: SemaphoreWord,
    waiters: [Waiter; TAKERS],
    taken: AtomicU32,
    permits: u32,
}

impl Model {
    fn take(&self, me: usize, count: u32, gives_up: bool) {
        let taken = self.word.take(count) || {
            let waited = self.waiters[me].wait_in(
                &self.word.queue,
                count,
                gives_up,
                |node| wake_one_of(&self.waiters, node),
                |_, _| self.word.announce(count).then_some(false),
                |list, woken| self.word.admit(list, woken),
            );
            !matches!(waited, Some(Err(())))
        };
        if !taken {
            return;
        }
        let now = self.taken.fetch_add(count, Ordering::Relaxed) + count;
        assert!(now <= self.permits, "{now} of {} permits are taken", self.permits);
        self.taken.fetch_sub(count, Ordering::Relaxed);
        self.give_back(count);
    }

    fn give_back(&self, count: u32) {
        if self.word.add(count).expect("as many as before") {
            self.word.admit_next().wake_each(|node| wake_one_of(&self.waiters, node));
        }
    }
}

/// Each thread wants so many; those of `gives_up` may leave.
fn check(permits: u32, wants: &'static [u32], gives_up: &'static [usize]) {
    explore(2, move || {
        let model = Arc::new(Model {
            word: SemaphoreWord::new(permits),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            taken: AtomicU32::new(0),
            permits,
        });
        let run = |me: usize| {
            let model = Arc::clone(&model);
            move || model.take(me, wants[me], gives_up.contains(&me))
        };
        let others: Vec<_> = (1..wants.len()).map(|me| thread::spawn(run(me))).collect();
        run(0)();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(model.word.available(), permits);
        assert!(model.word.take(permits), "somebody is still said to wait");
    });
}

/// 3 threads, preemption bound 2.
#[test]
fn model_one_permit_goes_round() {
    check(1, &[1, 1, 1], &[]);
}

/// 3 threads, preemption bound 2: who wants all does not starve, and holds up those behind it only until then.
#[test]
fn model_all_permits_and_single_ones() {
    check(2, &[1, 2, 1], &[]);
}

/// 3 threads, preemption bound 2: who wants all leaves, and those behind it are admitted.
#[test]
fn model_who_wanted_many_and_left_holds_up_nobody() {
    check(2, &[1, 2, 1], &[1]);
}
