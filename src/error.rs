//! Errors, and the report of a panic that no handle or scope took.

use crate::topology::{CpuId, Pinning, ranges};
use crate::trace::site::SiteRef;
use std::any::Any;
use std::panic::Location;
use std::time::Duration;
use thiserror::Error;

/// Prints a line on standard error; unlike `eprintln!` it does not panic when that is closed.
macro_rules! complain {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}
pub(crate) use complain;

/// Ends the process when it is dropped: for stretches of code past which nothing may unwind, because jobs
/// borrow from the caller, or because a worker must not die. Every panic of users is caught inside of them; this turns
/// a defect of ramie into a message instead of undefined behaviour.
pub(crate) struct NoUnwind(pub(crate) &'static str);

impl NoUnwind {
    #[inline(always)]
    pub(crate) fn passed(self) {
        std::mem::forget(self);
    }
}

impl Drop for NoUnwind {
    // PERF: inlined, so that the name is a constant of the landing pad and nothing is stored for it on the way.
    #[inline(always)]
    fn drop(&mut self) {
        end_process(self.0);
    }
}

#[cold]
#[inline(never)]
fn end_process(place: &str) -> ! {
    complain!("ramie: a defect: a panic in {place} while jobs depend on it; the process ends");
    std::process::abort();
}

/// What a panic was raised with.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// A system could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `workers(0)`.
    #[error(
        "a job system needs at least 1 worker: pass a positive number to `workers`, or leave it out for one per usable CPU"
    )]
    NoWorkers,
    /// More workers than [`Builder::WORKERS_MAX`](crate::Builder::WORKERS_MAX).
    #[error("{requested} workers are too many: at most {max} are supported")]
    TooManyWorkers {
        /// What was asked for.
        requested: usize,
        /// The limit.
        max: usize,
    },
    /// A stack size outside of what can work.
    #[error(
        "a stack of {requested} bytes is out of range: pass between {min} and {max} bytes to `{setting}`"
    )]
    StackSize {
        /// The builder's method.
        setting: &'static str,
        /// What was asked for, in bytes.
        requested: usize,
        /// The smallest size, in bytes.
        min: usize,
        /// The largest size, in bytes.
        max: usize,
    },
    /// `main_thread_worker` on a thread that is worker 0 of another system.
    #[error(
        "this thread is already worker 0 of another job system: shut that down first, or build this one without `main_thread_worker`, or on another thread"
    )]
    MainThreadTaken,
    /// `deterministic` with more than one worker.
    #[error(
        "a deterministic job system has 1 worker, not {workers}: leave out `workers`, or `deterministic`"
    )]
    DeterministicWorkers {
        /// What was asked for.
        workers: usize,
    },
    /// Fewer fibers than workers.
    #[error(
        "max_fibers({max_fibers}) is less than the {workers} workers, each of which needs a fiber: raise it or lower `workers`"
    )]
    TooFewFibers {
        /// What was asked for.
        max_fibers: usize,
        /// The number of workers.
        workers: usize,
    },
    /// A duration that is out of range.
    #[error("{setting}({value:?}) is out of range: pass between {min:?} and {max:?}")]
    Duration {
        /// The builder's method.
        setting: &'static str,
        /// What was asked for.
        value: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// The operating system gave no stack for a worker's first fiber.
    #[error(
        "no stack of {bytes} bytes for a fiber: {source}; lower `stack_size` or `workers`, or raise the limits on address space and mappings"
    )]
    Stack {
        /// The stack's size in bytes.
        bytes: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gave no thread for a worker.
    #[error("no thread for worker {worker}: {source}; lower `workers` or raise the limit on threads")]
    Thread {
        /// The worker's index.
        worker: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gave no thread for one of the system's helpers: `ramie-relay` beside Background threads, `ramie-tiers` with
    /// [`TieredSpillover`](crate::Pinning::TieredSpillover).
    #[error(
        "no thread for the helper '{name}': {source}; raise the limit on threads, or build without what needs it"
    )]
    HelperThread {
        /// The thread's name.
        name: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system has allowed one thread to run only on idle CPUs, and refused it to a Background worker's.
    #[error(
        "the thread of Background worker {worker} cannot be made one that runs on idle CPUs only: {source}; leave out `background_threads`"
    )]
    IdleThread {
        /// The worker's index.
        worker: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A [`Pinning`](crate::Pinning) with more workers than CPUs that it can take.
    #[error(
        "`Pinning::{pinning:?}` needs a CPU for each of the {workers} workers, and those that it can take, because the building thread may \
         use them and no other pinned system has taken them, are {}: lower `workers`, widen the affinity mask, or leave the others \
         unpinned with `pinning_best_effort`",
        if .usable.is_empty() { "none".to_owned() } else { ranges(.usable) }
    )]
    TooFewCpus {
        /// The strategy.
        pinning: Pinning,
        /// The number of workers.
        workers: usize,
        /// The CPUs that the strategy can take, ascending: those that the building thread may use and that no other pinned system has
        /// taken, as far as they belong to the cache domain that was chosen.
        usable: Vec<CpuId>,
    },
    /// [`Pinning::Custom`](crate::Pinning::Custom) with fewer CPUs than workers.
    #[error(
        "`Pinning::Custom` names {given} CPUs for {workers} workers: name one for each, lower `workers`, \
         or leave the others unpinned with `pinning_best_effort`"
    )]
    PinningTooShort {
        /// How many CPUs were given.
        given: usize,
        /// The number of workers.
        workers: usize,
    },
    /// [`Pinning::Custom`](crate::Pinning::Custom) with a CPU that may not be used, or that the machine does not have.
    #[error(
        "CPU {cpu}, entry {index} of `Pinning::Custom`, is none of those that the building thread may use ({}): \
         name one of these, widen the affinity mask, or leave that worker unpinned with `pinning_best_effort`",
        ranges(.usable)
    )]
    CpuNotUsable {
        /// The CPU that was given.
        cpu: CpuId,
        /// Where it stands in the list, counted from 0.
        index: usize,
        /// The CPUs that the building thread may use, ascending.
        usable: Vec<CpuId>,
    },
    /// A [`Pinning`](crate::Pinning) where threads cannot be bound to CPUs, or where it is not told which may be used.
    #[error(
        "the CPUs that workers could be pinned to are not known: {source}; leave `pinning` out, \
         or leave the workers unpinned with `pinning_best_effort`"
    )]
    PinningUnavailable {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system did not bind a worker's thread to its CPU.
    #[error(
        "worker {worker} could not be pinned to CPU {cpu}: {source}; name another CPU, leave `pinning` out, \
         or leave that worker unpinned with `pinning_best_effort`"
    )]
    Pinning {
        /// The worker's index.
        worker: usize,
        /// The CPU that it was to be bound to.
        cpu: CpuId,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `build_global` after the global system was built, by an earlier call or by its first use.
    #[error("the global job system exists already: call `build_global` once, before its first use")]
    GlobalExists,
}

/// A wait with a time limit came to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("timed out")]
#[non_exhaustive]
pub struct TimedOut;

impl TimedOut {
    pub(crate) fn new() -> Self {
        TimedOut
    }
}

/// A wait was ended by its [`CancelToken`](crate::sync::CancelToken).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the token was cancelled")]
#[non_exhaustive]
pub struct Cancelled;

impl Cancelled {
    pub(crate) fn new() -> Self {
        Cancelled
    }
}

/// A shutdown could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Called inside one of the system's own jobs, which would wait for itself.
    #[error(
        "shutdown was called inside a job of the same system, which would wait for itself: call it from outside"
    )]
    InsideOwnJob,
}

/// What kind of user code panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicKind {
    /// A job whose handle was dropped, or that never had one.
    DetachedJob,
    /// The destructor of a capture, a result or a panic's payload, while ramie dropped it.
    Destructor,
    /// A callback of the builder.
    Callback,
    /// A frame of a [`FramePipeline`](crate::FramePipeline).
    FrameStage {
        /// The stage that a panic of the frame came out of last, be it this one or one that the frame has caught; `None` if none did.
        stage: Option<&'static str>,
        /// The number of the frame in its run, from 0.
        frame: u64,
    },
}

/// A panic that no handle, scope or batch took; handed to [`Builder::on_panic`](crate::Builder::on_panic).
#[derive(Debug)]
#[non_exhaustive]
pub struct PanicReport<'a> {
    /// What panicked.
    pub kind: PanicKind,
    /// The job's name, if it has one.
    pub job_name: Option<&'static str>,
    /// Where the job was spawned, if a job panicked.
    pub spawned_at: Option<&'static Location<'static>>,
    /// What the panic was raised with.
    pub payload: &'a (dyn Any + Send),
}

impl<'a> PanicReport<'a> {
    pub(crate) fn new(kind: PanicKind, site: SiteRef, payload: &'a (dyn Any + Send)) -> Self {
        Self { kind, job_name: site.name(), spawned_at: site.location(), payload }
    }

    /// The panic's message, if it was raised with one.
    pub fn message(&self) -> Option<&str> {
        message_of(self.payload)
    }
}

/// The text of a panic's payload, if it is text.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// What a job panics with that asked for a large stack when there was none.
pub(crate) fn no_large_stack(bytes: usize, error: &std::io::Error) -> String {
    format!(
        "FiberLimit: no large stack of {bytes} bytes for this job: {error}; lower `large_stack_size`, have fewer such jobs \
         at once, or raise the limits on address space and mappings"
    )
}

/// Panics because a wait cannot suspend: there is no fiber to go on with.
#[cold]
#[track_caller]
pub(crate) fn fiber_limit(what: &str) -> ! {
    panic!(
        "FiberLimit: {what} would suspend the last fiber of this worker that can take jobs, and no other can be made; \
         raise `max_fibers`, lower `stack_size`, or raise the limits on address space and mappings"
    )
}
