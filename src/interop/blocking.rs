//! Blocking calls: moved to the threads of the `blocking` crate, while the fiber is suspended.
//!
//! The closure and its result stay on the stack of the fiber, which does not go on before the call has ended; so the closure may borrow.

#![expect(unsafe_code, reason = "a closure on another stack")]

use super::timer;
use crate::Counter;
use crate::error::{NoUnwind, Payload};
use crate::fiber::WaitKind;
use crate::sched::current;
use crate::sched::wait::{self, FiberLimit, WaitFor};
use crate::sched::worker::Worker;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A closure, and its result once it was called.
struct Call<F, R> {
    closure: UnsafeCell<Option<F>>,
    result: UnsafeCell<Option<Result<R, Payload>>>,
}

/// Calls `f`, which blocks its thread, on a helper thread; the fiber suspends until it has returned, and the worker does something else. Outside of jobs
/// `f` is called in place.
///
/// For what the operating system, or a library, gives no other way to wait for: files, name look-ups, `std::sync` locks that are held for long,
/// child processes. `f` may borrow. It is no job: inside of it [`in_job`](crate::in_job) says no, and [`spawn`](crate::spawn()) goes to the global system.
///
/// # Limits
///
/// The threads are those of the `blocking` crate, and shared with everything else in the process that uses it. They are started as they are
/// needed, at most 500 or what the environment variable `BLOCKING_MAX_THREADS` says, 1 to 10,000. Calls beyond that queue up, first in, first out,
/// without limit: calls that wait for each other may then wait for ever. A call costs some allocations and two wakes of threads, 10 to 100 us; it is not
/// for what takes less.
///
/// # Panics
///
/// With a panic of `f`.
///
/// # Suspends
///
/// Inside a job. While the thread unwinds, `f` is called in place.
///
/// # Examples
///
/// ```
/// let manifest = ramie::spawn(|| ramie::blocking(|| std::fs::read_to_string("Cargo.toml")));
/// assert!(manifest.join()??.contains("[package]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn blocking<F, R>(f: F) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    match current::worker() {
        Some(worker) if worker.in_fiber() && !std::thread::panicking() => {
            match call_elsewhere(worker, f, Location::caller()) {
                Ok(result) => result,
                Err(payload) => resume_unwind(payload),
            }
        }
        _ => f(),
    }
}

fn call_elsewhere<F, R>(worker: &'static Worker, f: F, site: &'static Location<'static>) -> Result<R, Payload>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    let call = Call { closure: UnsafeCell::new(Some(f)), result: UnsafeCell::new(None) };
    let ended = Counter::new(1);
    let is_special = worker.system().config.has_special_threads();
    if is_special {
        // Nothing may fail below.
        timer::ensure_started();
    }
    let guard = NoUnwind("blocking");
    // SAFETY: this does not return, nor unwind, before `ended` is zero.
    let task = unsafe { erased(&call, ended.clone()) };
    let _in_flight = InFlight::new();
    if is_special {
        // A helper thread that is started by this one would inherit its one CPU, and its kind.
        timer::call_on_clock_thread(Box::new(move || submit(task)));
    } else {
        submit(task);
    }
    let cell = ended.cell();
    let what = WaitFor { kind: WaitKind::Blocking, object: 0, site };
    if wait::wait(what, |node| cell.word().link(node, crate::memory::slots::node)) == Err(FiberLimit) {
        wait::poll_at_limit(what, || ended.is_zero(), |_| false);
    }
    guard.passed();
    call.result.into_inner().expect("the call has ended")
}

/// How many calls there are in the process.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// A call that others should know of.
struct InFlight;

impl InFlight {
    fn new() -> Self {
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many calls there are in the process that have not ended.
pub(crate) fn in_flight() -> usize {
    IN_FLIGHT.load(Ordering::Relaxed)
}

type Task = Box<dyn FnOnce() + Send>;

/// What calls the closure and then signals `ended`, after which it does not touch the call any more.
///
/// # Safety
///
/// The call stays in place, and nobody uses it, until `ended` was signalled.
unsafe fn erased<F, R>(call: &Call<F, R>, ended: Counter) -> Task
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    struct Pointer<F, R>(*const Call<F, R>);
    // SAFETY: the closure is called, and its result made, by another thread, which both may be; one thread at a time uses the call.
    unsafe impl<F: Send, R: Send> Send for Pointer<F, R> {}
    let pointer = Pointer(call);
    let task = move || {
        let pointer = pointer;
        // SAFETY: promised by the caller of `erased`; this is called once, and the only user until the signal.
        unsafe {
            let call = &*pointer.0;
            let closure = (*call.closure.get()).take().expect("called once");
            *call.result.get() = Some(catch_unwind(AssertUnwindSafe(closure)));
        }
        ended.signal();
    };
    let task: Box<dyn FnOnce() + Send + '_> = Box::new(task);
    // SAFETY: only the lifetime changes, of what the caller keeps in place for as long as it is used.
    unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Task>(task) }
}

fn submit(task: Task) {
    blocking::unblock(task).detach();
}
