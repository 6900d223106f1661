//! The only thread-locals of the crate: which worker this thread is, the free slots of other threads, and where events are recorded.
//!
//! The accessors are never inlined, so that no compiler keeps a thread-local's address across a suspension.
//! Where fibers are sticky, the worker that they return stays right for as long as the job runs; where they migrate,
//! `Worker::now` asks again after everything that may have suspended.

#![expect(unsafe_code, reason = "turns the stored pointer into a reference")]

use super::worker::Worker;
use crate::fiber::Fiber;
use crate::memory::slots::Caches;
use crate::trace::event;
use crate::trace::record::OwnRing;
use std::cell::{Cell, OnceCell};
use std::ptr;

#[cfg(shuttle)]
use shuttle::thread_local;
#[cfg(not(shuttle))]
use std::thread_local;

thread_local! {
    /// The worker that this thread is, or null. Has no destructor, so that reading it is one load.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// The same while the thread runs fibers that never leave it; null otherwise.
    static STICKY: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// For threads that are no workers; workers have caches of their own.
    static CACHES: OnceCell<Caches> = const { OnceCell::new() };
    /// Where this thread's events are recorded.
    static RING: OwnRing = const { OwnRing::new() };
}

/// The worker that this thread is, if it is one.
#[inline(never)]
pub(crate) fn worker() -> Option<&'static Worker> {
    let worker = WORKER.with(Cell::get);
    // SAFETY: null, or set to a worker by `enter`, which lives for ever, on the thread that owns it.
    unsafe { worker.as_ref() }
}

/// The worker on one of whose fibers this is, if they never leave it: as long as the calling fiber runs, this stays right.
///
/// PERF: a parameter makes this a function of the crate that calls it, so that the call is a direct one, and the
/// thread-local one of the program's own: bench `fib`.
#[inline(never)]
pub(crate) fn sticky_worker<const INSTANCE: u8>() -> Option<&'static Worker> {
    let worker = STICKY.with(Cell::get);
    // SAFETY: as in `worker`.
    unsafe { worker.as_ref() }
}

/// This thread is a worker until this is dropped; then it is what it was before.
#[must_use]
pub(crate) struct IsWorker {
    before: *const Worker,
}

#[inline(never)]
pub(crate) fn enter(worker: &'static Worker) -> IsWorker {
    let entered = IsWorker { before: WORKER.with(|current| current.replace(worker)) };
    // It may be a worker already that ends another system's from afar.
    if entered.before.is_null() {
        event::unparked();
    }
    entered
}

impl Drop for IsWorker {
    #[inline(never)]
    fn drop(&mut self) {
        // The main thread's worker sleeps until the next visit.
        if self.before.is_null() {
            event::parks();
        }
        WORKER.with(|current| current.set(self.before));
    }
}

/// This thread runs fibers of its worker until this is dropped.
#[must_use]
pub(crate) struct RunsFibers {
    before: *const Worker,
}

#[inline(never)]
pub(crate) fn run_fibers(worker: &'static Worker) -> RunsFibers {
    let sticky = if worker.migrates() { ptr::null() } else { ptr::from_ref(worker) };
    RunsFibers { before: STICKY.with(|current| current.replace(sticky)) }
}

impl Drop for RunsFibers {
    #[inline(never)]
    fn drop(&mut self) {
        STICKY.with(|current| current.set(self.before));
    }
}

/// Keeps the current fiber on its worker until it is dropped: for callbacks that may wait, below code that goes on to use
/// that worker.
#[must_use]
pub(crate) struct BoundFiber(Option<&'static Fiber>);

pub(crate) fn bind_fiber() -> BoundFiber {
    let fiber = worker().filter(|worker| worker.migrates() && worker.in_fiber()).map(Worker::current_fiber);
    // Within another guard nothing changes.
    let fiber = fiber.filter(|fiber| !fiber.is_bound());
    fiber.inspect(|fiber| fiber.set_bound(true));
    BoundFiber(fiber)
}

impl Drop for BoundFiber {
    fn drop(&mut self) {
        if let Some(fiber) = self.0 {
            fiber.set_bound(false);
        }
    }
}

/// Calls `f` with the free slots of this thread. `f` runs no user code.
#[inline]
pub(crate) fn with_caches<R>(f: impl FnOnce(&Caches) -> R) -> R {
    match worker() {
        Some(worker) => f(worker.caches()),
        None => with_thread_caches(f),
    }
}

#[inline(never)]
fn with_thread_caches<R>(f: impl FnOnce(&Caches) -> R) -> R {
    let mut f = Some(f);
    let done = CACHES.try_with(|caches| {
        let f = f.take().expect("called once");
        f(caches.get_or_init(Caches::default))
    });
    match done {
        Ok(result) => result,
        // The thread is ending and its caches are gone: a short-lived set goes back to the depots.
        Err(_) => f.take().expect("not called above")(&Caches::default()),
    }
}

/// Calls `f` with this thread's place for events. `f` does not suspend.
#[inline(never)]
pub(crate) fn with_ring(f: impl FnOnce(&OwnRing)) {
    // A thread that is ending has none.
    let _ = RING.try_with(f);
}
