//! A first-in, first-out queue of nodes for one thread: fibers that are ready, pinned jobs.

#![expect(unsafe_code, reason = "follows links between slots")]

use crate::memory::node::Node;
use std::cell::Cell;
use std::ptr;

/// See the [module](self).
pub(crate) struct Queue {
    head: Cell<*mut Node>,
    tail: Cell<*mut Node>,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(ptr::null_mut()), tail: Cell::new(ptr::null_mut()) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// Adds the nodes from `first` to `last`, linked in that order.
    ///
    /// # Safety
    ///
    /// The nodes are in slots, in no other list, and this thread owns them.
    #[inline]
    pub(crate) unsafe fn append(&self, first: *mut Node, last: *mut Node) {
        // SAFETY: the caller owns the nodes; the tail is in this queue.
        unsafe {
            (*last).set_link(ptr::null_mut());
            match self.tail.get().as_ref() {
                Some(tail) => tail.set_link(first),
                None => self.head.set(first),
            }
        }
        self.tail.set(last);
    }

    /// Adds a node before all others.
    ///
    /// # Safety
    ///
    /// As for [`append`](Self::append).
    pub(crate) unsafe fn prepend(&self, node: *mut Node) {
        // SAFETY: the caller owns the node.
        unsafe { &*node }.set_link(self.head.get());
        self.head.set(node);
        if self.tail.get().is_null() {
            self.tail.set(node);
        }
    }

    /// The oldest node.
    pub(crate) fn first(&self) -> Option<*mut Node> {
        Some(self.head.get()).filter(|head| !head.is_null())
    }

    /// Takes the oldest node.
    #[inline]
    pub(crate) fn pop(&self) -> Option<*mut Node> {
        let head = self.head.get();
        if head.is_null() {
            return None;
        }
        // SAFETY: nodes in the queue live in slots, for ever.
        let next = unsafe { &*head }.link();
        self.head.set(next);
        if next.is_null() {
            self.tail.set(ptr::null_mut());
        }
        Some(head)
    }

    /// The oldest node, or null.
    #[inline]
    pub(crate) fn head(&self) -> *mut Node {
        self.head.get()
    }

    /// How many nodes there are, counted one by one.
    pub(crate) fn count(&self) -> usize {
        let mut count = 0;
        let mut node = self.head.get();
        while !node.is_null() {
            count += 1;
            // SAFETY: nodes in the queue live in slots, for ever.
            node = unsafe { &*node }.link();
        }
        count
    }

    /// Takes the node that has `n` before it.
    pub(crate) fn take_nth(&self, n: usize) -> Option<*mut Node> {
        let before = Queue::new();
        for _ in 0..n {
            let node = self.pop()?;
            // SAFETY: it was just taken out of this queue.
            unsafe { before.append(node, node) };
        }
        let taken = self.pop();
        before.take_over(self);
        self.take_over(&before);
        taken
    }

    /// Moves everything from `other` to the end.
    pub(crate) fn take_over(&self, other: &Queue) {
        if !other.is_empty() {
            // SAFETY: the nodes were in `other`, which is emptied below.
            unsafe { self.append(other.head.get(), other.tail.get()) };
            other.head.set(ptr::null_mut());
            other.tail.set(ptr::null_mut());
        }
    }
}

/// The same list of nodes the other way round.
///
/// # Safety
///
/// The caller owns the list: all nodes from this one on, which live in slots.
pub(super) unsafe fn reversed(list: *mut Node) -> *mut Node {
    let (mut list, mut reversed) = (list, ptr::null_mut());
    while !list.is_null() {
        // SAFETY: promised by the caller.
        let node = unsafe { &*list };
        let next = node.link();
        node.set_link(reversed);
        reversed = list;
        list = next;
    }
    reversed
}
