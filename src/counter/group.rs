//! A group: the members of a scope, a batch or a loop, and what becomes of their panics.
//!
//! # Credit
//!
//! Members are counted in the group's word, and nothing but zero is ever observed there. So workers do not touch it
//! for each member: a worker adds a batch of *credit* at once, spends one for each member that it spawns,
//! earns one for each that ends on it, and gives the rest back when it turns to something else.
//!
//! INVARIANT: count = members that have not ended + credit held by workers + 1 while the group's
//! owner has not begun to wait. A worker holds credit only between two jobs of the group or inside of
//! something that the group waits for anyway, so credit never delays the group by more than that.

#![expect(unsafe_code, reason = "a latch that its last member may outlive")]

use super::word::{Released, WaitWord};
use crate::error::Payload;
use crate::fiber::WaitKind;
use crate::job::JobRef;
use crate::memory::slots;
use crate::sched::priority::Priority;
use crate::sched::wait::{self, FiberLimit, WaitFor};
use crate::sched::worker::Worker;
use crate::sched::{current, wake};
use crate::trace::deadlock::{self, Target};
use crate::trace::site::SiteRef;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

/// See the [module](self).
pub(crate) struct Group {
    word: WaitWord,
    /// The first panic that no handle took: a `Box<Payload>`, or null.
    panic: AtomicPtr<Payload>,
    abandoned: AtomicBool,
    /// The least priority that members were spawned with. Written by their spawners, read by whoever waits.
    least_priority: AtomicU8,
    /// The priority of whoever waits, which members get that are spawned from then on if theirs is lower. Written by
    /// the one who waits, read by spawners.
    raised_to: AtomicU8,
    /// Whether members were spawned that are pinned, or held back by counters. Written by their spawners, read by
    /// whoever waits.
    has_bound: AtomicBool,
}

impl Group {
    /// A group without members, and its owner's share.
    pub(crate) fn new() -> Self {
        Self {
            word: WaitWord::new(1),
            panic: AtomicPtr::new(ptr::null_mut()),
            abandoned: AtomicBool::new(false),
            least_priority: AtomicU8::new(Priority::High as u8),
            raised_to: AtomicU8::new(Priority::Background as u8),
            has_bound: AtomicBool::new(false),
        }
    }

    /// Starts over. For groups in recycled slots.
    pub(crate) fn reset(&self) {
        self.word.reset(1);
        self.abandoned.store(false, Ordering::Relaxed);
        self.least_priority.store(Priority::High as u8, Ordering::Relaxed);
        self.raised_to.store(Priority::Background as u8, Ordering::Relaxed);
        self.has_bound.store(false, Ordering::Relaxed);
    }

    /// A member of this priority is being spawned.
    #[inline]
    pub(crate) fn note_priority(&self, priority: Priority) {
        if self.least_priority.load(Ordering::Relaxed) > priority as u8 {
            self.least_priority.fetch_min(priority as u8, Ordering::Relaxed);
        }
    }

    /// A member is being spawned that is pinned, or held back by counters.
    pub(crate) fn note_bound(&self) {
        self.has_bound.store(true, Ordering::Relaxed);
    }

    fn least_priority(&self) -> Priority {
        Priority::from_bits(u32::from(self.least_priority.load(Ordering::Relaxed)))
    }

    /// What new members must be raised to.
    #[inline]
    pub(crate) fn raised_to(&self) -> Priority {
        Priority::from_bits(u32::from(self.raised_to.load(Ordering::Relaxed)))
    }

    /// Whether new members of this priority must be raised.
    #[inline]
    pub(crate) fn raises(&self, priority: Priority) -> bool {
        self.raised_to.load(Ordering::Relaxed) > priority as u8
    }

    #[inline]
    pub(crate) fn add_members(&self, n: u32) {
        self.word.add(n as usize).expect("a group has fewer members than fit into memory");
    }

    /// Counts one more member, on whatever thread this is.
    #[inline]
    pub(crate) fn add_member(&self, worker: Option<&Worker>) {
        match worker {
            Some(worker) => worker.spend_credit(self),
            None => self.add_members(1),
        }
    }

    /// Takes off members that have ended. The last touch, if they were the last.
    ///
    /// # Safety
    ///
    /// `group` is alive, and its count includes these `n`.
    #[inline]
    pub(crate) unsafe fn release(group: *const Group, n: u32) {
        // SAFETY: promised by the caller.
        match unsafe { (*group).word.release(n as usize) } {
            Released::Above => {}
            Released::Zero { detached: false, waiter } => wake::wake_id(waiter),
            // SAFETY: only groups in batch cells are ever detached, and nobody waits for this one.
            Released::Zero { detached: true, .. } => unsafe { crate::batch::BatchCell::end_detached(group) },
        }
    }

    /// Gives up the owner's share; nobody will wait.
    pub(crate) fn detach(&self) {
        self.word.detach();
        // SAFETY: the owner's share is in the count.
        unsafe { Self::release(self, 1) };
    }

    pub(crate) fn note_abandoned(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether a member was abandoned. To be asked after the wait.
    pub(crate) fn was_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Keeps a member's panic if it is the first, and drops it otherwise.
    pub(crate) fn take_panic(&self, payload: Payload, system: u32, site: SiteRef) {
        let boxed = Box::into_raw(Box::new(payload));
        // ORDERING: Release for the payload; read after the group's zero, which orders it as well.
        let first = self.panic.compare_exchange(ptr::null_mut(), boxed, Ordering::Release, Ordering::Relaxed);
        if first.is_err() {
            // SAFETY: made above and not published.
            crate::job::drop_guarded(unsafe { Box::from_raw(boxed) }, system, site);
        }
    }

    /// The first panic, for whoever has waited.
    pub(crate) fn first_panic(&self) -> Option<Payload> {
        let boxed = self.panic.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: null or from `take_panic`, and taken only once.
        (!boxed.is_null()).then(|| *unsafe { Box::from_raw(boxed) })
    }

    /// Waits until all members have ended. Runs those that lie on top of the own deque in place, and no
    /// other job: any other could bury the one that must end here under itself.
    #[inline]
    pub(crate) fn wait(&self, kind: WaitKind, site: &'static Location<'static>) {
        let worker = current::worker().filter(|worker| worker.in_fiber());
        if let Some(worker) = worker {
            // ORDERING: Relaxed: a member that is spawned by somebody who does not see this yet keeps its priority.
            self.raised_to.store(worker.priority() as u8, Ordering::Relaxed);
            if self.least_priority() < worker.priority() {
                self.raise_members(worker);
            }
            self.run_own_members(worker);
            worker.now().flush_credit();
        }
        // Only the owner's share is left: nobody else knows the group any more.
        if self.word.count() == 1 {
            return;
        }
        let what = WaitFor { kind, object: 0, site };
        let waiting = deadlock::waiting(|| Target::Group(ptr::from_ref(self).addr()));
        let waited = wait::wait(what, |node| {
            let linked = self.word.link(node, slots::node);
            debug_assert!(linked, "the owner's share keeps the count above zero");
            self.word.release(1) == Released::Above
        });
        drop(waiting);
        if waited == Err(FiberLimit) {
            let run_own = |worker: &'static Worker| match worker.fetch(|job| self.has_member(job)) {
                Some(member) => {
                    // It may be pinned.
                    let _bound = current::bind_fiber();
                    worker.run_job(member);
                    true
                }
                None => false,
            };
            wait::poll_at_limit(what, || self.word.count() == 1, run_own);
        }
    }

    /// Members that have not been started become as urgent as the one who waits.
    #[cold]
    #[inline(never)]
    fn raise_members(&self, worker: &'static Worker) {
        let priority = worker.priority();
        // First those that are held back: what is released meanwhile is queued for the sweep, or at its new priority.
        if self.has_bound.load(Ordering::Relaxed) {
            worker.raise_bound(self, priority);
        }
        worker.raise_all(self.least_priority(), priority, |job| self.has_member(job));
    }

    fn has_member(&self, job: JobRef) -> bool {
        ptr::eq(job.group(), self)
    }

    fn run_own_members(&self, worker: &'static Worker) {
        let mut worker = worker;
        while let Some(job) = worker.pop() {
            if !self.has_member(job) {
                worker.push(job);
                break;
            }
            worker.run_job(job);
            worker = worker.now();
        }
        if std::thread::panicking() {
            // Nobody else runs on this thread meanwhile, so members below other jobs count too.
            while let Some(member) = worker.dig(|job| self.has_member(job)) {
                worker.run_job(member);
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Only there if the scope's own closure panicked: its panic goes on, and this one is dropped.
        if let Some(payload) = self.first_panic() {
            crate::job::drop_guarded(payload, 0, SiteRef::NONE);
        }
    }
}
