//! The list of those who wait for a primitive: first in, first out, under a lock that is held for a few steps and never across a switch.
//!
//! The primitives keep their state in one atomic word, which says whether there is anybody in the list, and which the uncontended
//! paths change by one compare-exchange. Everything else happens under this lock. Entries live on the waiters' stacks; which of a signaller and a clock
//! wakes a waiter is decided by its claim word, and whoever has claimed an entry has taken it out of the list.
//!
//! loom holds this, below the primitives' words, in their `model.rs`.

#![expect(unsafe_code, reason = "entries live on the stacks of their waiters")]

use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::memory::node::Node;
use crate::primitives::{Mutex, MutexGuard, lock};
use std::cell::Cell;
use std::ptr;

/// One waiter.
pub(crate) struct Entry {
    pub(crate) node: *mut Node,
    claim: *const Claim,
    ticket: Ticket,
    /// What it wants, in words of the primitive.
    wants: u32,
    /// What it was given. Written by whoever has claimed the entry, read by the waiter once it was woken.
    pub(crate) given: Cell<u32>,
    /// Neighbours; changed under the lock only, or by whoever has claimed the entry.
    next: Cell<*const Entry>,
    previous: Cell<*const Entry>,
    linked: Cell<bool>,
}

impl Entry {
    pub(crate) fn new(node: *mut Node, claim: &Claim, ticket: Ticket, wants: u32) -> Self {
        Self {
            node,
            claim,
            ticket,
            wants,
            given: Cell::new(0),
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            linked: Cell::new(false),
        }
    }
}

/// See the [module](self).
pub(crate) struct Queue(Mutex<List>);

/// What is under the lock.
pub(crate) struct List {
    head: *const Entry,
    tail: *const Entry,
}

// SAFETY: entries are reached under the lock only, or by whoever has claimed them.
unsafe impl Send for List {}

impl Queue {
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(List::EMPTY))
    }

    #[cfg(any(loom, shuttle))]
    pub(crate) fn new() -> Self {
        Self(Mutex::new(List::EMPTY))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, List> {
        lock(&self.0)
    }
}

impl List {
    const EMPTY: List = List { head: ptr::null(), tail: ptr::null() };

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Adds a waiter behind all others.
    ///
    /// # Safety
    ///
    /// `entry` stays in place until it was woken, or [`remove`](Self::remove) was called with it.
    pub(crate) unsafe fn push_back(&mut self, entry: &Entry) {
        entry.linked.set(true);
        entry.next.set(ptr::null());
        entry.previous.set(self.tail);
        // SAFETY: entries in the list are in place.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(entry),
            None => self.head = entry,
        }
        self.tail = entry;
    }

    /// Adds a waiter before all others.
    ///
    /// # Safety
    ///
    /// As for [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&mut self, entry: &Entry) {
        entry.linked.set(true);
        entry.previous.set(ptr::null());
        entry.next.set(self.head);
        // SAFETY: entries in the list are in place.
        match unsafe { self.head.as_ref() } {
            Some(head) => head.previous.set(entry),
            None => self.tail = entry,
        }
        self.head = entry;
    }

    /// Takes an entry out, if it is still in.
    pub(crate) fn remove(&mut self, entry: &Entry) {
        if !entry.linked.replace(false) {
            return;
        }
        let (previous, next) = (entry.previous.get(), entry.next.get());
        // SAFETY: neighbours are in the list, and entries in the list are in place.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.head = next,
            }
            match next.as_ref() {
                Some(next) => next.previous.set(previous),
                None => self.tail = previous,
            }
        }
    }

    /// What the first waiter wants, of those whose time is not over.
    pub(crate) fn first_wants(&mut self) -> Option<u32> {
        // SAFETY: entries in the list are in place while the lock is held.
        while let Some(entry) = unsafe { self.head.as_ref() } {
            // SAFETY: claim words live in slots.
            let claim = unsafe { &*entry.claim };
            if claim.is_open(entry.ticket) {
                return Some(entry.wants);
            }
            // A clock was faster. The waiter may not run for long, and must not hold up those behind it.
            self.remove(entry);
        }
        None
    }

    /// Takes all waiters out, and adds them to `woken`.
    pub(crate) fn claim_all(&mut self, woken: &mut Woken) {
        while !self.is_empty() {
            self.claim_first(0, woken);
        }
    }

    /// Takes the first waiter out, and adds it to `woken` with what it is given if no clock was faster; whether that was so.
    pub(crate) fn claim_first(&mut self, given: u32, woken: &mut Woken) -> bool {
        // SAFETY: as above.
        let Some(entry) = (unsafe { self.head.as_ref() }) else { return false };
        self.remove(entry);
        // SAFETY: claim words live in slots.
        let claimed = unsafe { &*entry.claim }.claim(entry.ticket, Reason::Signalled);
        if claimed {
            entry.given.set(given);
            woken.add(entry.node);
        }
        claimed
    }
}

/// Waiters that were claimed and have to be woken, after the lock was released, in the order in which they were claimed: their nodes, linked.
/// Those belong to whoever has claimed them.
#[must_use = "they wait for it"]
pub(crate) struct Woken {
    first: *mut Node,
    last: *mut Node,
}

impl Woken {
    #[inline]
    pub(crate) fn none() -> Self {
        Self { first: ptr::null_mut(), last: ptr::null_mut() }
    }

    #[inline]
    fn add(&mut self, node: *mut Node) {
        // SAFETY: nodes live in slots (for models, longer than their waiters), and these are nobody else's.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.set_link(node),
            None => self.first = node,
        }
        self.last = node;
    }

    /// Gives the one waiter to `wake_one`, or several, linked, to `wake_many`.
    #[inline]
    pub(crate) fn wake_with(self, wake_one: impl FnOnce(*mut Node), wake_many: impl FnOnce(*mut Node)) {
        if self.first == self.last {
            if !self.first.is_null() {
                wake_one(self.first);
            }
            return;
        }
        // SAFETY: as in `add`.
        unsafe { &*self.last }.set_link(ptr::null_mut());
        wake_many(self.first);
    }

    /// For models: wakes all of them with `wake`, which gets their nodes.
    #[cfg(all(test, loom))]
    pub(crate) fn wake_each(self, wake: impl Fn(*mut Node)) {
        self.wake_with(&wake, |first| {
            let mut node = first;
            // SAFETY: as in `add`.
            while let Some(current) = unsafe { node.as_ref() } {
                // Once it is woken, the node may be in another list at once.
                let next = current.link();
                wake(node);
                node = next;
            }
        });
    }
}

/// For models: somebody who waits in a queue.
#[cfg(all(test, loom))]
pub(super) mod waiter {
    use super::{Entry, List, Node, Queue, Reason, Woken};
    use crate::fiber::claim::Claim;
    use crate::memory::node::Kind;
    use loom::sync::Notify;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    pub(in crate::sync) struct Waiter {
        node: Node,
        claim: Claim,
        /// The token may also come for no reason.
        token: Notify,
        woken: AtomicUsize,
    }

    impl Waiter {
        pub(in crate::sync) fn new(id: u32) -> Self {
            Self {
                node: Node::new(Kind::Fiber, id),
                claim: Claim::new(),
                token: Notify::new(),
                woken: AtomicUsize::new(0),
            }
        }

        fn wake(&self) {
            // The parker and the inbox hand over what the waker did.
            assert_eq!(self.woken.fetch_add(1, Ordering::Release), 0, "woken twice");
            self.token.notify();
        }

        /// What `wait_in` does: `enter` says whether and where, and `left` what follows when the time is over. With `gives_up` the
        /// clock is about to be the one who wakes. `None` if it was not necessary; else whether it was woken, and what it was given.
        pub(in crate::sync) fn wait_in(
            &self,
            queue: &Queue,
            wants: u32,
            gives_up: bool,
            wake: impl Fn(*mut Node),
            enter: impl FnOnce(&mut List, &mut Woken) -> Option<bool>,
            left: impl FnOnce(&mut List, &mut Woken),
        ) -> Option<Result<u32, ()>> {
            let ticket = self.claim.arm();
            self.woken.store(0, Ordering::Relaxed);
            let entry = Entry::new(self.node.as_ptr(), &self.claim, ticket, wants);
            let mut woken = Woken::none();
            let mut list = queue.lock();
            let enters = enter(&mut list, &mut woken);
            // SAFETY: the entry is in this frame until it was woken, or removed below.
            unsafe {
                match enters {
                    None => {}
                    Some(true) => list.push_front(&entry),
                    Some(false) => list.push_back(&entry),
                }
            }
            drop(list);
            woken.wake_each(&wake);
            if enters.is_none() {
                assert!(self.claim.claim(ticket, Reason::Signalled));
                self.claim.finish();
                return None;
            }
            if gives_up && self.claim.claim(ticket, Reason::TimedOut) {
                self.wake();
            }
            while self.woken.load(Ordering::Acquire) == 0 {
                self.token.wait();
            }
            Some(match self.claim.finish() {
                Reason::Signalled => Ok(entry.given.get()),
                Reason::TimedOut => {
                    let mut woken = Woken::none();
                    let mut list = queue.lock();
                    list.remove(&entry);
                    left(&mut list, &mut woken);
                    drop(list);
                    woken.wake_each(&wake);
                    Err(())
                }
            })
        }
    }

    /// Wakes the one of these whose node this is.
    pub(in crate::sync) fn wake_one_of(waiters: &[Waiter], node: *mut Node) {
        let waiter = waiters.iter().find(|waiter| waiter.node.as_ptr() == node);
        waiter.expect("a waiter of this model").wake();
    }
}
