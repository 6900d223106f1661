//! The state of a mutex: one word, and the queue of those who wait.
//!
//! ```text
//!   LOCKED   somebody has it
//!   WAITING  somebody is in the queue. Changed under its lock only
//!   WOKEN    a waiter was woken and has not tried again yet: no other is woken meanwhile
//! ```
//!
//! Without waiters locking and unlocking are a compare-exchange each. With some, whoever unlocks wakes the first, and the mutex is free: who
//! comes by at that moment may have it (*barging*), because the one that was woken may need microseconds to run. A waiter that was woken and found
//! the mutex taken goes to the front of the queue, and the next who unlocks hands the mutex over to it. So nobody loses more than
//! once after its turn has come, and whoever is behind it in the queue waits for at most as many others.
//!
//! INVARIANT: if WAITING is set and LOCKED is not, then WOKEN is set, or the queue's lock is held by whoever is about to wake somebody: the mutex
//! is never free while all who want it sleep.
//!
//! loom holds this in `mutex_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const LOCKED: u32 = 1;
const WAITING: u32 = 2;
const WOKEN: u32 = 4;

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
    #[cfg(not(any(loom, shuttle)))]
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(0), queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
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

    /// Takes the mutex if nobody has it. `was_woken` says that the caller is the waiter that WOKEN stands for, which is over with a success.
    pub(super) fn try_lock(&self, was_woken: bool) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LOCKED == 0 {
            let next = if was_woken { state & !WOKEN } else { state } | LOCKED;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if it has the mutex instead.
    pub(super) fn announce(&self, was_woken: bool) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let kept = if was_woken { state & !WOKEN } else { state };
            let (next, has_it) =
                if state & LOCKED == 0 { (kept | LOCKED, true) } else { (kept | WAITING, false) };
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return !has_it,
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
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let wants = list.first_wants();
            if wants == Some(WANTS_HANDOVER) {
                if list.claim_first(HANDED_OVER, &mut woken) {
                    if list.is_empty() {
                        self.state.fetch_and(!WAITING, Ordering::Relaxed);
                    }
                    return woken;
                }
                continue;
            }
            // Somebody who was woken will try again soon.
            let wakes = wants.is_some() && state & WOKEN == 0;
            if wakes && !list.claim_first(WOKEN_TO_TRY, &mut woken) {
                continue;
            }
            loop {
                let mut next = state & !LOCKED;
                if wakes {
                    next |= WOKEN;
                }
                if list.is_empty() {
                    next &= !WAITING;
                }
                // ORDERING: Release, as in `unlock_uncontended`.
                match self.state.compare_exchange_weak(state, next, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => return woken,
                    Err(now) => state = now,
                }
                if !wakes {
                    // The waiter that WOKEN stood for may have given up, and another one is to be woken.
                    break;
                }
            }
        }
    }

    /// Under the queue's lock: somebody has left the queue because its time was over.
    pub(super) fn note_left(&self, list: &List) {
        if list.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }

    /// A waiter that was woken gives up: another one is woken in its place, now or by whoever has the mutex.
    pub(super) fn give_up_wake(&self) -> Woken {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            // If it is free: as whoever locks and unlocks at once.
            let next = state & !WOKEN | LOCKED;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if state & LOCKED == 0 => return self.unlock(),
                Ok(_) => return Woken::none(),
                Err(now) => state = now,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod model;
