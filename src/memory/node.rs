//! The node at the head of everything that can stand in a list.
//!
//! Fibers, outside threads, jobs and continuation links all begin with a [`Node`]. A node is in at
//! most one list at a time (a wait list, a ready queue, an inbox, the injector); whoever
//! has taken it out of one owns it until it puts it into the next.
//!
//! Nodes carry a 29-bit **id**, because the words that protect wait lists hold a count and the head of the
//! list in 64 bits together (`counter/word.rs`). Inside a list nodes are linked by pointers.

// Nodes are recycled across executions of a shuttle test, so they use its atomics nowhere.
#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Bits of a node's id; id 0 means 'none'.
pub(crate) const ID_BITS: u32 = 29;
pub(crate) const ID_MASK: u32 = (1 << ID_BITS) - 1;

/// What a node is the head of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Fiber = 0,
    /// A thread outside that waits.
    Thread = 1,
    Job = 2,
    /// Links a job that has not been released to one of the counters that it comes after.
    Link = 3,
    Counter = 4,
    Batch = 5,
    /// A future that is to be polled again.
    Poll = 6,
}

/// See the [module](self).
#[repr(C)]
pub(crate) struct Node {
    /// The next node of whichever list this one is in. Written by the node's owner before it is
    /// put into a list, read by whoever takes it out.
    link: AtomicPtr<Node>,
    /// Kind (3 bits) and id (29 bits); never changes.
    tag: u32,
    /// Free for the node's owner: the system's index and the priority while it is a job.
    #[cfg(not(loom))]
    pub(crate) aux: AtomicU32,
}

impl Node {
    /// Where debuggers find the id of whatever begins with a node.
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(any(loom, shuttle))))]
    pub(crate) const TAG_OFFSET: usize = std::mem::offset_of!(Node, tag);

    pub(crate) fn new(kind: Kind, id: u32) -> Self {
        assert!(id <= ID_MASK);
        Self {
            link: AtomicPtr::new(std::ptr::null_mut()),
            tag: (kind as u32) << ID_BITS | id,
            #[cfg(not(loom))]
            aux: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.tag & ID_MASK
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self.tag >> ID_BITS {
            0 => Kind::Fiber,
            1 => Kind::Thread,
            2 => Kind::Job,
            3 => Kind::Link,
            4 => Kind::Counter,
            5 => Kind::Batch,
            _ => Kind::Poll,
        }
    }

    /// ORDERING: Relaxed suffices for both accessors; the word that publishes the list orders them.
    #[inline]
    pub(crate) fn link(&self) -> *mut Node {
        self.link.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set_link(&self, next: *mut Node) {
        self.link.store(next, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut Node {
        std::ptr::from_ref(self).cast_mut()
    }
}
