//! The state of a mutex: one word, and the queue of those who wait.
//!
//! ```text
//!   LOCKED   somebody has it
//!   WAITING  somebody is in the queue. Changed under its lock only
//! ```
//!
//! Without waiters locking and unlocking are a compare-exchange each. With some, whoever unlocks wakes the first, and the mutex is free: who
//! comes by at that moment may have it (*barging*), because the one that was woken may need microseconds to run. A waiter that was woken and found
//! the mutex taken goes to the front of the queue, and the next who unlocks hands the mutex over to it.
//!
//! Every unlock wakes one, whether those that were woken before have run yet or not: the worker of one of them may be busy with something else for
//! long.
//!
//! INVARIANT: while LOCKED is set only the holder of the queue's lock changes the word, but for unlocking without waiters. So whoever has both may
//! store.
//!
//! LIVENESS: whoever is in the queue was announced under its lock while somebody had the mutex, and that one, who needs the same lock to
//! unlock then, wakes somebody. Whoever is woken takes the mutex, and so unlocks it some day, or is in the queue again.
//!
//! loom holds this in `mutex_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const LOCKED: u32 = 1;
const WAITING: u32 = 2;

/// What a waiter wants that was overtaken once.
pub(super) const WANTS_HANDOVER: u32 = 1;
/// What a waiter wants that comes for the first time.
pub(super) const WANTS_WAKE: u32 = 0;
/// What a waiter is given that has the mutex now.
pub(super) const HANDED_OVER: u32 = 1;
/// What a waiter is given that has to try again.
pub(super) const WOKEN_TO_TRY: u32 = 0;

/// See the [module](self).
pub(super) struct MutexWord {
    state: AtomicU32,
    pub(super) queue: Queue,
}

impl MutexWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(0), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(0), queue: Queue::new() }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & LOCKED != 0
    }

    /// Whether somebody waits for it.
    #[cfg(not(loom))]
    pub(super) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WAITING != 0
    }

    #[inline]
    pub(super) fn try_lock_uncontended(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of whoever had it.
        self.state.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the mutex if nobody has it.
    pub(super) fn try_lock(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LOCKED == 0 {
            let next = state | LOCKED;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if it has the mutex instead.
    pub(super) fn announce(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let is_free = state & LOCKED == 0;
            let next = state | if is_free { LOCKED } else { WAITING };
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return !is_free,
                Err(now) => state = now,
            }
        }
    }

    #[inline]
    pub(super) fn unlock_uncontended(&self) -> bool {
        // ORDERING: Release publishes what was done under the mutex.
        self.state.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives the mutex up, or to somebody; the caller wakes who was claimed.
    pub(super) fn unlock(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        while let Some(wants) = list.first_wants() {
            if wants == WANTS_HANDOVER {
                if list.claim_first(HANDED_OVER, &mut woken) {
                    // ORDERING: Relaxed: the wake hands over what was done under the mutex.
                    self.state.store(LOCKED | waiting(&list), Ordering::Relaxed);
                    return woken;
                }
            } else if list.claim_first(WOKEN_TO_TRY, &mut woken) {
                break;
            }
        }
        // ORDERING: Release, as in `unlock_uncontended`.
        self.state.store(waiting(&list), Ordering::Release);
        woken
    }

    /// Hands the mutex to the first who waits, whatever it wants, or gives it up; the caller wakes who was claimed.
    pub(super) fn hand_over(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        let mut is_handed = false;
        while !is_handed && !list.is_empty() {
            is_handed = list.claim_first(HANDED_OVER, &mut woken);
        }
        let locked = if is_handed { LOCKED } else { 0 };
        // ORDERING: Release, as in `unlock_uncontended`.
        self.state.store(locked | waiting(&list), Ordering::Release);
        woken
    }

    /// Under the queue's lock: somebody has left the queue because its time was over.
    pub(super) fn note_left(&self, list: &List) {
        if list.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }
}

/// What the word says of this queue.
fn waiting(list: &List) -> u32 {
    if list.is_empty() { 0 } else { WAITING }
}

#[cfg(all(test, loom))]
mod model;
