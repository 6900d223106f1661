//! Tiers of workers: those of higher tiers sleep until the ones below are busy and leave work behind.
//!
//! Workers are numbered by tier (`topology/placement.rs`), so the tiers that are awake are the workers below one number. A
//! controller (`topology/tiers.rs`) decides about it, on a thread of its own that sleeps as long as any worker that is awake
//! does: then nothing can be amiss.
//!
//! A worker whose tier sleeps, and that has nothing of its own to do, parks without a bit in `sleeping`, so no pusher
//! chooses it. Nothing is stranded with it: its deques are empty, or hold what is held back by the guard, which others are told of, and
//! its inbox wakes it like any other's. What pushers rely on are the workers of the first tier, which never sleep in this way.
//!
//! LIVENESS: *Raising.* The controller stores the number and then unparks the workers; a worker loads the number after its inbox says
//! PARKED and before it parks. Either it sees the new number, or the parker has a token for it.
//!
//! LIVENESS: *Looking.* All workers that are awake may be busy only after one of them has ended a search or a sleep, and that one calls
//! [`arm`](Spillover::arm) after it has lowered the sleeping count, if it sees none asleep. The controller stops looking by clearing
//! `looking`, and looks at the count once more, with a full fence in between on both sides.

#[cfg(not(loom))]
pub(crate) use control::{Tiers, control};

use super::sleep::Sleep;
use crate::primitives::{AtomicU32, AtomicUsize, Ordering, fence};
use crossbeam_utils::CachePadded;

/// See the [module](self).
pub(crate) struct Spillover {
    /// Workers below this are awake. Written by the controller's thread alone.
    awake: CachePadded<AtomicUsize>,
    /// Whether the controller's thread looks at the load. Set by workers, cleared by that thread.
    looking: AtomicU32,
}

impl Spillover {
    /// The first `awake` workers are awake.
    fn new(awake: usize) -> Self {
        Self { awake: CachePadded::new(AtomicUsize::new(awake)), looking: AtomicU32::new(0) }
    }

    /// Workers below this are awake.
    #[inline]
    pub(crate) fn awake(&self) -> usize {
        self.awake.load(Ordering::SeqCst)
    }

    /// A worker goes on to work: whether the controller must be unparked, because nobody is left who sleeps.
    #[inline]
    #[must_use = "the controller must be unparked"]
    fn arm(&self, sleep: &Sleep) -> bool {
        // ORDERING: pairs with the fence in `stop_looking`.
        fence(Ordering::SeqCst);
        !sleep.anyone_sleeps()
            && self.looking.load(Ordering::Relaxed) == 0
            && self.looking.swap(1, Ordering::SeqCst) == 0
    }

    /// Whether the controller may sleep until it is armed.
    fn stop_looking(&self, sleep: &Sleep) -> bool {
        self.looking.store(0, Ordering::SeqCst);
        // ORDERING: pairs with the fence in `arm`: either that worker sees the cleared word, or this thread what it has done.
        fence(Ordering::SeqCst);
        if !sleep.anyone_sleeps() {
            self.looking.store(1, Ordering::SeqCst);
            return false;
        }
        true
    }
}

#[cfg(not(loom))]
mod control {
    use super::{Sleep, Spillover};
    use crate::primitives::Ordering;
    use crate::sys::Parker;
    use crate::system::core::{Phase, SystemCore};
    use crate::topology::tiers::{Controller, FALL, Load, RISE};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// How often the controller looks while tiers are awake that may have to sleep.
    const FALL_LOOK: Duration = Duration::from_millis(FALL.as_millis() as u64 / 4);

    /// The tiers of a system's workers, and the controller's thread.
    pub(crate) struct Tiers {
        spillover: Spillover,
        parker: Parker,
        sizes: Box<[usize]>,
    }

    impl Tiers {
        /// `None` if there is only one tier. `first_may_leave` says that worker 0 is not always there, so that it is no tier by itself.
        pub(crate) fn new(sizes: &[usize], first_may_leave: bool) -> Option<Self> {
            let mut sizes: Vec<usize> = sizes.iter().copied().filter(|size| *size > 0).collect();
            if first_may_leave && sizes.len() > 1 && sizes[0] == 1 {
                // LIVENESS: somebody of the first tier must be there for what others submit.
                let second = sizes.remove(1);
                sizes[0] += second;
            }
            let spillover = Spillover::new(*sizes.first()?);
            (sizes.len() > 1).then(|| Self { spillover, parker: Parker::new(), sizes: sizes.into() })
        }

        /// Workers below this are awake.
        #[inline]
        pub(crate) fn awake(&self) -> usize {
            self.spillover.awake()
        }

        /// A worker goes on to work: has the controller look if nobody is left who sleeps.
        #[inline]
        pub(crate) fn arm(&self, sleep: &Sleep) {
            if self.spillover.arm(sleep) {
                self.parker.unpark();
            }
        }

        /// For shutdowns.
        pub(crate) fn unpark(&self) {
            self.parker.unpark();
        }
    }

    /// The controller's thread.
    pub(crate) fn control(core: Arc<SystemCore>) {
        let core = &*core;
        let Some(tiers) = &core.tiers else { return };
        let begin = Instant::now();
        let load = || Load { now: begin.elapsed(), busy: core.busy(), queued: core.has_queued_work() };
        let mut controller = Controller::new(&tiers.sizes, load());
        let first = controller.awake_workers();
        while core.phase() != Phase::Stopping {
            if controller.observe(load()) {
                let now = controller.awake_workers();
                let before = tiers.spillover.awake.swap(now, Ordering::SeqCst);
                // Those whose tier wakes; or those whose tier sleeps now: they may be asleep as one that pushers choose, and go to sleep
                // anew.
                for remote in &core.remotes[before.min(now)..before.max(now)] {
                    remote.parker.unpark();
                }
            }
            if !core.sleep.anyone_sleeps() {
                tiers.parker.park_timeout(RISE);
            } else if tiers.spillover.stop_looking(&core.sleep) {
                if controller.awake_workers() > first {
                    tiers.parker.park_timeout(FALL_LOOK);
                    tiers.spillover.looking.store(1, Ordering::SeqCst);
                } else {
                    tiers.parker.park();
                    controller.begin(load());
                }
            }
        }
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
