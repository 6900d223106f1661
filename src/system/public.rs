//! `JobSystem`, the handle that users hold.

#![expect(unsafe_code, reason = "runs closures that borrow, and waits for them")]

use super::core::{Phase, SystemCore};
use super::drain::{self, Drain, Report};
use super::{main_thread, registry};
use crate::config::{Builder, Config};
use crate::error::{BuildError, NoUnwind, ShutdownError};
use crate::interop::timer;
use crate::job::{self, JobBuilder, JobHandle, JobSpec};
use crate::memory::slots;
use crate::parallel::{IntoPar, Par, ParChunks, ParChunksMut};
use crate::sched::background;
use crate::sched::current;
use crate::sched::spillover;
use crate::sched::wait;
use crate::sched::worker::Worker;
use crate::scope::{Scope, scope_in};
use crate::sys;
#[cfg(all(unix, not(shuttle)))]
use crate::sys::unix::fault::AlternateStack;
use crate::topology::Topology;
use crate::trace::dump::FiberDump;
use crate::trace::stall::{self, StallKind};
use crate::trace::stats::Stats;
use crate::{Counter, join};
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

static GLOBAL: OnceLock<JobSystem> = OnceLock::new();

/// A job system: workers, and the fibers that run jobs on them. Clones are handles to the same system.
///
/// Dropping the last handle finishes everything that was submitted, as [`Drain::Finish`] does; while the thread
/// panics it waits for at most a second. Inside one of the system's own jobs it does not wait.
///
/// # Examples
///
/// ```
/// let system = ramie::JobSystem::new()?;
/// let answer = system.run(|| {
///     let (a, b) = ramie::join(|| 6, || 7);
///     a * b
/// });
/// assert_eq!(answer, 42);
/// # Ok::<(), ramie::BuildError>(())
/// ```
#[derive(Clone)]
pub struct JobSystem {
    shared: Arc<Shared>,
}

/// Ends the system when the last handle is gone. Workers hold the core alone.
struct Shared {
    core: Arc<SystemCore>,
    threads: Mutex<Vec<Thread>>,
}

#[cfg(not(shuttle))]
type Thread = std::thread::JoinHandle<()>;
#[cfg(shuttle)]
type Thread = shuttle::thread::JoinHandle<()>;

impl Shared {
    /// Waits for the threads' last steps, after all workers have left.
    fn join_threads(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker's thread runs callbacks of the user under catch_unwind and cannot panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drain::drop_system(&self.core);
        if self.core.present.is_zero() {
            self.join_threads();
        }
    }
}

impl JobSystem {
    /// A system with one worker per usable CPU, not pinned.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the operating system gives no stacks or threads.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Sets up a system.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The system that free functions use outside of jobs: made by
    /// [`build_global`](Builder::build_global), or on first use with defaults and these environment variables:
    ///
    /// - `RAMIE_WORKERS`: the number of workers;
    /// - `RAMIE_STACK_SIZE`: bytes of a stack.
    ///
    /// A value that cannot be used is reported once on standard error, and the default taken.
    ///
    /// It is never dropped; what it has not finished when `main` returns ends with the process.
    ///
    /// # Panics
    ///
    /// If it has to be built and the operating system gives no stacks or threads.
    pub fn global() -> &'static JobSystem {
        GLOBAL.get_or_init(|| match Builder::from_environment().build() {
            Ok(system) => system,
            Err(error) => panic!("ramie: the global job system could not be built: {error}"),
        })
    }

    pub(crate) fn build_global(config: Config) -> Result<&'static JobSystem, BuildError> {
        if GLOBAL.get().is_some() {
            return Err(BuildError::GlobalExists);
        }
        GLOBAL.set(Self::build(config)?).map_err(|_| BuildError::GlobalExists)?;
        Ok(Self::global())
    }

    pub(crate) fn build(config: Config) -> Result<Self, BuildError> {
        let count = config.workers + config.background_placement.len();
        if config.main_thread && main_thread::thread_is_taken() {
            return Err(BuildError::MainThreadTaken);
        }
        // The names first: the callback may panic, and there must be nothing to clean up then.
        let names: Vec<String> = (0..count).map(|index| config.name_of(index)).collect();
        if config.has_special_threads() {
            // The clock's thread would inherit the one CPU, and the kind, of whichever worker needs it first. If there is no
            // thread for it now, that worker says so.
            let _ = timer::try_start();
        }
        #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
        crate::trace::debugger::prepare();
        #[cfg(all(unix, not(shuttle)))]
        {
            crate::sys::unix::fault::install(crate::trace::overflow::look);
            if config.main_thread {
                // Kept for the rest of the thread's life: only threads that Rust did not start have none.
                std::mem::forget(AlternateStack::for_this_thread());
            }
        }
        let (refusals, refused) = config.has_special_threads().then(mpsc::channel).unzip();
        let core = SystemCore::new(registry::next_index(), config);
        for index in 0..count {
            let worker = core.worker(index).get();
            // SAFETY: 1. The workers were just taken, and their threads are started below. 2. Each thread holds
            // the core until it ends.
            unsafe { worker.join_system(Arc::as_ptr(&core), index) };
            // A thread that is pinned makes its first fiber by itself, so that the memory is near.
            let made = if core.config.cpu_of(index).is_none() { worker.add_fiber() } else { Ok(()) };
            if let Err(error) = made {
                (0..index).for_each(|index| core.worker(index).get().leave_unstarted());
                return Err(BuildError::Stack { bytes: core.config.stack_bytes, source: error.0 });
            }
        }
        registry::register(&core);
        // Not before: whoever changes them tells all that are registered.
        core.copy_hooks(0);
        if core.config.find_deadlocks {
            crate::trace::deadlock::enable();
        }
        #[cfg(not(shuttle))]
        crate::trace::stuck::watch(&core);
        let mut threads = Vec::with_capacity(count);
        // Those that workers rely on come first.
        let relay =
            core.background.as_ref().map(|_| ("ramie-relay", background::relay as fn(Arc<SystemCore>)));
        let tiers = core.tiers.as_ref().map(|_| ("ramie-tiers", spillover::control as fn(Arc<SystemCore>)));
        for (name, run) in relay.into_iter().chain(tiers) {
            let theirs = Arc::clone(&core);
            match spawn_thread(name.to_owned(), move || run(theirs)) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    let relay_runs = !threads.is_empty() && core.background.is_some();
                    end_unused(&core, 0..count, relay_runs, threads);
                    return Err(BuildError::HelperThread { name, source });
                }
            }
        }
        // The main thread works for the system only once that is complete.
        let main = core.main.is_some().then_some(0);
        for (index, name) in names.into_iter().enumerate().skip(usize::from(main.is_some())) {
            match start_thread(&core, index, name, refusals.clone()) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    end_unused(&core, (index..count).chain(main), true, threads);
                    return Err(BuildError::Thread { worker: index, source });
                }
            }
        }
        drop(refusals);
        // Each thread gives its sender back once it is what it should be; so this is the first refusal, or all are.
        if let Some(error) = refused.and_then(|refused| refused.recv().ok()) {
            end_unused(&core, main.into_iter(), true, threads);
            return Err(error);
        }
        if core.main.is_some() {
            main_thread::take_thread(&core);
            core.config.call(core.config.on_worker_start.as_ref(), 0, core.index);
        }
        Ok(Self { shared: Arc::new(Shared { core, threads: Mutex::new(threads) }) })
    }

    pub(crate) fn core(&self) -> &SystemCore {
        &self.shared.core
    }

    /// Runs `f` as a job of this system and returns its result. `f` may borrow.
    ///
    /// Inside one of the system's own jobs `f` is called in place.
    ///
    /// # Panics
    ///
    /// With the panic of `f`. Also if the system has been shut down.
    ///
    /// # Suspends
    ///
    /// Inside a job of another system. Otherwise the thread blocks until `f` has returned.
    #[track_caller]
    pub fn run<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        let core = self.core();
        let worker = current::worker().filter(|worker| worker.in_fiber());
        if worker.is_some_and(|worker| worker.belongs_to(core)) {
            return f();
        }
        core.assert_accepts("run", worker);
        let site = Location::caller();
        let done = Counter::new(0);
        let mut spec = JobSpec::new(core, site).borrowing();
        if worker.is_none() {
            spec.add_counter(&done);
        }
        let guard = NoUnwind("run");
        // SAFETY: the closure and its result are Send, and this call neither returns nor unwinds before
        // the job has ended.
        let handle = unsafe { spec.spawn(f) };
        if worker.is_none() {
            self.wait_watchfully(&done);
        }
        let result = handle.join_unfailing(site);
        guard.passed();
        match result {
            Ok(result) => result,
            Err(error) => error.resume(),
        }
    }

    /// Waits for the counter of a `run`, and reports a suspected stall.
    fn wait_watchfully(&self, done: &Counter) {
        let core = self.core();
        let begin = Instant::now();
        let mut patience = core.config.stall_after;
        let register = |node| done.cell().word().link(node, slots::node);
        wait::block_watchfully(patience, register, || {
            if stall::nothing_can_move(core) {
                stall::report(core, StallKind::RunBlocked, begin.elapsed());
            }
            patience = patience.saturating_mul(2);
            patience
        });
    }

    /// Runs `f` as a job on worker 0, which is the calling thread, and returns its result. `f` may borrow, and need not
    /// be `Send`. Meanwhile the thread works for the system, as in [`run`](Self::run).
    ///
    /// Inside a job on worker 0 `f` is called in place.
    ///
    /// # Panics
    ///
    /// With the panic of `f`. Also on any other thread than the one that built the system with
    /// [`main_thread_worker`](Builder::main_thread_worker), and if the system has been shut down.
    #[track_caller]
    pub fn run_main<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        let (core, site) = (self.core(), Location::caller());
        if let Some(worker) = current::worker().filter(|worker| worker.in_fiber()) {
            assert!(
                core.main.is_some() && worker.belongs_to(core) && worker.index() == 0,
                "run_main was called inside a job that does not run on the main thread's worker: spawn a job with `on_worker(0)` instead"
            );
            return f();
        }
        self.assert_main_thread("run_main");
        core.assert_accepts("run_main", None);
        match main_thread::run_job(f, site) {
            Some(Ok(result)) => result,
            Some(Err(payload)) => resume_unwind(payload),
            None => panic!(
                "run_main was called while the main thread unwinds, or the system was shut down meanwhile"
            ),
        }
    }

    /// Works for the system on the calling thread, which is worker 0: until there is nothing to do, or for about
    /// `budget` if there is much; at least one job, if there is any. A job that runs is not interrupted. For loops that
    /// belong to somebody else, like a window system's.
    ///
    /// Returns whether there may be more to do, because the time was over.
    ///
    /// # Panics
    ///
    /// Inside a job, and on any other thread than the one that built the system with
    /// [`main_thread_worker`](Builder::main_thread_worker).
    #[track_caller]
    pub fn pump(&self, budget: Duration) -> bool {
        assert!(!crate::in_job(), "pump was called inside a job: it is for the main thread outside of `run`");
        self.assert_main_thread("pump");
        main_thread::pump(Instant::now().checked_add(budget))
    }

    #[track_caller]
    fn assert_main_thread(&self, what: &str) {
        assert!(
            main_thread::is_seat_of(self.core()),
            "{what} was called on a thread that is not worker 0 of this job system: build the system with `main_thread_worker(true)` on this thread, before it is shut down"
        );
    }

    /// Spawns a job.
    ///
    /// After a shutdown the job is dropped, and its handle says [`Abandoned`](crate::JobError::Abandoned).
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the closure and its result are 'static and Send.
        JobHandle::new(unsafe { job::spawn_plain(self.core(), Location::caller(), std::ptr::null(), f) })
    }

    /// Sets up a job: a name, counters, what it comes after.
    #[track_caller]
    pub fn job(&self) -> JobBuilder<'_> {
        JobBuilder::new(JobSpec::new(self.core(), Location::caller()))
    }

    /// As [`ramie::scope`](crate::scope()), with the members on this system.
    ///
    /// `f` runs in place, on the calling thread; a thread outside of the system parks until the members have ended.
    ///
    /// # Panics
    ///
    /// As [`ramie::scope`](crate::scope()).
    #[track_caller]
    pub fn scope<'env, F, R>(&self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        scope_in(self.core(), Location::caller(), f)
    }

    /// As [`ramie::join`](crate::join()), on this system.
    ///
    /// # Panics
    ///
    /// As [`ramie::join`](crate::join()). Also if the system has been shut down.
    #[track_caller]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        match current::worker() {
            Some(worker) if worker.in_fiber() && worker.belongs_to(self.core()) => {
                join::join_here(worker, a, b, Location::caller())
            }
            _ => self.run(|| join::join(a, b)),
        }
    }

    /// As [`ramie::par`](crate::par()), on this system.
    #[track_caller]
    pub fn par<S: IntoPar>(&self, source: S) -> Par<'_, S::Source> {
        Par::new(Some(self), source.into_source(), Location::caller())
    }

    /// As [`ramie::par_chunks`](crate::par_chunks()), on this system.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    #[track_caller]
    pub fn par_chunks<'a, T: Sync>(&self, slice: &'a [T], size: usize) -> Par<'_, ParChunks<'a, T>> {
        Par::new(Some(self), ParChunks::new(slice, size), Location::caller())
    }

    /// As [`ramie::par_chunks_mut`](crate::par_chunks_mut()), on this system.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    #[track_caller]
    pub fn par_chunks_mut<'a, T: Send>(
        &self,
        slice: &'a mut [T],
        size: usize,
    ) -> Par<'_, ParChunksMut<'a, T>> {
        Par::new(Some(self), ParChunksMut::new(slice, size), Location::caller())
    }

    /// As [`ramie::spawn_batch`](crate::spawn_batch()), on this system.
    #[track_caller]
    pub fn spawn_batch<I, F>(&self, closures: I) -> crate::BatchHandle
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() + Send + 'static,
    {
        crate::batch::spawn_batch_in(self.core(), Location::caller(), closures)
    }

    /// Calls `f` once on every worker and gives the results in the workers' order; nothing else is allocated than their
    /// vector.
    ///
    /// [`current_worker`](crate::current_worker) tells `f` where it runs.
    ///
    /// # Panics
    ///
    /// With the first panic of a call, after all have ended. Also if the system has been shut down.
    ///
    /// # Suspends
    ///
    /// Inside a job, until all calls have returned. Elsewhere the thread blocks.
    #[track_caller]
    pub fn broadcast<F, R>(&self, f: F) -> Vec<R>
    where
        F: Fn() -> R + Sync,
        R: Send,
    {
        let (core, site) = (self.core(), Location::caller());
        super::broadcast_in(core, site, f)
    }

    /// Waits until no job of this system is queued, running or waiting.
    ///
    /// # Panics
    ///
    /// Inside one of the system's own jobs, which would wait for itself.
    ///
    /// # Suspends
    ///
    /// Inside a job of another system. Otherwise the thread blocks.
    #[track_caller]
    pub fn wait_idle(&self) {
        let core = self.core();
        assert!(
            !current::worker().is_some_and(|worker| worker.belongs_to(core)),
            "wait_idle was called inside a job of the same system, which would wait for itself: call it from outside"
        );
        let idle = core.watch();
        idle.wait();
        core.unwatch();
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.core().config.workers
    }

    /// The machine as this system sees it, and the CPUs of its workers ([`placement`](Topology::placement)). Read when the system was
    /// built, if it is pinned, and otherwise by the first call.
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::{JobSystem, Pinning};
    ///
    /// let system = JobSystem::builder().workers(1).pinning(Pinning::AvoidSmt).build()?;
    /// assert!(system.topology().placement()[0].is_some());
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn topology(&self) -> &Topology {
        self.core().topology()
    }

    /// What the workers have counted so far. Cheap: no worker is stopped or slowed down.
    pub fn stats(&self) -> Stats {
        Stats::of(self.core())
    }

    /// Every job of this system that runs or waits: name, age, what it waits for, where. The others go on meanwhile,
    /// so each line is true of a moment of its own.
    pub fn dump(&self) -> FiberDump {
        FiberDump::of(self.core())
    }

    /// Ends the system for all of its handles. See [`Drain`] for what becomes of its jobs.
    ///
    /// Afterwards jobs that are submitted are dropped at once, and [`run`](Self::run) and
    /// [`scope`](Self::scope) panic. Shutting down again is harmless.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::InsideOwnJob`] inside one of the system's own jobs.
    ///
    /// # Suspends
    ///
    /// Inside a job of another system. Otherwise the thread blocks.
    pub fn shutdown(&self, drain: Drain) -> Result<Report, ShutdownError> {
        let report = drain::shut_down(self.core(), drain)?;
        if report.finished {
            self.shared.join_threads();
        }
        Ok(report)
    }
}

impl fmt::Debug for JobSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSystem")
            .field("index", &self.core().index)
            .field("workers", &self.workers())
            .field("phase", &self.core().phase())
            .finish()
    }
}

impl std::panic::UnwindSafe for JobSystem {}
impl std::panic::RefUnwindSafe for JobSystem {}

/// Ends a system that could not be built in full, and these of whose workers have no thread.
fn end_unused(
    core: &SystemCore,
    threadless: impl Iterator<Item = usize>,
    relay_runs: bool,
    threads: Vec<Thread>,
) {
    for index in threadless {
        core.worker(index).get().leave_unstarted();
        if relay_runs {
            core.farewell_of(index)();
        } else {
            core.present.signal();
        }
    }
    core.stop_when_idle(Phase::Draining);
    core.present.wait();
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// Starts the thread of worker `index`, which gives `refusals` back once it is pinned, or has said there why not.
fn start_thread(
    core: &Arc<SystemCore>,
    index: usize,
    name: String,
    refusals: Option<Sender<BuildError>>,
) -> std::io::Result<Thread> {
    let theirs = Arc::clone(core);
    let main = move || {
        let core = theirs;
        #[cfg(all(unix, not(shuttle)))]
        let _alternate_stack = AlternateStack::for_this_thread();
        let worker = core.worker(index).get();
        let prepared = prepare_thread(&core, worker);
        let is_prepared = prepared.is_ok();
        if let (Err(error), Some(refusals)) = (prepared, &refusals) {
            // The builder listens until all senders are gone, unless it has heard of another refusal.
            let _ = refusals.send(error);
        }
        drop(refusals);
        if is_prepared {
            let _is_worker = current::enter(worker);
            core.config.call(core.config.on_worker_start.as_ref(), index, core.index);
            let guard = NoUnwind("a worker's loop");
            worker.root();
            guard.passed();
            core.config.call(core.config.on_worker_stop.as_ref(), index, core.index);
        } else {
            // It may have made its first fiber.
            worker.leave_unstarted();
        }
        let farewell = core.farewell_of(index);
        // The core must be gone before the last worker is, for those who count systems.
        drop(core);
        farewell();
    };
    spawn_thread(name, main)
}

#[cfg(not(shuttle))]
fn spawn_thread(name: String, main: impl FnOnce() + Send + 'static) -> std::io::Result<Thread> {
    std::thread::Builder::new().name(name).spawn(main)
}

#[cfg(shuttle)]
fn spawn_thread(_name: String, main: impl FnOnce() + Send + 'static) -> std::io::Result<Thread> {
    Ok(shuttle::thread::spawn(main))
}

/// Makes the calling thread what this worker's should be, before anything runs on it.
fn prepare_thread(core: &SystemCore, worker: &'static Worker) -> Result<(), BuildError> {
    let (config, index) = (&core.config, worker.index());
    if let Some(cpu) = config.cpu_of(index) {
        match sys::pin_this_thread(cpu.0) {
            Ok(()) => worker.caches().move_to_node(core.topology().node_of(cpu).unwrap_or(0)),
            Err(_) if config.pinning_best_effort => {}
            Err(source) => return Err(BuildError::Pinning { worker: index, cpu, source }),
        }
        let made = worker.add_fiber();
        made.map_err(|error| BuildError::Stack { bytes: config.stack_bytes, source: error.0 })?;
    }
    if index >= config.workers {
        // Last: the builder waits for all of this.
        sys::become_idle_thread().map_err(|source| BuildError::IdleThread { worker: index, source })?;
    }
    Ok(())
}
