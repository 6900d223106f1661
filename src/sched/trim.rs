//! Giving back what a peak has left behind: idle fibers with the memory of their stacks, and large stacks.
//!
//! A program that has many fibers waiting in every frame should find them again in the next, and one that had many once should
//! not keep their memory. So a worker ends the idle fibers that it did not need during a whole period of
//! [`PERIOD`], but for a number that it keeps in any case ([`warm_fibers`](crate::Builder::warm_fibers)); and all of them when a
//! wait on any worker was refused for want of a fiber. It does so while it has nothing else to do, or, some at a time, when it is
//! back on its root anyway.

use super::worker::Worker;
use std::cell::Cell;
use std::time::Duration;

/// How long a fiber must have been idle.
const PERIOD: Duration = Duration::from_secs(1);
const PERIOD_NS: u64 = PERIOD.as_nanos() as u64;
/// Fibers that are ended before the worker looks for work again.
const AT_ONCE: usize = 16;

/// A worker's state of this.
#[derive(Default)]
pub(crate) struct Trim {
    /// The fewest fibers in the pool in this period.
    low: Cell<usize>,
    /// When the period ends, on the worker's clock; 0 while there is nothing to give back.
    ends_at_ns: Cell<u64>,
    /// How many fibers the root is to end.
    wanted: Cell<usize>,
    /// The shortages of fibers that this worker knows of.
    shortages: Cell<u32>,
}

impl Trim {
    pub(super) fn reset(&self) {
        self.low.set(0);
        self.ends_at_ns.set(0);
        self.wanted.set(0);
        self.shortages.set(0);
    }

    /// This many fibers are left in the pool.
    #[inline]
    pub(super) fn note_pool(&self, left: usize) {
        self.low.set(self.low.get().min(left));
    }

    /// Whether the root should end some fibers.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get() > 0
    }
}

impl Worker {
    /// Looks whether a period has ended; how long until the one that runs ends. `None` if there is nothing that could be
    /// given back. `idle` says whether the worker has nothing else to do.
    pub(super) fn plan_trim(&self, now_ns: u64, idle: bool) -> Option<Duration> {
        if cfg!(shuttle) {
            return None;
        }
        let trim = &self.trim;
        let keep = self.system().config.warm_fibers;
        let shortages = self.system().fiber_shortages();
        if idle && trim.shortages.replace(shortages) != shortages {
            // No worker keeps more than the one that it needs, which is this one, or the one that its root takes next. What is
            // everybody's stays that.
            self.stacks().give_all_back();
            trim.wanted.set(self.pool_count.get());
        }
        let ends_at_ns = trim.ends_at_ns.get();
        if ends_at_ns != 0 && now_ns >= ends_at_ns {
            if idle && self.shares_idle_fibers() && self.system().idle_period_ends(now_ns, PERIOD_NS) {
                self.take_spare_shared_fibers(keep);
            }
            let pool_count = self.pool_count.get();
            let spare =
                trim.low.get().min(pool_count.saturating_sub(keep)).max(trim.wanted.get()).min(pool_count);
            trim.wanted.set(spare);
            trim.low.set(pool_count - spare);
            let more = self.has_spare_fibers(keep) | (idle && self.stacks().trim_large());
            trim.ends_at_ns.set(if more { now_ns + PERIOD_NS } else { 0 });
        } else if ends_at_ns == 0
            && (self.has_spare_fibers(keep) || (idle && self.stacks().has_spare_large()))
        {
            trim.low.set(self.pool_count.get());
            trim.ends_at_ns.set(now_ns + PERIOD_NS);
        }
        match trim.ends_at_ns.get() {
            0 => None,
            at => Some(Duration::from_nanos(at.saturating_sub(now_ns).max(1))),
        }
    }

    fn has_spare_fibers(&self, keep: usize) -> bool {
        self.pool_count.get() > keep || (self.shares_idle_fibers() && self.system().idle_fiber_count() > keep)
    }

    /// Where fibers migrate most idle ones are everybody's: those that nobody needed in this period come into the own pool.
    fn take_spare_shared_fibers(&self, keep: usize) {
        let system = self.system();
        let count = system.idle_fiber_count();
        let spare = system.take_idle_fibers_low(count).min(count.saturating_sub(keep));
        let taken = self.take_shared_fibers_n(spare);
        self.trim.low.set(self.trim.low.get() + taken);
    }

    /// Ends some of the fibers that are not needed. Called by the root.
    #[cold]
    pub(super) fn end_spare_fibers(&'static self) {
        let trim = &self.trim;
        let wanted = trim.wanted.get().min(self.pool_count.get().saturating_sub(1));
        let ended = self.end_idle_fibers(wanted.min(AT_ONCE));
        self.stacks().discard_newest(ended);
        trim.wanted.set(wanted - ended);
    }

    /// The main thread leaves its worker: what others may need, or nobody has needed for a period, does not stay behind. Called
    /// on the root.
    pub(super) fn trim_before_leaving(&'static self) {
        self.plan_trim(self.now_ns(), true);
        // While it is away it cannot give anything back: it keeps no more than its share.
        let config = &self.system().config;
        let over =
            self.pool_count.get().saturating_sub((config.max_fibers / self.system().remotes.len()).max(1));
        self.trim.wanted.set(self.trim.wanted.get().max(over));
        while self.trim.is_wanted() {
            self.end_spare_fibers();
        }
    }
}
