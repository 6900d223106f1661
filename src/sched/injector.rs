//! The injector: where jobs from outside the system wait for a worker.
//!
//! ```text
//!   any thread: inject ──> [newest ... oldest]     a Treiber stack, taken as a whole (no ABA, no locks,
//!                               │ take, reversed                    no allocation; links are in the jobs)
//!                               v
//!                   backlog [oldest ... newest]    owned by whoever swaps it out
//! ```
//!
//! A consumer takes the backlog, or all of the stack when there is none, keeps a batch, and puts the rest
//! back as the backlog. Jobs leave in the order in which they came, but for batches that two
//! consumers hold at once.

#![expect(unsafe_code, reason = "follows links between slots")]

use super::queue;
use crate::memory::node::Node;
use crate::primitives::{AtomicPtr, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr;

/// See the [module](self).
pub(crate) struct Injector {
    /// The job that came last. Pushed by any thread, swapped out by workers.
    newest: CachePadded<AtomicPtr<Node>>,
    /// The oldest job of the backlog; swapped out and put back by workers.
    backlog: CachePadded<AtomicPtr<Node>>,
}

impl Injector {
    pub(crate) fn new() -> Self {
        Self {
            newest: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            backlog: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Adds the job with this node, which the caller gives up.
    pub(crate) fn inject(&self, node: *mut Node) {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller owns the node, which lives in a slot.
            unsafe { (*node).set_link(newest) };
            // ORDERING: Release publishes the job to `take`.
            match self.newest.compare_exchange_weak(newest, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null() && self.backlog.load(Ordering::Relaxed).is_null()
    }

    /// Takes up to `count` jobs and calls `f` with each, oldest first.
    pub(crate) fn take(&self, count: usize, mut f: impl FnMut(*mut Node)) {
        let mut list = self.swap_out();
        for _ in 0..count {
            if list.is_null() {
                return;
            }
            // SAFETY: the list belongs to this thread since it was swapped out.
            let next = unsafe { &*list }.link();
            f(list);
            list = next;
        }
        // Another consumer may have put its own rest there; then this one is handed over one by one.
        // ORDERING: Release publishes the links again.
        let put_back = list.is_null()
            || self
                .backlog
                .compare_exchange(ptr::null_mut(), list, Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if !put_back {
            while !list.is_null() {
                // SAFETY: as above.
                let next = unsafe { &*list }.link();
                f(list);
                list = next;
            }
        }
    }

    /// Takes all jobs that are there, the backlog and what came after it, and calls `f` with each, oldest first.
    pub(crate) fn take_all(&self, mut f: impl FnMut(*mut Node)) {
        for _ in 0..2 {
            self.take(usize::MAX, &mut f);
        }
    }

    /// A list, oldest first, that belongs to the caller.
    fn swap_out(&self) -> *mut Node {
        if !self.backlog.load(Ordering::Relaxed).is_null() {
            // ORDERING: Acquire pairs with the Release in `take`.
            let list = self.backlog.swap(ptr::null_mut(), Ordering::Acquire);
            if !list.is_null() {
                return list;
            }
        }
        if self.newest.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        // ORDERING: Acquire pairs with the Release in `inject`.
        let newest_first = self.newest.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: the list belongs to this thread since the swap; nodes live in slots.
        unsafe { queue::reversed(newest_first) }
    }
}
