//! The claim word: decides which of several sources wakes a waiter.
//!
//! A wait for a counter's zero has one source, the list, and whoever detaches the list owns the wake.
//! A wait with a time limit has two or more: the signaller, the clock, a cancellation. Each holds a *ticket*, and the
//! one whose compare-exchange turns `Armed` into its reason wakes the waiter. All others come
//! too late, also when the waiter has long gone on to another wait: tickets carry a generation.
//!
//! ```text
//!   Idle(g) --arm--> Armed(g+1) --claim(ticket g+1, reason)--> Woken(g+1, reason) --finish--> Idle(g+1)
//! ```
//!
//! loom holds this in `claim/model.rs`.

use crate::primitives::{AtomicU64, Ordering};

const STATE_BITS: u32 = 3;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const IDLE: u64 = 0;
const ARMED: u64 = 1;

/// Why a waiter was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Reason {
    Signalled = 2,
    TimedOut = 3,
    Cancelled = 4,
}

/// The right to try to wake one particular wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// See the [module](self). `generation << 3 | state`.
pub(crate) struct Claim(AtomicU64);

impl Claim {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(IDLE))
    }

    /// Begins a wait. Only the waiter calls this.
    pub(crate) fn arm(&self) -> Ticket {
        let word = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(word & STATE_MASK, IDLE, "armed twice");
        let armed = (word & !STATE_MASK).wrapping_add(1 << STATE_BITS) | ARMED;
        // ORDERING: the ticket is published by whatever hands it to the sources.
        self.0.store(armed, Ordering::Relaxed);
        Ticket(armed)
    }

    /// Tries to be the one who wakes; the winner must then wake the waiter.
    #[must_use = "the winner must wake the waiter"]
    pub(crate) fn claim(&self, ticket: Ticket, reason: Reason) -> bool {
        let woken = ticket.0 & !STATE_MASK | reason as u64;
        // ORDERING: AcqRel; the waiter's Acquire in `finish` sees what the winner did before.
        self.0.compare_exchange(ticket.0, woken, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether nobody has claimed this wait yet.
    pub(crate) fn is_open(&self, ticket: Ticket) -> bool {
        self.0.load(Ordering::Relaxed) == ticket.0
    }

    /// Ends a wait that was woken, and tells why. Only the waiter calls this.
    pub(crate) fn finish(&self) -> Reason {
        // ORDERING: Acquire pairs with the Release in `claim`.
        let word = self.0.load(Ordering::Acquire);
        self.0.store(word & !STATE_MASK, Ordering::Relaxed);
        match word & STATE_MASK {
            timed_out if timed_out == Reason::TimedOut as u64 => Reason::TimedOut,
            cancelled if cancelled == Reason::Cancelled as u64 => Reason::Cancelled,
            signalled => {
                debug_assert_eq!(signalled, Reason::Signalled as u64, "finished before it was woken");
                Reason::Signalled
            }
        }
    }
}

#[cfg(all(test, loom))]
mod model;
