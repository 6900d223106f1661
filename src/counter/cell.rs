//! A counter's pooled, reference-counted body.

#![expect(unsafe_code, reason = "a reference count over recycled slots; entries in wait lists")]

use super::link::Link;
use super::timed::{Entry, TimedList};
use super::word::{Signalled, WaitWord};
use crate::fiber::WaitKind;
use crate::fiber::claim::Reason;
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{self, Cache, Caches, Depot, Slot};
use crate::primitives::{AtomicUsize, Ordering, fence};
use crate::sched::wait::{self, Bounds, FiberLimit, WaitFor};
use crate::sched::{current, wake};
use crate::sync::CancelToken;
use std::panic::Location;
use std::time::Duration;

static COUNTERS: Depot = Depot::new();

/// The body of a [`Counter`](super::Counter).
#[repr(C, align(128))]
pub(crate) struct CounterCell {
    node: Node,
    word: WaitWord,
    /// How many `Counter`s refer to the cell.
    references: AtomicUsize,
    timed: TimedList,
}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `COUNTERS` serves
// this type alone.
unsafe impl Slot for CounterCell {
    fn vacant(id: u32) -> Self {
        Self {
            node: Node::new(Kind::Counter, id),
            word: WaitWord::new(0),
            references: AtomicUsize::new(0),
            timed: TimedList::new(),
        }
    }

    fn depot() -> &'static Depot {
        &COUNTERS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.counters
    }
}

impl CounterCell {
    pub(crate) fn take(count: u32) -> &'static Self {
        let cell = current::with_caches(|caches| caches.counters.alloc::<CounterCell>());
        cell.word.reset(count);
        cell.references.store(1, Ordering::Relaxed);
        cell
    }

    pub(crate) fn add_reference(&self) {
        // ORDERING: Relaxed: a new reference comes from an old one.
        let before = self.references.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "more clones of a counter than fit into memory");
    }

    /// Lets go of one reference; the last frees the cell.
    pub(crate) fn drop_reference(&'static self) {
        // ORDERING: Release for what was done through this reference, and Acquire (fence) for what was done
        // through all others before the cell becomes another counter.
        if self.references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // Fibers and threads that wait hold references, so what is still in the list comes
            // after this counter and will never be released.
            Link::abandon_list(self.word.take_list());
            // SAFETY: 1. Allocated in `take`. 2. Nobody refers to it any more.
            current::with_caches(|caches| unsafe { caches.counters.free(self) });
        }
    }

    /// The node's address, reaching over the whole cell.
    pub(super) fn node_ptr(&self) -> *mut Node {
        std::ptr::from_ref(self).cast::<Node>().cast_mut()
    }

    pub(crate) fn word(&self) -> &WaitWord {
        &self.word
    }

    /// Identifies the counter in dumps.
    pub(crate) fn id(&self) -> u32 {
        self.node.id()
    }

    /// Takes `n` off and wakes whom that sets free; `Err` with the count if it is lower.
    #[inline]
    pub(crate) fn signal(&self, n: usize) -> Result<(), usize> {
        match self.word.signal(n) {
            Signalled::Above { .. } => Ok(()),
            Signalled::Zero { head: 0 } => Ok(()),
            Signalled::Zero { head } => {
                wake::wake_list(head);
                Ok(())
            }
            Signalled::TooMany { count } => Err(count),
            Signalled::Listed => self.signal_listed(n),
        }
    }

    #[cold]
    fn signal_listed(&self, n: usize) -> Result<(), usize> {
        let head = self.timed.signal(&self.word, n, wake::wake_one)?;
        wake::wake_list(head);
        Ok(())
    }

    /// Waits until the count is zero.
    #[inline(always)]
    pub(crate) fn wait_zero(&self, site: &'static Location<'static>) -> Result<(), FiberLimit> {
        if self.word.count() == 0 {
            return Ok(());
        }
        let what = WaitFor { kind: WaitKind::Counter, object: self.id(), site };
        wait::wait(what, |node| self.word.link(node, slots::node))
    }

    /// Puts a future's entry into the list of those who wait for a target; false if that is reached.
    pub(crate) fn register(&self, entry: &'static Entry) -> bool {
        // SAFETY: entries of futures live in slots, which are not used for anything else before `unregister`, or before a signaller has
        // taken the entry out.
        unsafe { self.timed.insert(&self.word, entry) }
    }

    /// Takes it out, if it is still in.
    pub(crate) fn unregister(&self, entry: &Entry) {
        self.timed.remove(&self.word, entry);
    }

    /// Waits until the count is at most `target`, or the bounds are reached; gives what was first.
    pub(crate) fn wait_target(
        &self,
        target: usize,
        bounds: Bounds<'_>,
        site: &'static Location<'static>,
    ) -> Result<Reason, FiberLimit> {
        if self.word.count() <= target {
            return Ok(Reason::Signalled);
        }
        if bounds.limit == Some(Duration::ZERO) {
            return Ok(Reason::TimedOut);
        }
        if bounds.token.is_some_and(CancelToken::is_cancelled) {
            return Ok(Reason::Cancelled);
        }
        let what = WaitFor { kind: WaitKind::CounterTarget, object: self.id(), site };
        let mut reason = Reason::Signalled;
        // The entry must outlive the registration: it stands in this stack frame.
        let mut entry = None;
        wait::wait_bounded(
            what,
            bounds,
            |node, ticket| {
                // SAFETY: the node is the waiter's own, in its slot.
                let claim = unsafe { wait::claim_of(node.as_ptr()) };
                let entry = entry.insert(Entry::new(node.as_ptr(), claim, ticket, target));
                // SAFETY: `entry` stays where it is until it was removed below, or by the signaller
                // that woke this wait.
                unsafe { self.timed.insert(&self.word, entry) }
            },
            |woken| reason = woken,
        )?;
        if let Some(entry) = &entry {
            self.timed.remove(&self.word, entry);
        }
        Ok(reason)
    }
}
