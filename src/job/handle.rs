//! Handles: the way to a job's result.

#![expect(unsafe_code, reason = "takes results out of type-erased blocks")]

use super::header::{JobPtr, JobRef};
use super::state::{Look, Outcome};
use super::{body, storage};
use crate::error::{PanicKind, Payload, fiber_limit, message_of};
use crate::fiber::WaitKind;
use crate::interop::poll_waiter::PollWaiter;
use crate::memory::slots;
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::sched::raise;
use crate::sched::wait::{self, FiberLimit, WaitFor};
use crate::sched::worker::Worker;
use crate::trace::deadlock::{self, Target};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Why a job gave no result.
#[non_exhaustive]
pub enum JobError {
    /// It panicked, with this payload.
    Panicked(Box<dyn std::any::Any + Send + 'static>),
    /// It was [cancelled](JobHandle::cancel) before it was started.
    Cancelled,
    /// Its system was shut down, or the counters that it came after were dropped.
    Abandoned,
}

impl JobError {
    /// Goes on with the panic of the job; panics with a message for the other errors.
    #[track_caller]
    pub fn resume(self) -> ! {
        match self {
            JobError::Panicked(payload) => resume_unwind(payload),
            other => panic!("{other}"),
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => {
                f.debug_tuple("Panicked").field(&message_of(&**payload).unwrap_or("..")).finish()
            }
            JobError::Cancelled => f.write_str("Cancelled"),
            JobError::Abandoned => f.write_str("Abandoned"),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(payload) => match message_of(&**payload) {
                Some(message) => write!(f, "the job panicked: {message}"),
                None => f.write_str("the job panicked"),
            },
            JobError::Cancelled => f.write_str("the job was cancelled before it was started"),
            JobError::Abandoned => f.write_str(
                "the job was abandoned: its system was shut down, or a counter that it came after was dropped",
            ),
        }
    }
}

impl std::error::Error for JobError {}

/// The way to the result of a job. Dropping it detaches the job, which runs on.
///
/// A handle may outlive its system.
///
/// It is a future as well, so that async code can wait for jobs: `handle.await` gives what [`join`](Self::join) does. When its job has ended, the waker is
/// called on the thread that has run it.
pub struct JobHandle<T> {
    /// `None` once the result was polled out.
    raw: Option<RawHandle<T>>,
}

const POLLED_OUT: &str = "JobHandle: its result was taken by a poll before";

impl<T> JobHandle<T> {
    #[inline]
    pub(crate) fn new(raw: RawHandle<T>) -> Self {
        Self { raw: Some(raw) }
    }

    /// Waits for the job and gives its result.
    ///
    /// # Errors
    ///
    /// [`JobError`] if the job panicked, was [cancelled](Self::cancel), or was abandoned.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless the result is there, or the job has not been started and can run in place.
    /// Elsewhere, and while the thread unwinds, it blocks the thread.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made. Also if the result was taken by a poll.
    #[track_caller]
    pub fn join(self) -> Result<T, JobError> {
        self.raw.expect(POLLED_OUT).join(Location::caller())
    }

    /// Whether [`join`](Self::join) would return at once.
    pub fn is_finished(&self) -> bool {
        self.raw.as_ref().is_none_or(RawHandle::is_finished)
    }

    /// Drops the job if it has not been started; whether that was so. Then [`join`](Self::join) says
    /// [`JobError::Cancelled`]; otherwise nothing changes.
    pub fn cancel(&self) -> bool {
        self.raw.as_ref().is_some_and(RawHandle::cancel)
    }
}

impl<T> Future for JobHandle<T> {
    type Output = Result<T, JobError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        if self.raw.as_ref().expect(POLLED_OUT).poll_end(context.waker()) {
            Poll::Ready(self.raw.take().expect("there, just now").into_result())
        } else {
            Poll::Pending
        }
    }
}

// Nothing of a handle is where it is for good.
impl<T> Unpin for JobHandle<T> {}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("finished", &self.is_finished()).finish()
    }
}

impl<T> std::panic::UnwindSafe for JobHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JobHandle<T> {}

/// Drops a job as cancelled, which was held back by counters or was not.
///
/// # Safety
///
/// The caller has claimed the job.
pub(crate) unsafe fn cancel_claimed(job: JobPtr, was_held: bool) {
    if was_held {
        // No queue has an entry of it that would be counted. Before the captures are dropped: the last
        // handle of the system may be among them, and waits for all jobs.
        crate::system::count_finished_elsewhere(job.header().system());
    }
    // SAFETY: promised by the caller.
    unsafe { super::header::discard(job, Outcome::Cancelled) };
}

/// A handle without a lifetime. Owns the handle's share of the job's block.
pub(crate) struct RawHandle<T> {
    job: JobPtr,
    marker: PhantomData<T>,
}

impl<T> RawHandle<T> {
    /// # Safety
    ///
    /// The job was created with a handle for its owner, this is it, and its result is a `T`.
    pub(crate) unsafe fn new(job: JobPtr) -> Self {
        Self { job, marker: PhantomData }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.job.header().state.look(), Look::Done(_))
    }

    pub(crate) fn cancel(&self) -> bool {
        let Some(claimed) = self.job.header().state.claim() else { return false };
        // SAFETY: claimed above.
        unsafe { cancel_claimed(self.job, claimed.held) };
        true
    }

    #[track_caller]
    pub(crate) fn join(self, site: &'static Location<'static>) -> Result<T, JobError> {
        if self.wait_for_end(site).is_err() {
            fiber_limit("joining a handle");
        }
        self.into_result()
    }

    /// As [`join`](Self::join), and never panics: for jobs that borrow.
    pub(crate) fn join_unfailing(self, site: &'static Location<'static>) -> Result<T, JobError> {
        if self.wait_for_end(site).is_err() {
            let what = self.what(site);
            wait::poll_at_limit(what, || self.is_finished(), |_| self.run_in_place());
        }
        self.into_result()
    }

    fn what(&self, site: &'static Location<'static>) -> WaitFor {
        WaitFor { kind: WaitKind::Handle, object: self.job.header().node.id(), site }
    }

    /// Whether the job has ended. If not, `waker` is called when it has.
    ///
    /// Whoever takes the waiter out of the job's state owns it: the one who ends the job, or the handle, which puts another one in its place.
    fn poll_end(&self, waker: &Waker) -> bool {
        let state = &self.job.header().state;
        self.forget_poll();
        if self.is_finished() {
            return true;
        }
        let waiter = PollWaiter::owned(waker);
        if state.set_waiter(waiter) {
            return false;
        }
        // SAFETY: made above, and known to nobody.
        unsafe { PollWaiter::discard(slots::node(waiter)) };
        true
    }

    /// Nobody is to be woken any more because this handle was polled.
    fn forget_poll(&self) {
        let waiter = self.job.header().state.take_waiter();
        if waiter != 0 {
            // SAFETY: only polls leave a waiter there, and taking it has made it ours.
            unsafe { PollWaiter::discard(slots::node(waiter)) };
        }
    }

    #[inline]
    fn wait_for_end(&self, site: &'static Location<'static>) -> Result<(), FiberLimit> {
        let state = &self.job.header().state;
        loop {
            match state.look() {
                Look::Done(_) => return Ok(()),
                Look::Pending if self.run_in_place() => {}
                look @ (Look::Pending | Look::Running) => {
                    if look == Look::Pending {
                        raise::raise_to_mine(self.job);
                    }
                    self.forget_poll();
                    let _waiting = deadlock::waiting(|| Target::Job(self.job.address()));
                    wait::wait(self.what(site), |node| state.set_waiter(node.id()))?;
                }
            }
        }
    }

    /// Runs the job here if it has not been started; whether it did. No other job may run in place: it could
    /// bury this one's waiter.
    fn run_in_place(&self) -> bool {
        let header = self.job.header();
        let Some(worker) = current::worker().filter(|worker| {
            worker.in_fiber()
                && worker.system().index == header.system()
                && worker.starts_jobs()
                && !std::thread::panicking()
        }) else {
            return false;
        };
        if self.job.pinned_to().is_some_and(|index| index != worker.index()) {
            return false;
        }
        if worker.is_background() && header.priority() > Priority::Background {
            // Others may need it sooner than this thread gets a processor.
            return false;
        }
        let entry = JobRef::from(self.job);
        if worker.pop_if_newest(entry) {
            worker.run_job(entry);
            return true;
        }
        if !header.state.claim_queued() {
            return false;
        }
        self.run_claimed(worker);
        true
    }

    fn run_claimed(&self, worker: &'static Worker) {
        let header = self.job.header();
        worker.flush_credit_but(header.group());
        let vtable = header.vtable().expect("a pending job has a vtable");
        // A pinned job stays here also where fibers migrate.
        let pinned = self.job.pinned_to().is_some();
        let _bound = pinned.then(current::bind_fiber);
        worker.at_priority(header.priority().max(worker.priority()), || {
            // SAFETY: claimed by the caller; the queue's entry is stale from now on.
            unsafe { (vtable.run)(self.job, worker) };
        });
        if pinned {
            worker.drop_stale_pinned();
        }
    }

    /// The result of a job that has ended, or was given up.
    fn into_result(self) -> Result<T, JobError> {
        let Look::Done(outcome) = self.job.header().state.look() else { unreachable!("it has ended") };
        match outcome {
            Outcome::Cancelled => Err(JobError::Cancelled),
            // The job may still run, so the handle is dropped in the ordinary way.
            Outcome::Abandoned => Err(JobError::Abandoned),
            Outcome::Returned | Outcome::Panicked => {
                let job = self.job;
                std::mem::forget(self);
                // SAFETY: the job is done with a kept result, and the handle is gone.
                unsafe { Self::take(job, outcome) }.map_err(JobError::Panicked)
            }
        }
    }

    /// Moves the result out and gives up the handle's share.
    ///
    /// # Safety
    ///
    /// The job is done, with this outcome and a kept result; the caller owned the handle.
    unsafe fn take(job: JobPtr, outcome: Outcome) -> Result<T, Payload> {
        let vtable = job.header().vtable().expect("a job has a vtable");
        let mut result = MaybeUninit::<Result<T, Payload>>::uninit();
        // SAFETY: promised by the caller; `new`'s caller has vouched for the type.
        let result = unsafe {
            (vtable.take)(job, outcome, result.as_mut_ptr().cast());
            result.assume_init()
        };
        Self::let_go(job);
        result
    }

    fn let_go(job: JobPtr) {
        if job.header().state.let_go() {
            // SAFETY: the state says so, and the result was taken.
            current::with_caches(|caches| unsafe { storage::free(caches, job) });
        }
    }
}

impl<T> Drop for RawHandle<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.job.header().state.detach_unfinished() {
            self.drop_finished();
        }
    }
}

impl<T> RawHandle<T> {
    /// The handle is dropped after its job has ended, or after it was polled.
    #[cold]
    #[inline(never)]
    fn drop_finished(&mut self) {
        let header = self.job.header();
        self.forget_poll();
        if header.state.detach_unfinished() {
            return;
        }
        let (system, site, group) = (header.system(), header.site(), header.group());
        let Look::Done(outcome) = header.state.look() else { unreachable!("it was done") };
        if matches!(outcome, Outcome::Cancelled | Outcome::Abandoned) {
            return Self::let_go(self.job);
        }
        // SAFETY: done, with a kept result; the handle is being dropped.
        match unsafe { Self::take(self.job, outcome) } {
            Ok(value) => body::drop_guarded(value, system, site),
            // SAFETY: a member's handle does not outlive its group: 'scope ends after the handle.
            Err(payload) => match unsafe { group.as_ref() } {
                Some(group) => group.take_panic(payload, system, site),
                None => crate::system::report_panic(system, PanicKind::DetachedJob, site, payload),
            },
        }
    }
}
