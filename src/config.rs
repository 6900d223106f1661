//! The builder, and what it builds systems from.

use crate::JobSystem;
use crate::error::{BuildError, PanicKind, PanicReport, complain};
use crate::fiber::stack::STACK_BYTES_MIN;
use crate::sched::find_work::SPIN_DEFAULT;
use crate::sys;
use crate::topology::{self, CpuId, Pinning, Plan, Reservation, Topology};
use crate::trace::site::SiteRef;
use crate::trace::stall::StallReport;
use crate::trace::stats::BackgroundFallback;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const STACK_BYTES_DEFAULT: usize = 256 * 1024;
const STACK_BYTES_MAX: usize = 1 << 30;
const LARGE_STACK_BYTES_DEFAULT: usize = 2 << 20;
const WARM_FIBERS_DEFAULT: usize = 256;
const SPIN_MAX: Duration = Duration::from_secs(1);
const SPIN_LOW_LATENCY: Duration = Duration::from_millis(1);
const STALL_AFTER_DEFAULT: Duration = Duration::from_secs(10);
const STALL_AFTER_MIN: Duration = Duration::from_millis(1);
const STALL_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

type NameFunction = Box<dyn Fn(usize) -> String + Send + Sync>;
type WorkerCallback = Box<dyn Fn(usize) + Send + Sync>;
type PanicCallback = Box<dyn Fn(&PanicReport<'_>) + Send + Sync>;
type StallCallback = Box<dyn Fn(&StallReport) + Send + Sync>;

/// What a system was built with.
pub(crate) struct Config {
    pub(crate) workers: usize,
    /// The CPU that each worker is bound to, if it is.
    pub(crate) placement: Vec<Option<CpuId>>,
    /// The same of workers for Background jobs, which come after the others.
    pub(crate) background_placement: Vec<Option<CpuId>>,
    /// Why there are none although they were asked for.
    pub(crate) background_fallback: Option<BackgroundFallback>,
    /// How many workers each tier has; empty without [`Pinning::TieredSpillover`].
    pub(crate) tier_sizes: Vec<usize>,
    /// Taken out by the system.
    pub(crate) topology: Option<Topology>,
    /// Keeps other pinned systems off the workers' CPUs.
    pub(crate) _reservation: Reservation,
    /// Whether workers that cannot be bound go on without it.
    pub(crate) pinning_best_effort: bool,
    pub(crate) stack_bytes: usize,
    pub(crate) large_stack_bytes: usize,
    pub(crate) max_fibers: usize,
    pub(crate) warm_fibers: usize,
    pub(crate) spin: Duration,
    pub(crate) priority_guard: bool,
    pub(crate) main_thread: bool,
    pub(crate) migrating_fibers: bool,
    pub(crate) isolate_float_control: bool,
    pub(crate) deterministic: Option<u64>,
    pub(crate) stall_after: Duration,
    pub(crate) find_deadlocks: bool,
    pub(crate) thread_name: Option<NameFunction>,
    pub(crate) on_worker_start: Option<WorkerCallback>,
    pub(crate) on_worker_stop: Option<WorkerCallback>,
    pub(crate) on_panic: Option<PanicCallback>,
    pub(crate) on_stall: Option<StallCallback>,
}

impl Config {
    /// Whether any worker is bound to a CPU, or of a kind that not every thread can be.
    pub(crate) fn has_special_threads(&self) -> bool {
        !self.background_placement.is_empty() || self.placement.iter().any(Option::is_some)
    }

    /// The CPU that a worker of either kind is bound to, if it is.
    pub(crate) fn cpu_of(&self, worker: usize) -> Option<CpuId> {
        match worker.checked_sub(self.workers) {
            None => self.placement[worker],
            Some(background) => self.background_placement[background],
        }
    }

    /// The name of a worker's thread.
    pub(crate) fn name_of(&self, worker: usize) -> String {
        match (&self.thread_name, worker.checked_sub(self.workers)) {
            (Some(name), _) => name(worker).replace('\0', ""),
            (None, None) => format!("ramie-{worker}"),
            (None, Some(background)) => format!("ramie-bg-{background}"),
        }
    }

    /// Calls a worker's callback; a panic of it goes to `on_panic`.
    pub(crate) fn call(&self, callback: Option<&WorkerCallback>, worker: usize, system: u32) {
        if let Some(callback) = callback {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(worker))) {
                crate::system::report_panic(system, PanicKind::Callback, SiteRef::NONE, payload);
            }
        }
    }
}

/// Sets up a [`JobSystem`]; made by [`JobSystem::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let system = ramie::JobSystem::builder()
///     .workers(2)
///     .stack_size(128 * 1024)
///     .spin(Duration::from_micros(20))
///     .thread_name(|index| format!("sim-{index}"))
///     .on_panic(|report| eprintln!("{:?} at {:?}", report.message(), report.spawned_at))
///     .build()?;
/// # drop(system);
/// # Ok::<(), ramie::BuildError>(())
/// ```
#[must_use = "a builder builds a system when `build` is called"]
pub struct Builder {
    workers: Option<usize>,
    pinning: Pinning,
    pinning_best_effort: bool,
    stack_bytes: usize,
    large_stack_bytes: usize,
    max_fibers: usize,
    warm_fibers: usize,
    spin: Duration,
    priority_guard: bool,
    main_thread: bool,
    migrating_fibers: bool,
    isolate_float_control: bool,
    deterministic: Option<u64>,
    stall_after: Duration,
    find_deadlocks: bool,
    background_threads: usize,
    thread_name: Option<NameFunction>,
    on_worker_start: Option<WorkerCallback>,
    on_worker_stop: Option<WorkerCallback>,
    on_panic: Option<PanicCallback>,
    on_stall: Option<StallCallback>,
}

impl Builder {
    /// The greatest number of workers of one system: 4096.
    pub const WORKERS_MAX: usize = 4096;

    pub(crate) fn new() -> Self {
        Self {
            workers: None,
            pinning: Pinning::None,
            pinning_best_effort: false,
            stack_bytes: STACK_BYTES_DEFAULT,
            large_stack_bytes: LARGE_STACK_BYTES_DEFAULT,
            max_fibers: usize::MAX,
            warm_fibers: WARM_FIBERS_DEFAULT,
            spin: SPIN_DEFAULT,
            priority_guard: true,
            main_thread: false,
            migrating_fibers: false,
            isolate_float_control: false,
            deterministic: None,
            stall_after: STALL_AFTER_DEFAULT,
            find_deadlocks: false,
            background_threads: 0,
            thread_name: None,
            on_worker_start: None,
            on_worker_stop: None,
            on_panic: None,
            on_stall: None,
        }
    }

    /// The builder of the global system: defaults, and what the environment says.
    pub(crate) fn from_environment() -> Self {
        let mut builder = Self::new();
        if let Some(workers) = from_variable("RAMIE_WORKERS", 1, Self::WORKERS_MAX) {
            builder = builder.workers(workers);
        }
        if let Some(bytes) = from_variable("RAMIE_STACK_SIZE", STACK_BYTES_MIN, STACK_BYTES_MAX) {
            builder = builder.stack_size(bytes);
        }
        builder
    }

    /// The number of workers, each of which is a thread: 1 to [`Builder::WORKERS_MAX`]. By default one per usable CPU, slow
    /// cores and SMT siblings included, but no more than the container's quota of CPUs, rounded up; what a [pinning](Self::pinning) says otherwise.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// Whether worker 0 is the thread that builds the system, rather than a thread of its own. By default false.
    ///
    /// That thread then works for the system while it is inside [`run`](JobSystem::run),
    /// [`run_main`](JobSystem::run_main), [`pump`](JobSystem::pump), or any wait of ramie, and not in between: fibers
    /// that wait on worker 0, and jobs [pinned](crate::JobBuilder::on_worker) to it, go on in the next of these. The other
    /// workers run everything else meanwhile; with `workers(1)` there are none.
    ///
    /// A thread can be worker 0 of one system at a time. When the system is shut down, or its last handle dropped, by
    /// another thread while this one is elsewhere, or this one ends, then jobs pinned to worker 0 are abandoned, and
    /// jobs that wait there are left as they are, for ever, and [reported](crate::Report::remaining);
    /// everything else is finished by the others, and abandoned, Background jobs too, if there are none. But a job that waits for one that was
    /// left waits for ever too, and so does [`Drain::Finish`](crate::Drain::Finish) then; `Deadline` and `Abandon` return.
    /// [`on_worker_stop`](Self::on_worker_stop) is not called for worker 0 then.
    ///
    /// The fault of a panic that unwinds on the main thread is not shown to jobs: while it does, the thread works for
    /// the system only if it is the only worker.
    pub fn main_thread_worker(mut self, enabled: bool) -> Self {
        self.main_thread = enabled;
        self
    }

    /// Makes the system deterministic, for tests: it has one worker, and every choice that the scheduler makes is drawn from
    /// the seed. With the same seed the same program starts and resumes the same jobs in the same order, so a
    /// failure can be replayed; other seeds try other orders.
    ///
    /// What the scheduler chooses: which job or fiber goes on, the more urgent ones first, but not always; whether
    /// `join`, `scope`, `yield_if_urgent` and parallel loops give way to others; where loops split; and when time
    /// limits pass: the clock of waits with a time limit stands still while anything can run (for all but a few
    /// draws), and jumps to the next limit when nothing can, so nobody waits for real time.
    ///
    /// What it cannot make deterministic is what comes from outside: other threads that submit or signal, clocks
    /// and random numbers that jobs read. Submit everything from inside one [`run`](JobSystem::run).
    ///
    /// The seed is in dumps and stall reports, and is printed on standard error when a job panics for the first time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// /// The order in which three jobs run.
    /// fn order(seed: u64) -> Vec<u32> {
    ///     let system = ramie::JobSystem::builder().deterministic(seed).build().unwrap();
    ///     let order = Arc::new(Mutex::new(Vec::new()));
    ///     system.run(|| {
    ///         ramie::scope(|s| {
    ///             for i in 0..3 {
    ///                 let order = &order;
    ///                 s.spawn(move || order.lock().unwrap().push(i));
    ///             }
    ///             ramie::yield_now();
    ///         });
    ///     });
    ///     let order = order.lock().unwrap();
    ///     order.clone()
    /// }
    /// assert_eq!(order(7), order(7));
    /// assert!((0..100).any(|seed| order(seed) != order(7)));
    /// ```
    pub fn deterministic(mut self, seed: u64) -> Self {
        self.deterministic = Some(seed);
        self
    }

    /// Lets any worker resume a job that has waited, not only the one that started it: what is ready is stolen like what
    /// has not been started. Pinned jobs and [`run_main`](JobSystem::run_main) stay where they are. The
    /// [priority guard](Self::priority_guard) has no effect, because a fiber that waits is on no worker.
    ///
    /// # Safety
    ///
    /// For as long as the system exists, of every job that runs on it, and of everything that the job calls,
    /// dependencies and the standard library included:
    ///
    /// 1. No value that is not [`Send`] lives across a wait: no `Rc`, no `RefCell` borrow that others on the old
    ///    thread see, no guard of a lock that must be released by the thread that took it (`std::sync::MutexGuard`), no
    ///    [`WorkerLocal`](crate::WorkerLocal) reference to something that is not `Sync`; and no [`fiber_local!`](crate::fiber_local) of a job
    ///    that waits has a value that is not `Send`.
    /// 2. No reference into a thread-local, and no pointer that was derived from its address, lives across a wait. That
    ///    includes what the compiler keeps without being asked: it may compute the address of a
    ///    thread-local once in a function and use it again after a call that waited, as if the thread could not have
    ///    changed. So a function that waits, with all that is inlined into it, must not access the same
    ///    thread-local before and after (put the accesses behind functions that are `#[inline(never)]`).
    /// 3. Nothing that waits relies on the identity of its thread: thread ids, handles of the operating system bound to a
    ///    thread, signal masks, the floating-point environment, runtimes that were entered.
    ///
    /// A wait is every function of ramie with a section *Suspends*, and [`join`](crate::join()), `scope` and parallel loops
    /// are among them. Neither the compiler nor ramie can check any of this: closures are checked for `Send` when
    /// they are spawned, their locals are not, and the compiler assumes that a thread does not change within a function
    /// (rust-lang/unsafe-code-guidelines#602, llvm/llvm-project#98479). In the default, sticky mode none of it is
    /// needed.
    #[expect(unsafe_code, reason = "an opt-in whose obligations nobody checks")]
    pub unsafe fn migrating_fibers(mut self) -> Self {
        self.migrating_fibers = true;
        self
    }

    /// Whether the control state of floating-point arithmetic belongs to the job that sets it: rounding, flushing of denormals, which
    /// exceptions trap (`MXCSR` on x86-64, `FPCR` on AArch64; elsewhere, and for the x87 unit, this does nothing). By default false.
    ///
    /// Without it that state is the worker's, as it is a thread's: what a job sets and leaves set while it waits, or when it ends, holds
    /// for the jobs that run there next, and what they set holds for it when it goes on. Programs that want the same state
    /// everywhere set it in [`on_worker_start`](Self::on_worker_start) and need nothing else. With it each job begins with what its worker's
    /// thread had then, or the main thread at the begin of a visit, and keeps what it sets across its waits; one that is run in place
    /// by whoever waits for it shares that one's. That takes some nanoseconds for
    /// each wait.
    ///
    /// The compiler assumes that the state is the default one; a program that sets another answers for that.
    pub fn isolate_float_control(mut self, enabled: bool) -> Self {
        self.isolate_float_control = enabled;
        self
    }

    /// Binds each worker to one CPU; by default the operating system moves them as it likes.
    ///
    /// The building thread itself is never bound, because every thread that it starts would inherit its one CPU. With
    /// [`main_thread_worker`](Self::main_thread_worker) a CPU is set aside for worker 0 all the same; whether that
    /// thread is bound to it is up to the program.
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::{BuildError, CpuId, JobSystem, Pinning};
    ///
    /// let cpu = CpuId(u32::MAX);
    /// let built = JobSystem::builder().workers(1).pinning(Pinning::Custom(vec![cpu])).build();
    /// match built.expect_err("no machine has that many") {
    ///     BuildError::CpuNotUsable { cpu: named, .. } => assert_eq!(named, cpu),
    ///     other => println!("not on this operating system: {other}"),
    /// }
    /// ```
    pub fn pinning(mut self, pinning: Pinning) -> Self {
        self.pinning = pinning;
        self
    }

    /// Leaves workers that cannot be bound to the CPU that [`pinning`](Self::pinning) gives them unpinned: those that have
    /// none, whose CPU may not be used, or for whom the operating system refuses it. Otherwise each of these is an error.
    pub fn pinning_best_effort(mut self) -> Self {
        self.pinning_best_effort = true;
        self
    }

    /// The size in bytes of a fiber's stack: 16 KiB to 1 GiB, by default 256 KiB, rounded up to whole pages. This much
    /// address space, and up to two pages more, is reserved for each fiber; only pages that were touched cost memory.
    ///
    /// A job that needs more than its stack ends the process with a message that names it. How deep stacks are used
    /// in fact is in [`Stats::stacks`](crate::Stats::stacks). A few jobs that need much more than the others get it by
    /// [`large_stack`](crate::JobBuilder::large_stack).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// The size in bytes of the stack for jobs that ask for a [large one](crate::JobBuilder::large_stack): 16 KiB to 1 GiB, by
    /// default 2 MiB, and never less than [`stack_size`](Self::stack_size).
    pub fn large_stack_size(mut self, bytes: usize) -> Self {
        self.large_stack_bytes = bytes;
        self
    }

    /// How many idle fibers, with the memory of their stacks, each worker keeps in any case; by default 256. Of what is
    /// beyond that a worker gives back what it did not need during a whole second. A program that must never meet
    /// a page fault after its first peak passes `usize::MAX`.
    pub fn warm_fibers(mut self, count: usize) -> Self {
        self.warm_fibers = count;
        self
    }

    /// How many fibers may exist at once; at least one per worker. By default as many as the operating
    /// system gives stacks for. A wait that would need one more panics with `FiberLimit`; the end of a `scope`, `join` or
    /// loop then runs its own unstarted jobs in place, and looks again and again whether the others have ended.
    pub fn max_fibers(mut self, count: usize) -> Self {
        self.max_fibers = count;
        self
    }

    /// How long a worker without work keeps looking before it sleeps: up to 1 s, by default 50 us. The last one
    /// that looks stays up to twenty times as long while another worker is active.
    pub fn spin(mut self, limit: Duration) -> Self {
        self.spin = limit;
        self
    }

    /// Whether a worker holds [Low](crate::Priority::Low) work back while a High job waits on it, for at most 2 ms of
    /// doing nothing, so that the High job finds its worker free when it is woken. By default true. Pinned jobs
    /// are exempt.
    pub fn priority_guard(mut self, enabled: bool) -> Self {
        self.priority_guard = enabled;
        self
    }

    /// How long a shutdown or a [`run`](JobSystem::run) may be blocked, or a worker be inside one job without a wait, before it is reported: 1 ms to a
    /// year, by default 10 s. See [`StallKind`](crate::StallKind).
    pub fn stall_after(mut self, limit: Duration) -> Self {
        self.stall_after = limit;
        self
    }

    /// Whether it is written down who waits for whom, so that jobs that wait for each other are found and reported to `on_stall`, or printed, with the places where they
    /// wait and have taken their locks: [`StallKind::Deadlock`](crate::StallKind::Deadlock). By default false. Looked for every quarter of
    /// [`stall_after`](Self::stall_after), and reported when two looks have seen it.
    ///
    /// It costs each job and each lock of [`sync`](crate::sync) an entry in a table, under one lock, in all systems of the process from then on: for finding faults, not
    /// for what is shipped. Known are locks of [`Mutex`](crate::sync::Mutex) and [`RwLock`](crate::sync::RwLock), handles, scopes, batches and joins; who will signal a
    /// counter or send a message nobody can know. What has a time limit or a token is in no deadlock.
    pub fn find_deadlocks(mut self, enabled: bool) -> Self {
        self.find_deadlocks = enabled;
        self
    }

    /// Adds workers for jobs of [`Priority::Background`](crate::Priority::Background), on threads of their own that the operating system runs
    /// only while their CPU would be idle otherwise (`SCHED_IDLE` on Linux): 0, the default, to [`Builder::WORKERS_MAX`] together with the other
    /// workers. For long work that cannot be split into pieces of a quarter of a millisecond, beside frames that must be in time: baking,
    /// path finding for later, compression. As many as workers is a good number: then every CPU that is idle works on.
    ///
    /// A frame's job does not wait for such a thread: the kernel takes the CPU away from it at once, in the midst of a job.
    ///
    /// # Where they run
    ///
    /// Workers of both kinds are pinned, because the kernel's placement of unpinned threads undoes all of this: without a
    /// [`pinning`](Self::pinning) this selects [`Pinning::Linear`], best effort. Each Background thread shares a CPU with a worker, and further ones
    /// take CPUs without. A worker does not search for longer than 15 us at a time while there are Background jobs. The threads have the
    /// indices after those of the other workers, in [`current_worker`](crate::current_worker) and
    /// [`thread_name`](Self::thread_name) (by default `ramie-bg-0` and so on); [`workers`](JobSystem::workers) does not count
    /// them, and no job can be pinned to them.
    ///
    /// # What a Background job may do
    ///
    /// Everything that others do: its children are Background jobs too, any job may wait for any, and a job that
    /// waits for a Background job that has not been started takes it over, at its own priority. The end of a scope or batch does so for its
    /// members; but what a Background job itself has spawned into that scope may stay behind, where it lies under jobs without a
    /// handle or a half of a `join`. A job that has been started keeps its thread.
    ///
    /// **Locks.** A Background thread may be stopped for hundreds of milliseconds while others need its CPU, and what it holds then, it
    /// keeps: a `Mutex` that a frame's job wants too, the allocator's lock inside of `malloc`, a page of a file that it reads. So give results
    /// away by counters, handles and atomics, and let a Background job allocate and lock little that frames share. What a Background job wakes or
    /// submits outside of its own kind goes through a helper thread (`ramie-relay`), which costs a wake more. Where ramie itself has short locks, a
    /// Background job had better not: it should not wait with a time limit, use a [`Frame`](crate::Frame) or a
    /// [`FramePipeline`](crate::FramePipeline) of frames' jobs, or signal a counter on which others wait
    /// with a target or a time limit (such a limit may then pass late).
    ///
    /// Threads that a Background job starts are such threads as well, and cannot become ordinary ones without privileges; what they wake
    /// has no helper.
    ///
    /// # Where there are none
    ///
    /// On systems other than Linux, if the kernel refuses the policy, with [`deterministic`](Self::deterministic), and under a cgroup's
    /// quota of CPU time, which Background threads would use up for the others, none is started; then Background means
    /// [`Low`](crate::Priority::Low), and [`stats`](JobSystem::stats) says [why](crate::BackgroundStats::fallback).
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::{JobSystem, Priority};
    ///
    /// let system = JobSystem::builder().workers(1).background_threads(1).build()?;
    /// let baked = system.job().name("bake").priority(Priority::Background).spawn(|| (1..=10_u64).product::<u64>());
    /// assert_eq!(baked.join().unwrap(), 3_628_800);
    /// println!("{:?}", system.stats().background);
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn background_threads(mut self, count: usize) -> Self {
        self.background_threads = count;
        self
    }

    /// Names the worker threads; gets the worker's index. By default `ramie-0` and so on.
    pub fn thread_name(mut self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.thread_name = Some(Box::new(name));
        self
    }

    /// Called on each worker's thread before its first job, with the worker's index; also on those of
    /// [Background workers](Self::background_threads), whose indices come after the others. Waiting here blocks the thread.
    pub fn on_worker_start(mut self, callback: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_worker_start = Some(Box::new(callback));
        self
    }

    /// Called on each worker's thread after its last job, with the worker's index, Background workers included.
    pub fn on_worker_stop(mut self, callback: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_worker_stop = Some(Box::new(callback));
        self
    }

    /// Called with every panic that no handle, scope or batch takes. By default it is printed on standard error.
    pub fn on_panic(mut self, callback: impl Fn(&PanicReport<'_>) + Send + Sync + 'static) -> Self {
        self.on_panic = Some(Box::new(callback));
        self
    }

    /// Called with every stall. By default it is printed on standard error.
    pub fn on_stall(mut self, callback: impl Fn(&StallReport) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(Box::new(callback));
        self
    }

    /// Settings for a game, or another program with frames to finish beside other threads of its own: the building thread is worker 0
    /// ([`main_thread_worker`](Self::main_thread_worker)), and there is a worker for each physical core of the fastest kind that may be
    /// used, no more than the quota, rounded up.
    ///
    /// SMT siblings and slower cores are left to what a game has besides: audio, drivers, loading. Workers are not pinned, because a
    /// pinned worker waits when such a thread sits on its CPU. Frames are jobs of priority High, and the
    /// [guard](Self::priority_guard) stays on.
    ///
    /// What is set afterwards counts.
    pub fn for_games(self) -> Self {
        let topology = Topology::detect();
        self.workers(topology.fastest_cores())
            .main_thread_worker(true)
            .priority_guard(true)
            .pinning(Pinning::None)
    }

    /// Settings for work that is to be done soon as a whole: a worker for each CPU that may be used, SMT siblings and slower cores
    /// included, no more than the quota, rounded up; not pinned, because other programs may want some of the CPUs.
    ///
    /// What is set afterwards counts.
    pub fn for_throughput(self) -> Self {
        let topology = Topology::detect();
        self.workers(topology.default_workers())
            .main_thread_worker(false)
            .pinning(Pinning::None)
            .spin(SPIN_DEFAULT)
    }

    /// Settings for a program that has its cores to itself and must react soon: a worker for each physical core of the fastest kind, each
    /// pinned to a CPU of its own, as far as that can be, and searching for a millisecond before it sleeps, since a wake takes tens of
    /// microseconds and a search finds a job in less than one.
    ///
    /// What is set afterwards counts.
    pub fn for_low_latency(self) -> Self {
        let topology = Topology::detect();
        self.workers(topology.fastest_cores())
            .main_thread_worker(false)
            .pinning(Pinning::AvoidSmt)
            .pinning_best_effort()
            .spin(SPIN_LOW_LATENCY)
    }

    /// Builds the system and starts its threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the setting that cannot work, or what the operating system refused. No thread is left
    /// then; if it was a thread that could not be started or pinned, there may have been others that called
    /// `on_worker_start` and `on_worker_stop`.
    ///
    /// # Panics
    ///
    /// With the panic of the function that names the threads. Also if the process has built 268,435,455 systems before.
    pub fn build(self) -> Result<JobSystem, BuildError> {
        JobSystem::build(self.into_config()?)
    }

    /// Builds the [global system](JobSystem::global).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and [`BuildError::GlobalExists`] if there is one already.
    pub fn build_global(self) -> Result<&'static JobSystem, BuildError> {
        JobSystem::build_global(self.into_config()?)
    }

    pub(crate) fn into_config(self) -> Result<Config, BuildError> {
        let default = if self.deterministic.is_some() { Some(1) } else { None };
        if let (Some(workers @ 2..), Some(_)) = (self.workers, self.deterministic) {
            return Err(BuildError::DeterministicWorkers { workers });
        }
        let requested = self.workers.or(default);
        if requested == Some(0) {
            return Err(BuildError::NoWorkers);
        }
        if let Some(requested) = requested.filter(|workers| *workers > Self::WORKERS_MAX) {
            return Err(BuildError::TooManyWorkers { requested, max: Self::WORKERS_MAX });
        }
        stack_size("stack_size", self.stack_bytes)?;
        stack_size("large_stack_size", self.large_stack_bytes)?;
        in_range("spin", self.spin, Duration::ZERO, SPIN_MAX)?;
        in_range("stall_after", self.stall_after, STALL_AFTER_MIN, STALL_AFTER_MAX)?;
        let max = Self::WORKERS_MAX;
        if self.background_threads > max {
            return Err(BuildError::TooManyWorkers { requested: self.background_threads, max });
        }
        let background_fallback = background_fallback(self.background_threads, self.deterministic);
        let background = if background_fallback.is_none() { self.background_threads } else { 0 };
        let (pinning, best_effort) = match &self.pinning {
            Pinning::None if background > 0 => (&Pinning::Linear, true),
            pinning => (pinning, self.pinning_best_effort),
        };
        // What is not asked for is as much as there is room for.
        let plan = topology::plan(pinning, requested, max, best_effort, self.main_thread)?;
        let Plan { workers, placement, tier_sizes, topology, reservation } = plan;
        let all_workers = workers + background;
        if all_workers > max {
            return Err(BuildError::TooManyWorkers { requested: all_workers, max });
        }
        if self.max_fibers < all_workers {
            return Err(BuildError::TooFewFibers { max_fibers: self.max_fibers, workers: all_workers });
        }
        let usable: Vec<CpuId> = topology.iter().flat_map(Topology::usable).collect();
        let background_placement = topology::background_placement(&placement, &usable, background);
        Ok(Config {
            workers,
            placement,
            background_placement,
            background_fallback,
            tier_sizes,
            topology,
            _reservation: reservation,
            pinning_best_effort: best_effort,
            stack_bytes: self.stack_bytes,
            large_stack_bytes: self.large_stack_bytes.max(self.stack_bytes),
            max_fibers: self.max_fibers,
            warm_fibers: self.warm_fibers,
            spin: self.spin,
            priority_guard: self.priority_guard,
            main_thread: self.main_thread,
            migrating_fibers: self.migrating_fibers,
            isolate_float_control: self.isolate_float_control,
            deterministic: self.deterministic,
            stall_after: self.stall_after,
            find_deadlocks: self.find_deadlocks,
            thread_name: self.thread_name,
            on_worker_start: self.on_worker_start,
            on_worker_stop: self.on_worker_stop,
            on_panic: self.on_panic,
            on_stall: self.on_stall,
        })
    }
}

/// Why a system has no threads for Background jobs although so many were asked for.
fn background_fallback(requested: usize, deterministic: Option<u64>) -> Option<BackgroundFallback> {
    if requested == 0 {
        return None;
    }
    if deterministic.is_some() {
        return Some(BackgroundFallback::Deterministic);
    }
    // Unpinned they would do more harm than good. There is no way back for the thread that tries.
    let try_out = || {
        let cpus = sys::usable_cpus()?;
        sys::pin_this_thread(cpus.first().copied().ok_or(std::io::ErrorKind::NotFound)?)?;
        sys::become_idle_thread()
    };
    let tried = std::thread::Builder::new().name("ramie-probe".into()).spawn(try_out);
    let tried =
        tried.and_then(|thread| thread.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())));
    fallback_of(tried, || Topology::detect().quota())
}

/// The same from what the operating system has said to a thread that tried, and the quota.
fn fallback_of(
    tried: std::io::Result<()>,
    quota: impl FnOnce() -> Option<f64>,
) -> Option<BackgroundFallback> {
    match tried {
        Ok(()) => quota().map(|_| BackgroundFallback::Quota),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            Some(BackgroundFallback::Unsupported)
        }
        Err(error) => Some(BackgroundFallback::Refused(error.kind())),
    }
}

fn stack_size(setting: &'static str, requested: usize) -> Result<(), BuildError> {
    let (min, max) = (STACK_BYTES_MIN, STACK_BYTES_MAX);
    if (min..=max).contains(&requested) {
        Ok(())
    } else {
        Err(BuildError::StackSize { setting, requested, min, max })
    }
}

fn in_range(setting: &'static str, value: Duration, min: Duration, max: Duration) -> Result<(), BuildError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(BuildError::Duration { setting, value, min, max }) }
}

/// The value of an environment variable; `None`, after a warning if it is set, when it cannot be used.
fn from_variable(name: &str, min: usize, max: usize) -> Option<usize> {
    let text = std::env::var_os(name)?;
    match text.to_str().and_then(|text| text.trim().parse::<usize>().ok()) {
        Some(value) if (min..=max).contains(&value) => Some(value),
        _ => {
            complain!("ramie: {name}={text:?} is not a number from {min} to {max}: the default is used");
            None
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("pinning", &self.pinning)
            .field("pinning_best_effort", &self.pinning_best_effort)
            .field("stack_size", &self.stack_bytes)
            .field("large_stack_size", &self.large_stack_bytes)
            .field("max_fibers", &self.max_fibers)
            .field("warm_fibers", &self.warm_fibers)
            .field("spin", &self.spin)
            .field("stall_after", &self.stall_after)
            .field("find_deadlocks", &self.find_deadlocks)
            .field("background_threads", &self.background_threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{BackgroundFallback, fallback_of};
    use std::io::ErrorKind;

    #[test]
    fn why_there_are_no_background_threads() {
        let refused = |kind: ErrorKind| fallback_of(Err(kind.into()), || None);
        assert_eq!(fallback_of(Ok(()), || None), None);
        assert_eq!(fallback_of(Ok(()), || Some(1.5)), Some(BackgroundFallback::Quota));
        assert_eq!(refused(ErrorKind::Unsupported), Some(BackgroundFallback::Unsupported));
        let kind = ErrorKind::PermissionDenied;
        assert_eq!(refused(kind), Some(BackgroundFallback::Refused(kind)));
        assert_eq!(
            BackgroundFallback::Refused(kind).to_string(),
            "the operating system refused a thread for Background jobs: permission denied"
        );
        assert!(BackgroundFallback::Quota.to_string().contains("quota"));
    }
}
