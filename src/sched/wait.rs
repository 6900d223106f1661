//! Waiting: a fiber suspends, any other thread parks.

#![expect(unsafe_code, reason = "thread waiters live in recycled slots")]

use super::current;
use super::worker::Worker;
use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::fiber::{Fiber, FiberState, WaitKind};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::sys::Parker;
use std::panic::Location;
use std::time::Instant;

static THREADS: Depot = Depot::new();

/// An outside thread's place in wait lists, for the duration of one wait.
#[repr(C, align(64))]
pub(crate) struct ThreadWaiter {
    node: Node,
    claim: Claim,
    /// Exactly one unpark comes for each wait that was registered.
    parker: Parker,
}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `THREADS` serves
// this type alone.
unsafe impl Slot for ThreadWaiter {
    fn vacant(id: u32) -> Self {
        Self { node: Node::new(Kind::Thread, id), claim: Claim::new(), parker: Parker::new() }
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
        // SAFETY: promised by the caller; slots live for ever.
        unsafe { &*node.cast::<ThreadWaiter>() }.parker.unpark();
    }

    fn with<R>(f: impl FnOnce(&'static ThreadWaiter) -> R) -> R {
        let waiter = current::with_caches(|caches| caches.threads.alloc::<ThreadWaiter>());
        let result = f(waiter);
        // SAFETY: 1. Allocated above. 2. The wait is over: its one unpark was taken or never
        // promised, and a waker's late system call uses only the parker's address.
        current::with_caches(|caches| unsafe { caches.threads.free(waiter) });
        result
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
                worker.suspend_waiting();
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
    let worker = current::worker().expect("only fibers have a limit");
    loop {
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
    ThreadWaiter::with(|waiter| {
        if register(&waiter.node) {
            waiter.parker.park();
        }
    });
}

/// As [`wait`], with a time limit. `register` gets the ticket by which a signaller claims the wake; after
/// the wait `settle` is called with the reason and takes the registration back.
pub(crate) fn wait_until(
    what: WaitFor,
    deadline: Option<Instant>,
    register: impl FnOnce(&'static Node, Ticket) -> bool,
    settle: impl FnOnce(Reason),
) -> Result<(), FiberLimit> {
    match current::worker() {
        Some(worker) if worker.in_fiber() && !std::thread::panicking() => {
            worker.reserve_spare()?;
            worker.flush_credit();
            if deadline.is_some() {
                // Nothing may fail between registering and suspending.
                crate::interop::timer::ensure_started();
            }
            let fiber = worker.current_fiber();
            fiber.set_wait(what.kind, what.object, what.site, worker.coarse_now_ns());
            let ticket = fiber.claim.arm();
            if register(fiber.node(), ticket) {
                let timer = deadline.map(|at| crate::interop::timer::start(at, fiber, ticket));
                worker.suspend_waiting();
                let reason = fiber.claim.finish();
                if let Some(timer) = timer {
                    timer.cancel();
                }
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
            ThreadWaiter::with(|waiter| {
                let ticket = waiter.claim.arm();
                if !register(&waiter.node, ticket) {
                    withdraw(&waiter.claim, ticket);
                    return;
                }
                let woken = match deadline {
                    None => {
                        waiter.parker.park();
                        true
                    }
                    Some(at) => waiter.parker.park_timeout(at.saturating_duration_since(Instant::now())),
                };
                if !woken && !waiter.claim.claim(ticket, Reason::TimedOut) {
                    // A signaller was faster than the clock: its unpark is on the way.
                    waiter.parker.park();
                }
                settle(waiter.claim.finish());
            });
            Ok(())
        }
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
/// `node` is the first field of a fiber or a thread waiter in its slot.
pub(crate) unsafe fn claim_of(node: *mut Node) -> &'static Claim {
    // SAFETY: promised by the caller; slots live for ever.
    unsafe {
        match (*node).kind() {
            Kind::Fiber => &Fiber::from_node(node).claim,
            _ => &(*node.cast::<ThreadWaiter>()).claim,
        }
    }
}
