//! A worker: the scheduling state of one thread.
//!
//! ```text
//!   thread's own stack                         fibers' stacks
//!   ------------------                         --------------
//!   root: resume the next fiber  ──────────>   job loop: find work, run it, again
//!     ^                                          │ a job waits: its fiber suspends
//!     │                                          │ a fiber is ready: the loop's fiber goes idle
//!     +──────────────────────────────────────────+
//! ```
//!
//! As long as jobs do not wait, one fiber's loop runs them all and there is no switch. The loop also
//! searches and sleeps; the root does so only when the limit of fibers leaves it none to resume.
//!
//! [`Remote`] is what other threads may touch. Everything else belongs to the owner: [`Worker`] is not
//! `Sync`, and only `current::worker` hands it out, on its own thread. Both live for ever and are
//! recycled, so that a late unpark meets a parker and not freed memory.

#![expect(unsafe_code, reason = "moves fibers and jobs between lists of slots")]

use super::deque::{Deque, Place, Stale, Steal};
use super::find_work::{FAIR_EVERY, Next};
use super::inbox::Inbox;
use super::priority::{self, Priority};
use super::queue::Queue;
use super::seeded::Seeded;
use super::sleep::{self, Attention};
use super::trim::Trim;
use super::visit::Leave;
use super::wait::{FiberLimit, WaitFor};
use crate::counter::group::Group;
use crate::fiber::float::FloatControl;
use crate::fiber::stack::Stacks;
use crate::fiber::switch::Switch;
use crate::fiber::{Fiber, FiberState, WAIT_KINDS_MAX, WaitKind};
use crate::job::{JobPtr, JobRef};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{self, Caches};
use crate::primitives::{light_fence, spin_loop};
use crate::sync::held::{self, Held};
use crate::sys::Parker;
use crate::system::core::SystemCore;
use crate::topology::STEAL_KINDS;
use crate::trace::{Epoch, event, hooks};
use crossbeam_utils::CachePadded;
use std::cell::{Cell, OnceCell};
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
use std::mem::offset_of;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where a job was pushed by one that goes on to want it back.
#[derive(Clone, Copy)]
pub(crate) struct Pushed {
    deque: &'static Deque,
    place: Place,
}

impl Pushed {
    /// Takes the job that was pushed from the deque of the worker that this is, if it is the newest there; whether it was.
    ///
    /// PERF: the usual case needs no worker, which thus takes no register while other code runs; bench `fib`.
    ///
    /// # Safety
    ///
    /// 1. This is a fiber of a worker.
    /// 2. With `STICKY`, it is a fiber of the worker that the job was pushed on, and at the priority that it had then.
    #[inline]
    pub(crate) unsafe fn take_back<const STICKY: bool>(self, pushed: JobRef) -> bool {
        debug_assert!(!STICKY || ptr::eq(self.deque, here().deque_now()), "a job keeps its priority");
        // On another worker the place says nothing.
        let deque = if STICKY { self.deque } else { here().deque_now() };
        // SAFETY: by 2, or as this is where `here` says, this is the thread of the deque's owner.
        match unsafe { deque.pop_exactly(pushed.into_raw(), self.place) } {
            Ok(()) => true,
            Err(other) => {
                put_back_here(other);
                false
            }
        }
    }
}

#[cold]
#[inline(never)]
fn push_into_full_at_split(job: JobRef, site: &'static Location<'static>) -> Pushed {
    let deque = here().deque_now();
    // SAFETY: this is the owner's thread.
    let place = unsafe { deque.push_into_full(job.into_raw()) };
    // ORDERING: see `Sleep::work_was_added`.
    light_fence();
    if !here().attention().is_quiet() {
        attend_at_split(site);
    }
    Pushed { deque, place }
}

#[cold]
#[inline(never)]
fn attend_at_split(site: &'static Location<'static>) {
    let worker = here();
    worker.tell_of_work(worker.priority.get());
    worker.split_point(site);
}

/// The worker that this thread is. For code that runs on fibers.
pub(crate) fn here() -> &'static Worker {
    super::current::worker().expect("a fiber runs on a worker")
}

#[cold]
#[inline(never)]
fn put_back_here(item: Option<*mut ()>) {
    here().put_back(item);
}

/// How many members a worker may spawn into a group before it touches the group's word again.
const CREDIT_BATCH: u32 = 128;
/// How long a fiber that waits at the limit of fibers sleeps between two looks.
const LIMIT_POLL: Duration = Duration::from_micros(200);
/// Idle fibers that a worker keeps for itself where fibers migrate.
const POOL_MAX: usize = 64;
/// Idle fibers that all workers share have room for so many from the first on.
const SHARED_MIN: usize = 1024;
/// See `Worker::start_stopwatch`.
const STOPWATCH_MIN_NS: u64 = 1_000_000;
/// Suspensions between two readings of the clock for the ages in dumps.
const CLOCK_EVERY: u32 = 32;

/// Entries of jobs that were run in place by whoever waited for them, cancelled or abandoned.
static STALE_ENTRIES: Stale = Stale {
    // SAFETY: deques hold entries.
    is: |raw| unsafe { JobRef::from_raw(raw) }.is_stale(),
    // SAFETY: as above; the deque's owner has taken the entry out.
    drop: |raw| unsafe { JobRef::from_raw(raw).drop_stale() },
};

/// Workers of systems that are gone.
static IDLE: Mutex<Vec<IdleWorker>> = Mutex::new(Vec::new());

struct IdleWorker(&'static Worker);

// SAFETY: an idle worker has no thread; taking it from the list makes the taker its only user.
unsafe impl Send for IdleWorker {}

/// What a worker counts. Written by the owner only, so that no line is shared between writers.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) submitted: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
    /// By [distance](crate::topology::StealKind).
    pub(crate) steals: [AtomicU64; STEAL_KINDS],
    /// By [kind](WaitKind).
    pub(crate) suspensions: [AtomicU64; WAIT_KINDS_MAX],
    pub(crate) resumes: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) parks: AtomicU64,
    /// Nanoseconds spent without work, up to the last return to work.
    pub(crate) idle_ns: AtomicU64,
    /// Since when it has had no work, on the process's clock; 0 while it has some.
    pub(crate) idle_since_ns: AtomicU64,
}

/// Adds to a counter that only the calling thread writes.
#[inline]
pub(crate) fn tally(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

#[cfg(not(shuttle))]
impl Tally {
    /// A number that changes when the worker starts, ends, suspends or resumes something.
    pub(crate) fn progress(&self) -> u64 {
        let counts = [&self.started, &self.finished, &self.resumes].into_iter().chain(&self.suspensions);
        counts.fold(0, |sum, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
    }
}

/// See `Worker::start_stopwatch`.
pub(super) struct Stopwatch {
    pub(super) since_ns: u64,
    /// The processor's counter when it was started, and at the process's epoch.
    ticks: Option<(u64, u64)>,
}

/// The part of a worker that other threads may touch.
pub(crate) struct Remote {
    /// One for each priority.
    deques: [Deque; priority::COUNT],
    pub(crate) inbox: Inbox,
    /// Its system. Valid while the worker has a fiber that could be woken, or takes pinned jobs.
    core: AtomicPtr<SystemCore>,
    /// How often pinned jobs of this worker were raised since it has last looked how urgent they are. Raised by
    /// whoever raises one, after the same number of urgent deliveries was announced; zeroed by the owner.
    raised_pinned: AtomicU32,
    pub(crate) parker: Parker,
    pub(crate) tally: CachePadded<Tally>,
    /// What is looked for at the edges of its jobs; see `trace/hooks.rs`. Written in rare cases, and noticed by the owner at the next start of a job
    /// or resumption.
    pub(crate) hooks: std::sync::atomic::AtomicU32,
    /// The index of the worker's system, for dumps.
    pub(crate) system: AtomicU32,
    /// The worker's index in it.
    pub(crate) index: AtomicU32,
    /// Whether it is one of Background jobs.
    is_background: AtomicBool,
    /// Names the clock of the worker's thread. Written by that, read by the one that looks for workers that are stuck.
    thread_clock: AtomicI32,
}

/// Where debuggers find what they show of a worker; see `trace/debugger.rs`. Offsets are those from its [`Remote`].
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(crate) struct RemoteLayout {
    pub(crate) system: usize,
    pub(crate) index: usize,
    pub(crate) thread_clock: usize,
    /// Of the fiber that runs; may lie before the `Remote`, and be a number below zero.
    pub(crate) current: usize,
}

impl Remote {
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    pub(crate) const LAYOUT: RemoteLayout = RemoteLayout {
        system: offset_of!(Remote, system),
        index: offset_of!(Remote, index),
        thread_clock: offset_of!(Remote, thread_clock),
        current: offset_of!(Worker, current).wrapping_sub(offset_of!(Worker, remote)),
    };

    /// How often it has resumed and suspended fibers. If neither has changed, see [`runs`](Self::runs) for what follows.
    #[cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    pub(crate) fn switches(&self) -> (u64, u64) {
        // ORDERING: Acquire keeps what is looked at next behind this.
        let suspensions = self.tally.suspensions.iter().map(|count| count.load(Ordering::Acquire));
        (self.tally.resumes.load(Ordering::Acquire), suspensions.sum())
    }

    /// Whether this fiber has the worker's thread now. May be asked by any thread.
    ///
    /// A worker counts a resumption before it notes the fiber, and a fiber counts its suspension before it switches. So a
    /// fiber has not run between two looks at [`switches`](Self::switches) that are the same if it has not the thread just before the
    /// second, and has not ended.
    #[cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle)))]
    pub(crate) fn runs(&self, fiber: &Fiber) -> bool {
        let current = ptr::from_ref(self).cast::<u8>().wrapping_add(Self::LAYOUT.current);
        // SAFETY: every `Remote` is part of a `Worker`, which lives for ever, and this is its `current`.
        let current = unsafe { crate::trace::debugger::read_word(current.cast()) };
        current == ptr::from_ref(fiber).addr()
    }

    #[inline]
    pub(crate) fn deque(&self, priority: Priority) -> &Deque {
        &self.deques[priority as usize]
    }

    /// Jobs and halves of joins in the deques.
    pub(crate) fn queued_count(&self) -> usize {
        self.deques.iter().map(Deque::len).sum()
    }

    /// Hands over a chain of fibers that were woken, or of jobs pinned to this worker; `high_count` of them are
    /// of priority High.
    pub(crate) fn deliver(&self, first: &Node, last: &Node, high_count: u64) {
        if let Some(relay) = super::background::relay_to(self) {
            return relay.send(first, last);
        }
        if high_count > 0 {
            // Before the push: afterwards the system may be gone.
            // SAFETY: what is delivered keeps the worker's thread, and so the system, until it is taken in.
            unsafe { self.core() }.sleep.attention().add_deliveries(high_count);
        }
        let sleeps = self.inbox.push_chain(first, last);
        if self.is_background.load(Ordering::Relaxed) {
            // Whoever else has delivered something may be stopped before its wake.
            self.parker.unpark_surely();
        } else if sleeps {
            self.parker.unpark();
        }
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.tally.idle_since_ns.load(Ordering::Relaxed) != 0
    }

    /// How much time of processors its thread has used, if the operating system tells.
    #[cfg(not(shuttle))]
    pub(crate) fn thread_time(&self) -> Option<Duration> {
        crate::sys::read_thread_clock(self.thread_clock.load(Ordering::Relaxed))
    }

    /// The worker's system.
    ///
    /// # Safety
    ///
    /// The caller owns something that keeps the system: a fiber to wake, or a job to deliver.
    pub(crate) unsafe fn core(&self) -> &SystemCore {
        // SAFETY: promised by the caller; set by `join_system` before there was anything to own.
        unsafe { &*self.core.load(Ordering::Relaxed) }
    }

    /// A job pinned to this worker was raised. Until the worker has looked, everybody's splits look closely. A worker
    /// that may sleep must be unparked after this.
    pub(crate) fn look_at_pinned(&self, system: &SystemCore) {
        system.sleep.attention().add_deliveries(1);
        // ORDERING: Release publishes the job's new priority, and the announcement, to `sort_pinned`.
        self.raised_pinned.fetch_add(1, Ordering::Release);
    }
}

/// Whether this node, delivered to an inbox, is of priority High. It says the same until it is taken in.
fn is_high_delivery(node: *mut Node) -> bool {
    // SAFETY: inboxes hold fibers and jobs in their slots.
    unsafe {
        match (*node).kind() {
            Kind::Fiber => Fiber::from_node(node).priority() == Priority::High,
            Kind::Thread => false,
            _ => JobPtr::from_node(node).header().spawned_priority() == Priority::High,
        }
    }
}

/// See the [module](self).
pub(crate) struct Worker {
    remote: Remote,
    caches: Caches,
    /// Set while the worker belongs to a system.
    system: Cell<*const SystemCore>,
    index: Cell<usize>,
    /// Whether the system's fibers may be resumed by any of its workers.
    migrates: Cell<bool>,
    /// Whether it is of that kind; see `background.rs`.
    is_background: Cell<bool>,
    /// The next job is pinned, so its fiber must not migrate.
    pub(super) binds_next: Cell<bool>,
    /// Idle fibers in the pool.
    pub(super) pool_count: Cell<usize>,
    pub(super) trim: Trim,
    stacks: Stacks,
    /// The fiber that runs; null on the root.
    current: Cell<*const Fiber>,
    /// The priority of the job that runs; always that of the current fiber.
    priority: Cell<Priority>,
    /// The own deque for that priority.
    deque_now: Cell<*const Deque>,
    /// What new jobs get: the system's index and that priority.
    job_tag: Cell<u32>,
    /// The system's word of what to attend to; or `sleep::ALWAYS` if this worker must look closely anyway: because
    /// it does not run at Normal priority, or because it has something urgent in its own queues.
    attention: Cell<*const Attention>,
    /// Fibers to resume, in order, by priority.
    pub(super) ready: [Queue; priority::COUNT],
    /// Fibers that yielded: they rank behind one full search.
    pub(super) yielded: Queue,
    /// Jobs that only this worker may run, by priority.
    pub(super) pinned: [Queue; priority::COUNT],
    /// How many High fibers wait on this worker.
    high_waiting: Cell<u32>,
    pub(super) guard: super::guard::Guard,
    pub(super) leave: Leave,
    pub(super) seeded: Seeded,
    /// Idle fibers, linked by their nodes; the one that ran last is on top.
    pool: Cell<*mut Node>,
    /// What the next fiber out of the pool should do first.
    handoff: Cell<Option<(JobRef, Priority)>>,
    /// The fiber that the root should resume next.
    resume_next: Cell<Option<&'static Fiber>>,
    exiting: Cell<bool>,
    /// Whether this worker counts among those who search.
    pub(super) searching: Cell<bool>,
    /// Turns until one of fairness, at least 1; and how many of those there were.
    pub(super) turns_to_fair: Cell<u32>,
    pub(super) fair_turns: Cell<u32>,
    pub(super) random: Cell<u64>,
    /// A group, and how many members of it this worker may still spawn, or has ended, without
    /// having said so to the group. If there are none, the group may be gone; then it is only compared with others.
    credit_group: Cell<*const Group>,
    credit: Cell<u32>,
    /// Where jobs lie while others are looked for below them: empty otherwise, and kept so that looking allocates only when
    /// more lie there than ever before.
    pub(super) aside: Cell<Vec<JobRef>>,
    epoch: OnceCell<Epoch>,
    coarse_now_ns: Cell<u64>,
    clock_age: Cell<u32>,
    /// The locks that the fiber holds that runs, if they are counted.
    held_locks: Cell<Held>,
    /// What fibers begin with: the thread's own, as it was before the worker's first job, or at the begin of the main thread's visit.
    float_control: Cell<FloatControl>,
    /// Whether that state belongs to the fiber; see `fiber/float.rs`.
    isolates_float: Cell<bool>,
    /// What it has noticed of its remote's hooks.
    hooks: Cell<u32>,
    /// Whether Tracy was told that the thread is on a fiber.
    #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
    pub(crate) is_in_tracys_fiber: Cell<bool>,
    /// What the register holds as long as the root runs.
    float_now: Cell<FloatControl>,
}

impl Worker {
    /// Takes an idle worker, or makes one.
    pub(crate) fn take() -> &'static Worker {
        // Under shuttle nothing outlives an execution.
        let idle =
            if cfg!(shuttle) { None } else { IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop() };
        match idle {
            Some(idle) => idle.0,
            None => Box::leak(Box::new(Worker::vacant())),
        }
    }

    fn vacant() -> Self {
        Self {
            remote: Remote {
                deques: std::array::from_fn(|_| Deque::with_stale(&STALE_ENTRIES)),
                inbox: Inbox::new(),
                core: AtomicPtr::new(ptr::null_mut()),
                raised_pinned: AtomicU32::new(0),
                parker: Parker::new(),
                tally: CachePadded::new(Tally::default()),
                hooks: std::sync::atomic::AtomicU32::new(0),
                system: AtomicU32::new(0),
                index: AtomicU32::new(0),
                is_background: AtomicBool::new(false),
                thread_clock: AtomicI32::new(0),
            },
            caches: Caches::default(),
            system: Cell::new(ptr::null()),
            index: Cell::new(0),
            migrates: Cell::new(false),
            is_background: Cell::new(false),
            binds_next: Cell::new(false),
            pool_count: Cell::new(0),
            trim: Trim::default(),
            stacks: Stacks::default(),
            current: Cell::new(ptr::null()),
            priority: Cell::new(Priority::Normal),
            deque_now: Cell::new(ptr::null()),
            job_tag: Cell::new(0),
            attention: Cell::new(&raw const sleep::ALWAYS),
            ready: [const { Queue::new() }; priority::COUNT],
            yielded: Queue::new(),
            pinned: [const { Queue::new() }; priority::COUNT],
            high_waiting: Cell::new(0),
            guard: super::guard::Guard::default(),
            leave: Leave::default(),
            seeded: Seeded::default(),
            pool: Cell::new(ptr::null_mut()),
            handoff: Cell::new(None),
            resume_next: Cell::new(None),
            exiting: Cell::new(false),
            searching: Cell::new(false),
            turns_to_fair: Cell::new(FAIR_EVERY),
            fair_turns: Cell::new(0),
            random: Cell::new(0),
            credit_group: Cell::new(ptr::null()),
            credit: Cell::new(0),
            aside: Cell::new(Vec::new()),
            epoch: OnceCell::new(),
            coarse_now_ns: Cell::new(0),
            clock_age: Cell::new(0),
            held_locks: Cell::new(Held::default()),
            isolates_float: Cell::new(false),
            hooks: Cell::new(0),
            #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
            is_in_tracys_fiber: Cell::new(false),
            float_control: Cell::new(FloatControl::read()),
            float_now: Cell::new(FloatControl::read()),
        }
    }

    /// Makes this worker number `index` of the system behind `core`. It has no fiber yet.
    ///
    /// # Safety
    ///
    /// 1. The caller is the worker's only user until its thread has started.
    /// 2. `core` stays valid until the worker's thread has ended.
    pub(crate) unsafe fn join_system(&'static self, core: *const SystemCore, index: usize) {
        self.system.set(core);
        self.index.set(index);
        self.migrates.set(self.system().config.migrating_fibers);
        self.isolates_float.set(self.system().config.isolate_float_control);
        self.remote.core.store(core.cast_mut(), Ordering::Relaxed);
        self.remote.system.store(self.system().index, Ordering::Relaxed);
        self.remote.index.store(index as u32, Ordering::Relaxed);
        self.remote.raised_pinned.store(0, Ordering::Relaxed);
        self.remote.hooks.store(0, std::sync::atomic::Ordering::Relaxed);
        self.hooks.set(0);
        let config = &self.system().config;
        self.stacks.set_sizes(config.stack_bytes, config.large_stack_bytes);
        self.trim.reset();
        self.guard.reset();
        self.leave.reset();
        self.high_waiting.set(0);
        let is_background = index >= self.system().workers();
        self.is_background.set(is_background);
        self.remote.is_background.store(is_background, Ordering::Relaxed);
        self.adopt_priority(if self.is_background() { Priority::Background } else { Priority::Normal });
        self.exiting.set(false);
        self.turns_to_fair.set(FAIR_EVERY);
        self.fair_turns.set(0);
        self.random.set(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95));
        self.set_seed(self.system().config.deterministic);
        self.refresh_attention();
        let tally = &self.remote.tally;
        for counter in [
            &tally.submitted,
            &tally.started,
            &tally.finished,
            &tally.resumes,
            &tally.wakes,
            &tally.parks,
            &tally.idle_ns,
            &tally.idle_since_ns,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        let arrays = tally.steals.iter().chain(&tally.suspensions);
        arrays.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Undoes `join_system` for a worker whose thread never started.
    pub(crate) fn leave_unstarted(&'static self) {
        while let Some(fiber) = self.take_idle_fiber() {
            fiber.retire(self);
            self.system().fiber_ended();
        }
    }

    /// Puts the worker among the idle ones.
    ///
    /// # Safety
    ///
    /// Its system's threads have all ended, and nobody else will recycle it.
    pub(crate) unsafe fn recycle(&'static self) {
        self.system.set(ptr::null());
        if cfg!(shuttle) {
            return;
        }
        self.stacks.give_all_back();
        for deque in &self.remote.deques {
            // SAFETY: the owner's thread has ended before this call, and so have all thieves.
            unsafe { deque.reset() };
        }
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(IdleWorker(self));
    }

    /// The first fiber is in the pool; the thread has not started.
    pub(crate) fn remote_static(&'static self) -> &'static Remote {
        &self.remote
    }

    #[inline]
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    #[inline]
    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    #[inline]
    pub(crate) fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index.get()
    }

    #[inline]
    pub(crate) fn system(&self) -> &SystemCore {
        // SAFETY: set by `join_system`, whose caller keeps it valid while the thread runs.
        unsafe { &*self.system.get() }
    }

    /// Whether this is worker code of the system behind `core`.
    #[inline]
    pub(crate) fn belongs_to(&self, core: &SystemCore) -> bool {
        ptr::eq(self.system.get(), core)
    }

    /// Whether the worker belongs to the system of this index.
    #[inline]
    pub(crate) fn belongs_to_index(&self, system: u32) -> bool {
        crate::job::header::system_of_tag(self.job_tag.get()) == system
    }

    /// Whether the system's fibers may be resumed by any of its workers.
    #[inline]
    pub(crate) fn migrates(&self) -> bool {
        self.migrates.get()
    }

    #[inline]
    pub(crate) fn held_locks(&self) -> &Cell<Held> {
        &self.held_locks
    }

    /// Whether this is a [Background](super::background) worker.
    #[inline]
    pub(crate) fn is_background(&self) -> bool {
        self.is_background.get()
    }

    /// The worker that the calling fiber runs on now. To be asked after anything that may have suspended, such as code
    /// of users: where fibers migrate it may be another one.
    #[inline]
    pub(crate) fn now(&'static self) -> &'static Worker {
        if self.migrates.get() { here() } else { self }
    }

    #[inline]
    pub(crate) fn in_fiber(&self) -> bool {
        !self.current.get().is_null()
    }

    /// The fiber that runs now. Not to be called on the root.
    #[inline]
    pub(crate) fn current_fiber(&self) -> &'static Fiber {
        debug_assert!(self.in_fiber());
        // SAFETY: set by the root to a fiber in its slot while that runs.
        unsafe { &*self.current.get() }
    }

    /// What is looked for at the edges of its jobs and waits, as far as it has noticed; 0 as a rule.
    #[inline(always)]
    pub(crate) fn hooks(&self) -> u32 {
        self.hooks.get()
    }

    /// The same, as it is now; without notice. PERF: an atomic load is an instruction of its own (`ramie-bench instructions`).
    #[inline(always)]
    pub(crate) fn hooks_now(&self) -> u32 {
        self.remote.hooks.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn notice_hooks(&self) {
        self.hooks.set(self.hooks_now());
    }

    /// Whether a job that it has claimed is run rather than dropped.
    #[inline(always)]
    pub(crate) fn starts_jobs(&self) -> bool {
        self.hooks_now() == 0 || self.starts_jobs_slow()
    }

    #[cold]
    #[inline(never)]
    fn starts_jobs_slow(&self) -> bool {
        self.notice_hooks();
        // ORDERING: Acquire pairs with the Release in `SystemCore::copy_hooks`: whoever sees that the system abandons sees its phase.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        self.system().starts_jobs()
    }

    // --- jobs ------------------------------------------------------------------------------

    /// Adds a job of the current priority that any worker may run.
    #[inline]
    pub(crate) fn push(&self, job: JobRef) {
        if self.hooks() & hooks::RECORDS != 0 {
            return self.push_and_record(job);
        }
        self.push_unrecorded(job);
    }

    /// PERF: with a push of its own, so that nothing is kept across this call in the other one (`ramie-bench instructions`, path `detach`).
    #[cold]
    #[inline(never)]
    fn push_and_record(&self, job: JobRef) {
        self.notice_hooks();
        event::job_queued(job, self.priority.get(), || self.system().index);
        self.push_unrecorded(job);
    }

    #[inline(always)]
    fn push_unrecorded(&self, job: JobRef) {
        // SAFETY: `Worker` is not Sync: this is the owner's thread.
        unsafe { self.deque_now().push(job.into_raw()) };
        // ORDERING: see `Sleep::work_was_added`.
        light_fence();
        if !self.attention().is_quiet() {
            self.tell_of_work(self.priority.get());
        }
    }

    /// As [`push`](Self::push), and lets more urgent work go first: what `join` does.
    ///
    /// PERF: the worker is not kept across the rare calls; see [`Pushed::take_back`].
    #[inline]
    pub(crate) fn push_at_split(&'static self, job: JobRef, site: &'static Location<'static>) -> Pushed {
        let (deque, attention) = (self.deque_now(), self.attention());
        // SAFETY: as in `push`.
        let Some(place) = (unsafe { deque.try_push(job.into_raw()) }) else {
            return push_into_full_at_split(job, site);
        };
        // ORDERING: see `Sleep::work_was_added`.
        light_fence();
        if !attention.is_quiet() {
            attend_at_split(site);
        }
        Pushed { deque, place }
    }

    /// Adds a job of any priority.
    pub(crate) fn push_at(&self, job: JobRef, priority: Priority) {
        if (priority == Priority::Background) != self.is_background() {
            return self.send_across(job, priority);
        }
        event::job_queued(job, priority, || self.system().index);
        // SAFETY: as in `push`.
        unsafe { self.remote.deque(priority).push(job.into_raw()) };
        self.tell_of_work(priority);
    }

    /// Gives something to workers of the other kind.
    #[cold]
    fn send_across(&self, job: JobRef, priority: Priority) {
        match (job.as_fiber(), job.as_block()) {
            (Some(fiber), _) => self.system().publish(fiber),
            (None, Some(job)) => {
                // The relay goes by what the job says.
                job.header().raise(priority);
                self.system().inject(job, priority);
            }
            (None, None) => {
                unreachable!("bare jobs, and halves of joins, stay with the kind that has made them")
            }
        }
    }

    /// Adds a job to the own deque; nobody is told.
    pub(super) fn keep(&self, job: JobRef, priority: Priority) {
        // SAFETY: as in `push`.
        unsafe { self.remote.deque(priority).push(job.into_raw()) };
    }

    /// Takes the newest job of the current priority from the own deque.
    #[inline]
    pub(crate) fn pop(&self) -> Option<JobRef> {
        // SAFETY: as in `push`. Only jobs are pushed.
        unsafe { self.deque_now().pop().map(|raw| JobRef::from_raw(raw)) }
    }

    /// Takes the newest job of this priority from the own deque.
    #[inline]
    pub(crate) fn pop_at(&self, priority: Priority) -> Option<JobRef> {
        // SAFETY: as in `push`. Only jobs are pushed.
        unsafe { self.remote.deque(priority).pop().map(|raw| JobRef::from_raw(raw)) }
    }

    #[inline]
    fn deque_now(&self) -> &'static Deque {
        // SAFETY: set by `join_system` and `adopt_priority` to one of this worker's own deques, and workers live for ever.
        unsafe { &*self.deque_now.get() }
    }

    /// Whether the own deque of the current priority is empty.
    #[inline]
    pub(crate) fn nothing_to_offer(&self) -> bool {
        self.deque_now().is_empty()
    }

    #[cold]
    fn put_back(&self, item: Option<*mut ()>) {
        if let Some(raw) = item {
            // SAFETY: only jobs are pushed, and this thread has just taken this one.
            self.push(unsafe { JobRef::from_raw(raw) });
        }
    }

    /// Takes the newest job of the current priority that is `wanted` out of the own deque, from below others if need be.
    #[cold]
    pub(crate) fn dig(&self, wanted: impl Fn(JobRef) -> bool) -> Option<JobRef> {
        self.dig_at(self.priority.get(), wanted)
    }

    fn dig_at(&self, priority: Priority, wanted: impl Fn(JobRef) -> bool) -> Option<JobRef> {
        let mut aside = self.aside.take();
        let mut found = None;
        while let Some(job) = self.pop_at(priority) {
            if wanted(job) {
                found = Some(job);
                break;
            }
            aside.push(job);
        }
        for job in aside.drain(..).rev() {
            self.push_at(job, priority);
        }
        self.aside.set(aside);
        found
    }

    /// Takes the newest job if it is this one, which is likely to be elsewhere; whether it was.
    pub(crate) fn pop_if_newest(&self, wanted: JobRef) -> bool {
        let (deque, wanted) = (self.deque_now(), wanted.into_raw());
        // SAFETY: as in `push`.
        unsafe {
            deque.newest() == Some(wanted)
                && deque.pop_wherever(wanted).map_err(|other| self.put_back(other)).is_ok()
        }
    }

    /// Wakes somebody for work of this priority that was made visible, if need be.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_of_work(&self, priority: Priority) {
        if let Some(sleeper) = self.system().claim_sleeper(priority) {
            self.unpark(sleeper);
        }
    }

    /// The worker is about to sleep.
    pub(super) fn note_park(&self) {
        tally(&self.remote.tally.parks, 1);
        event::parks();
    }

    #[cold]
    #[inline(never)]
    pub(super) fn unpark(&self, worker: usize) {
        tally(&self.remote.tally.wakes, 1);
        self.system().remotes[worker].parker.unpark();
    }

    /// A number that changes with whatever this worker does.
    pub(super) fn turns_done(&self) -> u64 {
        let tally = &self.remote.tally;
        [&tally.finished, &tally.resumes]
            .into_iter()
            .chain(&tally.steals)
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Counts a job that this worker has submitted to its own system.
    #[inline]
    pub(crate) fn count_submitted(&self, n: u64) {
        tally(&self.remote.tally.submitted, n);
    }

    #[inline]
    pub(crate) fn count_started(&self) {
        tally(&self.remote.tally.started, 1);
    }

    #[inline]
    pub(crate) fn count_finished(&self) {
        let finished = &self.remote.tally.finished;
        // ORDERING: Release: who sees the job counted as finished sees it counted as submitted, and what it did.
        finished.store(finished.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    // --- groups ----------------------------------------------------------------------------

    /// Allows one more member of `group`. See `scope.rs` for why credit is sound.
    #[inline]
    pub(crate) fn spend_credit(&self, group: &Group) {
        if ptr::eq(self.credit_group.get(), group) && self.credit.get() > 0 {
            self.credit.set(self.credit.get() - 1);
        } else {
            group.add_members(CREDIT_BATCH);
            group.note_priority(self.priority.get());
            // The new credit first: giving back the old one may run code of users.
            self.replace_credit(group, CREDIT_BATCH - 1);
        }
    }

    /// A member of `group` has ended on this worker.
    #[inline]
    pub(crate) fn earn_credit(&self, group: *const Group) {
        if ptr::eq(self.credit_group.get(), group) {
            self.credit.set(self.credit.get() + 1);
        } else {
            self.replace_credit(group, 1);
        }
    }

    /// Tells the group what this worker has not told it yet. Must precede everything that may take long and
    /// is not part of that group: another group's job, a switch, a search.
    #[inline]
    pub(crate) fn flush_credit(&self) {
        if self.credit.get() > 0 {
            self.replace_credit(ptr::null(), 0);
        }
    }

    #[inline]
    fn replace_credit(&self, group: *const Group, credit: u32) {
        let credit = self.credit.replace(credit);
        let group = self.credit_group.replace(group);
        if credit > 0 {
            // SAFETY: the group's count includes this credit, so it is still alive.
            unsafe { Group::release(group, credit) };
        }
    }

    /// As [`flush_credit`](Self::flush_credit), unless the credit is for `group`.
    #[inline]
    pub(crate) fn flush_credit_but(&self, group: *const Group) {
        if !ptr::eq(self.credit_group.get(), group) {
            self.flush_credit();
        }
    }

    // --- fibers ----------------------------------------------------------------------------

    /// Adds fibers of one priority, linked in this order, to those that will be resumed.
    #[inline]
    pub(crate) fn make_ready(&self, priority: Priority, first: *mut Node, last: *mut Node) {
        // SAFETY: the caller has just woken these fibers of this worker and owns their nodes.
        unsafe { self.ready[priority as usize].append(first, last) };
        if priority == Priority::High {
            self.attention.set(&raw const sleep::ALWAYS);
        }
    }

    /// Fibers that yielded have let others go first.
    #[inline]
    pub(super) fn release_yielded(&self) {
        while let Some(node) = self.yielded.pop() {
            // SAFETY: the queue holds fibers in their slots.
            let priority = unsafe { Fiber::from_node(node) }.priority();
            self.make_ready(priority, node, node);
        }
    }

    // --- priority --------------------------------------------------------------------------

    /// The priority of the job that runs.
    #[inline]
    pub(crate) fn priority(&self) -> Priority {
        self.priority.get()
    }

    /// What a job submitted here gets: its system's index and its priority; see `JobHeader`.
    #[inline]
    pub(crate) fn job_tag(&self) -> u32 {
        self.job_tag.get()
    }

    #[inline]
    pub(super) fn attention(&self) -> &Attention {
        // SAFETY: a static, or the system's, which outlives the worker's thread.
        unsafe { &*self.attention.get() }
    }

    /// Makes the current fiber's job one of this priority.
    #[inline]
    pub(crate) fn set_priority(&self, priority: Priority) {
        if priority != self.priority.get() {
            self.change_priority(priority);
        }
    }

    #[cold]
    #[inline(never)]
    fn change_priority(&self, priority: Priority) {
        // A Background worker keeps its own, whatever was raised since; and others cannot be at that.
        let priority = if self.is_background() { return } else { priority.max(Priority::Low) };
        if priority == self.priority.get() {
            return;
        }
        // A group is told of the priorities of its members when credit is taken.
        self.flush_credit();
        self.current_fiber().set_priority(priority);
        self.adopt_priority(priority);
    }

    /// Follows the priority of the fiber that is about to run.
    #[cold]
    #[inline(never)]
    fn adopt_priority(&self, priority: Priority) {
        self.priority.set(priority);
        self.deque_now.set(self.remote.deque(priority));
        self.job_tag.set(crate::job::header::job_tag(self.system().index, priority));
        if priority > Priority::Low {
            self.guard.close();
        }
        self.refresh_attention();
    }

    /// Decides which word to attend to.
    pub(super) fn refresh_attention(&self) {
        let high = Priority::High as usize;
        let urgent_here = !self.ready[high].is_empty()
            || !self.pinned[high].is_empty()
            || self.leave.is_watchful()
            || self.is_seeded();
        self.attention.set(if self.priority.get() == Priority::Normal && !urgent_here {
            self.system().sleep.attention()
        } else {
            &raw const sleep::ALWAYS
        });
    }

    /// Calls `f` as a part of the current job that has this priority. `f` does not unwind.
    pub(crate) fn at_priority<R>(&'static self, priority: Priority, f: impl FnOnce() -> R) -> R {
        let before = self.priority.get();
        self.set_priority(priority);
        let result = f();
        self.now().set_priority(before);
        result
    }

    /// Lets more urgent work go first, if there is some; whether there was.
    #[inline]
    pub(crate) fn split_point(&'static self, site: &'static Location<'static>) -> bool {
        self.attention().is_urgent() && self.give_way(site)
    }

    #[cold]
    #[inline(never)]
    fn give_way(&'static self, site: &'static Location<'static>) -> bool {
        if self.is_background() || std::thread::panicking() {
            return false;
        }
        // The main thread's visit is over: it leaves, and this job goes on in the next one, or elsewhere.
        let wanted = self.has_more_urgent_work()
            || self.gives_way_by_seed()
            || (self.leave.is_watchful() && self.should_leave());
        if !wanted {
            return false;
        }
        if !self.has_spare() {
            return false;
        }
        self.flush_credit();
        let fiber = self.current_fiber();
        fiber.set_wait(WaitKind::GaveWay, 0, site, self.coarse_now_ns());
        // SAFETY: a running fiber is in no list, and this thread is its owner.
        unsafe { self.ready[self.priority.get() as usize].prepend(fiber.node_ptr()) };
        self.suspend();
        fiber.set_state(FiberState::Running);
        true
    }

    /// Makes sure that the worker can go on taking jobs while the current fiber is suspended.
    #[inline]
    pub(crate) fn reserve_spare(&'static self) -> Result<(), FiberLimit> {
        if self.pool.get().is_null() { self.add_spare() } else { Ok(()) }
    }

    #[cold]
    fn add_spare(&'static self) -> Result<(), FiberLimit> {
        self.add_fiber().map_err(|_| {
            // Others may have more than they need.
            self.system().fibers_are_short(self.now_ns());
            FiberLimit
        })
    }

    /// As [`reserve_spare`](Self::reserve_spare), for those who can do without.
    #[inline]
    fn has_spare(&'static self) -> bool {
        !self.pool.get().is_null() || self.add_fiber().is_ok()
    }

    /// Makes a fiber and puts it into the pool.
    #[cold]
    pub(crate) fn add_fiber(&'static self) -> Result<(), crate::fiber::stack::StackError> {
        if self.shares_idle_fibers() && self.take_shared_fibers() {
            return Ok(());
        }
        self.system().fiber_begins()?;
        match Fiber::start(self, Self::fiber_body) {
            Ok(fiber) => {
                self.put_idle_fiber(fiber);
                Ok(())
            }
            Err(error) => {
                self.system().fiber_ended();
                Err(error)
            }
        }
    }

    fn put_idle_fiber(&self, fiber: &'static Fiber) {
        self.pool_count.set(self.pool_count.get() + 1);
        fiber.set_state(FiberState::Idle);
        fiber.node().set_link(self.pool.get());
        self.pool.set(fiber.node_ptr());
    }

    fn take_idle_fiber(&self) -> Option<&'static Fiber> {
        let node = self.pool.get();
        if node.is_null() {
            return None;
        }
        // SAFETY: the pool holds fibers in their slots.
        let fiber = unsafe { Fiber::from_node(node) };
        self.pool.set(fiber.node().link());
        if let Some(next) = NonNull::new(self.pool.get()) {
            // PERF: where many wait at once, the next one is wanted soon; bench `fanout`.
            // SAFETY: the pool holds fibers in their slots.
            unsafe { Fiber::from_node(next.as_ptr()) }.prefetch();
        }
        let left = self.pool_count.get() - 1;
        self.pool_count.set(left);
        self.trim.note_pool(left);
        // What it ran last says nothing about what it will run.
        fiber.set_priority(self.priority.get());
        Some(fiber)
    }

    /// Suspends the current fiber until it is resumed; its node has been given to a waker.
    ///
    /// The caller has flushed its credit before it registered anywhere: flushing may run code of users.
    #[inline(always)]
    pub(crate) fn suspend(&self) {
        debug_assert_eq!(self.credit.get(), 0);
        tally(&self.remote.tally.suspensions[self.current_fiber().wait_kind()], 1);
        #[cfg(feature = "tracing")]
        let spans = crate::interop::spans::LeftSpans::leave();
        if self.hooks() != 0 {
            self.suspend_with_more();
        } else {
            self.switch_to_root();
        }
        #[cfg(feature = "tracing")]
        spans.enter_again();
    }

    /// As [`suspend`](Self::suspend), for something that others bring about: a High fiber that waits holds Low
    /// work back.
    #[inline(always)]
    pub(crate) fn suspend_waiting(&self) {
        let high = self.priority.get() == Priority::High && !self.migrates.get();
        if high {
            self.high_waiting.set(self.high_waiting.get() + 1);
        }
        self.suspend();
        if high {
            self.high_waiting.set(self.high_waiting.get() - 1);
        }
    }

    /// Whether a High fiber of this worker waits.
    pub(super) fn has_high_waiting(&self) -> bool {
        self.high_waiting.get() > 0
    }

    /// Lets others run; the current fiber ranks behind one full search.
    #[inline]
    pub(crate) fn yield_fiber(&'static self, kind: WaitKind, site: &'static Location<'static>) {
        // Without a spare the root goes on with fibers that are ready, or with this one.
        let _ = self.has_spare();
        self.flush_credit();
        let fiber = self.current_fiber();
        fiber.set_wait(kind, 0, site, self.coarse_now_ns());
        // SAFETY: a running fiber is in no list, and this thread is its owner.
        unsafe { self.yielded.append(fiber.node_ptr(), fiber.node_ptr()) };
        self.suspend();
        fiber.set_state(FiberState::Running);
    }

    /// Lets the worker's other fibers go on although no fiber is left that could take jobs; see
    /// `wait::poll_at_limit`. Sleeps for a moment if none can.
    pub(crate) fn yield_at_limit(&'static self, what: WaitFor) {
        self.flush_credit();
        let fiber = self.current_fiber();
        fiber.set_wait(what.kind, what.object, what.site, self.coarse_now_ns());
        // SAFETY: a running fiber is in no list, and this thread is its owner.
        unsafe { self.yielded.append(fiber.node_ptr(), fiber.node_ptr()) };
        self.tell_of_all_work();
        self.suspend();
        fiber.set_state(FiberState::Running);
        let worker = self.now();
        if worker.nothing_ready() && worker.inbox_try_park() {
            worker.remote.parker.park_timeout(LIMIT_POLL);
            worker.remote.inbox.leave_parked();
        }
    }

    #[inline(always)]
    fn switch_to_root(&self) {
        let fiber = self.current_fiber();
        // SAFETY: `current` is the fiber that this code runs on.
        unsafe { fiber.context().suspend() };
    }

    /// Suspends a fiber that takes more with it than its registers.
    #[inline(never)]
    fn suspend_with_more(&self) {
        self.notice_hooks();
        if hooks::records() {
            event::suspends(self.current_fiber());
        }
        let kept = held::keep(self);
        if self.isolates_float.get() {
            self.suspend_with_float_control();
        } else {
            self.switch_to_root();
        }
        kept.restore();
    }

    /// Suspends the current fiber, and sees to it that it goes on with the floating-point control state that it has now.
    #[inline(never)]
    fn suspend_with_float_control(&self) {
        let control = FloatControl::read();
        self.float_now.set(control);
        self.switch_to_root();
        self.restore_float_control(control);
    }

    /// The fiber that suspended with this control state, on whatever worker, has just been resumed.
    #[inline(always)]
    fn restore_float_control(&self, control: FloatControl) {
        // Where fibers migrate this may be another worker, and the register is asked.
        control.restore_from(if self.migrates.get() { FloatControl::read() } else { self.float_now.get() });
    }

    /// A job begins: not with what the one before has left.
    #[cold]
    #[inline(never)]
    fn begin_with_own_float_control(&self) {
        self.float_control.get().restore_from(FloatControl::read());
    }

    /// The thread's main function: resumes fibers until the system has stopped.
    pub(crate) fn root(&'static self) {
        self.drive();
        self.end_fibers();
    }

    /// Resumes fibers until the system has stopped, or the main thread's visit is over.
    pub(super) fn drive(&'static self) {
        // INVARIANT: no code of users runs on the root in here: whoever finds the sticky worker takes it that a fiber runs.
        let _runs_fibers = super::current::run_fibers(self);
        self.remote.thread_clock.store(crate::sys::clock_of_this_thread(), Ordering::Relaxed);
        let control = FloatControl::read();
        self.float_control.set(control);
        self.float_now.set(control);
        loop {
            let next = match self.resume_next.take() {
                Some(fiber) => Some(fiber),
                None => self.next_at_hand().or_else(|| self.next_fiber()),
            };
            let fiber = match next {
                Some(fiber) => fiber,
                None if self.exiting.get() || self.leave.is_leaving() => break,
                None => {
                    self.sleep_without_fibers();
                    continue;
                }
            };
            self.run_fiber(fiber);
        }
        if self.isolates_float.get() {
            control.restore_from(FloatControl::read());
        }
    }

    /// Whether the system has stopped, and this worker has nothing to do any more.
    pub(crate) fn has_exited(&self) -> bool {
        self.exiting.get()
    }

    /// Ends up to `count` idle fibers, the newest first. Called by the root.
    pub(super) fn end_idle_fibers(&'static self, count: usize) -> usize {
        // They see this when they are resumed, and end.
        self.exiting.set(true);
        let mut ended = 0;
        while ended < count {
            let Some(fiber) = self.take_idle_fiber() else { break };
            self.run_fiber(fiber);
            ended += 1;
        }
        self.exiting.set(false);
        ended
    }

    /// Idle fibers see that the worker exits, and end.
    pub(crate) fn end_fibers(&'static self) {
        loop {
            while let Some(fiber) = self.take_idle_fiber() {
                self.run_fiber(fiber);
            }
            if !(self.shares_idle_fibers() && self.take_shared_fibers()) {
                return;
            }
        }
    }

    /// Gives the next fiber out of the pool this job to begin with. For a worker that is not running.
    pub(crate) fn hand_over(&self, job: JobRef) {
        self.handoff.set(Some((job, Priority::Normal)));
    }

    /// For whoever owns a worker whose thread will never come back: how many jobs it has started and not ended.
    pub(crate) fn take_left_count(&self) -> u64 {
        self.poll_inbox();
        // With one worker nobody would resume what is given away, and both counts are its own.
        if self.migrates.get() && self.system().workers() > 1 {
            return self.give_fibers_away();
        }
        let tally = &self.remote.tally;
        tally.started.load(Ordering::Relaxed) - tally.finished.load(Ordering::Relaxed)
    }

    /// As above, where fibers migrate: those that may are published, and the others counted.
    fn give_fibers_away(&self) -> u64 {
        self.release_yielded();
        for queue in &self.ready {
            let bound = Queue::new();
            while let Some(node) = queue.pop() {
                // SAFETY: the queue holds fibers in their slots, which the caller owns once they are out.
                unsafe {
                    let fiber = Fiber::from_node(node);
                    if fiber.is_bound() {
                        bound.append(node, node);
                    } else {
                        self.system().publish(fiber);
                    }
                }
            }
            queue.take_over(&bound);
        }
        let mut count = 0;
        slots::for_each::<Fiber>(|fiber| {
            let waits = matches!(
                fiber.state.get(),
                FiberState::Suspending | FiberState::Suspended | FiberState::Ready
            );
            count += u64::from(waits && fiber.is_bound() && ptr::eq(fiber.owner(), &self.remote));
        });
        count
    }

    /// As above, for a worker that has no job left: ends its fibers, all of which are idle.
    pub(crate) fn end_from_afar(&'static self) {
        self.exiting.set(true);
        let _is_worker = super::current::enter(self);
        self.end_fibers();
    }

    /// As above: a job that only this worker may run.
    pub(crate) fn take_any_pinned(&self) -> Option<*mut Node> {
        self.poll_inbox();
        self.sort_pinned();
        self.pinned.iter().find_map(Queue::pop)
    }

    /// As above: a job from the own deques.
    pub(crate) fn steal_own(&self) -> Option<JobRef> {
        self.remote.deques.iter().find_map(|deque| {
            loop {
                match deque.steal() {
                    // SAFETY: only jobs are pushed, and this thread has just taken this one.
                    Steal::Item(raw) => break Some(unsafe { JobRef::from_raw(raw) }),
                    Steal::Retry => spin_loop(),
                    Steal::Empty => break None,
                }
            }
        })
    }

    /// What is done before the resumption of a fiber, on request.
    #[cold]
    #[inline(never)]
    fn resume_with_more(&self, fiber: &Fiber) {
        self.notice_hooks();
        event::resumes(fiber);
        #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
        crate::trace::tracy::enter(self, fiber);
    }

    #[inline(always)]
    fn run_fiber(&'static self, fiber: &'static Fiber) {
        tally(&self.remote.tally.resumes, 1);
        if self.hooks_now() != 0 {
            self.resume_with_more(fiber);
        }
        self.current.set(fiber);
        if !fiber.has_priority(self.priority.get()) {
            self.adopt_priority(fiber.priority());
        }
        if self.migrates.get() {
            fiber.set_owner(self);
        }
        fiber.set_state(FiberState::Running);
        let ended = fiber.context().resume();
        self.current.set(ptr::null());
        #[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
        if self.is_in_tracys_fiber.get() {
            crate::trace::tracy::leave(self);
        }
        if ended {
            fiber.retire(self);
            self.system().fiber_ended();
        } else if self.migrates.get() && fiber.state.switched() {
            self.publish(fiber);
        }
    }

    /// Makes a fiber that was woken available to all workers, or to its owner, if it is bound.
    #[cold]
    pub(crate) fn publish(&self, fiber: &'static Fiber) {
        if !fiber.is_bound() {
            self.push_at(JobRef::from_fiber(fiber), fiber.priority());
        } else if ptr::eq(fiber.owner(), &self.remote) {
            self.make_ready(fiber.priority(), fiber.node_ptr(), fiber.node_ptr());
        } else {
            self.system().publish(fiber);
        }
    }

    /// What the root should resume; `None` if there is no fiber to go on with.
    #[inline(never)]
    fn next_fiber(&'static self) -> Option<&'static Fiber> {
        if self.exiting.get() || self.leave.is_leaving() {
            return None;
        }
        if self.trim.is_wanted() {
            self.end_spare_fibers();
        }
        if self.pool.get().is_null() && self.add_fiber().is_err() {
            // Jobs are left to others; fibers that are ready can go on.
            self.poll_inbox();
            if self.leave.is_watchful() && self.should_leave() {
                self.leave.begin();
                return None;
            }
            self.refresh_attention();
            let ready = Priority::DESCENDING.iter().find_map(|&priority| self.ready[priority as usize].pop());
            if ready.is_none() && self.migrates.get() {
                // Where fibers migrate, those that were woken lie among the jobs.
                if let Some(fiber) = self.take_woken_among_jobs() {
                    return Some(fiber);
                }
            }
            // SAFETY: both queues hold fibers in their slots.
            return ready.or_else(|| self.yielded.pop()).map(|node| unsafe { Fiber::from_node(node) });
        }
        if self.handoff.get().is_some() {
            return self.take_idle_fiber();
        }
        match self.next() {
            Next::Fiber(fiber) => return Some(fiber),
            Next::Job(job, priority) => self.handoff.set(Some((job, priority))),
            Next::Exit => {
                self.exiting.set(true);
                return None;
            }
            Next::Leave => {
                self.leave.begin();
                return None;
            }
            Next::Nothing => {}
        }
        self.take_idle_fiber()
    }

    /// The newest fiber in the own deques, or the oldest that was injected; what lies above or before it stays where it is.
    #[cold]
    fn take_woken_among_jobs(&self) -> Option<&'static Fiber> {
        let own = Priority::DESCENDING
            .into_iter()
            .find_map(|priority| self.dig_at(priority, |entry| entry.as_fiber().is_some()));
        let fiber = own.or_else(|| self.system().take_injected_fiber(self.priorities()));
        fiber.and_then(JobRef::as_fiber)
    }

    /// Those whose jobs this worker takes, the most urgent first.
    pub(super) fn priorities(&self) -> &'static [Priority] {
        if self.is_background() { &[Priority::Background] } else { &Priority::SHARED }
    }

    /// Waits for a wake when no fiber is left that could take jobs.
    #[cold]
    fn sleep_without_fibers(&self) {
        // The jobs of this worker must be taken by others now.
        self.tell_of_all_work();
        if self.nothing_ready() && self.inbox_try_park() {
            self.remote.parker.park();
            self.remote.inbox.leave_parked();
        }
    }

    /// Wakes somebody for each priority of which there is work in the own deques.
    pub(super) fn tell_of_all_work(&self) {
        for priority in Priority::DESCENDING {
            if !self.remote.deque(priority).is_empty() {
                self.tell_of_work(priority);
            }
        }
    }

    pub(super) fn nothing_ready(&self) -> bool {
        self.ready.iter().all(Queue::is_empty)
    }

    pub(super) fn inbox_try_park(&self) -> bool {
        self.remote.inbox.try_park()
    }

    /// What runs on every fiber.
    fn fiber_body(worker: &'static Worker) {
        let mut worker = worker;
        while !worker.exiting.get() {
            worker.job_loop();
            worker = worker.now();
        }
    }

    /// Runs a job where fibers migrate: afterwards this fiber may be on another worker, whose loop goes on.
    #[cold]
    #[inline(never)]
    fn run_and_go_on(&'static self, job: JobRef, priority: Priority) {
        // Before the change of priority, which may run code of users. After it the worker is the same: that code's fiber is
        // bound.
        let bound = self.binds_next.take().then(super::current::bind_fiber);
        self.set_priority(priority);
        if self.isolates_float.get() {
            self.begin_with_own_float_control();
        }
        self.run_job(job);
        drop(bound);
    }

    /// PERF: inlined down to the call of the job's function, see `wait::wait`.
    #[inline(always)]
    fn job_loop(&'static self) {
        loop {
            if self.exiting.get() {
                return;
            }
            let next = match self.handoff.take() {
                Some((job, priority)) => Next::Job(job, priority),
                None => self.next(),
            };
            match next {
                Next::Job(job, priority) => {
                    self.end_search();
                    if self.migrates.get() {
                        return self.run_and_go_on(job, priority);
                    }
                    self.set_priority(priority);
                    if self.isolates_float.get() {
                        self.begin_with_own_float_control();
                    }
                    self.run_job(job);
                }
                Next::Fiber(fiber) => {
                    self.end_search();
                    self.resume_next.set(Some(fiber));
                    self.go_idle();
                    if self.migrates.get() {
                        // Another worker may have taken this fiber out of the pool.
                        return;
                    }
                }
                Next::Nothing if self.leave.when_idle() => return self.leave_visit(),
                Next::Nothing => {
                    self.idle();
                    if self.trim.is_wanted() {
                        // The root ends fibers that are not needed.
                        self.end_search();
                        self.go_idle();
                        if self.migrates.get() {
                            return;
                        }
                    }
                }
                Next::Leave => return self.leave_visit(),
                Next::Exit => {
                    self.end_search();
                    self.exiting.set(true);
                }
            }
        }
    }

    /// The main thread's visit is over: its root returns, and this fiber is there for the next visit.
    #[cold]
    fn leave_visit(&self) {
        self.end_search();
        self.leave.begin();
        self.go_idle();
    }

    /// Puts the current fiber into the pool and returns to the root.
    #[inline(always)]
    fn go_idle(&self) {
        self.flush_credit();
        self.put_idle_fiber(self.current_fiber());
        if self.shares_idle_fibers() && self.pool_count.get() > POOL_MAX && !self.trim.is_wanted() {
            self.share_idle_fibers();
        }
        if self.isolates_float.get() {
            self.float_now.set(FloatControl::read());
        }
        self.switch_to_root();
    }

    /// Whether idle fibers are everybody's: where they migrate, but for those of Background workers, which must not be stopped while they hold
    /// the lock.
    pub(super) fn shares_idle_fibers(&self) -> bool {
        self.migrates.get() && !self.is_background()
    }

    /// Where fibers migrate they become idle on other workers than those that need them: gives half of the pool to all.
    /// The current fiber, on top, stays: it has not switched yet.
    #[cold]
    fn share_idle_fibers(&self) {
        let top = self.take_idle_fiber().expect("the current fiber is on top");
        let mut shared = crate::primitives::lock(&self.system().idle_fibers);
        if shared.capacity() == 0 {
            shared.reserve(SHARED_MIN);
        }
        for _ in 0..POOL_MAX / 2 {
            shared.extend(self.take_idle_fiber());
        }
        self.system().note_idle_fibers(shared.len());
        drop(shared);
        self.put_idle_fiber(top);
    }

    /// Takes some of what other workers gave.
    #[cold]
    fn take_shared_fibers(&self) -> bool {
        self.take_shared_fibers_n(POOL_MAX / 4);
        !self.pool.get().is_null()
    }

    /// As above, up to `count` of them; how many.
    pub(super) fn take_shared_fibers_n(&self, count: usize) -> usize {
        let mut shared = crate::primitives::lock(&self.system().idle_fibers);
        let from = shared.len().saturating_sub(count);
        let taken = shared.len() - from;
        for fiber in shared.drain(from..) {
            self.put_idle_fiber(fiber);
        }
        self.system().note_idle_fibers(shared.len());
        taken
    }

    #[inline(always)]
    pub(crate) fn run_job(&'static self, job: JobRef) {
        // SAFETY: the job was taken out of a queue by this thread.
        unsafe { job.run(self) };
    }

    /// Takes in what other threads have delivered.
    #[inline]
    pub(super) fn poll_inbox(&self) {
        if !self.remote.inbox.is_empty() {
            self.take_inbox();
        }
    }

    #[cold]
    #[inline(never)]
    fn take_inbox(&self) {
        let mut list = self.remote.inbox.take_all();
        let mut oldest_first: *mut Node = ptr::null_mut();
        let mut high_count = 0;
        while !list.is_null() {
            // SAFETY: the list belongs to this thread since it was taken; nodes live in slots.
            let node = unsafe { &*list };
            let next = node.link();
            high_count += u64::from(is_high_delivery(list));
            node.set_link(oldest_first);
            oldest_first = list;
            list = next;
        }
        if high_count > 0 {
            self.system().sleep.attention().took_deliveries(high_count);
        }
        while !oldest_first.is_null() {
            let node = oldest_first;
            // SAFETY: as above.
            unsafe {
                oldest_first = (*node).link();
                match (*node).kind() {
                    Kind::Fiber => self.make_ready(Fiber::from_node(node).priority(), node, node),
                    Kind::Thread => self.note_visitor_woken(),
                    _ => self.queue_pinned(node),
                }
            }
        }
    }

    /// Adds a job to those that only this worker may run.
    ///
    /// # Safety
    ///
    /// `node` is a job's, in no list, and this thread owns it.
    unsafe fn queue_pinned(&self, node: *mut Node) {
        // SAFETY: promised by the caller.
        unsafe {
            let priority = JobPtr::from_node(node).header().priority();
            self.pinned[priority as usize].append(node, node);
        }
        self.refresh_attention();
    }

    /// A pinned job was run in place: gets rid of its entry, and of others like it, as far as they come first. A job that
    /// never waits would leave ever more of them otherwise.
    #[cold]
    pub(crate) fn drop_stale_pinned(&self) {
        self.poll_inbox();
        for queue in &self.pinned {
            // SAFETY: the pinned queues hold jobs in their slots.
            while let Some(entry) = queue.first().map(|node| JobRef::from(unsafe { JobPtr::from_node(node) }))
            {
                if !entry.is_stale() {
                    break;
                }
                let taken = queue.pop();
                debug_assert!(taken.is_some());
                // SAFETY: this thread has just taken it out.
                unsafe { entry.drop_stale() };
            }
        }
    }

    /// Somebody has raised a pinned job: puts each where it belongs now.
    #[cold]
    pub(super) fn sort_pinned(&self) {
        if self.remote.raised_pinned.load(Ordering::Relaxed) == 0 {
            return;
        }
        // ORDERING: Acquire pairs with the Release in `look_at_pinned`.
        let count = self.remote.raised_pinned.swap(0, Ordering::Acquire);
        self.system().sleep.attention().took_deliveries(u64::from(count));
        // It may just have been delivered.
        self.poll_inbox();
        let all = Queue::new();
        for queue in self.pinned.iter().rev() {
            all.take_over(queue);
        }
        while let Some(node) = all.pop() {
            // SAFETY: these queues hold jobs in their slots, which this thread owns once they are out.
            unsafe { self.queue_pinned(node) };
        }
    }

    // --- time ------------------------------------------------------------------------------

    /// The process's clock, read every few calls.
    #[inline]
    pub(crate) fn coarse_now_ns(&self) -> u64 {
        let age = self.clock_age.get();
        if age == 0 {
            self.read_clock()
        } else {
            self.clock_age.set(age - 1)
        }
        self.coarse_now_ns.get()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn read_clock(&self) {
        self.clock_age.set(CLOCK_EVERY);
        self.coarse_now_ns.set(self.epoch().at.elapsed().as_nanos() as u64);
    }

    fn epoch(&self) -> &Epoch {
        self.epoch.get_or_init(crate::trace::process_epoch)
    }

    /// Begins to measure a time at whose end something is in a hurry.
    pub(super) fn start_stopwatch(&self) -> Stopwatch {
        let since_ns = self.now_ns();
        // Before so much time has passed its length in ticks is not known well enough.
        let ticks = crate::sys::ticks().filter(|_| since_ns > STOPWATCH_MIN_NS);
        Stopwatch { since_ns, ticks: ticks.map(|ticks| (ticks, self.epoch().ticks)) }
    }

    /// The time since the stopwatch was started, in nanoseconds.
    ///
    /// PERF: a reading of the clock takes microseconds after a sleep, because everything that it touches has left the caches
    /// (bench `outside`); one of the processor's counter does not. Should that not count evenly, the result is wrong
    /// by as much: good enough for statistics.
    pub(super) fn read_stopwatch(&self, stopwatch: &Stopwatch) -> u64 {
        // What was read before the sleep is out of date now.
        self.clock_age.set(0);
        match (stopwatch.ticks, crate::sys::ticks()) {
            (Some((since, epoch)), Some(now)) => {
                let ns_per_tick = stopwatch.since_ns as f64 / since.saturating_sub(epoch).max(1) as f64;
                (now.saturating_sub(since) as f64 * ns_per_tick) as u64
            }
            _ => self.now_ns().saturating_sub(stopwatch.since_ns),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.read_clock();
        self.coarse_now_ns.get()
    }
}
