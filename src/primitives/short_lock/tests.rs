//! Threads that sleep at a short mutex: loom knows neither the kernel nor the barrier of all threads.

use super::{AtomicU32, FENCES, FREE, HELD, Ordering, Word};
use crate::sys::futex;
use std::time::Duration;

/// Increments a number that is no atomic read-modify-write, with a holder that is slow now and then, so that the others sleep.
fn contend(sleepers: &AtomicU32, each: u32, rely_after: Option<u32>) {
    let (word, data) = (Word(AtomicU32::new(FREE)), AtomicU32::new(0));
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (word, data) = (&word, &data);
            scope.spawn(move || {
                for n in 0..each {
                    if !word.try_lock() {
                        word.lock_slow(sleepers, |word| futex::wait(word, HELD, None));
                    }
                    let seen = data.load(Ordering::Relaxed);
                    if seen % 64 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                    data.store(seen + 1, Ordering::Relaxed);
                    word.unlock(sleepers, futex::wake_one_at);
                    if thread == 0 && rely_after == Some(n) {
                        // As `rely_on_barriers`, while others sleep.
                        sleepers.fetch_and(!FENCES, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(data.into_inner(), threads * each);
    assert_eq!(sleepers.load(Ordering::Relaxed) & !FENCES, 0, "nobody sleeps");
}

#[test]
fn sleepers_are_woken_with_fences_with_barriers_and_in_between() {
    contend(&AtomicU32::new(FENCES), 2000, None);
    if crate::primitives::asymmetric_fences_available() {
        contend(&AtomicU32::new(0), 2000, None);
        for round in 0..10 {
            contend(&AtomicU32::new(FENCES), 500, Some(round * 40));
        }
    }
}
