//! A future's place in a wait list: what is woken there is a `Waker`, not a fiber.
//!
//! It has the same words as a fiber - a node by which it stands in lists and is woken, and a claim word that decides who wakes it - so counters,
//! jobs and the primitives need not know that a future waits. It lives in a slot, and its list entry with it, so that the future may be
//! moved between two polls. Two have a share in it while it is registered: the future, and whoever will wake it; the last frees it.
//!
//! ```text
//!   begin ──register──> pending ──a signaller claims──> woken: fire calls the waker, drops its share ──> the future finds it claimed
//!                          │
//!                          └──the future is dropped, and claims──> withdrawn: it takes the entry out, and both shares
//! ```

#![expect(unsafe_code, reason = "entries and wakers live in recycled slots")]

use crate::counter::timed;
use crate::error::complain;
use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::primitives::{AtomicU32, Mutex, Ordering, fence, lock};
use crate::sched::current;
use crate::sync::queue;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

static POLLS: Depot = Depot::new();

/// See the [module](self).
#[repr(C, align(64))]
pub(crate) struct PollWaiter {
    node: Node,
    pub(crate) claim: Claim,
    /// How many of the future and its waker-to-be still refer to the slot.
    shares: AtomicU32,
    /// What is to be woken. Changed by the future at each poll, taken by whoever wakes.
    waker: Mutex<Option<Waker>>,
    /// Written by the future before it registers, used by lists afterwards.
    entry: UnsafeCell<ListEntry>,
}

/// Where it is registered.
enum ListEntry {
    Nowhere,
    Counter(timed::Entry),
    Queue(queue::Entry),
}

// SAFETY: `entry` is written while nobody else knows of the slot; what is in it is shared by the rules of the lists.
unsafe impl Sync for PollWaiter {}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `POLLS` serves this type alone.
unsafe impl Slot for PollWaiter {
    fn vacant(id: u32) -> Self {
        Self {
            node: Node::new(Kind::Poll, id),
            claim: Claim::new(),
            shares: AtomicU32::new(0),
            waker: Mutex::new(None),
            entry: UnsafeCell::new(ListEntry::Nowhere),
        }
    }

    fn depot() -> &'static Depot {
        &POLLS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.polls
    }
}

impl PollWaiter {
    fn take(waker: &Waker, shares: u32) -> &'static Self {
        // A clone is code of users.
        let waker = waker.clone();
        let slot = current::with_caches(|caches| caches.polls.alloc::<PollWaiter>());
        slot.shares.store(shares, Ordering::Relaxed);
        *lock(&slot.waker) = Some(waker);
        slot
    }

    /// A waiter that is only known by its id, which one owner hands to the next; see [`fire`](Self::fire).
    pub(crate) fn owned(waker: &Waker) -> u32 {
        Self::take(waker, 1).node.id()
    }

    /// Frees such a waiter that will not be woken.
    ///
    /// # Safety
    ///
    /// `node` is the node of one that [`owned`](Self::owned) has made, and the caller owns it.
    pub(crate) unsafe fn discard(node: *mut Node) {
        // SAFETY: promised by the caller; slots live for ever.
        let slot: &'static PollWaiter = unsafe { &*node.cast::<PollWaiter>() };
        let waker = lock(&slot.waker).take();
        slot.drop_shares(1);
        drop(waker);
    }

    /// Calls the waker.
    ///
    /// # Safety
    ///
    /// `node` is the first field of a poll waiter in its slot, and the caller is the one to wake it.
    #[cold]
    pub(crate) unsafe fn fire(node: *mut Node) {
        // SAFETY: promised by the caller; slots live for ever.
        let slot: &'static PollWaiter = unsafe { &*node.cast::<PollWaiter>() };
        let waker = lock(&slot.waker).take();
        slot.drop_shares(1);
        // The waker is code of users, and the caller may be in the middle of something.
        let _bound = current::bind_fiber();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.into_iter().for_each(Waker::wake))) {
            std::mem::forget(payload);
            complain!("ramie: a future's waker panicked; its executor may not poll the future again");
        }
    }

    fn drop_shares(&'static self, count: u32) {
        // ORDERING: Release for what was done by this party, and Acquire (fence) for what the other one has done, before the slot is used again.
        if self.shares.fetch_sub(count, Ordering::Release) == count {
            fence(Ordering::Acquire);
            // SAFETY: 1. Allocated in `take`. 2. Nobody refers to it any more, and it is in no list.
            current::with_caches(|caches| unsafe { caches.polls.free(self) });
        }
    }
}

/// The future's share of a waiter that is about to be registered, or is.
pub(crate) struct Registered {
    slot: &'static PollWaiter,
    ticket: Ticket,
}

impl Registered {
    /// A waiter that wakes `waker`; it is in no list yet.
    pub(crate) fn begin(waker: &Waker) -> Self {
        let slot = PollWaiter::take(waker, 2);
        let ticket = slot.claim.arm();
        Self { slot, ticket }
    }

    /// Its entry for a counter's list of those who wait for `target`.
    pub(crate) fn counter_entry(&self, target: usize) -> &'static timed::Entry {
        let entry = timed::Entry::new(self.slot.node.as_ptr(), &self.slot.claim, self.ticket, target);
        // SAFETY: the waiter is in no list yet, so this is the only use of the place.
        unsafe {
            *self.slot.entry.get() = ListEntry::Counter(entry);
        }
        self.as_counter_entry()
    }

    /// The same, once it was made.
    pub(crate) fn as_counter_entry(&self) -> &'static timed::Entry {
        // SAFETY: it is not written again before this share is dropped.
        match unsafe { &*self.slot.entry.get() } {
            ListEntry::Counter(entry) => entry,
            _ => unreachable!("made by `counter_entry`"),
        }
    }

    /// Its entry for a primitive's queue.
    pub(crate) fn queue_entry(&self, wants: u32) -> &'static queue::Entry {
        let entry = queue::Entry::new(wants);
        let contest = queue::Contest { claim: &raw const self.slot.claim, ticket: self.ticket };
        // SAFETY: as in `counter_entry`; both are in a slot, and signallers contend for it.
        unsafe {
            entry.enrol(&self.slot.node, Some(contest));
            *self.slot.entry.get() = ListEntry::Queue(entry);
        }
        self.as_queue_entry()
    }

    /// The same, once it was made.
    pub(crate) fn as_queue_entry(&self) -> &'static queue::Entry {
        // SAFETY: as in `as_counter_entry`.
        match unsafe { &*self.slot.entry.get() } {
            ListEntry::Queue(entry) => entry,
            _ => unreachable!("made by `queue_entry`"),
        }
    }

    /// Whether it was woken. If not, `waker` is what will be.
    pub(crate) fn is_woken(&self, waker: &Waker) -> bool {
        if !self.slot.claim.is_open(self.ticket) {
            return true;
        }
        let is_known = lock(&self.slot.waker).as_ref().is_some_and(|known| known.will_wake(waker));
        if !is_known {
            // A clone, and a drop, are code of users.
            let waker = waker.clone();
            let before = lock(&self.slot.waker).replace(waker);
            drop(before);
        }
        // Whoever has claimed it in between may have woken the one before.
        !self.slot.claim.is_open(self.ticket)
    }

    /// Ends a wait that was woken.
    pub(crate) fn finish(self) {
        self.slot.claim.finish();
        // The last poll may have come after the wake.
        let waker = lock(&self.slot.waker).take();
        self.slot.drop_shares(1);
        drop(waker);
    }

    /// Ends a wait whose future is dropped, or that was not registered; false if it was woken before. If this is true, the caller takes the entry
    /// out of its list, and calls [`free`](Self::free).
    #[must_use]
    pub(crate) fn withdraw(&self) -> bool {
        self.slot.claim.claim(self.ticket, Reason::TimedOut)
    }

    /// Frees a waiter that was put into no list.
    pub(crate) fn unused(self) {
        let withdrawn = self.withdraw();
        debug_assert!(withdrawn, "nobody else knew of it");
        self.free();
    }

    /// Frees a waiter that was withdrawn.
    pub(crate) fn free(self) {
        self.slot.claim.finish();
        let waker = lock(&self.slot.waker).take();
        self.slot.drop_shares(2);
        drop(waker);
    }
}
