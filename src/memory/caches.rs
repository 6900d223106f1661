//! A thread's free slots of all types.

use super::slots::{self, Cache};
use crate::batch::BatchCell;
use crate::counter::{CounterCell, Link};
use crate::fiber::Fiber;
use crate::fiber_local::JobLocals;
use crate::interop::poll_waiter::PollWaiter;
use crate::interop::wake_cell::WakeCell;
use crate::job::{bare, storage};
use crate::memory::slots::Slot;
use crate::sched::wait::ThreadWaiter;
use std::cell::Cell;

/// All caches of one thread.
#[derive(Default)]
pub(crate) struct Caches {
    pub(crate) fibers: Cache,
    pub(crate) threads: Cache,
    pub(crate) counters: Cache,
    pub(crate) links: Cache,
    pub(crate) batches: Cache,
    pub(crate) polls: Cache,
    pub(crate) wakers: Cache,
    pub(crate) locals: Cache,
    pub(crate) jobs: [Cache; storage::CLASS_COUNT],
    pub(crate) bare: [Cache; 2],
    /// The NUMA node that the thread is on, as depots number them.
    node: Cell<usize>,
}

impl Caches {
    /// The thread is on this NUMA node from now on.
    pub(crate) fn move_to_node(&self, node: usize) {
        let index = slots::node_index(node);
        if self.node.replace(index) == index {
            return;
        }
        self.give_all_back();
        let single = [
            &self.fibers,
            &self.threads,
            &self.counters,
            &self.links,
            &self.batches,
            &self.polls,
            &self.wakers,
            &self.locals,
        ];
        let caches = single.into_iter().chain(&self.bare).chain(&self.jobs);
        caches.for_each(|cache| cache.set_node(index));
    }

    fn give_all_back(&self) {
        self.fibers.give_all_back(Fiber::depot());
        self.threads.give_all_back(ThreadWaiter::depot());
        self.counters.give_all_back(CounterCell::depot());
        self.links.give_all_back(Link::depot());
        self.batches.give_all_back(BatchCell::depot());
        self.polls.give_all_back(PollWaiter::depot());
        self.wakers.give_all_back(WakeCell::depot());
        self.locals.give_all_back(JobLocals::depot());
        for (index, cache) in self.bare.iter().enumerate() {
            cache.give_all_back(bare::depot(index));
        }
        for (class, cache) in self.jobs.iter().enumerate() {
            cache.give_all_back(storage::depot(class));
        }
    }
}

impl Drop for Caches {
    fn drop(&mut self) {
        // Under shuttle, slots that were used in one execution hold locks that must not be used in the next.
        if !cfg!(shuttle) {
            self.give_all_back();
        }
    }
}
