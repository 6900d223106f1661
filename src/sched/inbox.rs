//! The inbox: where other threads put fibers that they woke and jobs pinned to a worker.
//!
//! A Treiber stack that is only ever emptied as a whole, so that there is no ABA. Its head doubles as the answer
//! to 'does the owner sleep': the owner parks by replacing the empty head with `PARKED`, and whoever
//! pushes onto `PARKED` must unpark it. One word, so there is no window between the two questions.
//!
//! ```text
//!             push_chain                    push_chain
//!   EMPTY -----------------> list --+    PARKED ---------> list   and 'unpark the owner' to the pusher
//!     ^ |                      ^    |      ^  |
//!     | +------ try_park ------+----+------+  | leave_parked
//!     +------------- take_all ------+         +--------------> EMPTY
//! ```
//!
//! LIVENESS: a push either finds PARKED, and unparks, or happens before `try_park`, which then
//! fails. The owner's unpark token is kept (`sys/parker.rs`), so an unpark before the park counts.
//!
//! loom holds this in `inbox/model.rs`.

use crate::memory::node::Node;
use crate::primitives::{AtomicPtr, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr;

/// The head while the owner sleeps; never dereferenced.
const PARKED: *mut Node = ptr::without_provenance_mut(align_of::<Node>());

/// See the [module](self).
pub(crate) struct Inbox {
    /// EMPTY (null), PARKED, or the node that was pushed last. Written by pushers and the owner.
    head: CachePadded<AtomicPtr<Node>>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { head: CachePadded::new(AtomicPtr::new(ptr::null_mut())) }
    }

    /// Adds the nodes from `first` to `last`, which the caller has linked in that order and gives up.
    ///
    /// True if the owner sleeps: the caller must then unpark it.
    #[must_use = "a sleeping owner must be unparked"]
    pub(crate) fn push_chain(&self, first: &Node, last: &Node) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let slept = head == PARKED;
            last.set_link(if slept { ptr::null_mut() } else { head });
            // ORDERING: Release publishes the nodes and all that the waker did to `take_all`.
            match self.head.compare_exchange_weak(head, first.as_ptr(), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return slept,
                Err(now) => head = now,
            }
        }
    }

    /// Whether there is nothing to take.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        head.is_null() || head == PARKED
    }

    /// Takes everything, newest first. Only the owner calls this, while it is awake.
    pub(crate) fn take_all(&self) -> *mut Node {
        // ORDERING: Acquire pairs with the Release in `push_chain`.
        let list = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        if list == PARKED { ptr::null_mut() } else { list }
    }

    /// Says that the owner is about to sleep; false if there is something to take.
    pub(crate) fn try_park(&self) -> bool {
        // ORDERING: SeqCst, so that it also stands before the owner's last look at the queues.
        self.head.compare_exchange(ptr::null_mut(), PARKED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Says that the owner is awake again.
    pub(crate) fn leave_parked(&self) {
        // A failure means that somebody has pushed onto PARKED, which ends it as well.
        let _ = self.head.compare_exchange(PARKED, ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod model;
