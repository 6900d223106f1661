//! The state of a mutex: one word, and the queue of those who wait.
//!
//! ```text
//!   LOCKED   somebody has it
//!   WAITING  somebody is in the queue. Changed under its lock only
//!   WOKEN    somebody was woken to try, and has not yet said what came of it
//! ```
//!
//! Without waiters locking and unlocking are a compare-exchange each. With some, whoever unlocks wakes the first, and the mutex is free: who
//! comes by at that moment may have it (*barging*), because the one that was woken may need microseconds to run. A waiter that was woken and found
//! the mutex taken goes back to the front of the queue; after [`LOSSES_MAX`] times it is handed the mutex by the next who unlocks.
//!
//! As long as one is WOKEN, no other is woken: those who come by would only meet more who try. But its worker may be busy with something else for
//! long, so after [`SKIPPED_MAX`] unlocks another one is.
//!
//! INVARIANT: while LOCKED is set, others than the holder change the word by read-modify-writes that set WAITING or take WOKEN away, and the first only
//! under the queue's lock. So a holder that has that lock, too, may store: a WOKEN that is set again although nobody is can only be that of the one
//! whom this very store announces.
//!
//! LIVENESS: whoever is in the queue was announced under its lock while somebody had the mutex. That one either wakes somebody when it unlocks, or
//! somebody is WOKEN. Whoever is woken takes the mutex, and so unlocks it some day; or takes WOKEN away in the same step in which it is announced again,
//! while somebody has the mutex; or [passes the wake on](MutexWord::pass_on).
//!
//! loom holds this in `mutex_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const LOCKED: u32 = 1;
const WAITING: u32 = 2;
const WOKEN: u32 = 4;

/// How often a waiter may find the mutex taken after it was woken.
pub(super) const LOSSES_MAX: u32 = if cfg!(loom) { 1 } else { 8 };
/// How many unlocks in a row wake nobody because one is woken already.
const SKIPPED_MAX: u32 = if cfg!(loom) { 1 } else { 64 };

/// What a waiter wants that was overtaken too often.
pub(super) const WANTS_HANDOVER: u32 = 1;
/// What a waiter wants before that.
pub(super) const WANTS_WAKE: u32 = 0;
/// What a waiter is given that has the mutex now.
pub(super) const HANDED_OVER: u32 = 1;
/// What a waiter is given that has to try again.
pub(super) const WOKEN_TO_TRY: u32 = 0;

/// See the [module](self).
pub(super) struct MutexWord {
    state: AtomicU32,
    /// Unlocks since somebody was woken. Used by holders only.
    skipped: AtomicU32,
    pub(super) queue: Queue,
}

impl MutexWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(0), skipped: AtomicU32::new(0), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(0), skipped: AtomicU32::new(0), queue: Queue::new() }
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
        // PERF: a compare-exchange that fails costs as much as one that does not; bench `mutex_ping_pong`.
        // ORDERING: Acquire pairs with the Release of whoever had it.
        self.state.load(Ordering::Relaxed) == 0
            && self.state.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the mutex if nobody has it.
    pub(super) fn try_lock(&self) -> bool {
        self.try_lock_without(0)
    }

    /// The same for somebody who was woken to try.
    pub(super) fn try_lock_woken(&self) -> bool {
        self.try_lock_without(WOKEN)
    }

    fn try_lock_without(&self, flag: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LOCKED == 0 {
            let next = (state | LOCKED) & !flag;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Under the queue's lock: says that the caller, who may have been woken to try, is about to be in the queue; false if it has the mutex instead.
    pub(super) fn announce(&self, was_woken: bool) -> bool {
        let flag = if was_woken { WOKEN } else { 0 };
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let is_free = state & LOCKED == 0;
            let next = (state | if is_free { LOCKED } else { WAITING }) & !flag;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return !is_free,
                Err(now) => state = now,
            }
        }
    }

    #[inline]
    pub(super) fn unlock_uncontended(&self) -> bool {
        // ORDERING: Release publishes what was done under the mutex.
        self.state.load(Ordering::Relaxed) == LOCKED
            && self.state.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives the mutex up, or to somebody; the caller wakes who was claimed.
    pub(super) fn unlock(&self) -> Woken {
        if self.unlock_beside_woken() {
            return Woken::none();
        }
        let (mut woken, mut flag) = (Woken::none(), 0);
        let mut list = self.queue.lock();
        while let Some(wants) = list.first_wants() {
            if wants == WANTS_HANDOVER {
                if list.claim_first(HANDED_OVER, &mut woken) {
                    // ORDERING: Relaxed: the wake hands over what was done under the mutex.
                    self.state.store(LOCKED | waiting(&list), Ordering::Relaxed);
                    return woken;
                }
            } else if list.claim_first(WOKEN_TO_TRY, &mut woken) {
                flag = WOKEN;
                break;
            }
        }
        // ORDERING: Release, as in `unlock_uncontended`.
        self.state.store(waiting(&list) | flag, Ordering::Release);
        woken
    }

    /// Gives the mutex up if somebody is woken already; whether that was so.
    fn unlock_beside_woken(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        if state & WOKEN == 0 {
            return false;
        }
        // Only holders use it, one after the other.
        let skipped = self.skipped.load(Ordering::Relaxed);
        self.skipped.store(if skipped < SKIPPED_MAX { skipped + 1 } else { 0 }, Ordering::Relaxed);
        if skipped == SKIPPED_MAX {
            return false;
        }
        while state & WOKEN != 0 {
            // ORDERING: Release, as in `unlock_uncontended`.
            match self.state.compare_exchange_weak(
                state,
                state & !LOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Somebody who was woken to try goes away without the mutex: the next one is woken in its place, if the mutex is free.
    pub(super) fn pass_on(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        // ORDERING: Relaxed: nothing was done under the mutex.
        let state = self.state.fetch_and(!WOKEN, Ordering::Relaxed);
        if state & LOCKED == 0 {
            while !list.is_empty() {
                // Whatever it wants: nobody has the mutex who could hand it over.
                if list.claim_first(WOKEN_TO_TRY, &mut woken) {
                    self.state.fetch_or(WOKEN, Ordering::Relaxed);
                    break;
                }
            }
        }
        self.note_left(&list);
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
