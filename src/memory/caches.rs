//! A thread's free slots of all types.

use super::slots::Cache;
use crate::batch::BatchCell;
use crate::counter::{CounterCell, Link};
use crate::fiber::Fiber;
use crate::job::{bare, storage};
use crate::memory::slots::Slot;
use crate::sched::wait::ThreadWaiter;

/// All caches of one thread.
#[derive(Default)]
pub(crate) struct Caches {
    pub(crate) fibers: Cache,
    pub(crate) threads: Cache,
    pub(crate) counters: Cache,
    pub(crate) links: Cache,
    pub(crate) batches: Cache,
    pub(crate) jobs: [Cache; storage::CLASS_COUNT],
    pub(crate) bare: [Cache; 2],
}

impl Drop for Caches {
    fn drop(&mut self) {
        if cfg!(shuttle) {
            // Slots that were used in one execution hold locks that must not be used in the next.
            return;
        }
        self.fibers.give_all_back(Fiber::depot());
        self.threads.give_all_back(ThreadWaiter::depot());
        self.counters.give_all_back(CounterCell::depot());
        self.links.give_all_back(Link::depot());
        self.batches.give_all_back(BatchCell::depot());
        for (index, cache) in self.bare.iter().enumerate() {
            cache.give_all_back(bare::depot(index));
        }
        for (class, cache) in self.jobs.iter().enumerate() {
            cache.give_all_back(storage::depot(class));
        }
    }
}
