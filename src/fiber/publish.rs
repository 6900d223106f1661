//! Where a fiber is, and the handshake by which a fiber that waits becomes stealable only after its switch.
//!
//! ```text
//!            job found            waits                 switch is complete             woken
//!     Idle ------------> Running ---------> Suspending --------------------> Suspended -------> Ready
//!      ^                  ^   |                  |  woken during the switch                       |
//!      +------------------|---+ job ended        +----------------------------------------------> |
//!                         +-------------------------- resumed by a worker ------------------------+
//! ```
//!
//! In a system with sticky fibers nobody but the owner resumes a fiber, and the owner is busy until the switch is
//! complete: a wake puts the fiber into its owner's inbox whatever the state is, and the state is for dumps alone.
//!
//! In a system with migrating fibers a wake makes the fiber stealable, and nobody may resume it before its registers are
//! saved. The waker and the root that the fiber switched to decide it by one read-modify-write each: the waker that finds
//! Suspending leaves the fiber to the root, whose own step then fails; a waker that finds Suspended pushes it.
//!
//! loom holds this in `publish/model.rs`.

use crate::primitives::{AtomicU8, Ordering};

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FiberState {
    Vacant = 0,
    Idle = 1,
    Running = 2,
    Suspending = 3,
    Suspended = 4,
    Ready = 5,
}

/// See the [module](self).
pub(crate) struct State(AtomicU8);

impl State {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(FiberState::Vacant as u8))
    }

    #[inline]
    pub(crate) fn set(&self, state: FiberState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// Where the fiber was at some moment: for dumps.
    pub(crate) fn get(&self) -> FiberState {
        #[cfg(shuttle)]
        let state = self.0.peek();
        #[cfg(not(shuttle))]
        let state = self.0.load(Ordering::Relaxed);
        match state {
            1 => FiberState::Idle,
            2 => FiberState::Running,
            3 => FiberState::Suspending,
            4 => FiberState::Suspended,
            5 => FiberState::Ready,
            _ => FiberState::Vacant,
        }
    }

    /// Called by the root after the fiber has switched to it; true if the fiber was woken meanwhile: then the caller makes
    /// it stealable.
    #[must_use]
    pub(crate) fn switched(&self) -> bool {
        let (suspending, suspended) = (FiberState::Suspending as u8, FiberState::Suspended as u8);
        // ORDERING: Release publishes the saved registers to the waker's `woken`; Acquire is for what the waker did.
        let step = self.0.compare_exchange(suspending, suspended, Ordering::AcqRel, Ordering::Acquire);
        step == Err(FiberState::Ready as u8)
    }

    /// Called by the one waker of this wait; true if the caller makes the fiber stealable, false if the root does.
    #[must_use]
    pub(crate) fn woken(&self) -> bool {
        // ORDERING: as in `switched`.
        self.0.swap(FiberState::Ready as u8, Ordering::AcqRel) == FiberState::Suspended as u8
    }
}

#[cfg(all(test, loom))]
mod model;
