//! A job on the stack of the one who waits for it: the second half of a `join`, or of a split loop.
//!
//! Its latch is one word: free while nobody waits, the waiter's id, or DONE. The thief's last touch is
//! the exchange that sets DONE; after it the waiter's stack frame may be gone.

#![expect(unsafe_code, reason = "type-erased closures on other stacks")]

use crate::error::Payload;
use crate::memory::node::Node;
use crate::primitives::{AtomicU32, Ordering};
use crate::sched::wake;
use crate::sched::worker::Worker;
use crate::trace::site::SiteRef;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;

/// Greater than every id.
const DONE: u32 = u32::MAX;

/// What is common to all jobs on stacks; the closure follows it in [`Half`].
#[repr(C, align(8))]
pub(crate) struct StackJob {
    execute: unsafe fn(*mut StackJob, &'static Worker),
    /// 0, a waiter's id, or DONE. Set by the waiter and by whoever has executed the job.
    latch: AtomicU32,
}

impl StackJob {
    /// Runs a job that was taken out of a deque.
    ///
    /// # Safety
    ///
    /// The caller owns the entry that `job` was pushed with.
    #[inline]
    pub(crate) unsafe fn execute(job: *mut StackJob, worker: &'static Worker) {
        // SAFETY: the waiter keeps the job in place until its latch is released.
        unsafe { ((*job).execute)(job, worker) };
    }

    /// Registers the waiter; false if the job is done.
    #[must_use]
    pub(crate) fn set_waiter(&self, node: &Node) -> bool {
        // ORDERING: Release hands the node over; Acquire on failure takes the result.
        self.latch.compare_exchange(0, node.id(), Ordering::Release, Ordering::Acquire).is_ok()
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the exchange in `Half::execute`.
        self.latch.load(Ordering::Acquire) == DONE
    }
}

/// A closure that may run here or be stolen, and its result.
#[repr(C)]
pub(crate) struct Half<F, R> {
    job: StackJob,
    closure: UnsafeCell<ManuallyDrop<F>>,
    /// Written before the latch says DONE.
    result: UnsafeCell<MaybeUninit<Result<R, Payload>>>,
    site: &'static Location<'static>,
}

impl<F: FnOnce() -> R, R> Half<F, R> {
    #[inline]
    pub(crate) fn new(closure: F, site: &'static Location<'static>) -> Self {
        Self {
            job: StackJob { execute: Self::execute, latch: AtomicU32::new(0) },
            closure: UnsafeCell::new(ManuallyDrop::new(closure)),
            result: UnsafeCell::new(MaybeUninit::uninit()),
            site,
        }
    }

    #[inline]
    pub(crate) fn as_job(&self) -> NonNull<StackJob> {
        NonNull::from(self).cast()
    }

    #[inline]
    pub(crate) fn job(&self) -> &StackJob {
        &self.job
    }

    /// Where it was made.
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Takes the closure out, to run it in place.
    ///
    /// # Safety
    ///
    /// The job was taken back out of the deque, so nobody else will run it; this is called once.
    #[inline]
    pub(crate) unsafe fn take_closure(&self) -> F {
        // SAFETY: promised by the caller.
        unsafe { ManuallyDrop::take(&mut *self.closure.get()) }
    }

    /// Takes the result of a stolen job.
    ///
    /// # Safety
    ///
    /// The job [is done](StackJob::is_done), and this is called once.
    pub(crate) unsafe fn take_result(&self) -> Result<R, Payload> {
        // SAFETY: the thief wrote it before it was done, and the waiter is the only other one to use it.
        unsafe { (*self.result.get()).assume_init_read() }
    }

    unsafe fn execute(job: *mut StackJob, worker: &'static Worker) {
        // SAFETY: `Half` begins with the job; the caller owns the entry, so the waiter keeps it in place and does
        // not touch closure or result until the latch is released.
        let half = unsafe { &*job.cast::<Self>() };
        // SAFETY: owning the entry makes this the one call.
        let closure = unsafe { half.take_closure() };
        let fiber = worker.current_fiber();
        let before = fiber.enter_job(SiteRef::unnamed(half.site));
        let result = catch_unwind(AssertUnwindSafe(closure));
        fiber.leave_job(before);
        // SAFETY: as above.
        unsafe { (*half.result.get()).write(result) };
        // What this job spawned into other groups must be known before its waiter goes on.
        worker.now().flush_credit();
        // ORDERING: AcqRel: Release for the result, Acquire for the waiter's node. The last touch.
        let waiter = half.job.latch.swap(DONE, Ordering::AcqRel);
        wake::wake_id(waiter);
    }
}
