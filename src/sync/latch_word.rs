//! The state of a latch: one word, and the queue of those who wait.
//!
//! ```text
//!   bit 0   WAITING  somebody is, or was, in the queue. Set under its lock only, and never taken away
//!   others  how many count-downs are left
//! ```
//!
//! Once the count is zero nobody joins the queue, and the one who has made it so wakes all who are in it.
//!
//! loom holds this in `latch_word/model.rs`.

use super::queue::{Queue, Woken};
use crate::primitives::{AtomicUsize, Ordering};

const WAITING: usize = 1;
const ONE: usize = 2;
pub(super) const COUNT_MAX: usize = usize::MAX / ONE;

/// See the [module](self).
pub(super) struct LatchWord {
    state: AtomicUsize,
    pub(super) queue: Queue,
}

impl LatchWord {
    #[cfg(not(loom))]
    pub(super) const fn new(count: usize) -> Self {
        Self { state: AtomicUsize::new(count * ONE), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new(count: usize) -> Self {
        Self { state: AtomicUsize::new(count * ONE), queue: Queue::new() }
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        // ORDERING: Acquire pairs with the Release of those who have counted down.
        self.state.load(Ordering::Acquire) / ONE
    }

    /// Counts down by one: `None` if it is at zero already, else whether the caller must [wake](Self::open) those who wait.
    #[inline]
    pub(super) fn count_down(&self) -> Option<bool> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = state.checked_sub(ONE)?;
            // ORDERING: Release for whoever is let through; Acquire for what the others did, which the last hands on by its wakes.
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(next == WAITING),
                Err(now) => state = now,
            }
        }
    }

    /// Takes out all who wait, after the last count-down.
    pub(super) fn open(&self) -> Woken {
        let mut woken = Woken::none();
        self.queue.lock().claim_all(&mut woken);
        woken
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if the latch is open.
    pub(super) fn announce(&self) -> bool {
        // A bit that stays when the latch is open does no harm.
        // ORDERING: Acquire, as in `count`.
        self.state.fetch_or(WAITING, Ordering::Acquire) / ONE != 0
    }
}

#[cfg(all(test, loom))]
mod model;
