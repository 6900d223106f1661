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

use super::deque::Deque;
use super::find_work::Next;
use super::inbox::Inbox;
use super::queue::Queue;
use super::wait::{FiberLimit, WaitFor};
use crate::counter::group::Group;
use crate::fiber::switch::Switch;
use crate::fiber::{Fiber, FiberState, WaitKind};
use crate::job::{JobPtr, JobRef};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::Caches;
use crate::sys::Parker;
use crate::system::core::SystemCore;
use crossbeam_utils::CachePadded;
use std::cell::{Cell, OnceCell};
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many members a worker may spawn into a group before it touches the group's word again.
const CREDIT_BATCH: u32 = 128;
/// How long a fiber that waits at the limit of fibers sleeps between two looks.
const LIMIT_POLL: Duration = Duration::from_micros(200);
/// Suspensions between two readings of the clock for the ages in dumps.
const CLOCK_EVERY: u32 = 32;

/// Workers of systems that are gone.
static IDLE: Mutex<Vec<IdleWorker>> = Mutex::new(Vec::new());

struct IdleWorker(&'static Worker);

// SAFETY: an idle worker has no thread; taking it from the list makes the taker its only user.
unsafe impl Send for IdleWorker {}

/// What a worker counts. Written by the owner only, so that no line is shared between writers.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) submitted: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) suspensions: AtomicU64,
    pub(crate) resumes: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) parks: AtomicU64,
    /// Nanoseconds spent without work, up to the last return to work.
    pub(crate) idle_ns: AtomicU64,
}

/// Adds to a counter that only the calling thread writes.
#[inline]
pub(crate) fn tally(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// The part of a worker that other threads may touch.
pub(crate) struct Remote {
    pub(crate) deque: Deque,
    pub(crate) inbox: Inbox,
    pub(crate) parker: Parker,
    pub(crate) tally: CachePadded<Tally>,
    /// The index of the worker's system, for dumps.
    pub(crate) system: AtomicU32,
    /// The worker's index in it.
    pub(crate) index: AtomicU32,
}

impl Remote {
    /// Hands over a chain of fibers that were woken, or of jobs pinned to this worker.
    pub(crate) fn deliver(&self, first: &Node, last: &Node) {
        if self.inbox.push_chain(first, last) {
            self.parker.unpark();
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
    /// The fiber that runs; null on the root.
    current: Cell<*const Fiber>,
    /// Fibers to resume, in order.
    pub(super) ready: Queue,
    /// Fibers that yielded: they rank behind one full search.
    pub(super) yielded: Queue,
    /// Jobs that only this worker may run.
    pub(super) pinned: Queue,
    /// Idle fibers, linked by their nodes; the one that ran last is on top.
    pool: Cell<*mut Node>,
    /// What the next fiber out of the pool should do first.
    handoff: Cell<Option<JobRef>>,
    /// The fiber that the root should resume next.
    resume_next: Cell<*const Fiber>,
    exiting: Cell<bool>,
    /// Whether this worker counts among those who search.
    pub(super) searching: Cell<bool>,
    pub(super) turn: Cell<u32>,
    pub(super) random: Cell<u64>,
    /// A group, and how many members of it this worker may still spawn, or has ended, without
    /// having said so to the group.
    credit_group: Cell<*const Group>,
    credit: Cell<u32>,
    epoch: OnceCell<Instant>,
    coarse_now_ns: Cell<u64>,
    clock_age: Cell<u32>,
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
                deque: Deque::new(),
                inbox: Inbox::new(),
                parker: Parker::new(),
                tally: CachePadded::new(Tally::default()),
                system: AtomicU32::new(0),
                index: AtomicU32::new(0),
            },
            caches: Caches::default(),
            system: Cell::new(ptr::null()),
            index: Cell::new(0),
            current: Cell::new(ptr::null()),
            ready: Queue::new(),
            yielded: Queue::new(),
            pinned: Queue::new(),
            pool: Cell::new(ptr::null_mut()),
            handoff: Cell::new(None),
            resume_next: Cell::new(ptr::null()),
            exiting: Cell::new(false),
            searching: Cell::new(false),
            turn: Cell::new(0),
            random: Cell::new(0),
            credit_group: Cell::new(ptr::null()),
            credit: Cell::new(0),
            epoch: OnceCell::new(),
            coarse_now_ns: Cell::new(0),
            clock_age: Cell::new(0),
        }
    }

    /// Makes this worker number `index` of the system behind `core`, and gives it a first fiber.
    ///
    /// # Safety
    ///
    /// 1. The caller is the worker's only user until its thread has started.
    /// 2. `core` stays valid until the worker's thread has ended.
    pub(crate) unsafe fn join_system(
        &'static self,
        core: *const SystemCore,
        index: usize,
    ) -> Result<(), crate::fiber::stack::StackError> {
        self.system.set(core);
        self.index.set(index);
        self.remote.system.store(self.system().index, Ordering::Relaxed);
        self.remote.index.store(index as u32, Ordering::Relaxed);
        self.exiting.set(false);
        self.turn.set(0);
        self.random.set(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95));
        let tally = &self.remote.tally;
        for counter in [
            &tally.submitted,
            &tally.finished,
            &tally.steals,
            &tally.suspensions,
            &tally.resumes,
            &tally.wakes,
            &tally.parks,
            &tally.idle_ns,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.add_fiber()
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
        // SAFETY: the owner's thread has ended before this call, and so have all thieves.
        unsafe { self.remote.deque.reset() };
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

    // --- jobs ------------------------------------------------------------------------------

    /// Adds a job that any worker may run.
    #[inline]
    pub(crate) fn push(&self, job: JobRef) {
        // SAFETY: `Worker` is not Sync: this is the owner's thread.
        unsafe { self.remote.deque.push(job.into_raw()) };
        self.wake_for_work();
    }

    /// Takes the newest job of the own deque.
    #[inline]
    pub(crate) fn pop(&self) -> Option<JobRef> {
        // SAFETY: as in `push`. Only `push` above puts items in.
        unsafe { self.remote.deque.pop().map(|raw| JobRef::from_raw(raw)) }
    }

    /// Takes the newest job if it is this one; whether it was.
    #[inline]
    pub(crate) fn pop_exactly(&self, wanted: JobRef) -> bool {
        match self.pop() {
            Some(job) if job == wanted => true,
            Some(other) => {
                self.put_back(other);
                false
            }
            None => false,
        }
    }

    #[cold]
    #[inline(never)]
    fn put_back(&self, job: JobRef) {
        self.push(job);
    }

    /// Takes the newest job of the own deque that is `wanted`, from below others if need be.
    #[cold]
    pub(crate) fn dig(&self, wanted: impl Fn(JobRef) -> bool) -> Option<JobRef> {
        let mut aside = Vec::new();
        let mut found = None;
        while let Some(job) = self.pop() {
            if wanted(job) {
                found = Some(job);
                break;
            }
            aside.push(job);
        }
        for job in aside.into_iter().rev() {
            self.push(job);
        }
        found
    }

    /// As [`dig`](Self::dig), and also among pinned and injected jobs.
    #[cold]
    pub(crate) fn dig_everywhere(&self, wanted: impl Fn(JobRef) -> bool) -> Option<JobRef> {
        self.poll_inbox();
        let mut found = None;
        let others = Queue::new();
        while let Some(node) = self.pinned.pop() {
            // SAFETY: the pinned queue holds jobs in their slots, which this thread owns once they are out.
            unsafe {
                let job = JobRef::from(JobPtr::from_node(node));
                if found.is_none() && wanted(job) {
                    found = Some(job);
                } else {
                    others.append(node, node);
                }
            }
        }
        self.pinned.take_over(&others);
        if found.is_some() {
            return found;
        }
        // What was injected goes where it can be stolen, and dug out.
        self.system().injector.take(usize::MAX, |node| {
            // SAFETY: the injector holds jobs in their slots.
            self.push(unsafe { JobPtr::from_node(node) }.into());
        });
        self.dig(wanted)
    }

    /// As [`pop_exactly`](Self::pop_exactly), for a job that is likely to be elsewhere.
    pub(crate) fn pop_if_newest(&self, wanted: JobRef) -> bool {
        // SAFETY: as in `push`.
        unsafe { self.remote.deque.newest() == Some(wanted.into_raw()) && self.pop_exactly(wanted) }
    }

    #[inline]
    pub(crate) fn wake_for_work(&self) {
        if let Some(sleeper) = self.system().sleep.work_was_added() {
            self.unpark(sleeper);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn unpark(&self, worker: usize) {
        tally(&self.remote.tally.wakes, 1);
        self.system().remotes[worker].parker.unpark();
    }

    /// Counts a job that this worker has submitted to its own system.
    #[inline]
    pub(crate) fn count_submitted(&self, n: u64) {
        tally(&self.remote.tally.submitted, n);
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
        self.replace_credit(ptr::null(), 0);
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

    /// Adds fibers, linked in this order, to those that will be resumed.
    #[inline]
    pub(crate) fn make_ready(&self, first: *mut Node, last: *mut Node) {
        // SAFETY: the caller has just woken these fibers of this worker and owns their nodes.
        unsafe { self.ready.append(first, last) };
    }

    /// Makes sure that the worker can go on taking jobs while the current fiber is suspended.
    #[inline]
    pub(crate) fn reserve_spare(&'static self) -> Result<(), FiberLimit> {
        if self.pool.get().is_null() { self.add_fiber().map_err(|_| FiberLimit) } else { Ok(()) }
    }

    /// Makes a fiber and puts it into the pool.
    #[cold]
    fn add_fiber(&'static self) -> Result<(), crate::fiber::stack::StackError> {
        self.system().fiber_begins()?;
        match Fiber::start(self, self.system().config.stack_bytes, Self::fiber_body) {
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
        Some(fiber)
    }

    /// Suspends the current fiber until it is resumed; its node has been given to a waker.
    ///
    /// The caller has flushed its credit before it registered anywhere: flushing may run code of users.
    #[inline(always)]
    pub(crate) fn suspend(&self) {
        debug_assert_eq!(self.credit.get(), 0);
        tally(&self.remote.tally.suspensions, 1);
        self.switch_to_root();
    }

    /// Lets others run; the current fiber ranks behind one full search.
    #[inline]
    pub(crate) fn yield_fiber(&'static self, kind: WaitKind, site: &'static Location<'static>) {
        // Without a spare the root goes on with fibers that are ready, or with this one.
        let _ = self.reserve_spare();
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
    pub(crate) fn yield_at_limit(&self, what: WaitFor) {
        self.flush_credit();
        let fiber = self.current_fiber();
        fiber.set_wait(what.kind, what.object, what.site, self.coarse_now_ns());
        // SAFETY: a running fiber is in no list, and this thread is its owner.
        unsafe { self.yielded.append(fiber.node_ptr(), fiber.node_ptr()) };
        self.wake_for_work();
        self.suspend();
        fiber.set_state(FiberState::Running);
        if self.ready.is_empty() && self.inbox_try_park() {
            self.remote.parker.park_timeout(LIMIT_POLL);
            self.remote.inbox.leave_parked();
        }
    }

    #[inline(always)]
    fn switch_to_root(&self) {
        let fiber = self.current_fiber();
        // SAFETY: `current` is the fiber that this code runs on.
        unsafe { fiber.context().suspend() };
    }

    /// The thread's main function: resumes fibers until the system has stopped.
    pub(crate) fn root(&'static self) {
        loop {
            let fiber = match self.next_fiber() {
                Some(fiber) => fiber,
                None if self.exiting.get() => break,
                None => {
                    self.sleep_without_fibers();
                    continue;
                }
            };
            self.run_fiber(fiber);
        }
        // Idle fibers see that the worker exits, and end.
        while let Some(fiber) = self.take_idle_fiber() {
            self.run_fiber(fiber);
        }
    }

    #[inline(always)]
    fn run_fiber(&'static self, fiber: &'static Fiber) {
        tally(&self.remote.tally.resumes, 1);
        self.current.set(fiber);
        fiber.set_state(FiberState::Running);
        let ended = fiber.context().resume();
        self.current.set(ptr::null());
        if ended {
            fiber.retire(self);
            self.system().fiber_ended();
        }
    }

    /// What the root should resume; `None` if there is no fiber to go on with.
    #[inline(always)]
    fn next_fiber(&'static self) -> Option<&'static Fiber> {
        let next = self.resume_next.replace(ptr::null());
        // SAFETY: null, or a fiber in its slot.
        if let Some(fiber) = unsafe { next.as_ref() } {
            return Some(fiber);
        }
        if self.exiting.get() {
            return None;
        }
        if self.pool.get().is_null() && self.add_fiber().is_err() {
            // Jobs are left to others; fibers that are ready can go on.
            self.poll_inbox();
            let node = self.ready.pop().or_else(|| self.yielded.pop());
            // SAFETY: both queues hold fibers in their slots.
            return node.map(|node| unsafe { Fiber::from_node(node) });
        }
        match self.next() {
            Next::Fiber(fiber) => return Some(fiber),
            Next::Job(job) => self.handoff.set(Some(job)),
            Next::Exit => {
                self.exiting.set(true);
                return None;
            }
            Next::Nothing => {}
        }
        self.take_idle_fiber()
    }

    /// Waits for a wake when no fiber is left that could take jobs.
    #[cold]
    fn sleep_without_fibers(&self) {
        // The jobs of this worker must be taken by others now.
        self.wake_for_work();
        if self.ready.is_empty() && self.inbox_try_park() {
            self.remote.parker.park();
            self.remote.inbox.leave_parked();
        }
    }

    pub(super) fn inbox_try_park(&self) -> bool {
        self.remote.inbox.try_park()
    }

    /// What runs on every fiber.
    fn fiber_body(worker: &'static Worker) {
        worker.job_loop();
    }

    /// PERF: inlined down to the call of the job's function, see `wait::wait`.
    #[inline(always)]
    fn job_loop(&'static self) {
        loop {
            if self.exiting.get() {
                return;
            }
            let next = match self.handoff.take() {
                Some(job) => Next::Job(job),
                None => self.next(),
            };
            match next {
                Next::Job(job) => {
                    self.end_search();
                    self.run_job(job);
                }
                Next::Fiber(fiber) => {
                    self.end_search();
                    self.resume_next.set(fiber);
                    self.go_idle();
                }
                Next::Nothing => self.idle(),
                Next::Exit => {
                    self.end_search();
                    self.exiting.set(true);
                }
            }
        }
    }

    /// Puts the current fiber into the pool and returns to the root.
    #[inline(always)]
    fn go_idle(&self) {
        self.flush_credit();
        self.put_idle_fiber(self.current_fiber());
        self.switch_to_root();
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
        while !list.is_null() {
            // SAFETY: the list belongs to this thread since it was taken; nodes live in slots.
            let node = unsafe { &*list };
            let next = node.link();
            node.set_link(oldest_first);
            oldest_first = list;
            list = next;
        }
        while !oldest_first.is_null() {
            let node = oldest_first;
            // SAFETY: as above.
            unsafe {
                oldest_first = (*node).link();
                match (*node).kind() {
                    Kind::Fiber => self.ready.append(node, node),
                    _ => self.pinned.append(node, node),
                }
            }
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
        let epoch = *self.epoch.get_or_init(crate::trace::process_epoch);
        self.coarse_now_ns.set(epoch.elapsed().as_nanos() as u64);
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.read_clock();
        self.coarse_now_ns.get()
    }
}
