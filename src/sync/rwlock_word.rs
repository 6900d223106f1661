//! The state of a reader-writer lock: one word, and the queue of those who wait.
//!
//! ```text
//!   bit 0   WRITER   somebody has it for himself
//!   bit 1   WAITING  somebody is in the queue. Changed under its lock only
//!   others  how many readers have it
//! ```
//!
//! First in, first out: while anybody waits, whoever comes joins the queue, reader or writer, so that neither kind starves. The lock is handed
//! over: under the queue's lock, whoever finds that the first waiter can be admitted gives it what it wants (`admit`), and a row of readers
//! all at once. That is asked whenever the lock may have become free, or the queue's front has changed.
//!
//! INVARIANT: while WAITING is set, only `admit` adds readers or a writer. So readers can only become fewer, and the last who leaves asks.
//!
//! loom holds this in `rwlock_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicU32, Ordering};

const WRITER: u32 = 1;
const WAITING: u32 = 2;
const READER: u32 = 4;
const READERS_MAX: u32 = u32::MAX / READER - 1;

/// What a waiter wants.
pub(super) const WANTS_TO_READ: u32 = 0;
/// What a waiter wants.
pub(super) const WANTS_TO_WRITE: u32 = 1;

/// See the [module](self).
pub(super) struct RwLockWord {
    state: AtomicU32,
    pub(super) queue: Queue,
}

impl RwLockWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { state: AtomicU32::new(0), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(0), queue: Queue::new() }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & !WAITING != 0
    }

    pub(super) fn is_locked_exclusive(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WRITER != 0
    }

    /// Whether somebody waits for it.
    #[cfg(not(loom))]
    pub(super) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WAITING != 0
    }

    /// Takes it if nobody waits and nobody has it otherwise.
    #[inline]
    pub(super) fn try_take(&self, wants: u32) -> bool {
        if wants == WANTS_TO_WRITE {
            // ORDERING: Acquire pairs with the Release of whoever had it.
            return self.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).is_ok();
        }
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (WRITER | WAITING) == 0 && state / READER < READERS_MAX {
            let next = state + READER;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Under the queue's lock: says that the caller is about to be in the queue; false if it has the lock instead.
    pub(super) fn announce(&self, wants: u32) -> bool {
        loop {
            if self.try_take(wants) {
                return false;
            }
            let state = self.state.load(Ordering::Relaxed);
            let is_taken = match wants {
                WANTS_TO_WRITE => state != 0,
                _ => state & (WRITER | WAITING) != 0 || state / READER >= READERS_MAX,
            };
            let announced = is_taken
                && self
                    .state
                    .compare_exchange(state, state | WAITING, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if announced {
                return true;
            }
        }
    }

    /// Gives up what was taken; true if the caller must [ask](Self::admit) whom to admit.
    #[inline]
    pub(super) fn release(&self, wants: u32) -> bool {
        let share = if wants == WANTS_TO_WRITE { WRITER } else { READER };
        // ORDERING: Release publishes what was done.
        self.state.fetch_sub(share, Ordering::Release) - share == WAITING
    }

    /// Under the queue's lock: admits the first waiters, as far as that can be.
    pub(super) fn admit(&self, list: &mut List, woken: &mut Woken) {
        // What those have that were admitted.
        let mut taken = 0;
        let is_empty = loop {
            let Some(wants) = list.first_wants() else { break true };
            // ORDERING: Acquire: what those did who had it is handed on to the waiters.
            let state = self.state.load(Ordering::Acquire) + taken;
            let can_be = match wants {
                WANTS_TO_WRITE => state & !WAITING == 0,
                _ => state & WRITER == 0 && state / READER < READERS_MAX,
            };
            if !can_be {
                break false;
            }
            if list.claim_first(wants, woken) {
                taken += if wants == WANTS_TO_WRITE { WRITER } else { READER };
            }
        };
        // Nobody else changes WAITING meanwhile.
        let waiting = if is_empty { self.state.load(Ordering::Relaxed) & WAITING } else { 0 };
        let change = taken.wrapping_sub(waiting);
        if change != 0 {
            self.state.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// As [`admit`](Self::admit), with the lock.
    pub(super) fn admit_next(&self) -> Woken {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        self.admit(&mut list, &mut woken);
        woken
    }

    /// A writer becomes a reader, and lets others in.
    pub(super) fn downgrade(&self) -> Woken {
        let before = self.state.fetch_add(READER - WRITER, Ordering::Release);
        if before & WAITING != 0 { self.admit_next() } else { Woken::none() }
    }
}

#[cfg(all(test, loom))]
mod model;
