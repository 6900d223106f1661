//! The free functions: inside a job they use its system, elsewhere the global one.

#![expect(unsafe_code, reason = "submits jobs")]

use crate::counter::AfterCounters;
use crate::fiber::WaitKind;
use crate::job::{self, JobHandle, JobSpec};
use crate::sched::current;
use crate::system::core::SystemCore;
use crate::{JobSystem, Priority};
use std::panic::Location;

/// The system of the job that calls this, or the global one.
fn with_current_system<R>(f: impl FnOnce(&SystemCore) -> R) -> R {
    match current::worker() {
        Some(worker) => f(worker.system()),
        None => f(JobSystem::global().core()),
    }
}

/// Spawns a job.
///
/// In the steady state nothing is allocated: the closure, and then its result, are in a block that is used again. Only what
/// is larger than 8 KiB may be put on the heap, or aligned to more than a page.
///
/// # Examples
///
/// ```
/// let handle = ramie::spawn(|| 6 * 7);
/// assert_eq!(handle.join()?, 42);
/// # Ok::<(), ramie::JobError>(())
/// ```
///
/// The closure must be `Send`, because another worker may take it:
///
/// ```compile_fail,E0277
/// let local = std::rc::Rc::new(1);
/// let handle = ramie::spawn(move || *local);
/// ```
///
/// The same with an `Arc` compiles:
///
/// ```
/// let shared = std::sync::Arc::new(1);
/// let handle = ramie::spawn(move || *shared);
/// # handle.join().unwrap();
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    // SAFETY: the closure and its result are 'static and Send.
    with_current_system(|core| JobHandle::new(unsafe { job::spawn_plain(core, site, std::ptr::null(), f) }))
}

/// Spawns a job that is held back until all of `counters` have been zero since this call.
///
/// Until then it costs no stack, and then it is an ordinary job that any worker may take: the way to let
/// thousands of jobs wait. `counters` is a [`Counter`](crate::Counter), or a slice, array or vector of them.
///
/// # Examples
///
/// ```
/// let (loaded, parsed) = (ramie::Counter::new(1), ramie::Counter::new(1));
/// let link = ramie::spawn_after(&[&loaded, &parsed], || "linked");
/// loaded.signal();
/// parsed.signal();
/// assert_eq!(link.join()?, "linked");
/// # Ok::<(), ramie::JobError>(())
/// ```
#[track_caller]
pub fn spawn_after<C, F, T>(counters: &C, f: F) -> JobHandle<T>
where
    C: AfterCounters + ?Sized,
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    // SAFETY: the closure and its result are 'static and Send.
    with_current_system(|core| JobHandle::new(unsafe { JobSpec::new(core, site).spawn_after(counters, f) }))
}

/// Calls `f` once on every worker and gives the results in the workers' order; see
/// [`JobSystem::broadcast`].
///
/// # Panics
///
/// With the first panic of a call, after all have ended.
///
/// # Suspends
///
/// Inside a job, until all calls have returned.
#[track_caller]
pub fn broadcast<F, R>(f: F) -> Vec<R>
where
    F: Fn() -> R + Sync,
    R: Send,
{
    let site = Location::caller();
    with_current_system(|core| crate::system::broadcast_in(core, site, f))
}

/// Lets others run: what is ready, and one job if there is any to be found. The caller goes on
/// after that. Outside of a job it yields the thread.
///
/// # Suspends
///
/// Inside a job.
///
/// # Panics
///
/// Never. While the thread unwinds it returns at once; at the limit of fibers only jobs that were started go on.
#[track_caller]
pub fn yield_now() {
    let site = Location::caller();
    match current::worker() {
        Some(worker) if worker.in_fiber() => {
            if !std::thread::panicking() {
                worker.yield_fiber(WaitKind::Yield, site);
            }
        }
        _ => crate::primitives::yield_thread(),
    }
}

/// Lets more urgent work go first, if there is some for this worker; whether there was. Cheap if there is none: long
/// jobs of priority Low should call it about every 250 us. Outside of a job it does nothing.
///
/// [`join`](crate::join()), [`scope`](crate::scope()) and [parallel loops](crate::par()) do the same by themselves.
///
/// # Suspends
///
/// Inside a job, if there is more urgent work.
///
/// # Examples
///
/// ```
/// use ramie::{JobSystem, Priority};
///
/// let system = JobSystem::new()?;
/// let indexed = system.job().name("index").priority(Priority::Low).spawn(|| {
///     let mut indexed = 0;
///     for _page in 0..100 {
///         indexed += 1; // about 250 us of work
///         ramie::yield_if_urgent();
///     }
///     indexed
/// });
/// assert_eq!(indexed.join()?, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn yield_if_urgent() -> bool {
    let site = Location::caller();
    current::worker().is_some_and(|worker| worker.in_fiber() && worker.split_point(site))
}

/// The priority of the calling job; `None` outside of jobs.
pub fn current_priority() -> Option<Priority> {
    current::worker().filter(|worker| worker.in_fiber()).map(|worker| worker.priority())
}

/// The index of the worker that the calling job runs on; `None` outside of jobs.
pub fn current_worker() -> Option<usize> {
    current::worker().filter(|worker| worker.in_fiber()).map(|worker| worker.index())
}

/// Whether the caller runs inside a job.
pub fn in_job() -> bool {
    current::worker().is_some_and(|worker| worker.in_fiber())
}
