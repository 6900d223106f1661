//! The main thread as worker 0.
//!
//! With [`Builder::main_thread_worker`](crate::Builder::main_thread_worker) worker 0 has no thread of its own. The thread
//! that built the system drives it while it is inside `run`, `run_main`, `pump`, or any wait of ramie: a *visit*.
//!
//! ```text
//!            enter (main thread)                    leave
//!    Away ------------------------> Present ----------------> Away
//!      |                               | the system has stopped
//!      | close (another thread ends    v
//!      +--- the system, or the ----> Closed
//!           main thread ends)
//! ```
//!
//! Whoever takes the seat out of Away owns all that is the worker's: the main thread for a visit, or the one who closes it
//! for good. While the seat is empty other workers steal from the worker's deques; what only worker 0 may run waits. When it
//! is closed, pinned jobs are abandoned, and fibers that wait on worker 0 are left: their stacks are
//! never reused, and neither is the worker.

#![expect(unsafe_code, reason = "takes entries out of a worker's queues")]

use super::core::{Phase, SystemCore};
use crate::error::{NoUnwind, Payload};
use crate::job::stack_job::Half;
use crate::job::state::{Outcome, Popped};
use crate::job::{JobPtr, JobRef, header, storage};
use crate::primitives::{AtomicU32, Mutex, Ordering, fence, lock};
use crate::sched::visit::Limit;
use crate::sched::worker::Worker;
use crate::sched::{current, wait};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Instant;

const AWAY: u32 = 0;
const PRESENT: u32 = 1;
const CLOSED: u32 = 2;

/// The seat of a system whose worker 0 is the main thread.
pub(crate) struct MainThread {
    state: AtomicU32,
    /// Held by whoever abandons what only worker 0 could have run.
    closing: Mutex<()>,
    /// Jobs that were left on worker 0.
    left_count: AtomicU64,
}

impl MainThread {
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(AWAY), closing: Mutex::new(()), left_count: AtomicU64::new(0) }
    }

    fn is_absent(&self) -> bool {
        self.state.load(Ordering::Acquire) != PRESENT
    }

    /// Nobody has closed the seat, and nobody is in it.
    pub(super) fn is_away(&self) -> bool {
        self.state.load(Ordering::Acquire) == AWAY
    }

    fn is_closed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CLOSED
    }

    /// Whether fibers were left on the worker, which must never be used again then.
    pub(super) fn has_left_jobs(&self) -> bool {
        self.left_count.load(std::sync::atomic::Ordering::Relaxed) != 0
    }

    fn take(&self, state: u32) -> bool {
        // ORDERING: Acquire pairs with the Release in `Visit::drop`: the worker's state changes hands.
        self.state.compare_exchange(AWAY, state, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

thread_local! {
    /// The system whose worker 0 this thread is. Closes the seat when the thread ends.
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
}

struct Seat(Weak<SystemCore>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            core.close_main_thread(true);
        }
    }
}

/// Whether this thread is worker 0 of a system that has not ended.
pub(super) fn thread_is_taken() -> bool {
    SEAT.with_borrow(|seat| seat.as_ref().is_some_and(|seat| seat.0.strong_count() > 0 && !seat.is_closed()))
}

/// Makes this thread worker 0 of the system.
pub(super) fn take_thread(core: &Arc<SystemCore>) {
    let before = SEAT.with_borrow_mut(|seat| seat.replace(Seat(Arc::downgrade(core))));
    debug_assert!(before.as_ref().is_none_or(|seat| seat.is_closed()));
}

impl Seat {
    fn is_closed(&self) -> bool {
        self.0.upgrade().is_none_or(|core| core.main.as_ref().is_none_or(MainThread::is_closed))
    }
}

/// Whether this thread is worker 0 of this system.
pub(crate) fn is_seat_of(core: &SystemCore) -> bool {
    SEAT.try_with(|seat| {
        seat.borrow().as_ref().is_some_and(|seat| std::ptr::eq(seat.0.as_ptr(), core) && !seat.is_closed())
    })
    .unwrap_or(false)
}

/// The main thread drives its worker until this is dropped.
pub(crate) struct Visit {
    core: ManuallyDrop<Arc<SystemCore>>,
    exited: bool,
}

/// Begins a visit, if this thread is worker 0 of some system.
///
/// While the thread unwinds it does not, unless there is no other worker: jobs would see a foreign panic.
pub(crate) fn enter() -> Option<Visit> {
    let core = SEAT.try_with(|seat| seat.borrow().as_ref().and_then(|seat| seat.0.upgrade())).ok()??;
    let main = core.main.as_ref()?;
    if std::thread::panicking() && core.workers() > 1 {
        return None;
    }
    main.take(PRESENT).then(|| Visit { core: ManuallyDrop::new(core), exited: false })
}

impl Visit {
    pub(crate) fn worker(&self) -> &'static Worker {
        self.core.worker(0).get()
    }

    /// Drives the worker until the wait of this visit is over (true) or the limit is reached (false).
    pub(crate) fn drive(&mut self, limit: Limit) -> bool {
        let worker = self.worker();
        if self.exited {
            return worker.await_wake(limit);
        }
        let is_worker = current::enter(worker);
        let woken = worker.visit(limit);
        self.exited = worker.has_exited();
        if self.exited {
            worker.end_fibers();
            self.core.config.call(self.core.config.on_worker_stop.as_ref(), 0, self.core.index);
        }
        drop(is_worker);
        if !self.exited {
            self.core.notice_idle();
            return woken;
        }
        self.core.present.signal();
        // What this visit waits for may have come with the end, or may be no part of this system at all.
        woken || limit.when_idle || worker.await_wake(limit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let main = self.core.main.as_ref().expect("a visit is to a main thread's worker");
        // ORDERING: Release pairs with the Acquire in `take`.
        main.state.store(if self.exited { CLOSED } else { AWAY }, Ordering::SeqCst);
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.core) };
    }
}

/// Works for the system until there is nothing to do (false), or the time has come (true).
pub(super) fn pump(deadline: Option<Instant>) -> bool {
    let Some(mut visit) = enter() else { return false };
    visit.drive(Limit { at: deadline, lazy: false, when_idle: true });
    deadline.is_some_and(|at| Instant::now() >= at)
}

/// Runs `f` on a fiber of worker 0, on this thread, and drives the worker until `f` has ended; `None` if this thread
/// cannot.
///
/// The job goes straight to a fiber and is in no queue, so that no shutdown drops it, on whatever thread, before it is run:
/// it need not be `Send`.
pub(super) fn run_job<F, R>(f: F, site: &'static Location<'static>) -> Option<Result<R, Payload>>
where
    F: FnOnce() -> R,
{
    let half = Half::new(
        || {
            // Also where fibers migrate.
            let _bound = current::bind_fiber();
            f()
        },
        site,
    );
    let guard = NoUnwind("run_main");
    let run = |worker: &'static Worker| {
        // SAFETY: `half` stays in this stack frame until its latch says done.
        worker.hand_over(unsafe { JobRef::from_stack(half.as_job()) });
    };
    let ran = wait::block_visiting(run, |node| half.job().set_waiter(node));
    guard.passed();
    // SAFETY: if it ran it is done, and this is the only call.
    ran.then(|| unsafe { half.take_result() })
}

impl SystemCore {
    /// Whether worker 0 is a main thread's, and that thread will never come back to it.
    pub(crate) fn main_is_closed(&self) -> bool {
        self.main.as_ref().is_some_and(MainThread::is_closed)
    }

    /// Whether worker 0 is a main thread's that is not there now.
    pub(crate) fn main_is_absent(&self) -> bool {
        self.main.as_ref().is_some_and(MainThread::is_absent)
    }

    /// How many jobs were left on worker 0, never to go on.
    pub(crate) fn left_count(&self) -> u64 {
        self.main.as_ref().map_or(0, |main| main.left_count.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Closes the seat if nobody is in it. To be called when the main thread will not, or must not, come back.
    ///
    /// `at_once` says that worker 0 counts as gone before what it leaves is dropped: among that may be the last handle
    /// of the system, whose drop waits for all workers.
    #[cold]
    pub(crate) fn close_main_thread(&self, at_once: bool) {
        let Some(main) = &self.main else { return };
        if !main.take(CLOSED) {
            return;
        }
        let guard = lock(&main.closing);
        let worker = self.worker(0).get();
        // What has been started there never ends; it must not be waited for.
        let left = worker.take_left_count();
        main.left_count.store(left, std::sync::atomic::Ordering::Relaxed);
        if left == 0 {
            worker.end_from_afar();
        } else {
            // Late wakes of fibers that were left touch the worker and the core.
            std::mem::forget(self.shared());
        }
        drop(guard);
        if at_once {
            self.present.signal();
        }
        self.abandon_closed();
        self.count_finished_outside_n(left);
        if self.workers() == 1 {
            // There is nobody left who could run anything.
            self.abandon();
            self.drop_what_worker_0_had();
        }
        if !at_once {
            self.present.signal();
        }
        self.notice_idle();
    }

    /// Abandons the pinned jobs of a closed worker 0.
    pub(crate) fn abandon_closed(&self) {
        let Some(main) = &self.main else { return };
        loop {
            // While the seat is closed, the lock makes this thread the owner of the worker's queues. It is not held while a
            // job is dropped, which may deliver others.
            let guard = lock(&main.closing);
            let Some(node) = self.worker(0).get().take_any_pinned() else { return };
            drop(guard);
            // SAFETY: these queues hold jobs in their slots.
            self.abandon_entry(unsafe { JobPtr::from_node(node) });
        }
    }

    /// As [`abandon_closed`](Self::abandon_closed), for what is in its deques: only where nobody else could steal it.
    fn drop_what_worker_0_had(&self) {
        while let Some(job) = self.worker(0).get().steal_own() {
            match (job.as_block(), job.as_bare()) {
                (Some(job), _) => self.abandon_entry(job),
                (None, Some(job)) => {
                    // Before the captures are dropped, as in `abandon_entry`.
                    self.count_finished_outside();
                    // SAFETY: just taken out of the worker's deque.
                    unsafe { job.discard(self.index) };
                }
                // A half of a join belongs to a fiber that was left.
                (None, None) => {}
            }
        }
    }

    /// Drops a job whose queue entry this thread has taken, and which nobody will run.
    pub(super) fn abandon_entry(&self, job: JobPtr) {
        // Before the captures are dropped: the last handle of this system may be among them.
        self.count_finished_outside();
        match job.header().state.pop() {
            // SAFETY: popping has claimed the job.
            Popped::Yours => unsafe { header::discard(job, Outcome::Abandoned) },
            Popped::Stale => {}
            Popped::StaleFree => {
                // SAFETY: the state says that nobody refers to the block.
                current::with_caches(|caches| unsafe { storage::free(caches, job) });
            }
        }
    }

    /// To be called after something was delivered to worker 0, or injected: if nobody will ever take it, drops it.
    #[inline]
    pub(crate) fn after_delivery(&self) {
        if self.main.is_some() {
            self.drop_if_closed();
        }
    }

    #[cold]
    fn drop_if_closed(&self) {
        // ORDERING: pairs with the compare-exchange in `take`: either this thread sees the seat closed, or the one
        // who closes it sees the delivery.
        fence(Ordering::SeqCst);
        if self.main_is_closed() && self.phase() != Phase::Stopping {
            self.abandon_closed();
        }
    }
}
