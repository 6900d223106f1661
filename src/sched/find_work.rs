//! What a worker does next, and how it searches, lingers and sleeps when there is nothing.
//!
//! Order of a turn: by priority; and within one: ready fibers and inbox, pinned jobs, the own deque newest first, the
//! injector, stealing. Fibers that yielded come last. Every [`FAIR_EVERY`] turns something else comes
//! first, in rotation, so that nothing starves behind fibers that wake each other, a deque that never runs empty, or
//! more urgent work.

#![expect(unsafe_code, reason = "turns queue entries back into fibers and jobs")]

use super::background::SPIN_BESIDE;
use super::deque::{CLAIM_MAX, Leaves, Steal};
use super::priority::Priority;
use super::queue::Queue;
use super::sleep::Woken;
use super::spillover::Tiers;
use super::worker::{Remote, Worker, tally};
use crate::fiber::Fiber;
use crate::job::{JobPtr, JobRef};
use crate::memory::prefetch::prefetch_for_write;
use crate::primitives::{spin_loop, yield_thread};
use crate::system::core::Phase;
use crate::topology::StealKind;
use crate::trace::event;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Every so many turns the oldest work comes first; a prime, so as not to beat with periodic loads.
pub(crate) const FAIR_EVERY: u32 = 61;
/// Sources that take turns in a turn of fairness, for each priority.
const FAIR_SOURCES: u32 = 5;
/// How many jobs a worker takes from the injector at once.
const INJECTOR_BATCH: usize = 32;
/// The last searcher lingers this many times longer than the others while anyone is active.
const LINGER_FACTOR: u32 = 20;
/// Busy-wait instructions between two looks at what may come from outside, and looks at that between two at everything: the
/// lines of other workers' deques are theirs to write to.
const SPINS_PER_LOOK: u32 = 2;
const LOOKS_OUTSIDE: u32 = 8;

/// A searcher yields its processor at each of its rarer looks after this part of the time that it searches.
const YIELD_AFTER: u32 = 16;

/// How often a thief looks, a few busy-wait instructions apart, whether a job that is the only one in a deque is still there.
const LONE_LOOKS: u32 = if cfg!(shuttle) { 0 } else { 8 };
const LONE_SPINS: u32 = 2;

/// Whether this item of a deque, which may be stale or null, is the entry of a job in a block.
fn is_block(item: *mut ()) -> bool {
    JobRef::is_raw_block(item)
}

/// Jobs in blocks leave together; halves of joins, and fibers, alone.
fn leaves(item: *mut ()) -> Leaves {
    if is_block(item) { Leaves::Together } else { Leaves::Alone }
}

/// Whether there is something in this deque for a thief. A job that is the only one gets a moment's grace: in a chain of jobs, each
/// of which spawns the next, its owner is about to take it, and it would only cost time to move the chain to another worker.
/// If its owner has started none for half a microsecond, it is fair prey.
fn has_prey(victim: &Remote, priority: Priority) -> bool {
    let deque = victim.deque(priority);
    let Some(oldest) = deque.oldest() else { return false };
    if oldest.count > 1 || !is_block(oldest.item) {
        return true;
    }
    let started = || victim.tally.started.load(Ordering::Relaxed);
    let before = started();
    (0..LONE_LOOKS).all(|_| {
        (0..LONE_SPINS).for_each(|_| spin_loop());
        started() == before && !deque.is_empty()
    })
}

/// What to do next.
pub(crate) enum Next {
    Fiber(&'static Fiber),
    Job(JobRef, Priority),
    Nothing,
    /// The main thread's visit is over.
    Leave,
    /// The system has stopped: every job has ended.
    Exit,
}

impl Worker {
    /// One turn's decision; does not wait.
    #[inline]
    pub(super) fn next(&self) -> Next {
        const NORMAL: usize = Priority::Normal as usize;
        self.poll_inbox();
        let turns = self.turns_to_fair.get();
        self.turns_to_fair.set(turns - 1);
        if turns == 1 {
            if let Some(next) = self.fair_turn() {
                return next;
            }
        }
        if self.attention().is_urgent() {
            if let Some(next) = self.next_urgent() {
                return next;
            }
        }
        if let Some(fiber) = self.take_ready(Priority::Normal) {
            return Next::Fiber(fiber);
        }
        if self.pinned[NORMAL].is_empty() {
            if let Some(job) = self.pop_at(Priority::Normal) {
                return self.start(job, Priority::Normal);
            }
        }
        self.next_from_afar()
    }

    /// The fiber that [`next`](Self::next) would decide for, if that is plain to see: nothing was delivered, nothing is urgent,
    /// nobody else's turn has come, and one is ready.
    ///
    /// PERF: what a wait costs when another fiber is ready; bench `switch`.
    #[inline(always)]
    pub(super) fn next_at_hand(&self) -> Option<&'static Fiber> {
        let turns = self.turns_to_fair.get();
        if turns == 1 || !self.remote().inbox.is_empty() || self.attention().is_urgent() {
            return None;
        }
        let fiber = self.take_ready(Priority::Normal)?;
        self.turns_to_fair.set(turns - 1);
        Some(fiber)
    }

    /// Those who yielded have let a job go first.
    #[inline]
    pub(super) fn start(&self, job: JobRef, priority: Priority) -> Next {
        self.release_yielded();
        match job.as_fiber() {
            None => Next::Job(job, priority),
            Some(fiber) => Next::Fiber(fiber),
        }
    }

    #[inline]
    pub(super) fn take_ready(&self, priority: Priority) -> Option<&'static Fiber> {
        let queue = &self.ready[priority as usize];
        let node = queue.pop()?;
        // SAFETY: the ready queues hold fibers in their slots.
        unsafe {
            // PERF: many that were woken together lie far apart; bench `fanout`, `memory_fibers`.
            if !queue.head().is_null() {
                Fiber::from_node(queue.head()).prefetch();
            }
            Some(Fiber::from_node(node))
        }
    }

    /// There may be something of priority High.
    #[cold]
    #[inline(never)]
    fn next_urgent(&self) -> Option<Next> {
        if self.leave.is_watchful() && self.should_leave() {
            return Some(Next::Leave);
        }
        if self.is_seeded() {
            return Some(self.next_seeded());
        }
        if self.is_background() {
            return Some(self.next_background());
        }
        self.sort_pinned();
        let next = self.next_high();
        self.refresh_attention();
        next
    }

    fn next_high(&self) -> Option<Next> {
        if let Some(fiber) = self.take_ready(Priority::High) {
            return Some(Next::Fiber(fiber));
        }
        let attention = self.system().sleep.attention();
        let job = self.take_pinned(Priority::High).or_else(|| {
            if !attention.high_is_queued() {
                return None;
            }
            self.flush_credit();
            let job = self.take_unpinned(Priority::High);
            if job.is_none() {
                attention.forget_high();
                // LIVENESS: see `Attention::forget_high`.
                if self.has_stealable(Priority::High) {
                    attention.note_high();
                }
            }
            job
        });
        job.map(|job| self.start(job, Priority::High))
    }

    /// The own deque has nothing of priority Normal.
    #[inline(never)]
    fn next_from_afar(&self) -> Next {
        if let Some(job) = self.take_pinned(Priority::Normal) {
            return self.start(job, Priority::Normal);
        }
        self.flush_credit();
        if let Some(job) = self.take_injected(Priority::Normal).or_else(|| self.steal(Priority::Normal)) {
            return self.start(job, Priority::Normal);
        }
        if let Some(next) = self.next_low() {
            return next;
        }
        if let Some(node) = self.yielded.pop() {
            // SAFETY: as in `take_ready`.
            return Next::Fiber(unsafe { Fiber::from_node(node) });
        }
        if self.system().phase() == Phase::Stopping {
            return Next::Exit;
        }
        Next::Nothing
    }

    fn next_low(&self) -> Option<Next> {
        self.sort_pinned();
        let some = !self.ready[Priority::Low as usize].is_empty() || self.has_stealable(Priority::Low);
        let free = some && self.holds_low_back().is_none();
        if free {
            if let Some(fiber) = self.take_ready(Priority::Low) {
                return Some(Next::Fiber(fiber));
            }
        }
        // Pinned jobs are exempt from the guard.
        let job = self.take_pinned(Priority::Low);
        let job = job.or_else(|| if free { self.take_unpinned(Priority::Low) } else { None });
        job.map(|job| self.start(job, Priority::Low))
    }

    /// A job that any worker may run.
    fn take_unpinned(&self, priority: Priority) -> Option<JobRef> {
        self.pop_at(priority).or_else(|| self.take_injected(priority)).or_else(|| self.steal(priority))
    }

    /// The turn of what would otherwise wait. Which priority, and which source, is asked first rotates, so that none
    /// can keep another from ever being served.
    #[cold]
    #[inline(never)]
    fn fair_turn(&self) -> Option<Next> {
        self.turns_to_fair.set(FAIR_EVERY);
        let tick = self.fair_turns.get();
        self.fair_turns.set(tick.wrapping_add(1));
        if self.is_seeded() {
            return None;
        }
        self.release_yielded();
        self.sort_pinned();
        self.plan_trim(self.coarse_now_ns(), false);
        let priorities: &[Priority] = if self.is_background() {
            &[Priority::Background]
        } else {
            &[Priority::Low, Priority::Normal, Priority::High]
        };
        let count = priorities.len() as u32;
        let (first_priority, first_source) = (tick % count, tick / count);
        (0..count).find_map(|step| {
            let priority = priorities[((first_priority + step) % count) as usize];
            (0..FAIR_SOURCES)
                .find_map(|source| self.take_from(priority, (first_source + source) % FAIR_SOURCES))
        })
    }

    fn take_from(&self, priority: Priority, source: u32) -> Option<Next> {
        let job = match source {
            0 => return self.take_ready(priority).map(Next::Fiber),
            1 => self.take_injected(priority),
            2 => self.take_own_oldest(priority),
            3 => self.take_pinned(priority),
            // Just one: there is work of the own to go on with.
            _ => self.steal_some(priority, 1),
        };
        job.map(|job| self.start(job, priority))
    }

    fn take_own_oldest(&self, priority: Priority) -> Option<JobRef> {
        match self.remote().deque(priority).steal() {
            // SAFETY: only jobs are pushed, and this thread has just taken this one.
            Steal::Item(raw) => Some(unsafe { JobRef::from_raw(raw) }),
            Steal::Empty | Steal::Retry => None,
        }
    }

    fn take_pinned(&self, priority: Priority) -> Option<JobRef> {
        let node = self.pinned[priority as usize].pop()?;
        self.binds_next.set(self.migrates());
        // SAFETY: the pinned queues hold jobs in their slots.
        Some(unsafe { JobPtr::from_node(node) }.into())
    }

    /// Takes a few jobs from the injector: the oldest to run, the others for the own deque, so that
    /// they can be stolen and leave in order.
    pub(super) fn take_injected(&self, priority: Priority) -> Option<JobRef> {
        let injector = self.system().injector(priority);
        if injector.is_empty() {
            return None;
        }
        let mut batch = [const { None }; INJECTOR_BATCH];
        let mut count = 0;
        // Background jobs are long, and those that lie in the injector can be raised.
        let wanted = if priority == Priority::Background { 1 } else { INJECTOR_BATCH };
        injector.take(wanted, |node| {
            // SAFETY: the injector holds jobs and fibers in their slots.
            let job = unsafe { JobRef::from_injected(node) };
            if count < wanted {
                batch[count] = Some(job);
                count += 1;
            } else {
                self.push_at(job, priority);
            }
        });
        let (first, rest) = batch.split_first_mut().expect("the batch is not empty");
        for job in rest[..count.saturating_sub(1)].iter_mut().rev() {
            self.push_at(job.take().expect("filled above"), priority);
        }
        if !injector.is_empty() {
            self.tell_of_work(priority);
        }
        first.take()
    }

    /// Tries every other worker's deque once, the nearest first, and those that are equally near from a random one on. Gives the oldest job of
    /// the first that has some, and moves more of them to the own deque, which is empty.
    pub(super) fn steal(&self, priority: Priority) -> Option<JobRef> {
        self.steal_some(priority, CLAIM_MAX)
    }

    /// As above, up to `count` of them.
    fn steal_some(&self, priority: Priority, count: usize) -> Option<JobRef> {
        let core = self.system();
        // The two kinds of workers rob their own kind only.
        let (victims, kind) = if self.is_background() {
            let background = self.background();
            (&background.victims, &core.remotes[background.first()..])
        } else {
            (&core.victims, &core.remotes[..core.workers()])
        };
        if kind.len() < 2 {
            return None;
        }
        let own = self.index() - (self.is_background() as usize) * core.workers();
        victims.groups(own).find_map(|group| {
            let start = self.next_random() as usize % group.len();
            group.from(start).find_map(|victim| self.steal_from(kind[victim], group.kind, priority, count))
        })
    }

    fn steal_from(
        &self,
        victim: &Remote,
        kind: StealKind,
        priority: Priority,
        count: usize,
    ) -> Option<JobRef> {
        if !has_prey(victim, priority) {
            return None;
        }
        let deque = victim.deque(priority);
        // Where there are many small jobs, a thief that fetched each by itself would spend its time, and its victim's, on moving
        // cache lines. Halves of joins leave alone: whoever pushed them wants them back next, and the oldest is the largest.
        let mut items = [ptr::null_mut(); CLAIM_MAX];
        loop {
            match deque.steal_some(&mut items[..count], leaves) {
                Steal::Item(stolen) => {
                    tally(&self.remote().tally.steals[kind as usize], stolen as u64);
                    event::stole(kind, victim.index.load(Ordering::Relaxed) as usize, stolen);
                    return Some(self.keep_stolen(&items[..stolen], priority));
                }
                Steal::Retry => spin_loop(),
                Steal::Empty => return None,
            }
        }
    }

    /// Puts what was stolen into the own deque, but for the oldest.
    fn keep_stolen(&self, items: &[*mut ()], priority: Priority) -> JobRef {
        let (oldest, rest) = items.split_first().expect("something was stolen");
        for raw in rest {
            // The first access to a job that another worker has written takes longer than running it may take.
            prefetch_for_write(raw.addr());
            // SAFETY: only jobs are pushed, and this thread has just taken this one.
            self.keep(unsafe { JobRef::from_raw(*raw) }, priority);
        }
        if !rest.is_empty() {
            // LIVENESS: nobody saw them while they moved.
            self.tell_of_work(priority);
        }
        // SAFETY: as above.
        unsafe { JobRef::from_raw(*oldest) }
    }

    pub(super) fn next_random(&self) -> u64 {
        // Marsaglia's xorshift64.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// Whether a search would find something, or the system wants attention. `low` says whether Low work counts.
    fn has_work(&self, low: bool) -> bool {
        let core = self.system();
        let ready = if low { 0 } else { Priority::Normal as usize };
        !self.remote().inbox.is_empty()
            || !self.ready[ready..].iter().all(Queue::is_empty)
            || !self.pinned.iter().all(Queue::is_empty)
            || self.has_stealable_work(low)
            || core.phase() == Phase::Stopping
    }

    /// Whether there is anything more urgent than the current job. For jobs of priority Normal or Low.
    pub(super) fn has_more_urgent_work(&self) -> bool {
        self.poll_inbox();
        self.sort_pinned();
        let priority = self.priority();
        let found = Priority::SHARED.into_iter().take_while(|&other| other > priority).any(|other| {
            !self.ready[other as usize].is_empty()
                || !self.pinned[other as usize].is_empty()
                || ((other != Priority::High || self.system().sleep.attention().high_is_queued())
                    && self.has_stealable(other))
        });
        if !found && priority == Priority::Normal {
            let attention = self.system().sleep.attention();
            if attention.high_is_queued() {
                attention.forget_high();
                // LIVENESS: see `Attention::forget_high`.
                if self.has_stealable(Priority::High) {
                    attention.note_high();
                }
            }
            self.refresh_attention();
        }
        found
    }

    /// There is nothing to do: searches for a while, then sleeps until woken. Returns when it is worth
    /// taking another turn; the worker still counts as searching then if it did.
    #[cold]
    #[inline(never)]
    pub(super) fn idle(&self) {
        let stopwatch = self.start_stopwatch();
        let trim_in = self.plan_trim(stopwatch.since_ns, true);
        if self.trim.is_wanted() {
            return;
        }
        let tally = &self.remote().tally;
        tally.idle_since_ns.store(stopwatch.since_ns.max(1), Ordering::Relaxed);
        if self.is_background() {
            self.sleep_in_background(trim_in);
        } else if self.tier_sleeps() {
            self.sleep_with_tier(trim_in);
        } else {
            if !self.searching.get() {
                self.searching.set(self.system().sleep.try_begin_search());
            }
            if !(self.searching.get() && self.search()) {
                let woken = self.sleep(self.searching.get(), trim_in);
                self.searching.set(woken == Woken::ToSearch);
                self.arm_tiers();
            }
        }
        super::worker::tally(&tally.idle_ns, self.read_stopwatch(&stopwatch));
        tally.idle_since_ns.store(0, Ordering::Relaxed);
    }

    /// Whether this worker's tier sleeps.
    fn tier_sleeps(&self) -> bool {
        self.system().tiers.as_ref().is_some_and(|tiers| self.index() >= tiers.awake())
    }

    #[inline]
    fn arm_tiers(&self) {
        if let Some(tiers) = &self.system().tiers {
            tiers.arm(&self.system().sleep);
        }
    }

    /// Parks until its tier wakes, its inbox is given something, or the time has come; does not wait if there is anything of its own to do.
    #[cold]
    fn sleep_with_tier(&self, trim_in: Option<Duration>) {
        let core = self.system();
        // LIVENESS: others relied on this search, and this worker will take nothing that they see.
        self.end_search();
        let held_back = self.holds_low_back();
        let low = if held_back.is_some() { Priority::Normal } else { Priority::Low };
        let has_own_work = || {
            let queues = self.ready[low as usize..].iter().chain(&self.pinned).any(|queue| !queue.is_empty());
            queues
                || Priority::SHARED
                    .into_iter()
                    .any(|priority| priority >= low && !self.remote().deque(priority).is_empty())
        };
        // LIVENESS: see `spillover.rs`: a number that is stored after this look leaves a token.
        if self.inbox_try_park() && !has_own_work() && self.tier_sleeps() && core.phase() != Phase::Stopping {
            core.notice_idle();
            self.note_park();
            // What the guard holds back here may be taken by others.
            self.pass_the_search_on();
            core.hand_over_cpu(self.index());
            match held_back.into_iter().chain(trim_in).min() {
                None => self.remote().parker.park(),
                Some(left) => {
                    self.remote().parker.park_timeout(left);
                }
            }
            event::unparked();
        }
        self.remote().inbox.leave_parked();
    }

    /// The worker has found something to do.
    #[inline]
    pub(super) fn end_search(&self) {
        if self.searching.get() {
            self.end_search_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn end_search_slow(&self) {
        self.searching.set(false);
        let core = self.system();
        // LIVENESS: pushers that saw a searcher woke nobody. If this was the last one, it looks
        // whether there is more than what it has taken, and passes the search on.
        if core.sleep.end_search() {
            self.pass_the_search_on();
        }
        self.arm_tiers();
    }

    /// Wakes a sleeper for the most urgent work that is there for the taking.
    fn pass_the_search_on(&self) {
        let found = Priority::SHARED.into_iter().find(|&priority| self.has_stealable(priority));
        if let Some(sleeper) = found.and_then(|priority| self.system().sleep.claim_sleeper(priority)) {
            self.unpark(sleeper);
        }
    }

    /// Whether there is something of this priority that any worker could take.
    fn has_stealable(&self, priority: Priority) -> bool {
        let core = self.system();
        let workers = &core.remotes[..core.workers()];
        !core.injector(priority).is_empty() || workers.iter().any(|remote| !remote.deque(priority).is_empty())
    }

    /// Whether there is something that any worker could take; `low` says whether Low work counts.
    fn has_stealable_work(&self, low: bool) -> bool {
        self.has_stealable(Priority::Normal)
            || self.has_stealable(Priority::High)
            || (low && self.has_stealable(Priority::Low))
    }

    /// Looks for work until there is some (true) or it is time to sleep (false).
    fn search(&self) -> bool {
        let core = self.system();
        if cfg!(shuttle) {
            // Time means nothing to a model checker: look twice and go to sleep.
            yield_thread();
            return self.has_work(true);
        }
        let mut low = self.holds_low_back().is_none();
        let begin = Instant::now();
        let mut looks = 0_u32;
        loop {
            if self.has_work(low) {
                return true;
            }
            for _ in 0..LOOKS_OUTSIDE {
                (0..SPINS_PER_LOOK).for_each(|_| spin_loop());
                if self.was_sent_something() {
                    return true;
                }
            }
            looks += 1;
            if looks % 8 != 0 {
                continue;
            }
            low = low || self.holds_low_back().is_none();
            let elapsed = begin.elapsed();
            // Background work has the processor only while its worker sleeps.
            let beside = core.background_is_busy();
            let limit = if beside { core.config.spin.min(SPIN_BESIDE) } else { core.config.spin };
            if elapsed >= limit && (beside || elapsed >= limit * LINGER_FACTOR || !self.may_linger()) {
                return false;
            }
            // PERF: a worker that was woken where the submitter runs keeps it from going on; bench `wake_storm`.
            if elapsed >= limit / YIELD_AFTER {
                yield_thread();
            }
        }
    }

    /// Whether there is something from other threads, or from woken fibers.
    #[inline]
    fn was_sent_something(&self) -> bool {
        let core = self.system();
        !self.remote().inbox.is_empty()
            || !core.injector(Priority::Normal).is_empty()
            || !core.injector(Priority::High).is_empty()
    }

    /// The last searcher stays while others are active: they are likely to make work soon.
    fn may_linger(&self) -> bool {
        let core = self.system();
        let others_asleep = core.sleep.sleeping_count();
        let absent = usize::from(core.main_is_absent());
        let awake = core.tiers.as_ref().map_or(core.workers(), Tiers::awake);
        core.sleep.is_last_searcher() && others_asleep + absent + 1 < awake
    }

    /// Sleeps until somebody has work for this worker, or for at most the given time.
    fn sleep(&self, searching: bool, trim_in: Option<Duration>) -> Woken {
        let core = self.system();
        let held_back = self.holds_low_back();
        let guarded = held_back.is_some();
        core.sleep.announce(self.index(), searching, guarded);
        // LIVENESS: from here on pushers see this worker asleep and inboxes see PARKED. What was
        // pushed before is found by this last look (see README.md).
        if !self.inbox_try_park() || self.has_work(!guarded) {
            self.remote().inbox.leave_parked();
            let woken = core.sleep.wake_self(self.index(), guarded);
            // LIVENESS: it said that it no longer searches, and pushers woke nobody before that. If it goes
            // on to take what it has just seen, it must pass the search on like any searcher.
            if searching && woken == Woken::ByItself && core.sleep.try_begin_search() {
                return Woken::ToSearch;
            }
            return woken;
        }
        core.notice_idle();
        self.note_park();
        if guarded {
            // LIVENESS: pushers of Low work may have relied on this worker's search, and it will not take that
            // work before its time; others may. Nobody is left alone with it: the time limit ends this sleep.
            self.pass_the_search_on();
        }
        core.hand_over_cpu(self.index());
        let visit_left = self.leave.time_left();
        match held_back.into_iter().chain(visit_left).chain(trim_in).min() {
            None => self.remote().parker.park(),
            Some(left) => {
                if !self.remote().parker.park_timeout(left) && visit_left == Some(left) {
                    self.watch_visit();
                }
            }
        }
        event::unparked();
        self.remote().inbox.leave_parked();
        core.sleep.wake_self(self.index(), guarded)
    }
}

/// How long a searching worker spins by default.
pub(crate) const SPIN_DEFAULT: Duration = Duration::from_micros(50);
