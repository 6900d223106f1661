//! What is in a job's block behind the header: extras, and the closure, which makes room for its result.
//!
//! The end of a job, in order: its captures are dropped (by the call itself), the result is stored, its
//! counters are signalled, the handle's waiter is released and the block let go (a result that nobody wants is
//! dropped before that), and last of all the scope or batch learns that a member has ended.

#![expect(unsafe_code, reason = "type-erased closures in raw blocks")]

use super::header::{JobPtr, JobVtable};
use super::state::{Outcome, Owner};
use super::storage;
use crate::Counter;
use crate::counter::CounterList;
use crate::counter::group::Group;
use crate::error::{PanicKind, Payload};
use crate::fiber::RunningJob;
use crate::fiber::stack::StackError;
use crate::fiber::switch;
use crate::memory::slots::Caches;
use crate::sched::worker::Worker;
use crate::sched::{current, wake};
use crate::sync::CancelToken;
use crate::sync::cancel::JobLink;
use crate::system::core::SystemCore;
use crate::trace::event;
use crate::trace::site::SiteRef;
use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::header::JobHeader;

/// What only some jobs have.
pub(crate) struct Extras {
    /// Signalled when the job ends. Taken by whoever has claimed it.
    pub(crate) counters: Cell<CounterList>,
    /// How many of the counters that the job comes after have not reached zero, plus one while it is
    /// being submitted. Whoever takes it to zero releases the job.
    pub(crate) remaining: AtomicU32,
    /// The only worker that may run the job.
    pub(crate) pinned_to: Option<usize>,
    /// Whether the closure is called on a large stack.
    pub(crate) large_stack: bool,
    /// Keeps the system for the one who releases the job; taken by that one.
    pub(crate) core: Cell<Option<Arc<SystemCore>>>,
    /// Its place among the jobs of its token, if it has one.
    pub(crate) cancel: JobLink,
}

impl Extras {
    /// Those of a job that only this worker may run.
    pub(crate) fn pinned_to(worker: usize) -> Self {
        Self {
            counters: Cell::new(CounterList::default()),
            remaining: AtomicU32::new(1),
            pinned_to: Some(worker),
            large_stack: false,
            core: Cell::new(None),
            cancel: JobLink::new(),
        }
    }
}

/// All that a job is made from, but for its closure.
pub(crate) struct NewJob<'a> {
    pub(crate) caches: &'a Caches,
    /// The system's index and the priority, see `header::job_tag`.
    pub(crate) tag: u32,
    pub(crate) group: *const Group,
    pub(crate) site: SiteRef,
    pub(crate) owner: Owner,
}

/// The closure before the run; the result or the payload of a panic after it, if a handle wants it.
union Body<F, R> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<R>,
    panic: ManuallyDrop<Payload>,
}

/// What a job has between its header and its body: nothing, ...
const PLAIN: u8 = 0;
/// ... a counter that is signalled when it ends, ...
const COUNTED: u8 = 1;
/// ... or [`Extras`].
const SPECIAL: u8 = 2;

/// The layout and the functions of jobs with closure `F`, result `R`, and what `X` says.
struct Typed<F, R, const X: u8>(PhantomData<fn(F) -> R>);

impl<F, R, const X: u8> Typed<F, R, X>
where
    F: FnOnce() -> R,
{
    const EXTRAS_END: usize = size_of::<JobHeader>()
        + match X {
            PLAIN => 0,
            COUNTED => size_of::<Counter>(),
            _ => size_of::<Extras>(),
        };
    const BODY: Layout = Layout::new::<Body<F, R>>();
    /// Where the body is in the block; `None` if it is on the heap, and a pointer to it in its place.
    const PLACE: Option<(usize, usize)> = storage::place(Self::EXTRAS_END, Self::BODY);
    const INLINE: bool = Self::PLACE.is_some();
    const OFFSET: usize = match Self::PLACE {
        Some((_, offset)) => offset,
        None => Self::EXTRAS_END,
    };
    const CLASS: usize = match Self::PLACE {
        Some((class, _)) => class,
        None => storage::class_of(Self::EXTRAS_END + size_of::<*mut ()>()).expect("a block holds a pointer"),
    };
    const VTABLE: &'static JobVtable = &JobVtable {
        run: Self::run,
        discard: Self::discard,
        take: Self::take,
        has_extras: X == SPECIAL,
        class: Self::CLASS as u8,
    };

    /// Puts the closure into the block.
    ///
    /// # Safety
    ///
    /// The caller owns the block, which is of `CLASS`.
    unsafe fn put(job: JobPtr, closure: F) {
        let body = if Self::INLINE {
            job.at(Self::OFFSET)
        } else {
            debug_assert_ne!(Self::BODY.size(), 0, "a body that is not inline holds a pointer at least");
            // SAFETY: the body has room for a panic's payload, so it is not empty.
            let memory = unsafe { std::alloc::alloc(Self::BODY) };
            if memory.is_null() {
                std::alloc::handle_alloc_error(Self::BODY);
            }
            // SAFETY: the block has room for a pointer there.
            unsafe { job.at::<*mut Body<F, R>>(Self::OFFSET).write(memory.cast()) };
            memory.cast::<Body<F, R>>()
        };
        // SAFETY: the place is the caller's, large enough and aligned.
        unsafe { body.write(Body { closure: ManuallyDrop::new(closure) }) };
    }

    /// Where the closure or the result is.
    ///
    /// # Safety
    ///
    /// `put` was called, and `release` was not.
    #[inline]
    unsafe fn body(job: JobPtr) -> *mut Body<F, R> {
        if Self::INLINE {
            job.at(Self::OFFSET)
        } else {
            // SAFETY: `put` has stored the pointer.
            unsafe { job.at::<*mut Body<F, R>>(Self::OFFSET).read() }
        }
    }

    /// Frees the place of a body whose contents have been moved out.
    ///
    /// # Safety
    ///
    /// As for [`body`](Self::body); it is not used again.
    #[inline]
    unsafe fn release(job: JobPtr) {
        if !Self::INLINE {
            // SAFETY: `put` has allocated it with this layout.
            unsafe { std::alloc::dealloc(Self::body(job).cast(), Self::BODY) };
        }
    }

    unsafe fn run(job: JobPtr, worker: &'static Worker) {
        // SAFETY: promised by the caller.
        unsafe {
            if X != SPECIAL {
                Self::run_here(job, worker);
            } else if Self::leave_token(job) {
                Self::discard(job, Outcome::Cancelled);
            } else if job.extras().is_some_and(|extras| extras.large_stack) {
                Self::run_on_large_stack(job, worker);
            } else {
                Self::run_apart(job, worker);
            }
        }
    }

    /// A claimed job leaves its token, if it has one; whether that is cancelled.
    fn leave_token(job: JobPtr) -> bool {
        X == SPECIAL && job.extras().is_some_and(|extras| extras.cancel.leave())
    }

    /// Runs a claimed job on whatever stack this is.
    #[inline(always)]
    unsafe fn run_here(job: JobPtr, worker: &'static Worker) {
        let running =
            RunningJob::begin(worker, job.header().site(), job.address(), || job.header().group().addr());
        let worker = running.worker;
        // SAFETY: the caller has claimed the job, so the closure is there and nobody else's.
        let closure = unsafe { ManuallyDrop::take(&mut (*Self::body(job)).closure) };
        let result = catch_unwind(AssertUnwindSafe(closure));
        running.end(result.is_err());
        // SAFETY: as above; the closure is gone.
        unsafe {
            if !std::mem::needs_drop::<R>() && result.is_ok() && job.header().state.is_known_to_nobody() {
                Self::finish_unknown(job, worker.now());
            } else {
                Self::finish_run(job, worker.now(), result);
            }
        }
    }

    /// From the closure's return on, for a job whose result nobody wants and nobody else refers to.
    #[inline(always)]
    unsafe fn finish_unknown(job: JobPtr, worker: &'static Worker) {
        // SAFETY: the closure was moved out and nothing was put in.
        unsafe { Self::release(job) };
        Self::signal_counters(job);
        let header = job.header();
        let group = header.group();
        header.state.recycle();
        // SAFETY: promised by the caller: nobody refers to the block, and there is nothing in it.
        unsafe { storage::put_back(worker.caches(), job, Self::CLASS) };
        if !group.is_null() {
            worker.earn_credit(group);
        }
    }

    /// From the closure's end on.
    #[inline(never)]
    unsafe fn finish_run(job: JobPtr, worker: &'static Worker, result: Result<R, Payload>) {
        if result.is_err() {
            worker.system().print_seed();
        }
        // SAFETY: promised by the caller.
        unsafe { Self::finish(job, worker, result) };
    }

    /// As [`run_here`](Self::run_here), with a stack frame of its own, which may be large.
    #[inline(never)]
    unsafe fn run_apart(job: JobPtr, worker: &'static Worker) {
        // SAFETY: promised by the caller.
        unsafe { Self::run_here(job, worker) };
    }

    /// Runs a claimed job on a large stack, which its captures and its result are moved to and from; if there is none, the job
    /// ends as if it had panicked.
    #[cold]
    #[inline(never)]
    unsafe fn run_on_large_stack(job: JobPtr, worker: &'static Worker) {
        // SAFETY: as in `run_here`, which is called once.
        let called = switch::call_on_large_stack(worker, || unsafe { Self::run_apart(job, worker) });
        if let Err(error) = called {
            // SAFETY: the job was not run.
            unsafe { Self::fail_without_stack(job, worker, &error) };
        }
    }

    /// Ends a claimed job for which there is no large stack.
    #[cold]
    #[inline(never)]
    unsafe fn fail_without_stack(job: JobPtr, worker: &'static Worker, error: &StackError) {
        // Others may have some that they do not need.
        worker.system().fibers_are_short(worker.now_ns());
        let _bound = current::bind_fiber();
        // SAFETY: as in `run_here`, which was not called. The closure is dropped in its place: it may be large.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe {
            ManuallyDrop::drop(&mut (*Self::body(job)).closure);
        }));
        let bytes = worker.system().config.large_stack_bytes;
        // A panic of a capture is what the job ends with then.
        let payload =
            dropped.err().unwrap_or_else(|| Box::new(crate::error::no_large_stack(bytes, &error.0)));
        // SAFETY: as above; the closure is gone.
        unsafe { Self::finish(job, worker.now(), Err(payload)) };
    }

    unsafe fn discard(job: JobPtr, outcome: Outcome) {
        let (system, site) = (job.header().system(), job.header().site());
        event::job_dropped(job.address());
        Self::leave_token(job);
        // SAFETY: the caller has claimed the job, so the closure is there and nobody else's.
        let closure = unsafe { ManuallyDrop::take(&mut (*Self::body(job)).closure) };
        drop_guarded(closure, system, site);
        // SAFETY: as above; the closure is gone.
        unsafe {
            Self::release(job);
            Self::signal_counters(job);
            Self::end(job, None, outcome, false);
        }
    }

    /// From the closure's return on.
    #[inline]
    unsafe fn finish(job: JobPtr, worker: &'static Worker, result: Result<R, Payload>) {
        let header = job.header();
        let outcome = if result.is_ok() { Outcome::Returned } else { Outcome::Panicked };
        let kept = !header.state.result_is_unwanted();
        let mut left_over = None;
        if kept {
            // SAFETY: the body is the runner's until the job is complete, and empty.
            let body = unsafe { &mut *Self::body(job) };
            match result {
                Ok(value) => body.result = ManuallyDrop::new(value),
                Err(payload) => body.panic = ManuallyDrop::new(payload),
            }
        } else {
            // SAFETY: the closure was moved out and nothing was put in.
            unsafe { Self::release(job) };
            left_over = Some(result);
        }
        Self::signal_counters(job);
        if let Some(result) = left_over {
            Self::drop_unwanted(job, result);
        }
        // SAFETY: the caller has claimed and run the job.
        unsafe { Self::end(job, Some(worker), outcome, kept) };
    }

    /// To be called once, by whoever has claimed the job.
    ///
    /// Somebody else may have signalled what the job has added. That is a fault of theirs; nothing may unwind from here, and
    /// the value is 0 already.
    #[inline]
    fn signal_counters(job: JobPtr) {
        if X == COUNTED {
            // SAFETY: `create_counted` has put it there; whoever has claimed the job takes it, once.
            let counter = unsafe { job.at::<Counter>(size_of::<JobHeader>()).read() };
            let _ = counter.cell().signal(1);
        } else if X == SPECIAL {
            if let Some(extras) = job.extras() {
                for counter in extras.counters.take().iter() {
                    let _ = counter.signal(1);
                }
            }
        }
    }

    /// Everything after the counters: handle, block, group. `worker` is the one that has run the job.
    #[inline]
    unsafe fn end(job: JobPtr, worker: Option<&'static Worker>, outcome: Outcome, mut kept: bool) {
        let header = job.header();
        let group = header.group();
        if outcome == Outcome::Abandoned {
            // SAFETY: the group is alive until this member has been released, below.
            if let Some(group) = unsafe { group.as_ref() } {
                group.note_abandoned();
            }
        }
        let completed = loop {
            if let Some(completed) = header.state.complete(outcome, kept) {
                break completed;
            }
            // The handle was dropped at the last moment.
            kept = false;
            // SAFETY: still the runner's; `finish` has put a result there.
            let result = unsafe { Self::move_out(job, outcome) };
            Self::drop_unwanted(job, result);
        };
        if completed.free {
            // SAFETY: the state says so, and what was in the block has been moved out.
            unsafe {
                match worker {
                    Some(worker) => storage::free_class(worker.caches(), job, Self::CLASS),
                    None => current::with_caches(|caches| storage::free_class(caches, job, Self::CLASS)),
                }
            }
        }
        if completed.waiter != 0 {
            wake::wake_id(completed.waiter);
        }
        if !group.is_null() {
            match worker {
                Some(worker) => worker.earn_credit(group),
                // SAFETY: this was a member of the group, which waits for it.
                None => unsafe { Group::release(group, 1) },
            }
        }
    }

    /// Moves the result out and frees its place.
    ///
    /// # Safety
    ///
    /// The job ended with `outcome`, its result was kept, and the caller owns it.
    unsafe fn move_out(job: JobPtr, outcome: Outcome) -> Result<R, Payload> {
        // SAFETY: promised by the caller; `finish` wrote the field that belongs to the outcome.
        unsafe {
            let body = &mut *Self::body(job);
            let result = if outcome == Outcome::Returned {
                Ok(ManuallyDrop::take(&mut body.result))
            } else {
                Err(ManuallyDrop::take(&mut body.panic))
            };
            Self::release(job);
            result
        }
    }

    unsafe fn take(job: JobPtr, outcome: Outcome, out: *mut ()) {
        // SAFETY: promised by the caller: `out` has room for a `Result<R, Payload>`.
        unsafe { out.cast::<Result<R, Payload>>().write(Self::move_out(job, outcome)) };
    }

    /// Nobody will ask for this result.
    #[inline]
    fn drop_unwanted(job: JobPtr, result: Result<R, Payload>) {
        let header = job.header();
        match result {
            Ok(value) => drop_guarded(value, header.system(), header.site()),
            Err(payload) => {
                // SAFETY: the group is alive until this member has been released.
                match unsafe { header.group().as_ref() } {
                    Some(group) => group.take_panic(payload, header.system(), header.site()),
                    None => crate::system::report_panic(
                        header.system(),
                        PanicKind::DetachedJob,
                        header.site(),
                        payload,
                    ),
                }
            }
        }
    }
}

/// Drops a user's value; a panic in its destructor goes to `on_panic`.
pub(crate) fn drop_guarded<T>(value: T, system: u32, site: SiteRef) {
    if std::mem::needs_drop::<T>() {
        let _bound = current::bind_fiber();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            crate::system::report_panic(system, PanicKind::Destructor, site, payload);
        }
    }
}

/// Puts a job into a block. It is pending and in no queue yet.
///
/// # Safety
///
/// What `closure` and its result borrow stays valid until the job has ended; both may be dropped on, and the
/// closure called on, another thread.
#[inline]
pub(crate) unsafe fn create<F, R>(new: &NewJob<'_>, closure: F) -> JobPtr
where
    F: FnOnce() -> R,
{
    let job = storage::alloc(new.caches, Typed::<F, R, PLAIN>::CLASS);
    // SAFETY: the block was just allocated, with the right class.
    unsafe { Typed::<F, R, PLAIN>::put(job, closure) };
    job.header().fill(Typed::<F, R, PLAIN>::VTABLE, new.tag, new.group, new.site);
    job.header().state.submit(new.owner, false);
    job
}

/// As [`create`], with a counter, to which 1 was added for the job.
///
/// # Safety
///
/// As for [`create`].
#[inline]
pub(crate) unsafe fn create_counted<F, R>(new: &NewJob<'_>, counter: Counter, closure: F) -> JobPtr
where
    F: FnOnce() -> R,
{
    let job = storage::alloc(new.caches, Typed::<F, R, COUNTED>::CLASS);
    // SAFETY: the block was just allocated, with the right class; the counter follows the header.
    unsafe {
        job.at::<Counter>(size_of::<JobHeader>()).write(counter);
        Typed::<F, R, COUNTED>::put(job, closure);
    }
    job.header().fill(Typed::<F, R, COUNTED>::VTABLE, new.tag, new.group, new.site);
    job.header().state.submit(new.owner, false);
    job
}

/// As [`create`], with extras; held back if it comes after counters.
///
/// # Safety
///
/// As for [`create`].
pub(crate) unsafe fn create_with_extras<F, R>(
    new: &NewJob<'_>,
    extras: Extras,
    held: bool,
    token: Option<&CancelToken>,
    closure: F,
) -> JobPtr
where
    F: FnOnce() -> R,
{
    let job = storage::alloc(new.caches, Typed::<F, R, SPECIAL>::CLASS);
    // SAFETY: the block was just allocated, with the right class; extras follow the header.
    unsafe {
        job.at::<Extras>(size_of::<JobHeader>()).write(extras);
        Typed::<F, R, SPECIAL>::put(job, closure);
    }
    job.header().fill(Typed::<F, R, SPECIAL>::VTABLE, new.tag, new.group, new.site);
    let Some(token) = token else {
        job.header().state.submit(new.owner, held);
        return job;
    };
    let extras = job.extras().expect("just written");
    // As soon as the job is submitted a shutdown may look at its block and claim it, and a token can only claim what was submitted: both happen under the
    // token's lock, so that whoever cancels finds the job submitted, or is seen.
    let is_cancelled =
        token.register_job(job, &extras.cancel, || job.header().state.submit_watched(new.owner, held));
    if is_cancelled {
        // The block stays this job's: its entry is in no queue yet.
        if let Some(claimed) = job.header().state.claim() {
            // SAFETY: claimed just now.
            unsafe { super::handle::cancel_claimed(job, claimed.held) };
        }
    }
    job
}
