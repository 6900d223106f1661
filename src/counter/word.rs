//! The word of counters and latches: how much is outstanding, and who waits for zero.
//!
//! ```text
//!   63            32 31 30 29 28             0
//!   +---------------+--+--+--+---------------+
//!   |     count     |  |D |L |  id of head   |       L: LISTED, D: DETACHED
//!   +---------------+--+--+--+---------------+
//!
//!     count > 0, list  --signal--> count - 1, list        (count > 1)
//!     count = 1, list  --signal--> 0, no list             the signaller owns the list and wakes it
//!     count > 0, list  --link----> count, node + list
//!     count = 0        --link----> refused: there is nothing to wait for
//!     any              --add-----> count + n, list
//! ```
//!
//! INVARIANT: count = 0 implies an empty list (L may be set). Reaching zero and detaching the list are
//! one read-modify-write, and so are looking at the count and linking. That is the whole
//! argument why no zero crossing is lost, however often the count comes and goes: a node is in the
//! list only while the count has not been zero since it was linked, and is taken out by the one
//! signal that makes it zero. The list is taken as a whole, so there is no ABA: a compare-exchange that finds the
//! same head finds the same list.
//!
//! A signaller does not touch the word after the read-modify-write that reached zero: a latch on a waiter's
//! stack may be gone by then (enkiTS#56, #78 and FiberTaskingLib#93 are what happens otherwise).
//!
//! LISTED says that waiters with targets or time limits exist (`timed.rs`); every change of the
//! count is then made under their lock. DETACHED says that nobody will wait for a batch any more.
//!
//! loom holds this in `word/model.rs`.

use crate::memory::node::{ID_MASK, Node};
use crate::primitives::{AtomicU64, Ordering};

const COUNT_ONE: u64 = 1 << 32;
const LISTED: u64 = 1 << 29;
const DETACHED: u64 = 1 << 30;
const HEAD_MASK: u64 = ID_MASK as u64;

/// The greatest count.
pub(crate) const COUNT_MAX: usize = u32::MAX as usize;

const _: () = assert!(HEAD_MASK & (LISTED | DETACHED) == 0);

/// What a signal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a detached list must be woken"]
pub(crate) enum Signalled {
    /// The count is lower, and not zero.
    Above { count: usize },
    /// The count is zero. The caller owns the list that begins with this id (0: nobody waited).
    Zero { head: u32 },
    /// There are timed waiters: take their lock and use the `_locked` form.
    Listed,
    /// The count was lower than that; nothing has changed.
    TooMany { count: usize },
}

/// See the [module](self).
pub(crate) struct WaitWord(AtomicU64);

impl WaitWord {
    pub(crate) fn new(count: u32) -> Self {
        Self(AtomicU64::new(u64::from(count) * COUNT_ONE))
    }

    /// Starts over. Only whoever owns the word alone calls this.
    #[cfg(not(loom))]
    pub(crate) fn reset(&self, count: u32) {
        self.0.store(u64::from(count) * COUNT_ONE, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        // ORDERING: Acquire: who sees zero sees what the signallers did.
        (self.0.load(Ordering::Acquire) >> 32) as usize
    }

    /// Adds `n`; `Err` with the count if it would exceed [`COUNT_MAX`].
    pub(crate) fn add(&self, n: usize) -> Result<(), usize> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let count = (word >> 32) as usize;
            if n > COUNT_MAX - count {
                return Err(count);
            }
            // ORDERING: Relaxed: adding hands nothing over.
            let next = word + n as u64 * COUNT_ONE;
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes `n` off; with waiters that have targets or limits only under their lock.
    #[inline]
    pub(crate) fn signal(&self, n: usize) -> Signalled {
        self.signal_if(n, false)
    }

    /// As [`signal`](Self::signal), for the holder of the lock of the timed waiters.
    pub(crate) fn signal_locked(&self, n: usize) -> Signalled {
        self.signal_if(n, true)
    }

    #[inline]
    fn signal_if(&self, n: usize, locked: bool) -> Signalled {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let count = (word >> 32) as usize;
            if count < n {
                return Signalled::TooMany { count };
            }
            if word & LISTED != 0 && !locked {
                return Signalled::Listed;
            }
            // A signal of nothing detaches nothing.
            let zero = count == n && n != 0;
            let next = if zero { word & (LISTED | DETACHED) } else { word - n as u64 * COUNT_ONE };
            // ORDERING: AcqRel: Release for what was done before the signal, Acquire for what the other
            // signallers did, and for the nodes of the list.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if zero => return Signalled::Zero { head: (word & HEAD_MASK) as u32 },
                Ok(_) => return Signalled::Above { count: count - n },
                Err(now) => word = now,
            }
        }
    }

    /// Puts `node` at the head of the list; false if the count is zero. `resolve` finds a node by its id.
    #[inline]
    #[must_use]
    pub(crate) fn link(&self, node: &Node, resolve: impl Fn(u32) -> *mut Node) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if word >> 32 == 0 {
                return false;
            }
            node.set_link(resolve((word & HEAD_MASK) as u32));
            let next = word & !HEAD_MASK | u64::from(node.id());
            // ORDERING: Release hands the node over. Acquire on failure: zero may have been reached.
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Says that there are timed waiters, unless the count is at most `target`. Under their lock.
    #[must_use]
    pub(crate) fn set_listed_above(&self, target: usize) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if (word >> 32) as usize <= target {
                return false;
            }
            match self.0.compare_exchange_weak(word, word | LISTED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Says that there are no timed waiters any more. Under their lock.
    pub(crate) fn clear_listed(&self) {
        self.0.fetch_and(!LISTED, Ordering::Relaxed);
    }

    /// Takes the list of a word that nobody will signal any more.
    pub(crate) fn take_list(&self) -> u32 {
        (self.0.swap(0, Ordering::AcqRel) & HEAD_MASK) as u32
    }

    /// Takes `n` off a latch, which nobody adds to while it may reach zero; gives the waiter's id, if this was
    /// the last, and whether the latch was detached. This is the caller's last touch of it.
    #[inline]
    pub(crate) fn release(&self, n: usize) -> Released {
        // ORDERING: AcqRel, as in `signal_if`.
        let word = self.0.fetch_sub(n as u64 * COUNT_ONE, Ordering::AcqRel);
        debug_assert!((word >> 32) as usize >= n, "a latch was released too often");
        if (word >> 32) as usize != n {
            return Released::Above;
        }
        Released::Zero { waiter: (word & HEAD_MASK) as u32, detached: word & DETACHED != 0 }
    }

    /// Marks a latch as waited for by nobody.
    pub(crate) fn detach(&self) {
        self.0.fetch_or(DETACHED, Ordering::Relaxed);
    }
}

/// What [`WaitWord::release`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the waiter must be woken"]
pub(crate) enum Released {
    Above,
    Zero {
        /// 0: nobody waits (yet: it will look at the count first).
        waiter: u32,
        detached: bool,
    },
}

#[cfg(all(test, loom))]
mod model;
