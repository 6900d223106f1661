//! Waiting: a fiber suspends, any other thread parks.

#![expect(unsafe_code, reason = "thread waiters live in recycled slots")]

use super::current;
use super::visit::Limit;
use super::worker::{Remote, Worker};
use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::fiber::{Fiber, FiberState, WaitKind};
use crate::interop::poll_waiter::PollWaiter;
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::sync::cancel::CancelToken;
use crate::sync::queue::{Contest, Entry};
use crate::sys::Parker;
use crate::system::main_thread::{self, Visit};
use std::cell::OnceCell;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

static THREADS: Depot = Depot::new();

/// An outside thread's place in wait lists, for the duration of one wait.
#[repr(C, align(64))]
pub(crate) struct ThreadWaiter {
    node: Node,
    claim: Claim,
    /// Exactly one unpark comes for each wait that was registered.
    parker: Parker,
    /// The worker that the thread drives while it waits (see `system/main_thread.rs`), or null. A wake goes to its
    /// inbox then. Set before the wait is registered.
    drives: AtomicPtr<Remote>,
}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `THREADS` serves
// this type alone.
unsafe impl Slot for ThreadWaiter {
    fn vacant(id: u32) -> Self {
        Self {
            node: Node::new(Kind::Thread, id),
            claim: Claim::new(),
            parker: Parker::new(),
            drives: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn depot() -> &'static Depot {
        &THREADS
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.threads
    }
}

impl ThreadWaiter {
    /// Wakes the thread behind `node`.
    ///
    /// # Safety
    ///
    /// `node` is the first field of a thread waiter in its slot, and the caller is the one to wake it.
    pub(crate) unsafe fn wake(node: *mut Node) {
        // SAFETY: promised by the caller; slots and workers live for ever.
        unsafe {
            let waiter = &*node.cast::<ThreadWaiter>();
            match waiter.drives.load(Ordering::Relaxed).as_ref() {
                Some(remote) => remote.deliver(&*node, &*node, 0),
                None => waiter.parker.unpark(),
            }
        }
    }

    fn with<R>(f: impl FnOnce(&'static ThreadWaiter, &mut Blocker) -> R) -> R {
        let waiter = current::with_caches(|caches| caches.threads.alloc::<ThreadWaiter>());
        let mut blocker = Blocker { waiter, visit: main_thread::enter() };
        let drives =
            blocker.visit.as_ref().map_or(ptr::null(), |visit| ptr::from_ref(visit.worker().remote()));
        waiter.drives.store(drives.cast_mut(), Ordering::Relaxed);
        let result = f(waiter, &mut blocker);
        drop(blocker);
        // SAFETY: 1. Allocated above. 2. The wait is over: its one unpark was taken or never
        // promised, and a waker's late system call uses only the parker's address.
        current::with_caches(|caches| unsafe { caches.threads.free(waiter) });
        result
    }
}

/// How a thread passes the time of its wait: asleep, or as a worker.
struct Blocker {
    waiter: &'static ThreadWaiter,
    visit: Option<Visit>,
}

impl Blocker {
    /// Blocks until the waiter is woken (true), or the limit is reached.
    fn block(&mut self, limit: Limit) -> bool {
        match (&mut self.visit, limit.at) {
            (Some(visit), _) => visit.drive(limit),
            (None, None) => {
                self.waiter.parker.park();
                true
            }
            (None, Some(at)) => self.waiter.parker.park_timeout(at.saturating_duration_since(Instant::now())),
        }
    }
}

/// There is no fiber left to go on with on this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FiberLimit;

/// What a wait is for; shown by dumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitFor {
    pub(crate) kind: WaitKind,
    /// The id of a counter or a job; 0 for anything else.
    pub(crate) object: u32,
    pub(crate) site: &'static Location<'static>,
}

/// Waits until somebody wakes the node that `register` was called with; not at all if `register` says false.
///
/// While the thread unwinds it blocks in place, fiber or not: other fibers must not see a foreign
/// panic's state.
///
/// PERF: everything up to the switch is inlined into the caller. A fiber that is resumed returns through its
/// own stack frames, whose return addresses the processor has forgotten meanwhile; each costs a
/// misprediction, so there should be few (bench `switch`).
#[inline(always)]
pub(crate) fn wait(what: WaitFor, register: impl FnOnce(&'static Node) -> bool) -> Result<(), FiberLimit> {
    match current::worker() {
        Some(worker) if worker.in_fiber() && !std::thread::panicking() => {
            worker.reserve_spare()?;
            worker.flush_credit();
            let fiber = worker.current_fiber();
            fiber.set_wait(what.kind, what.object, what.site, worker.coarse_now_ns());
            if register(fiber.node()) {
                suspend(worker, what.kind);
            }
            fiber.set_state(FiberState::Running);
            Ok(())
        }
        worker => {
            block(worker, register);
            Ok(())
        }
    }
}

#[inline(always)]
fn suspend(worker: &Worker, kind: WaitKind) {
    if kind.is_for_exclusion() {
        // Low work is not held back meanwhile: who has the lock may be among it.
        worker.suspend();
    } else {
        worker.suspend_waiting();
    }
}

/// The wait of a fiber that must wait although it is the last of its worker that could take jobs: for jobs whose end
/// it may not leave without. It looks again and again, and runs with `run_own` what it may run itself; in between
/// others of the worker go on, and others may steal what lies in its deque.
#[cold]
#[inline(never)]
pub(crate) fn poll_at_limit(
    what: WaitFor,
    done: impl Fn() -> bool,
    run_own: impl Fn(&'static Worker) -> bool,
) {
    let mut worker = current::worker().expect("only fibers have a limit");
    loop {
        worker = worker.now();
        worker.flush_credit();
        if done() {
            return;
        }
        if !run_own(worker) {
            worker.yield_at_limit(what);
        }
    }
}

/// The wait of a thread that is not in a fiber, or unwinds.
#[cold]
#[inline(never)]
fn block(worker: Option<&Worker>, register: impl FnOnce(&'static Node) -> bool) {
    before_blocking(worker);
    ThreadWaiter::with(|waiter, blocker| {
        if register(&waiter.node) {
            while !blocker.block(Limit::default()) {}
        }
    });
}

/// The wait of the main thread for something that only its own visit brings about: `begin` gets the worker first.
/// False if the thread cannot drive its worker; then nothing was begun.
pub(crate) fn block_visiting(
    begin: impl FnOnce(&'static Worker),
    register: impl FnOnce(&'static Node) -> bool,
) -> bool {
    ThreadWaiter::with(|waiter, blocker| {
        let Some(visit) = &blocker.visit else { return false };
        begin(visit.worker());
        if register(&waiter.node) {
            while !blocker.block(Limit::default()) {}
        }
        true
    })
}

/// The wait of a thread that is not in a fiber, which calls `look` whenever it has waited for so long; `look` says how
/// long to wait until the next time.
pub(crate) fn block_watchfully(
    mut patience: Duration,
    register: impl FnOnce(&'static Node) -> bool,
    mut look: impl FnMut() -> Duration,
) {
    ThreadWaiter::with(|waiter, blocker| {
        if register(&waiter.node) {
            // A time that the clock cannot express is never reached.
            while !blocker.block(Limit {
                at: Instant::now().checked_add(patience),
                lazy: true,
                when_idle: false,
            }) {
                patience = look();
            }
        }
    });
}

/// What ends a wait besides what it is for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bounds<'a> {
    pub(crate) limit: Option<Duration>,
    pub(crate) token: Option<&'a CancelToken>,
}

impl Bounds<'_> {
    /// A wait of this long at the most.
    pub(crate) fn time(limit: Option<Duration>) -> Self {
        Self { limit, token: None }
    }

    /// Registers the waiter with the token, if there is one; false if that is cancelled and the caller is to wake itself.
    ///
    /// # Safety
    ///
    /// The entry in `place` stays there until `unwatch` was called.
    unsafe fn watch(&self, place: &OnceCell<Entry>, node: &Node, claim: &Claim, ticket: Ticket) -> bool {
        let Some(token) = self.token else { return true };
        let entry = place.get_or_init(|| Entry::new(0));
        // SAFETY: both live in slots; everybody else has the ticket, too; and as promised by the caller.
        unsafe {
            entry.enrol(node, Some(Contest { claim, ticket }));
            token.watch(entry) || !claim.claim(ticket, Reason::Cancelled)
        }
    }

    fn unwatch(&self, place: &OnceCell<Entry>) {
        if let (Some(token), Some(entry)) = (self.token, place.get()) {
            token.unwatch(entry);
        }
    }
}

/// As [`wait`], with bounds. `register` gets the ticket by which a signaller claims the wake; after
/// the wait `settle` is called with the reason and takes the registration back.
pub(crate) fn wait_bounded(
    what: WaitFor,
    bounds: Bounds<'_>,
    register: impl FnOnce(&'static Node, Ticket) -> bool,
    settle: impl FnOnce(Reason),
) -> Result<(), FiberLimit> {
    let limit = bounds.limit;
    // A time that the clock cannot express is never reached.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let watch = OnceCell::new();
    match current::worker() {
        Some(worker) if worker.in_fiber() && !std::thread::panicking() => {
            worker.reserve_spare()?;
            worker.flush_credit();
            let seeded_limit = limit.filter(|_| deadline.is_some() && worker.is_seeded());
            let deadline = deadline.filter(|_| seeded_limit.is_none());
            if deadline.is_some() {
                // Nothing may fail between registering and suspending.
                crate::interop::timer::ensure_started();
            }
            let fiber = worker.current_fiber();
            fiber.set_wait(what.kind, what.object, what.site, worker.coarse_now_ns());
            let ticket = fiber.claim.arm();
            if register(fiber.node(), ticket) {
                // SAFETY: `unwatch` is called below.
                if unsafe { bounds.watch(&watch, fiber.node(), &fiber.claim, ticket) } {
                    suspend_timed(worker, what, deadline, seeded_limit, ticket);
                }
                let reason = fiber.claim.finish();
                bounds.unwatch(&watch);
                fiber.set_state(FiberState::Running);
                settle(reason);
            } else {
                withdraw(&fiber.claim, ticket);
                fiber.set_state(FiberState::Running);
            }
            Ok(())
        }
        worker => {
            before_blocking(worker);
            ThreadWaiter::with(|waiter, blocker| {
                let ticket = waiter.claim.arm();
                if !register(&waiter.node, ticket) {
                    withdraw(&waiter.claim, ticket);
                    return;
                }
                // SAFETY: `unwatch` is called below.
                if unsafe { bounds.watch(&watch, &waiter.node, &waiter.claim, ticket) } {
                    let woken = blocker.block(Limit { at: deadline, ..Limit::default() });
                    if !woken && !waiter.claim.claim(ticket, Reason::TimedOut) {
                        // A signaller was faster than the clock: its unpark is on the way.
                        while !blocker.block(Limit::default()) {}
                    }
                }
                let reason = waiter.claim.finish();
                bounds.unwatch(&watch);
                settle(reason);
            });
            Ok(())
        }
    }
}

/// Suspends the current fiber, which is registered, until it is woken or the time is over.
fn suspend_timed(
    worker: &'static Worker,
    what: WaitFor,
    deadline: Option<Instant>,
    seeded_limit: Option<Duration>,
    ticket: Ticket,
) {
    let fiber = worker.current_fiber();
    let timer = deadline.map(|at| crate::interop::timer::start(at, fiber, ticket));
    let seeded = seeded_limit.map(|limit| worker.start_seeded_timer(limit, fiber, ticket));
    suspend(worker, what.kind);
    if let Some(timer) = timer {
        timer.cancel();
    }
    if let Some(timer) = seeded {
        // A seeded system has one worker.
        worker.cancel_seeded_timer(timer);
    }
}

/// A worker's thread is about to block in place: nothing that others need may stay with it.
fn before_blocking(worker: Option<&Worker>) {
    if let Some(worker) = worker {
        worker.flush_credit();
    }
}

/// Ends a wait that was not registered anywhere.
fn withdraw(claim: &Claim, ticket: Ticket) {
    let mine = claim.claim(ticket, Reason::Signalled);
    debug_assert!(mine, "nobody else had the ticket");
    claim.finish();
}

/// The claim word of the waiter behind `node`.
///
/// # Safety
///
/// `node` is the first field of a fiber, a thread waiter or a poll waiter in its slot.
pub(crate) unsafe fn claim_of(node: *mut Node) -> &'static Claim {
    // SAFETY: promised by the caller; slots live for ever.
    unsafe {
        match (*node).kind() {
            Kind::Fiber => &Fiber::from_node(node).claim,
            Kind::Poll => &(*node.cast::<PollWaiter>()).claim,
            _ => &(*node.cast::<ThreadWaiter>()).claim,
        }
    }
}
