//! The state of a semaphore: one word, and the queue of those who wait.
//!
//! ```text
//!   bit 0   WAITING  somebody is in the queue. Changed under its lock only
//!   others  permits that nobody has
//! ```
//!
//! While anybody waits, only `admit` takes permits, under the queue's lock; so their number can only grow otherwise, and whoever adds some asks.
//!
//! loom holds this in `semaphore_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const WAITING: u32 = 1;
const PERMIT: u32 = 2;
pub(super) const PERMITS_MAX: u32 = u32::MAX / PERMIT;

/// See the [module](self).
pub(super) struct SemaphoreWord {
    state: AtomicU32,
    pub(super) queue: Queue,
}

impl SemaphoreWord {
    #[cfg(not(loom))]
    pub(super) const fn new(permits: u32) -> Self {
        Self { state: AtomicU32::new(permits * PERMIT), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new(permits: u32) -> Self {
        Self { state: AtomicU32::new(permits * PERMIT), queue: Queue::new() }
    }

    pub(super) fn available(&self) -> u32 {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    /// Takes so many permits if they are there and nobody waits.
    #[inline]
    pub(super) fn take(&self, count: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 && state >= count * PERMIT {
            let next = state - count * PERMIT;
            // ORDERING: Acquire pairs with the Release of whoever gave them back.
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Adds permits: `None` if there would be too many, else whether the caller must [ask](Self::admit_next) whom to admit.
    #[inline]
    pub(super) fn add(&self, count: u32) -> Option<bool> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = count.checked_mul(PERMIT).and_then(|added| state.checked_add(added))?;
            // ORDERING: Release for whoever gets them.
            match self.state.compare_exchange_weak(state, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(state & WAITING != 0),
                Err(now) => state = now,
            }
        }
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if it has its permits instead.
    pub(super) fn announce(&self, count: u32) -> bool {
        loop {
            if self.take(count) {
                return false;
            }
            let state = self.state.load(Ordering::Relaxed);
            let is_short = state & WAITING != 0 || state < count * PERMIT;
            let announced = is_short
                && self
                    .state
                    .compare_exchange(state, state | WAITING, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if announced {
                return true;
            }
        }
    }

    /// Under the queue's lock: gives the first waiters what they want as far as it is there.
    pub(super) fn admit(&self, list: &mut List, woken: &mut Woken) {
        let mut taken = 0;
        let change = loop {
            // ORDERING: Acquire: what was done before the permits were given back is handed on to the waiter.
            let state = self.state.load(Ordering::Acquire);
            match list.first_wants() {
                // Nobody else changes WAITING meanwhile.
                None => break taken * PERMIT + (state & WAITING),
                Some(wants) if state / PERMIT - taken < wants => break taken * PERMIT,
                Some(wants) if list.claim_first(0, woken) => taken += wants,
                Some(_) => {}
            }
        };
        if change != 0 {
            // Others have only added some, and ask in their turn.
            self.state.fetch_sub(change, Ordering::Relaxed);
        }
    }

    /// As [`admit`](Self::admit), with the lock.
    pub(super) fn admit_next(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        self.admit(&mut list, &mut woken);
        woken
    }
}

#[cfg(all(test, loom))]
mod model;
