//! The state of what is done once, and the queue of those who wait for the end of it.
//!
//! ```text
//!   NOT_BEGUN --begin--> RUNNING --end(true)---> DONE
//!       ^                   |
//!       +----end(false)-----+        it has failed: all who wait look again
//! ```
//!
//! loom holds this in `once_word/model.rs`.

use super::queue::{Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const NOT_BEGUN: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;

/// See the [module](self).
pub(super) struct OnceWord {
    state: AtomicU32,
    pub(super) queue: Queue,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Somebody who does it if nobody else has.
    ItsTurn,
    /// Somebody who does not do it.
    TheEnd,
}

impl OnceWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(NOT_BEGUN), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(NOT_BEGUN), queue: Queue::new() }
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `end`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Makes the caller the one to do it, if nobody does or has; whether that was so.
    pub(super) fn begin(&self) -> bool {
        // ORDERING: Acquire: what one who failed has left is seen by the next.
        self.state.compare_exchange(NOT_BEGUN, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Under the queue's lock: whether there is something to wait for.
    pub(super) fn must_wait(&self, what: For) -> bool {
        // What ends it is done under the lock.
        match what {
            For::ItsTurn => self.state.load(Ordering::Relaxed) == RUNNING,
            For::TheEnd => !self.is_done(),
        }
    }

    /// It was done, or has failed; the caller, who has begun it, wakes who was claimed.
    pub(super) fn end(&self, done: bool) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        // ORDERING: Release publishes what was done.
        self.state.store(if done { DONE } else { NOT_BEGUN }, Ordering::Release);
        list.claim_all(&mut woken);
        woken
    }
}

#[cfg(all(test, loom))]
mod model;
