//! What the workers of one system share.
//!
//! ```text
//!   Running ──Finish, Drop──> Draining ──all jobs ended──> Stopping ──> workers leave
//!      │                         │                            ^
//!      └──Abandon, Deadline──────┴──> Abandoning ─────────────┘ all started jobs ended
//! ```
//!
//! - Draining: submissions from outside are refused; running jobs go on submitting.
//! - Abandoning: no job is started any more; what is queued is dropped. Started jobs go on, and their fibers are
//!   resumed when they are woken. A worker leaves when *all* jobs have ended, not before, so that nothing can be
//!   delivered to a worker that is gone.
//!
//! Whether all jobs have ended is told by counting, without a shared line: each worker counts what it has
//! submitted and what it has taken out of queues (finished). The finished are summed up first. Both only grow, and a
//! job is counted as submitted before it can be counted as finished; so if the sums are equal,
//! nothing was outstanding at the moment between the two.

#![expect(unsafe_code, reason = "recycles workers")]

use super::main_thread::MainThread;
use crate::config::Config;
use crate::counter::{Counter, CounterList};
use crate::error::complain;
use crate::fiber::Fiber;
use crate::fiber::stack::StackError;
use crate::job::state::Outcome;
use crate::job::{JobPtr, JobRef, header, state, storage};
use crate::primitives::{
    AtomicU32, AtomicUsize, Mutex, Ordering, asymmetric_fences_available, fence, heavy_fence, lock,
};
use crate::sched::background::{self, Background};
use crate::sched::injector::Injector;
use crate::sched::priority::{self, Priority};
use crate::sched::queue::Queue;
use crate::sched::sleep::Sleep;
use crate::sched::spillover::Tiers;
use crate::sched::worker::{Remote, Worker};
use crate::sched::{current, wake};
use crate::sys;
use crate::topology::{Topology, VictimTable};
use crate::trace::{event, hooks};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// Calls of `abandon_late` that abandon at once, on one stack or several.
const LATE_CALLS_MAX: usize = 8;

/// How long workers are not told again of a shortage of fibers.
const SHORTAGE_NS: u64 = 1_000_000;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Phase {
    Running = 0,
    Draining = 1,
    Abandoning = 2,
    Stopping = 3,
}

/// See the [module](self).
pub(crate) struct SystemCore {
    /// Unique in the process.
    pub(crate) index: u32,
    pub(crate) remotes: Box<[&'static Remote]>,
    /// In which order each worker robs the others.
    pub(crate) victims: VictimTable,
    /// Read when it is first needed.
    topology: OnceLock<Topology>,
    /// Where workers come in tiers.
    pub(crate) tiers: Option<Tiers>,
    /// One for each priority.
    injectors: [Injector; priority::COUNT],
    /// Who of the workers sleeps, but for those of Background jobs.
    pub(crate) sleep: Sleep,
    /// The workers for Background jobs.
    pub(crate) background: Option<Background>,
    pub(crate) config: Config,
    pub(crate) started_at: Instant,
    phase: AtomicU32,
    /// The workers themselves, for recycling.
    workers: Box<[WorkerPtr]>,
    /// Jobs submitted from outside, and jobs that ended without a queue entry being taken by a worker.
    outside_submitted: AtomicU64,
    outside_finished: AtomicU64,
    /// Idle fibers for all workers; used only where fibers migrate.
    pub(crate) idle_fibers: Mutex<Vec<&'static Fiber>>,
    /// How many are among them, and the fewest that were since somebody has asked. Written under that lock.
    idle_fiber_count: AtomicUsize,
    idle_fibers_low: AtomicUsize,
    fiber_count: AtomicUsize,
    fiber_count_max: AtomicUsize,
    fiber_shortages: AtomicU32,
    /// When workers were told of the last one.
    shortage_at_ns: AtomicU64,
    /// When the period began after which idle fibers that nobody needed are ended; used only where fibers migrate.
    idle_period_ns: AtomicU64,
    /// Whether somebody wants to know when all jobs have ended.
    watched: AtomicU32,
    watchers: Mutex<CounterList>,
    /// Jobs that became known while the system abandons.
    late: Mutex<Late>,
    /// Whether the seed was printed, because a job has panicked.
    seed_printed: AtomicU32,
    /// Set if worker 0 is the thread that built the system.
    pub(crate) main: Option<MainThread>,
    /// One per worker that has not left.
    pub(crate) present: Counter,
    this: Weak<SystemCore>,
}

/// See [`SystemCore::abandon_late`].
struct Late {
    jobs: Vec<(JobPtr, state::Snapshot)>,
    /// Calls that take jobs out.
    call_count: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct WorkerPtr(&'static Worker);

// SAFETY: used by the building thread before, and by the last owner of the core after, the workers' threads.
unsafe impl Send for WorkerPtr {}
// SAFETY: as above; in between only a thread that owns its worker gets it out.
unsafe impl Sync for WorkerPtr {}

impl WorkerPtr {
    pub(crate) fn get(self) -> &'static Worker {
        self.0
    }
}

impl SystemCore {
    pub(crate) fn new(index: u32, config: Config) -> Arc<Self> {
        let count = config.workers + config.background_placement.len();
        let mut config = config;
        let sleep = Sleep::new(config.workers, sys::usable_cpu_count(), asymmetric_fences_available());
        let topology =
            config.topology.take().map(|topology| topology.with_placement(config.placement.clone()));
        let victims = match &topology {
            Some(topology) => VictimTable::new(topology, &config.placement),
            None => VictimTable::unpinned(config.workers),
        };
        let background = Background::new(topology.as_ref(), &config.background_placement, &config.placement);
        let workers: Box<[WorkerPtr]> = (0..count).map(|_| WorkerPtr(Worker::take())).collect();
        Arc::new_cyclic(|this| Self {
            index,
            remotes: workers.iter().map(|worker| worker.0.remote_static()).collect(),
            victims,
            tiers: Tiers::new(&config.tier_sizes, config.main_thread),
            topology: topology.map_or_else(OnceLock::new, OnceLock::from),
            injectors: std::array::from_fn(|_| Injector::new()),
            sleep,
            background,
            started_at: Instant::now(),
            phase: AtomicU32::new(Phase::Running as u32),
            workers,
            outside_submitted: AtomicU64::new(0),
            outside_finished: AtomicU64::new(0),
            idle_fibers: Mutex::new(Vec::new()),
            idle_fiber_count: AtomicUsize::new(0),
            idle_fibers_low: AtomicUsize::new(0),
            fiber_count: AtomicUsize::new(0),
            fiber_count_max: AtomicUsize::new(0),
            fiber_shortages: AtomicU32::new(0),
            shortage_at_ns: AtomicU64::new(0),
            idle_period_ns: AtomicU64::new(0),
            watched: AtomicU32::new(0),
            watchers: Mutex::new(CounterList::default()),
            late: Mutex::new(Late { jobs: Vec::new(), call_count: 0 }),
            seed_printed: AtomicU32::new(0),
            main: config.main_thread.then(MainThread::new),
            present: Counter::new(count),
            this: this.clone(),
            config,
        })
    }

    /// How many workers there are, those for Background jobs not counted. They have the first indices.
    #[inline]
    pub(crate) fn workers(&self) -> usize {
        self.config.workers
    }

    /// What a job of this priority is here: without Background workers there are no Background jobs.
    #[inline]
    pub(crate) fn served(&self, priority: Priority) -> Priority {
        if self.background.is_none() { priority.max(Priority::Low) } else { priority }
    }

    /// The index of the worker to unpark for work of this priority that was made visible, if need be.
    #[must_use = "the worker must be unparked"]
    pub(crate) fn claim_sleeper(&self, priority: Priority) -> Option<usize> {
        match (&self.background, priority) {
            (Some(background), Priority::Background) => background.claim_sleeper(&self.remotes),
            _ => self.sleep.work_was_added(priority),
        }
    }

    pub(crate) fn worker(&self, index: usize) -> WorkerPtr {
        self.workers[index]
    }

    /// The core, to be kept.
    pub(crate) fn shared(&self) -> Arc<SystemCore> {
        self.this.upgrade().expect("whoever has a reference keeps the core")
    }

    // --- phases ----------------------------------------------------------------------------

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            2 => Phase::Abandoning,
            _ => Phase::Stopping,
        }
    }

    /// Whether a claimed job is run rather than dropped. PERF: workers look at [their hooks](Worker::hooks) first.
    #[inline]
    pub(crate) fn starts_jobs(&self) -> bool {
        self.phase() != Phase::Abandoning
    }

    /// Tells the workers what is looked for at their jobs; `more`: what is special about this system from now on.
    pub(crate) fn copy_hooks(&self, more: u32) {
        let isolates_float = if self.config.isolate_float_control { hooks::ISOLATES_FLOAT } else { 0 };
        hooks::copy(|wanted| {
            for remote in &self.remotes {
                let abandons = remote.hooks.load(std::sync::atomic::Ordering::Relaxed) & hooks::ABANDONS;
                let hooks = wanted | abandons | isolates_float | more;
                // ORDERING: Release: who sees it sees the phase, by the fence in `Worker::starts_jobs_slow`. Which of two copies is the last, and that it has what was
                // set before, is decided by the lock of `copy`, and by that of the registry for a system that is just being built.
                remote.hooks.store(hooks, std::sync::atomic::Ordering::Release);
            }
        });
    }

    /// Raises the phase; never lowers it.
    pub(crate) fn advance_to(&self, phase: Phase) {
        self.phase.fetch_max(phase as u32, Ordering::SeqCst);
        if phase == Phase::Abandoning {
            self.copy_hooks(hooks::ABANDONS);
        }
    }

    /// Panics unless the system takes new work from here.
    #[track_caller]
    pub(crate) fn assert_accepts(&self, what: &str, worker: Option<&Worker>) {
        let inside = worker.is_some_and(|worker| worker.belongs_to(self));
        assert!(
            inside || self.phase() == Phase::Running,
            "ramie: `{what}` on a job system that has been shut down: do this before `shutdown`, or build another system"
        );
    }

    // --- submissions -----------------------------------------------------------------------

    /// Counts a submission from outside; false if the system does not take it.
    #[must_use]
    pub(crate) fn begin_submission(&self) -> bool {
        // ORDERING: SeqCst on both sides: either this thread sees Draining, or the one that began it
        // counts this submission.
        self.outside_submitted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let accepted = self.phase() == Phase::Running;
        if !accepted {
            self.count_finished_outside();
        }
        accepted
    }

    /// The machine, and where this system's workers are on it.
    pub(crate) fn topology(&self) -> &Topology {
        self.topology.get_or_init(|| Topology::detect().with_placement(self.config.placement.clone()))
    }

    /// Counts the end of a job whose queue entry no worker will take.
    pub(crate) fn count_finished_outside(&self) {
        self.outside_finished.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.notice_idle();
    }

    /// As above, for several of which nobody waits for the end.
    pub(super) fn count_finished_outside_n(&self, n: u64) {
        self.outside_finished.fetch_add(n, std::sync::atomic::Ordering::SeqCst);
    }

    /// Makes a job that was counted known to the workers.
    pub(crate) fn inject(&self, job: JobPtr, priority: Priority) {
        if let Some(relay) = background::relay_here() {
            return relay.send(&job.header().node, &job.header().node);
        }
        let seen = job.header().state.snapshot();
        event::job_queued(job.into(), priority, || self.index);
        self.injector(priority).inject(job.node_ptr());
        if let Some(sleeper) = self.claim_sleeper(priority) {
            self.remotes[sleeper].parker.unpark();
        }
        // LIVENESS: as in `hold`: a shutdown may have looked at all blocks before this one was there.
        if !self.starts_jobs() {
            self.abandon_late(job, seen);
        }
    }

    /// Moves a job that was injected to a higher priority, if it is still there.
    pub(crate) fn reinject(&self, wanted: JobPtr, from: Priority, to: Priority) {
        let taken = Queue::new();
        // SAFETY: the injector holds jobs and fibers in their slots, which this thread owns once they are out.
        self.injector(from).take_all(|node| unsafe { taken.append(node, node) });
        while let Some(node) = taken.pop() {
            // SAFETY: as above.
            let entry = unsafe { JobRef::from_injected(node) };
            match (entry.as_fiber(), entry.as_block()) {
                (Some(fiber), _) => self.inject_fiber(fiber),
                (None, Some(job)) => self.inject(job, if job == wanted { to } else { from }),
                (None, None) => unreachable!("no half of a join is injected"),
            }
        }
    }

    /// Takes the oldest fiber that was injected, before jobs that were injected earlier.
    pub(crate) fn take_injected_fiber(&self, priorities: &[Priority]) -> Option<JobRef> {
        priorities.iter().find_map(|&priority| {
            let injector = self.injector(priority);
            if injector.is_empty() {
                return None;
            }
            let taken = Queue::new();
            // SAFETY: the injector holds jobs and fibers in their slots, which this thread owns once they are out.
            injector.take_all(|node| unsafe { taken.append(node, node) });
            let mut found = None;
            while let Some(node) = taken.pop() {
                // SAFETY: as above.
                let entry = unsafe { JobRef::from_injected(node) };
                if found.is_none() && entry.as_fiber().is_some() {
                    found = Some(entry);
                } else {
                    injector.inject(node);
                }
            }
            // LIVENESS: who searched meanwhile has not seen what is back now, and may sleep.
            if let Some(sleeper) = self.claim_sleeper(priority) {
                self.remotes[sleeper].parker.unpark();
            }
            found
        })
    }

    /// Makes a fiber that was woken from outside available to all workers, or to its owner, if it is bound.
    pub(crate) fn publish(&self, fiber: &'static Fiber) {
        if fiber.is_bound() {
            let high = fiber.priority() == Priority::High;
            fiber.owner().deliver(fiber.node(), fiber.node(), u64::from(high));
        } else {
            self.inject_fiber(fiber);
        }
    }

    fn inject_fiber(&self, fiber: &'static Fiber) {
        if let Some(relay) = background::relay_here() {
            return relay.send(fiber.node(), fiber.node());
        }
        let priority = fiber.priority();
        self.injector(priority).inject(fiber.node_ptr());
        if let Some(sleeper) = self.claim_sleeper(priority) {
            self.remotes[sleeper].parker.unpark();
        }
    }

    /// Hands a pinned job to its worker.
    pub(crate) fn deliver(&self, worker: usize, job: JobPtr) {
        let header = job.header();
        if let Some(relay) = background::relay_here() {
            return relay.send(&header.node, &header.node);
        }
        let seen = header.state.snapshot();
        let spawned = header.spawned_priority();
        event::job_queued(job.into(), spawned, || self.index);
        self.remotes[worker].deliver(&header.node, &header.node, u64::from(spawned == Priority::High));
        if header.priority() > spawned {
            // It was announced as what it was spawned as. Should the block be another job's by now: no harm.
            self.look_at_pinned(worker);
        }
        self.after_delivery();
        // LIVENESS: as in `inject`.
        if !self.starts_jobs() {
            self.abandon_late(job, seen);
        }
    }

    /// A job pinned to this worker was raised: has the worker look, wherever it is.
    pub(crate) fn look_at_pinned(&self, worker: usize) {
        let remote = self.remotes[worker];
        remote.look_at_pinned(self);
        remote.parker.unpark();
    }

    #[inline]
    pub(crate) fn injector(&self, priority: Priority) -> &Injector {
        &self.injectors[priority as usize]
    }

    pub(crate) fn nothing_injected(&self) -> bool {
        self.injectors.iter().all(Injector::is_empty)
    }

    // --- the end ---------------------------------------------------------------------------

    /// Whether no job was outstanding at some moment during the call.
    pub(crate) fn is_idle(&self) -> bool {
        let finished = self.finished();
        fence(Ordering::SeqCst);
        finished == self.submitted()
    }

    pub(crate) fn finished(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `count_finished`.
        self.outside_finished.load(std::sync::atomic::Ordering::SeqCst)
            + self
                .remotes
                .iter()
                .map(|r| r.tally.finished.load(std::sync::atomic::Ordering::Acquire))
                .sum::<u64>()
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.outside_submitted.load(std::sync::atomic::Ordering::SeqCst)
            + self
                .remotes
                .iter()
                .map(|r| r.tally.submitted.load(std::sync::atomic::Ordering::Relaxed))
                .sum::<u64>()
    }

    /// Jobs that no worker has begun, nor anybody dropped. Of no one moment.
    pub(crate) fn unstarted(&self) -> u64 {
        let tallies = self.remotes.iter().map(|remote| &remote.tally);
        let started: u64 =
            tallies.map(|tally| tally.started.load(std::sync::atomic::Ordering::Relaxed)).sum();
        // What a main thread's end has left was started.
        let dropped = self.outside_finished.load(std::sync::atomic::Ordering::SeqCst) - self.left_count();
        self.submitted().saturating_sub(started + dropped)
    }

    /// Called by each worker before it sleeps: tells those who wait for the end, if it has come.
    #[inline]
    pub(crate) fn notice_idle(&self) {
        // ORDERING: pairs with the fence in `watch`: either this thread sees the watcher, or the
        // watcher's own look sees all that this worker has counted.
        fence(Ordering::SeqCst);
        if self.watched.load(Ordering::Relaxed) != 0 {
            self.tell_watchers();
        }
    }

    /// The order matters. The lock comes first: a watcher that is not in the list yet may have submitted something
    /// after the sums. The phase comes before the sums: what was accepted before Draining is in them then.
    #[cold]
    fn tell_watchers(&self) {
        if let Some(relay) = background::relay_of(self) {
            // Not under a lock that others take before they sleep.
            return relay.notice_idle();
        }
        let mut watchers = lock(&self.watchers);
        let phase = self.phase();
        if !self.is_idle() {
            return;
        }
        let told = std::mem::take(&mut *watchers);
        drop(watchers);
        if phase == Phase::Abandoning || phase == Phase::Draining {
            self.advance_to(Phase::Stopping);
            self.unpark_all();
        }
        for watcher in told.iter() {
            let signalled = watcher.signal(1);
            debug_assert!(signalled.is_ok(), "a watcher is signalled once");
        }
    }

    /// A counter that is signalled when all jobs have ended.
    pub(crate) fn watch(&self) -> Counter {
        let counter = Counter::new(1);
        lock(&self.watchers).push(counter.clone());
        self.watched.fetch_add(1, Ordering::SeqCst);
        self.notice_idle();
        counter
    }

    pub(crate) fn unwatch(&self) {
        self.watched.fetch_sub(1, Ordering::SeqCst);
    }

    /// Makes the system stop by itself as soon as all jobs have ended.
    pub(crate) fn stop_when_idle(&self, phase: Phase) {
        self.advance_to(phase);
        // Never taken back: the system is watched until its end.
        self.watched.fetch_add(1, Ordering::SeqCst);
        self.notice_idle();
    }

    pub(crate) fn unpark_all(&self) {
        if let Some(relay) = background::relay_of(self) {
            return relay.unpark_all();
        }
        for remote in &self.remotes {
            // Surely: a Background worker of another system may be stopped in the middle of the same.
            remote.parker.unpark_surely();
        }
        if let Some(tiers) = &self.tiers {
            tiers.unpark();
        }
    }

    /// How long each worker has had something to do.
    pub(crate) fn busy_times(&self) -> impl Iterator<Item = Duration> + '_ {
        let elapsed = self.started_at.elapsed();
        let now_ns = crate::trace::process_epoch().at.elapsed().as_nanos() as u64;
        self.remotes.iter().map(move |remote| {
            let since_ns = remote.tally.idle_since_ns.load(std::sync::atomic::Ordering::Relaxed);
            let now_idle_ns = if since_ns == 0 { 0 } else { now_ns.saturating_sub(since_ns) };
            let idle_ns = remote.tally.idle_ns.load(std::sync::atomic::Ordering::Relaxed) + now_idle_ns;
            elapsed.saturating_sub(Duration::from_nanos(idle_ns))
        })
    }

    /// The same for all together that take no Background jobs; an absent main thread has nothing to do.
    pub(crate) fn busy(&self) -> Duration {
        self.busy_times().take(self.workers()).skip(usize::from(self.main_is_absent())).sum()
    }

    /// Whether there is something that any of them could take.
    pub(crate) fn has_queued_work(&self) -> bool {
        Priority::SHARED.iter().any(|&priority| !self.injector(priority).is_empty())
            || self.remotes[..self.workers()].iter().any(|remote| remote.queued_count() > 0)
    }

    /// Drops everything that has not been started, and tells the handles of what has.
    pub(crate) fn abandon(&self) {
        self.stop_when_idle(Phase::Abandoning);
        // Whoever starts a job after this sees its hooks, and so the phase; whoever took one before may still run it.
        heavy_fence(asymmetric_fences_available());
        storage::for_each_block(|job| {
            // For shuttle each snapshot is a step, and blocks of earlier executions are never reused.
            if cfg!(shuttle) && job.header().system() != self.index {
                return;
            }
            loop {
                // The snapshot first: if the block is reused after it, acting on it fails.
                let seen = job.header().state.snapshot();
                if job.header().system() != self.index || self.abandon_seen(job, seen) {
                    break;
                }
            }
        });
        self.drop_injected();
        if let Some(worker) = current::worker() {
            worker.flush_credit();
        }
        self.unpark_all();
        self.notice_idle();
    }

    /// Abandons a job that became known while the system abandons. The end of an abandoned job may release the next one of a
    /// chain, from within its own call; beyond some such calls at once, jobs are left to those that there are, so that a chain
    /// does not lie on one stack.
    pub(crate) fn abandon_late(&self, job: JobPtr, seen: state::Snapshot) {
        let mut late = lock(&self.late);
        late.jobs.push((job, seen));
        // LIVENESS: whoever is counted looks again, under the lock, before it stops being so. More than one, because a capture
        // may wait when it is dropped, and for another of these jobs.
        if late.call_count >= LATE_CALLS_MAX {
            return;
        }
        late.call_count += 1;
        while let Some((job, seen)) = late.jobs.pop() {
            drop(late);
            self.abandon_seen(job, seen);
            late = lock(&self.late);
        }
        late.call_count -= 1;
    }

    /// Abandons the job of this snapshot, if it is still the same; true if there is nothing (more) to do.
    pub(crate) fn abandon_seen(&self, job: JobPtr, seen: state::Snapshot) -> bool {
        let header = job.header();
        if seen.is_pending() && !seen.is_left_to_its_queue() {
            let Some(claimed) = header.state.claim_seen(seen) else { return false };
            if claimed.held {
                // Before the captures are dropped: the last handle of this system may be among them,
                // and waits for all jobs.
                self.count_finished_outside();
            }
            // SAFETY: claimed above.
            unsafe { header::discard(job, Outcome::Abandoned) };
            return true;
        }
        if seen.is_running_with_handle() {
            return match header.state.give_up_seen(seen) {
                Ok(waiter) => {
                    wake::wake_id(waiter);
                    true
                }
                Err(()) => false,
            };
        }
        true
    }

    /// Empties the injector. Deques and pinned jobs are left to the workers, who drop what they take.
    fn drop_injected(&self) {
        let mut fibers = Vec::new();
        while let Some(injector) = self.injectors.iter().find(|injector| !injector.is_empty()) {
            injector.take(usize::MAX, |node| {
                // SAFETY: the injector holds jobs and fibers in their slots.
                let entry = unsafe { JobRef::from_injected(node) };
                match entry.as_fiber() {
                    Some(fiber) => fibers.push(fiber),
                    None => self.abandon_entry(entry.as_block().expect("no half of a join is injected")),
                }
            });
        }
        // What has been started goes on to its end.
        for fiber in fibers {
            self.inject_fiber(fiber);
        }
    }

    /// A job has panicked: whoever tests with a seed wants to know it.
    #[cold]
    pub(crate) fn print_seed(&self) {
        let Some(seed) = self.config.deterministic else { return };
        if self.seed_printed.swap(1, Ordering::Relaxed) == 0 {
            complain!(
                "ramie: a job panicked in a deterministic system; to replay it: Builder::deterministic({seed})"
            );
        }
    }

    // --- fibers ----------------------------------------------------------------------------

    /// A wait was refused because no fiber could be made, or a job because there was no large stack: workers give back what they
    /// do not need. Asked for again and again, they are told once in [`SHORTAGE_NS`].
    #[cold]
    pub(crate) fn fibers_are_short(&self, now_ns: u64) {
        let last_ns = self.shortage_at_ns.load(Ordering::Relaxed);
        let told = last_ns != 0 && now_ns < last_ns + SHORTAGE_NS;
        if !told && self.claim_time(&self.shortage_at_ns, last_ns, now_ns) {
            self.fiber_shortages.fetch_add(1, Ordering::Relaxed);
            self.unpark_all();
        }
    }

    fn claim_time(&self, at_ns: &AtomicU64, before_ns: u64, now_ns: u64) -> bool {
        at_ns.compare_exchange(before_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether a period of looking at the idle fibers of all workers has ended; true for one worker only, and the next
    /// period begins.
    pub(crate) fn idle_period_ends(&self, now_ns: u64, period_ns: u64) -> bool {
        let began_ns = self.idle_period_ns.load(Ordering::Relaxed);
        now_ns >= began_ns + period_ns && self.claim_time(&self.idle_period_ns, began_ns, now_ns)
    }

    /// A number that grows with every shortage.
    pub(crate) fn fiber_shortages(&self) -> u32 {
        self.fiber_shortages.load(Ordering::Relaxed)
    }

    /// This many are among `idle_fibers` now. Called under its lock.
    pub(crate) fn note_idle_fibers(&self, count: usize) {
        self.idle_fiber_count.store(count, Ordering::Relaxed);
        self.idle_fibers_low.fetch_min(count, Ordering::Relaxed);
    }

    /// How many are among `idle_fibers`, about.
    pub(crate) fn idle_fiber_count(&self) -> usize {
        self.idle_fiber_count.load(Ordering::Relaxed)
    }

    /// The fewest that were ever left since the last call; now there are `count`.
    pub(crate) fn take_idle_fibers_low(&self, count: usize) -> usize {
        self.idle_fibers_low.swap(count, Ordering::Relaxed).min(count)
    }

    pub(crate) fn fiber_begins(&self) -> Result<(), StackError> {
        let before = self.fiber_count.fetch_add(1, Ordering::Relaxed);
        if before >= self.config.max_fibers {
            self.fiber_count.fetch_sub(1, Ordering::Relaxed);
            return Err(StackError(std::io::Error::other("`max_fibers` is reached")));
        }
        self.fiber_count_max.fetch_max(before + 1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn fiber_ended(&self) {
        self.fiber_count.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn fiber_counts(&self) -> (usize, usize) {
        (self.fiber_count.load(Ordering::Relaxed), self.fiber_count_max.load(Ordering::Relaxed))
    }
}

impl Drop for SystemCore {
    fn drop(&mut self) {
        // All threads have ended, and so have all jobs: what may be left are entries of jobs that were
        // claimed elsewhere, or injected just as the system was abandoned. Deques are empty.
        self.drop_injected();
        for (index, worker) in self.workers.iter().enumerate() {
            if index == 0 && self.main.as_ref().is_some_and(MainThread::has_left_jobs) {
                continue;
            }
            if index == 0 && self.main.as_ref().is_some_and(MainThread::is_away) {
                // Nobody waited for the end, and the main thread has not come back for it.
                worker.0.end_from_afar();
            }
            // SAFETY: each worker's thread held the core, so it has ended; this is the only recycling.
            unsafe { worker.0.recycle() };
        }
    }
}
