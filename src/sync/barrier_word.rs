//! The state of a barrier: how many have arrived, and the queue of those who wait for the others.
//!
//! A barrier opens when the last arrival has come, and is closed for the next round from then on. Whoever leaves because its time is over takes its
//! arrival back, unless the barrier has opened before that: then it has arrived, and all others have too, whatever its clock says.
//!
//! INVARIANT: everything changes under the queue's lock only.
//!
//! loom holds this in `barrier_word/model.rs`.

use super::queue::{List, Queue, Woken};
use crate::primitives::{AtomicUsize, Ordering};

/// See the [module](self).
pub(super) struct BarrierWord {
    size: usize,
    /// How many wait for the others.
    arrived: AtomicUsize,
    /// How often it has opened; tells rounds apart.
    round: AtomicUsize,
    pub(super) queue: Queue,
}

/// The round that an arrival belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(usize);

impl BarrierWord {
    #[cfg(not(loom))]
    pub(super) const fn new(size: usize) -> Self {
        Self { size, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0), queue: Queue::new() }
    }

    #[cfg(loom)]
    pub(super) fn new(size: usize) -> Self {
        Self { size, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0), queue: Queue::new() }
    }

    #[cfg(not(loom))]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Under the queue's lock: opens the barrier if whoever comes is the last; whether that was so.
    pub(super) fn opens(&self, list: &mut List, woken: &mut Woken) -> bool {
        if self.arrived.load(Ordering::Relaxed) + 1 < self.size {
            return false;
        }
        self.arrived.store(0, Ordering::Relaxed);
        self.round.store(self.round().0.wrapping_add(1), Ordering::Relaxed);
        list.claim_all(woken);
        true
    }

    /// Under the queue's lock: notes an arrival that does not open it and will be in the queue.
    pub(super) fn arrive(&self) -> Round {
        self.arrived.store(self.arrived.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.round()
    }

    /// Under the queue's lock: takes an arrival back that has left the queue; false if the barrier has opened meanwhile.
    pub(super) fn take_back(&self, round: Round) -> bool {
        let is_this = self.round() == round;
        if is_this {
            self.arrived.store(self.arrived.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        is_this
    }

    fn round(&self) -> Round {
        Round(self.round.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, loom))]
mod model;
