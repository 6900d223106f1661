//! The list of those who wait for a primitive: first in, first out, under a lock that is held for a few steps and never across a switch.
//!
//! The primitives keep their state in one atomic word, which says whether there is anybody in the list, and which the uncontended
//! paths change by one compare-exchange. Everything else happens under this lock. Entries live on the waiters' stacks. Whoever takes an entry out
//! of the list wakes its waiter; if others than signallers may wake it, a clock for one, its claim word decides between them first.
//!
//! loom holds this, below the primitives' words, in their `model.rs`.

#![expect(unsafe_code, reason = "entries live on the stacks of their waiters")]

use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::memory::node::Node;
use crate::primitives::{ShortGuard, ShortMutex};
use std::cell::Cell;
use std::ptr;

/// What decides who wakes a waiter for which not only signallers come.
#[derive(Clone, Copy)]
pub(crate) struct Contest {
    pub(crate) claim: *const Claim,
    pub(crate) ticket: Ticket,
}

/// One waiter.
pub(crate) struct Entry {
    /// Who waits, and against whom signallers contend for it; `None`: against nobody, so that no claim word is needed. Both are set before it is
    /// put into the list.
    node: Cell<*mut Node>,
    contest: Cell<Option<Contest>>,
    /// What it wants, in words of the primitive.
    wants: u32,
    /// What it was given. Written by whoever has claimed the entry, read by the waiter once it was woken.
    pub(crate) given: Cell<u32>,
    /// Neighbours; changed under the lock only.
    next: Cell<*const Entry>,
    previous: Cell<*const Entry>,
    linked: Cell<bool>,
}

impl Entry {
    #[inline]
    pub(crate) fn new(wants: u32) -> Self {
        Self {
            node: Cell::new(ptr::null_mut()),
            contest: Cell::new(None),
            wants,
            given: Cell::new(0),
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            linked: Cell::new(false),
        }
    }

    /// Says whose entry it is.
    ///
    /// # Safety
    ///
    /// 1. The node lives in a slot (for models, longer than the wait), and so does the claim word.
    /// 2. Without a contest nobody wakes the node but whoever takes the entry out of a list.
    #[inline]
    pub(crate) unsafe fn enrol(&self, node: &Node, contest: Option<Contest>) {
        self.node.set(node.as_ptr());
        self.contest.set(contest);
    }

    /// Whether nobody has claimed it yet.
    fn is_open(&self) -> bool {
        // SAFETY: 1. of `enrol`.
        self.contest.get().is_none_or(|contest| unsafe { &*contest.claim }.is_open(contest.ticket))
    }

    /// Tries to be the one who wakes.
    #[inline]
    fn claim(&self, reason: Reason) -> bool {
        // SAFETY: 1. of `enrol`.
        self.contest.get().is_none_or(|contest| unsafe { &*contest.claim }.claim(contest.ticket, reason))
    }
}

/// See the [module](self).
pub(crate) struct Queue(ShortMutex<List>);

/// What is under the lock.
pub(crate) struct List {
    head: *const Entry,
    tail: *const Entry,
}

// SAFETY: entries are reached under the lock only, or by whoever has claimed them.
unsafe impl Send for List {}

impl Queue {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(ShortMutex::new(List::EMPTY))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(ShortMutex::new(List::EMPTY))
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> ShortGuard<'_, List> {
        self.0.lock()
    }
}

impl List {
    pub(super) const EMPTY: List = List { head: ptr::null(), tail: ptr::null() };

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Adds a waiter behind all others.
    ///
    /// # Safety
    ///
    /// `entry` is valid, and stays in place until it was woken, or [`remove`](Self::remove) was called with it.
    pub(crate) unsafe fn push_back(&mut self, entry: *const Entry) {
        // SAFETY: promised by the caller; entries in the list are in place.
        let (added, tail) = unsafe { (&*entry, self.tail.as_ref()) };
        added.linked.set(true);
        added.next.set(ptr::null());
        added.previous.set(self.tail);
        match tail {
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

    /// Adds a waiter whose entry is in a slot behind all others. It stays there until it was woken or taken out; see `interop/poll_waiter.rs`.
    #[cfg(not(loom))]
    pub(super) fn push_back_slot(&mut self, entry: &'static Entry) {
        // SAFETY: it is in place for as long as its owner registers nothing else with it, which is after this.
        unsafe { self.push_back(entry) };
    }

    /// The first waiter, and what it wants. The pointer reaches over what the entry was made a part of.
    #[cfg(not(loom))]
    pub(super) fn first(&self) -> Option<(u32, *const Entry)> {
        // SAFETY: entries in the list are in place.
        unsafe { self.head.as_ref() }.map(|entry| (entry.wants, self.head))
    }

    /// Takes all waiters out, gives each of them this, and adds them to `woken`.
    #[cfg(not(loom))]
    pub(super) fn claim_all_giving(&mut self, given: u32, woken: &mut Woken) {
        while !self.is_empty() {
            self.claim_first(given, woken);
        }
    }

    /// What the first waiter wants, of those whose time is not over.
    pub(crate) fn first_wants(&mut self) -> Option<u32> {
        // SAFETY: entries in the list are in place while the lock is held.
        while let Some(entry) = unsafe { self.head.as_ref() } {
            if entry.is_open() {
                return Some(entry.wants);
            }
            // A clock was faster. The waiter may not run for long, and must not hold up those behind it.
            self.remove(entry);
        }
        None
    }

    /// Takes all waiters out, and adds them to `woken`.
    pub(crate) fn claim_all(&mut self, woken: &mut Woken) {
        self.claim_all_as(Reason::Signalled, woken);
    }

    /// As [`claim_all`](Self::claim_all), for this reason.
    pub(crate) fn claim_all_as(&mut self, reason: Reason, woken: &mut Woken) {
        while !self.is_empty() {
            self.claim_first_as(reason, 0, woken);
        }
    }

    /// Takes the first waiter out, and adds it to `woken` with what it is given if no clock was faster; whether that was so.
    pub(crate) fn claim_first(&mut self, given: u32, woken: &mut Woken) -> bool {
        self.claim_first_as(Reason::Signalled, given, woken)
    }

    fn claim_first_as(&mut self, reason: Reason, given: u32, woken: &mut Woken) -> bool {
        // SAFETY: as above.
        let Some(entry) = (unsafe { self.head.as_ref() }) else { return false };
        self.remove(entry);
        let claimed = entry.claim(reason);
        if claimed {
            entry.given.set(given);
            woken.add(entry.node.get());
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
    use super::{Contest, Entry, List, Node, Queue, Reason, Woken};
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

        /// What `wait_in` does: `enter` says whether and where, and `left` what follows when the time is over. With `gives_up` there is a
        /// time limit, and the clock is about to be the one who wakes. `None` if it was not necessary; else whether it was woken, and what
        /// it was given.
        pub(in crate::sync) fn wait_in(
            &self,
            queue: &Queue,
            wants: u32,
            gives_up: bool,
            wake: impl Fn(*mut Node),
            enter: impl FnOnce(&mut List, &mut Woken) -> Option<bool>,
            left: impl FnOnce(&mut List, &mut Woken),
        ) -> Option<Result<u32, ()>> {
            self.wait_in_after(queue, wants, gives_up, wake, enter, || {}, left)
        }

        /// As [`wait_in`](Self::wait_in); `entered` is called when the waiter is in the queue, and can be woken.
        #[expect(clippy::too_many_arguments, reason = "all that a primitive decides")]
        pub(in crate::sync) fn wait_in_after(
            &self,
            queue: &Queue,
            wants: u32,
            gives_up: bool,
            wake: impl Fn(*mut Node),
            enter: impl FnOnce(&mut List, &mut Woken) -> Option<bool>,
            entered: impl FnOnce(),
            left: impl FnOnce(&mut List, &mut Woken),
        ) -> Option<Result<u32, ()>> {
            let ticket = gives_up.then(|| self.claim.arm());
            self.woken.store(0, Ordering::Relaxed);
            let entry = Entry::new(wants);
            // SAFETY: 1. The waiter outlives the wait. 2. The clock below has a ticket.
            unsafe { entry.enrol(&self.node, ticket.map(|ticket| Contest { claim: &self.claim, ticket })) };
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
                if let Some(ticket) = ticket {
                    assert!(self.claim.claim(ticket, Reason::Signalled));
                    self.claim.finish();
                }
                return None;
            }
            entered();
            if ticket.is_some_and(|ticket| self.claim.claim(ticket, Reason::TimedOut)) {
                self.wake();
            }
            while self.woken.load(Ordering::Acquire) == 0 {
                self.token.wait();
            }
            Some(match ticket.map_or(Reason::Signalled, |_| self.claim.finish()) {
                Reason::Signalled => Ok(entry.given.get()),
                Reason::TimedOut | Reason::Cancelled => {
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
