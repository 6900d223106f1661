//! The state of a condition variable: whether anybody waits, and the queue of those who do.
//!
//! A waiter joins the queue before it gives up the mutex. So a notifier that has had the mutex since finds it there.
//!
//! A notification goes to the first waiter whose time is not over: one that hits a waiter which a clock has just woken goes to the next.
//!
//! loom holds this in `condvar_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

/// See the [module](self).
pub(super) struct CondvarWord {
    /// 1 while somebody is in the queue, else 0. Changed under its lock only, read by notifiers.
    waiting: AtomicU32,
    pub(super) queue: Queue,
}

impl CondvarWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { waiting: AtomicU32::new(0), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { waiting: AtomicU32::new(0), queue: Queue::new() }
    }

    #[inline]
    pub(super) fn is_waited_for(&self) -> bool {
        // ORDERING: whoever waits has set this before it gave up the mutex (`announce`). A notifier that has had the mutex since sees it, or what
        // was written when that waiter had left.
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Under the queue's lock: says that the caller is about to be in the queue.
    pub(super) fn announce(&self) {
        // ORDERING: Relaxed: the mutex hands it to the notifiers that need to see it.
        self.waiting.store(1, Ordering::Relaxed);
    }

    /// Takes out those who have waited longest, at most so many; how many those are. The caller wakes them.
    pub(super) fn notify(&self, most: usize) -> (Woken, usize) {
        let (mut woken, mut count) = (Woken::none(), 0);
        let mut list = self.queue.lock();
        while count < most && !list.is_empty() {
            count += usize::from(list.claim_first(0, &mut woken));
        }
        self.note_left(&list);
        (woken, count)
    }

    /// Under the queue's lock: somebody has left the queue.
    pub(super) fn note_left(&self, list: &List) {
        if list.is_empty() {
            self.waiting.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
mod model;
