//! A ring of events that one thread writes and another one may read at any time.
//!
//! The writer never waits: it overwrites the oldest. The reader copies what it has not read yet, and afterwards looks how far the writer has begun to write: of
//! the copy it believes only what cannot have been overwritten meanwhile. (As a sequence lock, but for all slots at once.)
//!
//! ```text
//!   writer                                 reader
//!     begun = n + 1                          end = written          (Acquire)
//!     fence (Release)                        copy slots
//!     slot n % capacity = event              fence (Acquire)
//!     written = n + 1   (Release)            begun
//!                                            valid: those from begun - capacity on
//! ```
//!
//! A reader that has seen a word of event n sees, after its fence, that n was begun; so it does not believe the slot of event n - capacity. The words are atomics:
//! reading and writing at once is no data race. loom holds this in `ring/model.rs`.

use crate::primitives::{AtomicU64, Ordering, fence};

/// An event as it stands in a ring; see [`event`](super::event).
pub(crate) type RawEvent = [u64; 4];

/// See the [module](self).
pub(crate) struct Ring {
    slots: Box<[[AtomicU64; 4]]>,
    /// Written by the writer alone.
    begun: AtomicU64,
    written: AtomicU64,
}

impl Ring {
    /// `capacity`: how many events it holds, a power of two.
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        let slots = (0..capacity).map(|_| [const { 0 }; 4].map(AtomicU64::new)).collect();
        Self { slots, begun: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    fn slot(&self, index: u64) -> &[AtomicU64; 4] {
        &self.slots[index as usize & (self.slots.len() - 1)]
    }

    /// Called by one thread only.
    #[inline]
    pub(crate) fn push(&self, event: RawEvent) {
        let index = self.written.load(Ordering::Relaxed);
        self.begun.store(index + 1, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `read`.
        fence(Ordering::Release);
        for (word, value) in self.slot(index).iter().zip(event) {
            word.store(value, Ordering::Relaxed);
        }
        // ORDERING: Release publishes the event.
        self.written.store(index + 1, Ordering::Release);
    }

    /// Appends to `events` what was written since `from` and is still there. Gives the next `from`, and how many events were overwritten before they
    /// could be read.
    pub(crate) fn read(&self, from: u64, events: &mut Vec<RawEvent>) -> (u64, u64) {
        let capacity = self.slots.len() as u64;
        let end = self.written.load(Ordering::Acquire);
        let first = from.max(end.saturating_sub(capacity));
        let before = events.len();
        events.extend(
            (first..end).map(|index| self.slot(index).each_ref().map(|word| word.load(Ordering::Relaxed))),
        );
        // ORDERING: pairs with the fence in `push`.
        fence(Ordering::Acquire);
        let valid = self.begun.load(Ordering::Relaxed).saturating_sub(capacity).clamp(first, end);
        events.drain(before..before + (valid - first) as usize);
        (end, valid - from)
    }
}

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
