//! The word of a short mutex, with sleeping and waking as the kernel does them.

use super::{AtomicU32, FENCES, FREE, HELD, Ordering, Word};
use crate::primitives::explore;
use loom::sync::{Arc, Condvar, Mutex};

/// The kernel compares the word and lets the thread sleep in one step.
struct Kernel {
    lock: Mutex<()>,
    woken: Condvar,
}

struct Short {
    word: Word,
    sleepers: AtomicU32,
    kernel: Kernel,
    /// What is under the lock: written by a load and a store.
    data: AtomicU32,
}

impl Short {
    fn add_one(&self) {
        if !self.word.try_lock() {
            self.word.lock_slow(&self.sleepers, |word| {
                let held = self.kernel.lock.lock().unwrap();
                if word.load(Ordering::Relaxed) == HELD {
                    drop(self.kernel.woken.wait(held).unwrap());
                }
            });
        }
        let data = self.data.load(Ordering::Relaxed);
        self.data.store(data + 1, Ordering::Relaxed);
        self.word.unlock(&self.sleepers, |_| {
            drop(self.kernel.lock.lock().unwrap());
            self.kernel.woken.notify_one();
        });
    }
}

fn check(threads: usize, each: usize, preemptions: usize) {
    explore(preemptions, move || {
        let short = Arc::new(Short {
            word: Word(AtomicU32::new(FREE)),
            // loom knows no barrier of all threads.
            sleepers: AtomicU32::new(FENCES),
            kernel: Kernel { lock: Mutex::new(()), woken: Condvar::new() },
            data: AtomicU32::new(0),
        });
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let short = short.clone();
                loom::thread::spawn(move || (0..each).for_each(|_| short.add_one()))
            })
            .collect();
        (0..each).for_each(|_| short.add_one());
        others.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(short.data.load(Ordering::Relaxed) as usize, threads * each);
        assert_eq!(short.sleepers.load(Ordering::Relaxed), FENCES, "nobody sleeps");
    });
}

#[test]
fn model_two_threads_take_turns_at_a_short_mutex() {
    check(2, 2, 3);
}

#[test]
fn model_three_threads_get_a_short_mutex() {
    check(3, 1, 2);
}
