//! The relay: how Background workers reach everybody else.
//!
//! A Background worker's thread may be stopped by the operating system at any instruction, for as long as its CPU is busy with other
//! things. What it does to the words by which the other workers sleep and wake must not be left half done: had it replaced PARKED in an
//! inbox and not unparked the owner yet, or counted a sleeper as a searcher and not woken it, then all others would rely on that for
//! hundreds of milliseconds. So it touches none of these words. What it wakes or submits it puts into this inbox, with
//! one compare-exchange, and a thread of ordinary priority passes it on.
//!
//! ```text
//!   Background worker: wake a fiber, submit a job ──> inbox ──> relay's thread: deliver, inject, unpark
//! ```
//!
//! LIVENESS: whoever pushes always makes the system call that wakes the relay, whatever it finds there; so a thread that is
//! stopped between the two holds up what it has pushed, and nothing of others.
//!
//! LIVENESS: the relay leaves when all Background workers have left, after a last look at its inbox.

#![expect(unsafe_code, reason = "owns nodes of slots for a moment")]

use super::inbox::Inbox;
use super::priority::Priority;
use super::queue;
use super::wait::ThreadWaiter;
use crate::fiber::Fiber;
use crate::job::JobPtr;
use crate::memory::node::{Kind, Node};
use crate::primitives::{AtomicUsize, Ordering};
use crate::sys::Parker;
use crate::system;
use crate::system::core::SystemCore;
use std::sync::atomic::AtomicBool;

/// See the [module](self).
pub(crate) struct Relay {
    inbox: Inbox,
    parker: Parker,
    /// Whether all other workers are to be unparked.
    unparks_all: AtomicBool,
    /// Whether somebody wants to know when all jobs have ended, and a Background worker has seen that it may be so.
    notices_idle: AtomicBool,
    /// Background workers that have not left.
    user_count: AtomicUsize,
}

impl Relay {
    pub(crate) fn new(user_count: usize) -> Self {
        Self {
            inbox: Inbox::new(),
            parker: Parker::new(),
            unparks_all: AtomicBool::new(false),
            notices_idle: AtomicBool::new(false),
            user_count: AtomicUsize::new(user_count),
        }
    }

    /// Passes on a chain of nodes, linked in this order, which are the caller's: fibers and threads that it has woken, jobs that it
    /// submits.
    pub(crate) fn send(&self, first: &Node, last: &Node) {
        let _is_awake_anyway = self.inbox.push_chain(first, last);
        self.parker.unpark_surely();
    }

    /// Has all workers of the system look around.
    pub(crate) fn unpark_all(&self) {
        self.unparks_all.store(true, std::sync::atomic::Ordering::Release);
        self.parker.unpark_surely();
    }

    /// Has somebody look whether all jobs have ended.
    pub(crate) fn notice_idle(&self) {
        self.notices_idle.store(true, std::sync::atomic::Ordering::Release);
        self.parker.unpark_surely();
    }

    /// A Background worker has left.
    pub(crate) fn user_left(&self) {
        // ORDERING: Release: who sees that all have left sees what they have pushed.
        if self.user_count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.parker.unpark_surely();
        }
    }

    /// The relay's thread.
    pub(crate) fn run(&self, core: &SystemCore) {
        loop {
            // Before the look at the inbox.
            let is_last = self.user_count.load(Ordering::Acquire) == 0;
            if self.unparks_all.swap(false, std::sync::atomic::Ordering::Acquire) {
                core.unpark_all();
            }
            self.pass_on(core);
            if self.notices_idle.swap(false, std::sync::atomic::Ordering::Acquire) {
                core.notice_idle();
            }
            if is_last {
                return;
            }
            // The inbox never says PARKED: a token is left by everybody who has pushed something.
            self.parker.park();
        }
    }

    fn pass_on(&self, core: &SystemCore) {
        // SAFETY: the list is this thread's since it was taken; nodes live in slots.
        let mut oldest_first = unsafe { queue::reversed(self.inbox.take_all()) };
        while !oldest_first.is_null() {
            let node = oldest_first;
            // SAFETY: as above, until it is passed on.
            oldest_first = unsafe { (*node).link() };
            // SAFETY: the kind says of what the node is the first field, and it is this thread's.
            unsafe {
                match (*node).kind() {
                    Kind::Fiber => deliver_fiber(Fiber::from_node(node)),
                    Kind::Thread => ThreadWaiter::wake(node),
                    _ => submit(core, JobPtr::from_node(node)),
                }
            }
        }
    }
}

/// A fiber that was woken goes on.
fn deliver_fiber(fiber: &'static Fiber) {
    if fiber.is_sticky() || fiber.is_bound() {
        let high = fiber.priority() == Priority::High;
        fiber.owner().deliver(fiber.node(), fiber.node(), u64::from(high));
    } else {
        // SAFETY: the woken fiber keeps its system until it is published.
        let core = unsafe { fiber.owner().core() }.shared();
        core.publish(fiber);
    }
}

fn submit(core: &SystemCore, job: JobPtr) {
    let header = job.header();
    let submit = |core: &SystemCore| match job.pinned_to() {
        Some(worker) => core.deliver(worker, job),
        None => core.inject(job, header.priority()),
    };
    if header.system() == core.index {
        submit(core);
    } else {
        // A job that was submitted keeps its system.
        system::with_system(header.system(), submit);
    }
}
