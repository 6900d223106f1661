//! The state of an event: one word, and the queue of those who wait.
//!
//! ```text
//!   SET      whoever comes by goes through
//!   WAITING  somebody is in the queue. Changed under its lock only; never together with SET
//! ```
//!
//! INVARIANT: while WAITING is set only the holder of the queue's lock changes the word: to set it fails, there is nothing to pass, and a reset takes
//! away a bit that is not there. So the holder may store.
//!
//! loom holds this in `event_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const SET: u32 = 1;
const WAITING: u32 = 2;

/// See the [module](self).
pub(super) struct EventWord {
    state: AtomicU32,
    is_auto: bool,
    pub(super) queue: Queue,
}

impl EventWord {
    #[cfg(not(loom))]
    pub(super) const fn new(is_auto: bool) -> Self {
        Self { state: AtomicU32::new(0), is_auto, queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new(is_auto: bool) -> Self {
        Self { state: AtomicU32::new(0), is_auto, queue: Queue::new() }
    }

    #[cfg(not(loom))]
    pub(super) fn is_auto(&self) -> bool {
        self.is_auto
    }

    pub(super) fn is_set(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of who has set it.
        self.state.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it if nobody waits; whether that was so.
    #[inline]
    pub(super) fn try_set(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 {
            // ORDERING: Release for those whom it lets through.
            match self.state.compare_exchange_weak(state, state | SET, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Lets those through who wait.
    pub(super) fn let_through(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        if list.is_empty() {
            // They have left meanwhile.
            self.state.fetch_or(SET, Ordering::Release);
            return woken;
        }
        let mut is_used = false;
        if self.is_auto {
            while !is_used && !list.is_empty() {
                is_used = list.claim_first(0, &mut woken);
            }
        } else {
            list.claim_all(&mut woken);
        }
        // ORDERING: Release, as in `try_set`; by the invariant nobody else writes now.
        if !is_used {
            self.state.store(SET, Ordering::Release);
        } else if list.is_empty() {
            self.state.store(0, Ordering::Relaxed);
        }
        woken
    }

    pub(super) fn reset(&self) {
        self.state.fetch_and(!SET, Ordering::Relaxed);
    }

    /// Goes through if it is set now; whether it was.
    #[inline]
    pub(super) fn try_pass(&self) -> bool {
        if !self.is_auto {
            return self.is_set();
        }
        let mut state = self.state.load(Ordering::Relaxed);
        while state & SET != 0 {
            // ORDERING: Acquire pairs with the Release of who has set it.
            match self.state.compare_exchange_weak(state, state & !SET, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if it has gone through instead.
    pub(super) fn announce(&self) -> bool {
        loop {
            if self.try_pass() {
                return false;
            }
            let state = self.state.load(Ordering::Relaxed) & !SET;
            // Only if it is not set, so that nobody waits while it is.
            let next = state | WAITING;
            if self.state.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Under the queue's lock: somebody has left the queue.
    pub(super) fn note_left(&self, list: &List) {
        if list.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
mod model;
