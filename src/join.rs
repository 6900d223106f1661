//! `join`: two closures, potentially in parallel, at the price of a push and a pop.

#![expect(unsafe_code, reason = "publishes a job on this stack")]

use crate::JobSystem;
use crate::error::Payload;
use crate::fiber::WaitKind;
use crate::job::JobRef;
use crate::job::stack_job::Half;
use crate::sched::current;
use crate::sched::wait::{self, AtLimit, WaitFor};
use crate::sched::worker::Worker;
use crate::trace::site::SiteRef;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

/// Calls both closures, potentially in parallel, and returns both results.
///
/// `b` is offered to other workers and `a` runs in place. If nobody took `b`, it runs in place as well, without
/// any switch. Otherwise the calling fiber suspends until it is done. Both run exactly once, whatever happens.
///
/// Called outside of any job it moves to the [global system](JobSystem::global) first.
///
/// # Panics
///
/// With the panic of `a`, else of `b`, after both have ended.
///
/// # Suspends
///
/// If `b` was stolen and is not done.
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
    match current::worker() {
        Some(worker) if worker.in_fiber() => join_here(worker, a, b, site),
        _ => JobSystem::global().join(a, b),
    }
}

/// `join` on a fiber of `worker`.
#[inline]
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
    let half = Half::new(b, site);
    // SAFETY: `half` stays in this stack frame until it was popped again or its latch says done.
    let entry = unsafe { JobRef::from_stack(half.as_job()) };
    worker.push(entry);
    let first = catch_unwind(AssertUnwindSafe(a));
    // INVARIANT: fibers are sticky, so this is still the worker that `half` was pushed on.
    let result_b = if worker.pop_exactly(entry) {
        // SAFETY: it was popped, so nobody else will run it.
        let b = unsafe { half.take_closure() };
        match first {
            Ok(result_a) => return (result_a, run_second(worker, b, site)),
            Err(_) => catch_unwind(AssertUnwindSafe(|| run_second(worker, b, site))),
        }
    } else {
        wait_for_stolen(&half, site)
    };
    finish(first, result_b)
}

/// Runs `b` in place, as the job of its own that it would have been elsewhere.
#[inline]
fn run_second<B: FnOnce() -> RB, RB>(worker: &'static Worker, b: B, site: &'static Location<'static>) -> RB {
    let fiber = worker.current_fiber();
    let before = fiber.enter_job(SiteRef::unnamed(site));
    let result = b();
    fiber.leave_job(before);
    result
}

#[cold]
fn finish<RA, RB>(first: Result<RA, Payload>, second: Result<RB, Payload>) -> (RA, RB) {
    match (first, second) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(payload), second) => {
            if let Err(other) = second {
                // Only one panic can go on. The other one's payload might panic when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(other))).map_err(std::mem::forget);
            }
            resume_unwind(payload)
        }
        (Ok(_), Err(payload)) => resume_unwind(payload),
    }
}

#[cold]
#[inline(never)]
pub(crate) fn wait_for_stolen<F: FnOnce() -> R, R>(
    half: &Half<F, R>,
    site: &'static Location<'static>,
) -> Result<R, Payload> {
    if !half.job().is_done() {
        let what = WaitFor { kind: WaitKind::Join, object: 0, site };
        let waited = wait::wait(what, AtLimit::ServeWakes, |node| half.job().set_waiter(node));
        debug_assert!(waited.is_ok(), "a wait that serves wakes is never refused");
    }
    debug_assert!(half.job().is_done());
    // SAFETY: it is done.
    unsafe { half.take_result() }
}
