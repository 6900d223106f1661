//! `join`: two closures, potentially in parallel, at the price of a push and a pop.

#![expect(unsafe_code, reason = "publishes a job on this stack")]

use crate::JobSystem;
use crate::error::{NoUnwind, Payload};
use crate::fiber::WaitKind;
use crate::job::stack_job::Half;
use crate::job::{self, JobRef};
use crate::sched::current;
use crate::sched::wait::{self, FiberLimit, WaitFor};
use crate::sched::worker::{Pushed, Worker, here};
use crate::trace::deadlock::{self, Target};
use crate::trace::site::SiteRef;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

/// Calls both closures, potentially in parallel, and returns both results.
///
/// `b` is offered to other workers and `a` runs in place. If nobody took `b`, it runs in place as well, without
/// any switch. Otherwise the calling fiber suspends until it is done. Both run exactly once, whatever happens.
/// In dumps both are parts of the calling job, unless `b` was taken: then it has the place of this call as its own.
///
/// Called outside of any job it moves to the [global system](JobSystem::global) first.
///
/// # Panics
///
/// With the panic of `a`, else of `b`, after both have ended.
///
/// # Suspends
///
/// If `b` was stolen and is not done; and at the beginning, if more urgent work waits for this worker.
///
/// # Examples
///
/// ```
/// fn sum(numbers: &[u64]) -> u64 {
///     if numbers.len() < 1000 {
///         return numbers.iter().sum();
///     }
///     let (left, right) = numbers.split_at(numbers.len() / 2);
///     let (a, b) = ramie::join(|| sum(left), || sum(right));
///     a + b
/// }
/// let numbers: Vec<u64> = (0..10_000).collect();
/// assert_eq!(sum(&numbers), 49_995_000);
/// ```
#[inline]
#[track_caller]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let site = Location::caller();
    match current::sticky_worker::<0>() {
        // SAFETY: this is a fiber of that worker, and never leaves it.
        Some(worker) => unsafe { join_on::<true, _, _, _, _>(worker, a, b, site) },
        None => join_elsewhere(a, b, site),
    }
}

/// `join` outside of any job, or on a worker whose fibers migrate.
#[cold]
#[inline(never)]
fn join_elsewhere<A, B, RA, RB>(a: A, b: B, site: &'static Location<'static>) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    match current::worker() {
        Some(worker) if worker.in_fiber() => join_here(worker, a, b, site),
        _ => JobSystem::global().run(|| join_here(current::worker().expect("inside a job"), a, b, site)),
    }
}

/// `join` on a fiber of `worker`, whose fibers may migrate.
pub(crate) fn join_here<A, B, RA, RB>(
    worker: &'static Worker,
    a: A,
    b: B,
    site: &'static Location<'static>,
) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB,
{
    // SAFETY: nothing is promised about the worker of later.
    unsafe { join_on::<false, _, _, _, _>(worker, a, b, site) }
}

/// `join` on a fiber of `worker`.
///
/// PERF: a function of its own would move its arguments about; bench `fib`.
///
/// # Safety
///
/// With `STICKY`, the fiber never leaves this worker.
#[inline(always)]
unsafe fn join_on<const STICKY: bool, A, B, RA, RB>(
    worker: &'static Worker,
    a: A,
    b: B,
    site: &'static Location<'static>,
) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB,
{
    let half = Half::new(b, site);
    debug_assert!(worker.in_fiber());
    // SAFETY: `half` stays in this stack frame until it was popped again or its latch says done.
    let entry = unsafe { JobRef::from_stack(half.as_job()) };
    let guard = NoUnwind("join");
    let pushed = worker.push_at_split(entry, site);
    let result_a = match catch_unwind(AssertUnwindSafe(a)) {
        Ok(result) => result,
        Err(payload) => first_panicked::<STICKY, _, _>(&half, (entry, pushed), site, payload, guard),
    };
    // INVARIANT: this is still the worker that `half` was pushed on, unless fibers migrate; then the half lies where
    // it can be stolen.
    // SAFETY: 1. Only fibers join. 2. Promised by the caller; a job that has changed its priority has changed it back.
    if unsafe { pushed.take_back::<STICKY>(entry) } {
        guard.passed();
        // SAFETY: it was popped, so nobody else will run it.
        let b = unsafe { half.take_closure() };
        // Without a destructor nothing can go wrong when `b` unwinds past the first result.
        if !std::mem::needs_drop::<RA>() {
            return (result_a, b());
        }
        return both(result_a, catch_unwind(AssertUnwindSafe(b)), site);
    }
    let result_b = second_is_elsewhere(&half, entry, site);
    guard.passed();
    both(result_a, result_b, site)
}

#[inline]
fn both<RA, RB>(result_a: RA, result_b: Result<RB, Payload>, site: &'static Location<'static>) -> (RA, RB) {
    match result_b {
        Ok(result_b) => (result_a, result_b),
        Err(payload) => go_on_with(payload, result_a, site),
    }
}

/// `a` has panicked with `payload`: goes on with that after `b` has ended.
#[cold]
#[inline(never)]
fn first_panicked<const STICKY: bool, F: FnOnce() -> R, R>(
    half: &Half<F, R>,
    (entry, pushed): (JobRef, Pushed),
    site: &'static Location<'static>,
    payload: Payload,
    guard: NoUnwind,
) -> ! {
    // SAFETY: as in `join_on`.
    let result_b = if unsafe { pushed.take_back::<STICKY>(entry) } {
        // SAFETY: it was popped, so nobody else will run it.
        catch_unwind(AssertUnwindSafe(unsafe { half.take_closure() }))
    } else {
        second_is_elsewhere(half, entry, site)
    };
    guard.passed();
    go_on_with(payload, result_b, site)
}

/// The half is not the newest job of the deque: it was stolen, or, while this thread unwinds, it may lie below other jobs, which
/// nobody else on this thread will take.
#[cold]
#[inline(never)]
fn second_is_elsewhere<F: FnOnce() -> R, R>(
    half: &Half<F, R>,
    entry: JobRef,
    site: &'static Location<'static>,
) -> Result<R, Payload> {
    if std::thread::panicking() && here().dig(|job| job == entry).is_some() {
        // SAFETY: it was taken out, so nobody else will run it.
        return catch_unwind(AssertUnwindSafe(unsafe { half.take_closure() }));
    }
    wait_for_stolen(half, entry, site)
}

#[cold]
fn go_on_with<T>(payload: Payload, left_over: T, site: &'static Location<'static>) -> ! {
    job::drop_guarded(left_over, here().system().index, SiteRef::unnamed(site));
    resume_unwind(payload)
}

#[cold]
#[inline(never)]
pub(crate) fn wait_for_stolen<F: FnOnce() -> R, R>(
    half: &Half<F, R>,
    entry: JobRef,
    site: &'static Location<'static>,
) -> Result<R, Payload> {
    let what = WaitFor { kind: WaitKind::Join, object: 0, site };
    let wait = || {
        let _waiting = deadlock::waiting(|| Target::Group(std::ptr::from_ref(half.job()).addr()));
        wait::wait(what, |node| half.job().set_waiter(node))
    };
    if !half.job().is_done() && wait() == Err(FiberLimit) {
        let run_own = |worker: &'static Worker| match worker.fetch(|job| job == entry) {
            Some(half) => {
                worker.run_job(half);
                true
            }
            None => false,
        };
        wait::poll_at_limit(what, || half.job().is_done(), run_own);
    }
    debug_assert!(half.job().is_done());
    // SAFETY: it is done, and this is the only call.
    unsafe { half.take_result() }
}
