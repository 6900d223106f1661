//! loom: a writer is alone, readers see what it did, and nobody sleeps for good.

#![expect(unsafe_code, reason = "data behind the modelled lock")]

use super::{RwLockWord, WANTS_TO_READ, WANTS_TO_WRITE};
use crate::primitives::explore;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

const LOCKERS: usize = 3;

struct Model {
    word: RwLockWord,
    waiters: [Waiter; LOCKERS],
    /// loom finds a writer that is not alone.
    written: UnsafeCell<usize>,
}

// SAFETY: loom checks all accesses to the cell; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn wake(&self, woken: crate::sync::queue::Woken) {
        woken.wake_each(|node| wake_one_of(&self.waiters, node));
    }

    /// `RawRwLock::lock_slow`.
    fn lock(&self, me: usize, wants: u32, gives_up: bool) -> bool {
        if self.word.try_take(wants) {
            return true;
        }
        let waited = self.waiters[me].wait_in(
            &self.word.queue,
            wants,
            gives_up,
            |node| wake_one_of(&self.waiters, node),
            |_, _| self.word.announce(wants).then_some(false),
            |list, woken| self.word.admit(list, woken),
        );
        !matches!(waited, Some(Err(())))
    }

    fn unlock(&self, wants: u32) {
        if self.word.release(wants) {
            self.wake(self.word.admit_next());
        }
    }

    fn write(&self, me: usize, gives_up: bool) -> usize {
        if !self.lock(me, WANTS_TO_WRITE, gives_up) {
            return 0;
        }
        // SAFETY: loom checks that nobody else is in here.
        self.written.with_mut(|written| unsafe { *written += 1 });
        self.unlock(WANTS_TO_WRITE);
        1
    }

    fn read(&self, me: usize, gives_up: bool) {
        if self.lock(me, WANTS_TO_READ, gives_up) {
            // SAFETY: loom checks that no writer is in here.
            self.written.with(|written| assert!(unsafe { *written } <= LOCKERS));
            self.unlock(WANTS_TO_READ);
        }
    }
}

/// What each thread does, in turn.
#[derive(Clone, Copy)]
enum Step {
    Read,
    Write,
    /// Writes, and lets others in while it reads.
    WriteAndRead,
    ReadOrGiveUp,
    WriteOrGiveUp,
}

fn check(preemptions: usize, plans: &'static [&'static [Step]]) {
    explore(preemptions, move || {
        let model = Arc::new(Model {
            word: RwLockWord::new(),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            written: UnsafeCell::new(0),
        });
        let run = |me: usize| {
            let model = Arc::clone(&model);
            move || {
                let steps = plans[me].iter().map(|step| match step {
                    Step::Read => {
                        model.read(me, false);
                        0
                    }
                    Step::ReadOrGiveUp => {
                        model.read(me, true);
                        0
                    }
                    Step::Write => model.write(me, false),
                    Step::WriteOrGiveUp => model.write(me, true),
                    Step::WriteAndRead => {
                        assert!(model.lock(me, WANTS_TO_WRITE, false));
                        // SAFETY: as in `write`.
                        model.written.with_mut(|written| unsafe { *written += 1 });
                        model.wake(model.word.downgrade());
                        // SAFETY: as in `read`.
                        model.written.with(|written| assert!(unsafe { *written } >= 1));
                        model.unlock(WANTS_TO_READ);
                        1
                    }
                });
                steps.sum::<usize>()
            }
        };
        let others: Vec<_> = (1..plans.len()).map(|me| thread::spawn(run(me))).collect();
        let mut written = run(0)();
        for other in others {
            written += other.join().unwrap();
        }
        // SAFETY: all threads have ended.
        model.written.with(|count| assert_eq!(unsafe { *count }, written));
        assert!(model.word.try_take(WANTS_TO_WRITE), "something is left of the waiters");
    });
}

/// 2 threads, preemption bound 3.
#[test]
fn model_a_reader_and_a_writer() {
    check(3, &[&[Step::Write, Step::Read], &[Step::Read, Step::Write]]);
}

/// 3 threads, preemption bound 2.
#[test]
fn model_two_readers_and_a_writer() {
    check(2, &[&[Step::Read], &[Step::Write], &[Step::Read]]);
}

/// 3 threads, preemption bound 2: readers behind a writer that gives up are let in.
#[test]
fn model_a_writer_that_gives_up_lets_readers_in() {
    check(2, &[&[Step::Read], &[Step::WriteOrGiveUp], &[Step::Read]]);
}

/// 3 threads, preemption bound 2.
#[test]
fn model_a_reader_that_gives_up_holds_up_no_writer() {
    check(2, &[&[Step::Write], &[Step::ReadOrGiveUp], &[Step::Write]]);
}

/// 3 threads, preemption bound 2.
#[test]
fn model_a_writer_becomes_a_reader() {
    check(2, &[&[Step::WriteAndRead], &[Step::Read], &[Step::Write]]);
}
