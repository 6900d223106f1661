//! A job on the stack of the one who waits for it: the second half of a `join`, or of a split loop.
//!
//! Its latch is one word, which begins as the place of the call:
//!
//! ```text
//!   place ────a waiter registers────> id of the waiter, WAITED
//!     │                                   │
//!     └────────the thief has run it───────┴──> DONE
//! ```
//!
//! The thief's last touch is the exchange that sets DONE; after it the waiter's stack frame may be gone.

#![expect(unsafe_code, reason = "type-erased closures on other stacks")]

use crate::error::Payload;
use crate::fiber::RunningJob;
use crate::memory::node::Node;
use crate::primitives::{AtomicPtr, Ordering};
use crate::sched::wake;
use crate::sched::worker::Worker;
use crate::trace::site::SiteRef;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};

/// Set in a latch that holds the id of a waiter. The address of a place has its lowest bits free.
const WAITED: usize = 1;
/// A latch's last value; no address.
const DONE: usize = 2;
const ID_SHIFT: u32 = 2;

const _: () = assert!(align_of::<Location<'static>>() > WAITED | DONE);

/// What is common to all jobs on stacks; the closure follows it in [`Half`].
///
/// PERF: a `join` writes three words of this, of which the latch is the place as well: how many stores there are to drain decides
/// about its time; bench `fib`.
#[repr(C, align(8))]
pub(crate) struct StackJob {
    execute: unsafe fn(*mut StackJob, &'static Worker),
    /// See the [module](self). Changed by the waiter and by whoever has executed the job.
    latch: AtomicPtr<()>,
    /// The place, while the latch holds a waiter's id. Written by the waiter before that, read by the thief.
    place: UnsafeCell<MaybeUninit<&'static Location<'static>>>,
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

    /// Registers the waiter, the only one there will be; false if the job is done.
    #[must_use]
    pub(crate) fn set_waiter(&self, node: &Node) -> bool {
        // ORDERING: Acquire takes the result, here as well as below.
        let latch = self.latch.load(Ordering::Acquire);
        if latch.addr() == DONE {
            return false;
        }
        // SAFETY: it holds the place until a waiter registers, or it is done. The thief reads the cell only after the
        // exchange below has succeeded.
        unsafe { (*self.place.get()).write(&*latch.cast::<Location<'static>>()) };
        let waited = ptr::without_provenance_mut((node.id() as usize) << ID_SHIFT | WAITED);
        // ORDERING: Release hands the node and the place over; Acquire on failure takes the result.
        self.latch.compare_exchange(latch, waited, Ordering::Release, Ordering::Acquire).is_ok()
    }

    /// Where it was made. For the thief, before it says that the job is done.
    fn place(&self) -> &'static Location<'static> {
        // ORDERING: Acquire pairs with the Release in `set_waiter`.
        let latch = self.latch.load(Ordering::Acquire);
        debug_assert_ne!(latch.addr(), DONE);
        // SAFETY: the latch holds the reference that it was made with, or the waiter has put it into the cell.
        unsafe {
            match latch.addr() & WAITED {
                0 => &*latch.cast::<Location<'static>>(),
                _ => (*self.place.get()).assume_init(),
            }
        }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the exchange in `Half::execute`.
        self.latch.load(Ordering::Acquire).addr() == DONE
    }
}

/// A closure that may run here or be stolen, and its result.
#[repr(C)]
pub(crate) struct Half<F, R> {
    job: StackJob,
    closure: UnsafeCell<ManuallyDrop<F>>,
    /// Written before the latch says DONE.
    result: UnsafeCell<MaybeUninit<Result<R, Payload>>>,
}

impl<F: FnOnce() -> R, R> Half<F, R> {
    #[inline]
    pub(crate) fn new(closure: F, site: &'static Location<'static>) -> Self {
        Self {
            job: StackJob {
                execute: Self::execute,
                latch: AtomicPtr::new(ptr::from_ref(site).cast_mut().cast()),
                place: UnsafeCell::new(MaybeUninit::uninit()),
            },
            closure: UnsafeCell::new(ManuallyDrop::new(closure)),
            result: UnsafeCell::new(MaybeUninit::uninit()),
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
        let running = RunningJob::begin(worker, SiteRef::unnamed(half.job.place()), 0, || job.addr());
        let worker = running.worker;
        let result = catch_unwind(AssertUnwindSafe(closure));
        running.end(result.is_err());
        // SAFETY: as above.
        unsafe { (*half.result.get()).write(result) };
        // What this job spawned into other groups must be known before its waiter goes on.
        worker.now().flush_credit();
        // ORDERING: AcqRel: Release for the result, Acquire for the waiter's node. The last touch.
        let latch = half.job.latch.swap(ptr::without_provenance_mut(DONE), Ordering::AcqRel).addr();
        if latch & WAITED != 0 {
            wake::wake_id((latch >> ID_SHIFT) as u32);
        }
    }
}
